package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/grille-gateway/grille/exchange/claim"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// claimsCommand as the only argument makes this program read a job, open a register, and write what that took.
const claimsCommand = "measure-claims"

// A claimsJob is a register over a log of many claims: filled from the log, or opened and asked.
type claimsJob struct {
	Dir     string `json:"dir"`
	Batches int    `json:"batches"`
	Scope   string `json:"scope"` // key commitment; empty: fill
	Samples int    `json:"samples"`
}

// claimsResult is what it took: times in milliseconds, memory in MiB.
type claimsResult struct {
	Scope    string    `json:"scope"`
	Fill     float64   `json:"fill"`
	Open     float64   `json:"open"`
	Resident float64   `json:"resident"`
	Known    int       `json:"known"`
	Again    []float64 `json:"again"` // a check of what was claimed: refused
	Fresh    []float64 `json:"fresh"` // a check of what was not, reserved on disk
	Commit   []float64 `json:"commit"`
}

// longLog is a log of a scope and many batches, each made when it is read: nullifiers are hashes of their number.
type longLog struct {
	facts   *view.Log
	scope   []entry.Entry
	batches int
}

func (l *longLog) View(_ string, size uint64) *view.View   { return l.facts.At(size) }
func (l *longLog) WaitFinal(context.Context, uint64) error { return nil }
func (l *longLog) Append(_ context.Context, e ...entry.Entry) ([]uint64, error) {
	var at []uint64
	for _, e := range e {
		at = append(at, l.facts.Size())
		l.facts.Add(e)
		l.scope = append(l.scope, e)
	}
	return at, nil
}

func (l *longLog) Read(_ string, from, _ uint64) ([][]byte, error) {
	b := entry.ClaimsBatch{Beat: from, Time: "2026-01-01T00:00:00Z"}
	for i := range uint64(entry.Claims) {
		n := claimNumber(from*entry.Claims + i)
		b.Nullifiers = append(b.Nullifiers, hex.EncodeToString(n[:]))
	}
	raw, err := entry.Encode(b)
	return [][]byte{raw}, err
}

// grow adds the batches that the log is to have.
func (l *longLog) grow() {
	for range l.batches {
		l.facts.Add(entry.ClaimsBatch{Beat: l.facts.Size()})
	}
}

// claimNumber is a canonical field element for each number.
func claimNumber(i uint64) receipt.Hash {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, i))
	sum[0] &= 0x3f
	return sum
}

func claimsChild(in io.Reader, out io.Writer) error {
	var job claimsJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	r, err := job.run()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

func (j *claimsJob) run() (result claimsResult, err error) {
	ctx, opens := context.Background(), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	log := &longLog{facts: view.NewLog(), batches: j.Batches}
	seal, err := vault.Open(filepath.Join(j.Dir, "vault"))
	if err != nil {
		return result, err
	}
	if j.Scope != "" {
		log.facts.Add(entry.ScopeOpen{Program: "p", Period: "2026", KeyCommitment: j.Scope, Opens: entry.FormatTime(opens),
			Closes: entry.FormatTime(opens.AddDate(100, 0, 0)), Time: entry.FormatTime(opens)})
		log.grow()
	}
	started := time.Now()
	r, err := claim.Open(claim.Options{Dir: filepath.Join(j.Dir, "claims"), Origin: "bench/GOV/m0/log/1", Ledger: log, Seal: seal,
		Beat: time.Minute, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if j.Scope == "" {
		if _, err := r.OpenScope(ctx, "p", "2026", opens, opens.AddDate(100, 0, 0)); err != nil {
			return result, err
		}
		result.Scope = log.scope[0].(entry.ScopeOpen).KeyCommitment
		log.grow()
		started = time.Now()
		err := r.CloseBeat(ctx)
		result.Fill, result.Known = millis(time.Since(started)), r.Claims()
		return result, err
	}
	result.Open, result.Known = millis(time.Since(started)), r.Claims()
	debug.FreeOSMemory()
	if result.Resident, err = processMemory("VmRSS"); err != nil {
		return result, err
	}
	return result, j.check(ctx, r, &result)
}

// check asks for claims that were made, and makes others.
func (j *claimsJob) check(ctx context.Context, r *claim.Register, result *claimsResult) error {
	random, query := rand.New(rand.NewPCG(1, 2)), receipt.Sum("query")
	claims := uint64(j.Batches) * entry.Claims
	for range j.Samples {
		n := claimNumber(entry.Claims + random.Uint64N(claims)) // the scope is entry 0
		started := time.Now()
		err := r.Reserve(ctx, j.Scope, n, query)
		result.Again = append(result.Again, millis(time.Since(started))*1000)
		if !errors.Is(err, claim.ErrClaimed) {
			return fmt.Errorf("a claim was made twice: %w", err)
		}
	}
	for i := range uint64(j.Samples / 10) {
		n := claimNumber(1<<40 + i)
		started := time.Now()
		if err := r.Reserve(ctx, j.Scope, n, query); err != nil {
			return err
		}
		reserved := time.Now()
		if err := r.Commit(j.Scope, n, query); err != nil {
			return err
		}
		result.Fresh = append(result.Fresh, millis(reserved.Sub(started))*1000)
		result.Commit = append(result.Commit, millis(time.Since(reserved))*1000)
	}
	return nil
}

// claimsIn runs a job in a process of its own.
func claimsIn(ctx context.Context, job claimsJob) (r claimsResult, err error) {
	input, err := json.Marshal(job)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, claimsCommand)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaints
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("a register in a process of its own: %w: %s", err, complaints.String())
	}
	return r, json.Unmarshal(out.Bytes(), &r)
}

// claims measures a register that knows ten million claims, and how long a claim takes to be final.
func (b *bench) claims(ctx context.Context) error {
	job := claimsJob{Dir: filepath.Join(b.dir, "register"), Batches: b.samples(10_000_000/entry.Claims, 2_000), Samples: b.samples(20_000, 500)}
	if err := os.MkdirAll(job.Dir, 0o700); err != nil {
		return err
	}
	b.stage("a register of %d claims, read from its log", job.Batches*entry.Claims)
	filled, err := claimsIn(ctx, job)
	if err != nil {
		return err
	}
	empty := claimsJob{Dir: filepath.Join(b.dir, "empty"), Samples: 0}
	if err := os.MkdirAll(empty.Dir, 0o700); err != nil {
		return err
	}
	none, err := claimsIn(ctx, empty)
	if err == nil {
		empty.Scope = none.Scope
		none, err = claimsIn(ctx, empty)
	}
	if err != nil {
		return err
	}
	job.Scope = filled.Scope
	b.stage("checking %d claims", job.Samples)
	r, err := claimsIn(ctx, job)
	if err != nil {
		return err
	}
	b.add("claims", "claims in the index", "", 1, []Value{{Number: float64(r.Known)}}, "", 0)
	b.one("claims", "  read them all from the log, files lost", "ms", filled.Fill)
	b.one("claims", "  open", "ms", r.Open)
	b.add("claims", "  memory of the process", "MiB", 1, []Value{{Number: r.Resident}, {"without a claim", none.Resident}}, "", 0)
	b.add("claims", "  check a claim that was made: refused", "µs", len(r.Again), spread(r.Again), "", 0)
	b.add("claims", "  check one that was not, reserve it on disk", "µs", len(r.Fresh), spread(r.Fresh), "", 0)
	b.add("claims", "  make it a claim on disk", "µs", len(r.Commit), spread(r.Commit), "", 0)
	return b.finalClaims(ctx)
}

// finalClaims measures, among four members, from the end of a beat until its claims are final and known so to another member.
func (b *bench) finalClaims(ctx context.Context) error {
	b.stage("claims becoming final among four members")
	dir := filepath.Join(b.dir, "claims-cluster")
	c, err := startCluster(ctx, dir, 4)
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }()
	own, other := c.members[0], c.members[1]
	origin := network.LogName(benchInstance, own.name, 1)
	seal, err := vault.Open(filepath.Join(dir, "vault"))
	if err != nil {
		return err
	}
	now := time.Now()
	r, err := claim.Open(claim.Options{Dir: filepath.Join(dir, "claims"), Origin: origin, Ledger: own.store, Seal: seal, Beat: time.Minute,
		Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	index, err := r.OpenScope(ctx, "p", "2026", now.Add(-time.Hour), now.AddDate(1, 0, 0))
	if err != nil {
		return err
	}
	scope := own.store.View(origin, index+1).Scopes()[0].Open.KeyCommitment
	var final []float64
	for i := range uint64(b.samples(40, 5)) {
		n := claimNumber(1<<50 + i)
		if err := errors.Join(r.Reserve(ctx, scope, n, n), r.Commit(scope, n, n)); err != nil {
			return err
		}
		now = now.Add(time.Minute)
		started := time.Now()
		if err := r.CloseBeat(ctx); err != nil {
			return err
		}
		if err := seen(ctx, other, origin, own.store.Size(origin)); err != nil {
			return err
		}
		final = append(final, millis(time.Since(started)))
	}
	b.add("claims", "from the end of a beat to final at another member", "ms", len(final), spread(final), "", 0)
	return nil
}

// seen waits until a member knows a log as final up to a size.
func seen(ctx context.Context, m *clusterMember, origin string, size uint64) error {
	for {
		changed := m.store.Changed()
		if head, ok := m.store.Final(origin); ok && head.Size >= size && m.store.Size(origin) >= size {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
