package trace

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// TestLateBatchIsABrokenPromise: a batch that says itself that it was made after the deadline keeps no promise, whatever the file's
// member says of it.
func TestLateBatchIsABrokenPromise(t *testing.T) {
	x := newExchanged(t)
	x.batched = made.Add(-time.Minute) // seven minutes after the deadline
	x.logs(x.sides[requester].Records)
	read := map[string]*File{}
	for _, f := range []*File{x.sides[holder], x.sides[requester]} {
		report, err := Verify(x.all(), x.signed(f))
		x.check(err)
		if report.Broken != 2 {
			t.Errorf("%s: %+v", f.Member, report)
		}
		read[f.Member] = report.File
	}
	r, err := Reconcile(x.all(), read[holder], read[requester])
	x.check(err)
	if r.Agreeing != 0 || len(r.Differences) != 2 || r.Differences[0].Kind != PromiseBroken {
		t.Errorf("%+v", r)
	}
}

// TestRepeatedBatchBreaksNothing: the next generation of a log repeats the batches of the one before, late.
func TestRepeatedBatchBreaksNothing(t *testing.T) {
	x := newExchanged(t, func(m *network.Member) {
		m.LogKey = network.LogVKey(network.LogName(instance, m.Name, 2), keys.Public("log "+m.Name))
	})
	x.batched = made.Add(-time.Minute)
	x.logs(x.sides[requester].Records)
	report, err := Verify(x.all(), x.signed(x.sides[requester]))
	x.check(err)
	if report.Broken != 0 || report.Logged != 4 {
		t.Errorf("%+v", report)
	}
}

// TestFileDatedBeforeItsContent: who dates a file back has what it leaves out pass for later.
func TestFileDatedBeforeItsContent(t *testing.T) {
	for name, change := range map[string]func(f *File){
		"before its head": func(f *File) {
			f.Made, f.Records, f.Logs[0].Batches = entry.FormatTime(made.Add(-2*time.Minute)), []*Record{}, []bundle.Entry{}
		},
		"before its records": func(f *File) {
			f.Made, f.Logs, f.Records[0].Path, f.Records[1].Path = entry.FormatTime(made.Add(-time.Hour)), nil, nil, nil
		},
	} {
		x := newExchanged(t)
		f := x.sides[holder]
		change(f)
		if _, err := Verify(x.all(), x.signed(f)); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRecordTwice: whoever lists a query twice has it counted twice.
func TestRecordTwice(t *testing.T) {
	for _, member := range []string{holder, requester} {
		x := newExchanged(t)
		f := x.sides[member]
		f.Records = slices.Insert(f.Records, 0, f.Records[0])
		if report, err := Verify(x.all(), x.signed(f)); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %+v, %v", member, report, err)
		}
	}
}
