package circuits

import (
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"
)

// system compiles the statement once for all tests.
var system = sync.OnceValue(func() constraint.ConstraintSystem {
	cs, err := Compile()
	if err != nil {
		panic(err)
	}
	return cs
})

// newRand is a generator with a fixed seed, so that a failure repeats.
func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func randElement(r *rand.Rand) fr.Element {
	var b [40]byte // 64 bits more than the field, so that the bias is nothing
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], r.Uint64())
	}
	var e fr.Element
	e.SetBytes(b[:])
	return e
}

func randKey(r *rand.Rand) Key {
	var k Key
	binary.BigEndian.PutUint64(k[:8], r.Uint64())
	binary.BigEndian.PutUint64(k[8:], r.Uint64())
	return k
}

// keyOf returns a number below 2^128 as a key.
func keyOf(n *big.Int) Key {
	var k Key
	n.FillBytes(k[:])
	return k
}

func element(n *big.Int) fr.Element {
	var e fr.Element
	e.SetBigInt(n)
	return e
}

// code is EncodeInt for values that a test knows to be fine.
func code(v int64) uint64 {
	u, err := EncodeInt(v)
	if err != nil {
		panic(err)
	}
	return u
}

// fixture is a secret that fits a root, and what a proof of it needs. Its tree is one bucket among random siblings.
type fixture struct {
	sec     Secret
	root    fr.Element
	context fr.Element
	scope   fr.Element
	mask    [Columns]bool
	program *Program
}

// newFixture puts the record (nil: none) of a random subject into the middle slot of its bucket, beside a neighbour and an empty
// slot.
func newFixture(r *rand.Rand, record *Record, p *Program) *fixture {
	return newFixtureAt(r, randKey(r), record, p)
}

func newFixtureAt(r *rand.Rand, key Key, record *Record, p *Program) *fixture {
	f := &fixture{program: p, context: randElement(r), scope: randElement(r)}
	f.sec = Secret{Key: key, TagNonce: randElement(r), Salt: randElement(r), ScopeKey: randElement(r), Record: record}
	o := &f.sec.Opening
	o.Bucket = EmptyBucket()
	o.Bucket[0] = Slot{Key: randKey(r).Element(), Commitment: randElement(r)}
	if record != nil {
		o.Bucket[1] = Slot{Key: key.Element(), Commitment: record.Commitment(f.sec.Salt)}
	}
	for i := range o.Siblings {
		o.Siblings[i] = [2]fr.Element{randElement(r), randElement(r)}
	}
	f.reroot()
	return f
}

// reroot makes the root the one that the opening, as it now is, leads to.
func (f *fixture) reroot() { f.root = f.sec.Opening.Root(f.sec.Key.Place()) }

func (f *fixture) public(t testing.TB) *Public {
	t.Helper()
	pub, err := f.sec.Public(f.root, f.context, f.scope, f.mask, f.program)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}

func (f *fixture) assign(t testing.TB) *Statement {
	t.Helper()
	c, err := Assign(f.public(t), &f.sec)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Statement)
}

// solve says whether the compiled statement has a solution for the assignment.
func solve(t testing.TB, s *Statement) error {
	t.Helper()
	w, err := frontend.NewWitness(s, Curve.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = system().Solve(w); err == nil {
		solved()
	}
	return err
}

// sampleRecord has every column set.
func sampleRecord() *Record {
	r := new(Record)
	for i := range r.Numeric {
		r.Numeric[i] = code(int64(100 * (i + 1)))
	}
	for i, s := range []string{"west", "single", "DE", "x"} {
		r.Text[i] = TextElement(s)
	}
	return r
}

// sampleProgram: column 0 >= 65 and (column 1 <= table(column 2) or text 0 == "west"), with column 3 exempt.
func sampleProgram() *Program {
	return &Program{
		Lookups: []Lookup{{Column: 2, Pairs: []Pair{{300, 1696}, {301, 2292}, {302, 2888}}, Default: -5}},
		Atoms: []Atom{
			{Columns: []Term{{0, 1}}, Constant: -65, Test: AtLeastZero},
			{Columns: []Term{{1, -1}}, Lookups: []LookupTerm{{0, 1}}, Test: AtLeastZero},
			{Columns: []Term{{3, 1}}, Constant: 1<<63 - 1, Test: AtLeastZero},
		},
		TextTests: []TextTest{{Column: 0, Value: TextElement("west")}},
		Gates: []Gate{
			{Atoms: []int{0, 1}, Texts: []int{1}, Threshold: 1},
			{Atoms: []int{1, 0, 1}, Gates: []int{1}, Threshold: 3},
		},
		Exempt: []int{3}, OnAbsent: NoRecord, OnMissing: Indeterminate,
	}
}
