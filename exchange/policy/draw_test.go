package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/grille-gateway/grille/exchange/schema"
)

// wide has every type, decimals of several scales, and all the columns that a record has.
var wide = &schema.Schema{Dataset: "wide", Title: "Wide", Scheme: "id", Columns: []schema.Column{
	{Name: "i0", Type: schema.Int}, {Name: "i1", Type: schema.Int}, {Name: "i2", Type: schema.Int},
	{Name: "m2", Type: schema.Decimal, Scale: 2}, {Name: "m9", Type: schema.Decimal, Scale: 9},
	{Name: "d0", Type: schema.Date}, {Name: "d1", Type: schema.Date}, {Name: "b0", Type: schema.Bool}, {Name: "b1", Type: schema.Bool},
	{Name: "e0", Type: schema.Enum, Codes: []string{"k", "l", "m", "n"}}, {Name: "e1", Type: schema.Enum, Codes: []string{"k", "l", "m", "n"}},
	{Name: "c0", Type: schema.Code}, {Name: "t0", Type: schema.Text}, {Name: "t1", Type: schema.Text}, {Name: "t2", Type: schema.Text},
	{Name: "t3", Type: schema.Text},
}}

// An author writes random policies and records about the same few values, so that conditions hold about as often as not.
type author struct {
	*rand.Rand
	met map[string]int // what the text in hand has
}

func (a *author) one(of ...string) string { return of[a.IntN(len(of))] }

func (a *author) meet(what string) { a.met[what]++ }

func (a *author) small() string { return strconv.Itoa(a.IntN(9) - 2) }

func (a *author) date() string {
	return a.one("1960-02-28", "1960-02-29", "1960-03-01", "1959-03-01", "1999-12-31", "2004-02-29", "2024-02-29", "2025-02-28", "2025-03-01", "1969-12-31")
}

// cell draws a value of a column; it is missing now and then.
func (a *author) cell(c *schema.Column, missing float64) string {
	if a.Float64() < missing {
		return ""
	}
	switch c.Type {
	case schema.Int:
		if a.IntN(40) == 0 {
			return a.one("9223372036854775807", "-9223372036854775807", "4294967296")
		}
		return a.small()
	case schema.Decimal:
		if a.IntN(40) == 0 {
			text, _ := c.Format(schema.Value{Present: true, Number: []int64{math.MaxInt64, -math.MaxInt64}[a.IntN(2)]})
			return text
		}
		return a.decimal(min(c.Scale, 2))
	case schema.Date:
		return a.date()
	case schema.Bool:
		return a.one("true", "false")
	case schema.Enum:
		return a.one(c.Codes...)
	case schema.Code:
		return a.one("A", "B", "1234567", "~")
	}
	return a.one("Ulm", "Köln", "x", "ａ")
}

func (a *author) decimal(scale int) string {
	if scale == 0 || a.IntN(3) == 0 {
		return a.small()
	}
	return a.small() + "." + a.one("5", "25", "01", "99")
}

func (a *author) row(missing float64) []string {
	row := make([]string, len(wide.Columns))
	for i := range wide.Columns {
		row[i] = a.cell(&wide.Columns[i], missing)
	}
	return row
}

func (a *author) document() *Document {
	a.met = map[string]int{}
	d := &Document{Policy: "p", Version: 1, Dataset: "wide", When: a.text()}
	if a.IntN(8) == 0 {
		d.OnAbsent = "not_satisfied"
		a.meet("on_absent")
	}
	if a.IntN(8) == 0 {
		d.OnMissing = "not_satisfied"
		a.meet("on_missing")
	}
	return d
}

func (a *author) text() string {
	switch a.IntN(40) {
	case 0:
		a.meet("record_exists")
		return "record_exists()"
	case 1, 2, 3, 4, 5, 6, 7, 8:
		return a.large()
	}
	return a.condition(2 + a.IntN(3))
}

// condition draws a text that is yes or no.
func (a *author) condition(depth int) string {
	if depth == 0 || a.IntN(5) == 0 {
		return a.comparison()
	}
	switch a.IntN(7) {
	case 0, 1:
		a.meet("&&")
		return "(" + a.condition(depth-1) + " && " + a.condition(depth-1) + ")"
	case 2, 3:
		a.meet("||")
		return "(" + a.condition(depth-1) + " || " + a.condition(depth-1) + ")"
	case 4:
		a.meet("!")
		return "!(" + a.condition(depth-1) + ")"
	case 5:
		n := 2 + a.IntN(3)
		return a.atLeast(1+a.IntN(n), n, func() string { return a.condition(depth - 1) })
	}
	return a.guarded()
}

func (a *author) atLeast(k, n int, draw func() string) string {
	a.meet("at_least")
	var of []string
	for range n {
		of = append(of, draw())
	}
	return fmt.Sprintf("at_least(%d, %s)", k, strings.Join(of, ", "))
}

// guarded draws a condition on a column that may be missing.
func (a *author) guarded() string {
	a.meet("has guards")
	column := a.one("i0", "m2", "d0", "e0", "t0", "b0", "c0")
	of := func() string { return strings.ReplaceAll(a.about(column), "i1", column) }
	switch a.IntN(5) {
	case 0:
		return fmt.Sprintf("(!has(%s) || %s)", column, of())
	case 1:
		return fmt.Sprintf("!(has(%s) && %s && %s)", column, of(), a.comparison())
	case 2:
		return fmt.Sprintf("(has(%s) && (%s || %s))", column, of(), a.comparison())
	case 3:
		return a.atLeast(3, 3, func() string { return a.one("has("+column+")", of()) })
	}
	return fmt.Sprintf("(has(%s) && %s)", column, of())
}

// about draws a comparison of one column with constants.
func (a *author) about(column string) string {
	c, _, _ := wide.Column(column)
	op := a.one("==", "!=", "<", "<=", ">", ">=")
	switch c.Type {
	case schema.Int, schema.Decimal:
		a.meet(op)
		return column + " " + op + " " + a.decimal(min(2*a.IntN(2), c.Scale))
	case schema.Date:
		if a.IntN(2) == 0 {
			return a.elapsed(column)
		}
		a.meet("date")
		a.meet(op)
		return fmt.Sprintf("%s %s date(%q)", column, op, a.date())
	case schema.Bool:
		a.meet("bool")
		return a.one(column, column+" == false", "true != "+column, column+" in [true]", "!"+column)
	}
	if a.IntN(3) == 0 {
		return a.among(column)
	}
	op = a.one("==", "!=")
	a.meet(string(c.Type) + " " + op)
	return fmt.Sprintf("%s %s %q", column, op, a.cell(c, 0))
}

func (a *author) elapsed(column string) string {
	op := a.one("==", "!=", "<", "<=", ">", ">=")
	if a.IntN(2) == 0 {
		a.meet("age")
		return fmt.Sprintf(a.one("age(%s) %s %d", "%[3]d %[2]s age(%[1]s)"), column, op, []int{0, 1, 20, 21, 64, 65, 66, 199, 200}[a.IntN(9)])
	}
	a.meet("days_since")
	return fmt.Sprintf("days_since(%s) %s %s", column, op, a.one("0", "1", "366", "23742", "-1", "d1 - d0", "i0"))
}

func (a *author) among(column string) string {
	c, _, _ := wide.Column(column)
	a.meet("in")
	var list []string
	for range 1 + a.IntN(4) {
		list = append(list, a.constant(c))
	}
	return column + " in [" + strings.Join(list, ", ") + "]"
}

func (a *author) constant(c *schema.Column) string {
	text := a.cell(c, 0)
	switch c.Type {
	case schema.Date:
		return fmt.Sprintf("date(%q)", text)
	case schema.Enum, schema.Code, schema.Text:
		return strconv.Quote(text)
	}
	return text
}

func (a *author) comparison() string {
	op := a.one("==", "!=", "<", "<=", ">", ">=")
	switch a.IntN(10) {
	case 0:
		a.meet("has")
		return "has(" + a.column() + ")"
	case 1:
		return a.among(a.column())
	case 2:
		a.meet("between")
		return fmt.Sprintf("between(%s, %s, %s)", a.form(1), a.decimal(2), a.form(0))
	case 3:
		a.meet("dates")
		return fmt.Sprintf("%s %s %s", a.one("d0", "d1 + 1", "d0 - 366"), op, a.one("d1", `date("2004-02-28") + 1`, "d1 + 2 * i0"))
	case 4:
		a.meet("two columns")
		return a.one("e0 == e1", "e1 != e0", "b0 == b1", "b0 != b1", "i0 < i1", "m2 >= m9")
	case 5, 6:
		a.meet(op)
		a.meet("form")
		return a.form(2) + " " + op + " " + a.form(1)
	}
	return a.about(a.column())
}

func (a *author) column() string { return wide.Columns[a.IntN(len(wide.Columns))].Name }

// form draws a number.
func (a *author) form(depth int) string {
	if depth == 0 {
		return a.one("i0", "i1", "i2", "m2", "m9", a.decimal(2), a.small())
	}
	switch a.IntN(7) {
	case 0:
		a.meet("+")
		return a.form(depth-1) + " + " + a.form(depth-1)
	case 1:
		a.meet("-")
		return "(" + a.form(depth-1) + " - " + a.form(depth-1) + ")"
	case 2:
		a.meet("*")
		return a.one("2", "-3", "0.5", "1.25", "1000000") + " * " + a.form(depth-1)
	case 3:
		a.meet("negation")
		return "-" + a.one("i0", "m2", "i1")
	case 4:
		return a.table(1+a.IntN(5), a.IntN(2) == 0)
	case 5:
		a.meet("date - date")
		return a.one("(d1 - d0)", "days_since(d0)")
	}
	return a.form(0)
}

// table draws a table; its keys are distinct.
func (a *author) table(rows int, fallback bool) string {
	a.meet("table")
	column, keys := "i0", strings.Fields("0 1 2 3 4 -1 -2 5 6 7 8 9 10 11 12 13 14 15 9223372036854775807")
	if rows <= 4 {
		switch a.IntN(4) {
		case 0:
			column, keys = "e0", strings.Fields(`"k" "m" "l" "n"`)
		case 1:
			column, keys = "c0", strings.Fields(`"A" "~" "1234567" "B"`)
		case 2:
			column, keys, rows = "b1", []string{"true", "false"}, min(rows, 2)
		}
	}
	var pairs []string
	for _, key := range keys[:rows] {
		pairs = append(pairs, key+": "+a.decimal(2))
	}
	text := "table(" + column + ", {" + strings.Join(pairs, ", ") + "}"
	if fallback {
		a.meet("table with default")
		return text + ", " + a.decimal(2) + ")"
	}
	return text + ")"
}

// large draws a text at a limit, on either side of it.
func (a *author) large() string {
	join := a.one(" || ", " && ")
	several := func(n int, draw func(i int) string) string {
		var parts []string
		for i := range n {
			parts = append(parts, draw(i))
		}
		return strings.Join(parts, join)
	}
	switch a.IntN(10) {
	case 0: // atoms
		return several(11+a.IntN(3), func(i int) string { return fmt.Sprintf("%s %s %d", a.one("i0", "i1"), a.one("!=", "<", ">="), i-4) })
	case 1: // text tests
		return several(3+a.IntN(3), func(i int) string { return fmt.Sprintf(`t%d == "x%d"`, i%4, i) })
	case 2: // tables
		return several(3+a.IntN(3), func(i int) string { return fmt.Sprintf("i1 > table(i0, {%d: %d}, 2)", i, i) })
	case 3: // rows
		return "i1 + 2 > " + a.table(15+a.IntN(3), true)
	case 4: // gates
		return several(8+a.IntN(2), func(i int) string {
			return fmt.Sprintf("(i0 %s %d || b0 && i1 > %d)", a.one("<", ">"), i%3, i%4)
		})
	case 5: // members
		var list []string
		for i := range 62 + a.IntN(6) {
			list = append(list, strconv.Itoa(2*i-1))
		}
		return "i0 in [" + strings.Join(list, ", ") + "]"
	case 6: // coefficients
		return a.one("2147483647 * i0 > i1", "2147483648 * i0 > i1", "-2147483648 * i1 <= i0", "i0 > 2 * m9", "i0 > m9 * 0.3", "2.5 * m9 >= i1 + 0.5")
	case 7: // constants
		return a.one("i0 + 9223372036854775807 >= i1", "i0 + 9223372036854775807 > 9223372036854775806 - i1", "i0 > 9223372036854775807", "i0 - i1 <= -9223372036854775807",
			"m2 >= 92233720368547758.07", "m2 >= 92233720368547758.08", "m9 > 9223372036.854775807", "m9 < 9223372036.854775808", "i0 >= -9223372036854775807",
			"days_since(d0) < 4611686018427387904", "days_since(d0) > 4611686018427387905",
			"i1 - 9223372036854775807 > 9", "m2 + 92233720368547758 > 0.5")
	case 8: // conditions
		n := 15 + a.IntN(3)
		return a.atLeast(4, n, func() string { return a.one("b0", "b1", "!b0", "i0 > 1", "i1 > 1", `t0 == "x"`, "e0 == e1", "has(m2)") })
	}
	// the as-of date
	return a.one("days_since(d0) + i0 > 9000", "days_since(d0) + days_since(d1) > 9000", "days_since(d0) - days_since(d1) > 9", "2 * days_since(d1) > 401")
}
