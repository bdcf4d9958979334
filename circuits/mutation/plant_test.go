package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// planted writes a package of one file and plants it.
func planted(t *testing.T, text string) (string, []mutant, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "gadget.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	old := weakenings
	weakenings = nil
	defer func() { weakenings = old }()
	sources, mutants, err := plant(dir)
	if err != nil {
		return "", nil, err
	}
	return string(sources[0].planted()), mutants, nil
}

const gadget = `package circuits

func both(api frontend.API, a frontend.Variable) (x, y frontend.Variable) { return a, a }

func bound(api frontend.API, a frontend.Variable) frontend.Variable {
	api.AssertIsBoolean(api.Add(a, api.Mul(a, a)))
	x, y := both(api, a)
	return api.IsZero(api.ToBinary(x, 5)[y])
}
`

func TestEveryCallHasItsMutants(t *testing.T) {
	text, mutants, err := planted(t, gadget)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "", text, 0); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var changes []string
	for i, m := range mutants {
		if m.id != i+1 || m.line < 6 || m.group != "bound" {
			t.Errorf("%+v", m)
		}
		changes = append(changes, m.change)
	}
	want := []string{
		"left out: api.AssertIsBoolean(api.Add(a, api.Mul(a, a)))",
		"any value for api.Add(a, api.Mul(a, a))",
		"any value for api.Mul(a, a)",
		"any first value for both(api, a)",
		"any second value for both(api, a)",
		"0 for a 0 in api.IsZero(api.ToBinary(x, 5)[y])",
		"1 for other than 0 in api.IsZero(api.ToBinary(x, 5)[y])",
		"any value for api.IsZero(api.ToBinary(x, 5)[y])",
		"digits that are no bits in api.ToBinary(x, 5)",
		"bits of another number in api.ToBinary(x, 5)",
		"any value for api.ToBinary(x, 5)[y]",
	}
	if !slices.Equal(changes, want) {
		t.Errorf("%q", changes)
	}
	if !strings.Contains(text, "if mutant != 1 { api.AssertIsBoolean(free(api, 2, api.Add(a, free(api, 3, api.Mul(a, a))))) }") ||
		!strings.Contains(text, "free(api, 8, isZero(api, 6, 7, free(api, 11, toBinary(api, 9, 10, x, 5)[y])))") {
		t.Error(text)
	}
}

// A new call that no rule knows must not go without a mutant.
func TestUnknownCallsAreRefused(t *testing.T) {
	for _, call := range []string{"bits := api.ToBinary(a, 3)\n\t_ = bits", "s := structured(api, a)\n\t_ = s"} {
		_, _, err := planted(t, "package circuits\n\nfunc f(api frontend.API, a frontend.Variable) {\n\t"+call+"\n}\n")
		if err == nil || !strings.Contains(err.Error(), "gadget.go:4 makes constraints and has no mutant") {
			t.Errorf("%q: %v", call, err)
		}
	}
}

func TestOutdatedWeakeningIsRefused(t *testing.T) {
	old := weakenings
	defer func() { weakenings = old }()
	for _, text := range []string{"api.ToBinary(key, «keyBits+2»)", "«d.Is1»"} { // none, several
		weakenings = append(slices.Clone(old), weakening{"place.go", "subjectKey", text, "1", "int"})
		if _, _, err := plant(".."); err == nil || !strings.Contains(err.Error(), "out of date") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Every mention of an API in the package is a parameter, an argument of a planted call, or the receiver of one.
func TestPackageIsPlanted(t *testing.T) {
	sources, mutants, err := plant("..")
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]bool{}
	for _, m := range mutants {
		lines[m.place()] = true
	}
	call := regexp.MustCompile(`\bapi[.,)]`)
	for _, s := range sources {
		for i, line := range strings.Split(string(s.text), "\n") {
			m := mutant{file: s.name, line: i + 1}
			code, _, _ := strings.Cut(line, "//")
			if call.MatchString(code) && !strings.HasPrefix(line, "func ") && !lines[m.place()] {
				t.Errorf("%s: no mutant for %s", m.place(), line)
			}
		}
	}
	if len(mutants) < 200 {
		t.Errorf("%d mutants", len(mutants))
	}
}

func TestFirstFailure(t *testing.T) {
	for out, want := range map[string]string{
		"--- FAIL: TestA (0.1s)\n    --- FAIL: TestA/B (0.1s)\n        x_test.go:5: accepted\nFAIL\n": "TestA/B: accepted",
		"--- FAIL: TestA (0.1s)\nFAIL\n": "TestA",
		"panic: undeclared use\nmore\n":  "",
	} {
		if got := firstFailure(out); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSurvivorsAreReported(t *testing.T) {
	mutants := []mutant{{group: "match", file: "membership.go", line: 26, change: "left out"}, {group: "match", file: "membership.go", line: 24}}
	var out bytes.Buffer
	survivors, err := report(&out, mutants, []string{"", "TestMatch"}, time.Second, false)
	if err != nil || survivors != 1 || !strings.Contains(out.String(), "left out  NOTHING") || !strings.Contains(out.String(), "1 caught, 1 survive") {
		t.Errorf("%d, %v:\n%s", survivors, err, &out)
	}
}
