package policy

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

var people = &schema.Schema{Dataset: "people", Title: "People", Scheme: "id", Columns: []schema.Column{
	{Name: "age", Type: schema.Int}, {Name: "income", Type: schema.Decimal, Scale: 2}, {Name: "rent", Type: schema.Decimal, Scale: 2},
	{Name: "born", Type: schema.Date}, {Name: "limited", Type: schema.Bool},
	{Name: "region", Type: schema.Enum, Codes: []string{"north", "south", "west"}}, {Name: "town", Type: schema.Text},
	{Name: "class", Type: schema.Code}, {Name: "people", Type: schema.Int}, {Name: "visit", Type: schema.Date}, {Name: "other_town", Type: schema.Text},
}}

func compiled(t *testing.T, when string) *Template {
	t.Helper()
	template, err := (&Document{Policy: "p", Version: 1, Dataset: "people", When: when}).Compile(people)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

func person(t *testing.T, changes ...string) *circuits.Record {
	t.Helper()
	cells := []string{"70", "99.99", "100.00", "1960-02-29", "true", "south", "Ulm", "A-1", "3", "2024-01-31", "Bonn"}
	for i := 0; i < len(changes); i += 2 {
		_, at, ok := people.Column(changes[i])
		if !ok {
			t.Fatal(changes[i])
		}
		cells[at] = changes[i+1]
	}
	values, err := people.Parse(cells)
	if err != nil {
		t.Fatal(err)
	}
	record, err := people.Encode(values)
	if err != nil {
		t.Fatal(err)
	}
	return &record
}

// TestMeaning holds each operator to what a reader of the text expects, for one person as of 28 February 2025.
func TestMeaning(t *testing.T) {
	asOf := time.Date(2025, 2, 28, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		when string
		want bool
	}{
		{"age >= 70", true}, {"age > 70", false}, {"age < 70", false}, {"age <= 70", true}, {"age == 70", true}, {"age != 70", false},
		{"70 <= age", true}, {"70 > age", false}, {"70.5 > age", true}, {"age > 69.5", true}, {"age < 70.5 && age >= 69.5", true},
		{"income < 100", true}, {"income <= 99.99", true}, {"income < 99.99", false}, {"income > 99.989", true}, {"income >= 99.991", false},
		{"-income >= -99.99", true}, {"-income > -99.99", false}, {"income in [1.00, 99.99]", true}, {"income in [1, 2.5]", false},
		{"income == rent - 0.01", true}, {"2 * income - 3.0 * rent >= -100.02", true}, {"2 * income - 3 * rent > -100.02", false},
		{"income + age >= 169.99", true}, {"income + age > 169.99", false}, {"age * 2 == 140", true}, {"2 * (age - 1) == 138", true},
		{"age in [1, 70]", true}, {"age in [70]", true}, {"age in [1, 71]", false}, {"!(age in [1, 71])", true},
		{"age in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 70]", true},
		{"between(age, 70, 71)", true}, {"between(age, 71, 72)", false}, {"between(income, 99.98, 100)", true}, {"69 <= age && age <= 70", true},
		{"limited", true}, {"!limited", false}, {"limited == false", false}, {"limited != false", true}, {"limited in [false]", false},
		{`region == "south"`, true}, {`region != "south"`, false}, {`"north" == region`, false}, {`region in ["north", "south"]`, true},
		{`region in ["north", "west"]`, false}, {`class == "A-1"`, true}, {`class in ["A-1", "B"]`, true}, {`class != "A-2"`, true},
		{`town == "Ulm"`, true}, {`town != "Ulm"`, false}, {`town in ["Köln", "Ulm"]`, true}, {`!(town in ["Köln", "Bonn"])`, true},
		{`born == date("1960-02-29")`, true}, {`born < date("1960-03-01")`, true}, {`born + 1 >= date("1960-03-01")`, true},
		{`visit - born > 23000`, true}, {`born in [date("1960-02-29"), date("1961-01-01")]`, true}, {`between(born, date("1960-01-01"), date("1960-02-28"))`, false},
		{"age(born) >= 65", false}, {"age(born) >= 64", true}, {"age(born) == 64", true}, {"64 == age(born)", true}, {"age(born) != 64", false},
		{"age(born) < 65", true}, {"age(born) <= 64", true}, {"age(born) > 63", true}, {"age(born) in [1, 64]", true}, {"between(age(born), 60, 65)", true},
		{"days_since(visit) == 394", true}, {"days_since(visit) > 394", false}, {"days_since(visit) <= 394", true}, {"2 * days_since(visit) >= 787", true},
		{"days_since(visit + 30) >= 364", true}, {"days_since(visit) < days_since(born)", true}, {"days_since(visit) >= 10 * age", false},
		{"age <= table(people, {1: 10, 3: 70}, 0)", true}, {"age <= table(people, {1: 10, 2: 70}, 0)", false},
		{"income <= table(people, {1: 10, 3: 99.99})", true}, {"income < table(people, {1: 10, 3: 99.995}, 1)", true},
		{`age == 10 * table(region, {"south": 7, "west": 8}) `, true}, {"age > table(limited, {true: 65, false: 70})", true},
		{`table(class, {"A-1": 2}, 0) + table(people, {3: 5}, 0) == 7`, true}, {"table(people, {3: -1}, 5) < 0", true},
		{"at_least(2, age > 70, limited, people == 3)", true}, {"at_least(3, age > 70, limited, people == 3)", false},
		{"!at_least(2, !limited, age == 70, has(town))", false}, {"at_least(2, limited, limited, age > 99)", true},
		{"limited && (age > 70 || people == 3) && !(age == 70 && people == 4)", true}, {"!(limited && (age > 70 || people == 3))", false},
		{"(age > 70 && limited) || (people == 3 && age == 70) || !limited", true}, {"(age > 70 && limited) || (people == 2 && age == 70)", false},
		{"has(town) && has(age)", true}, {"!has(town) || !has(age)", false}, {"record_exists()", true},
		{"age <= 9223372036854775807", true}, {"age >= -9223372036854775807", true}, {"age > 9223372036854775807", false},
	} {
		program, err := compiled(t, c.when).At(asOf)
		if err != nil {
			t.Fatal(c.when, err)
		}
		want := circuits.NotSatisfied
		if c.want {
			want = circuits.Satisfied
		}
		if got := program.Evaluate(person(t)); got != want {
			t.Errorf("%s: %v, want %v", c.when, got, want)
		}
		if got := program.Evaluate(nil); got != circuits.NoRecord {
			t.Errorf("%s of no record: %v", c.when, got)
		}
	}
}

func TestMissingValues(t *testing.T) {
	const yes, no, unknown = circuits.Satisfied, circuits.NotSatisfied, circuits.Indeterminate
	for _, c := range []struct {
		when, missing string
		want          circuits.Verdict
	}{
		{"age >= 65", "age", unknown},
		{"limited || age >= 65", "age", unknown},
		{"!limited && age >= 65", "age", unknown},
		{"income + rent > 0", "rent", unknown},
		{"age > table(people, {1: 1}, 0)", "people", unknown},
		{"age > table(people, {1: 1})", "", unknown}, // a miss
		{"limited || age > table(people, {1: 1})", "", unknown},
		{"limited", "age", yes},
		{"record_exists()", "age", yes},
		{"has(age)", "age", no},
		{"!has(age)", "age", yes},
		{"has(town)", "town", no},
		{"!has(town) && limited", "town", yes},
		{"has(age) && age >= 65", "age", no},
		{"has(age) && age < 65", "age", no},
		{"!has(age) || age >= 75", "age", yes},
		{"!has(age) || age >= 75", "", no},
		{"!(has(age) && age < 65)", "age", yes},
		{"has(age) == true && age < 65", "age", no},
		{"has(age) && (limited && age < 65 || age + people > 3)", "age", no},
		{"limited || has(age) && age < 65", "age", yes},
		{"has(age) && has(people) && age > people", "age", no},
		{"has(age) && has(people) && age > people", "people", no},
		{"has(age) && age > people", "people", unknown},
		{"has(age) || age < 65", "age", unknown},           // does not guard
		{"has(age) && limited || age > 3", "age", unknown}, // guards something else
		{"at_least(2, has(age), age > 3, limited)", "age", unknown},
		{`has(town) && town == "Ulm"`, "town", no},
		{`!has(town) || town == "Ulm"`, "town", yes},
		{`has(people) && age > table(people, {3: 1}, 0)`, "people", no},
		{`has(people) && age > table(people, {3: 1})`, "people", unknown}, // a table without default is never exempt
		{"has(born) && age(born) >= 18", "born", no},
		{"has(age) && age in [1, 2]", "age", no},
	} {
		var changes []string
		if c.missing != "" {
			changes = []string{c.missing, ""}
		}
		template := compiled(t, c.when)
		program, err := template.At(time.Date(2025, 2, 28, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(c.when, err)
		}
		if got := program.Evaluate(person(t, changes...)); got != c.want {
			t.Errorf("%s without %q: %v, want %v", c.when, c.missing, got, c.want)
		}
		program.OnMissing, program.OnAbsent = no, no
		if c.want == unknown && program.Evaluate(person(t, changes...)) != no || program.Evaluate(nil) != no {
			t.Errorf("%s: the verdict is not the one that the policy maps to", c.when)
		}
	}
}

// TestSizes pins what texts cost: the same comparison once, one gate for what is nested of a kind, one nested condition in the gate
// around it.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		when                        string
		atoms, texts, tables, gates int
	}{
		{"record_exists()", 0, 0, 0, 1},
		{"age >= 5", 1, 0, 0, 1},
		{"age >= 5 || age < 5 || !(5 <= age) || 2 * age >= 10 || -age > -5 || 4 < age", 1, 0, 0, 1},
		{"age == 5 || 5 == age || age != 5 || 2 * age == 10", 1, 0, 0, 1},
		{"limited || limited == true || limited in [true] || !limited", 1, 0, 0, 1},
		{"age(born) >= 5 || age(born) < 5 || age(born) > 4", 1, 0, 0, 1},
		{"days_since(born) >= 5 || days_since(born) < 5", 1, 0, 0, 1},
		{`town == "a" && town != "a"`, 0, 1, 0, 1},
		{`town in ["a", "b", "c"]`, 0, 3, 0, 1},
		{"age > 1 && (age > 2 && (age > 3 && (age > 4 && age > 5)))", 5, 0, 0, 1},
		{"!(age > 1 || !(age > 2 && age > 3))", 3, 0, 0, 1},
		{"age > 1 && (age > 2 || age > 3)", 3, 0, 0, 1},
		{"age > 1 && (age > 2 || (age > 3 && (age > 4 || age > 5)))", 5, 0, 0, 1},
		{"(age > 1 || age > 2) && (age > 3 || age > 4)", 4, 0, 0, 2},
		{"(age > 1 && age > 2) || at_least(2, age > 3, age > 4, age > 5)", 5, 0, 0, 2},
		{"(age > 1 && age > 2 || age > 9) && !(age > 1 && age > 2)", 3, 0, 0, 2},
		{"age in [1, 2] || people in [1, 2] || age in [2, 1]", 2, 0, 2, 1},
		{"income > table(people, {1: 1}) || rent > table(people, {1: 1})", 2, 0, 1, 1},
		{"income > table(people, {1: 1}) || people in [1, 2] || age in [1, 2] || age in [1, 3] || age in [4, 5]", 6, 0, 4, 1},
	} {
		p := compiled(t, c.when).Program
		if got := []int{len(p.Atoms), len(p.TextTests), len(p.Lookups), len(p.Gates)}; !slices.Equal(got, []int{c.atoms, c.texts, c.tables, c.gates}) {
			t.Errorf("%s: atoms, texts, tables, gates %v, want %d %d %d %d", c.when, got, c.atoms, c.texts, c.tables, c.gates)
		}
	}
}

func TestRefusedPolicies(t *testing.T) {
	several := func(n int, form, join string) string {
		var parts []string
		for i := range n {
			parts = append(parts, strings.ReplaceAll(form, "#", strconv.Itoa(i)))
		}
		return strings.Join(parts, join)
	}
	for _, c := range []struct {
		when         string
		line, column int // 0: no place
		reason       string
		limit        string
	}{
		{"", 0, 0, "no condition", ""},
		{strings.Repeat(" ", 20000) + "limited", 0, 0, "bytes", ""},
		{"age >= ", 1, 8, "Syntax error", ""},
		{"age >= 5 &&\n  (limited", 2, 11, "Syntax error", ""},
		{"age = 5", 1, 5, "Syntax error", ""},
		{"limited &&\n  height >= 1", 2, 3, `no column "height" in dataset people`, ""},
		{"age", 1, 1, "gives int", ""},
		{"true", 1, 1, "constant", ""},
		{"1 < 2", 1, 3, "reads no column", ""},
		{"days_since(date(\"2020-01-01\")) > 3", 1, 32, "reads no column", ""},
		{"age && limited", 1, 1, "expected type 'bool' but found 'int'", ""},
		{`town < "a"`, 1, 6, "no matching overload for '<'", ""},
		{`town == other_town`, 1, 6, "no matching overload for '=='", ""},
		{`region == "east"`, 1, 11, "declared codes", ""},
		{`class == "12345678"`, 1, 10, "at most 7 bytes", ""},
		{`born > "2020-01-01"`, 1, 6, "no matching overload", ""},
		{`born > date("2020-02-30")`, 1, 13, "a day in quotes", ""},
		{"age == 1.5", 1, 5, "never so", ""},
		{"income in [1.001, 2]", 1, 12, "decimals", ""},
		{"age == limited", 1, 5, "no matching overload", ""},
		{"age(age) > 3", 1, 4, "no matching overload for 'age'", ""},
		{"age(born) > -1", 1, 13, "whole number from 0 to 199", ""},
		{"age(born) > 200", 1, 13, "whole number from 0 to 199", ""},
		{"age(born) + 1 > 20", 1, 4, "compare it with a whole number", ""},
		{"age(born) > age", 1, 13, "whole number from 0 to 199", ""},
		{"age / 2 > 3", 1, 5, "division", "linear forms"},
		{"age % 2 == 0", 1, 5, "division", "linear forms"},
		{"age * people > 3", 1, 5, "product of two columns", "linear forms"},
		{"age * table(people, {1: 2}, 0) > 3", 1, 5, "product of two columns", "linear forms"},
		{"age - age >= 0", 1, 11, "column age cancels out", ""},
		{"0 * age >= 0", 1, 9, "column age cancels out", ""},
		{"days_since(born) + days_since(visit) > 3", 1, 38, "counts 2 times", "1 as-of date"},
		{"age > 9223372036854775808", 1, 7, "9223372036854775808", ""},
		{"income > 92233720368547758.08", 1, 8, "overflow", "64 bits"},
		{"age + 9223372036854775807 > -5", 1, 27, "overflow", "64 bits"},
		{"days_since(born) > 9223372036854775807", 1, 18, "overflow", "64 bits"},
		{"3000000000 * age > people", 1, 18, "multiplied by 3000000000", "coefficients of 32 bits"},
		{"income > table(people, {1: 92233720368547758.08}, 0.001)", 1, 28, "overflow", "64 bits"},
		{"age > table(people, {1: 1, 1: 2})", 1, 28, "stands twice", ""},
		{"age > table(people, {})", 1, 21, "0 rows", "16 rows"},
		{"age > table(people, {" + several(17, "#: #", ", ") + "})", 1, 21, "17 rows", "16 rows"},
		{"age > table(people, {1: age})", 1, 25, "a table's values are numbers", ""},
		{`age > table(region, {"east": 1})`, 1, 22, "declared codes", ""},
		{"age > table(income, {1: 1})", 1, 12, "no matching overload", ""},
		{"table(people, {1: true}, false)", 1, 6, "compare it", ""},
		{"age > 0 || " + several(5, "age > table(people, {#: #})", " || "), 1, 147, "too many", "4 tables"},
		{"age in [" + several(65, "#", ", ") + "]", 1, 1, "too long", "4 tables of 16 rows"},
		{"age in []", 1, 8, "at least one value", ""},
		{several(13, "age > #", " || "), 1, 139, "comparisons of numbers", "12 atoms"},
		{several(5, `town == "#"`, " || "), 1, 66, "comparisons of texts", "4 text tests"},
		{several(9, "(age > # && people > # || rent > #)", " && "), 0, 0, "", "12 atoms"},
		{several(9, "((limited || age == #) && (has(town) || has(age)))", " || "), 1, 456, "nested", "8 gates"},
		{"at_least(4, limited, has(age), has(town))", 1, 10, "from 1 to 3", ""},
		{"at_least(0, limited, has(age))", 1, 10, "from 1 to 2", ""},
		{"at_least(" + several(17, "1", ", ") + ", limited)", 1, 9, "conditions", "16 conditions"},
		{"limited && record_exists()", 1, 25, "stands alone", ""},
		{"has(age + 1)", 1, 9, "wants a column", ""},
		{"limited ? has(age) : has(town)", 1, 9, "there is no ?:", ""},
		{"[1, 2][0] == age", 1, 7, "no indexing", ""},
		{`town.startsWith("U")`, 1, 16, "not on a value", ""},
		{"[1].all(x, x > 0)", 1, 8, "", ""},
		{"abs(age) > 3", 1, 4, `no function "abs": there are age, at_least, between`, ""},
		{"@decimal(\"1\") > age", 1, 1, "Syntax error", ""},
		{"age > 1e3", 1, 7, "without an exponent", ""},
		{"age > 1u", 1, 7, "constants are", ""},
		{"(limited && has(age)) == (limited || has(town))", 1, 23, "compare a bool column", ""},
		{"region == other_region", 1, 11, "no column", ""},
		{strings.Repeat("(", 2000) + "limited" + strings.Repeat(")", 2000), 0, 0, "", ""},
	} {
		name := c.when[:min(len(c.when), 60)]
		_, err := (&Document{Policy: "p", Version: 1, Dataset: "people", When: c.when}).Compile(people)
		if !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v, want %q", name, err, c.reason)
			continue
		}
		var at *SourceError
		if !errors.As(err, &at) {
			if c.line != 0 || c.limit != "" {
				t.Errorf("%s: no place in %v", name, err)
			}
			continue
		}
		if c.line != 0 && (at.Line != c.line || at.Column != c.column) || at.Limit != c.limit || at.Line < 1 || at.Column < 1 {
			t.Errorf("%s: %d:%d (limit %q), want %d:%d (limit %q): %s", name, at.Line, at.Column, at.Limit, c.line, c.column, c.limit, at.Reason)
		}
	}
	for name, text := range map[string]string{
		"unknown field": "policy: p\nwhan: limited\n", "a rule tree": "policy: p\nrule: {has: age}\n", "oversized": strings.Repeat(" ", MaxDocument+1),
	} {
		if _, err := Parse([]byte(text)); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, d := range []Document{{When: "limited", OnAbsent: "satisfied"}, {When: "limited", OnMissing: "no_record"}} {
		if _, err := d.Compile(people); !errors.Is(err, ErrPolicy) {
			t.Errorf("%+v: %v", d, err)
		}
	}
}

func TestErrorsShowTheLine(t *testing.T) {
	_, err := (&Document{Policy: "p", When: "limited &&\n\theight > 3"}).Compile(people)
	want := "when: line 2, column 2: no column \"height\" in dataset people\n  |  height > 3\n  |  ^"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestTemplateRoundTripAndBounds(t *testing.T) {
	template := compiled(t, "age(born) >= 65")
	data, err := template.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseTemplate(data); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "{}", strings.Replace(string(data), `"sign":-1`, `"sign":2`, 1), strings.Replace(string(data), `"atom":0`, `"atom":1`, 1),
		strings.Replace(string(data), `"years":65`, `"years":201`, 1), strings.Replace(string(data), `"threshold":0`, `"threshold":9999`, 1),
		string(data) + "x", strings.Replace(string(data), `{`, `{"x":1,`, 1),
	} {
		if _, err := ParseTemplate([]byte(bad)); !errors.Is(err, ErrTemplate) {
			t.Errorf("accepted %q: %v", bad, err)
		}
	}
}

func FuzzParseTemplate(f *testing.F) {
	f.Add([]byte(`{"program":{"gates":[{"threshold":0}],"on_absent":"no_record","on_missing":"indeterminate"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		template, err := ParseTemplate(data)
		if err != nil {
			return
		}
		if _, err := template.At(time.Unix(0, 0)); err != nil && !errors.Is(err, ErrTemplate) && !errors.Is(err, circuits.ErrProgram) {
			t.Fatal(err)
		}
	})
}
