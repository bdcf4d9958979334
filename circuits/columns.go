package circuits

import "github.com/consensys/gnark/frontend"

// columnInputs are the columns of a record in the circuit, with what is derived from them once.
type columnInputs struct {
	numeric [NumericColumns]frontend.Variable // offset-binary codes, 64 bits
	values  [NumericColumns]frontend.Variable // code - 2^63, in -2^63..2^63-1
	text    [TextColumns]frontend.Variable
	missing [Columns]frontend.Variable // bits: the column is 0
}

// column returns column i as a disclosure shows it.
func (c *columnInputs) column(i int) frontend.Variable {
	if i < NumericColumns {
		return c.numeric[i]
	}
	return c.text[i-NumericColumns]
}

// newColumns bounds every numeric column to 64 bits, and finds the missing ones. Without the bound three columns could be
// packed in several ways into one element of the commitment.
func newColumns(api frontend.API, numeric [NumericColumns]frontend.Variable, text [TextColumns]frontend.Variable) *columnInputs {
	c := &columnInputs{numeric: numeric, text: text}
	for i, code := range numeric {
		api.ToBinary(code, numericBits)
		c.values[i] = api.Sub(code, power(numericBits-1))
	}
	for i := range c.missing {
		c.missing[i] = api.IsZero(c.column(i))
	}
	return c
}

// commitment is the circuit's twin of Record.Commitment.
func (c *columnInputs) commitment(api frontend.API, salt frontend.Variable) frontend.Variable {
	var packs [NumericColumns / 3]frontend.Variable
	for i := range packs {
		packs[i] = api.Add(c.numeric[3*i], api.Mul(c.numeric[3*i+1], power(numericBits)),
			api.Mul(c.numeric[3*i+2], power(2*numericBits)))
	}
	h := hash(api, UseRecord1, salt, packs[0], packs[1])
	h = hash(api, UseRecord2, h, packs[2], packs[3])
	h = hash(api, UseRecord3, h, c.text[0], c.text[1])
	return hash(api, UseRecord4, h, c.text[2], c.text[3])
}

// bind ties the columns to what the bucket holds: to the commitment if present, to 0 if not. Without the second an absent
// subject's prover could disclose what it likes.
func (c *columnInputs) bind(api frontend.API, present, commitment, salt frontend.Variable) {
	api.AssertIsEqual(api.Mul(present, c.commitment(api, salt)), commitment) // commitment is 0 if not present
	var values frontend.Variable = Columns
	for _, m := range c.missing {
		values = api.Sub(values, m)
	}
	api.AssertIsEqual(api.Mul(api.Sub(1, present), values), 0)
}

// missed returns 1 if a used column is missing or a lookup missed, else 0. Used are public bits; at most 20 bits are summed, so
// the sum is 0 only if all are.
func (c *columnInputs) missed(api frontend.API, used *[Columns]frontend.Variable, lookups []frontend.Variable) frontend.Variable {
	var sum frontend.Variable = 0
	for i := range used {
		sum = api.Add(sum, api.Mul(used[i], c.missing[i]))
	}
	for _, l := range lookups {
		sum = api.Add(sum, l)
	}
	return api.Sub(1, api.IsZero(sum))
}

// disclose enforces that each disclosed value is its column where the mask is 1 and 0 where it is 0.
func (c *columnInputs) disclose(api frontend.API, mask, disclosed *[Columns]frontend.Variable) {
	for i := range mask {
		api.AssertIsEqual(api.Mul(mask[i], c.column(i)), disclosed[i])
	}
}
