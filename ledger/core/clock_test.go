package core

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func mirrorNames(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("GOV/m%d", i)
	}
	return out
}

func TestClock(t *testing.T) {
	const s = time.Second
	for _, tc := range []struct {
		name    string
		self    string
		mirrors int
		quorum  int
		offsets []time.Duration // of the mirrors m1, m2, ...
		want    ClockVerdict
	}{
		{"nothing heard", "GOV/m0", 4, 3, nil, ClockVerdict{Reports: 1}},
		{"one short of a quorum", "GOV/m0", 4, 3, []time.Duration{-9 * s}, ClockVerdict{Reports: 2}},
		{"a quorum agrees", "GOV/m0", 4, 3, []time.Duration{s, -s}, ClockVerdict{Reports: 3, Known: true}},
		{"at the bound", "GOV/m0", 4, 3, []time.Duration{5 * s, 5 * s}, ClockVerdict{3, true, 5 * s, false}},
		{"own clock behind", "GOV/m0", 4, 3, []time.Duration{6 * s, 7 * s, 6 * s}, ClockVerdict{4, true, 6 * s, true}},
		{"own clock ahead", "GOV/m0", 4, 3, []time.Duration{-6 * s, -7 * s}, ClockVerdict{3, true, -6 * s, true}},
		{"one liar of four", "GOV/m0", 4, 3, []time.Duration{0, time.Hour, s}, ClockVerdict{4, true, 0, false}},
		{"middle nearer to zero", "GOV/m0", 4, 3, []time.Duration{9 * s, 2 * s, 9 * s}, ClockVerdict{4, true, 2 * s, false}},
		{"no mirror itself", "GOV/x", 4, 3, []time.Duration{8 * s, 8 * s}, ClockVerdict{Reports: 2}},
		{"no mirror, quorum", "GOV/x", 4, 3, []time.Duration{8 * s, 8 * s, 9 * s}, ClockVerdict{3, true, 8 * s, true}},
		{"alone", "GOV/m0", 1, 1, nil, ClockVerdict{Reports: 1, Known: true}},
		{"extremes", "GOV/m0", 4, 3, []time.Duration{math.MaxInt64, math.MinInt64}, ClockVerdict{Reports: 3, Known: true}},
	} {
		names := mirrorNames(tc.mirrors)
		c := NewClock(tc.self, names, tc.quorum)
		for i, o := range tc.offsets {
			c.Observe(names[i+1], o, start)
		}
		if got := c.Verdict(start.Add(s)); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// Only mirrors are heard, each once, and not for ever.
func TestClockReports(t *testing.T) {
	c := NewClock("GOV/m0", mirrorNames(4), 3)
	c.Observe("GOV/m0", time.Hour, start) // itself
	for i := range 100 {
		c.Observe(fmt.Sprintf("GOV/x%d", i), time.Hour, start)
	}
	if len(c.reports) != 0 {
		t.Fatalf("%d reports of others than mirrors", len(c.reports))
	}
	for _, m := range []string{"GOV/m1", "GOV/m2", "GOV/m3"} {
		c.Observe(m, time.Hour, start)
		c.Observe(m, 7*time.Second, start.Add(2*time.Second))
		c.Observe(m, time.Hour, start.Add(time.Second)) // overtaken on its way
	}
	now := start.Add(2 * time.Second)
	if v := c.Verdict(now); !v.Skewed || v.Offset != 7*time.Second || v.Reports != 4 {
		t.Errorf("%+v", v)
	}
	if v := c.Verdict(now.Add(ClockMemory)); !v.Known {
		t.Errorf("forgotten early: %+v", v)
	}
	if v := c.Verdict(now.Add(ClockMemory + 1)); v.Known || v.Reports != 1 {
		t.Errorf("remembered too long: %+v", v)
	}
	if v := c.Verdict(now.Add(-1)); v.Known {
		t.Errorf("reports from before the clock was set back: %+v", v)
	}
}

// A clock that is set is judged by the reports from before, and once more after it was set right.
func TestClockThatIsSet(t *testing.T) {
	var set time.Duration
	c := NewClock("GOV/m0", mirrorNames(4), 3)
	c.step = func(from, to time.Time) time.Duration {
		if from.Equal(start) && to.After(start) {
			return set
		}
		return 0
	}
	for _, m := range []string{"GOV/m1", "GOV/m2", "GOV/m3"} {
		c.Observe(m, time.Second, start)
	}
	for _, by := range []time.Duration{24 * time.Hour, -24 * time.Hour, 0} {
		set = by
		if v := c.Verdict(start.Add(time.Second)); v.Skewed != (by != 0) || v.Offset.Round(time.Hour) != -by {
			t.Errorf("set by %s: %+v", by, v)
		}
	}
	if s := step(time.Now(), time.Now().Add(time.Hour)); s.Abs() > time.Minute {
		t.Errorf("a clock that ran on was set by %s", s)
	}
	if s := step(start, start.Add(time.Hour)); s != 0 {
		t.Errorf("times without monotonic reading are apart by %s", s)
	}
}

// Up to a third of the mirrors say what they like, and the verdict stays within what honest clocks show, whoever of the honest
// is missing.
func TestClockLiars(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for n := 4; n <= 31; n++ {
		quorum := 2*n/3 + 1
		liars := (quorum - 1) / 2
		if liars < (n-1)/3 {
			t.Fatalf("%d mirrors: %d liars are bearable, fewer than a third", n, liars)
		}
		for range 50 {
			names := mirrorNames(n)
			c := NewClock(names[0], names, quorum)
			lie := time.Duration(random.Int64N(int64(time.Hour))) - 30*time.Minute
			for _, m := range names[n-liars:] {
				c.Observe(m, lie, start)
			}
			for _, m := range names[1 : quorum-liars] { // the fewest honest ones that make a quorum
				c.Observe(m, time.Duration(random.Int64N(int64(2*time.Second)))-time.Second, start)
			}
			if v := c.Verdict(start); !v.Known || v.Skewed || v.Offset.Abs() > time.Second {
				t.Fatalf("%d mirrors, %d liars: %+v", n, liars, v)
			}
		}
	}
}
