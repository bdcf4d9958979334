package circuits

import "github.com/consensys/gnark/frontend"

// LookupInputs is a table of the program and the column it is applied to. The verifier knows that Select has at most one 1, that
// keys below 2^63 are distinct, and that values are signed 64-bit numbers.
type LookupInputs struct {
	Select        [NumericColumns]frontend.Variable
	Keys, Values  [LookupPairs]frontend.Variable
	Default       frontend.Variable
	MissIsMissing frontend.Variable
}

// apply returns the table's value for the selected column's number, or the default, and a bit: it missed and may not. A number is
// in -2^63..2^63-1 and so never the filling key 2^63; since the other keys are distinct there is at most one hit.
func (l *LookupInputs) apply(api frontend.API, values *[NumericColumns]frontend.Variable) (result, missed frontend.Variable) {
	var x, hit frontend.Variable = 0, 0
	result = 0
	for i := range values {
		x = api.Add(x, api.Mul(l.Select[i], values[i]))
	}
	for i := range l.Keys {
		equal := api.IsZero(api.Sub(x, l.Keys[i]))
		hit = api.Add(hit, equal)
		result = api.Add(result, api.Mul(equal, l.Values[i]))
	}
	miss := api.Sub(1, hit)
	return api.Add(result, api.Mul(miss, l.Default)), api.Mul(miss, l.MissIsMissing)
}
