package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/demo"
)

// aimVerdicts is how many milliseconds four checks may take from the application to all verdicts, each with its proof made and verified,
// with all gateways on two cores.
const aimVerdicts = 1500

// claimPurpose is what the check that claims is asked for: the agreement for it has a scope.
const claimPurpose = "Claiming Medicaid"

// fourChecks asks three departments, one of them about a second person.
const fourChecks = `program: medicaid
version: 1
title: Medicaid for two
purpose: ` + demo.Purpose + `
legal_basis: ` + demo.LegalBasis + `
checks:
  - {name: aged, holder: GOV/civil, policy: aged-75, version: 1}
  - {name: poor, holder: GOV/tax, policy: income-below-poverty, version: 1}
  - {name: ill, holder: GOV/health, policy: care-need, version: 1}
  - {name: spouse, holder: GOV/civil, policy: aged-75, version: 1, subject: spouse}
rule: aged != indeterminate && poor != indeterminate && ill != no_record && spouse != no_record
`

// program measures cases of four checks between real gateways: until all verdicts are there, and until the decision is final; with a
// scope, when its claim is final, too.
func (b *bench) program(ctx context.Context) error {
	m, stop, err := b.start(ctx)
	if err != nil {
		return err
	}
	defer stop()
	asker := m.clients["GOV/benefits"]
	claiming := strings.NewReplacer("program: medicaid", "program: medicaid-claim", "rule: aged != indeterminate", "rule: aged == satisfied",
		"policy: aged-75, version: 1}", "policy: aged-75, version: 1, purpose: "+claimPurpose+"}").Replace(fourChecks) + "scope: {check: aged, period: bench}\n"
	for _, text := range []string{fourChecks, claiming} {
		if err := asker.Send(ctx, "/v1/programs", "application/yaml", strings.NewReader(text), nil); err != nil {
			return fmt.Errorf("publishing a program: %w", err)
		}
	}
	if err := m.openScope(ctx); err != nil {
		return err
	}
	count, old := b.samples(30, 5), b.samples(6, 2)
	b.stage("deciding %d cases of four checks, one after the other", count)
	verdicts, decision, err := m.decide(ctx, "medicaid", count, func(i int) (int, int) { return 2*i + 1, 2*i + 2 }, true)
	if err != nil {
		return err
	}
	b.add("program", "application to all four verdicts, proofs made and verified", "ms", count, tail(verdicts), "p50", aimVerdicts)
	b.add("program", "application to the decision, final on the ledger", "ms", count, tail(decision), "", 0)
	people, err := aged(2 * old)
	if err != nil {
		return err
	}
	b.stage("deciding %d cases that claim, at beats of %d s", old, beatSeconds)
	if verdicts, decision, err = m.decide(ctx, "medicaid-claim", old, func(i int) (int, int) { return people[2*i], people[2*i+1] }, false); err != nil {
		return err
	}
	b.add("program", "with a scope (its check is asked last): application to all four verdicts", "ms", old, tail(verdicts), "", 0)
	b.add("program", fmt.Sprintf("with a scope: application to the decision, its claim final in a beat of %d s", beatSeconds), "ms", old, tail(decision), "", 0)
	return nil
}

// openScope lets the benefits agency claim at the civil registry.
func (m *members) openScope(ctx context.Context) error {
	year := time.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05Z")
	var offer api.Reference
	steps := []func() error{
		func() error {
			return m.clients["GOV/civil"].Post(ctx, "/v1/scopes", api.ScopeOpening{ScopeName: api.ScopeName{Program: "medicaid-claim", Period: "bench"},
				Opens: time.Now().Add(-time.Minute).UTC().Format(time.RFC3339), Closes: year}, nil)
		},
		func() error {
			return m.clients["GOV/benefits"].Post(ctx, "/v1/agreements", api.Offer{Holder: "GOV/civil", Policy: "aged-75", Version: 1,
				Purpose: claimPurpose, LegalBasis: demo.LegalBasis, Scope: "medicaid-claim", PerSubject: 10, Total: 10_000, Expires: year}, &offer)
		},
		func() error { return m.clients["GOV/civil"].Post(ctx, "/v1/agreements/accept", offer, nil) },
	}
	for i, step := range steps {
		err := step()
		for tries := 0; err != nil && tries < 100; tries++ { // what it refers to has not arrived yet
			time.Sleep(50 * time.Millisecond)
			err = step()
		}
		if err != nil {
			return fmt.Errorf("preparing claims, step %d: %w", i+1, err)
		}
	}
	return nil
}

// aged are rows of the survey of people of 75 or over, who can claim.
func aged(n int) ([]int, error) {
	data, err := demo.Survey()
	if err != nil {
		return nil, err
	}
	lines := strings.Split(string(data), "\n")
	column := -1
	for i, name := range strings.Split(lines[0], ",") {
		if strings.Trim(name, `"`) == "age" {
			column = i
		}
	}
	var rows []int
	for i, line := range lines[1:] {
		fields := strings.Split(line, ",")
		var age float64
		if column < 0 || column >= len(fields) {
			continue
		}
		if _, err := fmt.Sscan(fields[column], &age); err == nil && age >= 7.5 { // in tens of years
			rows = append(rows, i+1)
		}
		if len(rows) == n {
			return rows, nil
		}
	}
	return nil, errors.New("the survey has too few people of 75 or over")
}

// decide runs cases one after the other and returns what each took in milliseconds. The first two, if they warm up, do not count.
func (m *members) decide(ctx context.Context, program string, count int, couple func(int) (int, int), warm bool) (verdicts, decision []float64, err error) {
	skip := 0
	if warm {
		skip = 2
	}
	for i := range skip + count {
		own, spouse := couple(i)
		var c api.Case
		started := time.Now()
		err := m.clients["GOV/benefits"].Post(ctx, "/v1/cases", api.Application{Program: program, Wait: 60, Subjects: map[string]string{
			"applicant": fmt.Sprintf("NMES-%06d", own), "spouse": fmt.Sprintf("NMES-%06d", spouse)}}, &c)
		took := time.Since(started)
		if err != nil {
			return nil, nil, fmt.Errorf("applying to %s: %w", program, err)
		}
		if c.State != "decided" || c.CheckMillis == 0 || len(c.Decisions) != 1 || !c.Decisions[0].Final {
			return nil, nil, fmt.Errorf("applying to %s: the case is %s: %v", program, c.State, c.Reasons)
		}
		if i >= skip {
			verdicts, decision = append(verdicts, c.CheckMillis), append(decision, millis(took))
		}
	}
	return verdicts, decision, nil
}
