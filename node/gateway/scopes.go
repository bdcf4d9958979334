package gateway

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/claim"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
	"github.com/grille-gateway/grille/node/api"
)

// Scopes implements api.Gateway.
func (g *Gateway) Scopes() []api.Scope {
	var list []api.Scope
	for _, m := range g.network.Members {
		for _, s := range g.final(m.Name).Scopes() {
			item := api.Scope{ScopeName: api.ScopeName{Program: s.Open.Program, Period: s.Open.Period}, Register: m.Name, Index: s.Index,
				Opens: s.Open.Opens, Closes: s.Open.Closes, State: g.scopeState(s)}
			if m.Name == g.member.Name && !s.Closed {
				waiting, key := g.register.Waiting(s.Open.KeyCommitment), true
				if _, err := g.register.Key(s.Open.KeyCommitment); err != nil {
					key = false
				}
				item.Waiting, item.Key = &waiting, &key
			}
			list = append(list, item)
		}
	}
	return list
}

func (g *Gateway) scopeState(s view.Scope) string {
	opens, err := entry.ParseTime(s.Open.Opens)
	closes, e := entry.ParseTime(s.Open.Closes)
	switch {
	case s.Closed:
		return "closed"
	case err != nil || e != nil || g.now().After(closes):
		return "over"
	case g.now().Before(opens):
		return "early"
	}
	return "open"
}

// OpenScope implements api.Gateway.
func (g *Gateway) OpenScope(ctx context.Context, o api.ScopeOpening) (api.Published, error) {
	if err := g.mayAppend(); err != nil {
		return api.Published{}, err
	}
	var times [2]time.Time
	for i, text := range []string{o.Opens, o.Closes} {
		var err error
		if times[i], err = entry.ParseTime(text); err != nil {
			return api.Published{}, api.NewProblem(http.StatusUnprocessableEntity, api.CodeInvalid,
				"opens and closes: write UTC in whole seconds, like 2030-01-02T15:04:05Z")
		}
	}
	index, err := g.register.OpenScope(ctx, o.Program, o.Period, times[0], times[1])
	return g.scoped(index, err)
}

// CloseScope implements api.Gateway.
func (g *Gateway) CloseScope(ctx context.Context, c api.ScopeClosing) (api.Published, error) {
	if err := g.mayAppend(); err != nil {
		return api.Published{}, err
	}
	index, err := g.register.CloseScope(ctx, c.Program, c.Period, c.Reason)
	return g.scoped(index, err)
}

func (g *Gateway) scoped(index uint64, err error) (api.Published, error) {
	switch {
	case errors.Is(err, claim.ErrScope):
		return api.Published{}, api.NewProblem(http.StatusConflict, "scope", err.Error())
	case errors.Is(err, claim.ErrKey):
		return api.Published{}, api.NewProblem(http.StatusConflict, "scope_key_missing", err.Error())
	}
	return g.published(index, err)
}

// Claim implements api.Gateway.
func (g *Gateway) Claim(id string) (*api.Claim, error) {
	c, err := g.requester.Claim(id)
	switch {
	case errors.Is(err, requester.ErrUnknownQuery):
		return nil, noSuchAnswer()
	case errors.Is(err, requester.ErrNoClaim):
		return nil, api.NewProblem(http.StatusNotFound, "no_claim", "the question makes no claim: it has no scope, was refused, or its verdict is not satisfied")
	case err != nil:
		return nil, err
	}
	return &api.Claim{State: c.State, Index: c.Index, Slot: c.Slot}, nil
}

func scopeOf(s *api.ScopeName) *bundle.Scope {
	if s == nil {
		return nil
	}
	return &bundle.Scope{Program: s.Program, Period: s.Period}
}

// endedLogs are this member's logs that a fence ended.
func (g *Gateway) endedLogs() []network.Fence {
	return slices.DeleteFunc(slices.Clone(g.network.Fences), func(f network.Fence) bool { return f.Member != g.member.Name })
}
