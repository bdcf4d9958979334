package exchange_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"testing"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// approverKeys are of three people; two of them must sign.
func approverKeys() ([]ed25519.PrivateKey, network.Approvers) {
	rule := network.Approvers{Number: 2}
	var keys []ed25519.PrivateKey
	for i := range byte(3) {
		key := ed25519.NewKeyFromSeed(slices.Repeat([]byte{i + 1}, ed25519.SeedSize))
		keys = append(keys, key)
		rule.Keys = append(rule.Keys, base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
	}
	slices.Sort(rule.Keys)
	return keys, rule
}

// sign adds approvals to a draft, as approvers do on machines of their own.
func (w *world) sign(d entry.Draft, keys ...ed25519.PrivateKey) entry.Draft {
	w.t.Helper()
	for _, key := range keys {
		e, err := d.Entry()
		w.check(err)
		approved, err := entry.Approve(d.Origin, e, key)
		w.check(err)
		next, err := entry.NewDraft(d.Origin, approved)
		w.check(err)
		d.Body = next.Body
	}
	return d
}

// TestTwoApprovers: where a member's card asks for two approvers, its gateway publishes no policy, grants no right and defines no group
// without them; replicas take none for such; and no verifier accepts an answer that rests on one.
func TestTwoApprovers(t *testing.T) {
	t.Parallel()
	keys, rule := approverKeys()
	w := newWorldWith(t, setting{approvers: []network.Approvers{rule}})
	h, origin := w.members[civil].holder, w.config.Origin(civil)
	_, err := h.DeclareDataset(t.Context(), []byte(peopleSchema)) // needs no approvals
	w.check(err)
	w.importCSV(peopleCSV)
	d, err := policy.Parse([]byte("policy: aged\nversion: 1\ndataset: people\ntitle: t\nquestion: q\nwhen: age >= 75\n"))
	w.check(err)
	publish := func(draft entry.Draft) error { _, err := h.PublishDraft(t.Context(), draft); return err }
	refused := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}

	_, err = h.PublishPolicy(t.Context(), d)
	refused("a policy without approvals", err, network.ErrApprovals)
	draft, err := h.DraftPolicy(d)
	w.check(err)
	if raw, err := entry.Decode([]byte(draft.Declared)); err != nil || raw.Kind() != entry.KindDatasetDeclare {
		t.Errorf("the draft does not say what the policy was compiled for: %v", err)
	}
	refused("one approval", publish(w.sign(draft, keys[0])), network.ErrApprovals)
	refused("one approver twice", publish(w.sign(draft, keys[0], keys[0])), network.ErrApprovals)
	elsewhere := draft
	elsewhere.Origin = w.config.Origin(health)
	elsewhere = w.sign(elsewhere, keys[0], keys[1])
	refused("a draft for another log", publish(elsewhere), holder.ErrDraft)
	elsewhere.Origin = draft.Origin
	refused("approvals for another log", publish(elsewhere), network.ErrApprovals)
	e, err := draft.Entry()
	w.check(err)
	spoiled := e.(entry.PolicyPublish)
	spoiled.Source.Text = "age >= 76"
	bad, err := entry.NewDraft(draft.Origin, spoiled)
	w.check(err)
	refused("another program than its text", publish(w.sign(bad, keys[0], keys[1])), policy.ErrPolicy)
	approved := w.sign(draft, keys[2], keys[0])
	first, err := h.PublishDraft(t.Context(), approved)
	w.check(err)
	again, err := h.PublishDraft(t.Context(), approved)
	w.check(err)
	if same, err := h.PublishPolicy(t.Context(), d); err != nil || same != first || again != first {
		t.Errorf("published again: entries %d, %d and %d, %v", first, again, same, err)
	}

	w.eventually("the policy reaches the requester", func() bool {
		head, final := w.members[benefits].ledger.Final(origin)
		return final && head.Size > first
	})
	offer := w.offer(5, 50, nil)
	_, err = h.Accept(t.Context(), offer)
	refused("an acceptance without approvals", err, network.ErrApprovals)
	grant, err := h.DraftAccept(offer)
	w.check(err)
	wider, err := grant.Entry()
	w.check(err)
	changed := wider.(entry.AgreementAccept)
	changed.Terms.Expires = "2100-01-01T00:00:00Z"
	bad, err = entry.NewDraft(grant.Origin, changed)
	w.check(err)
	refused("other terms than offered", publish(w.sign(bad, keys[0], keys[1])), holder.ErrDraft)
	if r := w.ask(w.question("P-0001")); r.Refusal != "no_agreement" {
		t.Errorf("before the acceptance is approved: %+v", r)
	}
	accept, err := h.PublishDraft(t.Context(), w.sign(grant, keys[1], keys[2]))
	w.check(err)
	report, err := w.verify.Verify(w.bundle(w.ask(w.question("P-0001")).ID, false))
	w.check(err)
	if report.Verdict.String() != "satisfied" {
		t.Errorf("the verdict is %v", report.Verdict)
	}
	w.unapproved(keys, approved, grant, accept)
}

// unapproved has the holder write entries past its gateway and answer from them with everything else in order.
func (w *world) unapproved(keys []ed25519.PrivateKey, published, granted entry.Draft, accept uint64) {
	w.t.Helper()
	c, origin := w.members[civil], w.config.Origin(civil)
	write := func(d entry.Draft, signers ...ed25519.PrivateKey) uint64 {
		w.t.Helper()
		e, err := w.sign(d, signers...).Entry()
		w.check(err)
		indexes, err := c.ledger.Append(w.t.Context(), e)
		w.check(err)
		w.check(c.ledger.WaitFinal(w.t.Context(), indexes[0]))
		w.eventually("the entry is replicated", func() bool { return w.members[benefits].ledger.Size(origin) > indexes[0] })
		if !w.members[benefits].ledger.View(origin, ^uint64(0)).Void(indexes[0]) {
			w.t.Errorf("entry %d counts without its approvals", indexes[0])
		}
		return indexes[0]
	}
	none := published
	e, err := none.Entry()
	w.check(err)
	bare, err := entry.NewDraft(origin, func() entry.Approved { p := e.(entry.PolicyPublish); p.Approvals = nil; return p }())
	w.check(err)
	byOne, byNobody, unsigned := write(granted, keys[0]), write(granted), write(bare)
	if got := w.members[benefits].ledger.View(origin, ^uint64(0)).Agreements(); len(got) != 1 || got[0].Index != accept {
		w.t.Errorf("agreements %+v", got)
	}
	stranger := write(granted, ed25519.NewKeyFromSeed(slices.Repeat([]byte{9}, ed25519.SeedSize)), keys[0])
	for name, change := range map[string]func(*bundle.Header){
		"acceptance that one approved":        func(h *bundle.Header) { h.Agreement = byOne },
		"acceptance that nobody approved":     func(h *bundle.Header) { h.Agreement = byNobody },
		"acceptance that a stranger approved": func(h *bundle.Header) { h.Agreement = stranger },
		"policy that nobody approved":         func(h *bundle.Header) { h.Policy = unsigned },
	} {
		_, err := w.verify.Verify(w.encode(w.claim(change)))
		want := bundle.ReasonApprovals
		if name == "policy that nobody approved" {
			want = bundle.ReasonReference // the acceptance names the approved one
		}
		if reason(err) != want {
			w.t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := w.verify.Verify(w.encode(w.lie("P-0001", func(*bundle.Header) {}))); err != nil {
		w.t.Errorf("approved entries: %v", err)
	}
}
