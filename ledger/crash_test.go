package ledger

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

var errCrash = errors.New("crashed here")

// A crasher fails the n-th step of a disk. What happens there depends on how.
type crasher struct {
	mu      sync.Mutex
	n       int // the step that fails, from 1
	how     string
	count   int
	crashed bool
	step    string
	pending map[string][]byte // renamed files whose folder is not fsynced: what stood there before, nil for nothing
}

// The ways to fail. After killed and powerless, no later step works either, as for a process that is gone; powerless also
// undoes renames whose folder was not fsynced and tears the temporary file that was not. An fsync error leaves the
// process alive.
const (
	killed    = "killed"
	powerless = "power lost"
	syncError = "error once"
)

func (c *crasher) before(s tiles.Step, path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.crashed {
		if c.how == syncError {
			return nil
		}
		return errCrash
	}
	if c.count++; c.count == c.n {
		c.crashed, c.step = true, string(s)+" "+filepath.Base(path)
		if c.how == powerless {
			c.losePower()
		}
		return errCrash
	}
	switch s {
	case tiles.StepRename:
		if _, again := c.pending[path]; !again {
			old, err := os.ReadFile(path)
			if err != nil {
				old = nil
			}
			c.pending[path] = old
		}
	case tiles.StepSyncDir:
		for p := range c.pending {
			if filepath.Dir(p) == path {
				delete(c.pending, p)
			}
		}
	}
	return nil
}

func (c *crasher) losePower() {
	for path, old := range c.pending {
		if old == nil {
			os.Remove(path)
		} else if err := os.WriteFile(path, old, 0o600); err != nil {
			panic(err)
		}
		if err := os.WriteFile(path+".tmp", []byte("torn"), 0o600); err != nil {
			panic(err)
		}
	}
}

// seen is what left the victim before it crashed.
type seen struct {
	entries map[uint64]string // acknowledged appends
	sent    []note.Checkpoint // checkpoints that it signed as owner
	cosigns []note.Checkpoint // checkpoints that it cosigned as mirror
	final   uint64            // final size that it reported
}

const (
	victim = "GOV/tax"
	other  = "GOV/civil"
)

// crashNames are a quorum: one store less to open for each crash point.
var crashNames = []string{victim, other, "GOV/health"}

// story lets the victim append, push, cosign and learn heads, over the border of a tile, until something fails.
func story(c *cluster, log *seen) error {
	v := c.stores[victim]
	for i := range 2 {
		e := batchEntry(uint64(1000 + i))
		idx, err := v.Append(context.Background(), e, batchEntry(uint64(2000+i)))
		if err != nil {
			return err
		}
		for k, raw := range mustRead(c.tb, v, c.cfg.Origin(victim), idx[0], idx[1]+1) {
			log.entries[idx[k]] = string(raw)
		}
		for _, m := range crashNames {
			if err := pushOnce(c, victim, m, &log.sent); err != nil {
				return err
			}
		}
		log.final = max(log.final, c.finalSize(victim, victim))
		if _, err := c.stores[other].Append(context.Background(), e); err != nil {
			return err
		}
		for _, m := range []string{"GOV/health", victim} {
			out := &log.cosigns
			if m != victim {
				out = nil
			}
			if err := pushOnce(c, other, m, out); err != nil {
				return err
			}
		}
		h, ok := c.stores[other].Final(c.cfg.Origin(other))
		if ok {
			if _, err := v.AddHead(h); err != nil {
				return err
			}
		}
	}
	return nil
}

func mustRead(tb testing.TB, s *Store, origin string, from, to uint64) [][]byte {
	tb.Helper()
	raws, err := s.Read(origin, from, to)
	if err != nil || uint64(len(raws)) != to-from {
		tb.Fatalf("reading %d to %d: %d entries, %v", from, to, len(raws), err)
	}
	return raws
}

// pushOnce sends what is due and notes the checkpoint in out if it left the owner, or was cosigned by the victim.
func pushOnce(c *cluster, owner, mirror string, out *[]note.Checkpoint) error {
	for {
		p, ok := c.stores[owner].Outgoing(mirror)
		if !ok {
			return c.stores[owner].Failure()
		}
		cp, err := note.Parse(p.Checkpoint)
		if err != nil {
			c.tb.Fatal(err)
		}
		if out != nil && owner == victim {
			*out = append(*out, cp)
		}
		reply, err := c.stores[mirror].AddCheckpoint(p)
		if err != nil {
			return err
		}
		if out != nil && mirror == victim && len(reply.Cosignature) > 0 {
			*out = append(*out, cp)
		}
		if err := c.stores[owner].Cosigned(mirror, reply); err != nil {
			return err
		}
	}
}

// prepare makes a cluster's folders with 253 entries in the victim's log, and some in the other's.
func prepare(t *testing.T) *cluster {
	c := newCluster(t)
	var list []entry.Entry
	for i := range uint64(253) {
		list = append(list, batchEntry(i+1))
	}
	c.append(victim, list...)
	c.append(other, batchEntry(1))
	c.pushAll(victim, testNames...)
	c.pushAll(other, testNames...)
	for _, name := range testNames {
		if err := c.stores[name].Close(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// TestCrashPoints fails the steps of every durable write of the story, in each of three ways, opens the victim's folder
// again, and checks that nothing acknowledged is lost and nothing signed is contradicted.
func TestCrashPoints(t *testing.T) {
	base := prepare(t)
	for _, tc := range []struct {
		how          string
		from, stride int
	}{{powerless, 1, 2}, {powerless, 2, 2}, {killed, 1, 4}, {syncError, 3, 4}} { // power loss is the harshest: every step
		t.Run(tc.how, func(t *testing.T) {
			t.Parallel()
			n := tc.from
			for !crashAt(t, base, tc.how, n) {
				n += tc.stride
			}
			if n < 60 {
				t.Errorf("only %d crash points; the story does not reach the disk", n)
			}
		})
	}
}

func crashAt(t *testing.T, base *cluster, how string, n int) (done bool) {
	c := &cluster{tb: t, cfg: base.cfg, clock: newClock(), dir: t.TempDir(), stores: make(map[string]*Store)}
	if err := os.CopyFS(c.dir, os.DirFS(base.dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range crashNames {
		if name != victim {
			c.open(name)
		}
	}
	cr := &crasher{n: n, how: how, pending: make(map[string][]byte)}
	disk, err := tiles.NewDisk(c.path(victim))
	if err != nil {
		t.Fatal(err)
	}
	disk.Before = cr.before
	log := &seen{entries: make(map[uint64]string)}
	v, err := openOn(disk, c.options(victim))
	if err == nil {
		c.stores[victim] = v
		hear(t, v)
		err = story(c, log)
		if err != nil {
			mustRefuse(t, v)
		}
		if cerr := v.Close(); cerr != nil {
			t.Fatal(cerr)
		}
	}
	if err != nil && !errors.Is(err, errCrash) && !errors.Is(err, ErrStopped) {
		t.Fatalf("%s at step %d (%s): %v", how, n, cr.step, err)
	}
	c.open(victim)
	checkSurvival(t, c, log, how+" at "+cr.step)
	for _, s := range c.stores {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err == nil && cr.crashed {
		t.Fatalf("%s at step %d (%s) went unnoticed", how, n, cr.step)
	}
	return err == nil
}

// mustRefuse checks that a store signs nothing after a failed write, though the disk may work again.
func mustRefuse(t *testing.T, v *Store) {
	t.Helper()
	if !errors.Is(v.Failure(), ErrStopped) {
		t.Fatalf("failure after a failed write: %v", v.Failure())
	}
	if _, err := v.Append(context.Background(), batchEntry(9999)); !errors.Is(err, ErrStopped) {
		t.Fatalf("append after a failed write: %v", err)
	}
	if _, ok := v.Outgoing(other); ok {
		t.Fatal("push after a failed write")
	}
	if err := v.WaitFinal(context.Background(), 1<<40); !errors.Is(err, ErrStopped) {
		t.Fatalf("wait after a failed write: %v", err)
	}
}

// checkSurvival checks the invariants on the victim's store as opened after the crash.
func checkSurvival(t *testing.T, c *cluster, log *seen, where string) {
	t.Helper()
	v := c.stores[victim]
	own, foreign := c.cfg.Origin(victim), c.cfg.Origin(other)
	for i, want := range log.entries {
		raws, err := v.Read(own, i, i+1)
		if err != nil || len(raws) != 1 || string(raws[0]) != want {
			t.Fatalf("%s: acknowledged entry %d is lost: %v", where, i, err)
		}
	}
	for _, set := range []struct {
		origin string
		cps    []note.Checkpoint
	}{{own, log.sent}, {foreign, log.cosigns}} {
		for _, cp := range set.cps {
			have, err := v.replicas[set.origin].files.Tree(cp.Tree.N)
			if err != nil || have != cp.Tree {
				t.Fatalf("%s: signed checkpoint of size %d of %s is contradicted or lost: %v", where, cp.Tree.N, set.origin, err)
			}
		}
	}
	if n := c.finalSize(victim, victim); n < log.final {
		t.Fatalf("%s: final size %d, reported %d", where, n, log.final)
	}
	// The victim goes on as owner and as mirror, and everybody agrees.
	c.clock.add(c.stores[victim].heartbeat)
	last := c.append(victim, batchEntry(5000))[0]
	c.pushAll(victim, crashNames...)
	if n := c.finalSize(victim, victim); n != last+1 {
		t.Fatalf("%s: final size %d after going on to %d", where, n, last+1)
	}
	c.append(other, batchEntry(5000))
	c.pushAll(other, crashNames...)
	if a, b := c.finalSize(other, other), c.stores[victim].Size(foreign); a != b {
		t.Fatalf("%s: other's final size %d, victim has %d", where, a, b)
	}
	checkTiles(t, c.path(victim), c.cfg.Origins())
}

// checkTiles checks that no file of the logs is torn or left over.
func checkTiles(t *testing.T, dir string, origins []string) {
	t.Helper()
	for _, origin := range origins {
		err := filepath.WalkDir(filepath.Join(dir, "logs", escape(origin)), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if err == nil && (len(data) == 0 || bytes.Equal(data, []byte("torn"))) && filepath.Ext(path) != ".tmp" {
				t.Errorf("torn file %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
