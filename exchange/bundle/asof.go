package bundle

import (
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

// checkAsOf returns the first field that does not say which day or epoch is asked, and what it should say.
func (q *Query) checkAsOf() (field, want string) {
	const maxEpoch = 1<<53 - 1 // as entries hold it
	_, err := entry.ParseDate(q.AsOf)
	switch {
	case q.AsOf != "" && err != nil:
		return "as_of", "a date like 2026-03-01"
	case q.AsOf != "" && q.Epoch != 0:
		return "as_of and epoch", "at most one of them"
	case q.Epoch > maxEpoch:
		return "epoch", "1 to 2^53-1, or 0 for none"
	case q.Epoch != 0 && q.MaxAgeSeconds != 0: // one epoch is as old as it is
		return "max_age_seconds", "0 beside an epoch"
	case q.Scope != nil && (q.AsOf != "" || q.Epoch != 0): // else a claim could be made for what somebody was entitled to once
		return "scope", "none beside a day or an epoch: a claim is about the present"
	}
	return "", ""
}

// Day is the day that the query asks about, which its agreement must allow: the one it names, or that of the epoch it names. It is
// empty for a query about the present.
func (q *Query) Day(epoch *entry.DatasetEpoch) string {
	if q.Epoch == 0 {
		return q.AsOf
	}
	made, err := entry.ParseTime(epoch.Time)
	if err != nil {
		return "unknown" // on no day, so in no range
	}
	return AsOfDate(made)
}

// AgeAt is the moment at which the epoch must not be older than the query's maximum age: the end of the day that the query asks
// about, or now where that is to come.
func (q *Query) AgeAt(now time.Time) time.Time {
	day, err := entry.ParseDate(q.AsOf)
	if err != nil {
		return now
	}
	if end := day.AddDate(0, 0, 1); end.Before(now) {
		return end
	}
	return now
}

// newest reports whether the header says that its epoch is the newest below its size: that of a query about the present, and of one
// about a day that no epoch is dated after.
func (c *check) newest() bool { return c.q.Epoch == 0 && c.h.Next == nil }

// asOf checks that the epoch is the one that the query asks for. That no epoch between it and the next one is left out is for the
// replica to tell; the holder's header says so.
func (c *check) asOf() error {
	if c.q.AsOf == "" && c.h.Next != nil {
		return refuse(ReasonAsOf, "the header names a next epoch, and the query no day")
	}
	day := c.q.Day(&c.epoch)
	if day == "" {
		return nil // checkTimes compared the header's date
	}
	answered, _ := entry.ParseTime(c.h.Time) // checkTimes read it
	made, err := entry.ParseTime(c.epoch.Time)
	switch {
	case err != nil:
		return &Refused{Reason: ReasonAsOf, Err: err}
	case c.h.AsOf != day:
		return refuse(ReasonAsOf, "the header is about another day than the query")
	case c.q.Epoch != 0 && c.epoch.Epoch != c.q.Epoch:
		return refuse(ReasonAsOf, "the epoch is not the one that was asked for")
	case day > AsOfDate(answered):
		return refuse(ReasonAsOf, "the day is after that of the answer")
	case AsOfDate(made) > day:
		return refuse(ReasonAsOf, "the epoch is dated after the day that was asked about")
	case c.next == nil:
		return nil
	}
	later, err := entry.ParseTime(c.next.Time)
	if err != nil || AsOfDate(later) <= day || *c.h.Next <= c.h.Epoch || c.next.Epoch <= c.epoch.Epoch {
		return refuse(ReasonAsOf, "the epoch called the next one is not after the day that was asked about")
	}
	if later.After(answered.Add(Window(c.Config))) { // it stands below the checkpoint
		return refuse(ReasonAsOf, "the epoch called the next one is dated after the answer")
	}
	return nil
}

// epochOf checks against the whole log that the epoch is the one that the query asks for.
func (c *check) epochOf(log *view.View) error {
	name := c.dataset.Dataset
	switch {
	case c.q.Epoch != 0:
		if _, index, ok := log.EpochNumber(name, c.q.Epoch); !ok || index != c.h.Epoch {
			return refuse(ReasonSuperseded, "the log holds another epoch of that number")
		}
	case c.q.AsOf != "":
		day, err := entry.ParseDate(c.q.AsOf)
		if err != nil {
			return &Refused{Reason: ReasonEncoding, Err: err} // Check read it
		}
		at, ok := log.EpochAt(name, day)
		if !ok || at.Index != c.h.Epoch || (at.Next == nil) != (c.h.Next == nil) || at.Next != nil && *at.Next != *c.h.Next {
			return refuse(ReasonSuperseded, "the log holds another epoch of that day")
		}
	default:
		if _, index, ok := log.Epoch(name); !ok || index != c.h.Epoch {
			return refuse(ReasonSuperseded, "the log holds a newer epoch")
		}
		return nil
	}
	made, err := entry.ParseTime(c.epoch.Time)
	if err != nil || log.Backdated(c.h.Epoch, made, Window(c.Config)) { // else the past could be made up later
		return refuse(ReasonAsOf, "the epoch is dated before a receipts batch that stands before it: the past was changed")
	}
	return nil
}
