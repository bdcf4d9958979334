package gateway

import (
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
)

// Agreements implements api.Gateway: the final offers and rights in which this member is requester or holder.
func (g *Gateway) Agreements() api.Agreements {
	var list api.Agreements
	answered := map[api.Reference]string{} // offer -> accepted or rejected
	for _, m := range g.network.Members {
		v := g.final(m.Name)
		for _, a := range v.Agreements() {
			answered[reference(a.Accept.Offer)] = "accepted"
			if g.concerns(a.Accept.Terms) && a.Accept.Terms.Holder == m.Name {
				list.Rights = append(list.Rights, api.AgreementState{Holder: m.Name, Index: a.Index, Offer: reference(a.Accept.Offer),
					Terms: terms(a.Accept.Terms), Time: a.Accept.Time, State: g.rightState(a.Accept.Terms, a.Revoked)})
			}
		}
		for _, r := range v.Rejects() {
			if _, ok := answered[reference(r.Reject.Offer)]; !ok {
				answered[reference(r.Reject.Offer)] = "rejected"
			}
		}
	}
	for _, m := range g.network.Members {
		for _, o := range g.final(m.Name).Offers() {
			if !g.concerns(o.Offer.Terms) || o.Offer.Terms.Requester != m.Name {
				continue
			}
			ref := api.Reference{Origin: g.network.Origin(m.Name), Index: o.Index}
			if raw, err := g.finalEntry(ref.Origin, ref.Index); err == nil {
				ref.Hash = entry.Hash(raw)
			}
			state := "open"
			if s, ok := answered[ref]; ok {
				state = s
			} else if o.Withdrawn {
				state = "withdrawn"
			}
			list.Offers = append(list.Offers, api.OfferState{Reference: ref, Terms: terms(o.Offer.Terms), Time: o.Offer.Time, State: state})
		}
	}
	return list
}

func (g *Gateway) concerns(t entry.Terms) bool {
	if t.Requester == g.member.Name || t.Holder == g.member.Name {
		return true
	}
	group, _, ok := g.final(t.Holder).Group(t.Group)
	return ok && group.Has(g.member.Name)
}

func (g *Gateway) rightState(t entry.Terms, revoked bool) string {
	if revoked {
		return "revoked"
	}
	if end, err := entry.ParseTime(t.Expires); err != nil || !g.now().Before(end) {
		return "expired"
	}
	return "in_force"
}

func reference(r entry.Ref) api.Reference {
	return api.Reference{Origin: r.Origin, Index: r.Index, Hash: r.Hash}
}

func terms(t entry.Terms) api.Terms {
	return api.Terms{Requester: t.Requester, Group: t.Group, Holder: t.Holder, Policy: t.Policy, Version: t.PolicyVersion, Purpose: t.Purpose,
		LegalBasis: t.LegalBasis, OnBehalfOf: t.OnBehalfOf, Disclose: t.Disclose, Scope: t.Scope, AsOfFrom: t.AsOfFrom, AsOfTo: t.AsOfTo, Expires: t.Expires}
}
