package index

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestCheckFrames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := checkFrames(path); err != nil {
		t.Errorf("no file: %v", err)
	}
	for doc, ok := range map[string]bool{
		"":                               true,
		"*2\r\n$3\r\ndel\r\n$1\r\nk\r\n": true,
		"*3\r\n$3\r\nset\r\n$1\r\nk\r\n$0\r\n\r\n":                        true,
		"*3\r\n$3\r\ndel\r\n$1\r\nk\r\n$0\r\n\r\n":                        false,
		"*2\r\n$3\r\nset\r\n$1\r\nk\r\n":                                  false,
		"*2\r\n$3\r\ndel\r\n$1\r\nkk\r\n":                                 false,
		"*2\r\n$3\r\ndel\r\n$1\r\nk\n\n":                                  false,
		"*2\r\n$3\r\ndel\r\n$1\r\nk":                                      false,
		"*0\r\n":                                                          false,
		"*1\r\n$7\r\nflushdb\r\n":                                         false,
		"*3\r\n$0\r\n\r\n$1\r\nk\r\n$0\r\n\r\n":                           false, // the database would panic
		"*5\r\n$3\r\nset\r\n$1\r\nk\r\n$0\r\n\r\n$2\r\nex\r\n$1\r\n1\r\n": false,
		"*3\r\n$3\r\nset\r\n$137438953472\r\n":                            false,
		"*2\r\n$3\r\ndel\r\n$-1\r\n":                                      false,
		"*2\r\n$03\r\ndel\r\n$1\r\nk\r\n":                                 false,
		"*2\r\n$3\r\nde":                                                  false,
		"*2\r\n":                                                          false,
		"*2\n$3\r\ndel\r\n$1\r\nk\r\n":                                    false,
		"$3\r\ndel\r\n":                                                   false,
		"*\r\n":                                                           false,
		"x":                                                               false,
		"\x00":                                                            false, // the database would skip it
	} {
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := checkFrames(path); (err == nil) != ok || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

// FuzzOpen opens any bytes as an index file, in memory: it never panics, and what it then serves agrees with its heads.
func FuzzOpen(f *testing.F) {
	for _, data := range indexFiles(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if readFrames(bufio.NewReader(bytes.NewReader(data))) != nil {
			return
		}
		x, err := newIndex(Memory)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if err := x.db.Load(bytes.NewReader(data)); err != nil {
			t.Fatalf("the database refuses what was checked: %v", err)
		}
		if err := x.load(); err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		rows, err := x.Search(Query{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, h := range x.heads {
			total += h.Size
		}
		if int64(len(rows)) != min(total, 1000) {
			t.Fatalf("%d rows, heads say %d", len(rows), total)
		}
	})
}

// indexFiles are whole index files: empty, of one log, of two with a head written twice, after a drop.
func indexFiles(tb testing.TB) map[string][]byte {
	tb.Helper()
	files := map[string][]byte{"empty": nil}
	path := filepath.Join(tb.TempDir(), "seed.db")
	x, err := Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer x.Close()
	save := func(name string, err error) {
		tb.Helper()
		data, err2 := os.ReadFile(path)
		if err := errors.Join(err, err2); err != nil {
			tb.Fatal(err)
		}
		files[name] = data
	}
	raws, _ := sample(tb, "o/a", "GOV/a", 7)
	save("one log", x.Add("o/a", "GOV/a", raws[:1], tree(1)))
	save("two logs", errors.Join(x.Add("o/b", "GOV/b", raws[:2], tree(2)), x.Add("o/a", "GOV/a", raws[1:], tree(7))))
	save("dropped", x.Drop("o/b"))
	return files
}
