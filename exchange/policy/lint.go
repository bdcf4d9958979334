package policy

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// A Lint says what a compiled policy takes and gives.
type Lint struct {
	Policy      string       `json:"policy"`
	Version     int          `json:"version"`
	Dataset     string       `json:"dataset"`
	Used        []Use        `json:"used"`
	Columns     []ColumnRead `json:"columns"`
	Comparisons []string     `json:"comparisons"`
	Verdicts    []string     `json:"verdicts"` // that some record may get, the comparisons taken as independent
	AsOf        bool         `json:"as_of"`    // whether the verdict depends on the as-of date
	Warnings    []string     `json:"warnings"`
}

// Use is how much of a limit is used.
type Use struct {
	What  string `json:"what"`
	Used  int    `json:"used"`
	Limit int    `json:"limit"`
}

// ColumnRead is a column that a policy reads, and what follows where it is missing.
type ColumnRead struct {
	Column    string `json:"column"`
	MayMiss   bool   `json:"may_miss"`   // a missing value is no reason for OnMissing
	ValueRead bool   `json:"value_read"` // more is asked than whether there is one
}

// A Published is another policy of the dataset, to compare with.
type Published struct {
	Name     string // for messages, such as income-low/2
	Template *Template
}

// NewLint describes a compiled policy and compares it with others of the same dataset.
func NewLint(d *Document, t *Template, s *schema.Schema, others []Published) *Lint {
	p := &t.Program
	rows := 0
	for _, l := range p.Lookups {
		rows = max(rows, len(l.Pairs))
	}
	lint := &Lint{Policy: d.Policy, Version: d.Version, Dataset: d.Dataset, AsOf: len(t.Dates) > 0, Comparisons: t.Comparisons(s), Warnings: []string{},
		Used: []Use{{"atoms", len(p.Atoms), circuits.Atoms}, {"text tests", len(p.TextTests), circuits.TextTests},
			{"gates", len(p.Gates), circuits.Gates}, {"tables", len(p.Lookups), circuits.Lookups}, {"rows of a table", rows, circuits.LookupPairs}}}
	lint.columns(t, s)
	lint.verdicts(t)
	for _, o := range others {
		lint.Warnings = append(lint.Warnings, alike(t, o, s)...)
	}
	return lint
}

func (l *Lint) columns(t *Template, s *schema.Schema) {
	p := &t.Program
	var asked, valued [circuits.Columns]bool
	for i, a := range p.Atoms {
		for _, term := range a.Columns {
			asked[term.Column] = true
			valued[term.Column] = valued[term.Column] || !t.asks(i)
		}
	}
	for _, test := range p.TextTests {
		c := circuits.NumericColumns + test.Column
		asked[c] = true
		valued[c] = valued[c] || !test.Value.IsZero()
	}
	for _, lookup := range p.Lookups {
		asked[lookup.Column], valued[lookup.Column] = true, true
	}
	l.Columns = []ColumnRead{}
	for c := range asked {
		if !asked[c] {
			continue
		}
		read := ColumnRead{Column: columnAt(s, c), MayMiss: slices.Contains(p.Exempt, c), ValueRead: valued[c]}
		l.Columns = append(l.Columns, read)
		if !read.MayMiss && hasAsked(t, c) {
			l.Warnings = append(l.Warnings, fmt.Sprintf("has(%s) is always true here: the policy reads %[1]s elsewhere, where it may not be missing", read.Column))
		}
	}
}

// hasAsked says whether a program asks whether a column has a value.
func hasAsked(t *Template, column int) bool {
	for i, a := range t.Program.Atoms {
		if t.asks(i) && a.Columns[0].Column == column {
			return true
		}
	}
	return slices.ContainsFunc(t.Program.TextTests, func(test circuits.TextTest) bool {
		return test.Value.IsZero() && circuits.NumericColumns+test.Column == column
	})
}

// verdicts lists what records may get: the gates are tried with all that the comparisons can say, at most 2^16 ways.
func (l *Lint) verdicts(t *Template) {
	p := &t.Program
	possible := [4]bool{}
	comparisons := len(p.Atoms) + len(p.TextTests)
	for says := range 1 << comparisons {
		possible[circuits.NotSatisfied] = possible[circuits.NotSatisfied] || !outcome(p, says)
		possible[circuits.Satisfied] = possible[circuits.Satisfied] || outcome(p, says)
		if possible[circuits.NotSatisfied] && possible[circuits.Satisfied] {
			break
		}
	}
	if !possible[circuits.Satisfied] {
		l.Warnings = append(l.Warnings, "no record is satisfied: the conditions exclude one another")
	}
	if !possible[circuits.NotSatisfied] && comparisons > 0 {
		l.Warnings = append(l.Warnings, "every record is satisfied, whatever it holds")
	}
	misses := slices.ContainsFunc(p.Lookups, func(l circuits.Lookup) bool { return l.MissIsMissing })
	if used := p.Used(); misses || slices.Contains(used[:], true) {
		possible[p.OnMissing] = true
	}
	possible[p.OnAbsent] = true
	l.Verdicts = []string{}
	for v, is := range possible {
		if is {
			l.Verdicts = append(l.Verdicts, circuits.Verdict(v).String())
		}
	}
}

// outcome is the last gate where comparison i, atoms before text tests, holds by bit i.
func outcome(p *circuits.Program, says int) bool {
	gates := make([]bool, len(p.Gates))
	for i, g := range p.Gates {
		sum := 0
		for j, w := range g.Atoms {
			sum += w * (says >> j & 1)
		}
		for j, w := range g.Texts {
			sum += w * (says >> (len(p.Atoms) + j) & 1)
		}
		for j, w := range g.Gates {
			if gates[j] {
				sum += w
			}
		}
		gates[i] = sum >= g.Threshold
	}
	return gates[len(gates)-1]
}

// alike warns of what asking both policies about one person would tell beyond the answer of either.
func alike(t *Template, other Published, s *schema.Schema) []string {
	o := other.Template
	if reflect.DeepEqual(t, o) {
		return []string{fmt.Sprintf("%s is the same program: each agreement has a budget of its own, so that the question can be asked more often", other.Name)}
	}
	var warnings []string
	seen := map[string]bool{}
	warn := func(format string, args ...any) {
		text := fmt.Sprintf("with %s: ", other.Name) + fmt.Sprintf(format, args...)
		if !seen[text] {
			seen[text] = true
			warnings = append(warnings, text)
		}
	}
	for i := range t.Program.Atoms {
		for j := range o.Program.Atoms {
			if text := narrows(t, i, o, j, s); text != "" {
				warn("%s", text)
			}
		}
	}
	for _, a := range t.Program.TextTests {
		for _, b := range o.Program.TextTests {
			if a.Column == b.Column && !a.Value.Equal(&b.Value) && !a.Value.IsZero() && !b.Value.IsZero() {
				warn("both compare %s, with different texts: asking both tells one text from the others", columnAt(s, circuits.NumericColumns+a.Column))
			}
		}
	}
	return warnings
}

// narrows says what two comparisons of the same form tell together, or nothing where they do not compare the same or are equal.
func narrows(t *Template, i int, o *Template, j int, s *schema.Schema) string {
	a, b := &t.Program.Atoms[i], &o.Program.Atoms[j]
	left := t.left(i, s)
	x, y := t.slot(i), o.slot(j)
	if t.asks(i) || o.asks(j) || left != o.left(j, s) || x.Sign != y.Sign {
		return ""
	}
	if len(a.Lookups) > 0 {
		if !sameTables(t, a, o, b) {
			return fmt.Sprintf("both look %s up, in different tables: asking both tells more of it than either", left)
		}
	}
	if a.Constant == b.Constant && x.Years == y.Years {
		if a.Test == b.Test {
			return ""
		}
	}
	if a.Test == circuits.AtLeastZero && b.Test == circuits.AtLeastZero {
		low, high := t.right(i, s), o.right(j, s)
		if x.Years < y.Years || x.Years == y.Years && a.Constant < b.Constant { // the larger right side is t's
			low, high = high, low
		}
		return fmt.Sprintf("both compare %s: asking both can tell whether it is from %s to just below %s", left, low, high) + width(t, a, b, s, x.Sign == 0 && y.Sign == 0, i)
	}
	return fmt.Sprintf("both compare %s, with %s and with %s: asking both can single a value out", left, t.right(i, s), o.right(j, s))
}

// width says how many values there are between two thresholds, where they are few.
func width(t *Template, a, b *circuits.Atom, s *schema.Schema, plain bool, atom int) string {
	if _, ok := t.single(atom, s); !ok || !plain {
		return ""
	}
	values := math.Abs(float64(a.Constant) - float64(b.Constant))
	if values > 1000 {
		return ""
	}
	return fmt.Sprintf(" (%.0f values)", values)
}

func sameTables(t *Template, a *circuits.Atom, o *Template, b *circuits.Atom) bool {
	var x, y []string
	for _, term := range a.Lookups {
		x = append(x, fmt.Sprint(t.Program.Lookups[term.Lookup]))
	}
	for _, term := range b.Lookups {
		y = append(y, fmt.Sprint(o.Program.Lookups[term.Lookup]))
	}
	return strings.Join(x, "\n") == strings.Join(y, "\n")
}
