package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/schema"
)

// aimCompile is how many milliseconds compiling a policy may take.
const aimCompile = 5

// policy measures compiling policies, and evaluating them without a proof: the policies of the worked examples, and one that fills the
// program.
func (b *bench) policy(ctx context.Context) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	drafts, examples, fit, err := worked(filepath.Join(root, "exchange", "testdata", "programs"))
	if err != nil {
		return err
	}
	b.one("policy", fmt.Sprintf("worked examples whose policies fit the program, of %d", examples), "", float64(fit))
	b.stage("compiling %d policies", len(drafts))
	rounds := b.samples(50, 3)
	var all []float64
	for _, d := range drafts {
		times, err := d.compile(rounds)
		if err != nil {
			return err
		}
		all = append(all, times...)
	}
	b.add("policy", fmt.Sprintf("compile a policy, %d of the worked examples", len(drafts)), "ms", len(all), spread(all), "max", aimCompile)
	full := fullDraft()
	times, err := full.compile(10 * rounds)
	if err != nil {
		return err
	}
	b.add("policy", "compile a policy of 12 atoms, 4 tables of 16 rows, 4 texts", "ms", len(times), spread(times), "max", aimCompile)
	var rates []float64
	for _, d := range append(drafts, full) {
		rate, err := d.evaluate(b.samples(200_000, 5_000))
		if err != nil {
			return err
		}
		if d == full {
			b.one("policy", "evaluate natively, the fullest program", "1/s", rate)
			continue
		}
		rates = append(rates, rate)
	}
	b.add("policy", "evaluate natively, the worked examples, one core", "1/s", len(rates), spread(rates), "", 0)
	return nil
}

// sketch is a policy with the schema that it is compiled for.
type sketch struct {
	document *policy.Document
	columns  *schema.Schema
	template *policy.Template
}

// worked reads the policies of the examples; fit counts the examples of which all compile.
func worked(folder string) (drafts []*sketch, examples, fit int, err error) {
	folders, err := filepath.Glob(filepath.Join(folder, "*", "policies"))
	if err != nil || len(folders) == 0 {
		return nil, 0, 0, fmt.Errorf("finding the worked examples in %s: %w", folder, os.ErrNotExist)
	}
	for _, f := range folders {
		files, err := filepath.Glob(filepath.Join(f, "*.yaml"))
		if err != nil {
			return nil, 0, 0, err
		}
		whole := len(files) > 0
		for _, file := range files {
			d, err := readSketch(file)
			if err != nil {
				return nil, 0, 0, err
			}
			if d.template, err = d.document.Compile(d.columns); err != nil {
				whole = false
				continue
			}
			drafts = append(drafts, d)
		}
		if examples++; whole {
			fit++
		}
	}
	return drafts, examples, fit, nil
}

func readSketch(file string) (*sketch, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := &sketch{}
	if d.document, err = policy.Parse(text); err != nil {
		return nil, err
	}
	if text, err = os.ReadFile(filepath.Join(filepath.Dir(file), "..", "datasets", d.document.Dataset+".yaml")); err != nil {
		return nil, err
	}
	d.columns, _, err = schema.Load(text)
	return d, err
}

func (d *sketch) compile(n int) ([]float64, error) {
	wall, _, err := measure(n, nil, func() (err error) {
		d.template, err = d.document.Compile(d.columns)
		return err
	})
	return wall, err
}

// evaluate is how many times a second a program answers for a record with a value in every column.
func (d *sketch) evaluate(n int) (float64, error) {
	program, err := d.template.At(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC))
	if err != nil {
		return 0, err
	}
	record := fullRecord()
	verdicts := [4]int{} // keeps the work from being left out
	started := time.Now()
	for i := range n {
		record.Numeric[i%circuits.NumericColumns] ^= 1
		verdicts[program.Evaluate(record)]++
	}
	return float64(n) / time.Since(started).Seconds(), nil
}

// fullDraft fills the program.
func fullDraft() *sketch {
	s := &schema.Schema{Dataset: "full", Title: "Full", Scheme: "id"}
	for i := range circuits.NumericColumns {
		s.Columns = append(s.Columns, schema.Column{Name: fmt.Sprintf("n%d", i), Type: schema.Int})
	}
	for i := range circuits.TextColumns {
		s.Columns = append(s.Columns, schema.Column{Name: fmt.Sprintf("t%d", i), Type: schema.Text})
	}
	var rows, parts []string
	for i := range circuits.LookupPairs {
		rows = append(rows, fmt.Sprintf("%d: %d", i, 1000*i))
	}
	for i := range circuits.Lookups {
		parts = append(parts, fmt.Sprintf("(t%d == \"x\" || n%d <= table(n%d, {%s}, %d))", i, i, i+4, strings.Join(rows, ", "), i))
	}
	for i := range circuits.Atoms - circuits.Lookups {
		parts = append(parts, fmt.Sprintf("n%d + 2 * n%d > %d", i, i+1, i))
	}
	return &sketch{columns: s, document: &policy.Document{Policy: "full", Version: 1, Dataset: "full", When: strings.Join(parts, " && ")}}
}
