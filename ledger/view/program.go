package view

import (
	"encoding/hex"

	"github.com/grille-gateway/grille/ledger/entry"
)

// programs are the facts of a log about programs and what was decided by them.
type programs struct {
	published map[policyKey]fact[entry.ProgramPublish]
	order     facts[policyKey]
	retired   map[policyKey]uint64
	decisions map[[32]byte]uint64 // digest -> index of its first entry
}

func newPrograms() programs {
	return programs{published: make(map[policyKey]fact[entry.ProgramPublish]), retired: make(map[policyKey]uint64),
		decisions: make(map[[32]byte]uint64)}
}

func (p *programs) publish(i uint64, e entry.ProgramPublish) bool {
	k := policyKey{e.Program, e.Version}
	if _, again := p.published[k]; again {
		return false
	}
	p.published[k] = fact[entry.ProgramPublish]{i, e}
	p.order.add(i, k)
	return true
}

func (p *programs) retire(i uint64, e entry.ProgramRetire) bool {
	k := policyKey{e.Program, e.Version}
	_, ok := p.published[k]
	return ok && first(p.retired, k, i)
}

func (p *programs) decide(i uint64, e entry.CaseDecision) bool {
	digest, ok := digest32(e.Digest)
	return ok && first(p.decisions, digest, i)
}

func digest32(text string) (out [32]byte, ok bool) {
	if len(text) != 64 {
		return out, false
	}
	_, err := hex.Decode(out[:], []byte(text))
	return out, err == nil
}

// A ProgramVersion is a published program with its index.
type ProgramVersion struct {
	Index   uint64
	Program entry.ProgramPublish
	Retired bool // a program.retire stands below the view's size
}

// Program returns a program version and its index if it is published and not retired.
func (v *View) Program(name string, version int) (entry.ProgramPublish, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	k := policyKey{name, version}
	p, ok := v.log.programs.published[k]
	if !ok || p.index >= v.size || v.since(v.log.programs.retired, k) {
		return entry.ProgramPublish{}, 0, false
	}
	return p.value, p.index, true
}

// Programs returns all published program versions in the order of the log, retired ones too.
func (v *View) Programs() []ProgramVersion {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []ProgramVersion
	for i, k := range v.log.programs.order.all(v.size) {
		out = append(out, ProgramVersion{i, v.log.programs.published[k].value, v.since(v.log.programs.retired, k)})
	}
	return out
}

// Decision returns the index of the entry that commits to a decision.
func (v *View) Decision(digest string) (uint64, bool) {
	key, ok := digest32(digest)
	if !ok {
		return 0, false
	}
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	i, ok := v.log.programs.decisions[key]
	return i, ok && i < v.size
}
