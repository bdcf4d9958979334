package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"
)

// Member is one member of the network as the transport sees it.
type Member struct {
	Name     string
	Key      ed25519.PublicKey // transport key; a handshake that proves another key is refused
	Endpoint string            // UDP host:port where the member listens
	// Former are the member's transport keys of earlier versions of the configuration. Who proves one is taken for the member
	// as it was, and for nothing but carrying the chain: it must be behind, or the key is in other hands.
	Former []ed25519.PublicKey
}

// Network is what the pinned network configuration says about the transport.
type Network struct {
	Instance string
	Digest   string // digest of the configuration, compared in the hello
	Members  []Member
}

// Handler answers one request of a neighbour. from is the member whose key the connection proved. body is the handler's
// own. An error with a Code (see Coded) is told to the neighbour, any other becomes CodeInternal. ctx ends when the kind's
// time is up, the neighbour gave up, or the node closes.
type Handler func(ctx context.Context, from string, kind Kind, body []byte) ([]byte, error)

// Options are what a node needs. Network, Self, Key, Listen and Handler are required.
type Options struct {
	Network Network
	Self    string             // this gateway's member name
	Key     ed25519.PrivateKey // this gateway's transport key, the one that Network names
	Listen  string             // UDP host:port; port 0 picks one
	Handler Handler
	// Keep names the members that there should always be a connection to; to the others one is made when a call needs it, and
	// closed when it has not been used for a minute. Every member may connect to this node. Nil: all.
	Keep   []string
	Bounds map[Kind]Bound // nil: DefaultBounds
	Logger *slog.Logger   // nil: discard
	// OnChange is told when a neighbour comes up or goes down. It runs on a connection's goroutine and must not block.
	OnChange func(member string, up bool)
}

// Node is one gateway's end of all its connections. Its methods are safe for concurrent use.
type Node struct {
	opts        Options
	bounds      map[Kind]Bound
	log         *slog.Logger
	incarnation string
	cert        certificateSource
	transport   *quic.Transport
	listener    *quic.Listener
	neighbours  map[string]*neighbour // by member name; fixed after Listen
	byKey       map[string]*neighbour // by transport key; fixed after Listen
	byFormer    map[string]*neighbour // by a transport key of an earlier version: of its own, never dialled; fixed after Listen
	hellos      *slots                // for connections before their hello
	bodies      budget                // bytes of all requests and replies
	windows     *windows
	tuning      tuning

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc
	mu     sync.Mutex // orders start against Close, so that no goroutine starts after the last was awaited
	closed bool
	tasks  sync.WaitGroup
}

// Listen opens the UDP socket and starts to accept and to dial. The caller must Close the node.
func Listen(opts Options) (*Node, error) {
	return listen(opts, tuning{idleAfter, bodyBudget, neighbourBudget, windowBudget})
}

// tuning is what tests make smaller.
type tuning struct {
	idleAfter                       time.Duration
	bodies, neighbourBodies, window int64
}

func listen(opts Options, tune tuning) (*Node, error) {
	n := &Node{
		opts: opts, bounds: opts.Bounds, log: opts.Logger, incarnation: newIncarnation(),
		neighbours: map[string]*neighbour{}, byKey: map[string]*neighbour{}, byFormer: map[string]*neighbour{},
		hellos: newSlots(pendingHellos, pendingHellosOfKey), tuning: tune, bodies: budget{limit: tune.bodies}, windows: newWindows(tune.window),
	}
	if n.bounds == nil {
		n.bounds = DefaultBounds()
	}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if err := n.learnMembers(); err != nil {
		return nil, err
	}
	cert, err := certificate(opts.Key)
	if err != nil {
		return nil, err
	}
	n.cert = certificateSource{cert}
	if err := n.open(); err != nil {
		return nil, err
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.start(n.acceptLoop)
	for _, nb := range n.neighbours {
		n.start(nb.maintain)
	}
	return n, nil
}

// learnMembers fills the tables of neighbours and checks that Key is the one the network names for Self.
func (n *Node) learnMembers() error {
	known := false
	for _, m := range n.opts.Network.Members {
		if len(m.Key) != ed25519.PublicKeySize {
			return fmt.Errorf("opening peer node: member %s: transport key has %d bytes", m.Name, len(m.Key))
		}
		if m.Name == n.opts.Self {
			if !m.Key.Equal(n.opts.Key.Public()) {
				return fmt.Errorf("opening peer node: the transport key is not the one the network names for %s", m.Name)
			}
			known = true
			continue
		}
		nb := newNeighbour(n, m)
		nb.kept = n.opts.Keep == nil || slices.Contains(n.opts.Keep, m.Name)
		if n.neighbours[m.Name] != nil || n.byKey[string(m.Key)] != nil {
			return fmt.Errorf("opening peer node: member %s: name or transport key twice", m.Name)
		}
		n.neighbours[m.Name], n.byKey[string(m.Key)] = nb, nb
		for _, key := range m.Former { // apart, so that a stolen key takes no place of the member's own connections
			n.byFormer[string(key)] = newNeighbour(n, m)
		}
	}
	if !known {
		return fmt.Errorf("opening peer node: %w: %s is not in the network configuration", ErrUnknownMember, n.opts.Self)
	}
	return nil
}

func (n *Node) open() error {
	addr, err := net.ResolveUDPAddr("udp", n.opts.Listen)
	if err != nil {
		return fmt.Errorf("opening peer node: listen address: %w", err)
	}
	socket, err := net.ListenUDP("udp", addr)
	if err != nil {
		return fmt.Errorf("opening peer node: %w", err)
	}
	unvalidated := rate.NewLimiter(unvalidatedPerSecond, unvalidatedPerSecond)
	reset := resetKey(n.opts.Key)
	n.transport = &quic.Transport{
		Conn:                socket,
		StatelessResetKey:   &reset,
		VerifySourceAddress: func(net.Addr) bool { return !unvalidated.Allow() },
	}
	n.listener, err = n.transport.Listen(tlsConfig(n.cert.Certificate, n.acceptsKey), n.quicConfig())
	if err != nil {
		return errors.Join(fmt.Errorf("opening peer node: %w", err), n.transport.Close(), socket.Close())
	}
	return nil
}

// resetKey lets a restarted gateway tell its neighbours at once that it has forgotten their connections (RFC 9000,
// section 10.3). It must be the same after a restart, so it comes from the transport key.
func resetKey(key ed25519.PrivateKey) quic.StatelessResetKey {
	mac := hmac.New(sha256.New, key.Seed())
	mac.Write([]byte("grille/1 stateless reset"))
	return quic.StatelessResetKey(mac.Sum(nil))
}

func newIncarnation() string {
	var b [16]byte
	rand.Read(b[:]) // never fails, crypto/rand's documentation
	return hex.EncodeToString(b[:])
}

func (n *Node) quicConfig() *quic.Config {
	c := quicConfig()
	c.AllowConnectionWindowIncrease = n.windows.allow
	return c
}

func quicConfig() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           handshakeTimeout,
		MaxIdleTimeout:                 idleTimeout,
		KeepAlivePeriod:                keepAlive,
		InitialStreamReceiveWindow:     firstWindow,
		MaxStreamReceiveWindow:         receiveWindow,
		InitialConnectionReceiveWindow: firstWindow * 3 / 2,
		MaxConnectionReceiveWindow:     2 * receiveWindow,
		MaxIncomingStreams:             streamsPerPeer,
		MaxIncomingUniStreams:          -1,
	}
}

// acceptsKey is the server's pin: any member's key but our own.
func (n *Node) acceptsKey(key ed25519.PublicKey) error {
	if nb, _ := n.holder(key); nb == nil {
		return errPin
	}
	return nil
}

// holder returns whose transport key it is, nil if nobody's, and whether it is a former one.
func (n *Node) holder(key ed25519.PublicKey) (nb *neighbour, former bool) {
	if nb := n.byKey[string(key)]; nb != nil {
		return nb, false
	}
	return n.byFormer[string(key)], true
}

// start runs f until it returns; Close awaits it. It reports false when the node is already closing.
func (n *Node) start(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.tasks.Go(f)
	return true
}

// Addr is the UDP address that the node listens on.
func (n *Node) Addr() net.Addr { return n.listener.Addr() }

// Status tells how one neighbour is.
type Status struct {
	Member       string
	Up           bool
	Kept         bool      // there should be a connection; without one that is not kept nothing is wrong
	OtherVersion bool      // connected, but it has another network configuration
	Since        time.Time // of the last change
	Reason       string    // why the last attempt to reach it failed, empty when it is up
}

// Peers tells the state of every neighbour, by name.
func (n *Node) Peers() []Status {
	all := make([]Status, 0, len(n.neighbours))
	for _, nb := range n.neighbours {
		all = append(all, nb.status())
	}
	slices.SortFunc(all, func(a, b Status) int {
		if a.Member < b.Member {
			return -1
		}
		return 1
	})
	return all
}

// Up tells whether there is a connection to the member.
func (n *Node) Up(member string) bool {
	nb := n.neighbours[member]
	return nb != nil && nb.status().Up
}

// Connections counts the connections of this node that are past their hello.
func (n *Node) Connections() int {
	count := 0
	for _, nb := range n.neighbours {
		count += nb.links()
	}
	return count
}

func (nb *neighbour) links() int {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	count := 0
	for _, l := range []*link{nb.in, nb.out} {
		if l != nil {
			count++
		}
	}
	return count
}

// Close ends all connections, then the transport, and waits for every handler to return. Calls in flight fail.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		n.tasks.Wait()
		return nil
	}
	n.closed = true
	n.mu.Unlock()
	n.cancel()
	n.closeLinks()
	err := n.listener.Close()
	n.tasks.Wait()
	n.closeLinks() // that came up while the others were being closed
	return errors.Join(err, n.transport.Close(), n.transport.Conn.Close())
}

func (n *Node) closeLinks() {
	for _, table := range []map[string]*neighbour{n.neighbours, n.byFormer} {
		for _, nb := range table {
			nb.closeAll(codeGoodbye, "closing")
		}
	}
}

// Codes of an application close, wire format.
const (
	codeGoodbye    quic.ApplicationErrorCode = 0
	codeRefused    quic.ApplicationErrorCode = 1 // the hello was refused
	codeSuperseded quic.ApplicationErrorCode = 2 // the pair keeps another connection
)
