package policy

import (
	"math"
	"math/big"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// A form is a linear form over columns, results of tables and the as-of date, in the units of the text: 12.5 is 12.5 whatever the
// scales of the columns. A part is nil where the text does not name it, and 0 where it cancels out. Forms do not change.
type form struct {
	columns  [circuits.NumericColumns]*big.Rat
	lookups  [circuits.Lookups]*big.Rat
	today    *big.Rat // of the as-of date's day number
	constant *big.Rat
	reads    []int // the columns, by position, that the form takes values of
}

var minusOne = big.NewRat(-1, 1)

func constant(v *big.Rat) *form { return &form{today: new(big.Rat), constant: v} }

func (f *form) isConstant() bool {
	for _, part := range f.parts() {
		if part != nil {
			return false
		}
	}
	return f.today.Sign() == 0
}

// parts are the coefficients of columns and tables, in the order in which they lead a form.
func (f *form) parts() []*big.Rat {
	return append(append(make([]*big.Rat, 0, len(f.columns)+len(f.lookups)), f.columns[:]...), f.lookups[:]...)
}

// plus is f + factor x o.
func (f *form) plus(o *form, factor *big.Rat) *form {
	sum := func(a, b *big.Rat) *big.Rat {
		if b == nil {
			return a
		}
		scaled := new(big.Rat).Mul(b, factor)
		if a == nil {
			return scaled
		}
		return scaled.Add(scaled, a)
	}
	s := &form{today: sum(f.today, o.today), constant: sum(f.constant, o.constant)}
	for i := range s.columns {
		s.columns[i] = sum(f.columns[i], o.columns[i])
	}
	for i := range s.lookups {
		s.lookups[i] = sum(f.lookups[i], o.lookups[i])
	}
	s.reads = append(append(s.reads, f.reads...), o.reads...)
	return s
}

// columnForm is the value of a numeric column.
func (c *compiler) columnForm(e ast.Expr) *form {
	column := c.column(e)
	f := constant(new(big.Rat))
	f.columns[column.position] = new(big.Rat).SetFrac(big.NewInt(1), new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(column.Scale)), nil))
	f.reads = []int{column.position}
	return f
}

// form reads an expression that is a number or a date.
func (c *compiler) form(e ast.Expr) (*form, error) {
	switch e.Kind() {
	case ast.LiteralKind:
		if n, ok := e.AsLiteral().(types.Int); ok {
			return constant(new(big.Rat).SetInt64(int64(n))), nil
		}
	case ast.IdentKind:
		if t := c.column(e).Type; t == schema.Int || t == schema.Decimal || t == schema.Date {
			return c.columnForm(e), nil
		}
	case ast.CallKind:
		return c.call(e)
	}
	return nil, c.source.fault(e.ID(), "", "want a number or a date")
}

func (c *compiler) call(e ast.Expr) (*form, error) {
	if digits, ok := isExact(e); ok {
		v, ok := exact(digits)
		if !ok {
			return nil, c.source.fault(e.ID(), "", "this is no number like 12.5")
		}
		return constant(v), nil
	}
	args := e.AsCall().Args()
	switch e.AsCall().FunctionName() {
	case operators.Add:
		return c.combine(args, big.NewRat(1, 1))
	case operators.Subtract:
		return c.combine(args, minusOne)
	case operators.Negate:
		f, err := c.form(args[0])
		if err != nil {
			return nil, err
		}
		return constant(new(big.Rat)).plus(f, minusOne), nil
	case operators.Multiply:
		return c.product(e, args)
	case "days_since":
		f, err := c.form(args[0])
		if err != nil {
			return nil, err
		}
		elapsed := constant(new(big.Rat))
		elapsed.today = big.NewRat(1, 1)
		return elapsed.plus(f, minusOne), nil
	case "date":
		return c.dateForm(e)
	case "table":
		return c.table(e)
	case "age":
		return nil, c.source.fault(e.ID(), "", "age(...) is not calculated with: compare it with a whole number, or use days_since(...)")
	}
	return nil, c.source.fault(e.ID(), "", "want a number or a date")
}

func (c *compiler) combine(args []ast.Expr, factor *big.Rat) (*form, error) {
	a, err := c.form(args[0])
	if err != nil {
		return nil, err
	}
	b, err := c.form(args[1])
	if err != nil {
		return nil, err
	}
	return a.plus(b, factor), nil
}

func (c *compiler) product(e ast.Expr, args []ast.Expr) (*form, error) {
	a, err := c.form(args[0])
	if err != nil {
		return nil, err
	}
	b, err := c.form(args[1])
	if err != nil {
		return nil, err
	}
	switch {
	case a.isConstant():
		return constant(new(big.Rat)).plus(b, a.constant), nil
	case b.isConstant():
		return constant(new(big.Rat)).plus(a, b.constant), nil
	}
	return nil, c.source.fault(e.ID(), "linear forms", "a product of two columns: one side must be a constant")
}

// dateForm reads date("2026-01-31").
func (c *compiler) dateForm(e ast.Expr) (*form, error) {
	arg := e.AsCall().Args()[0]
	if arg.Kind() == ast.LiteralKind {
		text, _ := arg.AsLiteral().(types.String)
		if v, err := (&schema.Column{Type: schema.Date}).Parse(string(text)); err == nil && v.Present {
			return constant(new(big.Rat).SetInt64(v.Number)), nil
		}
	}
	return nil, c.source.fault(arg.ID(), "", "date(...) wants a day in quotes, like %q", time.DateOnly)
}

// wholeFactor is what makes all these numbers whole, and as small as they can be. Nil ones are left out.
func wholeFactor(values []*big.Rat) *big.Rat {
	denominator, divisor := big.NewInt(1), new(big.Int)
	for _, v := range values {
		if v != nil {
			common := new(big.Int).GCD(nil, nil, denominator, v.Denom())
			denominator.Mul(denominator, new(big.Int).Quo(v.Denom(), common))
		}
	}
	for _, v := range values {
		if v != nil {
			n := new(big.Int).Mul(v.Num(), new(big.Int).Quo(denominator, v.Denom()))
			divisor.GCD(nil, nil, divisor, n.Abs(n))
		}
	}
	if divisor.Sign() == 0 {
		divisor.SetInt64(1)
	}
	return new(big.Rat).SetFrac(denominator, divisor)
}

// atLeastZero asks whether f >= 0.
func (c *compiler) atLeastZero(f *form, e ast.Expr) (signal, error) {
	return c.test(f, circuits.AtLeastZero, e)
}

// zero asks whether f == 0.
func (c *compiler) zero(f *form, e ast.Expr) (signal, error) {
	return c.test(f, circuits.EqualsZero, e)
}

// test makes the one atom that stands for all ways to write a test: whole coefficients without a common divisor, the first of them
// positive. Where that turns f round, f >= 0 is not -f - 1 >= 0.
func (c *compiler) test(f *form, test circuits.Test, e ast.Expr) (signal, error) {
	leading, err := c.leading(f, e)
	if err != nil {
		return signal{}, err
	}
	factor := wholeFactor(append(f.parts(), f.today))
	if leading < 0 {
		factor.Neg(factor)
	}
	f = constant(new(big.Rat)).plus(f, factor)
	turned := leading < 0 && test == circuits.AtLeastZero
	if test == circuits.EqualsZero && !f.constant.IsInt() {
		return signal{}, c.source.fault(e.ID(), "", "this is never so: the two sides differ by a fraction")
	}
	k := floor(f.constant) // l + k >= 0 for whole l
	if turned {            // l + k <= 0 is not l + ceil(k) - 1 >= 0
		k = floor(new(big.Rat).Neg(f.constant))
		k.Neg(k).Sub(k, big.NewInt(1))
	}
	a := circuits.Atom{Test: test}
	if err := c.coefficients(&a, f, e); err != nil {
		return signal{}, err
	}
	slot := DateSlot{Sign: int(f.today.Num().Int64())}
	if !k.IsInt64() || slot.Sign != 0 && new(big.Int).Abs(k).BitLen() > 62 { // the slot leaves room for any day number
		return signal{}, c.source.fault(e.ID(), "64 bits", "overflow: the constant of this comparison, in whole units of its columns, is %s", k)
	}
	a.Constant = k.Int64()
	s, err := c.atom(a, slot, e)
	if turned {
		s = s.not()
	}
	return s, err
}

// floor is the largest whole number up to v.
func floor(v *big.Rat) *big.Int { return new(big.Int).Div(v.Num(), v.Denom()) } // Euclidean; denominators are positive

// leading is the sign of a form's first coefficient. What cancels out is refused: its column would still seem to be read.
func (c *compiler) leading(f *form, e ast.Expr) (int, error) {
	sign := 0
	for i, part := range f.parts() {
		switch {
		case part == nil:
		case part.Sign() == 0 && i < len(f.columns):
			column, _ := c.source.schema.At(i)
			return 0, c.source.fault(e.ID(), "", "column %s cancels out here: leave it out", column.Name)
		case part.Sign() == 0:
			return 0, c.source.fault(e.ID(), "", "a table cancels out here: leave it out")
		case sign == 0:
			sign = part.Sign()
		}
	}
	if sign == 0 {
		return 0, c.source.fault(e.ID(), "", "this reads no column: a constant decides nothing, leave it out")
	}
	return sign, nil
}

// coefficients fills in the terms of an atom from a form of whole coefficients.
func (c *compiler) coefficients(a *circuits.Atom, f *form, e ast.Expr) error {
	for i, part := range f.parts() {
		if part == nil {
			continue
		}
		n := part.Num()
		if !n.IsInt64() || n.Int64() > math.MaxInt32 || n.Int64() < math.MinInt32 {
			return c.source.fault(e.ID(), "coefficients of 32 bits", "in whole units, a column or table is multiplied by %s here", n)
		}
		if i < len(f.columns) {
			a.Columns = append(a.Columns, circuits.Term{Column: i, Coefficient: int32(n.Int64())})
		} else {
			a.Lookups = append(a.Lookups, circuits.LookupTerm{Lookup: i - len(f.columns), Coefficient: int32(n.Int64())})
		}
	}
	if f.today.Num().CmpAbs(big.NewInt(1)) > 0 {
		return c.source.fault(e.ID(), "1 as-of date", "days_since(...) counts %s times here", new(big.Int).Abs(f.today.Num()))
	}
	return nil
}
