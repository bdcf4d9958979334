package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/node/peer"
)

const (
	// maxFetching is how many logs are fetched run after run at once: so many members that hang delay no others' logs.
	maxFetching = 4
	// maxSources is how many members are asked for one log before it has to wait.
	maxSources = 8
	// entriesPatience is how long one run may take.
	entriesPatience = 10 * time.Second
)

// fetching is a log whose entries are being pulled, or that waits after a failure.
type fetching struct {
	running  bool
	failures int
	until    time.Time
}

// pullLoop fetches the entries that the store wants, a few logs at a time. In steady state mirrors are pushed to and others get
// entries with the heads; a gateway that was away, or is new, has much to pull.
func (g *Gossip) pullLoop(ctx context.Context) {
	logs := map[string]*fetching{} // by origin; of those that are wanted
	ended := make(chan string, maxFetching)
	running := 0
	for {
		next := time.Hour
		if running < maxFetching {
			wants := g.o.Store.Wants()
			forget(logs, wants)
			for _, i := range rand.Perm(len(wants)) {
				w := wants[i]
				f := logs[w.Origin]
				if f == nil {
					f = &fetching{}
					logs[w.Origin] = f
				}
				if f.running || running == maxFetching {
					continue
				}
				if wait := time.Until(f.until); wait > 0 {
					next = min(next, wait)
					continue
				}
				f.running = true
				running++
				g.tasks.Go(func() { g.fetchLog(ctx, w, f); ended <- w.Origin })
			}
		}
		timer := time.NewTimer(next)
		select {
		case <-timer.C:
		case <-g.wanted:
		case origin := <-ended:
			running--
			logs[origin].running = false
		case <-ctx.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// forget drops what is neither wanted nor running.
func forget(logs map[string]*fetching, wants []ledger.Want) {
	for origin, f := range logs {
		if !f.running && !slices.ContainsFunc(wants, func(w ledger.Want) bool { return w.Origin == origin }) {
			delete(logs, origin)
		}
	}
}

// fetchLog pulls one log's entries from one member after another until they are complete, and notes in f how it went: the loop
// does not look at it before fetchLog has ended.
func (g *Gossip) fetchLog(ctx context.Context, w ledger.Want, f *fetching) {
	var failures []error
	for _, member := range g.sources(w.Origin) {
		err := g.fetchFrom(ctx, w, member)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			f.failures, f.until = 0, time.Time{}
			g.sweep(w.Origin)
			return
		}
		failures = append(failures, err)
	}
	f.failures++
	pause := min(time.Minute, 200*time.Millisecond<<min(f.failures, 10))
	f.until = time.Now().Add(pause/2 + rand.N(pause))
	g.o.Logger.Warn("pulling entries failed", logkey.Origin, w.Origin, logkey.Error, errors.Join(failures...))
}

// sources are members to ask for a log's entries: its owner, some neighbours, some mirrors, some of the others.
func (g *Gossip) sources(origin string) []string {
	var order []string
	add := func(from []string, most int) {
		for _, i := range rand.Perm(len(from)) {
			if most > 0 && len(order) < maxSources && !slices.Contains(order, from[i]) {
				order, most = append(order, from[i]), most-1
			}
		}
	}
	if owner, ok := g.o.Config.Owner(origin); ok && owner.Name != g.o.Member {
		order = append(order, owner.Name)
	}
	add(g.neighbours, 3)
	add(g.mirrors, 3)
	add(g.others, maxSources)
	return order
}

// fetchFrom pulls run after run. The store checks them against the head or the fence that it knows.
func (g *Gossip) fetchFrom(ctx context.Context, w ledger.Want, member string) error {
	for {
		next := g.o.Store.Stored(w.Origin)
		if next >= w.Size {
			return nil
		}
		calling, cancel := context.WithTimeout(ctx, entriesPatience)
		body, err := g.o.Peers.Call(calling, member, peer.KindEntries, encodeRange(w.Origin, next, w.Size))
		cancel()
		if err != nil {
			return err
		}
		run, err := ledger.DecodeEntries(body)
		if err != nil {
			return err
		}
		if run.From != next || len(run.Entries) == 0 || uint64(len(run.Entries)) > w.Size-next {
			return fmt.Errorf("pulling from %s: %w: another run of entries than was asked for", member, ledger.ErrMessage)
		}
		if err := g.o.Store.AddEntries(w.Origin, run); err != nil {
			return fmt.Errorf("pulling from %s: %w", member, err)
		}
		if g.o.Store.Stored(w.Origin) <= next {
			return fmt.Errorf("pulling from %s: %w: the entries were not taken", member, ledger.ErrMessage)
		}
	}
}
