package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

// simLies is what a byzantine member does. As an owner it signs several histories, shows different mirrors different ones
// and keeps entries back. As a mirror it cosigns whatever it is asked, with any time, stores nothing and lies about what it
// holds. As a neighbour it replays old heads and changes entries. Byzantine members know of one another: a tree that lacks
// as many cosignatures as there are of them has them.
type simLies struct {
	n       *simNode
	card    network.Member // by the first version: keys of liars are not replaced
	assign  map[int]int    // which branch a mirror is shown
	have    map[int]uint64
	notes   map[tlog.Tree][]byte
	cosigs  map[tlog.Tree]map[string]note.Cosignature
	files   [][]byte            // evidence heard of
	seen    map[string][][]byte // checkpoints that owners signed, by origin
	version int                 // that known leads on from
	known   *network.Succession
}

func newSimLies(n *simNode) *simLies {
	card, _ := n.card()
	return &simLies{n: n, card: card, assign: make(map[int]int), have: make(map[int]uint64), notes: make(map[tlog.Tree][]byte),
		cosigs: make(map[tlog.Tree]map[string]note.Cosignature), seen: make(map[string][][]byte)}
}

func (l *simLies) log() *simLog { return l.n.own }

// byzantineAct lets any byzantine member act.
func (w *simWorld) byzantineAct() {
	if w.quiet {
		return
	}
	var liars []*simNode
	for _, n := range w.nodes {
		if n.byzantine {
			liars = append(liars, n)
		}
	}
	l := liars[w.r.IntN(len(liars))].lies
	switch k := w.r.IntN(20); {
	case k < 3:
		l.extend()
	case k < 4 && w.chance(2):
		l.fork()
	case k < 4:
		l.split()
	case k < 11:
		for _, n := range w.nodes {
			if n.isMirror() && n.store != nil && w.chance(2) {
				l.pushTo(n)
			}
		}
	case k < 14:
		l.collude()
	case k < 16:
		l.tell(w.other(l.n))
	case k < 18:
		l.replay(w.other(l.n))
	case k < 19 && len(w.pending()) > 0:
		l.meddle()
	case k < 19:
		for _, m := range w.nodes {
			l.assign[m.id] = w.r.IntN(len(l.log().branches))
		}
	default:
		l.stray(w.other(l.n))
	}
}

// extend appends to one of the histories.
func (l *simLies) extend() {
	b := l.log().branches[l.n.w.r.IntN(len(l.log().branches))]
	for range 1 + l.n.w.r.IntN(4) {
		b.add(fmt.Appendf(nil, `{"kind":"lie","v":1,"n":%d,"branch":%d}`, b.size(), slices.Index(l.log().branches, b)))
	}
}

// fork begins another history of the own log.
func (l *simLies) fork() {
	w := l.n.w
	if len(l.log().branches) >= 4 {
		return
	}
	b := l.log().branches[w.r.IntN(len(l.log().branches))]
	l.log().branches = append(l.log().branches, b.fork(int64(w.r.IntN(int(b.size())+1))))
	w.count("owner forks its log")
	w.tracef("%s forks its log", l.n)
	l.assign[w.r.IntN(len(w.nodes))] = len(l.log().branches) - 1
	l.assign[w.r.IntN(len(w.nodes))] = len(l.log().branches) - 1
}

// split shows one history to some mirrors and another to the rest, all at once, before they can compare.
func (l *simLies) split() {
	w := l.n.w
	if len(l.log().branches) > 2 {
		return
	}
	old := l.log().branches[0]
	b := old.fork(int64(w.r.IntN(int(old.size()) + 1)))
	l.log().branches = append(l.log().branches, b)
	w.count("owner forks its log")
	w.tracef("%s shows two histories", l.n)
	for _, x := range []*simBranch{old, b} {
		for range 1 + w.r.IntN(2) {
			x.add(fmt.Appendf(nil, `{"kind":"lie","v":1,"n":%d,"split":%d}`, x.size(), slices.Index(l.log().branches, x)))
		}
	}
	for _, m := range w.nodes {
		l.assign[m.id] = w.r.IntN(2) * (len(l.log().branches) - 1)
		if m.isMirror() && m != l.n {
			x := l.log().branches[l.assign[m.id]]
			w.send(simMail{from: l.n.id, to: m.id, push: &Push{Origin: l.log().origin, Checkpoint: l.sign(x.tree(x.size())), Entries: x.entries}})
		}
	}
}

// sign returns the own signature on a tree, as often as asked.
func (l *simLies) sign(tree tlog.Tree) []byte {
	if l.notes[tree] == nil {
		data, err := note.Sign(l.log().origin, tree, simLogKey(l.card))
		if err != nil {
			panic(err)
		}
		l.notes[tree] = data
	}
	return l.notes[tree]
}

// pushTo shows a mirror one of the histories, or the beginning of it, with entries that may be wrong or missing.
func (l *simLies) pushTo(m *simNode) {
	w := l.n.w
	b := l.log().branches[l.assign[m.id]]
	if !m.isMirror() || m == l.n || b.size() == 0 {
		return
	}
	size := b.size()
	if w.chance(5) {
		size = 1 + int64(w.r.IntN(int(size)))
	}
	from := min(l.have[m.id], uint64(size))
	if w.chance(5) {
		from = uint64(w.r.IntN(int(size) + 1))
	}
	entries := slices.Clone(b.entries[from:size])
	switch {
	case w.chance(10):
		entries = nil
		w.count("owner keeps entries back")
	case w.chance(10) && len(entries) > 0:
		entries[w.r.IntN(len(entries))] = []byte("not what was signed")
		w.count("owner sends garbage")
	}
	w.count("lying owner pushes")
	w.send(simMail{from: l.n.id, to: m.id, push: &Push{Origin: l.log().origin, Checkpoint: l.sign(b.tree(size)), From: from, Entries: entries}})
}

// take takes whatever comes.
func (l *simLies) take(from *simNode, m simMail) {
	switch {
	case l.n.w.quiet:
	case m.push != nil:
		l.answer(from, *m.push)
	case m.reply != nil:
		l.collect(from, *m.reply)
	case m.told != nil:
		l.files = append(l.files, m.told.evidence...)
		l.learn(m.told.succession)
	case m.pull != nil:
		l.serve(from, m.pull)
	case m.ask > 0:
		l.tell(from)
	}
}

// answer answers a push as a mirror.
func (l *simLies) answer(from *simNode, p Push) {
	w := l.n.w
	c, err := note.Parse(p.Checkpoint)
	if err != nil || !l.card.Mirror {
		return
	}
	if len(l.seen[c.Origin]) < 8 {
		l.seen[c.Origin] = append(l.seen[c.Origin], p.Checkpoint)
	}
	r := PushReply{Size: uint64(c.Tree.N), Have: p.From + uint64(len(p.Entries))}
	at := w.now
	switch w.r.IntN(10) {
	case 0:
		at = at.Add(time.Duration(1+w.r.IntN(86400)) * time.Second)
		w.count("mirror cosigns with a future time")
	case 1:
		at = at.Add(-time.Duration(1+w.r.IntN(86400)) * time.Second)
	case 2:
		r.Have = uint64(w.r.IntN(2 * int(c.Tree.N)))
		w.count("mirror lies about what it holds")
		w.send(simMail{from: l.n.id, to: from.id, reply: &r})
		return
	case 3:
		return
	case 4:
		r.Cosignature = []byte("— garbage AAAAAAAA\n")
		w.send(simMail{from: l.n.id, to: from.id, reply: &r})
		return
	}
	r.Cosignature = []byte(l.cosign(c.Tree, c.Text, at).Line)
	w.count("mirror cosigns anything")
	w.send(simMail{from: l.n.id, to: from.id, reply: &r})
}

func (l *simLies) cosign(tree tlog.Tree, text string, at time.Time) note.Cosignature {
	line, err := note.Cosign(text, l.card.MirrorName(), simMirrorKey(l.card), at)
	if err != nil {
		panic(err)
	}
	return note.Cosignature{Mirror: l.n.name, Time: at.Truncate(time.Second), Line: line}
}

// collect keeps an honest mirror's cosignature of one of the histories.
func (l *simLies) collect(from *simNode, r PushReply) {
	if l.have[from.id] = r.Have; len(r.Cosignature) == 0 {
		return
	}
	m, ok := l.n.w.config().Member(from.name)
	if !ok {
		return
	}
	for _, b := range l.log().branches {
		if int64(r.Size) > b.size() {
			continue
		}
		tree := b.tree(int64(r.Size))
		if cosig, err := note.VerifyCosignature(m, note.Text(l.log().origin, tree), string(r.Cosignature)); err == nil {
			if l.cosigs[tree] == nil {
				l.cosigs[tree] = make(map[string]note.Cosignature)
			}
			l.cosigs[tree][from.name] = cosig
			if l.n.w.chance(2) {
				l.collude()
			}
			return
		}
	}
}

// collude adds all byzantine mirrors' cosignatures to a tree of the own log and, if they make a quorum, tells some.
func (l *simLies) collude() {
	w := l.n.w
	trees := slices.SortedFunc(maps.Keys(l.cosigs), func(a, b tlog.Tree) int {
		return slices.Compare([]int64{a.N, int64(a.Hash[0]), int64(a.Hash[1])}, []int64{b.N, int64(b.Hash[0]), int64(b.Hash[1])})
	})
	if len(trees) == 0 {
		return
	}
	tree := trees[len(trees)-1-w.r.IntN(min(3, len(trees)))]
	text := note.Text(l.log().origin, tree)
	all := maps.Clone(l.cosigs[tree])
	for _, n := range w.nodes {
		if n.byzantine && n.isMirror() {
			all[n.name] = n.lies.cosign(tree, text, w.now)
		}
	}
	if q := w.given().Quorum(); len(all) >= q {
		w.count("lying owner makes a head")
		c, err := note.Parse(l.sign(tree))
		if err != nil {
			panic(err)
		}
		h := Head{Origin: l.log().origin, Size: uint64(tree.N), Root: tree.Hash, Checkpoint: note.Assemble(c, core.Newest(all, q, w.now.Add(ClockAllowance)))}
		w.remember(h)
		for range 2 {
			w.send(simMail{from: l.n.id, to: w.other(l.n).id, head: &h})
		}
	}
}

// tell tells old heads of others and own checkpoints of any history.
func (l *simLies) tell(to *simNode) {
	w := l.n.w
	t := &simTold{version: w.config().Version, evidence: l.files[:min(2, len(l.files))]}
	for range min(w.r.IntN(4), len(w.heads)) {
		t.heads = append(t.heads, w.heads[w.r.IntN(len(w.heads))])
	}
	for range w.r.IntN(3) {
		b := l.log().branches[w.r.IntN(len(l.log().branches))]
		if b.size() > 0 {
			t.standing = append(t.standing, l.sign(b.tree(1+int64(w.r.IntN(int(b.size()))))))
		}
	}
	w.send(simMail{from: l.n.id, to: to.id, told: t})
}

// replay passes on an old head, whole or with a changed bit.
func (l *simLies) replay(to *simNode) {
	w := l.n.w
	if len(w.heads) == 0 {
		return
	}
	h := w.heads[w.r.IntN(len(w.heads))]
	w.count("old head replayed")
	if w.chance(2) {
		data := slices.Clone(h.Checkpoint)
		data[w.r.IntN(len(data))] ^= 1 << w.r.IntN(8)
		changed, err := HeadOf(h.Origin, data)
		if err != nil {
			return
		}
		h = changed
		w.count("bit of a head changed")
	}
	w.send(simMail{from: l.n.id, to: to.id, head: &h})
}

// serve answers a pull with what is there, somewhat changed.
func (l *simLies) serve(to *simNode, p *simPull) {
	w := l.n.w
	log := w.logAt(p.origin)
	if log == nil {
		return
	}
	b := log.branches[w.r.IntN(len(log.branches))]
	if p.from >= uint64(b.size()) {
		return
	}
	raws := slices.Clone(b.entries[p.from:min(p.to, uint64(b.size()))])
	if len(raws) == 0 {
		return
	}
	switch i := w.r.IntN(len(raws)); w.r.IntN(5) {
	case 0:
		raws[i] = slices.Clone(raws[i])
		raws[i][0] ^= 1
	case 1:
		raws = slices.Delete(raws, i, i+1)
	case 2:
		raws = append(raws, []byte("one more"))
	case 3:
		raws[i] = raws[0]
	}
	w.count("relay serves entries")
	w.send(simMail{from: l.n.id, to: to.id, entries: &simEntries{p.origin, Entries{p.from, raws}}})
}

// stray sends messages that fit nothing.
func (l *simLies) stray(to *simNode) {
	w := l.n.w
	log := w.logs[w.r.IntN(len(w.logs))]
	switch w.r.IntN(4) {
	case 0:
		w.send(simMail{from: l.n.id, to: to.id, reply: &PushReply{Have: uint64(w.r.IntN(100)), Size: uint64(w.r.IntN(100))}})
	case 1:
		w.send(simMail{from: l.n.id, to: to.id, entries: &simEntries{log.origin, Entries{uint64(w.r.IntN(50)), [][]byte{[]byte("stray")}}}})
	case 2:
		w.send(simMail{from: l.n.id, to: to.id, push: &Push{Origin: log.origin, Checkpoint: []byte("nothing"), Entries: [][]byte{{1}}}})
	default:
		if len(l.files) > 0 {
			file := slices.Clone(l.files[w.r.IntN(len(l.files))])
			file[w.r.IntN(len(file))] ^= 1 << w.r.IntN(8)
			w.send(simMail{from: l.n.id, to: to.id, told: &simTold{version: w.config().Version, evidence: [][]byte{file}}})
		}
	}
}

// learn takes what is told of the next version.
func (l *simLies) learn(s *network.Succession) {
	prev := l.n.w.config()
	if l.version != prev.Version {
		l.version, l.known = prev.Version, &network.Succession{}
	}
	if s != nil {
		_, _ = l.known.Merge(prev, s) // an older version's does not fit
	}
}

// meddle votes for any of the documents that may follow, for one after the other, and hands over old trees or none.
func (l *simLies) meddle() {
	w := l.n.w
	l.learn(nil)
	prev, b := w.config(), w.ballots[l.version+1]
	me, _ := prev.Member(l.n.name)
	i := w.r.IntN(len(b.docs))
	more := &network.Succession{Proposal: &b.proposals[i]}
	if me.Mirror {
		v, err := network.NewVote(prev, b.docs[i], l.n.name, simMirrorKey(me))
		if err != nil {
			w.failf("%s cannot vote: %v", l.n, err)
		}
		more.Votes = []network.Vote{v}
		w.count("mirror votes for anything")
	}
	_, _ = l.known.Merge(prev, more)
	if me.Mirror && l.known.Decided(prev) {
		l.handOver(prev, me)
	}
	known := *l.known
	w.send(simMail{from: l.n.id, to: w.other(l.n).id, told: &simTold{version: prev.Version, succession: &known}})
}

// handOver hands over what this mirror never cosigned, or did long ago.
func (l *simLies) handOver(prev *network.Configuration, me network.Member) {
	w := l.n.w
	next, err := l.known.Proposal.Verify(prev)
	if err != nil {
		return
	}
	var stands []network.Stand
	notes := slices.Clone(l.known.Checkpoints)
	for _, origin := range prev.Origins() {
		seen := l.seen[origin]
		if len(seen) == 0 || w.chance(3) {
			continue
		}
		data := seen[w.r.IntN(len(seen))]
		if c, err := note.VerifyOwner(prev, origin, data); err == nil {
			stands, notes = append(stands, network.NewStand(origin, c.Tree)), append(notes, string(data))
		}
	}
	h, err := network.NewHandover(prev, next, l.n.name, stands, simMirrorKey(me))
	if err != nil {
		w.failf("%s cannot hand over: %v", l.n, err)
	}
	more := *l.known
	more.Handovers, more.Checkpoints = append(slices.Clone(l.known.Handovers), h), notes
	if _, err := l.known.Merge(prev, &more); err == nil {
		w.count("mirror hands over old trees")
	}
}
