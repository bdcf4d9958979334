package program

import (
	"fmt"
	"log/slog"

	"github.com/grille-gateway/grille/exchange/bundle"
)

// ClaimTwice is the state of a claim that is first on the register's log and stands for another case of this member: the register
// answered two queries with one nullifier before it logged it, as one does that lies or was set back to an older copy. Both answers
// verify, and both queries find the place to be behind them, so that only whoever has both can tell. A person decides, and cannot grant.
const ClaimTwice = "twice"

// claimKey is one person's claim in one scope.
type claimKey struct {
	register, program, period, nullifier string
}

// placed keeps where a case's claim stands. A first claim is the case's that takes it first, whatever becomes of that case: it is taken
// before the record is written, so that no two cases are told the same, and the record says which it was after a restart.
func (c *Cases) placed(f *file, query, state string) error {
	nullifier, err := c.nullifier(query)
	if err != nil {
		return fmt.Errorf("placing a claim: %w", err)
	}
	if state == bundle.ClaimFirst {
		c.mu.Lock()
		if !c.hold(f, nullifier) {
			state = ClaimTwice
			c.opts.Logger.Error("the register made one claim for two cases; a person decides", slog.String("peer", f.register()))
		}
		c.mu.Unlock()
	}
	return c.keep(f, KindClaimed, claimedRecord{f.ID, state, nullifier}, func() error { return f.place(state) })
}

// hold takes a claim for a case and reports whether it is the case's. The caller holds mu.
func (c *Cases) hold(f *file, nullifier string) bool {
	key := claimKey{f.register(), f.Program.Name, f.Program.Scope.Period, nullifier}
	if holder, held := c.claims[key]; held && holder != f.ID {
		return false
	}
	c.claims[key] = f.ID
	return true
}

// recall takes a claim back from the journal. Records of earlier builds name no nullifier: the answer, which stands before them in the
// journal, does. Where they gave one claim to two cases, the second is no first claim any more. The caller holds mu.
func (c *Cases) recall(f *file, r claimedRecord) (err error) {
	query := f.claiming()
	if query == "" {
		return fmt.Errorf("placing a claim: %w", ErrState)
	}
	if r.Nullifier == "" {
		if r.Nullifier, err = c.nullifier(query); err != nil {
			return err
		}
	}
	if r.State == bundle.ClaimFirst && !c.hold(f, r.Nullifier) {
		r.State = ClaimTwice
	}
	return f.place(r.State)
}

// nullifier is that of a satisfied answer in a scope.
func (c *Cases) nullifier(query string) (string, error) {
	data, err := c.opts.Asker.Bundle(query, false)
	if err != nil {
		return "", err
	}
	b, err := bundle.Decode(data)
	if err != nil {
		return "", err
	}
	if b.Nullifier == "" {
		return "", fmt.Errorf("reading a claim: the answer has no nullifier: %w", bundle.ErrEncoding)
	}
	return b.Nullifier, nil
}

// register is the member that keeps the scope of the case's program.
func (f *file) register() string {
	for _, k := range f.Program.Checks {
		if k.Name == f.Program.Scope.Check {
			return k.Holder
		}
	}
	return ""
}
