package holder

import (
	"fmt"
	"time"

	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

// past reports whether the query is about a day or an epoch of its own choice.
func (j *job) past() bool { return j.query.AsOf != "" || j.query.Epoch != 0 }

// fixEpoch finds the epoch that the query asks for: the newest, that of a day, or that of a number. It returns the day that the
// agreement must allow, empty for the present, and the code of a refusal if there is no such epoch.
func (j *job) fixEpoch(v *view.View) (day, unknown string) {
	q, hd, ok := j.query, &j.header, false
	switch {
	case q.Epoch != 0:
		if j.epoch, hd.Epoch, ok = v.EpochNumber(j.policy.Dataset, q.Epoch); !ok {
			return "", CodeUnknownEpoch
		}
	case q.AsOf != "":
		first, err := entry.ParseDate(q.AsOf)
		if err != nil {
			return "", CodeBeforeFirst // Check read it
		}
		at, ok := v.EpochAt(j.policy.Dataset, first)
		if !ok {
			return q.AsOf, CodeBeforeFirst
		}
		j.epoch, hd.Epoch, hd.Next, j.until = at.Epoch, at.Index, at.Next, at.Until
	default:
		if j.epoch, hd.Epoch, ok = v.Epoch(j.policy.Dataset); !ok {
			return "", CodeNoEpoch
		}
		return "", ""
	}
	hd.AsOf = q.Day(&j.epoch)
	return hd.AsOf, ""
}

// checkEpoch decides whether the epoch may be answered from, once the agreement allows its day.
func (h *Holder) checkEpoch(j *job, day, unknown string, now time.Time) error {
	switch {
	case day > bundle.AsOfDate(now): // nobody knows yet which epoch that day will have
		return refuse(agreement.OtherDates)
	case unknown != "":
		return refuse(unknown)
	case j.epoch.Declare != j.policy.Declare && j.past():
		return refuse(CodeOtherSchema)
	case j.epoch.Declare != j.policy.Declare:
		return refuse(CodeNoEpoch)
	}
	made, err := entry.ParseTime(j.epoch.Time)
	if err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	limit, latest := time.Duration(j.query.MaxAgeSeconds)*time.Second, now.Add(bundle.Window(h.opts.Config))
	if limit > 0 && j.query.AgeAt(now).Sub(made) > limit || made.After(latest) || j.until.After(latest) {
		return refuse(CodeStaleEpoch)
	}
	return nil
}
