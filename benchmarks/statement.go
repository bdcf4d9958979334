package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
)

// A statement is a secret and the public half that it proves.
type statement struct {
	secret *circuits.Secret
	public *circuits.Public
}

// newStatement is the statement that a record satisfies or not under a program, in a bucket of its own with random siblings.
func newStatement(record *circuits.Record, p *circuits.Program) (statement, error) {
	s := &circuits.Secret{Key: circuits.SubjectKey("bench", "person", "1"), Record: record}
	s.TagNonce.MustSetRandom()
	s.Salt.MustSetRandom()
	s.Opening.Bucket = circuits.EmptyBucket()
	s.Opening.Bucket[0] = circuits.Slot{Key: s.Key.Element(), Commitment: record.Commitment(s.Salt)}
	for i := range s.Opening.Siblings {
		s.Opening.Siblings[i][0].MustSetRandom()
		s.Opening.Siblings[i][1] = circuits.EmptyNode(i)
	}
	var contextBytes [31]byte
	if _, err := rand.Read(contextBytes[:]); err != nil {
		return statement{}, err
	}
	var context, noScope fr.Element
	context.SetBytes(contextBytes[:])
	pub, err := s.Public(s.Opening.Root(s.Key.Place()), context, noScope, [circuits.Columns]bool{}, p)
	if err != nil {
		return statement{}, fmt.Errorf("preparing a statement: %w", err)
	}
	return statement{s, pub}, nil
}

// person is a record with a birth date in days, an income, a household size and a region.
func person(birth, income, household int64, region string) (*circuits.Record, error) {
	r := new(circuits.Record)
	for i, v := range []int64{birth, income, household} {
		code, err := circuits.EncodeInt(v)
		if err != nil {
			return nil, err
		}
		r.Numeric[i] = code
	}
	r.Text[0] = circuits.TextElement(region)
	return r, nil
}

// typical is a policy of the usual size: born by a date, income up to a threshold by household size, one of two regions.
func typical() *circuits.Program {
	return &circuits.Program{
		Lookups: []circuits.Lookup{{Column: 2, Default: 3500, Pairs: []circuits.Pair{
			{Key: 1, Value: 1696}, {Key: 2, Value: 2292}, {Key: 3, Value: 2888}}}},
		Atoms: []circuits.Atom{
			{Columns: []circuits.Term{{Column: 0, Coefficient: -1}}, Constant: -3300, Test: circuits.AtLeastZero},
			{Columns: []circuits.Term{{Column: 1, Coefficient: -1}}, Lookups: []circuits.LookupTerm{{Lookup: 0, Coefficient: 1}},
				Test: circuits.AtLeastZero},
		},
		TextTests: []circuits.TextTest{{Column: 0, Value: circuits.TextElement("west")}, {Column: 0, Value: circuits.TextElement("other")}},
		Gates:     []circuits.Gate{{Texts: []int{1, 1}, Threshold: 1}, {Atoms: []int{1, 1}, Gates: []int{1}, Threshold: 3}},
		OnAbsent:  circuits.NoRecord, OnMissing: circuits.Indeterminate,
	}
}

// worst has every public input as long as a well-formed program allows: what a hostile policy costs a verifier.
func worst() *circuits.Program {
	p := &circuits.Program{OnAbsent: circuits.NoRecord, OnMissing: circuits.Indeterminate}
	for i := range circuits.Lookups {
		l := circuits.Lookup{Column: i, Default: -math.MaxInt64, MissIsMissing: true}
		for j := range int64(circuits.LookupPairs) {
			l.Pairs = append(l.Pairs, circuits.Pair{Key: -math.MaxInt64 + j, Value: math.MaxInt64/3 + j})
		}
		p.Lookups = append(p.Lookups, l)
	}
	for range circuits.Atoms {
		a := circuits.Atom{Constant: -math.MaxInt64 / 5 * 3, Test: circuits.EqualsZero}
		for j := range circuits.NumericColumns {
			a.Columns = append(a.Columns, circuits.Term{Column: j, Coefficient: -0x5a5a5a5a - int32(j)})
		}
		for j := range circuits.Lookups {
			a.Lookups = append(a.Lookups, circuits.LookupTerm{Lookup: j, Coefficient: 0x3b3b3b3b + int32(j)})
		}
		p.Atoms = append(p.Atoms, a)
	}
	for i := range circuits.TextTests {
		p.TextTests = append(p.TextTests, circuits.TextTest{Column: i, Value: circuits.TextElement(hex.EncodeToString([]byte{byte(i)}))})
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
