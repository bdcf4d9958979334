package prover

import (
	"errors"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/grille-gateway/grille/circuits"
)

// A key whose parts stand in each other's place, or are another key's, accepts nothing that was proved under the true one.
func TestSwappedKeysRefuse(t *testing.T) {
	e := example()
	other := fakeVerifyingKey(t)
	from, _ := circuits.ProgramRange()
	for name, swap := range map[string]func(vk *verifyingKey, fake *verifyingKey){
		"gamma and delta":           func(vk, _ *verifyingKey) { vk.gamma, vk.delta = vk.delta, vk.gamma },
		"beta and gamma":            func(vk, _ *verifyingKey) { vk.beta, vk.gamma = vk.gamma, vk.beta },
		"beta and delta":            func(vk, _ *verifyingKey) { vk.beta, vk.delta = vk.delta, vk.beta },
		"alpha and K[0]":            func(vk, _ *verifyingKey) { vk.alpha, vk.k[0] = vk.k[0], vk.alpha },
		"root and tag":              func(vk, _ *verifyingKey) { vk.k[1], vk.k[2] = vk.k[2], vk.k[1] },
		"nullifier and verdict":     func(vk, _ *verifyingKey) { vk.k[6], vk.k[7] = vk.k[7], vk.k[6] },
		"a mask bit and a value":    func(vk, _ *verifyingKey) { vk.k[8], vk.k[8+circuits.Columns] = vk.k[8+circuits.Columns], vk.k[8] },
		"a value and a program bit": func(vk, _ *verifyingKey) { vk.k[from], vk.k[from+1] = vk.k[from+1], vk.k[from] },
		"alpha of another":          func(vk, fake *verifyingKey) { vk.alpha = fake.alpha },
		"beta of another":           func(vk, fake *verifyingKey) { vk.beta = fake.beta },
		"gamma of another":          func(vk, fake *verifyingKey) { vk.gamma = fake.gamma },
		"delta of another":          func(vk, fake *verifyingKey) { vk.delta = fake.delta },
		"none":                      func(_, _ *verifyingKey) {},
	} {
		vk, err := decodeVerifyingKey(testKeys().VerifyingKey())
		if err != nil {
			t.Fatal(err)
		}
		fake, err := decodeVerifyingKey(other)
		if err != nil {
			t.Fatal(err)
		}
		swap(vk, fake)
		v, err := NewVerifier(reencode(t, vk))
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Verify(e.pub, e.proof[:]); errors.Is(err, ErrProof) != (name != "none") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Where delta is gamma, as in a key that nobody contributed to, (alpha, beta, -sum) proves anything. Such a key is refused, with any
// signature.
func TestKeyWithoutContributionsIsRefused(t *testing.T) {
	vk, err := decodeVerifyingKey(fakeVerifyingKey(t))
	if err != nil {
		t.Fatal(err)
	}
	vk.delta = vk.gamma
	pairing, err := bls.Pair([]bls.G1Affine{vk.alpha}, []bls.G2Affine{vk.beta})
	if err != nil {
		t.Fatal(err)
	}
	e := example()
	v := &Verifier{key: vk, pairing: pairing, programs: newSumCache(1)}
	v.gammaNeg.Neg(&vk.gamma)
	v.deltaNeg.Neg(&vk.delta)
	from, _ := circuits.ProgramRange()
	for i := range from {
		v.head = append(v.head, newBaseTable(&vk.k[i+1]))
	}
	values, err := e.pub.Vector()
	if err != nil {
		t.Fatal(err)
	}
	sum, err := v.sum(values)
	if err != nil {
		t.Fatal(err)
	}
	var c bls.G1Affine
	c.Neg(&sum)
	forged := encodeProof(&groth16.Proof{Ar: vk.alpha, Bs: vk.beta, Krs: c})
	if err := v.Verify(e.pub, forged[:]); err != nil {
		t.Fatalf("the forgery that this test is about: %v", err)
	}
	if _, err := NewVerifier(reencode(t, vk)); !errors.Is(err, ErrVerifyingKey) || !strings.Contains(err.Error(), "gamma") {
		t.Errorf("delta is gamma: %v", err)
	}
}
