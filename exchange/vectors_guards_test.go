package exchange_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
)

// programUnits is a program, and whether it is malformed because it reads an exempt column where nothing asks whether that has a value.
type programUnits struct {
	Program   string `json:"program"` // JSON
	Unguarded bool   `json:"unguarded"`
}

const guardPrograms = 60

// programs draws gates over tests that ask for column 0 and text 0 and that read them, directly and through a table, and that do neither.
func (u *units) programs(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	weights := func(n int) []int {
		w := make([]int, n)
		for i := range w {
			w[i] = [...]int{-2, -1, 0, 0, 1, 1, 2}[r.IntN(7)]
		}
		return w
	}
	unguarded := 0
	for range guardPrograms {
		p := &circuits.Program{
			Lookups: []circuits.Lookup{{Column: 0, Pairs: []circuits.Pair{{Key: 1, Value: 5}}, Default: 3}},
			Atoms: []circuits.Atom{
				{Columns: []circuits.Term{{Column: 0, Coefficient: 1}}, Constant: math.MaxInt64, Test: circuits.AtLeastZero},
				{Columns: []circuits.Term{{Column: 0, Coefficient: 1}}, Constant: -5, Test: circuits.EqualsZero},
				{Columns: []circuits.Term{{Column: 1, Coefficient: 1}}, Constant: -5, Test: circuits.AtLeastZero},
				{Lookups: []circuits.LookupTerm{{Lookup: 0, Coefficient: 1}}, Constant: -4, Test: circuits.AtLeastZero},
			},
			TextTests: []circuits.TextTest{{Column: 0, Value: fr.Element{}}, {Column: 0, Value: circuits.TextElement("west")}},
			OnAbsent:  circuits.NoRecord, OnMissing: circuits.Indeterminate,
		}
		for i := range 1 + r.IntN(3) {
			p.Gates = append(p.Gates, circuits.Gate{Atoms: weights(1 + r.IntN(4)), Texts: weights(r.IntN(3)), Gates: weights(r.IntN(i + 1)),
				Threshold: r.IntN(6) - 2})
		}
		p.Exempt = [][]int{{0}, {12}, {0, 12}}[r.IntN(3)]
		refused := p.Check() != nil
		if refused {
			unguarded++
			bare := *p
			if bare.Exempt = nil; bare.Check() != nil {
				t.Fatal("malformed otherwise")
			}
		}
		raw, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		u.Programs = append(u.Programs, programUnits{string(raw), refused})
	}
	if unguarded < guardPrograms/4 || unguarded > guardPrograms*3/4 {
		t.Errorf("%d of %d are unguarded: the draw is one-sided", unguarded, guardPrograms)
	}
}
