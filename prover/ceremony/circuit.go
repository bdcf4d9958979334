package ceremony

import (
	"fmt"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/constraint"
	r1cs "github.com/consensys/gnark/constraint/bls12-381"
	"github.com/grille-gateway/grille/circuits"
)

// A Circuit is what keys are made for: the compiled constraints with the sizes that follow from them. It is never changed.
type Circuit struct {
	system      *r1cs.R1CS
	id          string
	domain      uint64 // the power of two from the number of constraints up
	constraints int
	publics     int // less the constant 1
	private     int // secret and internal wires: points in a phase 2 state
}

// Statement compiles the statement of package circuits, which takes about half a second.
func Statement() (*Circuit, error) {
	cs, err := circuits.Compile()
	if err != nil {
		return nil, err
	}
	return NewCircuit(cs)
}

// NewCircuit takes a rank-1 constraint system over BLS12-381 without commitments; the error is circuits.ErrSystem for another.
func NewCircuit(cs constraint.ConstraintSystem) (*Circuit, error) {
	id, err := circuits.ID(cs)
	if err != nil {
		return nil, fmt.Errorf("deriving the circuit id: %w", err)
	}
	system, ok := cs.(*r1cs.R1CS)
	if !ok {
		return nil, circuits.ErrSystem
	}
	if c, ok := system.CommitmentInfo.(constraint.Groth16Commitments); !ok || len(c) != 0 { // payloads have no place for them
		return nil, fmt.Errorf("%w: it has commitments", circuits.ErrSystem)
	}
	internal, secret, public := system.GetNbVariables()
	return &Circuit{system: system, id: id, domain: max(4, ecc.NextPowerOfTwo(uint64(system.GetNbConstraints()))),
		constraints: system.GetNbConstraints(), publics: public - 1, private: internal + secret}, nil
}

// ID returns the circuit id in hex.
func (c *Circuit) ID() string { return c.id }

// Domain returns the size of the circuit's domain, a power of two.
func (c *Circuit) Domain() uint64 { return c.domain }
