package prover

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// sumCache remembers the sums of the programs seen last, by the SHA-256 of their inputs.
type sumCache struct {
	mu     sync.Mutex // guards what follows
	limit  int
	recent *list.List // of *sumEntry, the most recent first
	byHash map[[32]byte]*list.Element
}

type sumEntry struct {
	hash [32]byte
	sum  bls.G1Affine
}

func newSumCache(limit int) *sumCache {
	return &sumCache{limit: limit, recent: list.New(), byHash: make(map[[32]byte]*list.Element)}
}

// get returns the remembered sum of the inputs, or computes and remembers it. Two callers may compute the same sum at once.
func (c *sumCache) get(values []fr.Element, compute func() (bls.G1Affine, error)) (bls.G1Affine, error) {
	hash := hashValues(values)
	if sum, ok := c.lookup(hash); ok {
		return sum, nil
	}
	sum, err := compute()
	if err != nil {
		return sum, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byHash[hash]; ok {
		return sum, nil
	}
	c.byHash[hash] = c.recent.PushFront(&sumEntry{hash, sum})
	if c.recent.Len() > c.limit {
		oldest := c.recent.Remove(c.recent.Back()).(*sumEntry)
		delete(c.byHash, oldest.hash)
	}
	return sum, nil
}

func (c *sumCache) lookup(hash [32]byte) (bls.G1Affine, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byHash[hash]
	if !ok {
		return bls.G1Affine{}, false
	}
	c.recent.MoveToFront(e)
	return e.Value.(*sumEntry).sum, true
}

// hashValues hashes the elements as they stand in memory: reduced Montgomery words, which are one to one with values.
func hashValues(values []fr.Element) [32]byte {
	buf := make([]byte, 0, len(values)*fr.Bytes)
	for i := range values {
		for _, word := range values[i] {
			buf = binary.LittleEndian.AppendUint64(buf, word)
		}
	}
	return sha256.Sum256(buf)
}
