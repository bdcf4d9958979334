package bundle

import (
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// parties checks that the agreement is between the members of the query: with the requester itself, or with a group to which it
// belongs by the group's entry in the bundle.
func (c *check) parties() error {
	q, t := &c.q, &c.agreement.Terms
	switch {
	case t.Holder != q.Holder:
		return refuse(ReasonReference, "the agreement is with another holder")
	case (t.Group != "") != (c.group != nil):
		return refuse(ReasonReference, "the header names a group that the agreement does not, or none where it does")
	case c.group == nil && t.Requester != q.Requester:
		return refuse(ReasonReference, "the agreement is between others")
	case c.group != nil && c.group.Group != t.Group:
		return refuse(ReasonReference, "the group is not the agreement's")
	case c.group != nil && !c.group.Has(q.Requester):
		return refuse(ReasonReference, "the requester does not belong to the agreement's group")
	}
	return nil
}

// approvals checks that the people whom the configuration names approved what the answer rests on.
func (c *check) approvals() error {
	holder, ok := c.Config.Member(c.q.Holder)
	if !ok {
		return &Refused{Reason: ReasonApprovals, Err: ErrUnknownMember}
	}
	approved := func(index uint64, e entry.Entry) error {
		if err := network.CheckApprovals(holder.Approvers, c.h.Origin, index, e); err != nil {
			return refuse(ReasonApprovals, "entry %d (%s): %w", index, e.Kind(), err)
		}
		return nil
	}
	if err := approved(c.h.Policy, c.policy); err != nil {
		return err
	}
	if err := approved(c.h.Agreement, c.agreement); err != nil || c.group == nil {
		return err
	}
	return approved(*c.h.Group, *c.group)
}
