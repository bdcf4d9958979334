package audit

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/grille-gateway/grille/ledger/entry"
)

// BenchmarkRun audits one log of 50,000 entries of the usual kinds, with its index.
func BenchmarkRun(b *testing.B) {
	const count = 50_000
	c := newTown(b, b.TempDir())
	newest := make(map[string]uint64)
	for from := uint64(0); from < count; from += 1000 {
		entries := make([]entry.Entry, 1000)
		for k := range entries {
			i := from + uint64(k)
			name := fmt.Sprintf("dataset-%d", i%5)
			switch {
			case i < 5:
				entries[k] = c.declare(name)
			case i%10 < 2:
				entries[k] = c.epoch(name, i%5, i)
				newest[name] = i
			default:
				epochs := make(map[string]uint64)
				for n, at := range newest {
					epochs[n] = at
				}
				entries[k] = c.batch(i, epochs)
			}
		}
		if _, err := c.stores["GOV/tax"].Append(context.Background(), entries...); err != nil {
			b.Fatal(err)
		}
	}
	c.settle("GOV/tax", testNames...)
	c.close()
	var bytes int64
	for b.Loop() {
		r := c.audit(c.path("GOV/health"))
		if !r.Clean() || r.log("GOV/tax").Entries != count {
			b.Fatal(r.All())
		}
		bytes = r.log("GOV/tax").Bytes
	}
	b.SetBytes(bytes)
	b.ReportMetric(count*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// An audit's memory does not grow with the log: what is held besides the index, of which nothing is needed, is the edge
// of the tree and what entries refer to.
func TestMemoryIsBounded(t *testing.T) {
	c := newTown(t, t.TempDir())
	for from := uint64(0); from < 20_000; from += 1000 {
		entries := make([]entry.Entry, 1000)
		for k := range entries {
			entries[k] = c.batch(from+uint64(k)+1, nil)
		}
		if _, err := c.stores["GOV/tax"].Append(context.Background(), entries...); err != nil {
			t.Fatal(err)
		}
	}
	c.settle("GOV/tax", testNames...)
	c.close()
	(&patient{town: c, dir: c.path("GOV/tax")}).remove(c.path("GOV/tax") + "/index.db")
	most := uint64(0)
	o := c.options(c.path("GOV/tax"))
	o.Progress = func(done, _ int64) {
		if done%5120 == 0 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := Run(context.Background(), o)
	if err != nil || r.log("GOV/tax").Entries != 20_000 {
		t.Fatalf("%v, %v", r, err)
	}
	// 20,000 entries have 3 MB; a bundle of them 40 kB.
	if grown := int64(most) - int64(before.HeapAlloc); most == 0 || grown > 1<<20 {
		t.Errorf("%d bytes more are in use while 20,000 entries are read", grown)
	}
}
