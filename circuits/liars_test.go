package circuits

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/frontend"
)

// The mutation run (command circuits/mutation) sets these: its mutants have wires that a prover may choose, and its lies choose them.
var (
	solved      = func() {}                                            // after each statement that the solver accepts without a lie
	moreLies    = func() []solver.Option { return nil }                // ways to choose
	chosen      []fr.Element                                           // what the forgery at hand would want such a wire to be
	stopAtFirst bool                                                   // one forgery accepted is enough
	sample      = func(n int) bool { return !stopAtFirst || n%4 == 0 } // of many alike, those that a mutant must not pass
)

// acceptedWithALie says which lie makes the solver accept the statement.
func acceptedWithALie(t testing.TB, s *Statement, lies []solver.Option) (n int, accepted bool) {
	t.Helper()
	if len(lies) == 0 {
		return 0, false
	}
	w, err := frontend.NewWitness(s, Curve.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	for i, lie := range lies {
		if _, err := system().Solve(w, lie); err == nil {
			return i, true
		}
	}
	return 0, false
}

// hintLies are the ways in which a prover's hints may be other than gnark's.
func hintLies() []solver.Option {
	lies := []solver.Option{
		liarInverse(func(_, out *big.Int) { out.SetInt64(0) }),
		liarInverse(func(_, out *big.Int) { out.SetInt64(1) }),
		liarInverse(func(_, out *big.Int) { out.Neg(out) }),
	}
	for _, lie := range bitLies {
		lies = append(lies, liarBits(lie))
	}
	return lies
}
