package prover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/grille-gateway/grille/circuits"
)

// proofs are statements about several subjects under two programs, with their proofs, made once.
var proofs = sync.OnceValue(func() []proved {
	out := []proved{example()}
	for i, c := range []struct {
		record  *circuits.Record
		program *circuits.Program
	}{{person(9000, 1500, 1, "west"), typicalProgram()}, {nil, typicalProgram()}, {person(-9000, 1500, 2, "east"), largestProgram(9)}} {
		q := newQuery(quietTB{}, uint64(20+i), c.record, c.program)
		proof, err := testKeys().Prove(q.pub, q.sec)
		if err != nil {
			panic(err)
		}
		out = append(out, proved{q, proof})
	}
	return out
})

// another is another proof of the same statement: a proof is malleable.
func another(t testing.TB, r *rand.Rand, p Proof) Proof {
	return changed(t, p, func(p *points) {
		s := new(big.Int).SetUint64(r.Uint64() | 1)
		p.a.ScalarMultiplication(&p.a, s)
		p.b.ScalarMultiplication(&p.b, s.ModInverse(s, fr.Modulus()))
	})
}

func changed(t testing.TB, p Proof, change func(*points)) Proof {
	t.Helper()
	d, err := decodeProof(p[:])
	if err != nil {
		t.Fatal(err)
	}
	change(d)
	return encodeProof(&groth16.Proof{Ar: d.a, Bs: d.b, Krs: d.c})
}

// goodBatch has n good statements, all with different proofs.
func goodBatch(t testing.TB, r *rand.Rand, n int) []Statement {
	out := make([]Statement, n)
	for i := range out {
		e := proofs()[r.IntN(len(proofs()))]
		proof := another(t, r, e.proof)
		out[i] = Statement{e.pub, proof[:]}
	}
	return out
}

// compare checks that VerifyAll says of each statement what Verify says, word for word, and returns how many are bad.
func compare(t *testing.T, statements []Statement) (bad int) {
	t.Helper()
	v := testKeys().verifier
	for i, got := range v.VerifyAll(statements) {
		want := v.Verify(statements[i].Public, statements[i].Proof)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d of %d: %v in the batch, %v alone", i, len(statements), got, want)
		}
		if got != nil {
			bad++
		}
	}
	return bad
}

func TestBatchOfGoodProofs(t *testing.T) {
	r := newRand(11)
	for _, n := range []int{0, 1, 2, groupSize, groupSize + 1, 100} {
		if bad := compare(t, goodBatch(t, r, n)); bad != 0 {
			t.Errorf("%d of %d are refused", bad, n)
		}
	}
	if got := testKeys().verifier.VerifyAll(nil); len(got) != 0 {
		t.Error(got)
	}
}

// More than one equation's worth.
func TestBatchOfManyBatches(t *testing.T) {
	e := example()
	many := slices.Repeat([]Statement{{e.pub, e.proof[:]}}, 2*batchSize+1)
	forged := generators()
	many[batchSize].Proof = forged[:]
	for i, err := range testKeys().verifier.VerifyAll(many) {
		if (err == nil) == (i == batchSize) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func TestBatchFindsTheBadProof(t *testing.T) {
	r := newRand(12)
	good := goodBatch(t, r, groupSize+4)
	for i := range good {
		statements := slices.Clone(good)
		proof := changed(t, Proof(good[i].Proof), func(p *points) { p.c.Double(&p.c) })
		statements[i].Proof = proof[:]
		for j, err := range testKeys().verifier.VerifyAll(statements) {
			if want := i == j; errors.Is(err, ErrProof) != want {
				t.Errorf("bad at %d: %v at %d", i, err, j)
			}
		}
	}
}

// Two bad proofs whose errors cancel out pass where all coefficients are equal, and not here.
func TestErrorsDoNotCancelOut(t *testing.T) {
	v, e := testKeys().verifier, proofs()
	_, _, d, _ := bls.Generators()
	plus := changed(t, e[0].proof, func(p *points) { p.c.Add(&p.c, &d) })
	minus := changed(t, e[1].proof, func(p *points) { p.c.Sub(&p.c, &d) })
	statements := []Statement{{e[0].pub, plus[:]}, {e[1].pub, minus[:]}}
	var batch []decoded
	for _, s := range statements {
		d, err := decode(s)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, d)
	}
	if err := v.checkCombined(batch, []fr.Element{fr.One(), fr.One()}); err != nil {
		t.Fatalf("they do not cancel out: %v", err)
	}
	for range 20 {
		if bad := compare(t, statements); bad != 2 {
			t.Fatalf("%d bad, want 2", bad)
		}
	}
	if err := v.checkCombined(batch, []fr.Element{{}, {}}); err != nil {
		t.Fatalf("coefficients of zero check nothing: %v", err)
	}
}

func TestBatchOfSwappedStatements(t *testing.T) {
	good := goodBatch(t, newRand(13), 20)
	a, b := 3, 4
	for good[b].Public == good[a].Public {
		b++
	}
	good[a].Proof, good[b].Proof = good[b].Proof, good[a].Proof
	if bad := compare(t, good); bad != 2 {
		t.Errorf("%d bad, want 2", bad)
	}
}

// damagesOfStatement make a statement bad in every way that Verify tells apart.
var damagesOfStatement = []func(testing.TB, *rand.Rand, *Statement){
	func(_ testing.TB, r *rand.Rand, s *Statement) {
		pub := *s.Public
		pub.Root = randElement(r)
		s.Public = &pub
	},
	func(_ testing.TB, _ *rand.Rand, s *Statement) { pub := *s.Public; pub.Verdict = 9; s.Public = &pub },
	func(_ testing.TB, _ *rand.Rand, s *Statement) {
		pub := *s.Public
		pub.Program = &circuits.Program{}
		s.Public = &pub
	},
	func(_ testing.TB, r *rand.Rand, s *Statement) {
		pub := *s.Public
		pub.Program = largestProgram(int64(r.IntN(3)))
		s.Public = &pub
	},
	func(_ testing.TB, r *rand.Rand, s *Statement) { s.Proof = s.Proof[:r.IntN(ProofSize)] },
	func(t testing.TB, _ *rand.Rand, s *Statement) { s.Proof = replaced(s.Proof, 0, outsideG1(t)) },
	func(t testing.TB, _ *rand.Rand, s *Statement) { s.Proof = replaced(s.Proof, 48, outsideG2(t)) },
	func(_ testing.TB, _ *rand.Rand, s *Statement) { s.Proof = replaced(s.Proof, 144, infinity(48)) },
	func(_ testing.TB, r *rand.Rand, s *Statement) {
		s.Proof = slices.Clone(s.Proof)
		s.Proof[r.IntN(ProofSize)] ^= 1 << r.IntN(8)
	},
	func(t testing.TB, _ *rand.Rand, s *Statement) {
		proof := changed(t, Proof(s.Proof), func(p *points) { p.a.Neg(&p.a) })
		s.Proof = proof[:]
	},
	func(t testing.TB, _ *rand.Rand, s *Statement) { proof := generators(); s.Proof = proof[:] },
}

// mixture is a batch of good and bad statements that follows from its seed.
func mixture(t testing.TB, seed uint64) []Statement {
	r := newRand(seed)
	out := goodBatch(t, r, r.IntN(3*groupSize))
	for i := range out {
		if r.IntN(4) == 0 {
			damagesOfStatement[r.IntN(len(damagesOfStatement))](t, r, &out[i])
		}
	}
	return out
}

func TestBatchAgreesWithVerify(t *testing.T) {
	bad := 0
	for seed := range uint64(12) {
		bad += compare(t, mixture(t, seed))
	}
	if bad < 10 {
		t.Errorf("only %d bad statements were tried", bad)
	}
}

func FuzzBatchAgreesWithVerify(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { compare(t, mixture(t, seed)) })
}

// Coefficients are as many as 128 bits can tell apart, and cheap to multiply by.
func TestCoefficients(t *testing.T) {
	var cube fr.Element
	cube.Square(&lambda)
	cube.Mul(&cube, &lambda)
	if one := fr.One(); !cube.Equal(&one) || lambda.Equal(&one) {
		t.Error("lambda is no cube root of one: the library does not split by it")
	}
	var l, limit big.Int
	lambda.BigInt(&l)
	limit.Lsh(big.NewInt(1), 192)
	for _, c := range [][2]uint64{{0, 0}, {1, 0}, {0, 1}, {1<<64 - 1, 1<<64 - 1}, {5, 1 << 63}} {
		var random [16]byte
		binary.LittleEndian.PutUint64(random[:], c[0])
		binary.LittleEndian.PutUint64(random[8:], c[1])
		e := coefficient(random)
		var got, a, b big.Int
		e.BigInt(&got)
		b.DivMod(&got, &l, &a)
		if a.Uint64() != c[0] || b.Uint64() != c[1] || !a.IsUint64() || !b.IsUint64() || got.Cmp(&limit) >= 0 {
			t.Errorf("%d is not %d + %d lambda", &got, c[0], c[1])
		}
	}
	first, err := draw(50)
	if err != nil {
		t.Fatal(err)
	}
	second, err := draw(50)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[fr.Element]bool{}
	for _, c := range append(first, second...) {
		if seen[c] || c.IsZero() {
			t.Fatal("drawn twice")
		}
		seen[c] = true
	}
}
