package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/note"
)

// openSilent opens a store that has heard from nobody.
func (c *cluster) openSilent(name string) *Store {
	c.tb.Helper()
	s, err := Open(c.options(name))
	if err != nil {
		c.tb.Fatal(err)
	}
	c.stores[name] = s
	return s
}

// Nothing is signed before a quorum was heard, this member counting for one.
func TestNothingIsSignedBeforeAQuorumIsHeard(t *testing.T) {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1))
	if err := c.stores["GOV/civil"].Close(); err != nil {
		t.Fatal(err)
	}
	s := c.openSilent("GOV/civil")
	refused := func(when string) {
		t.Helper()
		if _, err := s.Append(context.Background(), batchEntry(1)); !errors.Is(err, ErrStarting) {
			t.Errorf("%s: append: %v", when, err)
		}
		p, _ := c.stores["GOV/tax"].Outgoing("GOV/civil")
		if reply, err := s.AddCheckpoint(p); !errors.Is(err, ErrStarting) || len(reply.Cosignature) > 0 {
			t.Errorf("%s: cosigns: %v", when, err)
		}
		if _, ok := s.Outgoing("GOV/tax"); ok {
			t.Errorf("%s: pushes", when)
		}
		select {
		case <-s.Heard():
			t.Errorf("%s: heard enough", when)
		default:
		}
	}
	refused("heard nobody")
	for range 2 {
		if err := s.Hear("GOV/tax", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	refused("heard one, twice")
	if err := s.Hear("GOV/civil", nil, nil); err == nil {
		t.Error("hears itself")
	}
	if err := s.Hear("GOV/none", nil, nil); err == nil {
		t.Error("hears a stranger")
	}
	refused("heard one and strangers")
	if err := s.Hear("GOV/health", nil, nil); err != nil {
		t.Fatal(err)
	}
	<-s.Heard()
	if _, err := s.Append(context.Background(), batchEntry(1)); err != nil {
		t.Error(err)
	}
	c.push("GOV/tax", "GOV/civil")
}

// An owner whose folder is an old copy hears of a checkpoint that was never final and refuses to sign.
func TestRestoredOwnerHearsOfItsOwnCheckpoint(t *testing.T) {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1))
	c.pushAll("GOV/tax", testNames...)
	if err := c.stores["GOV/tax"].Close(); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(c.path("GOV/tax"))); err != nil {
		t.Fatal(err)
	}
	c.open("GOV/tax")
	c.append("GOV/tax", batchEntry(2))
	c.push("GOV/tax", "GOV/civil")
	told := c.stores["GOV/civil"].Standing()
	if len(told) != 1 {
		t.Fatalf("civil stands at %d checkpoints", len(told))
	}
	if err := errors.Join(c.stores["GOV/tax"].Close(), os.RemoveAll(c.path("GOV/tax")), os.CopyFS(c.path("GOV/tax"), os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	s := c.openSilent("GOV/tax")
	if err := s.Hear("GOV/civil", nil, told); !errors.Is(err, ErrRolledBack) {
		t.Fatalf("hears of its own larger checkpoint: %v", err)
	}
	if err := s.Hear("GOV/health", nil, nil); !errors.Is(err, ErrRolledBack) {
		t.Fatalf("hears another: %v", err)
	}
	if _, err := s.Append(context.Background(), batchEntry(3)); !errors.Is(err, ErrRolledBack) {
		t.Fatalf("appends: %v", err)
	}
}

// A mirror whose folder is an old copy signs no smaller tree than somebody holds, and no other one.
func TestRestoredMirrorSignsNothingSmaller(t *testing.T) {
	c := newCluster(t)
	tax := c.cfg.Origin("GOV/tax")
	good := rawEntries(t, 1, 10)
	other := append(append([][]byte{}, good[:4]...), rawEntries(t, 100, 8)...)
	civil, health := c.stores["GOV/civil"], c.stores["GOV/health"]
	for _, s := range []*Store{civil, health} {
		if err := s.Hear("GOV/benefits", nil, [][]byte{forge(t, tax, "GOV/tax", good)}); err != nil {
			t.Fatal(err)
		}
	}
	if reply, err := civil.AddCheckpoint(Push{tax, forge(t, tax, "GOV/tax", good[:9]), 0, good[:9]}); !errors.Is(err, ErrStale) || len(reply.Cosignature) > 0 {
		t.Errorf("smaller: %v", err)
	}
	if reply, err := health.AddCheckpoint(Push{tax, forge(t, tax, "GOV/tax", other), 0, other}); !errors.Is(err, ErrInconsistent) || len(reply.Cosignature) > 0 {
		t.Errorf("another history: %v", err)
	}
	if list := health.Evidence(); len(list) != 1 || !health.Halted(tax) {
		t.Fatalf("%d files of evidence", len(list))
	}
}

// An owner signs more while a mirror starts, and tells it so. The mirror cosigns what the owner is bringing to a quorum first.
func TestOwnersNewestCheckpointDoesNotHoldUpTheOneBefore(t *testing.T) {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1)) // being pushed
	c.append("GOV/tax", batchEntry(2)) // signed, and next
	if err := c.stores["GOV/civil"].Close(); err != nil {
		t.Fatal(err)
	}
	s := c.openSilent("GOV/civil")
	if err := errors.Join(s.Hear("GOV/tax", nil, c.stores["GOV/tax"].Standing()), s.Hear("GOV/health", nil, nil)); err != nil {
		t.Fatal(err)
	}
	p, ok := c.stores["GOV/tax"].Outgoing("GOV/civil")
	if reply, err := s.AddCheckpoint(p); !ok || err != nil || len(reply.Cosignature) == 0 || reply.Size != 1 {
		t.Errorf("%+v, %v", reply, err)
	}
}

// Two mirrors that were shown two histories find out by telling one another where they stand, even when only one of them
// can prove it.
func TestForkIsFoundByStanding(t *testing.T) {
	c := newCluster(t)
	tax := c.cfg.Origin("GOV/tax")
	good := rawEntries(t, 1, 10)
	fork := append(append([][]byte{}, good[:6]...), rawEntries(t, 100, 8)...)
	civil, health := c.stores["GOV/civil"], c.stores["GOV/health"]
	for _, tc := range []struct {
		s *Store
		e [][]byte
	}{{civil, good}, {health, fork}} {
		if reply, err := tc.s.AddCheckpoint(Push{tax, forge(t, tax, "GOV/tax", tc.e), 0, tc.e}); err != nil || len(reply.Cosignature) == 0 {
			t.Fatal(err)
		}
	}
	if err := civil.Hear("GOV/health", nil, health.Standing()); err != nil { // larger than what is here: nothing to compare yet
		t.Fatal(err)
	}
	if err := health.Hear("GOV/civil", nil, civil.Standing()); !errors.Is(err, ErrInconsistent) {
		t.Fatalf("the larger side: %v", err)
	}
	files := health.Evidence()
	if len(files) != 1 || !health.Halted(tax) {
		t.Fatalf("%d files of evidence", len(files))
	}
	e, err := evidence.Parse(files[0])
	if err != nil {
		t.Fatal(err)
	}
	found, err := e.Verify(c.cfg)
	if err != nil || found.Owner != "GOV/tax" || found.First.N != 10 || found.Second.N != 14 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, s := range []*Store{civil, c.stores["GOV/tax"]} {
		fresh, err := s.AddEvidence(files[0])
		if again, _ := s.AddEvidence(files[0]); err != nil || !fresh || again {
			t.Fatalf("%s takes the evidence: %v, again %v, %v", s.member, fresh, again, err)
		}
	}
	if _, err := c.stores["GOV/tax"].Append(context.Background(), batchEntry(1)); !errors.Is(err, ErrHalted) {
		t.Errorf("its owner appends: %v", err)
	}
	s := c.reopen("GOV/civil")
	if !s.Halted(tax) || len(s.Evidence()) != 1 {
		t.Error("evidence is forgotten")
	}
	long := append(append([][]byte{}, good...), rawEntries(t, 50, 1)...)
	if _, err := s.AddCheckpoint(Push{tax, forge(t, tax, "GOV/tax", long), 10, long[10:]}); !errors.Is(err, ErrHalted) {
		t.Errorf("cosigns a halted log: %v", err)
	}
	files[0][len(files[0])/2] ^= 1
	if _, err := c.stores["GOV/benefits"].AddEvidence(files[0]); err == nil {
		t.Error("damaged evidence is taken")
	}
}

// What is told is bounded.
func TestHearIsBounded(t *testing.T) {
	c := newCluster(t)
	cp := forge(t, c.cfg.Origin("GOV/tax"), "GOV/tax", rawEntries(t, 1, 1))
	var many [][]byte
	for range 9 {
		many = append(many, cp)
	}
	s := c.stores["GOV/civil"]
	if err := s.Hear("GOV/tax", nil, many); !errors.Is(err, ErrMessage) {
		t.Errorf("nine checkpoints of four logs: %v", err)
	}
	if err := s.Hear("GOV/tax", make([]Head, 5), nil); !errors.Is(err, ErrMessage) {
		t.Errorf("five heads of four logs: %v", err)
	}
	if err := s.Hear("GOV/tax", nil, [][]byte{[]byte("x")}); !errors.Is(err, note.ErrNote) {
		t.Errorf("no note: %v", err)
	}
}

// An owner tells others of the tree that it brings to a quorum, not of larger ones that it signed meanwhile. Mirrors that
// heard of those would refuse the one it pushes as old, and its log would stand still. (Found by the simulator.)
func TestMirrorsThatHearABusyOwnerCosignWhatItPushes(t *testing.T) {
	c := newCluster(t)
	const owner = "GOV/tax"
	c.append(owner, batchEntry(1))
	c.append(owner, batchEntry(2), batchEntry(3)) // the first is not final yet
	for _, name := range testNames {
		if name != owner {
			if err := c.stores[name].Hear(owner, c.stores[owner].Heads(), c.stores[owner].Standing()); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.pushAll(owner, testNames...)
	if n := c.finalSize(owner, owner); n != 3 {
		t.Fatalf("final size %d of 3", n)
	}
}
