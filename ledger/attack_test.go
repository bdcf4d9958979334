package ledger

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// Attacks: what one malicious member, an operator's mistake or an unlucky moment could do to honest stores.

// rotated is a member's card with the mirror key of its second generation.
func (c *cluster) rotated(name string) network.Card {
	c.tb.Helper()
	m, _ := c.cfg.Member(name)
	m.MirrorKey = network.MirrorVKey(network.MirrorName(testInstance, name, 2), testKey("mirror 2 "+name).Public().(ed25519.PublicKey))
	card, err := network.NewCard(testInstance, m, testKey("log "+name))
	if err != nil {
		c.tb.Fatal(err)
	}
	return card
}

// change brings a change through with the votes of the first three mirrors.
func (c *cluster) change(change network.Change, names ...string) {
	c.tb.Helper()
	p, next := c.propose(change)
	if err := c.stores[names[0]].Propose(p); err != nil {
		c.tb.Fatal(err)
	}
	c.tell(names...)
	c.vote(next, names[:3]...)
	c.tell(names...)
	c.supersede(names...)
}

// A proposer that signs a second proposal after the votes for the first does not stop mirrors from cosigning, whichever
// digest is the smaller one and though they start again; and what they voted to fence stays limited.
func TestSecondProposalDoesNotStopThoseThatVotedForTheFirst(t *testing.T) {
	c := newCluster(t)
	const owner, name = "GOV/tax", "GOV/civil"
	c.append(owner, batchEntry(1))
	c.pushAll(owner, testNames...)
	head := c.final(owner, owner)
	p, next := c.propose(network.Change{Remove: []string{owner},
		Fences: []network.Fence{fenceAt(head.Origin, tlog.Tree{N: 1, Hash: head.Root})}})
	var rival network.Proposal
	for beat := 11; ; beat++ { // one with a smaller digest
		if rival, _ = c.propose(network.Change{Beat: &beat}); rival.Digest() < p.Digest() {
			break
		}
	}
	s := c.stores[name]
	if err := s.Propose(p); err != nil {
		t.Fatal(err)
	}
	c.vote(next, name)
	if err := s.Propose(rival); !errors.Is(err, network.ErrEquivocation) {
		t.Fatal(err)
	}
	for range 2 {
		c.append("GOV/health", batchEntry(1))
		c.pushAll("GOV/health", name, "GOV/benefits")
		c.append(owner, batchEntry(2))
		push, ok := c.stores[owner].Outgoing(name)
		if !ok {
			t.Fatal("nothing to push")
		}
		if reply, err := s.AddCheckpoint(push); !errors.Is(err, ErrFenced) || len(reply.Cosignature) > 0 {
			t.Fatalf("cosigns beyond the fence that it voted for: %v", err)
		}
		s = c.reopen(name)
		if k := s.Succession(); k.Rival == nil || len(k.Votes) != 1 {
			t.Fatalf("after a start: %d votes", len(k.Votes))
		}
	}
}

// Mirrors whose keys were all rotated vote for no fence that cuts off what their old keys cosigned, though none of them
// knows that it is final.
func TestNoVoteForAFenceBelowWhatTheOldKeyCosigned(t *testing.T) {
	c := newCluster(t)
	const owner = "GOV/tax"
	c.append(owner, batchEntry(1))
	c.pushAll(owner, testNames...)
	for _, name := range testNames {
		c.spread(owner, name, owner)
	}
	first := c.final(owner, owner)
	c.append(owner, batchEntry(2))
	c.pushAll(owner, testNames...) // final at its owner, who tells nobody
	if n := c.finalSize(owner, owner); n != 2 {
		t.Fatal(n)
	}
	var cards []network.Card
	for _, name := range testNames {
		cards = append(cards, c.rotated(name))
	}
	c.change(network.Change{Replace: cards}, testNames...)
	_, next := c.propose(network.Change{Remove: []string{owner},
		Fences: []network.Fence{fenceAt(first.Origin, tlog.Tree{N: 1, Hash: first.Root})}})
	for _, name := range testNames[:3] {
		if err := c.stores[name].castErr(next); !errors.Is(err, ErrProposal) {
			t.Errorf("%s votes to cut off a final entry: %v", name, err)
		}
	}
}

// A mirror that joined later votes for no fence below a tree that was handed over, if it holds that tree's entries.
func TestNoVoteForAFenceBelowAPin(t *testing.T) {
	c := newCluster(t, "GOV/labour")
	const owner, name = "GOV/tax", "GOV/labour"
	five := append([]string{"GOV/benefits", "GOV/civil", "GOV/health"}, owner, name)
	c.append(owner, batchEntry(1))
	c.pushAll(owner, testNames...)
	first := c.final(owner, owner)
	c.append(owner, batchEntry(2))
	c.pushAll(owner, testNames...)
	c.spread(owner, name, owner)
	c.change(network.Change{Mirrors: map[string]bool{name: true}}, five...)
	s := c.stores[name]
	r := s.replicas[first.Origin]
	if len(r.pins) != 1 || r.pins[0].N != 2 {
		t.Fatalf("pins %v", r.pins)
	}
	r.mu.Lock()
	r.final = tlog.Tree{N: 1, Hash: first.Root} // as if the entries had come otherwise than with the head
	r.mu.Unlock()
	_, next := c.propose(network.Change{Remove: []string{owner}, Fences: []network.Fence{fenceAt(first.Origin, tlog.Tree{N: 1, Hash: first.Root})}})
	if err := s.castErr(next); !errors.Is(err, ErrProposal) || s.ballot.Voted() != nil {
		t.Fatalf("votes to cut off what was handed over: %v", err)
	}
}

// The member that forked its log can be fenced, though a mirror had not fetched what is final of it when it heard of the fork.
func TestHaltedLogIsFetchedUpToItsFinalHead(t *testing.T) {
	c := newCluster(t)
	const owner, late = "GOV/tax", "GOV/health"
	origin := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1), batchEntry(2))
	c.pushAll(owner, "GOV/benefits", "GOV/civil")
	head := c.final(owner, owner)
	if head.Size != 2 {
		t.Fatal(head.Size)
	}
	c.spread(owner, "GOV/civil", owner)
	good, err := c.stores[owner].Read(origin, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	bad := append(append([][]byte{}, good[:1]...), rawEntries(t, 70, 1)...)
	if _, err := c.stores["GOV/civil"].AddCheckpoint(Push{origin, forge(t, origin, owner, bad), 0, bad}); !errors.Is(err, ErrInconsistent) {
		t.Fatal(err)
	}
	s := c.stores[late]
	if fresh, err := s.AddEvidence(c.stores["GOV/civil"].Evidence()[0]); err != nil || !fresh {
		t.Fatal(err)
	}
	if _, err := s.AddHead(head); err != nil && !errors.Is(err, ErrHalted) {
		t.Fatal(err)
	}
	fetch(t, s, c.stores["GOV/civil"], origin)
	if h, ok := s.Final(origin); ok {
		t.Fatalf("size %d of a halted log became final", h.Size)
	}
	_, next := c.propose(network.Change{Remove: []string{owner}, Fences: []network.Fence{fenceAt(origin, tlog.Tree{N: 2, Hash: head.Root})}})
	if err := s.castErr(next); err != nil {
		t.Fatalf("cannot vote to end a forked log: %v", err)
	}
}

// A member that lost its folder goes on with a new generation of its log, though it had brought its last checkpoint to one
// mirror only: the others fetch that from there, to vote for a fence that loses nothing. So it is if the log is halted.
func TestFenceKeepsWhatOneMirrorCosigned(t *testing.T) {
	for _, halted := range []bool{false, true} {
		c := newCluster(t)
		const owner, holder, late = "GOV/tax", "GOV/civil", "GOV/health"
		origin := c.cfg.Origin(owner)
		c.append(owner, batchEntry(1))
		c.pushAll(owner, testNames...)
		c.append(owner, batchEntry(2), batchEntry(3))
		c.push(owner, holder)
		tree, err := c.stores[owner].own.files.Tree(3)
		if err != nil {
			t.Fatal(err)
		}
		p, next := c.propose(network.Change{Replace: []network.Card{secondCard(t, c, owner)}, Fences: []network.Fence{fenceAt(origin, tree)}})
		s := c.stores[late]
		if halted {
			bad := rawEntries(t, 70, 2)
			if _, err := c.stores[holder].AddCheckpoint(Push{origin, forge(t, origin, owner, bad), 0, bad}); !errors.Is(err, ErrInconsistent) {
				t.Fatal(err)
			}
			if _, err := s.AddEvidence(c.stores[holder].Evidence()[0]); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Hear(holder, nil, c.stores[holder].Standing()); err != nil {
			t.Fatal(err)
		}
		if err := s.Hear("GOV/benefits", nil, [][]byte{forge(t, origin, owner, rawEntries(t, 1, 9))}); err != nil { // told of once more
			t.Fatal(err)
		}
		if err := c.stores["GOV/benefits"].Propose(p); err != nil {
			t.Fatal(err)
		}
		c.tell(testNames...)
		if err := s.Vote(next.Digest()); !errors.Is(err, ErrProposal) {
			t.Fatalf("votes for what it does not hold: %v", err)
		}
		fetch(t, s, c.stores[holder], origin)
		if h, ok := s.Final(origin); ok && h.Size > 1 {
			t.Fatalf("size %d became final", h.Size)
		}
		if err := s.Vote(next.Digest()); err != nil {
			t.Fatalf("halted %v: %v", halted, err)
		}
		if err := c.stores[holder].Vote(next.Digest()); err != nil {
			t.Fatal(err)
		}
	}
}

// A mirror that was none for a while, with a log that began meanwhile, starts again; without a state that its key had it does
// not.
func TestMirrorOnceMore(t *testing.T) {
	c := newCluster(t, "GOV/labour")
	const name, owner = "GOV/labour", "GOV/tax"
	all := append([]string{"GOV/benefits", "GOV/civil", "GOV/health"}, owner, name)
	mirror := func(is bool) {
		t.Helper()
		p, next := c.propose(network.Change{Mirrors: map[string]bool{name: is}})
		if err := c.stores[all[0]].Propose(p); err != nil {
			t.Fatal(err)
		}
		c.tell(all...)
		c.vote(next, all[:4]...)
		c.tell(all...)
		c.supersede(all...)
	}
	mirror(true)
	c.append(owner, batchEntry(1))
	c.pushAll(owner, all...)
	mirror(false)
	p, next := c.propose(network.Change{Add: []network.Card{testCard(t, "GOV/water", 4441, false)}})
	if err := c.stores[all[0]].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(all...)
	c.vote(next, all[:4]...)
	c.tell(all...)
	c.supersede(all...)
	c.open("GOV/water")
	c.append("GOV/water", batchEntry(1))
	c.pushAll("GOV/water", testNames...)
	c.spread("GOV/water", name, "GOV/water")
	all = append(all, "GOV/water")
	mirror(true)
	c.append("GOV/water", batchEntry(2))
	c.push("GOV/water", name)
	s := c.reopen(name)
	if err := errors.Join(s.Close(), s.disk.Remove(s.disk.Path("signer", "mirror", escape(c.cfg.Origin(owner))+".json"))); err != nil {
		t.Fatal(err)
	}
	delete(c.stores, name)
	if s, err := Open(c.options(name)); err == nil {
		t.Error("starts with a key whose state is lost", s.Close())
	}
}

// Operators that agree on a configuration out of band, since the proposer is gone, open their folders with it: heads that are
// final by the version before, whose mirrors it does not know, lose no entry, and a new key begins.
func TestConfigurationPinnedOutOfBand(t *testing.T) {
	c := newCluster(t, "GOV/labour")
	const owner, lost = "GOV/tax", "GOV/benefits"
	c.append(owner, batchEntry(1), batchEntry(2))
	c.pushAll(owner, lost, "GOV/civil")
	if n := c.finalSize(owner, owner); n != 2 {
		t.Fatal(n)
	}
	rest := []string{"GOV/civil", "GOV/health", owner, "GOV/labour"}
	for _, name := range rest {
		c.spread(owner, name, owner)
	}
	gone := c.stores[lost].own
	proposer := "GOV/civil"
	next, err := network.Succeed(c.cfg, network.Change{Remove: []string{lost}, Proposer: &proposer,
		Replace: []network.Card{c.rotated("GOV/health")}, Fences: []network.Fence{fenceAt(gone.origin, gone.verified)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(rest, lost) {
		if err := c.stores[name].Close(); err != nil {
			t.Fatal(err)
		}
	}
	delete(c.stores, lost)
	c.cfg = next
	for range 2 {
		for _, name := range rest {
			if err := c.stores[name].Close(); err != nil {
				t.Fatal(err)
			}
			s := c.open(name)
			if n := s.Size(c.cfg.Origin(owner)); n != 2 {
				t.Fatalf("%s holds %d entries of 2", name, n)
			}
		}
	}
	c.append(owner, batchEntry(3))
	c.pushAll(owner, "GOV/civil", "GOV/health")
	if n := c.finalSize(owner, owner); n != 3 {
		t.Fatalf("final size %d", n)
	}
}

// A flaky file system fails to read some files.
type flaky struct {
	tiles.FS
	fails func(path string) bool
}

func (f *flaky) Read(path string, max int64) ([]byte, error) {
	if f.fails != nil && f.fails(path) {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("too many open files")}
	}
	return f.FS.Read(path, max)
}

// openFlaky opens a member's store on a flaky file system.
func (c *cluster) openFlaky(name string, f *flaky) (*Store, error) {
	c.tb.Helper()
	disk, err := tiles.NewDiskOn(f, c.path(name))
	if err != nil {
		c.tb.Fatal(err)
	}
	return openOn(disk, c.options(name))
}

// A fenced log that cannot be read for the moment is not thrown away.
func TestFencedLogThatCannotBeReadStays(t *testing.T) {
	c := newCluster(t)
	const owner, name = "GOV/tax", "GOV/civil"
	origin := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1), batchEntry(2))
	c.pushAll(owner, testNames...)
	head := c.final(owner, owner)
	c.change(network.Change{Remove: []string{owner}, Fences: []network.Fence{fenceAt(origin, tlog.Tree{N: 2, Hash: head.Root})}},
		"GOV/benefits", name, "GOV/health")
	if err := c.stores[name].Close(); err != nil {
		t.Fatal(err)
	}
	f := &flaky{tiles.OS(), func(path string) bool {
		return strings.Contains(path, "entries") && strings.Contains(path, escape(origin))
	}}
	if s, err := c.openFlaky(name, f); err == nil {
		t.Error("opens", s.Close())
	}
	if s := c.open(name); s.Size(origin) != 2 {
		t.Errorf("%d entries are left", s.Size(origin))
	}
}

// Facts are taken once, though reading the entries failed before.
func TestFactsAreTakenOnceThoughReadingFails(t *testing.T) {
	c := newCluster(t)
	tax := c.cfg.Origin("GOV/tax")
	const name = "GOV/civil"
	if err := c.stores[name].Close(); err != nil {
		t.Fatal(err)
	}
	f := &flaky{FS: tiles.OS()}
	s, err := c.openFlaky(name, f)
	if err != nil {
		t.Fatal(err)
	}
	c.stores[name] = s
	hear(t, s)
	all := make([][]byte, 600)
	for i := range all {
		all[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 1500) // more than are read at once
	}
	cp := forge(t, tax, "GOV/tax", all)
	for from := 0; from < 500; from += 300 {
		if _, err := s.AddCheckpoint(Push{tax, cp, uint64(from), all[from:min(from+300, 599)]}); err != nil {
			t.Fatal(err)
		}
	}
	reads := 0
	f.fails = func(path string) bool {
		if strings.Contains(path, "entries") {
			reads++
		}
		return reads == 3 // of what the second page begins with
	}
	if reply, err := s.AddCheckpoint(Push{tax, cp, 599, all[599:]}); err == nil {
		t.Fatalf("cosigned %d", reply.Size)
	}
	f.fails = nil
	if reply, err := s.AddCheckpoint(Push{tax, cp, 600, nil}); err != nil || len(reply.Cosignature) == 0 {
		t.Fatal(err)
	}
	if n := s.replicas[tax].facts.Size(); n != 600 {
		t.Errorf("facts of %d entries of 600", n)
	}
}

// A mirror does not forget what others hold because it could not cosign the tree that contained it: it signs none that is
// smaller afterwards.
func TestFloorStaysUntilItIsCosigned(t *testing.T) {
	c := newCluster(t)
	tax := c.cfg.Origin("GOV/tax")
	all := rawEntries(t, 1, 10)
	s := c.stores["GOV/civil"]
	push := func(from, to int) error {
		reply, err := s.AddCheckpoint(Push{tax, forge(t, tax, "GOV/tax", all[:to]), uint64(from), all[from:to]})
		if err == nil && len(reply.Cosignature) == 0 {
			t.Fatalf("size %d: no answer", to)
		}
		return err
	}
	if err := push(0, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Hear("GOV/benefits", nil, [][]byte{forge(t, tax, "GOV/tax", all)}); err != nil {
		t.Fatal(err)
	}
	c.clock.add(-time.Minute)
	if err := push(1, 10); !errors.Is(err, signer.ErrClock) {
		t.Fatal(err)
	}
	c.clock.add(time.Minute)
	if err := push(9, 9); !errors.Is(err, ErrStale) {
		t.Fatalf("cosigns a smaller tree than others hold: %v", err)
	}
	if err := push(10, 10); err != nil {
		t.Fatal(err)
	}
}

// An owner whose log has another root than what was handed over of it signs nothing.
func TestOwnLogMustContainWhatWasHandedOver(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/tax"]
	c.append("GOV/tax", batchEntry(1), batchEntry(2))
	s.own.pins = []tlog.Tree{{N: 1, Hash: tlog.Hash{1}}}
	if err := s.ownPins(s.own); !errors.Is(err, ErrRolledBack) {
		t.Fatal(err)
	}
}

// A mirror that was told of a final head, as after it lost what it had cosigned of it, cosigns nothing smaller and nothing that
// does not contain it, though the head's entries are not here yet.
func TestNothingIsCosignedBelowAFinalHead(t *testing.T) {
	c := newCluster(t)
	const owner = "GOV/tax"
	tax := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1), batchEntry(2), batchEntry(3))
	c.pushAll(owner, "GOV/benefits", "GOV/health")
	head := c.final(owner, owner)
	good, err := c.stores[owner].Read(tax, 0, 3)
	if err != nil || head.Size != 3 {
		t.Fatal(head.Size, err)
	}
	s := c.stores["GOV/civil"]
	if err := s.Hear("GOV/benefits", []Head{head}, nil); err != nil {
		t.Fatal(err)
	}
	if reply, err := s.AddCheckpoint(Push{tax, forge(t, tax, owner, good[:1]), 0, good[:1]}); !errors.Is(err, ErrStale) {
		t.Errorf("smaller: %s %v", reply.Cosignature, err)
	}
	other := append(append([][]byte{}, good[:1]...), rawEntries(t, 50, 3)...)
	if reply, err := s.AddCheckpoint(Push{tax, forge(t, tax, owner, other), 1, other[1:]}); !errors.Is(err, ErrInconsistent) {
		t.Errorf("another history: %s %v", reply.Cosignature, err)
	}
	if len(s.Evidence()) != 1 {
		t.Error("no evidence")
	}
	if behind, err := s.AddHead(head); err != nil || !behind {
		t.Fatal(behind, err)
	}
	fetch(t, s, c.stores["GOV/health"], tax)
	if tree := s.replicas[tax].tree(); tree.N != 3 || tree.Hash != head.Root {
		t.Errorf("holds %d entries of another history", tree.N)
	}
}

// A head whose entries arrived and cannot be read back for the moment stays wanted.
func TestWantedHeadSurvivesAFailedRead(t *testing.T) {
	c := newCluster(t)
	const owner, name = "GOV/tax", "GOV/civil"
	tax := c.cfg.Origin(owner)
	for beat := range 300 {
		c.append(owner, batchEntry(uint64(beat+1)))
	}
	c.pushAll(owner, "GOV/benefits", "GOV/health")
	head := c.final(owner, owner)
	if err := c.stores[name].Close(); err != nil {
		t.Fatal(err)
	}
	f := &flaky{FS: tiles.OS()}
	s, err := c.openFlaky(name, f)
	if err != nil {
		t.Fatal(err)
	}
	c.stores[name] = s
	if behind, err := s.AddHead(head); err != nil || !behind {
		t.Fatal(behind, err)
	}
	good, err := c.stores[owner].Read(tax, 0, head.Size)
	if err != nil {
		t.Fatal(err)
	}
	f.fails = func(path string) bool { return strings.Contains(path, "entries") }
	if err := s.AddEntries(tax, Entries{Entries: good}); err == nil {
		t.Fatal("no entry was read back")
	}
	f.fails = nil
	if wants := s.Wants(); len(wants) != 0 || c.finalSize(name, owner) != head.Size {
		t.Errorf("final size %d, wants %v", c.finalSize(name, owner), wants)
	}
}
