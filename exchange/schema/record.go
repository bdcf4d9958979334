package schema

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
)

// A Row is a subject's values, one for each column in declared order.
type Row []Value

// Parse encodes a row of cells, one for each column in declared order. The error of a bad cell is a *CellError.
func (s *Schema) Parse(cells []string) (Row, error) {
	if len(cells) != len(s.Columns) {
		return nil, fmt.Errorf("reading a row: %d cells for %d columns", len(cells), len(s.Columns))
	}
	row := make(Row, len(cells))
	for i := range cells {
		v, err := s.Columns[i].Parse(cells[i])
		if err != nil {
			return nil, err
		}
		row[i] = v
	}
	return row, nil
}

// Encode returns the record that the circuit commits to. Columns that the schema does not have are missing.
func (s *Schema) Encode(row Row) (circuits.Record, error) {
	var r circuits.Record
	if len(row) != len(s.Columns) {
		return r, fmt.Errorf("encoding a row: %d values for %d columns", len(row), len(s.Columns))
	}
	for i, p := range s.Positions() {
		v, c := &row[i], &s.Columns[i]
		if !v.Present {
			continue
		}
		if !c.Numeric() {
			r.Text[p-circuits.NumericColumns] = circuits.TextElement(v.Text)
			continue
		}
		u, err := circuits.EncodeInt(v.Number)
		if err != nil {
			return circuits.Record{}, c.want("a number above -2^63")
		}
		r.Numeric[p] = u
	}
	return r, nil
}

// Decode returns the values of a record. A text value that is present has an empty Text, since its hash does not give it
// back; Reveal checks a text against its hash.
func (s *Schema) Decode(r *circuits.Record) Row {
	row := make(Row, len(s.Columns))
	for i, p := range s.Positions() {
		if s.Columns[i].Numeric() {
			row[i].Number, row[i].Present = circuits.DecodeInt(r.Numeric[p])
		} else {
			row[i].Present = !r.Text[p-circuits.NumericColumns].IsZero()
		}
	}
	return row
}

// Reveal returns the value behind a disclosed field element, as circuits.Record.Column makes it. For a text column the
// element is a hash, and text is what the holder says was hashed; for others text is not read. It refuses with a *CellError an
// element that no value of the column has, and a text that does not match.
func (s *Schema) Reveal(name string, e fr.Element, text string) (Value, error) {
	c, _, ok := s.Column(name)
	if !ok {
		return Value{}, fmt.Errorf("revealing a value: dataset %s has no column %q", s.Dataset, name)
	}
	if e.IsZero() {
		return Value{}, nil
	}
	if !c.Numeric() {
		v, err := c.Parse(text)
		if err != nil {
			return Value{}, err
		}
		if want := circuits.TextElement(v.Text); !v.Present || v.Text != text || !want.Equal(&e) {
			return Value{}, c.want("the text that was committed to")
		}
		return v, nil
	}
	if !e.IsUint64() {
		return Value{}, c.want("a 64-bit number")
	}
	n, _ := circuits.DecodeInt(e.Uint64())
	v := Value{Present: true, Number: n}
	if _, err := c.Format(v); err != nil {
		return Value{}, err
	}
	return v, nil
}
