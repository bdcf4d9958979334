package audit

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
)

// succeed takes the town to version 2: GOV/civil's log ends at its final head and goes on under a new key, and GOV/health
// is a mirror no longer.
func (c *town) succeed() *network.Chain {
	c.tb.Helper()
	m, _ := c.cfg.Member(sick)
	key := testKeys.Key("log 2 " + sick)
	m.LogKey = network.LogVKey(network.LogName(testInstance, sick, 2), key.Public().(ed25519.PublicKey))
	card, err := network.NewCard(testInstance, m, key)
	if err != nil {
		c.tb.Fatal(err)
	}
	head, _ := c.stores[sick].Final(originOf(sick))
	next, err := network.Succeed(c.cfg, network.Change{Replace: []network.Card{card}, Mirrors: map[string]bool{"GOV/health": false},
		Fences: []network.Fence{{Origin: originOf(sick), Size: int64(head.Size), Root: hex.EncodeToString(head.Root[:])}}})
	if err != nil {
		c.tb.Fatal(err)
	}
	p, err := network.NewProposal(c.cfg, next, testKeys.Key("log "+c.cfg.Proposer))
	if err == nil {
		err = c.stores[c.cfg.Proposer].Propose(p)
	}
	if err != nil {
		c.tb.Fatal(err)
	}
	c.tell()
	for _, name := range testNames {
		if err := c.stores[name].Vote(next.Digest()); err != nil && !errors.Is(err, ledger.ErrSuperseded) {
			c.tb.Fatalf("%s votes: %v", name, err)
		}
	}
	c.tell()
	var chain *network.Chain
	for _, name := range testNames {
		if err := c.stores[name].Close(); err != nil {
			c.tb.Fatal(err)
		}
		if chain, err = ledger.LoadChain(c.path(name), c.cfg); err != nil || chain.Newest().Version != 2 {
			c.tb.Fatalf("%s: %v", name, err)
		}
		log := "log " + name
		if name == sick {
			log = "log 2 " + sick
		}
		c.open(name, log, chain)
	}
	return chain
}

// tell carries what each store knows of the succession to the others.
func (c *town) tell() {
	c.tb.Helper()
	for range 3 {
		for _, from := range testNames {
			known := c.stores[from].Succession()
			for _, to := range testNames {
				if err := c.stores[to].AddSuccession(known); err != nil && from != to && !errors.Is(err, ledger.ErrSuperseded) {
					c.tb.Fatalf("%s tells %s: %v", from, to, err)
				}
			}
		}
	}
}

// TestAfterASuccession audits folders whose network changed: heads by either version count, what ended stays, and the first
// version alone is trusted.
func TestAfterASuccession(t *testing.T) {
	c := newTown(t, t.TempDir())
	c.live()
	chain := c.succeed()
	c.write(sick, c.batch(c.beat(), nil))
	c.close()
	second := network.LogName(testInstance, sick, 2)
	for _, name := range testNames {
		r := c.audit(c.path(name))
		if !r.Clean() || r.Version != 2 || r.Member != name || len(r.Logs) != 5 {
			t.Errorf("%s: version %d, member %q, %d logs: %v", name, r.Version, r.Member, len(r.Logs), r.All())
		}
		old := r.log(sick)
		i := slices.IndexFunc(r.Logs, func(l *Log) bool { return l.Origin == second })
		if !old.Fenced || old.Size != 600 || old.Version != 1 || r.Logs[i].Size != 1 || r.Logs[i].Version != 2 || r.Logs[i].Owner != sick {
			t.Errorf("%s: old log %+v; new log %+v", name, old, r.Logs[i])
		}
		if f := (&patient{town: c, dir: c.path(name)}).fsck(); len(f.Findings) > 0 {
			t.Errorf("%s: %+v", name, f.Findings)
		}
		l, err := Open(t.Context(), c.options(c.path(name)))
		if err != nil || l.Size(originOf(sick)) != 600 || l.Size(second) != 1 {
			t.Errorf("%s: serves %d and %d entries: %v", name, l.Size(originOf(sick)), l.Size(second), err)
		}
	}
	for name, do := range map[string]func(p *patient){
		"what was cosigned of the log that ended": func(p *patient) {
			p.state("signer/mirror/"+escaped(sick)+".json", "mirror", originOf(sick), tlog.Tree{N: 999, Hash: tlog.Hash{1}}, "")
		},
		"the log that ended is fetched again": func(p *patient) { p.remove(p.file("tile", "entries", "002.p", "88")) },
		"its state is gone":                   func(p *patient) { p.remove(filepath.Join(p.dir, "signer/mirror/"+escaped(sick)+".json")) },
	} {
		p := &patient{town: &town{tb: t, cfg: c.cfg, dir: c.dir, now: c.now}}
		p.dir = p.copyOf("GOV/health")
		do(p)
		if r := c.audit(p.dir); !r.Clean() {
			t.Errorf("%s: %v", name, r.All())
		}
		if f := p.fsck(); !f.Opens() {
			t.Errorf("%s: %+v", name, f.Findings)
		}
		c.open2(p.dir, chain)
	}
	// What a mirror that is none now cosigned stays: others rely on it.
	p := &patient{town: &town{tb: t, cfg: c.cfg, dir: c.dir, now: c.now}}
	p.dir = p.copyOf("GOV/health")
	p.state("signer/mirror/"+escaped("GOV/tax")+".json", "mirror", originOf("GOV/tax"), tlog.Tree{N: 999, Hash: tlog.Hash{1}}, "")
	if r := c.audit(p.dir); r.Clean() || p.fsck().Opens() || r.log("GOV/tax").Problems[0].Code != BundleMissing {
		t.Errorf("entries of a former mirror are gone: %v", r.All())
	}
	// A later version's head is none by the first version, and without its links the folder does not say why.
	dir := c.copyOf("GOV/tax")
	if err := os.Remove(filepath.Join(dir, "chain", "2.json")); err != nil {
		t.Fatal(err)
	}
	if r := c.audit(dir); r.Version != 1 || !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Code == LogUnknown && p.Origin == second }) {
		t.Errorf("without links: version %d, %v", r.Version, r.Problems)
	}
	with := c.options(dir)
	with.Chain = chain
	if r, err := Run(t.Context(), with); err != nil || !r.Clean() || r.Version != 2 {
		t.Errorf("with a chain that was brought along: %v", err)
	}
}

// open2 sees to it that a store opens on a copy of GOV/health's folder.
func (c *town) open2(dir string, chain *network.Chain) {
	c.tb.Helper()
	s, err := ledger.Open(ledger.Options{Dir: dir, Chain: chain, Member: "GOV/health", LogKey: testKeys.Key("log GOV/health"), MirrorKey: testKeys.Key("mirror GOV/health")})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		c.tb.Error(err)
	}
}
