package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
	"github.com/grille-gateway/grille/node/api"
)

// decideCases works on cases until ctx ends.
func (g *Gateway) decideCases(ctx context.Context) {
	if g.heard(ctx) {
		g.casework.Run(ctx)
	}
}

// Programs implements api.Gateway.
func (g *Gateway) Programs() []api.Program {
	var list []api.Program
	for _, m := range g.network.Members {
		for _, p := range g.final(m.Name).Programs() {
			list = append(list, describeProgram(m.Name, p))
		}
	}
	return list
}

func describeProgram(member string, p view.ProgramVersion) api.Program {
	return api.Program{Member: member, Program: p.Program.Program, Version: p.Program.Version, Title: p.Program.Title, Index: p.Index,
		Retired: p.Retired, Time: p.Program.Time}
}

// Program implements api.Gateway.
func (g *Gateway) Program(member, name string, version int) (*api.ProgramDocument, error) {
	if member == "" {
		member = g.member.Name
	}
	if _, ok := g.network.Member(member); !ok {
		return nil, noSuchProgram()
	}
	var found *view.ProgramVersion
	for _, p := range g.final(member).Programs() {
		if p.Program.Program == name && (version == p.Program.Version || version == 0 && !p.Retired && (found == nil || p.Program.Version > found.Program.Version)) {
			found = &p
		}
	}
	if found == nil {
		return nil, noSuchProgram()
	}
	p, err := program.FromEntry(found.Program)
	if err != nil {
		return nil, api.NewProblem(http.StatusConflict, "program", "the published program cannot be read here: "+err.Error())
	}
	table, err := p.Tabulate()
	if err != nil {
		return nil, err
	}
	d := &api.ProgramDocument{Program: describeProgram(member, *found), Roles: p.Roles(), Review: p.Review,
		NoticeSeconds: int64(p.Notice / time.Second), Combinations: table.Combinations, Granted: table.Granted, Warnings: table.Warnings(),
		Source: p.Source}
	if p.Scope != nil {
		d.Scope = p.Scope.Check + ", " + p.Scope.Period
	}
	for _, k := range p.Checks {
		d.Checks = append(d.Checks, api.ProgramCheck{Name: k.Name, Holder: k.Holder, Policy: k.Policy, Version: k.Version, Subject: k.Subject})
	}
	return d, nil
}

func noSuchProgram() error {
	return api.NewProblem(http.StatusNotFound, api.CodeNotFound, "no such program in force; GET /v1/programs lists them")
}

// PublishProgram implements api.Gateway.
func (g *Gateway) PublishProgram(ctx context.Context, document []byte) (*api.PublishedProgram, error) {
	if err := g.mayAppend(); err != nil {
		return nil, err
	}
	p, err := program.Parse(document)
	if err != nil {
		return nil, rejected("program", err)
	}
	table, err := p.Tabulate()
	if err != nil {
		return nil, err
	}
	out := &api.PublishedProgram{Program: p.Name, Version: p.Version, Warnings: append(table.Warnings(), g.missing(p)...)}
	index, err := g.casework.Publish(ctx, p)
	out.Published, err = g.decided(index, err)
	return out, err
}

// missing warns of checks that nobody could answer today.
func (g *Gateway) missing(p *program.Program) []string {
	var warnings []string
	for _, k := range p.Checks {
		if _, ok := g.network.Member(k.Holder); !ok {
			continue // refused when it is published
		}
		if _, _, ok := g.final(k.Holder).Policy(k.Policy, k.Version); !ok {
			warnings = append(warnings, fmt.Sprintf("check %s: %s has published no policy %s version %d yet", k.Name, k.Holder, k.Policy, k.Version))
		}
	}
	return warnings
}

// RetireProgram implements api.Gateway.
func (g *Gateway) RetireProgram(ctx context.Context, name string, version int, reason string) (api.Published, error) {
	if err := g.mayAppend(); err != nil {
		return api.Published{}, err
	}
	return g.decided(g.casework.Retire(ctx, name, version, reason))
}

// decided turns the errors of programs and cases that a caller can mend into problems.
func (g *Gateway) decided(index uint64, err error) (api.Published, error) {
	conflict := func(code string) (api.Published, error) {
		return api.Published{}, api.NewProblem(http.StatusConflict, code, err.Error())
	}
	switch {
	case errors.Is(err, program.ErrUnknownProgram):
		return api.Published{}, noSuchProgram()
	case errors.Is(err, program.ErrUnknownCase), errors.Is(err, program.ErrNoDecision):
		return api.Published{}, api.NewProblem(http.StatusNotFound, api.CodeNotFound, err.Error()+"; GET /v1/cases lists cases")
	case errors.Is(err, program.ErrProgram):
		return api.Published{}, rejected("program", err)
	case errors.Is(err, program.ErrSubjects), errors.Is(err, program.ErrReason):
		return api.Published{}, rejected(api.CodeInvalid, err)
	case errors.Is(err, requester.ErrNoCircuit):
		return api.Published{}, noCircuit()
	case errors.Is(err, requester.ErrQuestion):
		return api.Published{}, rejected("question", errors.New(strings.TrimPrefix(err.Error(), "applying: ")))
	case errors.Is(err, program.ErrPublished):
		return conflict("published")
	case errors.Is(err, program.ErrApplication):
		return conflict("application")
	case errors.Is(err, program.ErrState), errors.Is(err, program.ErrRounds):
		return conflict("case_state")
	case errors.Is(err, program.ErrClaimed):
		return conflict("claimed")
	case errors.Is(err, program.ErrNotFinal):
		return conflict("not_final")
	}
	return g.published(index, err)
}

// Apply implements api.Gateway.
func (g *Gateway) Apply(ctx context.Context, a api.Application) (*api.Case, error) {
	if err := g.mayAppend(); err != nil {
		return nil, err
	}
	started := time.Now()
	c, err := g.casework.Apply(program.Application{Program: a.Program, Version: a.Version, ID: a.Application, Subjects: a.Subjects})
	if err == nil {
		c, err = g.casework.Wait(ctx, c.ID)
	}
	if _, err := g.decided(0, err); err != nil {
		return nil, err
	}
	out := describeCase(c)
	if total := time.Since(started); c.Took.Verdicts > 0 && c.Took.Verdicts <= total { // the case is new
		out.TotalMillis, out.CheckMillis = millis(total), millis(c.Took.Verdicts)
	}
	return out, nil
}

// Cases implements api.Gateway.
func (g *Gateway) Cases(state string, limit int) []api.Case {
	var list []api.Case
	for _, c := range g.casework.List(state, limit) {
		list = append(list, *describeCase(c))
	}
	return list
}

// Case implements api.Gateway.
func (g *Gateway) Case(id string) (*api.Case, error) { return g.caseOf(g.casework.Case(id)) }

// Decision implements api.Gateway.
func (g *Gateway) Decision(id string, round int) ([]byte, error) {
	data, err := g.casework.Document(id, round)
	_, err = g.decided(0, err)
	return data, err
}

// Contest implements api.Gateway.
func (g *Gateway) Contest(ctx context.Context, id, reason string) (*api.Case, error) {
	return g.caseOf(g.casework.Contest(ctx, id, reason))
}

// Review implements api.Gateway.
func (g *Gateway) Review(ctx context.Context, id string, r api.Review) (*api.Case, error) {
	if err := g.mayAppend(); err != nil {
		return nil, err
	}
	return g.caseOf(g.casework.Review(ctx, id, r.Granted, r.Officer, r.Reason))
}

func (g *Gateway) caseOf(c *program.Case, err error) (*api.Case, error) {
	if _, err := g.decided(0, err); err != nil {
		return nil, err
	}
	return describeCase(c), nil
}

func describeCase(c *program.Case) *api.Case {
	out := &api.Case{ID: c.ID, Program: c.Program.Name, Version: c.Program.Version, Application: c.Application, State: c.State(),
		Opened: entry.FormatTime(c.Opened), Checks: []api.Finding{}, Reasons: c.Reasons(), Decisions: []api.Decision{}}
	for _, f := range c.Findings {
		out.Checks = append(out.Checks, api.Finding{Check: f.Check, Outcome: f.Outcome, Verdict: f.Verdict, Code: f.Code, Query: f.Query, Claim: f.Claim})
	}
	for _, r := range c.Rounds {
		out.Decisions = append(out.Decisions, api.Decision{Granted: r.Granted, By: r.By, Officer: r.Officer, Reason: r.Reason,
			Time: entry.FormatTime(r.Time), Effective: entry.FormatTime(r.Effective), Digest: r.Digest.String(), Index: r.Index, Final: r.Logged})
	}
	if out.State == program.StateContested {
		out.Contest = c.Contests[len(c.Contests)-1].Reason
	}
	return out
}
