package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
)

// forge signs a checkpoint over any entries with a member's log key, as a cheating owner would.
func forge(t *testing.T, cfg string, key string, entries [][]byte) []byte {
	t.Helper()
	data, err := note.Sign(cfg, treeOf(t, entries), testKey("log "+key))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func treeOf(t *testing.T, entries [][]byte) tlog.Tree {
	t.Helper()
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(idx []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(idx))
		for i, x := range idx {
			out[i] = hashes[x]
		}
		return out, nil
	})
	for i, e := range entries {
		h, err := tlog.StoredHashes(int64(i), e, reader)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, h...)
	}
	root, err := tlog.TreeHash(int64(len(entries)), reader)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: int64(len(entries)), Hash: root}
}

func rawEntries(t *testing.T, seed uint64, n int) [][]byte {
	t.Helper()
	out := make([][]byte, n)
	for i := range out {
		raw, err := entry.Encode(batchEntry(seed + uint64(i)))
		if err != nil {
			t.Fatal(err)
		}
		out[i] = raw
	}
	return out
}

func TestMirrorRefuses(t *testing.T) {
	c := newCluster(t)
	tax, civil := c.cfg.Origin("GOV/tax"), c.cfg.Origin("GOV/civil")
	m := c.stores["GOV/health"]
	good := rawEntries(t, 1, 10)
	fork := append(append([][]byte{}, good[:6]...), rawEntries(t, 100, 8)...)
	reply, err := m.AddCheckpoint(Push{tax, forge(t, tax, "GOV/tax", good), 0, good})
	if err != nil || len(reply.Cosignature) == 0 || reply.Have != 10 {
		t.Fatalf("honest push: %+v, %v", reply, err)
	}
	other := forge(t, civil, "GOV/civil", good)
	for _, tc := range []struct {
		name string
		push Push
		want error
	}{
		{"smaller", Push{tax, forge(t, tax, "GOV/tax", good[:9]), 0, good[:9]}, ErrStale},
		{"smaller without entries", Push{tax, forge(t, tax, "GOV/tax", good[:1]), 0, nil}, ErrStale},
		{"forked growth", Push{tax, forge(t, tax, "GOV/tax", fork), 0, fork}, ErrInconsistent},
		{"forked growth, tail only", Push{tax, forge(t, tax, "GOV/tax", fork), 10, fork[10:]}, ErrInconsistent},
		{"another owner's key", Push{tax, forge(t, tax, "GOV/civil", append(good, fork[6])), 10, fork[6:7]}, note.ErrSignature},
		{"another origin's checkpoint", Push{tax, other, 0, good}, note.ErrSignature},
		{"unknown origin", Push{"test.example/GOV/none/log/1", other, 0, good}, ErrOrigin},
		{"own origin", Push{c.cfg.Origin("GOV/health"), other, 0, nil}, ErrOrigin},
		{"entries beyond the checkpoint", Push{tax, forge(t, tax, "GOV/tax", append(good, fork[6])), 10, fork[6:8]}, core.ErrBounds},
		{"empty entry", Push{tax, forge(t, tax, "GOV/tax", append(good, fork[6])), 10, [][]byte{{}}}, core.ErrBounds},
		{"no note", Push{tax, []byte("no note"), 0, nil}, note.ErrNote},
	} {
		reply, err := m.AddCheckpoint(tc.push)
		if !errors.Is(err, tc.want) || len(reply.Cosignature) > 0 {
			t.Errorf("%s: reply %q, error %v, want %v", tc.name, reply.Cosignature, err, tc.want)
		}
		if n := m.Stored(tax); n != 10 {
			t.Fatalf("%s: mirror stores %d entries", tc.name, n)
		}
	}
	long := append(append([][]byte{}, good...), rawEntries(t, 11, 5)...)
	cp := forge(t, tax, "GOV/tax", long)
	if reply, err = m.AddCheckpoint(Push{tax, cp, 12, long[12:]}); err != nil || len(reply.Cosignature) > 0 || reply.Have != 10 {
		t.Fatalf("gap: %+v, %v", reply, err)
	}
	if reply, err = m.AddCheckpoint(Push{tax, cp, 0, long}); err != nil || len(reply.Cosignature) == 0 {
		t.Fatalf("growth after refusals: %+v, %v", reply, err)
	}
	if reply, err = m.AddCheckpoint(Push{tax, forge(t, tax, "GOV/tax", fork[:10]), 0, fork[:10]}); !errors.Is(err, ErrInconsistent) || len(reply.Cosignature) > 0 {
		t.Fatalf("another root at a size that is here: %+v, %v", reply, err)
	}
	more := append(append([][]byte{}, long...), rawEntries(t, 30, 1)...)
	if reply, err = m.AddCheckpoint(Push{tax, forge(t, tax, "GOV/tax", more), 15, more[15:]}); !errors.Is(err, ErrHalted) || len(reply.Cosignature) > 0 {
		t.Fatalf("growth of a forked log: %+v, %v", reply, err)
	}
}

// A push larger than a message comes in steps; a mirror that was restarted between them asks again.
func TestCatchUpInSteps(t *testing.T) {
	c := newCluster(t)
	owner, late := "GOV/tax", "GOV/benefits"
	reason := strings.Repeat("x", entry.MaxText)
	for i := range 3 {
		var list []entry.Entry
		for range 220 {
			list = append(list, entry.AgreementRevoke{Accept: uint64(i), Reason: reason, Time: "2026-03-01T12:00:00Z"})
		}
		c.append(owner, list...)
		c.pushAll(owner, "GOV/civil", "GOV/health")
	}
	origin := c.cfg.Origin(owner)
	c.reopen(owner)
	p, ok := c.stores[owner].Outgoing(late)
	if !ok || len(p.Entries) != 0 {
		t.Fatalf("first push to a mirror of unknown size: %d entries, %v", len(p.Entries), ok)
	}
	send := func() PushReply {
		t.Helper()
		p, ok := c.stores[owner].Outgoing(late)
		if !ok {
			t.Fatal("nothing to push")
		}
		reply, err := c.stores[late].AddCheckpoint(p)
		if err == nil {
			err = c.stores[owner].Cosigned(late, reply)
		}
		if err != nil && !errors.Is(err, ErrNoProgress) { // which a restart of the mirror looks like: wait and go on
			t.Fatal(err)
		}
		return reply
	}
	if r := send(); r.Have != 0 || len(r.Cosignature) > 0 {
		t.Fatalf("gap reply: %+v", r)
	}
	if r := send(); r.Have == 0 || r.Have >= 660 || len(r.Cosignature) > 0 {
		t.Fatalf("first step: %+v", r)
	}
	c.reopen(late) // staged entries are gone
	if n := c.stores[late].Stored(origin); n != 0 {
		t.Fatalf("%d staged entries survived a restart unverified", n)
	}
	var r PushReply
	for i := 0; len(r.Cosignature) == 0 && i < 10; i++ {
		r = send()
	}
	if len(r.Cosignature) == 0 || c.stores[late].Size(origin) != 660 {
		t.Fatalf("catch-up ends with %+v", r)
	}
}

func TestHeadsAndPulls(t *testing.T) {
	c := newCluster(t)
	owner, late := "GOV/tax", "GOV/benefits"
	origin := c.cfg.Origin(owner)
	for i := range 5 {
		c.append(owner, batchEntry(uint64(i+1)))
	}
	c.pushAll(owner, "GOV/civil", "GOV/health")
	h, _ := c.stores[owner].Final(origin)
	s := c.stores[late]
	if err := s.AddEntries(origin, Entries{0, rawEntries(t, 1, 5)}); !errors.Is(err, ErrGap) {
		t.Fatalf("entries that nobody asked for: %v", err)
	}
	if behind, err := s.AddHead(h); err != nil || !behind {
		t.Fatalf("head without entries: behind %v, %v", behind, err)
	}
	if err := s.AddEntries(origin, Entries{2, rawEntries(t, 3, 3)}); !errors.Is(err, ErrGap) {
		t.Fatalf("entries with a gap: %v", err)
	}
	if err := s.AddEntries(origin, Entries{0, rawEntries(t, 70, 5)}); !errors.Is(err, ErrEntries) {
		t.Fatalf("wrong entries: %v", err)
	}
	if s.Stored(origin) != 0 {
		t.Fatal("wrong entries are kept")
	}
	if _, ok := s.Final(origin); ok {
		t.Fatal("head without entries is final")
	}
	if err := s.AddEntries(origin, Entries{0, rawEntries(t, 1, 3)}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddEntries(origin, Entries{2, append(rawEntries(t, 3, 3), rawEntries(t, 90, 1)...)}); err != nil {
		t.Fatal(err) // overlaps, and goes beyond the head: the rest is left out
	}
	if got, ok := s.Final(origin); !ok || got.Root != h.Root {
		t.Fatal("head is not final after its entries came")
	}
	// A poisoned pull must not stop an honest push.
	c.append(owner, batchEntry(6), batchEntry(7))
	c.pushAll(owner, "GOV/civil", "GOV/health")
	h, _ = c.stores[owner].Final(origin)
	if behind, err := s.AddHead(h); err != nil || !behind {
		t.Fatalf("second head: %v, %v", behind, err)
	}
	if err := s.AddEntries(origin, Entries{5, rawEntries(t, 80, 1)}); err != nil {
		t.Fatal(err) // cannot be known to be wrong yet
	}
	c.push(owner, late)
	if got, ok := s.Final(origin); !ok || got.Size != 7 {
		t.Fatalf("after poison and push: final size %d", got.Size)
	}
}

func TestHeadRefusals(t *testing.T) {
	c := newCluster(t)
	owner := "GOV/tax"
	origin := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1))
	c.pushAll(owner, testNames...)
	h, _ := c.stores[owner].Final(origin)
	s := c.stores["GOV/civil"]
	two := h
	parsed, cosigs, err := note.Cosignatures(c.cfg, origin, h.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	two.Checkpoint = note.Assemble(parsed, cosigs[:2])
	if _, err := s.AddHead(two); !errors.Is(err, note.ErrSignature) {
		t.Errorf("two of four: %v", err)
	}
	three := two
	three.Checkpoint = append(note.Assemble(parsed, cosigs[:2]), cosigs[1].Line...)
	if _, err := s.AddHead(three); !errors.Is(err, note.ErrSignature) {
		t.Errorf("two of four, one twice: %v", err)
	}
	future := note.Assemble(parsed, nil)
	fork := forge(t, origin, owner, rawEntries(t, 50, 1))
	forked, err := note.Parse(fork)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range testNames[:3] {
		line, err := note.Cosign(parsed.Text, testInstance+"/"+m+"/mirror/1", testKey("mirror "+m), c.clock.now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		future = append(future, line...)
		if line, err = note.Cosign(forked.Text, testInstance+"/"+m+"/mirror/1", testKey("mirror "+m), c.clock.now()); err != nil {
			t.Fatal(err)
		}
		fork = append(fork, line...)
	}
	if _, err := s.AddHead(Head{Origin: origin, Checkpoint: future}); !errors.Is(err, ErrFuture) {
		t.Errorf("future: %v", err)
	}
	if behind, err := s.AddHead(h); behind || err != nil {
		t.Errorf("the honest head: %v, %v", behind, err)
	}
	if _, err := s.AddHead(Head{Origin: origin, Checkpoint: fork}); !errors.Is(err, ErrInconsistent) {
		t.Errorf("fork that a quorum cosigned: %v", err)
	}
	if _, err := s.AddHead(Head{Origin: "nobody", Checkpoint: h.Checkpoint}); !errors.Is(err, ErrOrigin) {
		t.Errorf("unknown origin: %v", err)
	}
	if _, err := s.AddHead(Head{Origin: c.cfg.Origin("GOV/civil"), Checkpoint: h.Checkpoint}); !errors.Is(err, note.ErrSignature) {
		t.Errorf("head under another origin: %v", err)
	}
}

// A member restored from an old copy of its folder must not sign a second history.
func TestRolledBackFolder(t *testing.T) {
	c := newCluster(t)
	owner := "GOV/tax"
	c.append(owner, batchEntry(1))
	c.pushAll(owner, testNames...)
	if err := c.stores[owner].Close(); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(c.path(owner))); err != nil {
		t.Fatal(err)
	}
	c.open(owner)
	c.append(owner, batchEntry(2))
	c.pushAll(owner, testNames...)
	h, _ := c.stores[owner].Final(c.cfg.Origin(owner))
	o := c.options(owner)
	o.Dir = backup
	old, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := old.AddHead(h); !errors.Is(err, ErrRolledBack) {
		t.Fatalf("old copy takes the newer head: %v", err)
	}
	if _, err := old.Append(context.Background(), batchEntry(3)); !errors.Is(err, ErrRolledBack) {
		t.Fatalf("old copy appends: %v", err)
	}
}

func TestMissingStateIsRefused(t *testing.T) {
	for _, path := range []string{"signer/owner.json", "signer/mirror/test.example%2FGOV%2Fcivil%2Flog%2F1.json"} {
		c := newCluster(t)
		c.append("GOV/tax", batchEntry(1))
		c.append("GOV/civil", batchEntry(1))
		c.pushAll("GOV/civil", testNames...)
		if err := c.stores["GOV/tax"].Close(); err != nil {
			t.Fatal(err)
		}
		full := filepath.Join(c.path("GOV/tax"), filepath.FromSlash(path))
		if err := os.Remove(full); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(c.options("GOV/tax")); !errors.Is(err, signer.ErrState) && !errors.Is(err, ErrRolledBack) {
			t.Errorf("%s missing: %v", path, err)
		}
		if err := os.WriteFile(full, []byte(`{"role":"owner"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(c.options("GOV/tax")); !errors.Is(err, signer.ErrState) {
			t.Errorf("%s damaged: %v", path, err)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	c := newCluster(t)
	owner := "GOV/tax"
	origin := c.cfg.Origin(owner)
	c.append(owner, batchEntry(1))
	c.pushAll(owner, testNames...)
	first, _ := c.stores[owner].Final(origin)
	if _, ok := c.stores[owner].Outgoing("GOV/civil"); ok {
		t.Fatal("heartbeat before it is due")
	}
	c.clock.add(10 * time.Second)
	if _, ok := c.stores[owner].Outgoing("GOV/civil"); !ok {
		t.Fatal("no heartbeat when it is due")
	}
	c.pushAll(owner, testNames...)
	second, _ := c.stores[owner].Final(origin)
	if second.Size != first.Size || !second.Times[0].Equal(c.clock.now()) || len(second.Times) != 3 {
		t.Fatalf("times after a heartbeat: %v", second.Times)
	}
	c.spread(owner, "GOV/civil", owner)
	if h, _ := c.stores["GOV/civil"].Final(origin); !h.Times[0].Equal(c.clock.now()) {
		t.Fatalf("replica's times: %v", h.Times)
	}
	if _, err := c.stores["GOV/civil"].AddHead(first); err != nil {
		t.Fatal(err)
	}
	if h, _ := c.stores["GOV/civil"].Final(origin); !h.Times[0].Equal(c.clock.now()) {
		t.Fatalf("an older head took the times back: %v", h.Times)
	}
	// A mirror whose clock went back uses the last time again, then stops.
	c.clock.add(-3 * time.Second)
	p := Push{Origin: origin, Checkpoint: second.Checkpoint}
	reply, err := c.stores["GOV/civil"].AddCheckpoint(p)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := c.cfg.Member("GOV/civil")
	parsed, _ := note.Parse(second.Checkpoint)
	cosig, err := note.VerifyCosignature(m, parsed.Text, string(reply.Cosignature))
	if err != nil || !cosig.Time.Equal(second.Times[0]) {
		t.Fatalf("cosignature at %v, %v", cosig.Time, err)
	}
	c.clock.add(-time.Minute)
	if _, err := c.stores["GOV/civil"].AddCheckpoint(p); !errors.Is(err, signer.ErrClock) {
		t.Fatalf("clock a minute behind: %v", err)
	}
	if err := c.stores[owner].Cosigned("GOV/civil", reply); !errors.Is(err, ErrFuture) {
		t.Fatalf("cosignature from the future: %v", err)
	}
}

func TestNoProgress(t *testing.T) {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1))
	s := c.reopen("GOV/tax")
	if err := s.Cosigned("GOV/civil", PushReply{}); err != nil {
		t.Fatalf("stating where it stands: %v", err)
	}
	if err := s.Cosigned("GOV/civil", PushReply{}); !errors.Is(err, ErrNoProgress) {
		t.Fatalf("stating it again: %v", err)
	}
	for i, who := range []string{"GOV/tax", "GOV/none"} {
		if err := s.Cosigned(who, PushReply{Have: uint64(i)}); err == nil {
			t.Errorf("%s answered as a mirror", who)
		}
	}
	if err := s.Cosigned("GOV/civil", PushReply{Cosignature: []byte("— x y\n"), Size: 1}); !errors.Is(err, note.ErrNote) {
		t.Fatalf("garbage cosignature: %v", err)
	}
	if err := s.Cosigned("GOV/civil", PushReply{Cosignature: []byte("x"), Size: 1 << 63}); !errors.Is(err, ErrRange) {
		t.Fatalf("size out of range: %v", err)
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1), batchEntry(2))
	c.pushAll("GOV/tax", testNames...)
	dir := filepath.Join(c.path("GOV/tax"), "logs", escape(c.cfg.Origin("GOV/tax")))
	if err := c.stores["GOV/tax"].Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tile/entries/000.p/2", "checkpoint"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte{}, data...)
		bad[len(bad)/2] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(c.options("GOV/tax")); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s damaged: %v", name, err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tile := filepath.Join(dir, "tile", "0", "000.p", "2")
	if err := os.WriteFile(tile, make([]byte, 64), 0o600); err != nil {
		t.Fatal(err)
	}
	s := c.open("GOV/tax") // hash tiles follow from the entries
	path, err := s.Inclusion(c.cfg.Origin("GOV/tax"), 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := s.Final(c.cfg.Origin("GOV/tax"))
	raw := mustRead(t, s, h.Origin, 0, 1)[0]
	if err := note.CheckInclusion(path, tlog.Tree{N: 2, Hash: h.Root}, 0, raw); err != nil {
		t.Fatal(err)
	}
}

func TestOpenChecksKeys(t *testing.T) {
	cfg := testConfig(t)
	for _, tc := range []struct {
		name string
		edit func(*Options)
	}{
		{"no configuration", func(o *Options) { o.Config = nil }},
		{"unknown member", func(o *Options) { o.Member = "GOV/none" }},
		{"no log key", func(o *Options) { o.LogKey = nil }},
		{"another's log key", func(o *Options) { o.LogKey = testKey("log GOV/civil") }},
		{"no mirror key", func(o *Options) { o.MirrorKey = nil }},
		{"another's mirror key", func(o *Options) { o.MirrorKey = testKey("mirror GOV/civil") }},
	} {
		o := Options{Dir: t.TempDir(), Config: cfg, Member: "GOV/tax", LogKey: testKey("log GOV/tax"), MirrorKey: testKey("mirror GOV/tax")}
		tc.edit(&o)
		if s, err := Open(o); err == nil {
			s.Close()
			t.Errorf("%s: opened", tc.name)
		}
	}
}

func TestClosedStore(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/tax"]
	wait := make(chan error, 1)
	go func() { wait <- s.WaitFinal(context.Background(), 0) }()
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := <-wait; !errors.Is(err, ErrClosed) {
		t.Fatalf("waiting: %v", err)
	}
	if _, err := s.Append(context.Background(), batchEntry(1)); !errors.Is(err, ErrClosed) {
		t.Fatalf("append: %v", err)
	}
}
