package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

// A Scope is where a query wants to claim: a program in a period, both names. The holder asked is the register.
type Scope struct {
	Program string `json:"program"`
	Period  string `json:"period"`
}

// Check reports names that no scope can have.
func (s *Scope) Check() error {
	if !entry.Name(s.Program) || !entry.Name(s.Period) {
		return fmt.Errorf("checking a scope: program and period are 1 to 64 of a-z 0-9 . _ - each: %w", ErrQuery)
	}
	return nil
}

// Element is the scope as the statement takes it: the first 248 bits of SHA-256 over instance, register, program and period.
func (s *Scope) Element(instance, register string) fr.Element {
	sum := receipt.Sum("grille/v1/scope", []byte(instance), []byte(register), []byte(s.Program), []byte(s.Period))
	var e fr.Element
	e.SetBytes(sum[:31])
	return e
}

// ClaimInclude shows where a claim stands: a claims.batch that is final on the register's log, and the nullifier's slot in it.
type ClaimInclude struct {
	Checkpoint string `json:"checkpoint"`
	Batch      Entry  `json:"batch"`
	Slot       int    `json:"slot"` // 0 to 63
}

// What can be said of the claim of an answer. Only a satisfied answer to a query with a scope makes one.
const (
	ClaimPending = "pending" // not known to be final; nothing is granted yet
	ClaimFinal   = "final"   // stands in a final batch; that none before it holds the same is for the whole log to show
	ClaimFirst   = "first"   // final, and the log holds no earlier one
	ClaimLater   = "later"   // the log holds an earlier one: the register made the same claim twice
)

// A ClaimLog is a log whose entries can be read, to look for a claim.
type ClaimLog interface {
	Replica
	Read(origin string, from, to uint64) ([][]byte, error)
}

// statement puts the scope into the public inputs. Only a satisfied answer claims: any other is proved without a scope, and carries no
// pseudonym of its subject.
func (c *check) statement(pub *circuits.Public) error {
	if c.q.Scope == nil || pub.Verdict != circuits.Satisfied {
		if c.b.Nullifier != "" || c.b.Claim != nil {
			return fmt.Errorf("reading a nullifier: the answer makes no claim: %w", ErrEncoding)
		}
		return nil
	}
	if !entry.Element(c.b.Nullifier) {
		return fmt.Errorf("reading a nullifier: %w", ErrEncoding)
	}
	var err error
	if pub.Nullifier, err = ParseElement(c.b.Nullifier); err != nil {
		return err
	}
	if pub.ScopeKeyCommitment, err = ParseElement(c.scope.KeyCommitment); err != nil {
		return err
	}
	pub.Scope = c.q.Scope.Element(c.Config.Instance, c.q.Holder)
	return nil
}

// scopeOpen checks that the scope's entry is the one asked for, and was open at the answer's time.
func (c *check) scopeOpen() error {
	if c.h.Scope == nil {
		return nil
	}
	opens, err := entry.ParseTime(c.scope.Opens)
	closes, e := entry.ParseTime(c.scope.Closes)
	answered, _ := entry.ParseTime(c.h.Time) // checkTimes read it
	if err = errors.Join(err, e); err != nil {
		return &Refused{Reason: ReasonReference, Err: err}
	}
	if answered.Before(opens) || answered.After(closes) {
		return refuse(ReasonNotInForce, "the scope was not open at the time of the answer")
	}
	if c.Replica == nil {
		return nil
	}
	s, ok := c.Replica.View(c.h.Origin, c.h.Size).Scope(c.scope.Program, c.scope.Period)
	if !ok || s.Index != *c.h.Scope || s.Closed {
		return refuse(ReasonNotInForce, "the scope is closed, or its key is another scope's, too")
	}
	for _, f := range c.Config.Fences {
		if f.Member != c.q.Holder {
			continue
		}
		if v := c.Replica.View(f.Origin, uint64(f.Size)); v != nil {
			if _, ok := v.Scope(c.scope.Program, c.scope.Period); ok {
				return refuse(ReasonNotInForce, "the scope was open on the register's log that ended: whoever claimed there could claim again")
			}
		}
	}
	return nil
}

// claim checks the place of the claim, where the bundle shows one. The batch stands behind what the header saw: a nullifier that stood
// there before was not free.
func (c *check) claim() error {
	if c.b.Nullifier == "" {
		return nil
	}
	c.report.Program, c.report.Period, c.report.Nullifier, c.report.Claim = c.q.Scope.Program, c.q.Scope.Period, c.b.Nullifier, ClaimPending
	if c.b.Claim == nil {
		return nil
	}
	c.report.Claim = ClaimFinal
	tree, _, err := CheckHead(c.Configurations(), c.h.Origin, c.b.Claim.Checkpoint)
	if err != nil {
		return &Refused{Reason: ReasonClaim, Err: err}
	}
	if err := included(&c.b.Claim.Batch, tree); err != nil {
		return &Refused{Reason: ReasonClaim, Err: err}
	}
	e, err := entry.Decode([]byte(c.b.Claim.Batch.Body))
	if err != nil {
		return &Refused{Reason: ReasonClaim, Err: err}
	}
	batch, ok := e.(entry.ClaimsBatch)
	slot := c.b.Claim.Slot
	if !ok || slot < 0 || slot >= len(batch.Nullifiers) || batch.Nullifiers[slot] != c.b.Nullifier {
		return refuse(ReasonClaim, "the claim does not stand in the entry and slot given")
	}
	if c.b.Claim.Batch.Index < c.h.Size {
		return refuse(ReasonClaim, "the claim stood on the log before the answer was given: it is of another answer")
	}
	log, ok := c.Replica.(ClaimLog)
	if !ok {
		return nil
	}
	return c.firstPlace(log)
}

func (c *check) firstPlace(log ClaimLog) error {
	index, slot, ok, err := FindClaim(log, c.h.Origin, *c.h.Scope, c.b.Claim.Batch.Index+1, c.b.Nullifier)
	switch {
	case err != nil:
		return &Refused{Reason: ReasonCheckpoint, Err: err}
	case !ok:
		return refuse(ReasonClaim, "the replica does not hold the claim where the bundle says; sync it and verify again")
	case index != c.b.Claim.Batch.Index || slot != c.b.Claim.Slot:
		return refuse(ReasonClaim, "the claim stands earlier on the log, in entry %d: this one does not count", index)
	}
	c.report.Claim = ClaimFirst
	return nil
}

// scopeClaims returns the indexes of the claims batches in which a claim of the scope opened at an index may stand: those before its end.
func scopeClaims(v *view.View, scope uint64) []uint64 {
	all := v.Claims(scope)
	for _, s := range v.Scopes() {
		if s.Index == scope && s.Closed {
			end, _ := slices.BinarySearch(all, s.End)
			return all[:end]
		}
	}
	return all
}

// FindClaim looks for the first place of a nullifier in the claims batches of its scope, from the index that opens it, to below another.
// It reads them all: 4.4 KB each.
func FindClaim(log ClaimLog, origin string, from, to uint64, nullifier string) (index uint64, slot int, ok bool, err error) {
	v := log.View(origin, to)
	if v == nil || v.Size() != to {
		return 0, 0, false, fmt.Errorf("looking for a claim: the replica holds less than %d entries of %s", to, origin)
	}
	for _, index := range scopeClaims(v, from) {
		raw, err := log.Read(origin, index, index+1)
		if err != nil || len(raw) != 1 {
			return 0, 0, false, fmt.Errorf("looking for a claim in entry %d: %w", index, err)
		}
		for slot, n := range ClaimSlots(raw[0]) {
			if n == nullifier {
				return index, slot, true, nil
			}
		}
	}
	return 0, 0, false, nil
}

// ClaimSlots gives the nullifiers of a claims batch that counts, as 64 hexadecimal digits each. Such an entry has one spelling, so that
// they are found without reading its JSON.
func ClaimSlots(raw []byte) iter.Seq2[int, string] {
	const list, digits, step = `"nullifiers":["`, 64, 64 + len(`","`)
	return func(yield func(int, string) bool) {
		at := bytes.Index(raw, []byte(list)) + len(list)
		for slot := 0; slot < entry.Claims && at >= len(list) && at+digits <= len(raw); slot++ {
			if !yield(slot, string(raw[at:at+digits])) {
				return
			}
			at += step
		}
	}
}
