package gossip

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/node/peer"
)

// maxRoundTrip is how long a comparison may take whose times are to be used: half of it is the error of an offset.
const maxRoundTrip = 2 * time.Second

// memberTime bounds one comparison with one member, and all that is fetched for it; the next goes on where it ended.
const memberTime = 20 * time.Second

// compareLoop compares with one random member every few seconds, and at once with members whose state is said to differ. The
// member is drawn from all, not from the neighbours, so that nobody can be kept in the dark by those. A mirror compares with the
// other mirrors by turns, too: their clocks are what it is judged by.
func (g *Gossip) compareLoop(ctx context.Context) {
	if len(g.others) == 0 {
		return
	}
	var round []string // mirrors to come
	mirrorsTurn := false
	next := time.Now()
	for {
		member, ok := g.nextToCompare(ctx, &next)
		if !ok {
			return
		}
		if member == "" {
			member = g.others[rand.IntN(len(g.others))]
			if mirrorsTurn = !mirrorsTurn; mirrorsTurn && g.isMirror && len(g.mirrors) > 0 {
				if len(round) == 0 {
					for _, i := range rand.Perm(len(g.mirrors)) {
						round = append(round, g.mirrors[i])
					}
				}
				member, round = round[0], round[1:]
			}
		}
		if err := within(ctx, func(ctx context.Context) error { return g.compare(ctx, member) }); err != nil {
			g.report(ctx, "comparing with member failed", member, err)
		}
	}
}

// within gives one member its time, so that none delays what there is to do with the others.
func within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, memberTime)
	defer cancel()
	return f(ctx)
}

// nextToCompare waits for a member that asked for it, or for the next turn, which is anybody's.
func (g *Gossip) nextToCompare(ctx context.Context, next *time.Time) (string, bool) {
	if wait := time.Until(*next); wait <= 0 {
		*next = time.Now().Add(g.o.Compare/2 + rand.N(g.o.Compare))
	}
	timer := time.NewTimer(time.Until(*next))
	defer timer.Stop()
	select {
	case <-timer.C:
		return "", true
	case member := <-g.asked:
		g.mu.Lock()
		delete(g.waiting, member)
		g.mu.Unlock()
		return member, true
	case <-ctx.Done():
		return "", false
	}
}

// compare takes what is newer at a member, and tells it what is newer here.
func (g *Gossip) compare(ctx context.Context, member string) error {
	c, err := g.exchange(ctx, member)
	if err != nil {
		return err
	}
	more, forked, fewer := g.differing(c)
	if len(more) > 0 {
		g.mu.Lock()
		g.spread.Announced(member, more)
		g.mu.Unlock()
		wake(g.kicked)
	}
	if len(fewer) > 0 {
		if err := g.announce(ctx, member, fewer); err != nil && !heard(err) {
			return err
		}
	}
	if err := g.fetchForked(ctx, member, forked); err != nil {
		return err
	}
	return g.takeState(ctx, member, c.listing)
}

// exchange asks a member what differs, and notes how its clock stands to ours: it is ahead by the mean of how much later it got
// the question than it was sent, and how much earlier the answer was sent than it came. That is exact if both ways take
// as long.
func (g *Gossip) exchange(ctx context.Context, member string) (comparison, error) {
	g.mu.Lock()
	ask := append(bytes.Clone(g.spread.Digest()), g.state.digest[:]...)
	g.mu.Unlock()
	asked := g.o.Now()
	body, err := g.o.Peers.Call(ctx, member, peer.KindCompare, ask)
	if err != nil {
		return comparison{}, err
	}
	answered := g.o.Now()
	c, err := decodeComparison(body, len(g.origins))
	if err != nil {
		return comparison{}, err
	}
	if trip := answered.Sub(asked); trip >= 0 && trip <= maxRoundTrip {
		g.o.Store.ObserveClock(member, (c.received.Sub(asked)+c.sent.Sub(answered))/2)
	}
	return c, nil
}

func (g *Gossip) differing(c comparison) (more, forked, fewer []core.Mark) {
	if !c.differ {
		return nil, nil, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.spread.Differing(c.marks)
}

// handleCompare answers two digests with what differs here, and the time.
func (g *Gossip) handleCompare(body []byte) ([]byte, error) {
	received := g.o.Now()
	if len(body) != 2*sha256.Size {
		return nil, &refusal{CodeMalformed, fmt.Errorf("%w: two digests have %d bytes", ledger.ErrMessage, 2*sha256.Size)}
	}
	g.mu.Lock()
	c := comparison{received: received}
	if !bytes.Equal(body[:sha256.Size], g.spread.Digest()) {
		c.differ, c.marks = true, g.spread.Marks()
	}
	if !bytes.Equal(body[sha256.Size:], g.state.digest[:]) {
		l := g.state.listing
		c.listing = &l
	}
	g.mu.Unlock()
	c.sent = g.o.Now()
	return c.encode(), nil
}
