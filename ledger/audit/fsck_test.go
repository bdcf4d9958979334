package audit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/ledger"
)

// leftovers are what a killed process and careless people leave behind. want is what a start does about each path.
var leftovers = []struct {
	name string
	do   func(p *patient)
	want map[string]Start
}{
	{"temporary tile", func(p *patient) { p.put(p.file("tile", "0", "003.tmp"), "x") }, map[string]Start{"tile/0/003.tmp": Repairs}},
	{"temporary head", func(p *patient) { p.put(p.file("checkpoint.tmp"), "x") }, map[string]Start{"checkpoint.tmp": Leaves}},
	{"temporary state", func(p *patient) { p.put(filepath.Join(p.dir, "signer/owner.json.tmp"), "x") }, map[string]Start{"signer/owner.json.tmp": Leaves}},
	{"entries beyond the head", func(p *patient) {
		p.put(p.file("tile", "entries", "002.p", "100"), "x")
		p.put(p.file("tile", "0", "002.p", "100"), "x")
	}, map[string]Start{"tile/entries/002.p/100": Repairs, "tile/0/002.p/100": Repairs}},
	{"a tile far beyond", func(p *patient) { p.put(p.file("tile", "0", "x001", "000"), "x") }, map[string]Start{"tile/0/x001/000": Repairs}},
	{"a partial tile whose full one stands", func(p *patient) { p.put(p.file("tile", "0", "001.p", "7"), "x") }, map[string]Start{"tile/0/001.p/7": Repairs}},
	{"a wider tile stands in", func(p *patient) {
		p.edit(p.file("tile", "0", "002.p", "88"), func(b []byte) []byte {
			p.put(p.file("tile", "0", "002.p", "89"), string(b)+strings.Repeat("x", 32))
			return b
		})
		p.remove(p.file("tile", "0", "002.p", "88"))
	}, map[string]Start{"tile/0/002.p/88": Repairs, "tile/0/002.p/89": Repairs}},
	{"a stray file", func(p *patient) { p.put(p.file("tile", "notes.txt"), "x") }, map[string]Start{"tile/notes.txt": Leaves}},
	{"a stray file above", func(p *patient) { p.put(filepath.Join(p.dir, "notes.txt"), "x") }, map[string]Start{"notes.txt": Leaves}},
	{"a file that all can write", func(p *patient) {
		if err := os.Chmod(filepath.Join(p.dir, "signer/owner.json"), 0o666); err != nil {
			p.tb.Fatal(err)
		}
	}, map[string]Start{"signer/owner.json": Leaves}},
	{"a link", func(p *patient) {
		if err := os.Symlink("owner.json", filepath.Join(p.dir, "signer/link")); err != nil {
			p.tb.Fatal(err)
		}
	}, map[string]Start{"signer/link": Leaves}},
}

func (p *patient) start() error {
	s, err := ledger.Open(ledger.Options{Dir: p.dir, Config: p.cfg, Member: sick, LogKey: testKeys.Key("log " + sick), MirrorKey: testKeys.Key("mirror " + sick)})
	if err != nil {
		return err
	}
	return s.Close()
}

func (p *patient) fsck() *Files {
	p.tb.Helper()
	f, err := Fsck(context.Background(), p.dir, nil)
	if err != nil {
		p.tb.Fatal(err)
	}
	return f
}

func TestFsckHealthy(t *testing.T) {
	c := baseTown(t)
	for _, name := range testNames {
		p := &patient{town: c, dir: c.path(name)}
		before := fingerprint(t, p.dir)
		var done, total int64
		f, err := Fsck(context.Background(), p.dir, func(d, n int64) { done, total = d, n })
		if err != nil || len(f.Findings) > 0 || !f.Opens() || len(f.Logs) != 4 || f.Count == 0 || f.Bytes == 0 || done != total || done < 600 {
			t.Errorf("%s: %+v, %v; %d of %d", name, f, err, done, total)
		}
		for _, l := range f.Logs {
			if l.Origin == originOf("GOV/civil") && (l.Size != 600 || l.Final != 600 || l.Tiles != 4 || l.Partial == 0) {
				t.Errorf("%s: %+v", name, l)
			}
		}
		if fingerprint(t, p.dir) != before {
			t.Errorf("%s: the check changed the folder", name)
		}
	}
	if _, err := Fsck(context.Background(), t.TempDir(), nil); !errors.Is(err, ErrNoLedger) {
		t.Errorf("empty folder: %v", err)
	}
}

func TestFsckLeftovers(t *testing.T) {
	c := baseTown(t)
	for _, tc := range leftovers {
		t.Run(tc.name, func(t *testing.T) {
			p := &patient{town: &town{tb: t, cfg: c.cfg, dir: c.dir, now: c.now}}
			p.dir = p.copyOf(sick)
			tc.do(p)
			f := p.fsck()
			for _, g := range f.Findings {
				name := strings.TrimPrefix(g.Path, "logs/"+escaped(sick)+"/")
				if want, ok := tc.want[name]; !ok || want != g.Start {
					t.Errorf("found %+v", g)
				}
			}
			if len(f.Findings) != len(tc.want) || !f.Opens() {
				t.Errorf("found %+v", f.Findings)
			}
			if err := p.start(); err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(p.fsck().Findings, func(g Finding) bool { return g.Start == Repairs }) {
				t.Errorf("after a start: %+v", p.fsck().Findings)
			}
		})
	}
}

// TestFsckForetellsTheStart does to a folder all that an audit is tested with, and compares what fsck says of the next
// start with the next start. Signatures it cannot judge: a start may refuse what it lets pass, never the other way.
func TestFsckForetellsTheStart(t *testing.T) {
	c := baseTown(t)
	signatures := []Code{OwnerSignature, CosignatureInvalid, CosignatureMissing}
	for _, tc := range tampers {
		if tc.name == "a log too many" || tc.name == "no link" { // whether a start looks at them, only the configuration says
			continue
		}
		t.Run(tc.name, func(t *testing.T) {
			p := &patient{town: &town{tb: t, cfg: c.cfg, dir: c.dir, now: c.now}}
			p.dir = p.copyOf(sick)
			tc.do(p)
			if p.chain != nil {
				return // a start under another configuration is not this test's
			}
			f := p.fsck()
			signed := slices.ContainsFunc(signatures, func(c Code) bool { _, ok := tc.want[c]; return ok })
			err := p.start()
			if f.Opens() != (err == nil) && !(signed && f.Opens()) {
				t.Fatalf("fsck says that a start opens: %v; %+v; it says: %v", f.Opens(), f.Findings, err)
			}
			if err == nil && slices.ContainsFunc(p.fsck().Findings, func(g Finding) bool { return g.Start == Repairs }) {
				t.Errorf("after a start: %+v", p.fsck().Findings)
			}
		})
	}
}
