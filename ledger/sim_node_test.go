package ledger

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
	"github.com/grille-gateway/grille/ledger/tiles/simfs"
)

const (
	simInstance = "sim.example"
	// simPatience is how long an owner waits for a mirror's answer before it pushes again.
	simPatience = 3 * time.Second
)

// simKeys are the keys of all simulations: they are the same in each, so that signatures verified once are known.
var simKeys sync.Map

func simKey(label string) ed25519.PrivateKey {
	if k, ok := simKeys.Load(label); ok {
		return k.(ed25519.PrivateKey)
	}
	k, _ := simKeys.LoadOrStore(label, testKey("simulation "+label))
	return k.(ed25519.PrivateKey)
}

// simCard makes a member's card. Generations count from 1.
func simCard(name string, mirror bool, logGeneration, mirrorGeneration int) network.Card {
	log := simKey(fmt.Sprint("log ", name, logGeneration))
	mir := simKey(fmt.Sprint("mirror ", name, mirrorGeneration))
	pub := func(label string) string {
		return base64.StdEncoding.EncodeToString(simKey(label + name).Public().(ed25519.PublicKey))
	}
	m := network.Member{
		Name: name, Title: name, Mirror: mirror, Endpoint: fmt.Sprintf("127.0.0.1:%d", 10000+int(crc32.ChecksumIEEE([]byte(name))%50000)),
		LogKey:       network.LogVKey(network.LogName(simInstance, name, logGeneration), log.Public().(ed25519.PublicKey)),
		MirrorKey:    network.MirrorVKey(network.MirrorName(simInstance, name, mirrorGeneration), mir.Public().(ed25519.PublicKey)),
		TransportKey: pub("transport "), QueryKey: pub("query "),
	}
	c, err := network.NewCard(simInstance, m, log)
	if err != nil {
		panic(err)
	}
	return c
}

func simMirrorName(i int) string { return fmt.Sprintf("GOV/m%d", i) }

// The members that are no mirrors: one whose owner lies, one that is honest, and one that may join later.
const (
	simLiar   = "GOV/x0"
	simReader = "GOV/x1"
	simJoiner = "GOV/y0"
)

var simConfigs sync.Map

// simConfig returns version 1 of a network of n mirrors and the two members that are none. proposer counts them.
func simConfig(n, proposer int) *network.Configuration {
	if c, ok := simConfigs.Load([2]int{n, proposer}); ok {
		return c.(*network.Configuration)
	}
	var cards []network.Card
	for i := range n {
		cards = append(cards, simCard(simMirrorName(i), true, 1, 1))
	}
	cards = append(cards, simCard(simLiar, false, 1, 1), simCard(simReader, false, 1, 1))
	cfg, err := network.Build(simInstance, network.Params{Mode: network.ModeDemo, Expires: "2030-01-01T00:00:00Z", Proposer: cards[proposer].Member.Name,
		Schemes: []network.Scheme{{Name: "nid", Pattern: `[A-Z]{2}\d{6}`, Normalise: "upper", Example: "ab123456"}}}, cards)
	if err != nil {
		panic(err)
	}
	c, _ := simConfigs.LoadOrStore([2]int{n, proposer}, cfg)
	return c.(*network.Configuration)
}

func simLogKey(m network.Member) ed25519.PrivateKey {
	return simKey(fmt.Sprint("log ", m.Name, simGeneration(m.Origin())))
}

func simMirrorKey(m network.Member) ed25519.PrivateKey {
	return simKey(fmt.Sprint("mirror ", m.Name, simGeneration(m.MirrorName())))
}

// A simNode is one member with its machine. If it is byzantine no Store runs there.
type simNode struct {
	w         *simWorld
	id        int
	name      string
	byzantine bool
	lies      *simLies // of a byzantine member

	fs      *simfs.FS
	store   *Store                 // nil while it is down
	cfg     *network.Configuration // that the store was opened with last
	own     *simLog                // its log; nil for who has not joined yet
	handed  int                    // version that its mirror handed over
	headBy  *network.Configuration // by which the head being checked is final
	closing bool                   // its log is about to be fenced: nothing is appended
	offset  time.Duration
	back    time.Time // when it starts again, if it is down
	gone    bool      // refuses to go on, for good: its folder was restored from a copy

	setBack                   bool  // and not started since
	restored                  bool  // from an older copy of its folder: no longer trusted
	restoredAt, restoredFinal int64 // size of its own log in the copy, and its largest final size then
	clockLost                 bool  // the clock was a day ahead: its mirror cannot cosign until that day
	broken                    bool  // a disk error was planned
	copies                    []*simfs.FS

	told   map[int]bool      // mirrors that told since the start what they hold, this one among them
	heard  map[int]bool      // those of them that are trusted
	waits  map[int]time.Time // until when an answer of that mirror is awaited
	lives  int               // starts so far
	seen   map[string]Head   // the newest final head shown of each log
	signed map[string]simSigned
}

// now is what this machine's clock says.
func (n *simNode) now() time.Time { return n.w.now.Add(n.offset) }

func (n *simNode) String() string { return strings.TrimPrefix(n.name, "GOV/") }

// config is the version of the configuration that this member goes by.
func (n *simNode) config() *network.Configuration {
	if n.cfg == nil {
		return n.w.config()
	}
	return n.cfg
}

// card is this member as the configuration has it.
func (n *simNode) card() (network.Member, bool) { return n.config().Member(n.name) }

func (n *simNode) isMirror() bool {
	m, ok := n.card()
	return ok && m.Mirror
}

// trusted says that what this member signs must be right: it is honest, and its folder was never set back.
func (n *simNode) trusted() bool { return !n.byzantine && !n.restored }

// start opens the store. Only a planned failure of the disk, or a folder set back, may stop it.
func (n *simNode) start() {
	w := n.w
	n.back = time.Time{}
	n.lives++
	store, err := n.open()
	if n.fs.Crashed() {
		w.tracef("%s crashes while it starts", n)
		n.stop()
		n.down()
		return
	}
	if err != nil {
		n.refused(err)
		return
	}
	n.store = store
	n.heard, n.waits = make(map[int]bool), make(map[int]time.Time)
	if n.told = make(map[int]bool); n.isMirror() {
		n.told[n.id] = true
	}
	w.tracef("%s starts, own log %d", n, store.Size(n.own.origin))
	n.adopt()
	n.checkKept()
	if w.opts.plant.opened != nil {
		w.opts.plant.opened(n)
	}
	n.askAll()
}

func (n *simNode) open() (*Store, error) {
	if f := n.w.opts.plant.losesSync; f != nil {
		n.fs.LosesSync = f
	}
	if f := n.w.opts.plant.starting; f != nil && !n.fs.Crashed() {
		f(n)
	}
	disk, err := tiles.NewDiskOn(n.fs, "/m")
	if err != nil {
		return nil, err
	}
	disk.Serial = true
	o := Options{Member: n.name, Now: n.now, index: ":memory:"}
	if n.w.opts.plant.config != nil { // then there are no changes
		o.Config = n.w.given()
	} else if o.Chain, err = n.loadChain(disk); err != nil {
		return nil, err
	}
	me, _ := n.card()
	o.LogKey, o.MirrorKey = simLogKey(me), simMirrorKey(me)
	return openOn(disk, o)
}

// refused deals with a store that does not open.
func (n *simNode) refused(err error) {
	w := n.w
	switch {
	case n.planned(err):
		w.count("start fails by the disk")
		n.down()
	case errors.Is(err, errSimRemoved):
		w.count("member left")
		n.leave(err)
	case n.restored && (errors.Is(err, ErrRolledBack) || errors.Is(err, signer.ErrState)):
		w.count("a copy of a folder is refused at the start")
		n.leave(err)
	default:
		w.failf("%s does not start: %v", n, err)
	}
}

// planned says whether an error is a disk failure that the simulation made.
func (n *simNode) planned(err error) bool {
	return n.broken && (errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC))
}

func (n *simNode) leave(err error) {
	n.w.tracef("%s is gone for good: %v", n, err)
	n.stop()
	n.gone = true
}

// adopt compares the own log with what was acknowledged: all of it is there, and of an Append that failed all or nothing.
func (n *simNode) adopt() {
	l, size := n.own, int64(n.store.Size(n.own.origin))
	if n.setBack {
		n.setBack, n.restoredAt = false, size
	}
	if n.restored && !l.settled {
		l.settled, l.acked, l.pending = true, size, nil
		l.main = l.main.fork(size)
		l.branches = append(l.branches, l.main)
	}
	switch size {
	case l.acked:
	case l.acked + int64(len(l.pending)):
		for _, raw := range l.pending {
			l.main.add(raw)
		}
		l.acked = size
	default:
		n.w.failf("%s acknowledged %d entries, %d more were under way, and has %d", n, l.acked, len(l.pending), size)
	}
	l.pending = nil
	if tree, err := n.store.own.files.Tree(size); err != nil || !l.main.has(tree) {
		n.w.failf("%s has another log of %d entries than it acknowledged: %v", n, size, err)
	}
}

// stop takes the process away. What it was about to say is never said.
func (n *simNode) stop() {
	if n.store != nil {
		if err := n.store.index.Close(); err != nil {
			panic(err)
		}
		n.store = nil
	}
}

// down plans the next start.
func (n *simNode) down() {
	n.back = n.w.now.Add(time.Duration(n.w.r.IntN(6000)) * time.Millisecond)
}

// survives says, after the store was called, whether the process lives on. If its machine crashed meanwhile, nothing that
// the call returned gets out.
func (n *simNode) survives() bool {
	if n.store == nil {
		return false
	}
	if n.fs.Crashed() {
		n.w.count("crash at a step of the disk")
		n.w.tracef("%s crashes at a step of its disk", n)
		n.stop()
		n.down()
		return false
	}
	err := n.store.Failure()
	switch {
	case err == nil:
	case errors.Is(err, ErrStopped) && n.planned(err):
		n.w.count("store stopped by the disk")
		n.w.tracef("%s stops: %v", n, err)
		if n.w.chance(3) { // an operator who looks away: it must sign nothing
			break
		}
		n.stop()
		n.down()
		return false
	case errors.Is(err, ErrSuperseded):
		n.superseded()
		return false
	case errors.Is(err, ErrRolledBack) && n.restored:
		n.w.count("a copy of a folder is refused by what others hold")
		n.leave(err)
		return false
	default:
		n.w.failf("%s stops: %v", n, err)
	}
	n.watchHandover()
	n.show()
	return true
}

// append adds entries to the own log.
func (n *simNode) append() {
	w := n.w
	if n.closing {
		return
	}
	count := 1 + w.r.IntN(3)
	if w.chance(150) {
		count = 200 + w.r.IntN(150) // over the border of a tile
	}
	l := n.own
	size := l.main.size()
	entries, raws := make([]entry.Entry, count), make([][]byte, count)
	for i := range entries {
		entries[i] = simEntry(uint64(n.lives), uint64(size)+uint64(i))
		raw, err := entry.Encode(entries[i])
		if err != nil {
			panic(err)
		}
		raws[i] = raw
	}
	stopped := n.store.Failure() != nil
	index, err := n.store.Append(context.Background(), entries...)
	w.tracef("%s appends %d at %d: %v", n, count, size, err)
	switch {
	case n.fs.Crashed():
	case err == nil:
		if int64(index[0]) != size || len(index) != count {
			w.failf("%s appended to %d entries and got index %d", n, size, index[0])
		}
		for _, raw := range raws {
			n.own.main.add(raw)
		}
		l.acked, l.pending = size+int64(count), nil
		w.count("append")
		if n.survives() && w.chance(2) {
			n.poll()
		}
		return
	case errors.Is(err, ErrStarting), errors.Is(err, ErrHalted) && n.restored, n.store.Failure() != nil:
	default:
		w.failf("%s does not append: %v", n, err)
	}
	if !stopped && (n.fs.Crashed() || n.store.Failure() != nil) {
		l.pending = raws
	}
	n.survives()
}

func simEntry(life, i uint64) entry.Entry {
	return entry.ReceiptsBatch{Beat: life*1_000_000 + i + 1, Root: strings.Repeat("0f", 32), Time: "2026-03-01T12:00:00Z"}
}

// poll sends what is due to the mirrors.
func (n *simNode) poll() {
	w := n.w
	for _, m := range w.nodes {
		if c, ok := n.config().Member(m.name); !ok || !c.Mirror || m == n || n.waits[m.id].After(w.now) {
			continue
		}
		p, ok := n.store.Outgoing(m.name)
		if !n.survives() {
			return
		}
		if !ok {
			continue
		}
		n.checkPush(p)
		n.waits[m.id] = w.now.Add(simPatience)
		w.send(simMail{from: n.id, to: m.id, push: &p})
	}
}

// tell sends another member, which is at a version of the configuration, what this one holds.
func (n *simNode) tell(to *simNode, version int) {
	mine := n.config().Version
	if links := n.store.Chain().Links(); version < mine && version <= len(links) {
		n.w.send(simMail{from: n.id, to: to.id, told: &simTold{version: mine, link: links[version-1]}})
		return
	}
	t := &simTold{version: mine, heads: n.store.Heads(), standing: n.store.Standing()}
	if n.w.chance(3) {
		t.evidence = n.store.Evidence()
	}
	if known := n.store.Succession(); known.Proposal != nil {
		n.checkTold(known)
		t.succession = known
	}
	for _, h := range t.heads {
		n.w.remember(h)
	}
	n.w.send(simMail{from: n.id, to: to.id, told: t})
}

// askAll asks the members for what they hold: at the start and whenever the gateway compares with its neighbours.
func (n *simNode) askAll() {
	for _, m := range n.w.nodes {
		if m != n && (n.lives < 2 || !n.hasHeard() || n.w.chance(3)) {
			n.w.send(simMail{from: n.id, to: m.id, ask: n.config().Version})
		}
	}
}

func (n *simNode) hasHeard() bool {
	select {
	case <-n.store.Heard():
		return true
	default:
		return false
	}
}

// pull asks for the entries that this member lacks.
func (n *simNode) pull(from *simNode) {
	for _, want := range n.store.Wants() {
		n.w.send(simMail{from: n.id, to: from.id, pull: &simPull{want.Origin, n.store.Stored(want.Origin), want.Size}})
	}
}

// takePush takes a push as a mirror, and answers.
func (n *simNode) takePush(from *simNode, p Push) {
	take := func(p Push) (PushReply, error) { return n.store.AddCheckpoint(p) }
	if f := n.w.opts.plant.push; f != nil {
		take = func(p Push) (PushReply, error) { return f(n, from, p) }
	}
	reply, err := take(p)
	n.w.tracef("%s takes push of %d entries of %s from %s: cosigned %v, has %d, %v", n, len(p.Entries), n.w.logName(p.Origin), from,
		len(reply.Cosignature) > 0, reply.Have, err)
	if !n.survives() {
		return
	}
	if err != nil && len(reply.Cosignature) > 0 {
		n.w.failf("%s refuses and cosigns: %v", n, err)
	}
	if len(reply.Cosignature) > 0 {
		c, perr := note.Parse(p.Checkpoint)
		if perr != nil {
			n.w.failf("%s cosigned what is no checkpoint", n)
		}
		n.checkCosigned(c, string(reply.Cosignature))
		n.w.count("cosigned")
	}
	if err == nil || errors.Is(err, ErrStale) {
		n.w.send(simMail{from: n.id, to: from.id, reply: &reply})
	}
}

// takeReply takes a mirror's answer as the owner.
func (n *simNode) takeReply(from *simNode, r PushReply) {
	delete(n.waits, from.id)
	err := n.store.Cosigned(from.name, r)
	if errors.Is(err, ErrNoProgress) {
		n.waits[from.id] = n.w.now.Add(simPatience)
	}
	if !n.survives() {
		return
	}
	n.w.tracef("%s takes answer of %s: %v", n, from, err)
	if n.w.chance(2) {
		n.poll()
	}
}

// takeTold takes what another member holds.
func (n *simNode) takeTold(from *simNode, t *simTold) {
	if n.takeVersion(from, t) {
		return
	}
	hear := n.store.Hear
	if f := n.w.opts.plant.hear; f != nil {
		hear = func(string, []Head, [][]byte) error { return f(n, from.name, t) }
	}
	err := hear(from.name, t.heads, t.standing)
	c, _ := n.config().Member(from.name)
	if c.Mirror {
		n.told[from.id] = true
	}
	if !n.survives() {
		return
	}
	n.w.tracef("%s hears %s: %v", n, from, err)
	if from.trusted() && c.Mirror {
		n.heard[from.id] = true
	}
	n.checkStart()
	for _, e := range t.evidence {
		if _, err := n.store.AddEvidence(e); err == nil {
			n.w.checkEvidence(n, e)
		}
		if !n.survives() {
			return
		}
	}
	if n.pull(from); t.succession != nil {
		n.takeSuccession(from, t.succession)
	}
}

// takeHead takes one head that a neighbour passes on, pulls what it needs, and passes on what is new.
func (n *simNode) takeHead(from *simNode, h Head) {
	behind, err := n.store.AddHead(h)
	if !n.survives() {
		return
	}
	n.w.tracef("%s takes head %d of %s from %s: behind %v, %v", n, h.Size, n.w.logName(h.Origin), from, behind, err)
	if behind {
		n.pull(from)
	}
}

// takePull answers with entries.
func (n *simNode) takePull(from *simNode, p *simPull) {
	raws, err := n.store.Read(p.origin, p.from, p.to)
	if err == nil && len(raws) > 0 {
		n.w.send(simMail{from: n.id, to: from.id, entries: &simEntries{p.origin, Entries{p.from, raws}}})
	}
}

// takeEntries takes pulled entries; if they were wrong or not all, it asks somebody else.
func (n *simNode) takeEntries(from *simNode, e *simEntries) {
	err := n.store.AddEntries(e.origin, e.entries)
	if !n.survives() {
		return
	}
	n.w.tracef("%s takes %d entries of %s from %s: %v", n, len(e.entries.Entries), n.w.logName(e.origin), from, err)
	if errors.Is(err, ErrEntries) {
		n.w.count("wrong entries refused")
		n.pull(n.w.other(n))
	}
}
