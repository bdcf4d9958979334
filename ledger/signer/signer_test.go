package signer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

const origin = "test.example/GOV/tax/log/1"

type memory []tlog.Hash

func (m memory) ReadHashes(idx []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(idx))
	for i, x := range idx {
		if x >= int64(len(m)) {
			return nil, errors.New("beyond the tree")
		}
		out[i] = m[x]
	}
	return out, nil
}

// grow returns the hashes of n records; those from fork on are another history's.
func grow(t *testing.T, n, fork int) (memory, tlog.Tree) {
	t.Helper()
	var m memory
	for i := range n {
		raw := fmt.Appendf(nil, "record %d", i)
		if i >= fork {
			raw = fmt.Appendf(nil, "forked %d", i)
		}
		h, err := tlog.StoredHashes(int64(i), raw, m)
		if err != nil {
			t.Fatal(err)
		}
		m = append(m, h...)
	}
	root, err := tlog.TreeHash(int64(n), m)
	if err != nil {
		t.Fatal(err)
	}
	return m, tlog.Tree{N: int64(n), Hash: root}
}

func signedNote(t *testing.T, tree tlog.Tree) []byte {
	t.Helper()
	n, err := note.Sign(origin, tree, testKey())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func testKey() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(make([]byte, 32)) }

func testOwner(t *testing.T) (*Owner, *tiles.Disk, string) {
	t.Helper()
	disk, err := tiles.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := disk.Path("signer", "owner.json")
	if err := Create(disk, path, "owner", origin); err != nil {
		t.Fatal(err)
	}
	o, err := LoadOwner(disk, path, origin, testKey())
	if err != nil {
		t.Fatal(err)
	}
	return o, disk, path
}

func TestOwnerSigns(t *testing.T) {
	o, disk, path := testOwner(t)
	var last []byte
	for _, n := range []int{1, 2, 7, 7, 8, 300} {
		m, tree := grow(t, n, n)
		var err error
		if last, err = o.Sign(tree, m); err != nil {
			t.Fatalf("size %d: %v", n, err)
		}
		if c, err := note.Parse(last); err != nil || c.Tree != tree {
			t.Fatalf("size %d: signed %+v, %v", n, c, err)
		}
	}
	again, err := LoadOwner(disk, path, origin, testKey())
	if err != nil || !again.State().equal(o.State()) || again.State().Tree.N != 300 {
		t.Fatalf("state after a restart: %+v, %v", again, err)
	}
	m, tree := grow(t, 300, 300)
	if n, err := again.Sign(tree, m); err != nil || string(n) != string(last) {
		t.Fatalf("the same tree is signed otherwise after a restart: %v", err)
	}
}

func TestOwnerRefuses(t *testing.T) {
	o, _, path := testOwner(t)
	m, tree := grow(t, 10, 10)
	if _, err := o.Sign(tree, m); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		n, fork int
		want    error
	}{
		"smaller": {9, 9, ErrStale}, "empty": {0, 0, ErrStale}, "same size forked": {10, 4, ErrInconsistent},
		"larger forked early": {20, 3, ErrInconsistent}, "larger forked at the end": {20, 9, ErrInconsistent},
	} {
		m, tree := grow(t, tc.n, tc.fork)
		if sig, err := o.Sign(tree, m); !errors.Is(err, tc.want) || sig != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := o.Sign(tlog.Tree{N: 20}, m); err == nil {
		t.Error("signed a tree whose hashes there are not")
	}
	long, _ := grow(t, 20, 20)
	if _, err := o.Sign(tlog.Tree{N: 20}, long); !errors.Is(err, ErrInconsistent) {
		t.Errorf("signed a root that is not the tree's: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("a refusal changed the state: %s, %v", after, err)
	}
}

// The state is on the disk before a signature exists; if it cannot be written there is none.
func TestStateBeforeSignature(t *testing.T) {
	o, disk, path := testOwner(t)
	m, tree := grow(t, 10, 10)
	for _, step := range []tiles.Step{tiles.StepCreate, tiles.StepSync, tiles.StepRename, tiles.StepSyncDir} {
		disk.Before = func(s tiles.Step, _ string) error {
			if s == step {
				return errors.New("broken disk")
			}
			return nil
		}
		if sig, err := o.Sign(tree, m); !errors.Is(err, tiles.ErrDurability) || sig != nil {
			t.Errorf("%s fails: %q, %v", step, sig, err)
		}
		if o.State().Tree.N != 0 {
			t.Errorf("%s fails: state says %d", step, o.State().Tree.N)
		}
	}
	disk.Before = nil
	if _, err := o.Sign(tree, m); err != nil {
		t.Fatal(err)
	}
	again, err := LoadOwner(disk, path, origin, testKey())
	if err != nil || again.State().Tree != tree {
		t.Fatalf("%+v, %v", again, err)
	}
}

func TestMirrorTimes(t *testing.T) {
	disk, err := tiles.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := disk.Path("signer", "mirror", "x.json")
	if err := Create(disk, path, "mirror", origin); err != nil {
		t.Fatal(err)
	}
	open := func() *Mirror {
		m, err := LoadMirror(disk, path, origin, "test.example/GOV/civil/mirror/1", testKey())
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	hashes, tree := grow(t, 5, 5)
	at := time.Date(2026, 3, 1, 12, 0, 0, 5e8, time.UTC)
	const slack = 5 * time.Second
	for i, tc := range []struct {
		now  time.Duration
		want time.Duration // -1: refused
	}{{0, 0}, {10 * time.Second, 10 * time.Second}, {6 * time.Second, 10 * time.Second}, {4 * time.Second, -1}, {time.Minute, time.Minute}} {
		m := open() // what counts is on the disk
		_, got, err := m.Cosign(tree, signedNote(t, tree), hashes, at.Add(tc.now), slack)
		switch {
		case tc.want < 0 && !errors.Is(err, ErrClock):
			t.Errorf("step %d: %v", i, err)
		case tc.want >= 0 && (err != nil || !got.Equal(at.Add(tc.want).Truncate(time.Second))):
			t.Errorf("step %d: %v, %v", i, got, err)
		}
	}
	if got := open().State().Note; string(got) != string(signedNote(t, tree)) {
		t.Errorf("kept checkpoint: %q", got)
	}
	_, smaller := grow(t, 4, 4)
	for name, signed := range map[string][]byte{"none": nil, "of another tree": signedNote(t, smaller), "garbage": []byte("x\n\ny\n")} {
		if line, _, err := open().Cosign(tree, signed, hashes, at.Add(time.Hour), slack); !errors.Is(err, note.ErrNote) || line != "" {
			t.Errorf("checkpoint %s: %v", name, err)
		}
	}
	forked, other := grow(t, 9, 2)
	if line, _, err := open().Cosign(other, signedNote(t, other), forked, at.Add(time.Hour), slack); !errors.Is(err, ErrInconsistent) || line != "" {
		t.Errorf("cosigned a fork: %v", err)
	}
}

// withSum adds to a state file the SHA-256 of what it is without.
func withSum(doc string) string {
	return fmt.Sprintf(`%s,"sum":"%x"}`, strings.TrimSuffix(doc, "}"), sha256.Sum256([]byte(doc)))
}

func TestLoadRefuses(t *testing.T) {
	_, disk, path := testOwner(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const root = `e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855`
	if want := withSum(`{"role":"owner","origin":"` + origin + `","size":"0","root":"` + root + `","time":"0"}`); string(good) != want {
		t.Fatalf("state file is %s", good)
	}
	for name, doc := range map[string]string{
		"empty":         "",
		"torn":          string(good[:20]),
		"another role":  `{"role":"mirror","origin":"` + origin + `","size":"0","root":"` + root + `","time":"0"}`,
		"another log":   `{"role":"owner","origin":"x","size":"0","root":"` + root + `","time":"0"}`,
		"negative size": `{"role":"owner","origin":"` + origin + `","size":"-1","root":"` + root + `","time":"0"}`,
		"huge size":     `{"role":"owner","origin":"` + origin + `","size":"1125899906842625","root":"` + root + `","time":"0"}`,
		"short root":    `{"role":"owner","origin":"` + origin + `","size":"0","root":"00","time":"0"}`,
		"negative time": `{"role":"owner","origin":"` + origin + `","size":"0","root":"` + root + `","time":"-1"}`,
		"size twice":    `{"role":"owner","origin":"` + origin + `","size":"0","size":"1","root":"` + root + `","time":"0"}`,
		"checkpoint of another tree": `{"role":"owner","origin":"` + origin + `","size":"0","root":"` + root + `","time":"0","checkpoint":` +
			strconv.Quote(string(signedNote(t, tlog.Tree{N: 1}))) + `}`,
		"space":        `{"role":"owner", "origin":"` + origin + `","size":"0","root":"` + root + `","time":"0"}`,
		"another sum":  string(good[:len(good)-3]) + "00}",
		"without sum":  strings.Split(string(good), `,"sum"`)[0] + "}",
		"another size": strings.Replace(string(good), `"size":"0"`, `"size":"1"`, 1),
		"too long":     string(good) + string(make([]byte, 5000)),
	} {
		if strings.HasPrefix(doc, "{") && strings.HasSuffix(doc, "}") && !strings.Contains(doc, `"sum"`) && name != "without sum" {
			doc = withSum(doc)
		}
		if err := os.WriteFile(path, []byte(doc), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadOwner(disk, path, origin, testKey()); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := LoadOwner(disk, filepath.Join(disk.Path(), "none"), origin, testKey()); !errors.Is(err, ErrState) {
		t.Errorf("missing: %v", err)
	}
	if ok, err := Exists(disk, filepath.Join(disk.Path(), "none")); ok || err != nil {
		t.Errorf("missing file exists: %v", err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	disk, err := tiles.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Acquire(disk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(disk); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l, err = Acquire(disk); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Release(), os.RemoveAll(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(disk); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("locked a folder that is not there: %v", err)
	}
}
