package circuits

import (
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"pgregory.net/rapid"
)

func TestStatementHolds(t *testing.T) {
	for name, record := range map[string]*Record{"present": sampleRecord(), "absent": nil, "all missing": new(Record)} {
		f := newFixture(newRand(1), record, sampleProgram())
		f.mask[0], f.mask[13] = true, true
		if err := solve(t, f.assign(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.scope = fr.Element{}
		if err := solve(t, f.assign(t)); err != nil {
			t.Errorf("%s, without a scope: %v", name, err)
		}
	}
}

// The circuit accepts the native verdict and no other, whatever the program and the record.
func TestStatementAgreesWithEvaluate(t *testing.T) {
	counts := map[Verdict]int{}
	rapid.Check(t, func(rt *rapid.T) {
		p := drawProgram(rt)
		record := drawRecord(rt, p)
		f := newFixture(newRand(rapid.Uint64().Draw(rt, "seed")), record, p)
		s := f.assign(t)
		want := p.Evaluate(record)
		counts[want]++
		for v := NotSatisfied; v <= NoRecord; v++ {
			s.Verdict = uint64(v)
			if err := solve(t, s); (err == nil) != (v == want) {
				rt.Fatalf("the verdict is %v, the circuit on %v says: %v", want, v, err)
			}
		}
	})
	for v := NotSatisfied; v <= NoRecord; v++ {
		if counts[v] == 0 {
			t.Errorf("no example with verdict %v", v)
		}
	}
}

func TestStatementDisclosesAnyMask(t *testing.T) {
	r := newRand(1)
	for range 10 {
		record := sampleRecord()
		record.Numeric[r.IntN(NumericColumns)] = 0
		record.Numeric[r.IntN(NumericColumns)] = 1<<64 - 1
		f := newFixture(r, record, sampleProgram())
		for i := range f.mask {
			f.mask[i] = r.IntN(2) == 1
		}
		if err := solve(t, f.assign(t)); err != nil {
			t.Fatal(err)
		}
	}
}

// The slots of a bucket are in any order, and a key is found in each.
func TestStatementFindsEverySlot(t *testing.T) {
	for i := range Slots {
		f := newFixture(newRand(uint64(i)), sampleRecord(), sampleProgram())
		b := &f.sec.Opening.Bucket
		b[1], b[i] = b[i], b[1]
		f.reroot()
		if err := solve(t, f.assign(t)); err != nil {
			t.Errorf("slot %d: %v", i, err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkID(b *testing.B) {
	for b.Loop() {
		if _, err := ID(system()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAssignAndSolve(b *testing.B) {
	f := newFixture(newRand(1), sampleRecord(), sampleProgram())
	for b.Loop() {
		if err := solve(b, f.assign(b)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEvaluate(b *testing.B) {
	p, r := sampleProgram(), sampleRecord()
	for b.Loop() {
		p.Evaluate(r)
	}
}
