package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("peer test " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// freePort reserves a UDP port on loopback long enough to learn its number.
func freePort(t *testing.T) string {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

func testNetwork(t *testing.T, names ...string) Network {
	n := Network{Instance: "test", Digest: "d1"}
	for _, name := range names {
		n.Members = append(n.Members, Member{Name: name, Key: testKey(name).Public().(ed25519.PublicKey), Endpoint: freePort(t)})
	}
	return n
}

func (n Network) endpoint(name string) string {
	for _, m := range n.Members {
		if m.Name == name {
			return m.Endpoint
		}
	}
	return ""
}

func echo(_ context.Context, from string, kind Kind, body []byte) ([]byte, error) {
	return []byte(from + " " + kind.String() + " " + string(body)), nil
}

// startNode opens a node; change may alter its options first. It is closed with the test.
func startNode(t *testing.T, net Network, self string, change func(*Options)) *Node {
	t.Helper()
	opts := Options{Network: net, Self: self, Key: testKey(self), Listen: net.endpoint(self), Handler: echo}
	if change != nil {
		change(&opts)
	}
	n, err := Listen(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("closing %s: %v", self, err)
		}
	})
	return n
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", within, what)
}

func TestCallBothWays(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a, b := startNode(t, net, "a", nil), startNode(t, net, "b", nil)
	for _, c := range []struct {
		from *Node
		to   string
		want string
	}{{a, "b", "a query x"}, {b, "a", "b query x"}} {
		got, err := c.from.Call(t.Context(), c.to, KindQuery, []byte("x"))
		if err != nil || string(got) != c.want {
			t.Errorf("to %s: %q, %v", c.to, got, err)
		}
	}
	if p := a.Peers(); len(p) != 1 || !p[0].Up || p[0].Member != "b" {
		t.Errorf("peers of a: %+v", p)
	}
}

func TestEveryKindCarriesItsLargestBody(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	startNode(t, net, "b", func(o *Options) {
		o.Handler = func(_ context.Context, _ string, k Kind, body []byte) ([]byte, error) {
			if len(body) != DefaultBounds()[k].Request {
				return nil, fmt.Errorf("%d bytes", len(body))
			}
			return make([]byte, DefaultBounds()[k].Reply), nil
		}
	})
	for _, k := range Kinds() {
		b := DefaultBounds()[k]
		reply, err := a.Call(t.Context(), "b", k, make([]byte, b.Request))
		if err != nil || len(reply) != b.Reply {
			t.Errorf("%s: %d bytes, %v", k, len(reply), err)
		}
		if _, err := a.Call(t.Context(), "b", k, make([]byte, b.Request+1)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: one byte more: %v", k, err)
		}
	}
}

type coded struct{ code, text string }

func (c coded) Error() string { return c.text }
func (c coded) Code() string  { return c.code }

func TestRemoteErrors(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	startNode(t, net, "b", func(o *Options) {
		o.Handler = func(_ context.Context, _ string, _ Kind, body []byte) ([]byte, error) {
			switch string(body) {
			case "coded":
				return nil, fmt.Errorf("wrapped: %w", coded{"no_agreement", "no agreement\x1b[31m in force"})
			case "badcode":
				return nil, coded{"Bad Code", "x"}
			case "long":
				return nil, coded{"long", strings.Repeat("é", maxMessage)}
			case "big":
				return make([]byte, DefaultBounds()[KindQuery].Reply+1), nil
			}
			return nil, errors.New("secret detail")
		}
	})
	for _, c := range []struct{ body, code, message string }{
		{"coded", "no_agreement", "no agreement?[31m in force"},
		{"badcode", CodeInternal, "internal error"},
		{"plain", CodeInternal, "internal error"},
		{"big", CodeInternal, "internal error"},
		{"long", "long", strings.Repeat("é", maxMessage/2)},
	} {
		_, err := a.Call(t.Context(), "b", KindQuery, []byte(c.body))
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Code != c.code || remote.Message != c.message {
			t.Errorf("%s: %v", c.body, err)
		}
	}
}

func TestUnknownMember(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	for _, name := range []string{"c", "a", ""} {
		if _, err := a.Call(t.Context(), name, KindQuery, nil); !errors.Is(err, ErrUnknownMember) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := Listen(Options{Network: net, Self: "c", Key: testKey("c"), Listen: "127.0.0.1:0", Handler: echo}); !errors.Is(err, ErrUnknownMember) {
		t.Errorf("listening as a stranger: %v", err)
	}
	if _, err := Listen(Options{Network: net, Self: "a", Key: testKey("b"), Listen: "127.0.0.1:0", Handler: echo}); err == nil {
		t.Error("listening with another member's key succeeded")
	}
}

// A stranger with a key of its own is refused by the server's pin, and learns nothing but a TLS alert.
func TestServerRefusesStranger(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	stranger := net
	stranger.Members = append([]Member(nil), net.Members...)
	stranger.Members[1].Key = testKey("stranger").Public().(ed25519.PublicKey)
	s := startNode(t, stranger, "b", func(o *Options) { o.Key = testKey("stranger") })
	if _, err := s.Call(t.Context(), "a", KindQuery, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("stranger's call: %v", err)
	}
	if _, err := a.Call(t.Context(), "b", KindQuery, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("call to the stranger: %v", err)
	}
	if a.Up("b") || s.Up("a") {
		t.Error("a connection stands")
	}
}

// A member that answers at another member's address is refused: its key is in the network, but it is not the one dialled.
func TestClientPinsTheDialledMember(t *testing.T) {
	net := testNetwork(t, "a", "b", "c")
	net.Members[1].Endpoint = net.Members[2].Endpoint // b's address leads to c
	startNode(t, net, "c", nil)
	a := startNode(t, net, "a", nil)
	if _, err := a.Call(t.Context(), "b", KindQuery, nil); !errors.Is(err, ErrUnreachable) {
		t.Errorf("call to b: %v", err)
	}
	if _, err := a.Call(t.Context(), "c", KindQuery, nil); err != nil {
		t.Errorf("call to c: %v", err)
	}
}

func TestHelloRefusals(t *testing.T) {
	for _, c := range []struct {
		name, code string
		change     func(*Network)
	}{
		{"instance", CodeWrongInstance, func(n *Network) { n.Instance = "other" }},
		{"configuration", CodeWrongNetwork, func(n *Network) { n.Digest = "d2" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := testNetwork(t, "a", "b")
			a := startNode(t, net, "a", nil)
			other := net
			c.change(&other)
			b := startNode(t, other, "b", nil)
			_, err := b.Call(t.Context(), "a", KindQuery, nil)
			if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), c.code) {
				t.Errorf("call: %v", err)
			}
			if a.Up("b") || b.Up("a") {
				t.Error("a connection stands")
			}
		})
	}
}

// A handler that never returns by itself costs the caller the kind's time and no more, and its context ends.
func TestHangingHandler(t *testing.T) {
	net := testNetwork(t, "a", "b")
	short := DefaultBounds()
	short[KindQuery] = Bound{Request: kib, Reply: kib, Timeout: 200 * time.Millisecond, Concurrent: 1, Rate: 100, Burst: 100}
	ended := make(chan struct{}, 2)
	a := startNode(t, net, "a", func(o *Options) { o.Bounds = short })
	startNode(t, net, "b", func(o *Options) {
		o.Bounds = short
		o.Handler = func(ctx context.Context, _ string, _ Kind, _ []byte) ([]byte, error) {
			<-ctx.Done()
			ended <- struct{}{}
			return nil, ctx.Err()
		}
	})
	eventually(t, 5*time.Second, "b up", func() bool { return a.Up("b") })
	start := time.Now()
	if _, err := a.Call(t.Context(), "b", KindQuery, nil); err == nil {
		t.Error("call succeeded")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("call took %v", took)
	}
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		t.Fatal("the handler's context did not end")
	}
}

// A caller that gives up ends the neighbour's handler, long before the kind's time is up.
func TestGivingUpEndsTheHandler(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	started, ended := make(chan struct{}), make(chan struct{})
	startNode(t, net, "b", func(o *Options) {
		o.Handler = func(ctx context.Context, _ string, _ Kind, _ []byte) ([]byte, error) {
			close(started)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	if _, err := a.Call(ctx, "b", KindQuery, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the handler goes on")
	}
}

// A neighbour that sends half a request, or half a reply, holds one slot for a bounded time.
func TestHangingPeer(t *testing.T) {
	defer func(d time.Duration) { readTimeout = d }(readTimeout)
	readTimeout = 300 * time.Millisecond
	net := testNetwork(t, "a", "b")
	bounds := DefaultBounds()
	bounds[KindPush] = Bound{Request: kib, Reply: kib, Timeout: 300 * time.Millisecond, Concurrent: 1, Rate: 100, Burst: 100}
	a, err := Listen(Options{Network: net, Self: "a", Key: testKey("a"), Listen: net.endpoint("a"), Handler: echo, Bounds: bounds})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	conn := greeted(t, a, "b")
	half, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.Write([]byte{byte(KindPush), 0, 0, 0, 9, 'x'}); err != nil {
		t.Fatal(err)
	}
	var refusal *RemoteError
	eventually(t, 2*time.Second, "the only slot taken", func() bool {
		_, err := exchange(t.Context(), conn, KindPush, nil, bounds[KindPush])
		return errors.As(err, &refusal) && refusal.Code == CodeBusy
	})
	eventually(t, 3*time.Second, "slot freed", func() bool {
		_, err := exchange(t.Context(), conn, KindPush, nil, bounds[KindPush])
		return err == nil
	})
	// Now a calls the raw connection, which never answers.
	start := time.Now()
	if _, err := a.Call(t.Context(), "b", KindPush, nil); err == nil {
		t.Error("call to a silent neighbour succeeded")
	}
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("silent neighbour held the call for %v", took)
	}
}

func TestRateLimit(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	bounds := DefaultBounds()
	q := bounds[KindQuery]
	q.Rate, q.Burst = 0.001, 3
	bounds[KindQuery] = q
	b := startNode(t, net, "b", func(o *Options) { o.Bounds = bounds })
	eventually(t, 5*time.Second, "one connection", func() bool { return a.Connections() == 1 && b.Connections() == 1 })
	for i := range 4 {
		_, err := a.Call(t.Context(), "b", KindQuery, nil)
		var refusal *RemoteError
		limited := errors.As(err, &refusal) && refusal.Code == CodeRateLimited
		if limited != (i == 3) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if _, err := a.Call(t.Context(), "b", KindEntries, nil); err != nil {
		t.Errorf("another kind: %v", err)
	}
}

func TestRestartAndReconnect(t *testing.T) {
	for _, self := range []string{"a", "z"} { // the restarted one sorts after, then before, its neighbour
		t.Run(self, func(t *testing.T) {
			net := testNetwork(t, self, "m")
			stays := startNode(t, net, self, nil)
			opts := Options{Network: net, Self: "m", Key: testKey("m"), Listen: net.endpoint("m"), Handler: echo}
			m, err := Listen(opts)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stays.Call(t.Context(), "m", KindQuery, nil); err != nil {
				t.Fatal(err)
			}
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
			eventually(t, 5*time.Second, "seen down", func() bool { return !stays.Up("m") })
			m = startNode(t, net, "m", nil)
			eventually(t, 10*time.Second, "seen up again", func() bool { return stays.Up("m") && m.Up(self) })
			if _, err := stays.Call(t.Context(), "m", KindQuery, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// A crash sends no close: the survivor learns of it from the restarted process and goes on at once.
func TestRestartAfterCrash(t *testing.T) {
	net := testNetwork(t, "a", "m")
	a := startNode(t, net, "a", nil)
	m, err := Listen(Options{Network: net, Self: "m", Key: testKey("m"), Listen: net.endpoint("m"), Handler: echo})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "up", func() bool { return a.Up("m") })
	_ = m.transport.Conn.Close() // nothing can be said any more
	_ = m.Close()
	startNode(t, net, "m", nil)
	eventually(t, 10*time.Second, "call through the new process", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Call(ctx, "m", KindQuery, nil)
		return err == nil
	})
}

// Crossing dials settle on one connection and no call fails meanwhile.
func TestCrossingDialsKeepOneConnection(t *testing.T) {
	for round := range 5 {
		net := testNetwork(t, "a", "b")
		var nodes [2]*Node
		var wg sync.WaitGroup
		for i, self := range []string{"a", "b"} {
			wg.Go(func() {
				n, err := Listen(Options{Network: net, Self: self, Key: testKey(self), Listen: net.endpoint(self), Handler: echo})
				if err != nil {
					t.Error(err)
					return
				}
				nodes[i] = n
			})
		}
		wg.Wait()
		var failed atomic.Int32
		for i, to := range []string{"b", "a"} {
			wg.Go(func() {
				for range 50 {
					if _, err := nodes[i].Call(t.Context(), to, KindAnnounce, []byte("x")); err != nil {
						failed.Add(1)
						t.Logf("round %d: %v", round, err)
					}
				}
			})
		}
		wg.Wait()
		if failed.Load() > 0 {
			t.Errorf("round %d: %d calls failed", round, failed.Load())
		}
		eventually(t, 5*time.Second, "one connection each", func() bool {
			return nodes[0].neighbours["b"].links() == 1 && nodes[1].neighbours["a"].links() == 1
		})
		for _, n := range nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestCloseEndsCalls(t *testing.T) {
	net := testNetwork(t, "a", "b")
	a := startNode(t, net, "a", nil)
	started := make(chan struct{})
	startNode(t, net, "b", func(o *Options) {
		o.Handler = func(ctx context.Context, _ string, _ Kind, _ []byte) ([]byte, error) {
			close(started)
			<-ctx.Done()
			return nil, ctx.Err()
		}
	})
	result := make(chan error, 1)
	go func() {
		_, err := a.Call(context.Background(), "b", KindQuery, nil)
		result <- err
	}()
	<-started
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-result:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the call outlived Close")
	}
	if _, err := a.Call(t.Context(), "b", KindQuery, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("call after Close: %v", err)
	}
}

func TestOnChange(t *testing.T) {
	net := testNetwork(t, "a", "b")
	var mu sync.Mutex
	var seen []bool
	startNode(t, net, "a", func(o *Options) {
		o.OnChange = func(member string, up bool) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, up)
		}
	})
	b, err := Listen(Options{Network: net, Self: "b", Key: testKey("b"), Listen: net.endpoint("b"), Handler: echo})
	if err != nil {
		t.Fatal(err)
	}
	count := func(want int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) >= want }
	}
	eventually(t, 5*time.Second, "up", count(1))
	_ = b.Close()
	eventually(t, 5*time.Second, "down", count(2))
	mu.Lock()
	defer mu.Unlock()
	if !seen[0] || seen[1] {
		t.Errorf("changes: %v", seen)
	}
}
