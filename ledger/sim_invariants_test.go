package ledger

import (
	"encoding/hex"
	"errors"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/note"
)

// simHashes are a tree's stored hashes.
type simHashes []tlog.Hash

func (h simHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h[x]
	}
	return out, nil
}

// A simBranch is one history of a log, with the root at each size.
type simBranch struct {
	entries [][]byte
	hashes  simHashes
	roots   []tlog.Hash
}

func newSimBranch() *simBranch {
	b := &simBranch{}
	b.addRoot()
	return b
}

func (b *simBranch) size() int64 { return int64(len(b.entries)) }

func (b *simBranch) add(raw []byte) {
	h, err := tlog.StoredHashes(b.size(), raw, b.hashes)
	if err != nil {
		panic(err)
	}
	b.hashes, b.entries = append(b.hashes, h...), append(b.entries, raw)
	b.addRoot()
}

func (b *simBranch) addRoot() {
	root, err := tlog.TreeHash(b.size(), b.hashes)
	if err != nil {
		panic(err)
	}
	b.roots = append(b.roots, root)
}

func (b *simBranch) tree(n int64) tlog.Tree { return tlog.Tree{N: n, Hash: b.roots[n]} }

func (b *simBranch) has(t tlog.Tree) bool { return t.N <= b.size() && b.roots[t.N] == t.Hash }

// fork returns a history that begins with the first n entries.
func (b *simBranch) fork(n int64) *simBranch {
	return &simBranch{entries: slices.Clip(b.entries[:n]), hashes: slices.Clip(b.hashes[:tlog.StoredHashCount(n)]), roots: slices.Clip(b.roots[:n+1])}
}

// A simLog is all that is true of one log: the histories that its owner signed, and who cosigned which tree.
type simLog struct {
	owner    int
	origin   string
	main     *simBranch // what an honest owner goes on with
	branches []*simBranch
	pool     map[tlog.Tree]uint64 // mirrors that ever let a cosignature of a tree out
	finals   []tlog.Tree          // trees that have, or with the untrusted mirrors' help can have, a quorum; ascending
	before   []tlog.Tree          // the largest of them when version 2, 3, ... began

	acked   int64    // entries that the owner's Append acknowledged
	pending [][]byte // of an Append that ended in a failure
	settled bool     // the owner's folder was set back, and started since
}

func newSimLog(owner int, origin string) *simLog {
	b := newSimBranch()
	return &simLog{owner: owner, origin: origin, main: b, branches: []*simBranch{b}, pool: make(map[tlog.Tree]uint64)}
}

// consistent says whether one history has both trees.
func (l *simLog) consistent(a, b tlog.Tree) bool {
	return slices.ContainsFunc(l.branches, func(x *simBranch) bool { return x.has(a) && x.has(b) })
}

func (w *simWorld) logAt(origin string) *simLog {
	for _, l := range w.logs {
		if l.origin == origin {
			return l
		}
	}
	return nil
}

// simSigned is what a key signed last for one log.
type simSigned struct {
	tree tlog.Tree
	at   time.Time
	key  int // generation
}

// simEmitted is when a mirror's cosignature came out.
type simEmitted struct {
	at   time.Time // true time
	good bool      // its clock was right, within the network's allowance
	own  bool      // of the mirror's own log: made some time before
}

// checkState checks that a signer's state, as it is after any crash, covers a signature.
func (n *simNode) checkState(role, path string, l *simLog, tree tlog.Tree, at time.Time) {
	states, ok := n.fs.Durable(path)
	if !ok {
		n.w.failf("%s signs while its state %s is not durable", n, path)
	}
	for _, data := range states {
		if state, when := n.parseState(data); state.N < tree.N || !l.consistent(state, tree) || when.Before(at) {
			n.w.failf("%s as %s signs size %d of %s at %s; its durable state says size %d at %s", n, role, tree.N, n.w.logName(l.origin), at,
				state.N, when)
		}
	}
}

// parseState reads size, root and time of a state, which are its last fields but the checkpoint.
func (n *simNode) parseState(data []byte) (tree tlog.Tree, at time.Time) {
	field := func(name string) string {
		_, after, _ := strings.Cut(string(data), `"`+name+`":"`)
		value, _, _ := strings.Cut(after, `"`)
		return value
	}
	size, err1 := strconv.ParseInt(field("size"), 10, 64)
	root, err2 := hex.DecodeString(field("root"))
	sec, err3 := strconv.ParseInt(field("time"), 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil || len(root) != tlog.HashSize {
		n.w.failf("%s: state %q: %v", n, data, err)
	}
	return tlog.Tree{N: size, Hash: tlog.Hash(root)}, time.Unix(sec, 0)
}

// checkSigned checks what a trusted key signs: not below what it signed before, on one history, and covered by a state
// that no crash takes away. (Invariant b.)
func (n *simNode) checkSigned(role, path string, l *simLog, tree tlog.Tree, at time.Time) {
	w := n.w
	if len(n.told) < n.config().Quorum() && !w.opts.plant.blind {
		w.failf("%s as %s signs size %d of %s, and was told by %d mirrors what they hold", n, role, tree.N, w.logName(l.origin), len(n.told))
	}
	if n.trusted() && !w.opts.plant.blind {
		n.checkState(role, path, l, tree, at)
	}
	key := role + l.origin
	last := n.signed[key]
	if n.trusted() && last.tree.N > 0 {
		if !l.consistent(last.tree, tree) {
			w.failf("%s as %s signs two histories of %s: sizes %d and %d", n, role, w.logName(l.origin), last.tree.N, tree.N)
		}
		if role == "mirror" && !w.opts.plant.blind && last.key == n.keyGeneration() && (tree.N < last.tree.N || at.Before(last.at)) {
			w.failf("%s as mirror of %s goes back from size %d at %s to %d at %s", n, w.logName(l.origin), last.tree.N, last.at, tree.N, at)
		}
	}
	if tree.N >= last.tree.N {
		n.signed[key] = simSigned{tree, at, n.keyGeneration()}
	}
}

// keyGeneration counts this member's mirror keys.
func (n *simNode) keyGeneration() int {
	me, _ := n.card()
	return simGeneration(me.MirrorName())
}

func (n *simNode) ownerPath() string {
	return n.store.disk.Path("signer", "owner"+generation(n.own.origin)+".json")
}

func (n *simNode) mirrorPath(origin string) string {
	me, _ := n.card()
	return n.store.disk.Path("signer", "mirror"+generation(me.MirrorName()), escape(origin)+".json")
}

// checkPush checks a checkpoint that leaves its owner.
func (n *simNode) checkPush(p Push) {
	c, err := note.VerifyOwner(n.config(), p.Origin, p.Checkpoint)
	if err != nil {
		n.w.failf("%s sends what is no checkpoint of its: %v", n, err)
	}
	if !n.own.main.has(c.Tree) {
		n.w.failf("%s sends a checkpoint of a tree that is not its log's: size %d", n, c.Tree.N)
	}
	n.checkSigned("owner", n.ownerPath(), n.own, c.Tree, time.Time{})
}

// checkCosigned checks a cosignature that leaves a mirror.
func (n *simNode) checkCosigned(c note.Checkpoint, line string) {
	w := n.w
	l := w.logAt(c.Origin)
	me, _ := n.card()
	cosig, err := note.VerifyCosignature(me, c.Text, line)
	if err != nil {
		w.failf("%s: cosignature does not verify: %v", n, err)
	}
	if !slices.ContainsFunc(l.branches, func(b *simBranch) bool { return b.has(c.Tree) }) {
		w.failf("%s cosigns a tree of %s that nobody made: size %d", n, w.logName(l.origin), c.Tree.N)
	}
	if n.trusted() && n.handed == n.config().Version {
		w.failf("%s cosigns size %d of %s by version %d, which it handed over", n, c.Tree.N, w.logName(l.origin), n.handed)
	}
	n.checkLimit(c)
	n.checkSigned("mirror", n.mirrorPath(c.Origin), l, c.Tree, cosig.Time)
	w.emitted(n, l, c.Tree, cosig.Line)
}

// emitted notes that a mirror's cosignature is out in the world.
func (w *simWorld) emitted(n *simNode, l *simLog, tree tlog.Tree, line string) {
	if _, known := w.lines[line]; !known {
		w.lines[line] = simEmitted{w.now, n.offset.Abs() <= 2*time.Second && !n.clockLost, l == n.own}
	}
	me, _ := n.card()
	l.pool[tree] |= simBit(n.id, simGeneration(me.MirrorName()))
	w.weigh(l, tree)
}

// weigh makes a tree final if the mirrors that cosigned it, and those that are not trusted and could, are a quorum, and
// checks that all such trees are of one history. (Invariant a, in its strong form.)
func (w *simWorld) weigh(l *simLog, tree tlog.Tree) {
	signers := l.pool[tree] | w.faulty()
	for _, c := range w.versions {
		if bits.OnesCount64(signers&w.bits(c)) >= c.Quorum() {
			w.addFinal(l, tree)
			return
		}
	}
}

func (w *simWorld) addFinal(l *simLog, tree tlog.Tree) {
	i, found := slices.BinarySearchFunc(l.finals, tree, func(a, b tlog.Tree) int { return int(a.N - b.N) })
	if found && l.finals[i] == tree {
		return
	}
	for _, k := range []int{i - 1, i} {
		if k >= 0 && k < len(l.finals) && !l.consistent(l.finals[k], tree) {
			w.failf("%s has two final histories: sizes %d and %d", w.logName(l.origin), l.finals[k].N, tree.N)
		}
	}
	l.finals = slices.Insert(l.finals, i, tree)
	w.count("final")
}

// recount weighs all trees again, after a mirror lost our trust.
func (w *simWorld) recount() {
	for _, l := range w.logs {
		for tree := range l.pool { // the order matters to nobody: any contradiction fails the run
			w.weigh(l, tree)
		}
	}
}

// show looks at what a member shows as final.
func (n *simNode) show() {
	for _, l := range n.w.logs {
		h, ok := n.store.Final(l.origin)
		last := n.seen[l.origin]
		if !ok || h.Size == last.Size && h.Root == last.Root && slices.Equal(h.Times, last.Times) {
			continue
		}
		n.checkHead(l, h, last)
		n.seen[l.origin] = h
		if h.Size > last.Size {
			n.w.remember(h)
			if l == n.own || n.w.chance(2) {
				n.w.send(simMail{from: n.id, to: n.w.other(n).id, head: &h})
			}
		}
	}
}

// checkHead checks a head that a member shows: it has a quorum, is of the history that all final heads are of, never goes
// back, and says no wrong time.
func (n *simNode) checkHead(l *simLog, h, last Head) {
	w := n.w
	tree, times, err := n.verifyHead(l, h)
	if err != nil || tree.N != int64(h.Size) || tree.Hash != h.Root || !slices.EqualFunc(times, h.Times, time.Time.Equal) {
		w.failf("%s shows a head of %s that is not final: %v", n, w.logName(l.origin), err)
	}
	if _, fenced := n.config().Fence(l.origin); h.Size < last.Size && !fenced {
		w.failf("%s goes back from final size %d of %s to %d", n, last.Size, w.logName(l.origin), h.Size)
	}
	w.addFinal(l, tree)
	if have, err := n.store.replicas[l.origin].files.Tree(tree.N); err != nil || have != tree {
		w.failf("%s shows size %d of %s as final and does not hold it: %v", n, tree.N, w.logName(l.origin), err)
	}
	n.checkTimes(l, h)
}

// verifyHead verifies a head by the newest version of the configuration by which it is final.
func (n *simNode) verifyHead(l *simLog, h Head) (tree tlog.Tree, times []time.Time, err error) {
	versions := n.store.Chain().Versions()
	for i := len(versions) - 1; i >= 0; i-- {
		q := n.w.versions[i].Quorum()
		if n.w.opts.plant.blind {
			q = 1
		}
		if tree, times, err = note.VerifyHead(versions[i], l.origin, h.Checkpoint, q); err == nil {
			n.headBy = versions[i]
			return tree, times, nil
		}
	}
	return tree, times, err
}

// checkTimes checks that a head which counts as current is: every cosignature of a trusted mirror whose clock is right was
// made lately. (Invariant c.)
func (n *simNode) checkTimes(l *simLog, h Head) {
	w := n.w
	_, cosigs, err := note.Cosignatures(n.headBy, l.origin, h.Checkpoint)
	if err != nil {
		w.failf("%s shows a head of %s that does not verify: %v", n, w.logName(l.origin), err)
	}
	bound := time.Duration(w.config().FreshnessSeconds) * time.Second
	current := n.now().Sub(h.Times[0]) <= bound && n.offset.Abs() <= 2*time.Second
	for _, c := range cosigs {
		m := w.nodeOf(c.Mirror)
		if m == n && l == n.own {
			w.emitted(n, l, tlog.Tree{N: int64(h.Size), Hash: h.Root}, c.Line) // the own mirror's is seen here first
		}
		e, known := w.lines[c.Line]
		if !m.trusted() || w.opts.plant.blind {
			continue
		}
		if !known {
			w.failf("%s shows a cosignature of %s that it never made", n, m)
		}
		if d := c.Time.Sub(e.at); e.good && (d < -3*time.Second && !e.own || d > 2*time.Second+ClockAllowance) {
			w.failf("%s cosigned with a time that is %s off", m, d)
		}
		if current && e.good && w.now.Sub(e.at) > bound+10*time.Second {
			w.failf("%s shows a head of %s as current with a cosignature of %s made %s ago", n, w.logName(l.origin), m, w.now.Sub(e.at))
		}
	}
}

func (w *simWorld) nodeOf(name string) *simNode {
	i := slices.IndexFunc(w.nodes, func(n *simNode) bool { return n.name == name })
	return w.nodes[i]
}

// checkKept checks after a start that everything is there that this member showed as final before. (Invariant e.)
func (n *simNode) checkKept() {
	if n.restored {
		clear(n.seen)
		return
	}
	for _, l := range n.w.logs {
		last, before := n.seen[l.origin]
		if _, fenced := n.config().Fence(l.origin); fenced {
			continue // if what is here is of another history, all of it is fetched again
		}
		if h, ok := n.store.Final(l.origin); before && (!ok || h.Size < last.Size) {
			n.w.failf("%s showed size %d of %s as final and shows %d after its start", n, last.Size, n.w.logName(l.origin), h.Size)
		}
	}
	n.show()
}

// checkStart checks that a folder set back behind a final state is refused once a quorum of trusted mirrors was heard.
func (n *simNode) checkStart() {
	l := n.own
	if !n.restored || len(l.finals) == 0 || !n.hasHeard() {
		return
	}
	heard := 0
	for id := range n.heard {
		if n.w.nodes[id].trusted() {
			heard++
		}
	}
	if final := n.restoredFinal; heard >= n.config().Quorum() && final > n.restoredAt {
		n.w.failf("%s was set back to size %d behind final size %d and signs on, though it heard %d mirrors", n, n.restoredAt, final, heard)
	}
}

// checkEvidence checks that evidence accuses nobody who is honest.
func (w *simWorld) checkEvidence(n *simNode, data []byte) {
	e, err := evidence.Parse(data)
	if err != nil {
		w.failf("%s takes evidence that is none: %v", n, err)
	}
	f, err := e.Verify(n.store.keys()...)
	if err != nil {
		w.failf("%s takes evidence that does not verify: %v", n, err)
	}
	for _, name := range append(f.Mirrors, f.Owner) {
		if w.nodeOf(name).trusted() {
			w.failf("evidence accuses %s, which is honest", name)
		}
	}
	if _, fenced := n.config().Fence(f.Origin); !n.store.Halted(f.Origin) && !fenced {
		w.failf("%s holds evidence against %s and goes on", n, f.Owner)
	}
	w.count("fork proved")
}

// check looks at everything now and then: what members hold is what they show.
func (w *simWorld) check() {
	if w.event%50 != 0 {
		return
	}
	for _, n := range w.nodes {
		if n.store == nil {
			continue
		}
		n.show()
		for _, l := range w.logs {
			if n.store.replicas[l.origin] == nil {
				continue
			}
			size := int64(n.store.Size(l.origin))
			_, fenced := n.config().Fence(l.origin)
			if h := n.seen[l.origin]; int64(h.Size) > size && !fenced {
				w.failf("%s shows final size %d of %s and holds %d", n, h.Size, w.logName(l.origin), size)
			}
			tree, err := n.store.replicas[l.origin].files.Tree(size)
			if err != nil || size > 0 && !slices.ContainsFunc(l.branches, func(b *simBranch) bool { return b.has(tree) }) {
				w.failf("%s holds %d entries of %s that nobody signed: %v", n, size, w.logName(l.origin), err)
			}
		}
		if n.trusted() && int64(n.store.Size(n.own.origin)) < n.own.acked {
			w.failf("%s acknowledged %d entries and has %d", n, n.own.acked, n.store.Size(n.own.origin))
		}
	}
}
