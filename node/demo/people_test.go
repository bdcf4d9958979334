//go:build unix

package demo

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/node/api"
)

// planted are rows whose values the test blanks before importing the survey again, five of them.
const planted = 5

// choose draws 40 people by a fixed seed: 30 from the survey, so that each verdict that comes from the data occurs at least five times
// for each question, five whose values are blanked, and five whom nobody knows.
func choose(t *testing.T, people []map[string]string) (rows []int, blanked map[int]bool) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1988, 40))
	need := map[string]int{}
	for _, d := range Departments {
		need[d.Policy+" satisfied"] = 5
		if d.Policy == "receives-medicaid" {
			need[d.Policy+" no_record"] = 5
		} else {
			need[d.Policy+" not_satisfied"] = 5
		}
	}
	var spare []int
	for _, i := range rng.Perm(len(people)) {
		useful := false
		for _, d := range Departments {
			useful = useful || need[d.Policy+" "+expected(t, people, d.Policy, i+1)] > 0
		}
		if !useful || len(rows) == 30 {
			spare = append(spare, i+1)
			continue
		}
		for _, d := range Departments {
			need[d.Policy+" "+expected(t, people, d.Policy, i+1)]--
		}
		rows = append(rows, i+1)
	}
	rows = append(rows, spare[:30-len(rows)]...)
	blanked = map[int]bool{}
	for _, row := range spare[100 : 100+planted] {
		blanked[row] = true
		rows = append(rows, row)
	}
	for i := range 5 {
		rows = append(rows, len(people)+1+i*1000)
	}
	return rows, blanked
}

// blank writes the survey again with the values that the policies read missing in some rows.
func blank(t *testing.T, blanked map[int]bool) []byte {
	t.Helper()
	data, err := Survey()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, column := range rows[0] {
		if column == "age" || column == "income" || column == "adl" {
			for row := range blanked {
				rows[row][i] = ""
			}
		}
	}
	var out bytes.Buffer
	if err := csv.NewWriter(&out).WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestFortyPeople asks all four questions about 40 people, compares each verdict with one computed from the survey, and has each piece of
// evidence verified by another process without a network.
func TestFortyPeople(t *testing.T) {
	n := startNetwork(t, 10)
	people := survey(t)
	rows, blanked := choose(t, people)
	for _, name := range []string{"GOV/civil", "GOV/tax", "GOV/health"} {
		node := n.Node(name)
		if err := node.Client().Send(t.Context(), "/v1/datasets/"+node.Dataset+"/epochs", "text/csv", bytes.NewReader(blank(t, blanked)), nil); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	seen := map[string]map[string]int{}
	var evidence []string
	for _, row := range rows {
		for _, right := range Rights {
			policy := n.Node(right.Holder).Policy
			want := expected(t, people, policy, row)
			if blanked[row] && policy != "receives-medicaid" {
				want = "indeterminate"
			}
			a := ask(t, n, right.Requester, right.Holder, row)
			if a.Verdict != want {
				t.Errorf("row %d, %s: %s, want %s", row, policy, a.Verdict, want)
			}
			if seen[policy] == nil {
				seen[policy] = map[string]int{}
			}
			seen[policy][a.Verdict]++
			data, err := n.Node(right.Requester).bundle(t.Context(), a.ID)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, a.ID+".json")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			evidence = append(evidence, path)
		}
	}
	t.Logf("verdicts: %v", seen)
	for _, d := range Departments {
		verdicts := []string{"satisfied", "not_satisfied", "indeterminate", "no_record"}
		if d.Policy == "receives-medicaid" {
			verdicts = []string{"satisfied", "no_record"}
		}
		for _, v := range verdicts {
			if seen[d.Policy][v] < 5 {
				t.Errorf("%s gave %s only %d times", d.Policy, v, seen[d.Policy][v])
			}
		}
	}
	verifyWithoutNetwork(t, n, evidence)
}

func ask(t *testing.T, n *Network, requester, holder string, row int) api.Answer {
	t.Helper()
	var a api.Answer
	err := n.Node(requester).Client().Post(t.Context(), "/v1/queries", api.Question{Holder: holder, Policy: n.Node(holder).Policy,
		Subject: fmt.Sprintf("NMES-%06d", row), Purpose: Purpose, LegalBasis: LegalBasis}, &a)
	if err != nil {
		t.Fatalf("row %d at %s: %v", row, holder, err)
	}
	return a
}

// isolated is a command in a network namespace that has no interface up, unless NETNS=0 says that this machine cannot make one.
func isolated(args ...string) []string {
	if os.Getenv("NETNS") == "0" {
		return args
	}
	return append([]string{"unshare", "-n"}, args...)
}

// verifyWithoutNetwork has `grille verify` check all files at once, and the first of them alone, each time in a process of its own in a
// network namespace that has no interface up. Without the right to make one the test fails, unless NETNS=0 says that this machine cannot.
func verifyWithoutNetwork(t *testing.T, n *Network, evidence []string) {
	t.Helper()
	dir := t.TempDir()
	network, key := filepath.Join(dir, "network.json"), filepath.Join(dir, "verifying.key")
	if err := os.WriteFile(network, n.Config.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, n.opts.VerifyingKey, 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("NETNS") == "0" {
		t.Log("NOT RUN without a network: NETNS=0; the processes below could have used one")
	}
	for _, files := range [][]string{evidence, evidence[:1]} {
		ctx, cancel := context.WithTimeout(t.Context(), shutdown)
		args := isolated(n.opts.Program, "verify", "--network", network, "--key", key)
		out, err := exec.CommandContext(ctx, args[0], append(args[1:], files...)...).CombinedOutput()
		cancel()
		if err != nil {
			t.Fatalf("grille verify: %v\n%s", err, out)
		}
		if said := fmt.Sprintf("%d of %d verified", len(files), len(files)); len(files) > 1 && !strings.Contains(string(out), said) {
			t.Errorf("grille verify does not say that %s:\n%s", said, out)
		}
	}
	t.Logf("%d bundles verified in a process without a network", len(evidence))
}
