package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/audit"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// aimAuditRate is how many entries a second an audit should read: a year of beats of ten members, five million, in some minutes.
const aimAuditRate = 20_000

// audit replays a log from its files, with its index and without.
func (b *bench) audit(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.dir, "audit-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	count := b.samples(200_000, 5_000)
	b.stage("appending %d entries to audit", count)
	cfg, members, err := newConfiguration(1)
	if err != nil {
		return err
	}
	if err := members[0].fillCoherent(ctx, dir, cfg, count); err != nil {
		return err
	}
	for _, with := range []string{"with its index", "without index"} {
		b.stage("auditing them, %s", with)
		r, err := audit.Run(ctx, audit.Options{Dir: dir, Config: cfg})
		if err != nil {
			return err
		}
		if log := r.Logs[0]; !r.Clean() || log.Entries != int64(count) || len(log.Problems) > 0 {
			return fmt.Errorf("auditing: %d of %d entries, clean: %v, %v", log.Entries, count, r.Clean(), log.Problems)
		}
		b.least("ledger", fmt.Sprintf("audit of a log of %d entries, %s", count, with), "1/s", count, float64(count)/r.Took, aimAuditRate)
		b.one("ledger", "  entries read", "MB/s", float64(r.Logs[0].Bytes)/1e6/r.Took)
		if err := os.Remove(filepath.Join(dir, "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return b.fsck(ctx, dir)
}

// fsck checks a log's files as after a crash.
func (b *bench) fsck(ctx context.Context, dir string) error {
	b.stage("checking their files")
	started := time.Now()
	files, err := audit.Fsck(ctx, dir, nil)
	if err != nil {
		return err
	}
	if len(files.Findings) > 0 {
		return fmt.Errorf("checking files: %v", files.Findings)
	}
	b.one("ledger", fmt.Sprintf("check of the %d files of that log", files.Count), "MB/s", float64(files.Bytes)/1e6/time.Since(started).Seconds())
	return nil
}

// fillCoherent appends what one member writes over long: declarations of five datasets, then in turn two epochs and eight
// receipts batches that name the newest epochs.
func (m *clusterMember) fillCoherent(ctx context.Context, dir string, cfg *network.Configuration, count int) (err error) {
	s, err := ledger.Open(ledger.Options{Dir: dir, Config: cfg, Member: m.name, LogKey: m.keys.log, MirrorKey: m.keys.mirror})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	newest := make(map[string]uint64)
	for from := 0; from < count; from += 1000 {
		batch := make([]entry.Entry, min(1000, count-from))
		for k := range batch {
			batch[k] = coherentEntry(from+k, newest)
		}
		index, err := s.Append(ctx, batch...)
		if err == nil {
			err = s.WaitFinal(ctx, index[len(index)-1])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// coherentEntry is the i-th of these entries; newest holds the newest epoch of each dataset.
func coherentEntry(i int, newest map[string]uint64) entry.Entry {
	const datasets = 5
	root := hex.EncodeToString(append(make([]byte, 24), 0, 0, 0, 0, byte(i>>24), byte(i>>16), byte(i>>8), byte(i)))
	at := entry.FormatTime(time.Unix(int64(i+1)*60, 0)) // the i-th beat of 60 s is over
	name := fmt.Sprintf("dataset-%d", i%datasets)
	switch {
	case i < datasets:
		return entry.DatasetDeclare{Dataset: name, Title: "A dataset", Scheme: "person", Columns: []entry.Column{{Name: "n", Type: "int"}}, Time: at}
	case i%10 < 2:
		newest[name] = uint64(i)
		return entry.DatasetEpoch{Dataset: name, Declare: uint64(i % datasets), Epoch: uint64(i), Root: root, Time: at}
	}
	return entry.ReceiptsBatch{Beat: uint64(i), Root: root, Epochs: maps.Clone(newest), Time: at}
}
