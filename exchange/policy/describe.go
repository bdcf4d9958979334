package policy

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// slot is the date slot of an atom; its Sign is 0 where there is none.
func (t *Template) slot(atom int) DateSlot {
	for _, d := range t.Dates {
		if d.Atom == atom {
			return d
		}
	}
	return DateSlot{Atom: atom}
}

// single is the column of an atom that is one column and a constant.
func (t *Template) single(atom int, s *schema.Schema) (*schema.Column, bool) {
	a := &t.Program.Atoms[atom]
	if len(a.Columns) != 1 || len(a.Lookups) != 0 || a.Columns[0].Coefficient != 1 {
		return nil, false
	}
	return s.At(a.Columns[0].Column)
}

// asks says whether an atom asks only whether its column has a value.
func (t *Template) asks(atom int) bool {
	a := &t.Program.Atoms[atom]
	return a.Constant == math.MaxInt64 && len(a.Columns) == 1 && a.Columns[0].Coefficient == 1 && len(a.Lookups) == 0 && t.slot(atom).Sign == 0
}

// left is what an atom compares: its form without the constant.
func (t *Template) left(atom int, s *schema.Schema) string {
	a := &t.Program.Atoms[atom]
	var b strings.Builder
	add := func(coefficient int32, what string) {
		size := max(int64(coefficient), -int64(coefficient))
		switch {
		case coefficient < 0:
			b.WriteString(" - ")
		case b.Len() > 0:
			b.WriteString(" + ")
		}
		if size != 1 {
			fmt.Fprintf(&b, "%d * ", size)
		}
		b.WriteString(what)
	}
	for _, term := range a.Columns {
		add(term.Coefficient, columnAt(s, term.Column))
	}
	for _, term := range a.Lookups {
		add(term.Coefficient, fmt.Sprintf("table(%s)", columnAt(s, t.Program.Lookups[term.Lookup].Column)))
	}
	return strings.TrimPrefix(b.String(), " ")
}

func columnAt(s *schema.Schema, position int) string {
	if c, ok := s.At(position); ok {
		return c.Name
	}
	return fmt.Sprintf("column %d", position)
}

// right is what an atom compares with: a value of its column, a day, or a number in whole units.
func (t *Template) right(atom int, s *schema.Schema) string {
	a, slot := &t.Program.Atoms[atom], t.slot(atom)
	value := -a.Constant
	if slot.Sign != 0 {
		day := "as_of"
		if slot.Years > 0 {
			day += fmt.Sprintf(" - %d years", slot.Years)
		}
		if slot.Sign > 0 { // the day counts on the left
			day = "-" + day
		}
		switch {
		case value > 0:
			day += fmt.Sprintf(" + %d days", value)
		case value < 0:
			day += fmt.Sprintf(" - %d days", -value)
		}
		return day
	}
	if c, ok := t.single(atom, s); ok {
		if text, err := c.Format(schema.Value{Present: true, Number: value}); err == nil {
			return text
		}
	}
	return strconv.FormatInt(value, 10)
}

// comparison is an atom in words.
func (t *Template) comparison(atom int, s *schema.Schema) string {
	if t.asks(atom) {
		return "has(" + columnAt(s, t.Program.Atoms[atom].Columns[0].Column) + ")"
	}
	operator := " >= "
	if t.Program.Atoms[atom].Test == circuits.EqualsZero {
		operator = " == "
	}
	return t.left(atom, s) + operator + t.right(atom, s)
}

// Comparisons are the program's atoms and text tests in words, in order. A text is shown by the first digits of its hash.
func (t *Template) Comparisons(s *schema.Schema) []string {
	var list []string
	for i := range t.Program.Atoms {
		list = append(list, t.comparison(i, s))
	}
	for _, test := range t.Program.TextTests {
		name := columnAt(s, circuits.NumericColumns+test.Column)
		if test.Value.IsZero() {
			list = append(list, "!has("+name+")")
			continue
		}
		b := test.Value.Bytes()
		list = append(list, name+" == text "+hex.EncodeToString(b[:4]))
	}
	return list
}
