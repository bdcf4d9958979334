package audit

import (
	"context"
	"encoding/base64"
	"slices"
	"testing"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// TestApprovalLies has GOV/tax, of which two people must approve policies, acceptances and groups from its third entry on, write such
// entries with and without their approvals. The audit, the ledger opened from the audited folder, and the replicas of the owner and of
// another member agree on which of them count; so do replicas that are opened again.
func TestApprovalLies(t *testing.T) {
	var keys []string
	for _, label := range []string{"approver a", "approver b", "approver c"} {
		keys = append(keys, base64.StdEncoding.EncodeToString(testKeys.Public(label)))
	}
	slices.Sort(keys)
	c := newTownOf(t, t.TempDir(), approvedConfig(t, []network.Approvers{{From: 3, Number: 2, Keys: keys}}))
	c.write("GOV/benefits", entry.AgreementOffer{Terms: terms(1), Time: c.stamp()})
	offer := c.ref("GOV/benefits", 0)
	by := func(origin string, e entry.Entry, labels ...string) entry.Entry {
		out := e.(entry.Approved)
		for _, l := range labels {
			var err error
			if out, err = entry.Approve(origin, out, testKeys.Key("approver "+l)); err != nil {
				t.Fatal(err)
			}
		}
		return out
	}
	group := func(version int) entry.Entry {
		return entry.GroupDefine{Group: "desks", Version: version, Members: []string{"GOV/benefits"}, Time: c.stamp()}
	}
	accept := entry.AgreementAccept{Offer: offer, Terms: terms(1), Time: c.stamp()}
	tax := originOf("GOV/tax")
	lies := []struct {
		e    entry.Entry
		want Code // "": nothing is wrong with it
	}{
		0:  {c.declare("income"), ""},
		1:  {c.policy("low", 1, "income", 0), ""}, // before the rule
		2:  {group(1), ""},
		3:  {c.policy("low", 2, "income", 0), ApprovalMissing},
		4:  {by(tax, c.policy("low", 2, "income", 0), "a"), ApprovalMissing},
		5:  {by(tax, c.policy("low", 2, "income", 0), "a", "c"), ""},
		6:  {by(originOf("GOV/civil"), group(2), "a", "b"), ApprovalMissing},
		7:  {by(tax, group(2), "a", "x"), ApprovalMissing},
		8:  {by(tax, group(2), "a", "b"), ""},
		9:  {by(tax, group(2), "a", "b"), GroupOrder}, // again: an approval is for once
		10: {accept, ApprovalMissing},
		11: {by(tax, accept, "b", "c"), ""},
		12: {by(tax, accept, "b", "c"), AcceptAgain},
		13: {entry.AgreementRevoke{Accept: 10, Time: c.stamp()}, RevokeUnknown},
		14: {entry.AgreementRevoke{Accept: 11, Time: c.stamp()}, ""}, // ending a right needs no approval
		15: {entry.PolicyRetire{Policy: "low", Version: 2, Time: c.stamp()}, ""},
	}
	for _, l := range lies {
		c.write("GOV/tax", l.e)
	}
	void := func(what string, void func(uint64) bool) {
		t.Helper()
		for i, l := range lies {
			if void(uint64(i)) != (l.want != "") {
				t.Errorf("%s: entry %d %s: void %v", what, i, l.e.Kind(), void(uint64(i)))
			}
		}
	}
	void("owner", c.stores["GOV/tax"].View(tax, 99).Void)
	void("replica", c.stores["GOV/health"].View(tax, 99).Void)
	c.close()
	c.open("GOV/health", "log GOV/health", nil)
	v := c.stores["GOV/health"].View(tax, 99)
	void("replica opened again", v.Void)
	if g, index, ok := v.Group("desks"); !ok || index != 8 || g.Version != 2 || !slices.Equal(v.Groups(), []string{"desks"}) {
		t.Errorf("newest group: entry %d %+v", index, g)
	}
	if _, _, ok := v.Group("none"); ok {
		t.Error("a group that nobody defined")
	}
	if err := c.stores["GOV/health"].Close(); err != nil {
		t.Fatal(err)
	}
	got := make(map[int64]Code)
	r := c.audit(c.path("GOV/civil"))
	for _, p := range r.log("GOV/tax").Problems {
		got[p.Index] = p.Code
	}
	for i, l := range lies {
		if got[int64(i)] != l.want {
			t.Errorf("audit: entry %d %s: found %q, want %q", i, l.e.Kind(), got[int64(i)], l.want)
		}
	}
	opened, err := Open(context.Background(), c.options(c.path("GOV/civil")))
	if err != nil {
		t.Fatal(err)
	}
	void("opened folder", opened.View(tax, 99).Void)
}
