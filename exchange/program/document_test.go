package program

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
)

const fuel = `program: winter-fuel
version: 1
title: Winter fuel payment
purpose: Deciding applications
legal_basis: Regulations s. 3
checks:
  - {name: aged, holder: GOV/civil, policy: aged-66, version: 1, max_age: 30d}
  - {name: poor, holder: GOV/tax, policy: low-income, version: 2, timeout: 2m, purpose: Means test}
  - {name: dead, holder: GOV/civil, policy: death, version: 1, subject: spouse, legal_basis: s. 4}
rule: aged == satisfied && poor != not_satisfied && dead == no_record
notice: 14d
`

func TestParse(t *testing.T) {
	p, err := Parse([]byte(fuel))
	if err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	want := []Check{
		{"aged", "GOV/civil", "aged-66", 1, "Deciding applications", "Regulations s. 3", 30 * day, 5 * time.Minute, "applicant"},
		{"poor", "GOV/tax", "low-income", 2, "Means test", "Regulations s. 3", 0, 2 * time.Minute, "applicant"},
		{"dead", "GOV/civil", "death", 1, "Deciding applications", "s. 4", 0, 5 * time.Minute, "spouse"},
	}
	if !reflect.DeepEqual(p.Checks, want) || p.Notice != 14*day || p.Review || p.Name != "winter-fuel" || p.Version != 1 {
		t.Errorf("%+v", p)
	}
	if got := p.Roles(); !reflect.DeepEqual(got, []string{"applicant", "spouse"}) {
		t.Errorf("roles %v", got)
	}
	e := p.Entry(time.Now())
	if _, err := entry.Encode(e); err != nil {
		t.Error(err)
	}
	again, err := FromEntry(e)
	if err != nil || !reflect.DeepEqual(again.Checks, p.Checks) {
		t.Errorf("%+v, %v", again, err)
	}
	for _, change := range []func(*entry.ProgramPublish){
		func(e *entry.ProgramPublish) { e.Version++ }, func(e *entry.ProgramPublish) { e.Title = "x" },
		func(e *entry.ProgramPublish) { e.Program = "x" }, func(e *entry.ProgramPublish) { e.Source.Language = "cel" },
		func(e *entry.ProgramPublish) { e.Source.Text = "x" },
	} {
		changed := e
		change(&changed)
		if _, err := FromEntry(changed); !errors.Is(err, ErrProgram) {
			t.Errorf("%+v: %v", changed, err)
		}
	}
}

// TestParseRefuses is the list of bad documents, each with what its error says and where.
func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"name":               {"winter-fuel", "Winter", "line 1, column 10: program:"},
		"version":            {"version: 1\ntitle", "version: 0\ntitle", "line 2, column 10: version:"},
		"title missing":      {"title: Winter fuel payment\n", "", "title:"},
		"unknown field":      {"notice", "notize", "notize"},
		"field twice":        {"notice: 14d", "notice: 14d\nnotice: 15d", "notice"},
		"not yaml":           {"checks:", "checks: [", "["},
		"text for a number":  {"version: 1\ntitle", "version: one\ntitle", "version"},
		"check field":        {"policy: aged-66", "polise: aged-66", "polise"},
		"check name":         {"name: aged", "name: Aged", "line 7, column 12: name:"},
		"check is a verdict": {"name: aged", "name: satisfied", "line 7, column 12: name:"},
		"check is a word":    {"name: aged", "name: at_least", "line 7, column 12: name:"},
		"check twice":        {"name: poor", "name: aged", "line 8, column 12: name: another"},
		"holder":             {"GOV/tax", "tax", "line 8, column 26: holder:"},
		"policy":             {"low-income", "Low", "policy:"},
		"policy version":     {"low-income, version: 2", "low-income", "line 8, column 5: version:"},
		"no purpose":         {"purpose: Deciding applications\n", "", "purpose:"},
		"purpose too long":   {"Means test", strings.Repeat("x", 1025), "line 8, column 89: purpose:"},
		"no legal basis":     {"legal_basis: Regulations s. 3\n", "", "legal_basis:"},
		"max age":            {"30d", "30", "max_age:"},
		"max age sign":       {"30d", "-30d", "max_age:"},
		"max age zero":       {"30d", "0d", "max_age:"},
		"max age leading 0":  {"30d", "030d", "max_age:"},
		"max age unit":       {"30d", "30y", "max_age:"},
		"max age overflow":   {"30d", "4294967295d", "max_age:"},
		"timeout too long":   {"2m", "61m", "timeout:"},
		"role":               {"spouse", "The-Spouse", "subject:"},
		"notice too long":    {"14d", "400d", "line 11, column 9: notice:"},
		"no checks":          {fuel[strings.Index(fuel, "  - {name: aged"):strings.Index(fuel, "rule")], "", "checks:"},
		"rule missing":       {"rule: aged == satisfied && poor != not_satisfied && dead == no_record\n", "", "rule:"},
		"rule syntax":        {"&& dead ==", "&& && dead ==", "line 10, column 53: rule: Syntax error"},
		"rule unknown name":  {"dead == no", "born == no", "line 10, column 53: rule: undeclared reference to 'born'"},
		"rule misspelt":      {"== satisfied", "== satisfed", "line 10, column 15: rule: undeclared reference to 'satisfed'"},
		"rule text":          {"== satisfied", `== "satisfied"`, "line 10, column 12: rule: found no matching overload"},
		"rule no condition":  {"rule: aged == satisfied && poor != not_satisfied && dead == no_record", "rule: aged", "line 10, column 7: rule: must be a condition"},
		"rule number":        {"rule: aged ==", "rule: 1 + 1 == 2 && aged ==", "rule: undeclared reference to '_+_'"},
		"rule call":          {"rule: aged ==", "rule: size([aged]) == 1 && aged ==", "rule: undeclared reference to 'size'"},
		"rule macro":         {"rule: aged ==", "rule: '[aged].all(x, x == satisfied) && aged =='", "rule"},
		"rule too long":      {"rule: aged ==", "rule: " + strings.Repeat("aged == satisfied && ", 300) + "aged ==", "rule:"},
		"rule too deep":      {"rule: aged == satisfied &&", "rule: " + strings.Repeat("(", 60) + "aged == satisfied" + strings.Repeat(")", 60) + "&&", "rule:"},
		"rule too large":     {"rule: aged ==", "rule: aged in [" + strings.Repeat("aged,", 600) + "aged] && aged ==", "rule:"},
		"scope, no check":    {"notice: 14d", "scope: {check: born, period: 2026}", "line 11, column 16: scope: check"},
		"scope, no period":   {"notice: 14d", "scope: {check: aged}", "line 11, column 8: scope: period"},
		"scope, period":      {"notice: 14d", "scope: {check: aged, period: \"20 26\"}", "line 11, column 30: scope: period"},
		"scope, field":       {"notice: 14d", "scope: {check: aged, period: 2026, key: 1}", "key"},
		"scope, unclaimed":   {"notice: 14d", "scope: {check: poor, period: 2026}", "line 10, column 7: rule: grants without check poor"},
		"at_least of none":   {"rule: aged ==", "rule: at_least(1) && aged ==", "rule: found no matching overload"},
	} {
		text := strings.Replace(fuel, c.old, c.new, 1)
		if text == fuel {
			t.Fatalf("%s: changes nothing", name)
		}
		p, err := Parse([]byte(text))
		if !errors.Is(err, ErrProgram) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %q", name, p, err, c.want)
		}
	}
	for name, data := range map[string][]byte{"empty": nil, "no UTF-8": []byte("program: \xff"), "a list": []byte("[]"),
		"too long": []byte(fuel + strings.Repeat("#", MaxDocument))} {
		if _, err := Parse(data); !errors.Is(err, ErrProgram) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Each spelling of a rule in YAML leads to the place of its mistake, or to its beginning where the text was folded.
func TestRulePlaces(t *testing.T) {
	for spelled, want := range map[string]string{
		"rule: |\n  aged == satisfied &&\n    born == satisfied\n":        "line 12, column 5: rule: undeclared",
		"rule: |\n\n  aged == satisfied &&\n    born == satisfied\n":      "line 13, column 5: rule: undeclared",
		"rule: |-\n      aged == satisfied &&\n      born == satisfied\n": "line 12, column 7: rule: undeclared",
		"rule: \"aged == satisfied && born == satisfied\"\n":              "line 10, column 7: rule: undeclared",
		"rule: >\n  aged == satisfied &&\n  born == satisfied\n":          "line 10, column 7: rule: undeclared",
		"rule: aged == satisfied && born == satisfied\n":                  "line 10, column 28: rule: undeclared",
	} {
		text := fuel[:strings.Index(fuel, "rule")] + spelled + "notice: 14d\n"
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", spelled, err, want)
		}
	}
}

func TestTwelveChecks(t *testing.T) {
	p, err := Parse([]byte(many(MaxChecks)))
	if err != nil {
		t.Fatal(err)
	}
	table, err := p.Tabulate()
	if err != nil || table.Combinations != 531441 || table.Granted != 1 || len(table.Idle) != 0 {
		t.Errorf("%+v, %v", table, err)
	}
	if _, err := Parse([]byte(many(MaxChecks + 1))); err == nil || !strings.Contains(err.Error(), "checks: must be 1 to 12, not 13") {
		t.Error(err)
	}
}

func many(n int) string {
	text := "program: many\nversion: 1\ntitle: Many\npurpose: p\nlegal_basis: l\nchecks:\n"
	var rule []string
	for i := range n {
		text += fmt.Sprintf("  - {name: c%d, holder: GOV/tax, policy: low, version: 1}\n", i)
		rule = append(rule, fmt.Sprintf("c%d == satisfied", i))
	}
	return text + "rule: " + strings.Join(rule, " && ") + "\n"
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fuel))
	f.Add([]byte(many(3)))
	f.Add([]byte(strings.Replace(fuel, "notice: 14d", "scope: {check: aged, period: 2026}", 1)))
	f.Add([]byte("program: &a x\nversion: *a\n"))
	f.Add([]byte("rule: |\n  a ==\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrProgram) {
				t.Fatalf("%v", err)
			}
			return
		}
		if _, err := FromEntry(p.Entry(time.Now())); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
	})
}
