// Package receipt keeps a gateway's word about the queries it took part in.
//
// Every answer and refusal has a receipt: a salted hash, promised with a signature before the answer leaves, and put under
// the root of one receipts.batch entry on the gateway's log. One batch is logged at every beat, busy or not, and neither its
// entry nor a path in its tree shows how many receipts there are.
package receipt

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// HashSize is the length in bytes of every hash here (SHA-256).
const HashSize = sha256.Size

// Hash is a SHA-256 digest, written as 64 lower-case hex digits.
type Hash [HashSize]byte

// ErrEncoding reports a hash, salt or path that is not in its one canonical form.
var ErrEncoding = errors.New("malformed receipt encoding")

// String returns the lower-case hex form.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText writes the lower-case hex form.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText accepts exactly 64 lower-case hex digits, else ErrEncoding.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*HashSize {
		return fmt.Errorf("reading a hash of %d characters: %w", len(text), ErrEncoding)
	}
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("reading a hash: not lower-case hex: %w", ErrEncoding)
		}
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Outcomes that are not verdicts.
const (
	OutcomeAsked   = "asked"   // the requester's own receipt, written before the query is sent
	OutcomeRefused = "refused" // a signed refusal; the code is in the answer digest
)

// NewSalt returns 32 bytes from crypto/rand.
func NewSalt() (Hash, error) {
	var h Hash
	if _, err := rand.Read(h[:]); err != nil {
		return h, fmt.Errorf("drawing a receipt salt: %w", err)
	}
	return h, nil
}

// Digest is the receipt H(salt, query digest, outcome, answer digest) of DESIGN section 8. Without the salt it tells
// nothing; with it, whoever holds the answer can recompute it.
func Digest(salt, query Hash, outcome string, answer Hash) Hash {
	return Sum("grille/v1/receipt", salt[:], query[:], []byte(outcome), answer[:])
}

// Sum is SHA-256 over a label and parts, each preceded by its length as 8 bytes big endian, so that no two lists of parts
// have one encoding.
func Sum(label string, parts ...[]byte) Hash {
	d := sha256.New()
	var n [8]byte
	write := func(p []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		d.Write(n[:])
		d.Write(p)
	}
	write([]byte(label))
	for _, p := range parts {
		write(p)
	}
	var h Hash
	d.Sum(h[:0])
	return h
}
