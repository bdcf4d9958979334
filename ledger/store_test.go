package ledger

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
)

// A clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// testKeys are what golden files are signed with.
const testKeys = networktest.Keys("ledger test key ")

func testKey(label string) ed25519.PrivateKey { return testKeys.Key(label) }

var testNames = []string{"GOV/benefits", "GOV/civil", "GOV/health", "GOV/tax"}

const testInstance = "test.example"

func testCard(tb testing.TB, name string, port int, mirror bool) network.Card {
	tb.Helper()
	m := testKeys.Member(testInstance, name, fmt.Sprintf("127.0.0.1:%d", port), mirror)
	m.Title = strings.TrimPrefix(name, "GOV/") + " office"
	return testKeys.Card(tb, testInstance, m)
}

// testConfig has the four members, all mirrors, and extra members that are none.
func testConfig(tb testing.TB, extra ...string) *network.Configuration {
	tb.Helper()
	var cards []network.Card
	for i, name := range testNames {
		cards = append(cards, testCard(tb, name, 4433+i, true))
	}
	for i, name := range extra {
		cards = append(cards, testCard(tb, name, 5433+i, false))
	}
	return networktest.Build(tb, testInstance, network.Params{
		Expires: "2030-01-01T00:00:00Z",
		Schemes: []network.Scheme{{Name: "nid", Pattern: `[A-Z]{2}\d{6}`, Normalise: "upper", Example: "ab123456"}},
	}, cards...)
}

// A cluster is the four members' stores in one process.
type cluster struct {
	tb     testing.TB
	cfg    *network.Configuration
	clock  *clock
	dir    string
	stores map[string]*Store
	chains map[string]*network.Chain // of members that have seen more than one version
}

func newCluster(tb testing.TB, extra ...string) *cluster {
	tb.Helper()
	c := &cluster{tb: tb, cfg: testConfig(tb, extra...), clock: newClock(), dir: tb.TempDir(), stores: make(map[string]*Store),
		chains: make(map[string]*network.Chain)}
	for _, m := range c.cfg.Members {
		c.open(m.Name)
	}
	tb.Cleanup(func() {
		for _, s := range c.stores {
			if err := s.Close(); err != nil {
				tb.Error(err)
			}
		}
	})
	return c
}

func (c *cluster) path(name string) string {
	return filepath.Join(c.dir, strings.ReplaceAll(name, "/", "-"))
}

func (c *cluster) options(name string) Options {
	log := testKey("log " + name)
	if strings.HasSuffix(c.cfg.Origin(name), "/2") { // of its second generation
		log = testKey("log 2 " + name)
	}
	mirror := testKey("mirror " + name)
	if m, _ := c.cfg.Member(name); strings.HasSuffix(m.MirrorName(), "/2") {
		mirror = testKey("mirror 2 " + name)
	}
	return Options{Dir: c.path(name), Config: c.cfg, Chain: c.chains[name], Member: name, LogKey: log, MirrorKey: mirror,
		WitnessKey: testKey("witness " + name), Now: c.clock.now}
}

func (c *cluster) open(name string) *Store {
	c.tb.Helper()
	s, err := Open(c.options(name))
	if err != nil {
		c.tb.Fatalf("opening %s: %v", name, err)
	}
	c.stores[name] = s
	hear(c.tb, s)
	return s
}

// hear lets a store hear from everybody, who have nothing to tell.
func hear(tb testing.TB, s *Store) {
	tb.Helper()
	for _, m := range s.cfg.Mirrors() {
		if m.Name == s.member {
			continue
		}
		if err := s.Hear(m.Name, nil, nil); err != nil {
			tb.Fatalf("%s hears %s: %v", s.member, m.Name, err)
		}
	}
}

func (c *cluster) reopen(name string) *Store {
	c.tb.Helper()
	if err := c.stores[name].Close(); err != nil {
		c.tb.Fatal(err)
	}
	return c.open(name)
}

// push sends what owner has for mirror until there is nothing left.
func (c *cluster) push(owner, mirror string) {
	c.tb.Helper()
	for range 100 {
		p, ok := c.stores[owner].Outgoing(mirror)
		if !ok {
			return
		}
		p, err := DecodePush(p.Encode())
		if err != nil {
			c.tb.Fatal(err)
		}
		reply, err := c.stores[mirror].AddCheckpoint(p)
		if err != nil {
			c.tb.Fatalf("%s pushes to %s: %v", owner, mirror, err)
		}
		if reply, err = DecodePushReply(reply.Encode()); err != nil {
			c.tb.Fatal(err)
		}
		if err := c.stores[owner].Cosigned(mirror, reply); err != nil {
			c.tb.Fatalf("%s takes %s's answer: %v", owner, mirror, err)
		}
	}
	c.tb.Fatalf("%s never stops pushing to %s", owner, mirror)
}

// pushAll lets the mirrors cosign an owner's log, as often as there is something new.
func (c *cluster) pushAll(owner string, mirrors ...string) {
	c.tb.Helper()
	for range 3 {
		for _, m := range mirrors {
			if m != owner {
				c.push(owner, m)
			}
		}
	}
}

// spread hands an owner's final head to a member, which pulls what it lacks from source.
func (c *cluster) spread(owner, to, source string) {
	c.tb.Helper()
	h, ok := c.stores[source].Final(c.cfg.Origin(owner))
	if !ok {
		return
	}
	h, err := HeadOf(h.Origin, h.Checkpoint)
	if err != nil {
		c.tb.Fatal(err)
	}
	for range 100 {
		behind, err := c.stores[to].AddHead(h)
		if err != nil {
			c.tb.Fatalf("%s takes head of %s: %v", to, owner, err)
		}
		if !behind {
			return
		}
		from := c.stores[to].Stored(h.Origin)
		raws, err := c.stores[source].Read(h.Origin, from, h.Size)
		if err != nil {
			c.tb.Fatal(err)
		}
		e, err := DecodeEntries(Entries{from, raws}.Encode())
		if err != nil {
			c.tb.Fatal(err)
		}
		if err := c.stores[to].AddEntries(h.Origin, e); err != nil {
			c.tb.Fatalf("%s takes entries of %s: %v", to, owner, err)
		}
	}
	c.tb.Fatalf("%s never reaches the head of %s", to, owner)
}

func batchEntry(beat uint64) entry.Entry {
	return entry.ReceiptsBatch{Beat: beat, Root: strings.Repeat("0f", 32), Time: "2026-03-01T12:00:00Z"}
}

func (c *cluster) append(name string, entries ...entry.Entry) []uint64 {
	c.tb.Helper()
	idx, err := c.stores[name].Append(context.Background(), entries...)
	if err != nil {
		c.tb.Fatal(err)
	}
	return idx
}

// final is the final head of an owner's log at a member.
func (c *cluster) final(at, owner string) Head {
	h, _ := c.stores[at].Final(c.cfg.Origin(owner))
	return h
}

func (c *cluster) finalSize(at, owner string) uint64 {
	h, _ := c.stores[at].Final(c.cfg.Origin(owner))
	return h.Size
}

func TestFinality(t *testing.T) {
	c := newCluster(t, "GOV/audit")
	owner := "GOV/tax"
	idx := c.append(owner, batchEntry(1), batchEntry(2))
	if len(idx) != 2 || idx[0] != 0 || idx[1] != 1 {
		t.Fatalf("indexes %v", idx)
	}
	c.pushAll(owner, "GOV/civil") // 2 of 4 with the own mirror
	if n := c.finalSize(owner, owner); n != 0 {
		t.Fatalf("2 of 4 made size %d final", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.stores[owner].WaitFinal(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Fatalf("WaitFinal: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.stores[owner].WaitFinal(context.Background(), 1) }()
	c.pushAll(owner, "GOV/health") // 3 of 4
	if n := c.finalSize(owner, owner); n != 2 {
		t.Fatalf("3 of 4: final size %d", n)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"GOV/civil", "GOV/benefits", "GOV/audit"} {
		c.spread(owner, to, owner)
		if n := c.finalSize(to, owner); n != 2 {
			t.Fatalf("%s sees final size %d", to, n)
		}
	}
	h, _ := c.stores["GOV/audit"].Final(c.cfg.Origin(owner))
	if len(h.Times) != 3 {
		t.Fatalf("head has %d times", len(h.Times))
	}
	if _, err := c.stores["GOV/audit"].AddCheckpoint(Push{Origin: h.Origin, Checkpoint: h.Checkpoint}); !errors.Is(err, ErrNotMirror) {
		t.Fatalf("non-mirror: %v", err)
	}
}

func TestReopenKeepsEverything(t *testing.T) {
	c := newCluster(t)
	owner := "GOV/tax"
	for i := range 300 { // past one full tile
		c.append(owner, batchEntry(uint64(i+1)))
		if i%50 == 7 {
			c.pushAll(owner, testNames...)
		}
	}
	c.pushAll(owner, testNames...)
	c.append(owner, batchEntry(301)) // signed, not final
	before, _ := c.stores[owner].Final(c.cfg.Origin(owner))
	for _, name := range testNames {
		c.reopen(name)
	}
	after, ok := c.stores[owner].Final(c.cfg.Origin(owner))
	if !ok || after.Root != before.Root || after.Size != 300 || len(after.Times) != 3 {
		t.Fatalf("final head changed over a restart: size %d then %d", before.Size, after.Size)
	}
	if n := c.stores[owner].Size(c.cfg.Origin(owner)); n != 301 {
		t.Fatalf("owner has %d entries", n)
	}
	c.pushAll(owner, testNames...)
	if n := c.finalSize(owner, owner); n != 301 {
		t.Fatalf("final size %d", n)
	}
	for _, name := range testNames {
		c.spread(owner, name, owner)
		raws, err := c.stores[name].Read(c.cfg.Origin(owner), 299, 400)
		if err != nil || len(raws) != 2 {
			t.Fatalf("%s reads %d entries, %v", name, len(raws), err)
		}
		if b, i, ok := c.stores[name].View(c.cfg.Origin(owner), 301).NewestBatch(); !ok || b.Beat != 301 || i != 300 {
			t.Fatalf("%s: newest batch %v at %d", name, b.Beat, i)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	c := newCluster(t)
	if _, err := Open(c.options("GOV/tax")); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("second open: %v", err)
	}
}
