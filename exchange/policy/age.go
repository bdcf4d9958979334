package policy

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/grille-gateway/grille/circuits"
)

// maxAge bounds the whole years that an age is compared with, as a date slot does.
const maxAge = 200

// mirrored are comparisons read from the right.
var mirrored = map[string]string{operators.Less: operators.Greater, operators.Greater: operators.Less, operators.Equals: operators.Equals,
	operators.LessEquals: operators.GreaterEquals, operators.GreaterEquals: operators.LessEquals}

// age compares the whole years since a date column with a constant.
func (c *compiler) age(e ast.Expr, operator string, a, b ast.Expr) (*node, error) {
	if !isCall(a, "age") {
		a, b, operator = b, a, mirrored[operator]
	}
	born := a.AsCall().Args()[0]
	if born.Kind() != ast.IdentKind {
		return nil, c.source.fault(born.ID(), "", "age(...) wants a date column")
	}
	n, ok := whole(b)
	if !ok || n < 0 || n >= maxAge {
		return nil, c.source.fault(b.ID(), "", "an age is compared with a whole number from 0 to %d", maxAge-1)
	}
	switch operator {
	case operators.GreaterEquals:
		return c.reached(e, born, int(n))
	case operators.Greater:
		return c.reached(e, born, int(n)+1)
	case operators.Less, operators.LessEquals:
		if operator == operators.LessEquals {
			n++
		}
		reached, err := c.reached(e, born, int(n))
		if err != nil {
			return nil, err
		}
		return reached.not(), nil
	}
	least, err := c.reached(e, born, int(n))
	if err != nil {
		return nil, err
	}
	over, err := c.reached(e, born, int(n)+1)
	if err != nil {
		return nil, err
	}
	return connect(e, 2, []*node{least, over.not()}), nil
}

// reached asks whether n years have passed since the column's date: whether that is not after D, the as-of date less n years. That
// is not born - D - 1 >= 0.
func (c *compiler) reached(e, born ast.Expr, n int) (*node, error) {
	position := c.column(born).position
	s, err := c.atom(circuits.Atom{Columns: []circuits.Term{{Column: position, Coefficient: 1}}, Constant: -1, Test: circuits.AtLeastZero},
		DateSlot{Years: n, Sign: -1}, e)
	if err != nil {
		return nil, err
	}
	return c.leaf(e, s.not(), []int{position}), nil
}
