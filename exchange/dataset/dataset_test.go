package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/network"
)

const instance = "grille-test"

var person = network.Scheme{Name: "person", Pattern: `[A-Z]{4}-[0-9]{6}`, Normalise: "upper", Example: "NMES-000001"}

// The shape of the National Medical Expenditure Survey's table, with a text column beside it.
const careYAML = `
dataset: care
title: Care visits
scheme: person
id: {column: person}
columns:
  - {name: visits, type: int, unit: count}
  - {name: health, type: enum, codes: [poor, average, excellent]}
  - {name: age, type: int, unit: years, multiply: 10}
  - {name: married, type: bool, map: {yes: true, no: false}}
  - {name: income, type: decimal, scale: 2, unit: dollars, multiply: 10000}
  - {name: street, type: text}
`

const careHeader = "person,visits,health,age,married,income,street,medicaid\n"

func careSchema(t testing.TB) (*schema.Schema, *schema.Mapping) {
	t.Helper()
	s, m, err := schema.Load([]byte(careYAML))
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

// A patient is a row of the synthetic table.
type patient struct {
	id     int
	visits int
	street string
}

func (p patient) String() string {
	medicaid := [2]string{"no", "yes"}[p.id%2]
	return fmt.Sprintf("NMES-%06d,%d,%s,%d.%d,%s,%d.%04d,%s,%s\n", p.id, p.visits, [3]string{"poor", "average", "excellent"}[p.id%3],
		6+p.id%4, p.id%10, [2]string{"yes", "no"}[p.id/2%2], p.id%7-1, p.id%10000, p.street, medicaid)
}

func patients(n int) []patient {
	list := make([]patient, n)
	for i := range list {
		list[i] = patient{id: i + 1, visits: i % 30, street: fmt.Sprintf("Street %d", i%50)}
	}
	return list
}

func table(list []patient) string {
	var b strings.Builder
	b.WriteString(careHeader)
	for _, p := range list {
		b.WriteString(p.String())
	}
	return b.String()
}

func keyOf(id int) circuits.Key {
	return circuits.SubjectKey(instance, "person", fmt.Sprintf("NMES-%06d", id))
}

func testVault(t testing.TB) *vault.Vault {
	t.Helper()
	v, err := vault.Open(filepath.Join(t.TempDir(), "keyset"))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func openStore(t testing.TB, dir string, v *vault.Vault) *Store {
	t.Helper()
	s, err := Open(dir, v)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// careStore is a fresh store with the dataset declared.
func careStore(t testing.TB) (s *Store, m *schema.Mapping, dir string, v *vault.Vault) {
	t.Helper()
	dir, v = t.TempDir(), testVault(t)
	s = openStore(t, dir, v)
	sch, m := careSchema(t)
	if err := s.Declare(sch); err != nil {
		t.Fatal(err)
	}
	return s, m, dir, v
}

func importTable(t testing.TB, s *Store, m *schema.Mapping, csv string) (*Prepared, *Report) {
	t.Helper()
	p, r, err := s.Import(context.Background(), "care", instance, person, strings.NewReader(csv), m, nil)
	if err != nil {
		for _, problem := range r.Problems {
			t.Log(problem)
		}
		t.Fatal(err)
	}
	return p, r
}

// publish imports a table and activates it with a ledger index of ten times the epoch.
func publish(t testing.TB, s *Store, m *schema.Mapping, csv string) (*Epoch, *Report) {
	t.Helper()
	p, r := importTable(t, s, m, csv)
	if err := s.Activate("care", p.Epoch, 10*p.Epoch); err != nil {
		t.Fatal(err)
	}
	e, ok := s.Current("care")
	if !ok || e.Number() != p.Epoch || e.Root() != p.Root || e.LedgerIndex() != 10*p.Epoch || e.RootHex() != p.RootHex() {
		t.Fatalf("current epoch %v after activating %+v", e, p)
	}
	return e, r
}

func lookup(t testing.TB, e *Epoch, key circuits.Key) Found {
	t.Helper()
	f, err := e.Lookup(key)
	if err != nil {
		t.Fatal(err)
	}
	if root := f.Opening.Root(key.Place()); root != e.Root() {
		t.Fatal("an opening does not lead to the root")
	}
	holds := 0
	for _, slot := range f.Opening.Bucket {
		if slot.Key == key.Element() {
			holds++
			if f.Record != nil && f.Record.Commitment(f.Salt) != slot.Commitment {
				t.Fatal("a record does not match its slot")
			}
		}
	}
	if (f.Record != nil) != (holds == 1) || holds > 1 || (f.Row != nil) != (f.Record != nil) {
		t.Fatalf("record %v with %d slots", f.Record != nil, holds)
	}
	return f
}

func TestImportAndLookup(t *testing.T) {
	s, m, dir, v := careStore(t)
	list := patients(700)
	e, r := publish(t, s, m, table(list))
	if r.Rows != 700 || r.Accepted != 700 || r.Added != 700 || r.Changed+r.Unchanged+r.Removed+r.Filtered+r.ProblemCount != 0 ||
		len(r.Ignored) != 1 || r.Ignored[0] != "medicaid" {
		t.Fatalf("%+v", r)
	}
	check := func(e *Epoch) {
		t.Helper()
		for _, p := range list {
			f := lookup(t, e, keyOf(p.id))
			if f.Record == nil || f.Row[0].Number != int64(p.visits) || f.Row[5].Text != p.street || f.Row[2].Number != int64(60+p.id%4*10+p.id%10) {
				t.Fatalf("patient %d: %+v", p.id, f.Row)
			}
			if want, err := e.Schema().Encode(f.Row); err != nil || want != *f.Record {
				t.Fatalf("patient %d: record and row differ: %v", p.id, err)
			}
		}
		for id := 701; id < 900; id++ {
			if f := lookup(t, e, keyOf(id)); f.Record != nil || !f.Salt.IsZero() {
				t.Fatalf("absent patient %d has a record", id)
			}
		}
	}
	check(e)
	if err := e.Check(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Lookup(keyOf(1)); !errors.Is(err, ErrClosed) {
		t.Fatalf("lookup after close: %v", err)
	}
	s = openStore(t, dir, v)
	e, ok := s.Current("care")
	if !ok || e.Number() != 1 || e.LedgerIndex() != 10 || e.Rows() != 700 {
		t.Fatalf("epoch after reopening: %v", e)
	}
	check(e)
}

// The statement's native side accepts the openings: of a present subject, of an absent one, and of one at the filler's place.
func TestOpeningsServeTheStatement(t *testing.T) {
	s, m, _, _ := careStore(t)
	e, _ := publish(t, s, m, table(patients(50)))
	program := &circuits.Program{
		Atoms:    []circuits.Atom{{Columns: []circuits.Term{{Column: 0, Coefficient: 1}}, Constant: 0, Test: "ge0"}},
		Gates:    []circuits.Gate{{Atoms: []int{1}, Threshold: 1}},
		OnAbsent: circuits.NoRecord, OnMissing: circuits.Indeterminate,
	}
	var atFiller circuits.Key
	bigEndian(atFiller[8:], e.filler.place)
	if atFiller.Place() != e.filler.place {
		t.Fatal("a key that is a place lies elsewhere")
	}
	for key, want := range map[circuits.Key]circuits.Verdict{keyOf(7): circuits.Satisfied, keyOf(99): circuits.NoRecord, atFiller: circuits.NoRecord} {
		f := lookup(t, e, key)
		secret := circuits.Secret{Key: key, Salt: f.Salt, Record: f.Record, Opening: f.Opening}
		secret.TagNonce.SetUint64(5)
		public, err := secret.Public(e.Root(), fr.Element{}, fr.Element{}, [circuits.Columns]bool{}, program)
		if err != nil || public.Verdict != want {
			t.Errorf("want %v: %+v, %v", want, public, err)
		}
	}
	f := lookup(t, e, atFiller)
	if !containsSlot(f.Opening.Bucket, e.filler.slot) {
		t.Error("the filler is not in the bucket at its place")
	}
}

func containsSlot(b circuits.Bucket, s circuits.Slot) bool {
	for i := range b {
		if b[i] == s {
			return true
		}
	}
	return false
}

func bigEndian(b []byte, u uint64) {
	for i := range 8 {
		b[i] = byte(u >> (56 - 8*i))
	}
}

func TestEmptyDataset(t *testing.T) {
	s, m, dir, v := careStore(t)
	e, r := publish(t, s, m, careHeader)
	if r.Rows != 0 || e.Rows() != 0 || e.Root() == circuits.EmptyNode(circuits.Levels) {
		t.Fatalf("%+v, root %s", r, e.RootHex())
	}
	lookup(t, e, keyOf(1))
	if err := e.Check(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
	again, _ := publish(t, s, m, careHeader)
	if again.Root() == e.Root() {
		t.Fatal("two empty epochs have one root")
	}
	full, r := publish(t, s, m, table(patients(3)))
	if r.Added != 3 {
		t.Fatalf("%+v", r)
	}
	lookup(t, full, keyOf(1))
	_, r = publish(t, s, m, careHeader)
	if r.Removed != 3 {
		t.Fatalf("%+v", r)
	}
	s.Close()
	s = openStore(t, dir, v)
	if e, _ = s.Current("care"); e.Number() != 4 {
		t.Fatalf("epoch %d", e.Number())
	}
}

// referenceRoot hashes a snapshot level by level from a map of buckets: slow, and nothing like the code under test.
func referenceRoot(s *snapshot) fr.Element {
	buckets := make(map[uint64]*circuits.Bucket)
	put := func(place uint64, slot circuits.Slot) {
		if buckets[place] == nil {
			b := circuits.EmptyBucket()
			buckets[place] = &b
		}
		for i := range buckets[place] {
			if empty := circuits.EmptyBucket(); buckets[place][i] == empty[0] {
				buckets[place][i] = slot
				return
			}
		}
		panic("bucket overflow in the test")
	}
	for i := range s.entries {
		slot := circuits.Slot{Key: s.entries[i].key.Element()}
		slot.Commitment.SetBytes(s.entries[i].commitment[:])
		put(s.entries[i].key.Place(), slot)
	}
	put(s.filler.place, s.filler.slot)
	nodes := make(map[uint64]fr.Element)
	for place, b := range buckets {
		nodes[place] = b.Hash()
	}
	for level := range circuits.Levels {
		above := make(map[uint64]fr.Element)
		for n := range nodes {
			var child [3]fr.Element
			for i := range child {
				var ok bool
				if child[i], ok = nodes[n/3*3+uint64(i)]; !ok {
					child[i] = circuits.EmptyNode(level)
				}
			}
			above[n/3] = circuits.NodeHash(child[0], child[1], child[2])
		}
		nodes = above
	}
	return nodes[0]
}

func checkReference(t testing.TB, e *Epoch) {
	t.Helper()
	snap, err := e.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if referenceRoot(snap) != e.Root() {
		t.Fatal("the root is not that of the reference")
	}
	if err := e.Check(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

// A dataset goes through random changes of every kind and size; each epoch must equal one made from nothing, and exactly the
// records that changed get new commitments.
func TestIncrementalEqualsFull(t *testing.T) {
	s, m, _, _ := careStore(t)
	random := rand.New(rand.NewPCG(1, 2))
	now := map[int]patient{}
	next := 1
	var previous *Epoch
	for round, size := range []int{5, 40, 41, 41, 300, 290, 30, 2, 120, 120} {
		before := map[int]patient{}
		for id, p := range now {
			before[id] = p
			switch random.IntN(10) {
			case 0:
				p.visits++
				now[id] = p
			case 1:
				if round != 3 {
					delete(now, id)
				}
			}
		}
		for len(now) > size {
			for id := range now {
				delete(now, id)
				break
			}
		}
		for ; len(now) < size; next++ {
			now[next] = patient{id: next, visits: 1, street: "A"}
		}
		var list []patient
		for _, p := range now {
			list = append(list, p)
		}
		e, r := publish(t, s, m, table(list))
		checkReference(t, e)
		var added, changed, kept int
		for id, p := range now {
			f := lookup(t, e, keyOf(id))
			old, was := before[id]
			switch {
			case !was:
				added++
			case old == p:
				kept++
				if g := lookup(t, previous, keyOf(id)); g.Salt != f.Salt || *g.Record != *f.Record {
					t.Fatalf("round %d: an unchanged record has another leaf", round)
				}
			default:
				changed++
				if g := lookup(t, previous, keyOf(id)); g.Salt == f.Salt || *g.Record == *f.Record {
					t.Fatalf("round %d: a changed record kept its salt", round)
				}
			}
		}
		removed := len(before) - changed - kept
		if r.Added != added || r.Changed != changed || r.Unchanged != kept || r.Removed != removed {
			t.Fatalf("round %d: %+v, want %d added %d changed %d kept %d removed", round, r, added, changed, kept, removed)
		}
		for id := range before {
			if _, stays := now[id]; !stays && lookup(t, e, keyOf(id)).Record != nil {
				t.Fatalf("round %d: a removed record is there", round)
			}
		}
		if previous != nil && previous.Root() == e.Root() {
			t.Fatalf("round %d: the root is that of the round before", round)
		}
		previous = e
	}
}

// filesOf reads everything under a folder.
func filesOf(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestNothingInClearOnDisk(t *testing.T) {
	s, m, dir, _ := careStore(t)
	e, _ := publish(t, s, m, table([]patient{{id: 7, visits: 3, street: "Unmistakable Street"}}))
	f := lookup(t, e, keyOf(7))
	key, salt, commitment := keyOf(7), f.Salt.Bytes(), f.Record.Commitment(f.Salt)
	leaf := commitment.Bytes()
	var place [8]byte
	bigEndian(place[:], key.Place())
	for name, b := range filesOf(t, dir) {
		for what, secret := range map[string][]byte{"text": []byte("Unmistakable"), "identifier": []byte("NMES-000007"), "key": key[:],
			"salt": salt[:], "commitment": leaf[:], "place": place[:], "place in decimal": fmt.Append(nil, key.Place())} {
			if bytes.Contains(b, secret) {
				t.Errorf("file %s shows a %s", name, what)
			}
		}
	}
	info, err := os.Stat(filepath.Join(dir, "care", "epoch-1"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("epoch's folder: %v, %v", info.Mode(), err)
	}
}
