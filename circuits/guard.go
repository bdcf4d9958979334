package circuits

import (
	"math"
	"math/big"
)

// A truth is what is known of an atom, a text test or a gate while one column is missing.
type truth uint8

const (
	no        truth = iota
	yes             // a constant
	either          // says nothing of the missing column
	arbitrary       // may depend on the number or text that stands for the missing value
)

// checkGuards says whether every value read from an exempt column is guarded: while the column is missing, what stands for its value
// makes no difference to the outcome, whatever all other atoms and text tests say.
//
// It follows one missing column at a time through the gates. The test of its presence is then known, what else reads the column is
// arbitrary, anything else is either. A gate is arbitrary only if there is a sum of its inputs that are either which the arbitrary
// ones can lift over the threshold and leave below it. So an outcome that is not arbitrary is, for any values of the others, the
// same for all values of what is arbitrary.
func (p *Program) checkGuards() error {
	for _, column := range p.Exempt {
		if p.outcomeWithout(column) == arbitrary {
			return refuse("exempt column %d is read for its value where nothing asks whether it has one", column)
		}
	}
	return nil
}

// outcomeWithout is what is known of the outcome while the column is missing.
func (p *Program) outcomeWithout(column int) truth {
	atoms, texts, gates := make([]truth, len(p.Atoms)), make([]truth, len(p.TextTests)), make([]truth, len(p.Gates))
	for i := range p.Atoms {
		atoms[i] = p.atomWithout(&p.Atoms[i], column)
	}
	for i, t := range p.TextTests {
		switch {
		case NumericColumns+t.Column != column:
			texts[i] = either
		case t.Value.IsZero():
			texts[i] = yes
		default:
			texts[i] = arbitrary
		}
	}
	for i := range p.Gates {
		var s partialSum
		s.start()
		s.add(p.Gates[i].Atoms, atoms)
		s.add(p.Gates[i].Texts, texts)
		s.add(p.Gates[i].Gates, gates)
		gates[i] = s.reaches(p.Gates[i].Threshold)
	}
	return gates[len(gates)-1]
}

func (p *Program) atomWithout(a *Atom, column int) truth {
	for _, t := range a.Lookups {
		if p.Lookups[t.Lookup].Column == column {
			return arbitrary
		}
	}
	for _, t := range a.Columns {
		if t.Column != column {
			continue
		}
		if len(a.Columns) == 1 && len(a.Lookups) == 0 && t.Coefficient == 1 && a.Constant == math.MaxInt64 && a.Test == AtLeastZero {
			return no // has the column a value?
		}
		return arbitrary
	}
	return either
}

// partialSum is a gate's sum: what is known of it, what its inputs that are either can add, and what the arbitrary ones can.
type partialSum struct {
	known       int
	sums        *big.Int // bit 512 + s is set if some of the inputs that are either sum to s
	least, most int      // of the arbitrary ones
}

func (s *partialSum) start() { s.sums = new(big.Int).SetBit(new(big.Int), gateWeightLimit, 1) }

func (s *partialSum) add(weights []int, of []truth) {
	for i, w := range weights {
		switch of[i] {
		case yes:
			s.known += w
		case arbitrary:
			s.least, s.most = s.least+min(w, 0), s.most+max(w, 0)
		case either:
			moved := new(big.Int)
			if w < 0 {
				moved.Rsh(s.sums, uint(-w))
			} else {
				moved.Lsh(s.sums, uint(w))
			}
			s.sums.Or(s.sums, moved)
		}
	}
}

// reaches is what is known of the sum being at least the threshold.
func (s *partialSum) reaches(threshold int) truth {
	above, below := false, false
	for i := range s.sums.BitLen() {
		if s.sums.Bit(i) == 0 {
			continue
		}
		sum := s.known + i - gateWeightLimit
		if sum+s.least < threshold && sum+s.most >= threshold {
			return arbitrary
		}
		above, below = above || sum+s.least >= threshold, below || sum+s.most < threshold
	}
	switch {
	case above && below:
		return either
	case above:
		return yes
	}
	return no
}
