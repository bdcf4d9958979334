package circuits

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ErrInt means that a number has no encoding as a column, because its code is the one of a missing value.
var ErrInt = errors.New("the smallest 64-bit integer cannot be stored in a column")

// offset is what a signed number is raised by to become its offset-binary code.
const offset = uint64(1) << 63

// Record is what a dataset holds about one subject.
type Record struct {
	// Numeric are signed 64-bit numbers in offset-binary, value + 2^63, so 1..2^64-1; 0 is a missing value.
	Numeric [NumericColumns]uint64
	// Text are hashes of text values (TextElement); 0 is a missing value.
	Text [TextColumns]fr.Element
}

// EncodeInt returns the offset-binary code of a number, in 1..2^64-1. It refuses math.MinInt64 with ErrInt.
func EncodeInt(v int64) (uint64, error) {
	if v == math.MinInt64 {
		return 0, ErrInt
	}
	return uint64(v) ^ offset, nil
}

// DecodeInt returns the number with code u; a missing value is (0, false).
func DecodeInt(u uint64) (v int64, present bool) {
	if u == 0 {
		return 0, false
	}
	return int64(u ^ offset), true
}

// TextElement hashes a text value, given in Unicode normalisation form C, to the field: the first 248 bits of SHA-256 over a
// label and the UTF-8 bytes. The result is never 0, not even for the empty text.
func TextElement(nfc string) fr.Element {
	h := sha256.New()
	h.Write([]byte("grille/v1/text\x00"))
	h.Write([]byte(nfc))
	var e fr.Element
	e.SetBytes(h.Sum(nil)[:31])
	if e.IsZero() { // 2^-248; but a present value must never read as a missing one
		e.SetOne()
	}
	return e
}

// Commitment returns the hiding commitment to the record under a salt that is uniform in the field. It chains four hashes over
// (salt, four packs of three numeric columns, four texts); numeric column 3i+j is in bits 64j..64j+63 of pack i.
func (r *Record) Commitment(salt fr.Element) fr.Element {
	var packs [NumericColumns / 3]fr.Element
	for i := range packs {
		var b [24]byte
		binary.BigEndian.PutUint64(b[0:], r.Numeric[3*i+2])
		binary.BigEndian.PutUint64(b[8:], r.Numeric[3*i+1])
		binary.BigEndian.PutUint64(b[16:], r.Numeric[3*i])
		packs[i].SetBytes(b[:])
	}
	h := Hash(UseRecord1, salt, packs[0], packs[1])
	h = Hash(UseRecord2, h, packs[2], packs[3])
	h = Hash(UseRecord3, h, r.Text[0], r.Text[1])
	return Hash(UseRecord4, h, r.Text[2], r.Text[3])
}

// Column returns column i, 0..15, as the field element that a disclosure shows: an offset-binary code or a text's hash, 0 when
// missing. It panics for another i.
func (r *Record) Column(i int) fr.Element {
	if i < NumericColumns {
		return fr.NewElement(r.Numeric[i])
	}
	return r.Text[i-NumericColumns]
}
