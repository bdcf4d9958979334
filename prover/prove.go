package prover

import (
	"errors"
	"fmt"

	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/consensys/gnark/frontend"
	"github.com/grille-gateway/grille/circuits"
)

// ErrStatement means that the secret does not prove the public half: there is no proof to give. The message says no more, since a
// solver's message quotes secret values.
var ErrStatement = errors.New("the secret does not prove the statement")

// Prove makes a proof of the statement and verifies it before it is returned, so that a fault of memory or disk is found here and
// not by the requester. It uses every core for a fifth of a second or so; Pool bounds how many run at once. The errors are those of
// circuits.Public.Vector, and ErrStatement.
func (k *Keys) Prove(pub *circuits.Public, sec *circuits.Secret) (Proof, error) {
	assignment, err := circuits.Assign(pub, sec)
	if err != nil {
		return Proof{}, fmt.Errorf("assigning the statement: %w", err)
	}
	w, err := frontend.NewWitness(assignment, circuits.Curve.ScalarField())
	if err != nil {
		return Proof{}, ErrStatement
	}
	p, err := groth16.Prove(k.system, k.proving, w)
	if err != nil {
		return Proof{}, ErrStatement
	}
	proof := encodeProof(p)
	if err := k.verifier.Verify(pub, proof[:]); err != nil {
		return Proof{}, fmt.Errorf("checking the proof just made: %w", err)
	}
	return proof, nil
}
