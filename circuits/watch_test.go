package circuits

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/test"
)

// watcher runs a circuit on values and notes every assertion in order, and which of them do not hold, instead of stopping.
type watcher struct {
	frontend.API
	assertions []string
	broken     []int
}

type watched struct {
	Statement
	w *watcher `gnark:"-"`
}

func (c *watched) Define(api frontend.API) error {
	c.w.API = api
	return c.Statement.Define(c.w)
}

// watch returns what holds and what does not for an assignment.
func watch(t testing.TB, s *Statement) *watcher {
	t.Helper()
	w := new(watcher)
	if err := test.IsSolved(&watched{w: w}, &watched{Statement: *s, w: w}, Curve.ScalarField()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watcher) note(name string, holds bool) {
	if !holds {
		w.broken = append(w.broken, len(w.assertions))
	}
	w.assertions = append(w.assertions, name)
}

func (w *watcher) value(v frontend.Variable) *big.Int {
	n, _ := w.API.Compiler().ConstantValue(v)
	return n
}

func (w *watcher) AssertIsEqual(a, b frontend.Variable) {
	w.note("equal", w.value(w.API.Sub(a, b)).Sign() == 0)
}

func (w *watcher) AssertIsBoolean(v frontend.Variable) {
	n := w.value(v)
	w.note("bit", n.IsUint64() && n.Uint64() <= 1)
}

func (w *watcher) ToBinary(v frontend.Variable, n ...int) []frontend.Variable {
	number := w.value(v)
	w.note(fmt.Sprintf("%d bits", n[0]), number.BitLen() <= n[0])
	bits := make([]frontend.Variable, n[0])
	for i := range bits {
		bits[i] = big.NewInt(int64(number.Bit(i)))
	}
	return bits
}

func TestWatcherSeesWhatTheSolverSees(t *testing.T) {
	_, s := honest(t, sampleRecord(), sampleProgram())
	w := watch(t, s)
	if len(w.broken) != 0 || len(w.assertions) < 100 {
		t.Fatalf("%d assertions, %v broken", len(w.assertions), w.broken)
	}
	s.Verdict = uint64(NotSatisfied)
	if w := watch(t, s); len(w.broken) != 1 {
		t.Fatalf("%v broken", w.broken)
	}
}
