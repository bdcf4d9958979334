//go:build unix

package demo

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/prover"
)

var (
	runs = flag.Int("fault.runs", 20, "how many processes are killed; half with -short")
	seed = flag.Uint64("fault.seed", 1, "seed of whom to kill, when, and whom to ask about")
)

// program builds grille once for all tests of the package.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "grille-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "grille")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/grille").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building grille: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// startNetwork runs the demo's four departments with a beat of the given seconds and stops them when the test ends.
func startNetwork(t *testing.T, beat int) *Network {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	keysDir := os.Getenv("GRILLE_TEST_KEYS")
	if keysDir == "" {
		keysDir = filepath.Join(os.TempDir(), "grille-test-keys")
	}
	keys, err := prover.Develop(t.Context(), keysDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	m := keys.Metadata()
	n, err := Build(Options{Dir: t.TempDir(), Program: path, KeysDir: keysDir, VerifyingKey: keys.VerifyingKey(), Beat: beat,
		Circuit: network.Circuit{ID: m.CircuitID, VerifyingKey: m.VerifyingKeySHA256, Kind: m.Kind}, Schemes: Schemes, Members: Departments,
		Progress: func(stage string) { t.Log(stage) }})
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, n)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.Furnish(ctx); err != nil {
		t.Fatal(err)
	}
	return n
}

// stopAtEnd stops a network when the test ends, and shows how its logs end if the test failed.
func stopAtEnd(t *testing.T, n *Network) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdown)
		defer cancel()
		if err := n.Stop(ctx); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			for _, node := range n.Nodes {
				t.Logf("the log of %s ends:\n%s", node.Name, tail(node.LogFile()))
			}
		}
	})
}

// survey is the data by row, for answers that share nothing with the gateways.
func survey(t *testing.T) []map[string]string {
	t.Helper()
	data, err := Survey()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(string(data))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var people []map[string]string
	for _, row := range rows[1:] {
		person := map[string]string{}
		for i, name := range rows[0] {
			person[name] = row[i]
		}
		people = append(people, person)
	}
	return people
}

// expected computes a verdict from the survey.
func expected(t *testing.T, people []map[string]string, policy string, row int) string {
	t.Helper()
	if row > len(people) {
		return "no_record"
	}
	p := people[row-1]
	number := func(column string) float64 {
		f, err := strconv.ParseFloat(p[column], 64)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	var yes bool
	switch policy {
	case "aged-75":
		yes = number("age") >= 7.5
	case "income-below-poverty":
		yes = number("income") <= 0.577
	case "care-need":
		yes = p["adl"] == "limited" || number("chronic") >= 3
	case "receives-medicaid":
		if p["medicaid"] != "yes" {
			return "no_record"
		}
		yes = true
	default:
		t.Fatalf("no rule of the test for policy %s", policy)
	}
	if yes {
		return "satisfied"
	}
	return "not_satisfied"
}

// load asks questions all the time, each about another person, and checks every verdict against the survey.
type load struct {
	t      *testing.T
	n      *Network
	people []map[string]string
	mu     sync.Mutex
	next   int
	asked  int
	cut    int // questions whose asker was killed under them
}

func (l *load) run(ctx context.Context, stop <-chan struct{}, rng *rand.Rand) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		right := Rights[rng.IntN(len(Rights))]
		l.mu.Lock()
		l.next++
		row := l.next
		l.mu.Unlock()
		from, to := l.n.Node(right.Requester), l.n.Node(right.Holder)
		var a api.Answer
		err := from.Client().Post(ctx, "/v1/queries", api.Question{Holder: right.Holder, Policy: to.Policy, Subject: fmt.Sprintf("NMES-%06d", row),
			Purpose: Purpose, LegalBasis: LegalBasis, Wait: 60}, &a)
		var p *api.Problem
		l.mu.Lock()
		switch {
		case err == nil:
			l.asked++
			if want := expected(l.t, l.people, to.Policy, row); a.Verdict != want || !a.Verified {
				l.t.Errorf("row %d, %s: %s, want %s", row, to.Policy, a.Verdict, want)
			}
		case errors.As(err, &p) && p.Status != 503:
			l.t.Errorf("row %d, %s: %v (%s)", row, to.Policy, err, p.Code)
		default:
			l.cut++
		}
		l.mu.Unlock()
		if err != nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// TestKilledProcessesLoseNothing kills one of the four processes with SIGKILL, again and again, while questions are being asked, and
// starts it again. Each final entry is still there, each promise is kept by its deadline, and each query that was sent ends in one
// answer: agreements allow one answer about each subject, so that a second charge for a query sent again would be refused.
func TestKilledProcessesLoseNothing(t *testing.T) {
	n := startNetwork(t, 10)
	for _, right := range Rights { // newer agreements for the same use, with a budget of one answer for each subject
		if err := n.Grant(t.Context(), right.Requester, right.Holder, n.Node(right.Holder).Policy, 1, 100_000); err != nil {
			t.Fatal(err)
		}
	}
	l := &load{t: t, n: n, people: survey(t)}
	stop := make(chan struct{})
	var askers sync.WaitGroup
	for i := range 3 {
		askers.Go(func() { l.run(t.Context(), stop, rand.New(rand.NewPCG(*seed, uint64(i)))) })
	}
	rng := rand.New(rand.NewPCG(*seed, 99))
	kills := *runs
	if testing.Short() {
		kills /= 2
	}
	for run := range kills {
		time.Sleep(time.Duration(200+rng.IntN(1500)) * time.Millisecond)
		killAndCheck(t, n, n.Nodes[rng.IntN(len(n.Nodes))], run)
	}
	close(stop)
	askers.Wait()
	settleAll(t, n)
	batchesInTime(t, n)
	t.Logf("%d processes killed, %d questions answered, %d cut off at the asker", kills, l.asked, l.cut)
	if l.asked < 2*kills {
		t.Errorf("only %d questions answered: there was no load", l.asked)
	}
}

// killAndCheck kills a process and wants every head that was final anywhere before back in the log of its owner.
func killAndCheck(t *testing.T, n *Network, victim *Node, run int) {
	t.Helper()
	var before []api.Head
	for _, node := range n.Nodes {
		before = append(before, heads(t, node)...)
	}
	last := map[string]string{} // the newest final entry of the victim's log, as each member saw it before
	for _, h := range before {
		if at := fmt.Sprintf("origin=%s&index=%d", url.QueryEscape(h.Origin), h.Size-1); h.Member == victim.Name {
			last[at] = entryHash(t, victim, at)
		}
	}
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.StartNode(victim); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	started := time.Now()
	if err := victim.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("run %d: killed %s, ready again after %.1f s", run, victim.Name, time.Since(started).Seconds())
	after := map[string]api.Head{}
	for _, h := range heads(t, victim) {
		after[h.Origin] = h
	}
	for _, h := range before {
		if h.Member != victim.Name {
			continue
		}
		if after[h.Origin].Size < h.Size {
			t.Fatalf("%s restarted with %d final entries, %d were final", h.Member, after[h.Origin].Size, h.Size)
		}
		if after[h.Origin].Size == h.Size && after[h.Origin].Root != h.Root {
			t.Fatalf("%s restarted with another log", h.Member)
		}
	}
	for at, hash := range last {
		if got := entryHash(t, victim, at); got != hash {
			t.Fatalf("%s restarted with another entry at %s", victim.Name, at)
		}
	}
}

func entryHash(t *testing.T, node *Node, at string) string {
	t.Helper()
	var e api.Entry
	if err := node.Client().Get(t.Context(), "/v1/ledger/entry?"+at, &e); err != nil {
		t.Fatal(err)
	}
	if e.Hash == "" {
		t.Fatal("an entry without its hash")
	}
	return e.Hash
}

// batchesInTime wants every receipts batch of every log appended before the deadline of the promises that it keeps: two beats after
// its beat began.
func batchesInTime(t *testing.T, n *Network) {
	t.Helper()
	seen := 0
	for _, node := range n.Nodes {
		var page api.EntryPage
		path := "/v1/ledger/entries?kind=receipts.batch&content=true&limit=100&member=" + url.QueryEscape(node.Name)
		if err := node.Client().Get(t.Context(), path, &page); err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			var batch struct {
				Beat int64     `json:"beat"`
				Time time.Time `json:"time"`
			}
			if err := json.Unmarshal(e.Content, &batch); err != nil || batch.Beat == 0 {
				t.Fatalf("reading a batch of %s: %v", node.Name, err)
			}
			seen++
			if deadline := time.Unix((batch.Beat+2)*int64(n.opts.Beat), 0); batch.Time.After(deadline) {
				t.Errorf("%s logged beat %d %s after its deadline", node.Name, batch.Beat, batch.Time.Sub(deadline))
			}
		}
	}
	if seen < len(n.Nodes) {
		t.Errorf("only %d batches on the ledger", seen)
	}
}

func heads(t *testing.T, node *Node) []api.Head {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var page struct {
		Items []api.Head `json:"items"`
	}
	if err := node.Client().Get(ctx, "/v1/ledger/heads", &page); err != nil {
		t.Fatal(err)
	}
	return page.Items
}

// settleAll waits until no query is without its reply and no promise without its receipt.
func settleAll(t *testing.T, n *Network) {
	t.Helper()
	deadline := time.Now().Add(45 * time.Second)
	for {
		open, total := 0, 0
		for _, asker := range []string{"GOV/benefits", "GOV/tax"} {
			var page struct {
				Items []api.AnswerSummary `json:"items"`
			}
			if err := n.Node(asker).Client().Get(t.Context(), "/v1/answers?limit=1000", &page); err != nil {
				t.Fatal(err)
			}
			for _, a := range page.Items {
				total++
				switch {
				case a.Receipt == "broken":
					t.Fatalf("the promise for query %s was broken", a.ID)
				case strings.HasPrefix(a.Outcome, "refused"):
					t.Fatalf("query %s was %s", a.ID, a.Outcome)
				case a.Receipt != "logged":
					open++
				}
			}
		}
		if open == 0 && total > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d queries have no logged receipt", open, total)
		}
		time.Sleep(250 * time.Millisecond)
	}
}
