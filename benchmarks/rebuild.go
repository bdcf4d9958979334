package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// openCommand as the only argument makes this program read a job, open a ledger, and write what that took.
const openCommand = "measure-ledger"

// An openJob is one opening of a ledger's folder.
type openJob struct {
	Dir           string `json:"dir"`
	Configuration []byte `json:"configuration"`
	Member        string `json:"member"`
	LogKey        []byte `json:"log_key"`
	MirrorKey     []byte `json:"mirror_key"`
	Entries       int    `json:"entries"` // that it must find
}

// openResult is what it took.
type openResult struct {
	Wall     float64 `json:"wall"`     // milliseconds
	Resident float64 `json:"resident"` // MiB afterwards, the program itself included
	Most     float64 `json:"most"`     // MiB that were resident at most
}

func openChild(in io.Reader, out io.Writer) error {
	var job openJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	r, err := job.run()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

func (j *openJob) run() (r openResult, err error) {
	cfg, err := network.Parse(j.Configuration)
	if err != nil {
		return r, err
	}
	started := time.Now()
	s, err := ledger.Open(ledger.Options{Dir: j.Dir, Config: cfg, Member: j.Member, LogKey: ed25519.NewKeyFromSeed(j.LogKey),
		MirrorKey: ed25519.NewKeyFromSeed(j.MirrorKey)})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	r.Wall = millis(time.Since(started))
	found, err := s.Search(ledger.Query{Kind: entry.KindReceiptsBatch, Limit: 1})
	if err != nil {
		return r, err
	}
	if head, ok := s.Final(cfg.Origin(j.Member)); !ok || head.Size != uint64(j.Entries) || len(found) != 1 {
		return r, fmt.Errorf("opening the ledger: %d entries of %d, %d of them found", head.Size, j.Entries, len(found))
	}
	debug.FreeOSMemory()
	if r.Resident, err = processMemory("VmRSS"); err == nil {
		r.Most, err = processMemory("VmHWM")
	}
	return r, err
}

// processMemory is a figure of /proc/self/status in MiB.
func processMemory(name string) (float64, error) {
	kilobytes, err := strconv.ParseFloat(strings.TrimSuffix(field("/proc/self/status", name), " kB"), 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s from /proc: %w", name, err)
	}
	return kilobytes / 1024, nil
}

// rebuild opens a long log, as after a restart, with its index and without, each time in a process of its own.
func (b *bench) rebuild(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.dir, "ledger-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	count := b.samples(1_000_000, 20_000)
	b.stage("appending %d entries", count)
	cfg, members, err := newConfiguration(1)
	if err != nil {
		return err
	}
	m := members[0]
	if err := m.fill(ctx, dir, cfg, count); err != nil {
		return err
	}
	job := openJob{Dir: dir, Configuration: cfg.Bytes(), Member: m.name, LogKey: m.keys.log.Seed(), MirrorKey: m.keys.mirror.Seed(), Entries: count}
	for _, lost := range []bool{false, true} {
		name, limit := fmt.Sprintf("open a log of %d entries", count), 0.0
		if lost {
			name += ", index lost"
			if err := removeIndex(dir); err != nil {
				return err
			}
		}
		if !b.quick {
			limit = aimIndexMemory
		}
		b.stage("%s", name)
		r, err := openIn(ctx, job)
		if err != nil {
			return err
		}
		b.one("ledger", name, "ms", r.Wall)
		b.add("ledger", "  memory afterwards", "MiB", 1, []Value{{Number: r.Resident}}, "", limit)
		b.one("ledger", "  most memory", "MiB", r.Most)
	}
	return nil
}

// removeIndex deletes what can be built again.
func removeIndex(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, "index*"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("deleting the index: there is none in %s", dir)
	}
	for _, path := range found {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// fill appends entries to a log whose only mirror is its owner.
func (m *clusterMember) fill(ctx context.Context, dir string, cfg *network.Configuration, count int) (err error) {
	s, err := ledger.Open(ledger.Options{Dir: dir, Config: cfg, Member: m.name, LogKey: m.keys.log, MirrorKey: m.keys.mirror})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for from := 0; from < count; from += 1000 {
		batch := make([]entry.Entry, min(1000, count-from))
		for i := range batch {
			batch[i] = usualEntry(from + i)
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

// usualEntry is the i-th entry of a log in use for long: of ten, seven receipts batches, two epochs of 50 datasets, and an offer.
func usualEntry(i int) entry.Entry {
	at := entry.FormatTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 10 * time.Second))
	sum := sha256.Sum256(strconv.AppendInt(nil, int64(i), 10))
	sum[0] &= 0x3f // a canonical field element
	root := hex.EncodeToString(sum[:])
	dataset := fmt.Sprintf("dataset-%02d", i%50)
	switch {
	case i < 50:
		return entry.DatasetDeclare{Dataset: dataset, Title: "A dataset", Scheme: "person", Time: at,
			Columns: []entry.Column{{Name: "n", Type: "int"}}}
	case i%10 < 7:
		return entry.ReceiptsBatch{Beat: uint64(i), Root: root, Time: at}
	case i%10 < 9:
		return entry.DatasetEpoch{Dataset: dataset, Declare: uint64(i % 50), Epoch: uint64(i), Root: root, Time: at}
	}
	return entry.AgreementOffer{Time: at, Terms: entry.Terms{Requester: "GOV/m0", Holder: "GOV/m1", Policy: "a-policy", PolicyVersion: 1,
		Purpose: "deciding an application", LegalBasis: "an act, section 1", BudgetCommitment: root, Expires: "2030-01-01T00:00:00Z"}}
}

// openIn runs a job in a process of its own.
func openIn(ctx context.Context, job openJob) (openResult, error) {
	var r openResult
	input, err := json.Marshal(job)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, openCommand)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaints
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("opening in a process of its own: %w: %s", err, complaints.String())
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("reading what opening took: %w", err)
	}
	return r, nil
}
