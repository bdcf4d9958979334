package policy

import (
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// A reference evaluates policies with CEL's own evaluator: its &&, || and !, its order of things and its errors, which
// `false && error` absorbs; numbers are exact. What is missing is an error to read, and the reference is strict about it: it looks for
// what the text reads unguarded, and for each table that missed, evaluated or not. It shares the parser and the declarations with the
// compiler, and nothing else.
type reference struct {
	env  *cel.Env
	asOf time.Time
}

// number is a ref.Val of an int, a decimal, or the day number of a date.
type number struct{ *big.Rat }

func (n number) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("no native number")
}
func (n number) ConvertToType(ref.Type) ref.Val { return types.NewErr("no other type") }
func (n number) Equal(o ref.Val) ref.Val        { return types.Bool(same(n, o)) }
func (n number) Type() ref.Type                 { return decimalType }
func (n number) Value() any                     { return n.Rat }

func toNumber(v ref.Val) (*big.Rat, bool) {
	switch v := v.(type) {
	case types.Int:
		return new(big.Rat).SetInt64(int64(v)), true
	case number:
		return v.Rat, true
	}
	return nil, false
}

func num(v ref.Val) *big.Rat {
	n, ok := toNumber(v)
	if !ok {
		panic(fmt.Sprintf("no number: %v", v))
	}
	return n
}

func same(a, b ref.Val) bool {
	x, ok := toNumber(a)
	y, also := toNumber(b)
	if ok && also {
		return x.Cmp(y) == 0
	}
	return a.Equal(b) == types.True
}

func newReference() (*reference, error) {
	r := &reference{}
	var err error
	r.env, err = declare(func(name string) ([]cel.FunctionOpt, []cel.OverloadOpt) {
		switch name {
		case operators.LogicalAnd, operators.LogicalOr: // CEL's own
			return nil, nil
		}
		each := []cel.OverloadOpt{r.binding(name)}
		if name == "at_least" || name == hasFunction {
			each = append(each, cel.OverloadIsNonStrict())
		}
		return []cel.FunctionOpt{decls.DisableTypeGuards(true)}, each
	})
	return r, err
}

// binding is what a function does.
func (r *reference) binding(name string) cel.OverloadOpt {
	unary := func(f func(a ref.Val) ref.Val) cel.OverloadOpt { return cel.UnaryBinding(f) }
	binary := func(f func(a, b ref.Val) ref.Val) cel.OverloadOpt { return cel.BinaryBinding(f) }
	order := func(holds func(sign int) bool) cel.OverloadOpt {
		return binary(func(a, b ref.Val) ref.Val { return types.Bool(holds(num(a).Cmp(num(b)))) })
	}
	calculate := func(f func(z, x, y *big.Rat) *big.Rat) cel.OverloadOpt {
		return binary(func(a, b ref.Val) ref.Val { return number{f(new(big.Rat), num(a), num(b))} })
	}
	switch name {
	case operators.LogicalNot:
		return unary(func(a ref.Val) ref.Val { return !a.(types.Bool) })
	case operators.Equals:
		return binary(func(a, b ref.Val) ref.Val { return types.Bool(same(a, b)) })
	case operators.NotEquals:
		return binary(func(a, b ref.Val) ref.Val { return types.Bool(!same(a, b)) })
	case operators.Less:
		return order(func(sign int) bool { return sign < 0 })
	case operators.LessEquals:
		return order(func(sign int) bool { return sign <= 0 })
	case operators.Greater:
		return order(func(sign int) bool { return sign > 0 })
	case operators.GreaterEquals:
		return order(func(sign int) bool { return sign >= 0 })
	case operators.Add:
		return calculate((*big.Rat).Add)
	case operators.Subtract:
		return calculate((*big.Rat).Sub)
	case operators.Multiply:
		return calculate((*big.Rat).Mul)
	case operators.Negate:
		return unary(func(a ref.Val) ref.Val { return number{new(big.Rat).Neg(num(a))} })
	case operators.In:
		return binary(member)
	case "days_since":
		return unary(func(a ref.Val) ref.Val { return number{new(big.Rat).Sub(day(r.asOf), num(a))} })
	case "age":
		return unary(r.age)
	case hasFunction:
		return unary(func(a ref.Val) ref.Val { return types.Bool(!types.IsError(a)) })
	case "date":
		return unary(func(a ref.Val) ref.Val {
			t, err := time.Parse(time.DateOnly, string(a.(types.String)))
			if err != nil {
				return types.WrapErr(err)
			}
			return number{day(t)}
		})
	case exactFunction:
		return unary(func(a ref.Val) ref.Val {
			n, _ := new(big.Rat).SetString(string(a.(types.String)))
			return number{n}
		})
	}
	return cel.FunctionBinding(map[string]func(...ref.Val) ref.Val{
		"between": func(v ...ref.Val) ref.Val {
			return types.Bool(num(v[0]).Cmp(num(v[1])) >= 0 && num(v[0]).Cmp(num(v[2])) <= 0)
		},
		"record_exists": func(...ref.Val) ref.Val { return types.True },
		"at_least":      atLeast,
		"table":         lookUp,
	}[name])
}

func day(t time.Time) *big.Rat { return new(big.Rat).SetInt64(t.Unix() / 86400) }

func member(a, list ref.Val) ref.Val {
	found := false
	for it := list.(traits.Lister).Iterator(); it.HasNext() == types.True; {
		found = same(a, it.Next()) || found
	}
	return types.Bool(found)
}

// age counts birthdays.
func (r *reference) age(a ref.Val) ref.Val {
	born := time.Unix(num(a).Num().Int64()*86400, 0).UTC()
	years := r.asOf.Year() - born.Year()
	if r.asOf.Month() < born.Month() || r.asOf.Month() == born.Month() && r.asOf.Day() < born.Day() {
		years--
	}
	return types.Int(years)
}

// atLeast is as strict as && and ||: an error counts where it could make a difference.
func atLeast(v ...ref.Val) ref.Val {
	k, hold, open := int(v[0].(types.Int)), 0, 0
	for _, c := range v[1:] {
		switch {
		case types.IsError(c):
			open++
		case c == types.True:
			hold++
		}
	}
	switch {
	case hold >= k:
		return types.True
	case hold+open < k:
		return types.False
	}
	return types.NewErr("at_least of something missing")
}

func lookUp(v ...ref.Val) ref.Val {
	table := v[1].(traits.Mapper)
	for it := table.Iterator(); it.HasNext() == types.True; {
		if key := it.Next(); same(key, v[0]) {
			return table.Get(key)
		}
	}
	if len(v) == 3 {
		return v[2]
	}
	return types.NewErr("no row")
}

// A question is a text that the reference can ask of records.
type question struct {
	*reference
	document *Document
	columns  *schema.Schema
	tree     *ast.AST
	program  cel.Program
	strict   [][]ast.Expr // the arguments of tables without default
}

func (r *reference) question(d *Document, s *schema.Schema) (*question, error) {
	checked, err := read(d.When, s)
	if err != nil {
		return nil, err
	}
	env, err := withColumns(r.env, s)
	if err != nil {
		return nil, err
	}
	q := &question{reference: r, document: d, columns: s, tree: checked.AST}
	// Names that CEL's planner does not know, so that == means what is bound to it.
	ast.PostOrderVisit(checked.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		for _, name := range []string{operators.Equals, operators.NotEquals} {
			if isCall(e, name) {
				e.SetKindCase(ast.NewExprFactory().NewCall(e.ID(), "@"+name, e.AsCall().Args()...))
			}
		}
		if isCall(e, "table") && len(e.AsCall().Args()) == 2 {
			q.strict = append(q.strict, e.AsCall().Args())
		}
	}))
	q.program, err = env.Program(checked.typed)
	return q, err
}

// verdict answers for a record as of a day; a nil row is no record.
func (q *question) verdict(row schema.Row, asOf time.Time) (circuits.Verdict, error) {
	fold := func(own circuits.Verdict, mapped string) (circuits.Verdict, error) {
		if mapped == "not_satisfied" {
			return circuits.NotSatisfied, nil
		}
		return own, nil
	}
	if row == nil {
		return fold(circuits.NoRecord, q.document.OnAbsent)
	}
	q.asOf = asOf
	missing, values := map[string]bool{}, map[string]any{}
	for i, v := range row {
		c := &q.columns.Columns[i]
		missing[c.Name] = !v.Present
		values[c.Name] = cellValue(c, v)
	}
	if q.unguarded(q.tree.Expr(), missing) {
		return fold(circuits.Indeterminate, q.document.OnMissing)
	}
	for _, args := range q.strict {
		isKey := func(row ast.EntryExpr) bool {
			return same(values[args[0].AsIdent()].(ref.Val), row.AsMapEntry().Key().AsLiteral())
		}
		if !slices.ContainsFunc(args[1].AsMap().Entries(), isKey) {
			return fold(circuits.Indeterminate, q.document.OnMissing)
		}
	}
	out, _, err := q.program.Eval(values)
	switch {
	case err != nil: // something missing made a difference after all
		return 0, err
	case out == types.True:
		return circuits.Satisfied, nil
	}
	return circuits.NotSatisfied, nil
}

func cellValue(c *schema.Column, v schema.Value) ref.Val {
	if !v.Present {
		return types.NewErr("column %s is missing", c.Name)
	}
	text, err := c.Format(v)
	if err != nil {
		return types.WrapErr(err)
	}
	switch c.Type {
	case schema.Int, schema.Decimal:
		n, _ := new(big.Rat).SetString(text)
		return number{n}
	case schema.Date:
		return number{new(big.Rat).SetInt64(v.Number)}
	case schema.Bool:
		return types.Bool(v.Number == 1)
	}
	return types.String(text)
}

// unguarded says whether the text reads a missing column where its absence does not decide anyway.
func (q *question) unguarded(e ast.Expr, missing map[string]bool) bool {
	if e.Kind() == ast.IdentKind {
		return missing[e.AsIdent()]
	}
	if e.Kind() == ast.ListKind {
		return slices.ContainsFunc(e.AsList().Elements(), func(m ast.Expr) bool { return q.unguarded(m, missing) })
	}
	if e.Kind() != ast.CallKind || isCall(e, hasFunction) {
		return false // maps hold constants
	}
	args := e.AsCall().Args()
	for i, a := range args {
		open := missing
		if k, n := connective(e); n > 0 && i >= len(args)-n {
			open = map[string]bool{}
			for column, gone := range missing {
				yes, no := 0, 0
				for j, b := range args[len(args)-n:] {
					if t, ok := absence(b, column); ok && j != i-len(args)+n {
						if t {
							yes++
						} else {
							no++
						}
					}
				}
				open[column] = gone && yes < k && n-no >= k
			}
		}
		if q.unguarded(a, open) {
			return true
		}
	}
	return false
}

// connective reads && and || and at_least as "k of the last n arguments"; n is 0 for anything else.
func connective(e ast.Expr) (k, n int) {
	n = len(e.AsCall().Args())
	switch e.AsCall().FunctionName() {
	case operators.LogicalAnd:
		return n, n
	case operators.LogicalOr:
		return 1, n
	case "at_least":
		return int(e.AsCall().Args()[0].AsLiteral().(types.Int)), n - 1
	}
	return 0, 0
}

// absence is what a condition says where all that is known is that a column is missing; ok is false where that is not enough.
func absence(e ast.Expr, column string) (holds, ok bool) {
	if e.Kind() != ast.CallKind {
		return false, false
	}
	args := e.AsCall().Args()
	switch name := e.AsCall().FunctionName(); {
	case name == hasFunction:
		return false, args[0].AsIdent() == column
	case name == operators.LogicalNot:
		holds, ok = absence(args[0], column)
		return !holds, ok
	case name == "@"+operators.Equals || name == "@"+operators.NotEquals:
		a, b := args[0], args[1]
		if a.Kind() == ast.LiteralKind {
			a, b = b, a
		}
		holds, ok = absence(a, column)
		if b.Kind() != ast.LiteralKind {
			return false, false
		}
		return holds == (b.AsLiteral() == types.True) == (name == "@"+operators.Equals), ok
	}
	k, n := connective(e)
	yes, no := 0, 0
	for _, a := range args[len(args)-n:] {
		if t, known := absence(a, column); known && t {
			yes++
		} else if known {
			no++
		}
	}
	switch {
	case n == 0:
		return false, false
	case yes >= k:
		return true, true
	}
	return false, n-no < k
}
