package schema

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// MaxDocument bounds a schema document in bytes.
const MaxDocument = 1 << 18

// document is a schema and its mapping as a person writes them.
type document struct {
	Dataset string            `yaml:"dataset"`
	Title   string            `yaml:"title"`
	Scheme  string            `yaml:"scheme"`
	ID      documentID        `yaml:"id"`
	Where   map[string]scalar `yaml:"where"`
	Columns []documentColumn  `yaml:"columns"`
}

type documentID struct {
	Column   string `yaml:"column"`
	Sequence string `yaml:"sequence"`
}

type documentColumn struct {
	Name     string            `yaml:"name"`
	Type     Type              `yaml:"type"`
	Scale    int               `yaml:"scale"`
	Codes    []scalar          `yaml:"codes"`
	Title    string            `yaml:"title"`
	Unit     string            `yaml:"unit"`
	Source   string            `yaml:"source"`
	Map      map[string]scalar `yaml:"map"`
	Multiply *int64            `yaml:"multiply"`
}

// scalar is a YAML scalar by its text, so that true, 17 and 2.50 need no quotes and no number passes through a float.
type scalar string

func (s *scalar) UnmarshalYAML(node ast.Node) error {
	switch n := node.(type) {
	case *ast.StringNode:
		*s = scalar(n.Value)
	case *ast.BoolNode:
		*s = scalar(strconv.FormatBool(n.Value))
	case *ast.IntegerNode, *ast.FloatNode:
		*s = scalar(node.GetToken().Value)
	default:
		at := node.GetToken().Position
		return fmt.Errorf("line %d, column %d: must be a text, a number, true or false", at.Line, at.Column)
	}
	return nil
}

// Load reads a schema and its mapping from one YAML document:
//
//	dataset: care
//	title: Care visits
//	scheme: person                    # an identifier scheme of the instance
//	id: {column: person}              # or {sequence: "NMES-%06d"}: the row's number
//	where: {medicaid: "yes"}          # optional: keep these rows only
//	columns:
//	  - {name: age, type: int, unit: years, multiply: 10}
//	  - {name: income, type: decimal, scale: 2, source: inc}
//	  - {name: married, type: bool, map: {yes: true, no: false}}
//	  - {name: region, type: enum, codes: [west, other]}
//
// source is the column in the file (default: name); map replaces texts; multiply is a power of ten. Unknown and repeated
// names are refused. Errors wrap ErrSchema and name line and column.
func Load(data []byte) (*Schema, *Mapping, error) {
	if len(data) > MaxDocument {
		return nil, nil, fmt.Errorf("reading schema: %w: larger than %d bytes", ErrSchema, MaxDocument)
	}
	if !utf8.Valid(data) {
		return nil, nil, fmt.Errorf("reading schema: %w: not UTF-8", ErrSchema)
	}
	var d document
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict(), yaml.DisallowUnknownField()); err != nil {
		return nil, nil, fmt.Errorf("reading schema: %w: %s", ErrSchema, yaml.FormatError(err, false, true))
	}
	s, m, err := d.convert()
	if err == nil {
		err = s.Check()
	}
	if err == nil {
		err = m.Check(s)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading schema: %w", locate(data, err))
	}
	return s, m, nil
}

func (d *document) convert() (*Schema, *Mapping, error) {
	s := &Schema{Dataset: d.Dataset, Title: d.Title, Scheme: d.Scheme}
	m := &Mapping{ID: IDSource(d.ID), Where: texts(d.Where), Columns: make(map[string]Source)}
	for i, c := range d.Columns {
		var codes []string
		for _, code := range c.Codes {
			codes = append(codes, string(code))
		}
		s.Columns = append(s.Columns, Column{Name: c.Name, Type: c.Type, Scale: c.Scale, Codes: codes, Title: c.Title, Unit: c.Unit})
		src := Source{Header: c.Source, Values: texts(c.Map)}
		if c.Multiply != nil {
			shift, ok := powerOfTen(*c.Multiply)
			if !ok {
				return nil, nil, faultf(fmt.Sprintf("$.columns[%d].multiply", i), "must be a power of ten from 1 to 10^%d", maxShift)
			}
			src.Shift = shift
		}
		if src.Header != "" || src.Values != nil || src.Shift != 0 {
			m.Columns[c.Name] = src
		}
	}
	return s, m, nil
}

func texts(m map[string]scalar) map[string]string {
	if m == nil {
		return nil
	}
	t := make(map[string]string, len(m))
	for k, v := range m {
		t[k] = string(v)
	}
	return t
}

func powerOfTen(n int64) (exponent int, ok bool) {
	for p := int64(1); ; p *= 10 {
		if p == n {
			return exponent, true
		}
		if p > math.MaxInt64/10 {
			return 0, false
		}
		exponent++
	}
}

// locate adds the line and column of a fault's place, or of the nearest place above it that the document has.
func locate(data []byte, err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	file, perr := parser.ParseBytes(data, 0)
	if perr != nil {
		return err
	}
	for path := f.path; path != "$" && path != ""; path = path[:strings.LastIndexAny(path, ".[")] {
		p, perr := yaml.PathString(path)
		if perr != nil {
			continue
		}
		node, perr := p.FilterFile(file)
		if perr != nil || node == nil {
			continue
		}
		at := node.GetToken().Position
		return fmt.Errorf("line %d, column %d: %w", at.Line, at.Column, err)
	}
	return err
}
