package circuits

import "github.com/consensys/gnark/frontend"

// TextTestInputs is an equality test of the program on a text column. The verifier knows that Select has at most one 1.
type TextTestInputs struct {
	Select [TextColumns]frontend.Variable
	Value  frontend.Variable
}

// holds returns whether the selected column equals the value, a bit.
func (t *TextTestInputs) holds(api frontend.API, text *[TextColumns]frontend.Variable) frontend.Variable {
	difference := api.Neg(t.Value)
	for i := range text {
		difference = api.Add(difference, api.Mul(t.Select[i], text[i]))
	}
	return api.IsZero(difference)
}
