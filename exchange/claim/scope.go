package claim

import (
	"context"
	"fmt"
	"time"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

// OpenScope opens the scope of a program and a period, for claims from opens to closes, and returns its entry's index once it is final.
// Order: the key's file is durable, then the entry is appended. Doing so again returns the entry that stands. Errors: ErrScope if
// the scope was opened with other times or was closed, ErrKey if its key is not here.
func (r *Register) OpenScope(ctx context.Context, program, period string, opens, closes time.Time) (uint64, error) {
	index, err := r.appendOpen(ctx, program, period, entry.FormatTime(opens), entry.FormatTime(closes))
	if err != nil {
		return 0, fmt.Errorf("opening scope %s %s: %w", program, period, err)
	}
	if err := r.opts.Ledger.WaitFinal(ctx, index); err != nil {
		return 0, fmt.Errorf("waiting for a scope to be final (it is on this member's log at %d): %w", index, err)
	}
	return index, nil
}

func (r *Register) appendOpen(ctx context.Context, program, period, opens, closes string) (uint64, error) {
	r.scoping.Lock()
	defer r.scoping.Unlock()
	if !entry.Name(program) || !entry.Name(period) {
		return 0, fmt.Errorf("%w: program and period are 1 to 64 of a-z 0-9 . _ - each", ErrScope)
	}
	if s, ok := r.all().Scope(program, period); ok {
		return s.Index, r.reopen(s, opens, closes)
	}
	if err := r.openedBefore(program, period); err != nil {
		return 0, err
	}
	if opens >= closes || closes <= entry.FormatTime(r.opts.Now()) {
		return 0, fmt.Errorf("%w: it must close after it opens, and in the future", ErrScope)
	}
	commitment, err := r.newKey()
	if err != nil {
		return 0, err
	}
	indexes, err := r.opts.Ledger.Append(ctx, entry.ScopeOpen{Program: program, Period: period, KeyCommitment: commitment, Opens: opens,
		Closes: closes, Time: entry.FormatTime(r.opts.Now())})
	if err != nil { // the entry may be on the log all the same: the next start keeps or destroys the key
		return 0, err
	}
	return indexes[0], nil
}

// openedBefore reports a scope that was open on a log of this member that ended: with a new key, whoever claimed there could claim again.
func (r *Register) openedBefore(program, period string) error {
	for _, f := range r.opts.Ended {
		v := r.opts.Ledger.View(f.Origin, uint64(f.Size))
		if v == nil || v.Size() < uint64(f.Size) {
			return fmt.Errorf("%w: what stood on the log that ended is not here yet, try again", ErrScope)
		}
		if _, ok := v.Scope(program, period); ok {
			return fmt.Errorf("%w: it was open on the log that ended, and whoever claimed there could claim again; open another period", ErrScope)
		}
	}
	return nil
}

// reopen says whether opening again what stands changes nothing.
func (r *Register) reopen(s view.Scope, opens, closes string) error {
	switch {
	case s.Closed:
		return fmt.Errorf("%w: it was closed; a period is opened once", ErrScope)
	case s.Open.Opens != opens || s.Open.Closes != closes:
		return fmt.Errorf("%w: it is open from %s to %s", ErrScope, s.Open.Opens, s.Open.Closes)
	}
	_, err := r.Key(s.Open.KeyCommitment)
	return err
}

// CloseScope closes a scope and returns its scope.close's index once that is final. Order: no nullifier is reserved any more, those
// that are get their answer, every claim is in a batch, the entry is appended, the key is destroyed. Doing so again returns the entry
// that stands. ErrScope: there is no such scope.
func (r *Register) CloseScope(ctx context.Context, program, period, reason string) (uint64, error) {
	s, ok := r.all().Scope(program, period)
	if !ok {
		return 0, fmt.Errorf("closing scope %s %s: %w: this member did not open it", program, period, ErrScope)
	}
	index, err := r.appendClose(ctx, s, reason)
	if err != nil {
		return 0, fmt.Errorf("closing scope %s %s: %w", program, period, err)
	}
	if err := r.opts.Ledger.WaitFinal(ctx, index); err != nil {
		return 0, fmt.Errorf("waiting for a scope's end to be final (it is on this member's log at %d): %w", index, err)
	}
	return index, nil
}

func (r *Register) appendClose(ctx context.Context, s view.Scope, reason string) (uint64, error) {
	r.scoping.Lock()
	defer r.scoping.Unlock()
	commitment := s.Open.KeyCommitment
	if s, _ = r.all().Scope(s.Open.Program, s.Open.Period); s.Closed {
		return s.End, r.destroyKey(commitment)
	}
	if err := r.drain(ctx, commitment); err != nil {
		r.admit(commitment)
		return 0, err
	}
	indexes, err := r.opts.Ledger.Append(ctx, entry.ScopeClose{Scope: s.Index, Reason: reason, Time: entry.FormatTime(r.opts.Now())})
	if err != nil {
		if s, _ = r.all().Scope(s.Open.Program, s.Open.Period); !s.Closed {
			r.admit(commitment)
		}
		return 0, err
	}
	return indexes[0], r.destroyKey(commitment)
}

// drain bars a scope for new claims, waits for those under way and logs what waits.
func (r *Register) drain(ctx context.Context, scope string) error {
	r.mu.Lock()
	r.closing[scope] = true
	var open []*reservation
	for _, s := range r.reserved {
		if s.scope == scope {
			open = append(open, s)
		}
	}
	r.mu.Unlock()
	for _, s := range open {
		select {
		case <-s.settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.publishing.Lock()
	defer r.publishing.Unlock()
	for r.Waiting(scope) > 0 {
		if err := r.publish(ctx, receipt.BeatAt(r.opts.Now(), r.opts.Beat)-1); err != nil {
			return err
		}
	}
	return nil
}

// admit takes back what drain barred.
func (r *Register) admit(scope string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.closing, scope)
}
