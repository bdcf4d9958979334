package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// ErrUnverified says that a folder holds no verified copy of a log: none at all, one without a final head, or one whose
// entries are not what was signed. The audit's report says which.
var ErrUnverified = errors.New("no verified copy of this log in the folder")

// A Ledger answers what was in force below a size of a log, from a folder that was audited and is not written to. It
// serves what is final. It is safe for concurrent use.
type Ledger struct {
	logs   map[string]held
	report *Report
}

// held is a log whose entries hash to a final head that a quorum signed.
type held struct {
	tree   tlog.Tree
	facts  *view.Log
	hashes tlog.HashReader
}

// Open audits a folder and serves the logs in it that are verified; what else the audit found is in Report. Facts stay in
// memory, as in a gateway: name the Origins that are needed.
func Open(ctx context.Context, o Options) (*Ledger, error) {
	var mu sync.Mutex
	facts := make(map[string]*view.Log)
	var a *auditor
	var err error
	a, err = newAuditor(o, func(origin string) *view.Log {
		mu.Lock()
		defer mu.Unlock()
		rules := a.o.Chain.Rules(origin)
		facts[origin] = view.NewApprovedLog(func(i uint64, e entry.Entry) bool { return network.CheckApprovals(rules, origin, i, e) == nil })
		return facts[origin]
	})
	if err == nil {
		err = a.run(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the ledger in %s: %w", o.Dir, err)
	}
	l := &Ledger{logs: make(map[string]held), report: a.report}
	for origin, p := range a.plans {
		if p.verified {
			l.logs[origin] = held{p.head(), facts[origin], a.hashes(a.log(origin), p.head())}
		}
	}
	return l, nil
}

// Report returns what the audit found.
func (l *Ledger) Report() *Report { return l.report }

// Size returns how many entries of a log are verified; 0 for a log that is not.
func (l *Ledger) Size(origin string) uint64 { return uint64(l.logs[origin].tree.N) }

// View returns the facts below a size of a log; a size beyond Size is cut to it. It is nil for a log that is not verified.
func (l *Ledger) View(origin string, size uint64) *view.View {
	h, ok := l.logs[origin]
	if !ok {
		return nil
	}
	return h.facts.At(size)
}

// Inclusion returns the path from the entry at index to the root of the tree of that size, at most Size. Every hash in it
// was verified against the final head. The error wraps ErrUnverified for a log that is not verified.
func (l *Ledger) Inclusion(origin string, index, size uint64) ([]tlog.Hash, error) {
	h, ok := l.logs[origin]
	if !ok {
		return nil, fmt.Errorf("proving inclusion in %q: %w", origin, ErrUnverified)
	}
	if size > uint64(h.tree.N) || index >= size {
		return nil, fmt.Errorf("proving inclusion in %q: entry %d in size %d of %d", origin, index, size, h.tree.N)
	}
	path, err := tlog.ProveRecord(int64(size), int64(index), h.hashes)
	if err != nil {
		return nil, fmt.Errorf("proving inclusion in %q: %w", origin, err)
	}
	return path, nil
}
