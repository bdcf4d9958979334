package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/note"
)

// TestIndexEqualsTiles deletes and damages the index and checks that a search finds the same after the next start.
func TestIndexEqualsTiles(t *testing.T) {
	c := newCluster(t)
	for _, owner := range []string{"GOV/tax", "GOV/civil"} {
		for i := range 30 {
			e := entry.Entry(batchEntry(uint64(i + 1)))
			if i%3 == 0 {
				e = entry.PolicyRetire{Policy: "low", Version: i + 1, Time: entry.FormatTime(c.clock.now().Add(time.Duration(i) * time.Minute))}
			}
			c.append(owner, e)
		}
		c.pushAll(owner, testNames...)
		c.append(owner, batchEntry(31)) // not final: not to be found
		c.spread(owner, "GOV/health", owner)
	}
	find := func() []Found {
		t.Helper()
		var all []Found
		for _, q := range []Query{{Limit: MaxFound}, {Kind: entry.KindPolicyRetire}, {Policy: "low", Member: "GOV/tax"}} {
			got, err := c.stores["GOV/health"].Search(q)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, got...)
		}
		return all
	}
	want := find()
	if len(want) != 60+20+10 {
		t.Fatalf("found %d", len(want))
	}
	path := filepath.Join(c.path("GOV/health"), "index.db")
	for name, damage := range map[string]func() error{
		"unharmed": func() error { return nil },
		"deleted":  func() error { return os.Remove(path) },
		"garbage":  func() error { return os.WriteFile(path, []byte("garbage"), 0o600) },
		"cut":      func() error { return os.Truncate(path, 3000) },
		"empty":    func() error { return os.Truncate(path, 0) },
		"changed": func() error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[len(data)/2] ^= 1
			return os.WriteFile(path, data, 0o600)
		},
		"of other logs": func() error {
			if err := os.Remove(path); err != nil {
				return err
			}
			x, err := index.Open(path)
			if err != nil {
				return err
			}
			origin := c.cfg.Origin("GOV/tax")
			return errors.Join(x.Add(origin, "GOV/tax", rawEntries(t, 500, 10), tlog.Tree{N: 10, Hash: tlog.Hash{1}}), x.Close())
		},
	} {
		if err := c.stores["GOV/health"].Close(); err != nil {
			t.Fatal(err)
		}
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		c.open("GOV/health")
		if got := find(); !reflect.DeepEqual(got, want) {
			t.Errorf("index %s: found %d, want %d", name, len(got), len(want))
		}
	}
	if _, err := c.stores["GOV/health"].Search(Query{Limit: MaxFound + 1}); !errors.Is(err, index.ErrQuery) {
		t.Errorf("limit: %v", err)
	}
}

func TestReading(t *testing.T) {
	c := newCluster(t)
	owner, s := "GOV/tax", c.stores["GOV/tax"]
	origin := c.cfg.Origin(owner)
	if _, _, err := s.Proof(origin, 0); !errors.Is(err, ErrRange) {
		t.Errorf("proof in an empty log: %v", err)
	}
	for i := range 20 {
		c.append(owner, batchEntry(uint64(i+1)))
	}
	c.pushAll(owner, testNames...)
	c.spread(owner, "GOV/health", owner)
	h, _ := s.Final(origin)
	for i := range uint64(20) {
		raw := mustRead(t, c.stores["GOV/health"], origin, i, i+1)[0]
		proof, _, err := c.stores["GOV/health"].Proof(origin, i)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, _, err := note.VerifyProof(c.cfg, origin, raw, proof, c.cfg.Quorum()); err != nil || got != i {
			t.Fatalf("proof of %d: %d, %v", i, got, err)
		}
	}
	proof, err := s.Consistency(origin, 7, 20)
	if err != nil {
		t.Fatal(err)
	}
	seven := treeOf(t, mustRead(t, s, origin, 0, 7))
	if err := tlog.CheckTree(proof, 20, h.Root, 7, seven.Hash); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"read beyond":               second(s.Read(origin, 21, 22)),
		"inclusion beyond":          second(s.Inclusion(origin, 0, 21)),
		"inclusion of the next":     second(s.Inclusion(origin, 20, 20)),
		"consistency beyond":        second(s.Consistency(origin, 1, 21)),
		"consistency from 0":        second(s.Consistency(origin, 0, 20)),
		"consistency the other way": second(s.Consistency(origin, 9, 8)),
	} {
		if !errors.Is(err, ErrRange) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"read": second(s.Read("x", 0, 0)), "inclusion": second(s.Inclusion("x", 0, 0)), "consistency": second(s.Consistency("x", 0, 0)),
		"entries": s.AddEntries("x", Entries{}),
	} {
		if !errors.Is(err, ErrOrigin) {
			t.Errorf("%s of an unknown log: %v", name, err)
		}
	}
	if v := s.View("x", 5); v.Size() != 0 {
		t.Errorf("view of an unknown log has size %d", v.Size())
	}
	if _, ok := s.Final("x"); ok || s.Size("x") != 0 || s.Stored("x") != 0 {
		t.Error("an unknown log has a size")
	}
	if heads := c.stores["GOV/health"].Heads(); len(heads) != 1 || heads[0].Origin != origin {
		t.Errorf("heads %v", heads)
	}
}

func second[T any](_ T, err error) error { return err }
