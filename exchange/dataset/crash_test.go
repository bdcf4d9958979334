package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/exchange/vault"
)

// A crash is a copy of the store's folder taken at a durability step. Files that were not synced yet are emptied in it, which
// is what a power cut may leave.
type crash struct {
	step  string
	files map[string][]byte
}

// recorder takes a copy at each step.
type recorder struct {
	t        testing.TB
	dir      string
	unsynced map[string]bool // files written and not synced
	dirty    map[string]bool // folders whose new names are not synced
	crashes  []crash
}

func (r *recorder) took(step, path string) {
	switch step {
	case "written":
		r.unsynced[path] = true
	case "synced":
		delete(r.unsynced, path)
		r.dirty[filepath.Dir(path)] = true
	case "folder-synced":
		delete(r.dirty, path)
	case "renamed":
		for folder := range r.dirty {
			if strings.HasPrefix(filepath.Base(folder), temporaryPrefix) {
				r.t.Errorf("%s was not synced before its rename", folder)
			}
		}
		for file := range r.unsynced {
			r.t.Errorf("%s was not synced before a rename", file)
		}
	}
	files := filesOf(r.t, r.dir)
	for file := range r.unsynced {
		files[strings.TrimPrefix(file, r.dir+"/")] = nil
	}
	name := strings.TrimPrefix(path, r.dir+"/")
	r.crashes = append(r.crashes, crash{step + " " + name, files})
}

func restore(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "store")
	for name, b := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The process is killed at each step of: opening a new store, declaring, three rounds of import and activation with two epochs
// kept, and a discarded import. Whatever it leaves must open, show one of the states that were promised, and take the next
// import.
func TestKilledAtEachStep(t *testing.T) {
	dir, v := filepath.Join(t.TempDir(), "store"), testVault(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	rec := &recorder{t: t, dir: dir, unsynced: make(map[string]bool), dirty: make(map[string]bool)}
	s, err := open(dir, v, rec.took)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sch, m := careSchema(t)
	if err := s.Declare(sch); err != nil {
		t.Fatal(err)
	}
	s.Keep(2)
	var boundaries []int // number of crashes when round i had been activated
	for round := range 3 {
		publish(t, s, m, table(patients(3+round)))
		boundaries = append(boundaries, len(rec.crashes))
	}
	p, _ := importTable(t, s, m, table(patients(9)))
	if err := s.Discard("care", p.Epoch); err != nil {
		t.Fatal(err)
	}
	if len(rec.crashes) < 40 {
		t.Fatalf("only %d steps", len(rec.crashes))
	}
	for i, c := range rec.crashes {
		activated := 0
		for activated < len(boundaries) && boundaries[activated] <= i {
			activated++
		}
		t.Run(fmt.Sprintf("%02d %s", i, c.step), func(t *testing.T) { afterCrash(t, v, c, activated) })
	}
}

// afterCrash opens what a crash left. At least the given number of rounds had been activated before it.
func afterCrash(t *testing.T, v *vault.Vault, c crash, activated int) {
	dir := restore(t, c.files)
	s := openStore(t, dir, v)
	sch, m := careSchema(t)
	if _, declared := s.Schema("care"); !declared {
		if activated > 0 {
			t.Fatal("the dataset is lost")
		}
		if err := s.Declare(sch); err != nil {
			t.Fatal(err)
		}
	}
	current := 0
	if e, ok := s.Current("care"); ok {
		current = int(e.Number())
		if e.Rows() != 2+current || e.LedgerIndex() != uint64(10*current) {
			t.Fatalf("epoch %d has %d rows and index %d", current, e.Rows(), e.LedgerIndex())
		}
		if err := e.Check(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if current != activated && current != activated+1 {
		t.Fatalf("current epoch %d, want %d or one more", current, activated)
	}
	if p, ok := s.Pending("care"); ok {
		if int(p.Epoch) != current+1 {
			t.Fatalf("epoch %d is pending after %d", p.Epoch, current)
		}
		if _, _, err := s.Import(context.Background(), "care", instance, person, strings.NewReader(careHeader), m, nil); !errors.Is(err, ErrPending) {
			t.Fatalf("import beside a pending epoch: %v", err)
		}
		if err := s.Activate("care", p.Epoch, 10*p.Epoch); err != nil {
			t.Fatal(err)
		}
		if e, _ := s.Current("care"); e.Root() != p.Root {
			t.Fatal("the pending epoch has another root")
		}
		current++
	}
	for name := range filesOf(t, filepath.Join(dir, "care")) {
		if strings.Contains(name, temporaryPrefix) {
			t.Fatalf("%s is left", name)
		}
	}
	e, r := publish(t, s, m, table(patients(20)))
	if int(e.Number()) != current+1 || r.Added != 20-r.Unchanged {
		t.Fatalf("epoch %d, %+v", e.Number(), r)
	}
	if current > 0 && r.Unchanged < 3 {
		t.Fatalf("the next epoch does not build on the last: %+v", r)
	}
	checkReference(t, e)
}

// Every file of an epoch is damaged in every way a file can be, before and after the store is opened.
func TestDamageIsFound(t *testing.T) {
	s, m, dir, v := careStore(t)
	publish(t, s, m, table(patients(200)))
	publish(t, s, m, table(patients(230)))
	s.Close()
	good := filesOf(t, dir)
	damaged := func(name string, b []byte) map[string][]byte {
		files := make(map[string][]byte, len(good))
		for n, g := range good {
			files[n] = g
		}
		if files[name] = b; b == nil {
			delete(files, name)
		}
		return files
	}
	other := filesOf(t, func() string { // another store of the same vault
		dir := t.TempDir()
		s := openStore(t, dir, v)
		sch, m := careSchema(t)
		if err := s.Declare(sch); err != nil {
			t.Fatal(err)
		}
		publish(t, s, m, table(patients(200)))
		publish(t, s, m, table(patients(230)))
		s.Close()
		return dir
	}())
	for _, name := range []string{"records", "index", "tree", "manifest", "../epochs", "../schema", "../../.vault"} {
		path := filepath.Join("care/epoch-2", name)
		b, ok := good[path]
		if !ok {
			t.Fatalf("no file %s", path)
		}
		cases := map[string][]byte{"missing": nil, "empty": {}, "cut": b[:len(b)-1], "longer": append(bytes.Clone(b), 0)}
		for _, at := range []int{0, 4, len(b) / 3, len(b) / 2, len(b) - 1} {
			flipped := bytes.Clone(b)
			flipped[at] ^= 0x10
			cases[fmt.Sprintf("byte %d", at)] = flipped
		}
		if earlier, ok := good[filepath.Join("care/epoch-1", name)]; ok && !strings.HasPrefix(name, "..") {
			cases["of the epoch before"] = earlier
			cases["of another store"] = other[path]
		}
		for what, c := range cases {
			if name == "../epochs" && what == "missing" {
				continue // then both epochs are pending, which is damage as well, but of another kind: see below
			}
			s, err := Open(restore(t, damaged(path, c)), v)
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, ErrCorrupt) && !(name == "../../.vault" && errors.Is(err, ErrVault)) {
				t.Errorf("%s %s: %v", name, what, err)
			}
		}
	}
	if _, err := Open(restore(t, damaged("care/epochs", nil)), v); !errors.Is(err, ErrCorrupt) {
		t.Errorf("without a list of epochs: %v", err)
	}
	if _, err := Open(restore(t, damaged("care/notes.txt", []byte("x"))), v); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a foreign file: %v", err)
	}

	// An old epoch is verified when it is first asked for.
	bad := bytes.Clone(good["care/epoch-1/records"])
	bad[5] ^= 1
	s = openStore(t, restore(t, damaged("care/epoch-1/records", bad)), v)
	if _, err := s.Epoch("care", 1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a damaged old epoch: %v", err)
	}
}

// Damage that comes after Open is found by the lookup that meets it, and by Check.
func TestDamageUnderAnOpenStore(t *testing.T) {
	for _, name := range []string{recordsName, indexName, treeName} {
		s, m, dir, _ := careStore(t)
		e, _ := publish(t, s, m, table(patients(40)))
		path := filepath.Join(dir, "care", "epoch-1", name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(b)
		for i := 50; i < len(bad); i += 100 {
			bad[i] ^= 1
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Lookup(keyOf(3)); !errors.Is(err, ErrCorrupt) || !errors.Is(err, vault.ErrAltered) {
			t.Errorf("%s changed: %v", name, err)
		}
		if err := e.Check(context.Background(), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s changed: check says %v", name, err)
		}
		if _, _, err := s.Import(context.Background(), "care", instance, person, strings.NewReader(table(patients(41))), m, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s changed: import says %v", name, err)
		}
		if err := os.WriteFile(path, b[:10], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Lookup(keyOf(3)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s cut: %v", name, err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		lookup(t, e, keyOf(3))
		if left, _ := os.ReadDir(filepath.Join(dir, "care")); len(left) != 3 {
			t.Errorf("%s: %d files after a failed import", name, len(left))
		}
	}
}

// A sealed record opens for its own subject and version only, whoever moves it.
func TestSealedRecordsCannotBeSwapped(t *testing.T) {
	s, m, _, _ := careStore(t)
	first, _ := publish(t, s, m, table(patients(4)))
	list := patients(4)
	list[0].visits = 29
	second, _ := publish(t, s, m, table(list))
	entryOf := func(e *Epoch, id int) indexEntry {
		all, err := e.index.all()
		if err != nil {
			t.Fatal(err)
		}
		return all[slices.IndexFunc(all, func(x indexEntry) bool { return x.key == keyOf(id) })]
	}
	one, two := entryOf(second, 1), entryOf(second, 2)
	swapped := one
	swapped.offset, swapped.length = two.offset, two.length
	if _, _, _, err := second.record(&swapped); !errors.Is(err, vault.ErrAltered) {
		t.Errorf("another subject's record: %v", err)
	}
	if sealed, err := second.sealed(&one); err != nil {
		t.Fatal(err)
	} else if _, _, err := second.sealer.open(two.key, one.commitment, sealed); !errors.Is(err, vault.ErrAltered) {
		t.Errorf("another subject's key: %v", err)
	}
	old := entryOf(first, 1)
	if sealed, err := first.sealed(&old); err != nil {
		t.Fatal(err)
	} else if _, _, err := second.sealer.open(one.key, one.commitment, sealed); !errors.Is(err, vault.ErrAltered) {
		t.Errorf("the version before: %v", err)
	}
	sch, _ := careSchema(t)
	sch.Columns[0].Name = "trips"
	if sealed, err := second.sealed(&one); err != nil {
		t.Fatal(err)
	} else if _, _, err := newSealer(second.sealer.vault, sch).open(one.key, one.commitment, sealed); !errors.Is(err, vault.ErrAltered) {
		t.Errorf("under another schema: %v", err)
	}
}

// Another epoch that this store once made with the same number does not pass for the one that was activated.
func TestDiscardedEpochDoesNotReturn(t *testing.T) {
	s, m, dir, v := careStore(t)
	p, _ := importTable(t, s, m, table(patients(3)))
	discarded := filesOf(t, filepath.Join(dir, "care", "epoch-1"))
	if err := s.Discard("care", p.Epoch); err != nil {
		t.Fatal(err)
	}
	publish(t, s, m, table(patients(3)))
	s.Close()
	for name, b := range discarded {
		if err := os.WriteFile(filepath.Join(dir, "care", "epoch-1", name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir, v); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
}

// Nodes and leaves that do not belong together are found even where every seal is right.
func TestTreeMustFitItsLeaves(t *testing.T) {
	s, m, _, _ := careStore(t)
	e, _ := publish(t, s, m, table(patients(40)))
	wrong := *e
	wrong.filler.slot.Commitment.SetOne()
	if _, err := wrong.Lookup(keyAt(5, e.filler.place)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("lookup: %v", err)
	}
	if err := wrong.Check(context.Background(), nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("check: %v", err)
	}
}

// A block opens at its own number only.
func TestBlocksCannotBeSwapped(t *testing.T) {
	s, m, dir, _ := careStore(t)
	e, _ := publish(t, s, m, table(patients(3*entriesPerBlock)))
	path := filepath.Join(dir, "care", "epoch-1", indexName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := len(b) / 3
	if err := os.WriteFile(path, slices.Concat(b[n:2*n], b[:n], b[2*n:]), 0o600); err != nil {
		t.Fatal(err)
	}
	for block, want := range []error{vault.ErrAltered, vault.ErrAltered, nil} {
		if _, err := e.index.block(block); !errors.Is(err, want) {
			t.Errorf("block %d: %v", block, err)
		}
	}
}
