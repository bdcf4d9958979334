package peer

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"

	"github.com/grille-gateway/grille/node/logkey"
)

// neighbour is everything this node holds about one other member.
type neighbour struct {
	node   *Node
	member Member
	kept   bool           // there should always be a connection; else it is made on demand
	gates  map[Kind]*gate // fixed; what the neighbour may ask of us
	bodies budget         // bytes of its requests and our replies

	kick    chan struct{} // a caller wants a connection now
	waiting atomic.Int32  // callers that do

	mu        sync.Mutex // guards what follows
	in, out   *link      // dialled by it, dialled by us
	since     time.Time  // of the last change between up and down
	wasUp     bool
	lastError string
	attempt   chan struct{} // closed when the dial in progress or the next one ends, or a link comes up
}

// gate limits one kind of request from one neighbour.
type gate struct {
	bound Bound
	rate  *rate.Limiter
	slots chan struct{}
}

func newNeighbour(n *Node, m Member) *neighbour {
	nb := &neighbour{
		node: n, member: m, gates: map[Kind]*gate{}, kick: make(chan struct{}, 1),
		since: time.Now(), attempt: make(chan struct{}), bodies: budget{limit: n.tuning.neighbourBodies},
	}
	for kind, b := range n.bounds {
		nb.gates[kind] = &gate{bound: b, rate: rate.NewLimiter(b.Rate, b.Burst), slots: make(chan struct{}, b.Concurrent)}
	}
	return nb
}

// current is the link for our own requests, nil when the neighbour is down. Of two it is the one that will stay.
func (nb *neighbour) current() *link {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	return nb.currentLocked()
}

func (nb *neighbour) currentLocked() *link {
	first, second := nb.in, nb.out
	if nb.node.opts.Self < nb.member.Name {
		first, second = nb.out, nb.in
	}
	if first != nil && first.usable() {
		return first
	}
	if second != nil && second.usable() {
		return second
	}
	return nil
}

func (nb *neighbour) status() Status {
	nb.mu.Lock()
	defer nb.mu.Unlock()
	s := Status{Member: nb.member.Name, Kept: nb.kept, Since: nb.since}
	if l := nb.currentLocked(); l != nil {
		s.Up, s.OtherVersion = !l.other, l.other
	}
	if !s.Up {
		s.Reason = nb.lastError
	}
	if s.OtherVersion {
		s.Reason = ErrOtherVersion.Error()
	}
	return s
}

// adopt makes l the link of its direction and settles what that supersedes (package comment). It reports false when the
// node is closing.
func (nb *neighbour) adopt(l *link) bool {
	var stale, retired *link
	nb.mu.Lock()
	same, other := &nb.in, &nb.out
	if l.dialled {
		same, other = other, same
	}
	stale, *same = *same, l
	if *other != nil && (*other).incarnation != l.incarnation {
		(*other).close(codeSuperseded, "restarted")
		*other = nil
	}
	if nb.in != nil && nb.out != nil && nb.member.Name < nb.node.opts.Self {
		retired = nb.out // it stays in nb.out until its connection ends, and is passed over by current
	}
	came := nb.changedLocked()
	nb.endAttemptLocked()
	nb.mu.Unlock()

	if stale != nil {
		stale.close(codeSuperseded, "replaced")
	}
	if retired != nil {
		nb.node.start(func() { retired.retire(nb.node.ctx) })
	}
	ok := nb.node.start(func() { nb.serve(l) })
	if !ok {
		l.close(codeGoodbye, "closing")
	}
	nb.announce(came)
	return ok
}

// drop forgets l after its connection ended.
func (nb *neighbour) drop(l *link) {
	nb.mu.Lock()
	if nb.in == l {
		nb.in = nil
	}
	if nb.out == l {
		nb.out = nil
	}
	went := nb.changedLocked()
	nb.mu.Unlock()
	nb.announce(went)
	nb.wake()
}

// changedLocked notes a change between up and down: +1 came up, -1 went down, 0 neither.
func (nb *neighbour) changedLocked() int {
	l := nb.currentLocked()
	up := l != nil && !l.other
	if up == nb.wasUp {
		return 0
	}
	nb.wasUp, nb.since = up, time.Now()
	if up {
		return +1
	}
	return -1
}

func (nb *neighbour) announce(change int) {
	if change == 0 {
		return
	}
	level := slog.LevelInfo
	if !nb.kept { // comes and goes
		level = slog.LevelDebug
	}
	if change > 0 {
		nb.node.log.Log(nb.node.ctx, level, "neighbour up", logkey.Member, nb.member.Name)
	} else {
		nb.node.log.Log(nb.node.ctx, level, "neighbour down", logkey.Member, nb.member.Name)
	}
	if nb.node.opts.OnChange != nil {
		nb.node.opts.OnChange(nb.member.Name, change > 0)
	}
}

func (nb *neighbour) endAttemptLocked() {
	close(nb.attempt)
	nb.attempt = make(chan struct{})
}

func (nb *neighbour) wake() {
	select {
	case nb.kick <- struct{}{}:
	default:
	}
}

func (nb *neighbour) closeAll(code quic.ApplicationErrorCode, reason string) {
	nb.mu.Lock()
	links := []*link{nb.in, nb.out}
	nb.mu.Unlock()
	for _, l := range links {
		if l != nil {
			l.close(code, reason)
		}
	}
}

// maintain sees to the connection to the neighbour until the node closes. To one that is kept it dials whenever there is none, at
// growing, jittered intervals while that fails, and at once (but never more often than redialGap) when a caller waits. To the
// others it dials when a caller waits, and closes what it dialled when nothing has used it for idleAfter.
func (nb *neighbour) maintain() {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = redialFirst, redialMax
	pause.Reset()
	for nb.node.ctx.Err() == nil {
		if nb.current() != nil {
			pause.Reset()
			nb.closeIdle()
			nb.sleep(min(redialMax, nb.node.tuning.idleAfter))
			continue
		}
		if !nb.kept && nb.waiting.Load() == 0 {
			pause.Reset()
			nb.rest()
			continue
		}
		err := nb.dial()
		nb.mu.Lock()
		nb.lastError = ""
		if err != nil {
			nb.lastError = err.Error()
		}
		nb.endAttemptLocked()
		nb.mu.Unlock()
		if err != nil {
			nb.node.log.Debug("dialling neighbour failed", logkey.Member, nb.member.Name, logkey.Error, err)
			nb.pause(redialGap)
			nb.sleep(pause.NextBackOff())
		}
	}
}

// sleep waits for d or until somebody wants a connection.
func (nb *neighbour) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-nb.kick:
	case <-nb.node.ctx.Done():
	}
}

// rest waits until somebody wants a connection.
func (nb *neighbour) rest() {
	select {
	case <-nb.kick:
	case <-nb.node.ctx.Done():
	}
}

// closeIdle retires a connection that was dialled on demand and is not used any more. The dialler alone does that, as of two
// connections: what the other end dialled is its to close.
func (nb *neighbour) closeIdle() {
	nb.mu.Lock()
	l := nb.out
	nb.mu.Unlock()
	if nb.kept || l == nil {
		return
	}
	if since, ok := l.unused(); ok && time.Since(since) >= nb.node.tuning.idleAfter {
		nb.node.start(func() { l.retire(nb.node.ctx) })
	}
}

func (nb *neighbour) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-nb.node.ctx.Done():
	}
}

// dial makes one connection and says hello on it.
func (nb *neighbour) dial() error {
	n := nb.node
	ctx, cancel := context.WithTimeout(n.ctx, 2*handshakeTimeout)
	defer cancel()
	addr, err := net.ResolveUDPAddr("udp", nb.member.Endpoint)
	if err != nil {
		return fmt.Errorf("dialling %s: %w", nb.member.Name, err)
	}
	var former bool // set before Dial returns
	conf := tlsConfig(n.cert.Certificate, func(key ed25519.PublicKey) error {
		var holder *neighbour
		if holder, former = n.holder(key); holder == nil || holder.member.Name != nb.member.Name { // a member's key, but another member's, is refused too
			return errPin
		}
		return nil
	})
	conn, err := n.transport.Dial(ctx, addr, conf, n.quicConfig())
	if err != nil {
		return fmt.Errorf("dialling %s: %w", nb.member.Name, err)
	}
	n.windows.watch(conn)
	theirs, err := nb.sayHello(ctx, conn)
	if err != nil {
		_ = conn.CloseWithError(codeRefused, "hello failed")
		return fmt.Errorf("greeting %s: %w", nb.member.Name, err)
	}
	l := newLink(conn, true, theirs, n.opts.Network.Digest)
	l.other = l.other || former
	nb.adopt(l)
	return nil
}

func (nb *neighbour) sayHello(ctx context.Context, conn *quic.Conn) (hello, error) {
	body, err := json.Marshal(nb.node.hello())
	if err != nil {
		return hello{}, err
	}
	reply, err := exchange(ctx, conn, kindHello, body, nb.node.bounds[kindHello])
	if err != nil {
		return hello{}, err
	}
	theirs, err := parseHello(reply, nb.node.bounds[kindHello].Reply)
	if err != nil {
		return hello{}, err
	}
	return theirs, nb.checkHello(theirs)
}

func (n *Node) hello() hello {
	return hello{
		Instance: n.opts.Network.Instance, Configuration: n.opts.Network.Digest,
		Member: n.opts.Self, Incarnation: n.incarnation,
	}
}

// checkHello compares what the neighbour says with what its key and our configuration say. Another configuration of the instance
// is let pass: one of the two is behind and needs the other to learn so.
func (nb *neighbour) checkHello(h hello) error {
	switch {
	case h.Instance != nb.node.opts.Network.Instance:
		return &RemoteError{CodeWrongInstance, "the neighbour belongs to another instance"}
	case h.Member != nb.member.Name:
		return &RemoteError{CodeWrongMember, "the neighbour's name is not its key's"}
	}
	return nil
}

// certificateSource keeps the certificate out of Node's printable fields.
type certificateSource struct{ tls.Certificate }

// isConnectionError tells whether err is about the connection and not about one request on it.
func isConnectionError(err error) bool {
	var app *quic.ApplicationError
	var idle *quic.IdleTimeoutError
	var reset *quic.StatelessResetError
	var transport *quic.TransportError
	return errors.As(err, &app) || errors.As(err, &idle) || errors.As(err, &reset) || errors.As(err, &transport)
}
