package view

import (
	"encoding/hex"
	"maps"
	"sort"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
)

// A fact is one entry that counts.
type fact[T any] struct {
	index uint64
	value T
}

// facts are in ascending order of index, in blocks that stay where they are: a log of years grows without ever being
// copied.
type facts[T any] struct {
	blocks [][]fact[T]
	n      int
}

const block = 256

func (f *facts[T]) add(index uint64, value T) {
	if f.n%block == 0 {
		f.blocks = append(f.blocks, nil)
	}
	last := &f.blocks[len(f.blocks)-1]
	if len(*last) == cap(*last) && len(f.blocks) > 1 {
		*last = make([]fact[T], 0, block) // not the first: most lists are short
	}
	*last = append(*last, fact[T]{index, value})
	f.n++
}

func (f *facts[T]) get(i int) *fact[T] { return &f.blocks[i/block][i%block] }

// below returns how many facts have an index below size.
func (f *facts[T]) below(size uint64) int {
	if f == nil {
		return 0
	}
	return sort.Search(f.n, func(i int) bool { return f.get(i).index >= size })
}

// newest returns the last fact below size.
func (f *facts[T]) newest(size uint64) (T, uint64, bool) {
	if n := f.below(size); n > 0 {
		last := f.get(n - 1)
		return last.value, last.index, true
	}
	var zero T
	return zero, 0, false
}

// at returns the fact with exactly that index, if it is below size.
func (f *facts[T]) at(index, size uint64) (T, bool) {
	if n := f.below(index); index < size && f != nil && n < f.n && f.get(n).index == index {
		return f.get(n).value, true
	}
	var zero T
	return zero, false
}

// all returns the facts below size in their order.
func (f *facts[T]) all(size uint64) func(yield func(index uint64, value T) bool) {
	return func(yield func(uint64, T) bool) {
		for i := range f.below(size) {
			if fact := f.get(i); !yield(fact.index, fact.value) {
				return
			}
		}
	}
}

// A batch is an entry.ReceiptsBatch in a third of its memory: batches are nine of ten entries.
type batch struct {
	beat   uint64
	root   [32]byte
	time   int64             // Unix seconds
	epochs map[string]uint64 // shared by successive batches that name the same
}

// newBatch is false for values that no entry can have.
func newBatch(e entry.ReceiptsBatch, before map[string]uint64) (batch, bool) {
	b := batch{beat: e.Beat, epochs: e.Epochs}
	if maps.Equal(e.Epochs, before) && (e.Epochs == nil) == (before == nil) {
		b.epochs = before
	}
	var ok bool
	b.root, b.time, ok = compact(e.Root, e.Time)
	return b, ok
}

func (b batch) entry() entry.ReceiptsBatch {
	root, at := expand(b.root, b.time)
	return entry.ReceiptsBatch{Beat: b.beat, Root: root, Epochs: b.epochs, Time: at}
}

// An epoch is an entry.DatasetEpoch but for the dataset's name, which its list is found by.
type epoch struct {
	declare, epoch uint64
	root           [32]byte
	time           int64
}

func newEpoch(e entry.DatasetEpoch) (epoch, bool) {
	root, at, ok := compact(e.Root, e.Time)
	return epoch{e.Declare, e.Epoch, root, at}, ok
}

func (e epoch) entry(dataset string) entry.DatasetEpoch {
	root, at := expand(e.root, e.time)
	return entry.DatasetEpoch{Dataset: dataset, Declare: e.declare, Epoch: e.epoch, Root: root, Time: at}
}

// compact reads a root and a time that package entry has checked.
func compact(root, at string) (out [32]byte, unix int64, ok bool) {
	t, err := entry.ParseTime(at)
	if err != nil || len(root) != 64 {
		return out, 0, false
	}
	_, err = hex.Decode(out[:], []byte(root))
	return out, t.Unix(), err == nil
}

func expand(root [32]byte, unix int64) (string, string) {
	return hex.EncodeToString(root[:]), entry.FormatTime(time.Unix(unix, 0))
}
