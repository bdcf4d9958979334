package dataset

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/grille-gateway/grille/exchange/schema"
)

func TestOneProcessAndOneVault(t *testing.T) {
	s, m, dir, v := careStore(t)
	publish(t, s, m, table(patients(2)))
	if _, err := Open(dir, v); !errors.Is(err, ErrLocked) {
		t.Fatalf("second open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second close: %v", err)
	}
	if _, err := s.Epoch("care", 1); !errors.Is(err, ErrClosed) {
		t.Fatalf("epoch after close: %v", err)
	}
	if sch, _ := careSchema(t); !errors.Is(s.Declare(sch), ErrClosed) {
		t.Fatal("declared after close")
	}
	before := filesOf(t, dir)
	if _, err := Open(dir, testVault(t)); !errors.Is(err, ErrVault) {
		t.Fatalf("another vault: %v", err)
	}
	if after := filesOf(t, dir); len(after) != len(before) {
		t.Fatal("opening with another vault changed files")
	}
	openStore(t, dir, v)
}

func TestDeclare(t *testing.T) {
	s, _, dir, v := careStore(t)
	sch, _ := careSchema(t)
	tax := &schema.Schema{Dataset: "tax", Title: "Tax", Scheme: "person", Columns: []schema.Column{{Name: "income", Type: schema.Int}}}
	if err := s.Declare(tax); err != nil {
		t.Fatal(err)
	}
	tax.Columns[0].Name = "changed by the caller"
	if err := s.Declare(&schema.Schema{Dataset: "../x"}); !errors.Is(err, schema.ErrSchema) {
		t.Fatal(err)
	}
	s.Close()
	s = openStore(t, dir, v)
	if got := s.Datasets(); !slices.Equal(got, []string{"care", "tax"}) {
		t.Fatalf("%q", got)
	}
	if got, ok := s.Schema("tax"); !ok || got.Columns[0].Name != "income" {
		t.Fatalf("%+v", got)
	}
	if got, ok := s.Schema("care"); !ok || !got.Equal(sch) {
		t.Fatalf("%+v", got)
	}
	if _, ok := s.Schema("jobs"); ok {
		t.Fatal("an undeclared dataset has a schema")
	}
	if _, ok := s.Current("jobs"); ok {
		t.Fatal("an undeclared dataset has an epoch")
	}
	if _, err := s.Epoch("jobs", 1); !errors.Is(err, ErrDataset) {
		t.Fatal(err)
	}
}

// After a change of columns every record is committed to anew; old epochs keep their schema. A new title changes nothing.
func TestSchemaChange(t *testing.T) {
	s, m, dir, v := careStore(t)
	first, _ := publish(t, s, m, table(patients(5)))
	sch, _ := careSchema(t)
	sch.Title = "Another title"
	if err := s.Declare(sch); err != nil {
		t.Fatal(err)
	}
	second, r := publish(t, s, m, table(patients(5)))
	if r.Unchanged != 5 || second.Schema().Title != "Another title" || first.Schema().Title != "Care visits" {
		t.Fatalf("%+v", r)
	}
	sch.Columns[1].Codes = []string{"excellent", "average", "poor"}
	if err := s.Declare(sch); err != nil {
		t.Fatal(err)
	}
	third, r := publish(t, s, m, table(patients(5)))
	if r.Added != 5 || r.Changed+r.Unchanged+r.Removed != 0 {
		t.Fatalf("%+v", r)
	}
	checkReference(t, third)
	s.Close()
	s = openStore(t, dir, v)
	for number, code := range map[uint64]int64{2: 1, 3: 1} {
		e, err := s.Epoch("care", number)
		if err != nil {
			t.Fatal(err)
		}
		f := lookup(t, e, keyOf(1)) // average under both orders
		if f.Row[1].Number != code || e.Schema().Columns[1].Codes[0] != [4]string{2: "poor", 3: "excellent"}[number] {
			t.Errorf("epoch %d: %+v", number, f.Row[1])
		}
	}
}

func TestPendingActivateDiscard(t *testing.T) {
	s, m, dir, v := careStore(t)
	if _, ok := s.Pending("care"); ok {
		t.Fatal("pending before an import")
	}
	p, _ := importTable(t, s, m, table(patients(3)))
	if _, ok := s.Current("care"); ok {
		t.Fatal("a pending epoch is current")
	}
	if _, err := s.Epoch("care", p.Epoch); !errors.Is(err, ErrEpoch) {
		t.Fatal(err)
	}
	for _, wrong := range []uint64{0, 2} {
		if err := s.Activate("care", wrong, 5); !errors.Is(err, ErrEpoch) {
			t.Fatal(err)
		}
		if err := s.Discard("care", wrong); !errors.Is(err, ErrEpoch) {
			t.Fatal(err)
		}
	}
	if err := s.Activate("jobs", 1, 5); !errors.Is(err, ErrDataset) {
		t.Fatal(err)
	}
	s.Close()
	s = openStore(t, dir, v)
	again, ok := s.Pending("care")
	if !ok || *again != *p {
		t.Fatalf("%+v, want %+v", again, p)
	}
	if err := s.Discard("care", 1); err != nil {
		t.Fatal(err)
	}
	p, _ = importTable(t, s, m, table(patients(4)))
	if p.Epoch != 1 || p.Root == again.Root {
		t.Fatalf("%+v after a discarded epoch", p)
	}
	for range 2 {
		if err := s.Activate("care", 1, 7); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Activate("care", 1, 8); !errors.Is(err, ErrEpoch) {
		t.Fatalf("activated twice with two indexes: %v", err)
	}
	if err := s.Discard("care", 1); !errors.Is(err, ErrEpoch) {
		t.Fatalf("discarded the current epoch: %v", err)
	}
}

func TestRetention(t *testing.T) {
	s, m, dir, v := careStore(t)
	var epochs []*Epoch
	for n := range KeepEpochs + 2 {
		e, _ := publish(t, s, m, table(patients(n+1)))
		epochs = append(epochs, e)
	}
	exist := func(numbers ...uint64) {
		t.Helper()
		var got []uint64
		for n := range uint64(KeepEpochs + 4) {
			e, err := s.Epoch("care", n)
			if err == nil {
				got = append(got, n)
				if e.Rows() != int(n) {
					t.Errorf("epoch %d has %d rows", n, e.Rows())
				}
				lookup(t, e, keyOf(1))
			} else if !errors.Is(err, ErrEpoch) {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "care", epochFolder(n))); (err == nil) != slices.Contains(numbers, n) {
				t.Errorf("epoch %d on disk: %v", n, err)
			}
		}
		if !slices.Equal(got, numbers) {
			t.Errorf("epochs %v, want %v", got, numbers)
		}
	}
	exist(3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	lookup(t, epochs[0], keyOf(1)) // retired, but still held
	s.Close()
	s = openStore(t, dir, v)
	exist(3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	s.Keep(1)
	publish(t, s, m, table(patients(13)))
	exist(13)
	if n := len(s.datasets["care"].old); n != 0 {
		t.Errorf("the store still holds %d retired epochs", n)
	}
}

// TestOldEpochsUnderLoad opens old epochs from many goroutines, more of them than stay open, while imports retire some. Each is read
// as what it was, or is gone.
func TestOldEpochsUnderLoad(t *testing.T) {
	s, m, dir, v := careStore(t)
	const kept = maxOpenEpochs + 4
	s.Keep(kept)
	for n := range kept {
		publish(t, s, m, table(patients(n+1)))
	}
	s.Close()
	s = openStore(t, dir, v)
	s.Keep(kept)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 60 {
				number := uint64((i*7+w)%kept + 1)
				e, err := s.Epoch("care", number)
				if errors.Is(err, ErrEpoch) && number <= 2 {
					continue
				}
				if err != nil {
					t.Errorf("epoch %d: %v", number, err)
					return
				}
				if f, err := e.Lookup(keyOf(int(number))); err != nil || f.Record == nil || e.Rows() != int(number) {
					t.Errorf("epoch %d has %d rows: %v", number, e.Rows(), err)
				}
			}
		})
	}
	for range 2 {
		publish(t, s, m, table(patients(kept+1)))
	}
	wg.Wait()
	for number := range uint64(2) {
		if _, err := s.Epoch("care", number+1); !errors.Is(err, ErrEpoch) {
			t.Errorf("epoch %d: %v", number+1, err)
		}
	}
	if n := len(s.datasets["care"].old); n > maxOpenEpochs {
		t.Errorf("%d old epochs are open", n)
	}
}

// Lookups go on while epochs come and go.
func TestLookupsDuringImports(t *testing.T) {
	s, m, _, _ := careStore(t)
	s.Keep(1)
	publish(t, s, m, table(patients(60)))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				e, ok := s.Current("care")
				if !ok {
					t.Error("no current epoch")
					return
				}
				id := 1 + (i*7+w)%80
				f, err := e.Lookup(keyOf(id))
				if err != nil || (f.Record != nil) != (id <= 60) {
					t.Errorf("patient %d: %v", id, err)
					return
				}
			}
		})
	}
	for n := range 5 {
		list := patients(60)
		list[n].visits = 29
		publish(t, s, m, table(list))
	}
	close(stop)
	wg.Wait()
}

// slowReader holds an import open until it is released.
type slowReader struct {
	reading chan struct{}
	release chan struct{}
	once    sync.Once
}

func (r *slowReader) Read([]byte) (int, error) {
	r.once.Do(func() { close(r.reading) })
	<-r.release
	return 0, errors.New("released")
}

func TestOneChangeAtATime(t *testing.T) {
	s, m, _, _ := careStore(t)
	slow := &slowReader{reading: make(chan struct{}), release: make(chan struct{})}
	done := make(chan error)
	go func() {
		_, _, err := s.Import(context.Background(), "care", instance, person, slow, m, nil)
		done <- err
	}()
	<-slow.reading
	_, _, err := s.Import(context.Background(), "care", instance, person, strings.NewReader(careHeader), m, nil)
	if !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	if sch, _ := careSchema(t); !errors.Is(s.Declare(sch), ErrBusy) {
		t.Error("declared during an import")
	}
	close(slow.release)
	if err := <-done; err == nil {
		t.Error("the slow import succeeded")
	}
	publish(t, s, m, careHeader)
}

func TestProgress(t *testing.T) {
	s, m, _, _ := careStore(t)
	importing := func(csv string) (last [2]int) {
		p, _, err := s.Import(context.Background(), "care", instance, person, strings.NewReader(csv), m, func(done, total int) {
			if total != 0 && (done < last[0] || done > total) {
				t.Errorf("%d of %d after %d", done, total, last[0])
			}
			last = [2]int{done, total}
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Activate("care", p.Epoch, p.Epoch); err != nil {
			t.Fatal(err)
		}
		return last
	}
	list := patients(900)
	if last := importing(table(list)); last != [2]int{1800, 1800} {
		t.Errorf("a first import ends at %v", last)
	}
	list[5].visits = 28
	if last := importing(table(list)); last != [2]int{1800, 1800} {
		t.Errorf("an update ends at %v", last)
	}
}
