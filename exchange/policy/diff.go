package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/grille-gateway/grille/exchange/schema"
)

// A Difference is what changed from one policy to another.
type Difference struct {
	Program bool     `json:"program"` // whether the compiled program is another: verdicts may differ
	Changes []Change `json:"changes"`
}

// A Change is one thing that is another. Before or After is empty for what was added or removed.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Diff compares two policies, each compiled for its dataset's schema.
func Diff(a, b *Document, ta, tb *Template, sa, sb *schema.Schema) *Difference {
	d := &Difference{Program: !reflect.DeepEqual(ta, tb), Changes: []Change{}}
	change := func(what, before, after string) {
		if before != after {
			d.Changes = append(d.Changes, Change{what, before, after})
		}
	}
	change("policy", a.Policy, b.Policy)
	change("version", fmt.Sprint(a.Version), fmt.Sprint(b.Version))
	change("dataset", a.Dataset, b.Dataset)
	change("title", a.Title, b.Title)
	change("question", a.Question, b.Question)
	change("on_absent", ta.Program.OnAbsent.String(), tb.Program.OnAbsent.String())
	change("on_missing", ta.Program.OnMissing.String(), tb.Program.OnMissing.String())
	before, after := lines(a.When), lines(b.When)
	for _, line := range without(before, after) {
		change("when", line, "")
	}
	for _, line := range without(after, before) {
		change("when", "", line)
	}
	if d.Program {
		before, after = ta.Comparisons(sa), tb.Comparisons(sb)
		for _, c := range without(before, after) {
			change("comparison", c, "")
		}
		for _, c := range without(after, before) {
			change("comparison", "", c)
		}
		la, lb := NewLint(a, ta, sa, nil), NewLint(b, tb, sb, nil)
		for i, u := range la.Used {
			change(u.What, fmt.Sprint(u.Used), fmt.Sprint(lb.Used[i].Used))
		}
		change("columns", reading(la), reading(lb))
		change("verdicts", strings.Join(la.Verdicts, ", "), strings.Join(lb.Verdicts, ", "))
	}
	return d
}

func reading(l *Lint) string {
	var names []string
	for _, c := range l.Columns {
		name := c.Column
		if c.MayMiss {
			name += " (may be missing)"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

func lines(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	return list
}

// without is what a has and b has not.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}
