package circuits

import (
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/constraint/solver"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"github.com/consensys/gnark/std/math/bits"
)

// gadget is one gadget as a circuit of its own: outputs are asserted to be what it computes from the inputs.
type gadget struct {
	cs      constraint.ConstraintSystem
	in, out int
	probe   constraint.ConstraintSystem // the same with outputs that are seen and not given; only for a mutation run
}

type gadgetCircuit struct {
	In, Out []frontend.Variable
	define  func(api frontend.API, in []frontend.Variable) []frontend.Variable
}

func (c *gadgetCircuit) Define(api frontend.API) error {
	outputs := c.define(api, c.In)
	if len(c.Out) == 0 {
		_, err := api.Compiler().NewHint(see, 1, outputs...)
		return err
	}
	for i, v := range outputs {
		api.AssertIsEqual(c.Out[i], v)
	}
	return nil
}

func newGadget(t testing.TB, in, out int, define func(frontend.API, []frontend.Variable) []frontend.Variable) *gadget {
	t.Helper()
	c := &gadgetCircuit{In: make([]frontend.Variable, in), Out: make([]frontend.Variable, out), define: define}
	cs, err := frontend.Compile(Curve.ScalarField(), r1cs.NewBuilder, c)
	if err != nil {
		t.Fatal(err)
	}
	g := &gadget{cs: cs, in: in, out: out}
	if stopAtFirst {
		c.Out = nil
		if g.probe, err = frontend.Compile(Curve.ScalarField(), r1cs.NewBuilder, c); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// seen are the outputs of the gadget that was probed last.
var seen []*big.Int

func init() { solver.RegisterHint(see) }

func see(_ *big.Int, in, _ []*big.Int) error {
	seen = nil
	for _, v := range in {
		seen = append(seen, new(big.Int).Set(v))
	}
	return nil
}

// determines checks that no lie gives the gadget other outputs for the same inputs.
func (g *gadget) determines(t testing.TB, in, out []fr.Element) {
	t.Helper()
	if g.probe == nil {
		return
	}
	c := &gadgetCircuit{In: make([]frontend.Variable, g.in)}
	fill(c.In, in)
	w, err := frontend.NewWitness(c, Curve.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	for n, lie := range moreLies() {
		if _, err := g.probe.Solve(w, lie); err != nil {
			continue
		}
		for i := range out {
			if want := out[i].BigInt(new(big.Int)); seen[i].Cmp(want) != 0 {
				t.Fatalf("lie %d makes output %d another", n, i)
			}
		}
	}
}

func (g *gadget) solve(t testing.TB, in, out []fr.Element, opts ...solver.Option) error {
	t.Helper()
	if len(in) != g.in || len(out) != g.out {
		t.Fatalf("%d inputs and %d outputs, want %d and %d", len(in), len(out), g.in, g.out)
	}
	c := &gadgetCircuit{In: make([]frontend.Variable, g.in), Out: make([]frontend.Variable, g.out)}
	fill(c.In, in)
	fill(c.Out, out)
	w, err := frontend.NewWitness(c, Curve.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.cs.Solve(w, opts...)
	return err
}

// computes checks that the gadget's outputs are these and no others.
func (g *gadget) computes(t testing.TB, in []fr.Element, out ...fr.Element) {
	t.Helper()
	if err := g.solve(t, in, out); err != nil {
		t.Fatalf("the twin's output is refused: %v", err)
	}
	g.determines(t, in, out)
	for i := range out {
		for _, change := range edgeElements()[1:] { // +1, -1
			other := append([]fr.Element(nil), out...)
			other[i].Add(&other[i], &change)
			if g.solve(t, in, other) == nil {
				t.Fatalf("output %d may be another", i)
			}
		}
	}
}

// refuses checks that no outputs go with these inputs, of those that the honest hints lead to.
func (g *gadget) refuses(t testing.TB, in []fr.Element, out ...fr.Element) {
	t.Helper()
	if g.solve(t, in, out) == nil {
		t.Fatal("accepted")
	}
	for n, lie := range moreLies() {
		if g.solve(t, in, out, lie) == nil {
			t.Fatalf("accepted with lie %d", n)
		}
	}
}

func elements(values ...int64) []fr.Element {
	e := make([]fr.Element, len(values))
	for i, v := range values {
		e[i].SetInt64(v)
	}
	return e
}

// liarBits replaces the hint that decomposes into bits.
func liarBits(lie func(n *big.Int, out []*big.Int)) solver.Option {
	for _, h := range bits.GetHints() {
		if id := solver.GetHintID(h); solver.GetHintName(h) == "github.com/consensys/gnark/std/math/bits.nBits" {
			return solver.OverrideHint(id, func(_ *big.Int, in, out []*big.Int) error {
				for i := range out {
					out[i].SetUint64(uint64(in[0].Bit(i)))
				}
				lie(in[0], out)
				return nil
			})
		}
	}
	panic("the hint has another name")
}

// liarInverse replaces the hint that inverts or gives 0.
func liarInverse(lie func(in, out *big.Int)) solver.Option {
	return solver.OverrideHint(solver.GetHintID(solver.InvZeroHint), func(mod *big.Int, in, out []*big.Int) error {
		if in[0].Sign() != 0 {
			out[0].ModInverse(in[0], mod)
		}
		lie(in[0], out[0])
		return nil
	})
}

// bitLies are wrong decompositions: each either has a digit that is no bit or another sum.
var bitLies = map[string]func(n *big.Int, out []*big.Int){
	"top bit flipped":  func(_ *big.Int, out []*big.Int) { flip(out[len(out)-1]) },
	"low bit flipped":  func(_ *big.Int, out []*big.Int) { flip(out[0]) },
	"carry undone":     func(_ *big.Int, out []*big.Int) { out[0].Add(out[0], big.NewInt(2)); out[1].Sub(out[1], big.NewInt(1)) },
	"all in one digit": func(n *big.Int, out []*big.Int) { clearAll(out); out[0].Set(n) },
	"all zero":         func(_ *big.Int, out []*big.Int) { clearAll(out) },
	"top digit moved down": func(_ *big.Int, out []*big.Int) {
		k := len(out) - 1
		out[k-1].Add(out[k-1], new(big.Int).Lsh(out[k], 1))
		out[k].SetInt64(0)
	},
	"top digit taken from below": func(_ *big.Int, out []*big.Int) {
		k := len(out) - 1
		out[k].Add(out[k], big.NewInt(1))
		out[k-1].Sub(out[k-1], big.NewInt(2))
	},
}

func flip(b *big.Int) { b.Sub(big.NewInt(1), b) }

func clearAll(out []*big.Int) {
	for i := range out {
		out[i].SetInt64(0)
	}
}
