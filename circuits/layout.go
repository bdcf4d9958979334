package circuits

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// programLayout is a program at full size, as the public inputs hold it.
//
// What a program does not use is filled so that it has no effect: selectors and coefficients 0, lookup keys 2^63 (no number has
// it), unused gates weightless with threshold 1 (never true). Gates stand at the end, so that the last of a program's n gates is
// gate 7 and its gate i is gate 8-n+i: the outcome is always gate 7.
type programLayout struct {
	used      [Columns]fr.Element
	onAbsent  fr.Element
	onMissing fr.Element
	lookups   [Lookups]lookupLayout
	atoms     [Atoms]atomLayout
	texts     [TextTests]textLayout
	gates     [Gates]gateLayout
	earlier   [earlierWeights]fr.Element // weight of gate i in gate j > i at j(j-1)/2 + i
}

type lookupLayout struct {
	selector      [NumericColumns]fr.Element
	keys, values  [LookupPairs]fr.Element
	fallback      fr.Element
	missIsMissing fr.Element
}

type atomLayout struct {
	columns    [NumericColumns]fr.Element
	lookups    [Lookups]fr.Element
	constant   fr.Element
	equalsZero fr.Element
}

type textLayout struct {
	selector [TextColumns]fr.Element
	value    fr.Element
}

type gateLayout struct {
	atoms     [Atoms]fr.Element
	texts     [TextTests]fr.Element
	threshold fr.Element
}

// noKey is 2^63, a lookup key that no column's number equals.
var noKey = func() (e fr.Element) { e.SetUint64(offset); return e }()

// layout lays out a well-formed program.
func (p *Program) layout() *programLayout {
	l := new(programLayout)
	for i, used := range p.Used() {
		l.used[i] = bit(used)
	}
	l.onAbsent.SetUint64(uint64(p.OnAbsent))
	l.onMissing.SetUint64(uint64(p.OnMissing))
	for i := range l.lookups {
		for j := range l.lookups[i].keys {
			l.lookups[i].keys[j] = noKey
		}
	}
	for i := range p.Lookups {
		p.Lookups[i].layout(&l.lookups[i])
	}
	for i := range p.Atoms {
		p.Atoms[i].layout(&l.atoms[i])
	}
	for i, t := range p.TextTests {
		l.texts[i].selector[t.Column].SetOne()
		l.texts[i].value = t.Value
	}
	unused := Gates - len(p.Gates)
	for i := range unused {
		l.gates[i].threshold.SetOne()
	}
	for i := range p.Gates {
		p.Gates[i].layout(&l.gates[unused+i])
		for k, w := range p.Gates[i].Gates {
			l.earlier[earlierIndex(unused+i, unused+k)].SetInt64(int64(w))
		}
	}
	return l
}

func (s *Lookup) layout(l *lookupLayout) {
	l.selector[s.Column].SetOne()
	for i, pair := range s.Pairs {
		l.keys[i].SetInt64(pair.Key)
		l.values[i].SetInt64(pair.Value)
	}
	l.fallback.SetInt64(s.Default)
	l.missIsMissing = bit(s.MissIsMissing)
}

func (a *Atom) layout(l *atomLayout) {
	for _, t := range a.Columns {
		l.columns[t.Column].SetInt64(int64(t.Coefficient))
	}
	for _, t := range a.Lookups {
		l.lookups[t.Lookup].SetInt64(int64(t.Coefficient))
	}
	l.constant.SetInt64(a.Constant)
	l.equalsZero = bit(a.Test == EqualsZero)
}

func (g *Gate) layout(l *gateLayout) {
	for i, w := range g.Atoms {
		l.atoms[i].SetInt64(int64(w))
	}
	for i, w := range g.Texts {
		l.texts[i].SetInt64(int64(w))
	}
	l.threshold.SetInt64(int64(g.Threshold))
}

// appendTo appends the layout in the order of the public inputs.
func (l *programLayout) appendTo(v []fr.Element) []fr.Element {
	v = append(v, l.used[:]...)
	v = append(v, l.onAbsent, l.onMissing)
	for i := range l.lookups {
		s := &l.lookups[i]
		v = append(v, s.selector[:]...)
		v = append(v, s.keys[:]...)
		v = append(v, s.values[:]...)
		v = append(v, s.fallback, s.missIsMissing)
	}
	for i := range l.atoms {
		a := &l.atoms[i]
		v = append(v, a.columns[:]...)
		v = append(v, a.lookups[:]...)
		v = append(v, a.constant, a.equalsZero)
	}
	for i := range l.texts {
		v = append(v, l.texts[i].selector[:]...)
		v = append(v, l.texts[i].value)
	}
	for i := range l.gates {
		g := &l.gates[i]
		v = append(v, g.atoms[:]...)
		v = append(v, g.texts[:]...)
		v = append(v, g.threshold)
	}
	return append(v, l.earlier[:]...)
}

// earlierIndex is where the weight of gate i in gate j > i stands.
func earlierIndex(j, i int) int { return j*(j-1)/2 + i }
