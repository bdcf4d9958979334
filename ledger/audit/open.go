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
	files  folder
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
			l.logs[origin] = held{p.head(), facts[origin], a.hashes(a.log(origin), p.head()), a.folder}
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

// Read returns entries from index from up to, not including, to: those of one file, at least one if there is one below Size. Each was
// verified against the final head when it is returned. The error wraps ErrUnverified for a log that is not verified.
func (l *Ledger) Read(origin string, from, to uint64) ([][]byte, error) {
	h, ok := l.logs[origin]
	if !ok {
		return nil, fmt.Errorf("reading %q: %w", origin, ErrUnverified)
	}
	to = min(to, uint64(h.tree.N), (from/width+1)*width)
	if from >= to {
		return nil, fmt.Errorf("reading %q: entry %d of %d", origin, from, h.tree.N)
	}
	tile := tlog.Tile{H: height, L: -1, N: int64(from / width), W: int(min(width, uint64(h.tree.N)-from/width*width))}
	data, _, err := h.files.tile(h.files.log(origin), tile)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", origin, err)
	}
	entries, _, err := split(data, tile.W)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", origin, err)
	}
	entries = entries[from%width : from%width+to-from]
	for i, raw := range entries {
		leaf, err := h.hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(from)+int64(i))})
		if err != nil {
			return nil, fmt.Errorf("reading %q: %w", origin, err)
		}
		if leaf[0] != tlog.RecordHash(raw) {
			return nil, fmt.Errorf("reading %q: entry %d is not the one that was signed: %w", origin, from+uint64(i), ErrUnverified)
		}
	}
	return entries, nil
}
