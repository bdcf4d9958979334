package dataset

import (
	"crypto/rand"
	"encoding/binary"
	"slices"

	"github.com/grille-gateway/grille/circuits"
)

// A filler is an epoch's slot of nobody: a random key above 2^128 at a random place, with a random commitment. It makes
// every root new, whether or not a record changed, and no root that of an empty tree.
type filler struct {
	place uint64
	slot  circuits.Slot
}

// newFiller draws a filler; full says at which places there is no room.
func newFiller(full func(place uint64) bool) filler {
	var f filler
	for {
		f.place = randomBelow(circuits.Places)
		if !full(f.place) {
			break
		}
	}
	key := make([]byte, 17)
	for allZero(key[1:]) { // 2^128 itself means an empty slot
		rand.Read(key[1:])
	}
	key[0] = 1
	f.slot.Key.SetBytes(key)
	f.slot.Commitment.MustSetRandom()
	return f
}

func allZero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// randomBelow returns a uniform number below n, by rejection.
func randomBelow(n uint64) uint64 {
	limit := -n % n // 2^64 mod n
	for {
		var b [8]byte
		rand.Read(b[:])
		if u := binary.BigEndian.Uint64(b[:]); u >= limit {
			return u % n
		}
	}
}
