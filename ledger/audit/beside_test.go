package audit

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
)

// TestBesideAWriter audits folders over and over while their stores write: tiles become full and replace partial ones,
// heads and states move on, rows are added to the index. None of it shows.
func TestBesideAWriter(t *testing.T) {
	c := newTown(t, t.TempDir())
	o := c.options("")
	o.Now = time.Now // later than all cosignatures
	var written atomic.Bool
	var audits, largest int64
	var beside sync.WaitGroup
	beside.Go(func() {
		for last := false; !last && !t.Failed(); audits++ {
			last = written.Load()
			for _, name := range []string{"GOV/tax", "GOV/health"} {
				o := o
				o.Dir = c.path(name)
				r, err := Run(t.Context(), o)
				if err != nil {
					t.Error(err)
					return
				}
				for _, p := range r.All() {
					if !p.Remark {
						t.Errorf("%s with %d entries: %s", name, r.log("GOV/tax").Size, p)
					}
				}
				largest = max(largest, r.log("GOV/tax").Size)
			}
		}
	})
	for beat, round := uint64(0), 0; round < 34; round++ {
		var entries []entry.Entry
		for range 1 + round%17 {
			beat++
			entries = append(entries, c.batch(beat, nil))
		}
		c.write("GOV/tax", entries...)
	}
	written.Store(true)
	beside.Wait()
	c.close()
	if audits < 3 || largest != 306 {
		t.Errorf("%d audits; the largest log had %d entries", audits, largest)
	}
}
