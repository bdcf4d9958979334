package prover

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math/big"
	"runtime"
	"slices"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/grille-gateway/grille/circuits"
	"golang.org/x/sync/errgroup"
)

const (
	batchSize = 256 // most proofs in one equation: with their public inputs some 5 MB; more would save no time
	partSize  = 16  // fewer are not divided among processors
	groupSize = 8   // proofs in one equation after that of the batch failed
)

// A Statement is a public half with a proof of it.
type Statement struct {
	Public *circuits.Public
	Proof  []byte
}

// VerifyAll checks many statements under one key and returns one error for each: nil, or that of Verify. Many good proofs cost about two
// fifths of the processor time that Verify takes for them, and all processors share it. Where some are bad all are checked again, in groups, and the groups with bad ones one by one, which
// costs less than twice what Verify takes.
//
// Public inputs and proofs are decoded and checked one by one as in Verify: ranges, canonical encodings, curve, subgroup. Only the
// pairings are done together. Let D_i = e(A_i, B_i) e(S_i, -gamma) e(C_i, -delta) e(alpha, -beta) for the sum S_i of public inputs: the
// proof is good if D_i = 1. Checked is that the product of the D_i^c_i is 1, for coefficients c_i that are drawn afresh from crypto/rand
// once all proofs are known (small exponents test: Bellare, Garay, Rabin, https://cseweb.ucsd.edu/~mihir/papers/batch.pdf, section 3;
// for Groth16 the Zcash protocol specification, https://zips.z.cash/protocol/protocol.pdf, appendix B.2).
//
// Sound because: all points are in their subgroups, so each D_i is in GT, of prime order r. If D_j is not 1 it generates GT, and for any
// values of the other coefficients there is exactly one c_j modulo r that makes the product 1. c_j is uniform among 2^128 residues
// (coefficient), so a batch with a bad proof passes with a probability of at most 2^-128. Errors that cancel out where proofs are just
// multiplied, such as C+D and C-D, do not.
func (v *Verifier) VerifyAll(statements []Statement) []error {
	errs := make([]error, len(statements))
	n := len(statements)
	size := min(batchSize, max(partSize, (n+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0)))
	var batches errgroup.Group
	batches.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < n; from += size {
		to := min(from+size, n)
		batches.Go(func() error {
			v.verifyBatch(statements[from:to], errs[from:to])
			return nil
		})
	}
	_ = batches.Wait() // errs has the errors
	return errs
}

// decoded is a statement whose parts are in range.
type decoded struct {
	at     int // its place in the batch
	values []fr.Element
	proof  *points
}

func (v *Verifier) verifyBatch(statements []Statement, errs []error) {
	var batch []decoded
	for i, s := range statements {
		d, err := decode(s)
		if err != nil {
			errs[i] = err
			continue
		}
		d.at = i
		batch = append(batch, d)
	}
	if len(batch) > groupSize && v.checkAll(batch) == nil {
		return
	}
	for group := range slices.Chunk(batch, groupSize) {
		if len(group) > 1 && v.checkAll(group) == nil {
			continue
		}
		for _, d := range group {
			errs[d.at] = v.checkDecoded(d)
		}
	}
}

func decode(s Statement) (decoded, error) {
	values, err := s.Public.Vector()
	if err != nil {
		return decoded{}, fmt.Errorf("deriving the public inputs: %w", err)
	}
	p, err := decodeProof(s.Proof)
	if err != nil {
		return decoded{}, err
	}
	return decoded{values: values, proof: p}, nil
}

func (v *Verifier) checkDecoded(d decoded) error {
	sum, err := v.sum(d.values)
	if err != nil {
		return err
	}
	return v.check(d.proof, sum)
}

func (v *Verifier) checkAll(batch []decoded) error {
	coefficients, err := draw(len(batch))
	if err != nil {
		return err
	}
	return v.checkCombined(batch, coefficients)
}

// checkCombined is the equation of VerifyAll: one Miller loop for each proof and three shared ones, one final exponentiation.
func (v *Verifier) checkCombined(batch []decoded, coefficients []fr.Element) error {
	n := len(batch)
	sum, total, err := v.combinedSum(batch, coefficients)
	if err != nil {
		return err
	}
	g1, g2 := make([]bls.G1Jac, n, n+3), make([]bls.G2Affine, n, n+3)
	cs := make([]bls.G1Affine, n)
	var by big.Int
	for i, d := range batch {
		g1[i].FromAffine(&d.proof.a)
		g1[i].ScalarMultiplication(&g1[i], coefficients[i].BigInt(&by))
		g2[i], cs[i] = d.proof.b, d.proof.c
	}
	var c, alpha bls.G1Jac
	if _, err := c.MultiExp(cs, coefficients, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
		return fmt.Errorf("combining the proofs: %w", err)
	}
	alpha.FromAffine(&v.key.alpha)
	alpha.ScalarMultiplication(&alpha, total.BigInt(&by))
	alpha.Neg(&alpha)
	g1, g2 = append(g1, sum, c, alpha), append(g2, v.gammaNeg, v.deltaNeg, v.key.beta)
	one, err := bls.PairingCheck(bls.BatchJacobianToAffineG1(g1), g2)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if !one {
		return ErrProof
	}
	return nil
}

// combinedSum returns the sum of the S_i times their coefficients, and the sum of the coefficients. Each public input is combined
// over all proofs first; proofs of one program share its cached part.
func (v *Verifier) combinedSum(batch []decoded, coefficients []fr.Element) (sum bls.G1Jac, total fr.Element, err error) {
	from, _ := circuits.ProgramRange()
	head := make([]fr.Element, from)
	bases, factors := []bls.G1Affine{v.key.k[0]}, []fr.Element{{}}
	place := map[bls.G1Affine]int{} // of a program's sum in bases
	var last []fr.Element
	var at int
	var product fr.Element
	for i, d := range batch {
		c := &coefficients[i]
		total.Add(&total, c)
		for j := range head {
			head[j].Add(&head[j], product.Mul(c, &d.values[j]))
		}
		if program := d.values[from:]; last == nil || !slices.Equal(program, last) {
			part, err := v.program(d.values)
			if err != nil {
				return sum, total, err
			}
			known := false
			if at, known = place[part]; !known {
				at = len(bases)
				place[part], bases, factors = at, append(bases, part), append(factors, fr.Element{})
			}
			last = program
		}
		factors[at].Add(&factors[at], c)
	}
	factors[0] = total
	if _, err := sum.MultiExp(bases, factors, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
		return sum, total, fmt.Errorf("combining the public inputs: %w", err)
	}
	for j := range head {
		v.head[j].add(&sum, &head[j])
	}
	return sum, total, nil
}

// lambda is x^2-1 for the curve's seed x, -0xd201000000010000: the factor by which its endomorphism (X, Y) -> (wX, Y) multiplies.
var lambda = func() fr.Element {
	var x, one fr.Element
	x.SetUint64(0xd201000000010000)
	x.Square(&x)
	return *x.Sub(&x, one.SetOne())
}()

// draw returns n coefficients.
func draw(n int) ([]fr.Element, error) {
	random := make([]byte, 16*n)
	if _, err := rand.Read(random); err != nil {
		return nil, fmt.Errorf("drawing coefficients: %w", err)
	}
	out := make([]fr.Element, n)
	for i := range out {
		out[i] = coefficient([16]byte(random[16*i:]))
	}
	return out, nil
}

// coefficient maps 128 bits one to one to scalars: halves a, b to a + b lambda. lambda is above 2^64 and the sum below 2^192, so that no
// two are equal, modulo r either. The library multiplies by such scalars in half the time of 128-bit ones, since it splits them into a
// and b again (endomorphism scalars: Bowe, Grigg, Hopwood, https://eprint.iacr.org/2019/1021, section 6.2).
func coefficient(random [16]byte) fr.Element {
	var a, b fr.Element
	a.SetUint64(binary.LittleEndian.Uint64(random[:8]))
	b.SetUint64(binary.LittleEndian.Uint64(random[8:]))
	b.Mul(&b, &lambda)
	return *a.Add(&a, &b)
}
