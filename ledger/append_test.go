package ledger

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

func TestConcurrentAppend(t *testing.T) {
	c := newCluster(t)
	owner := "GOV/tax"
	s := c.stores[owner]
	stop := make(chan struct{})
	var senders, writers sync.WaitGroup
	for _, m := range testNames {
		senders.Add(1)
		go func() {
			defer senders.Done()
			for {
				changed := s.Changed()
				p, ok := s.Outgoing(m)
				if !ok {
					select {
					case <-changed:
						continue
					case <-stop:
						return
					}
				}
				reply, err := c.stores[m].AddCheckpoint(p)
				if err == nil {
					err = s.Cosigned(m, reply)
				}
				if err != nil {
					t.Errorf("sending to %s: %v", m, err)
					return
				}
			}
		}()
	}
	readers := readAll(c, owner, "GOV/civil", stop)
	const workers, each = 16, 12
	var mu sync.Mutex
	got := make(map[uint64]uint64)
	for w := range workers {
		writers.Add(1)
		go func() {
			defer writers.Done()
			for i := range each {
				id := uint64(w*each + i)
				e := entry.AgreementRevoke{Accept: id, Time: "2026-03-01T12:00:00Z"}
				idx, err := s.Append(context.Background(), e)
				if err == nil {
					err = s.WaitFinal(context.Background(), idx[0])
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				got[idx[0]] = id
				mu.Unlock()
			}
		}()
	}
	writers.Wait()
	close(stop)
	senders.Wait()
	readers.Wait()
	if len(got) != workers*each {
		t.Fatalf("%d distinct indexes for %d appends", len(got), workers*each)
	}
	raws := mustRead(t, s, c.cfg.Origin(owner), 0, workers*each)
	for i, raw := range raws {
		e, err := entry.Decode(raw)
		if err != nil || e.(entry.AgreementRevoke).Accept != got[uint64(i)] {
			t.Fatalf("entry %d: %v, %v", i, e, err)
		}
	}
}

// readAll reads an owner's growing log at the owner and at a mirror until stop, and verifies what it reads.
func readAll(c *cluster, owner, mirror string, stop chan struct{}) *sync.WaitGroup {
	origin := c.cfg.Origin(owner)
	var wg sync.WaitGroup
	for _, name := range []string{owner, mirror} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			s := c.stores[name]
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				h, ok := s.Final(origin)
				if !ok {
					continue
				}
				i := h.Size / 2
				path, err := s.Inclusion(origin, i, h.Size)
				raws, err2 := s.Read(origin, i, i+1)
				_, err3 := s.Search(Query{Member: owner, Limit: 5})
				if err := errors.Join(err, err2, err3); err != nil {
					c.tb.Error(err)
					return
				}
				if err := note.CheckInclusion(path, tlog.Tree{N: int64(h.Size), Hash: h.Root}, i, raws[0]); err != nil {
					c.tb.Errorf("%s at size %d: %v", name, h.Size, err)
				}
				if v := s.View(origin, h.Size); v.Size() != h.Size {
					c.tb.Errorf("%s: view of size %d for a head of %d", name, v.Size(), h.Size)
				}
			}
		}()
	}
	return &wg
}

func TestAppendCancelled(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/tax"]
	s.group.turn <- struct{}{} // a batch is being written
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := s.Append(ctx, batchEntry(1))
		done <- err
	}()
	for {
		s.group.mu.Lock()
		n := len(s.group.waiting)
		s.group.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled append: %v", err)
	}
	<-s.group.turn
	if idx := c.append("GOV/tax", batchEntry(2)); idx[0] != 0 {
		t.Fatalf("the cancelled entry took an index: %v", idx)
	}
}

// A lone member is its own quorum: what it appends is final at once.
func TestLoneMember(t *testing.T) {
	cfg, err := network.Build(testInstance, network.Params{Mode: network.ModeDemo, Expires: "2030-01-01T00:00:00Z"},
		[]network.Card{testCard(t, "GOV/tax", 4433, true)})
	if err != nil {
		t.Fatal(err)
	}
	clk := newClock()
	o := Options{Dir: t.TempDir(), Config: cfg, Member: "GOV/tax", LogKey: testKey("log GOV/tax"), MirrorKey: testKey("mirror GOV/tax"), Now: clk.now}
	for round := range uint64(3) {
		s, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		idx, err := s.Append(context.Background(), batchEntry(round+1))
		if err == nil {
			err = s.WaitFinal(context.Background(), idx[0])
		}
		if err != nil || idx[0] != round {
			t.Fatalf("round %d: %v, %v", round, idx, err)
		}
		clk.add(time.Minute)
		if _, ok := s.Outgoing("GOV/tax"); ok {
			t.Fatal("a push to oneself")
		}
		if h, _ := s.Final(cfg.Origin("GOV/tax")); !h.Times[0].Equal(clk.now()) {
			t.Fatalf("round %d: own heartbeat at %v", round, h.Times)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
