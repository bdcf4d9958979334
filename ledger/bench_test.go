package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/index"
)

// runSenders drives an owner's pushes to all mirrors, one goroutine for each, until stop is called.
func runSenders(b *testing.B, c *cluster, owner string) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	s := c.stores[owner]
	for _, m := range testNames {
		if m == owner {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				changed := s.Changed()
				p, ok := s.Outgoing(m)
				if !ok {
					select {
					case <-changed:
						continue
					case <-done:
						return
					}
				}
				reply, err := c.stores[m].AddCheckpoint(p)
				if err == nil {
					err = s.Cosigned(m, reply)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	return func() {
		close(done)
		wg.Wait()
	}
}

// BenchmarkAppendFinal is one append to its finality: the owner's disk, three mirrors' disks, four in one process.
func BenchmarkAppendFinal(b *testing.B) {
	for _, size := range []int{1, 64} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			c := newCluster(b)
			s := c.stores["GOV/tax"]
			defer runSenders(b, c, "GOV/tax")()
			beat := uint64(0)
			for b.Loop() {
				batch := make([]entry.Entry, size)
				for i := range batch {
					beat++
					batch[i] = batchEntry(beat)
				}
				idx, err := s.Append(context.Background(), batch...)
				if err == nil {
					err = s.WaitFinal(context.Background(), idx[size-1])
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkAppendFinalParallel is the same from 16 goroutines: appends share batches.
func BenchmarkAppendFinalParallel(b *testing.B) {
	c := newCluster(b)
	s := c.stores["GOV/tax"]
	defer runSenders(b, c, "GOV/tax")()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			idx, err := s.Append(context.Background(), batchEntry(1))
			if err == nil {
				err = s.WaitFinal(context.Background(), idx[0])
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkAppend is one append alone: tiles, signer state, own cosignature.
func BenchmarkAppend(b *testing.B) {
	c := newCluster(b)
	beat := uint64(0)
	for b.Loop() {
		beat++
		c.append("GOV/tax", batchEntry(beat))
	}
}

// BenchmarkOpen opens a store whose log has 20,000 entries, as after a restart.
func BenchmarkOpen(b *testing.B) {
	c := newCluster(b)
	const n = 20_000
	for i := 0; i < n; i += 2000 {
		batch := make([]entry.Entry, 2000)
		for k := range batch {
			batch[k] = batchEntry(uint64(i + k + 1))
		}
		c.append("GOV/tax", batch...)
	}
	for b.Loop() {
		c.reopen("GOV/tax")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}

// BenchmarkIndexRebuild indexes 20,000 entries anew, as after a lost or damaged index file.
func BenchmarkIndexRebuild(b *testing.B) {
	const n = 20_000
	var batches [][][]byte
	for i := 0; i < n; i += 2000 {
		batch := make([][]byte, 2000)
		for k := range batch {
			h := sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(k), byte(k >> 8)})
			raw, err := entry.Encode(entry.ReceiptsBatch{Beat: uint64(i + k + 1), Root: hex.EncodeToString(h[:]), Time: "2026-03-01T12:00:00Z"})
			if err != nil {
				b.Fatal(err)
			}
			batch[k] = raw
		}
		batches = append(batches, batch)
	}
	dir, run := b.TempDir(), 0
	for b.Loop() {
		run++
		x, err := index.Open(fmt.Sprintf("%s/%d.db", dir, run))
		if err != nil {
			b.Fatal(err)
		}
		size := int64(0)
		for _, batch := range batches {
			size += int64(len(batch))
			if err := x.Add("o", "GOV/tax", batch, treeAt(size)); err != nil {
				b.Fatal(err)
			}
		}
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/entry")
}

func treeAt(size int64) tlog.Tree { return tlog.Tree{N: size} }
