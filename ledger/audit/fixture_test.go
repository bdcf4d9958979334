package audit

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
)

const testInstance = "test.example"

var testNames = []string{"GOV/benefits", "GOV/civil", "GOV/health", "GOV/tax"}

const testKeys = networktest.Keys("audit test key ")

func originOf(name string) string { return network.LogName(testInstance, name, 1) }

func testMember(name string, port int) network.Member {
	return testKeys.Member(testInstance, name, fmt.Sprintf("127.0.0.1:%d", port), true)
}

func testConfig(tb testing.TB) *network.Configuration {
	tb.Helper()
	return approvedConfig(tb, nil)
}

// approvedConfig is a configuration in which GOV/tax has approval rules.
func approvedConfig(tb testing.TB, rules []network.Approvers) *network.Configuration {
	tb.Helper()
	var cards []network.Card
	for i, name := range testNames {
		m := testMember(name, 4433+i)
		if name == "GOV/tax" {
			m.Approvers = rules
		}
		cards = append(cards, testKeys.Card(tb, testInstance, m))
	}
	return networktest.Build(tb, testInstance, network.Params{Expires: "2030-01-01T00:00:00Z"}, cards...)
}

// A town is four members' stores in one process, whose clock is set by hand.
type town struct {
	tb     testing.TB
	cfg    *network.Configuration
	dir    string
	now    time.Time
	stores map[string]*ledger.Store
}

func newTown(tb testing.TB, dir string) *town {
	tb.Helper()
	return newTownOf(tb, dir, testConfig(tb))
}

func newTownOf(tb testing.TB, dir string, cfg *network.Configuration) *town {
	tb.Helper()
	c := &town{tb: tb, cfg: cfg, dir: dir, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), stores: make(map[string]*ledger.Store)}
	for _, name := range testNames {
		c.open(name, "log "+name, nil)
	}
	return c
}

// open opens a member's store, which hears from everybody.
func (c *town) open(name, logKey string, chain *network.Chain) {
	c.tb.Helper()
	s, err := ledger.Open(ledger.Options{Dir: c.path(name), Config: c.cfg, Chain: chain, Member: name, LogKey: testKeys.Key(logKey),
		MirrorKey: testKeys.Key("mirror " + name), Now: func() time.Time { return c.now }})
	if err != nil {
		c.tb.Fatal(err)
	}
	for _, m := range s.Config().Mirrors() {
		if m.Name == name {
			continue
		}
		if err := s.Hear(m.Name, nil, nil); err != nil {
			c.tb.Fatal(err)
		}
	}
	c.stores[name] = s
}

func (c *town) path(name string) string {
	return filepath.Join(c.dir, strings.ReplaceAll(name, "/", "-"))
}

func (c *town) close() {
	for _, s := range c.stores {
		if err := s.Close(); err != nil {
			c.tb.Error(err)
		}
	}
}

// write appends entries to an owner's log, has them cosigned by all, and hands the head to everybody.
func (c *town) write(owner string, entries ...entry.Entry) []uint64 {
	c.tb.Helper()
	idx, err := c.stores[owner].Append(context.Background(), entries...)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.settle(owner, testNames...)
	return idx
}

// settle lets some mirrors cosign an owner's newest checkpoint.
func (c *town) settle(owner string, mirrors ...string) {
	c.tb.Helper()
	for range 2 {
		for _, m := range mirrors {
			for p, ok := c.stores[owner].Outgoing(m); ok && m != owner; p, ok = c.stores[owner].Outgoing(m) { // none for who is no mirror
				reply, err := c.stores[m].AddCheckpoint(p)
				if err == nil {
					err = c.stores[owner].Cosigned(m, reply)
				}
				if err != nil {
					c.tb.Fatalf("%s to %s: %v", owner, m, err)
				}
			}
		}
	}
	h, ok := c.stores[owner].Final(c.stores[owner].Config().Origin(owner))
	for _, m := range mirrors {
		if !ok || m == owner {
			continue
		}
		behind, err := c.stores[m].AddHead(h)
		if behind && err == nil { // no mirror: it pulls
			var raws [][]byte
			from := c.stores[m].Stored(h.Origin)
			if raws, err = c.stores[owner].Read(h.Origin, from, h.Size); err == nil {
				err = c.stores[m].AddEntries(h.Origin, ledger.Entries{From: from, Entries: raws})
			}
		}
		if err != nil {
			c.tb.Fatalf("%s takes the head of %s: %v", m, owner, err)
		}
	}
}

func (c *town) stamp() string { return entry.FormatTime(c.now) }

func (c *town) beat() uint64 { return uint64(c.now.Unix()/60) - 1 }

var hash64 = strings.Repeat("0f", 32)

func (c *town) declare(name string) entry.Entry {
	return entry.DatasetDeclare{Dataset: name, Title: name, Scheme: "nid", Time: c.stamp(), Columns: []entry.Column{{Name: "amount", Type: "int"}}}
}

func (c *town) epoch(name string, declare, n uint64) entry.Entry {
	return entry.DatasetEpoch{Dataset: name, Declare: declare, Epoch: n, Root: hash64, Time: c.stamp()}
}

func (c *town) policy(name string, version int, dataset string, declare uint64) entry.Entry {
	return entry.PolicyPublish{Policy: name, Version: version, Dataset: dataset, Declare: declare, Title: name, Question: "Is it?",
		Source: entry.Source{Language: "rules", Text: "x"}, Template: []byte(`{}`), Time: c.stamp()}
}

func (c *town) batch(beat uint64, epochs map[string]uint64) entry.Entry {
	return entry.ReceiptsBatch{Beat: beat, Root: hash64, Epochs: epochs, Time: c.stamp()}
}

func terms(policyIndex uint64) entry.Terms {
	return entry.Terms{Requester: "GOV/benefits", Holder: "GOV/tax", Policy: "low", PolicyVersion: 1, PolicyIndex: policyIndex,
		Purpose: "fuel", LegalBasis: "Act 12", BudgetCommitment: hash64, Expires: "2027-03-01T00:00:00Z"}
}

// ref names an entry that a store holds.
func (c *town) ref(owner string, index uint64) entry.Ref {
	c.tb.Helper()
	raw, err := c.stores[owner].Read(originOf(owner), index, index+1)
	if err != nil {
		c.tb.Fatal(err)
	}
	return entry.Ref{Origin: originOf(owner), Index: index, Hash: entry.Hash(raw[0])}
}

// live has the members write what a small network writes: GOV/tax declares, publishes, accepts an offer of GOV/benefits
// and revokes it; GOV/civil logs 600 beats in pieces; GOV/health writes nothing that is final.
func (c *town) live() {
	c.write("GOV/tax", c.declare("income"))
	c.write("GOV/tax", c.epoch("income", 0, 1), c.policy("low", 1, "income", 0),
		entry.CircuitKeys{Circuit: hash64, VerifyingKey: hash64, KeyKind: "development", Time: c.stamp()})
	c.write("GOV/benefits", entry.AgreementOffer{Terms: terms(2), Time: c.stamp()})
	c.write("GOV/tax", entry.AgreementAccept{Offer: c.ref("GOV/benefits", 0), Terms: terms(2), Time: c.stamp()})
	for _, n := range []int{1, 4, 95, 155, 1, 44, 300} {
		var entries []entry.Entry
		for range n {
			c.now = c.now.Add(time.Minute)
			entries = append(entries, c.batch(c.beat(), nil))
		}
		c.write("GOV/civil", entries...)
	}
	c.write("GOV/tax", c.batch(c.beat(), map[string]uint64{"income": 1}), c.declare("income"), c.epoch("income", 6, 2))
	c.now = c.now.Add(time.Minute)
	c.write("GOV/tax", c.batch(c.beat(), map[string]uint64{"income": 7}), entry.AgreementRevoke{Accept: 4, Time: c.stamp()},
		entry.PolicyRetire{Policy: "low", Version: 1, Time: c.stamp()}, c.declare("births"))
	c.write("GOV/benefits", entry.AgreementWithdraw{Offer: 0, Time: c.stamp()})
	if _, err := c.stores["GOV/health"].Append(context.Background(), c.declare("wards")); err != nil {
		c.tb.Fatal(err)
	}
	c.settle("GOV/health", "GOV/health", "GOV/tax") // two of four
}

// base is the town's folders after live, made once.
var base struct {
	dir string
	cfg *network.Configuration
	now time.Time
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		panic(err)
	}
	base.dir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		panic(err)
	}
	os.Exit(code)
}

// town returns the folders of a small network that is closed.
func baseTown(tb testing.TB) *town {
	tb.Helper()
	if base.cfg == nil {
		c := newTown(tb, base.dir)
		c.live()
		c.close()
		base.cfg, base.now = c.cfg, c.now
	}
	return &town{tb: tb, cfg: base.cfg, dir: base.dir, now: base.now}
}

// copyOf copies a member's folder.
func (c *town) copyOf(name string) string {
	c.tb.Helper()
	dir := filepath.Join(c.tb.TempDir(), "ledger")
	if err := os.CopyFS(dir, os.DirFS(c.path(name))); err != nil {
		c.tb.Fatal(err)
	}
	return dir
}

func (c *town) options(dir string) Options {
	return Options{Dir: dir, Config: c.cfg, Now: func() time.Time { return c.now }}
}

func (c *town) audit(dir string) *Report {
	c.tb.Helper()
	r, err := Run(context.Background(), c.options(dir))
	if err != nil {
		c.tb.Fatal(err)
	}
	return r
}

func (r *Report) log(name string) *Log {
	for _, l := range r.Logs {
		if l.Origin == originOf(name) {
			return l
		}
	}
	return nil
}
