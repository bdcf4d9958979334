//go:build unix

package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/example"
	"github.com/grille-gateway/grille/node/api"
)

// grille runs a command against a node's gateway, with input on its standard input, and reads the JSON that it prints.
func (n *Node) grille(t *testing.T, program, input string, out any, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"-d", string(n.Folder), "-o", "json"}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	said, err := cmd.Output()
	if err != nil {
		t.Fatalf("grille %s: %v\n%s%s", strings.Join(args, " "), err, said, complaints.Bytes())
	}
	if out != nil {
		if err := json.Unmarshal(said, out); err != nil {
			t.Fatalf("grille %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
}

// examples starts the demo's network and gives it the worked examples.
func examples(t *testing.T) (*Network, []*example.Example) {
	t.Helper()
	all, err := example.Load(os.DirFS("../../exchange/testdata/programs"))
	if err != nil {
		t.Fatal(err)
	}
	n := startNetwork(t, 2) // claims are logged at beats
	if err := n.FurnishExamples(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return n, all
}

// run applies to an example's program with `grille program run`.
func (n *Network) run(t *testing.T, name, application string, subjects map[string]string, args ...string) api.Case {
	t.Helper()
	var c api.Case
	n.Node(ExampleAsker).grille(t, n.opts.Program, applicants(subjects), &c, append([]string{"program", "run", name, "--application", application}, args...)...)
	return c
}

// outcome is what a case came to, in the words of the examples.
func outcome(c api.Case) string {
	switch {
	case c.State == "needs_review":
		return example.Review
	case c.State != "decided" || len(c.Decisions) == 0 || !c.Decisions[len(c.Decisions)-1].Final:
		return c.State
	case c.Decisions[len(c.Decisions)-1].Granted:
		return example.Granted
	}
	return example.Refused
}

// result is what came of a check: its verdict, or why there is none.
func result(f api.Finding) string {
	if f.Outcome == "answered" {
		return f.Verdict
	}
	return f.Outcome
}

// TestExamples runs every case of the worked examples with `grille program run` over the demo's network: four processes, QUIC, one proof
// for each check; with -short every other case. Verdicts and outcomes are those that the examples say, and each decision verifies offline in
// a process of its own.
func TestExamples(t *testing.T) {
	n, all := examples(t)
	cases, checks, started := 0, 0, time.Now()
	for _, e := range all {
		t.Run(e.Name, func(t *testing.T) {
			for i, c := range e.Cases {
				if testing.Short() && i%2 != 0 {
					continue
				}
				var args []string
				decision := filepath.Join(t.TempDir(), "decision.json")
				if i == 0 {
					args = []string{"-f", decision}
				}
				got := n.run(t, e.Name, e.Name+" "+strconv.Itoa(i+1), c.Subjects, args...)
				cases++
				checks += len(got.Checks)
				for _, f := range got.Checks {
					if said := result(f); said != c.Verdicts[f.Check] {
						t.Errorf("%s: check %s is %s %s, want %s", c.Name, f.Check, said, f.Code, c.Verdicts[f.Check])
					}
				}
				if outcome(got) != c.Outcome || len(got.Checks) != len(c.Verdicts) {
					t.Errorf("%s: %s after %d checks, want %s after %d", c.Name, outcome(got), len(got.Checks), c.Outcome, len(c.Verdicts))
				}
				if i == 0 {
					n.decided(t, e, &c, decision)
				}
			}
			for _, p := range e.History {
				n.past(t, e, p)
			}
		})
	}
	t.Run("another office claims for the same person", n.otherOffice)
	t.Run("a register of deaths that is too old", n.tooOld)
	t.Logf("%d cases of %d programs, %d checks, in %.0f s", cases, len(all), checks, time.Since(started).Seconds())
}

// decided has a decision verified by a process that knows its document, the configuration and the verifying key, and has no network. The
// document names nobody.
func (n *Network) decided(t *testing.T, e *example.Example, c *example.Case, path string) {
	t.Helper()
	document, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range c.Subjects {
		if bytes.Contains(document, []byte(id)) {
			t.Errorf("the decision of %s names its subject", e.Name)
		}
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"network.json": n.Config.Bytes(), "verifying.key": n.opts.VerifyingKey} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := isolated(n.opts.Program, "program", "verify", path, "--network", filepath.Join(dir, "network.json"),
		"--key", filepath.Join(dir, "verifying.key"))
	if out, err := exec.CommandContext(t.Context(), verify[0], verify[1:]...).CombinedOutput(); err != nil {
		t.Errorf("grille program verify of %s: %v\n%s", e.Name, err, out)
	}
}

// otherOffice claims the pension of somebody who has it, from a member with a right of its own. The register refuses, and names nobody.
func (n *Network) otherOffice(t *testing.T) {
	const office, register, person = "GOV/health", "GOV/civil", "PENS-0101"
	purpose, basis := "Paying the retirement pension once", "Social Security Contributions and Benefits Act 1992, s. 43"
	if err := n.agree(t.Context(), office, api.Offer{Holder: register, Policy: "pensionable-age", Version: 1, Purpose: purpose, LegalBasis: basis,
		Scope: "pension-once", PerSubject: 10, Total: 100}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		var a api.Answer
		err := n.Node(office).Client().Post(t.Context(), "/v1/queries", api.Question{Holder: register, Policy: "pensionable-age", Subject: person,
			Purpose: purpose, LegalBasis: basis, Scope: &api.ScopeName{Program: "pension-once", Period: "2026-11"}}, &a)
		var p *api.Problem
		switch {
		case errors.As(err, &p) && p.Code == "claimed" && !strings.Contains(err.Error(), person):
			return
		case err == nil || time.Now().After(deadline): // until then the acceptance may not have arrived
			t.Fatalf("the second office gets %+v, %v", a, err)
		}
	}
}

// tooOld makes the seven days of pension-after-death one second: the register is older by now, so nobody answers from it, and the pension
// is a matter for a person instead of being paid.
func (n *Network) tooOld(t *testing.T) {
	document, err := os.ReadFile("../../exchange/testdata/programs/pension-after-death/program.yaml")
	if err != nil {
		t.Fatal(err)
	}
	strict := strings.Replace(strings.Replace(string(document), "version: 1", "version: 2", 1), "max_age: 7d", "max_age: 1s", 1)
	path := filepath.Join(t.TempDir(), "program.yaml")
	if err := os.WriteFile(path, []byte(strict), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Node(ExampleAsker).grille(t, n.opts.Program, "", nil, "program", "publish", path)
	c := n.run(t, "pension-after-death", "too old", map[string]string{"applicant": "PENS-0001"})
	if c.Version != 2 || outcome(c) != example.Review || len(c.Checks) != 1 || c.Checks[0].Outcome != "refused" || c.Checks[0].Code != "stale_epoch" {
		t.Errorf("the register is too old: %+v", c)
	}
}

// past asks about an earlier state of a dataset.
func (n *Network) past(t *testing.T, e *example.Example, p example.Past) {
	t.Helper()
	policy, err := e.Policy(p.Policy)
	if err != nil {
		t.Fatal(err)
	}
	var a api.Answer
	n.Node(ExampleAsker).grille(t, n.opts.Program, p.Subject+"\n", &a, "ask", "--holder", policy.Holder, "--policy", p.Policy,
		"--purpose", e.Program.Checks[0].Purpose, "--legal-basis", e.Program.Checks[0].LegalBasis, "--epoch", fmt.Sprint(p.Epoch))
	if a.Verdict != p.Verdict || !a.Verified {
		t.Errorf("%s: %s, want %s", p.Name, a.Verdict, p.Verdict)
	}
}
