package tiles

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// longRecord is of the size of a real entry.
func longRecord(i int64) []byte { return append(record(i), bytes.Repeat([]byte{byte(i)}, 170)...) }

func longLog(b *testing.B, n int64) *Log {
	l, _, _ := testLog(b)
	for l.Size() < n {
		var batch [][]byte
		for i := range int64(5120) {
			batch = append(batch, longRecord(l.Size()+i))
		}
		if _, err := l.Append(batch); err != nil {
			b.Fatal(err)
		}
	}
	return l
}

// BenchmarkEntries reads a mebibyte of entries from random places; each is hashed and compared before it is served.
func BenchmarkEntries(b *testing.B) {
	l := longLog(b, 70_000)
	b.SetBytes(1 << 20)
	for b.Loop() {
		from := rand.Int64N(60_000)
		if _, err := l.Entries(from, l.Size(), 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInclusion proves random entries: with the tiles in memory, and with each tile read and checked again.
func BenchmarkInclusion(b *testing.B) {
	l := longLog(b, 70_000)
	for name, forget := range map[string]bool{"kept": false, "read": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if forget {
					l.disk.cache.forget(l)
				}
				if _, err := tlog.ProveRecord(l.Size(), rand.Int64N(l.Size()), l); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestDamageAfterOpen changes each byte of each file, cuts it everywhere and removes it while the log is open: what is
// served then is the truth, or ErrCorrupt.
func TestDamageAfterOpen(t *testing.T) {
	const n = width + 7
	l, disk, dir := testLog(t)
	mustAppend(t, l, n)
	ref := reference(t, n)
	var files []string
	if err := disk.walk(dir, func(path string) error { files = append(files, path); return nil }); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, path := range files {
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		look := func(what string) {
			t.Helper()
			disk.cache.forget(l)
			refused += checkServed(t, l, ref, 0, what+" in "+filepath.Base(path))
		}
		overwrite := func(at int, data ...byte) { // in place: cheaper than a file written anew
			t.Helper()
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
			if err == nil {
				_, err = f.WriteAt(data, int64(at))
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range good {
			overwrite(i, good[i]^1<<(i%8))
			look(fmt.Sprintf("bit of byte %d", i))
			overwrite(i, good[i])
			if i%8 == 0 || i+8 > len(good) {
				if err := os.Truncate(path, int64(i)); err != nil {
					t.Fatal(err)
				}
				look(fmt.Sprintf("cut at %d", i))
				overwrite(i, good[i:]...)
			}
		}
		overwrite(len(good), 0, 1, 'x')
		look("more at the end")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		look("nothing is left")
		overwrite(0, good...)
	}
	if disk.cache.forget(l); checkServed(t, l, ref, 0, "nothing") != 0 || refused < 10_000 {
		t.Errorf("%d refusals", refused)
	}
}

// checkServed reads what can be asked of the n-th tile and compares it with the truth. It returns how much was refused.
func checkServed(t *testing.T, l *Log, ref memory, n int64, damaged string) (refused int) {
	t.Helper()
	see := func(what string, err error, same func() bool) {
		t.Helper()
		if err == nil && same() {
			return
		}
		if refused++; !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%s: %s is served wrong, or the error is another: %v", damaged, what, err)
		}
	}
	size, from := l.Size(), n*width
	to := min(from+width, size)
	raws, err := l.Entries(from, to, 1<<20)
	see("entries", err, func() bool {
		for i, raw := range raws {
			if !bytes.Equal(raw, record(from+int64(i))) {
				return false
			}
		}
		return int64(len(raws)) == to-from
	})
	path, err := tlog.ProveRecord(size, from+3, l)
	see("inclusion", err, func() bool {
		return tlog.CheckRecord(path, size, ref.tree(t, size).Hash, from+3, tlog.RecordHash(record(from+3))) == nil
	})
	tree, err := l.Tree(to - 1)
	see("tree", err, func() bool { return tree == ref.tree(t, to-1) })
	for _, level := range []int{-1, 0} {
		tile := tlog.Tile{H: height, L: level, N: n, W: int(to - from)}
		data, err := l.Tile(tile)
		see("tile", err, func() bool {
			want := bytes.Join(nil, nil)
			if level >= 0 {
				want, err = tlog.ReadTileData(tile, ref)
			}
			for i := from; level < 0 && i < to; i++ {
				want = append(append(want, 0, byte(len(record(i)))), record(i)...)
			}
			return err == nil && bytes.Equal(data, want)
		})
	}
	return refused
}

// TestDamageBelow damages tiles under two full levels: each is checked by the one above it.
func TestDamageBelow(t *testing.T) {
	const n = width*width + 5
	l, disk, dir := testLog(t)
	mustAppend(t, l, n)
	ref := reference(t, n)
	for _, tc := range []struct {
		tile tlog.Tile
		see  int64 // the tile at level 0 below it
	}{{tlog.Tile{H: height, L: 1, N: 0, W: width}, 200}, {tlog.Tile{H: height, L: 0, N: 200, W: width}, 200}, {tlog.Tile{H: height, L: -1, N: 7, W: width}, 7}} {
		path := filepath.Join(dir, filepath.FromSlash(torchwood.TilePath(tc.tile)))
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, len(good) / 2, len(good) - 1} {
			bad := bytes.Clone(good)
			bad[i] ^= 4
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			disk.cache.forget(l)
			if checkServed(t, l, ref, tc.see, torchwood.TilePath(tc.tile)) == 0 {
				t.Errorf("%s: damage at %d is not seen", torchwood.TilePath(tc.tile), i)
			}
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		if disk.cache.forget(l); checkServed(t, l, ref, tc.see, "nothing") != 0 {
			t.Error("a whole tile is refused")
		}
	}
}

// TestCacheIsBounded reads more tiles than are kept.
func TestCacheIsBounded(t *testing.T) {
	c, l := newCache(), new(Log)
	for i := range int64(cachedTiles + 10) {
		c.put(l, tlog.Tile{N: i}, []byte{byte(i)})
		if c.get(l, tlog.Tile{N: 0}) == nil {
			t.Fatal("what is used is dropped")
		}
	}
	if len(c.tiles) != cachedTiles || c.order.Len() != cachedTiles || c.get(l, tlog.Tile{N: 1}) != nil {
		t.Fatalf("%d tiles are kept", len(c.tiles))
	}
	if c.get(new(Log), tlog.Tile{N: 0}) != nil {
		t.Fatal("another log's tile")
	}
	if c.forget(l); len(c.tiles)+c.order.Len() != 0 {
		t.Fatalf("%d tiles are left", len(c.tiles))
	}
}
