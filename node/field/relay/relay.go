// Package relay carries UDP datagrams between the gateways of a test network and treats them as a bad network would: late, lost,
// twice, out of order, or not at all in one direction. What happens to which datagram follows from a seed.
//
// Each member has a public address at the relay, which its network configuration names as its endpoint. What arrives there is sent on
// to the member's true address from a socket of its own for each sender, so that answers find their way back:
//
//	A's socket -> public address of B [A to B] -> socket for A -> B's socket
//	A's socket <- public address of B <- [B to A] socket for A <- B's socket
//
// It exists because kernels that run tests often have no netem. It trusts everybody: it is for tests.
package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxWaiting bounds the copies in the queue: 100 Mbit/s for 0.1 s.
	maxWaiting = 1 << 10
	// maxFlows bounds the senders remembered; a gateway has one address.
	maxFlows = 256
	// maxDatagram is the largest UDP payload.
	maxDatagram = 65507
)

// Options are what a relay needs.
type Options struct {
	Seed    uint64
	Weather Weather // of every direction, until Set says otherwise
	// Listen opens a UDP socket in the members' network; port 0 picks a port.
	Listen func(address netip.AddrPort) (*net.UDPConn, error)
	// Name tells whose address a datagram came from. Datagrams of others are dropped.
	Name func(netip.Addr) (member string, ok bool)
}

// Direction is one way of a link between two members.
type Direction struct{ From, To string }

// Count says what became of the datagrams of one direction.
type Count struct {
	Carried    uint64 // at least one copy was sent
	Lost       uint64 // by the weather, a cut, or a full queue
	Duplicated uint64
	Held       uint64 // held back, so that others could overtake
}

// A Relay carries datagrams until it is closed. Its methods are safe for concurrent use.
type Relay struct {
	o     Options
	done  chan struct{}
	tasks sync.WaitGroup

	mu      sync.Mutex // guards what follows
	closed  bool
	sockets []*net.UDPConn
	flows   int
	ways    map[Direction]*way
	waiting parcels
	seq     uint64
	earlier chan struct{} // the head of waiting is due earlier than before
}

// way is the state of a direction.
type way struct {
	weather Weather
	cut     bool
	n       uint64    // datagrams so far
	last    time.Time // when the newest one in order is due
	count   Count
}

// New starts a relay that carries nothing yet.
func New(o Options) (*Relay, error) {
	if err := o.Weather.check(); err != nil {
		return nil, err
	}
	r := &Relay{o: o, done: make(chan struct{}), ways: map[Direction]*way{}, earlier: make(chan struct{}, 1)}
	r.tasks.Go(r.deliver)
	return r, nil
}

// Carry opens a member's public address and sends on what arrives there to the member's true one.
func (r *Relay) Carry(member string, public, target netip.AddrPort) error {
	front, err := r.open(public)
	if err != nil {
		return fmt.Errorf("carrying for %s: %w", member, err)
	}
	r.tasks.Go(func() {
		back := map[netip.AddrPort]*net.UDPConn{} // by sender; used by this goroutine alone
		read(front, func(sender netip.AddrPort, data []byte) {
			from, ok := r.o.Name(sender.Addr())
			if !ok {
				return
			}
			socket := back[sender]
			if socket == nil {
				if socket = r.flow(front, member, from, sender); socket == nil {
					return
				}
				back[sender] = socket
			}
			r.treat(Direction{from, member}, func() { _, _ = socket.WriteToUDPAddrPort(data, target) }) // lost if it fails, as datagrams are
		})
	})
	return nil
}

// flow opens the socket from which a member sees one sender, and carries the answers. It returns nil when there are too many.
func (r *Relay) flow(front *net.UDPConn, member, from string, sender netip.AddrPort) *net.UDPConn {
	r.mu.Lock()
	full := r.flows >= maxFlows
	r.flows++
	r.mu.Unlock()
	if full {
		return nil
	}
	local := front.LocalAddr().(*net.UDPAddr).AddrPort()
	socket, err := r.open(netip.AddrPortFrom(local.Addr(), 0))
	if err != nil {
		return nil
	}
	r.tasks.Go(func() {
		read(socket, func(_ netip.AddrPort, data []byte) {
			r.treat(Direction{member, from}, func() { _, _ = front.WriteToUDPAddrPort(data, sender) })
		})
	})
	return socket
}

func (r *Relay) open(at netip.AddrPort) (*net.UDPConn, error) {
	socket, err := r.o.Listen(at)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.Join(net.ErrClosed, socket.Close())
	}
	r.sockets = append(r.sockets, socket)
	return socket, nil
}

// read gives each datagram, a copy, to f until the socket is closed.
func read(socket *net.UDPConn, f func(sender netip.AddrPort, data []byte)) {
	buffer := make([]byte, maxDatagram)
	for {
		n, sender, err := socket.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // others are of datagrams sent before, which the receiver refused
			f(netip.AddrPortFrom(sender.Addr().Unmap(), sender.Port()), append([]byte(nil), buffer[:n]...))
		}
	}
}

// treat decides about the next datagram of a direction.
func (r *Relay) treat(d Direction, send func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.wayLocked(d)
	f := w.weather.Fate(r.o.Seed, d.From, d.To, w.n)
	w.n++
	if f.Lost || w.cut {
		w.count.Lost++
		return
	}
	due := time.Now().Add(f.Delay)
	switch {
	case f.Held:
		w.count.Held++
	case due.Before(w.last):
		due = w.last // jitter alone changes no order: queues are first in, first out
	default:
		w.last = due
	}
	if !r.postLocked(due, send) {
		w.count.Lost++
		return
	}
	w.count.Carried++
	if f.Copies == 2 && r.postLocked(due, send) {
		w.count.Duplicated++
	}
}

func (r *Relay) wayLocked(d Direction) *way {
	w := r.ways[d]
	if w == nil {
		w = &way{weather: r.o.Weather}
		r.ways[d] = w
	}
	return w
}

// Set changes the weather of one direction.
func (r *Relay) Set(d Direction, weather Weather) error {
	if err := weather.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wayLocked(d).weather = weather
	return nil
}

// Cut drops everything of one direction, or ends that. What is under way still arrives.
func (r *Relay) Cut(d Direction, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wayLocked(d).cut = cut
}

// Counts tells what became of the datagrams so far.
func (r *Relay) Counts() map[Direction]Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[Direction]Count, len(r.ways))
	for d, w := range r.ways {
		all[d] = w.count
	}
	return all
}

// Close ends the relay; what waits is dropped.
func (r *Relay) Close() error {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil
	}
	r.closed = true
	sockets := r.sockets
	r.mu.Unlock()
	close(r.done)
	var errs []error
	for _, s := range sockets {
		errs = append(errs, s.Close())
	}
	r.tasks.Wait()
	return errors.Join(errs...)
}
