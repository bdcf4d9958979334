package peer

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// A connection that is not kept is made for a call and closed when nothing uses it, by its dialler, however long the other end
// would keep its own.
func TestConnectionOnDemand(t *testing.T) {
	net := testNetwork(t, "a", "b", "c")
	var nodes []*Node
	for _, self := range []string{"a", "b", "c"} {
		n, err := listen(Options{Network: net, Self: self, Key: testKey(self), Listen: net.endpoint(self), Handler: echo,
			Keep: map[string][]string{"a": {"b"}, "b": {"a"}, "c": {}}[self]}, tuning{300 * time.Millisecond, bodyBudget, neighbourBudget, windowBudget})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		nodes = append(nodes, n)
	}
	a, b, c := nodes[0], nodes[1], nodes[2]
	eventually(t, 5*time.Second, "what is kept is up", func() bool { return a.Up("b") && b.Up("a") })
	if a.Up("c") || c.Up("a") || c.Connections() != 0 {
		t.Fatal("connected to a member that nobody called")
	}
	for range 2 {
		for range 5 { // used for longer than it may be idle
			if got, err := a.Call(t.Context(), "c", KindQuery, []byte("x")); err != nil || string(got) != "a query x" {
				t.Fatal(string(got), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if c.Connections() != 1 || a.Connections() != 2 {
			t.Errorf("%d and %d connections", c.Connections(), a.Connections())
		}
		if _, err := c.Call(t.Context(), "a", KindQuery, nil); err != nil { // over the same connection
			t.Error(err)
		}
		if c.Connections() != 1 {
			t.Errorf("%d connections", c.Connections())
		}
		eventually(t, 5*time.Second, "closed when idle", func() bool { return c.Connections() == 0 && a.Connections() == 1 })
	}
	if !a.Up("b") || !b.Up("a") {
		t.Error("what is kept was closed")
	}
	for _, s := range a.Peers() {
		if s.Kept != (s.Member == "b") {
			t.Errorf("%+v", s)
		}
	}
}

// A call that takes longer than a connection may be idle is not cut off.
func TestIdleIsNotWhileACallRuns(t *testing.T) {
	net := testNetwork(t, "a", "b")
	slow := func(ctx context.Context, from string, kind Kind, body []byte) ([]byte, error) {
		time.Sleep(500 * time.Millisecond)
		return body, nil
	}
	for _, self := range []string{"a", "b"} {
		n, err := listen(Options{Network: net, Self: self, Key: testKey(self), Listen: net.endpoint(self), Handler: slow,
			Keep: []string{}}, tuning{50 * time.Millisecond, bodyBudget, neighbourBudget, windowBudget})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if self == "a" {
			continue
		}
		if _, err := n.Call(t.Context(), "a", KindQuery, []byte("x")); err != nil {
			t.Error(err)
		}
	}
}

// Members with different configurations of one instance can ask for what brings the one behind up to date, and nothing else.
func TestOtherVersion(t *testing.T) {
	net := testNetwork(t, "a", "b", "c")
	newer := net
	newer.Digest = "d2"
	a := startNode(t, net, "a", nil)
	b := startNode(t, newer, "b", nil)
	for _, n := range []*Node{a, b} {
		to := map[*Node]string{a: "b", b: "a"}[n]
		for _, kind := range Kinds() {
			_, err := n.Call(t.Context(), to, kind, []byte("x"))
			if kind == KindChain || kind == KindSuccession {
				if err != nil {
					t.Errorf("%s: %v", kind, err)
				}
			} else if !errors.Is(err, ErrOtherVersion) || !errors.Is(err, ErrUnreachable) {
				t.Errorf("%s: %v", kind, err)
			}
		}
		if n.Up(to) {
			t.Error("counts as up")
		}
	}
	if p := a.Peers()[0]; !p.OtherVersion || p.Up || p.Reason == "" {
		t.Errorf("%+v", p)
	}
	// What our own Call would not send is refused when it comes all the same.
	conn, err := raw(t, a, "c", ALPN)
	if err != nil {
		t.Fatal(err)
	}
	if err := say(t, conn, hello{"test", "d3", "c", "00"}); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[Kind]string{KindPush: CodeWrongNetwork, KindQuery: CodeWrongNetwork, KindChain: ""} {
		_, err := exchange(t.Context(), conn, kind, nil, DefaultBounds()[kind])
		var refusal *RemoteError
		if errors.As(err, &refusal); (want == "") != (err == nil) || want != "" && (refusal == nil || refusal.Code != want) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// Bodies that are held count against the neighbour's share and everybody's, and are given back.
func TestBodyBudgets(t *testing.T) {
	net := testNetwork(t, "a", "b", "c")
	hold := make(chan struct{})
	var held atomic.Int32
	a, err := listen(Options{Network: net, Self: "a", Key: testKey("a"), Listen: net.endpoint("a"),
		Handler: func(ctx context.Context, from string, kind Kind, body []byte) ([]byte, error) {
			if from == "b" && len(body) == 2*mib || from == "c" {
				held.Add(1)
				<-hold
			}
			return nil, nil
		}}, tuning{idleAfter, 3 * mib, 2*mib + kib, windowBudget})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	nodes := map[string]*Node{"b": startNode(t, net, "b", nil), "c": startNode(t, net, "c", nil)}
	results := make(chan error, 2)
	push := func(from string, n int) error {
		_, err := nodes[from].Call(t.Context(), "a", KindPush, make([]byte, n))
		return err
	}
	go func() { results <- push("b", 2*mib) }()
	eventually(t, 5*time.Second, "the first is held", func() bool { return held.Load() == 1 })
	var refusal *RemoteError
	if err := push("c", 2*mib); !errors.As(err, &refusal) || refusal.Code != CodeBusy {
		t.Errorf("beyond everybody's budget: %v", err)
	}
	if err := push("b", 2*kib); !errors.As(err, &refusal) || refusal.Code != CodeBusy {
		t.Errorf("beyond one's share: %v", err)
	}
	go func() { results <- push("c", mib/2) }()
	eventually(t, 5*time.Second, "what fits is held", func() bool { return held.Load() == 2 })
	close(hold)
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	eventually(t, 5*time.Second, "given back", func() bool {
		return a.bodies.used.Load() == 0 && a.neighbours["b"].bodies.used.Load() == 0 && a.neighbours["c"].bodies.used.Load() == 0
	})
	if err := push("b", 2*mib); err != nil {
		t.Error(err)
	}
}

// Windows grow within their budget, and give it back when their connections end. Without any, calls go through all the same.
func TestWindowBudget(t *testing.T) {
	for _, limit := range []int64{windowBudget, 0} {
		testWindowBudget(t, limit)
	}
	w := newWindows(10)
	one, two := new(quic.Conn), new(quic.Conn)
	if !w.allow(one, 6) || w.allow(two, 5) || !w.allow(two, 4) || w.grown[one] != 6 || w.grown[two] != 4 {
		t.Error(fmt.Sprint(w.grown))
	}
}

func testWindowBudget(t *testing.T, limit int64) {
	net := testNetwork(t, "a", "b")
	quiet := func(context.Context, string, Kind, []byte) ([]byte, error) { return nil, nil }
	a, err := listen(Options{Network: net, Self: "a", Key: testKey("a"), Listen: net.endpoint("a"), Handler: quiet},
		tuning{idleAfter, bodyBudget, neighbourBudget, limit})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := Listen(Options{Network: net, Self: "b", Key: testKey("b"), Listen: net.endpoint("b"), Handler: echo})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 20 {
		if _, err := b.Call(t.Context(), "a", KindPush, make([]byte, 2*mib)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "given back", func() bool { return a.windows.budget.used.Load() == 0 })
}

// A member that was away while its transport key was replaced connects with the former one, and gets what brings it up to date
// and nothing else, even if it says that it is. A key that never was its own gets nothing.
func TestFormerKey(t *testing.T) {
	before := testNetwork(t, "a", "b", "c")
	after := before
	after.Members = slices.Clone(before.Members)
	after.Members[0].Key = testKey("a's next").Public().(ed25519.PublicKey)
	after.Members[0].Former = []ed25519.PublicKey{before.Members[0].Key}
	for _, digest := range []string{"d1", "d2"} {
		after.Digest = digest
		a := startNode(t, before, "a", nil)
		b := startNode(t, after, "b", nil)
		for _, n := range []*Node{a, b} {
			to := map[*Node]string{a: "b", b: "a"}[n]
			eventually(t, 5*time.Second, "the chain gets across", func() bool {
				_, err := n.Call(t.Context(), to, KindChain, []byte("x"))
				return err == nil
			})
		}
		if _, err := b.Call(t.Context(), "a", KindPush, nil); !errors.Is(err, ErrOtherVersion) || b.Up("a") {
			t.Errorf("to a member with a former key: %v", err)
		}
		var refusal *RemoteError
		if _, err := a.Call(t.Context(), "b", KindPush, nil); !errors.Is(err, ErrOtherVersion) && (!errors.As(err, &refusal) || refusal.Code != CodeWrongNetwork) {
			t.Errorf("from a member with a former key: %v", err)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Fatal(err)
		}
	}
	after.Members[0].Former = []ed25519.PublicKey{testKey("another").Public().(ed25519.PublicKey)}
	a := startNode(t, before, "a", nil)
	b := startNode(t, after, "b", nil)
	for _, n := range []*Node{a, b} {
		to := map[*Node]string{a: "b", b: "a"}[n]
		if _, err := n.Call(t.Context(), to, KindChain, nil); !errors.Is(err, ErrUnreachable) {
			t.Errorf("with a key that is nobody's: %v", err)
		}
	}
}

// A stolen former key must not take the place of the member's own connection.
func TestFormerKeyDisplacesNothing(t *testing.T) {
	net := testNetwork(t, "a", "b")
	net.Members[1].Former = []ed25519.PublicKey{testKey("b before").Public().(ed25519.PublicKey)}
	var downs atomic.Int32
	a := startNode(t, net, "a", func(o *Options) {
		o.OnChange = func(_ string, up bool) {
			if !up {
				downs.Add(1)
			}
		}
	})
	b := startNode(t, net, "b", nil)
	eventually(t, 10*time.Second, "up", func() bool { return a.Up("b") && b.Up("a") })
	time.Sleep(500 * time.Millisecond)
	before := downs.Load()
	for range 3 {
		conn, err := raw(t, a, "b before", ALPN)
		if err != nil {
			t.Fatal(err)
		}
		if err := say(t, conn, hello{"test", net.Digest, "b", "00"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		if !a.Up("b") {
			t.Error("displaced at a")
		}
		_, err = a.Call(t.Context(), "b", KindQuery, nil)
		var refusal *RemoteError
		if err != nil && !errors.As(err, &refusal) {
			t.Errorf("call: %v", err)
		}
	}
	if n := downs.Load() - before; n > 0 {
		t.Errorf("the member went down %d times", n)
	}
}
