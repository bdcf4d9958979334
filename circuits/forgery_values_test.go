package circuits

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// edges are 0, 2^63, 2^64, 2^127, 2^128 and the modulus with their neighbours, below the modulus.
func edges() []*big.Int {
	var all []*big.Int
	for _, n := range []*big.Int{new(big.Int), power(63), power(64), power(127), power(128), power(192), fr.Modulus()} {
		for d := int64(-1); d <= 1; d++ {
			if v := new(big.Int).Add(n, big.NewInt(d)); v.Sign() >= 0 && v.Cmp(fr.Modulus()) < 0 {
				all = append(all, v)
			}
		}
	}
	return all
}

// Claim 5. A holder commits to what is no record, a column beyond 64 bits, and opens it as committed: everything else fits.
func TestForgedCommitmentOutOfRange(t *testing.T) {
	anybody := &Program{Gates: []Gate{{Threshold: 0}}, OnAbsent: NoRecord, OnMissing: Indeterminate}
	for i := range NumericColumns {
		for _, v := range edges() {
			f := newFixture(newRand(41), sampleRecord(), anybody)
			f.mask[i] = true
			s := f.assign(t)
			columns := recordElements(sampleRecord())
			columns[i] = element(v)
			f.sec.Opening.Bucket[1].Commitment = commitElements(columns, f.sec.Salt)
			s.Bucket[1].Commitment, s.Root = f.sec.Opening.Bucket[1].Commitment, f.sec.Opening.Root(f.sec.Key.Place())
			s.Numeric[i], s.Disclosed[i] = columns[i], columns[i]
			if err := solve(t, s); (err == nil) != v.IsUint64() {
				t.Errorf("claim 5: column %d is %v: %v", i, v, err)
			}
		}
	}
}

// commitElements is Record.Commitment for columns of any size.
func commitElements(columns []fr.Element, salt fr.Element) fr.Element {
	var packs [NumericColumns / 3]fr.Element
	shift := element(power(numericBits))
	for i := range packs {
		packs[i] = columns[3*i+2]
		for j := 1; j >= 0; j-- {
			packs[i].Mul(&packs[i], &shift).Add(&packs[i], &columns[3*i+j])
		}
	}
	text := columns[NumericColumns:]
	h := Hash(UseRecord1, salt, packs[0], packs[1])
	h = Hash(UseRecord2, h, packs[2], packs[3])
	h = Hash(UseRecord3, h, text[0], text[1])
	return Hash(UseRecord4, h, text[2], text[3])
}

// Claims 2, 5 and 12. Where any element may stand, every edge of the field may: a text, a salt, a nonce, a scope's key, a neighbour's
// slot and a sibling. The statement is then of these and of no others.
func TestAnyElementWhereAnyMayStand(t *testing.T) {
	for _, v := range edges() {
		e := element(v)
		record := sampleRecord()
		for i := range record.Text {
			record.Text[i] = e
		}
		p := sampleProgram()
		p.TextTests[0].Value = e
		f := newFixture(newRand(43), record, p)
		f.sec.Salt, f.sec.TagNonce, f.sec.ScopeKey = e, e, e
		f.sec.Opening.Bucket[1].Commitment = record.Commitment(e)
		f.sec.Opening.Siblings[3] = [2]fr.Element{e, e}
		f.sec.Opening.Bucket[2].Commitment = e
		if key := f.sec.Key.Element(); !e.Equal(&key) {
			f.sec.Opening.Bucket[2].Key = e
		}
		f.mask[NumericColumns] = true
		f.reroot()
		s := f.assign(t)
		if err := solve(t, s); err != nil {
			t.Errorf("%v: %v", v, err)
			continue
		}
		one := fr.One()
		for name, to := range map[string]func(fr.Element){
			"text": func(x fr.Element) { s.Text[0], s.Disclosed[NumericColumns] = x, x }, "salt": func(x fr.Element) { s.Salt = x },
			"nonce": func(x fr.Element) { s.TagNonce = x }, "scope's key": func(x fr.Element) { s.ScopeKey = x },
			"slot": func(x fr.Element) { s.Bucket[2].Commitment = x }, "sibling": func(x fr.Element) { s.Siblings[3][1] = x },
		} {
			var other fr.Element
			to(*other.Add(&e, &one))
			if solve(t, s) == nil {
				t.Errorf("%v: another %s is accepted", v, name)
			}
			to(e)
		}
	}
}

// Claim 7. Sums at the edges of their range: -1, 0 and 1 far from 0, by numbers at the edges of a column.
func TestForgedSums(t *testing.T) {
	for _, n := range []int64{-1<<63 + 1, -1 << 62, -1, 0, 1, 1 << 62, 1<<63 - 1} {
		for d := int64(-1); d <= 1; d++ {
			for _, test := range []Test{AtLeastZero, EqualsZero} {
				record := new(Record)
				record.Numeric[3] = code(n)
				record.Numeric[4] = code(-n)
				p := &Program{Atoms: []Atom{{Columns: []Term{{3, 1<<31 - 1}, {4, 1<<31 - 1}}, Constant: d, Test: test}},
					Gates: []Gate{{Atoms: []int{1}, Threshold: 1}}, OnAbsent: NoRecord, OnMissing: Indeterminate}
				s := newFixture(newRand(47), record, p).assign(t)
				if want := d == 0 || d > 0 && test == AtLeastZero; (s.Verdict == uint64(Satisfied)) != want {
					t.Fatalf("%d %+d: %v", n, d, s.Verdict)
				}
				honest := s.Verdict.(uint64)
				for v := range uint64(4) {
					s.Verdict = v
					if err := solve(t, s); (err == nil) != (v == honest) {
						t.Errorf("claim 7: %d - %d %+d %s: verdict %d: %v", n, n, d, test, v, err)
					}
				}
			}
		}
	}
}

// The hash cannot be run backwards: without its feed-forward any output would have a preimage at hand, and a root any tree below it.
func TestForgedPreimage(t *testing.T) {
	k := keysOf(UseNode)
	root := randElement(newRand(51))
	s := [hashWidth]fr.Element{root} // a state after the last round that starts with the root
	k.unpermute(&s)
	again := s
	if k.permute(&again); !again[0].Equal(&root) {
		t.Fatal("the permutation was not inverted")
	}
	if h := NodeHash(s[0], s[1], s[2]); h.Equal(&root) {
		t.Error("a root of one's choice has children")
	}
}

// unpermute inverts permute.
func (k *roundKeys) unpermute(s *[hashWidth]fr.Element) {
	back := func(keys *[hashWidth]fr.Element) {
		unmix(s, mixFull)
		for i := range s {
			fifthRoot(&s[i])
			s[i].Sub(&s[i], &keys[i])
		}
	}
	for i := len(k.last) - 1; i >= 0; i-- {
		back(&k.last[i])
	}
	for i := len(k.partial) - 1; i >= 0; i-- {
		unmix(s, mixPartial)
		fifthRoot(&s[0])
		s[0].Sub(&s[0], &k.partial[i])
	}
	for i := len(k.first) - 1; i >= 0; i-- {
		back(&k.first[i])
	}
	unmix(s, mixFull)
}

// fifthRoot raises to the inverse of 5 modulo r-1.
func fifthRoot(x *fr.Element) {
	order := new(big.Int).Sub(fr.Modulus(), big.NewInt(1))
	x.Exp(*x, new(big.Int).ModInverse(big.NewInt(5), order))
}

// unmix inverts a linear map of width 3 by Cramer's rule.
func unmix(s *[hashWidth]fr.Element, mix func(*[hashWidth]fr.Element)) {
	var columns [hashWidth][hashWidth]fr.Element
	for i := range columns {
		columns[i][i].SetOne()
		mix(&columns[i])
	}
	det := determinant(&columns)
	out := *s
	for i := range out {
		replaced := columns
		replaced[i] = *s
		out[i] = determinant(&replaced)
		out[i].Div(&out[i], &det)
	}
	*s = out
}

func determinant(m *[hashWidth][hashWidth]fr.Element) (sum fr.Element) {
	for i := range hashWidth {
		var plus, minus fr.Element
		j, k := (i+1)%hashWidth, (i+2)%hashWidth
		plus.Mul(&m[0][i], &m[1][j]).Mul(&plus, &m[2][k])
		minus.Mul(&m[0][i], &m[1][k]).Mul(&minus, &m[2][j])
		sum.Add(&sum, &plus).Sub(&sum, &minus)
	}
	return sum
}
