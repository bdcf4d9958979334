package circuits

import (
	"maps"
	"math/big"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
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

// refusals collects which assertions each forgery breaks.
type refusals struct {
	alone map[int]bool // assertions that some forgery breaks and nothing else, in order of Define
}

// check says that the solver refuses a forgery.
func (r *refusals) check(t *testing.T, claim string, s *Statement) {
	t.Helper()
	if solve(t, s) == nil {
		t.Errorf("%s: accepted", claim)
	} else if n, ok := acceptedWithALie(t, s, moreLies()); ok {
		t.Errorf("%s: accepted with lie %d", claim, n)
	}
	if stopAtFirst {
		if t.Failed() {
			t.FailNow()
		}
		return
	}
	if broken := watch(t, s).broken; len(broken) == 1 {
		r.alone[broken[0]] = true
	}
}

var forgeries = []struct {
	name  string
	forge func(*testing.T, *refusals)
}{
	{"OtherSubject", forgedOtherSubject},
	{"RecordWithoutValues", forgedRecordWithoutValues},
	{"Elsewhere", forgedElsewhere},
	{"KeyOutOfRange", forgedKeyOutOfRange},
	{"EmptySlotAsAbsentSubject", forgedEmptySlotAsAbsentSubject},
	{"Place", forgedPlace},
	{"Digits", forgedDigits},
	{"Tag", forgedTag},
	{"Path", forgedPath},
	{"LeafAboveLeafLevel", forgedLeafAboveLeafLevel},
	{"NodeAsLeaf", forgedNodeAsLeaf},
	{"Membership", forgedMembership},
	{"DoublePresence", forgedDoublePresence},
	{"FillerAsRecord", forgedFillerAsRecord},
	{"Columns", forgedColumns},
	{"ColumnRanges", forgedColumnRanges},
	{"Evaluation", forgedEvaluation},
	{"Verdict", forgedVerdict},
	{"Disclosure", forgedDisclosure},
	{"Nullifier", forgedNullifier},
}

// Every assertion of the statement is broken by some forgery that breaks no other: with that one deleted, the forgery would pass.
func TestForgeries(t *testing.T) {
	r := &refusals{alone: map[int]bool{}}
	for _, f := range forgeries {
		t.Run(f.name, func(t *testing.T) { f.forge(t, r) })
	}
	if t.Failed() || stopAtFirst {
		return
	}
	_, s := honest(t, sampleRecord(), sampleProgram())
	for i, name := range watch(t, s).assertions {
		// The bits of sums are not asserted but read: of well-formed programs every sum fits. Gadget tests lie about them.
		isSum := name == "100 bits" || name == "11 bits"
		if !r.alone[i] && !isSum {
			t.Errorf("no forgery breaks assertion %d (%s) alone", i, name)
		}
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
func forgedKeyOutOfRange(t *testing.T, r *refusals) {
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
func forgedEmptySlotAsAbsentSubject(t *testing.T, r *refusals) {
	f, s := honest(t, nil, sampleProgram())
	key := new(big.Int).Add(power(128), big.NewInt(7)) // no slot has it, so an absence is all that is claimed
	q, place := new(big.Int).DivMod(key, big.NewInt(Places), new(big.Int))
	f.setKey(s, element(key), q, place.Uint64())
	r.check(t, "claim 1", s)
}

// Claims 1 and 3. A record that stands at another's place: everything fits except that the place is not the key's.
func forgedPlace(t *testing.T, r *refusals) {
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
	r.check(t, "claim 2", s)
	f.setKey(s, key, wrappedQuotient(key, elsewhere), elsewhere) // they do, modulo r
	r.check(t, "claim 1", s)
	for i := range Levels { // a digit that is none, with the path of another
		if !sample(i) {
			continue
		}
		_, s := honest(t, sampleRecord(), sampleProgram())
		s.Digits[i] = DigitInputs{1, 1}
		r.check(t, "claim 1", s)
	}
}

// Claim 1. A digit whose bits are not those of 0, 1 or 2. The key is what the digits add up to, and the holder's tree has the nodes
// that such digits lead through, so nothing else is wrong.
func forgedDigits(t *testing.T, r *refusals) {
	for i := range Levels {
		if !sample(i) {
			continue
		}
		for _, bits := range [][2]int64{{-1, 1}, {1, -1}, {1, 1}} {
			f, s := honest(t, sampleRecord(), sampleProgram())
			d := digits(Places / 2)
			quotient := big.NewInt(12345)
			key := new(big.Int).Mul(quotient, big.NewInt(Places))
			weight := big.NewInt(1)
			var is1, is2 [Levels]fr.Element
			for j := range d {
				is1[j], is2[j] = bit(d[j] == 1), bit(d[j] == 2)
				digit := int64(d[j])
				if j == i {
					is1[j].SetInt64(bits[0])
					is2[j].SetInt64(bits[1])
					digit = bits[0] + 2*bits[1]
				}
				key.Add(key, new(big.Int).Mul(weight, big.NewInt(digit)))
				weight.Mul(weight, big.NewInt(3))
			}
			f.sec.Opening.Bucket[1].Key = element(key)
			f.setKey(s, element(key), quotient, 0)
			for j := range d {
				s.Digits[j] = DigitInputs{is1[j], is2[j]}
			}
			s.Root = strangeRoot(&f.sec.Opening, &is1, &is2)
			r.check(t, "claim 1", s)
		}
	}
}

// strangeRoot is the circuit's formula for a path, for digits of any kind.
func strangeRoot(o *Opening, is1, is2 *[Levels]fr.Element) fr.Element {
	return o.rootBy(o.Bucket.Hash(), is1, is2)
}

func (o *Opening) rootBy(current fr.Element, is1, is2 *[Levels]fr.Element) fr.Element {
	for i := range is1 {
		s0, s1 := o.Siblings[i][0], o.Siblings[i][1]
		var first, second, third fr.Element
		is0 := fr.One()
		is0.Sub(&is0, &is1[i]).Sub(&is0, &is2[i])
		first.Sub(&current, &s0).Mul(&first, &is0).Add(&first, &s0)
		third.Sub(&current, &s1).Mul(&third, &is2[i]).Add(&third, &s1)
		second.Add(&current, &s0).Add(&second, &s1).Sub(&second, &first).Sub(&second, &third)
		current = NodeHash(first, second, third)
	}
	return current
}

// Claim 2. Another subject's or another nonce's tag.
func forgedTag(t *testing.T, r *refusals) {
	random := newRand(3)
	f, s := honest(t, sampleRecord(), sampleProgram())
	s.Tag = Tag(randKey(random), f.sec.TagNonce)
	r.check(t, "claim 2", s)
	_, s = honest(t, sampleRecord(), sampleProgram())
	s.TagNonce = randElement(random)
	r.check(t, "claim 2", s)
	_, s = honest(t, sampleRecord(), sampleProgram())
	s.Tag = 0
	r.check(t, "claim 2", s)
}

// Claim 3. Another root, bucket or path.
func forgedPath(t *testing.T, r *refusals) {
	random := newRand(3)
	for i := range Levels {
		for j := range 2 {
			if !sample(i) {
				continue
			}
			_, s := honest(t, sampleRecord(), sampleProgram())
			s.Siblings[i][j] = randElement(random)
			r.check(t, "claim 3", s)
		}
	}
	changes := map[string]func(*Statement){
		"root":             func(s *Statement) { s.Root = randElement(random) },
		"neighbour's key":  func(s *Statement) { s.Bucket[0].Key = randElement(random) },
		"neighbour's leaf": func(s *Statement) { s.Bucket[0].Commitment = randElement(random) },
		"empty slot's key": func(s *Statement) { s.Bucket[2].Key = randElement(random) },
		"slots swapped":    func(s *Statement) { s.Bucket[0], s.Bucket[1] = s.Bucket[1], s.Bucket[0] },
		"siblings swapped": func(s *Statement) { s.Siblings[7][0], s.Siblings[7][1] = s.Siblings[7][1], s.Siblings[7][0] },
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		change := changes[name]
		_, s := honest(t, sampleRecord(), sampleProgram())
		change(s)
		r.check(t, "claim 3: "+name, s)
	}
}

// Claim 3. A holder builds a tree whose leaf stands higher up: an inner node is no bucket, since their hashes differ in use, and the
// path has no fewer levels than 21.
func forgedLeafAboveLeafLevel(t *testing.T, r *refusals) {
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
	r.check(t, "claim 3", s)
	s.Siblings[0] = [2]frontend.Variable{0, 0}
	r.check(t, "claim 3: a path of 20 levels", s)
}

// Claim 3. A node where a bucket belongs, and a bucket's hash by the permutation of another use: each has the bucket's contents.
func forgedNodeAsLeaf(t *testing.T, r *refusals) {
	for _, use := range uses {
		if use == UseBucket3 {
			continue
		}
		f, s := honest(t, sampleRecord(), sampleProgram())
		b := &f.sec.Opening.Bucket
		h := Hash(UseBucket1, b[0].Key, b[0].Commitment, b[1].Key)
		h = Hash(UseBucket2, h, b[1].Commitment, b[2].Key)
		s.Root = f.sec.Opening.rootAbove(Hash(use, h, b[2].Commitment, fr.Element{}), f.sec.Key.Place())
		r.check(t, "claim 3: "+string(use)+" as a bucket", s)
	}
}

// rootAbove is the root above a node or element that stands where the bucket's hash should.
func (o *Opening) rootAbove(leaf fr.Element, place uint64) fr.Element {
	var is1, is2 [Levels]fr.Element
	for i, d := range digits(place) {
		is1[i], is2[i] = bit(d == 1), bit(d == 2)
	}
	return o.rootBy(leaf, &is1, &is2)
}

// Claim 4. Presence denied, absence denied, two answers from one bucket.
func forgedMembership(t *testing.T, r *refusals) {
	f, s := honest(t, sampleRecord(), sampleProgram())
	empty := new(Record)
	s.setRecord(empty) // the key is in the bucket; claim that it is not
	s.Verdict, s.Disclosed = uint64(NoRecord), [Columns]frontend.Variable{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	r.check(t, "claim 4: a present subject is absent", s)

	_, s = honest(t, nil, sampleProgram())
	s.setRecord(sampleRecord()) // the key is in no slot; claim a record
	s.Verdict = uint64(Satisfied)
	for i := range s.Disclosed {
		s.Disclosed[i] = 0
	}
	s.Disclosed[0], s.Disclosed[12] = sampleRecord().Column(0), sampleRecord().Column(12)
	r.check(t, "claim 4: an absent subject has a record", s)
	s.Verdict = uint64(NoRecord)
	r.check(t, "claim 5: an absent subject discloses columns", s)
	s.Disclosed[0], s.Disclosed[12], s.Mask[0], s.Mask[12] = 0, 0, 0, 0
	r.check(t, "claim 5: an absent subject has columns", s)

	for i := range Columns { // one column of an absent subject, shown or not
		if !sample(i) {
			continue
		}
		_, s = honest(t, nil, sampleProgram())
		c := sampleRecord().Column(i)
		if i < NumericColumns {
			s.Numeric[i] = c
		} else {
			s.Text[i-NumericColumns] = c
		}
		if i == 0 || i == 12 { // the mask's
			s.Disclosed[i] = c
		}
		r.check(t, "claim 5: an absent subject has a column", s)
	}

	for _, second := range []fr.Element{f.sec.Opening.Bucket[1].Commitment, {}} { // the same record twice; another
		f, s = honest(t, sampleRecord(), sampleProgram())
		f.sec.Opening.Bucket[2] = Slot{f.sec.Key.Element(), second}
		s.Root = f.sec.Opening.Root(f.sec.Key.Place())
		s.Bucket[2] = SlotInputs{f.sec.Opening.Bucket[2].Key, second}
		r.check(t, "claim 4: two slots", s)
	}
}

func (s *Statement) setRecord(r *Record) {
	for i, c := range r.Numeric {
		s.Numeric[i] = c
	}
	fill(s.Text[:], r.Text[:])
}

// Claim 4. A filler's commitment as a record: its key is above 2^128, so no key of a subject matches it.
func forgedFillerAsRecord(t *testing.T, r *refusals) {
	f, s := honest(t, sampleRecord(), sampleProgram())
	filler := f.sec.Key.Element()
	shift := element(power(128))
	filler.Add(&filler, &shift)
	f.sec.Opening.Bucket[1].Key = filler // the commitment is of a true record; the slot is a filler's
	s.Bucket[1].Key = filler
	s.Root = f.sec.Opening.Root(f.sec.Key.Place())
	r.check(t, "claim 4", s)
	quotient := new(big.Int).Div(filler.BigInt(new(big.Int)), big.NewInt(Places))
	place := new(big.Int).Mod(filler.BigInt(new(big.Int)), big.NewInt(Places)).Uint64()
	f.setKey(s, filler, quotient, place)
	r.check(t, "claim 1", s)
}

// Claim 5. Any column or the salt other than committed, and the two packings of one element.
func forgedColumns(t *testing.T, r *refusals) {
	random := newRand(3)
	for i := range Columns {
		if !sample(i) {
			continue
		}
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
			s.Text[i-NumericColumns] = randElement(random)
		}
		r.check(t, "claim 5", s)
	}
	_, s := honest(t, sampleRecord(), sampleProgram())
	s.Salt = randElement(random)
	r.check(t, "claim 5", s)

	f, s := honest(t, sampleRecord(), sampleProgram())
	first, second := f.sec.Record.Column(0), f.sec.Record.Column(1)
	shift, one := element(power(64)), fr.One()
	s.Numeric[0], s.Numeric[1] = *first.Sub(&first, &shift), *second.Add(&second, &one)
	s.Disclosed[0] = first
	r.check(t, "claim 5: another packing", s)
}

// Claim 5. Three columns that pack into the committed element though one of them is out of range: one low column and the high one,
// changed against each other modulo r.
func forgedColumnRanges(t *testing.T, r *refusals) {
	anybody := sampleProgram()
	anybody.Gates = []Gate{{Threshold: 0}}
	anybody.Atoms, anybody.Lookups, anybody.TextTests, anybody.Exempt = nil, nil, nil, nil
	for i := range NumericColumns {
		if !sample(i) {
			continue
		}
		f, _ := honest(t, sampleRecord(), anybody)
		f.mask = [Columns]bool{}
		s := f.assign(t)
		low := i / 3 * 3
		if low == i {
			low++
		}
		// column i goes up by x, column low by 1, such that x * 2^(64 i) + 2^(64 low) = 0
		x, weight := element(power(uint(64*(low%3)))), element(power(uint(64*(i%3))))
		x.Neg(&x).Div(&x, &weight)
		column := f.sec.Record.Column(i)
		s.Numeric[i] = *column.Add(&column, &x)
		s.Numeric[low] = f.sec.Record.Numeric[low] + 1
		r.check(t, "claim 5: another packing", s)
	}
}

// Claim 4. One record without values in two or three slots: present would be 2 or 3, and the verdict that many times what it is.
func forgedDoublePresence(t *testing.T, r *refusals) {
	anybody := &Program{Gates: []Gate{{Threshold: 0}}, OnAbsent: NotSatisfied, OnMissing: Indeterminate}
	f, _ := honest(t, new(Record), anybody)
	f.mask = [Columns]bool{}
	s := f.assign(t)
	for n, i := range []int{2, 0} {
		f.sec.Opening.Bucket[i] = f.sec.Opening.Bucket[1]
		s.Bucket[i] = s.Bucket[1]
		s.Root = f.sec.Opening.Root(f.sec.Key.Place())
		s.Verdict = n + 2 // indeterminate, then no_record
		r.check(t, "claim 4", s)
	}
}

// evaluationLies make the sample record and program not satisfied, each through one part of the evaluation.
var evaluationLies = map[string]func(*Record, *Program){
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

// Claims 6 to 9. A verdict that follows only if one lookup, atom, text test or gate lies, with hints that help the lie.
func forgedEvaluation(t *testing.T, r *refusals) {
	lies := hintLies()
	if stopAtFirst {
		lies = nil // gnark's own gadgets are not what a mutant changes
	}
	for _, name := range slices.Sorted(maps.Keys(evaluationLies)) {
		change := evaluationLies[name]
		record, p := sampleRecord(), sampleProgram()
		record.Text[0] = TextElement("east")
		change(record, p)
		_, s := honest(t, record, p)
		if s.Verdict == uint64(Satisfied) {
			t.Fatalf("%s: nothing to forge", name)
		}
		s.Verdict = uint64(Satisfied)
		honest(t, sampleRecord(), sampleProgram()) // satisfied: what a wire that may be chosen would want to be
		r.check(t, name, s)
		if n, ok := acceptedWithALie(t, s, lies); ok {
			t.Errorf("%s: lie %d is accepted", name, n)
		}
	}
}

// Claim 10. Each situation has one verdict; no other number is accepted, small or large.
func forgedVerdict(t *testing.T, r *refusals) {
	short, folded := sampleRecord(), sampleProgram()
	short.Numeric[0] = 0
	folded.OnAbsent, folded.OnMissing = NotSatisfied, NotSatisfied
	for _, c := range []struct {
		name   string
		record *Record
		p      *Program
	}{
		{"satisfied", sampleRecord(), sampleProgram()}, {"missing", short, sampleProgram()}, {"absent", nil, sampleProgram()},
		{"missing, folded", short, folded}, {"absent, folded", nil, folded},
	} {
		_, s := honest(t, c.record, c.p)
		want := s.Verdict
		for _, v := range []any{uint64(0), uint64(1), uint64(2), uint64(3), uint64(4), -1} {
			if s.Verdict = v; v != want {
				r.check(t, "claim 10: "+c.name, s)
			}
		}
	}
}

// Claim 11. Another value, a value outside the mask, a value withheld, a value of an absent subject.
func forgedDisclosure(t *testing.T, r *refusals) {
	for i := range Columns {
		if !sample(i) {
			continue
		}
		for _, c := range []struct {
			name   string
			change func(*Statement, fr.Element)
		}{
			{"another value", func(s *Statement, v fr.Element) { s.Mask[i] = 1; s.Disclosed[i] = *v.Double(&v) }},
			{"unmasked", func(s *Statement, v fr.Element) { s.Mask[i] = 0; s.Disclosed[i] = v }},
			{"withheld", func(s *Statement, v fr.Element) { s.Mask[i] = 1; s.Disclosed[i] = 0 }},
		} {
			f, s := honest(t, sampleRecord(), sampleProgram())
			c.change(s, f.sec.Record.Column(i))
			r.check(t, "claim 11: "+c.name, s)
		}
		_, s := honest(t, nil, sampleProgram())
		s.Mask[i], s.Disclosed[i] = 1, 5
		r.check(t, "claim 11: of an absent subject", s)
	}
}

// Claim 12. A nullifier of another subject, scope or key; one where there is no scope; none where there is one.
func forgedNullifier(t *testing.T, r *refusals) {
	random := newRand(3)
	f, _ := honest(t, sampleRecord(), sampleProgram())
	otherKey := randElement(random)
	chosen = []fr.Element{otherKey}
	defer func() { chosen = nil }()
	changes := map[string]func(*Statement){
		"another subject": func(s *Statement) { s.Nullifier = Nullifier(f.sec.ScopeKey, randKey(random), f.scope) },
		"another scope":   func(s *Statement) { s.Scope = randElement(random) },
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
		"no scope, both": func(s *Statement) {
			s.Scope, s.Nullifier = 0, Nullifier(f.sec.ScopeKey, f.sec.Key, fr.Element{})
		},
		"no scope, a commitment": func(s *Statement) { s.Scope, s.Nullifier = 0, 0 },
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		change := changes[name]
		_, s := honest(t, sampleRecord(), sampleProgram())
		change(s)
		r.check(t, "claim 12: "+name, s)
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
