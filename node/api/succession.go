package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

// Succession is the way from the network configuration in force to the next.
type Succession struct {
	Version   int                `json:"version" doc:"Of the configuration in force"`
	Digest    string             `json:"digest" doc:"Its SHA-256"`
	Proposer  string             `json:"proposer" doc:"The member who alone may propose the next"`
	Quorum    int                `json:"quorum" doc:"Votes and handovers needed"`
	Proposal  *ProposedVersion   `json:"proposal,omitempty" doc:"Absent: nothing is proposed"`
	Mirrors   []SuccessionMirror `json:"mirrors"`
	Contested bool               `json:"contested" doc:"The proposer signed two proposals; operators have to pin the next version by hand"`
}

// ProposedVersion is a proposal.
type ProposedVersion struct {
	Version  int          `json:"version"`
	Digest   string       `json:"digest" doc:"SHA-256; vote for it after comparing it with the other operators"`
	Changes  []Difference `json:"changes" doc:"What differs from the version in force"`
	Decided  bool         `json:"decided" doc:"A quorum voted for it; it will be in force when a quorum has handed over"`
	Document []byte       `json:"document" doc:"The configuration itself"`
}

// Difference is one thing that two versions of the configuration have otherwise.
type Difference struct {
	What   string `json:"what" doc:"In words, like: mirror key of GOV/tax"`
	Before string `json:"before,omitempty" doc:"Absent where there was none"`
	After  string `json:"after,omitempty" doc:"Absent where there is none any more"`
}

// SuccessionMirror says how far a mirror is.
type SuccessionMirror struct {
	Member     string `json:"member"`
	Voted      bool   `json:"voted"`
	HandedOver bool   `json:"handed_over" doc:"It cosigns nothing by the configuration in force any more"`
}

// Evidence is what shows that a member signed two histories.
type Evidence struct {
	ID      string   `json:"id"`
	Origin  string   `json:"origin"`
	Owner   string   `json:"owner" doc:"Member whose log forked"`
	Mirrors []string `json:"mirrors" doc:"Mirrors that cosigned both sides"`
	Sizes   []int64  `json:"sizes" doc:"Sizes of the two signed checkpoints"`
	Fenced  bool     `json:"fenced" doc:"The network configuration ended this log; until it does nothing more of it becomes final"`
	File    string   `json:"file" doc:"The evidence itself: grille ledger evidence verifies it offline"`
}

// voteInput names the proposal to vote for.
type voteInput struct {
	Body struct {
		Digest string `json:"digest" pattern:"^[0-9a-f]{64}$" patternDescription:"64 hexadecimal digits" doc:"Digest of the proposal"`
	}
}

func (s *Server) registerSuccession() {
	op := func(method, id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Tags: []string{"network"}, Summary: summary,
			Errors: append([]int{401}, errors...), MaxBodyBytes: maxNetwork, BodyReadTimeout: bodyTime}
	}
	huma.Register(s.api, op(http.MethodGet, "succession", "/v1/network/succession", "Get how far the next network configuration is"),
		func(context.Context, *struct{}) (*struct{ Body *Succession }, error) {
			found, err := s.o.Gateway.Succession()
			if err != nil {
				return nil, s.fail("succession", err)
			}
			return &struct{ Body *Succession }{found}, nil
		})
	propose := op(http.MethodPost, "propose", "/v1/network/proposal", "Propose the next network configuration, as its proposer", 409, 413, 422)
	propose.SkipValidateBody = true // network.Parse is stricter
	huma.Register(s.api, propose,
		func(_ context.Context, in *struct {
			RawBody []byte `contentType:"application/json" doc:"The document, as grille network change wrote it"`
		}) (*struct{ Body *Succession }, error) {
			found, err := s.o.Gateway.Propose(in.RawBody)
			if err != nil {
				return nil, s.fail("propose", err)
			}
			return &struct{ Body *Succession }{found}, nil
		})
	huma.Register(s.api, op(http.MethodPost, "vote", "/v1/network/vote", "Vote for the proposed network configuration; a vote cannot be taken back", 409, 422),
		func(_ context.Context, in *voteInput) (*struct{ Body *Succession }, error) {
			found, err := s.o.Gateway.Vote(in.Body.Digest)
			if err != nil {
				return nil, s.fail("vote", err)
			}
			return &struct{ Body *Succession }{found}, nil
		})
	huma.Register(s.api, op(http.MethodGet, "chain", "/v1/network/chain", "Get the chain of network configurations, for verifying offline"),
		func(context.Context, *struct{}) (*raw, error) {
			return &raw{ContentType: "application/json", Body: s.o.Gateway.Chain()}, nil
		})
	huma.Register(s.api, op(http.MethodGet, "evidence", "/v1/ledger/evidence", "List the evidence of members that signed two histories"),
		func(context.Context, *struct{}) (*struct{ Body list[Evidence] }, error) {
			return &struct{ Body list[Evidence] }{listOf(s.o.Gateway.Evidence())}, nil
		})
}
