package receipt

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/journal"
	"github.com/grille-gateway/grille/exchange/vault"
)

// bench is a book on a real journal with a log that is a slice.
type bench struct {
	t     *testing.T
	path  string
	vault *vault.Vault
	now   time.Time
	mu    sync.Mutex
	log   map[uint64]Hash
	fail  error
	book  *Book
	file  *journal.Journal
	seen  []string
}

func newBench(t *testing.T) *bench {
	dir := t.TempDir()
	v, err := vault.Open(filepath.Join(dir, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, path: filepath.Join(dir, "journal"), vault: v, now: time.Unix(1_800_000_005, 0), log: map[uint64]Hash{}}
	b.open()
	return b
}

func (b *bench) open() {
	b.seen = nil
	b.book = New(Options{Member: "GOV/tax", Beat: 10 * time.Second, Secret: Sum("secret"), Seal: b.vault,
		Now: func() time.Time { return b.now }, Logger: slog.New(slog.DiscardHandler),
		Publish: func(_ context.Context, beat uint64, root Hash) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.fail == nil {
				b.log[beat] = root
			}
			return b.fail
		},
		LastPublished: func() (last uint64, ok bool) {
			b.mu.Lock()
			defer b.mu.Unlock()
			for beat := range b.log {
				last, ok = max(last, beat), true
			}
			return last, ok
		}})
	var err error
	b.file, err = journal.Open(b.path, func(f []byte) error {
		return b.book.Replay(f, func(kind string, payload []byte) error {
			b.seen = append(b.seen, kind+string(payload))
			return nil
		})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.file.Close() })
	b.book.Attach(b.file)
}

func (b *bench) record(name string) Promise {
	b.t.Helper()
	p, salt, err := b.book.Record(Draft{Kind: "k", Query: Sum(name), Outcome: "satisfied", Answer: Sum("answer"),
		Payload: func(Promise, Hash) (any, error) { return name, nil }})
	if err != nil {
		b.t.Fatal(err)
	}
	if p.Receipt != Digest(salt, Sum(name), "satisfied", Sum("answer")) {
		b.t.Fatal("the salt does not open the promised receipt")
	}
	if err := p.Check(10 * time.Second); err != nil {
		b.t.Fatal(err)
	}
	return p
}

func (b *bench) kept(p Promise) error {
	proof, _, err := b.book.Prove(p.Beat, p.Place)
	if err != nil {
		return err
	}
	return VerifyPath(b.log[p.Beat], p.Receipt, p.Place, proof.Path)
}

func TestPromiseIsKeptAtTheBeat(t *testing.T) {
	b := newBench(t)
	p := b.record("a")
	if err := b.kept(p); !errors.Is(err, ErrOpenBeat) {
		t.Fatalf("path before the beat: %v", err)
	}
	b.now = b.now.Add(10 * time.Second)
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.kept(p); err != nil {
		t.Fatal(err)
	}
	if !Deadline(p.Beat, 10*time.Second).After(b.now) {
		t.Fatal("the batch came after its deadline")
	}
}

func TestPromiseSurvivesARestartBeforeItsBatch(t *testing.T) {
	b := newBench(t)
	p := b.record("a")
	if err := b.book.Keep("note", "b"); err != nil {
		t.Fatal(err)
	}
	b.file.Close()
	b.now = b.now.Add(35 * time.Second)
	b.open()
	if want := []string{`k"a"`, `note"b"`}; len(b.seen) != 2 || b.seen[0] != want[0] || b.seen[1] != want[1] {
		t.Fatalf("replayed %q", b.seen)
	}
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.kept(p); err != nil {
		t.Fatal(err)
	}
}

func TestRestartAfterTheBatchGivesTheSameRoot(t *testing.T) {
	b := newBench(t)
	p := b.record("a")
	b.now = b.now.Add(10 * time.Second)
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.file.Close()
	b.open()
	if err := b.kept(p); err != nil {
		t.Fatal(err)
	}
	if q := b.record("b"); q.Beat <= p.Beat {
		t.Fatalf("a receipt joined beat %d, which is on the log", q.Beat)
	}
}

func TestFailedPublishIsTriedAgainWithTheSameRoot(t *testing.T) {
	b := newBench(t)
	p := b.record("a")
	b.now, b.fail = b.now.Add(10*time.Second), errors.New("no quorum")
	if err := b.book.CloseBeats(t.Context()); err == nil {
		t.Fatal("a failed publish went unnoticed")
	}
	if q := b.record("late"); q.Beat <= p.Beat {
		t.Fatal("a receipt joined a beat that was shut")
	}
	b.fail = nil
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.kept(p); err != nil {
		t.Fatal(err)
	}
}

func TestEveryBeatIsLoggedBusyOrNot(t *testing.T) {
	b := newBench(t)
	for range 3 {
		b.now = b.now.Add(10 * time.Second)
		if err := b.book.CloseBeats(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.log) != 3 {
		t.Fatalf("%d batches for 3 idle beats", len(b.log))
	}
}

func TestConcurrentReceiptsAllLandInTheirBatches(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	promises := make([]Promise, 64)
	for i := range promises {
		wg.Go(func() { promises[i] = b.record(string(rune('A' + i))) })
	}
	wg.Wait()
	b.now = b.now.Add(20 * time.Second)
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range promises {
		if err := b.kept(p); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalHoldsNothingOpen(t *testing.T) {
	b := newBench(t)
	var frames [][]byte
	b.book.Attach(appendFunc(func(f []byte) error { frames = append(frames, f); return nil }))
	b.record("NMES-000001")
	if len(frames) != 1 || bytes.Contains(frames[0], []byte("NMES-000001")) {
		t.Fatal("a subject id reached the disk unsealed")
	}
	if err := b.book.Replay(append(frames[0][:10:10], frames[0][11:]...), nil); !errors.Is(err, ErrJournal) {
		t.Fatalf("damaged frame: %v", err)
	}
}

type appendFunc func([]byte) error

func (f appendFunc) Append(frame []byte) error { return f(frame) }
