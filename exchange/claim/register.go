// Package claim is a register of who has claimed under a program, without names. One member keeps it: its key makes the
// nullifiers of a scope (a program in a period), it reserves each durably before it answers, and it logs them among random ones on its
// own log, where the first place of a nullifier is the claim.
//
// A nullifier's way:
//
//	free --Reserve, fsync--> reserved --receipt's frame, then Commit--> waiting --claims.batch--> placed
//	                             `--Release, or a restart without a receipt--> free
//
// The gateway's book decides: a claim is one from the moment that the frame with its receipt and answer is on disk. After a crash
// between that frame and Commit, the book's replay tells the register (Answered); what is reserved and was not answered is free
// again (Settle). Only claims enter a batch, and a batch is never taken back.
package claim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/exchange/journal"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// Log is what a register needs of the ledger; the tests put a failing one in its place.
type Log interface {
	View(origin string, size uint64) *view.View
	Read(origin string, from, to uint64) ([][]byte, error)
	Append(ctx context.Context, entries ...entry.Entry) ([]uint64, error)
	WaitFinal(ctx context.Context, index uint64) error
}

// Options says what a Register works with.
type Options struct {
	Dir    string          // made if missing; mode 0700
	Origin string          // of the register's own log
	Ended  []network.Fence // of the register's logs before that one: a period that was opened there is not opened again
	Ledger Log
	Seal   receipt.Sealer
	Beat   time.Duration // the instance's beat length
	Now    func() time.Time
	Logger *slog.Logger
	// Batches is how many batches are logged in a beat, busy or not: 64 claims each. More claims wait for the next beat. It is the
	// same in each beat, so that the log does not show how busy the register is. 0: one.
	Batches int
}

// A Register keeps the claims of all scopes of one member. It is safe for concurrent use.
type Register struct {
	opts  Options
	index *Index

	scoping    sync.Mutex   // one scope is opened or closed at a time
	publishing sync.Mutex   // one batch is made at a time
	turning    sync.RWMutex // held for reading from a frame until memory agrees with it, for writing while the journal is replaced

	journal *journal.Journal // replaced under turning
	number  uint64           // of the journal

	mu       sync.Mutex // guards what follows
	keys     map[string]*fr.Element
	closing  map[string]bool // scopes that take no claim any more
	reserved map[receipt.Hash]*reservation
	waiting  map[receipt.Hash]string // claims that stand in no batch yet, with their scope
	through  uint64                  // entries of the own log below this were looked through for claims
	failed   error
}

// reservation is a nullifier that one query is being answered with.
type reservation struct {
	scope   string
	query   receipt.Hash
	settled chan struct{} // closed when it is a claim or free again
}

func newReservation(scope string, query receipt.Hash) *reservation {
	return &reservation{scope: scope, query: query, settled: make(chan struct{})}
}

// What a caller should do about an error.
var (
	// ErrClaimed means that the nullifier stands for a claim already. Refuse.
	ErrClaimed = errors.New("claimed before in this scope")
	// ErrClosed means that the scope takes no claims (any more). Refuse.
	ErrClosed = errors.New("the scope takes no claims")
	// ErrScope means that a scope cannot be opened or closed as asked. Tell the operator why.
	ErrScope = errors.New("scope cannot be opened or closed")
	// ErrFailed means that the journal cannot be written. The process should stop; the next start finds out what the disk holds.
	ErrFailed = errors.New("the register of claims cannot be written")
)

var errReplay = errors.New("malformed frame in the register's journal")

const journalPrefix = "journal-"

// Open opens a register on the whole of its own log, which must be open. Replay the gateway's book into Answered, then Settle, then
// use it.
func Open(opts Options) (*Register, error) {
	r := &Register{opts: opts, keys: map[string]*fr.Element{}, closing: map[string]bool{}, reserved: map[receipt.Hash]*reservation{},
		waiting: map[receipt.Hash]string{}}
	if r.opts.Batches == 0 {
		r.opts.Batches = 1
	}
	if err := r.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the register of claims: %w", err), r.Close())
	}
	return r, nil
}

func (r *Register) open() error {
	var err error
	if r.index, err = OpenIndex(r.opts.Dir, r.opts.Origin); err != nil {
		return err
	}
	r.number, r.through = r.index.state.Journal, r.index.Through()
	if r.journal, err = journal.Open(r.journalPath(r.number), r.replay); err != nil {
		return err
	}
	if r.index.begun { // what the journal says was placed is in no file any more
		r.through = 0
		r.opts.Logger.Warn("the index of claims is made again from the log")
	}
	if err := r.sweep(); err != nil {
		return err
	}
	if err := r.loadKeys(); err != nil {
		return err
	}
	return r.read()
}

func (r *Register) journalPath(n uint64) string {
	return filepath.Join(r.opts.Dir, journalPrefix+strconv.FormatUint(n, 10))
}

// sweep removes journals that another one replaced, or was to replace.
func (r *Register) sweep() error {
	files, err := os.ReadDir(r.opts.Dir)
	if err != nil {
		return err
	}
	current := filepath.Base(r.journalPath(r.number))
	for _, f := range files {
		name := f.Name()
		if strings.HasPrefix(name, journalPrefix) && name != current && name != current+".lock" {
			if err := os.Remove(filepath.Join(r.opts.Dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// all is the whole of the register's log, final or not.
func (r *Register) all() *view.View { return r.opts.Ledger.View(r.opts.Origin, ^uint64(0)) }

// Answered tells the register of a claim that the book holds, from before a restart.
func (r *Register) Answered(scope string, nullifier, query receipt.Hash) error {
	r.mu.Lock()
	_, waits := r.waiting[nullifier]
	r.mu.Unlock()
	if _, placed, err := r.index.Find(nullifier); err != nil || placed || waits {
		return err
	}
	if !slices.ContainsFunc(r.all().Scopes(), func(s view.Scope) bool { return s.Open.KeyCommitment == scope && !s.Closed }) {
		return nil // of a scope that closed or stands on a log that ended
	}
	return r.Commit(scope, nullifier, query)
}

// Settle frees what is reserved for queries that were not answered before the restart.
func (r *Register) Settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for n, s := range r.reserved {
		close(s.settled)
		delete(r.reserved, n)
	}
}

// Key returns the key of an open scope, by its commitment: ErrKey if it is not here.
func (r *Register) Key(scope string) (fr.Element, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := r.keys[scope]
	if key == nil {
		return fr.Element{}, ErrKey
	}
	return *key, nil
}

// Reserve takes a nullifier of a scope (named by its key commitment) for one query, and returns when that is on disk. While another
// query has it reserved, Reserve waits for what comes of it. Errors: ErrClaimed, ErrClosed, ctx's, or ErrFailed.
func (r *Register) Reserve(ctx context.Context, scope string, nullifier, query receipt.Hash) error {
	for {
		wait, err := r.take(scope, nullifier, query)
		if err != nil {
			return fmt.Errorf("reserving a claim: %w", err)
		}
		if wait == nil {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return fmt.Errorf("waiting for another answer about the same claim: %w", ctx.Err())
		}
	}
}

// take reserves, or returns what to wait for.
func (r *Register) take(scope string, nullifier, query receipt.Hash) (wait chan struct{}, err error) {
	r.turning.RLock()
	defer r.turning.RUnlock()
	r.mu.Lock()
	wait, err = r.refusal(scope, nullifier)
	if wait != nil || err != nil {
		r.mu.Unlock()
		return wait, err
	}
	mine := newReservation(scope, query)
	r.reserved[nullifier] = mine
	r.mu.Unlock()
	if err := r.keep(frame{Op: opReserve, Scope: scope, Nullifier: &nullifier, Query: &query}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFailed, err)
	}
	return nil, nil
}

// refusal says why a nullifier cannot be reserved, or what to wait for. r.mu is held.
func (r *Register) refusal(scope string, nullifier receipt.Hash) (chan struct{}, error) {
	if r.failed != nil {
		return nil, fmt.Errorf("%w: %w", ErrFailed, r.failed)
	}
	if r.keys[scope] == nil || r.closing[scope] {
		return nil, ErrClosed
	}
	if _, ok := r.waiting[nullifier]; ok {
		return nil, ErrClaimed
	}
	if other := r.reserved[nullifier]; other != nil {
		return other.settled, nil
	}
	_, placed, err := r.index.Find(nullifier)
	if err == nil && placed {
		err = ErrClaimed
	}
	return nil, err
}

// Commit makes a reserved nullifier a claim. The frame with its receipt must be on disk.
func (r *Register) Commit(scope string, nullifier, query receipt.Hash) error {
	return r.conclude(frame{Op: opCommit, Scope: scope, Nullifier: &nullifier, Query: &query})
}

// Release frees a nullifier whose query is not answered with it. No receipt may be on disk, nor in doubt.
func (r *Register) Release(scope string, nullifier, query receipt.Hash) error {
	return r.conclude(frame{Op: opRelease, Scope: scope, Nullifier: &nullifier, Query: &query})
}

func (r *Register) conclude(f frame) error {
	r.turning.RLock()
	defer r.turning.RUnlock()
	if err := r.keep(f); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Op == opCommit {
		r.waiting[*f.Nullifier] = f.Scope
	}
	if s := r.reserved[*f.Nullifier]; s != nil && s.query == *f.Query {
		close(s.settled)
		delete(r.reserved, *f.Nullifier)
	}
	return nil
}

// turn replaces a long journal: what was placed goes to the index's files, the rest to a new journal. The state file says which
// journal counts.
func (r *Register) turn() error {
	r.turning.Lock()
	defer r.turning.Unlock()
	r.mu.Lock()
	var rest []carried
	for n, s := range r.reserved {
		rest = append(rest, carried{Scope: s.scope, Nullifier: n, Query: &s.query})
	}
	for n, scope := range r.waiting {
		rest = append(rest, carried{Scope: scope, Nullifier: n})
	}
	r.mu.Unlock()
	next, err := journal.Open(r.journalPath(r.number+1), func([]byte) error { return errReplay })
	if err != nil {
		return err
	}
	old := r.journal
	r.journal = next
	for part := range slices.Chunk(rest, manyCarried) {
		if err := r.keep(frame{Op: opCarried, Carried: part}); err != nil {
			return errors.Join(err, old.Close())
		}
	}
	if err := r.index.Flush(r.through, r.number+1); err != nil {
		return errors.Join(r.fail(err), old.Close())
	}
	r.number++
	return errors.Join(old.Close(), r.sweep(), r.index.Merge())
}

// fail bars the register after a write whose outcome is not known.
func (r *Register) fail(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	return fmt.Errorf("%w: %w", ErrFailed, err)
}

func (r *Register) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// Waiting is how many claims of a scope stand in no batch yet.
func (r *Register) Waiting(scope string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for s := range maps.Values(r.waiting) {
		if s == scope {
			n++
		}
	}
	return n
}

// Claims is how many claims the register knows, of all scopes and in all batches.
func (r *Register) Claims() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.index.Len() + len(r.waiting)
}

// Close closes the files. Nothing may be under way.
func (r *Register) Close() error {
	var errs []error
	if r.journal != nil {
		errs = append(errs, r.journal.Close())
	}
	if r.index != nil {
		errs = append(errs, r.index.Close())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range r.keys {
		key.SetZero()
	}
	return errors.Join(errs...)
}
