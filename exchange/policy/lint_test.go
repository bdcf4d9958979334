package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/exchange/schema"
)

func lintOf(t *testing.T, when string, others ...string) *Lint {
	t.Helper()
	var beside []Published
	for i, o := range others {
		beside = append(beside, Published{Name: fmt.Sprintf("o/%d", i+1), Template: compiled(t, o)})
	}
	return NewLint(&Document{Policy: "p", Version: 1, Dataset: "people", When: when}, compiled(t, when), people, beside)
}

func TestLintNamesVerdictsAndColumns(t *testing.T) {
	for _, c := range []struct{ when, verdicts, columns string }{
		{"record_exists()", "satisfied no_record", ""},
		{"limited", "not_satisfied satisfied indeterminate no_record", "limited"},
		{"has(age)", "not_satisfied satisfied no_record", "age?-"},
		{"has(age) && age > 3", "not_satisfied satisfied no_record", "age?"},
		{"has(age) && age > table(people, {1: 1})", "not_satisfied satisfied indeterminate no_record", "age? people"},
		{"has(people) && age > table(people, {1: 1}) || has(age)", "not_satisfied satisfied indeterminate no_record", "age people?"},
		{"age > 3 && age <= 3", "not_satisfied indeterminate no_record", "age"},
		{"age > 3 || age <= 3", "satisfied indeterminate no_record", "age"},
		{`has(town) && town == "Ulm" && income > 2`, "not_satisfied satisfied indeterminate no_record", "income town?"},
	} {
		l := lintOf(t, c.when)
		var columns []string
		for _, r := range l.Columns {
			name := r.Column
			if r.MayMiss {
				name += "?"
			}
			if !r.ValueRead {
				name += "-"
			}
			columns = append(columns, name)
		}
		if got := strings.Join(l.Verdicts, " "); got != c.verdicts || strings.Join(columns, " ") != c.columns {
			t.Errorf("%s: verdicts %s, columns %v; want %s, %s", c.when, got, columns, c.verdicts, c.columns)
		}
	}
}

func TestLintWarns(t *testing.T) {
	for _, c := range []struct{ when, other, want string }{
		{"income <= 1000", "income <= 1000.01", "both compare income: asking both can tell whether it is from 1000.01 to just below 1000.02 (1 values)"},
		{"income <= 1000.01", "income < 1000.01 && limited", "from 1000.01 to just below 1000.02"},
		{"income <= 1000", "income <= 1000 && limited", ""}, // the same threshold
		{"income <= 1000", "rent <= 1001", ""},
		{"income <= 1000", "1000 >= income", "is the same program"},
		{"2 * income > rent", "2 * income > rent + 5", "both compare 2 * income - rent"},
		{"age(born) >= 65", "age(born) >= 66", "from as_of - 66 years + 1 days to just below as_of - 65 years + 1 days"},
		{"days_since(visit) >= 30", "days_since(visit) >= 31", "both compare visit"},
		{"days_since(visit) >= 30", `visit >= date("2026-01-01")`, ""}, // one moves with the day
		{`region == "north"`, `region == "west"`, "both compare region, with north and with west"},
		{"age == 70", "age >= 70", "can single a value out"},
		{`region in ["north", "west"]`, `region in ["south", "west"]`, "both look table(region) up"},
		{`region in ["north", "west"]`, `region in ["west", "north"] && limited`, ""},
		{`town == "Ulm"`, `town == "Bonn"`, "both compare town"},
		{"has(age)", "age > 3", ""},
		{"has(age) && age > 3 || age < 0", "limited", "has(age) is always true here"},
	} {
		got := strings.Join(lintOf(t, c.when, c.other).Warnings, "\n")
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s beside %s: %q, want %q", c.when, c.other, got, c.want)
		}
	}
	if w := lintOf(t, "income > 1 || income > 2 || age > 5", "income > 1 || income > 3 || age > 5").Warnings; len(w) != 3 {
		t.Errorf("each pair of thresholds has a warning: %q", w)
	}
}

func TestCasesRun(t *testing.T) {
	cases, err := ParseCases([]byte(`as_of: 2026-03-01
cases:
  - {name: plain, record: {age: 70, income: 1000.00, born: 1960-03-01, limited: true, town: Ulm}, verdict: satisfied}
  - {record: {age: "70", income: '1000.01', born: "1960-03-01", limited: true}, verdict: satisfied}
  - {name: empty, record: {age: 70, income: 1, born: ~, limited: true}, verdict: indeterminate}
  - {name: nothing, record: {}, verdict: indeterminate}
  - {name: nobody, record: null, verdict: no_record}
`))
	if err != nil {
		t.Fatal(err)
	}
	results, err := cases.Run(compiled(t, "income <= 1000 && age(born) >= 66"), people)
	if err != nil {
		t.Fatal(err)
	}
	var held []bool
	for _, r := range results {
		held = append(held, r.Held)
	}
	if !slices.Equal(held, []bool{true, false, true, true, true}) || results[1].Name != "case 2" || results[1].Got != "not_satisfied" {
		t.Errorf("%+v", results)
	}
}

func TestCasesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"not YAML": "cases: [", "none": "cases: []", "unknown field": "cases: [{rekord: {}}]", "a list": "cases: [{record: {age: [1]}, verdict: satisfied}]",
		"unknown column": "cases: [{as_of: 2026-01-01, record: {salary: 1}, verdict: satisfied}]", "no verdict": "cases: [{as_of: 2026-01-01, record: {}}]",
		"bad verdict": "cases: [{as_of: 2026-01-01, verdict: approved}]", "no date": "cases: [{record: {}, verdict: satisfied}]",
		"bad date": "cases: [{as_of: today, verdict: satisfied}]", "too large": strings.Repeat("#", MaxCases+1),
	} {
		c, err := ParseCases([]byte(text))
		if err == nil {
			_, err = c.Run(compiled(t, "age(born) >= 66"), people)
		}
		if !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err := ParseCases([]byte("cases: [{as_of: 2026-01-01, record: {age: old}, verdict: satisfied}]"))
	if err != nil {
		t.Fatal(err)
	}
	var cell *schema.CellError
	if _, err := c.Run(compiled(t, "age >= 66"), people); !errors.As(err, &cell) || cell.Column != "age" {
		t.Errorf("a bad value: %v", err)
	}
}

func FuzzParseCases(f *testing.F) {
	f.Add([]byte("as_of: 2026-01-01\ncases: [{record: {born: 1960-01-01}, verdict: satisfied}]"))
	f.Add([]byte("cases: [{record: &a {age: *a}}]"))
	f.Add([]byte("cases: [{name: 'a', record: {town: \"\\u00e9\", age: null}}]"))
	template, err := (&Document{When: "age(born) >= 66 && has(town)"}).Compile(people)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseCases(data)
		var cell *schema.CellError
		if err == nil {
			_, err = c.Run(template, people)
		}
		if err != nil && !errors.Is(err, ErrPolicy) && !errors.As(err, &cell) {
			t.Fatal(err)
		}
	})
}

func TestDiff(t *testing.T) {
	diff := func(a, b string) *Difference {
		return Diff(&Document{Policy: "p", Version: 1, When: a}, &Document{Policy: "p", Version: 2, When: b}, compiled(t, a), compiled(t, b), people, people)
	}
	if d := diff("age >= 5", "5 <= age"); d.Program || len(d.Changes) != 3 { // version, line, line
		t.Errorf("the same in other words: %+v", d)
	}
	d := diff("age >= 5 &&\n limited", "age >= 6 &&\n limited && has(town)")
	want := []Change{{"version", "1", "2"}, {"when", "age >= 5 &&", ""}, {"when", "limited", ""}, {"when", "", "age >= 6 &&"}, {"when", "", "limited && has(town)"},
		{"comparison", "age >= 5", ""}, {"comparison", "", "age >= 6"}, {"comparison", "", "!has(town)"}, {"text tests", "0", "1"},
		{"columns", "age, limited", "age, limited, town (may be missing)"}}
	if !d.Program || !slices.Equal(d.Changes, want) {
		t.Errorf("%+v", d)
	}
}
