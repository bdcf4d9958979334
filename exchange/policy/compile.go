package policy

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// compiler fills a template from a rule. Every leaf becomes an atom or a text test, shared where it says the same; every
// connective becomes one gate, as the rule is nested. A negation costs nothing: it is a negative weight.
type compiler struct {
	schema   *schema.Schema
	template *Template
	tables   map[string]int // lookups made for `in`, by column and values
}

// signal is a yes/no value inside the program, or its negation.
type signal struct {
	kind    byte // 'a' atom, 't' text test, 'g' gate
	index   int
	negated bool
}

func (s signal) not() signal { s.negated = !s.negated; return s }

func (c *compiler) compile(r *Rule) error {
	p := &c.template.Program
	if r.RecordExists {
		if _, err := r.form(); err != nil {
			return err
		}
		p.Gates = []circuits.Gate{{Threshold: 0}} // an empty sum reaches 0: true of every record
		return nil
	}
	s, err := c.rule(r, "rule")
	if err != nil {
		return err
	}
	if s.kind != 'g' || s.negated || s.index != len(p.Gates)-1 {
		if _, err := c.gate([]signal{s}, 1); err != nil {
			return err
		}
	}
	c.exempt()
	return nil
}

func (c *compiler) rule(r *Rule, at string) (signal, error) {
	form, err := r.form()
	if err != nil {
		return signal{}, fmt.Errorf("%s: %w", at, err)
	}
	switch form {
	case "all":
		return c.connect(r.All, len(r.All), at+".all")
	case "any":
		return c.connect(r.Any, 1, at+".any")
	case "at_least":
		if r.AtLeast.K < 1 || r.AtLeast.K > len(r.AtLeast.Of) {
			return signal{}, fmt.Errorf("%s: k is %d, want 1 to %d: %w", at, r.AtLeast.K, len(r.AtLeast.Of), ErrPolicy)
		}
		return c.connect(r.AtLeast.Of, r.AtLeast.K, at+".at_least.of")
	case "not":
		s, err := c.rule(r.Not, at+".not")
		return s.not(), err
	case "record_exists":
		return signal{}, fmt.Errorf("%s: record_exists stands alone: %w", at, ErrPolicy)
	}
	s, err := c.leaf(form, r)
	if err != nil {
		return signal{}, fmt.Errorf("%s: %w", at, err)
	}
	return s, nil
}

// connect makes the gate "at least k of these rules".
func (c *compiler) connect(rules []Rule, k int, at string) (signal, error) {
	if len(rules) == 0 {
		return signal{}, fmt.Errorf("%s: want at least one rule: %w", at, ErrPolicy)
	}
	inputs := make([]signal, 0, len(rules))
	for i := range rules {
		s, err := c.rule(&rules[i], at+"["+strconv.Itoa(i)+"]")
		if err != nil {
			return signal{}, err
		}
		inputs = append(inputs, s)
	}
	if len(inputs) == 1 {
		return inputs[0], nil
	}
	return c.gate(inputs, k)
}

// gate adds a gate that is true when at least k of the inputs are: a negated input counts 1 - x, so it weighs -1 and lowers the
// threshold by 1.
func (c *compiler) gate(inputs []signal, k int) (signal, error) {
	p := &c.template.Program
	if len(p.Gates) == circuits.Gates {
		return signal{}, fmt.Errorf("the rule is nested into more than %d connectives: %w", circuits.Gates, ErrPolicy)
	}
	g := circuits.Gate{Threshold: k}
	for _, s := range inputs {
		weights := map[byte]*[]int{'a': &g.Atoms, 't': &g.Texts, 'g': &g.Gates}[s.kind]
		for len(*weights) <= s.index {
			*weights = append(*weights, 0)
		}
		if s.negated {
			(*weights)[s.index]--
			g.Threshold--
		} else {
			(*weights)[s.index]++
		}
	}
	p.Gates = append(p.Gates, g)
	return signal{kind: 'g', index: len(p.Gates) - 1}, nil
}

// leaf compiles a comparison.
func (c *compiler) leaf(form string, r *Rule) (signal, error) {
	switch form {
	case "has":
		return c.has(r.Has)
	case "sum":
		return c.sum(r)
	case "age", "days_since":
		return c.date(form, r)
	}
	column, err := c.column(r.Column)
	if err != nil {
		return signal{}, err
	}
	switch {
	case column.Type == schema.Text:
		return c.text(column, r)
	case r.In != nil:
		return c.in(column, r.In)
	}
	v, err := c.number(column, r.Value)
	if err != nil {
		return signal{}, err
	}
	return c.compare([]circuits.Term{{Column: column.position, Coefficient: 1}}, r.Op, v)
}

// column is a column of the schema with its place in the circuit.
type column struct {
	*schema.Column
	position int
}

func (c *compiler) column(name string) (column, error) {
	found, _, ok := c.schema.Column(name)
	if !ok {
		return column{}, fmt.Errorf("no column %q in dataset %s: %w", name, c.schema.Dataset, ErrPolicy)
	}
	position, _ := c.schema.Position(name)
	return column{found, position}, nil
}

// value reads a constant as a value of the column. A policy's constants are public, so that an error may show them.
func (c *compiler) value(column column, text string) (schema.Value, error) {
	v, err := column.Parse(text)
	if err == nil && !v.Present {
		err = fmt.Errorf("want a value")
	}
	if err != nil {
		return v, fmt.Errorf("value %q: %w: %w", text, ErrPolicy, err)
	}
	return v, nil
}

func (c *compiler) number(column column, text string) (int64, error) {
	v, err := c.value(column, text)
	return v.Number, err
}

// compare tests a linear form against a value. Each comparison is one of form-v >= 0, v-form >= 0 and form-v == 0, or the
// negation of one, so that x < 5 and x >= 5 share an atom.
func (c *compiler) compare(form []circuits.Term, op string, v int64) (signal, error) {
	switch op {
	case ">=":
		return c.atom(circuits.Atom{Columns: form, Constant: -v, Test: circuits.AtLeastZero})
	case "<":
		s, err := c.compare(form, ">=", v)
		return s.not(), err
	case ">":
		return c.atom(circuits.Atom{Columns: form, Constant: -v - 1, Test: circuits.AtLeastZero})
	case "<=":
		s, err := c.compare(form, ">", v)
		return s.not(), err
	case "==":
		return c.atom(circuits.Atom{Columns: form, Constant: -v, Test: circuits.EqualsZero})
	case "!=":
		s, err := c.compare(form, "==", v)
		return s.not(), err
	}
	return signal{}, fmt.Errorf("op is %q, want == != < <= > or >=: %w", op, ErrPolicy)
}

func (c *compiler) atom(a circuits.Atom) (signal, error) {
	p := &c.template.Program
	for i := range p.Atoms {
		if reflect.DeepEqual(p.Atoms[i], a) && !c.dated(i) {
			return signal{kind: 'a', index: i}, nil
		}
	}
	if len(p.Atoms) == circuits.Atoms {
		return signal{}, fmt.Errorf("the rule makes more than %d different comparisons of numbers: %w", circuits.Atoms, ErrPolicy)
	}
	p.Atoms = append(p.Atoms, a)
	return signal{kind: 'a', index: len(p.Atoms) - 1}, nil
}

func (c *compiler) dated(atom int) bool {
	return slices.ContainsFunc(c.template.Dates, func(d DateSlot) bool { return d.Atom == atom })
}

func (c *compiler) sum(r *Rule) (signal, error) {
	var form []circuits.Term
	var first column
	for i, part := range r.Sum {
		column, err := c.column(part.Column)
		if err != nil {
			return signal{}, err
		}
		if i == 0 {
			first = column
		}
		if column.Type != first.Type || column.Scale != first.Scale || (column.Type != schema.Int && column.Type != schema.Decimal) {
			return signal{}, fmt.Errorf("a sum wants int columns, or decimals of one scale: %w", ErrPolicy)
		}
		form = append(form, circuits.Term{Column: column.position, Coefficient: part.Times})
	}
	if len(form) == 0 {
		return signal{}, fmt.Errorf("a sum of nothing: %w", ErrPolicy)
	}
	v, err := c.number(first, r.Value)
	if err != nil {
		return signal{}, err
	}
	return c.compare(form, r.Op, v)
}

// text compiles == and != on a text column, and in as one of several.
func (c *compiler) text(column column, r *Rule) (signal, error) {
	values := r.In
	if values == nil {
		if r.Op != "==" && r.Op != "!=" {
			return signal{}, fmt.Errorf("column %s is text: op is %q, want == or !=: %w", column.Name, r.Op, ErrPolicy)
		}
		values = []string{r.Value}
	}
	var tests []signal
	for _, value := range values {
		v, err := c.value(column, value)
		if err != nil {
			return signal{}, err
		}
		s, err := c.textTest(column, circuits.TextElement(v.Text))
		if err != nil {
			return signal{}, err
		}
		tests = append(tests, s)
	}
	if len(tests) == 1 {
		if r.Op == "!=" {
			return tests[0].not(), nil
		}
		return tests[0], nil
	}
	return c.gate(tests, 1)
}

func (c *compiler) textTest(column column, value fr.Element) (signal, error) {
	p := &c.template.Program
	t := circuits.TextTest{Column: column.position - circuits.NumericColumns, Value: value}
	if i := slices.Index(p.TextTests, t); i >= 0 {
		return signal{kind: 't', index: i}, nil
	}
	if len(p.TextTests) == circuits.TextTests {
		return signal{}, fmt.Errorf("the rule makes more than %d different comparisons of texts: %w", circuits.TextTests, ErrPolicy)
	}
	p.TextTests = append(p.TextTests, t)
	return signal{kind: 't', index: len(p.TextTests) - 1}, nil
}

// in makes a table that maps the listed values to 1 and every other to 0, and asks whether it gave 1.
func (c *compiler) in(column column, values []string) (signal, error) {
	p := &c.template.Program
	table := circuits.Lookup{Column: column.position}
	for _, text := range values {
		v, err := c.number(column, text)
		if err != nil {
			return signal{}, err
		}
		if !slices.ContainsFunc(table.Pairs, func(p circuits.Pair) bool { return p.Key == v }) {
			table.Pairs = append(table.Pairs, circuits.Pair{Key: v, Value: 1})
		}
	}
	switch {
	case len(table.Pairs) == 0:
		return signal{}, fmt.Errorf("in wants at least one value: %w", ErrPolicy)
	case len(table.Pairs) == 1:
		return c.compare([]circuits.Term{{Column: column.position, Coefficient: 1}}, "==", table.Pairs[0].Key)
	case len(table.Pairs) > circuits.LookupPairs:
		return signal{}, fmt.Errorf("in lists %d values, at most %d: %w", len(table.Pairs), circuits.LookupPairs, ErrPolicy)
	}
	name := fmt.Sprint(table)
	index, ok := c.tables[name]
	if !ok {
		if len(p.Lookups) == circuits.Lookups {
			return signal{}, fmt.Errorf("the rule needs more than %d tables: %w", circuits.Lookups, ErrPolicy)
		}
		p.Lookups = append(p.Lookups, table)
		index = len(p.Lookups) - 1
		c.tables[name] = index
	}
	return c.atom(circuits.Atom{Lookups: []circuits.LookupTerm{{Lookup: index, Coefficient: 1}}, Constant: -1, Test: circuits.AtLeastZero})
}

// has asks whether a column has a value: a missing number counts as -2^63, a missing text as 0.
func (c *compiler) has(name string) (signal, error) {
	column, err := c.column(name)
	if err != nil {
		return signal{}, err
	}
	if column.Type == schema.Text {
		s, err := c.textTest(column, fr.Element{})
		return s.not(), err
	}
	return c.atom(circuits.Atom{Columns: []circuits.Term{{Column: column.position, Coefficient: 1}}, Constant: math.MaxInt64,
		Test: circuits.AtLeastZero})
}

// date compiles age and days_since: both ask how far the as-of date, less whole years, is from the column.
func (c *compiler) date(form string, r *Rule) (signal, error) {
	name := r.Age + r.DaysSince
	column, err := c.column(name)
	if err != nil {
		return signal{}, err
	}
	if column.Type != schema.Date {
		return signal{}, fmt.Errorf("column %s is %s, %s wants a date: %w", name, column.Type, form, ErrPolicy)
	}
	n, err := strconv.Atoi(r.Value)
	if err != nil || n < 0 || form == "age" && n >= 200 || n > 100_000 {
		return signal{}, fmt.Errorf("%s of %q, want a whole number (age below 200): %w", form, r.Value, ErrPolicy)
	}
	atLeast := func(n int) (signal, error) { return c.elapsed(form, column, n) }
	switch r.Op {
	case ">=":
		return atLeast(n)
	case ">":
		return atLeast(n + 1)
	case "<":
		s, err := atLeast(n)
		return s.not(), err
	case "<=":
		s, err := atLeast(n + 1)
		return s.not(), err
	}
	return signal{}, fmt.Errorf("op is %q, %s wants < <= > or >=: %w", r.Op, form, ErrPolicy)
}

// elapsed asks whether n years, or days, have passed since the column's date at the as-of date.
func (c *compiler) elapsed(form string, column column, n int) (signal, error) {
	a := circuits.Atom{Columns: []circuits.Term{{Column: column.position, Coefficient: -1}}, Test: circuits.AtLeastZero}
	slot := DateSlot{Years: n, Sign: 1}
	if form == "days_since" {
		slot.Years, a.Constant = 0, -int64(n)
	}
	p := &c.template.Program
	for i := range p.Atoms {
		slot.Atom = i
		if reflect.DeepEqual(p.Atoms[i], a) && slices.Contains(c.template.Dates, slot) {
			return signal{kind: 'a', index: i}, nil
		}
	}
	if len(p.Atoms) == circuits.Atoms {
		return signal{}, fmt.Errorf("the rule makes more than %d different comparisons of numbers: %w", circuits.Atoms, ErrPolicy)
	}
	p.Atoms = append(p.Atoms, a)
	slot.Atom = len(p.Atoms) - 1
	c.template.Dates = append(c.template.Dates, slot)
	return signal{kind: 'a', index: slot.Atom}, nil
}

// exempt marks the columns that are read only for having a value.
func (c *compiler) exempt() {
	p := &c.template.Program
	for column := range circuits.Columns {
		p.Exempt = append(p.Exempt, column)
		if p.Check() != nil { // read for its value, or not at all
			p.Exempt = p.Exempt[:len(p.Exempt)-1]
		}
	}
}
