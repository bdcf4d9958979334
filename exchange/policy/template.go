package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/ledger/entry"
)

// ErrTemplate reports a published template that is not well formed. Nobody may answer or verify with it.
var ErrTemplate = errors.New("malformed policy template")

// MaxTemplate bounds the bytes of a template; the largest well-formed program takes about 20 KiB.
const MaxTemplate = 48 << 10

// A Template is what a policy compiles to and what the ledger holds: a program, and the places in it that depend on the answer's
// as-of date. A verifier needs it and nothing of the language that it was written in.
type Template struct {
	Program circuits.Program `json:"program"`
	Dates   []DateSlot       `json:"dates,omitempty"` // at most one for an atom, rising by atom
}

// A DateSlot adds Sign times a day number to the constant of an atom: the as-of date less Years calendar years, in days since
// 1970-01-01. A 29 February that the earlier year lacks becomes 28 February.
type DateSlot struct {
	Atom  int `json:"atom"`
	Years int `json:"years"` // 0 to 200
	Sign  int `json:"sign"`  // 1 or -1
}

// ParseTemplate reads a template of at most MaxTemplate bytes and checks its program and slots.
func ParseTemplate(data []byte) (*Template, error) {
	var t Template
	if err := entry.DecodeStrict(data, MaxTemplate, &t); err != nil {
		return nil, fmt.Errorf("reading a template: %w: %w", ErrTemplate, err)
	}
	if err := t.Check(); err != nil {
		return nil, err
	}
	return &t, nil
}

// Encode is the template's JSON text.
func (t *Template) Encode() ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(t); err != nil {
		return nil, fmt.Errorf("writing a template: %w", err)
	}
	return bytes.TrimSpace(buf.Bytes()), nil
}

// Check reports what is not well formed.
func (t *Template) Check() error {
	if err := t.Program.Check(); err != nil {
		return fmt.Errorf("checking a template: %w: %w", ErrTemplate, err)
	}
	last := -1
	for _, d := range t.Dates {
		if d.Atom <= last || d.Atom >= len(t.Program.Atoms) || d.Years < 0 || d.Years > 200 || d.Sign != 1 && d.Sign != -1 {
			return fmt.Errorf("checking a template: date slot of atom %d: %w", d.Atom, ErrTemplate)
		}
		last = d.Atom
	}
	return nil
}

// At is the program for one as-of date.
func (t *Template) At(asOf time.Time) (*circuits.Program, error) {
	p := t.Program
	p.Atoms = slices.Clone(p.Atoms)
	for _, d := range t.Dates {
		days := int64(d.Sign) * daysBefore(asOf, d.Years)
		c := &p.Atoms[d.Atom].Constant
		if days > 0 && *c > math.MaxInt64-days || days < 0 && *c < math.MinInt64-days {
			return nil, fmt.Errorf("filling the date slot of atom %d: constant out of range: %w", d.Atom, ErrTemplate)
		}
		*c += days
	}
	return &p, p.Check()
}

// ProgramAt is At for a date written YYYY-MM-DD.
func (t *Template) ProgramAt(asOf string) (*circuits.Program, error) {
	day, err := time.Parse(time.DateOnly, asOf)
	if err != nil {
		return nil, fmt.Errorf("reading an as-of date: want YYYY-MM-DD: %w", ErrTemplate)
	}
	return t.At(day)
}

// daysBefore is the day number of the date years before asOf.
func daysBefore(asOf time.Time, years int) int64 {
	y, m, d := asOf.Date()
	day := time.Date(y-years, m, d, 0, 0, 0, 0, time.UTC)
	if day.Month() != m { // 29 February of a year without one
		day = time.Date(y-years, m, d-1, 0, 0, 0, 0, time.UTC)
	}
	return day.Unix() / 86400 // exact: whole days
}
