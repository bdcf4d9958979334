package policy

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

var people = &schema.Schema{Dataset: "people", Title: "People", Scheme: "id", Columns: []schema.Column{
	{Name: "age", Type: schema.Int}, {Name: "income", Type: schema.Decimal, Scale: 2}, {Name: "rent", Type: schema.Decimal, Scale: 2},
	{Name: "born", Type: schema.Date}, {Name: "limited", Type: schema.Bool},
	{Name: "region", Type: schema.Enum, Codes: []string{"north", "south", "west"}}, {Name: "town", Type: schema.Text},
}}

// evaluate answers a rule from the cells, sharing nothing with the compiler: numbers are compared as scaled integers.
func evaluate(t interface{ Fatal(...any) }, r *Rule, cells map[string]string, asOf time.Time) bool {
	count := func(rules []Rule) (n int) {
		for i := range rules {
			if evaluate(t, &rules[i], cells, asOf) {
				n++
			}
		}
		return n
	}
	switch {
	case r.All != nil:
		return count(r.All) == len(r.All)
	case r.Any != nil:
		return count(r.Any) > 0
	case r.AtLeast != nil:
		return count(r.AtLeast.Of) >= r.AtLeast.K
	case r.Not != nil:
		return !evaluate(t, r.Not, cells, asOf)
	case r.Has != "":
		return cells[r.Has] != ""
	case r.In != nil:
		return slices.Contains(r.In, cells[r.Column])
	case r.Age != "":
		born, err := time.Parse(time.DateOnly, cells[r.Age])
		if err != nil {
			t.Fatal(err)
		}
		years := asOf.Year() - born.Year()
		if asOf.Month() < born.Month() || asOf.Month() == born.Month() && asOf.Day() < born.Day() {
			years--
		}
		return holds(years-atoi(t, r.Value), r.Op)
	case r.Sum != nil:
		total := 0
		for _, p := range r.Sum {
			total += int(p.Times) * atoi(t, strings.Replace(cells[p.Column], ".", "", 1))
		}
		return holds(total-atoi(t, strings.Replace(r.Value, ".", "", 1)), r.Op)
	}
	if r.Column == "town" || r.Column == "region" || r.Column == "limited" {
		return (cells[r.Column] == r.Value) == (r.Op == "==")
	}
	return holds(atoi(t, strings.Replace(cells[r.Column], ".", "", 1))-atoi(t, strings.Replace(r.Value, ".", "", 1)), r.Op)
}

func atoi(t interface{ Fatal(...any) }, s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func holds(difference int, op string) bool {
	switch op {
	case ">=":
		return difference >= 0
	case ">":
		return difference > 0
	case "<=":
		return difference <= 0
	case "<":
		return difference < 0
	case "==":
		return difference == 0
	}
	return difference != 0
}

func drawCell(t *rapid.T, column string) string {
	switch column {
	case "age":
		return strconv.Itoa(rapid.IntRange(60, 80).Draw(t, "age"))
	case "income", "rent":
		return rapid.SampledFrom([]string{"-10.00", "0.00", "99.99", "100.00", "100.01"}).Draw(t, column)
	case "born":
		return rapid.SampledFrom([]string{"1960-02-29", "1960-03-01", "1960-02-28", "1958-12-31", "1955-06-15"}).Draw(t, "born")
	case "limited":
		return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "limited")
	case "region":
		return rapid.SampledFrom(people.Columns[5].Codes).Draw(t, "region")
	}
	return rapid.SampledFrom([]string{"Ulm", "Köln"}).Draw(t, "town")
}

func drawRule(t *rapid.T, depth int) Rule {
	ops := []string{">=", ">", "<=", "<", "==", "!="}
	kinds := 8
	if depth > 0 {
		kinds = 12
	}
	several := func() []Rule {
		return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rule { return drawRule(t, depth-1) }), 1, 3).Draw(t, "rules")
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return Rule{Column: "age", Op: rapid.SampledFrom(ops).Draw(t, "op"), Value: drawCell(t, "age")}
	case 1:
		return Rule{Column: "income", Op: rapid.SampledFrom(ops).Draw(t, "op"), Value: drawCell(t, "income")}
	case 2:
		return Rule{Column: "town", Op: rapid.SampledFrom(ops[4:]).Draw(t, "op"), Value: drawCell(t, "town")}
	case 3:
		return Rule{Column: "region", In: rapid.SliceOfNDistinct(rapid.SampledFrom(people.Columns[5].Codes), 1, 3, rapid.ID).Draw(t, "in")}
	case 4:
		return Rule{Column: "limited", Op: rapid.SampledFrom(ops[4:]).Draw(t, "op"), Value: drawCell(t, "limited")}
	case 5:
		return Rule{Age: "born", Op: rapid.SampledFrom(ops[:4]).Draw(t, "op"), Value: strconv.Itoa(rapid.IntRange(60, 70).Draw(t, "years"))}
	case 6:
		return Rule{Sum: []Part{{Column: "income", Times: 2}, {Column: "rent", Times: -3}}, Op: rapid.SampledFrom(ops).Draw(t, "op"), Value: "-100.00"}
	case 7:
		return Rule{Has: rapid.SampledFrom([]string{"town", "age"}).Draw(t, "has")}
	case 8:
		return Rule{All: several()}
	case 9:
		return Rule{Any: several()}
	case 10:
		of := several()
		return Rule{AtLeast: &AtLeast{K: rapid.IntRange(1, len(of)).Draw(t, "k"), Of: of}}
	}
	r := drawRule(t, depth-1)
	return Rule{Not: &r}
}

// TestCompiledRuleMeansWhatItSays compares compiled programs with the direct evaluation of random rules on random records.
func TestCompiledRuleMeansWhatItSays(t *testing.T) {
	asOf := time.Date(2025, 2, 28, 0, 0, 0, 0, time.UTC)
	compiled := 0
	rapid.Check(t, func(t *rapid.T) {
		d := Document{Policy: "p", Version: 1, Dataset: "people", Rule: drawRule(t, 2)}
		template, err := d.Compile(people)
		if errors.Is(err, ErrPolicy) && strings.Contains(err.Error(), "more than") {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		compiled++
		program, err := template.At(asOf)
		if err != nil {
			t.Fatal(err)
		}
		cells := map[string]string{}
		row := make([]string, len(people.Columns))
		for i, c := range people.Columns {
			row[i] = drawCell(t, c.Name)
			cells[c.Name] = row[i]
		}
		values, err := people.Parse(row)
		if err != nil {
			t.Fatal(err)
		}
		record, err := people.Encode(values)
		if err != nil {
			t.Fatal(err)
		}
		want := circuits.NotSatisfied
		if evaluate(t, &d.Rule, cells, asOf) {
			want = circuits.Satisfied
		}
		if got := program.Evaluate(&record); got != want {
			t.Fatalf("program says %v, the rule %v: %+v", got, want, d.Rule)
		}
		if got := program.Evaluate(nil); got != circuits.NoRecord {
			t.Fatalf("absent record: %v", got)
		}
	})
	if compiled < 50 {
		t.Fatalf("only %d of the random rules compiled", compiled)
	}
}

func TestMissingValues(t *testing.T) {
	for _, c := range []struct {
		name, rule, missing string
		want                circuits.Verdict
	}{
		{"used", "{column: age, op: '>=', value: '65'}", "", circuits.Indeterminate},
		{"unused branch counts too", "{any: [{column: limited, op: '==', value: 'true'}, {column: age, op: '>=', value: '65'}]}", "", circuits.Indeterminate},
		{"folded", "{column: age, op: '>=', value: '65'}\non_missing: not_satisfied", "", circuits.NotSatisfied},
		{"has exempts", "{has: age}", "", circuits.NotSatisfied},
		{"not has", "{not: {has: age}}", "", circuits.Satisfied},
		{"other column", "{column: limited, op: '==', value: 'true'}", "", circuits.Satisfied},
		{"record exists", "{record_exists: true}", "", circuits.Satisfied},
	} {
		d, err := Parse([]byte("policy: p\nversion: 1\ndataset: people\ntitle: t\nquestion: q\nrule: " + c.rule + "\n"))
		if err != nil {
			t.Fatal(c.name, err)
		}
		template, err := d.Compile(people)
		if err != nil {
			t.Fatal(c.name, err)
		}
		values, err := people.Parse([]string{c.missing, "1.00", "1.00", "1960-01-01", "true", "north", "Ulm"})
		if err != nil {
			t.Fatal(err)
		}
		record, err := people.Encode(values)
		if err != nil {
			t.Fatal(err)
		}
		if got := template.Program.Evaluate(&record); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestRefusedPolicies(t *testing.T) {
	many := "{any: [" + strings.Repeat("{column: age, op: '>=', value: '%'},", 13) + "]}"
	for i := range 13 {
		many = strings.Replace(many, "%", strconv.Itoa(i), 1)
	}
	for name, rule := range map[string]string{
		"two forms":           "{has: age, column: age, op: '==', value: '1'}",
		"no form":             "{op: '=='}",
		"unknown column":      "{column: height, op: '>=', value: '1'}",
		"text is not ordered": "{column: town, op: '<', value: Ulm}",
		"bad operator":        "{column: age, op: '=<', value: '1'}",
		"bad value":           "{column: age, op: '<', value: old}",
		"bad code":            "{column: region, in: [east]}",
		"mixed scales":        "{sum: [{column: age, times: 1}, {column: income, times: 1}], op: '<', value: '1'}",
		"age of an int":       "{age: age, op: '<', value: '1'}",
		"k out of range":      "{at_least: {k: 3, of: [{has: age}, {has: born}]}}",
		"nested exists":       "{any: [{record_exists: true}, {has: age}]}",
		"empty all":           "{all: []}",
		"too many atoms":      many,
		"unknown field":       "{colum: age}",
		"zero coefficient":    "{sum: [{column: age, times: 0}], op: '<', value: '1'}",
	} {
		d, err := Parse([]byte("policy: p\nversion: 1\ndataset: people\ntitle: t\nquestion: q\nrule: " + rule + "\n"))
		if err == nil {
			_, err = d.Compile(people)
		}
		if !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse(make([]byte, MaxDocument+1)); !errors.Is(err, ErrPolicy) {
		t.Errorf("oversized: %v", err)
	}
}

func TestTemplateRoundTripAndBounds(t *testing.T) {
	d := Document{Policy: "p", Version: 1, Dataset: "people", Rule: Rule{Age: "born", Op: ">=", Value: "65"}}
	template, err := d.Compile(people)
	if err != nil {
		t.Fatal(err)
	}
	data, err := template.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseTemplate(data); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "{}", strings.Replace(string(data), `"sign":1`, `"sign":2`, 1), strings.Replace(string(data), `"atom":0`, `"atom":1`, 1),
		strings.Replace(string(data), `"years":65`, `"years":201`, 1), strings.Replace(string(data), `"threshold":1`, `"threshold":9999`, 1),
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
