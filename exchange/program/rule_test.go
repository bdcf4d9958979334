package program

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/grille-gateway/grille/circuits"
)

// ruled is a program of three checks a, b and c with that rule.
func ruled(t testing.TB, rule string) *Program {
	t.Helper()
	text := many(3)
	text = text[:strings.Index(text, "rule")] + "rule: |\n  " + rule + "\n"
	p, err := Parse([]byte(strings.NewReplacer("c0", "a", "c1", "b", "c2", "c").Replace(text)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestGrants(t *testing.T) {
	yes, no, none, open := circuits.Satisfied, circuits.NotSatisfied, circuits.NoRecord, circuits.Indeterminate
	for _, c := range []struct {
		rule    string
		a, b, c circuits.Verdict
		want    bool
	}{
		{"a == satisfied && b == not_satisfied && c == no_record", yes, no, none, true},
		{"a == satisfied && b == not_satisfied && c == no_record", yes, no, no, false},
		{"a == satisfied || b == satisfied", no, yes, no, true},
		{"!(a == satisfied)", yes, yes, yes, false},
		{"a in [satisfied, no_record]", none, no, no, true},
		{"a in [satisfied, no_record]", no, no, no, false},
		{"!(a in [satisfied, indeterminate])", open, no, no, false},
		{"a == b", no, no, yes, true},
		{"a != b", no, no, yes, false},
		{"a == satisfied ? b == satisfied : c == satisfied", no, yes, no, false},
		{"a == satisfied ? b == satisfied : c == satisfied", yes, yes, no, true},
		{"at_least(2, a == satisfied, b == satisfied, c == satisfied)", yes, no, yes, true},
		{"at_least(2, a == satisfied, b == satisfied, c == satisfied)", yes, no, no, false},
		{"at_least(0, a == satisfied)", no, no, no, true},
		{"true", no, no, no, true},
	} {
		p := ruled(t, c.rule)
		got, err := p.Grants(map[string]circuits.Verdict{"a": c.a, "b": c.b, "c": c.c})
		if err != nil || got != c.want {
			t.Errorf("%s with %v %v %v: %v, %v", c.rule, c.a, c.b, c.c, got, err)
		}
	}
	if _, err := ruled(t, "true").Grants(map[string]circuits.Verdict{"a": yes, "b": yes}); err == nil {
		t.Error("a rule was evaluated without a verdict")
	}
}

func TestTabulate(t *testing.T) {
	for rule, want := range map[string]Table{
		"a == satisfied":                                              {27, 9, []string{"b", "c"}},
		"a == satisfied && b != satisfied":                            {27, 6, []string{"c"}},
		"a == satisfied || a != satisfied":                            {27, 27, []string{"a", "b", "c"}},
		"a == satisfied && a == no_record":                            {27, 0, []string{"a", "b", "c"}},
		"at_least(2, a == satisfied, b == satisfied, c == satisfied)": {27, 7, nil},
	} {
		got, err := ruled(t, rule).Tabulate()
		if err != nil || got.Granted != want.Granted || got.Combinations != want.Combinations || !slices.Equal(got.Idle, want.Idle) {
			t.Errorf("%s: %+v, %v", rule, got, err)
		}
		constant := want.Granted == 0 || want.Granted == want.Combinations
		if n := len(got.Warnings()); n != len(want.Idle)+map[bool]int{true: 1}[constant] {
			t.Errorf("%s: %v", rule, got.Warnings())
		}
	}
}

// formula is a random rule with its meaning.
type formula struct {
	text string
	eval func(v []circuits.Verdict) bool
}

func drawFormula(t *rapid.T, depth int) formula {
	check := rapid.IntRange(0, 2).Draw(t, "check")
	name := string(rune('a' + check))
	kind := rapid.IntRange(0, 7).Draw(t, "kind")
	if depth == 0 {
		kind %= 3
	}
	if kind < 3 {
		v := verdicts[rapid.IntRange(0, 3).Draw(t, "verdict")]
		w := verdicts[rapid.IntRange(0, 3).Draw(t, "other")]
		return []formula{
			{name + " == " + v.String(), func(of []circuits.Verdict) bool { return of[check] == v }},
			{name + " != " + v.String(), func(of []circuits.Verdict) bool { return of[check] != v }},
			{name + " in [" + v.String() + ", " + w.String() + "]", func(of []circuits.Verdict) bool { return of[check] == v || of[check] == w }},
		}[kind]
	}
	x, y, z := drawFormula(t, depth-1), drawFormula(t, depth-1), drawFormula(t, depth-1)
	return []formula{
		{"(" + x.text + " && " + y.text + ")", func(of []circuits.Verdict) bool { return x.eval(of) && y.eval(of) }},
		{"(" + x.text + " || " + y.text + ")", func(of []circuits.Verdict) bool { return x.eval(of) || y.eval(of) }},
		{"!(" + x.text + ")", func(of []circuits.Verdict) bool { return !x.eval(of) }},
		{"(" + x.text + " ? " + y.text + " : " + z.text + ")", func(of []circuits.Verdict) bool {
			if x.eval(of) {
				return y.eval(of)
			}
			return z.eval(of)
		}},
		{"at_least(2, " + x.text + ", " + y.text + ", " + z.text + ")", func(of []circuits.Verdict) bool {
			n := 0
			for _, f := range []formula{x, y, z} {
				if f.eval(of) {
					n++
				}
			}
			return n >= 2
		}},
	}[kind-3]
}

// A rule means what a reader of its operators would say, for every combination of verdicts.
func TestRulesMeanWhatTheySay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := drawFormula(rt, 3)
		if len(f.text) > 3000 {
			return
		}
		p := ruled(t, f.text)
		for i := range 64 {
			of := []circuits.Verdict{verdicts[i%4], verdicts[i/4%4], verdicts[i/16]}
			got, err := p.Grants(map[string]circuits.Verdict{"a": of[0], "b": of[1], "c": of[2]})
			if err != nil || got != f.eval(of) {
				rt.Fatalf("%s with %v: %v, %v", f.text, of, got, err)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for b.Loop() {
		if _, err := Parse([]byte(fuel)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGrants(b *testing.B) {
	p := ruled(b, "a == satisfied && b in [satisfied, no_record] && c != not_satisfied")
	of := map[string]circuits.Verdict{"a": circuits.Satisfied, "b": circuits.NoRecord, "c": circuits.Satisfied}
	for b.Loop() {
		if ok, err := p.Grants(of); err != nil || !ok {
			b.Fatal(ok, err)
		}
	}
}
