package simfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/grille-gateway/grille/ledger/tiles"
)

func rng(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

func testDisk(tb testing.TB, f *FS) *tiles.Disk {
	tb.Helper()
	d, err := tiles.NewDiskOn(f, "/m")
	if err != nil {
		tb.Fatal(err)
	}
	d.Serial = true
	return d
}

func read(tb testing.TB, f tiles.FS, path string) string {
	tb.Helper()
	data, err := f.Read(path, 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

// TestWrittenSurvives crashes at every step of a few writes, with many outcomes for each: what Disk.Write returned nil for
// is there, and of a write that was not finished each file is as before or as after, whole.
func TestWrittenSurvives(t *testing.T) {
	outcomes := make(map[string]bool)
	for n := 1; n <= 45; n++ {
		for seed := range uint64(40) {
			f := New()
			d := testDisk(t, f)
			f.CrashAt(n)
			before, after := map[string]string{}, map[string]string{}
			for i := 0; i < 5; i++ {
				files := []tiles.File{{Path: d.Path("a", "x"), Data: fmt.Appendf(nil, "version %d", i)},
					{Path: d.Path("a", fmt.Sprint("b", i/2), "y"), Data: fmt.Appendf(nil, "%d", i)}}
				for _, file := range files {
					after[file.Path] = string(file.Data)
				}
				if err := d.Write(files...); err != nil {
					if !errors.Is(err, tiles.ErrDurability) || !errors.Is(err, ErrCrashed) {
						t.Fatal(err)
					}
					break
				}
				for _, file := range files {
					before[file.Path] = string(file.Data)
				}
			}
			f.Restart(rng(seed))
			for path, want := range after {
				old, ok := before[path]
				if !ok {
					old = "missing"
				}
				got := read(t, f, path)
				if got != want && got != old {
					t.Fatalf("crash at %d, seed %d: %s is %q, was %q, written %q", n, seed, path, got, old, want)
				}
				outcomes[fmt.Sprint(want != old, got == want)] = true
			}
		}
	}
	for _, want := range []string{"true true", "true false", "false true"} {
		if !outcomes[want] {
			t.Errorf("never seen: unfinished and new %s", want)
		}
	}
}

// TestUnsyncedMayVanish shows that every loss that the package names happens, and no other.
func TestUnsyncedMayVanish(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(d tiles.FS) // on files old (synced) and gone (synced)
		path string
		want []string
	}{
		"content":     {func(f tiles.FS) { create(t, f, "/m/old", "NEWS", false) }, "/m/old", []string{"OLD", "", "NEWS", "NE", "NE\x00\x00"}},
		"new name":    {func(f tiles.FS) { create(t, f, "/m/new", "NEWS", true) }, "/m/new", []string{"missing", "NEWS"}},
		"rename":      {func(f tiles.FS) { create(t, f, "/m/t", "NEWS", true); rename(t, f, "/m/t", "/m/old") }, "/m/old", []string{"OLD", "NEWS"}},
		"removal":     {func(f tiles.FS) { must(t, f.Remove("/m/old")) }, "/m/old", []string{"missing", "OLD"}},
		"removal all": {func(f tiles.FS) { must(t, f.RemoveAll("/m/dir")) }, "/m/dir/in", []string{"missing", "IN"}},
		"folder": {func(f tiles.FS) {
			must(t, f.Mkdir("/m/d"))
			create(t, f, "/m/d/x", "X", true)
			must(t, f.SyncDir("/m/d"))
		}, "/m/d/x", []string{"missing", "X"}},
		"both, rename": {func(f tiles.FS) { create(t, f, "/m/t", "NEWS", false); rename(t, f, "/m/t", "/m/old") }, "/m/old", []string{"OLD", "NEWS", "", "NEW"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := New()
			d := testDisk(t, f)
			must(t, d.Write(tiles.File{Path: "/m/old", Data: []byte("OLD")}, tiles.File{Path: "/m/dir/in", Data: []byte("IN")},
				tiles.File{Path: "/m/kept", Data: []byte("KEPT")}))
			tc.do(f)
			claimed, ok := f.Durable(tc.path)
			got := make(map[string]bool)
			for seed := range uint64(300) {
				c := f.Copy()
				c.root = cloneVolatile(f.root, map[*node]*node{})
				c.Restart(rng(seed))
				left := read(t, c, tc.path)
				if got[left] = true; ok && !slices.ContainsFunc(claimed, func(b []byte) bool { return string(b) == left }) {
					t.Fatalf("left %q, but %q were said to be all that can be", left, claimed)
				}
				if s := read(t, c, "/m/kept"); s != "KEPT" {
					t.Fatalf("what was fsynced is %q", s)
				}
			}
			for _, w := range tc.want {
				if !got[w] {
					t.Errorf("outcome %q never came, only %v", w, got)
				}
			}
		})
	}
}

// cloneVolatile copies a tree of nodes with what is unsynced, so that one state can crash in many ways.
func cloneVolatile(n *node, done map[*node]*node) *node {
	if c, ok := done[n]; ok || n == nil {
		return c
	}
	c := *n
	done[n] = &c
	c.names, c.durable, c.pending = map[string]*node{}, map[string]*node{}, nil
	for k, v := range n.names {
		c.names[k] = cloneVolatile(v, done)
	}
	for k, v := range n.durable {
		c.durable[k] = cloneVolatile(v, done)
	}
	for _, ch := range n.pending {
		var cc change
		for _, e := range ch {
			cc = append(cc, edit{e.name, cloneVolatile(e.to, done)})
		}
		c.pending = append(c.pending, cc)
	}
	return &c
}

// durable lists what a file may hold after a crash.
func durable(f *FS, path string) string {
	all, ok := f.Durable(path)
	if !ok {
		return "nothing"
	}
	return fmt.Sprintf("%q", all)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func create(tb testing.TB, f tiles.FS, path, data string, sync bool) {
	tb.Helper()
	c, err := f.Create(path, []byte(data))
	must(tb, err)
	if sync {
		must(tb, c.Sync())
	}
	must(tb, c.Close())
}

func rename(tb testing.TB, f tiles.FS, from, to string) {
	tb.Helper()
	must(tb, f.Rename(from, to))
}

func TestLosesSync(t *testing.T) {
	lost := 0
	for seed := range uint64(50) {
		f := New()
		d := testDisk(t, f)
		must(t, d.Write(tiles.File{Path: "/m/x", Data: []byte("1")}, tiles.File{Path: "/m/y", Data: []byte("1")}))
		f.LosesSync = func(path string) bool { return filepath.Base(path) == "x.tmp" }
		must(t, d.Write(tiles.File{Path: "/m/x", Data: []byte("2")}, tiles.File{Path: "/m/y", Data: []byte("2")}))
		if _, ok := f.Durable("/m/x"); ok {
			t.Fatal("called durable")
		}
		if got := durable(f, "/m/y"); got != `["2"]` {
			t.Fatalf("beside it: %s", got)
		}
		f.Restart(rng(seed))
		if read(t, f, "/m/x") != "2" {
			lost++
		}
		if got := read(t, f, "/m/y"); got != "2" {
			t.Fatalf("beside it: %q", got)
		}
	}
	if lost < 10 || lost > 48 {
		t.Errorf("lost in %d of 50", lost)
	}
}

func TestFailures(t *testing.T) {
	for n, tc := range []struct{ left, durable string }{
		{"1", `["1"]`}, {"1", `["1"]`}, {"1", `["1"]`}, {"2", `["1" "2"]`}} { // create, sync, rename, sync dir
		f := New()
		d := testDisk(t, f)
		must(t, d.Write(tiles.File{Path: "/m/x", Data: []byte("1")}))
		f.FailAt(n+1, syscall.ENOSPC)
		err := d.Write(tiles.File{Path: "/m/x", Data: []byte("2")})
		if !errors.Is(err, tiles.ErrDurability) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("step %d: %v", n, err)
		}
		if got := read(t, f, "/m/x"); got != tc.left {
			t.Errorf("step %d: content %q", n, got)
		}
		if got := durable(f, "/m/x"); got != tc.durable {
			t.Errorf("step %d: durable %s", n, got)
		}
		must(t, d.Write(tiles.File{Path: "/m/x", Data: []byte("3")}))
		if got := durable(f, "/m/x"); got != `["3"]` {
			t.Errorf("step %d: afterwards %s", n, got)
		}
	}
	// After a failed fsync the next one says nil and does nothing.
	f := New()
	testDisk(t, f)
	c, err := f.Create("/m/x", []byte("1"))
	must(t, err)
	f.FailAt(1, syscall.EIO)
	if err := c.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	must(t, c.Sync())
	must(t, f.SyncDir("/m"))
	if _, ok := f.Durable("/m/x"); ok {
		t.Error("a page that failed to be written is durable")
	}
}

func TestLockAndCopy(t *testing.T) {
	f := New()
	d := testDisk(t, f)
	must(t, d.Write(tiles.File{Path: "/m/x", Data: []byte("1")}))
	l, err := d.Lock()
	must(t, err)
	if _, err := d.Lock(); !errors.Is(err, tiles.ErrLocked) {
		t.Fatalf("locked twice: %v", err)
	}
	old := f.Copy()
	must(t, d.Write(tiles.File{Path: "/m/x", Data: []byte("2")}))
	if got := durable(old, "/m/x"); got != `["1"]` {
		t.Errorf("copy holds %s", got)
	}
	f.Kill()
	again, err := d.Lock()
	must(t, err)
	must(t, l.Close()) // of the process that is gone: not the new one's
	if _, err := d.Lock(); !errors.Is(err, tiles.ErrLocked) {
		t.Errorf("a dead process gave another's lock back: %v", err)
	}
	must(t, again.Close())
	if _, err := d.Lock(); err != nil {
		t.Errorf("given back: %v", err)
	}
	if _, err := f.Lock("/none/lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lock in no folder: %v", err)
	}
}

// TestLikeTheRealOne makes the same random calls on the machine's file system and on this one: errors, contents and names
// are the same.
func TestLikeTheRealOne(t *testing.T) {
	for seed := range uint64(30) {
		r := rng(seed)
		f, real, dir := New(), tiles.OS(), t.TempDir()
		must(t, f.MkdirAll(dir))
		paths := []string{"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a"}
		for range 150 {
			p := filepath.Join(dir, paths[r.IntN(len(paths))])
			q := filepath.Join(filepath.Dir(p), "a")
			data := bytes.Repeat([]byte{'x'}, r.IntN(9))
			op := r.IntN(8)
			both := func(g tiles.FS) string {
				switch op {
				case 0:
					return fmt.Sprint(g.Mkdir(filepath.Join(dir, []string{"d", "d/e"}[len(data)%2])) == nil)
				case 1, 2:
					if filepath.Base(p) == "d" || filepath.Base(p) == "e" {
						return ""
					}
					c, err := g.Create(p, data)
					if err == nil {
						err = errors.Join(c.Sync(), c.Close())
					}
					return fmt.Sprint(err == nil, errors.Is(err, fs.ErrNotExist))
				case 3:
					if ok, _ := g.Exists(p); !ok || filepath.Base(p) == "d" || filepath.Base(p) == "e" || p == q {
						return ""
					}
					return fmt.Sprint(g.Rename(p, q))
				case 4:
					if filepath.Base(p) == "d" || filepath.Base(p) == "e" {
						return fmt.Sprint(g.RemoveAll(p), g.RemoveAll(p))
					}
					err := g.Remove(p)
					return fmt.Sprint(err == nil, errors.Is(err, fs.ErrNotExist))
				case 5:
					names, err := g.List(filepath.Dir(p))
					return fmt.Sprint(names, errors.Is(err, fs.ErrNotExist))
				case 6:
					got, err := g.Read(p, 6)
					return fmt.Sprint(string(got), err == nil, errors.Is(err, fs.ErrNotExist))
				}
				err := g.SyncDir(filepath.Dir(p))
				ok, err2 := g.Exists(p)
				return fmt.Sprint(err == nil, ok, err2)
			}
			if a, b := both(real), both(f); a != b {
				t.Fatalf("seed %d, call %d on %s: %s on the machine, %s here", seed, op, p, a, b)
			}
		}
	}
}

// A process that is killed between renaming a file and fsyncing the folder leaves a file that the next one sees. What that
// one reads, and signs by, must not vanish when power fails later.
func TestWhatWasReadIsKept(t *testing.T) {
	for seed := range uint64(50) {
		f := New()
		d := testDisk(t, f)
		must(t, d.Write(tiles.File{Path: d.Path("signer", "x"), Data: []byte("1")}))
		f.FailAt(4, syscall.EIO) // create, sync, rename, sync dir
		if err := d.Write(tiles.File{Path: d.Path("signer", "x"), Data: []byte("2")}); !errors.Is(err, tiles.ErrDurability) {
			t.Fatal(err)
		}
		f.Kill()
		next := testDisk(t, f)
		data, err := next.Read(next.Path("signer", "x"), 10)
		if err != nil || string(data) != "2" {
			t.Fatalf("read %q, %v", data, err)
		}
		f.Restart(rng(seed))
		if got := read(t, f, next.Path("signer", "x")); got != "2" {
			t.Fatalf("seed %d: %q was read before power failed, now %q", seed, "2", got)
		}
	}
	f := New()
	d := testDisk(t, f)
	if _, err := d.Read(d.Path("none", "x"), 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is missing: %v", err)
	}
	must(t, d.Write(tiles.File{Path: d.Path("a", "x"), Data: []byte("1")}))
	f.Kill()
	f.FailAt(2, syscall.EIO) // NewDisk fsyncs the folder above its own first
	if _, err := testDisk(t, f).Read(d.Path("a", "x"), 10); !errors.Is(err, tiles.ErrDurability) || !errors.Is(err, syscall.EIO) {
		t.Errorf("the folder cannot be fsynced: %v", err)
	}
}
