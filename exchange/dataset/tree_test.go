package dataset

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"testing"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// keyAt returns the key quotient * 3^21 + place.
func keyAt(quotient, place uint64) (k circuits.Key) {
	hi, lo := bits.Mul64(quotient, circuits.Places)
	lo, carry := bits.Add64(lo, place, 0)
	binary.BigEndian.PutUint64(k[:8], hi+carry)
	binary.BigEndian.PutUint64(k[8:], lo)
	return k
}

// buildKeys makes an epoch of one record for each key.
func buildKeys(t testing.TB, previous *Epoch, keys []circuits.Key) (*Epoch, error) {
	t.Helper()
	sch, _ := careSchema(t)
	v := testVault(t)
	if previous != nil {
		v = previous.sealer.vault
	}
	subs := new(subjects)
	for i, k := range keys {
		row := make(schema.Row, len(sch.Columns))
		row[0] = schema.Value{Present: true, Number: int64(binary.BigEndian.Uint16(k[14:]))}
		from := len(subs.arena)
		subs.arena = appendRow(subs.arena, row)
		subs.list = append(subs.list, subject{key: k, from: from, to: len(subs.arena), line: i + 2})
	}
	b := &builder{vault: v, schema: sch, number: 1, previous: previous, step: func(string, string) {}}
	parent := t.TempDir()
	if _, err := b.makeFolder(context.Background(), parent, subs, new(Report)); err != nil {
		if left, _ := os.ReadDir(parent); len(left) != 0 {
			t.Fatalf("%d leftovers after %v", len(left), err)
		}
		return nil, err
	}
	e, err := openEpoch(v, filepath.Join(parent, epochFolder(1)), "care", 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e, nil
}

// Crowded buckets, neighbours in one triple, and the ends of the tree.
func TestCrowdedPlaces(t *testing.T) {
	const last = circuits.Places - 1
	keys := []circuits.Key{
		keyAt(0, 0), keyAt(1, 0), keyAt(1<<62, 0), // three in the first bucket
		keyAt(3, 1), keyAt(3, 2), keyAt(4, 2), // its neighbours
		keyAt(9, last), keyAt(1<<63, last), // two in the last
		keyAt(9, last-1), keyAt(7, circuits.Places/2), keyAt(7, circuits.Places/3), keyAt(8, circuits.Places/3-1),
	}
	e, err := buildKeys(t, nil, keys)
	if err != nil {
		t.Fatal(err)
	}
	checkReference(t, e)
	for i, k := range keys {
		if f := lookup(t, e, k); f.Record == nil {
			t.Errorf("key %d is absent", i)
		}
	}
	for _, place := range []uint64{0, 1, 2, 3, last, last - 1, last - 2, circuits.Places / 2, e.filler.place} {
		if f := lookup(t, e, keyAt(12345, place)); f.Record != nil {
			t.Errorf("a record for a stranger at place %d", place)
		}
	}
	for slot, k := range keys[:3] {
		if f := lookup(t, e, k); f.Opening.Bucket[slot].Key != k.Element() {
			t.Errorf("slot %d of the full bucket holds another key", slot)
		}
	}

	fewer, err := buildKeys(t, e, append(keys[1:7:7], keyAt(2, 0)))
	if err != nil {
		t.Fatal(err)
	}
	checkReference(t, fewer)
	if lookup(t, fewer, keys[0]).Record != nil || lookup(t, fewer, keyAt(2, 0)).Record == nil {
		t.Error("a slot was not handed on")
	}
	if a, b := lookup(t, e, keys[1]), lookup(t, fewer, keys[1]); a.Salt != b.Salt {
		t.Error("a record that moved within its bucket lost its salt")
	}

	for _, full := range [][]circuits.Key{
		append(keys[:len(keys):len(keys)], keyAt(2, 0)),
		append(keys[:len(keys):len(keys)], keyAt(2, last), keyAt(3, last)),
	} {
		for _, previous := range []*Epoch{nil, e} {
			if _, err := buildKeys(t, previous, full); !errors.Is(err, ErrBucketFull) {
				t.Errorf("four in a bucket: %v", err)
			}
		}
	}
}

func TestFillerAvoidsFullBuckets(t *testing.T) {
	draws := 0
	f := newFiller(func(uint64) bool { draws++; return draws < 4 })
	if draws != 4 || f.place >= circuits.Places {
		t.Fatalf("%d draws, place %d", draws, f.place)
	}
	snap := &snapshot{}
	for i := range uint64(3) {
		snap.entries = append(snap.entries, indexEntry{key: keyAt(i, 5)})
	}
	snap.entries = append(snap.entries, indexEntry{key: keyAt(0, 6)}, indexEntry{key: keyAt(1, 6)})
	for place, full := range map[uint64]bool{4: false, 5: true, 6: false, 7: false} {
		if snap.fullAt(place) != full {
			t.Errorf("place %d: full is %v", place, !full)
		}
	}
	two128 := circuits.EmptyBucket()[0].Key
	seen := make(map[string]bool)
	for range 100 {
		f := newFiller(func(uint64) bool { return false })
		b := f.slot.Key.Bytes()
		if b[15] != 1 || f.slot.Key == two128 || b[14] != 0 || f.slot.Commitment.IsZero() || seen[f.slot.Key.String()] {
			t.Fatalf("filler key %x", b)
		}
		seen[f.slot.Key.String()] = true
	}
}

func TestFillerSharesACell(t *testing.T) {
	sch, _ := careSchema(t)
	row := appendRow(nil, make(schema.Row, len(sch.Columns)))
	_, commitment, err := newSealer(testVault(t), sch).seal(keyAt(0, 10), row)
	if err != nil {
		t.Fatal(err)
	}
	one := func(quotient, place uint64) indexEntry {
		return indexEntry{key: keyAt(quotient, place), commitment: commitment}
	}
	for _, place := range []uint64{9, 10, 11, 12, 500, circuits.Places - 1} {
		s := &snapshot{entries: []indexEntry{one(0, 10), one(1, 10), one(0, 11), one(0, 13)}, filler: newFiller(func(uint64) bool { return false })}
		s.filler.place = place
		for _, depth := range []int{1, 3, 9} {
			l := emptyLevels(depth)
			if err := s.update(context.Background(), l, s.changedCells(nil, depth), 2, func(int) {}); err != nil {
				t.Fatal(err)
			}
			if l.root() != referenceRoot(s) {
				t.Errorf("filler at %d, depth %d: another root", place, depth)
			}
		}
	}
}

// changedCells finds exactly the cells where two snapshots differ, and those of both fillers.
func TestChangedCells(t *testing.T) {
	const depth = 2
	size := powers[circuits.Levels-depth]
	entry := func(cell, offset uint64, commitment byte) indexEntry {
		return indexEntry{key: keyAt(1, cell*size+offset), commitment: [32]byte{31: commitment}}
	}
	at := func(cell uint64) (f filler) { f.place = cell * size; return f }
	old := &snapshot{entries: []indexEntry{entry(0, 1, 1), entry(2, 1, 1), entry(3, 1, 1), entry(3, 2, 1), entry(8, 1, 1)}, filler: at(5)}
	for name, c := range map[string]struct {
		entries []indexEntry
		filler  uint64
		want    []uint64
	}{
		"nothing but the filler": {old.entries, 1, []uint64{1, 5}},
		"not even its cell":      {old.entries, 5, []uint64{5}},
		"filler beside a record": {old.entries, 0, []uint64{0, 5}},
		"removed":                {old.entries[1:], 8, []uint64{0, 5, 8}},
		"all removed":            {nil, 6, []uint64{0, 2, 3, 5, 6, 8}},
		"changed":                {append([]indexEntry{entry(0, 1, 2)}, old.entries[1:]...), 1, []uint64{0, 1, 5}},
		"one of two removed":     {append(old.entries[:3:3], old.entries[4]), 1, []uint64{1, 3, 5}},
		"added behind":           {append(old.entries[:5:5], entry(8, 2, 1)), 1, []uint64{1, 5, 8}},
		"added in a new cell":    {append(append(old.entries[:4:4], entry(7, 0, 1)), old.entries[4]), 1, []uint64{1, 5, 7}},
	} {
		s := &snapshot{entries: c.entries, filler: at(c.filler)}
		var got []uint64
		covered := 0
		for _, r := range s.changedCells(old, depth) {
			got = append(got, r.cell)
			for _, e := range s.entries[r.from:r.to] {
				if e.key.Place()/size != r.cell {
					t.Errorf("%s: an entry of another cell", name)
				}
			}
			covered += r.to - r.from
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestParallel(t *testing.T) {
	for _, n := range []int{0, 1, 255, 256, 257, 5000} {
		done := make([]int32, n)
		if err := parallel(context.Background(), n, 3, func(from, to int) error {
			for i := from; i < to; i++ {
				done[i]++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for i := range done {
			if done[i] != 1 {
				t.Fatalf("n=%d: %d done %d times", n, i, done[i])
			}
		}
	}
	broken := errors.New("broken")
	if err := parallel(context.Background(), 5000, 3, func(from, to int) error {
		if from > 1000 {
			return broken
		}
		return nil
	}); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := parallel(ctx, 10, 3, func(int, int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestDepth(t *testing.T) {
	for n, want := range map[int]int{0: 1, 1: 1, 3: 1, 4: 2, 4406: 8, 100_000: 11, 1_000_000: 13, MaxRows: 15} {
		if got := depthFor(n); got != want {
			t.Errorf("depth for %d records: %d, want %d", n, got, want)
		}
	}
}
