package prover

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/grille-gateway/grille/circuits"
)

// cachedPrograms is how many programs a verifier remembers the part of the public-input sum of: 200 bytes each. A program with
// dates counts once per as-of date.
const cachedPrograms = 1024

// Verifier checks proofs under one verifying key. It is safe for concurrent use.
type Verifier struct {
	key      *verifyingKey
	sha256   string
	pairing  bls.GT // e(alpha, beta)
	gammaNeg bls.G2Affine
	deltaNeg bls.G2Affine
	head     []baseTable // of the public inputs before the program's, which differ from proof to proof
	programs *sumCache
}

// NewVerifier reads a verifying key in this module's format. The error is ErrVerifyingKey. That the key is one to rely on is for the
// caller to know: compare SHA256 with a pinned value.
func NewVerifier(vk []byte) (*Verifier, error) {
	key, err := decodeVerifyingKey(vk)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(vk)
	v := &Verifier{key: key, sha256: hex.EncodeToString(sum[:]), programs: newSumCache(cachedPrograms)}
	if v.pairing, err = bls.Pair([]bls.G1Affine{key.alpha}, []bls.G2Affine{key.beta}); err != nil {
		return nil, fmt.Errorf("pairing alpha with beta: %w", err)
	}
	v.gammaNeg.Neg(&key.gamma)
	v.deltaNeg.Neg(&key.delta)
	from, _ := circuits.ProgramRange()
	for i := range from {
		v.head = append(v.head, newBaseTable(&key.k[i+1]))
	}
	return v, nil
}

// SHA256 returns the hex SHA-256 of the encoded verifying key.
func (v *Verifier) SHA256() string { return v.sha256 }

// CircuitID returns the id of the circuit that the key says it is for.
func (v *Verifier) CircuitID() string { return v.key.circuitID() }

// Kind returns how the key came about, such as KindDevelopment.
func (v *Verifier) Kind() string { return v.key.kind }

// Verify checks that the proof shows the statement with these public inputs. Before it looks at the proof it checks the program and
// the ranges of the public inputs: circuits.ErrProgram, circuits.ErrPublic. Anything wrong with the proof is ErrProof.
func (v *Verifier) Verify(pub *circuits.Public, proof []byte) error {
	d, err := decode(Statement{pub, proof})
	if err != nil {
		return err
	}
	return v.checkDecoded(d)
}

// check is the Groth16 equation e(A, B) = e(alpha, beta) e(sum, gamma) e(C, delta), https://eprint.iacr.org/2016/260 section 3.2,
// as one product of three Miller loops and one final exponentiation against the precomputed e(alpha, beta).
func (v *Verifier) check(p *points, sum bls.G1Affine) error {
	loop, err := bls.MillerLoop([]bls.G1Affine{p.a, sum, p.c}, []bls.G2Affine{p.b, v.gammaNeg, v.deltaNeg})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	if got := bls.FinalExponentiation(&loop); !got.Equal(&v.pairing) {
		return ErrProof
	}
	return nil
}

// sum returns K[0] + the sum of values[i] K[i+1], the program's part of it from the cache.
func (v *Verifier) sum(values []fr.Element) (bls.G1Affine, error) {
	program, err := v.program(values)
	if err != nil {
		return bls.G1Affine{}, err
	}
	var s bls.G1Jac
	s.FromAffine(&program)
	s.AddMixed(&v.key.k[0])
	for i := range v.head {
		v.head[i].add(&s, &values[i])
	}
	var affine bls.G1Affine
	affine.FromJacobian(&s)
	return affine, nil
}

// program returns the program's part of the sum of values[i] K[i+1].
func (v *Verifier) program(values []fr.Element) (bls.G1Affine, error) {
	from, to := circuits.ProgramRange()
	if len(values) != to || len(v.key.k) != to+1 {
		panic("prover: the public inputs do not fit the key")
	}
	return v.programs.get(values[from:to], func() (bls.G1Affine, error) {
		s, err := publicSum(v.key.k[from+1:], values[from:to])
		if err != nil {
			return bls.G1Affine{}, fmt.Errorf("summing the program's inputs: %w", err)
		}
		var affine bls.G1Affine
		affine.FromJacobian(&s)
		return affine, nil
	})
}
