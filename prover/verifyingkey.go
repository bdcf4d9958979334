package prover

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/grille-gateway/grille/circuits"
)

// ErrVerifyingKey means that bytes are no verifying key of this module's statement.
var ErrVerifyingKey = errors.New("malformed verifying key")

// The kinds of keys. Development keys were made by one process alone and prove nothing to those who do not trust it; those of a
// ceremony hold if one of its contributors was honest; demo keys are of a ceremony whose members were all one process.
const (
	KindDevelopment = "development"
	KindCeremony    = "ceremony"
	KindDemo        = "demo"
)

// A verifying key is encoded as
//
//	magic   16 bytes  "grille-vk/1\n", zero-padded
//	kind    16 bytes  ASCII, zero-padded
//	circuit 32 bytes  the circuit id
//	publics  4 bytes  big endian, the number of public inputs n
//	alpha   48 bytes  G1, compressed
//	beta, gamma, delta   96 bytes each, G2, compressed
//	K       48 bytes each, G1, compressed: n+1 points, the first for the constant 1
//
// so that its length follows from n, which this module knows.
const (
	vkMagic      = "grille-vk/1\n\x00\x00\x00\x00"
	vkKindSize   = 16
	vkHeaderSize = 16 + vkKindSize + 32 + 4
	vkFixedSize  = vkHeaderSize + 48 + 3*96
)

// verifyingKey is a decoded verifying key, every point in its subgroup and none at infinity.
type verifyingKey struct {
	kind               string
	circuit            [32]byte
	alpha              bls.G1Affine
	beta, gamma, delta bls.G2Affine
	k                  []bls.G1Affine
}

// verifyingKeySize is the length of a verifying key for n public inputs.
func verifyingKeySize(n int) int { return vkFixedSize + 48*(n+1) }

// EncodeVerifyingKey encodes a verifying key for a circuit id in hex. NewVerifier takes those of the statement.
func EncodeVerifyingKey(kind, circuitID string, vk *groth16.VerifyingKey) ([]byte, error) {
	circuit, err := hex.DecodeString(circuitID)
	if err != nil || len(circuit) != 32 {
		return nil, fmt.Errorf("%w: the circuit id is not 32 bytes in hex", ErrVerifyingKey)
	}
	if len(kind) == 0 || len(kind) > vkKindSize {
		return nil, fmt.Errorf("%w: a kind has 1 to %d bytes", ErrVerifyingKey, vkKindSize)
	}
	n := len(vk.G1.K) - 1
	out := make([]byte, 0, verifyingKeySize(n))
	out = append(out, vkMagic...)
	out = append(out, kind...)
	out = append(out, make([]byte, vkKindSize-len(kind))...)
	out = append(out, circuit...)
	out = binary.BigEndian.AppendUint32(out, uint32(n))
	alpha := vk.G1.Alpha.Bytes()
	out = append(out, alpha[:]...)
	for _, p := range []*bls.G2Affine{&vk.G2.Beta, &vk.G2.Gamma, &vk.G2.Delta} {
		b := p.Bytes()
		out = append(out, b[:]...)
	}
	for i := range vk.G1.K {
		b := vk.G1.K[i].Bytes()
		out = append(out, b[:]...)
	}
	return out, nil
}

// decodeVerifyingKey reads the only encoding of a key for the number of public inputs of package circuits. The length is checked
// before anything is allocated. The error is ErrVerifyingKey.
func decodeVerifyingKey(data []byte) (*verifyingKey, error) {
	_, n := circuits.ProgramRange() // the program's inputs are the last
	if len(data) != verifyingKeySize(n) {
		return nil, fmt.Errorf("%w: %d bytes, a key has %d", ErrVerifyingKey, len(data), verifyingKeySize(n))
	}
	if string(data[:16]) != vkMagic {
		return nil, fmt.Errorf("%w: no magic", ErrVerifyingKey)
	}
	kind, err := decodeKind(data[16 : 16+vkKindSize])
	if err != nil {
		return nil, err
	}
	if got := binary.BigEndian.Uint32(data[vkHeaderSize-4:]); got != uint32(n) {
		return nil, fmt.Errorf("%w: %d public inputs, the statement has %d", ErrVerifyingKey, got, n)
	}
	vk := &verifyingKey{kind: kind, circuit: [32]byte(data[32:64])}
	rest := data[vkHeaderSize:]
	if err := readG1(&vk.alpha, rest[:48]); err != nil {
		return nil, fmt.Errorf("%w: reading alpha: %w", ErrVerifyingKey, err)
	}
	rest = rest[48:]
	for i, p := range []*bls.G2Affine{&vk.beta, &vk.gamma, &vk.delta} {
		if err := readG2(p, rest[:96]); err != nil {
			return nil, fmt.Errorf("%w: reading G2 point %d: %w", ErrVerifyingKey, i, err)
		}
		rest = rest[96:]
	}
	if vk.delta.Equal(&vk.gamma) { // then (alpha, beta, -sum) proves anything; it is so where nobody contributed to phase 2
		return nil, fmt.Errorf("%w: delta is gamma", ErrVerifyingKey)
	}
	vk.k = make([]bls.G1Affine, n+1)
	for i := range vk.k {
		if err := readG1(&vk.k[i], rest[:48]); err != nil { // at infinity the input would be bound by nothing
			return nil, fmt.Errorf("%w: reading K[%d]: %w", ErrVerifyingKey, i, err)
		}
		rest = rest[48:]
	}
	return vk, nil
}

// decodeKind reads lower-case letters padded with zeros.
func decodeKind(data []byte) (string, error) {
	n := 0
	for n < len(data) && data[n] >= 'a' && data[n] <= 'z' {
		n++
	}
	for _, b := range data[n:] {
		if b != 0 {
			return "", fmt.Errorf("%w: malformed kind", ErrVerifyingKey)
		}
	}
	if n == 0 {
		return "", fmt.Errorf("%w: no kind", ErrVerifyingKey)
	}
	return string(data[:n]), nil
}

func (vk *verifyingKey) circuitID() string { return hex.EncodeToString(vk.circuit[:]) }
