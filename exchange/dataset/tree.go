package dataset

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
)

// The tree's upper levels are stored, one node for each place in a level; below them an epoch of n records has about one
// record in a subtree, which is hashed again for each opening. With depth levels below the root stored, a node of the lowest
// stored level is a *cell*: it covers 3^(21-depth) places.
const maxDepth = 15 // 14 million cells, for MaxRows

// ErrBucketFull means that four subjects fall on one place of the tree, which holds three. Keys are fixed by identifiers, so
// the import can only be refused; at five million subjects this happens once in fifty thousand datasets.
var ErrBucketFull = fmt.Errorf("a fourth subject falls on one place of the tree, which holds %d; the import is refused", circuits.Slots)

var powers = func() (p [circuits.Levels + 1]uint64) {
	p[0] = 1
	for i := range circuits.Levels {
		p[i+1] = 3 * p[i]
	}
	return p
}()

// depthFor returns how many levels below the root to store for n records: at least one, and a cell for each record.
func depthFor(n int) int {
	depth := 1
	for depth < maxDepth && powers[depth] < uint64(n) {
		depth++
	}
	return depth
}

// A leaf is a slot at its place.
type leaf struct {
	place uint64
	slot  circuits.Slot
}

// appendLeaves appends the leaves of entries, which are sorted, with the filler if it falls into places from..to-1.
func appendLeaves(dst []leaf, entries []indexEntry, f *filler, from, to uint64) ([]leaf, error) {
	for i := range entries {
		l := leaf{place: entries[i].key.Place(), slot: circuits.Slot{Key: entries[i].key.Element()}}
		if err := l.slot.Commitment.SetBytesCanonical(entries[i].commitment[:]); err != nil {
			return nil, fmt.Errorf("%w: a commitment outside the field", ErrCorrupt)
		}
		dst = append(dst, l)
	}
	if f.place >= from && f.place < to {
		i := sort.Search(len(dst), func(i int) bool { return dst[i].place > f.place }) // after the subjects of its place
		dst = slices.Insert(dst, i, leaf{f.place, f.slot})
	}
	return dst, nil
}

// bucketOf returns the bucket of leaves that all have one place. More than three have been refused before.
func bucketOf(leaves []leaf) circuits.Bucket {
	b := circuits.EmptyBucket()
	for i := range leaves {
		b[i] = leaves[i].slot
	}
	return b
}

// split returns where the leaves of the three children begin, of a node at a level with places from start on.
func split(leaves []leaf, level int, start uint64) [4]int {
	third := powers[level-1]
	at := func(place uint64) int {
		return sort.Search(len(leaves), func(i int) bool { return leaves[i].place >= place })
	}
	return [4]int{0, at(start + third), at(start + 2*third), len(leaves)}
}

// subtree hashes the node at a level above the buckets whose places begin at start; leaves are its own, sorted.
func subtree(leaves []leaf, level int, start uint64) fr.Element {
	if len(leaves) == 0 {
		return circuits.EmptyNode(level)
	}
	if level == 0 {
		b := bucketOf(leaves)
		return b.Hash()
	}
	s := split(leaves, level, start)
	var child [3]fr.Element
	for i := range child {
		child[i] = subtree(leaves[s[i]:s[i+1]], level-1, start+uint64(i)*powers[level-1])
	}
	return circuits.NodeHash(child[0], child[1], child[2])
}

// openBelow fills in the bucket and the siblings of an opening from a place up to a level, from the leaves of the node there.
func openBelow(o *circuits.Opening, leaves []leaf, level int, start, place uint64) {
	for ; level > 0; level-- {
		s := split(leaves, level, start)
		third := powers[level-1]
		digit, k := int((place-start)/third), 0
		for i := range 3 {
			if i == digit {
				continue
			}
			o.Siblings[level-1][k] = subtree(leaves[s[i]:s[i+1]], level-1, start+uint64(i)*third)
			k++
		}
		leaves, start = leaves[s[digit]:s[digit+1]], start+uint64(digit)*third
	}
	o.Bucket = bucketOf(leaves)
}

// levels are the stored nodes of a tree; levels[0] is the root alone.
type levels [][]fr.Element

// emptyLevels returns the levels of an empty tree.
func emptyLevels(depth int) levels {
	l := make(levels, depth+1)
	for j := range l {
		l[j] = make([]fr.Element, powers[j])
		for i := range l[j] {
			l[j][i] = circuits.EmptyNode(circuits.Levels - j)
		}
	}
	return l
}

func (l levels) depth() int       { return len(l) - 1 }
func (l levels) root() fr.Element { return l[0][0] }

// A snapshot is what a tree is made from.
type snapshot struct {
	entries []indexEntry // sorted by place, then key
	filler  filler
}

// checkBuckets returns ErrBucketFull if a place has more than three subjects.
func (s *snapshot) checkBuckets() error {
	for i := circuits.Slots; i < len(s.entries); i++ {
		if s.entries[i].key.Place() == s.entries[i-circuits.Slots].key.Place() {
			return ErrBucketFull
		}
	}
	return nil
}

// fullAt reports whether a place has three subjects.
func (s *snapshot) fullAt(place uint64) bool {
	i := sort.Search(len(s.entries), func(i int) bool { return s.entries[i].key.Place() >= place })
	last := i + circuits.Slots - 1
	return last < len(s.entries) && s.entries[last].key.Place() == place
}

// A cellRange is a cell and its part of a snapshot's entries.
type cellRange struct {
	cell     uint64
	from, to int
}

// changedCells returns the cells that differ from an earlier snapshot, which may be nil, in ascending order.
func (s *snapshot) changedCells(old *snapshot, depth int) []cellRange {
	size := powers[circuits.Levels-depth]
	if old == nil {
		old = &snapshot{filler: s.filler}
	}
	mine, theirs := s.filler.place/size, old.filler.place/size
	cellAt := func(list []indexEntry, i int) uint64 {
		if i < len(list) {
			return list[i].key.Place() / size
		}
		return ^uint64(0)
	}
	var changed []cellRange
	i, k := 0, 0
	fillers := []uint64{min(mine, theirs), max(mine, theirs)}
	for {
		cell := min(cellAt(s.entries, i), cellAt(old.entries, k))
		if len(fillers) > 0 {
			cell = min(cell, fillers[0])
		}
		if cell == ^uint64(0) {
			return changed
		}
		from, before := i, k
		for cellAt(s.entries, i) == cell {
			i++
		}
		for cellAt(old.entries, k) == cell {
			k++
		}
		same := slices.EqualFunc(s.entries[from:i], old.entries[before:k], func(a, b indexEntry) bool {
			return a.key == b.key && a.commitment == b.commitment
		})
		if !same || cell == mine || cell == theirs {
			changed = append(changed, cellRange{cell, from, i})
		}
		for len(fillers) > 0 && fillers[0] == cell {
			fillers = fillers[1:]
		}
	}
}

// update hashes the changed cells of a snapshot and the paths above them into l, on several cores. done is called with the
// number of records in the cells that were hashed.
func (s *snapshot) update(ctx context.Context, l levels, changed []cellRange, workers int, done func(records int)) error {
	depth := l.depth()
	height := circuits.Levels - depth
	err := parallel(ctx, len(changed), workers, func(from, to int) error {
		var leaves []leaf
		var err error
		records := 0
		for _, c := range changed[from:to] {
			start := c.cell * powers[height]
			leaves, err = appendLeaves(leaves[:0], s.entries[c.from:c.to], &s.filler, start, start+powers[height])
			if err != nil {
				return err
			}
			l[depth][c.cell] = subtree(leaves, height, start)
			records += c.to - c.from
		}
		done(records)
		return nil
	})
	if err != nil {
		return err
	}
	return l.hashAbove(ctx, changed, workers)
}

// hashAbove hashes the nodes above the changed cells, level by level.
func (l levels) hashAbove(ctx context.Context, changed []cellRange, workers int) error {
	nodes := make([]uint64, len(changed))
	for i, c := range changed {
		nodes[i] = c.cell
	}
	for level := l.depth() - 1; level >= 0; level-- {
		for i := range nodes {
			nodes[i] /= 3
		}
		nodes = slices.Compact(nodes)
		err := parallel(ctx, len(nodes), workers, func(from, to int) error {
			for _, n := range nodes[from:to] {
				below := l[level+1][3*n:]
				l[level][n] = circuits.NodeHash(below[0], below[1], below[2])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// parallel calls work with ranges that make up 0..n-1, from several goroutines, and returns the first error.
func parallel(ctx context.Context, n, workers int, work func(from, to int) error) error {
	const step = 256
	var (
		mu    sync.Mutex
		next  int
		first error
		wg    sync.WaitGroup
	)
	take := func() (from, to int, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = ctx.Err()
		}
		if first != nil || next >= n {
			return 0, 0, false
		}
		from, to = next, min(next+step, n)
		next = to
		return from, to, true
	}
	for range max(1, min(workers, (n+step-1)/step)) {
		wg.Go(func() {
			for from, to, ok := take(); ok; from, to, ok = take() {
				if err := work(from, to); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}
