package gateway

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/client"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/prover"
)

// rest is a client of a member's REST interface, with its token.
func (w *world) rest(member string) *client.Client {
	w.t.Helper()
	f := w.folder(member)
	c, err := config.Load(f)
	w.check(err)
	token, err := os.ReadFile(f.Token())
	w.check(err)
	r := client.New("http://"+c.API.Listen, strings.TrimSpace(string(token)), nil)
	w.t.Cleanup(r.HTTP.CloseIdleConnections)
	return r
}

// on starts all gateways again at noon of a later day.
func (w *world) on(day string) {
	w.t.Helper()
	at, err := entry.ParseDate(day)
	w.check(err)
	w.halt(civil)
	w.halt(benefits)
	w.ahead.Store(int64(time.Until(at.Add(12 * time.Hour))))
	w.start(civil, benefits)
}

const titles = "dataset: titles\ntitle: Land titles\nscheme: person\nid: {column: parcel}\ncolumns:\n  - {name: owner, type: text}\n" +
	"  - {name: since, type: date}\n"

const settled = "policy: settled\nversion: 1\ndataset: titles\ntitle: Settled\nquestion: Has the owner had it for ten days?\nwhen: days_since(since) >= 10\n"

// TestWhoOwnedItOnTheFirstOfMarch keeps a land register through two sales and asks for its history over REST. The answers verify
// offline, and say whose the parcel was.
func TestWhoOwnedItOnTheFirstOfMarch(t *testing.T) {
	w := newWorldWith(t, func(p *network.Params) { p.BeatSeconds = 3600 }, civil, benefits)
	w.ahead.Store(int64(time.Until(time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC))))
	w.start(civil, benefits)
	ctx, h, r := t.Context(), w.rest(civil), w.rest(benefits)
	w.check(h.Send(ctx, "/v1/datasets", "application/yaml", strings.NewReader(titles), nil))
	owned := func(owner, since string) {
		w.check(h.Send(ctx, "/v1/datasets/titles/epochs", "text/csv", strings.NewReader("parcel,owner,since\nP-0042,"+owner+","+since+"\n"), nil))
	}
	owned("Ada Lovelace", "2019-05-02")
	w.check(h.Send(ctx, "/v1/policies", "application/yaml", strings.NewReader(settled), nil))
	w.eventually("the policy arrives", func() bool { return len(w.running[benefits].Policies()) == 1 })
	var offer api.Reference
	terms := api.Offer{Holder: civil, Policy: "settled", Version: 1, Purpose: "probate", LegalBasis: "law", Disclose: []string{"owner"},
		AsOfFrom: "2026-01-01", AsOfTo: "2026-12-31", PerSubject: 4, Total: 100, Expires: "2036-01-01T00:00:00Z"}
	w.check(r.Post(ctx, "/v1/agreements", terms, &offer))
	w.eventually("the offer arrives", func() bool { return len(w.running[civil].Agreements().Offers) == 1 })
	w.check(h.Post(ctx, "/v1/agreements/accept", api.Reference{Origin: offer.Origin, Index: offer.Index}, nil))
	w.eventually("the right arrives", func() bool { return len(w.running[benefits].Agreements().Rights) == 1 })
	if right := w.running[benefits].Agreements().Rights[0]; right.Terms.AsOfFrom != terms.AsOfFrom || right.Terms.AsOfTo != terms.AsOfTo {
		t.Errorf("the right is for %s to %s", right.Terms.AsOfFrom, right.Terms.AsOfTo)
	}
	w.on("2026-02-27")
	owned("Grace Hopper", "2026-02-27")
	w.on("2026-03-20")
	owned("Sofja Kowalewskaja", "2026-03-20")
	w.on("2026-04-02")

	verifier, err := prover.NewVerifier(w.keys.VerifyingKey())
	w.check(err)
	offline := &bundle.Verifier{Config: w.config, Proofs: bundle.VerifyingKeys{verifier}}
	ask := func(day string, epoch uint64, columns ...string) (*api.Answer, error) {
		var a api.Answer
		err := r.Post(ctx, "/v1/queries", api.Question{Holder: civil, Policy: "settled", Subject: "P-0042", Purpose: "probate", LegalBasis: "law",
			Disclose: columns, AsOf: day, Epoch: epoch}, &a)
		return &a, err
	}
	for _, c := range []struct {
		day            string
		epoch          uint64
		owner, verdict string
		number         uint64
	}{
		{"2026-02-26", 0, "Ada Lovelace", "satisfied", 1},
		{"2026-03-01", 0, "Grace Hopper", "not_satisfied", 2},
		{"", 2, "Grace Hopper", "not_satisfied", 2},
		{"", 0, "Sofja Kowalewskaja", "satisfied", 3},
	} {
		a, err := ask(c.day, c.epoch, "owner")
		w.check(err)
		if a.Verdict != c.verdict || a.Epoch != c.number || len(a.Disclosed) != 1 || a.Disclosed[0].Text != c.owner || c.day != "" && a.AsOf != c.day {
			t.Errorf("on %q, epoch %d: %+v", c.day, c.epoch, a)
		}
		var data []byte
		w.check(r.Get(ctx, "/v1/answers/"+a.ID, &data))
		report, err := offline.Verify(data)
		w.check(err)
		if report.Disclosed[0].Text != c.owner || report.AsOf != a.AsOf || report.Verdict.String() != c.verdict {
			t.Errorf("on %q, epoch %d, offline: %+v", c.day, c.epoch, report)
		}
	}
	for code, q := range map[string]func() (*api.Answer, error){
		"as_of_not_allowed":      func() (*api.Answer, error) { return ask("2025-12-31", 0) },
		"before_first_epoch":     func() (*api.Answer, error) { return ask("2026-01-31", 0) },
		"unknown_epoch":          func() (*api.Answer, error) { return ask("", 9) },
		"disclosure_not_allowed": func() (*api.Answer, error) { return ask("2026-03-01", 0, "since") },
		"budget_exhausted":       func() (*api.Answer, error) { return ask("2026-03-02", 0) }, // the fifth day
		"question":               func() (*api.Answer, error) { return ask("2026-02-29", 0) },
		api.CodeInvalid:          func() (*api.Answer, error) { return ask("yesterday", 0) },
	} {
		if _, err := q(); problemCode(err) != code {
			t.Errorf("%v, want %s", err, code)
		}
	}
}

// TestRevokeUnderLoadOverREST revokes a right over REST while questions are asked over REST: what was under way is answered or refused,
// whoever asks after the call returned is refused, and answers alone are charged.
func TestRevokeUnderLoadOverREST(t *testing.T) {
	w := newWorld(t, civil, benefits)
	w.start(civil, benefits)
	w.furnish(50)
	h, r := w.rest(civil), w.rest(benefits)
	right := w.running[benefits].Agreements().Rights[0]
	const before, after = 14, 4
	outcomes := make(chan string, before+after)
	var all sync.WaitGroup
	ask := func(n int) {
		for i := range n {
			all.Go(func() {
				err := r.Post(t.Context(), "/v1/queries", question(fmt.Sprintf("P-%04d", i)), nil)
				if err == nil {
					outcomes <- "answered"
				} else {
					outcomes <- problemCode(err)
				}
			})
		}
	}
	ask(before)
	told := map[string]int{<-outcomes: 1}
	w.check(h.Post(t.Context(), "/v1/agreements/revoke", map[string]any{"accept": right.Index, "reason": "over"}, nil))
	ask(after)
	all.Wait()
	close(outcomes)
	for o := range outcomes {
		told[o]++
	}
	t.Log(told)
	ended := told["right_ended"] + told["no_agreement"]
	if told["answered"]+ended != before+after || told["answered"] < 1 || told["right_ended"] < 1 || told["no_agreement"] < after {
		t.Errorf("%v", told)
	}
	if charged := w.running[civil].holder.Used(right.Index); charged != told["answered"] {
		t.Errorf("%d answers, %d charged", told["answered"], charged)
	}
}
