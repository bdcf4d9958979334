package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Scopes is what the REST interface needs of a gateway that makes claims, or keeps a register of them.
type Scopes interface {
	// Scopes lists the scopes of all members.
	Scopes() []Scope
	OpenScope(ctx context.Context, o ScopeOpening) (Published, error)
	CloseScope(ctx context.Context, c ScopeClosing) (Published, error)
	// Claim tells what became of the claim that a question made.
	Claim(id string) (*Claim, error)
}

// ScopeName names a scope of a register.
type ScopeName struct {
	Program string `json:"program" example:"winter-fuel" maxLength:"64" pattern:"^[a-z0-9][a-z0-9._-]*$" patternDescription:"a program's name" doc:"Program under which claims are made"`
	Period  string `json:"period" example:"2026" maxLength:"64" pattern:"^[a-z0-9][a-z0-9._-]*$" patternDescription:"a period's name" doc:"Period in which a person may claim once"`
}

// ScopeOpening opens a scope on this member's log.
type ScopeOpening struct {
	ScopeName
	Opens  string `json:"opens" example:"2026-01-01T00:00:00Z" maxLength:"32" doc:"Claims are taken from then; UTC, whole seconds"`
	Closes string `json:"closes" example:"2027-01-01T00:00:00Z" maxLength:"32" doc:"Until then; the scope's key is destroyed after that"`
}

// ScopeClosing ends a scope of this member.
type ScopeClosing struct {
	ScopeName
	Reason string `json:"reason,omitempty" maxLength:"4096" doc:"Stands on the ledger, so no personal data"`
}

// Scope is a scope of any member.
type Scope struct {
	ScopeName
	Register string `json:"register" doc:"Member that answers questions with this scope"`
	Index    uint64 `json:"index" doc:"Index on the register's log"`
	Opens    string `json:"opens"`
	Closes   string `json:"closes"`
	State    string `json:"state" enum:"early,open,over,closed" doc:"over: its time is, and its end is not on the log yet"`
	Waiting  *int   `json:"waiting,omitempty" doc:"Of this member's own scopes: claims that stand in no batch yet. For the register alone"`
	Key      *bool  `json:"key,omitempty" doc:"Of this member's own scopes: its key is here. Without it no claim can be made"`
}

// Claim is what became of a claim.
type Claim struct {
	State string `json:"state" enum:"pending,first,later" doc:"Nothing is granted before it is first. later: the register made the same claim twice"`
	Index uint64 `json:"index,omitempty" doc:"Index of the claims.batch on the register's log, once it is final"`
	Slot  int    `json:"slot" doc:"Place in that batch"`
}

func (s *Server) registerScopes() {
	huma.Register(s.api, huma.Operation{
		OperationID: "scopes", Method: http.MethodGet, Path: "/v1/scopes", Tags: []string{"claims"},
		Summary: "List the scopes of all members, in which a person can claim once", Errors: []int{401},
	}, func(context.Context, *struct{}) (*struct{ Body list[Scope] }, error) {
		return &struct{ Body list[Scope] }{listOf(s.o.Gateway.Scopes())}, nil
	})

	huma.Register(s.api, s.scopeOperation("open-scope", "/v1/scopes", "Open a scope: this member becomes its register"),
		func(ctx context.Context, in *struct{ Body ScopeOpening }) (*published, error) {
			return s.publish(ctx, "open-scope", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.OpenScope(ctx, in.Body)
			})
		})

	huma.Register(s.api, s.scopeOperation("close-scope", "/v1/scopes/close", "Close a scope and destroy its key"),
		func(ctx context.Context, in *struct{ Body ScopeClosing }) (*published, error) {
			return s.publish(ctx, "close-scope", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.CloseScope(ctx, in.Body)
			})
		})

	huma.Register(s.api, huma.Operation{
		OperationID: "claim", Method: http.MethodGet, Path: "/v1/claims/{id}", Tags: []string{"claims"},
		Summary:     "Tell what became of the claim that a question made",
		Description: "pending while there is no reply, or the register's batch is not final.", Errors: []int{401, 404},
	}, func(_ context.Context, in *struct {
		ID string `path:"id" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$" patternDescription:"a query id" doc:"Query id"`
	}) (*struct{ Body *Claim }, error) {
		c, err := s.o.Gateway.Claim(in.ID)
		if err != nil {
			return nil, s.fail("claim", err)
		}
		return &struct{ Body *Claim }{c}, nil
	})
}

func (s *Server) scopeOperation(id, path, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Tags: []string{"claims"}, Summary: summary,
		DefaultStatus: http.StatusCreated, MaxBodyBytes: maxJSON, BodyReadTimeout: bodyTime,
		Middlewares: huma.Middlewares{s.extend(publishTime)}, Errors: []int{401, 409, 422, 503, 504},
	}
}
