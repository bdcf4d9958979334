package receipt

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Depth is the height of a beat's tree: 2^32 places, drawn at random, so that a place says nothing about the count.
const Depth = 32

// ErrPath reports a path that does not lead from the receipt to the batch's root.
var ErrPath = errors.New("receipt is not under the batch root")

// A Leaf is one receipt at its place.
type Leaf struct {
	Place   uint32
	Receipt Hash
}

// A Tree is one beat's sparse tree. Empty subtrees have pseudorandom hashes under a seed of that beat, so that an auditor
// who sees a path cannot tell an empty sibling from a busy one.
//
//	leaf  = SHA-256(0x00 || receipt)
//	node  = SHA-256(0x01 || left || right)
//	empty = HMAC-SHA-256(seed, level || index), level 0 at the leaves
type Tree struct {
	seed   Hash
	leaves []Leaf        // sorted by place, places distinct
	forks  map[spot]Hash // both children of every node that has leaves on both sides: the only busy siblings
	root   Hash
}

// spot is a node's place in the tree.
type spot struct {
	level int
	index uint64
}

// NewTree builds the tree of a beat. Two leaves at one place are refused: the caller draws another place.
func NewTree(seed Hash, leaves []Leaf) (*Tree, error) {
	sorted := slices.Clone(leaves)
	slices.SortFunc(sorted, func(a, b Leaf) int { return cmp.Compare(a.Place, b.Place) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Place == sorted[i-1].Place {
			return nil, fmt.Errorf("building a receipt tree: two receipts at one place")
		}
	}
	t := &Tree{seed: seed, leaves: sorted, forks: make(map[spot]Hash, 2*len(sorted))}
	t.root = t.node(sorted, Depth, 0)
	return t, nil
}

// Root is the hash that the receipts.batch entry carries.
func (t *Tree) Root() Hash { return t.root }

// Path returns the Depth sibling hashes from the leaf at place up to the root. It costs Depth hashes, however busy the beat was.
func (t *Tree) Path(place uint32) ([]Hash, error) {
	if _, ok := slices.BinarySearchFunc(t.leaves, place, func(l Leaf, p uint32) int { return cmp.Compare(l.Place, p) }); !ok {
		return nil, fmt.Errorf("opening a receipt path: no receipt at that place")
	}
	path := make([]Hash, Depth)
	for level := range path {
		sibling := spot{level, uint64(place)>>level ^ 1}
		busy, ok := t.forks[sibling]
		if !ok {
			busy = t.empty(sibling.level, sibling.index)
		}
		path[level] = busy
	}
	return path, nil
}

// node hashes the subtree of the given level (Depth is the root) and index, which holds exactly these leaves.
func (t *Tree) node(leaves []Leaf, level int, index uint64) Hash {
	if len(leaves) == 0 {
		return t.empty(level, index)
	}
	if level == 0 {
		return leafHash(leaves[0].Receipt)
	}
	left, right := split(leaves, level, index)
	a, b := t.node(left, level-1, 2*index), t.node(right, level-1, 2*index+1)
	if len(left) > 0 && len(right) > 0 {
		t.forks[spot{level - 1, 2 * index}], t.forks[spot{level - 1, 2*index + 1}] = a, b
	}
	return nodeHash(a, b)
}

func split(leaves []Leaf, level int, index uint64) (left, right []Leaf) {
	middle := (2*index + 1) << (level - 1)
	at, _ := slices.BinarySearchFunc(leaves, middle, func(l Leaf, m uint64) int {
		if uint64(l.Place) < m {
			return -1
		}
		return 1
	})
	return leaves[:at], leaves[at:]
}

func (t *Tree) empty(level int, index uint64) Hash {
	m := hmac.New(sha256.New, t.seed[:])
	var b [9]byte
	b[0] = byte(level)
	binary.BigEndian.PutUint64(b[1:], index)
	m.Write(b[:])
	var h Hash
	m.Sum(h[:0])
	return h
}

func leafHash(receipt Hash) Hash {
	return sha256.Sum256(append([]byte{0}, receipt[:]...))
}

func nodeHash(left, right Hash) Hash {
	var b [1 + 2*HashSize]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[1+HashSize:], right[:])
	return sha256.Sum256(b[:])
}

// VerifyPath checks that receipt stands at place under root. The path has exactly Depth hashes. It returns ErrPath when the
// path leads elsewhere.
func VerifyPath(root, receipt Hash, place uint32, path []Hash) error {
	if len(path) != Depth {
		return fmt.Errorf("checking a receipt path of %d hashes, want %d: %w", len(path), Depth, ErrPath)
	}
	h := leafHash(receipt)
	for level, sibling := range path {
		if place>>level&1 == 0 {
			h = nodeHash(h, sibling)
		} else {
			h = nodeHash(sibling, h)
		}
	}
	if h != root {
		return fmt.Errorf("checking a receipt path: %w", ErrPath)
	}
	return nil
}
