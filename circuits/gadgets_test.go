package circuits

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/frontend"
	"pgregory.net/rapid"
)

// subjectKeyGadget takes the quotient and the digits' bits and gives the key.
func subjectKeyGadget(t testing.TB) *gadget {
	return newGadget(t, 1+2*Levels, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		d := digitInputs(in[1:])
		return []frontend.Variable{subjectKey(api, in[0], &d)}
	})
}

func digitInputs(in []frontend.Variable) (d [Levels]DigitInputs) {
	for i := range d {
		d[i] = DigitInputs{in[2*i], in[2*i+1]}
	}
	return d
}

// splitInputs are the gadget's inputs for a quotient and a place.
func splitInputs(quotient *big.Int, place uint64) []fr.Element {
	in := []fr.Element{element(quotient)}
	for _, d := range digits(place) {
		in = append(in, bit(d == 1), bit(d == 2))
	}
	return in
}

func TestSubjectKeyBoundaries(t *testing.T) {
	g := subjectKeyGadget(t)
	one := big.NewInt(1)
	below := func(n uint) *big.Int { return new(big.Int).Sub(power(n), one) }
	split := func(n *big.Int) []fr.Element {
		q, r := new(big.Int).DivMod(n, big.NewInt(Places), new(big.Int))
		return splitInputs(q, r.Uint64())
	}
	for _, n := range []*big.Int{new(big.Int), one, below(63), power(63), below(64), power(64), power(127), below(128),
		big.NewInt(Places), big.NewInt(Places - 1)} {
		g.computes(t, split(n), element(n))
	}
	last := new(big.Int).Sub(fr.Modulus(), one)
	for _, n := range []*big.Int{power(128), new(big.Int).Add(power(128), one), power(129), last} {
		g.refuses(t, split(n), element(n))
	}
}

// A quotient taken modulo r makes any place give any key; the quotient's range refuses it.
func TestSubjectKeyRefusesWrappedQuotient(t *testing.T) {
	g := subjectKeyGadget(t)
	r := newRand(1)
	for range 20 {
		key := randKey(r)
		place := r.Uint64N(Places)
		if place == key.Place() {
			continue
		}
		g.refuses(t, splitInputs(wrappedQuotient(key.Element(), place), place), key.Element())
	}
}

// wrappedQuotient solves key = q * 3^21 + place in the field.
func wrappedQuotient(key fr.Element, place uint64) *big.Int {
	var q fr.Element
	p, size := fr.NewElement(place), fr.NewElement(Places)
	q.Sub(&key, &p).Div(&q, &size)
	return q.BigInt(new(big.Int))
}

func TestSubjectKeyRefusesDigits(t *testing.T) {
	g := subjectKeyGadget(t)
	for name, change := range map[string]func(in []fr.Element){
		"3":                        func(in []fr.Element) { in[1].SetOne(); in[2].SetOne() },
		"2 as twice 1":             func(in []fr.Element) { in[1].SetUint64(2) },
		"-1":                       func(in []fr.Element) { in[1].SetInt64(-1) },
		"1 as half of 2":           func(in []fr.Element) { in[2].SetUint64(2); in[2].Inverse(&in[2]) },
		"the bits 2 and -1, sum 1": func(in []fr.Element) { in[1].SetUint64(2); in[2].SetInt64(-1) },
	} {
		in := splitInputs(big.NewInt(5), 0)
		change(in)
		var key, part fr.Element
		key.SetUint64(5 * Places)
		part.Double(&in[2]).Add(&part, &in[1])
		key.Add(&key, &part)
		if g.solve(t, in, []fr.Element{key}) == nil {
			t.Errorf("the digit %s is accepted", name)
		}
	}
}

func TestEpochRootIsOpeningRoot(t *testing.T) {
	g := newGadget(t, 1+4*Levels, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		d := digitInputs(in[1:])
		var siblings [Levels][2]frontend.Variable
		for i := range siblings {
			siblings[i] = [2]frontend.Variable(in[1+2*Levels+2*i:][:2])
		}
		return []frontend.Variable{epochRoot(api, in[0], &d, &siblings)}
	})
	r := newRand(1)
	for _, place := range []uint64{0, 1, 2, 3, Places - 1, Places / 2, r.Uint64N(Places), r.Uint64N(Places)} {
		o := Opening{Bucket: EmptyBucket()}
		in := splitInputs(new(big.Int), place)
		in[0] = o.Bucket.Hash()
		for i := range o.Siblings {
			o.Siblings[i] = [2]fr.Element{randElement(r), randElement(r)}
			in = append(in, o.Siblings[i][:]...)
		}
		g.computes(t, in, o.Root(place))
	}
}

func slotsOf(in []frontend.Variable) (b [Slots]SlotInputs) {
	for i := range b {
		b[i] = SlotInputs{in[2*i], in[2*i+1]}
	}
	return b
}

func TestBucketHashGadgetIsBucketHash(t *testing.T) {
	g := newGadget(t, 2*Slots, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		b := slotsOf(in)
		return []frontend.Variable{bucketHash(api, &b)}
	})
	r := newRand(1)
	b := Bucket{{randElement(r), randElement(r)}, EmptyBucket()[0], {randElement(r), randElement(r)}}
	g.computes(t, []fr.Element{b[0].Key, b[0].Commitment, b[1].Key, b[1].Commitment, b[2].Key, b[2].Commitment}, b.Hash())
}

func TestMatch(t *testing.T) {
	g := newGadget(t, 1+2*Slots, 2, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		b := slotsOf(in[1:])
		present, commitment := match(api, &b, in[0])
		return []frontend.Variable{present, commitment}
	})
	g.computes(t, elements(7, 1, 10, 7, 20, 3, 30), elements(1, 20)...)
	g.computes(t, elements(1, 1, 10, 7, 20, 3, 30), elements(1, 10)...)
	g.computes(t, elements(3, 1, 10, 7, 20, 3, 30), elements(1, 30)...)
	g.computes(t, elements(4, 1, 10, 7, 20, 3, 30), elements(0, 0)...)
	g.computes(t, elements(0, 0, 0, 7, 20, -1, 30), elements(1, 0)...)
	for _, present := range []int64{0, 1, 2, 3} {
		g.refuses(t, elements(7, 7, 10, 7, 20, 3, 30), elements(present, 30)...)
		g.refuses(t, elements(7, 7, 10, 7, 10, 3, 30), elements(present, 10)...)
		g.refuses(t, elements(7, 7, 10, 7, 10, 7, 10), elements(present, 10)...)
	}
	lie := liarInverse(func(in, out *big.Int) { out.Add(out, big.NewInt(1)) })
	if g.solve(t, elements(7, 1, 10, 7, 20, 3, 30), elements(0, 0), lie) == nil {
		t.Error("a wrong inverse hides a match")
	}
	claim := liarInverse(func(in, out *big.Int) { out.SetInt64(0) })
	if g.solve(t, elements(4, 1, 10, 7, 20, 3, 30), elements(1, 30), claim) == nil {
		t.Error("a zero inverse makes a match")
	}
}

func columnsOf(api frontend.API, in []frontend.Variable) *columnInputs {
	return newColumns(api, [NumericColumns]frontend.Variable(in[:NumericColumns]), [TextColumns]frontend.Variable(in[NumericColumns:Columns]))
}

func recordElements(r *Record) []fr.Element {
	var e []fr.Element
	for i := range Columns {
		e = append(e, r.Column(i))
	}
	return e
}

func TestCommitmentGadgetIsCommitment(t *testing.T) {
	g := newGadget(t, Columns+1, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		return []frontend.Variable{columnsOf(api, in).commitment(api, in[Columns])}
	})
	r := newRand(1)
	extreme := sampleRecord()
	extreme.Numeric[0], extreme.Numeric[4], extreme.Numeric[8] = 1<<64-1, 1, 1<<63
	for _, record := range []*Record{sampleRecord(), new(Record), extreme} {
		salt := randElement(r)
		g.computes(t, append(recordElements(record), salt), record.Commitment(salt))
	}
}

// Two packings of one element would give one commitment two meanings.
func TestNumericColumnsHave64Bits(t *testing.T) {
	g := newGadget(t, Columns+1, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		return []frontend.Variable{columnsOf(api, in).commitment(api, in[Columns])}
	})
	record := sampleRecord()
	salt := fr.NewElement(5)
	want := record.Commitment(salt)
	in := append(recordElements(record), salt)
	g.computes(t, in, want)
	shift := element(power(64))
	for i := range NumericColumns {
		if i%3 == 2 {
			continue
		}
		forged := append([]fr.Element(nil), in...) // the same pack: 2^64 more here, 1 less there
		one := fr.One()
		forged[i].Add(&forged[i], &shift)
		forged[i+1].Sub(&forged[i+1], &one)
		g.refuses(t, forged, want)
		forged = append([]fr.Element(nil), in...)
		forged[i].Sub(&forged[i], &shift)
		forged[i+1].Add(&forged[i+1], &one)
		g.refuses(t, forged, want)
	}
	for name, lie := range bitLies {
		if g.solve(t, in, []fr.Element{want}, liarBits(lie)) == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestNumericColumnBoundaries(t *testing.T) {
	g := newGadget(t, Columns, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		return []frontend.Variable{columnsOf(api, in).missing[0]}
	})
	with := func(n *big.Int) []fr.Element {
		in := make([]fr.Element, Columns)
		in[0] = element(n)
		return in
	}
	one := big.NewInt(1)
	g.computes(t, with(new(big.Int)), fr.One())
	for _, n := range []*big.Int{one, power(63), new(big.Int).Sub(power(63), one), new(big.Int).Sub(power(64), one)} {
		g.computes(t, with(n), fr.Element{})
	}
	for _, n := range []*big.Int{power(64), new(big.Int).Add(power(64), one), power(127), power(128), new(big.Int).Sub(fr.Modulus(), one)} {
		g.refuses(t, with(n), fr.Element{})
		g.refuses(t, with(n), fr.One())
	}
}

func TestLookupGadgetIsLookup(t *testing.T) {
	const in = NumericColumns + 2*LookupPairs + 2 + NumericColumns
	g := newGadget(t, in, 2, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		l := LookupInputs{Select: [NumericColumns]frontend.Variable(in[:12]), Keys: [LookupPairs]frontend.Variable(in[12:28]),
			Values: [LookupPairs]frontend.Variable(in[28:44]), Default: in[44], MissIsMissing: in[45]}
		values := [NumericColumns]frontend.Variable(in[46:])
		result, missed := l.apply(api, &values)
		return []frontend.Variable{result, missed}
	})
	var noInverse = liarInverse(func(_, out *big.Int) { out.SetInt64(0) })
	rapid.Check(t, func(rt *rapid.T) {
		p := &Program{Lookups: []Lookup{drawLookup(rt)}, Gates: []Gate{{}}}
		record := drawRecord(rt, p)
		if record == nil {
			record = new(Record)
		}
		l := p.layout().lookups[0]
		in := append([]fr.Element(nil), l.selector[:]...)
		in = append(append(in, l.keys[:]...), l.values[:]...)
		in = append(in, l.fallback, l.missIsMissing)
		for _, c := range record.Numeric {
			var v fr.Element
			in = append(in, *v.SetInt64(signed(c)))
		}
		results, missed := p.lookups(record)
		var result fr.Element
		result.SetInt64(results[0])
		g.computes(t, in, result, bit(missed))
		g.refuses(t, in, result, bit(!missed))
		if g.solve(t, in, []fr.Element{result, bit(missed)}, noInverse) == nil {
			rt.Fatal("hints that invert nothing are accepted")
		}
	})
}

func TestAtomGadgetIsAtom(t *testing.T) {
	const columns, lookups = NumericColumns, Lookups
	g := newGadget(t, 2*columns+2*lookups+2, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		a := AtomInputs{Columns: [columns]frontend.Variable(in[:12]), Lookups: [lookups]frontend.Variable(in[12:16]),
			Constant: in[16], EqualsZero: in[17]}
		values, results := [columns]frontend.Variable(in[18:30]), [lookups]frontend.Variable(in[30:])
		return []frontend.Variable{a.holds(api, &values, &results)}
	})
	check := func(a *Atom, record *Record, results [Lookups]int64) {
		t.Helper()
		in, want := atomElements(a, record, results), bit(a.holds(record, results))
		g.computes(t, in, want)
		for name, lie := range bitLies {
			var other fr.Element
			one := fr.One()
			other.Sub(&one, &want)
			if g.solve(t, in, []fr.Element{other}, liarBits(lie)) == nil {
				t.Fatalf("%s gives the other answer", name)
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		a := drawAtom(rt, Lookups)
		record := drawRecord(rt, &Program{})
		if record == nil {
			record = new(Record)
		}
		var results [Lookups]int64
		for i := range results {
			results[i] = drawInt(rt, "result")
		}
		check(&a, record, results)
	})
	for _, constant := range []int64{-8, -7, -6} { // a sum of 0 and its neighbours
		for _, test := range []Test{AtLeastZero, EqualsZero} {
			record := extremeRecord(code(7))
			check(&Atom{Columns: []Term{{3, 1}}, Constant: constant, Test: test}, record, [Lookups]int64{})
		}
	}
	for _, a := range extremeAtoms() {
		check(&a, extremeRecord(0), [Lookups]int64{-1 << 63, -1 << 63, -1 << 63, -1 << 63})
		check(&a, extremeRecord(1<<64-1), [Lookups]int64{1<<63 - 1, 1<<63 - 1, 1<<63 - 1, 1<<63 - 1})
	}
}

// atomElements are the gadget's inputs: the atom, the numbers, the lookups' results.
func atomElements(a *Atom, record *Record, results [Lookups]int64) []fr.Element {
	l := (&Program{Atoms: []Atom{*a}, Gates: []Gate{{}}}).layout().atoms[0]
	in := append(append([]fr.Element(nil), l.columns[:]...), l.lookups[:]...)
	in = append(in, l.constant, l.equalsZero)
	for _, c := range record.Numeric {
		in = append(in, elements(signed(c))...)
	}
	return append(in, elements(results[:]...)...)
}

// extremeAtoms have sums as far from zero as they go.
func extremeAtoms() []Atom {
	var atoms []Atom
	for _, c := range []int32{-1 << 31, 1<<31 - 1} {
		for _, constant := range []int64{-1 << 63, 0, 1<<63 - 1} {
			a := Atom{Constant: constant, Test: AtLeastZero}
			for i := range NumericColumns {
				a.Columns = append(a.Columns, Term{i, c})
			}
			for i := range Lookups {
				a.Lookups = append(a.Lookups, LookupTerm{i, c})
			}
			atoms = append(atoms, a)
		}
	}
	return atoms
}

func extremeRecord(code uint64) *Record {
	r := new(Record)
	for i := range r.Numeric {
		r.Numeric[i] = code
	}
	return r
}

func TestTextTestGadget(t *testing.T) {
	g := newGadget(t, 2*TextColumns+1, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		test := TextTestInputs{[TextColumns]frontend.Variable(in[:4]), in[4]}
		text := [TextColumns]frontend.Variable(in[5:])
		return []frontend.Variable{test.holds(api, &text)}
	})
	g.computes(t, elements(0, 1, 0, 0, 7, 5, 7, 8, 9), fr.One())
	g.computes(t, elements(0, 1, 0, 0, 8, 5, 7, 8, 9), fr.Element{})
	g.computes(t, elements(0, 0, 0, 1, 0, 5, 7, 8, 0), fr.One())
	g.computes(t, elements(0, 0, 0, 1, -1, 5, 7, 8, -1), fr.One())
	g.computes(t, elements(0, 0, 0, 0, 0, 5, 7, 8, 9), fr.One())
}

func TestGateGadgetIsGate(t *testing.T) {
	const earlier = Gates - 1
	const items = Atoms + TextTests + earlier
	g := newGadget(t, 2*items+1, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		gate := GateInputs{[Atoms]frontend.Variable(in[:12]), [TextTests]frontend.Variable(in[12:16]), in[16]}
		atoms, texts := [Atoms]frontend.Variable(in[24:36]), [TextTests]frontend.Variable(in[36:40])
		return []frontend.Variable{gate.holds(api, &atoms, &texts, in[17:24], in[40:])}
	})
	rapid.Check(t, func(rt *rapid.T) {
		gate := drawGate(rt, Atoms, TextTests, earlier)
		var holds []bool
		var weights []int
		weights = append(append(append(weights, gate.Atoms...), gate.Texts...), gate.Gates...)
		in := make([]fr.Element, 0, 2*items+1)
		for i, w := range weights {
			if i == Atoms+TextTests {
				in = append(in, elements(int64(gate.Threshold))...)
			}
			in = append(in, elements(int64(w))...)
		}
		for range weights {
			holds = append(holds, rapid.Bool().Draw(rt, "holds"))
			in = append(in, bit(holds[len(holds)-1]))
		}
		want := bit(weigh(weights, holds) >= gate.Threshold)
		g.computes(t, in, want)
		one := fr.One()
		for name, lie := range bitLies {
			if g.solve(t, in, []fr.Element{*new(fr.Element).Sub(&one, &want)}, liarBits(lie)) == nil {
				rt.Fatalf("%s gives the other answer", name)
			}
		}
	})
}

func TestNamesGadgets(t *testing.T) {
	g := newGadget(t, 4, 3, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		nullifier, commitment := scopeNames(api, in[0], in[1], in[2])
		return []frontend.Variable{tagIn(api, in[1], in[3]), nullifier, commitment}
	})
	r := newRand(1)
	for _, scope := range append(edgeElements(), randElement(r)) {
		key, scopeKey, nonce := randKey(r), randElement(r), randElement(r)
		var nullifier, commitment fr.Element
		if !scope.IsZero() {
			nullifier, commitment = Nullifier(scopeKey, key, scope), ScopeKeyCommitment(scopeKey)
		}
		in := []fr.Element{scopeKey, key.Element(), scope, nonce}
		g.computes(t, in, Tag(key, nonce), nullifier, commitment)
		if scope.IsZero() {
			g.refuses(t, in, Tag(key, nonce), Nullifier(scopeKey, key, scope), fr.Element{})
			g.refuses(t, in, Tag(key, nonce), fr.Element{}, ScopeKeyCommitment(scopeKey))
		} else {
			g.refuses(t, in, Tag(key, nonce), fr.Element{}, ScopeKeyCommitment(scopeKey))
		}
	}
}
