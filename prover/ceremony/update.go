package ceremony

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/big"
	"runtime"
	"runtime/debug"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/mpcsetup"
)

// update returns the payload of a contribution to the state in base, by secrets from crypto/rand. It does what Contribute of gnark's
// Phase1 and Phase2 do, on the payload itself and on every processor: gnark's take their states apart on one. Secrets and proofs of
// knowledge are gnark's. What it makes is verified by gnark wherever it goes, so a fault here can spoil a contribution and no keys.
//
// Every point of base is checked to be in its subgroup. The memory that the secrets lay in, and what was computed from them, goes back to
// the system as far as the collector can give it. The error is a *Refused (ReasonPoints) or the context's.
func (c *Circuit) update(ctx context.Context, phase int, base []byte) ([]byte, error) {
	l := c.layout(phase)
	before := sha256.Sum256(base)
	out := make([]byte, l.size)
	copy(out, base[:l.size-challengeSize])
	out[l.size-challengeSize] = sha256.Size
	copy(out[l.size-sha256.Size:], before[:])
	defer debug.FreeOSMemory()
	var proofs []mpcsetup.UpdateProof
	var runs []factors
	if phase == 1 {
		proofs, runs = c.updateFirst(before[:])
	} else {
		proofs, runs = c.updateSecond(before[:])
	}
	var encoded bytes.Buffer
	for i := range proofs {
		if _, err := proofs[i].WriteTo(&encoded); err != nil {
			return nil, err
		}
	}
	at := l.points[len(l.points)-l.proofs].at
	copy(out[at:], encoded.Bytes())
	return out, multiply(ctx, out, runs)
}

// updateFirst draws tau, alpha and beta, and says by what each point of a phase 1 payload is multiplied.
func (c *Circuit) updateFirst(challenge []byte) ([]mpcsetup.UpdateProof, []factors) {
	const dstTau, dstAlpha, dstBeta = 0, 1, 2 // gnark's
	var one, tau, alpha, beta fr.Element
	one.SetOne()
	proofs := []mpcsetup.UpdateProof{mpcsetup.UpdateValues(&tau, challenge, dstTau), mpcsetup.UpdateValues(&alpha, challenge, dstAlpha),
		mpcsetup.UpdateValues(&beta, challenge, dstBeta)}
	p, n := c.layout(1).points, int64(c.domain)
	betaTau := p[3]
	betaTau.n = n
	alphaTau := points{at: betaTau.at + n*g1Size, n: n, size: g1Size}
	return proofs, []factors{{p[0], beta, one}, {p[1], tau, tau}, {p[2], tau, tau}, {betaTau, beta, tau}, {alphaTau, alpha, tau}}
}

// updateSecond is updateFirst for phase 2 and delta.
func (c *Circuit) updateSecond(challenge []byte) ([]mpcsetup.UpdateProof, []factors) {
	const dstDelta = 0 // gnark's
	var one, delta, inverse fr.Element
	one.SetOne()
	proof := mpcsetup.UpdateValues(&delta, challenge, dstDelta)
	inverse.Inverse(&delta)
	p := c.layout(2).points
	return []mpcsetup.UpdateProof{proof}, []factors{{p[0], delta, one}, {p[1], inverse, one}, {p[2], inverse, one}, {p[3], delta, one}}
}

// factors is a run of points, of which the one at i is multiplied by factor * ratio^i.
type factors struct {
	points
	factor, ratio fr.Element
}

// partSize is how many points are multiplied at a time.
const partSize = 128

// multiply multiplies the points of a payload in place, on every processor.
func multiply(ctx context.Context, payload []byte, runs []factors) error {
	parts := make(chan factors)
	errs := make([]error, runtime.GOMAXPROCS(0))
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	for i := range errs {
		workers.Go(func() {
			for part := range parts {
				if errs[i] == nil {
					if errs[i] = part.multiply(payload); errs[i] != nil {
						stop(errs[i])
					}
				}
			}
		})
	}
	for _, r := range runs {
		for done := int64(0); done < r.n && ctx.Err() == nil; done += partSize {
			part := r
			part.at, part.n = r.at+done*r.size, min(partSize, r.n-done)
			part.factor.Exp(r.ratio, big.NewInt(done)).Mul(&part.factor, &r.factor)
			parts <- part
		}
	}
	close(parts)
	workers.Wait()
	return context.Cause(ctx)
}

func (r *factors) multiply(payload []byte) error {
	scalar := r.factor
	var s big.Int
	for i := range r.n {
		scalar.BigInt(&s)
		at := payload[r.at+i*r.size:]
		var err error
		if r.size == g1Size {
			err = multiplyG1(at[:g1Size], &s)
		} else {
			err = multiplyG2(at[:g2Size], &s)
		}
		if err != nil {
			return refuse(ReasonPoints, "reading the point at byte %d: %w", r.at+i*r.size, err)
		}
		scalar.Mul(&scalar, &r.ratio)
	}
	return nil
}

func multiplyG1(data []byte, s *big.Int) error {
	var p bls.G1Affine
	if _, err := p.SetBytes(data); err != nil {
		return err
	}
	p.ScalarMultiplication(&p, s)
	b := p.Bytes()
	copy(data, b[:])
	return nil
}

func multiplyG2(data []byte, s *big.Int) error {
	var p bls.G2Affine
	if _, err := p.SetBytes(data); err != nil {
		return err
	}
	p.ScalarMultiplication(&p, s)
	b := p.Bytes()
	copy(data, b[:])
	return nil
}
