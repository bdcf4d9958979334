package holder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/claim"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

// claimRecord is a claim in the frame of the answer that made it: from then on it is one.
type claimRecord struct {
	Scope     string       `json:"scope"` // key commitment
	Nullifier receipt.Hash `json:"nullifier"`
}

func scopeProgram(q *bundle.Query) string {
	if q.Scope == nil {
		return ""
	}
	return q.Scope.Program
}

// fixScope finds the query's scope below the checkpoint. It must be open, by the log and by its times, and its key here.
func (h *Holder) fixScope(j *job, v *view.View, now time.Time) error {
	if j.query.Scope == nil {
		return nil
	}
	s, ok := v.Scope(j.query.Scope.Program, j.query.Scope.Period)
	if !ok || h.opts.Register == nil {
		return refuse(CodeScope)
	}
	opens, err := entry.ParseTime(s.Open.Opens)
	closes, e := entry.ParseTime(s.Open.Closes)
	if err = errors.Join(err, e); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	switch {
	case s.Closed || now.After(closes):
		return refuse(CodeScopeClosed)
	case now.Before(opens):
		return refuse(CodeScopeEarly)
	}
	j.scope, j.header.Scope = &s.Open, &s.Index
	return nil
}

// claim returns the scope that the statement is proved in: none unless the verdict is satisfied, so that nobody learns a person's
// nullifier who gets no claim for it.
func (h *Holder) claim(j *job, program *circuits.Program) (fr.Element, error) {
	var none fr.Element
	if j.scope == nil || program.Evaluate(j.secret.Record) != circuits.Satisfied {
		return none, nil
	}
	key, err := h.opts.Register.Key(j.scope.KeyCommitment)
	if errors.Is(err, claim.ErrKey) {
		return none, h.noKey(j)
	}
	j.secret.ScopeKey = key
	return j.query.Scope.Element(h.opts.Config.Instance, h.opts.Member), err
}

// noKey tells a scope that is being closed from one whose key is lost.
func (h *Holder) noKey(j *job) error {
	s, ok := h.all().Scope(j.scope.Program, j.scope.Period)
	if ok && s.Closed {
		return refuse(CodeScopeClosed)
	}
	h.opts.Logger.Error("the key of an open scope is not here", slog.Uint64("index", s.Index))
	return refuse(CodeScopeKey)
}

// reserveClaim has the register hold the nullifier for this query, on disk, before a proof is made with it.
func (h *Holder) reserveClaim(ctx context.Context, j *job) error {
	if j.pub.Scope.IsZero() {
		return nil
	}
	j.nullifier = j.pub.Nullifier.Bytes()
	err := h.opts.Register.Reserve(ctx, j.scope.KeyCommitment, j.nullifier, j.digest)
	switch {
	case errors.Is(err, claim.ErrClaimed):
		return refuse(CodeClaimed)
	case errors.Is(err, claim.ErrClosed):
		return refuse(CodeScopeClosed)
	case ctx.Err() != nil:
		return requestError(CodeBusy, true, "claiming: %w", err)
	case err != nil:
		return fmt.Errorf("answering: %w", err)
	}
	j.reserved = true
	return nil
}

// unreserve frees the nullifier of an answer that is not given.
func (h *Holder) unreserve(j *job) {
	if !j.reserved {
		return
	}
	j.reserved = false
	if err := h.opts.Register.Release(j.scope.KeyCommitment, j.nullifier, j.digest); err != nil {
		h.opts.Logger.Error("a reserved claim is not released; the next start does it", slog.Any("error", err))
	}
}

// commitClaim tells the register that the receipt is on disk.
func (h *Holder) commitClaim(j *job) error {
	if !j.reserved {
		return nil
	}
	j.reserved = false
	if err := h.opts.Register.Commit(j.scope.KeyCommitment, j.nullifier, j.digest); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	return nil
}
