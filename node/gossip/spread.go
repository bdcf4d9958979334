package gossip

import (
	"context"
	"errors"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/node/peer"
)

// spreadLoop sends what the spread wants sent, when it wants it.
func (g *Gossip) spreadLoop(ctx context.Context) {
	for {
		g.mu.Lock()
		tasks, next := g.spread.Tick(time.Now())
		g.mu.Unlock()
		for _, t := range tasks {
			g.tasks.Go(func() { g.do(ctx, t) })
		}
		pause := time.Hour
		if !next.IsZero() {
			pause = max(time.Until(next), time.Millisecond)
		}
		if !sleep(ctx, pause, g.kicked) {
			return
		}
	}
}

// do carries out one task and tells the spread how it ended.
func (g *Gossip) do(ctx context.Context, t core.Task) {
	if t.Announce != nil {
		err := g.announce(ctx, t.To, t.Announce)
		if err != nil {
			g.report(ctx, "announcing heads failed", t.To, err)
		}
		g.mu.Lock()
		g.spread.Delivered(t.To, err == nil || heard(err), time.Now())
		g.mu.Unlock()
	} else {
		got, err := g.pull(ctx, t.To, t.Pull)
		if err != nil {
			g.report(ctx, "pulling heads failed", t.To, err)
		}
		g.mu.Lock()
		g.spread.Pulled(t.To, t.Pull, got, err == nil, time.Now())
		close(g.moved)
		g.moved = make(chan struct{})
		g.mu.Unlock()
		for _, m := range got {
			g.sweep(g.origins[m.Log])
		}
	}
	wake(g.kicked)
}

// heard tells whether a member got what it refused: saying it again would help nobody.
func heard(err error) bool {
	var refusal *peer.RemoteError
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Code {
	case peer.CodeBusy, peer.CodeRateLimited, peer.CodeTimeout, peer.CodeInternal, peer.CodeWrongNetwork:
		return false
	}
	return true
}

func (g *Gossip) announce(ctx context.Context, member string, marks []core.Mark) error {
	g.mu.Lock()
	mark := g.state.mark
	g.mu.Unlock()
	_, err := g.o.Peers.Call(ctx, member, peer.KindAnnounce, encodeAnnouncement(mark, marks))
	return err
}

// pull fetches the heads of some logs from a member, with the entries we lack where they are few, and gives them to the store. It
// returns the heads that need not be fetched again. A log's head that is not among them did not come, or does not verify: the
// first such error is returned beside the others' heads only if nothing came at all.
func (g *Gossip) pull(ctx context.Context, member string, wants []core.Mark) ([]core.Mark, error) {
	have := make([]core.Mark, len(wants))
	for i, w := range wants {
		have[i] = core.Mark{Log: w.Log, Size: g.o.Store.Stored(g.origins[w.Log])}
	}
	body, err := g.o.Peers.Call(ctx, member, peer.KindPull, core.EncodeMarks(have, false))
	if err != nil {
		return nil, err
	}
	items, err := decodeItems(body, have)
	if err != nil {
		return nil, err
	}
	var got []core.Mark
	for _, item := range items {
		head, err := g.take(member, item)
		if err != nil {
			g.report(ctx, "head not usable", member, err)
		}
		if head.Size > 0 {
			got = append(got, core.Mark{Log: item.log, Size: head.Size})
		}
	}
	return got, nil
}

// take gives one head, and the entries that came with it, to the store. The head is returned if fetching it again, from whomever,
// would change nothing.
func (g *Gossip) take(member string, item item) (ledger.Head, error) {
	origin := g.origins[item.log]
	head, err := ledger.HeadOf(origin, item.checkpoint)
	if err != nil {
		return ledger.Head{}, err
	}
	behind, err := g.o.Store.AddHead(head)
	switch {
	case errors.Is(err, ledger.ErrInconsistent), errors.Is(err, ledger.ErrHalted), errors.Is(err, ledger.ErrFenced),
		errors.Is(err, ledger.ErrRolledBack), errors.Is(err, ledger.ErrStopped), errors.Is(err, ledger.ErrClosed):
		return head, err // the owner's doing, or ours, and not that of who sent it
	case err != nil:
		return ledger.Head{}, err
	case !behind:
		return head, nil
	}
	if len(item.entries.Entries) > 0 && g.o.Store.Stored(origin) == g.o.Store.Size(origin) { // a run that is under way keeps its source
		if err := g.o.Store.AddEntries(origin, item.entries); err != nil && !errors.Is(err, ledger.ErrGap) {
			wake(g.wanted)
			return head, err
		}
	}
	if g.o.Store.Stored(origin) < head.Size {
		wake(g.wanted) // the rest comes run after run
	}
	return head, nil
}

// Fresh asks a member for the newest head of its own log, with the newest quorum of cosignatures, and returns what is then known of
// that log here: heartbeats are told to nobody who does not ask.
func (g *Gossip) Fresh(ctx context.Context, member string) (ledger.Head, error) {
	origin := g.o.Config.Origin(member)
	body, err := g.o.Peers.Call(ctx, member, peer.KindFresh, nil)
	if err != nil {
		return ledger.Head{}, err
	}
	number, ok := g.numbers[origin]
	if !ok {
		return ledger.Head{}, ledger.ErrOrigin
	}
	head, err := g.take(member, item{log: number, checkpoint: body})
	if err != nil {
		return ledger.Head{}, err
	}
	if known, ok := g.o.Store.Final(origin); ok && known.Size >= head.Size {
		g.sweep(origin)
		return known, nil
	}
	g.mu.Lock()
	g.spread.Fetched(number, head.Size)
	g.mu.Unlock()
	return head, nil
}
