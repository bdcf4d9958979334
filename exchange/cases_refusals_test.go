package exchange_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// decisionReason is the code for which a decision document was refused; "" if it was not.
func decisionReason(err error) program.Reason {
	var refused *program.Refused
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

// refusedBy makes a refusal that some member signs and promises to log the receipt of.
func (w *world) refusedBy(member string, query *bundle.Signed, change func(no *bundle.Refusal)) bundle.SignedRefusal {
	w.t.Helper()
	m := w.members[member]
	no := bundle.Refusal{Version: 1, Query: bundle.QueryDigest(query), Code: "claimed", Time: entry.FormatTime(w.now())}
	change(&no)
	var r bundle.SignedRefusal
	var err error
	r.Refusal, err = bundle.Sign(m.query, bundle.LabelRefusal, no)
	w.check(err)
	r.Salt = receipt.Sum("salt")
	length := bundle.BeatLength(w.config)
	beat := receipt.BeatAt(w.now(), length)
	digest := receipt.Digest(r.Salt, no.Query, receipt.OutcomeRefused, r.Refusal.Digest(bundle.LabelRefusal))
	r.Promise, err = bundle.Sign(m.query, bundle.LabelPromise, receipt.Promise{Version: 1, Member: member, Query: no.Query, Receipt: digest, Beat: beat,
		Deadline: entry.FormatTime(receipt.Deadline(beat, length))})
	w.check(err)
	return r
}

// refusalLie changes a document, and what its member signed, and says for which reason it is then refused.
type refusalLie struct {
	change func(d *program.Document, s *program.Decision)
	want   program.Reason
}

// refusalLies are ways to show another refusal than the one that was given, each with its reason; it is a table, and so longer than a
// function should be. Other is another case that was refused, paid one that was granted.
func (w *world) refusalLies(other, paid *program.Document) map[string]refusalLie {
	query := func(d *program.Document, change func(q *bundle.Query)) bundle.Signed {
		var q bundle.Query
		w.check(d.Evidence[0].Refusal.Query.Peek(&q))
		change(&q)
		signed, err := bundle.Sign(w.members[benefits].query, bundle.LabelQuery, q)
		w.check(err)
		return signed
	}
	// asked has the member sign another query, and its friend of a holder refuse it.
	asked := func(change func(q *bundle.Query)) func(*program.Document, *program.Decision) {
		return func(d *program.Document, _ *program.Decision) {
			r := d.Evidence[0].Refusal
			r.Query = query(d, change)
			r.Reply = w.refusedBy(civil, &r.Query, func(*bundle.Refusal) {})
		}
	}
	refused := func(by string, change func(no *bundle.Refusal)) func(*program.Document, *program.Decision) {
		return func(d *program.Document, _ *program.Decision) {
			d.Evidence[0].Refusal.Reply = w.refusedBy(by, &d.Evidence[0].Refusal.Query, change)
		}
	}
	return map[string]refusalLie{
		"nothing":          {func(*program.Document, *program.Decision) {}, ""},
		"refused anew":     {refused(civil, func(*bundle.Refusal) {}), ""},
		"no refusal":       {func(d *program.Document, _ *program.Decision) { d.Evidence = d.Evidence[1:] }, program.ReasonChecks},
		"an answer for it": {func(d *program.Document, _ *program.Decision) { d.Evidence[0] = paid.Evidence[0] }, program.ReasonChecks},
		"of another check": {func(d *program.Document, _ *program.Decision) { d.Evidence[0].Check = "partner" }, program.ReasonChecks},
		"of another case":  {func(d *program.Document, _ *program.Decision) { d.Evidence[0] = other.Evidence[0] }, program.ReasonRefusedQuery},
		"refusal of another": {func(d *program.Document, _ *program.Decision) {
			d.Evidence[0].Refusal.Reply = other.Evidence[0].Refusal.Reply
		}, program.ReasonRefusalQuery},
		"query of another": {func(d *program.Document, _ *program.Decision) {
			d.Evidence[0].Refusal.Query = other.Evidence[0].Refusal.Query
		}, program.ReasonRefusedQuery},
		"query's signature":    {func(d *program.Document, _ *program.Decision) { flip(&d.Evidence[0].Refusal.Query) }, program.ReasonRefusedQuery},
		"another policy":       {asked(func(q *bundle.Query) { q.Policy = "other" }), program.ReasonRefusedQuery},
		"another holder":       {asked(func(q *bundle.Query) { q.Holder = health }), program.ReasonRefusedQuery},
		"another purpose":      {asked(func(q *bundle.Query) { q.Purpose = "other" }), program.ReasonRefusedQuery},
		"another basis":        {asked(func(q *bundle.Query) { q.LegalBasis = "other" }), program.ReasonRefusedQuery},
		"another check's":      {asked(func(q *bundle.Query) { q.Case = strings.Replace(q.Case, "/aged", "/partner", 1) }), program.ReasonRefusedQuery},
		"another instance":     {asked(func(q *bundle.Query) { q.Instance = "other" }), program.ReasonRefusedQuery},
		"another id":           {asked(func(q *bundle.Query) { q.ID = strings.Repeat("0", 32) }), program.ReasonRefusedQuery},
		"another day":          {asked(func(q *bundle.Query) { q.Scope, q.AsOf = nil, "2020-01-01" }), program.ReasonRefusedQuery},
		"another scope":        {asked(func(q *bundle.Query) { q.Scope = &bundle.Scope{Program: fuel, Period: "1999"} }), program.ReasonRefusedQuery},
		"no scope":             {asked(func(q *bundle.Query) { q.Scope = nil }), program.ReasonRefusedQuery},
		"a query of two days":  {asked(func(q *bundle.Query) { q.Expires = "2099-01-01T00:00:00Z" }), program.ReasonRefusedQuery},
		"refusal's signature":  {func(d *program.Document, _ *program.Decision) { flip(&d.Evidence[0].Refusal.Reply.Refusal) }, program.ReasonRefusalSignature},
		"signed by the member": {refused(benefits, func(*bundle.Refusal) {}), program.ReasonRefusalSignature},
		"signed by a third":    {refused(health, func(*bundle.Refusal) {}), program.ReasonRefusalSignature},
		"another version":      {refused(civil, func(no *bundle.Refusal) { no.Version = 2 }), program.ReasonRefusalSignature},
		"another code":         {refused(civil, func(no *bundle.Refusal) { no.Code = "budget_exhausted" }), program.ReasonRefusalCode},
		"promise's signature":  {func(d *program.Document, _ *program.Decision) { flip(&d.Evidence[0].Refusal.Reply.Promise) }, program.ReasonRefusalPromise},
		"promise of another": {func(d *program.Document, _ *program.Decision) {
			d.Evidence[0].Refusal.Reply.Promise = other.Evidence[0].Refusal.Reply.Promise
		}, program.ReasonRefusalPromise},
		"another salt":           {func(d *program.Document, _ *program.Decision) { d.Evidence[0].Refusal.Reply.Salt[0] ^= 1 }, program.ReasonRefusalPromise},
		"before the application": {refused(civil, func(no *bundle.Refusal) { no.Time = entry.FormatTime(w.now().Add(-time.Hour)) }), program.ReasonTimes},
		"after the decision":     {refused(civil, func(no *bundle.Refusal) { no.Time = entry.FormatTime(w.now().Add(time.Hour)) }), program.ReasonTimes},
		"claimed, with a code":   {func(_ *program.Document, s *program.Decision) { s.Checks[0].Code = "claimed" }, program.ReasonChecks},
		"claimed, called refused": {func(_ *program.Document, s *program.Decision) {
			s.Checks[0].Outcome, s.Checks[0].Code = program.OutcomeRefused, "claimed"
		}, program.ReasonChecks},
		"another reason given": {func(_ *program.Document, s *program.Decision) {
			s.Checks[0].Outcome, s.Checks[0].Code = program.OutcomeRefused, "budget_exhausted"
		}, program.ReasonRefusalCode},
		"granted": {func(_ *program.Document, s *program.Decision) { s.Granted = true }, program.ReasonRule},
	}
}

// TestRefusalsAreShown denies by rule what a register refused, and has the document changed as its member could, or as anyone could. A
// refusal that another holder's would pass for lets a member deny whom it likes.
func TestRefusalsAreShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.claimOffice()
	granted, _ := o.shown(o.decide(household("P-0001", "P-0002")).ID, -1)
	data, report := o.shown(o.decide(household("P-0001", "P-0004")).ID, -1)
	again, _ := o.shown(o.decide(household("P-0001", "P-0004")).ID, -1)
	if !report.Rule || report.Granted || len(report.Refused) != 1 || report.Refused[0].Code != "claimed" || report.Refused[0].Holder != civil {
		t.Fatalf("%+v", report)
	}
	for _, secret := range []string{"P-0001", "P-0004", "nonce", "opening", "nullifier"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("the document holds %q", secret)
		}
	}
	other, err := program.DecodeDocument(again)
	w.check(err)
	paid, err := program.DecodeDocument(granted)
	w.check(err)
	for name, c := range w.refusalLies(other, paid) {
		d, err := program.DecodeDocument(data)
		w.check(err)
		w.resign(d, func(s *program.Decision) { c.change(d, s) })
		changed, err := bundle.Encode(d)
		w.check(err)
		if r, err := program.Verify(w.verify, changed); decisionReason(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		} else if err == nil && !r.Rule {
			t.Errorf("%s: the rule was not followed", name)
		}
	}
	// Who was granted something cannot be denied by a word.
	w.resign(paid, func(s *program.Decision) {
		s.Granted, s.Checks[0] = false, program.Finding{Check: "aged", Outcome: program.OutcomeClaimed, Query: s.Checks[0].Query}
		paid.Evidence = paid.Evidence[1:]
	})
	changed, err := bundle.Encode(paid)
	w.check(err)
	if _, err := program.Verify(w.verify, changed); decisionReason(err) != program.ReasonChecks {
		t.Errorf("called claimed without a refusal: %v", err)
	}
}

// flip changes one character of a signature and leaves it well formed.
func flip(s *bundle.Signed) {
	first := "A"
	if s.Signature[:1] == first {
		first = "B"
	}
	s.Signature = first + s.Signature[1:]
}

// TestRefusedChecksAreShown has a person decide what a holder refused, and the document show that it was refused, and why.
func TestRefusedChecksAreShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 1, 1000)
	o := w.work(nil)
	o.publish(allowance)
	o.decide(couple("P-0001", "P-0004"))
	c := o.decide(couple("P-0001", "P-0002"))
	c, err := o.Review(t.Context(), c.ID, false, "officer 17", "no more questions are left")
	w.check(err)
	data, r := o.shown(c.ID, -1)
	if r.Rule || len(r.Refused) != 1 || r.Refused[0].Code != "budget_exhausted" || r.Refused[0].Check != "own" || len(r.Answers) != 1 {
		t.Fatalf("%+v", r)
	}
	d, err := program.DecodeDocument(data)
	w.check(err)
	w.resign(d, func(s *program.Decision) { s.Checks[0].Code = "no_agreement" })
	changed, err := bundle.Encode(d)
	w.check(err)
	if _, err := program.Verify(w.verify, changed); decisionReason(err) != program.ReasonRefusalCode {
		t.Errorf("another code: %v", err)
	}
}
