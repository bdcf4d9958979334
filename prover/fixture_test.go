package prover

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/grille-gateway/grille/circuits"
)

// testDir holds the keys that all tests of the package share.
var testDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "prover-test-")
	if err != nil {
		panic(err)
	}
	testDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// testKeys generates development keys once.
var testKeys = sync.OnceValue(func() *Keys {
	k, err := Develop(context.Background(), testDir, nil)
	if err != nil {
		panic(err)
	}
	return k
})

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 2)) }

func randElement(r *rand.Rand) fr.Element {
	var b [40]byte
	for i := 0; i < len(b); i += 8 {
		binary.BigEndian.PutUint64(b[i:], r.Uint64())
	}
	var e fr.Element
	e.SetBytes(b[:])
	return e
}

// query is a statement to prove: a secret and its public half.
type query struct {
	sec *circuits.Secret
	pub *circuits.Public
}

func newQuery(t testing.TB, seed uint64, record *circuits.Record, p *circuits.Program) query {
	t.Helper()
	r := newRand(seed)
	s := &circuits.Secret{Key: circuits.SubjectKey("test", "person", string(rune(seed))), TagNonce: randElement(r),
		Salt: randElement(r), ScopeKey: randElement(r), Record: record}
	s.Opening.Bucket = circuits.EmptyBucket()
	if record != nil {
		s.Opening.Bucket[2] = circuits.Slot{Key: s.Key.Element(), Commitment: record.Commitment(s.Salt)}
	}
	for i := range s.Opening.Siblings {
		s.Opening.Siblings[i] = [2]fr.Element{randElement(r), circuits.EmptyNode(i)}
	}
	var mask [circuits.Columns]bool
	mask[0], mask[circuits.NumericColumns] = true, true
	pub, err := s.Public(s.Opening.Root(s.Key.Place()), randElement(r), randElement(r), mask, p)
	if err != nil {
		t.Fatal(err)
	}
	return query{s, pub}
}

// person is a record with a birth date, an income, a household size and a region.
func person(birthDays, income, household int64, region string) *circuits.Record {
	r := new(circuits.Record)
	for i, v := range []int64{birthDays, income, household} {
		code, err := circuits.EncodeInt(v)
		if err != nil {
			panic(err)
		}
		r.Numeric[i] = code
	}
	r.Text[0] = circuits.TextElement(region)
	return r
}

// typicalProgram is a policy of the usual size: born by a date, income up to a threshold by household size, one of two regions.
func typicalProgram() *circuits.Program {
	return &circuits.Program{
		Lookups: []circuits.Lookup{{Column: 2, Default: 3500, Pairs: []circuits.Pair{
			{Key: 1, Value: 1696}, {Key: 2, Value: 2292}, {Key: 3, Value: 2888}}}},
		Atoms: []circuits.Atom{
			{Columns: []circuits.Term{{Column: 0, Coefficient: -1}}, Constant: -3300, Test: circuits.AtLeastZero},
			{Columns: []circuits.Term{{Column: 1, Coefficient: -1}},
				Lookups: []circuits.LookupTerm{{Lookup: 0, Coefficient: 1}}, Test: circuits.AtLeastZero},
		},
		TextTests: []circuits.TextTest{{Column: 0, Value: circuits.TextElement("west")},
			{Column: 0, Value: circuits.TextElement("other")}},
		Gates: []circuits.Gate{
			{Texts: []int{1, 1}, Threshold: 1},
			{Atoms: []int{1, 1}, Gates: []int{1}, Threshold: 3},
		},
		OnAbsent: circuits.NoRecord, OnMissing: circuits.Indeterminate,
	}
}

// largestProgram has every public input as long as a well-formed program allows.
func largestProgram(seed int64) *circuits.Program {
	const most = 1<<63 - 1
	p := &circuits.Program{OnAbsent: circuits.NoRecord, OnMissing: circuits.Indeterminate}
	for i := range circuits.Lookups {
		l := circuits.Lookup{Column: i, Default: -most + seed, MissIsMissing: true}
		for j := range int64(circuits.LookupPairs) {
			l.Pairs = append(l.Pairs, circuits.Pair{Key: -most + seed*31 + j, Value: most/3 + j})
		}
		p.Lookups = append(p.Lookups, l)
	}
	for range circuits.Atoms {
		a := circuits.Atom{Constant: -most / 5 * 3, Test: circuits.EqualsZero}
		for j := range circuits.NumericColumns {
			a.Columns = append(a.Columns, circuits.Term{Column: j, Coefficient: -0x5a5a5a5a - int32(j)})
		}
		for j := range circuits.Lookups {
			a.Lookups = append(a.Lookups, circuits.LookupTerm{Lookup: j, Coefficient: 0x3b3b3b3b + int32(j)})
		}
		p.Atoms = append(p.Atoms, a)
	}
	for i := range circuits.TextTests {
		p.TextTests = append(p.TextTests, circuits.TextTest{Column: i, Value: circuits.TextElement(string(rune(65 + i)))})
	}
	for i := range circuits.Gates {
		g := circuits.Gate{Threshold: -511}
		for range circuits.Atoms {
			g.Atoms = append(g.Atoms, -23)
		}
		for range circuits.TextTests {
			g.Texts = append(g.Texts, 21)
		}
		for range i {
			g.Gates = append(g.Gates, 21)
		}
		p.Gates = append(p.Gates, g)
	}
	return p
}
