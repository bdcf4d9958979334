package index

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
)

// The keys of the database, by their first byte. Groups come before the heads and rows that refer to them.
//
//	'g' id (4)                               value: names of the group, separated by tabs
//	'h' origin                               value: head
//	'r' group id (4) time (5) index (5)      value: empty
//
// Integers are big endian, so the rows of one group stand in the order of time, then index. A row is nothing but its
// key: 15 bytes, what an entry shares with others stands once in its group.
const (
	prefixGroup = 'g'
	prefixHead  = 'h'
	prefixRow   = 'r'

	groupKeySize = 5
	rowKeySize   = 15
	maxTime      = 1<<40 - 1 // seconds; RFC 3339 ends before 2^38
	maxIndex     = 1<<40 - 1
)

// names is what a group's rows have in common.
type names struct{ origin, member, kind, dataset, policy string }

const separator = "\t" // stands in no name

func (n names) value() string {
	return strings.Join([]string{n.origin, n.member, n.kind, n.dataset, n.policy}, separator)
}

func parseNames(value string) (names, bool) {
	f := strings.Split(value, separator)
	if len(f) != 5 {
		return names{}, false
	}
	return names{f[0], f[1], f[2], f[3], f[4]}, true
}

// A group is the rows of one log with the same kind, dataset and policy.
type group struct {
	names
	id          uint32
	seed        [sha256.Size]byte // begins the digest of each row: the names
	first, last int64             // least and largest time of its rows
}

func newGroup(id uint32, n names) *group {
	return &group{names: n, id: id, seed: sha256.Sum256([]byte(n.value())), first: maxTime + 1, last: -1}
}

func (g *group) saw(t int64) { g.first, g.last = min(g.first, t), max(g.last, t) }

func groupKey(id uint32) string {
	return string(binary.BigEndian.AppendUint32([]byte{prefixGroup}, id))
}

func parseGroupKey(key string) (id uint32, ok bool) {
	if len(key) != groupKeySize {
		return 0, false
	}
	return binary.BigEndian.Uint32([]byte(key[1:])), true
}

// rowKey wants a time and an index of at most 40 bits.
func rowKey(id uint32, t int64, index uint64) string {
	b := make([]byte, 0, rowKeySize)
	b = binary.BigEndian.AppendUint32(append(b, prefixRow), id)
	b = binary.BigEndian.AppendUint64(b, uint64(t)<<24|index>>16)
	return string(binary.BigEndian.AppendUint16(b, uint16(index)))
}

func parseRowKey(key string) (id uint32, t int64, index uint64, ok bool) {
	if len(key) != rowKeySize || key[0] != prefixRow {
		return 0, 0, 0, false
	}
	var b [rowKeySize]byte
	copy(b[:], key)
	id = binary.BigEndian.Uint32(b[1:])
	mid := binary.BigEndian.Uint64(b[5:])
	return id, int64(mid >> 24), mid<<16&maxIndex | uint64(binary.BigEndian.Uint16(b[13:])), true
}

// A digest is the exclusive or of the SHA-256 of each row's seed, time and index: it tells a damaged set of rows, in
// whatever order they are read. Who can write the file can write the digest too.
type digest [sha256.Size]byte

func (d *digest) add(g *group, rowKey string) {
	var b [sha256.Size + rowKeySize - groupKeySize]byte
	copy(b[:], g.seed[:])
	copy(b[sha256.Size:], rowKey[groupKeySize:])
	h := sha256.Sum256(b[:])
	for i := range d {
		d[i] ^= h[i]
	}
}

// errFull says that the index holds as many groups or entries of a log as its keys can name.
var errFull = errors.New("index is full")
