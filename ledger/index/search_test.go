package index

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/grille-gateway/grille/ledger/entry"
)

// drawEntry returns a random entry and the row that it should have. Few names and times, so that many rows share them.
func drawEntry(t *rapid.T, origin, member string, index uint64) ([]byte, Row) {
	r := Row{Origin: origin, Member: member, Index: index, Time: at(rapid.IntRange(0, 5).Draw(t, "minute"))}
	stamp := entry.FormatTime(r.Time)
	name := rapid.SampledFrom([]string{"a", "ab", "b"})
	var e entry.Entry
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		r.Dataset = name.Draw(t, "dataset")
		e = entry.DatasetEpoch{Dataset: r.Dataset, Root: zeros, Time: stamp}
	case 1:
		r.Dataset = name.Draw(t, "dataset")
		e = entry.DatasetDeclare{Dataset: r.Dataset, Title: "t", Scheme: "nid", Time: stamp,
			Columns: []entry.Column{{Name: "income", Type: "int"}}}
	case 2:
		r.Policy, r.Dataset = name.Draw(t, "policy"), name.Draw(t, "dataset")
		e = entry.PolicyPublish{Policy: r.Policy, Version: 1, Dataset: r.Dataset, Title: "t", Question: "q",
			Source: entry.Source{Language: "cel"}, Template: []byte("{}"), Time: stamp}
	case 3:
		r.Policy = name.Draw(t, "policy")
		e = entry.AgreementOffer{Time: stamp, Terms: entry.Terms{Requester: "GOV/a", Holder: "GOV/b", Policy: r.Policy,
			PolicyVersion: 1, Purpose: "p", LegalBasis: "l", BudgetCommitment: zeros, Expires: stamp}}
	case 4:
		e = entry.AgreementRevoke{Accept: 1, Reason: "r", Time: stamp}
	case 5:
		e = entry.ReceiptsBatch{Beat: index, Root: zeros, Time: stamp}
	case 6:
		r.Kind, r.Time = "scope.open", time.Unix(0, 0).UTC()
		return []byte(`{"kind":"scope.open","v":1,"time":"` + stamp + `"}`), r
	default:
		r.Kind, r.Time = "", time.Unix(0, 0).UTC()
		return []byte("no entry"), r
	}
	raw, err := entry.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	r.Kind = e.Kind()
	return raw, r
}

func drawQuery(t *rapid.T) Query {
	opt := func(label string, values ...string) string {
		return rapid.SampledFrom(append(values, "", "")).Draw(t, label)
	}
	bound := func(label string) time.Time {
		if rapid.Bool().Draw(t, label) {
			return time.Time{}
		}
		return at(0).Add(rapid.SampledFrom([]time.Duration{-time.Hour, 0, time.Nanosecond, time.Minute, 3*time.Minute - 1, 5 * time.Minute,
			time.Hour, -1 << 62}).Draw(t, label))
	}
	return Query{
		Kind:   opt("kind", entry.KindDatasetEpoch, entry.KindPolicyPublish, entry.KindReceiptsBatch, "scope.open", "none"),
		Member: opt("member", "GOV/a", "GOV/b", "GOV/none"), Dataset: opt("dataset", "a", "ab", "none"),
		Policy: opt("policy", "b", "ab", "none"), From: bound("from"), To: bound("to"),
		Limit: rapid.IntRange(1, 9).Draw(t, "limit"),
	}
}

// TestSearchIsAFilter runs random queries in pages over random entries of three logs, while the logs grow, are dropped and
// indexed anew, and the index is closed and opened. Each page is the rows that match and stand behind the cursor.
func TestSearchIsAFilter(t *testing.T) {
	origins := map[string]string{"o/a/1": "GOV/a", "o/a/2": "GOV/a", "o/b/1": "GOV/b"}
	path := filepath.Join(t.TempDir(), "index.db")
	pages := 0
	rapid.Check(t, func(t *rapid.T) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		x, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { x.Close() }()
		raws, rows := make(map[string][][]byte), []Row(nil)
		grow := func() {
			origin := rapid.SampledFrom([]string{"o/a/1", "o/a/2", "o/b/1"}).Draw(t, "log")
			have := len(raws[origin])
			for range rapid.IntRange(1, 30).Draw(t, "entries") {
				raw, r := drawEntry(t, origin, origins[origin], uint64(len(raws[origin])))
				raws[origin], rows = append(raws[origin], raw), append(rows, r)
			}
			if err := x.Add(origin, origins[origin], raws[origin][have:], tree(len(raws[origin]))); err != nil {
				t.Fatal(err)
			}
		}
		grow()
		for range 4 {
			q := drawQuery(t)
			for {
				switch rapid.IntRange(0, 9).Draw(t, "step") {
				case 0:
					grow()
				case 1:
					if err := x.Close(); err != nil {
						t.Fatal(err)
					}
					if x, err = Open(path); err != nil || x.Damage() != nil {
						t.Fatal(err, x.Damage())
					}
				case 2:
					if n := len(raws["o/a/2"]); n > 0 {
						if err := errors.Join(x.Drop("o/a/2"), x.Add("o/a/2", "GOV/a", raws["o/a/2"], tree(n))); err != nil {
							t.Fatal(err)
						}
					}
				}
				got, err := x.Search(q)
				if err != nil {
					t.Fatal(err)
				}
				want := page1(t, rows, q)
				if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
					t.Fatalf("%+v:\n%v\nwant\n%v", q, got, want)
				}
				pages++
				if len(got) < q.Limit {
					break
				}
				q.After = got[len(got)-1].Cursor()
			}
		}
	})
	if pages < 200 {
		t.Errorf("only %d pages", pages)
	}
}

// page1 is the first page of a query by scanning all rows.
func page1(t *rapid.T, rows []Row, q Query) []Row {
	all := naive(rows, q)
	if q.After != "" {
		after, err := parseCursor(q.After)
		if err != nil {
			t.Fatal(err)
		}
		for len(all) > 0 && all[0].place().compare(after) >= 0 {
			all = all[1:]
		}
	}
	return all[:min(len(all), q.Limit)]
}

// TestRowKeys checks that keys keep the order of time, then index, at the bounds of what they hold.
func TestRowKeys(t *testing.T) {
	last := ""
	for _, id := range []uint32{0, 1, 1<<32 - 1} {
		for _, at := range []int64{0, 1, 255, 256, 1 << 32, maxTime} {
			for _, i := range []uint64{0, 1, 1<<16 - 1, 1 << 16, 1 << 24, maxIndex} {
				key := rowKey(id, at, i)
				if cmp.Compare(key, last) <= 0 {
					t.Fatalf("group %d time %d index %d is not above the one before", id, at, i)
				}
				if id2, at2, i2, ok := parseRowKey(key); !ok || id2 != id || at2 != at || i2 != i {
					t.Fatalf("group %d time %d index %d reads back as %d %d %d", id, at, i, id2, at2, i2)
				}
				last = key
			}
		}
	}
}

// TestManyKinds lets one log name a new kind in each entry, as a hostile member may.
func TestManyKinds(t *testing.T) {
	x, err := Open(Memory)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	const n = 20_000
	var raws [][]byte
	for i := range n {
		raws = append(raws, fmt.Appendf(nil, `{"kind":"k%d","v":1}`, i))
	}
	if err := x.Add("o", "GOV/a", raws, tlog.Tree{N: n}); err != nil {
		t.Fatal(err)
	}
	got, err := x.Search(Query{Kind: "k777", Limit: 5})
	if err != nil || len(got) != 1 || got[0].Index != 777 {
		t.Fatalf("%v, %v", got, err)
	}
	if got, err = x.Search(Query{Limit: 10}); err != nil || len(got) != 10 || got[9].Index != n-10 {
		t.Fatalf("%d rows, %v", len(got), err)
	}
	if err := x.Drop("o"); err != nil || len(x.groups)+len(x.ids) != 0 {
		t.Fatalf("%d groups are left, %v", len(x.groups), err)
	}
}
