package ledger

import (
	"context"
	"time"

	"github.com/grille-gateway/grille/ledger/audit"
)

// simHarmless are the findings of an audit that a simulated life explains: owners who fork, clocks that were a day ahead,
// entries whose times and beats are not the simulation's.
var simHarmless = map[audit.Code]bool{audit.Forked: true, audit.CosignatureTime: true, audit.BeatOrder: true, audit.BeatGrid: true}

// audit replays the folders of some honest members from their files, with the configuration that the network began with: what
// is there must be what was signed, whatever happened to the member. (Invariant e.)
func (w *simWorld) audit() {
	if w.opts.plant.config != nil {
		return // the stores have another configuration than the network
	}
	for _, n := range w.nodes {
		if n.byzantine || n.gone || n.store == nil || !w.chance(3) {
			continue
		}
		r, err := audit.Run(context.Background(), audit.Options{Dir: "/m", FS: n.fs, Config: w.versions[0], Now: func() time.Time { return w.now }, Workers: 1})
		if err != nil {
			w.failf("auditing %s: %v", n, err)
		}
		for _, p := range r.All() {
			pinned := p.Code == audit.HistoryMismatch && !w.nodes[w.logAt(p.Origin).owner].trusted() // both of a fork's histories may be pinned
			if !p.Remark && !simHarmless[p.Code] && !pinned {
				w.failf("audit of %s: %s: %s", n, w.logName(p.Origin), p)
			}
		}
		w.count("folder audited")
	}
}
