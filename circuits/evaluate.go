package circuits

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Evaluate returns the verdict of the program for a record, or for nobody's when r is nil. It is the circuit's twin. The program
// must be well formed.
func (p *Program) Evaluate(r *Record) Verdict {
	if r == nil {
		return p.OnAbsent
	}
	results, missed := p.lookups(r)
	if missed || p.missing(r) {
		return p.OnMissing
	}
	atoms := make([]bool, len(p.Atoms))
	for i := range p.Atoms {
		atoms[i] = p.Atoms[i].holds(r, results)
	}
	texts := make([]bool, len(p.TextTests))
	for i, t := range p.TextTests {
		texts[i] = r.Text[t.Column].Equal(&t.Value)
	}
	gates := make([]bool, len(p.Gates))
	for i := range p.Gates {
		g := &p.Gates[i]
		gates[i] = weigh(g.Atoms, atoms)+weigh(g.Texts, texts)+weigh(g.Gates, gates) >= g.Threshold
	}
	if gates[len(gates)-1] {
		return Satisfied
	}
	return NotSatisfied
}

// missing says whether a used column has no value.
func (p *Program) missing(r *Record) bool {
	for i, used := range p.Used() {
		if c := r.Column(i); used && c.IsZero() {
			return true
		}
	}
	return false
}

// lookups returns the result of each lookup, and whether one that may not miss missed.
func (p *Program) lookups(r *Record) (results [Lookups]int64, missed bool) {
	for i := range p.Lookups {
		l := &p.Lookups[i]
		value, hit := l.Default, false
		for _, pair := range l.Pairs {
			if pair.Key == signed(r.Numeric[l.Column]) {
				value, hit = pair.Value, true
			}
		}
		results[i] = value
		missed = missed || (l.MissIsMissing && !hit)
	}
	return results, missed
}

// signed is the number that the circuit computes with: value for a code, -2^63 for a missing one.
func signed(code uint64) int64 { return int64(code ^ offset) }

func (a *Atom) holds(r *Record, results [Lookups]int64) bool {
	sum := big.NewInt(a.Constant)
	add := func(coefficient int32, value int64) {
		sum.Add(sum, new(big.Int).Mul(big.NewInt(int64(coefficient)), big.NewInt(value)))
	}
	for _, t := range a.Columns {
		add(t.Coefficient, signed(r.Numeric[t.Column]))
	}
	for _, t := range a.Lookups {
		add(t.Coefficient, results[t.Lookup])
	}
	if a.Test == EqualsZero {
		return sum.Sign() == 0
	}
	return sum.Sign() >= 0
}

// weigh sums the weights of what holds; weights may be shorter than the list they weigh.
func weigh(weights []int, holds []bool) int {
	sum := 0
	for i, w := range weights {
		if holds[i] {
			sum += w
		}
	}
	return sum
}

// Tag hides a subject key behind a nonce: who knows both recomputes it, nobody else can. The nonce is uniform in the field.
func Tag(key Key, nonce fr.Element) fr.Element {
	return Hash(UseTag, key.Element(), nonce, fr.Element{})
}

// Nullifier names a subject within a scope without naming the person: equal for equal (scope key, subject, scope).
func Nullifier(scopeKey fr.Element, key Key, scope fr.Element) fr.Element {
	return Hash(UseNullifier, scopeKey, key.Element(), scope)
}

// ScopeKeyCommitment is what the ledger shows of a scope's key. The key is uniform in the field.
func ScopeKeyCommitment(k fr.Element) fr.Element {
	return Hash(UseScopeKey, k, fr.Element{}, fr.Element{})
}
