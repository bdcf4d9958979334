// Package policy turns a published yes/no question over one dataset into the program that the circuit evaluates.
package policy

import (
	"errors"
	"fmt"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
)

// ErrPolicy reports a policy that does not compile; the message says where and what would.
var ErrPolicy = errors.New("policy does not compile")

// MaxDocument bounds the bytes of a policy document.
const MaxDocument = 32 << 10

// A Document is what a policy's author writes.
type Document struct {
	Policy    string `yaml:"policy" json:"policy"`
	Version   int    `yaml:"version" json:"version"` // from 1
	Dataset   string `yaml:"dataset" json:"dataset"`
	Title     string `yaml:"title" json:"title"`
	Question  string `yaml:"question" json:"question"`
	OnAbsent  string `yaml:"on_absent,omitempty" json:"on_absent,omitempty"`   // no_record (default) or not_satisfied
	OnMissing string `yaml:"on_missing,omitempty" json:"on_missing,omitempty"` // indeterminate (default) or not_satisfied
	When      string `yaml:"when" json:"when"`                                 // the condition, in Language
}

// Parse reads a document from YAML (or JSON, which YAML contains), strictly: an unknown field is refused with its position.
func Parse(data []byte) (*Document, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("reading a policy of %d bytes, at most %d: %w", len(data), MaxDocument, ErrPolicy)
	}
	var d Document
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("reading a policy: %w\n%s", ErrPolicy, yaml.FormatError(err, false, true))
	}
	return &d, nil
}

// Compile checks the document against a dataset's schema and compiles it.
func (d *Document) Compile(s *schema.Schema) (*Template, error) {
	t := &Template{}
	var err error
	if t.Program.OnAbsent, err = mapping("on_absent", d.OnAbsent, circuits.NoRecord); err != nil {
		return nil, err
	}
	if t.Program.OnMissing, err = mapping("on_missing", d.OnMissing, circuits.Indeterminate); err != nil {
		return nil, err
	}
	if err := compile(d.When, s, t); err != nil {
		return nil, fmt.Errorf("compiling policy %s: %w", d.Policy, err)
	}
	if err := t.Check(); err != nil {
		return nil, fmt.Errorf("compiling policy %s: %w: %w", d.Policy, ErrPolicy, err)
	}
	return t, nil
}

func mapping(field, text string, own circuits.Verdict) (circuits.Verdict, error) {
	switch text {
	case "", own.String():
		return own, nil
	case circuits.NotSatisfied.String():
		return circuits.NotSatisfied, nil
	}
	return 0, fmt.Errorf("%s is %q, want %s or %s: %w", field, text, own, circuits.NotSatisfied, ErrPolicy)
}

// Entry compiles the document for a declared dataset and makes the ledger entry that publishes it.
func (d *Document) Entry(declared entry.DatasetDeclare, index uint64, now time.Time) (entry.PolicyPublish, error) {
	var none entry.PolicyPublish
	if d.Dataset != declared.Dataset {
		return none, fmt.Errorf("publishing policy %s: it is for dataset %s, not %s: %w", d.Policy, d.Dataset, declared.Dataset, ErrPolicy)
	}
	s, err := schema.FromDeclare(declared)
	if err != nil {
		return none, err
	}
	t, err := d.Compile(s)
	if err != nil {
		return none, err
	}
	template, err := t.Encode()
	if err != nil {
		return none, err
	}
	return entry.PolicyPublish{Policy: d.Policy, Version: d.Version, Dataset: d.Dataset, Declare: index, Title: d.Title,
		Question: d.Question, Source: entry.Source{Language: Language, Text: d.When}, Template: template,
		Time: entry.FormatTime(now)}, nil
}
