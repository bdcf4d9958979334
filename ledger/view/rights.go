package view

import (
	"sort"

	"github.com/grille-gateway/grille/ledger/entry"
)

// A PolicyVersion is a published policy with its index.
type PolicyVersion struct {
	Index   uint64
	Policy  entry.PolicyPublish
	Retired bool // a policy.retire stands below the view's size
}

// An Offer is an agreement.offer with its index.
type Offer struct {
	Index     uint64
	Offer     entry.AgreementOffer
	Withdrawn bool
}

// An Agreement is an agreement.accept with its index.
type Agreement struct {
	Index   uint64
	Accept  entry.AgreementAccept
	Revoked bool
}

// Policy returns a policy version and its index if it is published and not retired.
func (v *View) Policy(name string, version int) (entry.PolicyPublish, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	k := policyKey{name, version}
	p, ok := v.log.policies[k]
	if !ok || p.index >= v.size || v.since(v.log.retired, k) {
		return entry.PolicyPublish{}, 0, false
	}
	return p.value, p.index, true
}

// Policies returns all published policy versions in the order of the log, retired ones too.
func (v *View) Policies() []PolicyVersion {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []PolicyVersion
	for i, k := range v.log.order.all(v.size) {
		out = append(out, PolicyVersion{i, v.log.policies[k].value, v.since(v.log.retired, k)})
	}
	return out
}

// since reports whether a policy was retired below the view's size.
func (v *View) since(m map[policyKey]uint64, k policyKey) bool {
	i, ok := m[k]
	return ok && i < v.size
}

func (v *View) ended(m map[uint64]uint64, k uint64) bool {
	i, ok := m[k]
	return ok && i < v.size
}

// Agreement returns the acceptance at index if it is in force: accepted and not revoked below the view's size. Expiry is
// a matter of time, not of size: the caller compares Terms.Expires.
func (v *View) Agreement(index uint64) (entry.AgreementAccept, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	a, ok := v.log.accepts.at(index, v.size)
	if !ok || v.ended(v.log.revoked, index) {
		return entry.AgreementAccept{}, false
	}
	return a, true
}

// Agreements returns all acceptances in the order of the log, revoked ones too.
func (v *View) Agreements() []Agreement {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []Agreement
	for i, a := range v.log.accepts.all(v.size) {
		out = append(out, Agreement{i, a, v.ended(v.log.revoked, i)})
	}
	return out
}

// AgreementsOn returns the acceptances whose terms name the policy.publish at index, in the order of the log, revoked ones too.
func (v *View) AgreementsOn(policy uint64) []Agreement {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []Agreement
	for _, i := range v.log.granted[policy] {
		if a, ok := v.log.accepts.at(i, v.size); ok {
			out = append(out, Agreement{i, a, v.ended(v.log.revoked, i)})
		}
	}
	return out
}

// Offer returns the offer at index if it is not withdrawn.
func (v *View) Offer(index uint64) (entry.AgreementOffer, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	o, ok := v.log.offers.at(index, v.size)
	if !ok || v.ended(v.log.withdrew, index) {
		return entry.AgreementOffer{}, false
	}
	return o, true
}

// Offers returns all offers in the order of the log, withdrawn ones too.
func (v *View) Offers() []Offer {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []Offer
	for i, o := range v.log.offers.all(v.size) {
		out = append(out, Offer{i, o, v.ended(v.log.withdrew, i)})
	}
	return out
}

// Accepted returns the acceptance of an offer, revoked or not: an offer is accepted once.
func (v *View) Accepted(offer entry.Ref) (Agreement, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	i, ok := v.log.accepted[offer]
	if !ok || i >= v.size {
		return Agreement{}, false
	}
	a, _ := v.log.accepts.at(i, v.size)
	return Agreement{i, a, v.ended(v.log.revoked, i)}, true
}

// Revoked returns the index of the entry that revoked the acceptance at index.
func (v *View) Revoked(accept uint64) (uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	i, ok := v.log.revoked[accept]
	return i, ok && i < v.size
}

// Withdrawn returns the index of the entry that withdrew the offer at index.
func (v *View) Withdrawn(offer uint64) (uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	i, ok := v.log.withdrew[offer]
	return i, ok && i < v.size
}

// A Reject is an agreement.reject with its index.
type Reject struct {
	Index  uint64
	Reject entry.AgreementReject
}

// Rejects returns all rejections in the order of the log.
func (v *View) Rejects() []Reject {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []Reject
	for i, e := range v.log.rejects.all(v.size) {
		out = append(out, Reject{i, e})
	}
	return out
}

// Rejected returns the index of the first rejection of an offer.
func (v *View) Rejected(offer entry.Ref) (uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	for i, e := range v.log.rejects.all(v.size) {
		if e.Offer == offer {
			return i, true
		}
	}
	return 0, false
}

// Batch returns the receipts batch of a beat and its index.
func (v *View) Batch(beat uint64) (entry.ReceiptsBatch, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	all := &v.log.batches
	n := all.below(v.size)
	i := sort.Search(n, func(i int) bool { return all.get(i).value.beat >= beat }) // beats grow strictly along the log
	if i == n || all.get(i).value.beat != beat {
		return entry.ReceiptsBatch{}, 0, false
	}
	return all.get(i).value.entry(), all.get(i).index, true
}

// NewestBatch returns the newest receipts batch and its index.
func (v *View) NewestBatch() (entry.ReceiptsBatch, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	b, i, ok := v.log.batches.newest(v.size)
	if !ok {
		return entry.ReceiptsBatch{}, 0, false
	}
	return b.entry(), i, true
}

// CircuitKeys returns the newest circuit.keys entry of a circuit and its index. Members go over from one circuit to another with both
// side by side.
func (v *View) CircuitKeys(circuit string) (entry.CircuitKeys, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	return v.log.keys[circuit].newest(v.size)
}
