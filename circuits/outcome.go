package circuits

import "github.com/consensys/gnark/frontend"

// ProgramInputs is a program in the circuit, at full size; programLayout says how an unused part is filled.
type ProgramInputs struct {
	Used      [Columns]frontend.Variable
	OnAbsent  frontend.Variable
	OnMissing frontend.Variable
	Lookups   [Lookups]LookupInputs
	Atoms     [Atoms]AtomInputs
	TextTests [TextTests]TextTestInputs
	Gates     [Gates]GateInputs
	Earlier   [earlierWeights]frontend.Variable // weight of gate i in gate j > i at j(j-1)/2 + i
}

// verdict is the circuit's twin of Program.Evaluate; the comments number the claims of Statement.
func (p *ProgramInputs) verdict(api frontend.API, c *columnInputs, present frontend.Variable) frontend.Variable {
	var results [Lookups]frontend.Variable
	missed := make([]frontend.Variable, Lookups)
	for i := range p.Lookups {
		results[i], missed[i] = p.Lookups[i].apply(api, &c.values) // claim 6
	}
	var atoms [Atoms]frontend.Variable
	for i := range p.Atoms {
		atoms[i] = p.Atoms[i].holds(api, &c.values, &results) // claim 7
	}
	var texts [TextTests]frontend.Variable
	for i := range p.TextTests {
		texts[i] = p.TextTests[i].holds(api, &c.text) // claim 8
	}
	var gates [Gates]frontend.Variable
	for j := range p.Gates { // claim 9
		weights := p.Earlier[earlierIndex(j, 0):earlierIndex(j, j)]
		gates[j] = p.Gates[j].holds(api, &atoms, &texts, weights, gates[:j])
	}
	incomplete := c.missed(api, &p.Used, missed) // claim 10
	outcome := gates[Gates-1]
	answer := api.Add(outcome, api.Mul(incomplete, api.Sub(p.OnMissing, outcome)))
	return api.Add(p.OnAbsent, api.Mul(present, api.Sub(answer, p.OnAbsent)))
}
