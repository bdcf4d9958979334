package exchange_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// A batch names the newest epoch of each dataset below it, though imports and beats come at once: what a beat restates,
// verifiers lean on.
func TestBatchesNameTheNewestEpochs(t *testing.T) {
	w := newWorld(t)
	m := w.members[w.holder]
	if _, err := m.holder.DeclareDataset(t.Context(), []byte(peopleSchema)); err != nil {
		t.Fatal(err)
	}
	w.importCSV(peopleCSV)
	var importing sync.WaitGroup
	stop := make(chan struct{})
	importing.Go(func() {
		defer close(stop)
		for range 12 {
			if _, _, err := m.holder.Import(t.Context(), "people", strings.NewReader(peopleCSV), nil); err != nil {
				t.Error(err)
				return
			}
		}
	})
	beat, _ := m.lastBeat()
	for done := false; !done; {
		beat++
		if err := m.holder.PublishBatch(t.Context(), 1<<40+beat, receipt.Hash{}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-stop:
			done = true
		default:
		}
	}
	importing.Wait()
	origin, newest, batches := w.config.Origin(m.name), uint64(0), 0
	for i, size := uint64(0), m.ledger.Size(origin); i < size; {
		raws, err := m.ledger.Read(origin, i, size)
		if err != nil {
			t.Fatal(err)
		}
		for _, raw := range raws {
			switch e, _ := entry.Decode(raw); e := e.(type) {
			case entry.DatasetEpoch:
				newest = i
			case entry.ReceiptsBatch:
				if at, ok := e.Epochs["people"]; newest > 0 && (!ok || at != newest) {
					t.Errorf("batch %d names entry %d; the newest epoch is entry %d", i, at, newest)
				}
				batches++
			}
			i++
		}
	}
	if batches < 20 {
		t.Errorf("%d batches", batches)
	}
}
