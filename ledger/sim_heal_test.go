package ledger

import (
	"slices"
	"time"
)

// simRounds is how many seconds after the last fault everything must be final: to hear a quorum, to push, to hear of it, and
// if a change is under way, all that once more for each version.
const simRounds = 80

// heal ends all faults and lets the members go on until what honest owners appended is final at every honest member, all
// at the same version. If too many mirrors are lost for that, it only goes on. (Invariant d.)
func (w *simWorld) heal() {
	w.quiet, w.mail = true, nil
	for _, n := range w.nodes {
		if n.store != nil && !n.hasHeard() {
			n.askAll()
		}
	}
	clear(w.group)
	w.tracef("all faults end; %d changes under way", len(w.pending()))
	for _, n := range w.nodes {
		n.offset = 0
		n.fs.CrashAt(0)
		n.fs.FailAt(0, nil)
		if !n.byzantine && !n.gone && n.own != nil && (n.store == nil || n.store.Failure() != nil) {
			n.restart()
		}
	}
	for round := range simRounds {
		w.now = w.now.Add(time.Second)
		missing := w.healRound(round)
		for len(w.mail) > 0 {
			w.deliverNow(w.r.IntN(len(w.mail)))
		}
		live := w.ableToGoOn(w.config()) && (len(w.pending()) == 0 || w.ableToGoOn(w.pending()[0]))
		switch {
		case missing == "" && round > 4:
			w.count("everything final after the faults")
			return
		case !live && round >= 6:
			w.count("too many mirrors lost")
			return
		case round == simRounds-1:
			w.failf("%d rounds after all faults ended: %s", simRounds, missing)
		}
	}
}

// healRound lets each member do what is due, and says what is not final yet.
func (w *simWorld) healRound(round int) (missing string) {
	for _, n := range w.nodes {
		if n.store == nil && n.own != nil && !n.byzantine && !n.gone {
			n.start() // superseded, or it has just joined
		}
		if n.store == nil {
			continue
		}
		if len(w.pending()) > 0 {
			if n.heardVote(); n.store != nil && w.chance(2) {
				n.tell(w.other(n), n.config().Version)
			}
		}
		switch {
		case n.store == nil:
		case n.config() != w.config():
			missing = n.name + " is at an older version"
			w.send(simMail{from: n.id, to: w.other(n).id, ask: n.config().Version})
		case !n.hasHeard():
			if missing = n.name + " has not heard enough"; round%3 == 0 {
				n.askAll()
			}
		default:
			if round == 3 && w.chance(3) {
				n.append()
			}
			if n.store != nil && (n.unfinished() || round > 4) { // later on heartbeats too
				n.poll()
			}
			if n.store != nil && n.lacks() {
				missing = n.name + " lacks entries"
				n.pull(w.other(n))
			}
		}
	}
	if late := w.healHeads(); late != "" {
		missing = late
	}
	return missing
}

// lacks says that entries are missing here which must come. Where an owner forked its log, a member that verified one
// history waits for the fence.
func (n *simNode) lacks() bool {
	return slices.ContainsFunc(n.store.Wants(), func(want Want) bool {
		_, fenced := n.config().Fence(want.Origin)
		return fenced || n.w.nodes[n.w.logAt(want.Origin).owner].trusted()
	})
}

// unfinished says that the own log has entries that are not final.
func (n *simNode) unfinished() bool {
	h, _ := n.store.Final(n.own.origin)
	return h.Size < n.store.Size(n.own.origin)
}

// heardVote lets an operator vote, once all faults have ended, for the only document there is.
func (n *simNode) heardVote() {
	if len(n.w.pending()) == 1 && n.store.ballot != nil && n.store.ballot.Voted() == nil && n.hasHeard() {
		n.vote()
	}
}

// healHeads lets owners tell their final heads to those who do not know them.
func (w *simWorld) healHeads() (missing string) {
	for _, owner := range w.nodes {
		if owner.store == nil || !owner.trusted() || owner.clockLost || w.ending(owner.own) || owner.config() != w.config() {
			continue
		}
		h, ok := owner.store.Final(owner.own.origin)
		if !ok && owner.own.acked == 0 {
			continue
		}
		if !ok || int64(h.Size) < owner.own.acked {
			missing = owner.name + " has entries that are not final"
			continue
		}
		for _, n := range w.nodes {
			if n.store != nil && n.trusted() && n.config() == w.config() && n.seen[h.Origin].Size < h.Size {
				missing = n.name + " does not know that " + owner.name + " goes on"
				w.send(simMail{from: owner.id, to: n.id, head: &h})
			}
		}
	}
	return missing
}

// ending says that a log may be about to end: mirrors that voted for that cosign nothing beyond.
func (w *simWorld) ending(l *simLog) bool {
	for _, c := range w.pending() {
		if _, ok := c.Fence(l.origin); ok {
			return true
		}
	}
	return false
}
