package circuits

import (
	"fmt"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/backend/witness"
	"github.com/consensys/gnark/frontend"
)

// Forgeries of public inputs: of each of the 641, one by one, another value than the statement has.

// weighty is a program in which everything counts: every atom, text test and gate is true for the record and needed for the outcome,
// and every coefficient, constant, key and value of theirs is needed for that. Row is the row of all four tables that the record
// hits; 16 and more is none.
func weighty(row int, record *Record, test Test) *Program {
	p := &Program{OnAbsent: NoRecord, OnMissing: Indeterminate}
	for i := range Lookups {
		l := Lookup{Column: i, Default: int64(40 + i)}
		for j := range int64(LookupPairs) {
			l.Pairs = append(l.Pairs, Pair{Key: 1000*int64(i+1) + j, Value: 7000 + 100*int64(i) + j})
		}
		record.Numeric[i] = code(1000*int64(i+1) + int64(row))
		p.Lookups = append(p.Lookups, l)
	}
	for i := range Atoms {
		a := Atom{Test: test}
		for j := range NumericColumns {
			a.Columns = append(a.Columns, Term{j, int32(i + j + 1)})
		}
		for j := range Lookups {
			a.Lookups = append(a.Lookups, LookupTerm{j, int32(-i - j - 1)})
		}
		results, _ := p.lookups(record)
		for _, t := range a.Columns {
			a.Constant -= int64(t.Coefficient) * signed(record.Numeric[t.Column])
		}
		for _, t := range a.Lookups {
			a.Constant -= int64(t.Coefficient) * results[t.Lookup]
		}
		if test == AtLeastZero {
			a.Constant++
		}
		p.Atoms = append(p.Atoms, a)
	}
	for i := range TextTests {
		p.TextTests = append(p.TextTests, TextTest{i, record.Text[i]})
	}
	for i := range Gates {
		g := Gate{Threshold: Atoms + TextTests + i}
		for _, weights := range []struct {
			to *[]int
			n  int
		}{{&g.Atoms, Atoms}, {&g.Texts, TextTests}, {&g.Gates, i}} {
			for range weights.n {
				*weights.to = append(*weights.to, 1)
			}
		}
		p.Gates = append(p.Gates, g)
	}
	return p
}

// lookedAt are honest statements, each of which depends on some of the public inputs.
type lookedAt struct {
	t    *testing.T
	made map[string]witness.Witness
}

// of returns the witness of an honest statement: "row N" (N = 16: no row), "at least" (atoms above 0), "missing N" (column N), "absent".
func (l *lookedAt) of(name string) witness.Witness {
	l.t.Helper()
	if w, ok := l.made[name]; ok {
		return w
	}
	record, row, test := sampleRecord(), 0, EqualsZero
	var column int
	_, _ = fmt.Sscanf(name, "row %d", &row)
	if name == "at least" {
		test = AtLeastZero
	}
	p := weighty(row, record, test)
	if n, _ := fmt.Sscanf(name, "missing %d", &column); n == 1 {
		if column < NumericColumns {
			record.Numeric[column] = 0
		} else {
			record.Text[column-NumericColumns] = fr.Element{}
		}
	}
	if name == "absent" {
		record = nil
	}
	f := newFixture(newRand(21), record, p)
	for i := range f.mask {
		f.mask[i] = true
	}
	s := f.assign(l.t)
	if err := solve(l.t, s); err != nil {
		l.t.Fatalf("%s: %v", name, err)
	}
	want := map[string]Verdict{"missing": Indeterminate, "absent": NoRecord}
	if kind, _, _ := strings.Cut(name, " "); s.Verdict != uint64(want[kind]) && (want[kind] != 0 || s.Verdict != uint64(Satisfied)) {
		l.t.Fatalf("%s: the verdict is %v", name, s.Verdict)
	}
	w, err := frontend.NewWitness(s, Curve.ScalarField())
	if err != nil {
		l.t.Fatal(err)
	}
	l.made[name] = w
	return w
}

// where says in which honest statement a public input counts, and by how much to change it there.
func where(input string) (statement string, change int64) {
	var i, j int
	matches := func(format string, args ...any) bool {
		n, err := fmt.Sscanf(input, format, args...)
		return err == nil && n == len(args)
	}
	switch {
	case matches("Program_Used_%d", &i):
		return fmt.Sprintf("missing %d", i), -1
	case input == "Program_OnAbsent":
		return "absent", -1
	case input == "Program_OnMissing":
		return "missing 0", -1
	case matches("Program_Lookups_%d_Keys_%d", &i, &j), matches("Program_Lookups_%d_Values_%d", &i, &j):
		return fmt.Sprintf("row %d", j), 1
	case strings.HasSuffix(input, "_Default"), strings.HasSuffix(input, "_MissIsMissing"):
		return "row 16", 1
	case strings.HasSuffix(input, "_EqualsZero"):
		return "at least", 1
	case strings.HasPrefix(input, "Program_Gates_") && !strings.HasSuffix(input, "_Threshold"), strings.HasPrefix(input, "Program_Earlier_"),
		strings.HasPrefix(input, "Mask_"):
		return "row 0", -1
	}
	return "row 0", 1
}

// Each public input, changed in a statement in which it counts, makes the statement one that no assignment of this prover satisfies.
// The context counts in none: package prover changes it, and every other, under a real proof.
func TestForgedPublicInputs(t *testing.T) {
	l := &lookedAt{t, map[string]witness.Witness{}}
	for i, name := range PublicNames() {
		if name == "Context" {
			continue
		}
		statement, change := where(name)
		values := l.of(statement).Vector().(fr.Vector)
		old := values[i]
		var by fr.Element
		values[i].Add(&old, by.SetInt64(change))
		if _, err := system().Solve(l.of(statement)); err == nil {
			t.Errorf("%s may be another in a statement (%s) in which it counts", name, statement)
		}
		values[i] = old
	}
	for name, w := range l.made { // with the changes taken back
		if _, err := system().Solve(w); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A statement about one policy is none about another, even if that one is laid out alike.
func TestForgedPolicy(t *testing.T) {
	for name, change := range map[string]func(*Program){
		"a lower threshold":       func(p *Program) { p.Atoms[0].Constant = -1000 },
		"another row of a table":  func(p *Program) { p.Lookups[0].Pairs[0].Value = 1; p.TextTests[0].Value = TextElement("east") },
		"another text":            func(p *Program) { p.TextTests[0].Value = TextElement("east"); p.Atoms[1].Constant = -1 << 40 },
		"and instead of or":       func(p *Program) { p.Gates[0].Threshold = 2; p.Atoms[1].Constant = -1 << 40 },
		"another column":          func(p *Program) { p.Atoms[0].Columns[0].Column = 5; p.Atoms[0].Constant = -601 },
		"another gate as outcome": func(p *Program) { p.Gates = append(p.Gates, Gate{Threshold: 1}) },
	} {
		f, s := honest(t, sampleRecord(), sampleProgram())
		other := sampleProgram()
		change(other)
		if other.Evaluate(f.sec.Record) == Satisfied {
			t.Fatalf("%s: nothing to forge", name)
		}
		s.Program.assign(other.layout())
		if solve(t, s) == nil {
			t.Errorf("%s: accepted", name)
		}
		s.Program.assign(f.program.layout())
		if err := solve(t, s); err != nil {
			t.Errorf("%s, taken back: %v", name, err)
		}
	}
}

// What Program.Check refuses would be a statement of another meaning (two hits in a table add up), or one that nobody can prove (a sum
// beyond its bits); it never makes the circuit read another bit.
func TestCircuitOnProgramsThatCheckRefuses(t *testing.T) {
	record := sampleRecord()
	lay := func(change func(*Program)) *Statement {
		f, s := honest(t, record, sampleProgram())
		p := sampleProgram()
		change(p)
		if p.Check() == nil {
			t.Fatal("Check accepts it")
		}
		f.program = p
		s.Program.assign(p.layout())
		return s
	}
	overlapping := lay(func(p *Program) { // 300 twice: 1696 and 5 add up
		p.Lookups[0].Pairs = []Pair{{300, 1696}, {300, 5}}
		p.Atoms[1] = Atom{Lookups: []LookupTerm{{0, 1}}, Constant: -1701, Test: AtLeastZero}
	})
	if err := solve(t, overlapping); err != nil {
		t.Errorf("overlapping rows no longer add up, and Check need not refuse them: %v", err)
	}
	for name, s := range map[string]*Statement{
		"weights of 1024 and more":  lay(func(p *Program) { p.Gates[1].Atoms = []int{1024, 1024, 1}; p.Gates[1].Threshold = 3 }),
		"weights of -1024 and less": lay(func(p *Program) { p.Gates[1].Atoms = []int{-1024, -1024, 1}; p.Gates[1].Threshold = 3 }),
		"a threshold of -4096":      lay(func(p *Program) { p.Gates[1].Threshold = -4096 }),
		"a threshold of 4096":       lay(func(p *Program) { p.Gates[1].Threshold = 4096 }),
	} {
		for v := range 4 {
			s.Verdict = v
			if solve(t, s) == nil {
				t.Errorf("%s: verdict %d is accepted", name, v)
			}
		}
	}
	atoms := lay(func(p *Program) { p.Gates[1].Threshold = 513 }) // otherwise well formed: the atom is out of range below
	atoms.Program.assign(sampleProgram().layout())
	atoms.Program.Atoms[0].Constant = power(100)
	for v := range 4 {
		atoms.Verdict = v
		if solve(t, atoms) == nil {
			t.Errorf("a constant of 2^100: verdict %d is accepted", v)
		}
	}
}
