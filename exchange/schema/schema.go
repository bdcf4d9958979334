// Package schema says what the columns of a dataset are and turns text into the numbers and hashes that a commitment holds,
// and back.
//
// Values are personal data: no error of this package contains a cell, an identifier or a part of one. It says which column
// is wrong and what would be right.
package schema

import (
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/ledger/entry"
)

// ErrSchema means that a schema or a mapping is not well formed. The message says where.
var ErrSchema = errors.New("schema is not usable")

// A Type is what a column holds. All but Text are 64-bit numbers in the circuit.
type Type string

// The column types and how their values are encoded.
const (
	Int     Type = "int"     // a whole number, -(2^63-1) to 2^63-1
	Decimal Type = "decimal" // with Scale decimals, as the whole number value * 10^Scale
	Date    Type = "date"    // YYYY-MM-DD, years 0001 to 9999, as days since 1970-01-01
	Bool    Type = "bool"    // false 0, true 1
	Enum    Type = "enum"    // one of Codes, as its number in declared order from 0
	Code    Type = "code"    // 1 to 7 bytes of printable ASCII, as one big-endian number
	Text    Type = "text"    // NFC text, hashed to the field: it can be compared for equality only
)

// Limits beside those of ledger/entry.
const (
	// MaxScale is the largest number of decimals.
	MaxScale = 9
	// MaxText bounds a text value in bytes, after normalisation.
	MaxText = 1024
	// MaxCode bounds a code in bytes: seven fit a signed 64-bit number and leave every code positive.
	MaxCode = 7
)

// A Column is one column of a dataset.
type Column struct {
	Name  string   // 1 to 64 of a-z 0-9 _, beginning with a letter
	Type  Type     // one of the seven types
	Scale int      // decimals of a Decimal, 0 to 9
	Codes []string // values of an Enum, 1 to 256, in order
	Title string   // for people, up to 256 bytes
	Unit  string   // for people, up to 64 bytes
}

// Numeric reports whether the circuit can calculate with the column.
func (c *Column) Numeric() bool { return c.Type != Text }

// A Schema describes a dataset: at most 12 numeric columns and 4 text columns, and the scheme of its subjects' identifiers.
type Schema struct {
	Dataset string // 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit
	Title   string
	Scheme  string // a name in the network configuration
	Columns []Column
}

// names that a policy's text could not use for a column: literals and operators of CEL
// (https://github.com/google/cel-spec, Syntax, IDENT and RESERVED).
var reserved = []string{"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
	"import", "let", "loop", "package", "namespace", "return", "var", "void", "while"}

// fault is a complaint about one place in a schema document; path is in the syntax of goccy/go-yaml ($.columns[0].name).
type fault struct {
	path, reason string
}

func (f *fault) Error() string { return fmt.Sprintf("%v: %s: %s", ErrSchema, f.path, f.reason) }
func (f *fault) Unwrap() error { return ErrSchema }

func faultf(path, format string, args ...any) error {
	return &fault{path, fmt.Sprintf(format, args...)}
}

// Check reports the first thing that is wrong with the schema as an error that wraps ErrSchema, or nil.
func (s *Schema) Check() error {
	const name = "must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit"
	if !entry.Name(s.Dataset) {
		return faultf("$.dataset", name)
	}
	if err := checkText("$.title", s.Title, 1, entry.MaxTitle); err != nil {
		return err
	}
	if !entry.Name(s.Scheme) {
		return faultf("$.scheme", name)
	}
	if len(s.Columns) == 0 {
		return faultf("$.columns", "must hold at least one column")
	}
	var numeric, text int
	for i := range s.Columns {
		c, path := &s.Columns[i], fmt.Sprintf("$.columns[%d]", i)
		if err := c.check(path); err != nil {
			return err
		}
		if slices.ContainsFunc(s.Columns[:i], func(o Column) bool { return o.Name == c.Name }) {
			return faultf(path+".name", "column %s stands twice", c.Name)
		}
		if c.Numeric() {
			numeric++
		} else {
			text++
		}
		if numeric > circuits.NumericColumns {
			return faultf(path, "more than %d numeric columns; %s is one too many", circuits.NumericColumns, c.Name)
		}
		if text > circuits.TextColumns {
			return faultf(path, "more than %d text columns; %s is one too many", circuits.TextColumns, c.Name)
		}
	}
	return nil
}

func (c *Column) check(path string) error {
	if !columnName(c.Name) {
		return faultf(path+".name", "must be 1 to 64 of a-z 0-9 _ and begin with a letter")
	}
	if slices.Contains(reserved, c.Name) {
		return faultf(path+".name", "%s is a word of the policy language", c.Name)
	}
	switch c.Type {
	case Int, Decimal, Date, Bool, Enum, Code, Text:
	default:
		return faultf(path+".type", "must be int, decimal, date, bool, enum, code or text")
	}
	if c.Scale < 0 || c.Scale > MaxScale || c.Scale != 0 && c.Type != Decimal {
		return faultf(path+".scale", "must be 0 to %d, and only for a decimal", MaxScale)
	}
	if (len(c.Codes) > 0) != (c.Type == Enum) {
		return faultf(path+".codes", "must be given for an enum, and for nothing else")
	}
	if len(c.Codes) > entry.MaxCodes {
		return faultf(path+".codes", "more than %d codes", entry.MaxCodes)
	}
	for i, code := range c.Codes {
		at := fmt.Sprintf("%s.codes[%d]", path, i)
		if err := checkText(at, code, 1, entry.MaxName); err != nil {
			return err
		}
		if slices.Contains(c.Codes[:i], code) {
			return faultf(at, "code stands twice")
		}
	}
	if err := checkText(path+".title", c.Title, 0, entry.MaxTitle); err != nil {
		return err
	}
	return checkText(path+".unit", c.Unit, 0, entry.MaxName)
}

func columnName(s string) bool {
	if len(s) == 0 || len(s) > entry.MaxName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return false
		}
	}
	return true
}

func checkText(path, s string, min, max int) error {
	if len(s) < min || len(s) > max {
		return faultf(path, "must have %d to %d bytes", min, max)
	}
	if !utf8.ValidString(s) {
		return faultf(path, "must be valid UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return faultf(path, "must not hold control characters")
		}
	}
	return nil
}

// Positions returns each column's position in the circuit, in declared order: numeric columns take 0 to 11 and text columns
// 12 to 15, each kind in the order of its declaration.
func (s *Schema) Positions() []int {
	p := make([]int, len(s.Columns))
	numeric, text := 0, circuits.NumericColumns
	for i := range s.Columns {
		if s.Columns[i].Numeric() {
			p[i] = numeric
			numeric++
		} else {
			p[i] = text
			text++
		}
	}
	return p
}

// Position returns the circuit's position of the named column, 0 to 15.
func (s *Schema) Position(name string) (int, bool) {
	for i, p := range s.Positions() {
		if s.Columns[i].Name == name {
			return p, true
		}
	}
	return 0, false
}

// Column returns the named column and its index in Columns.
func (s *Schema) Column(name string) (c *Column, index int, ok bool) {
	for i := range s.Columns {
		if s.Columns[i].Name == name {
			return &s.Columns[i], i, true
		}
	}
	return nil, 0, false
}

// At returns the column at a position of the circuit; there may be none.
func (s *Schema) At(position int) (*Column, bool) {
	for i, p := range s.Positions() {
		if p == position {
			return &s.Columns[i], true
		}
	}
	return nil, false
}

// Declare returns the ledger entry that announces the schema.
func (s *Schema) Declare(now time.Time) entry.DatasetDeclare {
	d := entry.DatasetDeclare{Dataset: s.Dataset, Title: s.Title, Scheme: s.Scheme, Time: entry.FormatTime(now)}
	for _, c := range s.Columns {
		d.Columns = append(d.Columns, entry.Column{Name: c.Name, Type: string(c.Type), Scale: c.Scale,
			Codes: slices.Clone(c.Codes), Title: c.Title, Unit: c.Unit})
	}
	return d
}

// FromDeclare returns the schema of a ledger entry. It refuses with ErrSchema what Check refuses: the ledger's own limits are
// wider (16 columns of any type).
func FromDeclare(d entry.DatasetDeclare) (*Schema, error) {
	s := &Schema{Dataset: d.Dataset, Title: d.Title, Scheme: d.Scheme}
	for _, c := range d.Columns {
		s.Columns = append(s.Columns, Column{Name: c.Name, Type: Type(c.Type), Scale: c.Scale,
			Codes: slices.Clone(c.Codes), Title: c.Title, Unit: c.Unit})
	}
	if err := s.Check(); err != nil {
		return nil, fmt.Errorf("reading dataset.declare: %w", err)
	}
	return s, nil
}

// Equal reports whether two schemas say the same, titles and units included.
func (s *Schema) Equal(o *Schema) bool {
	return s.Dataset == o.Dataset && s.Title == o.Title && s.Scheme == o.Scheme &&
		slices.EqualFunc(s.Columns, o.Columns, func(a, b Column) bool {
			return a.Name == b.Name && a.Type == b.Type && a.Scale == b.Scale && a.Title == b.Title && a.Unit == b.Unit &&
				slices.Equal(a.Codes, b.Codes)
		})
}
