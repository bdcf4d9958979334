package circuits

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/frontend"
)

// A forger sets every input of the statement, hashes what must be hashed so that all of it fits together, and lies in one thing.
// Each test forges what one numbered claim of Statement forbids; each forger also shows, by leaving out the lie, that everything
// else fits.

// honest is an assignment that the solver accepts, and the secret behind it.
func honest(t *testing.T, record *Record, p *Program) (*fixture, *Statement) {
	t.Helper()
	f := newFixture(newRand(9), record, p)
	f.mask[0], f.mask[12] = true, true
	s := f.assign(t)
	if err := solve(t, s); err != nil {
		t.Fatal(err)
	}
	return f, s
}

func refused(t *testing.T, claim string, s *Statement) {
	t.Helper()
	if solve(t, s) == nil {
		t.Errorf("%s: accepted", claim)
	}
}

// setKey makes the statement one about any element as a key, opened at any place with any quotient: tag, nullifier and root fit.
func (f *fixture) setKey(s *Statement, key fr.Element, quotient *big.Int, place uint64) {
	s.Quotient = quotient
	for i, d := range digits(place) {
		s.Digits[i] = DigitInputs{bit(d == 1), bit(d == 2)}
	}
	s.Tag = Hash(UseTag, key, f.sec.TagNonce, fr.Element{})
	s.Nullifier = Hash(UseNullifier, f.sec.ScopeKey, key, f.scope)
	s.Root = f.sec.Opening.Root(place)
	for i, slot := range f.sec.Opening.Bucket {
		s.Bucket[i] = SlotInputs{slot.Key, slot.Commitment}
	}
}

// Claim 1. A key of 2^128 and above: an empty slot, a filler, anything else that no subject has.
func TestForgedKeyOutOfRange(t *testing.T) {
	one := big.NewInt(1)
	for _, c := range []struct {
		key *big.Int
		ok  bool
	}{
		{new(big.Int), true}, {one, true}, {power(63), true}, {new(big.Int).Sub(power(64), one), true}, {power(64), true},
		{power(127), true}, {new(big.Int).Sub(power(128), one), true},
		{power(128), false}, {new(big.Int).Add(power(128), one), false}, {power(200), false},
		{new(big.Int).Sub(fr.Modulus(), one), false},
	} {
		f, s := honest(t, sampleRecord(), sampleProgram())
		f.sec.Opening.Bucket[1].Key = element(c.key)
		q, place := new(big.Int).DivMod(c.key, big.NewInt(Places), new(big.Int))
		f.setKey(s, element(c.key), q, place.Uint64())
		if err := solve(t, s); (err == nil) != c.ok {
			t.Errorf("claim 1: key %v: %v", c.key, err)
		}
	}
}

// Claim 1. An empty slot as the record of nobody: its commitment is 0, so it would need a preimage, but it must not even match.
func TestForgedEmptySlotAsAbsentSubject(t *testing.T) {
	f, s := honest(t, nil, sampleProgram())
	key := new(big.Int).Add(power(128), big.NewInt(7)) // no slot has it, so an absence is all that is claimed
	q, place := new(big.Int).DivMod(key, big.NewInt(Places), new(big.Int))
	f.setKey(s, element(key), q, place.Uint64())
	refused(t, "claim 1", s)
}

// Claims 1 and 3. A record that stands at another's place: everything fits except that the place is not the key's.
func TestForgedPlace(t *testing.T) {
	f, s := honest(t, sampleRecord(), sampleProgram())
	key := f.sec.Key.Element()
	q, _ := f.sec.Key.split()
	quotient := new(big.Int).Lsh(new(big.Int).SetUint64(q[0]), 64)
	quotient.Or(quotient, new(big.Int).SetUint64(q[1]))
	f.setKey(s, key, quotient, f.sec.Key.Place())
	if err := solve(t, s); err != nil {
		t.Fatal(err)
	}
	elsewhere := (f.sec.Key.Place() + 1) % Places
	f.setKey(s, key, quotient, elsewhere) // key and tag no longer fit
	refused(t, "claim 2", s)
	f.setKey(s, key, wrappedQuotient(key, elsewhere), elsewhere) // they do, modulo r
	refused(t, "claim 1", s)
	for i := range Levels { // a digit that is none, with the path of another
		_, s := honest(t, sampleRecord(), sampleProgram())
		s.Digits[i] = DigitInputs{1, 1}
		refused(t, "claim 1", s)
	}
}

// Claim 2. Another subject's or another nonce's tag.
func TestForgedTag(t *testing.T) {
	r := newRand(3)
	f, s := honest(t, sampleRecord(), sampleProgram())
	s.Tag = Tag(randKey(r), f.sec.TagNonce)
	refused(t, "claim 2", s)
	_, s = honest(t, sampleRecord(), sampleProgram())
	s.TagNonce = randElement(r)
	refused(t, "claim 2", s)
	_, s = honest(t, sampleRecord(), sampleProgram())
	s.Tag = 0
	refused(t, "claim 2", s)
}

// Claim 3. Another root, bucket or path.
func TestForgedPath(t *testing.T) {
	r := newRand(3)
	for i := range Levels {
		for j := range 2 {
			_, s := honest(t, sampleRecord(), sampleProgram())
			s.Siblings[i][j] = randElement(r)
			refused(t, "claim 3", s)
		}
	}
	changes := map[string]func(*Statement){
		"root":             func(s *Statement) { s.Root = randElement(r) },
		"neighbour's key":  func(s *Statement) { s.Bucket[0].Key = randElement(r) },
		"neighbour's leaf": func(s *Statement) { s.Bucket[0].Commitment = randElement(r) },
		"empty slot's key": func(s *Statement) { s.Bucket[2].Key = randElement(r) },
		"slots swapped":    func(s *Statement) { s.Bucket[0], s.Bucket[1] = s.Bucket[1], s.Bucket[0] },
		"siblings swapped": func(s *Statement) { s.Siblings[7][0], s.Siblings[7][1] = s.Siblings[7][1], s.Siblings[7][0] },
	}
	for name, change := range changes {
		_, s := honest(t, sampleRecord(), sampleProgram())
		change(s)
		refused(t, "claim 3: "+name, s)
	}
}

// Claim 3. A holder builds a tree whose leaf stands higher up: an inner node is no bucket, since their hashes differ in use, and the
// path has no fewer levels than 21.
func TestForgedLeafAboveLeafLevel(t *testing.T) {
	f, _ := honest(t, sampleRecord(), sampleProgram())
	place := f.sec.Key.Place()
	bucket := f.sec.Opening.Bucket.Hash()
	shorter := bucket // the bucket's hash as a node of level 1, the path continued from there
	for i, d := range digits(place) {
		if i == 0 {
			continue
		}
		children := f.sec.Opening.Siblings[i]
		node := map[uint8][3]fr.Element{0: {shorter, children[0], children[1]}, 1: {children[0], shorter, children[1]},
			2: {children[0], children[1], shorter}}[d]
		shorter = NodeHash(node[0], node[1], node[2])
	}
	s := f.assign(t)
	s.Root = shorter
	refused(t, "claim 3", s)
	asNode := NodeHash(f.sec.Opening.Bucket[0].Key, f.sec.Opening.Bucket[0].Commitment, f.sec.Opening.Bucket[1].Key)
	if asNode.Equal(&bucket) {
		t.Error("a bucket is a node")
	}
}

// Claim 4. Presence denied, absence denied, two answers from one bucket.
func TestForgedMembership(t *testing.T) {
	f, s := honest(t, sampleRecord(), sampleProgram())
	empty := new(Record)
	s.setRecord(empty) // the key is in the bucket; claim that it is not
	s.Verdict, s.Disclosed = uint64(NoRecord), [Columns]frontend.Variable{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	refused(t, "claim 4: a present subject is absent", s)

	_, s = honest(t, nil, sampleProgram())
	s.setRecord(sampleRecord()) // the key is in no slot; claim a record
	s.Verdict = uint64(Satisfied)
	for i := range s.Disclosed {
		s.Disclosed[i] = 0
	}
	s.Disclosed[0], s.Disclosed[12] = sampleRecord().Column(0), sampleRecord().Column(12)
	refused(t, "claim 4: an absent subject has a record", s)
	s.Disclosed[0], s.Disclosed[12] = 0, 0
	refused(t, "claim 5: an absent subject has columns", s)

	for _, second := range []fr.Element{f.sec.Opening.Bucket[1].Commitment, {}} { // the same record twice; another
		f, s = honest(t, sampleRecord(), sampleProgram())
		f.sec.Opening.Bucket[2] = Slot{f.sec.Key.Element(), second}
		s.Root = f.sec.Opening.Root(f.sec.Key.Place())
		s.Bucket[2] = SlotInputs{f.sec.Opening.Bucket[2].Key, second}
		refused(t, "claim 4: two slots", s)
	}
}

func (s *Statement) setRecord(r *Record) {
	for i, c := range r.Numeric {
		s.Numeric[i] = c
	}
	fill(s.Text[:], r.Text[:])
}

// Claim 4. A filler's commitment as a record: its key is above 2^128, so no key of a subject matches it.
func TestForgedFillerAsRecord(t *testing.T) {
	f, s := honest(t, sampleRecord(), sampleProgram())
	filler := f.sec.Key.Element()
	shift := element(power(128))
	filler.Add(&filler, &shift)
	f.sec.Opening.Bucket[1].Key = filler // the commitment is of a true record; the slot is a filler's
	s.Bucket[1].Key = filler
	s.Root = f.sec.Opening.Root(f.sec.Key.Place())
	refused(t, "claim 4", s)
	quotient := new(big.Int).Div(filler.BigInt(new(big.Int)), big.NewInt(Places))
	place := new(big.Int).Mod(filler.BigInt(new(big.Int)), big.NewInt(Places)).Uint64()
	f.setKey(s, filler, quotient, place)
	refused(t, "claim 1", s)
}

// Claim 5. Any column or the salt other than committed, and the two packings of one element.
func TestForgedColumns(t *testing.T) {
	r := newRand(3)
	for i := range Columns {
		f, _ := honest(t, sampleRecord(), sampleProgram())
		f.program.Gates = []Gate{{Threshold: 0}} // satisfied by anybody, so that only the commitment is in the way
		f.mask = [Columns]bool{}
		s := f.assign(t)
		if err := solve(t, s); err != nil {
			t.Fatal(err)
		}
		if i < NumericColumns {
			s.Numeric[i] = sampleRecord().Numeric[i] + 1
		} else {
			s.Text[i-NumericColumns] = randElement(r)
		}
		refused(t, "claim 5", s)
	}
	_, s := honest(t, sampleRecord(), sampleProgram())
	s.Salt = randElement(r)
	refused(t, "claim 5", s)

	f, s := honest(t, sampleRecord(), sampleProgram())
	first, second := f.sec.Record.Column(0), f.sec.Record.Column(1)
	shift, one := element(power(64)), fr.One()
	s.Numeric[0], s.Numeric[1] = *first.Sub(&first, &shift), *second.Add(&second, &one)
	s.Disclosed[0] = first
	refused(t, "claim 5: another packing", s)
}

// Claims 6 to 9. A verdict that follows only if one lookup, atom, text test or gate lies, with hints that help the lie.
func TestForgedEvaluation(t *testing.T) {
	lies := []solver.Option{
		liarInverse(func(_, out *big.Int) { out.SetInt64(0) }),
		liarInverse(func(_, out *big.Int) { out.SetInt64(1) }),
		liarInverse(func(_, out *big.Int) { out.Neg(out) }),
	}
	for _, lie := range bitLies {
		lies = append(lies, liarBits(lie))
	}
	cases := map[string]func(*Record, *Program){
		"claim 6: the row that is hit":   func(r *Record, _ *Program) { r.Numeric[2], r.Numeric[1] = code(302), code(2889) },
		"claim 6: the default":           func(r *Record, _ *Program) { r.Numeric[2] = code(299) },
		"claim 7: a sum of -1":           func(r *Record, _ *Program) { r.Numeric[0] = code(64) },
		"claim 7: a sum that is not 0":   func(_ *Record, p *Program) { p.Atoms[0].Test = EqualsZero },
		"claim 8: another text":          func(r *Record, p *Program) { r.Numeric[1] = code(1 << 40) },
		"claim 9: one below threshold":   func(_ *Record, p *Program) { p.Gates[1].Threshold = 4 },
		"claim 9: an earlier gate":       func(_ *Record, p *Program) { p.Gates[0].Threshold = 3 },
		"claim 10: an exempt column":     func(r *Record, _ *Program) { r.Numeric[3] = 0 },
		"claim 10: a used column":        func(r *Record, _ *Program) { r.Numeric[0] = 0 },
		"claim 10: a lookup that missed": func(r *Record, p *Program) { r.Numeric[2] = code(299); p.Lookups[0].MissIsMissing = true },
	}
	for name, change := range cases {
		record, p := sampleRecord(), sampleProgram()
		record.Text[0] = TextElement("east")
		change(record, p)
		_, s := honest(t, record, p)
		if s.Verdict == uint64(Satisfied) {
			t.Fatalf("%s: nothing to forge", name)
		}
		s.Verdict = uint64(Satisfied)
		refused(t, name, s)
		w, err := frontend.NewWitness(s, Curve.ScalarField())
		if err != nil {
			t.Fatal(err)
		}
		for i, lie := range lies {
			if _, err := system().Solve(w, lie); err == nil {
				t.Errorf("%s: lie %d is accepted", name, i)
			}
		}
	}
}

// Claim 10. Each situation has one verdict; no other number is accepted, small or large.
func TestForgedVerdict(t *testing.T) {
	short, folded := sampleRecord(), sampleProgram()
	short.Numeric[0] = 0
	folded.OnAbsent, folded.OnMissing = NotSatisfied, NotSatisfied
	for name, c := range map[string]struct {
		record *Record
		p      *Program
	}{
		"satisfied": {sampleRecord(), sampleProgram()}, "missing": {short, sampleProgram()}, "absent": {nil, sampleProgram()},
		"missing, folded": {short, folded}, "absent, folded": {nil, folded},
	} {
		_, s := honest(t, c.record, c.p)
		want := s.Verdict
		for _, v := range []any{uint64(0), uint64(1), uint64(2), uint64(3), uint64(4), -1} {
			if s.Verdict = v; v != want {
				refused(t, "claim 10: "+name, s)
			}
		}
	}
}

// Claim 11. Another value, a value outside the mask, a value withheld, a value of an absent subject.
func TestForgedDisclosure(t *testing.T) {
	for i := range Columns {
		for name, change := range map[string]func(*Statement, fr.Element){
			"another value": func(s *Statement, v fr.Element) { s.Mask[i] = 1; s.Disclosed[i] = *v.Double(&v) },
			"unmasked":      func(s *Statement, v fr.Element) { s.Mask[i] = 0; s.Disclosed[i] = v },
			"withheld":      func(s *Statement, v fr.Element) { s.Mask[i] = 1; s.Disclosed[i] = 0 },
		} {
			f, s := honest(t, sampleRecord(), sampleProgram())
			change(s, f.sec.Record.Column(i))
			refused(t, "claim 11: "+name, s)
		}
		_, s := honest(t, nil, sampleProgram())
		s.Mask[i], s.Disclosed[i] = 1, 5
		refused(t, "claim 11: of an absent subject", s)
	}
}

// Claim 12. A nullifier of another subject, scope or key; one where there is no scope; none where there is one.
func TestForgedNullifier(t *testing.T) {
	r := newRand(3)
	f, _ := honest(t, sampleRecord(), sampleProgram())
	otherKey := randElement(r)
	changes := map[string]func(*Statement){
		"another subject": func(s *Statement) { s.Nullifier = Nullifier(f.sec.ScopeKey, randKey(r), f.scope) },
		"another scope":   func(s *Statement) { s.Scope = randElement(r) },
		"another key": func(s *Statement) {
			s.ScopeKey, s.Nullifier = otherKey, Nullifier(otherKey, f.sec.Key, f.scope) // the commitment is the ledger's
		},
		"another commitment":    func(s *Statement) { s.ScopeKeyCommitment = ScopeKeyCommitment(otherKey) },
		"none":                  func(s *Statement) { s.Nullifier = 0 },
		"none, no commitment":   func(s *Statement) { s.Nullifier, s.ScopeKeyCommitment = 0, 0 },
		"no scope, a nullifier": func(s *Statement) { s.Scope, s.ScopeKeyCommitment = 0, 0 },
		"no scope, its own": func(s *Statement) {
			s.Scope, s.ScopeKeyCommitment, s.Nullifier = 0, 0, Nullifier(f.sec.ScopeKey, f.sec.Key, fr.Element{})
		},
		"no scope, a commitment": func(s *Statement) { s.Scope, s.Nullifier = 0, 0 },
	}
	for name, change := range changes {
		_, s := honest(t, sampleRecord(), sampleProgram())
		change(s)
		refused(t, "claim 12: "+name, s)
	}
}

// Claim 13 is of the proof system: no witness depends on the context, so only a proof can refuse another one. What the circuit owes is
// that the context is in a constraint, in both factors; package prover flips it under a real proof.
func TestContextIsSquared(t *testing.T) {
	i := 1 + 2 // after the constant 1, Root and Tag
	if name := publicWireNames(t)[i-1]; name != "Context" {
		t.Fatal(name)
	}
	found := false
	for _, c := range rawConstraints() {
		found = found || (len(c.L) == 1 && len(c.R) == 1 && c.L[0].WireID() == i && c.R[0].WireID() == i)
	}
	if !found {
		t.Fatal("the context is in no constraint")
	}
}
