package policy

import (
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/operators"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// Language names what policies are written in: CEL's syntax (https://github.com/google/cel-spec) with the types and functions of
// this file and no others. A published policy carries it with its source.
const Language = "grille-cel/1"

// The types of columns that CEL has no type for. Constants of decimals are numbers, of dates date("2026-01-31"), and of the other
// three texts in quotes.
var (
	decimalType = cel.OpaqueType("decimal")
	dateType    = cel.OpaqueType("date")
	enumType    = cel.OpaqueType("enum")
	codeType    = cel.OpaqueType("code")
	textType    = cel.OpaqueType("text")
)

// Functions of the language. A number with decimals in the text is a call of exactFunction with its digits, which nobody can write
// by that name, so that it never is a float. CEL keeps the name has for a macro of its own, cleared or not, so has(x) is a call of
// hasFunction.
const (
	exactFunction = "@decimal"
	hasFunction   = "@has"
)

// atLeastArguments is how many conditions at_least takes: as many as a program has comparisons.
const atLeastArguments = circuits.Atoms + circuits.TextTests

func columnType(t schema.Type) *cel.Type {
	switch t {
	case schema.Int:
		return cel.IntType
	case schema.Decimal:
		return decimalType
	case schema.Date:
		return dateType
	case schema.Bool:
		return cel.BoolType
	case schema.Enum:
		return enumType
	case schema.Code:
		return codeType
	}
	return textType
}

// signature is one way to call a function.
type signature struct {
	args   []*cel.Type
	result *cel.Type
}

var numbers = []*cel.Type{cel.IntType, decimalType}

// pairs are the signatures of an operator on two numbers, with what it gives for two ints and else.
func pairs(ints, else_ *cel.Type) []signature {
	var s []signature
	for _, a := range numbers {
		for _, b := range numbers {
			result := else_
			if a == cel.IntType && b == cel.IntType {
				result = ints
			}
			s = append(s, signature{[]*cel.Type{a, b}, result})
		}
	}
	return s
}

// signatures is the whole language: each operator and function and what it takes.
func signatures() map[string][]signature {
	of := func(result *cel.Type, args ...*cel.Type) signature { return signature{args, result} }
	truth, value, key := cel.BoolType, cel.TypeParamType("V"), cel.TypeParamType("A")
	order := append(pairs(truth, truth), of(truth, dateType, dateType))
	equality := append([]signature{of(truth, truth, truth), of(truth, enumType, enumType), of(truth, codeType, codeType)}, order...)
	member := []signature{of(truth, dateType, cel.ListType(dateType)), of(truth, truth, cel.ListType(truth))}
	for _, s := range pairs(truth, truth) {
		member = append(member, of(truth, s.args[0], cel.ListType(s.args[1])))
	}
	var tables []signature
	for _, t := range []*cel.Type{enumType, codeType, textType} {
		equality = append(equality, of(truth, t, cel.StringType), of(truth, cel.StringType, t))
		member = append(member, of(truth, t, cel.ListType(cel.StringType)))
	}
	for column, keys := range map[*cel.Type]*cel.Type{cel.IntType: cel.IntType, truth: truth, enumType: cel.StringType, codeType: cel.StringType} {
		tables = append(tables, of(value, column, cel.MapType(keys, value)), of(value, column, cel.MapType(keys, value), value))
	}
	between := []signature{of(truth, dateType, dateType, dateType)}
	for _, s := range pairs(truth, truth) {
		for _, n := range numbers {
			between = append(between, of(truth, s.args[0], s.args[1], n))
		}
	}
	several := []*cel.Type{cel.IntType}
	var atLeast []signature
	for range atLeastArguments {
		several = append(several, truth)
		atLeast = append(atLeast, of(truth, append([]*cel.Type(nil), several...)...))
	}
	return map[string][]signature{
		operators.LogicalAnd: {of(truth, truth, truth)},
		operators.LogicalOr:  {of(truth, truth, truth)},
		operators.LogicalNot: {of(truth, truth)},
		operators.Equals:     equality, operators.NotEquals: equality,
		operators.Less: order, operators.LessEquals: order, operators.Greater: order, operators.GreaterEquals: order,
		operators.In:       member,
		operators.Add:      append(pairs(cel.IntType, decimalType), of(dateType, dateType, cel.IntType), of(dateType, cel.IntType, dateType)),
		operators.Subtract: append(pairs(cel.IntType, decimalType), of(dateType, dateType, cel.IntType), of(cel.IntType, dateType, dateType)),
		operators.Multiply: pairs(cel.IntType, decimalType),
		operators.Negate:   {of(cel.IntType, cel.IntType), of(decimalType, decimalType)},
		"between":          between,
		"at_least":         atLeast,
		"age":              {of(cel.IntType, dateType)},
		"days_since":       {of(cel.IntType, dateType)},
		hasFunction:        {of(truth, key)},
		"table":            tables,
		"record_exists":    {of(truth)},
		"date":             {of(dateType, cel.StringType)},
		exactFunction:      {of(decimalType, cel.StringType)},
	}
}

// language is the CEL environment without columns, made once. It declares functions and has none to run.
var language = sync.OnceValues(func() (*cel.Env, error) {
	return declare(func(string) ([]cel.FunctionOpt, []cel.OverloadOpt) { return nil, nil })
})

// declare makes a CEL environment of the language's functions, with what more there is to say of each and of its overloads.
func declare(more func(name string) ([]cel.FunctionOpt, []cel.OverloadOpt)) (*cel.Env, error) {
	options := []cel.EnvOption{cel.ClearMacros()}
	for name, list := range signatures() {
		overloads, each := more(name)
		for _, s := range list {
			id := name
			for _, a := range s.args {
				id += "_" + a.String()
			}
			overloads = append(overloads, cel.Overload(id, s.args, s.result, each...))
		}
		options = append(options, cel.Function(name, overloads...))
	}
	return cel.NewCustomEnv(options...)
}

// withColumns is an environment of the language with the columns of a schema.
func withColumns(base *cel.Env, s *schema.Schema) (*cel.Env, error) {
	var columns []cel.EnvOption
	for i := range s.Columns {
		columns = append(columns, cel.Variable(s.Columns[i].Name, columnType(s.Columns[i].Type)))
	}
	env, err := base.Extend(columns...)
	if err != nil {
		return nil, fmt.Errorf("declaring the columns of dataset %s: %w", s.Dataset, err)
	}
	return env, nil
}

// functionNames are what a policy's author may call, for messages.
var functionNames = strings.Join([]string{"age", "at_least", "between", "date", "days_since", "has", "record_exists", "table"}, ", ")
