package policy

import (
	"fmt"
)

// A Rule is a yes/no question over the columns of one dataset, as a tree. Exactly one of its forms is filled in:
//
//	{all: [rule, ...]}   {any: [rule, ...]}   {not: rule}   {at_least: {k: 2, of: [rule, ...]}}
//	{column: age, op: ">=", value: "75"}               op is == != < <= > >=; text columns know == and !=
//	{column: region, in: [west, other]}
//	{sum: [{column: a, times: 2}, ...], op: "<=", value: "100.00"}    columns of one type and scale
//	{age: birth_date, op: ">=", value: "65"}           whole years at the as-of date
//	{days_since: last_visit, op: "<=", value: "90"}
//	{has: column}                                      whether it has a value; exempt from the missing rule
//	{record_exists: true}                              alone
//
// It is the seam for languages: whatever a policy is written in becomes a Rule and is compiled from there.
type Rule struct {
	All          []Rule   `yaml:"all,omitempty" json:"all,omitempty"`
	Any          []Rule   `yaml:"any,omitempty" json:"any,omitempty"`
	Not          *Rule    `yaml:"not,omitempty" json:"not,omitempty"`
	AtLeast      *AtLeast `yaml:"at_least,omitempty" json:"at_least,omitempty"`
	Column       string   `yaml:"column,omitempty" json:"column,omitempty"`
	Sum          []Part   `yaml:"sum,omitempty" json:"sum,omitempty"`
	Age          string   `yaml:"age,omitempty" json:"age,omitempty"`
	DaysSince    string   `yaml:"days_since,omitempty" json:"days_since,omitempty"`
	Has          string   `yaml:"has,omitempty" json:"has,omitempty"`
	RecordExists bool     `yaml:"record_exists,omitempty" json:"record_exists,omitempty"`
	Op           string   `yaml:"op,omitempty" json:"op,omitempty"`
	Value        string   `yaml:"value,omitempty" json:"value,omitempty"`
	In           []string `yaml:"in,omitempty" json:"in,omitempty"`
}

// AtLeast holds when K or more of the rules do.
type AtLeast struct {
	K  int    `yaml:"k" json:"k"`
	Of []Rule `yaml:"of" json:"of"`
}

// A Part is one summand of a sum.
type Part struct {
	Column string `yaml:"column" json:"column"`
	Times  int32  `yaml:"times" json:"times"`
}

// form names the one form that a rule has.
func (r *Rule) form() (string, error) {
	var found []string
	for name, set := range map[string]bool{
		"all": r.All != nil, "any": r.Any != nil, "not": r.Not != nil, "at_least": r.AtLeast != nil, "column": r.Column != "",
		"sum": r.Sum != nil, "age": r.Age != "", "days_since": r.DaysSince != "", "has": r.Has != "",
		"record_exists": r.RecordExists,
	} {
		if set {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("want exactly one of all, any, not, at_least, column, sum, age, days_since, has, record_exists: %w", ErrPolicy)
	}
	form := found[0]
	compares := form == "column" || form == "sum" || form == "age" || form == "days_since"
	switch {
	case !compares && (r.Op != "" || r.Value != "" || r.In != nil):
		return "", fmt.Errorf("%s takes no op, value or in: %w", form, ErrPolicy)
	case compares && r.In != nil && (form != "column" || r.Op != "" || r.Value != ""):
		return "", fmt.Errorf("in goes with column alone: %w", ErrPolicy)
	case compares && r.In == nil && (r.Op == "" || r.Value == ""):
		return "", fmt.Errorf("%s wants an op and a value: %w", form, ErrPolicy)
	}
	return form, nil
}
