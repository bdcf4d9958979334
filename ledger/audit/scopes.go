package audit

import (
	"strconv"

	"github.com/grille-gateway/grille/ledger/entry"
)

// scopes are the scopes and claims of one log.
type scopes struct {
	names  map[[2]string]bool // program and period
	keys   map[string]uint64  // key commitment to the scope that has it
	opened map[uint64]bool
	closed map[uint64]bool
	last   uint64 // beat of the last claims batch
	logged bool
	// places is the first batch of each nullifier by its first 8 bytes: 20 bytes a claim. An owner can make two that share
	// these, at the price of accusing itself.
	places map[uint64]uint32
}

func newScopes() scopes {
	return scopes{names: make(map[[2]string]bool), keys: make(map[string]uint64), opened: make(map[uint64]bool),
		closed: make(map[uint64]bool), places: make(map[uint64]uint32)}
}

func (r *rules) openScope(i uint64, e entry.ScopeOpen) bool {
	s, name := &r.scopes, [2]string{e.Program, e.Period}
	if at, ok := s.keys[e.KeyCommitment]; ok {
		return r.void(ScopeKeyAgain, i, "the key of scope %s %s is that of entry %d", e.Program, e.Period, at)
	}
	if s.names[name] {
		return r.void(ScopeAgain, i, "scope %s %s was opened before", e.Program, e.Period)
	}
	s.names[name], s.keys[e.KeyCommitment], s.opened[i] = true, i, true
	return true
}

func (r *rules) closeScope(i uint64, e entry.ScopeClose) bool {
	if !r.scopes.opened[e.Scope] {
		return r.void(ScopeUnknown, i, "closes entry %d, which opens no scope before it", e.Scope)
	}
	return first(r, r.scopes.closed, e.Scope, ScopeCloseAgain, i)
}

func (r *rules) addClaims(i uint64, e entry.ClaimsBatch) bool {
	s := &r.scopes
	if len(s.opened) == len(s.closed) {
		return r.void(ClaimsNoScope, i, "claims of beat %d while no scope is open", e.Beat)
	}
	if s.logged && e.Beat < s.last {
		return r.void(ClaimsOrder, i, "claims of beat %d follow those of beat %d", e.Beat, s.last)
	}
	s.last, s.logged = e.Beat, true
	for _, n := range e.Nullifiers {
		key, err := strconv.ParseUint(n[:min(16, len(n))], 16, 64)
		if err != nil {
			continue // Decode refuses it
		}
		if at, ok := s.places[key]; ok {
			r.found(ClaimTwice, int64(i), "a claim stands in entry %d and again here, where it does not count", at)
			continue
		}
		s.places[key] = uint32(i)
	}
	return true
}
