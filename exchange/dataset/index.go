package dataset

import (
	"encoding/binary"
	"fmt"
	"os"
	"sort"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
)

// The index is a file of sealed blocks of entries, sorted by place and then key: key 16, commitment 32, offset of the sealed
// record 8, its length 4 bytes, big endian.
const (
	indexName       = "index"
	entrySize       = 16 + fr.Bytes + 8 + 4
	entriesPerBlock = 64
)

// An entry is a subject in an epoch: the slot in the tree and where the sealed record is.
type indexEntry struct {
	key        circuits.Key
	commitment [fr.Bytes]byte
	offset     int64
	length     uint32
}

func appendEntry(b []byte, e *indexEntry) []byte {
	b = append(b, e.key[:]...)
	b = append(b, e.commitment[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.offset))
	return binary.BigEndian.AppendUint32(b, e.length)
}

func parseEntry(b []byte) (e indexEntry) {
	copy(e.key[:], b)
	copy(e.commitment[:], b[16:])
	e.offset = int64(binary.BigEndian.Uint64(b[16+fr.Bytes:]))
	e.length = binary.BigEndian.Uint32(b[16+fr.Bytes+8:])
	return e
}

// An index finds entries by place. In memory it holds one number for each block.
type index struct {
	blockReader
	rows   int
	places []uint64 // of the first entry of each block
}

// openIndex reads the whole index once: for the blocks' first places, and to see that it is in order and that its records
// lie within a file of the given length.
func openIndex(c blockContext, f *os.File, rows int, records int64) (*index, error) {
	x := &index{blockReader: blockReader{blockContext: c, f: f, total: int64(rows) * entrySize}, rows: rows}
	var last indexEntry
	for n := range x.blocks() {
		entries, err := x.entries(n)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			e := &entries[i]
			if (n > 0 || i > 0) && compareKeys(last.key, e.key) >= 0 {
				return nil, fmt.Errorf("%w: the index is out of order", ErrCorrupt)
			}
			if e.offset < 0 || e.offset > records || int64(e.length) > records-e.offset {
				return nil, fmt.Errorf("%w: the index leads outside the records", ErrCorrupt)
			}
			last = *e
		}
		x.places = append(x.places, entries[0].key.Place())
	}
	return x, nil
}

// entries returns the entries of a block; there is at least one.
func (x *index) entries(block int) ([]indexEntry, error) {
	b, err := x.block(block)
	if err != nil {
		return nil, err
	}
	list := make([]indexEntry, len(b)/entrySize)
	for i := range list {
		list[i] = parseEntry(b[i*entrySize:])
	}
	return list, nil
}

// between returns the entries with places from..to-1.
func (x *index) between(from, to uint64) ([]indexEntry, error) {
	var found []indexEntry
	// The last block that begins before from may hold it, too.
	first := max(0, sort.Search(len(x.places), func(i int) bool { return x.places[i] >= from })-1)
	for n := first; n < len(x.places) && x.places[n] < to; n++ {
		entries, err := x.entries(n)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			if p := entries[i].key.Place(); p >= from && p < to {
				found = append(found, entries[i])
			}
		}
	}
	return found, nil
}

// all returns every entry in order.
func (x *index) all() ([]indexEntry, error) {
	list := make([]indexEntry, 0, x.rows)
	for n := range x.blocks() {
		entries, err := x.entries(n)
		if err != nil {
			return nil, err
		}
		list = append(list, entries...)
	}
	return list, nil
}
