package main

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/note"
)

// A simulation runs the real core.Spread and core.Owner of many members over a network in virtual time. What is not simulated:
// disks and signatures (their cost is measured apart), loss beyond late packets, and members that are down.
type simulation struct {
	shape  simShape
	sizes  messageSizes
	random *rand.Rand
	names  []string
	number map[string]int
	nodes  []*simNode
	queue  simQueue
	seq    uint64
	now    time.Duration // virtual, since the start

	measuring  bool
	steps      []uint64 // of an entry, by milliseconds: final at its owner
	spreadTo   []uint64 // final to held, of each head and member, by milliseconds
	everywhere []float64
	hops       []uint64 // of each head and member
	announced  [2]uint64
}

// simShape says what is simulated.
type simShape struct {
	members, mirrors, quorum int
	warm, length             time.Duration // virtual; only what happens after warm is counted
	entryEvery, heartbeat    time.Duration
	compareEvery             time.Duration
}

// messageSizes are the bytes of what is sent, bodies only: encoded by the real code for real keys and names.
type messageSizes struct {
	head, entry            int // a final head's note; an entry
	push, beat, pushReply  int
	item                   int // of a reply to a pull, with the head and one entry
	compareAsk, compareEnd int // the answer without marks
}

// simNode is one member.
type simNode struct {
	spread *core.Spread
	held   []int64
	hop    []uint8
	wakeAt time.Duration

	owner    *core.Owner
	pushing  []bool // by mirror: in flight
	signed   int64
	appended map[int64]time.Duration
	finals   []finalHead // of the own log, newest last

	traffic traffic
	queries callCounts
}

// finalHead is a head whose way is followed.
type finalHead struct {
	size    int64
	at      time.Duration
	reached int
}

// traffic is what passes a node while it is measured.
type traffic struct {
	messages, sent, received float64 // messages both ways; bytes with framing and overhead
}

// callCounts are what a node has to do besides moving bytes, while it is measured.
type callCounts struct {
	calls                float64 // requests sent and served
	heads, pushes, beats float64 // heads taken; pushes with entries, and heartbeats, cosigned
	cosignatures         float64 // verified as an owner
	handshakes           float64
}

const (
	eventWake = iota
	eventAppend
	eventHeartbeat
	eventCompare
	eventDeliver
)

type simEvent struct {
	at   time.Duration
	seq  uint64
	kind uint8
	node int32
	msg  *simMessage
}

// simMessage is a message on its way to a node.
type simMessage struct {
	kind    uint8
	from    int32
	marks   []core.Mark // announcement; pull: wanted; answer: got; comparison: the sender's
	wants   []core.Mark // answer to a pull: what was asked
	hops    []uint8     // answer to a pull
	size    int64       // push: tree
	entries int64
	aside   bool // announcement after a comparison, which the spread does not know of
}

const (
	msgAnnounce = iota
	msgAnnounced
	msgPull
	msgPulled
	msgCompare
	msgCompared
	msgPush
	msgPushed
)

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = simEvent{}
	*q = old[:len(old)-1]
	return last
}

// What a message costs on the wire beside its bytes.
const (
	packetBytes = 1200                // of stream data in a packet
	packetExtra = 20 + 8 + 7 + 16 + 8 // IPv4, UDP, QUIC's short header with quic-go's 4-byte connection id, AEAD tag, STREAM frame
	ackPacket   = 20 + 8 + 7 + 16 + 6 // a packet with an ACK frame and nothing else; one for every two packets
	handshaking = 5000                // each way: TLS 1.3 with two certificates in padded packets, hellos, close
)

// onTheWire returns the bytes that a message needs in its direction, and what acknowledges it in the other. An estimate: packets
// that share a datagram, or acknowledgements that ride on data, are not counted off.
func onTheWire(bytes int) (wire, acks float64) {
	packets := (bytes + packetBytes - 1) / packetBytes
	return float64(bytes + packets*packetExtra), float64((packets + 1) / 2 * ackPacket)
}

var simEpoch = time.Unix(1_700_000_000, 0)

// newSimulation prepares the members; the first of them mirror. The seed decides everything.
func newSimulation(shape simShape, names []string, digest string, sizes messageSizes, seed uint64) *simulation {
	s := &simulation{shape: shape, sizes: sizes, random: rand.New(rand.NewPCG(seed, 22)), names: names, number: map[string]int{},
		steps: make([]uint64, 60_000), spreadTo: make([]uint64, 60_000), hops: make([]uint64, 64)}
	for i, name := range names {
		s.number[name] = i
	}
	mirrors := names[:shape.mirrors]
	for i, name := range names {
		n := &simNode{held: make([]int64, len(names)), hop: make([]uint8, len(names)), pushing: make([]bool, shape.mirrors),
			appended: map[int64]time.Duration{}, owner: core.NewOwner(shape.quorum, ledger.ClockAllowance, mirrors, tlog.Tree{}, tlog.Tree{}, nil),
			spread: core.NewSpread(len(names), core.Neighbours(names, name, digest), s.random.Float64)}
		s.nodes = append(s.nodes, n)
		s.after(time.Duration(s.random.Int64N(int64(shape.entryEvery))), simEvent{kind: eventAppend, node: int32(i)})
		s.after(time.Duration(s.random.Int64N(int64(time.Second))), simEvent{kind: eventHeartbeat, node: int32(i)})
		s.after(time.Duration(s.random.Int64N(int64(shape.compareEvery))), simEvent{kind: eventCompare, node: int32(i)})
	}
	return s
}

func (s *simulation) after(d time.Duration, e simEvent) {
	s.seq++
	e.at, e.seq = s.now+d, s.seq
	heap.Push(&s.queue, e)
}

func (s *simulation) clock() time.Time { return simEpoch.Add(s.now) }

// latency is one way between two members: 3 ms and an exponential with mean 12 ms that belongs to the pair, a fifth of it again for
// jitter, and for one message in 200 the 150 ms until a lost packet was sent again.
func (s *simulation) latency(a, b int32) time.Duration {
	pair := rand.New(rand.NewPCG(uint64(min(a, b)), uint64(max(a, b))))
	base := 3 + 12*pair.ExpFloat64()
	base *= 1 + s.random.Float64()/5
	if s.random.IntN(200) == 0 {
		base += 150
	}
	return time.Duration(base * float64(time.Millisecond))
}

// run lets virtual time pass.
func (s *simulation) run(ctx context.Context) error {
	end := s.shape.warm + s.shape.length
	for len(s.queue) > 0 && s.queue[0].at <= end {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		s.measuring = s.now >= s.shape.warm
		s.handle(e)
		if s.seq%100_000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (s *simulation) handle(e simEvent) {
	n := s.nodes[e.node]
	switch e.kind {
	case eventAppend:
		n.signed++
		n.appended[n.signed] = s.now
		n.owner.Signed(simTree(n.signed))
		s.offer(e.node)
		s.after(s.shape.entryEvery, simEvent{kind: eventAppend, node: e.node})
		return
	case eventHeartbeat:
		s.offer(e.node)
		s.after(time.Second, simEvent{kind: eventHeartbeat, node: e.node})
		return
	case eventCompare:
		other := int32(s.random.IntN(len(s.nodes)))
		if other != e.node {
			s.send(e.node, other, &simMessage{kind: msgCompare}, 5+s.sizes.compareAsk)
			s.count(func() { n.queries.handshakes++; s.nodes[other].queries.handshakes++ })
		}
		s.after(s.shape.compareEvery/2+time.Duration(s.random.Int64N(int64(s.shape.compareEvery))), simEvent{kind: eventCompare, node: e.node})
		return
	case eventWake:
		if n.wakeAt > s.now {
			return // a later one is due
		}
		n.wakeAt = 0
	case eventDeliver:
		s.deliver(e.node, e.msg)
	}
	s.tick(e.node)
}

func simTree(size int64) tlog.Tree { return tlog.Tree{N: size, Hash: tlog.Hash{byte(size)}} }

func (s *simulation) count(f func()) {
	if s.measuring {
		f()
	}
}

// mirrorDisk is how long a mirror takes to store and sync before it cosigns.
const mirrorDisk = 5 * time.Millisecond

// send puts a message of so many bytes, with framing, on its way.
func (s *simulation) send(from, to int32, m *simMessage, bytes int) {
	s.sendAfter(0, from, to, m, bytes)
}

func (s *simulation) sendAfter(pause time.Duration, from, to int32, m *simMessage, bytes int) {
	m.from = from
	s.count(func() {
		a, b := &s.nodes[from].traffic, &s.nodes[to].traffic
		wire, acks := onTheWire(bytes)
		a.messages++
		b.messages++
		a.sent += wire
		a.received += acks
		b.received += wire
		b.sent += acks
		if m.kind%2 == 0 { // requests; answers follow
			s.nodes[from].queries.calls++
			s.nodes[to].queries.calls++
		}
	})
	s.after(pause+s.latency(from, to), simEvent{kind: eventDeliver, node: to, msg: m})
}

// offer pushes the own log to every mirror that wants it.
func (s *simulation) offer(i int32) {
	n := s.nodes[i]
	for m := range int32(s.shape.mirrors) {
		if n.pushing[m] {
			continue
		}
		tree, from, ok := n.owner.Wants(s.names[m], s.clock(), s.shape.heartbeat)
		if !ok {
			continue
		}
		if m == i {
			s.cosigned(i, m, tree.N)
			continue
		}
		n.pushing[m] = true
		bytes := 5 + s.sizes.beat
		if tree.N > from {
			bytes = 5 + s.sizes.push
		}
		s.send(i, m, &simMessage{kind: msgPush, size: tree.N, entries: tree.N - from}, bytes)
	}
}

// cosigned gives a mirror's cosignature to the owner.
func (s *simulation) cosigned(i, mirror int32, size int64) {
	n := s.nodes[i]
	before := n.owner.Final()
	n.owner.Cosigned(size, note.Cosignature{Mirror: s.names[mirror], Time: s.clock()}, s.clock())
	final := n.owner.Final()
	if final.N == before.N {
		return
	}
	for at := before.N + 1; at <= final.N; at++ {
		s.count(func() { s.steps[min(int((s.now-n.appended[at]).Milliseconds()), len(s.steps)-1)]++ })
		delete(n.appended, at)
	}
	n.finals = append(n.finals, finalHead{size: final.N, at: s.now})
	s.hold(i, int(i), final.N, 0)
	s.tick(i)
}

// hold notes that a member has a head.
func (s *simulation) hold(i int32, log int, size int64, hops uint8) {
	n := s.nodes[i]
	if size <= n.held[log] {
		return
	}
	owner := s.nodes[log]
	for k := len(owner.finals) - 1; k >= 0 && owner.finals[k].size > n.held[log]; k-- {
		f := &owner.finals[k]
		if f.size > size {
			continue
		}
		f.reached++
		if int(i) != log && f.at >= s.shape.warm {
			s.spreadTo[min(int((s.now-f.at).Milliseconds()), len(s.spreadTo)-1)]++
			s.hops[min(int(hops), len(s.hops)-1)]++
		}
		if f.reached == len(s.nodes) && f.at >= s.shape.warm {
			s.everywhere = append(s.everywhere, millis(s.now-f.at))
		}
	}
	n.held[log], n.hop[log] = size, hops
	n.spread.Held(log, simTree(size))
	if int(i) != log {
		s.count(func() { n.queries.heads++ })
	}
}

// tick carries out what a member's spread wants now.
func (s *simulation) tick(i int32) {
	n := s.nodes[i]
	tasks, next := n.spread.Tick(s.clock())
	for _, t := range tasks {
		to := int32(s.number[t.To])
		if t.Announce != nil {
			s.count(func() { s.announced[0]++; s.announced[1] += uint64(len(t.Announce)) })
			s.send(i, to, &simMessage{kind: msgAnnounce, marks: t.Announce}, 5+8+len(core.EncodeMarks(t.Announce, false)))
			continue
		}
		s.send(i, to, &simMessage{kind: msgPull, marks: t.Pull}, 5+len(core.EncodeMarks(t.Pull, false)))
	}
	if next.IsZero() {
		return
	}
	if at := max(next.Sub(simEpoch), s.now+1); n.wakeAt == 0 || at < n.wakeAt {
		n.wakeAt = at
		s.after(at-s.now, simEvent{kind: eventWake, node: i})
	}
}

// deliver is a message's arrival. Answers are sent at once, but for a mirror's, which syncs a disk twice.
func (s *simulation) deliver(i int32, m *simMessage) {
	n := s.nodes[i]
	switch m.kind {
	case msgAnnounce:
		n.spread.Announced(s.names[m.from], m.marks)
		s.send(i, m.from, &simMessage{kind: msgAnnounced, aside: m.aside}, 6)
	case msgAnnounced:
		if !m.aside {
			n.spread.Delivered(s.names[m.from], true, s.clock())
		}
	case msgPull:
		reply := &simMessage{kind: msgPulled, wants: m.marks}
		bytes := 6
		for _, w := range m.marks {
			if n.held[w.Log] > 0 {
				reply.marks = append(reply.marks, core.Mark{Log: w.Log, Size: uint64(n.held[w.Log])})
				reply.hops = append(reply.hops, n.hop[w.Log]+1)
				bytes += s.sizes.item
			}
		}
		s.send(i, m.from, reply, bytes)
	case msgPulled:
		n.spread.Pulled(s.names[m.from], m.wants, m.marks, true, s.clock())
		for k, got := range m.marks {
			s.hold(i, got.Log, int64(got.Size), m.hops[k])
		}
	case msgCompare:
		marks := n.spread.Marks()
		s.send(i, m.from, &simMessage{kind: msgCompared, marks: marks}, 6+s.sizes.compareEnd+len(core.EncodeMarks(marks, true)))
	case msgCompared:
		more, _, fewer := n.spread.Differing(m.marks)
		n.spread.Announced(s.names[m.from], more)
		if len(fewer) > 0 {
			s.send(i, m.from, &simMessage{kind: msgAnnounce, marks: fewer, aside: true}, 5+8+len(core.EncodeMarks(fewer, false)))
		}
	case msgPush:
		s.count(func() {
			if m.entries > 0 {
				n.queries.pushes++
			} else {
				n.queries.beats++
			}
		})
		s.sendAfter(mirrorDisk, i, m.from, &simMessage{kind: msgPushed, size: m.size}, 6+s.sizes.pushReply)
	case msgPushed:
		n.pushing[m.from] = false
		s.count(func() { n.queries.cosignatures++ })
		s.cosigned(i, m.from, m.size)
		s.offer(i)
	}
}
