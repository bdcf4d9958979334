package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/client"
	"github.com/grille-gateway/grille/node/demo"
)

// aimBeside is what a query may take beside making the proof and verifying the answer, in milliseconds.
const aimBeside = 30

// beatSeconds is short of an instance's usual minute, so that receipts are logged within a run.
const beatSeconds = 10

// members are running gateways and a client for each that keeps its connections, as an application does.
type members struct {
	*demo.Network
	clients map[string]*client.Client
}

// network measures four gateways, each a process of its own, over QUIC and REST.
func (b *bench) network(ctx context.Context) error {
	m, stop, err := b.start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	first, err := b.queries(ctx, m)
	if err != nil {
		return err
	}
	for _, measure := range []func(context.Context, *members) error{b.throughput, b.finality} {
		if err := measure(ctx, m); err != nil {
			return err
		}
	}
	return b.receipt(ctx, first)
}

// start raises a network, starts its gateways and gives them data, policies and agreements. stop ends its processes; after an error they
// are gone.
func (b *bench) start(ctx context.Context) (m *members, stop func(), err error) {
	n, err := b.raise(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop = func() {
		stopping, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := n.Stop(stopping); err != nil {
			fmt.Fprintln(b.log, err)
		}
	}
	if m, err = b.furnish(ctx, n); err != nil {
		stop()
		return nil, nil, err
	}
	return m, stop, nil
}

// furnish starts the gateways and gives them data, policies and agreements.
func (b *bench) furnish(ctx context.Context, n *demo.Network) (*members, error) {
	b.stage("starting four gateways and furnishing them")
	started := time.Now()
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	up := time.Since(started)
	if err := n.Furnish(ctx); err != nil {
		return nil, err
	}
	b.one("network", "start: four gateways up and heard by a quorum", "ms", millis(up))
	b.one("network", "furnish: 4 datasets, 4 policies, 4 agreements, all final", "ms", millis(time.Since(started)-up))
	m := &members{n, map[string]*client.Client{}}
	for _, node := range n.Nodes {
		m.clients[node.Name] = node.Client()
	}
	return m, nil
}

// raise builds the program and the members' folders.
func (b *bench) raise(ctx context.Context) (*demo.Network, error) {
	b.stage("building grille")
	root, err := moduleRoot(ctx)
	if err != nil {
		return nil, err
	}
	program := filepath.Join(b.dir, "grille")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./node/cmd/grille")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building grille: %w\n%s", err, out)
	}
	keys, err := b.loadKeys(ctx)
	if err != nil {
		return nil, err
	}
	return demo.Build(demo.Options{Dir: filepath.Join(b.dir, "members"), Program: program, KeysDir: b.keysDir(),
		VerifyingKey: keys.VerifyingKey(), Beat: beatSeconds, Circuit: circuit(keys), Schemes: demo.Schemes, Members: demo.Departments,
		Progress: func(string) {}})
}

// moduleRoot is where the module that is measured lies.
func moduleRoot(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/grille-gateway/grille")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w; run in the folder benchmarks", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// ask asks about one row of the survey, and returns the answer and what it took from request to reply.
func (m *members) ask(ctx context.Context, right, row int) (api.Answer, time.Duration, error) {
	r := demo.Rights[right%len(demo.Rights)]
	var a api.Answer
	started := time.Now()
	err := m.clients[r.Requester].Post(ctx, "/v1/queries", api.Question{Holder: r.Holder, Policy: m.Node(r.Holder).Policy,
		Subject: fmt.Sprintf("NMES-%06d", row), Purpose: demo.Purpose, LegalBasis: demo.LegalBasis, Case: "benchmark"}, &a)
	took := time.Since(started)
	if err == nil && !a.Verified {
		err = fmt.Errorf("the answer was not verified")
	}
	if err != nil {
		return a, took, fmt.Errorf("%s asking %s: %w", r.Requester, r.Holder, err)
	}
	return a, took, nil
}

// timings are the parts of some queries, in milliseconds.
type timings struct {
	total   []float64 // at the application, from request to reply
	proof   []float64 // at the holder
	verify  []float64 // of the whole bundle, at the requester's gateway
	beside  []float64 // total less proof and verify: the three below
	rest    []float64 // between application and gateway
	asker   []float64 // at the requester's gateway: signing, its receipts, waiting for its replica
	carried []float64 // QUIC both ways, and at the holder: checks, the record, its receipt
}

// queries asks one question after the other and says how much of each was the proof. It returns the first answer.
func (b *bench) queries(ctx context.Context, m *members) (first evidence, err error) {
	count := b.samples(100, 10)
	b.stage("asking %d questions, one after the other", count)
	var t timings
	warm := len(demo.Rights) // questions of each kind that fill caches and are not counted
	for i := range warm + count {
		id, err := t.ask(ctx, m, i, i < warm)
		if err != nil {
			return first, err
		}
		if i == warm {
			first = evidence{m.clients[demo.Rights[i%len(demo.Rights)].Requester], id}
			if err := b.weigh(ctx, first, "bundle"); err != nil {
				return first, err
			}
		}
	}
	b.add("network", "question to verified answer, one at a time", "ms", count, tail(t.total), "", 0)
	b.add("network", "  of it: the proof, at the holder", "ms", count, tail(t.proof), "p50", aimProve)
	b.add("network", "  of it: verifying the whole bundle, at the requester", "ms", count, tail(t.verify), "", 0)
	b.add("network", "  of it: everything beside", "ms", count, tail(t.beside), "p99", aimBeside)
	b.add("network", "    REST between application and gateway", "ms", count, tail(t.rest), "", 0)
	b.add("network", "    at the requester: signing, two synced records", "ms", count, tail(t.asker), "", 0)
	b.add("network", "    QUIC, and at the holder: checks, record, synced receipt", "ms", count, tail(t.carried), "", 0)
	return first, nil
}

// ask asks the i-th question and takes its times, unless it is to warm up.
func (t *timings) ask(ctx context.Context, m *members, i int, warm bool) (string, error) {
	holder := m.clients[demo.Rights[i%len(demo.Rights)].Holder]
	before, _, err := histogram(ctx, holder, "grille_proof_seconds")
	if err != nil {
		return "", err
	}
	a, took, err := m.ask(ctx, i, i+1)
	if err != nil {
		return "", err
	}
	after, _, err := histogram(ctx, holder, "grille_proof_seconds")
	if err != nil || warm {
		return a.ID, err
	}
	total, proof, at := millis(took), (after-before)*1000, &a.Timings
	t.total, t.proof, t.verify = append(t.total, total), append(t.proof, proof), append(t.verify, at.VerifyMillis)
	t.beside = append(t.beside, total-proof-at.VerifyMillis)
	t.rest = append(t.rest, total-at.TotalMillis)
	t.asker = append(t.asker, at.TotalMillis-at.AnswerMillis-at.VerifyMillis)
	t.carried = append(t.carried, at.AnswerMillis-proof)
	return a.ID, nil
}

// throughput has four applications ask all the time.
func (b *bench) throughput(ctx context.Context, m *members) error {
	const askers = 4
	length := time.Duration(b.samples(15, 3)) * time.Second
	b.stage("asking from %d applications at once for %s", askers, length)
	var mu sync.Mutex // guards took and row
	var took []float64
	row := 1000 // beyond those asked about before
	group, held := errgroup.WithContext(ctx)
	started := time.Now()
	for i := range askers {
		group.Go(func() error {
			for right := i; time.Since(started) < length; right++ {
				mu.Lock()
				row++
				at := row
				mu.Unlock()
				_, wall, err := m.ask(held, right, at)
				if err != nil {
					return err
				}
				mu.Lock()
				took = append(took, millis(wall))
				mu.Unlock()
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	rate := float64(len(took)) / time.Since(started).Seconds()
	b.add("network", "verified answers, 4 askers, all processes on this machine", "1/s", len(took), []Value{{Number: rate}}, "", 0)
	b.add("network", "question to verified answer, 4 askers", "ms", len(took), tail(took), "", 0)
	return nil
}

// finality appends entries, one after the other, and waits until a quorum has each on disk and has signed for it.
func (b *bench) finality(ctx context.Context, m *members) error {
	count := b.samples(100, 10)
	b.stage("making %d entries final", count)
	right := demo.Rights[0]
	from := m.clients[right.Requester]
	sum, entries, err := histogram(ctx, from, "grille_finality_seconds")
	if err != nil {
		return err
	}
	wall, _, err := measure(count, nil, func() error {
		return from.Post(ctx, "/v1/agreements", api.Offer{Holder: right.Holder, Policy: m.Node(right.Holder).Policy, Version: 1,
			Purpose: "measuring", LegalBasis: "none", PerSubject: 1, Total: 1,
			Expires: time.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05Z")}, nil)
	})
	if err != nil {
		return fmt.Errorf("making an entry final: %w", err)
	}
	sumAfter, entriesAfter, err := histogram(ctx, from, "grille_finality_seconds")
	if err != nil {
		return err
	}
	b.add("network", "entry from REST request to final: journal, log, 3 of 4 mirrors", "ms", count, tail(wall), "", 0)
	if entriesAfter > entries {
		b.add("network", "  of it: from sending to a quorum of cosignatures", "ms", int(entriesAfter-entries),
			[]Value{{"mean", (sumAfter - sum) / float64(entriesAfter-entries) * 1000}}, "", 0)
	}
	return nil
}

// evidence is where the bundle of an answer is to be had.
type evidence struct {
	client *client.Client
	id     string
}

// weigh reports the bundle's size as others are shown it, and with the opening.
func (b *bench) weigh(ctx context.Context, e evidence, name string) error {
	for _, form := range []struct{ name, query string }{{"redacted", ""}, {"whole", "?opening=true"}} {
		var bundle []byte
		if err := e.client.Get(ctx, "/v1/answers/"+e.id+form.query, &bundle); err != nil {
			return err
		}
		b.one("network", name+", "+form.name, "bytes", float64(len(bundle)))
	}
	return nil
}

// receipt waits until the receipt of an answer is logged, and weighs the bundle with its path.
func (b *bench) receipt(ctx context.Context, first evidence) error {
	b.stage("waiting for the receipt of the first answer")
	waiting, cancel := context.WithTimeout(ctx, 4*beatSeconds*time.Second)
	defer cancel()
	for {
		var a api.Answer // an answered question is not asked again
		if err := first.client.Post(waiting, "/v1/queries/"+first.id, nil, &a); err != nil {
			return err
		}
		if a.Receipt == "logged" {
			return b.weigh(ctx, first, "bundle with its logged receipt")
		}
		select {
		case <-waiting.Done():
			return fmt.Errorf("waiting for a receipt: %w", waiting.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
