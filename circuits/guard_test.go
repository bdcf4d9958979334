package circuits

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"pgregory.net/rapid"
)

// guardProgram: atom 0 asks for column 0, atom 1 reads it, atom 2 reads column 1, atom 3 a table of column 0; text test 0 asks whether text 0
// is missing, 1 reads it.
func guardProgram(exempt []int, gates ...Gate) *Program {
	return &Program{
		Lookups: []Lookup{{Column: 0, Pairs: []Pair{{1, 5}}, Default: 3}},
		Atoms: []Atom{
			{Columns: []Term{{0, 1}}, Constant: math.MaxInt64, Test: AtLeastZero},
			{Columns: []Term{{0, 1}}, Constant: -5, Test: AtLeastZero},
			{Columns: []Term{{1, 1}}, Constant: -5, Test: AtLeastZero},
			{Lookups: []LookupTerm{{0, 1}}, Constant: -4, Test: AtLeastZero},
		},
		TextTests: []TextTest{{0, fr.Element{}}, {0, TextElement("west")}},
		Gates:     gates, Exempt: exempt, OnAbsent: NoRecord, OnMissing: Indeterminate,
	}
}

func TestGuards(t *testing.T) {
	for name, c := range map[string]struct {
		p       *Program
		guarded bool
	}{
		"x alone":                        {guardProgram([]int{0}, Gate{Atoms: []int{0, 1}, Threshold: 1}), false},
		"has(x)":                         {guardProgram([]int{0}, Gate{Atoms: []int{1}, Threshold: 1}), true},
		"has(x) && x":                    {guardProgram([]int{0}, Gate{Atoms: []int{1, 1}, Threshold: 2}), true},
		"has(x) || x":                    {guardProgram([]int{0}, Gate{Atoms: []int{1, 1}, Threshold: 1}), false},
		"!has(x) || x":                   {guardProgram([]int{0}, Gate{Atoms: []int{-1, 1}, Threshold: 0}), true},
		"!has(x) && x":                   {guardProgram([]int{0}, Gate{Atoms: []int{-1, 1}, Threshold: 1}), false},
		"has(x) && !x":                   {guardProgram([]int{0}, Gate{Atoms: []int{1, -1}, Threshold: 1}), true},
		"y || has(x) && x":               {guardProgram([]int{0}, Gate{Atoms: []int{1, 1, 2}, Threshold: 2}), true},
		"two of has(x), x, y":            {guardProgram([]int{0}, Gate{Atoms: []int{1, 1, 1}, Threshold: 2}), false},
		"has(x) && (x || y)":             {guardProgram([]int{0}, Gate{Atoms: []int{0, 1, 1}, Threshold: 1}, Gate{Atoms: []int{1}, Gates: []int{1}, Threshold: 2}), true},
		"y && (x || y)":                  {guardProgram([]int{0}, Gate{Atoms: []int{0, 1, 1}, Threshold: 1}, Gate{Atoms: []int{0, 0, 1}, Gates: []int{1}, Threshold: 2}), false},
		"has(x) && table(x)":             {guardProgram([]int{0}, Gate{Atoms: []int{1, 0, 0, 1}, Threshold: 2}), true},
		"table(x)":                       {guardProgram([]int{0}, Gate{Atoms: []int{0, 0, 0, 1}, Threshold: 1}), false},
		"x that nothing weighs":          {guardProgram([]int{0}, Gate{Atoms: []int{0, 1}, Threshold: 1}, Gate{Atoms: []int{0, 0, 1}, Threshold: 1}), true},
		"x that cannot decide":           {guardProgram([]int{0}, Gate{Atoms: []int{0, 1, 2}, Threshold: 2}), true},
		"text missing || text is west":   {guardProgram([]int{12}, Gate{Texts: []int{1, 1}, Threshold: 1}), true},
		"text is west":                   {guardProgram([]int{12}, Gate{Texts: []int{0, 1}, Threshold: 1}), false},
		"text there && text is west":     {guardProgram([]int{12}, Gate{Texts: []int{-1, 1}, Threshold: 1}), true},
		"text there, x read":             {guardProgram([]int{0, 12}, Gate{Atoms: []int{0, 1}, Texts: []int{-1, 1}, Threshold: 1}), false},
		"x read, and not exempt":         {guardProgram([]int{12}, Gate{Atoms: []int{0, 1}, Texts: []int{-2, 2}, Threshold: 3}), true},
		"has(x) times two is no has(x)":  {doubled(guardProgram([]int{0}, Gate{Atoms: []int{1, 1}, Threshold: 2})), false},
		"the outcome is the last gate's": {guardProgram([]int{0}, Gate{Atoms: []int{1, 1}, Threshold: 2}, Gate{Atoms: []int{0, 1}, Threshold: 1}), false},
	} {
		err := c.p.Check()
		if c.guarded && err != nil || !c.guarded && (!errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), "nothing asks")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func doubled(p *Program) *Program {
	p.Atoms[0].Columns[0].Coefficient = 2
	return p
}

// A guarded column makes no difference while it is missing, by trying all that the tests can say.
func TestGuardsAreSound(t *testing.T) {
	met := map[bool]int{}
	rapid.Check(t, func(rt *rapid.T) {
		var gates []Gate
		for i := range rapid.IntRange(1, 3).Draw(rt, "gates") {
			g := Gate{Threshold: rapid.IntRange(-2, 4).Draw(rt, "threshold")}
			for range 4 {
				g.Atoms = append(g.Atoms, rapid.IntRange(-1, 2).Draw(rt, "atom"))
			}
			for range i {
				g.Gates = append(g.Gates, rapid.IntRange(-2, 2).Draw(rt, "gate"))
			}
			gates = append(gates, g)
		}
		p := guardProgram(nil, gates...)
		depends := false
		for _, y := range []bool{false, true} { // what does not read column 0
			var outcomes [2]bool
			for read := range 4 { // what does: atoms 1 and 3
				holds := make([]bool, len(gates))
				for i := range gates {
					g := &gates[i]
					holds[i] = weigh(g.Atoms, []bool{false, read&1 != 0, y, read&2 != 0})+weigh(g.Gates, holds) >= g.Threshold
				}
				outcomes[order(holds[len(holds)-1])] = true
			}
			depends = depends || outcomes[0] && outcomes[1]
		}
		if refused := p.outcomeWithout(0) == arbitrary; depends && !refused {
			rt.Fatalf("accepted, and the outcome depends on a missing value: %+v", gates)
		} else {
			met[refused]++
		}
	})
	if met[true] == 0 || met[false] == 0 {
		t.Errorf("%v", met)
	}
}

func order(b bool) int {
	if b {
		return 1
	}
	return 0
}
