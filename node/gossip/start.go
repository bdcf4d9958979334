package gossip

import (
	"context"
	"fmt"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/peer"
)

// listen hears one mirror, again and again until it has answered.
func (g *Gossip) listen(ctx context.Context, mirror string) {
	pause := newPause()
	for {
		err := g.hear(ctx, mirror)
		if err == nil {
			return
		}
		g.report(ctx, "hearing member failed", mirror, err)
		if !sleep(ctx, pause.NextBackOff(), nil) {
			return
		}
	}
}

// hearPatience is how long the heads that a mirror says to hold may take to arrive, from it or from others.
const hearPatience = 30 * time.Second

// hear asks a mirror for what it holds and tells the store. Of its heads those are fetched that are larger than what is here:
// the spread sees to it, so that of heads that many mirrors hold each is fetched once. The mirror counts as heard when all of them
// are here: one that names heads which nobody has is not heard.
func (g *Gossip) hear(ctx context.Context, mirror string) error {
	c, err := g.exchange(ctx, mirror)
	if err != nil {
		return err
	}
	more, forked, _ := g.differing(c)
	if err := g.await(ctx, mirror, more); err != nil {
		return err
	}
	if err := g.fetchForked(ctx, mirror, forked); err != nil {
		return err
	}
	standing, err := g.askStanding(ctx, mirror)
	if err != nil {
		return err
	}
	if err := g.o.Store.Hear(mirror, nil, standing); err != nil {
		// It counts as heard all the same, or the store has stopped.
		g.report(ctx, "something that a member holds is not usable", mirror, err)
	}
	wake(g.wanted)
	return nil
}

// await announces a member's heads to the spread and waits until they have been fetched.
func (g *Gossip) await(ctx context.Context, member string, marks []core.Mark) error {
	if len(marks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hearPatience)
	defer cancel()
	for {
		g.mu.Lock()
		known, moved := g.spread.Known(marks), g.moved
		if !known {
			g.spread.Announced(member, marks)
		}
		g.mu.Unlock()
		if known {
			return nil
		}
		wake(g.kicked)
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("waiting for heads that it holds: %w", ctx.Err())
		}
	}
}

// fetchForked fetches heads that have another root than ours at the same size and gives them to the store, which makes evidence
// of them.
func (g *Gossip) fetchForked(ctx context.Context, member string, forked []core.Mark) error {
	for len(forked) > 0 {
		n := min(len(forked), core.MaxWants)
		if _, err := g.pull(ctx, member, forked[:n]); err != nil {
			return err
		}
		forked = forked[n:]
	}
	return nil
}

// askStanding fetches the checkpoints that a member holds beyond its final heads.
func (g *Gossip) askStanding(ctx context.Context, member string) ([][]byte, error) {
	body, err := g.o.Peers.Call(ctx, member, peer.KindStanding, nil)
	if err != nil {
		return nil, err
	}
	return decodeDocuments(body, min(maxStanding, 2*len(g.origins)), note.MaxSize)
}

// handleStanding tells what is held beyond final heads.
func (g *Gossip) handleStanding(body []byte) ([]byte, error) {
	if len(body) > 0 {
		return nil, &refusal{CodeMalformed, fmt.Errorf("%w: asking for standing has no body", ledger.ErrMessage)}
	}
	return encodeDocuments(g.o.Store.Standing(), maxStandingBytes), nil
}
