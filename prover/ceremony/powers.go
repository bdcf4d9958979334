package ceremony

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/big"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/mpcsetup"
	groth16mpc "github.com/consensys/gnark/backend/groth16/bls12-381/mpcsetup"
)

// powers is a state of phase 1. Its spelling and its arithmetic are those of gnark's Phase1, which reads its points one by one on one
// processor, and hands them to nobody; so this is gnark's Phase1 once more, on every processor. The proofs and the check of ratios are
// gnark-crypto's. Tests hold the two against each other: each takes what the other made, and refuses what the other refuses.
type powers struct {
	groth16mpc.SrsCommons
	proofs    [3]mpcsetup.UpdateProof // of tau, alpha, beta
	challenge []byte
}

// The tags of a contribution's parts and of the beacon, gnark's.
const (
	dstTau, dstAlpha, dstBeta = 0, 1, 2
	dstSeal                   = "Groth16 MPC Setup - Phase 1"
)

// newPowers is the state for tau = alpha = beta = 1 over a domain of n.
func newPowers(n uint64) *powers {
	_, _, g1, g2 := bls.Generators()
	p := emptyPowers(n)
	for _, run := range [][]bls.G1Affine{p.G1.Tau, p.G1.AlphaTau, p.G1.BetaTau} {
		for i := range run {
			run[i] = g1
		}
	}
	for i := range p.G2.Tau {
		p.G2.Tau[i] = g2
	}
	p.G2.Beta = g2
	return p
}

func emptyPowers(n uint64) *powers {
	p := new(powers)
	p.G1.Tau, p.G1.AlphaTau, p.G1.BetaTau = make([]bls.G1Affine, 2*n-1), make([]bls.G1Affine, n), make([]bls.G1Affine, n)
	p.G2.Tau = make([]bls.G2Affine, n)
	_, _, p.G1.Tau[0], p.G2.Tau[0] = bls.Generators()
	return p
}

// readPowers reads a payload whose form was checked.
func readPowers(ctx context.Context, n uint64, l layout, payload []byte) (*powers, error) {
	p := emptyPowers(n)
	p.challenge = bytes.Clone(payload[l.size-sha256.Size:])
	if err := p.readProofs(payload); err != nil {
		return nil, err
	}
	beta, tau1, tau2, betaTau := payload[l.points[0].at:], payload[l.points[1].at:], payload[l.points[2].at:], payload[l.points[3].at:]
	if _, err := p.G2.Beta.SetBytes(beta[:g2Size:g2Size]); err != nil {
		return nil, refuse(ReasonPoints, "reading beta: %w", err)
	}
	if err := readRun(ctx, tau1, p.G1.Tau[1:]); err != nil {
		return nil, err
	}
	if err := readRun(ctx, tau2, p.G2.Tau[1:]); err != nil {
		return nil, err
	}
	if err := readRun(ctx, betaTau, p.G1.BetaTau); err != nil {
		return nil, err
	}
	return p, readRun(ctx, betaTau[n*g1Size:], p.G1.AlphaTau)
}

func (p *powers) readProofs(payload []byte) error {
	r := bytes.NewReader(payload)
	for i := range p.proofs {
		if _, err := p.proofs[i].ReadFrom(r); err != nil {
			return refuse(ReasonPoints, "reading the proofs: %w", err)
		}
	}
	return nil
}

// encode writes a payload.
func (p *powers) encode(w io.Writer) error {
	challenge := append([]byte{byte(len(p.challenge))}, p.challenge...)
	parts := []io.WriterTo{&p.proofs[0], &p.proofs[1], &p.proofs[2], &p.SrsCommons, bytes.NewReader(challenge)}
	for _, part := range parts {
		if _, err := part.WriteTo(w); err != nil {
			return err
		}
	}
	return nil
}

// verify checks that next is a contribution to p, whose payload has the SHA-256 challenge. The points of both are in their subgroups.
func (p *powers) verify(next *powers, challenge []byte) error {
	update := func(dst byte, proof *mpcsetup.UpdateProof, of string, values ...mpcsetup.ValueUpdate) error {
		if err := proof.Verify(challenge, dst, values...); err != nil {
			return fmt.Errorf("the contribution to %s: %w", of, err)
		}
		return nil
	}
	if err := update(dstTau, &next.proofs[0], "tau", mpcsetup.ValueUpdate{Previous: &p.G1.Tau[1], Next: &next.G1.Tau[1]}); err != nil {
		return err
	}
	if err := update(dstAlpha, &next.proofs[1], "alpha", mpcsetup.ValueUpdate{Previous: &p.G1.AlphaTau[0], Next: &next.G1.AlphaTau[0]}); err != nil {
		return err
	}
	if err := update(dstBeta, &next.proofs[2], "beta", mpcsetup.ValueUpdate{Previous: &p.G1.BetaTau[0], Next: &next.G1.BetaTau[0]},
		mpcsetup.ValueUpdate{Previous: &p.G2.Beta, Next: &next.G2.Beta}); err != nil {
		return err
	}
	return mpcsetup.SameRatioMany(next.G1.Tau, next.G2.Tau, next.G1.AlphaTau, next.G1.BetaTau)
}

// contribute draws tau, alpha and beta, proves that it knows them, and changes the points by them. challenge is the SHA-256 of the
// payload so far.
func (p *powers) contribute(ctx context.Context, challenge []byte) error {
	p.challenge = bytes.Clone(challenge)
	var secrets [3]fr.Element
	for i, dst := range []byte{dstTau, dstAlpha, dstBeta} {
		p.proofs[i] = mpcsetup.UpdateValues(&secrets[i], challenge, dst)
	}
	return p.multiply(ctx, secrets)
}

// seal changes the points by what the SHA-256 of the last payload and the beacon give.
func (p *powers) seal(ctx context.Context, last [sha256.Size]byte, beacon []byte) error {
	return p.multiply(ctx, [3]fr.Element(mpcsetup.BeaconContributions(last[:], []byte(dstSeal), beacon, 3)))
}

// multiply changes the points by factors for tau, alpha and beta.
func (p *powers) multiply(ctx context.Context, by [3]fr.Element) error {
	tau, alpha, beta := by[0], by[1], by[2]
	p.G2.Beta.ScalarMultiplication(&p.G2.Beta, beta.BigInt(new(big.Int)))
	if err := scale(ctx, p.G1.Tau, fr.One(), tau); err != nil {
		return err
	}
	if err := scale(ctx, p.G2.Tau, fr.One(), tau); err != nil {
		return err
	}
	if err := scale(ctx, p.G1.AlphaTau, alpha, tau); err != nil {
		return err
	}
	return scale(ctx, p.G1.BetaTau, beta, tau)
}
