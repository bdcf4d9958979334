package exchange_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/journal"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/vault"
)

// BenchmarkJournalScan reads back 20,000 sealed frames of the size of an answer, as every officer's list and every person's log does.
func BenchmarkJournalScan(b *testing.B) {
	const frames = 20_000
	dir := b.TempDir()
	v, err := vault.Open(filepath.Join(dir, "keyset"))
	if err != nil {
		b.Fatal(err)
	}
	book := receipt.New(receipt.Options{Member: civil, Beat: time.Minute, Secret: receipt.Sum("test"), Seal: v, Now: time.Now,
		LastPublished: func() (uint64, bool) { return 0, false }})
	j, err := journal.Open(filepath.Join(dir, "book"), func([]byte) error { return nil })
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	book.Attach(j)
	payload := map[string]string{"reply": strings.Repeat("0123456789abcdef", 512)}
	errs := make([]error, 64)
	var writers sync.WaitGroup
	for w := range errs {
		writers.Go(func() {
			for range frames / len(errs) {
				errs[w] = errors.Join(errs[w], book.Keep("test", payload))
			}
		})
	}
	writers.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	read := 0
	for b.Loop() {
		if err := book.Scan(func(string, []byte) error { read++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "frames/s")
}
