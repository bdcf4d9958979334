package ledger

import (
	"bytes"
	"errors"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// errSimRemoved says that the version in force does not have a member any more.
var errSimRemoved = errors.New("removed from the network")

// A simBallot is all that is true of the way to one version of the configuration.
type simBallot struct {
	docs      []*network.Configuration // proposed; an honest proposer makes one
	proposals []network.Proposal
	what      []string          // that they change
	votes     map[string]uint64 // members, by bits, whose vote for a digest came out
}

func (w *simWorld) ballot(version int) *simBallot {
	if w.ballots[version] == nil {
		w.ballots[version] = &simBallot{votes: make(map[string]uint64)}
	}
	return w.ballots[version]
}

// pending are the documents that may follow the newest version in force.
func (w *simWorld) pending() []*network.Configuration {
	if b := w.ballots[w.config().Version+1]; b != nil {
		return b.docs
	}
	return nil
}

// propose lets the proposer of the newest version propose the next. A lying one proposes several.
func (w *simWorld) propose() {
	prev := w.config()
	p, b := w.nodeOf(prev.Proposer), w.ballot(prev.Version+1)
	switch {
	case !w.changes, len(b.docs) >= 3:
		return
	case p.byzantine:
	case p.store == nil || p.config() != prev || p.store.Failure() != nil:
		return
	case len(b.docs) == 1: // the operator does it again, in case it was lost
		p.propose(b.proposals[0])
		return
	}
	next, what := w.change(prev)
	if next == nil || slices.ContainsFunc(b.docs, func(c *network.Configuration) bool { return c.Digest() == next.Digest() }) {
		return
	}
	m, _ := prev.Member(prev.Proposer)
	proposal, err := network.NewProposal(prev, next, simLogKey(m))
	if err != nil {
		w.failf("%s cannot propose: %v", p, err)
	}
	b.docs, b.proposals, b.what = append(b.docs, next), append(b.proposals, proposal), append(b.what, what)
	if len(b.docs) > 1 {
		w.count("proposer equivocates")
	}
	if !p.byzantine {
		p.propose(proposal)
		return
	}
	for range 3 {
		w.send(simMail{from: p.id, to: w.other(p).id, told: &simTold{version: prev.Version, succession: &network.Succession{Proposal: &proposal}}})
	}
	if w.chance(2) && len(b.docs) == 1 {
		w.propose()
	}
}

func (n *simNode) propose(p network.Proposal) {
	if n.w.chance(4) {
		n.fs.CrashAt(1 + n.w.r.IntN(5))
	}
	err := n.store.Propose(p)
	n.w.tracef("%s proposes version %d: %v", n, n.config().Version+1, err)
	if n.survives() && err != nil && n.store.Failure() == nil {
		n.w.failf("%s cannot propose: %v", n, err)
	}
}

// change makes a successor of prev that the network bears, and says what it changes.
func (w *simWorld) change(prev *network.Configuration) (next *network.Configuration, what string) {
	for range 6 {
		var c network.Change
		var then func()
		what, then = w.pickChange(prev, &c)
		if what == "" {
			continue
		}
		next, err := network.Succeed(prev, c)
		if err != nil || !w.bears(nil, slices.Concat(w.versions, w.pending(), []*network.Configuration{next})) {
			continue
		}
		if then != nil {
			then()
		}
		w.tracef("version %d is to be: %s", next.Version, what)
		return next, what
	}
	return nil, ""
}

// pickChange fills in one change of the members, their keys or their ways. then is done once it is proposed.
func (w *simWorld) pickChange(prev *network.Configuration, c *network.Change) (what string, then func()) {
	m := prev.Members[w.r.IntN(len(prev.Members))]
	n := w.nodeOf(m.Name)
	logs, mirrors := simGeneration(m.Origin()), simGeneration(m.MirrorName())
	switch w.r.IntN(9) {
	case 0:
		beat := 8 + w.r.IntN(4)
		c.Heartbeat = &beat
		return "intervals", nil
	case 1, 2:
		if w.nodeOf(simJoiner).own != nil {
			return "", nil
		}
		c.Add = []network.Card{simCard(simJoiner, false, 1, 1)}
		return "a member joins", nil
	case 3:
		c.Mirrors = map[string]bool{m.Name: !m.Mirror}
		if n.byzantine && !m.Mirror {
			return "", nil
		}
		return map[bool]string{true: "a mirror less", false: "a mirror more"}[m.Mirror], nil
	case 4:
		f, then, ok := w.fence(n)
		if !ok || w.chance(2) && m.Mirror {
			return "", nil
		}
		c.Remove, c.Fences = []string{m.Name}, []network.Fence{f}
		return "a member leaves", then
	case 5:
		if n.byzantine || mirrors == 3 || !m.Mirror {
			return "", nil
		}
		c.Replace = []network.Card{simCard(m.Name, true, logs, mirrors+1)}
		return "a mirror key is new", nil
	case 6:
		f, then, ok := w.fence(n)
		if n.byzantine || !ok || logs == 3 {
			return "", nil
		}
		c.Replace, c.Fences = []network.Card{simCard(m.Name, m.Mirror, logs+1, mirrors)}, []network.Fence{f}
		return "a log key is new", then
	case 7:
		if m.Name == prev.Proposer {
			return "", nil
		}
		c.Proposer = &m.Name
		return "the proposer", nil
	}
	q := prev.Quorum() + 1
	c.Quorum = &q
	return "the quorum", nil
}

// fence picks where a member's log ends. An honest owner appends nothing more and waits until all is final; of others the
// operators take the largest tree that may be.
func (w *simWorld) fence(n *simNode) (f network.Fence, then func(), ok bool) {
	l := n.own
	if l == nil {
		return f, nil, false
	}
	var end tlog.Tree
	if k := len(l.finals); k > 0 {
		end = l.finals[k-1]
	} else {
		end = l.main.tree(0)
	}
	if n.trusted() {
		if n.store == nil || l.pending != nil || n.fs.Crashed() || end != l.main.tree(l.acked) {
			return f, nil, false
		}
		then = func() { n.closing = true }
	}
	s := network.NewStand(l.origin, end)
	return network.Fence{Origin: l.origin, Size: s.Size, Root: s.Root}, then, true
}

// vote lets the operator of any mirror vote for what it knows.
func (w *simWorld) vote() {
	if n := w.pickUp(); n != nil && n.store.ballot != nil {
		n.vote()
	}
}

func (n *simNode) vote() {
	w, known := n.w, n.store.Succession()
	again := n.store.ballot.Voted() != nil || !n.hasHeard()
	if known.Proposal == nil || again && !w.chance(10) {
		return
	}
	if !w.quiet && w.chance(4) {
		n.fs.CrashAt(1 + w.r.IntN(8))
	}
	stopped := n.store.Failure() != nil
	err := n.store.Vote(known.Proposal.Digest())
	w.tracef("%s votes for version %d: %v", n, n.config().Version+1, err)
	if !n.survives() {
		return
	}
	switch {
	case err == nil:
		w.count("vote")
		n.tell(w.other(n), n.config().Version)
	case errors.Is(err, ErrStarting), errors.Is(err, ErrProposal), errors.Is(err, signer.ErrVoted), stopped:
	case n.store.Failure() == nil:
		w.failf("%s cannot vote: %v", n, err)
	}
}

// takeVersion deals with who is at another version: who is behind takes the link to the next one. It reports whether
// nothing else is to be taken of what was told.
func (n *simNode) takeVersion(from *simNode, t *simTold) bool {
	mine := n.config().Version
	switch {
	case t.link != nil:
		if n.w.chance(6) && !n.w.quiet {
			n.fs.CrashAt(1 + n.w.r.IntN(5))
		}
		err := n.store.AddLink(t.link)
		n.w.tracef("%s takes the link to version %d from %s: %v", n, mine+1, from, err)
		n.survives()
	case t.version > mine:
		n.w.send(simMail{from: n.id, to: from.id, ask: mine})
	case t.version == mine:
		return false
	}
	return true
}

// takeSuccession takes what another member knows on the way to the next version.
func (n *simNode) takeSuccession(from *simNode, s *network.Succession) {
	if n.store == nil {
		return
	}
	if !n.w.quiet && n.w.chance(12) {
		n.fs.CrashAt(1 + n.w.r.IntN(10))
	}
	before := n.store.Succession().Bytes()
	err := n.store.AddSuccession(s)
	n.w.tracef("%s takes %d votes and %d handovers from %s: %v", n, len(s.Votes), len(s.Handovers), from, err)
	if n.survives() && from.trusted() && err != nil && !errors.Is(err, network.ErrEquivocation) && n.store.Failure() == nil {
		n.w.failf("%s does not take what %s knows of the next version: %v", n, from, err)
	}
	if n.store == nil || bytes.Equal(before, n.store.Succession().Bytes()) {
		return
	}
	n.tell(n.w.other(n), n.config().Version) // what is new goes on at once
	if n.store.ballot != nil && n.w.chance(2) {
		n.vote()
	}
}

// superseded opens the store again with the next version.
func (n *simNode) superseded() {
	w := n.w
	w.count("version superseded")
	n.stop()
	n.fs.Kill()
	if w.quiet || w.chance(2) {
		n.start()
	} else {
		n.down()
	}
}

// loadChain reads the chain that this member keeps. Who joins is given the links that lead to the version it is in.
func (n *simNode) loadChain(disk *tiles.Disk) (*network.Chain, error) {
	w := n.w
	chain, err := loadChain(disk, w.versions[0])
	if err != nil {
		return nil, err
	}
	for n.name == simJoiner && len(chain.Versions()) <= len(w.links) {
		if _, in := chain.Newest().Member(n.name); in {
			break
		}
		link := w.links[len(chain.Versions())-1]
		if err := disk.Write(tiles.File{Path: linkPath(disk, chain.Newest().Version+1), Data: link.Bytes()}); err != nil {
			return nil, err
		}
		if err := chain.Extend(link); err != nil {
			w.failf("%s cannot follow the chain: %v", n, err)
		}
	}
	me, ok := chain.Newest().Member(n.name)
	if !ok {
		return nil, errSimRemoved
	}
	w.enforce(n, chain)
	if was, ok := n.card(); n.cfg != nil && ok && was.MirrorKey != me.MirrorKey {
		n.clockLost = false // a new key has used up no time
	}
	n.cfg = w.versions[len(chain.Versions())-1]
	if l := w.logAt(me.Origin()); l != n.own {
		n.own, n.closing = l, false
	}
	return chain, nil
}

// enforce notes that versions are in force at a member: one document for each number, of those that were proposed
// (invariant f), and each link contains all that was final before it.
func (w *simWorld) enforce(n *simNode, chain *network.Chain) {
	versions := chain.Versions()
	known := 0
	if n.cfg != nil {
		known = n.cfg.Version
	}
	for i := max(1, known); i < len(versions); i++ {
		c := versions[i]
		if i == len(w.versions) {
			w.begin(c, chain.Links()[i-1])
		} else if c.Digest() != w.versions[i].Digest() {
			w.failf("two documents are in force as version %d", c.Version)
		}
	}
	if len(versions) > max(1, known) {
		w.checkPins(n, chain)
	}
}

// begin notes the first time that a version is in force anywhere.
func (w *simWorld) begin(c *network.Configuration, link *network.Link) {
	b := w.ballot(c.Version)
	i := slices.IndexFunc(b.docs, func(d *network.Configuration) bool { return d.Digest() == c.Digest() })
	if i < 0 {
		w.failf("version %d was never proposed", c.Version)
	}
	w.versions, w.links = append(w.versions, b.docs[i]), append(w.links, link)
	w.count("in force: " + b.what[i])
	w.tracef("version %d is in force", c.Version)
	for _, l := range w.logs {
		if k := len(l.finals); k > 0 {
			l.before = append(l.before, l.finals[k-1])
		} else {
			l.before = append(l.before, tlog.Tree{})
		}
	}
	for _, m := range c.Members {
		if w.logAt(m.Origin()) != nil {
			continue
		}
		n := w.nodeOf(m.Name)
		l := w.addLog(n.id, m.Origin())
		l.before = make([]tlog.Tree, len(w.links))
		if n.own == nil {
			n.own = l
		}
	}
}

// checkPins checks that a chain's pins and fences contain every tree that was final when its newest version began.
func (w *simWorld) checkPins(n *simNode, chain *network.Chain) {
	cfg := chain.Newest()
	for _, l := range w.logs {
		final := l.before[cfg.Version-2]
		if f, ok := cfg.Fence(l.origin); ok {
			end := f.Tree()
			if final.N > end.N || final.N > 0 && !l.consistent(final, end) {
				w.failf("version %d at %s fences %s at size %d, and size %d was final", cfg.Version, n, w.logName(l.origin), end.N, final.N)
			}
			continue
		}
		covered := final.N == 0
		for _, pin := range chain.Pins(l.origin) {
			covered = covered || pin.N >= final.N && l.consistent(pin, final)
		}
		if !covered {
			w.failf("the link to version %d at %s does not contain final size %d of %s", cfg.Version, n, final.N, w.logName(l.origin))
		}
	}
}

// checkTold checks what a mirror lets out on the way to the next version: one vote, and a handover that names all that it
// cosigned, both on the disk before.
func (n *simNode) checkTold(known *network.Succession) {
	w, cfg := n.w, n.config()
	for _, v := range known.Votes {
		if v.Mirror != n.name {
			continue
		}
		n.checkBallot("vote", v.Digest)
		b := w.ballot(v.Version)
		for digest, voters := range b.votes {
			if n.trusted() && digest != v.Digest && voters&(1<<n.id) != 0 {
				w.failf("%s votes for two documents of version %d", n, v.Version)
			}
		}
		b.votes[v.Digest] |= 1 << n.id
		w.checkDecided(cfg, b)
	}
	if n.handed == cfg.Version {
		n.checkBallot("handover", known.Proposal.Digest())
	}
}

// checkBallot checks that the ballot which names a digest outlasts any crash.
func (n *simNode) checkBallot(what, digest string) {
	if !n.trusted() || n.w.opts.plant.blind {
		return
	}
	me, _ := n.card()
	path := n.store.disk.Path("signer", "ballot"+generation(me.MirrorName())+"-"+strconv.Itoa(n.config().Version+1)+".json")
	ballots, ok := n.fs.Durable(path)
	for _, data := range ballots {
		ok = ok && strings.Contains(string(data), what) && strings.Contains(string(data), digest)
	}
	if !ok {
		n.w.failf("%s lets out a %s that is not durable", n, what)
	}
}

// checkDecided checks that no two documents have a quorum of votes, with all that the untrusted mirrors could add.
func (w *simWorld) checkDecided(prev *network.Configuration, b *simBallot) {
	var liars, mirrors uint64
	for _, m := range prev.Mirrors() {
		n := w.nodeOf(m.Name)
		mirrors |= 1 << n.id
		if !n.trusted() {
			liars |= 1 << n.id
		}
	}
	decided := 0
	for _, voters := range b.votes {
		if bits.OnesCount64((voters|liars)&mirrors) >= prev.Quorum() {
			decided++
		}
	}
	if decided > 1 {
		w.failf("two documents of version %d have a quorum of votes", prev.Version+1)
	}
}

// checkLimit checks that a mirror which voted to end a log cosigns nothing of it beyond that.
func (n *simNode) checkLimit(c note.Checkpoint) {
	v := n.store.ballot.Voted()
	if v == nil || !n.trusted() {
		return
	}
	for _, doc := range n.w.ballot(v.Version).docs {
		if f, ok := doc.Fence(c.Origin); ok && doc.Digest() == v.Digest && c.Tree.N > f.Size {
			n.w.failf("%s cosigns size %d of %s and voted to end it at %d", n, c.Tree.N, n.w.logName(c.Origin), f.Size)
		}
	}
}

// watchHandover checks a handover when it is made: it names, or contains, every tree that this mirror cosigned.
func (n *simNode) watchHandover() {
	cfg := n.config()
	if n.store.ballot == nil || n.handed == cfg.Version {
		return
	}
	h := n.store.ballot.HandedOver()
	if h == nil {
		return
	}
	n.handed = cfg.Version
	n.w.count("handover")
	stands := make(map[string]tlog.Tree)
	for _, s := range h.Stands {
		stands[s.Origin] = s.Tree()
	}
	for _, origin := range cfg.Origins() {
		last, l := n.signed["mirror"+origin].tree, n.w.logAt(origin)
		if slices.ContainsFunc(n.store.Chain().Pins(origin), func(pin tlog.Tree) bool { return !l.consistent(pin, last) }) {
			continue // its owner forked it, and another mirror handed over more: nothing of it is cosigned until it is fenced
		}
		if n.trusted() && last.N > 0 && (stands[origin].N < last.N || !l.consistent(stands[origin], last)) {
			n.w.failf("%s hands over size %d of %s and cosigned %d", n, stands[origin].N, n.w.logName(origin), last.N)
		}
	}
}
