package claim

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/grille-gateway/grille/exchange/receipt"
)

// TestIndexAgainstAMap adds claims over several files, a merge and several openings, and compares with a map.
func TestIndexAgainstAMap(t *testing.T) {
	dir, r := t.TempDir(), rand.New(rand.NewPCG(1, 2))
	x, err := OpenIndex(dir, origin)
	if err != nil {
		t.Fatal(err)
	}
	want := map[receipt.Hash]uint64{}
	for round := range uint64(manyRuns + 2) {
		for i := range 700 {
			n := randomHash(r)
			if i%50 == 0 { // shares the 8 bytes that the table has with others of many rounds
				copy(n[:8], "\x40\x00\x00\x00\x00\x00\x00\x01")
			}
			x.Add(n, round)
			x.Add(n, round+100) // the first place counts
			want[n] = round
		}
		if err := x.Flush(round+1, 0); err != nil {
			t.Fatal(err)
		}
		if err := x.Merge(); err != nil {
			t.Fatal(err)
		}
		if round%3 == 0 {
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			if x, err = OpenIndex(dir, origin); err != nil || x.Through() != round+1 {
				t.Fatalf("reads on from %d: %v", x.Through(), err)
			}
		}
	}
	if x.Len() != len(want) || len(x.runs) >= manyRuns {
		t.Errorf("%d claims in %d files, want %d", x.Len(), len(x.runs), len(want))
	}
	for n, place := range want {
		if got, ok, err := x.Find(n); err != nil || !ok || got != place {
			t.Fatalf("found %d %v %v, want %d", got, ok, err, place)
		}
		n[7] ^= 1
		if _, ok, err := x.Find(n); err != nil || ok {
			t.Fatalf("found what was not added: %v", err)
		}
	}
	for _, n := range []receipt.Hash{{}, {31: 1}, receiptOf(0xff)} {
		if _, ok, err := x.Find(n); err != nil || ok {
			t.Errorf("%v: %v %v", n, ok, err)
		}
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}

func receiptOf(b byte) (h receipt.Hash) {
	for i := range h {
		h[i] = b
	}
	return h
}

// TestDamagedIndexIsMadeAgain changes each file in ways that a disk may, and wants the damage noticed.
func TestDamagedIndexIsMadeAgain(t *testing.T) {
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b }
	}
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte
	}{
		"magic":            {"claims-1.run", flip(0)},
		"a claim":          {"claims-1.run", flip(16 + 40)},
		"a place":          {"claims-1.run", flip(16 + 31)},
		"number of claims": {"claims-1.run", flip(-5)},
		"checksum":         {"claims-1.run", flip(-1)},
		"cut":              {"claims-1.run", func(b []byte) []byte { return b[:len(b)-32] }},
		"cut within":       {"claims-1.run", func(b []byte) []byte { return b[:len(b)-7] }},
		"empty":            {"claims-1.run", func([]byte) []byte { return nil }},
		"gone":             {"claims-1.run", nil},
		"state":            {stateName, func(b []byte) []byte { return b[1:] }},
		"state's version":  {stateName, func(b []byte) []byte { b[5] = '2'; return b }},
		"another log":      {stateName, func(b []byte) []byte { return []byte(string(b[:20]) + "x" + string(b[20:])) }},
	} {
		dir := t.TempDir()
		x, err := OpenIndex(dir, origin)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 300 {
			x.Add(nullifier(i), 5)
		}
		if err := errors.Join(x.Flush(6, 0), x.Close()); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, c.file)
		data, err := os.ReadFile(path)
		if err == nil && c.change == nil {
			err = os.Remove(path)
		} else if err == nil {
			err = os.WriteFile(path, c.change(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		x, err = OpenIndex(dir, origin)
		if err != nil || !x.begun || x.Through() != 0 || x.Len() != 0 {
			t.Errorf("%s: opened with %d claims, through %d: %v", name, x.Len(), x.Through(), err)
			continue
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzRun(f *testing.F) {
	dir := f.TempDir()
	x, err := OpenIndex(dir, origin)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		x.Add(nullifier(i), 5)
	}
	if err := errors.Join(x.Flush(6, 0), x.Close()); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "claims-1.run"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:16])
	f.Add([]byte(runMagic + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "claims-1.run"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := openRun(dir, "claims-1.run")
		if err != nil {
			return
		}
		defer r.file.Close()
		n := 0
		for c, err := range r.all() {
			if err != nil {
				t.Fatal(err)
			}
			if place, ok, err := r.find(c.print); err != nil || !ok || place != c.place {
				t.Fatal("a claim that stands in a run is not found")
			}
			n++
		}
		if n != r.claims {
			t.Fatalf("%d claims of %d", n, r.claims)
		}
	})
}
