package index

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A reader of the file finds what its owner finds, while the owner has it open, and changes nothing.
func TestOpenRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	if _, err := OpenRead(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing file: %v", err)
	}
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	raws, rows := sample(t, "a", "GOV/a", 100)
	if err := x.Add("a", "GOV/a", raws, tree(100)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := OpenRead(path)
	if err != nil || r.Damage() != nil {
		t.Fatalf("%v, %v", err, r.Damage())
	}
	if at, ok := r.Tree("a"); !ok || at != tree(100) {
		t.Errorf("tree %v, %v", at, ok)
	}
	for i, row := range rows {
		if !r.Has(row) || row != RowOf("a", "GOV/a", uint64(i), raws[i]) {
			t.Errorf("row %d is not there", i)
		}
		other := row
		other.Index++
		wrong := row
		wrong.Member = "GOV/b"
		if r.Has(other) || r.Has(wrong) {
			t.Errorf("a row like %d is there", i)
		}
	}
	if err := errors.Join(r.Close(), x.Close()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file changed: %v", err)
	}
}

// Whatever Open would begin anew is said to be damaged and left as it is.
func TestOpenReadDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.db")
	x, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	raws, rows := sample(t, "a", "GOV/a", 10)
	if err := x.Add("a", "GOV/a", raws, tree(10)); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	g := x.groups[x.ids[rows[4].names()]]
	gone := "*2\r\n$3\r\ndel\r\n$15\r\n" + rowKey(g.id, rows[4].Time.Unix(), 4) + "\r\n"
	for name, tc := range map[string]struct {
		data    string
		has, up bool // other rows are found, and the tree
	}{
		"cut off": {string(good[:len(good)-1]), false, false}, "garbage": {"x", false, false}, "a row removed": {string(good) + gone, true, true},
	} {
		if err := os.WriteFile(path, []byte(tc.data), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenRead(path)
		if err != nil || r.Damage() == nil {
			t.Fatalf("%s: %v, damage %v", name, err, r.Damage())
		}
		if _, ok := r.Tree("a"); ok != tc.up || r.Has(rows[3]) != tc.has || r.Has(rows[4]) {
			t.Errorf("%s: tree %v, row 3 %v, row 4 %v", name, ok, r.Has(rows[3]), r.Has(rows[4]))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != tc.data {
			t.Errorf("%s: the file changed", name)
		}
	}
}
