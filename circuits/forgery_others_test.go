package circuits

import (
	"maps"
	"slices"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/frontend"
)

// Forgeries with two subjects: a statement about one of which a part is about the other. Each part alone is honest.

// two are honest statements about two subjects of one root, one scope and one program; the second one's record differs.
func two(t *testing.T) (f, g *fixture, s, other *Statement) {
	t.Helper()
	random := newRand(11)
	second := sampleRecord()
	second.Numeric[0], second.Numeric[1], second.Text[0] = code(7), code(8), TextElement("east")
	f = newFixture(random, sampleRecord(), sampleProgram())
	g = newFixture(random, second, sampleProgram())
	g.sec.ScopeKey, g.scope = f.sec.ScopeKey, f.scope
	for _, x := range []*fixture{f, g} {
		x.mask[0], x.mask[12] = true, true
	}
	s, other = f.assign(t), g.assign(t)
	for _, x := range []*Statement{s, other} {
		if err := solve(t, x); err != nil {
			t.Fatal(err)
		}
	}
	return f, g, s, other
}

// Claims 1 to 3. A bucket opened at another's place, for presence and for absence: the holder's tree has it there.
func forgedElsewhere(t *testing.T, r *refusals) {
	_, g, s, _ := two(t)
	f := newFixture(newRand(11), sampleRecord(), sampleProgram()) // the first again
	bucket := f.sec.Opening.Bucket
	o := g.sec.Opening // the path of the other's place
	o.Bucket = bucket
	s.Root = o.Root(g.sec.Key.Place())
	for i := range o.Siblings {
		fill(s.Siblings[i][:], o.Siblings[i][:])
	}
	r.check(t, "claim 3: a record at another's place", s)

	absent, t2 := newFixture(newRand(12), nil, sampleProgram()), newFixture(newRand(13), sampleRecord(), sampleProgram())
	s = absent.assign(t)
	if err := solve(t, s); err != nil {
		t.Fatal(err)
	}
	if err := solve(t, t2.assign(t)); err != nil {
		t.Fatal(err)
	}
	o = t2.sec.Opening // there the subject of `absent` is in no slot either
	s.Root = t2.root
	for i, slot := range o.Bucket {
		s.Bucket[i] = SlotInputs{slot.Key, slot.Commitment}
	}
	for i := range o.Siblings {
		fill(s.Siblings[i][:], o.Siblings[i][:])
	}
	r.check(t, "claim 3: absence shown at another's place", s)
}

// Claims 2, 4, 5, 11 and 12. One part of the statement is the other subject's.
func forgedOtherSubject(t *testing.T, r *refusals) {
	changes := map[string]func(f, g *fixture, s, other *Statement){
		"claim 2: another's tag":        func(_, _ *fixture, s, other *Statement) { s.Tag, s.TagNonce = other.Tag, other.TagNonce },
		"claim 12: another's nullifier": func(_, _ *fixture, s, other *Statement) { s.Nullifier = other.Nullifier },
		"claim 4: another's bucket": func(_, g *fixture, s, other *Statement) {
			s.Digits, s.Quotient, s.Tag, s.TagNonce, s.Nullifier = other.Digits, other.Quotient, other.Tag, other.TagNonce, other.Nullifier
			g.sec.Opening.Bucket[1].Key = randKey(newRand(5)).Element() // the subject is not in the bucket, the record is
			s.Bucket, s.Siblings = other.Bucket, other.Siblings
			s.Bucket[1].Key = g.sec.Opening.Bucket[1].Key
			s.Root = g.sec.Opening.Root(g.sec.Key.Place())
			s.setRecord(g.sec.Record)
			s.Salt, s.Verdict, s.Disclosed = other.Salt, other.Verdict, other.Disclosed
		},
		"claim 5: another's record": func(_, g *fixture, s, other *Statement) {
			s.setRecord(g.sec.Record)
			s.Salt, s.Verdict, s.Disclosed = other.Salt, other.Verdict, other.Disclosed
		},
		"claim 11: another's columns":   func(_, _ *fixture, s, other *Statement) { s.Disclosed = other.Disclosed },
		"claim 10: another's verdict":   func(_, _ *fixture, s, other *Statement) { s.Verdict = other.Verdict },
		"claim 3: another's path":       func(_, _ *fixture, s, other *Statement) { s.Siblings = other.Siblings },
		"claim 3: another epoch's root": func(_, _ *fixture, s, other *Statement) { s.Root = other.Root },
		"claim 1: another's digits":     func(_, _ *fixture, s, other *Statement) { s.Digits = other.Digits },
		"claim 1: another's quotient":   func(_, _ *fixture, s, other *Statement) { s.Quotient = other.Quotient },
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		f, g, s, other := two(t)
		if s.Verdict == other.Verdict {
			t.Fatal("nothing to forge")
		}
		changes[name](f, g, s, other)
		chosen = []fr.Element{g.sec.Key.Element(), g.sec.Record.Commitment(g.sec.Salt)}
		r.check(t, name, s)
		chosen = nil
	}
}

// Claims 4 and 5. A record passed off as one without values, by a present that is no bit: present * H(no values) = commitment has
// one solution in the field.
func forgedRecordWithoutValues(t *testing.T, r *refusals) {
	for _, onAbsent := range []Verdict{NoRecord, NotSatisfied} {
		p := sampleProgram()
		p.OnAbsent, p.OnMissing = onAbsent, NotSatisfied
		f, s := honest(t, sampleRecord(), p)
		none := new(Record)
		present, h := f.sec.Record.Commitment(f.sec.Salt), none.Commitment(f.sec.Salt)
		present.Div(&present, &h)
		s.setRecord(none)
		s.Disclosed = [Columns]frontend.Variable{}
		for i := range s.Disclosed {
			s.Disclosed[i] = 0
		}
		s.Verdict = uint64(NotSatisfied)
		chosen = []fr.Element{present}
		r.check(t, "claims 4 and 5", s)
		chosen = nil
	}
}
