package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
)

// A bad is what goes wrong with a store that has six entries of GOV/tax, all final, and a mirror of them.
type bad struct {
	*cluster
	origin string
	s      *Store // GOV/health's
	good   [][]byte
	head   Head
}

func newBad(t *testing.T) *bad {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1), batchEntry(2), batchEntry(3), batchEntry(4), batchEntry(5), batchEntry(6))
	c.pushAll("GOV/tax", testNames...)
	c.spread("GOV/tax", "GOV/health", "GOV/tax")
	b := &bad{cluster: c, origin: c.cfg.Origin("GOV/tax"), s: c.stores["GOV/health"], head: c.final("GOV/tax", "GOV/tax")}
	b.good = mustRead(t, b.s, b.origin, 0, 6)
	return b
}

// cosigned is a checkpoint with cosignatures of the mirrors at a time.
func (b *bad) cosigned(t *testing.T, tree tlog.Tree, at time.Time, mirrors ...string) Head {
	t.Helper()
	data, err := note.Sign(b.origin, tree, testKey("log GOV/tax"))
	for _, m := range mirrors {
		line, cerr := note.Cosign(note.Text(b.origin, tree), network.MirrorName(testInstance, m, 1), testKey("mirror "+m), at)
		data, err = append(data, line...), errors.Join(err, cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return Head{Origin: b.origin, Size: uint64(tree.N), Root: tree.Hash, Checkpoint: data}
}

// TestBadInput is the list of what a ledger must not take from others or from its disk, each with the error that says so.
// After each the store has what it had.
func TestBadInput(t *testing.T) {
	for name, tc := range map[string]struct {
		do   func(t *testing.T, b *bad) error
		want error
	}{
		"forked log": {func(t *testing.T, b *bad) error {
			fork := append(append([][]byte{}, b.good[:5]...), rawEntries(t, 70, 1)...)
			_, err := b.s.AddCheckpoint(Push{b.origin, forge(t, b.origin, "GOV/tax", fork), 5, fork[5:]})
			if !b.s.Halted(b.origin) || len(b.s.Evidence()) != 1 {
				t.Error("a fork is not kept as evidence")
			}
			return err
		}, ErrInconsistent},
		"gap": {func(t *testing.T, b *bad) error {
			more := append(append([][]byte{}, b.good...), rawEntries(t, 7, 3)...)
			if behind, err := b.s.AddHead(b.cosigned(t, treeOf(t, more), b.clock.now(), testNames[:3]...)); err != nil || !behind {
				t.Fatal(behind, err)
			}
			return b.s.AddEntries(b.origin, Entries{7, more[7:]})
		}, ErrGap},
		"bad cosignature": {func(t *testing.T, b *bad) error {
			h := b.cosigned(t, tlog.Tree{N: 6, Hash: b.head.Root}, b.clock.now(), testNames[:3]...)
			lines := bytes.SplitAfter(bytes.TrimSuffix(h.Checkpoint, []byte("\n")), []byte(" "))
			sig, err := base64.StdEncoding.DecodeString(string(lines[len(lines)-1]))
			if err != nil {
				t.Fatal(err)
			}
			sig[len(sig)-1] ^= 1
			lines[len(lines)-1] = []byte(base64.StdEncoding.EncodeToString(sig) + "\n")
			h.Checkpoint = bytes.Join(lines, nil)
			return second(b.s.AddHead(h))
		}, note.ErrSignature},
		"oversized entry": {func(t *testing.T, b *bad) error {
			big := [][]byte{make([]byte, MaxEntry+1)}
			return second(b.s.AddCheckpoint(Push{b.origin, forge(t, b.origin, "GOV/tax", append(b.good[:6:6], big...)), 6, big}))
		}, core.ErrBounds},
		"oversized entry of one's own": {func(t *testing.T, b *bad) error {
			return second(b.stores["GOV/tax"].Append(context.Background(), entry.Unknown{Raw: make([]byte, MaxEntry+1)}))
		}, entry.ErrEntry},
		"note with 200 signatures": {func(t *testing.T, b *bad) error {
			h := b.head
			for i := range 200 {
				h.Checkpoint = append(h.Checkpoint, note.Signature{Name: fmt.Sprintf("m%d", i), Body: make([]byte, 72)}.Line()...)
			}
			return second(b.s.AddHead(h))
		}, note.ErrNote},
		"torn tile": {func(t *testing.T, b *bad) error {
			return b.damaged(t, "GOV/health", "logs/"+escape(b.origin)+"/tile/entries/000.p/6", func(data []byte) []byte { return data[:len(data)/2] })
		}, ErrCorrupt},
		"corrupted index": {func(t *testing.T, b *bad) error {
			if err := b.damaged(t, "GOV/health", "index.db", func(data []byte) []byte { data[0] ^= 1; return data }); err != nil {
				return err
			}
			return b.s.index.Damage()
		}, index.ErrDamaged},
		"clock a day ahead": {func(t *testing.T, b *bad) error {
			more := treeOf(t, append(b.good[:6:6], rawEntries(t, 7, 1)...))
			return second(b.s.AddHead(b.cosigned(t, more, b.clock.now().Add(24*time.Hour), testNames[:3]...)))
		}, ErrFuture},
		"own clock a day back": {func(t *testing.T, b *bad) error {
			b.clock.add(-24 * time.Hour)
			more := append(b.good[:6:6], rawEntries(t, 7, 1)...)
			return second(b.s.AddCheckpoint(Push{b.origin, forge(t, b.origin, "GOV/tax", more), 6, more[6:]}))
		}, signer.ErrClock},
		"key not in the configuration": {func(t *testing.T, b *bad) error {
			more := append(b.good[:6:6], rawEntries(t, 7, 1)...)
			return second(b.s.AddCheckpoint(Push{b.origin, forge(t, b.origin, "GOV/nobody", more), 6, more[6:]}))
		}, note.ErrSignature},
		"mirror not in the configuration": {func(t *testing.T, b *bad) error {
			more := treeOf(t, append(b.good[:6:6], rawEntries(t, 7, 1)...))
			return second(b.s.AddHead(b.cosigned(t, more, b.clock.now(), "GOV/civil", "GOV/tax", "GOV/nobody")))
		}, note.ErrSignature},
		"log not in the configuration": {func(t *testing.T, b *bad) error {
			return second(b.s.AddCheckpoint(Push{"test.example/GOV/nobody/log/1", forge(t, "test.example/GOV/nobody/log/1", "GOV/nobody", b.good), 0, b.good}))
		}, ErrOrigin},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBad(t)
			if err := tc.do(t, b); !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if b.s.Failure() != nil {
				return // it could not be opened
			}
			if raws, err := b.s.Read(b.origin, 0, 100); err != nil || !bytes.HasPrefix(bytes.Join(raws, nil), bytes.Join(b.good, nil)) {
				t.Errorf("it serves %d entries, %v", len(raws), err)
			}
			if h, ok := b.s.Final(b.origin); !ok || h.Size != 6 || h.Root != b.head.Root {
				t.Errorf("final size %d", h.Size)
			}
		})
	}
}

// damaged opens a store after one of its files was changed.
func (b *bad) damaged(t *testing.T, name, path string, change func([]byte) []byte) error {
	t.Helper()
	if err := b.stores[name].Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(b.path(name), filepath.FromSlash(path))
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, change(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(b.options(name))
	if err == nil {
		b.s, b.stores[name] = s, s
	}
	return err
}
