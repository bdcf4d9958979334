package view

import (
	"sort"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
)

// A Dated is the epoch of a dataset that was in force at the end of a day.
type Dated struct {
	Epoch entry.DatasetEpoch
	Index uint64
	Next  *uint64   // index of the first epoch dated after that day; nil: none below the view's size
	Until time.Time // what the next one is dated; zero if there is none
}

// EpochAt returns the epoch of a dataset at the end of a day (UTC): the one before the first that is dated after it, or the newest if
// none is. ok is false if there is no epoch before that one.
func (v *View) EpochAt(dataset string, day time.Time) (at Dated, ok bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	end := day.AddDate(0, 0, 1).Unix()
	for i, e := range v.log.epochs[dataset].all(v.size) {
		if e.time >= end {
			at.Next, at.Until = &i, time.Unix(e.time, 0)
			break
		}
		at.Epoch, at.Index, ok = e.entry(dataset), i, true
	}
	return at, ok
}

// EpochNumber returns the epoch of a dataset with that number, and its index.
func (v *View) EpochNumber(dataset string, number uint64) (entry.DatasetEpoch, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	all := v.log.epochs[dataset]
	n := all.below(v.size)
	i := sort.Search(n, func(i int) bool { return all.get(i).value.epoch >= number }) // numbers grow strictly along the log
	if i == n || all.get(i).value.epoch != number {
		return entry.DatasetEpoch{}, 0, false
	}
	return all.get(i).value.entry(dataset), all.get(i).index, true
}

// Backdated reports whether the entry at index, dated at, stands behind a receipts batch of a later time: its owner had said that it was
// later already. The two times may be apart by what clocks may differ.
func (v *View) Backdated(index uint64, at time.Time, clocks time.Duration) bool {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	b, _, ok := v.log.batches.newest(min(index, v.size))
	return ok && at.Add(clocks).Unix() < b.time
}
