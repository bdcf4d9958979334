package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/dataset"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/peer"
)

// DeclareDataset implements api.Gateway. The document is a schema with its mapping, as schema.Load reads it.
func (g *Gateway) DeclareDataset(ctx context.Context, document []byte) (api.Published, error) {
	if err := g.mayAppend(); err != nil {
		return api.Published{}, err
	}
	index, err := g.holder.DeclareDataset(ctx, document)
	return g.published(index, err)
}

// Import implements api.Gateway.
func (g *Gateway) Import(ctx context.Context, name string, csv io.Reader) (*api.ImportResult, error) {
	if err := g.mayAppend(); err != nil {
		return nil, err
	}
	report, epoch, err := g.holder.Import(ctx, name, csv, nil)
	if errors.Is(err, dataset.ErrProblems) && report != nil {
		p := api.NewProblem(http.StatusUnprocessableEntity, "rows", "the file was not imported; the report says which lines are wrong")
		p.Report = importReport(report)
		return nil, p
	}
	if err != nil {
		_, err := g.published(0, err)
		return nil, err
	}
	return &api.ImportResult{Dataset: epoch.Dataset, Epoch: epoch.Epoch, Index: epoch.Index, Root: epoch.Root,
		Report: importReport(report)}, nil
}

func importReport(r *dataset.Report) *api.ImportReport {
	report := &api.ImportReport{Rows: r.Rows, Accepted: r.Accepted, Filtered: r.Filtered, Added: r.Added, Changed: r.Changed,
		Unchanged: r.Unchanged, Removed: r.Removed, ProblemCount: r.ProblemCount, Ignored: r.Ignored}
	for _, p := range r.Problems {
		report.Problems = append(report.Problems, api.RowProblem{Line: p.Line, Column: p.Column, Reason: p.Reason})
	}
	return report
}

// PublishPolicy implements api.Gateway.
func (g *Gateway) PublishPolicy(ctx context.Context, document []byte) (api.Published, error) {
	if err := g.mayAppend(); err != nil {
		return api.Published{}, err
	}
	d, err := policy.Parse(document)
	if err != nil {
		return api.Published{}, rejected("policy", err)
	}
	index, err := g.holder.PublishPolicy(ctx, d)
	return g.published(index, err)
}

// Offer implements api.Gateway.
func (g *Gateway) Offer(ctx context.Context, o api.Offer) (api.Reference, error) {
	if err := g.mayAppend(); err != nil {
		return api.Reference{}, err
	}
	if _, err := entry.ParseTime(o.Expires); err != nil {
		return api.Reference{}, api.NewProblem(http.StatusUnprocessableEntity, api.CodeInvalid, "expires: write UTC in whole seconds, like 2030-01-02T15:04:05Z")
	}
	budget, err := agreement.NewBudget(o.PerSubject, o.Total)
	if err != nil {
		return api.Reference{}, rejected("budget", err)
	}
	ref, err := g.requester.Offer(ctx, entry.Terms{Holder: o.Holder, Policy: o.Policy, PolicyVersion: o.Version, Purpose: o.Purpose,
		LegalBasis: o.LegalBasis, OnBehalfOf: o.OnBehalfOf, Group: o.Group, Disclose: o.Disclose, Scope: o.Scope, AsOfFrom: o.AsOfFrom, AsOfTo: o.AsOfTo,
		Expires: o.Expires}, budget)
	if _, err := g.published(ref.Index, err); err != nil {
		return api.Reference{}, err
	}
	return api.Reference{Origin: ref.Origin, Index: ref.Index, Hash: ref.Hash}, nil
}

// Accept implements api.Gateway.
func (g *Gateway) Accept(ctx context.Context, offer api.Reference) (api.Published, error) {
	ref, err := g.resolve(offer)
	if err != nil {
		return api.Published{}, err
	}
	index, err := g.holder.Accept(ctx, ref)
	return g.published(index, err)
}

// Reject implements api.Gateway.
func (g *Gateway) Reject(ctx context.Context, offer api.Reference, reason string) (api.Published, error) {
	ref, err := g.resolve(offer)
	if err != nil {
		return api.Published{}, err
	}
	index, err := g.holder.Reject(ctx, ref, reason)
	return g.published(index, err)
}

// Revoke implements api.Gateway.
func (g *Gateway) Revoke(ctx context.Context, accept uint64, reason string) (api.Published, error) {
	if err := g.mayAppend(); err != nil {
		return api.Published{}, err
	}
	index, err := g.holder.Revoke(ctx, accept, reason)
	return g.published(index, err)
}

// resolve fills in the hash of what the replica holds where the caller gave none. What is replicated is final, so nobody
// can exchange it between looking and accepting.
func (g *Gateway) resolve(r api.Reference) (entry.Ref, error) {
	if err := g.mayAppend(); err != nil {
		return entry.Ref{}, err
	}
	if r.Hash != "" {
		return entry.Ref{Origin: r.Origin, Index: r.Index, Hash: r.Hash}, nil
	}
	raw, err := g.finalEntry(r.Origin, r.Index)
	if err != nil {
		return entry.Ref{}, err
	}
	return entry.Ref{Origin: r.Origin, Index: r.Index, Hash: entry.Hash(raw)}, nil
}

// published turns the errors of publishing that a caller can mend into problems.
func (g *Gateway) published(index uint64, err error) (api.Published, error) {
	switch {
	case err == nil:
		return api.Published{Index: index}, nil
	case errors.Is(err, holder.ErrUnknownDataset), errors.Is(err, holder.ErrUnknownPolicy):
		return api.Published{}, api.NewProblem(http.StatusNotFound, api.CodeNotFound, err.Error())
	case errors.Is(err, dataset.ErrSource), errors.Is(err, dataset.ErrBucketFull), errors.Is(err, schema.ErrHeader):
		return api.Published{}, rejected("csv", err)
	case errors.Is(err, dataset.ErrBusy), errors.Is(err, dataset.ErrPending):
		return api.Published{}, api.NewProblem(http.StatusConflict, "dataset_busy", err.Error())
	case errors.Is(err, holder.ErrOffer), errors.Is(err, requester.ErrOffer), errors.Is(err, agreement.ErrTerms):
		return api.Published{}, api.NewProblem(http.StatusConflict, "offer", err.Error())
	case errors.Is(err, network.ErrApprovals):
		return api.Published{}, api.NewProblem(http.StatusConflict, api.CodeApprovals, err.Error()+
			"; make a draft of it, have it signed by this member's approvers, and publish the draft")
	case errors.Is(err, holder.ErrDraft):
		return api.Published{}, api.NewProblem(http.StatusConflict, "draft", err.Error())
	case errors.Is(err, holder.ErrGroup):
		return api.Published{}, rejected("group", err)
	case errors.Is(err, policy.ErrPolicy), errors.Is(err, policy.ErrTemplate):
		return api.Published{}, rejected("policy", err)
	case errors.Is(err, schema.ErrSchema):
		return api.Published{}, rejected("schema", err)
	case errors.Is(err, entry.ErrEntry):
		return api.Published{}, rejected("entry", err)
	case errors.Is(err, peer.ErrUnreachable):
		return api.Published{}, api.NewProblem(http.StatusBadGateway, "unreachable", "the other member is not connected; try again when grille status shows that it is")
	case errors.Is(err, ledger.ErrSuperseded):
		return api.Published{}, api.NewProblem(http.StatusServiceUnavailable, codeSuperseded, "the network is changing to its next version; repeat this in some seconds")
	case errors.Is(err, ledger.ErrHalted), errors.Is(err, ledger.ErrFenced):
		return api.Published{}, api.NewProblem(http.StatusConflict, codeNoEnd, err.Error()+"; see grille ledger evidence")
	}
	return api.Published{}, err
}

// Datasets implements api.Gateway.
func (g *Gateway) Datasets() []api.Dataset {
	own := g.all(g.member.Name)
	var list []api.Dataset
	for _, name := range own.Datasets() {
		d, index, ok := own.Dataset(name)
		if !ok {
			continue
		}
		item := api.Dataset{Name: d.Dataset, Title: d.Title, Scheme: d.Scheme, Index: index}
		for _, c := range d.Columns {
			item.Columns = append(item.Columns, api.Column{Name: c.Name, Type: c.Type, Title: c.Title, Unit: c.Unit})
		}
		if e, _, ok := own.Epoch(name); ok {
			item.Epoch, item.EpochTime, item.Root = e.Epoch, e.Time, e.Root
		}
		list = append(list, item)
	}
	return list
}

// Policies implements api.Gateway.
func (g *Gateway) Policies() []api.Policy {
	var list []api.Policy
	for _, m := range g.network.Members {
		for _, p := range g.final(m.Name).Policies() {
			list = append(list, api.Policy{Holder: m.Name, Policy: p.Policy.Policy, Version: p.Policy.Version, Dataset: p.Policy.Dataset,
				Title: p.Policy.Title, Question: p.Policy.Question, Index: p.Index, Retired: p.Retired, Time: p.Policy.Time})
		}
	}
	return list
}

// all is a member's whole log as held here, final or not.
func (g *Gateway) all(member string) *view.View {
	return g.ledger.View(g.network.Origin(member), ^uint64(0))
}

// final is the final part of a member's log.
func (g *Gateway) final(member string) *view.View {
	head, _ := g.ledger.Final(g.network.Origin(member)) // size 0 before the first
	return g.ledger.View(g.network.Origin(member), head.Size)
}
