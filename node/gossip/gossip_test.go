package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
	"github.com/grille-gateway/grille/node/peer"
)

func TestMain(m *testing.M) {
	// buntdb's manager wakes once a second, and only then sees that its database was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tidwall/buntdb.(*DB).backgroundManager"))
}

const instance = "test"

const testKeys = networktest.Keys("gossip test ")

// testConfig has the mirrors GOV/a to GOV/d and the plain member GOV/x.
func testConfig(t *testing.T) *network.Configuration {
	t.Helper()
	var cards []network.Card
	for i, code := range []string{"a", "b", "c", "d", "x"} {
		m := testKeys.Member(instance, "GOV/"+code, fmt.Sprintf("127.0.0.1:%d", 4433+i), code != "x")
		cards = append(cards, testKeys.Card(t, instance, m))
	}
	return networktest.Build(t, instance, network.Params{}, cards...)
}

// wires carries calls between the gossips of one process; a member that is cut off cannot be reached.
type wires struct {
	mu    sync.Mutex
	nodes map[string]*Gossip
	cut   map[string]bool
	calls map[peer.Kind]int
}

type end struct {
	w    *wires
	self string
}

func (e end) Call(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error) {
	e.w.mu.Lock()
	g := e.w.nodes[member]
	down := g == nil || e.w.cut[member] || e.w.cut[e.self]
	e.w.calls[kind]++
	e.w.mu.Unlock()
	if down {
		return nil, peer.ErrUnreachable
	}
	if len(body) > peer.DefaultBounds()[kind].Request {
		return nil, peer.ErrTooLarge
	}
	reply, err := g.Handle(ctx, e.self, kind, bytes.Clone(body))
	var coded peer.Coded
	if errors.As(err, &coded) {
		return nil, &peer.RemoteError{Code: coded.Code(), Message: coded.Error()}
	}
	return reply, err
}

func (w *wires) setCut(member string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[member] = cut
}

// net is a running network.
type net struct {
	t      *testing.T
	cfg    *network.Configuration
	wires  *wires
	dir    string
	stores map[string]*ledger.Store
	stops  map[string]func()
}

func newNet(t *testing.T, members ...string) *net {
	n := &net{t: t, cfg: testConfig(t), dir: t.TempDir(), stores: map[string]*ledger.Store{}, stops: map[string]func(){},
		wires: &wires{nodes: map[string]*Gossip{}, cut: map[string]bool{}, calls: map[peer.Kind]int{}}}
	t.Cleanup(func() {
		for m := range n.stops {
			n.stop(m)
		}
	})
	for _, m := range members {
		n.start(m)
	}
	return n
}

func (n *net) folder(member string) string {
	return filepath.Join(n.dir, strings.ReplaceAll(member, "/", "-"))
}

func (n *net) start(member string) *Gossip {
	n.t.Helper()
	s, err := ledger.Open(ledger.Options{Dir: n.folder(member), Config: n.cfg, Member: member,
		LogKey: testKeys.Key("log " + member), MirrorKey: testKeys.Key("mirror " + member)})
	if err != nil {
		n.t.Fatal(err)
	}
	g := New(Options{Store: s, Peers: end{n.wires, member}, Config: n.cfg, Member: member,
		Compare: 50 * time.Millisecond, Tick: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	n.wires.mu.Lock()
	n.wires.nodes[member] = g
	n.wires.mu.Unlock()
	go func() { defer close(done); g.Run(ctx) }()
	n.stores[member] = s
	n.stops[member] = func() {
		n.wires.mu.Lock()
		delete(n.wires.nodes, member)
		n.wires.mu.Unlock()
		cancel()
		<-done
		if err := s.Close(); err != nil {
			n.t.Error(err)
		}
	}
	return g
}

func (n *net) stop(member string) {
	n.stops[member]()
	delete(n.stops, member)
}

func batch(beat int) entry.Entry {
	return entry.ReceiptsBatch{Beat: uint64(beat), Root: strings.Repeat("ab", 32), Time: "2026-01-01T00:00:00Z"}
}

// heard waits until a member may sign.
func (n *net) heard(member string) {
	n.t.Helper()
	select {
	case <-n.stores[member].Heard():
	case <-time.After(10 * time.Second):
		n.t.Fatalf("%s has not heard a quorum", member)
	}
}

func (n *net) append(member string, beat int) uint64 {
	n.t.Helper()
	n.heard(member)
	at, err := n.stores[member].Append(n.t.Context(), batch(beat))
	if err != nil {
		n.t.Fatal(err)
	}
	return at[0]
}

func (n *net) final(member string, index uint64) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 10*time.Second)
	defer cancel()
	if err := n.stores[member].WaitFinal(ctx, index); err != nil {
		n.t.Fatalf("entry %d of %s: %v", index, member, err)
	}
}

// sees waits until a member holds the owner's final log up to size.
func (n *net) sees(member, owner string, size uint64) {
	n.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if h, ok := n.stores[member].Final(n.cfg.Origin(owner)); ok && h.Size >= size {
			return
		}
	}
	n.t.Fatalf("%s does not see %d entries of %s", member, size, owner)
}

func TestAppendBecomesFinalEverywhere(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c", "GOV/d", "GOV/x")
	for i, m := range []string{"GOV/a", "GOV/x"} { // a mirror, and a member that is none
		n.final(m, n.append(m, i))
		for other := range n.stores {
			n.sees(other, m, 1)
		}
	}
}

func TestFinalWithOneMirrorAwayWhichCatchesUp(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c")
	var last uint64
	for i := range 20 {
		last = n.append("GOV/a", i)
	}
	n.final("GOV/a", last)
	n.start("GOV/d")
	n.sees("GOV/d", "GOV/a", 20)
	n.start("GOV/x") // no mirror: it pulls
	n.sees("GOV/x", "GOV/a", 20)
}

func TestNoQuorumNoFinality(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c")
	n.final("GOV/a", n.append("GOV/a", 0))
	n.wires.setCut("GOV/b", true)
	at := n.append("GOV/a", 1)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := n.stores["GOV/a"].WaitFinal(ctx, at); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("final with two of four: %v", err)
	}
	n.wires.setCut("GOV/b", false)
	n.final("GOV/a", at)
}

// The entries of an owner that has gone can be had from any member.
func TestPullFromOtherMembersWhenTheOwnerIsGone(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c", "GOV/d")
	var last uint64
	for i := range 5 {
		last = n.append("GOV/a", i)
	}
	n.final("GOV/a", last)
	for _, m := range []string{"GOV/b", "GOV/c", "GOV/d"} {
		n.sees(m, "GOV/a", 5)
	}
	n.stop("GOV/a")
	n.start("GOV/x")
	n.sees("GOV/x", "GOV/a", 5)
}

// A log longer than one message is pulled run after run.
func TestLongPull(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c")
	text := strings.Repeat("x", 4000)
	var last uint64
	n.heard("GOV/a")
	for i := range 30 {
		var entries []entry.Entry
		for range 20 {
			entries = append(entries, entry.AgreementRevoke{Accept: uint64(i), Reason: text, Time: "2026-01-01T00:00:00Z"})
		}
		at, err := n.stores["GOV/a"].Append(t.Context(), entries...)
		if err != nil {
			t.Fatal(err)
		}
		last = at[len(at)-1]
	}
	n.final("GOV/a", last)
	n.start("GOV/x")
	n.sees("GOV/x", "GOV/a", 600)
	n.wires.mu.Lock()
	defer n.wires.mu.Unlock()
	if n.wires.calls[peer.KindEntries] < 3 {
		t.Errorf("%d pulls for 2.4 MB", n.wires.calls[peer.KindEntries])
	}
}

// A folder restored from an old copy must not sign: the others hold a larger checkpoint of its log.
func TestRestoredSnapshotRefusesToSign(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c")
	n.final("GOV/a", n.append("GOV/a", 0))
	n.stop("GOV/a")
	snapshot := t.TempDir()
	if err := os.CopyFS(snapshot, os.DirFS(n.folder("GOV/a"))); err != nil {
		t.Fatal(err)
	}
	n.start("GOV/a")
	n.final("GOV/a", n.append("GOV/a", 1))
	n.sees("GOV/b", "GOV/a", 2)
	n.sees("GOV/c", "GOV/a", 2)
	n.stop("GOV/a")
	if err := os.RemoveAll(n.folder("GOV/a")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(n.folder("GOV/a"), os.DirFS(snapshot)); err != nil {
		t.Fatal(err)
	}
	n.start("GOV/a")
	for end := time.Now().Add(10 * time.Second); n.stores["GOV/a"].Failure() == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the restored store still signs")
		}
	}
	if err := n.stores["GOV/a"].Failure(); !errors.Is(err, ledger.ErrRolledBack) {
		t.Errorf("failure: %v", err)
	}
}

// A mirror cosigns nothing before it has heard from a quorum.
func TestMirrorWaitsForAQuorumAfterStart(t *testing.T) {
	n := newNet(t)
	a := n.start("GOV/a")
	b := n.start("GOV/b")
	select {
	case <-a.Heard():
		t.Fatal("two of four are no quorum")
	case <-time.After(200 * time.Millisecond):
	}
	if _, err := n.stores["GOV/a"].Append(t.Context(), batch(0)); !errors.Is(err, ledger.ErrStarting) {
		t.Errorf("append before a quorum was heard: %v", err)
	}
	push := ledger.Push{Origin: n.cfg.Origin("GOV/a")}
	_, err := b.Handle(t.Context(), "GOV/a", peer.KindPush, push.Encode())
	var coded peer.Coded
	if !errors.As(err, &coded) || coded.Code() != CodeStarting {
		t.Errorf("push before a quorum was heard: %v", err)
	}
	n.start("GOV/c")
	select {
	case <-a.Heard():
	case <-time.After(10 * time.Second):
		t.Fatal("three of four were not heard")
	}
	n.final("GOV/a", n.append("GOV/a", 0))
}

func TestBadRequests(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c")
	n.final("GOV/a", n.append("GOV/a", 0))
	n.sees("GOV/b", "GOV/a", 1)
	head, _ := n.stores["GOV/a"].Final(n.cfg.Origin("GOV/a"))
	push := ledger.Push{Origin: n.cfg.Origin("GOV/a"), Checkpoint: head.Checkpoint}
	many := make([]core.Mark, core.MaxWants+1)
	for i := range many {
		many[i].Log = i
	}
	b := n.wires.nodes["GOV/b"]
	for _, c := range []struct {
		name, from string
		kind       peer.Kind
		body       []byte
		code       string
	}{
		{"empty push", "GOV/a", peer.KindPush, nil, CodeMalformed},
		{"push of another's log", "GOV/c", peer.KindPush, push.Encode(), CodeNotOwner},
		{"push of no log", "GOV/a", peer.KindPush, ledger.Push{Origin: "test/GOV/q/log/1"}.Encode(), CodeNotOwner},
		{"push without checkpoint", "GOV/a", peer.KindPush, ledger.Push{Origin: n.cfg.Origin("GOV/a")}.Encode(), CodeRefused},
		{"announcement cut short", "GOV/a", peer.KindAnnounce, make([]byte, stateMark-1), CodeMalformed},
		{"announcement of no such log", "GOV/a", peer.KindAnnounce, append(make([]byte, stateMark), 6, 1), CodeMalformed},
		{"announcement of no size", "GOV/a", peer.KindAnnounce, append(make([]byte, stateMark), 1), CodeMalformed},
		{"pull of nothing", "GOV/a", peer.KindPull, nil, CodeMalformed},
		{"pull of no such log", "GOV/a", peer.KindPull, []byte{6, 0}, CodeMalformed},
		{"pull of too many", "GOV/a", peer.KindPull, core.EncodeMarks(many, false), CodeMalformed},
		{"standing with a body", "GOV/a", peer.KindStanding, []byte{0}, CodeMalformed},
		{"fresh with a body", "GOV/a", peer.KindFresh, []byte{0}, CodeMalformed},
		{"fresh of nothing", "GOV/a", peer.KindFresh, nil, CodeNotHeld},
		{"evidence of nothing", "GOV/a", peer.KindEvidence, nil, CodeMalformed},
		{"evidence of half a name", "GOV/a", peer.KindEvidence, make([]byte, 33), CodeMalformed},
		{"evidence of too many", "GOV/a", peer.KindEvidence, make([]byte, 32*(maxFetch+1)), CodeMalformed},
		{"succession with a body", "GOV/a", peer.KindSuccession, []byte{0}, CodeMalformed},
		{"link to half a version", "GOV/a", peer.KindChain, []byte{0, 2}, CodeMalformed},
		{"link that is not here", "GOV/a", peer.KindChain, []byte{0, 0, 0, 2}, CodeNotHeld},
		{"empty range", "GOV/a", peer.KindEntries, encodeRange(n.cfg.Origin("GOV/a"), 3, 3), CodeMalformed},
		{"range beyond the end", "GOV/a", peer.KindEntries, encodeRange(n.cfg.Origin("GOV/a"), 9, 10), CodeNotHeld},
		{"range of no log", "GOV/a", peer.KindEntries, encodeRange("test/GOV/q/log/1", 0, 1), CodeNotHeld},
		{"range cut short", "GOV/a", peer.KindEntries, encodeRange("x", 0, 1)[:5], CodeMalformed},
		{"digests of 63 bytes", "GOV/a", peer.KindCompare, make([]byte, 63), CodeMalformed},
		{"query", "GOV/a", peer.KindQuery, nil, CodeNotServed},
	} {
		_, err := b.Handle(t.Context(), c.from, c.kind, c.body)
		var coded peer.Coded
		if !errors.As(err, &coded) || coded.Code() != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Comparing works both ways: who is ahead tells who is behind, and who is behind fetches.
func TestCompareBothWays(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c")
	n.final("GOV/a", n.append("GOV/a", 0))
	s, err := ledger.Open(ledger.Options{Dir: n.folder("GOV/x"), Config: n.cfg, Member: "GOV/x", LogKey: testKeys.Key("log GOV/x")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	x := New(Options{Store: s, Peers: direct{n.wires.nodes["GOV/a"], "GOV/x"}, Config: n.cfg, Member: "GOV/x"}) // does nothing by itself
	a := New(Options{Store: n.stores["GOV/a"], Peers: direct{x, "GOV/a"}, Config: n.cfg, Member: "GOV/a"})
	wanted := func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return !x.spread.Known([]core.Mark{{Log: 0, Size: 1}})
	}
	if err := a.compare(t.Context(), "GOV/x"); err != nil {
		t.Fatal(err)
	}
	if !wanted() {
		t.Fatal("GOV/x thinks that it has everything")
	}
	x.mu.Lock()
	tasks, _ := x.spread.Tick(time.Now())
	x.mu.Unlock()
	if len(tasks) != 1 || len(tasks[0].Pull) != 1 || tasks[0].To != "GOV/a" {
		t.Fatalf("%+v", tasks)
	}
	x.do(t.Context(), tasks[0])
	if h, ok := s.Final(n.cfg.Origin("GOV/a")); !ok || h.Size != 1 {
		t.Errorf("GOV/x has no final head of GOV/a: %+v", h)
	}
	n.final("GOV/a", n.append("GOV/a", 1))
	if err := x.compare(t.Context(), "GOV/a"); err != nil {
		t.Fatal(err)
	}
	tasks, _ = x.spread.Tick(time.Now())
	if !slices.ContainsFunc(tasks, func(t core.Task) bool { return t.To == "GOV/a" && len(t.Pull) == 1 && t.Pull[0].Size == 2 }) {
		t.Errorf("%+v", tasks)
	}
}

// direct calls one gossip as a member.
type direct struct {
	to   *Gossip
	from string
}

func (d direct) Call(ctx context.Context, _ string, kind peer.Kind, body []byte) ([]byte, error) {
	return d.to.Handle(ctx, d.from, kind, body)
}

// A source that returns other entries than were asked for is not believed.
func TestLyingSource(t *testing.T) {
	n := newNet(t, "GOV/a", "GOV/b", "GOV/c")
	n.final("GOV/a", n.append("GOV/a", 0))
	head, _ := n.stores["GOV/a"].Final(n.cfg.Origin("GOV/a"))
	s, err := ledger.Open(ledger.Options{Dir: n.folder("GOV/x"), Config: n.cfg, Member: "GOV/x", LogKey: testKeys.Key("log GOV/x")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name, run := range map[string]ledger.Entries{
		"other start": {From: 1, Entries: [][]byte{[]byte("{}")}},
		"nothing":     {From: 0},
		"too many":    {From: 0, Entries: [][]byte{[]byte("{}"), []byte("{}")}},
		"another":     {From: 0, Entries: [][]byte{[]byte("{}")}},
	} {
		g := New(Options{Store: s, Config: n.cfg, Member: "GOV/x", Peers: caller(func() ([]byte, error) { return run.Encode(), nil })})
		if behind, err := s.AddHead(head); err != nil || !behind {
			t.Fatal(behind, err)
		}
		if err := g.fetchFrom(t.Context(), ledger.Want{Origin: head.Origin, Size: head.Size}, "GOV/a"); err == nil {
			t.Errorf("%s: believed", name)
		}
		if _, ok := s.Final(head.Origin); ok {
			t.Fatalf("%s: became final", name)
		}
	}
}

type caller func() ([]byte, error)

func (c caller) Call(context.Context, string, peer.Kind, []byte) ([]byte, error) { return c() }

func FuzzDecodeRange(f *testing.F) {
	f.Add(encodeRange("test/GOV/a/log/1", 1, 2))
	f.Add([]byte{255, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		origin, from, to, err := decodeRange(data)
		if err == nil && !bytes.Equal(encodeRange(origin, from, to), data) {
			t.Error("two encodings of one range")
		}
	})
}
