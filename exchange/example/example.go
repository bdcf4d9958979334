// Package example reads worked examples: programmes as agencies run them, each with datasets of its own, policies, a program and the
// cases that say what comes out. A folder holds
//
//	README.md               the real programme, its source, its figures, and what the language could not say
//	datasets/NAME.yaml      schemas, with the data in NAME.csv and later states of them in NAME.2.csv, NAME.3.csv
//	policies/NAME.yaml
//	program.yaml
//	cases.yaml
//
// Dates in the data are seen from the day that cases.yaml names; At moves them to another one.
package example

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
)

// ErrExample reports a folder that is no example; the message says which file and what is wrong.
var ErrExample = errors.New("not a worked example")

// Outcomes of a case: what the program decides by itself, and what it leaves to a person.
const (
	Granted = "granted"
	Refused = "refused"
	Review  = "review"
)

// What a case may say of the check that is a claim, instead of a verdict.
const (
	Claimed = "claimed" // the person claimed before
	Spared  = "spared"  // it was not asked, since the rule refuses whatever it would say
)

// An Example is a folder that was read and checked.
type Example struct {
	Name     string // of the folder and of the program
	Program  *program.Program
	Datasets []Dataset // by name
	Policies []Policy  // by name
	AsOf     time.Time // the day that the data are seen from
	Cases    []Case
	History  []Past
}

// A Dataset is a schema and its data.
type Dataset struct {
	Holder   string
	Document []byte // YAML
	Schema   *schema.Schema
	Mapping  *schema.Mapping
	Epochs   [][]byte // CSV, oldest first
}

// A Policy is one of a dataset's.
type Policy struct {
	Holder   string
	Document []byte // YAML
	Parsed   *policy.Document
}

// A Case is an application and what comes out.
type Case struct {
	Name     string            `yaml:"name"`
	Subjects map[string]string `yaml:"subjects"` // subject ids by role
	Verdicts map[string]string `yaml:"verdicts"` // by check
	Policies map[string]string `yaml:"policies"` // verdicts about the applicant of policies that the program does not ask
	Outcome  string            `yaml:"outcome"`  // Granted, Refused or Review
}

// A Past is a question about an earlier state of a dataset.
type Past struct {
	Name    string `yaml:"name"`
	Policy  string `yaml:"policy"`
	Subject string `yaml:"subject"`
	Epoch   int    `yaml:"epoch"` // from 1
	Verdict string `yaml:"verdict"`
}

// Load reads every folder of fsys, in order of name. Errors wrap ErrExample.
func Load(fsys fs.FS) ([]*Example, error) {
	folders, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading examples: %w: %w", ErrExample, err)
	}
	var all []*Example
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		sub, err := fs.Sub(fsys, f.Name())
		if err != nil {
			return nil, fmt.Errorf("reading example %s: %w: %w", f.Name(), ErrExample, err)
		}
		e := &Example{Name: f.Name()}
		if err := e.read(sub); err != nil {
			return nil, fmt.Errorf("reading example %s: %w: %w", f.Name(), ErrExample, err)
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("reading examples: no folder: %w", ErrExample)
	}
	return all, nil
}

func (e *Example) read(fsys fs.FS) error {
	text, err := readFile(fsys, "program.yaml")
	if err != nil {
		return err
	}
	if e.Program, err = program.Parse(text); err != nil {
		return err
	}
	if e.Program.Name != e.Name {
		return fmt.Errorf("program.yaml: the program is called %s", e.Program.Name)
	}
	if err := e.readDatasets(fsys); err != nil {
		return err
	}
	if err := e.readPolicies(fsys); err != nil {
		return err
	}
	if err := e.assign(); err != nil {
		return err
	}
	return e.readCases(fsys)
}

// MaxFile bounds a file of an example in bytes; schemas, policies and programs have narrower bounds of their own.
const MaxFile = 1 << 20

// readFile is fs.ReadFile for a file of at most MaxFile bytes.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = fmt.Errorf("%s: larger than %d bytes", name, MaxFile)
	}
	return data, err
}

func (e *Example) readDatasets(fsys fs.FS) error {
	files, err := fs.Glob(fsys, "datasets/*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		var d Dataset
		if d.Document, err = readFile(fsys, file); err != nil {
			return err
		}
		if d.Schema, d.Mapping, err = schema.Load(d.Document); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		base := strings.TrimSuffix(file, ".yaml")
		if path.Base(base) != d.Schema.Dataset {
			return fmt.Errorf("%s: the dataset is called %s", file, d.Schema.Dataset)
		}
		for name := base + ".csv"; ; name = fmt.Sprintf("%s.%d.csv", base, len(d.Epochs)+1) {
			data, err := readFile(fsys, name)
			if errors.Is(err, fs.ErrNotExist) && len(d.Epochs) > 0 {
				break
			}
			if err != nil {
				return err
			}
			d.Epochs = append(d.Epochs, data)
		}
		e.Datasets = append(e.Datasets, d)
	}
	return nil
}

func (e *Example) readPolicies(fsys fs.FS) error {
	files, err := fs.Glob(fsys, "policies/*.yaml")
	if err != nil {
		return err
	}
	for _, file := range files {
		var p Policy
		if p.Document, err = readFile(fsys, file); err != nil {
			return err
		}
		d, err := policy.Parse(p.Document)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if path.Base(file) != d.Policy+".yaml" {
			return fmt.Errorf("%s: the policy is called %s", file, d.Policy)
		}
		e.Policies = append(e.Policies, Policy{Document: p.Document, Parsed: d})
	}
	return nil
}

// assign finds out who holds what: the program says it of the policies that it asks, and through them of their datasets.
func (e *Example) assign() error {
	for _, c := range e.Program.Checks {
		p, err := e.Policy(c.Policy)
		if err != nil {
			return fmt.Errorf("check %s: %w", c.Name, err)
		}
		d, err := e.Dataset(p.Parsed.Dataset)
		if err != nil {
			return fmt.Errorf("policy %s: %w", p.Parsed.Policy, err)
		}
		if p.Parsed.Version != c.Version || d.Holder != "" && d.Holder != c.Holder {
			return fmt.Errorf("check %s: version %d of policy %s at %s is not among the files", c.Name, c.Version, c.Policy, c.Holder)
		}
		d.Holder = c.Holder
	}
	for i := range e.Policies {
		d, err := e.Dataset(e.Policies[i].Parsed.Dataset)
		if err != nil || d.Holder == "" {
			return fmt.Errorf("policy %s: no check says who holds dataset %s", e.Policies[i].Parsed.Policy, e.Policies[i].Parsed.Dataset)
		}
		e.Policies[i].Holder = d.Holder
	}
	return nil
}

// Dataset is the one of that name.
func (e *Example) Dataset(name string) (*Dataset, error) {
	for i := range e.Datasets {
		if e.Datasets[i].Schema.Dataset == name {
			return &e.Datasets[i], nil
		}
	}
	return nil, fmt.Errorf("no dataset %s", name)
}

// Policy is the one of that name.
func (e *Example) Policy(name string) (*Policy, error) {
	for i := range e.Policies {
		if e.Policies[i].Parsed.Policy == name {
			return &e.Policies[i], nil
		}
	}
	return nil, fmt.Errorf("no policy %s", name)
}

func (e *Example) readCases(fsys fs.FS) error {
	data, err := readFile(fsys, "cases.yaml")
	if err != nil {
		return err
	}
	var d struct {
		AsOf    string `yaml:"as_of"`
		Cases   []Case `yaml:"cases"`
		History []Past `yaml:"history"`
	}
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict()); err != nil {
		return fmt.Errorf("cases.yaml: %s", yaml.FormatError(err, false, true))
	}
	if e.AsOf, err = entry.ParseDate(d.AsOf); err != nil {
		return fmt.Errorf("cases.yaml: as_of: %w", err)
	}
	e.Cases, e.History = d.Cases, d.History
	if len(e.Cases) == 0 {
		return errors.New("cases.yaml: no case")
	}
	for _, c := range e.Cases {
		if err := e.check(&c); err != nil {
			return fmt.Errorf("cases.yaml: case %s: %w", c.Name, err)
		}
	}
	return nil
}

// check reports a case that leaves something open.
func (e *Example) check(c *Case) error {
	for _, role := range e.Program.Roles() {
		if c.Subjects[role] == "" {
			return fmt.Errorf("subjects: no %s", role)
		}
	}
	for _, k := range e.Program.Checks {
		said := c.Verdicts[k.Name]
		if s := e.Program.Scope; s != nil && s.Check == k.Name && (said == Claimed || said == Spared) {
			continue
		}
		if _, err := circuits.ParseVerdict(said); err != nil {
			return fmt.Errorf("verdicts: %s: %w", k.Name, err)
		}
	}
	if len(c.Subjects) != len(e.Program.Roles()) || len(c.Verdicts) != len(e.Program.Checks) {
		return errors.New("subjects or verdicts that the program does not have")
	}
	if c.Outcome != Granted && c.Outcome != Refused && c.Outcome != Review {
		return fmt.Errorf("outcome: must be %s, %s or %s", Granted, Refused, Review)
	}
	return nil
}

// Remembers reports whether the example asks a policy about earlier states of its dataset.
func (e *Example) Remembers(policy string) bool {
	return slices.ContainsFunc(e.History, func(p Past) bool { return p.Policy == policy })
}

// At is the data as they would be if today were another day: every date is moved by as many days.
func (d *Dataset) At(asOf, today time.Time) ([][]byte, error) {
	days := int(today.Sub(asOf).Hours() / 24)
	var epochs [][]byte
	for _, data := range d.Epochs {
		rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
		if err == nil && len(rows) == 0 {
			err = errors.New("no line that names the columns")
		}
		if err != nil {
			return nil, fmt.Errorf("moving the dates of dataset %s: %w: %w", d.Schema.Dataset, ErrExample, err)
		}
		for i, name := range rows[0] {
			column, _, ok := d.Schema.Column(name)
			if !ok || column.Type != schema.Date {
				continue
			}
			for _, row := range rows[1:] {
				if row[i] == "" {
					continue
				}
				day, err := time.Parse(time.DateOnly, row[i])
				if err != nil { // without the cell: data may be real one day
					return nil, fmt.Errorf("moving the dates of dataset %s: column %s: want dates like 1957-03-31: %w", d.Schema.Dataset, name, ErrExample)
				}
				row[i] = day.AddDate(0, 0, days).Format(time.DateOnly)
			}
		}
		var out bytes.Buffer
		if err := csv.NewWriter(&out).WriteAll(rows); err != nil {
			return nil, fmt.Errorf("moving the dates of dataset %s: %w", d.Schema.Dataset, err)
		}
		epochs = append(epochs, out.Bytes())
	}
	return epochs, nil
}
