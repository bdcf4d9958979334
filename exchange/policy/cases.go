package policy

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// MaxCases bounds the bytes of a file of cases.
const MaxCases = 1 << 20

// Cases are records with the verdicts that a policy's author expects.
type Cases struct {
	AsOf  string `yaml:"as_of"` // YYYY-MM-DD, for the cases that name none
	Cases []Case `yaml:"cases"`
}

// A Case is one record. Columns that it does not name, or that hold nothing, are missing; without a record there is none.
type Case struct {
	Name    string           `yaml:"name"`
	AsOf    string           `yaml:"as_of"`
	Record  *map[string]cell `yaml:"record"`
	Verdict string           `yaml:"verdict"`
}

// cell is a value as it stands in the file: 12.50 is no float and 2026-01-31 no date.
type cell string

// UnmarshalYAML takes a scalar's text.
func (c *cell) UnmarshalYAML(node ast.Node) error {
	switch n := node.(type) {
	case *ast.StringNode:
		*c = cell(n.Value)
	case *ast.NullNode:
		*c = ""
	case *ast.BoolNode:
		*c = cell(strconv.FormatBool(n.Value))
	case *ast.IntegerNode, *ast.FloatNode:
		*c = cell(node.GetToken().Value)
	default:
		at := node.GetToken().Position
		return fmt.Errorf("line %d, column %d: want a text, a number, true, false or nothing", at.Line, at.Column)
	}
	return nil
}

// ParseCases reads a file of cases, strictly. Errors wrap ErrPolicy and name the place.
func ParseCases(data []byte) (*Cases, error) {
	if len(data) > MaxCases {
		return nil, fmt.Errorf("reading cases of %d bytes, at most %d: %w", len(data), MaxCases, ErrPolicy)
	}
	var c Cases
	if err := yaml.UnmarshalWithOptions(data, &c, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("reading cases: %w\n%s", ErrPolicy, yaml.FormatError(err, false, true))
	}
	if len(c.Cases) == 0 {
		return nil, fmt.Errorf("reading cases: there are none: %w", ErrPolicy)
	}
	return &c, nil
}

// A CaseResult is what became of a case.
type CaseResult struct {
	Name string `json:"name"`
	AsOf string `json:"as_of,omitempty"`
	Want string `json:"want"`
	Got  string `json:"got"`
	Held bool   `json:"held"`
}

// Run evaluates the cases. The error wraps ErrPolicy, or is of a *schema.CellError, and names the case that cannot be run.
func (c *Cases) Run(t *Template, s *schema.Schema) ([]CaseResult, error) {
	results := make([]CaseResult, 0, len(c.Cases))
	for i := range c.Cases {
		one := &c.Cases[i]
		if one.Name == "" {
			one.Name = fmt.Sprintf("case %d", i+1)
		}
		if one.AsOf == "" {
			one.AsOf = c.AsOf
		}
		got, err := one.run(t, s)
		if err != nil {
			return nil, fmt.Errorf("case %q: %w", one.Name, err)
		}
		results = append(results, CaseResult{Name: one.Name, AsOf: one.AsOf, Want: one.Verdict, Got: got.String(), Held: got.String() == one.Verdict})
	}
	return results, nil
}

func (c *Case) run(t *Template, s *schema.Schema) (circuits.Verdict, error) {
	known := false
	for v := circuits.NotSatisfied; v <= circuits.NoRecord; v++ {
		known = known || v.String() == c.Verdict
	}
	if !known {
		return 0, fmt.Errorf("verdict is %q, want satisfied, not_satisfied, indeterminate or no_record: %w", c.Verdict, ErrPolicy)
	}
	day := time.Unix(0, 0).UTC()
	if c.AsOf != "" || len(t.Dates) > 0 {
		var err error
		if day, err = time.Parse(time.DateOnly, c.AsOf); err != nil {
			return 0, fmt.Errorf("as_of is %q, want a day like %s: %w", c.AsOf, time.DateOnly, ErrPolicy)
		}
	}
	program, err := t.At(day)
	if err != nil {
		return 0, err
	}
	if c.Record == nil {
		return program.Evaluate(nil), nil
	}
	row := make([]string, len(s.Columns))
	for name, value := range *c.Record {
		i := slices.IndexFunc(s.Columns, func(c schema.Column) bool { return c.Name == name })
		if i < 0 {
			return 0, fmt.Errorf("no column %q in dataset %s: %w", name, s.Dataset, ErrPolicy)
		}
		row[i] = string(value)
	}
	values, err := s.Parse(row)
	if err != nil {
		return 0, err
	}
	record, err := s.Encode(values)
	if err != nil {
		return 0, err
	}
	return program.Evaluate(&record), nil
}
