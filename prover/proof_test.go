package prover

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
)

// outsideG1 is a compressed point on the curve that is not in the subgroup.
func outsideG1(t testing.TB) []byte {
	t.Helper()
	for i := range 256 {
		b := make([]byte, 48)
		b[0], b[47] = 0x80, byte(i)
		var p bls.G1Affine
		d := bls.NewDecoder(bytes.NewReader(b), bls.NoSubgroupChecks())
		if d.Decode(&p) == nil && !p.IsInSubGroup() {
			return b
		}
	}
	t.Fatal("found none")
	return nil
}

func outsideG2(t testing.TB) []byte {
	t.Helper()
	for i := range 256 {
		b := make([]byte, 96)
		b[0], b[95] = 0x80, byte(i)
		var p bls.G2Affine
		d := bls.NewDecoder(bytes.NewReader(b), bls.NoSubgroupChecks())
		if d.Decode(&p) == nil && !p.IsInSubGroup() {
			return b
		}
	}
	t.Fatal("found none")
	return nil
}

// infinity is the compressed point at infinity of n bytes.
func infinity(n int) []byte {
	b := make([]byte, n)
	b[0] = 0xc0
	return b
}

// beyondModulus is a compressed point whose coordinate is not below the modulus, of n bytes.
func beyondModulus(n int) []byte {
	b := bytes.Repeat([]byte{0xff}, n)
	b[0] = 0x9f
	return b
}

func generators() Proof {
	_, _, g1, g2 := bls.Generators()
	return encodeProof(&groth16.Proof{Ar: g1, Bs: g2, Krs: g1})
}

func replaced(data []byte, at int, by []byte) []byte {
	out := slices.Clone(data)
	copy(out[at:], by)
	return out
}

// badProofs are byte strings that are no proof.
func badProofs(t testing.TB) map[string][]byte {
	good := generators()
	g := good[:]
	bad := map[string][]byte{
		"empty": nil, "one byte short": g[:191], "one byte long": append(slices.Clone(g), 0), "zeros": make([]byte, 192),
		"ones": bytes.Repeat([]byte{0xff}, 192), "B outside the subgroup": replaced(g, 48, outsideG2(t)),
		"B at infinity": replaced(g, 48, infinity(96)), "B beyond the modulus": replaced(g, 48, beyondModulus(96)),
		"B's infinity with a sign": replaced(g, 48, append([]byte{0xe0}, make([]byte, 95)...)),
	}
	for name, at := range map[string]int{"A": 0, "C": 144} {
		bad[name+" outside the subgroup"] = replaced(g, at, outsideG1(t))
		bad[name+" at infinity"] = replaced(g, at, infinity(48))
		bad[name+" at infinity, not zero"] = replaced(g, at, append(infinity(47), 1))
		bad[name+" beyond the modulus"] = replaced(g, at, beyondModulus(48))
		bad[name+" uncompressed"] = replaced(g, at, []byte{g[at] &^ 0x80})
		bad[name+" flagged uncompressed infinity"] = replaced(g, at, append([]byte{0x40}, make([]byte, 47)...))
		bad[name+" off the curve"] = replaced(g, at, offCurve(t))
	}
	return bad
}

func offCurve(t testing.TB) []byte {
	t.Helper()
	for i := range 256 {
		b := make([]byte, 48)
		b[0], b[47] = 0x80, byte(i)
		var p bls.G1Affine
		d := bls.NewDecoder(bytes.NewReader(b), bls.NoSubgroupChecks())
		if d.Decode(&p) != nil {
			return b
		}
	}
	t.Fatal("found none")
	return nil
}

func TestProofEncoding(t *testing.T) {
	good := generators()
	p, err := decodeProof(good[:])
	if err != nil {
		t.Fatal(err)
	}
	if again := encodeProof(&groth16.Proof{Ar: p.a, Bs: p.b, Krs: p.c}); again != good {
		t.Fatal("another encoding")
	}
	for name, data := range badProofs(t) {
		if _, err := decodeProof(data); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeProof(f *testing.F) {
	good := generators()
	f.Add(good[:])
	for _, data := range badProofs(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := decodeProof(data)
		if err != nil {
			if !errors.Is(err, ErrProof) {
				t.Fatal(err)
			}
			return
		}
		if again := encodeProof(&groth16.Proof{Ar: p.a, Bs: p.b, Krs: p.c}); !bytes.Equal(again[:], data) {
			t.Fatal("two encodings of one proof")
		}
		if !p.a.IsInSubGroup() || !p.b.IsInSubGroup() || !p.c.IsInSubGroup() {
			t.Fatal("a point outside its subgroup")
		}
	})
}
