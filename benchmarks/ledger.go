package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/grille-gateway/grille/ledger/entry"
)

// What the ledger should manage on one machine, and how much memory its index should need.
const (
	aimFinalRate   = 5000 // entries a second, all members together
	aimFinalMedian = 25   // ms
	aimFinalTail   = 100  // ms, 99th percentile
	aimIndexMemory = 400  // MiB for a million entries
)

// ledger measures how fast entries become final and what a long ledger costs.
func (b *bench) ledger(ctx context.Context) error {
	for _, n := range []int{4, 7} {
		if err := b.finalRate(ctx, n); err != nil {
			return err
		}
	}
	if err := b.rebuild(ctx); err != nil {
		return err
	}
	return b.audit(ctx)
}

// sampleEntry is what members write most: a receipts batch.
func sampleEntry(beat int) entry.Entry {
	return entry.ReceiptsBatch{Beat: uint64(beat), Root: strings.Repeat("5e", 32), Time: "2026-03-01T12:00:00Z"}
}

// finalRate has every member of n append all the time, then one alone.
func (b *bench) finalRate(ctx context.Context, n int) error {
	dir, err := os.MkdirTemp(b.dir, "ledger-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.stage("starting %d ledgers", n)
	c, err := startCluster(ctx, dir, n)
	if err != nil {
		return err
	}
	err = b.measureCluster(ctx, c, n)
	if closing := c.close(); err == nil {
		err = closing
	}
	return err
}

func (b *bench) measureCluster(ctx context.Context, c *cluster, n int) error {
	count := b.samples(300, 20)
	b.stage("making %d entries final, one after the other, among %d members", count, n)
	single, err := c.oneByOne(ctx, count)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("append of one entry to final, %d members", n)
	b.add("ledger", name, "ms", count, tail(single), "p50", aimFinalMedian)
	b.add("ledger", name+", 99th percentile", "ms", count, []Value{{"p99", quantile(single, 0.99)}}, "p99", aimFinalTail)
	length := time.Duration(b.samples(10, 2)) * time.Second
	for _, all := range []bool{true, false} {
		owners, who := c.members, "all"
		if !all {
			owners, who = c.members[:1], "one"
		}
		b.stage("making batches of entries final for %s, %d members, %s of them appending", length, n, who)
		rate, total, err := c.flood(ctx, owners, length)
		if err != nil {
			return err
		}
		b.least("ledger", fmt.Sprintf("entries final, %d members, %s appending", n, who), "1/s", total, rate, aimFinalRate)
	}
	return nil
}

// oneByOne appends single entries at one member, a moment after the one before is final, and returns what each took in milliseconds.
func (c *cluster) oneByOne(ctx context.Context, count int) ([]float64, error) {
	owner := c.members[0].store
	beat := 0
	one := func() error {
		beat++
		index, err := owner.Append(ctx, sampleEntry(beat))
		if err != nil {
			return err
		}
		return owner.WaitFinal(ctx, index[0])
	}
	if _, _, err := measure(5, nil, one); err != nil { // warms connections
		return nil, err
	}
	wall, _, err := measure(count, func() error { time.Sleep(30 * time.Millisecond); return nil }, one)
	return wall, err
}

// batchOfEntries is how many entries one call appends, and appenders how many calls each owner has under way.
const (
	batchOfEntries = 500
	appenders      = 4
)

// flood appends batches at the owners for a while and returns how many entries a second became final there, each stored and cosigned by
// a quorum, and how many they were.
func (c *cluster) flood(ctx context.Context, owners []*clusterMember, length time.Duration) (rate float64, total int, err error) {
	group, held := errgroup.WithContext(ctx)
	counts := make([]int, len(owners)*appenders)
	started := time.Now()
	for i := range counts {
		store := owners[i/appenders].store
		group.Go(func() error {
			for beat := 1_000_000; time.Since(started) < length; {
				batch := make([]entry.Entry, batchOfEntries)
				for k := range batch {
					beat++
					batch[k] = sampleEntry(beat)
				}
				index, err := store.Append(held, batch...)
				if err == nil {
					err = store.WaitFinal(held, index[len(index)-1])
				}
				if err != nil {
					return err
				}
				counts[i] += len(batch)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, 0, err
	}
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(started).Seconds(), total, nil
}
