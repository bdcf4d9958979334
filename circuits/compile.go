package circuits

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/constraint"
	r1csbls "github.com/consensys/gnark/constraint/bls12-381"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"github.com/consensys/gnark/logger"
)

// gnark writes its own log to standard output; a gateway's goes through slog.
func init() { logger.Disable() }

// ErrSystem means that a constraint system is not one of this package's curve and form.
var ErrSystem = errors.New("not a rank-1 constraint system over BLS12-381")

// Compile returns the constraints of Statement as a rank-1 constraint system over Curve. It is deterministic.
func Compile() (constraint.ConstraintSystem, error) {
	cs, err := frontend.Compile(Curve.ScalarField(), r1cs.NewBuilder, new(Statement))
	if err != nil {
		return nil, fmt.Errorf("compiling the statement: %w", err)
	}
	return cs, nil
}

// ID returns the circuit id: hex SHA-256 over a canonical walk of the constraints, independent of gnark's serialisation. The walk
// is a label, the modulus, the numbers of public, secret and internal wires and of constraints (8 bytes each, big endian), the
// names of the public inputs (length, bytes), and each constraint's three linear expressions: the number of terms, then per term
// the wire (8 bytes) and the coefficient (32 bytes, canonical big endian). The error is ErrSystem for another kind of system.
func ID(cs constraint.ConstraintSystem) (string, error) {
	system, ok := cs.(*r1csbls.R1CS)
	if !ok || system.Type != constraint.SystemR1CS {
		return "", ErrSystem
	}
	w := walker{system: system, buf: make([]byte, 0, 1<<16)}
	w.text("grille/v1/circuit")
	w.buf = append(w.buf, fr.Modulus().Bytes()...)
	w.number(system.GetNbPublicVariables())
	w.number(system.GetNbSecretVariables())
	w.number(system.GetNbInternalVariables())
	w.number(system.GetNbConstraints())
	for _, name := range system.Public {
		w.text(name)
	}
	h := sha256.New()
	for it := system.GetR1CIterator(); ; {
		c := it.Next()
		if c == nil {
			break
		}
		w.expression(c.L)
		w.expression(c.R)
		w.expression(c.O)
		h.Write(w.buf)
		w.buf = w.buf[:0]
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

type walker struct {
	system *r1csbls.R1CS
	buf    []byte
}

func (w *walker) number(n int) { w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(n)) }

func (w *walker) text(s string) {
	w.number(len(s))
	w.buf = append(w.buf, s...)
}

func (w *walker) expression(l constraint.LinearExpression) {
	w.number(len(l))
	for _, term := range l {
		w.number(term.WireID())
		c := w.system.Coefficients[term.CoeffID()].Bytes()
		w.buf = append(w.buf, c[:]...)
	}
}
