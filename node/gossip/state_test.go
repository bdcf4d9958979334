package gossip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/peer"
)

// history is the entries of a log that GOV/x may write, from a number on, and the checkpoint that it signs over them.
func (n *net) history(from, count int) ledger.Push {
	n.t.Helper()
	p := ledger.Push{Origin: n.cfg.Origin("GOV/x")}
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, k := range at {
			out[i] = hashes[k]
		}
		return out, nil
	})
	for i := range count {
		raw, err := entry.Encode(batch(from + i))
		if err != nil {
			n.t.Fatal(err)
		}
		more, err := tlog.StoredHashes(int64(i), raw, reader)
		if err != nil {
			n.t.Fatal(err)
		}
		hashes, p.Entries = append(hashes, more...), append(p.Entries, raw)
	}
	root, err := tlog.TreeHash(int64(count), reader)
	if err != nil {
		n.t.Fatal(err)
	}
	if p.Checkpoint, err = note.Sign(p.Origin, tlog.Tree{N: int64(count), Hash: root}, testKeys.Key("log GOV/x")); err != nil {
		n.t.Fatal(err)
	}
	return p
}

// everybodyHasEvidence waits until all members hold evidence against the owner of a log.
func (n *net) everybodyHasEvidence(origin string) {
	n.t.Helper()
	end := time.Now().Add(20 * time.Second)
	for name, s := range n.stores {
		for len(s.Evidence()) != 1 || !s.Halted(origin) {
			if time.Now().After(end) {
				n.t.Fatalf("%s holds %d files of evidence, halted %v", name, len(s.Evidence()), s.Halted(origin))
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func (n *net) forked() evidence.Evidence {
	n.t.Helper()
	e, err := evidence.New(n.history(1, 2).Checkpoint, n.history(9, 2).Checkpoint, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return e
}

// What one member knows against an owner all know soon, also one that was away.
func TestEvidenceSpreads(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c", "GOV/x")
	n.heard("GOV/b")
	if fresh, err := n.stores["GOV/b"].AddEvidence(n.forked().Encode()); err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	n.everybodyHasEvidence(n.cfg.Origin("GOV/x"))
	n.start("GOV/d")
	n.everybodyHasEvidence(n.cfg.Origin("GOV/x"))
}

// Two mirrors that were shown two histories, neither of which becomes final, find out by telling what stands with them.
func TestForkThatNeverBecomesFinalIsFound(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c", "GOV/d")
	n.heard("GOV/a")
	n.heard("GOV/b")
	show := func(member string, push ledger.Push) {
		t.Helper()
		if reply, err := n.stores[member].AddCheckpoint(push); err != nil || len(reply.Cosignature) == 0 {
			t.Fatal(reply, err)
		}
	}
	show("GOV/a", n.history(1, 3)) // the shorter one first: who has heard of a longer one cosigns it no more
	show("GOV/b", n.history(9, 5))
	n.everybodyHasEvidence(n.cfg.Origin("GOV/x"))
}

// counting counts calls and answers them.
type counting struct {
	mu     sync.Mutex
	calls  map[peer.Kind]int
	answer func(kind peer.Kind, body []byte) ([]byte, error)
}

func (c *counting) Call(_ context.Context, _ string, kind peer.Kind, body []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.calls == nil {
		c.calls = map[peer.Kind]int{}
	}
	c.calls[kind]++
	return c.answer(kind, body)
}

// count returns the calls of a kind.
func (c *counting) count(kind peer.Kind) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[kind]
}

// become changes what is answered.
func (c *counting) become(answer func(kind peer.Kind, body []byte) ([]byte, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = answer
}

// idle opens a member's store and gossip that does nothing by itself.
func (n *net) idle(member string, o Options) (*ledger.Store, *Gossip) {
	n.t.Helper()
	s, err := ledger.Open(ledger.Options{Dir: n.folder(member + "-idle"), Config: n.cfg, Member: member,
		LogKey: testKeys.Key("log " + member), MirrorKey: testKeys.Key("mirror " + member)})
	if err != nil {
		n.t.Fatal(err)
	}
	if o.Store == nil {
		o.Store = s
	}
	o.Config, o.Member = n.cfg, member
	g := New(o)
	n.t.Cleanup(func() {
		g.tasks.Wait()
		if err := s.Close(); err != nil {
			n.t.Error(err)
		}
	})
	return s, g
}

// A member that offers evidence which proves nothing is not asked again for a while, whatever it names; another one is.
func TestWorthlessEvidenceIsNotFetchedAgain(t *testing.T) {
	n := newNet(t)
	good := n.forked()
	bad := good
	bad.Second = good.First
	c := &counting{answer: func(peer.Kind, []byte) ([]byte, error) { return encodeDocuments([][]byte{bad.Encode()}, 1<<20), nil }}
	s, g := n.idle("GOV/a", Options{Peers: c})
	names := []hash{sha256.Sum256(bad.Encode()), {1}}
	if err := g.takeEvidence(t.Context(), "GOV/b", names); err == nil {
		t.Error("worthless evidence was taken")
	}
	for range 3 {
		if err := g.takeEvidence(t.Context(), "GOV/b", append(names, hash{2})); err != nil {
			t.Error(err)
		}
	}
	if c.count(peer.KindEvidence) != 1 {
		t.Errorf("%d requests", c.count(peer.KindEvidence))
	}
	c.become(func(peer.Kind, []byte) ([]byte, error) { return encodeDocuments([][]byte{good.Encode()}, 1<<20), nil })
	for range 3 { // the name that nobody shows is asked for each time, the others not
		if err := g.takeEvidence(t.Context(), "GOV/c", []hash{names[0], sha256.Sum256(good.Encode())}); err != nil {
			t.Error(err)
		}
	}
	if c.count(peer.KindEvidence) != 2 || len(s.Evidence()) != 1 {
		t.Errorf("%d requests, %d files", c.count(peer.KindEvidence), len(s.Evidence()))
	}
}

// A checkpoint that a member names and does not give is asked for at others, and none of that counts as having heard them: their
// heads may not be here.
func TestStandingThatDidNotComeIsAskedForAgain(t *testing.T) {
	n := newNet(t)
	stands := n.history(1, 3).Checkpoint
	failing := errors.New("timed out")
	c := &counting{answer: func(peer.Kind, []byte) ([]byte, error) { return nil, failing }}
	s, g := n.idle("GOV/a", Options{Peers: c})
	names := []hash{sha256.Sum256(stands)}
	if err := g.takeStanding(t.Context(), "GOV/b", names); !errors.Is(err, failing) {
		t.Error(err)
	}
	c.become(func(peer.Kind, []byte) ([]byte, error) { return encodeDocuments(nil, 1<<20), nil })
	for range 3 { // it names what it does not give, and rests
		if err := g.takeStanding(t.Context(), "GOV/b", names); err != nil {
			t.Error(err)
		}
	}
	if n := c.count(peer.KindStanding); n != 2 {
		t.Errorf("%d requests", n)
	}
	c.become(func(peer.Kind, []byte) ([]byte, error) { return encodeDocuments([][]byte{stands}, 1<<20), nil })
	for _, m := range []string{"GOV/c", "GOV/d", "GOV/c", "GOV/d"} {
		if err := g.takeStanding(t.Context(), m, names); err != nil {
			t.Error(err)
		}
	}
	if n := c.count(peer.KindStanding); n != 3 {
		t.Errorf("%d requests", n)
	}
	if end, err := s.End(n.cfg.Origin("GOV/x")); err != nil || end.N != 3 {
		t.Errorf("size %d: %v", end.N, err)
	}
	select {
	case <-s.Heard():
		t.Error("standing checkpoints count as having heard their members")
	default:
	}
}

// offsets notes what a store is told of clocks.
type offsets struct {
	Store
	seen map[string]time.Duration
}

func (o *offsets) ObserveClock(member string, offset time.Duration) { o.seen[member] = offset }

// A comparison shows how far another clock is, less half of what the answer took.
func TestComparisonShowsClocks(t *testing.T) {
	n := newNet(t)
	_, b := n.idle("GOV/b", Options{Now: func() time.Time { return time.Now().Add(-7 * time.Second) }})
	s, _ := n.idle("GOV/a", Options{})
	seen := &offsets{s, map[string]time.Duration{}}
	var at time.Duration // of a's clock, which jumps during a call
	slow := &counting{answer: func(kind peer.Kind, body []byte) ([]byte, error) {
		at += 100 * time.Millisecond
		reply, err := b.Handle(t.Context(), "GOV/a", kind, body)
		at += 100 * time.Millisecond
		return reply, err
	}}
	_, a := n.idle("GOV/c", Options{Store: seen, Peers: slow, Now: func() time.Time { return time.Now().Add(at) }})
	if err := a.compare(t.Context(), "GOV/b"); err != nil {
		t.Fatal(err)
	}
	if o := seen.seen["GOV/b"]; o < -7200*time.Millisecond || o > -7000*time.Millisecond {
		t.Errorf("offset %v", o)
	}
	delete(seen.seen, "GOV/b")
	slow.answer = func(kind peer.Kind, body []byte) ([]byte, error) {
		at += maxRoundTrip + time.Second
		return b.Handle(t.Context(), "GOV/a", kind, body)
	}
	if err := a.compare(t.Context(), "GOV/b"); err != nil || len(seen.seen) != 0 {
		t.Errorf("a comparison that took long: %v, %v", seen.seen, err)
	}
}

// fakeVersions is a Versions without rules.
type fakeVersions struct {
	succession []byte
	links      map[int][]byte
	err        error
	tries      int
}

func (f *fakeVersions) Succession() []byte { return f.succession }
func (f *fakeVersions) AddSuccession(data []byte) error {
	f.tries++
	if f.err == nil {
		f.succession = data
	}
	return f.err
}
func (f *fakeVersions) Link(version int) ([]byte, bool) { l, ok := f.links[version]; return l, ok }
func (f *fakeVersions) AddLink(data []byte) error       { f.links[2] = data; return nil }

func TestSuccessionIsFetchedWhereItDiffers(t *testing.T) {
	n := newNet(t)
	theirs, ours := &fakeVersions{succession: []byte("proposal")}, &fakeVersions{err: errors.New("no")}
	_, b := n.idle("GOV/b", Options{Versions: theirs})
	calls := &counting{answer: func(kind peer.Kind, body []byte) ([]byte, error) { return b.Handle(t.Context(), "GOV/a", kind, body) }}
	_, a := n.idle("GOV/a", Options{Versions: ours, Peers: calls})
	if err := a.compare(t.Context(), "GOV/b"); err == nil {
		t.Error("a succession that was refused is no failure")
	}
	if err := a.compare(t.Context(), "GOV/b"); err != nil || ours.tries != 1 {
		t.Errorf("%d tries of the same document, %v", ours.tries, err)
	}
	theirs.succession, ours.err = []byte("proposal and vote"), nil
	b.refreshState()
	for range 2 {
		if err := a.compare(t.Context(), "GOV/b"); err != nil || string(ours.succession) != "proposal and vote" {
			t.Errorf("%q, %v", ours.succession, err)
		}
		a.refreshState()
	}
	if calls.count(peer.KindSuccession) != 2 {
		t.Errorf("fetched %d times", calls.count(peer.KindSuccession))
	}
}

// A member that finds another with a newer configuration asks it for the link, and one that is itself newer gets none.
func TestLinkIsFetchedFromAnotherVersion(t *testing.T) {
	n := newNet(t)
	theirs, ours := &fakeVersions{links: map[int][]byte{2: []byte("link")}}, &fakeVersions{links: map[int][]byte{}}
	_, b := n.idle("GOV/b", Options{Versions: theirs})
	calls := &counting{answer: func(kind peer.Kind, body []byte) ([]byte, error) {
		if kind != peer.KindChain {
			return nil, fmt.Errorf("calling: %w", peer.ErrOtherVersion)
		}
		reply, err := b.Handle(t.Context(), "GOV/a", kind, body)
		var coded peer.Coded
		if errors.As(err, &coded) {
			err = &peer.RemoteError{Code: coded.Code()}
		}
		return reply, err
	}}
	_, a := n.idle("GOV/a", Options{Versions: ours, Peers: calls})
	err := a.compare(t.Context(), "GOV/b")
	a.report(t.Context(), "comparing", "GOV/b", err)
	select {
	case member := <-a.ahead:
		if err := a.takeLink(t.Context(), member); err != nil || string(ours.links[2]) != "link" {
			t.Errorf("%v, %v", ours.links, err)
		}
	default:
		t.Fatal("another version is not noticed")
	}
	theirs.links, ours.links = nil, map[int][]byte{}
	if err := a.takeLink(t.Context(), "GOV/b"); err != nil || len(ours.links) != 0 {
		t.Errorf("a member that is behind: %v, %v", ours.links, err)
	}
	ours.links[2] = []byte("link")
	before := calls.count(peer.KindChain)
	if err := a.takeLink(t.Context(), "GOV/b"); err != nil || calls.count(peer.KindChain) != before {
		t.Errorf("a link that is here is asked for: %v", err)
	}
}

// A mirror that says to hold heads which it does not show is not heard.
func TestMirrorThatNamesHeadsNobodyHasIsNotHeard(t *testing.T) {
	n := newNet(t)
	liar := &counting{answer: func(kind peer.Kind, _ []byte) ([]byte, error) {
		if kind == peer.KindCompare {
			return comparison{differ: true, marks: []core.Mark{{Log: 2, Size: 1 << 40}}}.encode(), nil
		}
		return nil, nil
	}}
	_, a := n.idle("GOV/a", Options{Peers: liar})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); a.spreadLoop(ctx) }()
	if err := a.hear(ctx, "GOV/b"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	<-done
	a.tasks.Wait()
	if liar.count(peer.KindPull) == 0 || liar.count(peer.KindStanding) > 0 {
		t.Errorf("%v", liar.calls)
	}
}

func TestFresh(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c")
	n.final("GOV/a", n.append("GOV/a", 0))
	_, x := n.idle("GOV/x", Options{Peers: direct{n.wires.nodes["GOV/a"], "GOV/x"}})
	head, err := x.Fresh(t.Context(), "GOV/a")
	if err != nil || head.Size != 1 || head.Origin != n.cfg.Origin("GOV/a") {
		t.Errorf("%+v, %v", head, err)
	}
	b := n.wires.nodes["GOV/b"]
	n.sees("GOV/b", "GOV/a", 1)
	if head, err = b.Fresh(t.Context(), "GOV/a"); err != nil || len(head.Times) != n.cfg.Quorum() {
		t.Errorf("%+v, %v", head, err)
	}
	lying := &counting{answer: func(peer.Kind, []byte) ([]byte, error) { return n.history(1, 1).Checkpoint, nil }}
	_, y := n.idle("GOV/c", Options{Peers: lying})
	if head, err := y.Fresh(t.Context(), "GOV/a"); err == nil {
		t.Errorf("another log's head, without cosignatures: %+v", head)
	}
}
