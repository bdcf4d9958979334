package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) registerPolicies() {
	huma.Register(s.api, huma.Operation{
		OperationID: "policies", Method: http.MethodGet, Path: "/v1/policies", Tags: []string{"policies"},
		Summary: "List the published policies of all members", Errors: []int{401},
	}, func(context.Context, *struct{}) (*struct{ Body list[Policy] }, error) {
		return &struct{ Body list[Policy] }{listOf(s.o.Gateway.Policies())}, nil
	})

	huma.Register(s.api, s.documentOperation("publish-policy", "/v1/policies", "policies", "Compile and publish a policy"),
		func(ctx context.Context, in *document) (*published, error) {
			return s.publish(ctx, "publish-policy", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.PublishPolicy(ctx, in.RawBody)
			})
		})
}

// agreementOperation is what the steps of an agreement have in common.
func (s *Server) agreementOperation(id, path, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: http.MethodPost, Path: path, Tags: []string{"agreements"}, Summary: summary,
		DefaultStatus: http.StatusCreated, MaxBodyBytes: maxJSON, BodyReadTimeout: bodyTime,
		Middlewares: huma.Middlewares{s.extend(publishTime)}, Errors: []int{401, 404, 409, 422, 502, 503, 504},
	}
}

func (s *Server) registerAgreements() {
	huma.Register(s.api, huma.Operation{
		OperationID: "agreements", Method: http.MethodGet, Path: "/v1/agreements", Tags: []string{"agreements"},
		Summary: "List offers and rights that concern this member", Errors: []int{401},
	}, func(context.Context, *struct{}) (*struct{ Body Agreements }, error) {
		a := s.o.Gateway.Agreements()
		a.Offers, a.Rights = listOf(a.Offers).Items, listOf(a.Rights).Items
		return &struct{ Body Agreements }{a}, nil
	})

	huma.Register(s.api, s.agreementOperation("offer-agreement", "/v1/agreements", "Ask a holder for a right"),
		s.offer)

	huma.Register(s.api, s.agreementOperation("accept-agreement", "/v1/agreements/accept", "Grant an offered right"),
		func(ctx context.Context, in *struct{ Body Reference }) (*published, error) {
			return s.publish(ctx, "accept-agreement", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.Accept(ctx, in.Body)
			})
		})

	huma.Register(s.api, s.agreementOperation("reject-agreement", "/v1/agreements/reject", "Answer an offer with no"),
		func(ctx context.Context, in *struct{ Body rejection }) (*published, error) {
			return s.publish(ctx, "reject-agreement", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.Reject(ctx, in.Body.Reference, in.Body.Reason)
			})
		})

	huma.Register(s.api, s.agreementOperation("revoke-agreement", "/v1/agreements/revoke", "End a right"),
		func(ctx context.Context, in *struct{ Body revocation }) (*published, error) {
			return s.publish(ctx, "revoke-agreement", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.Revoke(ctx, in.Body.Accept, in.Body.Reason)
			})
		})
}

func (s *Server) offer(ctx context.Context, in *struct{ Body Offer }) (*struct{ Body Reference }, error) {
	var ref Reference
	_, err := s.publish(ctx, "offer-agreement", func(ctx context.Context) (p Published, err error) {
		ref, err = s.o.Gateway.Offer(ctx, in.Body)
		return p, err
	})
	if err != nil {
		return nil, err
	}
	return &struct{ Body Reference }{ref}, nil
}

type rejection struct {
	Reference
	Reason string `json:"reason" maxLength:"4096" doc:"For the requester; stands on the ledger, so no personal data"`
}

type revocation struct {
	Accept uint64 `json:"accept" doc:"Index of the acceptance on this member's log"`
	Reason string `json:"reason" maxLength:"4096" doc:"Stands on the ledger, so no personal data"`
}
