package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// entriesInput are the search parameters. None of them can hold a subject id: they are matched against patterns.
type entriesInput struct {
	Kind    string    `query:"kind" maxLength:"64" pattern:"^[a-z.]*$" patternDescription:"a kind of entry" doc:"Kind of entry, like dataset.epoch"`
	Member  string    `query:"member" maxLength:"64" pattern:"^([A-Z]{2,8}/[a-z0-9-]{1,32})?$" patternDescription:"a member's name" doc:"Owner of the log"`
	Dataset string    `query:"dataset" maxLength:"64" pattern:"^[a-z0-9._-]*$" patternDescription:"a dataset's name"`
	Policy  string    `query:"policy" maxLength:"64" pattern:"^[a-z0-9._-]*$" patternDescription:"a policy's name"`
	From    time.Time `query:"from" doc:"Not before, RFC 3339"`
	To      time.Time `query:"to" doc:"Before, RFC 3339"`
	After   string    `query:"after" maxLength:"512" doc:"Cursor of the page before"`
	Limit   int       `query:"limit" default:"100" minimum:"1" maximum:"1000" doc:"Entries on a page, at most 100 with content"`
	Content bool      `query:"content" doc:"Include the entries themselves"`
}

// entryInput names one entry. Origins have slashes, so they are no path segments.
type originInput struct {
	Origin string `query:"origin" required:"true" maxLength:"128" pattern:"^[A-Za-z0-9./-]+$" patternDescription:"an origin" doc:"Origin of the log"`
}

type entryInput struct {
	Origin string `query:"origin" required:"true" maxLength:"128" pattern:"^[A-Za-z0-9./-]+$" patternDescription:"an origin" doc:"Origin of the log"`
	Index  uint64 `query:"index" required:"true" doc:"Index of the entry"`
}

func (s *Server) registerLedger() {
	get := func(id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"ledger"}, Summary: summary,
			Errors: append([]int{401}, errors...)}
	}
	huma.Register(s.api, get("entries", "/v1/ledger/entries", "Search the final entries of all logs", 422),
		s.entries)

	huma.Register(s.api, get("entry", "/v1/ledger/entry", "Get one entry", 404, 422),
		func(_ context.Context, in *entryInput) (*struct{ Body *Entry }, error) {
			found, err := s.o.Gateway.Entry(in.Origin, in.Index)
			if err != nil {
				return nil, s.fail("entry", err)
			}
			return &struct{ Body *Entry }{found}, nil
		})

	huma.Register(s.api, get("heads", "/v1/ledger/heads", "Get the newest final checkpoint of each log"),
		func(context.Context, *struct{}) (*struct{ Body list[Head] }, error) {
			return &struct{ Body list[Head] }{listOf(s.o.Gateway.Heads())}, nil
		})

	huma.Register(s.api, get("end", "/v1/ledger/end", "Get where a fence would end a log without losing what any mirror cosigned", 404, 409, 422),
		func(_ context.Context, in *originInput) (*struct{ Body *End }, error) {
			end, err := s.o.Gateway.End(in.Origin)
			if err != nil {
				return nil, s.fail("end", err)
			}
			return &struct{ Body *End }{end}, nil
		})

	huma.Register(s.api, get("proof", "/v1/ledger/proof", "Get a proof (C2SP tlog-proof) that an entry is final", 404, 422),
		func(_ context.Context, in *entryInput) (*raw, error) {
			proof, err := s.o.Gateway.Proof(in.Origin, in.Index)
			if err != nil {
				return nil, s.fail("proof", err)
			}
			return &raw{ContentType: "text/plain; charset=utf-8", Body: proof}, nil
		})
}

func (s *Server) entries(_ context.Context, in *entriesInput) (*struct{ Body *EntryPage }, error) {
	if in.Content && in.Limit > 100 {
		return nil, NewProblem(http.StatusUnprocessableEntity, CodeInvalid, "limit is at most 100 with content")
	}
	page, err := s.o.Gateway.Entries(EntryQuery{
		Kind: in.Kind, Member: in.Member, Dataset: in.Dataset, Policy: in.Policy,
		From: in.From, To: in.To, After: in.After, Limit: in.Limit, Content: in.Content,
	})
	if err != nil {
		return nil, s.fail("entries", err)
	}
	page.Entries = listOf(page.Entries).Items
	return &struct{ Body *EntryPage }{page}, nil
}

func (s *Server) registerStatus() {
	get := func(id, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: http.MethodGet, Path: path, Tags: []string{"gateway"}, Summary: summary, Errors: errors}
	}
	huma.Register(s.api, get("network", "/v1/network", "Get the pinned network configuration and who is connected", 401),
		func(context.Context, *struct{}) (*struct{ Body Network }, error) {
			return &struct{ Body Network }{s.o.Gateway.Network()}, nil
		})
	huma.Register(s.api, get("status", "/v1/status", "Get how this gateway is", 401),
		func(context.Context, *struct{}) (*struct{ Body Status }, error) {
			return &struct{ Body Status }{s.o.Gateway.Status()}, nil
		})
	ready := get("ready", "/readyz", "Tell whether this gateway can answer: 200 or 503 with why not", 503)
	ready.Security = []map[string][]string{}
	huma.Register(s.api, ready, func(context.Context, *struct{}) (*struct{ Body readiness }, error) {
		if why := s.o.Gateway.Ready(); len(why) > 0 {
			p := NewProblem(http.StatusServiceUnavailable, "not_ready", "this gateway cannot answer yet")
			for _, w := range why {
				p.Errors = append(p.Errors, Fault{Field: "gateway", Message: w})
			}
			return nil, p
		}
		return &struct{ Body readiness }{readiness{true}}, nil
	})
}

type readiness struct {
	Ready bool `json:"ready"`
}
