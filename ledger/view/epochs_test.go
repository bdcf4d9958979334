package view

import (
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
)

// dated is a log of one dataset with epochs 1, 3, 5, ... of the given times.
func dated(times ...string) *Log {
	l := NewLog()
	l.Add(declare("titles"))
	for i, at := range times {
		e := epochOf("titles", 0, uint64(2*i+1))
		e.Time = at
		l.Add(e)
	}
	return l
}

func TestEpochAtTheEndOfADay(t *testing.T) {
	l := dated("2026-01-10T09:00:00Z", "2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z", "2026-03-01T23:59:59Z", "2026-03-02T00:00:00Z")
	for _, c := range []struct {
		day         string
		size        uint64
		index, next int // -1: none
	}{
		{"2026-01-09", 6, -1, 1},
		{"2026-01-10", 6, 1, 2},
		{"2026-02-27", 6, 1, 2},
		{"2026-02-28", 6, 2, 3},
		{"2026-03-01", 6, 4, 5},
		{"2026-03-02", 6, 5, -1},
		{"2030-01-01", 6, 5, -1},
		{"2026-03-01", 5, 4, -1}, // the next one is not below
		{"2026-03-01", 4, 3, -1},
		{"2026-03-01", 1, -1, -1},
	} {
		day, err := entry.ParseDate(c.day)
		if err != nil {
			t.Fatal(err)
		}
		at, ok := l.At(c.size).EpochAt("titles", day)
		index, next := -1, -1
		if ok {
			index = int(at.Index)
		}
		if at.Next != nil {
			next = int(*at.Next)
		}
		if (at.Next == nil) != at.Until.IsZero() {
			t.Errorf("%s below %d: next is dated %s", c.day, c.size, at.Until)
		}
		if index != c.index || next != c.next || ok && at.Epoch.Epoch != 2*at.Index-1 {
			t.Errorf("%s below %d: epoch at %d, next at %d; want %d, %d", c.day, c.size, index, next, c.index, c.next)
		}
	}
	if _, ok := l.At(6).EpochAt("other", time.Now()); ok {
		t.Error("an unknown dataset has an epoch")
	}
}

// TestEpochAtWithAClockThatWentBack: what counts is what had been said when the first epoch of a later day was said.
func TestEpochAtWithAClockThatWentBack(t *testing.T) {
	l := dated("2026-03-01T10:00:00Z", "2026-03-05T10:00:00Z", "2026-03-02T10:00:00Z")
	day, _ := entry.ParseDate("2026-03-03")
	at, ok := l.At(4).EpochAt("titles", day)
	if !ok || at.Index != 1 || at.Next == nil || *at.Next != 2 {
		t.Errorf("%+v", at)
	}
}

func TestEpochByNumber(t *testing.T) {
	l := dated("2026-01-10T09:00:00Z", "2026-02-28T23:59:59Z", "2026-03-01T00:00:00Z")
	for number, want := range map[uint64]int{0: -1, 1: 1, 2: -1, 3: 2, 4: -1, 5: -1, 6: -1} {
		e, index, ok := l.At(3).EpochNumber("titles", number) // the third one is not below
		if ok != (want >= 0) || ok && (index != uint64(want) || e.Epoch != number) {
			t.Errorf("epoch %d: %d %v, want %d", number, index, ok, want)
		}
	}
	if _, _, ok := l.At(3).EpochNumber("other", 1); ok {
		t.Error("an unknown dataset has an epoch")
	}
}

func TestBackdated(t *testing.T) {
	l := NewLog()
	l.Add(declare("titles"))
	l.Add(batchOf(7)) // of stamp
	l.Add(epochOf("titles", 0, 1))
	noon, _ := entry.ParseTime(stamp)
	for _, c := range []struct {
		index uint64
		at    time.Time
		want  bool
	}{
		{2, noon, false}, {2, noon.Add(time.Hour), false}, {2, noon.Add(-35 * time.Second), false}, {2, noon.Add(-36 * time.Second), true},
		{1, noon.Add(-time.Hour), false}, // before the batch
	} {
		if got := l.At(3).Backdated(c.index, c.at, 35*time.Second); got != c.want {
			t.Errorf("entry %d at %s: %v", c.index, c.at, got)
		}
	}
	if l.At(1).Backdated(2, noon.Add(-time.Hour), 0) {
		t.Error("a batch beyond the view's size counts")
	}
}
