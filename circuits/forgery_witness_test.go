package circuits

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	r1csbls "github.com/consensys/gnark/constraint/bls12-381"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/std/math/bits"
)

// situations are the four kinds of statement: with a record or none, with a scope or none.
func situations(t *testing.T) map[string]*Statement {
	t.Helper()
	all := map[string]*Statement{}
	for name, record := range map[string]*Record{"present": sampleRecord(), "absent": nil} {
		for _, scope := range []bool{true, false} {
			f := newFixture(newRand(31), record, sampleProgram())
			f.mask[0], f.mask[12] = true, true
			if !scope {
				f.scope = fr.Element{}
			}
			s := f.assign(t)
			if err := solve(t, s); err != nil {
				t.Fatal(err)
			}
			all[fmt.Sprintf("%s, scope %v", name, scope)] = s
		}
	}
	return all
}

// Two witnesses for one statement: no secret input may be another but the scope's key where there is no scope and the salt where
// there is no record. Neither has an effect there.
func TestNoSecondWitness(t *testing.T) {
	names := system().(*r1csbls.R1CS).Secret
	for situation, s := range situations(t) {
		w, err := frontend.NewWitness(s, Curve.ScalarField())
		if err != nil {
			t.Fatal(err)
		}
		values := w.Vector().(fr.Vector)
		for i, name := range names {
			free := name == "ScopeKey" && strings.HasSuffix(situation, "false") || name == "Salt" && strings.HasPrefix(situation, "absent")
			v := &values[len(PublicNames())+i]
			old, one := *v, fr.One()
			v.Add(v, &one)
			if _, err := system().Solve(w); (err == nil) != free {
				t.Errorf("%s: another %s: %v", situation, name, err)
			}
			*v = old
		}
	}
}

// Every hint of a proof, replaced by a liar one at a time while the others are honest. The inverse of 0 alone may be anything: it has no
// effect.
func TestEveryHintLied(t *testing.T) {
	for situation, s := range situations(t) {
		w, err := frontend.NewWitness(s, Curve.ScalarField())
		if err != nil {
			t.Fatal(err)
		}
		for kind, lies := range map[string]map[string]func(n *big.Int, out []*big.Int){"bits": bitLies, "inverse": inverseLies} {
			calls := 0
			accepts := func(at int, lie func(*big.Int, []*big.Int)) (idle, accepted bool) {
				calls = 0
				_, err := system().Solve(w, solver.WithNbTasks(1), liar(kind, func(in *big.Int, out []*big.Int) {
					if calls == at {
						was := fmt.Sprint(out)
						lie(in, out)
						idle = fmt.Sprint(out) == was || kind == "inverse" && in.Sign() == 0
					}
					calls++
				}))
				return idle, err == nil
			}
			if _, ok := accepts(-1, nil); !ok {
				t.Fatalf("%s: honest %s are refused", situation, kind)
			}
			n := calls
			if want := map[string]int{"bits": 2 + NumericColumns + Atoms + Gates,
				"inverse": Slots + Columns + Lookups*LookupPairs + Atoms + TextTests + 2}[kind]; n != want {
				t.Errorf("%s: %d hints for %s, want %d", situation, n, kind, want)
			}
			for at := range n {
				for name, lie := range lies {
					if idle, accepted := accepts(at, lie); accepted != idle {
						t.Errorf("%s: %s %d, %s: accepted %v", situation, kind, at, name, accepted)
					}
				}
			}
		}
	}
}

// inverseLies are values other than the inverse.
var inverseLies = map[string]func(n *big.Int, out []*big.Int){
	"0":        func(_ *big.Int, out []*big.Int) { out[0].SetInt64(0) },
	"one more": func(_ *big.Int, out []*big.Int) { out[0].Add(out[0], big.NewInt(1)) },
}

// liar replaces one of gnark's two hints; lie changes its honest output.
func liar(kind string, lie func(n *big.Int, out []*big.Int)) solver.Option {
	if kind == "inverse" {
		return solver.OverrideHint(solver.GetHintID(solver.InvZeroHint), func(mod *big.Int, in, out []*big.Int) error {
			if err := solver.InvZeroHint(mod, in, out); err != nil {
				return err
			}
			lie(in[0], out)
			return nil
		})
	}
	return liarBits(lie)
}

// The lies above replace every hint that the circuit uses.
func TestHintsAreGnarks(t *testing.T) {
	known := map[solver.HintID]bool{solver.GetHintID(solver.InvZeroHint): true}
	for _, h := range bits.GetHints() {
		known[solver.GetHintID(h)] = true
	}
	for id, name := range system().(*r1csbls.R1CS).MHintsDependencies {
		if !known[id] {
			t.Errorf("the circuit uses the hint %s", name)
		}
	}
}
