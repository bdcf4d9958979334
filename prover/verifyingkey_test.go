package prover

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/grille-gateway/grille/circuits"
)

// fakeVerifyingKey has the form of a key and generators for points: good enough to decode, cheap to make.
func fakeVerifyingKey(t testing.TB) []byte {
	t.Helper()
	_, _, g1, g2 := bls.Generators()
	var vk groth16.VerifyingKey
	vk.G1.Alpha, vk.G2.Beta, vk.G2.Gamma, vk.G2.Delta = g1, g2, g2, *new(bls.G2Affine).Double(&g2)
	for range len(circuits.PublicNames()) + 1 {
		vk.G1.K = append(vk.G1.K, g1)
	}
	data, err := EncodeVerifyingKey(KindDevelopment, "010203"+strings.Repeat("00", 29), &vk)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func badVerifyingKeys(t testing.TB) map[string][]byte {
	good := fakeVerifyingKey(t)
	last := len(good) - 48
	return map[string][]byte{
		"empty": nil, "short": good[:len(good)-1], "long": append(slices.Clone(good), 0), "a point short": good[:last],
		"other magic":                replaced(good, 0, []byte("grille-vk/2")),
		"magic not padded":           replaced(good, 15, []byte{1}),
		"no kind":                    replaced(good, 16, make([]byte, 16)),
		"upper case kind":            replaced(good, 16, []byte("Dev")),
		"text after the kind":        replaced(good, 31, []byte("x")),
		"one public input more":      replaced(good, 64, []byte{0, 0, 2, 0x82}),
		"4 billion public inputs":    replaced(good, 64, []byte{255, 255, 255, 255}),
		"no public inputs":           replaced(good, 64, []byte{0, 0, 0, 0}),
		"alpha at infinity":          replaced(good, 68, infinity(48)),
		"alpha outside the subgroup": replaced(good, 68, outsideG1(t)),
		"beta outside the subgroup":  replaced(good, 116, outsideG2(t)),
		"gamma at infinity":          replaced(good, 212, infinity(96)),
		"delta at infinity":          replaced(good, 308, infinity(96)),
		"delta is gamma":             replaced(good, 308, good[212:308]),
		"delta beyond the modulus":   replaced(good, 308, beyondModulus(96)),
		"K[0] at infinity":           replaced(good, 404, infinity(48)),
		"last K at infinity":         replaced(good, last, infinity(48)),
		"last K outside":             replaced(good, last, outsideG1(t)),
		"last K uncompressed":        replaced(good, last, []byte{good[last] &^ 0x80}),
	}
}

func TestVerifyingKeyEncoding(t *testing.T) {
	good := fakeVerifyingKey(t)
	vk, err := decodeVerifyingKey(good)
	if err != nil {
		t.Fatal(err)
	}
	if vk.kind != KindDevelopment || vk.circuit != [32]byte{1, 2, 3} || len(vk.k) != len(circuits.PublicNames())+1 {
		t.Fatalf("%+v", vk.kind)
	}
	if !bytes.Equal(reencode(t, vk), good) {
		t.Fatal("another encoding")
	}
	for name, data := range badVerifyingKeys(t) {
		if _, err := NewVerifier(data); !errors.Is(err, ErrVerifyingKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, kind := range []string{"", "seventeen letters"} {
		if _, err := EncodeVerifyingKey(kind, strings.Repeat("00", 32), new(groth16.VerifyingKey)); !errors.Is(err, ErrVerifyingKey) {
			t.Errorf("kind %q: %v", kind, err)
		}
	}
}

func reencode(t testing.TB, vk *verifyingKey) []byte {
	t.Helper()
	data, err := EncodeVerifyingKey(vk.kind, vk.circuitID(), vk.gnark())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// gnark returns the key in the library's form, for comparison.
func (vk *verifyingKey) gnark() *groth16.VerifyingKey {
	var g groth16.VerifyingKey
	g.G1.Alpha, g.G1.K = vk.alpha, vk.k
	g.G2.Beta, g.G2.Gamma, g.G2.Delta = vk.beta, vk.gamma, vk.delta
	return &g
}

func FuzzDecodeVerifyingKey(f *testing.F) {
	f.Add(fakeVerifyingKey(f))
	for _, data := range badVerifyingKeys(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		vk, err := decodeVerifyingKey(data)
		if err != nil {
			if !errors.Is(err, ErrVerifyingKey) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(reencode(t, vk), data) {
			t.Fatal("two encodings of one key")
		}
	})
}
