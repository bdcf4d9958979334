package policy

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// compiler fills a template from a checked text. Every comparison becomes an atom or a text test, shared where it says the same;
// the connectives become gates, as the text is nested.
type compiler struct {
	source   *source
	template *Template
	slots    map[int]DateSlot  // by atom
	tables   map[string]int    // lookups by what they say
	made     map[string]signal // gates by what they say
	pending  int               // calls of table that are still to be compiled
}

// compile reads a text and fills the template with its program.
func compile(text string, columns *schema.Schema, t *Template) error {
	s, err := read(text, columns)
	if err != nil {
		return err
	}
	c := &compiler{source: s, template: t, slots: map[int]DateSlot{}, tables: map[string]int{}}
	if e := s.Expr(); isCall(e, "record_exists") {
		t.Program.Gates = []circuits.Gate{{Threshold: 0}} // an empty sum reaches 0: true of every record
		return nil
	}
	c.pending = s.calls("table")
	root, err := c.condition(s.Expr())
	if err != nil {
		return err
	}
	if err := c.gates(root); err != nil {
		return err
	}
	for i := range t.Program.Atoms {
		if slot, ok := c.slots[i]; ok {
			t.Dates = append(t.Dates, slot)
		}
	}
	c.exempt(root)
	return nil
}

func isCall(e ast.Expr, name string) bool {
	return e.Kind() == ast.CallKind && e.AsCall().FunctionName() == name
}

// exempt lists the columns that may be missing: those that are read, but nowhere unguarded for their values.
func (c *compiler) exempt(root *node) {
	var needs [circuits.Columns]bool
	root.needed([circuits.Columns]bool{}, &needs)
	p := &c.template.Program
	for column, used := range p.Used() {
		if used && !needs[column] {
			p.Exempt = append(p.Exempt, column)
		}
	}
}

// condition compiles an expression that is yes or no.
func (c *compiler) condition(e ast.Expr) (*node, error) {
	switch e.Kind() {
	case ast.IdentKind: // the checker let bool columns only through
		return c.boolean(e)
	case ast.CallKind:
	default:
		return nil, c.source.fault(e.ID(), "", "a constant decides nothing: leave it out")
	}
	call := e.AsCall()
	switch name := call.FunctionName(); name {
	case operators.LogicalAnd:
		return c.several(e, len(call.Args()), call.Args())
	case operators.LogicalOr:
		return c.several(e, 1, call.Args())
	case operators.LogicalNot:
		n, err := c.condition(call.Args()[0])
		if err != nil {
			return nil, err
		}
		return n.not(), nil
	case "at_least":
		return c.atLeast(e, call.Args())
	case hasFunction:
		return c.has(call.Args()[0])
	case "between":
		return c.between(e, call.Args())
	case operators.In:
		return c.in(call.Args()[0], call.Args()[1])
	case "table":
		return nil, c.source.fault(e.ID(), "", "table(...) gives a number: compare it")
	case "record_exists":
		return nil, c.source.fault(e.ID(), "", "record_exists() stands alone: any other condition asks for a record already")
	default:
		return c.compare(e, name, call.Args()[0], call.Args()[1])
	}
}

// several makes "at least k of these".
func (c *compiler) several(e ast.Expr, k int, args []ast.Expr) (*node, error) {
	var of []*node
	for _, a := range args {
		n, err := c.condition(a)
		if err != nil {
			return nil, err
		}
		of = append(of, n)
	}
	return connect(e, k, of), nil
}

func (c *compiler) atLeast(e ast.Expr, args []ast.Expr) (*node, error) {
	of := args[1:]
	k, ok := whole(args[0])
	if !ok || k < 1 || k > int64(len(of)) {
		return nil, c.source.fault(args[0].ID(), "", "want a whole number from 1 to %d, of how many of the conditions must hold", len(of))
	}
	return c.several(e, int(k), of)
}

func whole(e ast.Expr) (int64, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	n, ok := e.AsLiteral().(types.Int)
	return int64(n), ok
}

func (c *compiler) between(e ast.Expr, args []ast.Expr) (*node, error) {
	low, err := c.compare(e, operators.GreaterEquals, args[0], args[1])
	if err != nil {
		return nil, err
	}
	high, err := c.compare(e, operators.LessEquals, args[0], args[2])
	if err != nil {
		return nil, err
	}
	return connect(e, 2, []*node{low, high}), nil
}

// column is a column of the schema with its place in the circuit.
type column struct {
	*schema.Column
	position int
}

// column is the column that an identifier names; prepare has seen that there is one.
func (c *compiler) column(e ast.Expr) column {
	found, _, _ := c.source.schema.Column(e.AsIdent())
	position, _ := c.source.schema.Position(e.AsIdent())
	return column{found, position}
}

func (c *compiler) leaf(e ast.Expr, s signal, reads []int) *node {
	return &node{at: e, leaf: &leaf{signal: s, reads: reads, has: -1}}
}

// boolean is a bool column as a condition.
func (c *compiler) boolean(e ast.Expr) (*node, error) {
	f := c.columnForm(e)
	s, err := c.atLeastZero(f.plus(constant(big.NewRat(1, 1)), minusOne), e)
	if err != nil {
		return nil, err
	}
	return c.leaf(e, s, f.reads), nil
}

// has asks whether a column has a value: a missing number counts as -2^63, a missing text as 0.
func (c *compiler) has(e ast.Expr) (*node, error) {
	if e.Kind() != ast.IdentKind {
		return nil, c.source.fault(e.ID(), "", "has(...) wants a column")
	}
	column := c.column(e)
	var s signal
	var err error
	if column.Type == schema.Text {
		s, err = c.textTest(column, fr.Element{}, e)
		s = s.not()
	} else {
		s, err = c.atom(circuits.Atom{Columns: []circuits.Term{{Column: column.position, Coefficient: 1}}, Constant: math.MaxInt64,
			Test: circuits.AtLeastZero}, DateSlot{}, e)
	}
	if err != nil {
		return nil, err
	}
	n := c.leaf(e, s, nil)
	n.leaf.has = column.position
	return n, nil
}

// compare compiles a comparison of two expressions of types that the checker allows.
func (c *compiler) compare(e ast.Expr, operator string, a, b ast.Expr) (*node, error) {
	if operator == operators.NotEquals {
		n, err := c.compare(e, operators.Equals, a, b)
		if err != nil {
			return nil, err
		}
		return n.not(), nil
	}
	if isCall(a, "age") || isCall(b, "age") {
		return c.age(e, operator, a, b)
	}
	for _, side := range []ast.Expr{a, b} {
		switch c.source.GetType(side.ID()).String() {
		case "bool":
			return c.equalTruth(e, a, b)
		case "enum", "code", "text":
			return c.equalCode(e, a, b)
		}
	}
	left, err := c.form(a)
	if err != nil {
		return nil, err
	}
	right, err := c.form(b)
	if err != nil {
		return nil, err
	}
	return c.compareForms(e, operator, left, right)
}

// compareForms tests a difference: every comparison is one of d >= 0, -d >= 0 and d == 0, or the negation of one.
func (c *compiler) compareForms(e ast.Expr, operator string, left, right *form) (*node, error) {
	d := left.plus(right, minusOne)
	if operator == operators.Greater || operator == operators.LessEquals {
		d = right.plus(left, minusOne)
	}
	var s signal
	var err error
	switch operator {
	case operators.Equals:
		s, err = c.zero(d, e)
	case operators.GreaterEquals, operators.LessEquals:
		s, err = c.atLeastZero(d, e)
	case operators.Less, operators.Greater:
		s, err = c.atLeastZero(d, e)
		s = s.not()
	default:
		err = c.source.fault(e.ID(), "", "no condition")
	}
	if err != nil {
		return nil, err
	}
	return c.leaf(e, s, d.reads), nil
}

// equalTruth compares a condition with true or false, or two bool columns.
func (c *compiler) equalTruth(e ast.Expr, a, b ast.Expr) (*node, error) {
	if a.Kind() == ast.LiteralKind {
		a, b = b, a
	}
	switch {
	case b.Kind() == ast.LiteralKind:
		n, err := c.condition(a)
		if err == nil && b.AsLiteral() == types.False {
			n = n.not()
		}
		return n, err
	case a.Kind() == ast.IdentKind && b.Kind() == ast.IdentKind:
		return c.compareForms(e, operators.Equals, c.columnForm(a), c.columnForm(b))
	}
	return nil, c.source.fault(e.ID(), "", "compare a bool column with another, or with true or false; join conditions with && || and !")
}

// equalCode compares an enum, code or text column with a constant, or two enum or code columns.
func (c *compiler) equalCode(e ast.Expr, a, b ast.Expr) (*node, error) {
	if a.Kind() == ast.LiteralKind {
		a, b = b, a
	}
	if a.Kind() != ast.IdentKind || b.Kind() != ast.IdentKind && b.Kind() != ast.LiteralKind {
		return nil, c.source.fault(e.ID(), "", "compare a column with a text in quotes; a table gives numbers")
	}
	left := c.column(a)
	if b.Kind() == ast.LiteralKind {
		return c.equalsConstant(e, left, a, b)
	}
	if right := c.column(b); left.Type != right.Type || left.Type == schema.Text {
		return nil, c.source.fault(e.ID(), "", "columns %s and %s are not compared with one another: a text column is compared with a text in quotes", left.Name, right.Name)
	} else if left.Type == schema.Enum && !slices.Equal(left.Codes, right.Codes) {
		return nil, c.source.fault(e.ID(), "", "columns %s and %s have different codes", left.Name, right.Name)
	}
	return c.compareForms(e, operators.Equals, c.columnForm(a), c.columnForm(b))
}

// equalsConstant compares a column with a constant of the text.
func (c *compiler) equalsConstant(e ast.Expr, column column, at, value ast.Expr) (*node, error) {
	v, err := c.value(column, value)
	if err != nil {
		return nil, err
	}
	if column.Type == schema.Text {
		s, err := c.textTest(column, circuits.TextElement(v.Text), e)
		if err != nil {
			return nil, err
		}
		return c.leaf(e, s, []int{column.position}), nil
	}
	if column.Type == schema.Bool {
		n, err := c.boolean(at)
		if err == nil && v.Number == 0 {
			n = n.not()
		}
		return n, err
	}
	f := c.columnForm(at)
	scaled := new(big.Rat).Mul(new(big.Rat).SetInt64(v.Number), f.columns[column.position])
	return c.compareForms(e, operators.Equals, f, constant(scaled))
}

// value reads a constant as a value of the column. A policy's constants are public, so that an error may show them.
func (c *compiler) value(column column, e ast.Expr) (schema.Value, error) {
	var text string
	var err error
	if e.Kind() == ast.LiteralKind {
		text = fmt.Sprint(e.AsLiteral().Value())
	} else if digits, ok := isExact(e); ok {
		text = digits
	} else if isCall(e, "date") {
		_, err = c.dateForm(e)
		text = fmt.Sprint(e.AsCall().Args()[0].AsLiteral())
	} else {
		return schema.Value{}, c.source.fault(e.ID(), "", "want a constant")
	}
	if err != nil {
		return schema.Value{}, err
	}
	v, err := column.Parse(text)
	if err == nil && !v.Present {
		err = fmt.Errorf("column %s: want a value; ask has(%s) for a missing one", column.Name, column.Name)
	}
	if err != nil {
		reason := err.Error()
		if column.Type == schema.Enum && len(column.Codes) <= 16 {
			reason += fmt.Sprintf(" %q", column.Codes)
		}
		return v, c.source.fault(e.ID(), "", "%q: %s", text, reason)
	}
	return v, nil
}

// atom adds an atom, or finds it.
func (c *compiler) atom(a circuits.Atom, slot DateSlot, at ast.Expr) (signal, error) {
	p := &c.template.Program
	for i := range p.Atoms {
		slot.Atom = i
		old, dated := c.slots[i]
		if reflect.DeepEqual(p.Atoms[i], a) && (dated && old == slot || !dated && slot.Sign == 0) {
			return signal{kind: 'a', index: i}, nil
		}
	}
	if len(p.Atoms) == circuits.Atoms {
		return signal{}, c.source.fault(at.ID(), fmt.Sprintf("%d atoms", circuits.Atoms), "too many different comparisons of numbers")
	}
	p.Atoms = append(p.Atoms, a)
	if slot.Atom = len(p.Atoms) - 1; slot.Sign != 0 {
		c.slots[slot.Atom] = slot
	}
	return signal{kind: 'a', index: slot.Atom}, nil
}

func (c *compiler) textTest(column column, value fr.Element, at ast.Expr) (signal, error) {
	p := &c.template.Program
	t := circuits.TextTest{Column: column.position - circuits.NumericColumns, Value: value}
	if i := slices.Index(p.TextTests, t); i >= 0 {
		return signal{kind: 't', index: i}, nil
	}
	if len(p.TextTests) == circuits.TextTests {
		return signal{}, c.source.fault(at.ID(), fmt.Sprintf("%d text tests", circuits.TextTests), "too many different comparisons of texts")
	}
	p.TextTests = append(p.TextTests, t)
	return signal{kind: 't', index: len(p.TextTests) - 1}, nil
}
