package circuits

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	r1csbls "github.com/consensys/gnark/constraint/bls12-381"
	"github.com/consensys/gnark/frontend"
)

// parts are the constraints of each part of the statement, measured gadget by gadget; the last is what is left.
func parts(t *testing.T) (names []string, sizes []int) {
	t.Helper()
	count := func(in, out int, define func(frontend.API, []frontend.Variable) []frontend.Variable) int {
		return newGadget(t, in, out, define).cs.GetNbConstraints() - out // an equality for each output
	}
	add := func(size int, format string, args ...any) {
		names, sizes = append(names, fmt.Sprintf(format, args...)), append(sizes, size)
	}
	hashes := Slots + Levels + 4 + 3 // bucket, path, record, names
	add(hashes*count(3, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		return []frontend.Variable{hash(api, UseNode, in[0], in[1], in[2])}
	}), "%d hashes", hashes)
	atom := count(2*(NumericColumns+Lookups)+2, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		a := AtomInputs{Columns: [NumericColumns]frontend.Variable(in[:12]), Lookups: [Lookups]frontend.Variable(in[12:16]),
			Constant: in[16], EqualsZero: in[17]}
		values, results := [NumericColumns]frontend.Variable(in[18:30]), [Lookups]frontend.Variable(in[30:])
		return []frontend.Variable{a.holds(api, &values, &results)}
	})
	add(Atoms*atom, "%d atoms", Atoms)
	columns := count(Columns, 0, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		columnsOf(api, in)
		return []frontend.Variable{}
	})
	const binding = 4 // the product with the commitment, the product with the count, and their two equalities
	add(columns+binding, "%d columns", Columns)
	add(count(1+2*Levels, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		d := digitInputs(in[1:])
		return []frontend.Variable{subjectKey(api, in[0], &d)}
	}), "key")
	gates := 0
	for j := range Gates {
		gates += count(2*(Atoms+TextTests+j)+1, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
			g := GateInputs{[Atoms]frontend.Variable(in[:12]), [TextTests]frontend.Variable(in[12:16]), in[16]}
			atoms, texts := [Atoms]frontend.Variable(in[17:29]), [TextTests]frontend.Variable(in[29:33])
			return []frontend.Variable{g.holds(api, &atoms, &texts, in[33:33+j], in[33+j:])}
		})
	}
	add(gates, "%d gates", Gates)
	add(Lookups*count(2*NumericColumns+2*LookupPairs+2, 2, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
		l := LookupInputs{Select: [NumericColumns]frontend.Variable(in[:12]), Keys: [LookupPairs]frontend.Variable(in[12:28]),
			Values: [LookupPairs]frontend.Variable(in[28:44]), Default: in[44], MissIsMissing: in[45]}
		values := [NumericColumns]frontend.Variable(in[46:])
		result, missed := l.apply(api, &values)
		return []frontend.Variable{result, missed}
	}), "%d lookups", Lookups)
	rest := system().GetNbConstraints()
	for _, n := range sizes {
		rest -= n
	}
	add(rest, "path selection")
	return names, sizes
}

// inputsOutsideA counts the public inputs that stand in no first factor.
func inputsOutsideA() int {
	cs := system().(*r1csbls.R1CS)
	inA := map[int]bool{}
	for _, c := range cs.GetR1Cs() {
		for _, term := range c.L {
			inA[term.WireID()] = true
		}
	}
	n := 0
	for i := 1; i < cs.GetNbPublicVariables(); i++ {
		if !inA[i] {
			n++
		}
	}
	return n
}

// The figures of docs/statement.md that are about the circuit are the circuit's.
func TestFiguresInTheArgument(t *testing.T) {
	raw, err := os.ReadFile("../docs/statement.md")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(string(raw)), " ")
	names, sizes := parts(t)
	for i, name := range names {
		_, row, _ := strings.Cut(text, "| "+name)
		row, _, _ = strings.Cut(row, " |\n")
		if _, cell, _ := strings.Cut(row, "| "); !strings.HasPrefix(cell, thousands(sizes[i])+" |") {
			t.Errorf("%s: %s constraints; the document says %.20q", name, thousands(sizes[i]), cell)
		}
	}
	from, to := ProgramRange()
	for _, sentence := range []string{
		fmt.Sprintf("| in all | %s |", thousands(system().GetNbConstraints())),
		fmt.Sprintf("%d public and %d secret inputs", to, system().GetNbSecretVariables()),
		fmt.Sprintf("%d elements in this order", to),
		fmt.Sprintf("Secret inputs (%d)", system().GetNbSecretVariables()),
		fmt.Sprintf("| %d-%d | Program |", from, to-1),
		fmt.Sprintf("%d of the %d inputs are not in A", inputsOutsideA(), to),
		fmt.Sprintf("%d decompositions and %d zero tests", 2+NumericColumns+Atoms+Gates, Slots+Columns+Lookups*LookupPairs+Atoms+TextTests+2),
		fmt.Sprintf("below 2^%d, so that", 14),
	} {
		if !strings.Contains(text, sentence) {
			t.Errorf("the document does not say %q", sentence)
		}
	}
}

// thousands writes 10622 as 10,622.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// At five million subjects a bucket has a fourth entry somewhere with a probability of about n^4 / (4! places^3), which the document and
// limits.go give as 2e-5; two subjects share a key with one of n^2 / 2^129.
func TestFourthEntryIsRare(t *testing.T) {
	const n, places = 5e6, float64(Places)
	if p := n * n * n * n / 24 / places / places / places; p < 1.5e-5 || p > 2.5e-5 {
		t.Errorf("%g", p)
	}
	if bits := math.Log2(n * n / math.Exp2(129)); bits > -84 {
		t.Errorf("2^%g", bits)
	}
	if q := 128 - Levels*math.Log2(3); q > 94.8 || q > quotientBits {
		t.Errorf("the quotient has %g bits", q)
	}
}
