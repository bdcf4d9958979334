package circuits

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// Key is a subject key: 128 bits, big endian, derived from the subject's identifier. It is never published.
type Key [keyBits / 8]byte

// SubjectKey derives the key of a subject: the first 128 bits of SHA-256 over a label, the instance's name, the identifier
// scheme and the normalised identifier, each preceded by its length in 8 bytes, so that no two triples share an encoding.
func SubjectKey(instance, scheme, normalisedID string) Key {
	h := sha256.New()
	for _, part := range []string{"grille/v1/subject-key", instance, scheme, normalisedID} {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	var k Key
	copy(k[:], h.Sum(nil))
	return k
}

// Element returns the key as a field element below 2^128.
func (k Key) Element() fr.Element {
	var e fr.Element
	e.SetBytes(k[:])
	return e
}

// Place returns where in an epoch's tree the subject belongs: key mod 3^21, in 0..Places-1.
func (k Key) Place() uint64 {
	_, place := k.split()
	return place
}

// split divides the key by Places: key = quotient * Places + place, with the quotient below 2^95 as two words.
func (k Key) split() (quotient [2]uint64, place uint64) {
	hi, lo := binary.BigEndian.Uint64(k[:8]), binary.BigEndian.Uint64(k[8:])
	quotient[0] = hi / Places
	quotient[1], place = bits.Div64(hi%Places, lo, Places)
	return quotient, place
}

// digits writes a place as base-3 digits, the least significant first; digit i chooses the child at level i.
func digits(place uint64) [Levels]uint8 {
	var d [Levels]uint8
	for i := range d {
		d[i] = uint8(place % 3)
		place /= 3
	}
	return d
}
