// Package core decides what the ledger's members do next: what a mirror takes of a push, whether it may cosign, what an
// owner sends to whom, and when a checkpoint is final. It is functions over values; disk, network, clock and keys are its
// caller's, so a simulator can drive it.
package core

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

var (
	// ErrStale says that a checkpoint is smaller than what was already cosigned or final. Nothing is wrong with the log;
	// the sender is behind.
	ErrStale = errors.New("checkpoint is older than what is known")
	// ErrInconsistent says that two checkpoints signed by one owner contradict each other. Keep both and tell everybody.
	ErrInconsistent = errors.New("checkpoint contradicts what is known of the log")
	// ErrBounds says that entries do not fit the checkpoint they came with. Refuse the sender's message.
	ErrBounds = errors.New("entries do not fit the checkpoint")
)

// A Replica is what a member holds of one log.
type Replica struct {
	Stored   int64     // entries on the disk, some of them perhaps not yet known to be the owner's
	Verified tlog.Tree // the largest tree that the owner signed and that the entries here hash to
	Signed   tlog.Tree // the largest tree cosigned by this member; never larger than Verified
}

// A Plan is what to do with entries that arrived.
type Plan struct {
	Skip   int  // entries at the front that are stored already
	Take   int  // entries after them to store
	Settle bool // then compare the root at the checkpoint's size, and cosign if it is equal
}

// Push plans for a checkpoint with n entries from index from. A Plan that neither takes nor settles says that there is a
// gap: ask for entries from Stored on.
func (r Replica) Push(cp tlog.Tree, from uint64, n int) (Plan, error) {
	switch {
	case cp.N < r.Signed.N:
		return Plan{}, fmt.Errorf("%w: size %d, cosigned %d", ErrStale, cp.N, r.Signed.N)
	case cp.N == r.Signed.N && cp.Hash != r.Signed.Hash, cp.N == r.Verified.N && cp.Hash != r.Verified.Hash:
		return Plan{}, fmt.Errorf("%w: two roots of size %d", ErrInconsistent, cp.N)
	}
	return r.take(cp.N, from, n)
}

// Pull plans for n entries from index from towards a tree of size target, which others vouch for.
func (r Replica) Pull(target int64, from uint64, n int) (Plan, error) {
	return r.take(target, from, n)
}

func (r Replica) take(target int64, from uint64, n int) (Plan, error) {
	if n > 0 && (from > uint64(target) || uint64(n) > uint64(target)-from) {
		return Plan{}, fmt.Errorf("%w: %d entries from %d for size %d", ErrBounds, n, from, target)
	}
	if r.Stored >= target {
		return Plan{Skip: n, Settle: true}, nil
	}
	if n == 0 || from > uint64(r.Stored) {
		return Plan{}, nil
	}
	p := Plan{Skip: min(n, int(r.Stored-int64(from)))}
	p.Take = n - p.Skip
	p.Settle = r.Stored+int64(p.Take) >= target
	return p, nil
}

// A Verdict is what a comparison of roots means.
type Verdict int

// The verdicts of Settle.
const (
	Agree    Verdict = iota // the entries here hash to the signed root
	Unproven                // they do not, but some came before the checkpoint and from others: drop what is not verified, ask again
	Fork                    // they do not, and none but the owner's word is at fault
)

// Settle compares a signed tree with the root that the entries here have at its size. clean says that every entry beyond
// Verified came with this very checkpoint.
func (r Replica) Settle(cp tlog.Tree, root tlog.Hash, clean bool) Verdict {
	switch {
	case root == cp.Hash:
		return Agree
	case cp.N > r.Verified.N && !clean:
		return Unproven
	}
	return Fork
}
