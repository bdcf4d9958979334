package policy

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
)

// A SourceError is a fault in a policy's text. It wraps ErrPolicy.
type SourceError struct {
	Line   int    `json:"line"`   // of the text after `when:`, from 1
	Column int    `json:"column"` // in characters, from 1
	Reason string `json:"reason"`
	Limit  string `json:"limit,omitempty"` // the limit that was met, such as "12 atoms"
	source string // the line, for Error
}

// Error shows the place, the reason, the limit and the line with a caret under the place.
func (e *SourceError) Error() string {
	text := fmt.Sprintf("when: line %d, column %d: %s", e.Line, e.Column, e.Reason)
	if e.Limit != "" {
		text += " (limit: " + e.Limit + ")"
	}
	if e.source == "" {
		return text
	}
	return text + "\n  | " + e.source + "\n  | " + strings.Repeat(" ", e.Column-1) + "^"
}

// Unwrap returns ErrPolicy.
func (e *SourceError) Unwrap() error { return ErrPolicy }

// source is a checked text: its syntax tree with types and places.
type source struct {
	text   []rune
	schema *schema.Schema
	env    *cel.Env
	parsed *cel.Ast // with numbers as exactFunction
	typed  *cel.Ast // parsed and checked
	*ast.AST
}

// fault is an error at an expression.
func (s *source) fault(id int64, limit, format string, args ...any) error {
	at := s.parsed.NativeRep().SourceInfo().GetStartLocation(id)
	return s.faultAt(at.Line(), at.Column(), limit, fmt.Sprintf(format, args...))
}

// faultAt is an error at a line, from 1, and a column, from 0, as CEL counts them. Either may be -1.
func (s *source) faultAt(line, column int, limit, reason string) error {
	line, column = max(1, line), max(0, column)
	e := &SourceError{Line: line, Column: column + 1, Reason: reason, Limit: limit}
	if lines := strings.Split(string(s.text), "\n"); line <= len(lines) {
		e.source = strings.ReplaceAll(lines[line-1], "\t", " ")
	}
	return e
}

// read parses and checks a text.
func read(text string, columns *schema.Schema) (*source, error) {
	s := &source{text: []rune(text), schema: columns}
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("when: there is no condition: %w", ErrPolicy)
	}
	if len(text) > entry.MaxSource {
		return nil, fmt.Errorf("when: %d bytes (limit: %d bytes): %w", len(text), entry.MaxSource, ErrPolicy)
	}
	base, err := language()
	if err != nil {
		return nil, fmt.Errorf("declaring the policy language: %w", err)
	}
	if s.env, err = withColumns(base, columns); err != nil {
		return nil, err
	}
	parsed, issues := s.env.Parse(text)
	if err := s.issues(issues); err != nil {
		return nil, err
	}
	s.parsed = parsed
	if err := s.prepare(parsed.NativeRep().Expr()); err != nil {
		return nil, err
	}
	checked, issues := s.env.Check(parsed)
	if err := s.issues(issues); err != nil {
		return nil, err
	}
	if out := checked.OutputType(); out != cel.BoolType {
		return nil, s.fault(checked.NativeRep().Expr().ID(), "", "this gives %s, a policy wants yes or no", cel.FormatCELType(out))
	}
	s.typed, s.AST = checked, checked.NativeRep()
	return s, nil
}

// issues returns the first thing that CEL complains about, in its own words.
func (s *source) issues(i *cel.Issues) error {
	if i.Err() == nil {
		return nil
	}
	first := i.Errors()[0]
	for _, e := range i.Errors() {
		if at := e.Location; at.Line() < first.Location.Line() || at.Line() == first.Location.Line() && at.Column() < first.Location.Column() {
			first = e
		}
	}
	reason := strings.NewReplacer("_&&_", "&&", "_||_", "||", "!_", "!", "-_", "-", "@in", "in", exactFunction, "decimal", hasFunction, "has").Replace(first.Message)
	for _, op := range []string{"==", "!=", "<=", ">=", "<", ">", "+", "-", "*"} {
		reason = strings.ReplaceAll(reason, "'_"+op+"_'", "'"+op+"'")
	}
	return s.faultAt(first.Location.Line(), first.Location.Column(), "", reason)
}

// prepare refuses what the language does not have, in words that say what to write instead, and makes numbers with decimals exact.
// It runs before the types are checked.
func (s *source) prepare(e ast.Expr) error {
	switch e.Kind() {
	case ast.LiteralKind:
		return s.prepareLiteral(e)
	case ast.IdentKind:
		if _, _, ok := s.schema.Column(e.AsIdent()); !ok {
			return s.fault(e.ID(), "", "no column %q in dataset %s", e.AsIdent(), s.schema.Dataset)
		}
		return nil
	case ast.ListKind:
		return s.prepareAll(e.AsList().Elements()...)
	case ast.MapKind:
		for _, entry := range e.AsMap().Entries() {
			if err := s.prepareAll(entry.AsMapEntry().Key(), entry.AsMapEntry().Value()); err != nil {
				return err
			}
		}
		return nil
	case ast.CallKind:
		return s.prepareCall(e)
	}
	return s.fault(e.ID(), "", "the policy language has columns, constants, operators and functions only")
}

func (s *source) prepareAll(list ...ast.Expr) error {
	for _, e := range list {
		if err := s.prepare(e); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) prepareLiteral(e ast.Expr) error {
	switch e.AsLiteral().Type() {
	case types.IntType, types.BoolType, types.StringType:
		return nil
	case types.DoubleType:
	default:
		return s.fault(e.ID(), "", "constants are whole numbers, decimals, true, false and texts in quotes")
	}
	digits, err := s.decimal(e.ID())
	if err != nil {
		return err
	}
	s.replace(e, digits)
	return nil
}

// replace makes a number an exact one.
func (s *source) replace(e ast.Expr, digits string) {
	const own = 1 << 32 // beyond the ids of any text: each expression has one type
	f := ast.NewExprFactory()
	e.SetKindCase(f.NewCall(e.ID(), exactFunction, f.NewLiteral(own+e.ID(), types.String(digits))))
}

// wholeToExact makes the whole numbers of a table decimals where others are: CEL wants one type.
func (s *source) wholeToExact(args []ast.Expr) {
	if len(args) < 2 || args[1].Kind() != ast.MapKind {
		return
	}
	values := slices.Clone(args[2:])
	for _, row := range args[1].AsMap().Entries() {
		values = append(values, row.AsMapEntry().Value())
	}
	is := func(t ref.Type) func(e ast.Expr) bool {
		return func(e ast.Expr) bool { return e.Kind() == ast.LiteralKind && e.AsLiteral().Type() == t }
	}
	if !slices.ContainsFunc(values, is(types.DoubleType)) {
		return
	}
	for _, v := range values {
		if is(types.IntType)(v) {
			s.replace(v, fmt.Sprint(v.AsLiteral().Value()))
		}
	}
}

// decimal reads a number with decimals from the text itself.
func (s *source) decimal(id int64) (string, error) {
	place, _ := s.parsed.NativeRep().SourceInfo().GetOffsetRange(id)
	var b strings.Builder
	for i, r := range s.text[min(int(place.Start), len(s.text)):] {
		switch {
		case r >= '0' && r <= '9' || r == '.' || r == '-' && i == 0:
			b.WriteRune(r)
			continue
		case (r == ' ' || r == '\t' || r == '\n') && b.String() == "-":
			continue
		case r == 'e' || r == 'E':
			return "", s.fault(id, "", "write the number without an exponent")
		}
		break
	}
	return b.String(), nil
}

func (s *source) prepareCall(e ast.Expr) error {
	call := e.AsCall()
	name := call.FunctionName()
	if call.IsMemberFunction() {
		return s.fault(e.ID(), "", "a function is called as %s(...), not on a value", name)
	}
	switch name {
	case operators.Divide, operators.Modulo:
		return s.fault(e.ID(), "linear forms", "there is no division: multiply the other side instead")
	case operators.Conditional:
		return s.fault(e.ID(), "", "there is no ?: : write (a && b) || (!a && c)")
	case operators.Index:
		return s.fault(e.ID(), "", "there is no indexing: use table(column, {...})")
	}
	if name == "has" {
		name = hasFunction
		e.SetKindCase(ast.NewExprFactory().NewCall(e.ID(), name, call.Args()...))
	}
	if !s.env.HasFunction(name) {
		return s.fault(e.ID(), "", "no function %q: there are %s", name, functionNames)
	}
	if name == "table" {
		s.wholeToExact(call.Args())
	}
	if name == "at_least" && len(call.Args()) > atLeastArguments+1 {
		return s.fault(e.ID(), fmt.Sprintf("%d conditions", atLeastArguments), "at_least of %d conditions", len(call.Args())-1)
	}
	return s.prepareAll(call.Args()...)
}

// calls counts the calls of a function in the checked text.
func (s *source) calls(name string) (n int) {
	ast.PostOrderVisit(s.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if isCall(e, name) {
			n++
		}
	}))
	return n
}

// isExact returns the digits of a number with decimals.
func isExact(e ast.Expr) (string, bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != exactFunction {
		return "", false
	}
	return string(e.AsCall().Args()[0].AsLiteral().(types.String)), true
}

// exact reads what decimal wrote.
func exact(digits string) (*big.Rat, bool) {
	if len(digits) > 64 {
		return nil, false
	}
	return new(big.Rat).SetString(digits)
}
