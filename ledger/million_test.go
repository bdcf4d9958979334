package ledger

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

// millionEntry is the i-th entry of a log of years: of 1,000 entries 900 are receipts, one a beat, each naming the epochs
// of five datasets; 80 are epochs; the rest agreements, and a policy or declaration now and then.
func millionEntry(i int) entry.Entry {
	const kept = 5
	stamp := entry.FormatTime(time.Unix(1767225600+60*int64(i), 0))
	root := fmt.Sprintf("%064x", uint64(i)*0x9e3779b97f4a7c15)
	dataset := fmt.Sprintf("dataset-%d", i%kept)
	terms := entry.Terms{Requester: "GOV/benefits", Holder: "GOV/civil", Policy: fmt.Sprintf("policy-%d", i%50), PolicyVersion: 1,
		PolicyIndex: 7, Purpose: "deciding on a housing allowance", LegalBasis: "Housing Allowance Act, section 12",
		BudgetCommitment: root, Expires: stamp}
	switch k := i % 1000; {
	case i < kept:
		return entry.DatasetDeclare{Dataset: dataset, Title: "Incomes", Scheme: "nid", Time: stamp,
			Columns: []entry.Column{{Name: "income", Type: "int"}, {Name: "region", Type: "enum", Codes: []string{"north", "south"}}}}
	case k%25 < 2:
		return entry.DatasetEpoch{Dataset: dataset, Declare: uint64(i % kept), Epoch: uint64(i), Root: root, Time: stamp}
	case k == 100:
		return entry.PolicyPublish{Policy: fmt.Sprintf("policy-%d", i/1000), Version: 1, Dataset: dataset, Declare: uint64(i % kept),
			Title: "Low income", Question: "Is the income below the line?", Source: entry.Source{Language: "cel", Text: "income < 100"},
			Template: []byte(`{"a":"` + strings.Repeat("x", 1500) + `"}`), Time: stamp}
	case k%100 == 50:
		return entry.AgreementOffer{Terms: terms, Time: stamp}
	case k%100 == 60:
		return entry.AgreementAccept{Offer: entry.Ref{Origin: "test.example/GOV/tax/log/1", Hash: root}, Terms: terms, Time: stamp}
	}
	now := uint64(i - i%1000)
	return entry.ReceiptsBatch{Beat: uint64(i), Root: root, Time: stamp, Epochs: map[string]uint64{
		"dataset-0": now, "dataset-1": now + 1, "dataset-2": now + 2, "dataset-3": now + 3, "dataset-4": now + 4}}
}

// foreignHead is a head as the other members would make it.
func foreignHead(tb testing.TB, c *cluster, owner string, tree tlog.Tree) Head {
	tb.Helper()
	origin := c.cfg.Origin(owner)
	data, err := note.Sign(origin, tree, testKey("log "+owner))
	if err != nil {
		tb.Fatal(err)
	}
	cp, err := note.Parse(data)
	if err != nil {
		tb.Fatal(err)
	}
	var cosigs []note.Cosignature
	for _, m := range testNames[:3] {
		line, err := note.Cosign(cp.Text, network.MirrorName(testInstance, m, 1), testKey("mirror "+m), c.clock.now())
		if err != nil {
			tb.Fatal(err)
		}
		cosigs = append(cosigs, note.Cosignature{Mirror: m, Time: c.clock.now(), Line: line})
	}
	return Head{Origin: origin, Size: uint64(tree.N), Root: tree.Hash, Checkpoint: note.Assemble(cp, cosigs)}
}

// fill lets a store take a log of n entries as it does from peers: a final head, then entries.
func fill(tb testing.TB, c *cluster, at, owner string, n int) {
	tb.Helper()
	s := c.stores[at]
	var stored []tlog.Hash
	hashes := tlog.HashReaderFunc(func(idx []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(idx))
		for i, x := range idx {
			out[i] = stored[x]
		}
		return out, nil
	})
	var part [][]byte
	bytes, from := 0, 0
	flush := func() {
		root, err := tlog.TreeHash(int64(from+len(part)), hashes)
		if err != nil {
			tb.Fatal(err)
		}
		h := foreignHead(tb, c, owner, tlog.Tree{N: int64(from + len(part)), Hash: root})
		if _, err := s.AddHead(h); err != nil {
			tb.Fatal(err)
		}
		if err := s.AddEntries(h.Origin, Entries{uint64(from), part}); err != nil {
			tb.Fatal(err)
		}
		from, part, bytes = from+len(part), nil, 0
	}
	for i := range n {
		raw, err := entry.Encode(millionEntry(i))
		if err != nil {
			tb.Fatal(err)
		}
		if bytes+2+len(raw) > MaxPushBytes {
			flush()
		}
		part, bytes = append(part, raw), bytes+2+len(raw)
		more, err := tlog.StoredHashes(int64(i), raw, hashes)
		if err != nil {
			tb.Fatal(err)
		}
		stored = append(stored, more...)
	}
	flush()
}

// memory returns the bytes of live objects and, on Linux, the largest resident set since peakReset.
func memory() (live, peak float64) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			kb, _ := strconv.ParseFloat(f[1], 64)
			peak = kb * 1024
		}
	}
	return float64(m.HeapAlloc), peak
}

func peakReset() {
	debug.FreeOSMemory()
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200) // without it the peak is the process's: reported all the same
}

// BenchmarkMillion opens a store of a million entries in four logs, with its index and without. The entries are made in
// the folder that GRILLE_MILLION names, if they are not there from an earlier run, else in a temporary one.
//
//	go test ./ledger -run '^$' -bench Million -benchtime 1x -timeout 30m
func BenchmarkMillion(b *testing.B) {
	const logs, each = 4, 250_000
	me, owners := "GOV/archive", []string{"GOV/office-1", "GOV/office-2", "GOV/office-3", "GOV/office-4"}
	c := &cluster{tb: b, cfg: testConfig(b, append(owners, me)...), clock: newClock(), dir: os.Getenv("GRILLE_MILLION"), stores: make(map[string]*Store)}
	if c.dir == "" {
		c.dir = b.TempDir()
	}
	s := c.open(me)
	for _, owner := range owners {
		if c.finalSize(me, owner) < each {
			fill(b, c, me, owner, each)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	clear(c.stores)
	for _, index := range []string{"kept", "lost"} {
		b.Run("index="+index, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				if index == "lost" {
					if err := os.Remove(filepath.Join(c.path(me), "index.db")); err != nil {
						b.Fatal(err)
					}
				}
				before, _ := memory()
				peakReset()
				b.StartTimer()
				s := c.open(me)
				b.StopTimer()
				live, peak := memory()
				b.ReportMetric((live-before)/(logs*each), "live-B/entry")
				b.ReportMetric(peak/(logs*each), "peak-B/entry")
				found, err := s.Search(Query{Member: owners[2], Kind: entry.KindReceiptsBatch, Limit: 10})
				if err != nil || len(found) != 10 {
					b.Fatalf("found %d, %v", len(found), err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				clear(c.stores)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(logs*each), "ns/entry")
		})
	}
}
