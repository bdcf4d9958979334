package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Rights is what the REST interface needs of a gateway for drafts and groups.
type Rights interface {
	// DraftPolicy, DraftAccept and DraftGroup make what approvers sign; PublishDraft appends it.
	DraftPolicy(document []byte) (Draft, error)
	DraftAccept(offer Reference) (Draft, error)
	DraftGroup(d GroupDefinition) (Draft, error)
	PublishDraft(ctx context.Context, d Draft) (Published, error)

	Groups() []Group
	DefineGroup(ctx context.Context, d GroupDefinition) (Published, error)
}

// CodeApprovals is the code of a problem with an entry that lacks approvals which the member's card asks for.
const CodeApprovals = "approvals"

// Draft is an entry that approvers sign before it is published. It is also what stands in a draft's file.
type Draft struct {
	Origin   string `json:"origin" maxLength:"128" doc:"Origin of the log that it is for"`
	Entry    string `json:"entry" maxLength:"65535" doc:"The entry's JSON text, with the approvals it has so far"`
	Declared string `json:"declared,omitempty" maxLength:"65535" doc:"With a policy: the JSON text of the dataset.declare that it was compiled for"`
}

// GroupDefinition says who belongs to a group.
type GroupDefinition struct {
	Group   string   `json:"group" minLength:"1" maxLength:"64" example:"care-desks"`
	Members []string `json:"members" maxItems:"256" doc:"Names of members; none: nobody may ask as of this group any more"`
}

// Group is the newest version of a group of requesters.
type Group struct {
	Holder  string   `json:"holder"`
	Group   string   `json:"group"`
	Version int      `json:"version"`
	Members []string `json:"members"`
	Index   uint64   `json:"index" doc:"Index on the holder's log"`
	Time    string   `json:"time"`
}

func (s *Server) registerRights() {
	huma.Register(s.api, huma.Operation{
		OperationID: "groups", Method: http.MethodGet, Path: "/v1/groups", Tags: []string{"agreements"},
		Summary: "List the groups of requesters of all members", Errors: []int{401},
	}, func(context.Context, *struct{}) (*struct{ Body list[Group] }, error) {
		return &struct{ Body list[Group] }{listOf(s.o.Gateway.Groups())}, nil
	})

	huma.Register(s.api, s.agreementOperation("define-group", "/v1/groups", "Say who belongs to a group of requesters"),
		func(ctx context.Context, in *struct{ Body GroupDefinition }) (*published, error) {
			return s.publish(ctx, "define-group", func(ctx context.Context) (Published, error) {
				return s.o.Gateway.DefineGroup(ctx, in.Body)
			})
		})
	s.registerDrafts()
}

// drafting is what making drafts has in common: nothing is published.
func drafting(o huma.Operation) huma.Operation {
	o.Tags, o.DefaultStatus = []string{"drafts"}, http.StatusOK
	return o
}

func (s *Server) registerDrafts() {
	type drafted struct{ Body Draft }
	draft := func(operation string, d Draft, err error) (*drafted, error) {
		if err != nil {
			return nil, s.fail(operation, err)
		}
		return &drafted{d}, nil
	}
	huma.Register(s.api, drafting(s.documentOperation("draft-policy", "/v1/policies/draft", "drafts", "Compile a policy for its approvers to sign")),
		func(_ context.Context, in *document) (*drafted, error) {
			d, err := s.o.Gateway.DraftPolicy(in.RawBody)
			return draft("draft-policy", d, err)
		})
	huma.Register(s.api, drafting(s.agreementOperation("draft-acceptance", "/v1/agreements/accept/draft", "Make an acceptance for its approvers to sign")),
		func(_ context.Context, in *struct{ Body Reference }) (*drafted, error) {
			d, err := s.o.Gateway.DraftAccept(in.Body)
			return draft("draft-acceptance", d, err)
		})
	huma.Register(s.api, drafting(s.agreementOperation("draft-group", "/v1/groups/draft", "Make a group's next version for its approvers to sign")),
		func(_ context.Context, in *struct{ Body GroupDefinition }) (*drafted, error) {
			d, err := s.o.Gateway.DraftGroup(in.Body)
			return draft("draft-group", d, err)
		})
	publish := s.agreementOperation("publish-draft", "/v1/drafts", "Publish a draft with its approvals")
	publish.Tags, publish.MaxBodyBytes = []string{"drafts"}, maxDocument
	huma.Register(s.api, publish, func(ctx context.Context, in *struct{ Body Draft }) (*published, error) {
		return s.publish(ctx, "publish-draft", func(ctx context.Context) (Published, error) {
			return s.o.Gateway.PublishDraft(ctx, in.Body)
		})
	})
}
