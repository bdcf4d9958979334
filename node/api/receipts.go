package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// exportTime is for a file of receipts to be made: the whole journal is read.
const exportTime = 10 * time.Minute

// ReceiptQuery says which recorded queries are wanted. Empty fields match everything.
type ReceiptQuery struct {
	Role    string `query:"role" enum:"asked,answered" doc:"This member's part: it asked, or it was asked"`
	Peer    string `query:"peer" maxLength:"64" doc:"The other member"`
	Policy  string `query:"policy" maxLength:"64"`
	Outcome string `query:"outcome" maxLength:"64" doc:"A verdict, refused, rejected or asked; or the code of a refusal"`
	Since   string `query:"since" maxLength:"32" doc:"Issued then or later: UTC, whole seconds, like 2030-01-01T00:00:00Z"`
	Until   string `query:"until" maxLength:"32" doc:"Issued before then"`
	Broken  bool   `query:"broken" doc:"Only those whose receipt promise was not kept in time"`
	Limit   int    `query:"limit" default:"50" minimum:"1" maximum:"1000" doc:"How many, newest first"`
}

// ReceiptSummary is one query as this gateway recorded it. It does not say whom it was about.
type ReceiptSummary struct {
	ID         string   `json:"query_id"`
	Issued     string   `json:"issued" doc:"When the requester signed it, UTC"`
	Role       string   `json:"role" enum:"asked,answered"`
	Peer       string   `json:"peer" doc:"The other member"`
	Policy     string   `json:"policy"`
	Version    int      `json:"version"`
	Purpose    string   `json:"purpose"`
	LegalBasis string   `json:"legal_basis"`
	Case       string   `json:"case,omitempty" doc:"The requester's case reference"`
	Disclose   []string `json:"disclose,omitempty" doc:"Columns asked for"`
	Outcome    string   `json:"outcome" doc:"A verdict; refused; rejected, when the reply did not verify; asked, without a reply"`
	Code       string   `json:"code,omitempty" doc:"Of a refusal, or of why a reply was rejected"`
	Receipt    string   `json:"receipt,omitempty" enum:"promised,logged,broken" doc:"What became of the holder's promise"`
	Broken     string   `json:"broken,omitempty" doc:"How a promise was broken: missed, unproved or reported"`
}

// ReceiptExport says which queries a file of receipts holds.
type ReceiptExport struct {
	Since string `query:"since" maxLength:"32" doc:"Issued then or later: UTC, whole seconds, like 2030-01-01T00:00:00Z; absent: from the first"`
	Until string `query:"until" maxLength:"32" doc:"Issued before then; absent: to the last"`
	Peer  string `query:"peer" maxLength:"64" doc:"Only queries to or from that member"`
}

// TokenRequest names a person whom an officer has identified.
type TokenRequest struct {
	Subject string `json:"subject" minLength:"1" maxLength:"256" doc:"Subject id. Never logged, and not kept."`
	Scheme  string `json:"scheme,omitempty" maxLength:"64" doc:"Identifier scheme; absent where the network has but one"`
	Hours   int    `json:"hours" minimum:"1" maximum:"744" doc:"How long the token can be redeemed"`
}

// Token is a one-time token for the log of the queries about one person.
type Token struct {
	Token   string `json:"token" doc:"For the person alone; this gateway keeps its hash"`
	Expires string `json:"expires" doc:"UTC"`
}

// LogRequest redeems a token.
type LogRequest struct {
	Token string `json:"token" minLength:"1" maxLength:"128"`
	Since string `json:"since,omitempty" maxLength:"32" doc:"Only queries issued then or later, UTC"`
	Until string `json:"until,omitempty" maxLength:"32" doc:"Only queries issued before then, UTC"`
}

func (s *Server) registerReceipts() {
	huma.Register(s.api, huma.Operation{
		OperationID: "receipts", Method: http.MethodGet, Path: "/v1/receipts", Tags: []string{"oversight"},
		Summary:     "List what this gateway asked and was asked, refusals included",
		Description: "For the privacy officer: it says who asked what, for which purpose and with which outcome, and about nobody.",
		Middlewares: huma.Middlewares{s.extend(exportTime)}, Errors: []int{401, 422},
	}, func(ctx context.Context, in *ReceiptQuery) (*struct{ Body list[ReceiptSummary] }, error) {
		found, err := s.o.Gateway.Receipts(*in)
		if err != nil {
			return nil, s.fail("receipts", err)
		}
		return &struct{ Body list[ReceiptSummary] }{listOf(found)}, nil
	})

	huma.Register(s.api, huma.Operation{
		OperationID: "exportReceipts", Method: http.MethodGet, Path: "/v1/receipts/export", Tags: []string{"oversight"},
		Summary: "Write a signed file of receipts with inclusion proofs",
		Description: "`grille receipts verify` checks it offline, `grille receipts reconcile` compares it with the other side's. " +
			"It names subjects by their tags only. A file holds 4096 queries; more need a narrower time.",
		Middlewares: huma.Middlewares{s.extend(exportTime)}, Errors: []int{401, 422, 503},
	}, func(ctx context.Context, in *ReceiptExport) (*raw, error) {
		body, err := s.o.Gateway.ExportReceipts(*in)
		if err != nil {
			return nil, s.fail("exportReceipts", err)
		}
		return &raw{ContentType: "application/json", Body: body}, nil
	})
	s.registerSubjects()
}

func (s *Server) registerSubjects() {
	huma.Register(s.api, huma.Operation{
		OperationID: "issueSubjectToken", Method: http.MethodPost, Path: "/v1/person-log/tokens", Tags: []string{"oversight"},
		Summary: "Issue a one-time token for the log of one person",
		Description: "Identify the person first, your own way. Whether there is a record of the person, or any query about them, makes no difference. " +
			"The token's hash is kept, and the person's subject key, sealed.",
		DefaultStatus: http.StatusCreated, MaxBodyBytes: maxJSON, BodyReadTimeout: bodyTime, Errors: []int{400, 401, 413, 422},
	}, func(ctx context.Context, in *struct{ Body TokenRequest }) (*struct{ Body Token }, error) {
		token, err := s.o.Gateway.IssueToken(in.Body)
		if err != nil {
			return nil, s.fail("issueSubjectToken", err)
		}
		return &struct{ Body Token }{token}, nil
	})

	huma.Register(s.api, huma.Operation{
		OperationID: "subjectLog", Method: http.MethodPost, Path: "/v1/person-log", Tags: []string{"oversight"},
		Summary: "Redeem a token: a signed file of the queries about one person",
		Description: "`grille subject verify` checks it offline. A token that is unknown, used or expired is 404 no_such_token. Whoever nobody asked " +
			"about gets an empty file.",
		MaxBodyBytes: maxJSON, BodyReadTimeout: bodyTime, Middlewares: huma.Middlewares{s.extend(exportTime)},
		Errors: []int{400, 401, 404, 413, 422, 503},
	}, func(ctx context.Context, in *struct{ Body LogRequest }) (*raw, error) {
		body, err := s.o.Gateway.SubjectLog(in.Body)
		if err != nil {
			return nil, s.fail("subjectLog", err)
		}
		return &raw{ContentType: "application/json", Body: body}, nil
	})
}
