package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/officer"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/logkey"
)

// Receipts implements api.Gateway.
func (g *Gateway) Receipts(q api.ReceiptQuery) ([]api.ReceiptSummary, error) {
	if err := period(q.Since, q.Until); err != nil {
		return nil, err
	}
	records, err := g.officer.List(officer.Filter{Role: q.Role, Peer: q.Peer, Policy: q.Policy, Outcome: q.Outcome, Since: q.Since,
		Until: q.Until, Broken: q.Broken}, q.Limit)
	if err != nil {
		return nil, err
	}
	list := make([]api.ReceiptSummary, len(records))
	for i, r := range records {
		asks := r.Asks()
		list[i] = api.ReceiptSummary{ID: asks.ID, Issued: asks.Issued, Role: r.Role, Peer: r.Peer(), Policy: asks.Policy,
			Version: asks.PolicyVersion, Purpose: asks.Purpose, LegalBasis: asks.LegalBasis, Case: asks.Case, Disclose: asks.Disclose,
			Outcome: r.Outcome, Code: r.Code, Receipt: g.promiseState(r), Broken: r.Broken}
	}
	return list, nil
}

// promiseState says what became of a holder's promise.
func (g *Gateway) promiseState(r *trace.Record) string {
	switch {
	case r.Promise == nil:
		return ""
	case r.Broken != "":
		return "broken"
	case r.Path != nil:
		return "logged"
	}
	if head, ok := g.ledger.Final(g.origin()); ok && r.Role == trace.RoleAnswered {
		if _, _, ok := g.ledger.View(g.origin(), head.Size).Batch(r.Promised().Beat); ok {
			return "logged"
		}
	}
	return "promised"
}

// ExportReceipts implements api.Gateway.
func (g *Gateway) ExportReceipts(e api.ReceiptExport) ([]byte, error) {
	if err := period(e.Since, e.Until); err != nil {
		return nil, err
	}
	if _, ok := g.network.Member(e.Peer); e.Peer != "" && (!ok || e.Peer == g.member.Name) {
		return nil, api.NewProblem(http.StatusUnprocessableEntity, "unknown_peer", "peer is not another member of this network")
	}
	data, err := g.officer.Export(e.Since, e.Until, e.Peer)
	return data, oversight(err)
}

// IssueToken implements api.Gateway.
func (g *Gateway) IssueToken(r api.TokenRequest) (api.Token, error) {
	token, expires, err := g.officer.Issue(r.Scheme, r.Subject, time.Duration(r.Hours)*time.Hour)
	if err != nil {
		return api.Token{}, oversight(err)
	}
	return api.Token{Token: token, Expires: entry.FormatTime(expires)}, nil
}

// SubjectLog implements api.Gateway.
func (g *Gateway) SubjectLog(r api.LogRequest) ([]byte, error) {
	if err := period(r.Since, r.Until); err != nil {
		return nil, err
	}
	data, err := g.officer.SubjectLog(r.Token, r.Since, r.Until)
	if err != nil {
		return nil, oversight(err)
	}
	return data, nil
}

// period checks the ends of a time; either may be empty.
func period(since, until string) error {
	for _, at := range []string{since, until} {
		if _, err := entry.ParseTime(at); at != "" && err != nil {
			return api.NewProblem(http.StatusUnprocessableEntity, api.CodeInvalid, "since and until are UTC times of whole seconds, like 2030-01-01T00:00:00Z")
		}
	}
	return nil
}

// oversight turns an officer's error that the caller can mend into a problem.
func oversight(err error) error {
	switch {
	case errors.Is(err, officer.ErrToken):
		return api.NewProblem(http.StatusNotFound, "no_such_token", "this token was never issued here, was used, or has expired; identify the person "+
			"and issue another")
	case errors.Is(err, officer.ErrIssue):
		return api.NewProblem(http.StatusUnprocessableEntity, "no_token", err.Error())
	case errors.Is(err, officer.ErrNotFinal):
		return api.NewProblem(http.StatusServiceUnavailable, "starting", "nothing of this member's log is final yet; try again")
	case errors.Is(err, trace.ErrTooMuch):
		return api.NewProblem(http.StatusUnprocessableEntity, "too_many_records", "one file does not hold them all; name a shorter time with since and until")
	}
	return err
}

// oversee notes promises of this gateway that were not kept in time. What holders promised, the requester follows. A journal that cannot
// be written to stops the gateway at the next beat.
func (g *Gateway) oversee(ctx context.Context) {
	if !g.heard(ctx) {
		return
	}
	every := max(bundle.BeatLength(g.network)/4, 250*time.Millisecond)
	for ctx.Err() == nil {
		if err := g.holder.CheckPromises(); err != nil && ctx.Err() == nil {
			g.log.Error("receipt promises not checked", logkey.Error, err)
		}
		pause(ctx, every)
	}
}
