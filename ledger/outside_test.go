package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	xnote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// A history is entries of a log with their hashes, as a stranger holds them.
type outsideLog struct {
	tb      testing.TB
	origin  string
	owner   string
	entries [][]byte
	hashes  []tlog.Hash
}

func newHistory(tb testing.TB, c *cluster, owner string, entries [][]byte) *outsideLog {
	h := &outsideLog{tb: tb, origin: c.cfg.Origin(owner), owner: owner, entries: entries}
	for i, e := range entries {
		more, err := tlog.StoredHashes(int64(i), e, h)
		if err != nil {
			tb.Fatal(err)
		}
		h.hashes = append(h.hashes, more...)
	}
	return h
}

func (h *outsideLog) ReadHashes(idx []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(idx))
	for i, x := range idx {
		out[i] = h.hashes[x]
	}
	return out, nil
}

func (h *outsideLog) note(n int64) []byte {
	h.tb.Helper()
	root, err := tlog.TreeHash(n, h)
	if err != nil {
		h.tb.Fatal(err)
	}
	data, err := note.Sign(h.origin, tlog.Tree{N: n, Hash: root}, testKey("log "+h.owner))
	if err != nil {
		h.tb.Fatal(err)
	}
	return data
}

func (h *outsideLog) proof(from, to int64) []tlog.Hash {
	h.tb.Helper()
	if from == 0 || from == to {
		return nil
	}
	p, err := tlog.ProveTree(to, from, h)
	if err != nil {
		h.tb.Fatal(err)
	}
	return p
}

// pack returns the packages of an upload of [start, end).
func (h *outsideLog) pack(start, end int64) []note.Package {
	h.tb.Helper()
	var out []note.Package
	for at := start; at < end; {
		p := note.AddEntries{End: end}.Next(at)
		p.Entries = h.entries[p.Start:p.End]
		var err error
		if p.Proof, err = note.ProveSubtree(p.Base(), p.End, end, h); err != nil {
			h.tb.Fatal(err)
		}
		out, at = append(out, p), p.End
	}
	return out
}

func witnessVerifier(tb testing.TB, member string) *torchwood.CosignatureVerifier {
	tb.Helper()
	v, err := torchwood.NewCosignatureVerifier(WitnessVKey(testInstance, member, testKey("witness "+member).Public().(ed25519.PublicKey)))
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestWitnessGrowsWithALog(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/health"]
	h := newHistory(t, c, "GOV/tax", rawEntries(t, 1, 300))
	v := witnessVerifier(t, "GOV/health")
	if got, err := s.Witnessed(h.origin); got != nil || err != nil {
		t.Fatalf("before the first: %q, %v", got, err)
	}
	last := int64(0)
	for _, n := range []int64{1, 2, 255, 256, 256, 257, 300} {
		c.clock.add(time.Minute)
		line, size, err := s.AddOutside(h.origin, last, h.proof(last, n), h.note(n))
		if err != nil || size != n {
			t.Fatalf("size %d: %d, %v", n, size, err)
		}
		full, err := s.Witnessed(h.origin)
		if err != nil || !bytes.Equal(full, append(h.note(n), line...)) {
			t.Errorf("size %d: served as %q, %v", n, full, err)
		}
		sigs, err := note.ParseLines(line)
		if err != nil {
			t.Fatal(err)
		}
		ck, err := note.Parse(h.note(n))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := note.VerifyOutside(v, ck.Text, sigs); err != nil || !out.Time.Equal(c.clock.now()) {
			t.Errorf("size %d: %+v, %v", n, out, err)
		}
		if _, err := xnote.Open(full, xnote.VerifierList(v)); err != nil {
			t.Errorf("size %d: x/mod: %v", n, err)
		}
		if n == 256 {
			s = c.reopen("GOV/health")
		}
		last = n
	}
	if n := s.Size(h.origin); n != 0 {
		t.Errorf("a witness stored %d entries", n)
	}
	if m, err := s.Mirrored(h.origin); m != nil || err != nil {
		t.Errorf("the mirror key signed %q, %v", m, err)
	}
	if _, ok := s.Final(h.origin); ok {
		t.Error("a witness's cosignature made a head final")
	}
}

func TestWitnessRefuses(t *testing.T) {
	c := newCluster(t, "GOV/audit")
	s := c.stores["GOV/health"]
	good := rawEntries(t, 1, 20)
	h := newHistory(t, c, "GOV/tax", good)
	fork := newHistory(t, c, "GOV/tax", append(append([][]byte{}, good[:6]...), rawEntries(t, 100, 20)...))
	if _, _, err := s.AddOutside(h.origin, 0, nil, h.note(10)); err != nil {
		t.Fatal(err)
	}
	forged, err := note.Sign(h.origin, tlog.Tree{N: 12}, testKey("log GOV/civil"))
	if err != nil {
		t.Fatal(err)
	}
	own := newHistory(t, c, "GOV/health", good)
	for _, tc := range []struct {
		name   string
		origin string
		old    int64
		proof  []tlog.Hash
		note   []byte
		want   error
	}{
		{"old size 0", h.origin, 0, nil, h.note(12), ErrOldSize},
		{"smaller old size", h.origin, 9, h.proof(9, 12), h.note(12), ErrOldSize},
		{"larger old size", h.origin, 11, h.proof(11, 12), h.note(12), ErrOldSize},
		{"smaller tree", h.origin, 10, nil, h.note(9), note.ErrRequest},
		{"no proof", h.origin, 10, nil, h.note(12), ErrBadProof},
		{"proof from elsewhere", h.origin, 10, h.proof(9, 12), h.note(12), ErrBadProof},
		{"proof of nothing", h.origin, 10, h.proof(9, 10), h.note(10), ErrBadProof},
		{"forked growth", h.origin, 10, fork.proof(10, 12), fork.note(12), ErrBadProof},
		{"another key", h.origin, 10, h.proof(10, 12), forged, note.ErrSignature},
		{"another origin's checkpoint", c.cfg.Origin("GOV/civil"), 0, nil, h.note(12), note.ErrSignature},
		{"unknown origin", "test.example/GOV/none/log/1", 0, nil, h.note(12), ErrOrigin},
		{"own origin", own.origin, 0, nil, own.note(3), ErrOrigin},
		{"no note", h.origin, 10, nil, []byte("no note"), note.ErrNote},
	} {
		line, size, err := s.AddOutside(tc.origin, tc.old, tc.proof, tc.note)
		if !errors.Is(err, tc.want) || line != nil {
			t.Errorf("%s: %q, %v, want %v", tc.name, line, err, tc.want)
		}
		if errors.Is(tc.want, ErrOldSize) && size != 10 {
			t.Errorf("%s: told size %d", tc.name, size)
		}
	}
	if len(s.Evidence()) != 0 {
		t.Error("evidence against an owner that signed one history only")
	}
	if _, _, err := s.AddOutside(h.origin, 10, nil, fork.note(10)); !errors.Is(err, ErrTwoRoots) {
		t.Errorf("two roots of one size: %v", err)
	}
	if len(s.Evidence()) != 1 || !s.Halted(h.origin) {
		t.Error("two roots of one size leave no evidence")
	}
	if _, _, err := s.AddOutside(h.origin, 10, h.proof(10, 12), h.note(12)); !errors.Is(err, ErrHalted) {
		t.Errorf("after evidence: %v", err)
	}
	c.clock.add(-time.Hour)
	other := newHistory(t, c, "GOV/civil", good)
	if _, _, err := s.AddOutside(other.origin, 0, nil, other.note(3)); err != nil {
		t.Errorf("first of another log: %v", err)
	}
	c.clock.add(-time.Hour)
	if _, _, err := s.AddOutside(other.origin, 3, nil, other.note(3)); !errors.Is(err, signer.ErrClock) {
		t.Errorf("clock gone back: %v", err)
	}
}

// A checkpoint that contradicts the entries stored here shows that its owner forked, whatever the witness cosigned.
func TestWitnessComparesWithTheReplica(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/health"]
	good := rawEntries(t, 1, 10)
	h := newHistory(t, c, "GOV/tax", good)
	if _, err := s.AddCheckpoint(Push{h.origin, h.note(10), 0, good}); err != nil {
		t.Fatal(err)
	}
	fork := newHistory(t, c, "GOV/tax", rawEntries(t, 50, 10))
	if line, _, err := s.AddOutside(h.origin, 0, nil, fork.note(8)); !errors.Is(err, ErrBadProof) || line != nil {
		t.Errorf("%q, %v", line, err)
	}
	if len(s.Evidence()) != 1 {
		t.Error("no evidence was kept")
	}
}

// The witness signs nothing before its state is on the disk, and nothing before a quorum was heard.
func TestWitnessStateBeforeSignature(t *testing.T) {
	c := newCluster(t)
	h := newHistory(t, c, "GOV/tax", rawEntries(t, 1, 20))
	if err := c.stores["GOV/health"].Close(); err != nil {
		t.Fatal(err)
	}
	s := c.openSilent("GOV/health")
	if line, _, err := s.AddOutside(h.origin, 0, nil, h.note(5)); !errors.Is(err, ErrStarting) || line != nil {
		t.Errorf("before a quorum was heard: %q, %v", line, err)
	}
	hear(t, s)
	for _, step := range []tiles.Step{tiles.StepCreate, tiles.StepSync, tiles.StepRename, tiles.StepSyncDir} {
		s.disk.Before = func(at tiles.Step, path string) error {
			if at == step {
				return errors.New("broken disk")
			}
			return nil
		}
		if line, _, err := s.AddOutside(h.origin, 0, nil, h.note(5)); !errors.Is(err, ErrStopped) || line != nil {
			t.Errorf("%s fails: %q, %v", step, line, err)
		}
		s.disk.Before = nil
		s = c.reopen("GOV/health")
	}
	// The last step may have failed after the state stood: what it says counts.
	_, size, err := s.AddOutside(h.origin, 5, nil, h.note(5))
	if err != nil && !errors.Is(err, ErrOldSize) {
		t.Fatal(err)
	}
	line, _, err := s.AddOutside(h.origin, size, h.proof(size, 20), h.note(20))
	if err != nil || line == nil {
		t.Fatalf("after the disk was mended: %q, %v", line, err)
	}
}

func TestWitnessState(t *testing.T) {
	c := newCluster(t)
	h := newHistory(t, c, "GOV/tax", rawEntries(t, 1, 20))
	s := c.stores["GOV/health"]
	if _, _, err := s.AddOutside(h.origin, 0, nil, h.note(10)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddCheckpoint(Push{h.origin, h.note(10), 0, h.entries[:10]}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.path("GOV/health"), "signer", "witness", escape(h.origin)+".json")
	data, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(data), `{"role":"witness","origin":"`+h.origin+`","size":"10",`) {
		t.Fatalf("state is %s, %v", data, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	delete(c.stores, "GOV/health")
	for _, damage := range []func() error{func() error { return os.Remove(path) }, func() error { return os.WriteFile(path, data[:40], 0o600) }} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(c.options("GOV/health")); !errors.Is(err, signer.ErrState) || s != nil {
			t.Errorf("opened with a damaged witness state: %v", err)
		}
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	shared := c.options("GOV/health")
	shared.WitnessKey = shared.MirrorKey
	if _, err := Open(shared); err == nil || !strings.Contains(err.Error(), "of its own") {
		t.Errorf("a witness key that is the mirror's: %v", err)
	}
	none := c.options("GOV/health")
	none.WitnessKey = nil
	s, err = Open(none)
	if err != nil {
		t.Fatal(err)
	}
	hear(t, s)
	if _, _, err := s.AddOutside(h.origin, 10, nil, h.note(10)); !errors.Is(err, ErrNotWitness) {
		t.Errorf("without a key: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	anew := c.options("GOV/health")
	anew.WitnessKey = testKey("a new witness key")
	if s, err = Open(anew); err != nil {
		t.Fatalf("a new key needs no old state: %v", err)
	}
	c.stores["GOV/health"] = s
	hear(t, s)
	if _, _, err := s.AddOutside(h.origin, 0, nil, h.note(5)); err != nil {
		t.Error(err)
	}
}

func TestUpload(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/health"]
	h := newHistory(t, c, "GOV/tax", rawEntries(t, 1, 700))
	for _, step := range []struct{ start, end int64 }{{0, 10}, {10, 300}, {256, 300}, {290, 700}, {700, 700}} {
		cp := h.note(step.end)
		packages := h.pack(step.start, step.end)
		if len(packages) == 0 {
			packages = []note.Package{{Start: step.end, End: step.end}}
		}
		for i, p := range packages {
			reply, err := s.AddPackage(h.origin, cp, p)
			if err != nil {
				t.Fatalf("%v, package %d: %v", step, i, err)
			}
			if last := i == len(packages)-1; (len(reply.Cosignature) > 0) != last {
				t.Errorf("%v, package %d: cosignature %q", step, i, reply.Cosignature)
			}
		}
		got, err := s.Mirrored(h.origin)
		if err != nil || !bytes.HasPrefix(got, cp) || len(got) == len(cp) {
			t.Errorf("%v: served as %q, %v", step, got, err)
		}
		if n := s.Size(h.origin); n != uint64(step.end) || s.Missing(h.origin) != step.end {
			t.Errorf("%v: size %d, missing from %d", step, n, s.Missing(h.origin))
		}
	}
	if w, err := s.Witnessed(h.origin); w != nil || err != nil {
		t.Errorf("an upload was witnessed: %q, %v", w, err)
	}
	if _, err := s.AddPackage(h.origin, h.note(600), note.Package{Start: 600, End: 600}); !errors.Is(err, ErrStale) {
		t.Errorf("smaller than cosigned: %v", err)
	}
}

func TestUploadRefuses(t *testing.T) {
	c := newCluster(t, "GOV/audit")
	s := c.stores["GOV/health"]
	h := newHistory(t, c, "GOV/tax", rawEntries(t, 1, 600))
	if _, err := s.AddPackage(h.origin, h.note(100), h.pack(0, 100)[0]); err != nil {
		t.Fatal(err)
	}
	cp := h.note(600)
	good := h.pack(100, 600)
	change := func(f func(p *note.Package)) note.Package {
		p := good[0]
		p.Entries = append([][]byte{}, p.Entries...)
		p.Proof = append([]tlog.Hash{}, p.Proof...)
		f(&p)
		return p
	}
	for _, tc := range []struct {
		name string
		note []byte
		p    note.Package
		want error
	}{
		{"a changed entry", cp, change(func(p *note.Package) { p.Entries[7] = []byte("{}") }), ErrBadProof},
		{"a changed hash", cp, change(func(p *note.Package) { p.Proof[0][5] ^= 1 }), ErrBadProof},
		{"no proof", cp, change(func(p *note.Package) { p.Proof = nil }), ErrBadProof},
		{"an entry too few", cp, change(func(p *note.Package) { p.Entries = p.Entries[1:] }), note.ErrRequest},
		{"an entry elsewhere", cp, change(func(p *note.Package) { p.Start, p.Entries = p.Start+1, p.Entries[1:] }), ErrGap},
		{"the next package", cp, good[1], ErrGap},
		{"another checkpoint's proof", h.note(599), good[0], ErrBadProof},
		{"across a package's end", cp, note.Package{Start: 100, End: 300, Entries: h.entries[100:300]}, note.ErrRequest},
		{"an empty entry", cp, change(func(p *note.Package) { p.Entries[0] = nil }), ErrBadProof},
		{"not the owner's checkpoint", bytes.Replace(cp, []byte("— test"), []byte("— best"), 1), good[0], note.ErrSignature},
	} {
		if reply, err := s.AddPackage(h.origin, tc.note, tc.p); !errors.Is(err, tc.want) || len(reply.Cosignature) > 0 {
			t.Errorf("%s: %q, %v, want %v", tc.name, reply.Cosignature, err, tc.want)
		}
		if n := s.Stored(h.origin); n != 100 {
			t.Fatalf("%s: stored %d entries", tc.name, n)
		}
	}
	if _, err := c.stores["GOV/audit"].AddPackage(h.origin, cp, good[0]); !errors.Is(err, ErrNotMirror) && !errors.Is(err, ErrGap) {
		t.Errorf("no mirror: %v", err)
	}
	if _, err := s.AddPackage(c.cfg.Origin("GOV/health"), cp, good[0]); !errors.Is(err, note.ErrSignature) {
		t.Errorf("another origin: %v", err)
	}
}

// Entries that a peer sent wrongly do not stop an upload: they are dropped, and Missing says what to send again.
func TestUploadAfterWrongEntries(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/health"]
	h := newHistory(t, c, "GOV/tax", rawEntries(t, 1, 300))
	cp := h.note(300)
	if _, err := s.AddCheckpoint(Push{h.origin, cp, 0, rawEntries(t, 500, 260)}); err != nil {
		t.Fatal(err)
	}
	if n := s.Missing(h.origin); n != 256 {
		t.Fatalf("missing from %d", n)
	}
	reply, err := s.AddPackage(h.origin, cp, h.pack(256, 300)[0])
	if err == nil && len(reply.Cosignature) > 0 {
		t.Fatal("cosigned wrong entries")
	}
	var at int64
	for range 3 {
		at = s.Missing(h.origin)
		for _, p := range h.pack(at, 300) {
			if reply, err = s.AddPackage(h.origin, cp, p); err != nil {
				break
			}
		}
		if len(reply.Cosignature) > 0 {
			return
		}
	}
	t.Fatalf("never cosigned; last from %d: %v", at, err)
}

// TestTile compares each tile of each size with one made by definition, also once larger tiles have taken its place.
func TestTile(t *testing.T) {
	c := newCluster(t)
	raws := rawEntries(t, 1, 600)
	h := newHistory(t, c, "GOV/tax", raws)
	s := c.stores["GOV/health"]
	at := int64(0)
	sizes := []int64{1, 2, 255, 256, 257, 511, 512, 513, 600}
	for _, n := range sizes {
		if _, err := s.AddCheckpoint(Push{h.origin, h.note(n), uint64(at), raws[at:n]}); err != nil {
			t.Fatal(err)
		}
		at = n
		checkTile(t, s, h, n)
	}
	for _, n := range sizes {
		checkTile(t, s, h, n)
	}
	s = c.reopen("GOV/health")
	for _, n := range sizes {
		checkTile(t, s, h, n)
	}
	for _, bad := range []tlog.Tile{{H: 8, L: 0, N: 2, W: 89}, {H: 8, L: 0, N: 3, W: 1}, {H: 8, L: -1, N: 2, W: 89}, {H: 8, L: 1, N: 0, W: 3},
		{H: 8, L: 2, N: 0, W: 1}, {H: 8, L: 0, N: 0, W: 0}, {H: 8, L: 0, N: 0, W: 257}, {H: 8, L: -2, N: 0, W: 1}, {H: 8, L: 64, N: 0, W: 1},
		{H: 8, L: 0, N: -1, W: 1}, {H: 7, L: 0, N: 0, W: 1}, {H: 8, L: 0, N: 1 << 60, W: 1}} {
		if data, err := s.Tile(h.origin, bad); !errors.Is(err, ErrRange) || data != nil {
			t.Errorf("%+v: %d bytes, %v", bad, len(data), err)
		}
	}
	if _, err := s.Tile("nowhere", tlog.Tile{H: 8, W: 1}); !errors.Is(err, ErrOrigin) {
		t.Errorf("unknown origin: %v", err)
	}
	if got := s.Origins(); fmt.Sprint(got) != fmt.Sprint(c.cfg.Origins()) {
		t.Errorf("origins %v", got)
	}
}

// checkTile compares all tiles that tlog-tiles prescribes for a tree of n entries.
func checkTile(t *testing.T, s *Store, h *outsideLog, n int64) {
	t.Helper()
	for level := 0; n>>(8*level) > 0; level++ {
		for i := int64(0); i<<8 < n>>(8*level); i++ {
			tile := tlog.Tile{H: 8, L: level, N: i, W: int(min(n>>(8*level)-i<<8, 256))}
			want, err := tlog.ReadTileData(tile, h)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.Tile(h.origin, tile); err != nil || !bytes.Equal(got, want) {
				t.Errorf("size %d, tile %+v: %d bytes, want %d, %v", n, tile, len(got), len(want), err)
			}
			if level > 0 {
				continue
			}
			tile.L = -1
			var bundle []byte
			for _, e := range h.entries[i<<8 : i<<8+int64(tile.W)] {
				bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(e))), e...)
			}
			if got, err := s.Tile(h.origin, tile); err != nil || !bytes.Equal(got, bundle) {
				t.Errorf("size %d, bundle %d of %d: %v", n, i, tile.W, err)
			}
		}
	}
}

// A largest entry passes through an upload, which splits packages over several pushes.
func TestUploadOfLargeEntries(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/health"]
	big := make([][]byte, 40)
	for i := range big {
		big[i] = bytes.Repeat([]byte{byte('a' + i%26)}, entry.MaxSize)
	}
	h := newHistory(t, c, "GOV/tax", big)
	reply, err := s.AddPackage(h.origin, h.note(40), h.pack(0, 40)[0])
	if err != nil || len(reply.Cosignature) == 0 {
		t.Fatalf("%+v, %v", reply, err)
	}
	checkTile(t, s, h, 40)
}
