package circuits

import "github.com/consensys/gnark/frontend"

// GateInputs is a threshold gate of the program. The verifier knows that the absolute weights, those of earlier gates included, sum
// below 512, and that the threshold is within 512 of 0.
type GateInputs struct {
	Atoms     [Atoms]frontend.Variable
	Texts     [TextTests]frontend.Variable
	Threshold frontend.Variable
}

// holds returns whether the weighted sum of what is true reaches the threshold, a bit. Sum minus threshold is within 1023 of 0, so
// with 2^10 added it is an integer below 2^11 whose decomposition is unique; its highest bit is the answer.
func (g *GateInputs) holds(api frontend.API, atoms *[Atoms]frontend.Variable, texts *[TextTests]frontend.Variable,
	weights, earlier []frontend.Variable) frontend.Variable {
	sum := api.Neg(g.Threshold)
	for i := range atoms {
		sum = api.Add(sum, api.Mul(g.Atoms[i], atoms[i]))
	}
	for i := range texts {
		sum = api.Add(sum, api.Mul(g.Texts[i], texts[i]))
	}
	for i := range earlier {
		sum = api.Add(sum, api.Mul(weights[i], earlier[i]))
	}
	return api.ToBinary(api.Add(sum, power(gateBits-1)), gateBits)[gateBits-1]
}
