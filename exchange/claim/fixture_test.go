package claim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

const origin = "test.example/GOV/civil/log/1"

// memoryLog is a log in memory whose next appends may fail.
type memoryLog struct {
	mu      sync.Mutex
	raw     [][]byte
	facts   *view.Log
	refuse  bool // the next appends do nothing
	pretend bool // the next append is done, and says it failed
}

var errDisk = errors.New("no space left on device")

func newLog() *memoryLog { return &memoryLog{facts: view.NewLog()} }

func (l *memoryLog) View(_ string, size uint64) *view.View { return l.facts.At(size) }

func (l *memoryLog) Read(_ string, from, to uint64) ([][]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.raw[from:to], nil
}

func (l *memoryLog) Append(_ context.Context, entries ...entry.Entry) ([]uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuse {
		return nil, errDisk
	}
	var at []uint64
	for _, e := range entries {
		raw, err := entry.Encode(e)
		if err != nil {
			return nil, err
		}
		at = append(at, uint64(len(l.raw)))
		l.raw = append(l.raw, raw)
		l.facts.Add(e)
	}
	if l.pretend {
		l.pretend = false
		return nil, errDisk
	}
	return at, nil
}

func (l *memoryLog) WaitFinal(context.Context, uint64) error { return nil }

// bench is a register with its folder, over a log that outlives it.
type bench struct {
	t    *testing.T
	dir  string
	log  *memoryLog
	now  time.Time
	seal *vault.Vault
	*Register
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	v, err := vault.Open(filepath.Join(dir, "vault"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: filepath.Join(dir, "claims"), log: newLog(), now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), seal: v}
	b.open()
	t.Cleanup(func() {
		if b.Register != nil {
			b.check(b.Close())
		}
	})
	return b
}

func (b *bench) options() Options {
	return Options{Dir: b.dir, Origin: origin, Ledger: b.log, Seal: b.seal, Beat: time.Minute,
		Now: func() time.Time { return b.now }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	b.Register, err = Open(b.options())
	b.check(err)
}

// crash forgets what is in memory. The files are as a kill leaves them.
func (b *bench) crash() {
	b.t.Helper()
	b.check(b.journal.Close())
	b.check(b.index.Close())
	b.open()
}

func (b *bench) check(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// scope opens a scope and returns its name in the register.
func (b *bench) scope(period string) string {
	b.t.Helper()
	_, err := b.OpenScope(b.t.Context(), "fuel", period, b.now, b.now.AddDate(1, 0, 0))
	b.check(err)
	s, _ := b.all().Scope("fuel", period)
	return s.Open.KeyCommitment
}

// claim reserves and commits one.
func (b *bench) claim(scope string, n receipt.Hash) {
	b.t.Helper()
	b.check(b.Reserve(b.t.Context(), scope, n, n))
	b.check(b.Commit(scope, n, n))
}

// beat lets a minute pass and logs its claims.
func (b *bench) beat() {
	b.t.Helper()
	b.now = b.now.Add(time.Minute)
	b.check(b.CloseBeat(b.t.Context()))
}

// reserved says what a reservation of a nullifier gives.
func (b *bench) reserve(scope string, n receipt.Hash) error {
	return b.Reserve(b.t.Context(), scope, n, receipt.Sum("query", n[:]))
}

// logged counts the places of nullifiers in the log's batches.
func (b *bench) logged() map[receipt.Hash]int {
	b.t.Helper()
	count := map[receipt.Hash]int{}
	for _, i := range b.all().Claims(0) {
		list, err := Nullifiers(b.log.raw[i])
		b.check(err)
		if len(list) != entry.Claims {
			b.t.Fatalf("a batch of %d", len(list))
		}
		for _, n := range list {
			count[n]++
		}
	}
	return count
}

// nullifier is the same random element for the same number.
func nullifier(i int) receipt.Hash {
	sum := receipt.Sum("nullifier", fmt.Append(nil, i))
	var e fr.Element
	e.SetBytes(sum[:])
	return e.Bytes()
}

func randomHash(r *rand.Rand) (h receipt.Hash) {
	for i := range h {
		h[i] = byte(r.Uint32())
	}
	return h
}
