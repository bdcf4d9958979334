package exchange_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

// TestAnswersToAnotherQuestion has a holder reply with what is true and was asked, but not now: the requester believes none of it, says
// why, keeps it as evidence, and takes the true answer when it comes.
func TestAnswersToAnotherQuestion(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{terms: ranged("2020-01-01", "")})
	w.furnish(peopleCSV, 30, 100)
	c, r := w.members[civil], w.members[benefits].requester
	today := bundle.AsOfDate(w.now())
	replies := map[string][]byte{} // what civil answered before
	keep := func(name string, q requester.Question) {
		c.intercept = func(reply []byte, err error) ([]byte, error) { replies[name] = bytes.Clone(reply); return reply, err }
		w.ask(q)
	}
	keep("the same question before", w.question("P-0001"))
	keep("about another person", w.question("P-0004"))
	day := w.question("P-0001")
	day.AsOf = today
	keep("about a day", day)
	refused := w.question("P-0001")
	refused.Purpose = "curiosity"
	keep("a refusal of another query", refused)

	replayed := func(name string) func([]byte) []byte { return func([]byte) []byte { return replies[name] } }
	altered := func(change func(now, old *bundle.Reply)) func([]byte) []byte {
		return func(reply []byte) []byte {
			now, err := bundle.DecodeReply(reply)
			w.check(err)
			old, err := bundle.DecodeReply(replies["the same question before"])
			w.check(err)
			change(now, old)
			data, err := bundle.Encode(now)
			w.check(err)
			return data
		}
	}
	for name, c := range map[string]struct {
		reply func([]byte) []byte
		want  bundle.Reason
	}{
		"the same question before":   {replayed("the same question before"), bundle.ReasonHeader},
		"about another person":       {replayed("about another person"), bundle.ReasonHeader},
		"about a day":                {replayed("about a day"), bundle.ReasonHeader},
		"a refusal of another query": {replayed("a refusal of another query"), bundle.ReasonHeader},
		"an old answer, relabelled":  {altered(func(now, old *bundle.Reply) { old.Answer.Query = now.Answer.Query; *now = *old }), bundle.ReasonHeader},
		"an old header":              {altered(func(now, old *bundle.Reply) { now.Answer.Header = old.Answer.Header }), bundle.ReasonCheckpoint},
		"an old proof":               {altered(func(now, old *bundle.Reply) { now.Answer.Proof = old.Answer.Proof }), bundle.ReasonProof},
		"an old promise": {altered(func(now, old *bundle.Reply) {
			now.Answer.Promise, now.Answer.Salt = old.Answer.Promise, old.Answer.Salt
		}), bundle.ReasonPromise},
		"with an opening": {altered(func(now, _ *bundle.Reply) { now.Answer.Opening = &bundle.Opening{Subject: "P-0001", Nonce: "00"} }), bundle.ReasonHeader},
		"nothing":         {func([]byte) []byte { return nil }, bundle.ReasonEncoding},
		"both":            {func(b []byte) []byte { return append(bytes.Clone(b), b...) }, bundle.ReasonEncoding},
	} {
		w.members[civil].intercept = func(reply []byte, err error) ([]byte, error) { return c.reply(reply), err }
		result := w.ask(w.question("P-0001"))
		if result.Rejected != string(c.want) || result.Report != nil || result.Verdict != "" || result.State != requester.StateRefused {
			t.Errorf("%s: %+v, want %s", name, result, c.want)
			continue
		}
		w.members[civil].intercept = nil
		again, err := r.Resend(t.Context(), result.ID)
		w.check(err)
		if again.Verdict != "satisfied" || again.Rejected != "" {
			t.Errorf("%s: after it the true answer is %+v", name, again)
		}
	}
}

// TestQueriesAreNotReplayed sends what was asked once again: to whom it was sent it is the same query, with its one receipt and charge;
// to anybody else, from anybody else, with anything changed or when its time is over it is none.
func TestQueriesAreNotReplayed(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 3600})
	accept := w.furnish(peopleCSV, 10, 100)
	c := w.members[civil]
	var drafted bundle.Query
	var opening bundle.Opening
	request := w.request(w.question("P-0001"), func(q *bundle.Query, o *bundle.Opening) { drafted, opening = *q, *o })
	first, err := c.holder.Answer(t.Context(), benefits, request)
	w.check(err)
	again, err := c.holder.Answer(t.Context(), benefits, request)
	w.check(err)
	if !bytes.Equal(first, again) || c.holder.Used(accept) != 1 {
		t.Error("one query has two replies or charges")
	}
	for _, m := range []struct{ to, from, code string }{{civil, health, holder.CodeNotYours}, {health, benefits, holder.CodeElsewhere}} {
		_, err := w.members[m.to].holder.Answer(t.Context(), m.from, request)
		var r *holder.RequestError
		if !errors.As(err, &r) || r.Code() != m.code {
			t.Errorf("from %s to %s: %v", m.from, m.to, err)
		}
	}
	for name, change := range map[string]func(*bundle.Query){
		"another day":     func(q *bundle.Query) { q.AsOf = "2026-03-01" },
		"another case":    func(q *bundle.Query) { q.Case = "C-2" },
		"a longer life":   func(q *bundle.Query) { q.Expires = entry.FormatTime(w.now().Add(50 * time.Minute)) },
		"another purpose": func(q *bundle.Query) { q.Purpose = "curiosity" },
	} {
		q := drafted
		change(&q)
		signed, err := bundle.Sign(w.members[benefits].query, bundle.LabelQuery, &q)
		w.check(err)
		data, err := bundle.Encode(&bundle.Request{Query: signed, Opening: opening})
		w.check(err)
		if code := w.answer(benefits, data); code != holder.CodeReplayed {
			t.Errorf("the id with %s: %s", name, code)
		}
	}
	w.mu.Lock()
	w.offset = 3 * time.Hour
	w.mu.Unlock()
	c.halt()
	c.start()
	w.eventually("the holder's head is fresh", func() bool {
		head, ok := c.ledger.Final(w.config.Origin(civil))
		return ok && head.Times[0].After(w.now().Add(-10*time.Second))
	})
	if code := w.answer(benefits, request); code != holder.CodeExpired {
		t.Errorf("when its time is over: %s", code)
	}
	if c.holder.Used(accept) != 1 {
		t.Errorf("charged %d times", c.holder.Used(accept))
	}
}
