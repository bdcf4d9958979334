package index

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
)

var zeros = strings.Repeat("0", 64)

func at(minute int) time.Time { return time.Date(2026, 3, 1, 12, minute, 0, 0, time.UTC) }

// sample returns n entries of mixed kinds, a minute apart, and their rows.
func sample(t testing.TB, origin, member string, n int) (raws [][]byte, rows []Row) {
	t.Helper()
	for i := range n {
		stamp := entry.FormatTime(at(i))
		row := Row{Origin: origin, Member: member, Index: uint64(i), Time: at(i)}
		var e entry.Entry
		switch i % 5 {
		case 0:
			row.Kind, row.Dataset = entry.KindDatasetEpoch, fmt.Sprintf("set-%d", i%3)
			e = entry.DatasetEpoch{Dataset: row.Dataset, Root: zeros, Time: stamp}
		case 1:
			row.Kind = entry.KindReceiptsBatch
			e = entry.ReceiptsBatch{Beat: uint64(i), Root: zeros, Time: stamp}
		case 2:
			row.Kind, row.Policy = entry.KindPolicyRetire, fmt.Sprintf("pol-%d", i%4)
			e = entry.PolicyRetire{Policy: row.Policy, Version: 1, Time: stamp}
		case 3:
			row.Kind, row.Policy, row.Dataset = entry.KindPolicyPublish, fmt.Sprintf("pol-%d", i%4), "set-0"
			e = entry.PolicyPublish{Policy: row.Policy, Version: 1, Dataset: "set-0", Title: "t", Question: "q",
				Source: entry.Source{Language: "cel"}, Template: []byte("{}"), Time: stamp}
		case 4:
			row.Kind, row.Time = "disposal", time.Unix(0, 0).UTC()
			e = entry.Unknown{Name: "disposal", Raw: []byte(`{"kind":"disposal","v":1}`)}
		}
		raw, err := entry.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		raws, rows = append(raws, raw), append(rows, row)
	}
	return raws, rows
}

func tree(n int) tlog.Tree { return tlog.Tree{N: int64(n), Hash: tlog.Hash{byte(n)}} }

const n = 60

func testIndex(t *testing.T) (x *Index, rows []Row, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "index.db")
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"GOV/civil", "GOV/tax"} {
		raws, r := sample(t, "o/"+m, m, n)
		if err := errors.Join(x.Add("o/"+m, m, raws[:25], tree(25)), x.Add("o/"+m, m, raws[25:], tree(n))); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r...)
	}
	return x, rows, path
}

// TestSearch compares every query with a scan, in pages of every size.
func TestSearch(t *testing.T) {
	x, rows, _ := testIndex(t)
	defer x.Close()
	var queries []Query
	for _, kind := range []string{"", entry.KindDatasetEpoch, "disposal", "none"} {
		for _, member := range []string{"", "GOV/tax", "GOV/none"} {
			for _, dataset := range []string{"", "set-0"} {
				for _, policy := range []string{"", "pol-2"} {
					for _, span := range [][2]time.Time{{}, {at(10), at(40)}, {at(10), {}}, {{}, at(40)}, {at(40), at(10)}, {{}, time.Unix(-5, 0)}} {
						queries = append(queries, Query{Kind: kind, Member: member, Dataset: dataset, Policy: policy, From: span[0], To: span[1]})
					}
				}
			}
		}
	}
	found := 0
	for _, q := range queries {
		want := naive(rows, q)
		found += len(want)
		for _, limit := range []int{1, 7, 1000} {
			if limit == 1 && len(want) > 20 {
				continue
			}
			var got []Row
			q.Limit, q.After = limit, ""
			for {
				page, err := x.Search(q)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, page...)
				if len(page) < limit {
					break
				}
				q.After = page[len(page)-1].Cursor()
			}
			if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v: %d rows, want %d", q, len(got), len(want))
			}
		}
	}
	if found < 900 {
		t.Errorf("queries found only %d rows", found)
	}
}

// naive is Search written down as what it means, without pages.
func naive(rows []Row, q Query) []Row {
	var out []Row
	for _, r := range rows {
		if (q.Kind == "" || r.Kind == q.Kind) && (q.Member == "" || r.Member == q.Member) &&
			(q.Dataset == "" || r.Dataset == q.Dataset) && (q.Policy == "" || r.Policy == q.Policy) &&
			(q.From.IsZero() || !r.Time.Before(q.From)) && (q.To.IsZero() || r.Time.Before(q.To)) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b Row) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Origin, a.Origin), cmp.Compare(b.Index, a.Index))
	})
	return out
}

func TestSearchRefuses(t *testing.T) {
	x, _, _ := testIndex(t)
	defer x.Close()
	for name, q := range map[string]Query{
		"no limit": {}, "tab": {Kind: "a\tb", Limit: 1}, "cursor": {After: "!", Limit: 1}, "cursor row": {After: "AAAA", Limit: 1}, "negative limit": {Limit: -1},
		"long cursor": {After: strings.Repeat("A", 4096), Limit: 1},
	} {
		if _, err := x.Search(q); !errors.Is(err, ErrQuery) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReopen keeps what agrees with its digest; TestDamaged drops what does not.
func TestReopen(t *testing.T) {
	x, rows, path := testIndex(t)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if got, ok := x.Tree("o/GOV/tax"); !ok || got != tree(n) {
		t.Fatalf("tree %v, %v", got, ok)
	}
	got, err := x.Search(Query{Limit: 1000})
	if err != nil || !reflect.DeepEqual(got, naive(rows, Query{})) {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	if err := x.Drop("o/GOV/tax"); err != nil {
		t.Fatal(err)
	}
	if _, ok := x.Tree("o/GOV/tax"); ok {
		t.Fatal("dropped log has a tree")
	}
	got, err = x.Search(Query{Limit: 1000})
	if err != nil || !reflect.DeepEqual(got, naive(rows[:n], Query{})) {
		t.Fatalf("%d rows after a drop, %v", len(got), err)
	}
	if err := x.Add("o/GOV/tax", "GOV/tax", nil, tree(3)); err == nil {
		t.Fatal("added entries with a gap")
	}
}

// TestCompact opens a file of many small additions, which has each of their heads, and one of few.
func TestCompact(t *testing.T) {
	defer func(was int64) { compactAbove = was }(compactAbove)
	compactAbove = 20_000
	path := filepath.Join(t.TempDir(), "index.db")
	raws, rows := sample(t, "o", "GOV/tax", 200)
	sizes := func(step int) (before, after int64) {
		t.Helper()
		x, err := Open(path)
		for i := 0; i < len(raws) && err == nil; i += step {
			err = x.Add("o", "GOV/tax", raws[i:i+step], tree(i+step))
		}
		info, err2 := os.Stat(path)
		if err := errors.Join(err, err2, x.Close()); err != nil {
			t.Fatal(err)
		}
		before = info.Size()
		for range 2 {
			if x, err = Open(path); err != nil || x.Damage() != nil {
				t.Fatal(err, x.Damage())
			}
			if got, err := x.Search(Query{Limit: 1000}); err != nil || !reflect.DeepEqual(got, naive(rows, Query{})) {
				t.Fatalf("%d rows, %v", len(got), err)
			}
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if info, err = os.Stat(path); err != nil {
			t.Fatal(err)
		}
		return before, info.Size()
	}
	if before, after := sizes(1); after >= before/compactRatio {
		t.Errorf("%d bytes, then %d", before, after)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if before, after := sizes(100); after != before {
		t.Errorf("%d bytes are not much, then %d", before, after)
	}
}

// TestDamaged overwrites, cuts and extends the file at many places: opening never fails, and every log that is said to be
// indexed has exactly its rows.
func TestDamaged(t *testing.T) {
	x, rows, path := testIndex(t)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	dropped := 0
	for i := range 300 {
		bad := bytes.Clone(good)
		k := rnd.IntN(len(bad))
		switch i % 4 {
		case 0:
			bad[k] ^= byte(1 + rnd.IntN(255))
		case 1:
			bad = bad[:k]
		case 2:
			bad = append(bad, bad[:k]...)
		case 3:
			bad = append(bad[:k], bad[min(len(bad), k+rnd.IntN(300)):]...)
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		x, err := Open(path)
		if err != nil {
			t.Fatalf("damage %d: %v", i, err)
		}
		var want []Row
		for k, origin := range []string{"o/GOV/civil", "o/GOV/tax"} {
			at, ok := x.Tree(origin)
			if ok && at != tree(25) && at != tree(n) { // the caller compares with its tiles
				if err := x.Drop(origin); err != nil {
					t.Fatal(err)
				}
				ok = false
			}
			if !ok {
				dropped++
				continue
			}
			want = append(want, rows[k*n:k*n+int(at.N)]...)
		}
		got, err := x.Search(Query{Limit: 1000})
		if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, naive(want, Query{})) {
			t.Fatalf("damage %d: %d rows, want %d, %v", i, len(got), len(want), err)
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if dropped < 50 {
		t.Errorf("only %d logs dropped: the damage is not seen", dropped)
	}
}

// TestEveryDamagedByte changes a bit of each byte of a small file, and cuts it at each length: what is served afterwards is
// the truth up to a tree that the caller knows, or the file was begun anew.
func TestEveryDamagedByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	raws, rows := sample(t, "o/a", "GOV/a", 8)
	if err := errors.Join(x.Add("o/a", "GOV/a", raws[:5], tree(5)), x.Add("o/a", "GOV/a", raws[5:], tree(8)), x.Close()); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	anew := 0
	for i := range good {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1 << (i % 8)
		for what, data := range map[string][]byte{"changed": flipped, "cut": good[:i]} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			x, err := Open(path)
			if err != nil {
				t.Fatalf("%s at %d: %v", what, i, err)
			}
			have, ok := x.Tree("o/a")
			if x.Damage() != nil {
				anew++
			}
			if ok && have != tree(5) && have != tree(8) { // the caller sees another root
				ok = false
				if err := x.Drop("o/a"); err != nil {
					t.Fatal(err)
				}
			}
			want := rows[:0]
			if ok {
				want = rows[:have.N]
			}
			got, err := x.Search(Query{Limit: 100})
			if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, naive(want, Query{})) {
				t.Fatalf("%s at %d: %d rows, want %d, %v", what, i, len(got), len(want), err)
			}
			if err := errors.Join(x.Close(), os.Remove(path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if anew < len(good) {
		t.Errorf("begun anew %d times, the file has %d bytes", anew, len(good))
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(Row{Origin: "o", Time: time.Unix(5, 0)}.Cursor())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseCursor(s)
		if err != nil {
			if !errors.Is(err, ErrQuery) {
				t.Fatal(err)
			}
			return
		}
		again := Row{Origin: p.origin, Index: p.index, Time: time.Unix(p.time, 0)}.Cursor()
		if q, err := parseCursor(again); err != nil || q != p {
			t.Fatalf("%v reads back as %v, %v", p, q, err)
		}
	})
}
