package circuits

import "github.com/consensys/gnark/frontend"

// AtomInputs is a linear form of the program and its test. The verifier knows that coefficients are signed 32-bit numbers, the
// constant a signed 64-bit number, and EqualsZero a bit.
type AtomInputs struct {
	Columns    [NumericColumns]frontend.Variable
	Lookups    [Lookups]frontend.Variable
	Constant   frontend.Variable
	EqualsZero frontend.Variable
}

// holds returns whether the atom is true, a bit.
//
// Sixteen products of a 32-bit and a 64-bit signed number and a 64-bit constant stay within 2^98 + 2^63 < 2^99 of 0, so the sum plus
// 2^99 is an integer below 2^100 whose decomposition is unique, and its highest bit is 1 exactly if the sum is not negative.
func (a *AtomInputs) holds(api frontend.API, values *[NumericColumns]frontend.Variable,
	lookups *[Lookups]frontend.Variable) frontend.Variable {
	sum := a.Constant
	for i := range values {
		sum = api.Add(sum, api.Mul(a.Columns[i], values[i]))
	}
	for i := range lookups {
		sum = api.Add(sum, api.Mul(a.Lookups[i], lookups[i]))
	}
	atLeast := api.ToBinary(api.Add(sum, power(atomBits-1)), atomBits)[atomBits-1]
	equals := api.IsZero(sum)
	return api.Add(atLeast, api.Mul(a.EqualsZero, api.Sub(equals, atLeast)))
}
