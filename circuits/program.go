package circuits

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ErrProgram means that a program is not well formed. A verifier must refuse such a program before it looks at a proof: the
// circuit relies on what Check establishes.
var ErrProgram = errors.New("malformed program")

// Program is a policy in the form that the circuit evaluates. All of it is public. The outcome is the last gate.
type Program struct {
	Lookups   []Lookup   `json:"lookups,omitempty"`    // up to 4
	Atoms     []Atom     `json:"atoms,omitempty"`      // up to 12
	TextTests []TextTest `json:"text_tests,omitempty"` // up to 4
	Gates     []Gate     `json:"gates"`                // 1 to 8
	// Exempt are the columns, ascending in 0..15, of those that are read, where a missing value does not lead to OnMissing. An
	// atom of the form x + (2^63-1) >= 0 and a text test against 0 ask whether they have one. Whatever else reads an exempt column
	// reads -2^63 or 0 where it is missing, and must be guarded by such a test: see checkGuards.
	Exempt    []int   `json:"exempt,omitempty"`
	OnAbsent  Verdict `json:"on_absent"`  // no_record or not_satisfied: the verdict when there is no record
	OnMissing Verdict `json:"on_missing"` // indeterminate or not_satisfied: the verdict when a used value is missing
}

// Lookup maps the value of a numeric column through a table.
type Lookup struct {
	Column  int    `json:"column"`         // 0..11
	Pairs   []Pair `json:"pairs"`          // up to 16, with distinct keys
	Default int64  `json:"default,string"` // the result for a value that is no key
	// MissIsMissing makes a value that is no key count as a missing value.
	MissIsMissing bool `json:"miss_is_missing,omitempty"`
}

// Pair is one row of a table. The key is no math.MinInt64, which no column holds.
type Pair struct {
	Key   int64 `json:"key,string"`
	Value int64 `json:"value,string"`
}

// Test is what an atom asks of its sum.
type Test string

// The tests of an atom.
const (
	AtLeastZero Test = "ge0"
	EqualsZero  Test = "eq0"
)

// Atom tests a linear form: the sum of coefficient x column, of coefficient x lookup result, and of a constant. It is computed
// over the integers, where it stays below 2^99 in magnitude. A missing column counts as -2^63.
type Atom struct {
	Columns  []Term       `json:"columns,omitempty"` // distinct columns
	Lookups  []LookupTerm `json:"lookups,omitempty"` // distinct lookups
	Constant int64        `json:"constant,string"`
	Test     Test         `json:"test"`
}

// Term is a numeric column, 0..11, times a coefficient that is not 0.
type Term struct {
	Column      int   `json:"column"`
	Coefficient int32 `json:"coefficient"`
}

// LookupTerm is the result of one of the program's lookups times a coefficient that is not 0.
type LookupTerm struct {
	Lookup      int   `json:"lookup"`
	Coefficient int32 `json:"coefficient"`
}

// TextTest asks whether a text column, 0..3, equals a value given by its hash (TextElement). The value 0 asks whether the
// column is missing, which is of use under Exempt.
type TextTest struct {
	Column int
	Value  fr.Element
}

// Gate is true when its weighted sum over the program's atoms, text tests and earlier gates is at least the threshold. Each list
// holds the weight of the item at the same index and may be shorter. Absolute weights sum below 512; |Threshold| <= 512.
type Gate struct {
	Atoms     []int `json:"atoms,omitempty"`
	Texts     []int `json:"texts,omitempty"`
	Gates     []int `json:"gates,omitempty"`
	Threshold int   `json:"threshold"`
}

// MarshalJSON writes {"column": 0..3, "value": 64 hex digits}, big endian.
func (t TextTest) MarshalJSON() ([]byte, error) {
	b := t.Value.Bytes()
	return json.Marshal(textTestJSON{&t.Column, hex.EncodeToString(b[:])})
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses unknown fields, upper-case digits and values outside the field.
func (t *TextTest) UnmarshalJSON(data []byte) error {
	var names map[string]json.RawMessage // a struct would take its names in any case
	var j textTestJSON
	if err := errors.Join(json.Unmarshal(data, &names), json.Unmarshal(data, &j)); err != nil {
		return fmt.Errorf("decoding a text test: %w", err)
	}
	for name := range names {
		if name != "column" && name != "value" {
			return fmt.Errorf("decoding a text test: %w: a name that it does not have", ErrProgram)
		}
	}
	raw, err := hex.DecodeString(j.Value)
	if err != nil || hex.EncodeToString(raw) != j.Value || len(raw) != fr.Bytes || j.Column == nil {
		return fmt.Errorf("decoding a text test: %w: it wants a column and a value of 64 lower-case hex digits", ErrProgram)
	}
	var v fr.Element
	if err := v.SetBytesCanonical(raw); err != nil {
		return fmt.Errorf("decoding a text test: %w: the value is not below the field's modulus", ErrProgram)
	}
	t.Column, t.Value = *j.Column, v
	return nil
}

type textTestJSON struct {
	Column *int   `json:"column"`
	Value  string `json:"value"`
}

// Check says whether the program is well formed: sizes, ranges, distinct keys and terms, gates that read only what comes before
// them, exempt columns that are read, for their values only where they have one. The error is ErrProgram and names the part. A program that passes keeps every sum of the
// circuit within its decomposition.
func (p *Program) Check() error {
	if p == nil {
		return refuse("there is none")
	}
	switch {
	case len(p.Lookups) > Lookups:
		return refuse("%d lookups, the limit is %d", len(p.Lookups), Lookups)
	case len(p.Atoms) > Atoms:
		return refuse("%d atoms, the limit is %d", len(p.Atoms), Atoms)
	case len(p.TextTests) > TextTests:
		return refuse("%d text tests, the limit is %d", len(p.TextTests), TextTests)
	case len(p.Gates) == 0 || len(p.Gates) > Gates:
		return refuse("%d gates, it wants 1 to %d", len(p.Gates), Gates)
	case p.OnAbsent != NoRecord && p.OnAbsent != NotSatisfied:
		return refuse("on_absent must be no_record or not_satisfied")
	case p.OnMissing != Indeterminate && p.OnMissing != NotSatisfied:
		return refuse("on_missing must be indeterminate or not_satisfied")
	}
	for i := range p.Lookups {
		if err := p.Lookups[i].check(); err != nil {
			return fmt.Errorf("lookup %d: %w", i, err)
		}
	}
	for i := range p.Atoms {
		if err := p.Atoms[i].check(len(p.Lookups)); err != nil {
			return fmt.Errorf("atom %d: %w", i, err)
		}
	}
	for i, t := range p.TextTests {
		if t.Column < 0 || t.Column >= TextColumns {
			return fmt.Errorf("text test %d: %w", i, refuse("no text column %d", t.Column))
		}
	}
	for i := range p.Gates {
		if err := p.Gates[i].check(len(p.Atoms), len(p.TextTests), i); err != nil {
			return fmt.Errorf("gate %d: %w", i, err)
		}
	}
	return p.checkExempt()
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProgram, fmt.Sprintf(format, args...))
}

func (l *Lookup) check() error {
	if l.Column < 0 || l.Column >= NumericColumns {
		return refuse("no numeric column %d", l.Column)
	}
	if len(l.Pairs) > LookupPairs {
		return refuse("%d pairs, the limit is %d", len(l.Pairs), LookupPairs)
	}
	for i, pair := range l.Pairs {
		if pair.Key == math.MinInt64 {
			return refuse("key %d is below what a column holds", pair.Key)
		}
		for _, earlier := range l.Pairs[:i] {
			if pair.Key == earlier.Key { // two hits would add up
				return refuse("key %d stands twice", pair.Key)
			}
		}
	}
	return nil
}

func (a *Atom) check(lookups int) error {
	if a.Test != AtLeastZero && a.Test != EqualsZero {
		return refuse("the test must be %s or %s", AtLeastZero, EqualsZero)
	}
	var columns [NumericColumns]bool
	for _, t := range a.Columns {
		switch {
		case t.Column < 0 || t.Column >= NumericColumns:
			return refuse("no numeric column %d", t.Column)
		case t.Coefficient == 0:
			return refuse("column %d has the coefficient 0", t.Column)
		case columns[t.Column]:
			return refuse("column %d stands twice", t.Column)
		}
		columns[t.Column] = true
	}
	var seen [Lookups]bool
	for _, t := range a.Lookups {
		switch {
		case t.Lookup < 0 || t.Lookup >= lookups:
			return refuse("no lookup %d", t.Lookup)
		case t.Coefficient == 0:
			return refuse("lookup %d has the coefficient 0", t.Lookup)
		case seen[t.Lookup]:
			return refuse("lookup %d stands twice", t.Lookup)
		}
		seen[t.Lookup] = true
	}
	return nil
}

func (g *Gate) check(atoms, texts, gates int) error {
	switch {
	case len(g.Atoms) > atoms:
		return refuse("weights for %d atoms, there are %d", len(g.Atoms), atoms)
	case len(g.Texts) > texts:
		return refuse("weights for %d text tests, there are %d", len(g.Texts), texts)
	case len(g.Gates) > gates:
		return refuse("weights for %d gates, %d come before it", len(g.Gates), gates)
	case g.Threshold < -gateWeightLimit || g.Threshold > gateWeightLimit:
		return refuse("the threshold must be within %d of 0", gateWeightLimit)
	}
	sum := 0
	for _, weights := range [][]int{g.Atoms, g.Texts, g.Gates} {
		for _, w := range weights {
			if w <= -gateWeightLimit || w >= gateWeightLimit { // also keeps the sum from overflowing
				return refuse("a weight must be within %d of 0", gateWeightLimit-1)
			}
			sum += max(w, -w)
		}
	}
	if sum >= gateWeightLimit {
		return refuse("absolute weights sum to %d, the limit is %d", sum, gateWeightLimit-1)
	}
	return nil
}

func (p *Program) checkExempt() error {
	reads := p.reads()
	last := -1
	for _, c := range p.Exempt {
		switch {
		case c < 0 || c >= Columns:
			return refuse("exempt column %d does not exist", c)
		case c <= last:
			return refuse("exempt columns must ascend")
		case !reads[c]:
			return refuse("exempt column %d is not read", c)
		}
		last = c
	}
	return p.checkGuards()
}

// reads returns which columns the program reads.
func (p *Program) reads() (reads [Columns]bool) {
	for _, l := range p.Lookups {
		reads[l.Column] = true
	}
	for _, a := range p.Atoms {
		for _, t := range a.Columns {
			reads[t.Column] = true
		}
	}
	for _, t := range p.TextTests {
		reads[NumericColumns+t.Column] = true
	}
	return reads
}

// Used returns the columns whose absence from a record leads to OnMissing: all that are read and not exempt. The program must
// be well formed.
func (p *Program) Used() [Columns]bool {
	used := p.reads()
	for _, c := range p.Exempt {
		used[c] = false
	}
	return used
}
