package receipt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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
	twice bool // a beat was published twice
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
				_, again := b.log[beat]
				b.twice = b.twice || again
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

func (f appendFunc) Scan(func([]byte) error) error { return nil }

// TestReceiptInDoubtIsNotPublished: after a failed append nobody knows whether a restart replays the receipt. A root with or without
// it would break the promises that stand beside it.
func TestReceiptInDoubtIsNotPublished(t *testing.T) {
	b := newBench(t)
	p := b.record("a")
	lost := errors.New("disk failed")
	b.book.Attach(appendFunc(func(frame []byte) error { // the frame is on the disk, its fsync is not known to be
		if err := b.file.Append(frame); err != nil {
			t.Error(err)
		}
		return lost
	}))
	if _, _, err := b.book.Record(Draft{Kind: "k", Query: Sum("b"), Outcome: "satisfied", Answer: Sum("answer"),
		Payload: func(Promise, Hash) (any, error) { return "b", nil }}); !errors.Is(err, lost) {
		t.Fatalf("recorded: %v", err)
	}
	b.now = b.now.Add(10 * time.Second)
	if err := b.book.CloseBeats(t.Context()); !errors.Is(err, lost) {
		t.Fatalf("a batch was logged without knowing its receipts: %v", err)
	}
	if err := b.book.Run(t.Context()); !errors.Is(err, lost) {
		t.Fatalf("the book goes on: %v", err)
	}
	b.file.Close()
	b.open()
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.kept(p); err != nil {
		t.Fatalf("the receipt beside the one in doubt: %v", err)
	}
}

// TestOversizedFrameHarmsNothing: the journal refuses it before it writes, so that a peer cannot stop the book.
func TestOversizedFrameHarmsNothing(t *testing.T) {
	b := newBench(t)
	if err := b.book.Keep("k", strings.Repeat("x", journal.MaxFrame)); !errors.Is(err, journal.ErrFrameSize) {
		t.Fatalf("got %v", err)
	}
	p := b.record("a")
	b.now = b.now.Add(10 * time.Second)
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.kept(p); err != nil {
		t.Fatal(err)
	}
}

// TestClockLeapDoesNotFloodTheLog: a clock that was set from 1970 to now would otherwise log every beat since.
func TestClockLeapDoesNotFloodTheLog(t *testing.T) {
	b := newBench(t)
	p := b.record("a")
	b.now = b.now.AddDate(50, 0, 0)
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(b.log) > maxCatchUp+3 {
		t.Fatalf("%d batches at once", len(b.log))
	}
	if err := b.kept(p); err != nil {
		t.Fatal(err)
	}
}

// TestClockGoingBackOpensNoClosedBeat sets the clock back by an hour, with and without a restart.
func TestClockGoingBackOpensNoClosedBeat(t *testing.T) {
	b := newBench(t)
	first := b.record("a")
	b.now = b.now.Add(10 * time.Second)
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.now = b.now.Add(-time.Hour)
		p := b.record("back")
		if p.Beat <= first.Beat {
			t.Fatalf("a receipt joined beat %d, which is closed", p.Beat)
		}
		b.now = b.now.Add(time.Hour + 30*time.Second)
		if err := b.book.CloseBeats(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(b.kept(p), b.kept(first)); err != nil {
			t.Fatal(err)
		}
		first = p
		b.file.Close()
		b.open()
	}
}

// TestBeatsCloseWhileReceiptsAreWritten runs both at once; every promise must be kept.
func TestBeatsCloseWhileReceiptsAreWritten(t *testing.T) {
	b := newBench(t)
	var clock atomic.Int64
	clock.Store(b.now.UnixNano())
	b.book.opts.Now = func() time.Time { return time.Unix(0, clock.Load()) }
	var writing, closing sync.WaitGroup
	promises := make([]Promise, 120)
	for w := range 4 {
		writing.Go(func() {
			for i := w; i < len(promises); i += 4 {
				promises[i] = b.record(fmt.Sprint(i))
				clock.Add(int64(time.Second))
			}
		})
	}
	stop := make(chan struct{})
	for range 2 {
		closing.Go(func() {
			for {
				if err := b.book.CloseBeats(t.Context()); err != nil {
					t.Error(err)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	clock.Add(int64(20 * time.Second))
	close(stop)
	closing.Wait()
	if err := b.book.CloseBeats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.twice {
		t.Error("a beat was logged twice")
	}
	for _, p := range promises {
		if err := b.kept(p); err != nil {
			t.Fatalf("beat %d: %v", p.Beat, err)
		}
	}
}

// TestPromiseBoundaries: a receipt at the first instant of a beat belongs to it, one just before does not.
func TestPromiseBoundaries(t *testing.T) {
	b := newBench(t)
	start := BeatStart(BeatAt(b.now, 10*time.Second)+1, 10*time.Second)
	b.now = start.Add(-time.Nanosecond)
	before := b.record("before")
	b.now = start
	at := b.record("at")
	if at.Beat != before.Beat+1 || at.Deadline != start.Add(20*time.Second).Format(time.RFC3339) {
		t.Fatalf("beats %d and %d, deadline %s", before.Beat, at.Beat, at.Deadline)
	}
	for _, beat := range []uint64{1 << 39, 1 << 40, 1<<63 - 1, 1<<64 - 1, lastBeat(time.Minute) - 1} {
		p := Promise{Version: 1, Beat: beat, Deadline: Deadline(beat, time.Minute).Format(time.RFC3339)}
		if err := p.Check(time.Minute); !errors.Is(err, ErrEncoding) {
			t.Errorf("beat %d with a wrapped deadline %s: %v", beat, p.Deadline, err)
		}
		if at := BeatStart(beat, time.Minute); at.Year() < 2262 {
			t.Errorf("beat %d begins in %s", beat, at)
		}
	}
}
