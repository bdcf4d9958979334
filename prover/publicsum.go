package prover

import (
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// windowBits is the width of the digits that short scalars are cut into; it costs 2*(2^w-1) additions a window to collect buckets.
const windowBits = 5

// short is a point and a scalar of at most 64 bits to multiply it by.
type short struct {
	point  bls.G1Affine
	scalar uint64
}

// publicSum returns the sum of value x base. Most public inputs are small numbers, many of them negative, which modulo r are as
// long as any: those are multiplied by their magnitude and the negated base. What is longer than 64 bits either way goes to the
// library's multi-exponentiation. bases and values have one length. Nothing here is secret, so time may vary with the values.
func publicSum(bases []bls.G1Affine, values []fr.Element) (bls.G1Jac, error) {
	var shorts []short
	var longBases []bls.G1Affine
	var longValues []fr.Element
	var sum bls.G1Jac
	for i := range values {
		switch n, negative, ok := magnitude(&values[i]); {
		case !ok:
			longBases, longValues = append(longBases, bases[i]), append(longValues, values[i])
		case n != 0:
			s := short{point: bases[i], scalar: n}
			if negative {
				s.point.Neg(&s.point)
			}
			if n == 1 {
				sum.AddMixed(&s.point)
			} else {
				shorts = append(shorts, s)
			}
		}
	}
	part := shortSum(shorts)
	sum.AddAssign(&part)
	if len(longBases) > 0 {
		var long bls.G1Jac
		if _, err := long.MultiExp(longBases, longValues, ecc.MultiExpConfig{NbTasks: 1}); err != nil {
			return bls.G1Jac{}, err
		}
		sum.AddAssign(&long)
	}
	return sum, nil
}

// magnitude returns |v| and its sign if v or -v is below 2^64.
func magnitude(v *fr.Element) (n uint64, negative, ok bool) {
	if v.IsUint64() {
		return v.Uint64(), false, true
	}
	var minus fr.Element
	if minus.Neg(v); minus.IsUint64() {
		return minus.Uint64(), true, true
	}
	return 0, false, false
}

// shortSum is the bucket method (Bernstein, Doumen, Lange, Oosterwijk, https://eprint.iacr.org/2012/549, section 4) with digits of
// windowBits, over as many windows as the longest scalar needs.
func shortSum(terms []short) bls.G1Jac {
	length := 0
	for i := range terms {
		length = max(length, bits.Len64(terms[i].scalar))
	}
	var sum bls.G1Jac
	for w := (length+windowBits-1)/windowBits - 1; w >= 0; w-- {
		for range windowBits {
			sum.DoubleAssign()
		}
		var buckets [1 << windowBits]bls.G1Jac
		highest := 0
		for i := range terms {
			digit := int(terms[i].scalar >> (w * windowBits) & (1<<windowBits - 1))
			if digit != 0 {
				buckets[digit].AddMixed(&terms[i].point)
				highest = max(highest, digit)
			}
		}
		var running bls.G1Jac // the sum of the buckets from the highest down to this one
		for d := highest; d > 0; d-- {
			running.AddAssign(&buckets[d])
			sum.AddAssign(&running)
		}
	}
	return sum
}
