package prover

import (
	"errors"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
)

// ProofSize is the length of an encoded proof.
const ProofSize = bls.SizeOfG1AffineCompressed + bls.SizeOfG2AffineCompressed + bls.SizeOfG1AffineCompressed

// ErrProof means that a proof does not show its statement, or is no proof at all. Refuse what it came with.
var ErrProof = errors.New("the proof does not verify")

// Proof is an encoded proof: the points A (G1), B (G2), C (G1), each compressed as in the ZCash BLS12-381 format: 48, 96 and 48
// bytes.
type Proof [ProofSize]byte

func encodeProof(p *groth16.Proof) Proof {
	a, b, c := p.Ar.Bytes(), p.Bs.Bytes(), p.Krs.Bytes()
	var out Proof
	n := copy(out[:], a[:])
	n += copy(out[n:], b[:])
	copy(out[n:], c[:])
	return out
}

// points are a decoded proof: on the curve, in the prime-order subgroups, none at infinity.
type points struct {
	a, c bls.G1Affine
	b    bls.G2Affine
}

// decodeProof reads the only encoding of three such points. The error is ErrProof.
func decodeProof(data []byte) (*points, error) {
	if len(data) != ProofSize {
		return nil, fmt.Errorf("%w: %d bytes, a proof has %d", ErrProof, len(data), ProofSize)
	}
	p := new(points)
	if err := readG1(&p.a, data[:48]); err != nil {
		return nil, fmt.Errorf("%w: reading A: %w", ErrProof, err)
	}
	if err := readG2(&p.b, data[48:144]); err != nil {
		return nil, fmt.Errorf("%w: reading B: %w", ErrProof, err)
	}
	if err := readG1(&p.c, data[144:]); err != nil {
		return nil, fmt.Errorf("%w: reading C: %w", ErrProof, err)
	}
	return p, nil
}

var (
	errInfinity  = errors.New("the point at infinity")
	errCanonical = errors.New("not the canonical encoding of a point")
)

// readG1 reads a compressed point of G1, in its subgroup and not at infinity. data has 48 bytes.
func readG1(p *bls.G1Affine, data []byte) error {
	if _, err := p.SetBytes(data); err != nil { // checks curve and subgroup
		return err
	}
	if p.IsInfinity() {
		return errInfinity
	}
	if p.Bytes() != [bls.SizeOfG1AffineCompressed]byte(data) {
		return errCanonical
	}
	return nil
}

// readG2 is readG1 for G2 and 96 bytes.
func readG2(p *bls.G2Affine, data []byte) error {
	if _, err := p.SetBytes(data); err != nil {
		return err
	}
	if p.IsInfinity() {
		return errInfinity
	}
	if p.Bytes() != [bls.SizeOfG2AffineCompressed]byte(data) {
		return errCanonical
	}
	return nil
}
