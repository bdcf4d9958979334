package claim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// An Index knows the claims that stand on a register's log: the newest in memory, the others in sorted files. What it holds can be
// had again from the log, so that damage costs time only. It is safe for concurrent use.
//
// Files of its folder: state.json, which names the others; claims-N.run. A file that the state does not name is removed.
type Index struct {
	dir string

	mu     sync.RWMutex // guards what follows
	recent map[print]uint64
	runs   []*run // oldest first
	state  indexState
	begun  bool // anew, since what stood there was damaged or of another log
}

// indexState is what a restart begins with.
type indexState struct {
	Version int      `json:"v"` // 1
	Origin  string   `json:"origin"`
	Runs    []string `json:"runs"`
	Serial  uint64   `json:"serial"`  // of the newest file
	Journal uint64   `json:"journal"` // number of the register's journal
	Through uint64   `json:"through"` // entries of the log below this are in the runs
}

const (
	stateName  = "state.json"
	runPrefix  = "claims-"
	runSuffix  = ".run"
	maxState   = 1 << 16
	recentFull = 1 << 16 // claims in memory before they become a run: 5 MB
	manyRuns   = 8       // runs before they become one: a look-up reads a block of each
)

// ErrDamaged reports a file of the index that is not what was written. Open drops the index and reads the log again.
var ErrDamaged = errors.New("the index of claims is damaged")

// OpenIndex opens the index of a log in a folder, which it makes. A damaged one is begun anew: Through is 0 then.
func OpenIndex(dir, origin string) (*Index, error) {
	x := &Index{dir: dir, recent: map[print]uint64{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the index of claims: %w", err)
	}
	err := x.load(origin)
	if errors.Is(err, ErrDamaged) {
		err = x.reset(origin)
	}
	if err == nil {
		err = x.sweep()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the index of claims: %w", err), x.Close())
	}
	return x, nil
}

func (x *Index) load(origin string) error {
	data, err := os.ReadFile(filepath.Join(x.dir, stateName))
	if errors.Is(err, os.ErrNotExist) {
		x.state = indexState{Version: 1, Origin: origin}
		return nil
	}
	if err != nil {
		return err
	}
	if err := entry.DecodeStrict(data, maxState, &x.state); err != nil || x.state.Version != 1 {
		x.state = indexState{}
		return fmt.Errorf("%w: %s is not a state that was written here", ErrDamaged, stateName)
	}
	if x.state.Origin != origin { // a log that ended: its claims are of scopes that ended with it
		return fmt.Errorf("%w: it is of the log %s", ErrDamaged, x.state.Origin)
	}
	for _, name := range x.state.Runs {
		r, err := openRun(x.dir, name)
		if err != nil {
			return err
		}
		x.runs = append(x.runs, r)
	}
	return nil
}

// reset drops the runs and keeps the numbers that no file may have twice. The journal beside them counts on, unless it is of another
// log; where the state is lost, it is the one with the highest number.
func (x *Index) reset(origin string) error {
	x.closeRuns()
	s := indexState{Version: 1, Origin: origin, Runs: []string{}, Serial: x.state.Serial, Journal: x.state.Journal}
	files, err := os.ReadDir(x.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if n, err := strconv.ParseUint(strings.TrimPrefix(f.Name(), journalPrefix), 10, 64); err == nil && x.state.Version != 1 {
			s.Journal = max(s.Journal, n)
		}
	}
	if x.state.Version == 1 && x.state.Origin != origin {
		s.Journal++
	}
	x.state, x.begun = s, true
	return x.write(s)
}

// sweep removes files that a crash left behind.
func (x *Index) sweep() error {
	files, err := os.ReadDir(x.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := f.Name()
		stray := strings.HasPrefix(name, temporaryPrefix) || strings.HasPrefix(name, runPrefix) && !slices.Contains(x.state.Runs, name)
		if stray {
			if err := os.Remove(filepath.Join(x.dir, name)); err != nil {
				return err
			}
		}
		serial, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(name, runPrefix), runSuffix), 10, 64)
		if err == nil && serial > x.state.Serial { // the state was lost, too
			x.state.Serial = serial
		}
	}
	return nil
}

func (x *Index) write(s indexState) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(x.dir, stateName), data)
}

// Through is how many entries of the log are in the index's files.
func (x *Index) Through() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.state.Through
}

// Len is how many claims the index holds.
func (x *Index) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n := len(x.recent)
	for _, r := range x.runs {
		n += r.claims
	}
	return n
}

// Find returns the entry that a nullifier stands in first.
func (x *Index) Find(n receipt.Hash) (place uint64, ok bool, err error) {
	p := printOf(n)
	x.mu.RLock()
	defer x.mu.RUnlock()
	if place, ok := x.recent[p]; ok {
		return place, true, nil
	}
	for _, r := range x.runs {
		if place, ok, err := r.find(p); ok || err != nil {
			return place, ok, err
		}
	}
	return 0, false, nil
}

// Add takes a claim up, in memory only. The first place counts.
func (x *Index) Add(n receipt.Hash, place uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.recent[printOf(n)]; !ok {
		x.recent[printOf(n)] = place
	}
}

// Full says that it is time to Flush.
func (x *Index) Full() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.recent) >= recentFull
}

// Flush writes what is in memory to a file. Entries below through are then in files, and a restart begins with that journal. The
// caller adds nothing meanwhile.
func (x *Index) Flush(through, journal uint64) error {
	x.mu.RLock()
	state, list := x.state, make([]placed, 0, len(x.recent))
	for p, place := range x.recent {
		list = append(list, placed{p, place})
	}
	x.mu.RUnlock()
	state.Through, state.Journal = through, journal
	slices.SortFunc(list, func(a, b placed) int { return bytes.Compare(a.print[:], b.print[:]) })
	if len(list) == 0 {
		return x.replace(state, x.runs, map[print]uint64{})
	}
	r, err := x.newRun(&state, func(yield func(placed, error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	return x.replace(state, append(slices.Clone(x.runs), r), map[print]uint64{})
}

// Merge makes one file of many. Look-ups go on meanwhile; Flush must not.
func (x *Index) Merge() error {
	x.mu.RLock()
	state, runs, recent := x.state, x.runs, x.recent
	x.mu.RUnlock()
	if len(runs) < manyRuns {
		return nil
	}
	var sources []iter.Seq2[placed, error]
	for _, r := range runs {
		sources = append(sources, r.all())
	}
	r, err := x.newRun(&state, merge(sources))
	if err != nil {
		return err
	}
	if err := x.replace(state, []*run{r}, recent); err != nil {
		return err
	}
	var errs []error
	for _, old := range runs {
		errs = append(errs, old.file.Close(), os.Remove(filepath.Join(x.dir, old.name)))
	}
	return errors.Join(errs...)
}

func (x *Index) newRun(state *indexState, claims iter.Seq2[placed, error]) (*run, error) {
	state.Serial++
	name := runPrefix + strconv.FormatUint(state.Serial, 10) + runSuffix
	if err := writeRun(x.dir, name, claims); err != nil {
		return nil, fmt.Errorf("writing claims: %w", err)
	}
	return openRun(x.dir, name)
}

// replace makes runs the ones that count, on disk and then here.
func (x *Index) replace(state indexState, runs []*run, recent map[print]uint64) error {
	state.Runs = []string{}
	for _, r := range runs {
		state.Runs = append(state.Runs, r.name)
	}
	if err := x.write(state); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.state, x.runs, x.recent = state, runs, recent
	return nil
}

func (x *Index) closeRuns() {
	for _, r := range x.runs {
		r.file.Close()
	}
	x.runs = nil
}

// Close closes the files. What Flush did not write is forgotten; the log has it.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closeRuns()
	return nil
}
