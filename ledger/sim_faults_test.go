package ledger

import (
	"syscall"
	"time"

	"github.com/grille-gateway/grille/ledger/tiles/simfs"
)

func newSimDisk() *simfs.FS { return simfs.New() }

// simFaults are the kinds of faults. Each run has every one of them, at moments that the seed picks.
var simFaults = []struct {
	name  string
	times int
	do    func(w *simWorld)
}{
	{"crash at a step", 8, (*simWorld).crashAtStep},
	{"power lost", 3, (*simWorld).losePower},
	{"process killed", 3, (*simWorld).kill},
	{"disk fails", 2, (*simWorld).failDisk},
	{"partition", 3, (*simWorld).partition},
	{"folder copied", 4, (*simWorld).copyFolder},
	{"folder set back", 2, (*simWorld).setBack},
	{"clock steps", 3, (*simWorld).stepClock},
	{"clock a day ahead", 1, (*simWorld).dayAhead},
	{"clock a minute back", 1, (*simWorld).minuteBack},
	{"mail burns", 1, (*simWorld).burnMail},
	{"change proposed", 6, (*simWorld).propose},
}

// simMustHappen is what has to come of it in many runs: a simulation in which these stop happening simulates nothing.
var simMustHappen = []string{"append", "cosigned", "final", "crash at a step of the disk", "store stopped by the disk", "message lost",
	"message twice", "owner forks its log", "owner keeps entries back", "owner sends garbage", "lying owner makes a head",
	"mirror cosigns with a future time", "mirror cosigns anything", "mirror lies about what it holds", "old head replayed",
	"bit of a head changed", "relay serves entries", "wrong entries refused", "fork proved", "a copy of a folder is refused by what others hold",
	"everything final after the faults", "folder audited"}

// simRareMustHappen is what has to come of thousands of runs.
var simRareMustHappen = []string{"proposer equivocates", "mirror hands over old trees", "member left", "version superseded",
	"in force: a member joins", "in force: a member leaves", "in force: a mirror more", "in force: a mirror less", "in force: a mirror key is new",
	"in force: a log key is new", "in force: the proposer", "in force: the quorum", "in force: intervals"}

// schedule picks when faults happen.
func (w *simWorld) schedule() []func(*simWorld) {
	out := make([]func(*simWorld), w.opts.events)
	for _, f := range simFaults {
		for range f.times {
			at := w.r.IntN(len(out))
			for out[at] != nil {
				at = (at + 1) % len(out)
			}
			out[at] = func(w *simWorld) {
				w.count(f.name)
				f.do(w)
			}
		}
	}
	return out
}

// crashAtStep lets one machine stop some steps of its disk later.
func (w *simWorld) crashAtStep() {
	if n := w.pickUp(); n != nil {
		k := 1 + w.r.IntN(25)
		w.tracef("%s will crash at step %d of its disk", n, k)
		n.fs.CrashAt(k)
		if w.chance(2) {
			n.append()
		}
	}
}

// losePower stops one machine at once.
func (w *simWorld) losePower() {
	if n := w.pickUp(); n != nil {
		w.tracef("%s loses power", n)
		n.stop()
		n.fs.Restart(w.r)
		n.down()
	}
}

// kill stops one process at once; its machine runs on.
func (w *simWorld) kill() {
	if n := w.pickUp(); n != nil {
		w.tracef("%s is killed", n)
		n.stop()
		n.fs.Kill()
		n.down()
	}
}

// failDisk lets one step of a disk fail, once.
func (w *simWorld) failDisk() {
	if n := w.pickUp(); n != nil {
		n.broken = true
		var err error = syscall.EIO
		if w.chance(2) {
			err = syscall.ENOSPC
		}
		k := 1 + w.r.IntN(20)
		w.tracef("%s's disk will fail at step %d", n, k)
		n.fs.FailAt(k, err)
		n.append()
	}
}

// restartDue starts the processes that are down and whose time has come, and ends a partition.
func (w *simWorld) restartDue() {
	if !w.cutUntil.After(w.now) {
		clear(w.group)
	}
	for _, n := range w.nodes {
		if n.byzantine || n.gone || n.back.After(w.now) || n.own == nil {
			continue
		}
		if n.store == nil || n.store.Failure() != nil && w.chance(20) { // an operator notices that it stopped
			n.restart()
		}
	}
}

func (n *simNode) restart() {
	n.stop()
	if n.fs.Crashed() || n.w.chance(3) {
		n.fs.Restart(n.w.r)
	} else {
		n.fs.Kill()
	}
	if !n.w.quiet && n.w.chance(4) {
		n.fs.CrashAt(1 + n.w.r.IntN(60))
	}
	n.start()
}

// partition cuts the network in two or three for a while.
func (w *simWorld) partition() {
	parts := 2 + w.r.IntN(2)
	for i := range w.group {
		w.group[i] = w.r.IntN(parts)
	}
	w.cutUntil = w.now.Add(time.Duration(2+w.r.IntN(12)) * time.Second)
	w.tracef("partition %v", w.group)
}

// copyFolder takes a copy of a folder, as a backup would.
func (w *simWorld) copyFolder() {
	if n := w.pickUp(); n != nil && len(n.copies) < 3 {
		n.copies = append(n.copies, n.fs.Copy())
		w.tracef("%s's folder is copied, own log %d", n, n.own.acked)
	}
}

// setBack replaces the folder of a member by an older copy, if one may still become untrusted.
func (w *simWorld) setBack() {
	var able []*simNode
	for _, n := range w.nodes {
		if n.store != nil && len(n.copies) > 0 && !n.restored && (!n.isMirror() || w.mayFail(n)) {
			able = append(able, n)
		}
	}
	if len(able) == 0 {
		return
	}
	n := able[w.r.IntN(len(able))]
	w.count("folder set back indeed")
	n.stop()
	n.restored, n.setBack, n.fs = true, true, n.copies[w.r.IntN(len(n.copies))].Copy()
	w.tracef("%s's folder is set back", n)
	w.recount()
	if finals := n.own.finals; len(finals) > 0 {
		n.restoredFinal = finals[len(finals)-1].N
	}
	n.start()
}

// stepClock sets a clock a little ahead or back, within what the network allows.
func (w *simWorld) stepClock() {
	n := w.nodes[w.r.IntN(len(w.nodes))]
	if !n.clockLost && n.offset.Abs() < time.Minute {
		n.offset = time.Duration(w.r.IntN(4000)-2000) * time.Millisecond
		w.tracef("%s's clock is off by %s", n, n.offset)
	}
}

// dayAhead sets a clock a day ahead for a while. A mirror that cosigns meanwhile has used up that day.
func (w *simWorld) dayAhead() {
	n := w.pickUp()
	if n == nil || n.clockLost {
		return
	}
	if n.isMirror() && w.live && !w.mayFail(n) {
		return
	}
	w.tracef("%s's clock goes a day ahead", n)
	n.offset, n.clockLost = 24*time.Hour, n.isMirror()
}

// minuteBack sets a clock a minute back. It is noticed at the end, or when it is stepped.
func (w *simWorld) minuteBack() {
	if n := w.pickUp(); n != nil && !n.clockLost {
		w.tracef("%s's clock goes a minute back", n)
		n.offset = -time.Minute + time.Millisecond
	}
}

func (w *simWorld) burnMail() { w.mail = nil }
