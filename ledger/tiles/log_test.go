package tiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

func record(i int64) []byte { return fmt.Appendf(nil, "record %d", i) }

func records(from, to int64) [][]byte {
	var out [][]byte
	for i := from; i < to; i++ {
		out = append(out, record(i))
	}
	return out
}

// memory is the tree as sumdb/tlog alone computes it.
type memory []tlog.Hash

func (m memory) ReadHashes(idx []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(idx))
	for i, x := range idx {
		out[i] = m[x]
	}
	return out, nil
}

func reference(tb testing.TB, n int64) memory {
	tb.Helper()
	var m memory
	for i := range n {
		h, err := tlog.StoredHashes(i, record(i), m)
		if err != nil {
			tb.Fatal(err)
		}
		m = append(m, h...)
	}
	return m
}

func (m memory) tree(tb testing.TB, n int64) tlog.Tree {
	tb.Helper()
	h, err := tlog.TreeHash(n, m)
	if err != nil {
		tb.Fatal(err)
	}
	return tlog.Tree{N: n, Hash: h}
}

func ignore(uint64, []byte) error { return nil }

// opened is Open and Repair, as for a log whose root is as signed.
func opened(disk *Disk, dir string, size int64, visit func(uint64, []byte) error) (*Log, error) {
	l, err := Open(disk, dir, size, visit)
	if err == nil {
		err = l.Repair()
	}
	return l, err
}

func testLog(tb testing.TB) (*Log, *Disk, string) {
	tb.Helper()
	disk, err := NewDisk(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	dir := disk.Path("logs", "a")
	l, err := opened(disk, dir, 0, ignore)
	if err != nil {
		tb.Fatal(err)
	}
	return l, disk, dir
}

func mustAppend(tb testing.TB, l *Log, to int64) {
	tb.Helper()
	if n, err := l.Append(records(l.Size(), to)); err != nil || n != to {
		tb.Fatalf("appended to %d: %v", n, err)
	}
}

// TestSmallTrees compares every size up to 20, grown one by one, with sumdb/tlog: roots, all inclusion proofs and all
// pairs of consistency proofs; a proof with a flipped hash is refused.
func TestSmallTrees(t *testing.T) {
	const max = 20
	l, _, _ := testLog(t)
	m := reference(t, max)
	for n := int64(1); n <= max; n++ {
		mustAppend(t, l, n)
		for k := range n + 1 {
			tree, err := l.Tree(k)
			if err != nil || tree != m.tree(t, k) {
				t.Fatalf("size %d at %d: %v", k, n, err)
			}
		}
		for i := range n {
			p, err := tlog.ProveRecord(n, i, l)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(p, n, m.tree(t, n).Hash, i, tlog.RecordHash(record(i))); err != nil {
				t.Fatalf("entry %d of %d: %v", i, n, err)
			}
		}
		for k := int64(1); k <= n; k++ {
			p, err := tlog.ProveTree(n, k, l)
			if err != nil {
				t.Fatal(err)
			}
			check := func() error { return tlog.CheckTree(p, n, m.tree(t, n).Hash, k, m.tree(t, k).Hash) }
			if err := check(); err != nil {
				t.Fatalf("size %d to %d: %v", k, n, err)
			}
			for j := range p {
				p[j][j%32] ^= 0x10
				if check() == nil {
					t.Fatalf("size %d to %d: hash %d flipped verifies", k, n, j)
				}
				p[j][j%32] ^= 0x10
			}
		}
	}
}

// TestLargeTree crosses full tiles of two levels (256 * 256 entries) and reopens at the border and beside it.
func TestLargeTree(t *testing.T) {
	const max = 65536 + 300
	l, disk, dir := testLog(t)
	m := reference(t, max)
	for _, n := range []int64{1, 255, 256, 257, 511, 512, 5000, 65535, 65536, 65537, max} {
		mustAppend(t, l, n)
		tree, err := l.Tree(n)
		if err != nil || tree != m.tree(t, n) {
			t.Fatalf("root at %d: %v", n, err)
		}
	}
	for _, i := range []int64{0, 255, 256, 65535, 65536, max - 1} {
		p, err := tlog.ProveRecord(max, i, l)
		if err == nil {
			err = tlog.CheckRecord(p, max, m.tree(t, max).Hash, i, tlog.RecordHash(record(i)))
		}
		if err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	for _, n := range []int64{max, 65537, 65536, 65535, 257, 256, 255, 1, 0} {
		var seen int64
		l, err := opened(disk, dir, n, func(i uint64, raw []byte) error {
			if int64(i) != seen || !bytes.Equal(raw, record(seen)) {
				t.Fatalf("visited %q as %d", raw, i)
			}
			seen++
			return nil
		})
		if err != nil || seen != n {
			t.Fatalf("opened at %d: %d entries, %v", n, seen, err)
		}
		if tree, err := l.Tree(n); err != nil || tree != m.tree(t, n) {
			t.Fatalf("root at %d after opening: %v", n, err)
		}
		noneBeyond(t, dir, n)
	}
}

// noneBeyond checks that no tile on the disk reaches beyond n entries.
func noneBeyond(t *testing.T, dir string, n int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "tile"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		tile, err := torchwood.ParseTilePath(filepath.ToSlash(rel))
		if err != nil {
			return err
		}
		if have := n >> (8 * max(tile.L, 0)); tile.N*256+int64(tile.W) > have {
			return fmt.Errorf("%s reaches beyond %d entries", rel, n)
		}
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// TestOtherReader reads the files with torchwood's client, which verifies every tile and entry against the root.
func TestOtherReader(t *testing.T) {
	l, _, dir := testLog(t)
	for _, n := range []int64{3, 256, 300, 700} {
		mustAppend(t, l, n)
		tree, err := l.Tree(n)
		if err != nil {
			t.Fatal(err)
		}
		files, err := torchwood.NewTileFS(os.DirFS(dir))
		if err != nil {
			t.Fatal(err)
		}
		c, err := torchwood.NewClient(files)
		if err != nil {
			t.Fatal(err)
		}
		var seen int64
		for i, raw := range c.AllEntries(context.Background(), tree, 0) {
			if i != seen || !bytes.Equal(raw, record(i)) {
				t.Fatalf("entry %d is %q", i, raw)
			}
			seen++
		}
		if c.Err() != nil || seen != n {
			t.Fatalf("torchwood reads %d of %d entries: %v", seen, n, c.Err())
		}
	}
}

func TestEntries(t *testing.T) {
	l, _, _ := testLog(t)
	mustAppend(t, l, 600)
	for _, r := range [][2]int64{{0, 600}, {0, 0}, {600, 600}, {255, 257}, {256, 512}, {511, 600}, {599, 600}} {
		got, err := l.Entries(r[0], r[1], 1<<20)
		if err != nil || !equal(got, records(r[0], r[1])) {
			t.Errorf("entries %v: %d, %v", r, len(got), err)
		}
	}
	got, err := l.Entries(0, 600, 3*len(record(0))+6)
	if err != nil || len(got) != 3 {
		t.Errorf("bounded to three: %d, %v", len(got), err)
	}
	if got, err = l.Entries(0, 600, 1); err != nil || len(got) != 1 {
		t.Errorf("bounded below one: %d, %v", len(got), err)
	}
	for _, r := range [][2]int64{{-1, 1}, {2, 1}, {0, 601}} {
		if _, err := l.Entries(r[0], r[1], 10); !errors.Is(err, ErrRange) {
			t.Errorf("entries %v: %v", r, err)
		}
	}
	if _, err := l.Tree(601); !errors.Is(err, ErrRange) {
		t.Errorf("tree beyond: %v", err)
	}
}

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func TestRollback(t *testing.T) {
	m := reference(t, 1000)
	for _, cut := range []int64{0, 1, 255, 256, 300, 511, 599, 600} {
		l, disk, dir := testLog(t)
		mustAppend(t, l, 255)
		mustAppend(t, l, 600)
		if _, err := l.Entries(0, 600, 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := l.Rollback(cut); err != nil {
			t.Fatalf("cut to %d: %v", cut, err)
		}
		noneBeyond(t, dir, cut)
		other := [][]byte{[]byte("another"), []byte("history")}
		if _, err := l.Append(other); err != nil {
			t.Fatal(err)
		}
		if got, err := l.Entries(max(cut-2, 0), cut+2, 1<<20); err != nil || !equal(got, append(records(max(cut-2, 0), cut), other...)) {
			t.Fatalf("after a cut to %d: %q, %v", cut, got, err)
		}
		if err := l.Rollback(cut); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 1000)
		for _, n := range []int64{cut, 1000} {
			if tree, err := l.Tree(n); err != nil || tree != m.tree(t, n) {
				t.Fatalf("cut to %d, root at %d: %v", cut, n, err)
			}
		}
		if l, err := opened(disk, dir, 1000, ignore); err != nil || l.Size() != 1000 {
			t.Fatalf("opening after a cut to %d: %v", cut, err)
		}
		if err := l.Rollback(1001); !errors.Is(err, ErrRange) {
			t.Fatalf("cut beyond the end: %v", err)
		}
	}
}

func TestDamage(t *testing.T) {
	l, disk, dir := testLog(t)
	mustAppend(t, l, 300)
	want, err := l.Tree(300)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, data string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tile/0/000", "damaged")
	write("tile/0/001.p/44", strings.Repeat("x", 44*32))
	write("tile/entries/001.p/45.tmp", "torn")
	write("tile/0/001.p/45", strings.Repeat("x", 45*32))
	before := filesBelow(t, dir)
	l, err = Open(disk, dir, 300, ignore)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Tree(300); err != nil || got != want {
		t.Fatalf("root from the entries alone: %v", err)
	}
	if _, err := l.Tree(299); err != nil {
		t.Fatal(err)
	}
	if _, err := tlog.ProveRecord(300, 7, l); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("proof over a damaged tile: %v", err)
	}
	if !reflect.DeepEqual(filesBelow(t, dir), before) {
		t.Fatal("opening changed files")
	}
	if err := l.Repair(); err != nil {
		t.Fatal(err)
	}
	if p, err := tlog.ProveRecord(300, 7, l); err != nil || tlog.CheckRecord(p, 300, want.Hash, 7, tlog.RecordHash(record(7))) != nil {
		t.Fatalf("proof over mended tiles: %v", err)
	}
	for _, name := range []string{"tile/entries/001.p/45.tmp", "tile/0/001.p/45"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is not swept", name)
		}
	}
	if _, err := Open(disk, dir, 301, ignore); !errors.Is(err, ErrCorrupt) {
		t.Errorf("opened beyond what there is: %v", err)
	}
	for name, bad := range map[string]string{"cut off": "\x00\x08rec", "empty entry": strings.Repeat("\x00", 600), "empty": ""} {
		write("tile/entries/000", bad)
		before := filesBelow(t, dir)
		if _, err := Open(disk, dir, 300, ignore); !errors.Is(err, ErrCorrupt) {
			t.Errorf("bundle %s: %v", name, err)
		}
		if !reflect.DeepEqual(filesBelow(t, dir), before) {
			t.Errorf("bundle %s: opening changed files", name)
		}
	}
}

// TestOpenAtLessKeepsWhatIsBeyond opens a log at a size smaller than it has, as a damaged signer state would: only Repair
// removes what lies beyond.
func TestOpenAtLessKeepsWhatIsBeyond(t *testing.T) {
	l, disk, dir := testLog(t)
	mustAppend(t, l, 600)
	before := filesBelow(t, dir)
	if _, err := Open(disk, dir, 260, ignore); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(filesBelow(t, dir), before) {
		t.Fatal("opening changed files")
	}
	if _, err := opened(disk, dir, 600, ignore); err != nil {
		t.Fatal(err)
	}
}

// filesBelow reads all files of a folder.
func filesBelow(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = string(data)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestWriteFailure(t *testing.T) {
	for _, s := range []Step{StepMkdir, StepCreate, StepSync, StepRename, StepSyncDir} {
		l, disk, dir := testLog(t)
		mustAppend(t, l, 3)
		boom := errors.New("boom")
		disk.Before = func(at Step, _ string) error {
			if at == s {
				return boom
			}
			return nil
		}
		if _, err := l.Append(records(3, 300)); !errors.Is(err, ErrDurability) || !errors.Is(err, boom) {
			t.Errorf("%s fails: %v", s, err)
		}
		if l.Size() != 3 {
			t.Errorf("%s failed, size %d", s, l.Size())
		}
		disk.Before = nil
		l, err := opened(disk, dir, 3, ignore)
		if err != nil || l.Size() != 3 {
			t.Errorf("opening after %s failed: %v", s, err)
		}
		noneBeyond(t, dir, 3)
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := OS().Read(path, 5); err != nil || string(data) != "12345" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := OS().Read(path, 4); err == nil {
		t.Error("read more than the bound")
	}
}

// TestTile reads every tile of every width at some sizes, and compares those that stand with their files.
func TestTile(t *testing.T) {
	l, _, _ := testLog(t)
	ref := reference(t, 600)
	for _, size := range []int64{1, 255, 256, 257, 600} {
		mustAppend(t, l, size)
		for _, level := range []int{-1, 0, 1} {
			n := size >> (height * max(level, 0)) // of what the level holds
			for k := int64(0); k <= n; k++ {
				tile := tlog.Tile{H: height, L: level, N: k / width, W: int(k%width) + 1}
				got, err := l.Tile(tile)
				if k >= n {
					if !errors.Is(err, ErrRange) {
						t.Fatalf("size %d: %+v beyond: %v", size, tile, err)
					}
					continue
				}
				var want []byte
				if level >= 0 {
					want, _ = tlog.ReadTileData(tile, ref)
				} else {
					for i := tile.N * width; i <= k; i++ {
						want, _ = torchwood.AppendTileEntry(want, record(i))
					}
				}
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("size %d: %+v: %d bytes, want %d, %v", size, tile, len(got), len(want), err)
				}
			}
		}
	}
	for _, bad := range []tlog.Tile{{}, {H: 8, L: 0, N: -1, W: 1}, {H: 8, L: 0, N: 1 << 62, W: 1}, {H: 8, L: 7, W: 1}, {H: 8, L: -2, W: 1},
		{H: 8, W: 0}, {H: 8, W: 257}, {H: 4, W: 1}, {H: 8, L: 2, W: 1}, {H: 8, L: -1, N: 1<<63 - 1, W: 256}} {
		if _, err := l.Tile(bad); !errors.Is(err, ErrRange) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
