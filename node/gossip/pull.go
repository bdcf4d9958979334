package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/node/peer"
)

// want notes that a log should be fetched up to a head which a member has.
func (g *Gossip) want(h ledger.Head, from string) {
	g.mu.Lock()
	if present, ok := g.pulling[h.Origin]; !ok || present.head.Size < h.Size {
		g.pulling[h.Origin] = pull{h, from}
	}
	g.mu.Unlock()
	wake(g.wanted)
}

// pullLoop fetches what is wanted, one log after another. One at a time is enough: in steady state mirrors are pushed to,
// and only a gateway that was away has much to pull, then from one disk to one disk.
func (g *Gossip) pullLoop(ctx context.Context) {
	pause := newPause()
	for sleep(ctx, time.Hour, g.wanted) {
		for ctx.Err() == nil {
			p, ok := g.nextPull()
			if !ok {
				break
			}
			err := g.fetch(ctx, p)
			if err == nil {
				pause.Reset()
				continue
			}
			if ctx.Err() == nil {
				g.o.Logger.Warn("pulling entries failed", logkey.Origin, p.head.Origin, logkey.Error, err)
			}
			sleep(ctx, pause.NextBackOff(), nil) // not wanted any more: comparing heads asks again
		}
	}
}

// nextPull takes one wanted log off the list.
func (g *Gossip) nextPull() (pull, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for origin, p := range g.pulling {
		delete(g.pulling, origin)
		return p, true
	}
	return pull{}, false
}

// fetch pulls the entries below a head from whoever has them: the owner, the member that told us, then the others in
// random order.
func (g *Gossip) fetch(ctx context.Context, p pull) error {
	var failures []error
	for _, member := range g.sources(p) {
		err := g.fetchFrom(ctx, p.head, member)
		if err == nil || ctx.Err() != nil {
			return err
		}
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

func (g *Gossip) sources(p pull) []string {
	order := make([]string, 0, len(g.others)+2)
	if owner, ok := g.o.Config.Owner(p.head.Origin); ok && owner.Name != g.o.Member {
		order = append(order, owner.Name)
	}
	order = append(order, p.from)
	for _, i := range rand.Perm(len(g.others)) {
		order = append(order, g.others[i])
	}
	seen := map[string]bool{}
	distinct := order[:0]
	for _, m := range order {
		if !seen[m] {
			seen[m] = true
			distinct = append(distinct, m)
		}
	}
	return distinct
}

// fetchFrom pulls run after run. The store checks them against the head it knows.
func (g *Gossip) fetchFrom(ctx context.Context, head ledger.Head, member string) error {
	next := g.o.Store.Stored(head.Origin)
	for next < head.Size {
		body, err := g.o.Peers.Call(ctx, member, peer.KindEntries, encodeRange(head.Origin, next, head.Size))
		if err != nil {
			return err
		}
		run, err := ledger.DecodeEntries(body)
		if err != nil {
			return err
		}
		if run.From != next || len(run.Entries) == 0 || uint64(len(run.Entries)) > head.Size-next {
			return fmt.Errorf("pulling from %s: %w: another run of entries than was asked for", member, ledger.ErrMessage)
		}
		if err := g.o.Store.AddEntries(head.Origin, run); err != nil {
			return fmt.Errorf("pulling from %s: %w", member, err)
		}
		next += uint64(len(run.Entries))
	}
	behind, err := g.o.Store.AddHead(head)
	if err == nil && behind {
		err = fmt.Errorf("pulling from %s: still behind after all entries", member)
	}
	return err
}
