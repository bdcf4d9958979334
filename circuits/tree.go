package circuits

import "github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

// Slot is one entry of a bucket: a subject's key and the commitment to the record about that subject. An empty slot has the
// key 2^128 and the commitment 0. A filler has a key above 2^128, so that it is nobody's.
type Slot struct {
	Key, Commitment fr.Element
}

// Bucket holds the entries of one place, in any order.
type Bucket [Slots]Slot

// EmptyBucket returns a bucket of empty slots.
func EmptyBucket() Bucket {
	var b Bucket
	for i := range b {
		b[i].Key = emptyKey
	}
	return b
}

// emptyKey is 2^128, which no subject has.
var emptyKey = func() fr.Element {
	var e fr.Element
	e.SetBytes(append([]byte{1}, make([]byte, keyBits/8)...))
	return e
}()

// Hash chains three hashes over the bucket's keys and commitments, slot by slot.
func (b *Bucket) Hash() fr.Element {
	h := Hash(UseBucket1, b[0].Key, b[0].Commitment, b[1].Key)
	h = Hash(UseBucket2, h, b[1].Commitment, b[2].Key)
	return Hash(UseBucket3, h, b[2].Commitment, fr.Element{})
}

// NodeHash returns the hash of a node from its three children, least digit first.
func NodeHash(a, b, c fr.Element) fr.Element { return Hash(UseNode, a, b, c) }

var emptyNodes = func() (e [Levels + 1]fr.Element) {
	b := EmptyBucket()
	e[0] = b.Hash()
	for i := 1; i < len(e); i++ {
		e[i] = NodeHash(e[i-1], e[i-1], e[i-1])
	}
	return e
}()

// EmptyNode returns the hash of an empty subtree: level 0 is an empty bucket, Levels the root of an empty tree. It panics for
// another level.
func EmptyNode(level int) fr.Element { return emptyNodes[level] }

// Opening shows the bucket of one place under a root.
type Opening struct {
	Bucket Bucket
	// Siblings[i] are the two other children of the node at level i+1 on the path, in their order; Siblings[0] stand beside
	// the bucket. Digit i of the place, base 3 and least significant first, says which child the path goes through.
	Siblings [Levels][2]fr.Element
}

// Root returns the root under which the opening shows its bucket at the given place.
func (o *Opening) Root(place uint64) fr.Element {
	current := o.Bucket.Hash()
	for i, digit := range digits(place) {
		s := &o.Siblings[i]
		switch digit {
		case 0:
			current = NodeHash(current, s[0], s[1])
		case 1:
			current = NodeHash(s[0], current, s[1])
		default:
			current = NodeHash(s[0], s[1], current)
		}
	}
	return current
}
