package claim

import (
	"encoding/json"
	"fmt"

	"github.com/grille-gateway/grille/exchange/receipt"
)

// frame is one fact in the register's journal, sealed: that a query stands behind a nullifier is for the register alone.
type frame struct {
	Op        string         `json:"op"`
	Scope     string         `json:"scope,omitempty"` // key commitment
	Nullifier *receipt.Hash  `json:"nullifier,omitempty"`
	Query     *receipt.Hash  `json:"query,omitempty"`  // digest of the query that the nullifier is reserved for
	Entry     uint64         `json:"entry,omitempty"`  // of opPlaced: index of the claims.batch
	Placed    []receipt.Hash `json:"placed,omitempty"` // of opPlaced: the claims among its nullifiers
	Carried   []carried      `json:"carried,omitempty"`
}

// carried is what a new journal takes over from the one before: a claim that stands in no batch yet, or a reservation.
type carried struct {
	Scope     string        `json:"scope"`
	Nullifier receipt.Hash  `json:"nullifier"`
	Query     *receipt.Hash `json:"query,omitempty"` // of a reservation
}

const (
	opReserve = "reserve"
	opCommit  = "commit"
	opRelease = "release"
	opPlaced  = "placed"
	opCarried = "carried"

	framePurpose = "claims"
	manyCarried  = 10_000 // in one frame: 2 MB
)

// keep writes a frame and returns when it is on disk.
func (r *Register) keep(f frame) error {
	plain, err := json.Marshal(f)
	if err != nil {
		return err
	}
	sealed, err := r.opts.Seal.Seal(framePurpose, []byte(r.opts.Origin), plain)
	if err != nil {
		return err
	}
	if err := r.journal.Append(sealed); err != nil {
		r.mu.Lock()
		r.failed = fmt.Errorf("the register's journal may or may not hold a claim, restart the gateway to find out: %w", err)
		r.mu.Unlock()
		return err
	}
	return nil
}

// replay takes back one frame, at the start and before anybody else looks.
func (r *Register) replay(sealed []byte) error {
	plain, err := r.opts.Seal.Open(framePurpose, []byte(r.opts.Origin), sealed)
	if err != nil {
		return fmt.Errorf("replaying claims: %w", err)
	}
	var f frame
	if err := json.Unmarshal(plain, &f); err != nil {
		return fmt.Errorf("replaying claims: %w", errReplay)
	}
	if f.Nullifier == nil && f.Op != opPlaced && f.Op != opCarried || f.Op == opReserve && f.Query == nil {
		return fmt.Errorf("replaying claims: %w", errReplay)
	}
	switch f.Op {
	case opReserve:
		r.reserved[*f.Nullifier] = newReservation(f.Scope, *f.Query)
	case opRelease:
		delete(r.reserved, *f.Nullifier)
	case opCommit:
		delete(r.reserved, *f.Nullifier)
		r.waiting[*f.Nullifier] = f.Scope
	case opPlaced:
		for _, n := range f.Placed {
			delete(r.waiting, n)
			r.index.Add(n, f.Entry)
		}
		r.through = max(r.through, f.Entry+1)
	case opCarried:
		for _, c := range f.Carried {
			if c.Query != nil {
				r.reserved[c.Nullifier] = newReservation(c.Scope, *c.Query)
			} else {
				r.waiting[c.Nullifier] = c.Scope
			}
		}
	default:
		return fmt.Errorf("replaying claims: %w", errReplay)
	}
	return nil
}
