package circuits

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"pgregory.net/rapid"
)

func TestSampleProgramIsWellFormed(t *testing.T) {
	if err := sampleProgram().Check(); err != nil {
		t.Fatal(err)
	}
	used := sampleProgram().Used()
	for i, want := range map[int]bool{0: true, 1: true, 2: true, 3: false, 4: false, 11: false, 12: true, 13: false} {
		if used[i] != want {
			t.Errorf("column %d: used is %v", i, used[i])
		}
	}
}

// malformed are changes to the sample program that Check refuses, by a part of its message.
var malformed = []struct {
	message string
	change  func(*Program)
}{
	{"5 lookups", func(p *Program) { p.Lookups = make([]Lookup, 5) }},
	{"13 atoms", func(p *Program) { p.Atoms = make([]Atom, 13) }},
	{"5 text tests", func(p *Program) { p.TextTests = make([]TextTest, 5) }},
	{"0 gates", func(p *Program) { p.Gates = nil }},
	{"9 gates", func(p *Program) { p.Gates = make([]Gate, 9) }},
	{"on_absent", func(p *Program) { p.OnAbsent = Satisfied }},
	{"on_absent", func(p *Program) { p.OnAbsent = Indeterminate }},
	{"on_missing", func(p *Program) { p.OnMissing = Satisfied }},
	{"on_missing", func(p *Program) { p.OnMissing = NoRecord }},
	{"on_missing", func(p *Program) { p.OnMissing = 4 }},
	{"lookup 0: malformed program: no numeric column 12", func(p *Program) { p.Lookups[0].Column = 12 }},
	{"no numeric column -1", func(p *Program) { p.Lookups[0].Column = -1 }},
	{"17 pairs", func(p *Program) { p.Lookups[0].Pairs = make([]Pair, 17) }},
	{"stands twice", func(p *Program) { p.Lookups[0].Pairs[2].Key = 300 }},
	{"below what a column holds", func(p *Program) { p.Lookups[0].Pairs[2].Key = math.MinInt64 }},
	{"atom 1: malformed program: the test", func(p *Program) { p.Atoms[1].Test = "" }},
	{"the test", func(p *Program) { p.Atoms[1].Test = "gt0" }},
	{"no numeric column 12", func(p *Program) { p.Atoms[0].Columns[0].Column = 12 }},
	{"no numeric column -1", func(p *Program) { p.Atoms[0].Columns[0].Column = -1 }},
	{"the coefficient 0", func(p *Program) { p.Atoms[0].Columns[0].Coefficient = 0 }},
	{"column 0 stands twice", func(p *Program) { p.Atoms[0].Columns = append(p.Atoms[0].Columns, Term{0, 2}) }},
	{"no lookup 1", func(p *Program) { p.Atoms[1].Lookups[0].Lookup = 1 }},
	{"no lookup -1", func(p *Program) { p.Atoms[1].Lookups[0].Lookup = -1 }},
	{"lookup 0 has the coefficient 0", func(p *Program) { p.Atoms[1].Lookups[0].Coefficient = 0 }},
	{"lookup 0 stands twice", func(p *Program) { p.Atoms[1].Lookups = []LookupTerm{{0, 1}, {0, 1}} }},
	{"no text column 4", func(p *Program) { p.TextTests[0].Column = 4 }},
	{"no text column -1", func(p *Program) { p.TextTests[0].Column = -1 }},
	{"lookup 0 has the coefficient 0", func(p *Program) { p.Atoms[1].Lookups[0].Coefficient = 0 }},
	{"4 atoms, there are 3", func(p *Program) { p.Gates[0].Atoms = make([]int, 4) }},
	{"2 text tests, there are 1", func(p *Program) { p.Gates[0].Texts = make([]int, 2) }},
	{"1 gates, 0 come before", func(p *Program) { p.Gates[0].Gates = make([]int, 1) }},
	{"2 gates, 1 come before", func(p *Program) { p.Gates[1].Gates = make([]int, 2) }},
	{"the threshold", func(p *Program) { p.Gates[1].Threshold = 513 }},
	{"the threshold", func(p *Program) { p.Gates[1].Threshold = -513 }},
	{"a weight must", func(p *Program) { p.Gates[1].Atoms[0] = 512 }},
	{"a weight must", func(p *Program) { p.Gates[1].Atoms[0] = math.MinInt }},
	{"sum to 512", func(p *Program) { p.Gates[1].Atoms = []int{-255, 0, 256} }},
	{"exempt column 16", func(p *Program) { p.Exempt = []int{16} }},
	{"exempt column -1", func(p *Program) { p.Exempt = []int{-1} }},
	{"must ascend", func(p *Program) { p.Exempt = []int{3, 3} }},
	{"exempt column 5 is not read", func(p *Program) { p.Exempt = []int{5} }},
}

func TestCheckRefusesMalformedPrograms(t *testing.T) {
	for i, c := range malformed {
		p := sampleProgram()
		c.change(p)
		err := p.Check()
		if !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%d, %q: %v", i, c.message, err)
		}
	}
	if err := (*Program)(nil).Check(); !errors.Is(err, ErrProgram) {
		t.Error(err)
	}
}

func TestCheckAcceptsTheLimits(t *testing.T) {
	p := sampleProgram()
	p.Gates[1] = Gate{Atoms: []int{-255, 0, 256}, Threshold: 512}
	p.Gates[1].Atoms[0]++
	p.Lookups[0].Pairs[0].Key = math.MinInt64 + 1
	p.Lookups[0].Pairs[1] = Pair{math.MaxInt64, math.MinInt64}
	p.Atoms[0].Columns[0].Coefficient = math.MinInt32
	p.Atoms[0].Constant = math.MinInt64
	p.TextTests = append(p.TextTests, TextTest{Column: 3})
	p.Exempt = []int{3, 15}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	if used := p.Used(); used[15] || used[3] || !used[12] {
		t.Fatal("another mask")
	}
}

func TestProgramJSON(t *testing.T) {
	p := sampleProgram()
	p.Atoms[0].Constant = math.MinInt64
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"constant":"-9223372036854775808"`, `"key":"300"`, `"on_absent":"no_record"`, `"test":"ge0"`} {
		if !bytes.Contains(data, []byte(want)) {
			t.Errorf("no %s in %s", want, data)
		}
	}
	var back Program
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, &back) {
		t.Fatalf("%+v is read as %+v", p, back)
	}
}

func TestTextTestJSONRefuses(t *testing.T) {
	value := strings.Repeat("0", 63) + "a"
	for _, bad := range []string{
		`{"column":0}`, `{"value":"` + value + `"}`, `{"column":0,"value":"` + value[1:] + `"}`,
		`{"column":0,"value":"` + strings.ToUpper(value) + `"}`, `{"column":0,"value":"` + value + `","x":1}`, `{"Column":0,"value":"` + value + `"}`, `{"column":1,"value":"` + value + `","VALUE":""}`, `null`,
		`{"column":0,"value":"` + value[:63] + `g"}`, `{"column":"0","value":"` + value + `"}`,
		`{"column":0,"value":"73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"}`, // the modulus
		`{"column":0,"value":"` + strings.Repeat("f", 64) + `"}`, `[]`, `"x"`,
	} {
		var test TextTest
		if json.Unmarshal([]byte(bad), &test) == nil {
			t.Errorf("%s is read", bad)
		}
	}
	var test TextTest
	if err := json.Unmarshal([]byte(`{"column":0,"value":"`+value+`"}`), &test); err != nil || test.Value != fr.NewElement(10) {
		t.Error(err, test)
	}
}

func FuzzProgramJSON(f *testing.F) {
	data, err := json.Marshal(sampleProgram())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"gates":[{"threshold":1}],"on_absent":"no_record","on_missing":"indeterminate"}`))
	f.Add([]byte(`{"gates":[{"gates":[1],"threshold":-1}],"text_tests":[{"column":9}],"on_absent":"satisfied"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var p Program
		if json.Unmarshal(data, &p) != nil || p.Check() != nil {
			return
		}
		p.Evaluate(nil)
		p.Evaluate(new(Record))
		p.Evaluate(sampleRecord())
		if n := len(p.layout().appendTo(nil)); n != programInputs {
			t.Fatalf("%d inputs", n)
		}
		again, err := json.Marshal(&p)
		if err != nil {
			t.Fatal(err)
		}
		var back Program
		if err := json.Unmarshal(again, &back); err != nil {
			t.Fatal(err)
		}
	})
}

// recordWith is the sample record, whose column i is 100 (i+1), with a change.
func recordWith(change func(*Record)) *Record {
	r := sampleRecord()
	change(r)
	return r
}

// evaluations are verdicts of the sample program.
var evaluations = map[string]struct {
	record *Record
	want   Verdict
}{
	"absent":                       {nil, NoRecord},
	"all hold":                     {recordWith(func(*Record) {}), Satisfied},
	"too young":                    {recordWith(func(r *Record) { r.Numeric[0] = code(64) }), NotSatisfied},
	"at the threshold":             {recordWith(func(r *Record) { r.Numeric[0] = code(65) }), Satisfied},
	"income high, region right":    {recordWith(func(r *Record) { r.Numeric[1] = code(1697) }), Satisfied},
	"income high, region wrong":    {recordWith(func(r *Record) { r.Numeric[1] = code(1697); r.Text[0] = TextElement("east") }), NotSatisfied},
	"income equal, region wrong":   {recordWith(func(r *Record) { r.Numeric[1] = code(1696); r.Text[0] = TextElement("east") }), Satisfied},
	"second row, region wrong":     {recordWith(func(r *Record) { r.Numeric[2] = code(301); r.Numeric[1] = code(2292); r.Text[0] = TextElement("east") }), Satisfied},
	"default, region wrong":        {recordWith(func(r *Record) { r.Numeric[2] = code(9); r.Text[0] = TextElement("east") }), NotSatisfied},
	"column 0 missing":             {recordWith(func(r *Record) { r.Numeric[0] = 0 }), Indeterminate},
	"lookup column missing":        {recordWith(func(r *Record) { r.Numeric[2] = 0 }), Indeterminate},
	"text missing":                 {recordWith(func(r *Record) { r.Text[0] = fr.Element{} }), Indeterminate},
	"exempt column missing":        {recordWith(func(r *Record) { r.Numeric[3] = 0 }), NotSatisfied},
	"exempt column at its least":   {recordWith(func(r *Record) { r.Numeric[3] = 1 }), Satisfied},
	"unused columns missing":       {recordWith(func(r *Record) { r.Numeric[4], r.Text[3] = 0, fr.Element{} }), Satisfied},
	"missing though not satisfied": {recordWith(func(r *Record) { r.Numeric[0], r.Numeric[1] = code(1), 0 }), Indeterminate},
}

func TestEvaluate(t *testing.T) {
	for name, c := range evaluations {
		if got := sampleProgram().Evaluate(c.record); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	p := sampleProgram()
	p.OnAbsent, p.OnMissing, p.Lookups[0].MissIsMissing = NotSatisfied, NotSatisfied, true
	if p.Evaluate(nil) != NotSatisfied || p.Evaluate(new(Record)) != NotSatisfied {
		t.Error("outcomes are not folded")
	}
	if got := p.Evaluate(sampleRecord()); got != Satisfied {
		t.Error(got)
	}
	p.OnMissing = Indeterminate
	if got := p.Evaluate(recordWith(func(r *Record) { r.Numeric[2] = code(9) })); got != Indeterminate {
		t.Error(got)
	}
	// Exempt columns that are missing count as -2^63, as no key of a table and as no text; so Check wants them guarded.
	p.Lookups[0].MissIsMissing, p.Exempt = false, []int{0, 1, 2, 3, 12}
	p.Gates = []Gate{{Atoms: []int{-1, 1}, Texts: []int{-1}, Threshold: 1}} // column 1 below what a table gives, 0 and text wrong
	if err := p.Check(); !errors.Is(err, ErrProgram) {
		t.Error(err)
	}
	if got := p.Evaluate(new(Record)); got != Satisfied {
		t.Error(got)
	}
}

func TestPublicNamesAreTheCircuits(t *testing.T) {
	names := PublicNames()
	got := publicWireNames(t)
	if len(names) != len(got) {
		t.Fatalf("%d names, the circuit has %d", len(names), len(got))
	}
	for i := range names {
		if names[i] != got[i] {
			t.Fatalf("input %d is %s, the circuit has %s", i, names[i], got[i])
		}
	}
	from, to := ProgramRange()
	for i, name := range names {
		if inRange := i >= from && i < to; inRange != strings.HasPrefix(name, "Program_") {
			t.Errorf("%s is at %d", name, i)
		}
	}
}

// Vector, made from the public half, is the public part of the witness, made from the assignment.
func TestVectorIsTheWitness(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProgram(t)
		f := newFixture(newRand(rapid.Uint64().Draw(t, "seed")), drawRecord(t, p), p)
		for i := range f.mask {
			f.mask[i] = rapid.Bool().Draw(t, "mask")
		}
		checkVector(t, f)
	})
}

func TestVectorRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*Public)
		want   error
	}{
		"no program":            {func(p *Public) { p.Program = nil }, ErrProgram},
		"a malformed program":   {func(p *Public) { p.Program.Gates = nil }, ErrProgram},
		"an undeclared verdict": {func(p *Public) { p.Verdict = 4 }, ErrPublic},
		"shown outside mask":    {func(p *Public) { p.Disclosed[3].SetOne() }, ErrPublic},
		"a number of 65 bits":   {func(p *Public) { p.Mask[3] = true; p.Disclosed[3].SetBigInt(power(64)) }, ErrPublic},
		"a number of -1":        {func(p *Public) { p.Mask[3] = true; p.Disclosed[3].SetInt64(-1) }, ErrPublic},
	}
	for name, c := range cases {
		f := newFixture(newRand(1), sampleRecord(), sampleProgram())
		pub := f.public(t)
		c.change(pub)
		if _, err := pub.Vector(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Assign(pub, &f.sec); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
