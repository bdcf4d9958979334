package prover

import (
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"sync"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/grille-gateway/grille/circuits"
)

// proved is a statement with a real proof.
type proved struct {
	query
	proof Proof
}

// example is one proved statement, made once for the tests that only look at it.
var example = sync.OnceValue(func() proved {
	q := newQuery(quietTB{}, 1, person(-9000, 1500, 1, "west"), typicalProgram())
	proof, err := testKeys().Prove(q.pub, q.sec)
	if err != nil {
		panic(err)
	}
	return proved{q, proof}
})

// quietTB is for fixtures outside a test.
type quietTB struct{ testing.TB }

func (quietTB) Helper()           {}
func (quietTB) Fatal(args ...any) { panic(args) }

// copied returns the public half of the example to change.
func (p proved) copied() *circuits.Public {
	pub := *p.pub
	return &pub
}

func TestEveryVerdictIsProved(t *testing.T) {
	k := testKeys()
	incomplete := person(-9000, 1500, 1, "west")
	incomplete.Numeric[1] = 0
	for want, record := range map[circuits.Verdict]*circuits.Record{
		circuits.Satisfied: person(-9000, 1500, 1, "west"), circuits.NotSatisfied: person(9000, 1500, 1, "west"),
		circuits.Indeterminate: incomplete, circuits.NoRecord: nil,
	} {
		q := newQuery(t, 7, record, typicalProgram())
		if q.pub.Verdict != want {
			t.Fatalf("%v, want %v", q.pub.Verdict, want)
		}
		proof, err := k.Prove(q.pub, q.sec)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.verifier.Verify(q.pub, proof[:]); err != nil {
			t.Errorf("%v: %v", want, err)
		}
		for other := circuits.NotSatisfied; other <= circuits.NoRecord; other++ {
			pub := *q.pub
			pub.Verdict = other
			if err := k.verifier.Verify(&pub, proof[:]); (err == nil) != (other == want) {
				t.Errorf("%v passed off as %v: %v", want, other, err)
			}
		}
	}
}

// No public input may be another under the same proof, not one of all of them.
func TestEveryPublicInputIsBound(t *testing.T) {
	v, e := testKeys().verifier, example()
	values, err := e.pub.Vector()
	if err != nil {
		t.Fatal(err)
	}
	sum, err := v.sum(values)
	if err != nil {
		t.Fatal(err)
	}
	p, err := decodeProof(e.proof[:])
	if err != nil {
		t.Fatal(err)
	}
	if err := v.check(p, sum); err != nil {
		t.Fatal(err)
	}
	for i, name := range circuits.PublicNames() {
		var one bls.G1Affine // the sum for one more in this input
		one.Add(&sum, &v.key.k[i+1])
		if v.check(p, one) == nil {
			t.Errorf("%s is bound by nothing", name)
		}
	}
}

func TestVerifyRefusesOtherStatements(t *testing.T) {
	v, e := testKeys().verifier, example()
	r := newRand(5)
	for name, change := range map[string]func(*circuits.Public){
		"root":           func(p *circuits.Public) { p.Root = randElement(r) },
		"tag":            func(p *circuits.Public) { p.Tag = randElement(r) },
		"context":        func(p *circuits.Public) { p.Context = randElement(r) },
		"no context":     func(p *circuits.Public) { p.Context = fr.Element{} },
		"scope":          func(p *circuits.Public) { p.Scope = randElement(r) },
		"no scope":       func(p *circuits.Public) { p.Scope = fr.Element{} },
		"scope key":      func(p *circuits.Public) { p.ScopeKeyCommitment = randElement(r) },
		"nullifier":      func(p *circuits.Public) { p.Nullifier = randElement(r) },
		"verdict":        func(p *circuits.Public) { p.Verdict = circuits.NotSatisfied },
		"mask more":      func(p *circuits.Public) { p.Mask[5] = true },
		"mask less":      func(p *circuits.Public) { p.Mask[0], p.Disclosed[0] = false, fr.Element{} },
		"number":         func(p *circuits.Public) { p.Disclosed[0].SetUint64(p.Disclosed[0].Uint64() + 1) },
		"text":           func(p *circuits.Public) { p.Disclosed[circuits.NumericColumns] = circuits.TextElement("east") },
		"threshold":      func(p *circuits.Public) { p.Program = typicalProgram(); p.Program.Atoms[0].Constant++ },
		"table":          func(p *circuits.Public) { p.Program = typicalProgram(); p.Program.Lookups[0].Pairs[0].Value++ },
		"on absent":      func(p *circuits.Public) { p.Program = typicalProgram(); p.Program.OnAbsent = circuits.NotSatisfied },
		"another policy": func(p *circuits.Public) { p.Program = largestProgram(3) },
	} {
		pub := e.copied()
		change(pub)
		if err := v.Verify(pub, e.proof[:]); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyChecksRangesFirst(t *testing.T) {
	v, e := testKeys().verifier, example()
	for name, c := range map[string]struct {
		change func(*circuits.Public)
		want   error
	}{
		"malformed program":   {func(p *circuits.Public) { p.Program = &circuits.Program{} }, circuits.ErrProgram},
		"number too long":     {func(p *circuits.Public) { p.Disclosed[0].SetInt64(-1) }, circuits.ErrPublic},
		"shown outside mask":  {func(p *circuits.Public) { p.Disclosed[5].SetOne() }, circuits.ErrPublic},
		"undeclared verdict":  {func(p *circuits.Public) { p.Verdict = 9 }, circuits.ErrPublic},
		"the statement as is": {func(*circuits.Public) {}, nil},
	} {
		pub := e.copied()
		c.change(pub)
		if err := v.Verify(pub, e.proof[:]); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVerifyRefusesOtherProofs(t *testing.T) {
	v, e := testKeys().verifier, example()
	for name, data := range badProofs(t) {
		if err := v.Verify(e.pub, data); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	forged := generators()
	if err := v.Verify(e.pub, forged[:]); !errors.Is(err, ErrProof) {
		t.Errorf("generators: %v", err)
	}
	for i := range ProofSize { // one bit in every byte
		data := e.proof
		data[i] ^= 1 << (i % 8)
		if err := v.Verify(e.pub, data[:]); !errors.Is(err, ErrProof) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for _, at := range []int{0, 48, 144} { // the negated point
		data := e.proof
		data[at] ^= 0x20
		if err := v.Verify(e.pub, data[:]); !errors.Is(err, ErrProof) {
			t.Errorf("negated at %d: %v", at, err)
		}
	}
	swapped := e.proof
	copy(swapped[:48], e.proof[144:])
	copy(swapped[144:], e.proof[:48])
	if err := v.Verify(e.pub, swapped[:]); !errors.Is(err, ErrProof) {
		t.Errorf("A and C swapped: %v", err)
	}
}

// A proof is malleable: (sA, B/s, C) verifies too. Nothing may use its bytes as an identity.
func TestProofIsMalleable(t *testing.T) {
	v, e := testKeys().verifier, example()
	p, err := decodeProof(e.proof[:])
	if err != nil {
		t.Fatal(err)
	}
	s := big.NewInt(12345)
	inverse := new(big.Int).ModInverse(s, fr.Modulus())
	p.a.ScalarMultiplication(&p.a, s)
	p.b.ScalarMultiplication(&p.b, inverse)
	other := encodeProof(&groth16.Proof{Ar: p.a, Bs: p.b, Krs: p.c})
	if other == e.proof {
		t.Fatal("the same bytes")
	}
	if err := v.Verify(e.pub, other[:]); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyAgreesWithGnark(t *testing.T) {
	v, e := testKeys().verifier, example()
	vk := v.key.gnark()
	if err := vk.Precompute(); err != nil {
		t.Fatal(err)
	}
	library := func(pub *circuits.Public, proof []byte) bool { return gnarkVerifies(t, vk, pub, proof) }
	r := newRand(5)
	forged := generators()
	for i, c := range []struct {
		change func(*circuits.Public)
		proof  []byte
		want   bool
	}{
		{func(*circuits.Public) {}, e.proof[:], true},
		{func(*circuits.Public) {}, forged[:], false},
		{func(p *circuits.Public) { p.Root = randElement(r) }, e.proof[:], false},
		{func(p *circuits.Public) { p.Program = largestProgram(2) }, e.proof[:], false},
	} {
		pub := e.copied()
		c.change(pub)
		if ours, theirs := v.Verify(pub, c.proof) == nil, library(pub, c.proof); ours != c.want || theirs != c.want {
			t.Errorf("%d: %v here, %v in the library, want %v", i, ours, theirs, c.want)
		}
	}
	largest := newQuery(t, 3, person(-1, 2, 3, "west"), largestProgram(4))
	proof, err := testKeys().Prove(largest.pub, largest.sec)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // uncached, cached
		if err := v.Verify(largest.pub, proof[:]); err != nil || !library(largest.pub, proof[:]) {
			t.Fatal(err)
		}
	}
}

func gnarkVerifies(t *testing.T, vk *groth16.VerifyingKey, pub *circuits.Public, proof []byte) bool {
	t.Helper()
	values, err := pub.Vector()
	if err != nil {
		t.Fatal(err)
	}
	p, err := decodeProof(proof)
	if err != nil {
		t.Fatal(err)
	}
	return groth16.Verify(&groth16.Proof{Ar: p.a, Bs: p.b, Krs: p.c}, vk, values) == nil
}

func TestProveRefusesWhatIsNotSo(t *testing.T) {
	e := example()
	pub := e.copied()
	pub.Verdict = circuits.NotSatisfied
	_, err := testKeys().Prove(pub, e.sec)
	if !errors.Is(err, ErrStatement) || err.Error() != ErrStatement.Error() {
		t.Errorf("%v; a solver's words quote secrets", err)
	}
	pub.Program = nil
	if _, err := testKeys().Prove(pub, e.sec); !errors.Is(err, circuits.ErrProgram) {
		t.Error(err)
	}
}

func TestVerifierOfOtherKeysRefuses(t *testing.T) {
	e := example()
	k, err := compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.generate(); err != nil {
		t.Fatal(err)
	}
	if err := k.verifier.Verify(e.pub, e.proof[:]); !errors.Is(err, ErrProof) {
		t.Error(err)
	}
	if slices.Equal(k.encoded, testKeys().encoded) {
		t.Error("two setups gave one key")
	}
}

func TestVerifierNamesItsKey(t *testing.T) {
	k := testKeys()
	v, err := NewVerifier(k.VerifyingKey())
	if err != nil {
		t.Fatal(err)
	}
	m := k.Metadata()
	if v.CircuitID() != m.CircuitID || v.Kind() != m.Kind || v.SHA256() != m.VerifyingKeySHA256 || m.Kind != KindDevelopment {
		t.Errorf("%+v", m)
	}
	if _, err := hex.DecodeString(m.CircuitID); err != nil || len(m.CircuitID) != 64 {
		t.Error(m.CircuitID)
	}
	if m.PublicInputs != len(circuits.PublicNames()) || m.Constraints == 0 {
		t.Errorf("%+v", m)
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	e := example()
	v, err := NewVerifier(testKeys().VerifyingKey())
	if err != nil {
		t.Fatal(err)
	}
	v.programs = newSumCache(2) // so that programs come and go
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				if err := v.Verify(e.pub, e.proof[:]); err != nil {
					t.Error(err)
				}
				other := e.copied()
				other.Program = largestProgram(int64(i*5 + j))
				if err := v.Verify(other, e.proof[:]); !errors.Is(err, ErrProof) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
