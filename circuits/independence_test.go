package circuits

import (
	"testing"

	"github.com/consensys/gnark/constraint"
	r1csbls "github.com/consensys/gnark/constraint/bls12-381"
)

// A Groth16 proof that somebody has seen could be changed into one of other public inputs without a witness exactly if some
// combination of wires, public ones among them, vanishes in all three matrices of the system (https://eprint.iacr.org/2020/811).
// There is none: a row with one wire whose weight is not yet known to be 0 shows that it is 0, and so all weights fall.
func TestNoStatementIsNextToAnother(t *testing.T) {
	cs := system().(*r1csbls.R1CS)
	fixed := make([]bool, cs.GetNbPublicVariables()+cs.GetNbSecretVariables()+cs.GetNbInternalVariables())
	fixed[0] = true // the constant 1 is the same in every statement
	var rows []map[int]bool
	for _, c := range cs.GetR1Cs() {
		for _, l := range []constraint.LinearExpression{c.L, c.R, c.O} {
			row := map[int]bool{}
			for _, term := range l {
				if !cs.Coefficients[term.CoeffID()].IsZero() {
					row[term.WireID()] = true
				}
			}
			rows = append(rows, row)
		}
	}
	for changed := true; changed; {
		changed = false
		for _, row := range rows {
			free, last := 0, 0
			for wire := range row {
				if !fixed[wire] {
					free, last = free+1, wire
				}
			}
			if free == 1 {
				fixed[last], changed = true, true
			}
		}
	}
	for i, name := range cs.Public {
		if !fixed[i] {
			t.Errorf("public input %s may change with others under a proof that was seen", name)
		}
	}
	for i := len(cs.Public); i < len(fixed); i++ {
		if !fixed[i] {
			t.Errorf("wire %d is not fixed", i)
		}
	}
}
