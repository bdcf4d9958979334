package core

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Bounds and times of spreading heads. Times are what a member waits, by its own clock.
const (
	// AnnounceGap is the least time between two announcements to one neighbour, for each neighbour that a member has: what it sends
	// all of them together stays below 20 messages a second however many there are, and the first one after a pause leaves at
	// once. Jittered by a quarter.
	AnnounceGap = 50 * time.Millisecond
	// MaxWants bounds the logs of one pull: their heads, of at most 16 KiB, and short tails fit one reply.
	MaxWants = 32
	// PullPatience is how long a pull keeps its logs to itself. Then another member is asked, too, but no third.
	PullPatience = 2 * time.Second
	maxFlying    = 2
	// LogInterval and LogBurst are one log's quota of pulls: a busy owner, or one that floods, gets so many looked at and the rest
	// in one.
	LogInterval = 500 * time.Millisecond
	LogBurst    = 8
	// BackOffFirst and BackOffMax bound the pause after a failure of a member, which doubles and is jittered by half.
	BackOffFirst = 100 * time.Millisecond
	BackOffMax   = 30 * time.Second
)

// A Spread decides which final heads a member announces to which neighbour, and whom it pulls those from that it hears of.
//
//	Held (a head became final here) --> announced to each neighbour that is not known to have it, in batches
//	Announced (a member has more)   --> pulled from it, or from another one that has it --> Pulled, then Held
//
// Announcements are pushed and are a number and a size; heads and entries are pulled, by whoever lacks them, from one member at
// a time. So each head and entry comes to a member about once, and what it costs to lie in an announcement is one pull and the
// liar's credit. What is lost is mended by comparing marks with random members (Marks, Digest), whose answer is an Announced.
//
// Memory: for each log a few dozen bytes, for each neighbour 16 bytes and a bit a log; nothing grows with what others send.
// Clock and randomness are its caller's. Not safe for concurrent use.
type Spread struct {
	random func() float64
	logs   []logState
	near   []*nearState   // neighbours
	at     map[string]int // index in near
	wanted []uint64       // bits: logs of which a member has more
	srcs   map[string]*source
	digest []byte // of held; nil if it must be computed anew
}

// logState is what is known of one log.
type logState struct {
	held  tlog.Tree // the final head here
	heard uint64    // size of the largest head that was fetched; its entries may be on their way by other means
	hint  int       // index in near of who announced last, or -1
	// One member that is no neighbour and has more.
	far     string
	farSize uint64
	flying  int       // pulls under way
	since   time.Time // of the youngest of them
	quota   time.Time // when the log's pulls so far are paid for
}

// nearState is a neighbour.
type nearState struct {
	name       string
	theirs     []uint64 // by log: what it announced and did not fail to deliver
	told       []uint64 // by log: what it is known to know of
	dirty      []uint64 // bits: logs to look at when announcing
	dirtyCount int
	flying     []Mark // announcement under way
	next       time.Time
	failures   int // of announcements, in a row
}

// source is a member that is being pulled from, or that failed lately.
type source struct {
	flying   bool
	failures int
	until    time.Time
}

// A Task is one message to send: an announcement (tell Delivered) or a pull (tell Pulled).
type Task struct {
	To       string
	Announce []Mark // ascending
	Pull     []Mark // ascending; the size that the log is said to have there
}

// NewSpread returns the state after a start: nothing is held yet, see Held. logs is how many there are, at most MaxLogs; random
// returns numbers in [0,1).
func NewSpread(logs int, neighbours []string, random func() float64) *Spread {
	s := &Spread{random: random, logs: make([]logState, logs), at: make(map[string]int),
		wanted: make([]uint64, (logs+63)/64), srcs: make(map[string]*source)}
	for i := range s.logs {
		s.logs[i].hint = -1
	}
	for _, name := range neighbours {
		s.at[name] = len(s.near)
		s.near = append(s.near, &nearState{name: name, theirs: make([]uint64, logs), told: make([]uint64, logs),
			dirty: make([]uint64, (logs+63)/64)})
	}
	return s
}

func (s *Spread) known(log int) bool { return log >= 0 && log < len(s.logs) }

// Held tells that the final head of a log here is this one.
func (s *Spread) Held(log int, tree tlog.Tree) {
	if !s.known(log) || tree.N <= s.logs[log].held.N {
		return
	}
	s.logs[log].held = tree
	s.digest = nil
	s.settle(log)
	for _, n := range s.near {
		if n.told[log] < uint64(tree.N) {
			n.mark(log)
		}
	}
}

// Fetched tells that a head of that size was fetched: it need not be pulled again, even while its entries are missing.
func (s *Spread) Fetched(log int, size uint64) {
	if s.known(log) {
		s.logs[log].heard = max(s.logs[log].heard, size)
		s.settle(log)
	}
}

// Known tells whether heads of these sizes, or larger ones, are held or were fetched.
func (s *Spread) Known(marks []Mark) bool {
	for _, m := range marks {
		if s.known(m.Log) && m.Size > max(uint64(s.logs[m.Log].held.N), s.logs[m.Log].heard) {
			return false
		}
	}
	return true
}

// Marks returns the sizes and roots of all heads here, by log.
func (s *Spread) Marks() []Mark {
	var out []Mark
	for i, l := range s.logs {
		if l.held.N > 0 {
			out = append(out, Mark{Log: i, Size: uint64(l.held.N), Root: RootMark(l.held.Hash)})
		}
	}
	return out
}

// Digest is SHA-256 over a label and, of each head here by log, number, size and root.
func (s *Spread) Digest() []byte {
	if s.digest == nil {
		h := sha256.New()
		h.Write([]byte("grille/1 heads\n"))
		for i, l := range s.logs {
			if l.held.N > 0 {
				b := binary.BigEndian.AppendUint32(nil, uint32(i))
				b = binary.BigEndian.AppendUint64(b, uint64(l.held.N))
				h.Write(append(b, l.held.Hash[:]...))
			}
		}
		s.digest = h.Sum(nil)
	}
	return s.digest
}

// Announced tells that a member, neighbour or not, says to have final heads of these sizes.
func (s *Spread) Announced(from string, marks []Mark) {
	i, near := s.at[from]
	for _, m := range marks {
		if !s.known(m.Log) {
			continue
		}
		l := &s.logs[m.Log]
		ahead := m.Size > max(uint64(l.held.N), l.heard)
		switch {
		case near:
			n := s.near[i]
			n.theirs[m.Log], n.told[m.Log] = m.Size, max(n.told[m.Log], m.Size)
			if ahead {
				l.hint = i
			}
		case ahead && (l.far == "" || l.farSize <= max(uint64(l.held.N), l.heard)):
			l.far, l.farSize = from, m.Size
		}
		if ahead {
			s.wanted[m.Log/64] |= 1 << (m.Log % 64)
		} else if near && s.wants(m.Log) {
			s.settle(m.Log)
		}
	}
}

func (s *Spread) wants(log int) bool { return s.wanted[log/64]>>(log%64)&1 == 1 }

// Differing compares another member's marks, with roots, with what is held here: the logs that are larger there, for Announced;
// those that are as large with another root, which only a quorum that forks a log can make; and those that are larger here.
func (s *Spread) Differing(theirs []Mark) (more, forked, fewer []Mark) {
	sizes := make([]uint64, len(s.logs))
	for _, m := range theirs {
		if !s.known(m.Log) {
			continue
		}
		sizes[m.Log] = m.Size
		held := s.logs[m.Log].held
		switch {
		case m.Size > uint64(held.N):
			more = append(more, m)
		case m.Size == uint64(held.N) && m.Size > 0 && m.Root != RootMark(held.Hash):
			forked = append(forked, m)
		}
	}
	for i, l := range s.logs {
		if uint64(l.held.N) > sizes[i] {
			fewer = append(fewer, Mark{Log: i, Size: uint64(l.held.N), Root: RootMark(l.held.Hash)})
		}
	}
	return more, forked, fewer
}

// settle forgets that a log is wanted if nobody has more of it.
func (s *Spread) settle(log int) {
	l := &s.logs[log]
	have := max(uint64(l.held.N), l.heard)
	if l.farSize <= have {
		l.far, l.farSize = "", 0
	}
	if l.farSize > have {
		return
	}
	for _, n := range s.near {
		if n.theirs[log] > have {
			return
		}
	}
	s.wanted[log/64] &^= 1 << (log % 64)
}

// Tick returns what to send now, and when to ask again if nothing happens before: a zero time means not before something does.
func (s *Spread) Tick(now time.Time) (tasks []Task, next time.Time) {
	for _, n := range s.near {
		if n.flying != nil || n.dirtyCount == 0 {
			continue
		}
		if now.Before(n.next) {
			next = sooner(next, n.next)
			continue
		}
		if marks := s.announcement(n); len(marks) > 0 {
			n.flying = marks
			tasks = append(tasks, Task{To: n.name, Announce: marks})
		}
	}
	pulls, later := s.pulls(now)
	return append(tasks, pulls...), sooner(next, later)
}

func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// announcement takes what a neighbour is to be told.
func (s *Spread) announcement(n *nearState) []Mark {
	var marks []Mark
	for w, word := range n.dirty {
		for ; word != 0; word &= word - 1 {
			log := w*64 + bits.TrailingZeros64(word)
			if size := uint64(s.logs[log].held.N); size > n.told[log] {
				marks = append(marks, Mark{Log: log, Size: size})
			}
		}
		n.dirty[w] = 0
	}
	n.dirtyCount = 0
	return marks
}

func (n *nearState) mark(log int) {
	if bit := uint64(1) << (log % 64); n.dirty[log/64]&bit == 0 {
		n.dirty[log/64] |= bit
		n.dirtyCount++
	}
}

// Delivered tells how the announcement to a neighbour ended: it arrived, or it did not and comes again.
func (s *Spread) Delivered(to string, ok bool, now time.Time) {
	i, near := s.at[to]
	if !near || s.near[i].flying == nil {
		return
	}
	n := s.near[i]
	for _, m := range n.flying {
		if ok {
			n.told[m.Log] = max(n.told[m.Log], m.Size)
		} else {
			n.mark(m.Log)
		}
	}
	n.flying = nil
	if ok {
		n.failures = 0
		gap := float64(AnnounceGap) * float64(len(s.near))
		n.next = now.Add(time.Duration(gap * (0.75 + s.random()/2)))
		return
	}
	n.failures++
	n.next = now.Add(s.backOff(n.failures))
}

// backOff is the pause after so many failures in a row.
func (s *Spread) backOff(failures int) time.Duration {
	pause := BackOffMax
	if failures < 16 {
		pause = min(BackOffMax, BackOffFirst<<(failures-1))
	}
	return time.Duration(float64(pause) * (0.5 + s.random()))
}

// Back tells that a member can be reached again: pauses after its failures end.
func (s *Spread) Back(member string) {
	if i, near := s.at[member]; near {
		s.near[i].failures, s.near[i].next = 0, time.Time{}
	}
	if src := s.srcs[member]; src != nil {
		src.failures, src.until = 0, time.Time{}
		s.forgive(member)
	}
}

// forgive forgets a source that nothing is to be remembered of.
func (s *Spread) forgive(member string) {
	if src := s.srcs[member]; src != nil && !src.flying && src.failures == 0 {
		delete(s.srcs, member)
	}
}

// pulls assigns wanted logs to members that have them, each member one pull at a time. It starts at a random log, so that where
// there is more than can be pulled, none comes last for ever.
func (s *Spread) pulls(now time.Time) (tasks []Task, next time.Time) {
	open := map[string]int{} // index in tasks
	words := len(s.wanted)
	first := min(int(s.random()*float64(words)), words-1)
	for k := range words {
		w := (first + k) % words
		for word := s.wanted[w]; word != 0; word &= word - 1 {
			log := w*64 + bits.TrailingZeros64(word)
			from, size, later := s.choose(log, now, tasks, open)
			if from == "" {
				next = sooner(next, later)
				continue
			}
			i, ok := open[from]
			if !ok {
				i = len(tasks)
				open[from], tasks = i, append(tasks, Task{To: from})
			}
			tasks[i].Pull = append(tasks[i].Pull, Mark{Log: log, Size: size})
			s.fly(log, now)
			next = sooner(next, now.Add(PullPatience))
		}
	}
	for i := range tasks {
		slices.SortFunc(tasks[i].Pull, func(a, b Mark) int { return a.Log - b.Log })
		src := s.srcs[tasks[i].To]
		if src == nil {
			src = &source{}
			s.srcs[tasks[i].To] = src
		}
		src.flying = true
	}
	return tasks, next
}

// fly notes a pull of a log and charges it to the log's quota.
func (s *Spread) fly(log int, now time.Time) {
	l := &s.logs[log]
	l.flying++
	l.since = now
	if l.quota.Before(now) {
		l.quota = now
	}
	l.quota = l.quota.Add(LogInterval)
}

// choose picks whom to pull a log from: who announced it last, else any neighbour that has more, starting anywhere, else the
// member that is none; those that did not fail lately come first. Without one it says when there may be.
func (s *Spread) choose(log int, now time.Time, tasks []Task, open map[string]int) (from string, size uint64, later time.Time) {
	l := &s.logs[log]
	have := max(uint64(l.held.N), l.heard)
	switch {
	case l.flying >= maxFlying:
		return "", 0, time.Time{}
	case l.flying > 0 && now.Sub(l.since) < PullPatience:
		return "", 0, l.since.Add(PullPatience)
	case l.quota.Sub(now) > (LogBurst-1)*LogInterval:
		return "", 0, l.quota.Add(-(LogBurst - 1) * LogInterval)
	}
	worst := 1 << 30 // failures of the chosen
	try := func(name string, theirs uint64) {
		if theirs <= have {
			return
		}
		failures := 0
		if src := s.srcs[name]; src != nil {
			if now.Before(src.until) {
				later = sooner(later, src.until)
				return
			}
			if src.flying {
				return // its end comes as an event
			}
			failures = src.failures
		}
		if i, ok := open[name]; ok && len(tasks[i].Pull) >= MaxWants {
			return
		}
		if failures < worst {
			from, size, worst = name, theirs, failures
		}
	}
	if l.hint >= 0 {
		try(s.near[l.hint].name, s.near[l.hint].theirs[log])
	}
	if len(s.near) > 0 && worst > 0 {
		first := min(int(s.random()*float64(len(s.near))), len(s.near)-1)
		for k := range s.near {
			n := s.near[(first+k)%len(s.near)]
			try(n.name, n.theirs[log])
		}
	}
	if l.far != "" {
		try(l.far, l.farSize)
	}
	return from, size, later
}

// Pulled tells how a pull from a member ended: got are the heads that came and are good, whatever became of their entries; nil
// with !ok that it failed. A member that does not deliver what it announced loses its credit for that log, and has to wait.
func (s *Spread) Pulled(from string, wants, got []Mark, ok bool, now time.Time) {
	sizes := make(map[int]uint64, len(got))
	for _, m := range got {
		sizes[m.Log] = m.Size
		s.Fetched(m.Log, m.Size)
	}
	lied := false
	i, near := s.at[from]
	for _, w := range wants {
		if !s.known(w.Log) {
			continue
		}
		l := &s.logs[w.Log]
		l.flying = max(l.flying-1, 0)
		if sizes[w.Log] >= w.Size {
			continue
		}
		lied = lied || ok
		switch {
		case !near && l.far == from: // whether it lied or went away: comparing heads finds another
			l.far, l.farSize = "", 0
		case near && ok:
			s.near[i].theirs[w.Log] = 0
		}
		s.settle(w.Log)
	}
	src := s.srcs[from]
	if src == nil {
		return
	}
	src.flying = false
	if ok && !lied {
		src.failures, src.until = 0, time.Time{}
	} else {
		src.failures++
		src.until = now.Add(s.backOff(src.failures))
	}
	s.forgive(from)
}
