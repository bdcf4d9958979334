package example

import (
	"bytes"
	"encoding/csv"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/exchange/schema"
)

const folder = "../testdata/programs"

func load(t *testing.T) []*Example {
	t.Helper()
	all, err := Load(os.DirFS(folder))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// records reads one state of a dataset; the records are by subject id.
func (d *Dataset) records(t *testing.T, data []byte) map[string]*circuits.Record {
	t.Helper()
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	reader, err := d.Mapping.Bind(d.Schema, rows[0])
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*circuits.Record{}
	for i, cells := range rows[1:] {
		row := make(schema.Row, len(d.Schema.Columns))
		if !reader.Row(cells, row, func(e *schema.CellError) { t.Errorf("dataset %s, row %d: %v", d.Schema.Dataset, i+1, e) }) {
			continue
		}
		record, err := d.Schema.Encode(row)
		if err != nil {
			t.Fatal(err)
		}
		id := reader.ID(cells, i+1)
		if out[id] != nil {
			t.Errorf("dataset %s: %s stands twice", d.Schema.Dataset, id)
		}
		out[id] = &record
	}
	return out
}

// evaluate is the verdict of a policy on a subject's record in one state of its dataset; epoch counts from 1, 0 is the newest.
func (e *Example) evaluate(t *testing.T, name, subject string, epoch int, today time.Time) circuits.Verdict {
	t.Helper()
	p, err := e.Policy(name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := e.Dataset(p.Parsed.Dataset)
	if err != nil {
		t.Fatal(err)
	}
	template, err := p.Parsed.Compile(d.Schema)
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := template.At(today)
	if err != nil {
		t.Fatal(err)
	}
	epochs, err := d.At(e.AsOf, today)
	if err != nil {
		t.Fatal(err)
	}
	if epoch == 0 {
		epoch = len(epochs)
	}
	return compiled.Evaluate(d.records(t, epochs[epoch-1])[subject])
}

// decide is what the program comes to from the verdicts, before any claim.
func (e *Example) decide(t *testing.T, of map[string]circuits.Verdict) string {
	t.Helper()
	for _, v := range of {
		if v == circuits.Indeterminate {
			return Review
		}
	}
	granted, err := e.Program.Grants(of)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case e.Program.Review:
		return Review
	case granted:
		return Granted
	}
	return Refused
}

// TestExamples evaluates every case natively, on the day that its data were written for and on other days with the dates moved, and
// compares verdicts and outcome. It says how many of the examples fit one program of the circuit for each question.
func TestExamples(t *testing.T) {
	all := load(t)
	if len(all) != 12 {
		t.Errorf("%d examples, want twelve", len(all))
	}
	fit := 0
	for _, e := range all {
		ok := t.Run(e.Name, func(t *testing.T) {
			if readme, err := os.ReadFile(filepath.Join(folder, e.Name, "README.md")); err != nil || !strings.Contains(string(readme), "Source: ") {
				t.Errorf("README.md names no source: %v", err)
			}
			outcomes := map[string]int{}
			for _, today := range []time.Time{e.AsOf, e.AsOf.AddDate(0, 0, 1), e.AsOf.AddDate(0, 0, 1000)} {
				claims := map[string]bool{}
				for _, c := range e.Cases {
					outcomes[e.run(t, &c, today, claims)]++
				}
				for _, p := range e.History {
					if got := e.evaluate(t, p.Policy, p.Subject, p.Epoch, today); got.String() != p.Verdict {
						t.Errorf("%s: %s, want %s", p.Name, got, p.Verdict)
					}
				}
			}
			if outcomes[Granted] == 0 || outcomes[Refused] == 0 {
				t.Errorf("a program with cases %v decides nothing", outcomes)
			}
		})
		if ok {
			fit++
		}
	}
	t.Logf("%d of %d examples fit: each question is one program of the circuit", fit, len(all))
}

// claim makes the claim that an application comes with. It returns Claimed or Spared where there is none to make.
func (e *Example) claim(t *testing.T, of map[string]circuits.Verdict, c *Case, claims map[string]bool) string {
	t.Helper()
	s := e.Program.Scope
	if s == nil {
		return ""
	}
	hopeful := maps.Clone(of)
	hopeful[s.Check] = circuits.Satisfied
	if e.decide(t, hopeful) == Refused {
		return Spared
	}
	if of[s.Check] != circuits.Satisfied {
		return ""
	}
	for _, k := range e.Program.Checks {
		if subject := c.Subjects[k.Subject]; k.Name == s.Check {
			if claims[subject] {
				return Claimed
			}
			claims[subject] = true
		}
	}
	return ""
}

func (e *Example) run(t *testing.T, c *Case, today time.Time, claims map[string]bool) string {
	t.Helper()
	of := map[string]circuits.Verdict{}
	for _, k := range e.Program.Checks {
		of[k.Name] = e.evaluate(t, k.Policy, c.Subjects[k.Subject], 0, today)
	}
	claim := e.claim(t, of, c, claims)
	for name, v := range of {
		said := v.String()
		if s := e.Program.Scope; s != nil && s.Check == name && claim != "" {
			said = claim
		}
		if said != c.Verdicts[name] {
			t.Errorf("%s on %s: check %s is %s, want %s", c.Name, today.Format(time.DateOnly), name, said, c.Verdicts[name])
		}
	}
	for name, want := range c.Policies {
		if got := e.evaluate(t, name, c.Subjects["applicant"], 0, today); got.String() != want {
			t.Errorf("%s on %s: policy %s is %s, want %s", c.Name, today.Format(time.DateOnly), name, got, want)
		}
	}
	got := e.decide(t, of)
	if claim != "" {
		got = Refused
	}
	if got != c.Outcome {
		t.Errorf("%s on %s: %s, want %s", c.Name, today.Format(time.DateOnly), got, c.Outcome)
	}
	return got
}

// TestSizes shows what each policy uses of the circuit's program, and that none is larger than it says.
func TestSizes(t *testing.T) {
	for _, e := range load(t) {
		for _, p := range e.Policies {
			d, err := e.Dataset(p.Parsed.Dataset)
			if err != nil {
				t.Fatal(err)
			}
			template, err := p.Parsed.Compile(d.Schema)
			if err != nil {
				t.Errorf("%s: %v", p.Parsed.Policy, err)
				continue
			}
			q := template.Program
			t.Logf("%-24s %-20s %2d comparisons, %d texts, %d tables, %d gates, %d dates", e.Name, p.Parsed.Policy, len(q.Atoms), len(q.TextTests),
				len(q.Lookups), len(q.Gates), len(template.Dates))
		}
	}
}

// A limit is what a programme's rule says and the language cannot: a policy's text, or a change of the example's program.
type limit struct {
	Example string `yaml:"example"`
	Rule    string `yaml:"rule"`    // in the programme's words
	Dataset string `yaml:"dataset"` // with When
	When    string `yaml:"when"`
	Replace string `yaml:"replace"` // in program.yaml, with By
	By      string `yaml:"by"`
	Says    string `yaml:"says"`    // what the refusal contains
	Instead string `yaml:"instead"` // what the example does
}

// refusal is the error of the text that an author would write.
func (l *limit) refusal(e *Example) error {
	if l.Replace != "" {
		changed := strings.Replace(e.Program.Source, l.Replace, l.By, 1)
		if changed == e.Program.Source {
			return nil
		}
		_, err := program.Parse([]byte(changed))
		return err
	}
	d, err := e.Dataset(l.Dataset)
	if err != nil {
		return err
	}
	document := &policy.Document{Policy: "x", Version: 1, Dataset: l.Dataset, Title: "x", Question: "x?", When: l.When}
	_, err = document.Compile(d.Schema)
	return err
}

// TestLimits is the list of what the rules of these programmes say and the language cannot: each text is refused, at a place and with a
// reason that name what is missing.
func TestLimits(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(folder, "limits.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var limits []limit
	if err := yaml.UnmarshalWithOptions(data, &limits, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	all := map[string]*Example{}
	for _, e := range load(t) {
		all[e.Name] = e
	}
	for _, l := range limits {
		e := all[l.Example]
		if e == nil || l.Rule == "" || l.Instead == "" || l.Says == "" {
			t.Errorf("%s: want example, rule, says and instead: %+v", l.Example, l)
			continue
		}
		if err := l.refusal(e); err == nil || !strings.Contains(err.Error(), l.Says) {
			t.Errorf("%s, %s: %v; want %q", l.Example, l.Rule, err, l.Says)
		} else {
			t.Logf("%s: %s\n%v\ninstead: %s", l.Example, l.Rule, err, l.Instead)
		}
	}
}
