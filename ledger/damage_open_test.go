package ledger

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
)

// TestDamageWhileOpen damages the files of full tiles under an open store: nothing that depends on them is served, and all
// else is.
func TestDamageWhileOpen(t *testing.T) {
	d := newDamaged(t, "GOV/tax")
	origin := d.cfg.Origin("GOV/tax")
	tile := func(level int) tlog.Tile { return tlog.Tile{H: 8, L: level, N: 0, W: 256} }
	asks := map[string]func(s *Store) error{
		"Read":         func(s *Store) error { return second(s.Read(origin, 7, 9)) },
		"Read all":     func(s *Store) error { return second(s.Read(origin, 0, 262)) },
		"Inclusion":    func(s *Store) error { return second(s.Inclusion(origin, 3, 260)) },
		"Consistency":  func(s *Store) error { return second(s.Consistency(origin, 100, 260)) },
		"Tile":         func(s *Store) error { return second(s.Tile(origin, tile(0))) },
		"bundle":       func(s *Store) error { return second(s.Tile(origin, tile(-1))) },
		"narrow tile":  func(s *Store) error { return second(s.Tile(origin, tlog.Tile{H: 8, L: 0, N: 0, W: 9})) },
		"Proof":        func(s *Store) error { _, _, err := s.Proof(origin, 3); return err },
		"tile at edge": func(s *Store) error { return second(s.Tile(origin, tlog.Tile{H: 8, L: 0, N: 1, W: 6})) },
		"Read at edge": func(s *Store) error { return second(s.Read(origin, 256, 262)) },
	}
	index := filepath.Join(t.TempDir(), "index.db") // made once: making it brings the tiles into memory
	if s, err := d.openWith(d.name, d.fs.Copy(), io.Discard, index); err != nil || s.Close() != nil {
		t.Fatal(err)
	}
	for rel, refused := range map[string]string{
		"tile/0/000":       "Read, Read all, Inclusion, Consistency, Tile, bundle, narrow tile, Proof",
		"tile/entries/000": "Read, Read all, bundle",
		"tile/1/000.p/1":   "",
		"tile/0/001.p/6":   "",
	} {
		path := filepath.Join(damageRoot, "logs", escape(origin), rel)
		good, ok := d.files[path]
		for how, bad := range map[string][]byte{
			"bit": append([]byte{good[0] ^ 1}, good[1:]...), "last bit": append(bytes.Clone(good[:len(good)-1]), good[len(good)-1]^0x80),
			"cut": good[:len(good)-1], "empty": {}, "other": bytes.Repeat([]byte{7}, len(good)),
		} {
			files := d.fs.Copy()
			s, err := d.openWith(d.name, files, io.Discard, index)
			if err != nil || !ok {
				t.Fatal(rel, err)
			}
			if _, err := files.Create(path, bad); err != nil {
				t.Fatal(err)
			}
			for name, ask := range asks {
				err := ask(s)
				if want := strings.Contains(", "+refused+", ", ", "+name+", "); errors.Is(err, ErrCorrupt) != want || !want && err != nil {
					t.Errorf("%s with %s %s: %v", name, rel, how, err)
				}
			}
			if idx, err := s.Append(t.Context(), batchEntry(9)); errors.Is(err, ErrCorrupt) { // what grows is in memory
				t.Errorf("append with %s %s: %d, %v", rel, how, idx, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestStaleFiles puts beside each file what an interrupted write leaves, and tiles beyond the size: they are swept or
// overwritten, and never read.
func TestStaleFiles(t *testing.T) {
	d := newDamaged(t, "GOV/tax")
	files := d.fs.Copy()
	dir := filepath.Join(damageRoot, "logs", escape(d.cfg.Origin("GOV/tax")), "tile")
	for path := range d.files {
		for _, p := range []string{path + ".tmp"} {
			if _, err := files.Create(p, []byte("torn")); err != nil {
				t.Fatal(err)
			}
		}
	}
	beyond := []string{"0/001.p/7", "0/001.p/255", "entries/001.p/7", "entries/001", "0/001"}
	for _, name := range beyond {
		if _, err := files.Create(filepath.Join(dir, name), []byte("beyond")); err != nil {
			t.Fatal(err)
		}
	}
	s, err := d.openIn(d.name, files, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := stateOf(s)
	if err != nil || !reflect.DeepEqual(got, d.truth) {
		t.Fatalf("stale files are read: %v", err)
	}
	for _, name := range beyond {
		if ok, err := files.Exists(filepath.Join(dir, name)); ok || err != nil {
			t.Errorf("%s is not swept: %v", name, err)
		}
	}
}

// TestDamagedIndexIsSaid rebuilds a damaged index and says so in the log, once.
func TestDamagedIndexIsSaid(t *testing.T) {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1), batchEntry(2))
	c.pushAll("GOV/tax", testNames...)
	path := filepath.Join(c.path("GOV/tax"), "index.db")
	want, err := c.stores["GOV/tax"].Search(Query{})
	if err != nil || len(want) != 2 {
		t.Fatalf("found %d, %v", len(want), err)
	}
	open := func() string {
		t.Helper()
		var said bytes.Buffer
		o := c.options("GOV/tax")
		o.Logger = slog.New(slog.NewTextHandler(&said, nil))
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		c.stores["GOV/tax"] = s
		if got, err := s.Search(Query{}); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("found %v, %v", got, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return said.String()
	}
	if err := c.stores["GOV/tax"].Close(); err != nil {
		t.Fatal(err)
	}
	if said := open(); strings.Contains(said, "index") {
		t.Errorf("nothing is damaged: %s", said)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(data); i += 11 {
		bad := bytes.Clone(data)
		bad[i] ^= 2
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if said := open(); !strings.Contains(said, "index is rebuilt from the logs") && !strings.Contains(said, "log is indexed anew") {
			t.Fatalf("bit of byte %d changed: %q", i, said)
		}
		if said := open(); strings.Contains(said, "index") {
			t.Fatalf("the rebuilt index is rebuilt: %s", said)
		}
	}
}

// TestVoteWithoutItsProposalCosignsNothing damages the proposal that a mirror voted for: it no longer knows which logs its
// vote ends where, so it cosigns nothing until it is told again.
func TestVoteWithoutItsProposalCosignsNothing(t *testing.T) {
	d := newDamaged(t, "GOV/tax")
	path := filepath.Join(damageRoot, "succession", "2.json")
	good, ok := d.files[path]
	if !ok {
		t.Fatal("no succession is kept")
	}
	for how, bad := range map[string][]byte{"damaged": append([]byte("["), good[1:]...), "of nothing": []byte("{}\n")} {
		files := d.fs.Copy()
		if _, err := files.Create(path, bad); err != nil {
			t.Fatal(err)
		}
		s, err := d.openIn(d.name, files, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		hear(t, s)
		r := s.replicas[d.cfg.Origin("GOV/civil")]
		if err := s.mayCosign(r, r.tree()); !errors.Is(err, ErrFenced) {
			t.Fatalf("%s: %v", how, err)
		}
		known, err := network.ParseSuccession(d.truth.succession)
		if err == nil {
			err = s.AddSuccession(known)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := s.mayCosign(r, r.tree()); err != nil {
			t.Fatalf("%s, told again: %v", how, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
