package view

import "github.com/grille-gateway/grille/ledger/entry"

// A Scope is a scope.open that counts, with its index.
type Scope struct {
	Index  uint64
	Open   entry.ScopeOpen
	Closed bool   // a scope.close stands below the view's size
	End    uint64 // its index, if Closed
}

type scopeName struct{ program, period string }

// scopes are the scopes of one log and where its claims stand. What was claimed is on the log, not in memory: the claims of
// a year take a gigabyte.
type scopes struct {
	opened  facts[entry.ScopeOpen]
	names   map[scopeName]uint64
	keys    map[string]bool // key commitments
	closed  map[uint64]uint64
	batches facts[uint64] // beats of claims batches
}

func newScopes() scopes {
	return scopes{names: make(map[scopeName]uint64), keys: make(map[string]bool), closed: make(map[uint64]uint64)}
}

// open takes the first scope of a name, if its key was declared for no other: one scope has one key, and a key one scope.
func (s *scopes) open(i uint64, e entry.ScopeOpen) bool {
	if s.keys[e.KeyCommitment] || !first(s.names, scopeName{e.Program, e.Period}, i) {
		return false
	}
	s.keys[e.KeyCommitment] = true
	s.opened.add(i, e)
	return true
}

func (s *scopes) close(i uint64, e entry.ScopeClose) bool {
	_, ok := s.opened.at(e.Scope, i)
	return ok && first(s.closed, e.Scope, i)
}

// claims takes a batch while a scope is open, of the beat of the batch before it or a later one.
func (s *scopes) claims(i uint64, e entry.ClaimsBatch) bool {
	last, _, some := s.batches.newest(i)
	if s.opened.n == len(s.closed) || some && e.Beat < last {
		return false
	}
	s.batches.add(i, e.Beat)
	return true
}

func (v *View) scope(index uint64, e entry.ScopeOpen) Scope {
	s := Scope{Index: index, Open: e}
	if end, ok := v.log.scopes.closed[index]; ok && end < v.size {
		s.Closed, s.End = true, end
	}
	return s
}

// Scope returns the scope of a program and a period, closed or not.
func (v *View) Scope(program, period string) (Scope, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	index, ok := v.log.scopes.names[scopeName{program, period}]
	if !ok || index >= v.size {
		return Scope{}, false
	}
	e, ok := v.log.scopes.opened.at(index, v.size)
	return v.scope(index, e), ok
}

// Scopes returns all scopes in the order of the log, closed ones too.
func (v *View) Scopes() []Scope {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []Scope
	for i, e := range v.log.scopes.opened.all(v.size) {
		out = append(out, v.scope(i, e))
	}
	return out
}

// Claims returns the indexes of the claims batches that count, from from on.
func (v *View) Claims(from uint64) []uint64 {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	all := &v.log.scopes.batches
	var out []uint64
	for i := all.below(from); i < all.below(v.size); i++ {
		out = append(out, all.get(i).index)
	}
	return out
}

// NewestClaims returns the beat and index of the newest claims batch.
func (v *View) NewestClaims() (beat, index uint64, ok bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	return v.log.scopes.batches.newest(v.size)
}
