package agreement

import (
	"slices"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

// A Use is what somebody wants to do under an agreement.
type Use struct {
	Requester     string
	Holder        string
	Policy        string
	PolicyVersion int
	PolicyIndex   uint64 // of the policy.publish on the holder's log
	Purpose       string
	LegalBasis    string
	Disclose      []string
	Scope         string // program in whose scope a claim is to be made; empty: none
	AsOf          string // day asked about, YYYY-MM-DD; empty: the current one
	At            time.Time
	// Withdrawn says whether the requester took the offer back on its own log. nil: never.
	Withdrawn func(offer entry.Ref) bool
}

// A Right is an agreement in force.
type Right struct {
	Index uint64 // of the agreement.accept on the holder's log
	Terms entry.Terms
	Offer entry.Ref
	Group *uint64 // index of the newest group.define of the group that the terms name, if they name one
}

// Why there is no right.
const (
	NoAgreement      = "no_agreement"
	OtherPurpose     = "purpose_not_allowed"
	OtherDisclosures = "disclosure_not_allowed"
	Expired          = "agreement_expired"
	OtherDates       = "as_of_not_allowed"
	OtherScope       = "scope_not_allowed"
)

// Find returns the newest agreement below the view's size that allows the use, or the reason for which the nearest one does not.
// Without any, the answer is no.
func Find(v *view.View, u Use) (Right, string) {
	why := NoAgreement
	rank := func(reason string) {
		order := []string{NoAgreement, OtherPurpose, Expired, OtherDates, OtherDisclosures, OtherScope}
		if slices.Index(order, reason) > slices.Index(order, why) {
			why = reason
		}
	}
	for _, a := range slices.Backward(v.AgreementsOn(u.PolicyIndex)) {
		t := a.Accept.Terms
		group, asks := mayAsk(v, &t, u.Requester)
		if a.Revoked || !asks || t.Holder != u.Holder || t.Policy != u.Policy ||
			t.PolicyVersion != u.PolicyVersion || t.PolicyIndex != u.PolicyIndex || u.Withdrawn != nil && u.Withdrawn(a.Accept.Offer) {
			continue
		}
		expires, err := entry.ParseTime(t.Expires)
		switch {
		case t.Purpose != u.Purpose || t.LegalBasis != u.LegalBasis:
			rank(OtherPurpose)
		case err != nil || u.At.After(expires):
			rank(Expired)
		case u.AsOf != "" && !t.AllowsAsOf(u.AsOf):
			rank(OtherDates)
		case slices.ContainsFunc(u.Disclose, func(c string) bool { return !slices.Contains(t.Disclose, c) }):
			rank(OtherDisclosures)
		case u.Scope != "" && u.Scope != t.Scope:
			rank(OtherScope)
		default:
			return Right{Index: a.Index, Terms: t, Offer: a.Accept.Offer, Group: group}, ""
		}
	}
	return Right{}, why
}

// mayAsk reports whether terms are with a member: its own, or those of a group that lists it now.
func mayAsk(v *view.View, t *entry.Terms, member string) (group *uint64, ok bool) {
	if t.Group == "" {
		return nil, t.Requester == member
	}
	g, index, defined := v.Group(t.Group)
	return &index, defined && g.Has(member)
}

// Stands reports whether a right that was found is in force in a view, and its use by a member is: not revoked, and the member still
// of its group.
func (r *Right) Stands(v *view.View, member string) bool {
	if _, ok := v.Agreement(r.Index); !ok {
		return false
	}
	_, ok := mayAsk(v, &r.Terms, member)
	return ok
}
