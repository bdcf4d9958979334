package gateway

import (
	"context"

	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
)

// DraftPolicy implements api.Gateway.
func (g *Gateway) DraftPolicy(document []byte) (api.Draft, error) {
	d, err := policy.Parse(document)
	if err != nil {
		return api.Draft{}, rejected("policy", err)
	}
	draft, err := g.holder.DraftPolicy(d)
	return g.drafted(draft, err)
}

// DraftAccept implements api.Gateway.
func (g *Gateway) DraftAccept(offer api.Reference) (api.Draft, error) {
	ref, err := g.resolve(offer)
	if err != nil {
		return api.Draft{}, err
	}
	draft, err := g.holder.DraftAccept(ref)
	return g.drafted(draft, err)
}

// DraftGroup implements api.Gateway.
func (g *Gateway) DraftGroup(d api.GroupDefinition) (api.Draft, error) {
	draft, err := g.holder.DraftGroup(d.Group, d.Members)
	return g.drafted(draft, err)
}

func (g *Gateway) drafted(d entry.Draft, err error) (api.Draft, error) {
	if _, err := g.published(0, err); err != nil {
		return api.Draft{}, err
	}
	return api.Draft{Origin: d.Origin, Entry: d.Body, Declared: d.Declared}, nil
}

// PublishDraft implements api.Gateway.
func (g *Gateway) PublishDraft(ctx context.Context, d api.Draft) (api.Published, error) {
	if err := g.mayAppend(); err != nil {
		return api.Published{}, err
	}
	index, err := g.holder.PublishDraft(ctx, entry.Draft{Origin: d.Origin, Body: d.Entry, Declared: d.Declared})
	return g.published(index, err)
}

// DefineGroup implements api.Gateway.
func (g *Gateway) DefineGroup(ctx context.Context, d api.GroupDefinition) (api.Published, error) {
	if err := g.mayAppend(); err != nil {
		return api.Published{}, err
	}
	index, err := g.holder.DefineGroup(ctx, d.Group, d.Members)
	return g.published(index, err)
}

// Groups implements api.Gateway.
func (g *Gateway) Groups() []api.Group {
	var list []api.Group
	for _, m := range g.network.Members {
		v := g.final(m.Name)
		for _, name := range v.Groups() {
			e, index, _ := v.Group(name)
			list = append(list, api.Group{Holder: m.Name, Group: name, Version: e.Version, Members: e.Members, Index: index, Time: e.Time})
		}
	}
	return list
}
