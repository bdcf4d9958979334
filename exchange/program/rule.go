package program

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/stdlib"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/grille-gateway/grille/circuits"
)

// verdicts are the constants of a rule.
var verdicts = []circuits.Verdict{circuits.Satisfied, circuits.NotSatisfied, circuits.NoRecord, circuits.Indeterminate}

// reserved are names that no check may have: what a rule means by them is fixed.
var reserved = func() []string {
	words := strings.Fields("in true false null as break const continue else for function if import let loop package namespace return " +
		"var void while at_least type bool int uint double string bytes list map dyn null_type")
	for _, v := range verdicts {
		words = append(words, v.String())
	}
	return words
}()

// verdictType is a type of its own, so that a text, a misspelt verdict or a number in a rule does not pass for a verdict.
var verdictType = cel.OpaqueType("verdict")

// rule is a compiled rule. Its value is a bool for every combination of verdicts: it has no operation that can fail.
type rule struct {
	program cel.Program
	checks  []string
}

// compile checks a rule against the names of the checks. Only this is declared: the checks and the four verdicts, ==, != and in over
// verdicts, &&, ||, !, the conditional and at_least(k, condition, ...).
func compile(text string, checks []Check) (*rule, error) {
	if strings.TrimSpace(text) == "" {
		return nil, faultf("$.rule", "rule: must say when an application is granted, like %s == satisfied", checks[0].Name)
	}
	r := &rule{}
	options := []cel.EnvOption{cel.ClearMacros(), cel.FunctionDecls(operations()...), atLeast(), cel.HomogeneousAggregateLiterals(),
		cel.ParserExpressionSizeLimit(MaxRule), cel.ParserRecursionLimit(maxDepth), cel.ParserErrorRecoveryLimit(4),
		cel.ExpressionNodeLimit(maxNodes), cel.ExpressionNestingDepthLimit(maxDepth)}
	for _, v := range verdicts {
		options = append(options, cel.Variable(v.String(), verdictType))
	}
	for _, c := range checks {
		r.checks = append(r.checks, c.Name)
		options = append(options, cel.Variable(c.Name, verdictType))
	}
	env, err := cel.NewCustomEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("preparing the rule's language: %w", err)
	}
	tree, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, ruleFault(issues.Errors(), checks)
	}
	if !tree.OutputType().IsExactType(cel.BoolType) {
		return nil, &fault{path: "$.rule", line: 1, column: 1, text: fmt.Sprintf("rule: must be a condition, not a %s", tree.OutputType())}
	}
	if r.program, err = env.Program(tree); err != nil {
		return nil, faultf("$.rule", "rule: %v", err)
	}
	return r, nil
}

// ruleFault is the first of the compiler's complaints, with its place in the rule.
func ruleFault(errs []*cel.Error, checks []Check) error {
	first := errs[0]
	text := first.Message
	if strings.HasPrefix(text, "undeclared reference") {
		var names []string
		for _, c := range checks {
			names = append(names, c.Name)
		}
		text += "; there are the checks " + strings.Join(names, ", ") + " and the verdicts satisfied, not_satisfied, no_record, indeterminate"
	}
	return &fault{path: "$.rule", line: max(1, first.Location.Line()), column: max(0, first.Location.Column()) + 1, text: "rule: " + text}
}

// operations are those of CEL's standard library that a rule may use.
func operations() []*decls.FunctionDecl {
	names := []string{operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Equals, operators.NotEquals,
		operators.Conditional, operators.In}
	var out []*decls.FunctionDecl
	for _, f := range stdlib.Functions() {
		if !slices.Contains(names, f.Name()) {
			continue
		}
		if f.Name() == operators.In {
			f = f.Subset(decls.IncludeOverloads(overloads.InList))
		}
		out = append(out, f)
	}
	return out
}

// atLeast is at_least(k, a, b, ...): at least k of the conditions hold.
func atLeast() cel.EnvOption {
	var all []cel.FunctionOpt
	args := []*cel.Type{cel.IntType}
	for n := 1; n <= MaxChecks; n++ {
		args = append(args, cel.BoolType)
		all = append(all, cel.Overload(fmt.Sprintf("at_least_%d", n), slices.Clone(args), cel.BoolType, cel.FunctionBinding(countTrue)))
	}
	return cel.Function("at_least", all...)
}

func countTrue(args ...ref.Val) ref.Val {
	n := types.Int(0)
	for _, a := range args[1:] {
		if a == types.True {
			n++
		}
	}
	k, ok := args[0].(types.Int)
	return types.Bool(ok && n >= k)
}

// Grants evaluates the rule over one verdict for each check.
func (p *Program) Grants(of map[string]circuits.Verdict) (bool, error) {
	values := make(map[string]any, len(of)+len(verdicts))
	for _, v := range verdicts {
		values[v.String()] = v.String()
	}
	for _, name := range p.rule.checks {
		v, ok := of[name]
		if !ok {
			return false, fmt.Errorf("evaluating the rule of %s: no verdict of check %s", p.Name, name)
		}
		values[name] = v.String()
	}
	out, _, err := p.rule.program.Eval(values)
	if err != nil {
		return false, fmt.Errorf("evaluating the rule of %s: %w", p.Name, err)
	}
	granted, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("evaluating the rule of %s: not a condition", p.Name)
	}
	return granted, nil
}

// A Table says what a rule does over all combinations of the three verdicts that decide; indeterminate goes to a person.
type Table struct {
	Combinations int      `json:"combinations"`
	Granted      int      `json:"granted"`
	Idle         []string `json:"idle,omitempty"` // checks whose verdict never makes a difference
}

// Tabulate evaluates the rule over every combination: 3 to the number of checks.
func (p *Program) Tabulate() (Table, error) {
	n := len(p.Checks)
	decisive := verdicts[:3]
	size := 1
	for range n {
		size *= len(decisive)
	}
	table := Table{Combinations: size}
	results := make([]bool, size)
	of := make(map[string]circuits.Verdict, n)
	for i := range results {
		for k, rest := 0, i; k < n; k, rest = k+1, rest/len(decisive) {
			of[p.Checks[k].Name] = decisive[rest%len(decisive)]
		}
		var err error
		if results[i], err = p.Grants(of); err != nil {
			return table, err
		}
		if results[i] {
			table.Granted++
		}
	}
	for k, step := 0, 1; k < n; k, step = k+1, step*len(decisive) {
		if !matters(results, step, len(decisive)) {
			table.Idle = append(table.Idle, p.Checks[k].Name)
		}
	}
	return table, nil
}

// claims reports whether the rule grants only where the scope's check is satisfied.
func (p *Program) claims() bool {
	n, of := len(p.Checks), map[string]circuits.Verdict{}
	size := 1
	for range n {
		size *= 3
	}
	for i := range size {
		for k, rest := 0, i; k < n; k, rest = k+1, rest/3 {
			of[p.Checks[k].Name] = verdicts[rest%3]
		}
		if of[p.Scope.Check] == circuits.Satisfied {
			continue
		}
		if yes, err := p.Grants(of); yes || err != nil {
			return false
		}
	}
	return true
}

// matters reports whether the digit of that weight ever changes the result.
func matters(results []bool, step, base int) bool {
	for i, r := range results {
		if digit := i / step % base; digit > 0 && results[i-step] != r {
			return true
		}
	}
	return false
}

// Warnings are what lint says about a table.
func (t Table) Warnings() []string {
	var out []string
	switch t.Granted {
	case 0:
		out = append(out, "the rule grants nobody, whatever the verdicts")
	case t.Combinations:
		out = append(out, "the rule grants everybody, whatever the verdicts")
	}
	for _, name := range t.Idle {
		out = append(out, fmt.Sprintf("check %s never makes a difference: do not ask what is not needed", name))
	}
	return out
}
