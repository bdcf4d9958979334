package ledger

import (
	"math/bits"
	"math/rand/v2"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
)

// simMail is one message on its way; one of the last fields is set.
type simMail struct {
	from, to int
	life     int // of the receiver: what is sent to a process dies with it
	push     *Push
	reply    *PushReply
	told     *simTold
	head     *Head
	pull     *simPull
	entries  *simEntries
	ask      bool // to be told
}

// simTold is what a member tells of itself.
type simTold struct {
	heads    []Head
	standing [][]byte
	evidence [][]byte
}

type simPull struct {
	origin   string
	from, to uint64
}

type simEntries struct {
	origin  string
	entries Entries
}

const (
	simMaxMail  = 60 // messages on their way; the oldest gets lost
	simMaxHeads = 50 // heads kept for replays
)

func newSimWorld(o simOptions) *simWorld {
	r := rand.New(rand.NewPCG(o.seed, 0x6772696c6c65))
	w := &simWorld{opts: o, r: r, now: simStart, counts: make(map[string]int), lines: make(map[string]simEmitted)}
	mirrors := []int{4, 4, 4, 4, 4, 5, 5, 6, 7, 7}[r.IntN(10)]
	cfg := simConfig(mirrors)
	w.versions = []*network.Configuration{cfg}
	q := cfg.Quorum()
	w.budget = 2*q - mirrors - 1
	if w.live = w.chance(2); w.live {
		w.budget = min(w.budget, mirrors-q)
	}
	for i, m := range cfg.Members {
		n := &simNode{w: w, id: i, name: m.Name, mirror: m.Mirror, byzantine: m.Name == simLiar,
			offset: time.Duration(r.IntN(4000)-2000) * time.Millisecond,
			seen:   make(map[string]Head), signed: make(map[string]simSigned), fs: newSimDisk()}
		w.nodes = append(w.nodes, n)
		w.logs = append(w.logs, newSimLog(i, cfg.Origin(m.Name)))
	}
	// One mirror lies, more if the budget allows; what is left of it is for folders set back and clocks set ahead.
	for range r.IntN(w.budget + 1) {
		if n := w.nodes[r.IntN(mirrors)]; !n.byzantine {
			n.byzantine = true
			w.budget--
		}
	}
	for _, n := range w.nodes {
		if n.byzantine {
			n.lies = newSimLies(n)
		}
	}
	w.group = make([]int, len(w.nodes))
	w.tracef("%d mirrors, quorum %d, live %v", mirrors, q, w.live)
	return w
}

// config is the version in force.
func (w *simWorld) config() *network.Configuration { return w.versions[len(w.versions)-1] }

// given is what members believe the version in force to be: the same, if nothing is planted.
func (w *simWorld) given() *network.Configuration {
	if f := w.opts.plant.config; f != nil {
		return f(w.config())
	}
	return w.config()
}

// faulty says which members are not to be trusted as mirrors, a bit for each.
func (w *simWorld) faulty() (mask uint64) {
	for _, n := range w.nodes {
		if n.mirror && !n.trusted() {
			mask |= 1 << n.id
		}
	}
	return mask
}

// impaired counts the mirrors that cannot be counted on to cosign when all faults have ended.
func (w *simWorld) impaired() (count int) {
	mask := w.faulty()
	for _, n := range w.nodes {
		if n.mirror && (n.clockLost || n.gone) {
			mask |= 1 << n.id
		}
	}
	return bits.OnesCount64(mask)
}

func (w *simWorld) logName(origin string) string {
	for i, l := range w.logs {
		if l.origin == origin {
			return w.nodes[i].String()
		}
	}
	return "?"
}

// send puts a message on its way.
func (w *simWorld) send(m simMail) {
	if len(w.mail) >= simMaxMail {
		w.mail = w.mail[1:]
	}
	m.life = w.nodes[m.to].lives
	w.mail = append(w.mail, m)
}

// deliver takes any message that is on its way: they overtake one another. It may be lost, or come twice.
func (w *simWorld) deliver() {
	if len(w.mail) == 0 {
		return
	}
	i := w.r.IntN(len(w.mail))
	m := w.mail[i]
	if w.group[m.from] != w.group[m.to] {
		if w.chance(2) {
			w.drop(i)
		}
		return
	}
	switch {
	case w.chance(25):
		w.count("message lost")
		w.drop(i)
		return
	case w.chance(25):
		w.count("message twice")
	default:
		w.drop(i)
	}
	w.hand(m)
}

// deliverNow delivers one message without any fault of the network.
func (w *simWorld) deliverNow(i int) {
	m := w.mail[i]
	w.drop(i)
	w.hand(m)
}

func (w *simWorld) drop(i int) {
	w.mail[i] = w.mail[len(w.mail)-1]
	w.mail = w.mail[:len(w.mail)-1]
}

// hand gives a message to its receiver, as bytes now and then.
func (w *simWorld) hand(m simMail) {
	from, to := w.nodes[m.from], w.nodes[m.to]
	if to.byzantine {
		to.lies.take(from, m)
		return
	}
	if to.store == nil || to.lives != m.life {
		return
	}
	if w.chance(8) {
		w.encode(&m)
	}
	switch {
	case m.push != nil:
		to.takePush(from, *m.push)
	case m.reply != nil:
		to.takeReply(from, *m.reply)
	case m.told != nil:
		to.takeTold(from, m.told)
	case m.head != nil:
		to.takeHead(from, *m.head)
	case m.pull != nil:
		to.takePull(from, m.pull)
	case m.entries != nil:
		to.takeEntries(from, m.entries)
	case m.ask:
		to.tell(from)
	}
}

// encode passes a message through its wire format.
func (w *simWorld) encode(m *simMail) {
	switch {
	case m.push != nil:
		p, err := DecodePush(m.push.Encode())
		w.must(err)
		m.push = &p
	case m.reply != nil:
		r, err := DecodePushReply(m.reply.Encode())
		w.must(err)
		m.reply = &r
	case m.head != nil:
		h, err := DecodeHead(m.head.Encode())
		w.must(err)
		m.head = &h
	case m.entries != nil:
		e, err := DecodeEntries(m.entries.entries.Encode())
		w.must(err)
		m.entries = &simEntries{m.entries.origin, e}
	}
}

func (w *simWorld) must(err error) {
	if err != nil {
		w.failf("message does not pass the wire: %v", err)
	}
}

// remember keeps a head for those who replay old ones.
func (w *simWorld) remember(h Head) {
	if len(w.heads) < simMaxHeads {
		w.heads = append(w.heads, h)
		return
	}
	w.heads[w.r.IntN(len(w.heads))] = h
}
