package ledger

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
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
	ask      int // to be told, by who is at that version
}

// simTold is what a member tells of itself.
type simTold struct {
	version    int // of the configuration
	heads      []Head
	standing   [][]byte
	evidence   [][]byte
	succession *network.Succession // nil if nothing is under way
	link       *network.Link       // for who is behind: nothing else is told then
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
	cfg := simConfig(mirrors, r.IntN(mirrors+2))
	w.versions, w.ballots = []*network.Configuration{cfg}, make(map[int]*simBallot)
	w.live, w.changes = w.chance(2), w.chance(2) && o.plant.config == nil
	for i, m := range cfg.Members {
		w.addNode(m.Name)
		w.nodes[i].own = w.addLog(i, m.Origin())
	}
	w.nodes[len(w.nodes)-2].byzantine = true // simLiar
	w.addNode(simJoiner)
	// Some mirrors lie. What is left of what the quorums bear is for folders set back and clocks set ahead.
	for range r.IntN(cfg.Quorum()) {
		if n := w.nodes[r.IntN(mirrors)]; w.mayFail(n) {
			n.byzantine = true
		}
	}
	for _, n := range w.nodes {
		if n.byzantine {
			n.lies = newSimLies(n)
		}
	}
	w.group = make([]int, len(w.nodes))
	w.tracef("%d mirrors, quorum %d, proposer %s, live %v", mirrors, cfg.Quorum(), cfg.Proposer, w.live)
	return w
}

// config is the version in force.
func (w *simWorld) config() *network.Configuration { return w.versions[len(w.versions)-1] }

func (w *simWorld) addNode(name string) {
	w.nodes = append(w.nodes, &simNode{w: w, id: len(w.nodes), name: name, fs: newSimDisk(),
		offset: time.Duration(w.r.IntN(4000)-2000) * time.Millisecond,
		seen:   make(map[string]Head), signed: make(map[string]simSigned)})
}

func (w *simWorld) addLog(owner int, origin string) *simLog {
	l := newSimLog(owner, origin)
	w.logs = append(w.logs, l)
	return l
}

// given is what members believe the version in force to be: the same, if nothing is planted.
func (w *simWorld) given() *network.Configuration {
	if f := w.opts.plant.config; f != nil {
		return f(w.config())
	}
	return w.config()
}

// A simBit is one mirror's key: a member, and the generation of its key from 1.
func simBit(id, generation int) uint64 { return 1 << (id + 16*(generation-1)) }

// simGeneration reads the generation at the end of a key's name.
func simGeneration(name string) int {
	g, err := strconv.Atoi(name[strings.LastIndex(name, "/")+1:])
	if err != nil {
		panic(err)
	}
	return g
}

// bits are the mirror keys of a version.
func (w *simWorld) bits(c *network.Configuration) (mask uint64) {
	for _, m := range c.Mirrors() {
		mask |= simBit(w.nodeOf(m.Name).id, simGeneration(m.MirrorName()))
	}
	return mask
}

// faulty says which mirror keys are not to be trusted.
func (w *simWorld) faulty() (mask uint64) {
	for _, n := range w.nodes {
		if !n.trusted() {
			mask |= simBit(n.id, 1) | simBit(n.id, 2) | simBit(n.id, 3)
		}
	}
	return mask
}

// mayFail says whether one more member may become untrusted: in no version that is or may come into force do as many
// mirrors lie as would be in two quorums, and if the run is to be live, no more than a quorum can do without.
func (w *simWorld) mayFail(n *simNode) bool {
	return w.bears(n, slices.Concat(w.versions, w.pending()))
}

// bears says the same of given versions. All liars count in each, for they are in the committees one after the other.
func (w *simWorld) bears(failing *simNode, versions []*network.Configuration) bool {
	var liars, lost uint64
	least, spare := 64, 64
	for _, c := range versions {
		mirrors := len(c.Mirrors())
		least, spare = min(least, 2*c.Quorum()-mirrors-1), min(spare, mirrors-c.Quorum())
		for _, m := range c.Mirrors() {
			n := w.nodeOf(m.Name)
			if n == failing || !n.trusted() {
				liars |= 1 << n.id
			}
			if n == failing || n.impaired() {
				lost |= 1 << n.id
			}
		}
	}
	return bits.OnesCount64(liars) <= least && (!w.live || bits.OnesCount64(lost) <= spare)
}

// impaired says that a member cannot be counted on to cosign when all faults have ended.
func (n *simNode) impaired() bool { return !n.trusted() || n.clockLost || n.gone }

// ableToGoOn says whether enough mirrors of a version will cosign when all faults have ended.
func (w *simWorld) ableToGoOn(c *network.Configuration) bool {
	able := 0
	for _, m := range c.Mirrors() {
		if !w.nodeOf(m.Name).impaired() {
			able++
		}
	}
	return able >= c.Quorum()
}

func (w *simWorld) logName(origin string) string {
	l := w.logAt(origin)
	if l == nil {
		return "?"
	}
	name := w.nodes[l.owner].String()
	if g := simGeneration(origin); g > 1 {
		name += fmt.Sprint("/", g)
	}
	return name
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
	case m.ask > 0:
		to.tell(from, m.ask)
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
		h, err := HeadOf(m.head.Origin, m.head.Checkpoint)
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
