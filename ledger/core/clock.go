package core

import (
	"slices"
	"time"
)

// Bounds of what a clock is judged by.
const (
	// ClockSkew is how far a mirror's clock may be from the median of the mirrors'. Beyond it the mirror should stop cosigning.
	ClockSkew = 5 * time.Second
	// ClockMemory is how long a report counts. Mirrors compare heads with one another every few minutes at the slowest.
	ClockMemory = 5 * time.Minute
)

// A Clock judges the own clock by those of the instance's mirrors. It keeps the newest offset that each of them was seen to
// have and takes the median, this member's own 0 included if it is a mirror.
//
// What liars can do. There is a verdict only with reports of a quorum q of the n mirrors. While fewer than q/2 of them lie,
// the reports left and right of the median are not all lies, so the median lies between two honest reports, and it is as far
// off as honest clocks are from one another. With q = floor(2n/3)+1 that holds for up to n/3 liars; a majority of the
// mirrors would not do, since n/3 liars are most of the smallest majority. Liars that say nothing leave no verdict, and then
// nobody stops. Members that are no mirrors are not asked: there may be many of them, and they hold no quorum.
//
// Not safe for concurrent use.
type Clock struct {
	quorum  int
	step    func(from, to time.Time) time.Duration // how far the own clock was set between; tests have another
	mirrors map[string]bool
	self    bool // this member is a mirror, and its own report
	reports map[string]report
}

type report struct {
	offset time.Duration
	at     time.Time
}

// NewClock returns a clock without reports. self is this member; mirrors are all of the configuration, and quorum is theirs.
func NewClock(self string, mirrors []string, quorum int) *Clock {
	c := &Clock{quorum: max(quorum, 1), step: step, mirrors: make(map[string]bool), reports: make(map[string]report)}
	for _, m := range mirrors {
		if m == self {
			c.self = true
			continue
		}
		c.mirrors[m] = true
	}
	return c
}

// Observe notes that at a time, by this member's clock, another one's was offset ahead of it. Reports of members that are no
// mirrors are dropped, and so are those older than the one known.
func (c *Clock) Observe(member string, offset time.Duration, at time.Time) {
	if old, ok := c.reports[member]; c.mirrors[member] && (!ok || !at.Before(old.at)) {
		c.reports[member] = report{offset, at}
	}
}

// A ClockVerdict is what the mirrors' clocks say about the own one.
type ClockVerdict struct {
	Reports int           // recent ones, the own included
	Known   bool          // there are enough of them; else Offset is 0 and Skewed false
	Offset  time.Duration // the mirrors' median less the own clock; of two in the middle the one nearer to 0
	Skewed  bool          // Offset is beyond ClockSkew, either way
}

// step is how far the own clock was set forward from one of its times to another: what its wall time shows more than has passed
// by its monotonic reading. It is 0 for times that have none.
func step(from, to time.Time) time.Duration {
	return to.Round(0).Sub(from.Round(0)) - to.Sub(from)
}

// Verdict judges by the reports of the last ClockMemory. An own clock that was set since a report is that much further ahead of the
// reporter's: it is judged at once, before the next report. Of times without a monotonic reading, one from the future of now does
// not count: the own clock was set back since, and the offset with it.
func (c *Clock) Verdict(now time.Time) ClockVerdict {
	var offsets []time.Duration
	if c.self {
		offsets = append(offsets, 0)
	}
	for _, r := range c.reports {
		if age := now.Sub(r.at); age >= 0 && age <= ClockMemory {
			offsets = append(offsets, r.offset-c.step(r.at, now))
		}
	}
	v := ClockVerdict{Reports: len(offsets)}
	if len(offsets) < c.quorum {
		return v
	}
	slices.Sort(offsets)
	low, high := offsets[(len(offsets)-1)/2], offsets[len(offsets)/2]
	v.Known, v.Offset = true, low
	if high.Abs() < low.Abs() {
		v.Offset = high
	}
	v.Skewed = v.Offset.Abs() > ClockSkew
	return v
}
