package holder

import (
	"context"
	"fmt"
	"slices"

	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// approved checks that an entry has the approvals that the member's card asks for at the end of its log.
func (h *Holder) approved(e entry.Entry) error {
	me, _ := h.opts.Config.Member(h.opts.Member)
	if err := network.CheckApprovals(me.Approvers, h.origin(), h.all().Size(), e); err != nil {
		return fmt.Errorf("publishing %s: %w", e.Kind(), err)
	}
	return nil
}

// DraftPolicy compiles a policy into a draft for its approvers. With it goes the declaration that it was compiled for, so that they
// can compile it again.
func (h *Holder) DraftPolicy(d *policy.Document) (entry.Draft, error) {
	e, err := h.compile(d)
	if err != nil {
		return entry.Draft{}, err
	}
	draft, err := entry.NewDraft(h.origin(), e)
	if err != nil {
		return draft, err
	}
	raw, err := h.opts.Ledger.Read(h.origin(), e.Declare, e.Declare+1)
	if err != nil || len(raw) != 1 {
		return draft, fmt.Errorf("drafting a policy: reading its dataset's declaration: %w", err)
	}
	draft.Declared = string(raw[0])
	return draft, nil
}

// DraftAccept makes the draft of an acceptance for its approvers.
func (h *Holder) DraftAccept(offer entry.Ref) (entry.Draft, error) {
	terms, err := h.offered(offer)
	if err != nil {
		return entry.Draft{}, err
	}
	if err := h.acceptable(&terms); err != nil {
		return entry.Draft{}, err
	}
	return entry.NewDraft(h.origin(), entry.AgreementAccept{Offer: offer, Terms: terms, Time: entry.FormatTime(h.opts.Now())})
}

// DraftGroup makes the draft of a group's next version for its approvers.
func (h *Holder) DraftGroup(name string, members []string) (entry.Draft, error) {
	e, err := h.group(name, members)
	if err != nil {
		return entry.Draft{}, err
	}
	return entry.NewDraft(h.origin(), e)
}

// PublishDraft appends what a draft holds, if it is what this member would write by itself, and approved. Doing so again returns the
// entry that stands.
func (h *Holder) PublishDraft(ctx context.Context, d entry.Draft) (uint64, error) {
	e, err := d.Entry()
	if err != nil {
		return 0, err
	}
	if d.Origin != h.origin() {
		return 0, fmt.Errorf("publishing a draft for another log: %w", ErrDraft)
	}
	switch e := e.(type) {
	case entry.PolicyPublish:
		return h.publishPolicyDraft(ctx, e)
	case entry.AgreementAccept:
		return h.acceptDraft(ctx, e)
	case entry.GroupDefine:
		return h.defineGroup(ctx, e)
	}
	return 0, fmt.Errorf("publishing a draft of kind %s: %w", e.Kind(), ErrDraft)
}

// publishPolicyDraft compiles the draft's source again: what is published is what its text says, for the newest schema.
func (h *Holder) publishPolicyDraft(ctx context.Context, e entry.PolicyPublish) (uint64, error) {
	if _, _, ok := h.all().Policy(e.Policy, e.Version); !ok {
		declared, index, ok := h.all().Dataset(e.Dataset)
		if !ok {
			return 0, fmt.Errorf("publishing policy %s for dataset %s: %w", e.Policy, e.Dataset, ErrUnknownDataset)
		}
		if index != e.Declare {
			return 0, fmt.Errorf("publishing policy %s: the dataset's schema is another one than when the draft was made; make a new draft: %w",
				e.Policy, ErrDraft)
		}
		if err := policy.Recompile(e, declared); err != nil {
			return 0, err
		}
	}
	return h.publishPolicy(ctx, e)
}

func (h *Holder) acceptDraft(ctx context.Context, e entry.AgreementAccept) (uint64, error) {
	terms, err := h.offered(e.Offer)
	if err != nil {
		return 0, err
	}
	if !terms.Equal(&e.Terms) {
		return 0, fmt.Errorf("accepting an offer: the draft's terms are not the offer's: %w", ErrDraft)
	}
	return h.accept(ctx, e)
}

// DefineGroup says who belongs to a group of requesters from now on. Saying the same again changes nothing. Who is no longer in it may
// not ask as of it any more: once this returns, no receipt is written for them under an agreement with the group. Where the member's
// card asks for approvals, DraftGroup and PublishDraft do.
func (h *Holder) DefineGroup(ctx context.Context, name string, members []string) (uint64, error) {
	e, err := h.group(name, members)
	if err != nil {
		return 0, err
	}
	return h.defineGroup(ctx, e)
}

// group makes the next version of a group.
func (h *Holder) group(name string, members []string) (entry.GroupDefine, error) {
	members = slices.Clone(members)
	slices.Sort(members)
	e := entry.GroupDefine{Group: name, Version: 1, Members: append([]string{}, slices.Compact(members)...), Time: entry.FormatTime(h.opts.Now())}
	for _, m := range e.Members {
		if _, ok := h.opts.Config.Member(m); !ok || m == h.opts.Member {
			return e, fmt.Errorf("defining group %s: %q is not another member of the network: %w", name, m, ErrGroup)
		}
	}
	last, _, ok := h.all().Group(name)
	if ok {
		e.Version = last.Version + 1
	}
	return e, nil
}

func (h *Holder) defineGroup(ctx context.Context, e entry.GroupDefine) (uint64, error) {
	index, err := h.appendGroup(ctx, e)
	if err != nil {
		return 0, err
	}
	return index, h.final(ctx, e, index)
}

func (h *Holder) appendGroup(ctx context.Context, e entry.GroupDefine) (uint64, error) {
	h.ending.Lock() // a right may end with it
	defer h.ending.Unlock()
	last, index, ok := h.all().Group(e.Group)
	switch {
	case ok && slices.Equal(last.Members, e.Members) && last.Version >= e.Version-1:
		return index, nil
	case ok && e.Version <= last.Version:
		return 0, fmt.Errorf("defining group %s version %d: version %d stands on the log; make a new draft: %w", e.Group, e.Version, last.Version, ErrGroup)
	}
	if err := h.approved(e); err != nil {
		return 0, err
	}
	indexes, err := h.opts.Ledger.Append(ctx, e)
	if err != nil {
		return 0, fmt.Errorf("publishing %s: %w", e.Kind(), err)
	}
	if h.all().Void(indexes[0]) {
		return 0, fmt.Errorf("publishing %s: entry %d is void: %w", e.Kind(), indexes[0], network.ErrApprovals)
	}
	return indexes[0], nil
}
