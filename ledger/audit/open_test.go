package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
)

// An opened folder answers as the store that wrote it does, at every size.
func TestOpenAnswersAsTheStore(t *testing.T) {
	c := baseTown(t)
	dir := c.copyOf("GOV/health")
	l, err := Open(context.Background(), c.options(dir))
	if err != nil {
		t.Fatal(err)
	}
	if !l.Report().Clean() {
		t.Errorf("report: %v", l.Report().All())
	}
	s, err := ledger.Open(ledger.Options{Dir: dir, Config: c.cfg, Member: "GOV/health", LogKey: testKeys.Key("log GOV/health"), MirrorKey: testKeys.Key("mirror GOV/health")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	origin := originOf("GOV/tax")
	if n := s.Size(origin); l.Size(origin) != n || n != 12 {
		t.Fatalf("size %d, the store's is %d", l.Size(origin), n)
	}
	for size := range l.Size(origin) + 2 {
		mine, theirs := l.View(origin, size), s.View(origin, size)
		_, e1, ok1 := mine.Epoch("income")
		_, e2, ok2 := theirs.Epoch("income")
		_, p1, ok3 := mine.Policy("low", 1)
		_, p2, ok4 := theirs.Policy("low", 1)
		_, ok5 := mine.Agreement(4)
		_, ok6 := theirs.Agreement(4)
		_, b1, ok7 := mine.NewestBatch()
		_, b2, ok8 := theirs.NewestBatch()
		if mine.Size() != theirs.Size() || e1 != e2 || ok1 != ok2 || p1 != p2 || ok3 != ok4 || ok5 != ok6 || b1 != b2 || ok7 != ok8 {
			t.Errorf("size %d: views differ", size)
		}
	}
	for _, size := range []uint64{1, 255, 256, 257, 599, 600} {
		for _, index := range []uint64{0, size / 2, size - 1} {
			mine, err := l.Inclusion(originOf("GOV/civil"), index, size)
			if err != nil {
				t.Fatal(err)
			}
			theirs, err := s.Inclusion(originOf("GOV/civil"), index, size)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := s.Read(originOf("GOV/civil"), index, index+1)
			if err != nil {
				t.Fatal(err)
			}
			tree := (&patient{town: c, dir: dir}).tree(int(size))
			if err := tlog.CheckRecord(mine, tree.N, tree.Hash, int64(index), tlog.RecordHash(raw[0])); err != nil || len(mine) != len(theirs) {
				t.Errorf("entry %d of %d: %v", index, size, err)
			}
			if own, err := l.Read(originOf("GOV/civil"), index, index+1); err != nil || len(own) != 1 || !bytes.Equal(own[0], raw[0]) {
				t.Errorf("entry %d is read as another: %v", index, err)
			}
		}
	}
	if some, err := l.Read(originOf("GOV/civil"), 250, 600); err != nil || len(some) != 6 {
		t.Errorf("%d entries to the end of a file, %v", len(some), err)
	}
	if _, err := l.Read(originOf("GOV/civil"), 600, 601); err == nil {
		t.Error("an entry beyond what is final")
	}
	if _, err := l.Inclusion(originOf("GOV/civil"), 0, 601); err == nil {
		t.Error("path in a tree beyond what is final")
	}
	if _, err := l.Inclusion(originOf("GOV/civil"), 7, 7); err == nil {
		t.Error("path of an entry beyond the tree")
	}
}

// A log that is not what was signed is not served, and neither is what is not final.
func TestOpenServesWhatIsVerified(t *testing.T) {
	c := baseTown(t)
	health := originOf("GOV/health") // one entry, not final
	for name, do := range map[string]func(*patient){
		"an entry changed":    func(p *patient) { p.edit(p.file("tile", "entries", "001"), flip(20)) },
		"bundle cut":          func(p *patient) { p.edit(p.file("tile", "entries", "001"), func(b []byte) []byte { return b[:100] }) },
		"a cosignature short": func(p *patient) { p.lines(func(l []string) []string { return l[:3] }) },
		"no head":             func(p *patient) { p.remove(p.file("checkpoint")) },
		"no log": func(p *patient) {
			if err := os.RemoveAll(p.file()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		p := &patient{town: c, dir: c.copyOf("GOV/health")}
		do(p)
		l, err := Open(context.Background(), c.options(p.dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, origin := range []string{originOf(sick), health, "unknown"} {
			if _, err := l.Read(origin, 0, 1); !errors.Is(err, ErrUnverified) {
				t.Errorf("%s: entries of %s are served: %v", name, origin, err)
			}
			if _, err := l.Inclusion(origin, 0, 1); !errors.Is(err, ErrUnverified) || l.View(origin, 1) != nil || l.Size(origin) != 0 {
				t.Errorf("%s: %s is served: %v", name, origin, err)
			}
		}
		if l.Size(originOf("GOV/tax")) != 12 {
			t.Errorf("%s: the other log is not served", name)
		}
	}
	one := c.options(c.path("GOV/health"))
	one.Origins = []string{originOf("GOV/tax")}
	l, err := Open(context.Background(), one)
	if err != nil || l.Size(originOf("GOV/tax")) != 12 || l.Size(originOf(sick)) != 0 || len(l.Report().Logs) != 1 {
		t.Errorf("one log: %v", err)
	}
	if _, err := Open(context.Background(), Options{Dir: t.TempDir(), Config: c.cfg}); !errors.Is(err, ErrNoLedger) {
		t.Errorf("empty folder: %v", err)
	}
}
