package gateway

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/peer"
)

// Ask implements api.Gateway.
func (g *Gateway) Ask(ctx context.Context, q api.Question) (*api.Answer, error) {
	if err := g.mayAppend(); err != nil {
		return nil, err
	}
	if _, ok := g.network.Member(q.Holder); !ok || q.Holder == g.member.Name {
		return nil, api.NewProblem(http.StatusUnprocessableEntity, "unknown_holder", "holder is not another member of this network; "+
			"GET /v1/network lists the members")
	}
	started := time.Now()
	result, err := g.requester.Ask(ctx, requester.Question{Holder: q.Holder, Policy: q.Policy, PolicyVersion: q.Version,
		Subject: q.Subject, Purpose: q.Purpose, LegalBasis: q.LegalBasis, Case: q.Case, Disclose: q.Disclose, Scope: scopeOf(q.Scope),
		MaxAge: time.Duration(q.MaxAge) * time.Second, AsOf: q.AsOf, Epoch: q.Epoch})
	return g.answer(result, err, time.Since(started))
}

// Resend implements api.Gateway.
func (g *Gateway) Resend(ctx context.Context, id string) (*api.Answer, error) {
	started := time.Now()
	result, err := g.requester.Resend(ctx, id)
	return g.answer(result, err, time.Since(started))
}

// answer turns a result into what the REST interface says, and counts it.
func (g *Gateway) answer(r *requester.Result, err error, took time.Duration) (*api.Answer, error) {
	switch {
	case errors.Is(err, requester.ErrUnknownQuery):
		return nil, noSuchAnswer()
	case errors.Is(err, requester.ErrNoCircuit):
		return nil, noCircuit()
	case errors.Is(err, requester.ErrQuestion):
		return nil, rejected("question", err)
	case errors.Is(err, requester.ErrNoReply):
		return nil, g.noReply(r, err)
	case err != nil:
		return nil, err
	}
	if r.Rejected != "" {
		g.metrics.Asked(r.Holder, r.Policy, "rejected", took)
		return nil, api.NewProblem(http.StatusConflict, "rejected_"+r.Rejected, "the holder's answer does not verify and is not to be "+
			"relied on; it is kept as evidence")
	}
	if r.Refusal != "" {
		g.metrics.Asked(r.Holder, r.Policy, "refused", took)
		return nil, api.NewProblem(http.StatusForbidden, r.Refusal, "the holder refused: "+r.Message)
	}
	if r.Report == nil {
		return nil, g.noReply(r, nil)
	}
	g.metrics.Asked(r.Holder, r.Policy, r.Verdict, took)
	return describe(r, took), nil
}

// noReply says that a question is under way without an answer, and of a holder that cannot answer, why.
func (g *Gateway) noReply(r *requester.Result, err error) error {
	if refusal := (*peer.RemoteError)(nil); errors.As(err, &refusal) && refusal.Code == holder.CodeNoCircuit {
		p := api.NewProblem(http.StatusServiceUnavailable, codeNoCircuit, "the holder has keys of no circuit that is in force; its operator "+
			"runs grille doctor, and then POST /v1/queries/{query_id} sends the same question again")
		if r != nil {
			p.Query = r.ID
		}
		return p
	}
	p := api.NewProblem(http.StatusGatewayTimeout, "no_reply",
		"the holder did not answer in time; POST /v1/queries/{query_id} sends the same question again, and it is charged once")
	if r != nil {
		g.metrics.Asked(r.Holder, r.Policy, "no_reply", 0)
		p.Query = r.ID
	}
	return p
}

func describe(r *requester.Result, took time.Duration) *api.Answer {
	report := r.Report
	a := &api.Answer{ID: r.ID, Verdict: r.Verdict, Holder: r.Holder, Policy: report.Policy, Version: report.Version,
		Question: report.Question, AsOf: report.AsOf, AnsweredAt: report.AnsweredAt, Epoch: report.Epoch, EpochTime: report.EpochTime,
		Verified: true, Currency: report.Currency, Receipt: report.Receipt, Claim: r.Claim,
		Timings: api.Timings{TotalMillis: millis(took), AnswerMillis: millis(r.Timing.Answer), VerifyMillis: millis(r.Timing.Verify)}}
	if r.State == requester.StateReceipted {
		a.Receipt = "logged"
	}
	for _, v := range report.Disclosed {
		a.Disclosed = append(a.Disclosed, api.Value{Column: v.Column, Text: v.Text})
	}
	return a
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func noSuchAnswer() error {
	return api.NewProblem(http.StatusNotFound, api.CodeNotFound, "this gateway asked no such question; GET /v1/answers lists them")
}

// Bundle implements api.Gateway.
func (g *Gateway) Bundle(_ context.Context, id string, opening bool) ([]byte, error) {
	data, err := g.requester.Bundle(id, opening)
	switch {
	case errors.Is(err, requester.ErrUnknownQuery):
		return nil, noSuchAnswer()
	case errors.Is(err, requester.ErrNoAnswer):
		return nil, api.NewProblem(http.StatusNotFound, "no_answer", "the question has no verified answer: it was refused, or is without a reply")
	}
	return data, err
}

// Answers implements api.Gateway.
func (g *Gateway) Answers(limit int) []api.AnswerSummary {
	var list []api.AnswerSummary
	for _, r := range g.requester.Results(limit) {
		s := api.AnswerSummary{ID: r.ID, Time: r.Issued, Holder: r.Holder, Policy: r.Policy, Version: r.Version, Purpose: r.Purpose,
			Claim: r.Claim, Outcome: "asked"}
		switch {
		case r.Rejected != "":
			s.Outcome = "rejected: " + r.Rejected
		case r.Refusal != "":
			s.Outcome, s.Receipt = "refused: "+r.Refusal, "promised"
		case r.Report != nil:
			s.Outcome, s.Receipt = r.Verdict, "promised"
		}
		switch {
		case r.Broken:
			s.Receipt = "broken"
		case r.Logged:
			s.Receipt = "logged"
		}
		list = append(list, s)
	}
	return list
}

// rejected turns an exchange error that the caller can mend into a problem. What the operation was, the caller knows.
func rejected(code string, err error) error {
	text := err.Error()
	for _, prefix := range []string{"asking: ", requester.ErrQuestion.Error() + ": "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return api.NewProblem(http.StatusUnprocessableEntity, code, text)
}

// mayAppend says whether the log may be written to yet.
func (g *Gateway) mayAppend() error {
	select {
	case <-g.gossip.Heard():
		return nil
	default:
		return api.NewProblem(http.StatusServiceUnavailable, "starting",
			"no quorum of mirrors was heard from since the start; GET /readyz says who is missing")
	}
}

var _ api.Gateway = (*Gateway)(nil)
var _ requester.Peer = wire{}
