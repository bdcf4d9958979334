package prover

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// digitBits is the width of the digits that a scalar is cut into for a table: 15 points for each of 64 digits, 92 kB a base. It
// turns a multiplication into at most 64 additions.
const (
	digitBits = 4
	digits    = fr.Bytes * 8 / digitBits
	multiples = 1<<digitBits - 1
)

// baseTable holds d * 2^(4i) * base at i*15 + d-1, for digit i and its values d = 1..15.
type baseTable []bls.G1Affine

func newBaseTable(base *bls.G1Affine) baseTable {
	table := make([]bls.G1Jac, 0, digits*multiples)
	var unit bls.G1Jac
	unit.FromAffine(base)
	for range digits {
		multiple := unit
		for range multiples {
			table = append(table, multiple)
			multiple.AddAssign(&unit)
		}
		unit = multiple // sixteen times
	}
	return bls.BatchJacobianToAffineG1(table)
}

// add adds value x base to the sum. Its time varies with the value, which is public.
func (t baseTable) add(sum *bls.G1Jac, value *fr.Element) {
	words := value.Bits()
	for i := range digits {
		d := words[i*digitBits/64] >> (i * digitBits % 64) & multiples
		if d != 0 {
			sum.AddMixed(&t[i*multiples+int(d)-1])
		}
	}
}
