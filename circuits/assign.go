package circuits

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/frontend"
)

// Assign returns the circuit with every input set, as a *Statement. It does not check that the secret proves the public half: a
// solver does. The errors are those of Public.Vector.
func Assign(pub *Public, sec *Secret) (frontend.Circuit, error) {
	if err := pub.check(); err != nil {
		return nil, err
	}
	s := &Statement{Root: pub.Root, Tag: pub.Tag, Context: pub.Context, Scope: pub.Scope,
		ScopeKeyCommitment: pub.ScopeKeyCommitment, Nullifier: pub.Nullifier, Verdict: uint64(pub.Verdict),
		TagNonce: sec.TagNonce, Salt: sec.Salt, ScopeKey: sec.ScopeKey}
	for i := range pub.Mask {
		s.Mask[i] = bit(pub.Mask[i])
	}
	fill(s.Disclosed[:], pub.Disclosed[:])
	s.Program.assign(pub.Program.layout())
	s.assignPath(sec)
	record := sec.Record
	if record == nil {
		record = new(Record)
	}
	for i, code := range record.Numeric {
		s.Numeric[i] = code
	}
	fill(s.Text[:], record.Text[:])
	return s, nil
}

func (s *Statement) assignPath(sec *Secret) {
	q, place := sec.Key.split()
	quotient := new(big.Int).SetUint64(q[0])
	s.Quotient = quotient.Lsh(quotient, 64).Or(quotient, new(big.Int).SetUint64(q[1]))
	for i, d := range digits(place) {
		s.Digits[i] = DigitInputs{Is1: bit(d == 1), Is2: bit(d == 2)}
		fill(s.Siblings[i][:], sec.Opening.Siblings[i][:])
	}
	for i, slot := range sec.Opening.Bucket {
		s.Bucket[i] = SlotInputs{Key: slot.Key, Commitment: slot.Commitment}
	}
}

func (p *ProgramInputs) assign(l *programLayout) {
	fill(p.Used[:], l.used[:])
	p.OnAbsent, p.OnMissing = l.onAbsent, l.onMissing
	for i := range l.lookups {
		from, to := &l.lookups[i], &p.Lookups[i]
		fill(to.Select[:], from.selector[:])
		fill(to.Keys[:], from.keys[:])
		fill(to.Values[:], from.values[:])
		to.Default, to.MissIsMissing = from.fallback, from.missIsMissing
	}
	for i := range l.atoms {
		from, to := &l.atoms[i], &p.Atoms[i]
		fill(to.Columns[:], from.columns[:])
		fill(to.Lookups[:], from.lookups[:])
		to.Constant, to.EqualsZero = from.constant, from.equalsZero
	}
	for i := range l.texts {
		fill(p.TextTests[i].Select[:], l.texts[i].selector[:])
		p.TextTests[i].Value = l.texts[i].value
	}
	for i := range l.gates {
		from, to := &l.gates[i], &p.Gates[i]
		fill(to.Atoms[:], from.atoms[:])
		fill(to.Texts[:], from.texts[:])
		to.Threshold = from.threshold
	}
	fill(p.Earlier[:], l.earlier[:])
}

func fill(to []frontend.Variable, from []fr.Element) {
	for i := range to {
		to[i] = from[i]
	}
}
