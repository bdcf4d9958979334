package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
)

// secondCard is a member's card with the log key of its second generation.
func secondCard(tb testing.TB, c *cluster, name string) network.Card {
	tb.Helper()
	m, _ := c.cfg.Member(name)
	key := testKey("log 2 " + name)
	m.LogKey = network.LogVKey(network.LogName(testInstance, name, 2), key.Public().(ed25519.PublicKey))
	card, err := network.NewCard(testInstance, m, key)
	if err != nil {
		tb.Fatal(err)
	}
	return card
}

func fenceAt(origin string, t tlog.Tree) network.Fence {
	return network.Fence{Origin: origin, Size: t.N, Root: hex.EncodeToString(t.Hash[:])}
}

// TestLostLogGoesOnAsItsNextGeneration lets a member lose its folder: its old log ends at a fence and stays readable, its
// new one begins with a new key, and who comes later fetches both.
func TestLostLogGoesOnAsItsNextGeneration(t *testing.T) {
	c := newCluster(t, "GOV/labour")
	const owner = "GOV/tax"
	old := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1), batchEntry(2), batchEntry(3))
	c.pushAll(owner, testNames...)
	head := c.final(owner, owner)
	c.spread(owner, "GOV/civil", owner)
	rest := []string{"GOV/benefits", "GOV/civil", "GOV/health", "GOV/labour"}
	if err := errors.Join(c.stores[owner].Close(), os.RemoveAll(c.path(owner))); err != nil {
		t.Fatal(err)
	}
	p, next := c.propose(network.Change{Replace: []network.Card{secondCard(t, c, owner)},
		Fences: []network.Fence{fenceAt(old, tlog.Tree{N: int64(head.Size), Hash: head.Root})}})
	if err := c.stores["GOV/benefits"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(rest...)
	c.vote(next, "GOV/benefits", "GOV/civil", "GOV/health")
	c.tell(rest...)
	c.supersede(rest...)
	c.chains[owner] = c.chains["GOV/civil"]
	c.open(owner)
	origin := c.cfg.Origin(owner)
	if origin == old {
		t.Fatal("the log has no new generation")
	}
	c.append(owner, batchEntry(7))
	c.pushAll(owner, testNames...)
	if h := c.final(owner, owner); h.Size != 1 || h.Origin != origin {
		t.Fatalf("final %d entries of %s", h.Size, h.Origin)
	}
	for _, name := range []string{owner, "GOV/labour"} { // neither has the old log
		fetch(t, c.stores[name], c.stores["GOV/civil"], old)
		if n := c.stores[name].Size(old); n != head.Size {
			t.Errorf("%s holds %d entries of the fenced log", name, n)
		}
		found, err := c.stores[name].Search(Query{Member: owner, Limit: 100})
		if err != nil || len(found) < 3 {
			t.Errorf("%s finds %d entries of both generations: %v", name, len(found), err)
		}
	}
	s := c.reopen(owner)
	if n := s.Size(old); n != head.Size {
		t.Errorf("after a start the fenced log has %d entries", n)
	}
	if len(s.Wants()) != 0 {
		t.Errorf("wants %v", s.Wants())
	}
	c.reopen("GOV/civil")
}

// fetch pulls what a store wants of a log from another.
func fetch(tb testing.TB, to, from *Store, origin string) {
	tb.Helper()
	for _, w := range to.Wants() {
		if w.Origin != origin {
			continue
		}
		entries, err := from.Read(origin, to.Stored(origin), w.Size)
		if err == nil {
			err = to.AddEntries(origin, Entries{From: to.Stored(origin), Entries: entries})
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// A fenced log is refilled only with what its fence keeps.
func TestFencedLogIsWholeOrNotServed(t *testing.T) {
	c := newCluster(t)
	const owner = "GOV/tax"
	origin := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1), batchEntry(2))
	c.pushAll(owner, testNames...)
	head := c.final(owner, owner)
	p, next := c.propose(network.Change{Remove: []string{owner}, Fences: []network.Fence{fenceAt(origin, tlog.Tree{N: 2, Hash: head.Root})}})
	if err := c.stores["GOV/benefits"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(testNames...)
	c.vote(next, "GOV/benefits", "GOV/civil", "GOV/health")
	c.append(owner, batchEntry(3)) // it does not know yet
	push, ok := c.stores[owner].Outgoing("GOV/civil")
	if !ok {
		t.Fatal("nothing to push")
	}
	if reply, err := c.stores["GOV/civil"].AddCheckpoint(push); !errors.Is(err, ErrFenced) || len(reply.Cosignature) > 0 {
		t.Fatalf("cosigns beyond the fence that it voted for: %v", err)
	}
	rest := []string{"GOV/benefits", "GOV/civil", "GOV/health"}
	c.tell(rest...)
	c.supersede(rest...)
	s := c.stores["GOV/civil"]
	if reply, err := s.AddCheckpoint(push); !errors.Is(err, ErrFenced) || len(reply.Cosignature) > 0 {
		t.Fatalf("cosigns a fenced log: %v", err)
	}
	if err := errors.Join(s.Close(), os.RemoveAll(s.disk.Path("logs"))); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.disk.Path("signer")); err != nil { // as on another machine
		t.Fatal(err)
	}
	s = c.open("GOV/civil")
	if n := s.Size(origin); n != 0 {
		t.Fatalf("serves %d entries that are not there", n)
	}
	other := rawEntries(t, 50, 2)
	if err := s.AddEntries(origin, Entries{Entries: other}); !errors.Is(err, ErrEntries) {
		t.Fatalf("takes another history: %v", err)
	}
	if n := s.Size(origin); n != 0 {
		t.Fatalf("serves %d entries of another history", n)
	}
	fetch(t, s, c.stores["GOV/health"], origin)
	if n := s.Size(origin); n != 2 {
		t.Fatalf("holds %d entries", n)
	}
}

// A fenced log's tree comes with the configuration, and its head on its own: cosignatures of the smaller head that was known
// before are none of the fenced tree.
func TestHeadOfAFencedLogHasItsOwnCosignatures(t *testing.T) {
	c := newCluster(t, "GOV/labour")
	const owner, late = "GOV/tax", "GOV/labour"
	origin := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1))
	c.pushAll(owner, "GOV/benefits", "GOV/civil")
	c.spread(owner, late, owner)
	c.append(owner, batchEntry(2))
	c.pushAll(owner, "GOV/benefits", "GOV/health")
	whole := c.final(owner, owner)
	c.spread(owner, "GOV/civil", owner)
	all := append([]string{late}, testNames...)
	p, next := c.propose(network.Change{Replace: []network.Card{secondCard(t, c, owner)}, Fences: []network.Fence{fenceAt(origin, whole.tree())}})
	if err := c.stores["GOV/benefits"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(all...)
	c.vote(next, "GOV/benefits", "GOV/civil", "GOV/health")
	c.tell(all...)
	c.supersede(all...)
	s := c.stores[late]
	fetch(t, s, c.stores["GOV/health"], origin)
	if behind, err := s.AddHead(whole); behind || err != nil {
		t.Fatalf("behind %v: %v", behind, err)
	}
	for range 2 {
		h, _ := s.Final(origin)
		if tree, _, err := note.VerifyHead(c.cfg, origin, h.Checkpoint, 3); err != nil || tree != whole.tree() {
			t.Fatalf("shows size %d, which is not final: %v", tree.N, err)
		}
		s = c.reopen(late) // and it was kept
	}
}

// A mirror does not vote for a fence that cuts off what it cosigned, that keeps another history, or that keeps more than is
// here.
func TestVoteAgainstAFenceThatLosesEntries(t *testing.T) {
	c := newCluster(t)
	const owner = "GOV/tax"
	origin := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1), batchEntry(2))
	c.pushAll(owner, testNames...)
	head := c.final(owner, owner)
	s := c.stores["GOV/civil"]
	one, err := s.own.files.Tree(0)
	if err != nil {
		t.Fatal(err)
	}
	for name, tree := range map[string]tlog.Tree{
		"cuts off":        {N: 1, Hash: one.Hash},
		"another history": {N: 2, Hash: tlog.Hash{1}},
		"keeps more":      {N: 5, Hash: head.Root},
	} {
		p, next := c.propose(network.Change{Remove: []string{owner}, Fences: []network.Fence{fenceAt(origin, tree)}})
		if err := s.Propose(p); err != nil && !errors.Is(err, network.ErrEquivocation) {
			t.Fatal(name, err)
		}
		if err := s.castErr(next); !errors.Is(err, ErrProposal) {
			t.Errorf("%s: %v", name, err)
		}
		if s.ballot.Voted() != nil {
			t.Fatalf("%s: a vote was cast", name)
		}
	}
}

// A tree that others made final, as an earlier committee may have, is not cut off by mirrors that never cosigned it.
func TestVoteAgainstAFenceBelowAFinalHead(t *testing.T) {
	c := newCluster(t)
	const owner, idle = "GOV/tax", "GOV/civil"
	c.append(owner, batchEntry(1))
	c.pushAll(owner, testNames...)
	c.append(owner, batchEntry(2))
	c.pushAll(owner, "GOV/benefits", "GOV/health", "GOV/tax")
	c.spread(owner, idle, owner)
	s := c.stores[idle]
	r, err := s.replica(c.cfg.Origin(owner))
	if err != nil || r.mirror.State().Tree.N != 1 || r.final.N != 2 {
		t.Fatalf("%s cosigned size %d and knows size %d as final", idle, r.mirror.State().Tree.N, r.final.N)
	}
	one, err := r.files.Tree(1)
	if err != nil {
		t.Fatal(err)
	}
	p, next := c.propose(network.Change{Remove: []string{owner}, Fences: []network.Fence{fenceAt(r.origin, one)}})
	if err := s.Propose(p); err != nil {
		t.Fatal(err)
	}
	if err := s.castErr(next); !errors.Is(err, ErrProposal) || s.ballot.Voted() != nil {
		t.Errorf("voted to cut off a final entry: %v", err)
	}
}

// A log that an owner left in the middle of its work ends where some mirror cosigned it, though that never was final: all who
// were told so agree, and all mirrors vote for a fence there.
func TestEndOfALogIsWhatAMirrorCosigned(t *testing.T) {
	c := newCluster(t)
	const owner = "GOV/tax"
	origin := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1))
	c.pushAll(owner, testNames...)
	c.append(owner, batchEntry(2))
	c.push(owner, "GOV/health")
	rest := []string{"GOV/benefits", "GOV/civil", "GOV/health"}
	for _, name := range rest[:2] {
		if end, err := c.stores[name].End(origin); err != nil || end.N != 1 {
			t.Fatalf("%s, which was told nothing: size %d, %v", name, end.N, err)
		}
		if err := c.stores[name].Hear("GOV/health", nil, c.stores["GOV/health"].Standing()); err != nil {
			t.Fatal(err)
		}
	}
	end, err := c.stores["GOV/health"].End(origin)
	if err != nil || end.N != 2 {
		t.Fatalf("where it was cosigned: size %d, %v", end.N, err)
	}
	p, next := c.propose(network.Change{Remove: []string{owner}, Fences: []network.Fence{fenceAt(origin, end)}})
	if err := c.stores["GOV/benefits"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(rest...)
	for _, name := range rest {
		if told, err := c.stores[name].End(origin); err != nil || told != end {
			t.Errorf("%s: size %d, %v", name, told.N, err)
		}
		fetch(t, c.stores[name], c.stores["GOV/health"], origin)
	}
	c.vote(next, rest...)
	c.tell(rest...)
	c.supersede(rest...)
	if _, err := c.stores["GOV/civil"].End(origin); !errors.Is(err, ErrFenced) {
		t.Errorf("of a fenced log: %v", err)
	}
	if _, err := c.stores["GOV/civil"].End("none"); !errors.Is(err, ErrOrigin) {
		t.Errorf("of no log: %v", err)
	}
}

// castErr is the error of casting a vote.
func (s *Store) castErr(next *network.Configuration) error {
	_, err := s.castVote(next)
	return err
}

// A mirror with a new key goes on where its old one stopped, with a state of its own; without that state it does not start
// again.
func TestMirrorKeyIsRotated(t *testing.T) {
	c := newCluster(t)
	const name = "GOV/civil"
	c.append("GOV/tax", batchEntry(1))
	c.pushAll("GOV/tax", testNames...)
	c.append("GOV/tax", batchEntry(7)) // cosigned by the old key alone: still on this disk with the new one
	c.push("GOV/tax", name)
	m, _ := c.cfg.Member(name)
	m.MirrorKey = network.MirrorVKey(network.MirrorName(testInstance, name, 2), testKey("mirror 2 "+name).Public().(ed25519.PublicKey))
	card, err := network.NewCard(testInstance, m, testKey("log "+name))
	if err != nil {
		t.Fatal(err)
	}
	p, next := c.propose(network.Change{Replace: []network.Card{card}})
	if err := c.stores["GOV/benefits"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(testNames...)
	c.vote(next, "GOV/benefits", "GOV/civil", "GOV/health")
	c.tell(testNames...)
	c.supersede(testNames...)
	if n := c.stores[name].Size(c.cfg.Origin("GOV/tax")); n != 2 {
		t.Fatalf("%d entries with the new key, the old one cosigned 2", n)
	}
	c.append("GOV/tax", batchEntry(2))
	c.pushAll("GOV/tax", name, "GOV/health")
	if h := c.final("GOV/tax", "GOV/tax"); h.Size != 3 {
		t.Fatalf("final size %d with the new key", h.Size)
	}
	s := c.reopen(name)
	if err := errors.Join(s.Close(), s.disk.Remove(s.disk.Path("signer", "mirror-2", escape(c.cfg.Origin("GOV/tax"))+".json"))); err != nil {
		t.Fatal(err)
	}
	delete(c.stores, name)
	if s, err := Open(c.options(name)); !errors.Is(err, signer.ErrState) {
		t.Errorf("starts with a key whose state is lost: %v", errors.Join(err, s.Close()))
	}
}
