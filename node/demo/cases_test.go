//go:build unix

package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	programs "github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/prover"
)

const medicaid = `program: medicaid
version: 1
title: Medicaid for two
purpose: Deciding an application for Medicaid
legal_basis: 42 CFR 435.948
checks:
  - {name: aged, holder: GOV/civil, policy: aged-75, version: 1}
  - {name: poor, holder: GOV/tax, policy: income-below-poverty, version: 1}
  - {name: ill, holder: GOV/health, policy: care-need, version: 1}
  - {name: spouse_aged, holder: GOV/civil, policy: aged-75, version: 1, subject: spouse}
rule: at_least(2, aged == satisfied, poor == satisfied, ill == satisfied) && spouse_aged != no_record
notice: 10d
`

// couple are an applicant and a spouse that nobody else applies with.
func couple(i int) (own, spouse int) { return 2*i + 1, 2*i + 2 }

// apply repeats an application until the gateway answers with its outcome.
func apply(ctx context.Context, n *Network, i int) (*api.Case, error) {
	own, spouse := couple(i)
	for {
		var c api.Case
		err := n.Node("GOV/benefits").Client().Post(ctx, "/v1/cases", api.Application{Program: "medicaid", Application: fmt.Sprintf("form %d", i),
			Subjects: map[string]string{"applicant": fmt.Sprintf("NMES-%06d", own), "spouse": fmt.Sprintf("NMES-%06d", spouse)}, Wait: 60}, &c)
		var p *api.Problem
		switch {
		case err == nil && c.State != programs.StateChecking && c.State != programs.StatePending:
			return &c, nil
		case errors.As(err, &p) && p.Status != 503 || ctx.Err() != nil:
			return nil, fmt.Errorf("application %d: %w, %+v", i, err, c)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestKilledProcessesAskNothingTwice kills the deciding gateway and its holders with SIGKILL while cases are under way. The agreements
// allow one answer about each person, so that a check asked twice would be refused and its case left to a person. Each case is decided as
// the survey says, by a document that verifies, and there are as many decisions on the log as cases.
func TestKilledProcessesAskNothingTwice(t *testing.T) {
	const applications, kills = 16, 6
	n := startNetwork(t, 10)
	for _, right := range Rights {
		if err := n.Grant(t.Context(), right.Requester, right.Holder, n.Node(right.Holder).Policy, 1, 100_000); err != nil {
			t.Fatal(err)
		}
	}
	asker := n.Node("GOV/benefits")
	if err := asker.Client().Send(t.Context(), "/v1/programs", "application/yaml", strings.NewReader(medicaid), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cases := make([]*api.Case, applications)
	var applying sync.WaitGroup
	for i := range cases {
		applying.Go(func() {
			time.Sleep(time.Duration(i) * 400 * time.Millisecond) // so that each kill finds some cases under way
			c, err := apply(ctx, n, i)
			if err != nil {
				t.Error(err)
			}
			cases[i] = c
		})
	}
	rng := rand.New(rand.NewPCG(*seed, 7))
	for kill := range kills {
		time.Sleep(time.Duration(300+rng.IntN(900)) * time.Millisecond)
		victim := asker
		if kill%3 == 2 {
			victim = n.Node([]string{"GOV/civil", "GOV/tax", "GOV/health"}[rng.IntN(3)])
		}
		killAndCheck(t, n, victim, kill)
	}
	applying.Wait()
	if t.Failed() {
		return
	}
	people, verifier := survey(t), documentVerifier(t, n)
	for i, c := range cases {
		checkCase(t, n, verifier, people, i, c)
	}
	var log api.EntryPage
	if err := asker.Client().Get(ctx, "/v1/ledger/entries?kind=case.decision&member=GOV/benefits&limit=1000", &log); err != nil || len(log.Entries) != applications {
		t.Errorf("%d decisions on the log, %v, want %d", len(log.Entries), err, applications)
	}
	settleAll(t, n)
}

// checkCase compares a case with the survey and verifies its document.
func checkCase(t *testing.T, n *Network, verifier *bundle.Verifier, people []map[string]string, i int, c *api.Case) {
	t.Helper()
	own, spouse := couple(i)
	yes := 0
	for k, want := range []string{expected(t, people, "aged-75", own), expected(t, people, "income-below-poverty", own),
		expected(t, people, "care-need", own), expected(t, people, "aged-75", spouse)} {
		if c.Checks[k].Verdict != want {
			t.Errorf("case %d, check %s: %+v, want %s", i, c.Checks[k].Check, c.Checks[k], want)
		}
		if k < 3 && want == "satisfied" {
			yes++
		}
	}
	if c.State != programs.StateDecided || len(c.Decisions) != 1 || c.Decisions[0].Granted != (yes >= 2) {
		t.Fatalf("case %d: %+v, want granted: %v", i, c, yes >= 2)
	}
	var document []byte
	if err := n.Node("GOV/benefits").Client().Get(t.Context(), "/v1/cases/"+c.ID+"/decision", &document); err != nil {
		t.Fatal(err)
	}
	if r, err := programs.Verify(verifier, document); err != nil || r.Granted != (yes >= 2) || len(r.Answers) != 4 {
		t.Errorf("case %d: %+v, %v", i, r, err)
	}
}

// documentVerifier trusts the network's configuration and key alone.
func documentVerifier(t *testing.T, n *Network) *bundle.Verifier {
	t.Helper()
	var chain []byte
	if err := n.Node("GOV/tax").Client().Get(t.Context(), "/v1/network/chain", &chain); err != nil {
		t.Fatal(err)
	}
	c, err := network.ParseChain(chain)
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := prover.NewVerifier(n.VerifyingKey())
	if err != nil {
		t.Fatal(err)
	}
	return &bundle.Verifier{Config: c.Newest(), Chain: c, Proofs: bundle.VerifyingKeys{proofs}}
}
