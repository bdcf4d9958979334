package circuits

import (
	"math"
	"sort"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/frontend"
	"pgregory.net/rapid"
)

// limits are numbers at the edges of a column; drawing from few values makes equalities and hits likely.
var limits = []int64{math.MinInt64 + 1, -2, -1, 0, 1, 2, 3, math.MaxInt64 - 1, math.MaxInt64}

func drawInt(t *rapid.T, name string) int64 {
	return rapid.OneOf(rapid.SampledFrom(limits), rapid.Int64Range(math.MinInt64+1, math.MaxInt64)).Draw(t, name)
}

var drawnTexts = []fr.Element{TextElement("a"), TextElement("b"), TextElement("")}

// drawProgram draws a well-formed program: any shape, coefficients at the limits, exempt columns where nothing or a guard stands in the way.
func drawProgram(t *rapid.T) *Program {
	p := &Program{
		OnAbsent:  rapid.SampledFrom([]Verdict{NoRecord, NotSatisfied}).Draw(t, "on absent"),
		OnMissing: rapid.SampledFrom([]Verdict{Indeterminate, NotSatisfied}).Draw(t, "on missing"),
	}
	for range rapid.IntRange(0, Lookups).Draw(t, "lookups") {
		p.Lookups = append(p.Lookups, drawLookup(t))
	}
	for range rapid.IntRange(0, Atoms).Draw(t, "atoms") {
		p.Atoms = append(p.Atoms, drawAtom(t, len(p.Lookups)))
	}
	for range rapid.IntRange(0, TextTests).Draw(t, "text tests") {
		value := rapid.SampledFrom(append(drawnTexts, fr.Element{})).Draw(t, "text value")
		p.TextTests = append(p.TextTests, TextTest{rapid.IntRange(0, TextColumns-1).Draw(t, "text column"), value})
	}
	for i := range rapid.IntRange(1, Gates).Draw(t, "gates") {
		p.Gates = append(p.Gates, drawGate(t, len(p.Atoms), len(p.TextTests), i))
	}
	for i, read := range p.reads() {
		if read && p.outcomeWithout(i) != arbitrary && rapid.Bool().Draw(t, "exempt") {
			p.Exempt = append(p.Exempt, i)
		}
	}
	sort.Ints(p.Exempt)
	if err := p.Check(); err != nil {
		t.Fatalf("drew a malformed program: %v", err)
	}
	return p
}

func drawLookup(t *rapid.T) Lookup {
	l := Lookup{Column: rapid.IntRange(0, NumericColumns-1).Draw(t, "column"), Default: drawInt(t, "default"),
		MissIsMissing: rapid.IntRange(0, 3).Draw(t, "miss is missing") == 0}
	seen := map[int64]bool{}
	for range rapid.IntRange(0, LookupPairs).Draw(t, "pairs") {
		pair := Pair{drawInt(t, "key"), drawInt(t, "value")}
		if !seen[pair.Key] {
			seen[pair.Key] = true
			l.Pairs = append(l.Pairs, pair)
		}
	}
	return l
}

func drawAtom(t *rapid.T, lookups int) Atom {
	if rapid.IntRange(0, 4).Draw(t, "has") == 0 {
		return Atom{Columns: []Term{{rapid.IntRange(0, NumericColumns-1).Draw(t, "column"), 1}}, Constant: math.MaxInt64, Test: AtLeastZero}
	}
	coefficient := rapid.OneOf(rapid.SampledFrom([]int32{math.MinInt32, -1, 1, math.MaxInt32}), rapid.Int32Range(1, math.MaxInt32))
	a := Atom{Test: rapid.SampledFrom([]Test{AtLeastZero, EqualsZero}).Draw(t, "test"), Constant: drawInt(t, "constant")}
	// Few terms make sums near zero likely, all of them reach the bound.
	n := rapid.SampledFrom([]int{0, 1, 1, 2, NumericColumns}).Draw(t, "terms")
	for i := range n {
		column := i
		if n < NumericColumns {
			column = i*6 + rapid.IntRange(0, 5).Draw(t, "column")
		}
		a.Columns = append(a.Columns, Term{column, coefficient.Draw(t, "coefficient")})
	}
	for i := range lookups {
		if rapid.Bool().Draw(t, "reads lookup") {
			a.Lookups = append(a.Lookups, LookupTerm{i, coefficient.Draw(t, "lookup coefficient")})
		}
	}
	return a
}

func drawGate(t *rapid.T, atoms, texts, gates int) Gate {
	budget := gateWeightLimit - 1
	weights := func(n int) []int {
		w := make([]int, n)
		for i := range w {
			reach := min(budget, rapid.SampledFrom([]int{0, 1, 1, 2, gateWeightLimit - 1}).Draw(t, "reach"))
			w[i] = rapid.IntRange(-reach, reach).Draw(t, "weight")
			budget -= max(w[i], -w[i])
		}
		return w
	}
	threshold := rapid.OneOf(rapid.IntRange(-2, 2), rapid.SampledFrom([]int{-gateWeightLimit, gateWeightLimit}))
	return Gate{Gates: weights(gates), Atoms: weights(atoms), Texts: weights(texts), Threshold: threshold.Draw(t, "threshold")}
}

// drawRecord draws a record or none, with values that the program's tables and tests know, some missing.
func drawRecord(t *rapid.T, p *Program) *Record {
	if rapid.IntRange(0, 7).Draw(t, "absent") == 0 {
		return nil
	}
	known := append([]int64(nil), limits...)
	for _, l := range p.Lookups {
		for _, pair := range l.Pairs {
			known = append(known, pair.Key)
		}
	}
	missing := rapid.IntRange(0, 2).Draw(t, "some missing") == 0
	r := new(Record)
	for i := range r.Numeric {
		if !missing || rapid.Bool().Draw(t, "has value") {
			r.Numeric[i] = code(rapid.OneOf(rapid.SampledFrom(known), rapid.Int64Range(math.MinInt64+1, math.MaxInt64)).Draw(t, "number"))
		}
	}
	for i := range r.Text {
		if !missing || rapid.Bool().Draw(t, "has text") {
			r.Text[i] = rapid.SampledFrom(drawnTexts).Draw(t, "text")
		}
	}
	return r
}

// checkVector compares Public.Vector with the witness that the assignment makes.
func checkVector(t *rapid.T, f *fixture) {
	pub, err := f.sec.Public(f.root, f.context, f.scope, f.mask, f.program)
	if err != nil {
		t.Fatal(err)
	}
	vector, err := pub.Vector()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Assign(pub, &f.sec)
	if err != nil {
		t.Fatal(err)
	}
	w, err := frontend.NewWitness(c, Curve.ScalarField(), frontend.PublicOnly())
	if err != nil {
		t.Fatal(err)
	}
	got := w.Vector().(fr.Vector)
	if len(got) != len(vector) {
		t.Fatalf("%d inputs, the witness has %d", len(vector), len(got))
	}
	for i := range got {
		if !got[i].Equal(&vector[i]) {
			t.Fatalf("%s differs", PublicNames()[i])
		}
	}
}
