package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
)

// asked is one question as the test put it, and what came of it.
type asked struct{ subject, purpose, basis, policy, outcome string }

func (a asked) String() string {
	return strings.Join([]string{a.policy, a.purpose, a.basis, a.outcome}, "|")
}

// put asks one question over the real network and notes what came of it.
func (w *world) put(q api.Question) asked {
	w.t.Helper()
	a := asked{subject: q.Subject, purpose: q.Purpose, basis: q.LegalBasis, policy: q.Policy}
	answer, err := w.running[benefits].Ask(w.t.Context(), q)
	if err != nil {
		a.outcome = "refused|" + problemCode(err)
	} else {
		a.outcome = answer.Verdict + "|"
	}
	return a
}

// TestLogsOverTheNetwork asks over QUIC what is allowed and what is not, restarts both sides, and has the officers' files and the persons'
// files at holder and requester say exactly what was asked, refusals of each kind included.
func TestLogsOverTheNetwork(t *testing.T) {
	w := newWorldWith(t, slowBeats, civil, benefits)
	w.start(civil, benefits)
	w.furnish(2)
	change := func(f func(q *api.Question)) api.Question { q := question("P-0001"); f(&q); return q }
	all := []asked{
		w.put(question("P-0001", "town")),
		w.put(question("P-0002")),
		w.put(question("P-9999")), // in no dataset
		w.put(change(func(q *api.Question) { q.Purpose = "gossip" })),
		w.put(change(func(q *api.Question) { q.LegalBasis = "none" })),
		w.put(change(func(q *api.Question) { q.Disclose = []string{"age"} })),
	}
	w.halt(civil)
	w.halt(benefits)
	w.start(civil, benefits)
	all = append(all, w.put(question("P-0001")), w.put(question("P-0001")), // the second is over the budget
		w.put(change(func(q *api.Question) { q.Subject, q.Purpose = "p-0002", "gossip" })))
	var codes []string
	for _, a := range all {
		codes = append(codes, a.outcome)
	}
	want := []string{"satisfied|", "not_satisfied|", "no_record|", "refused|purpose_not_allowed", "refused|purpose_not_allowed",
		"refused|disclosure_not_allowed", "satisfied|", "refused|budget_exhausted", "refused|purpose_not_allowed"}
	if !slices.Equal(codes, want) {
		t.Fatalf("asked: %v\nwant:  %v", codes, want)
	}
	files := map[string]*trace.Report{}
	for _, m := range []string{civil, benefits} {
		files[m] = w.file(m)
		w.same(m+"'s officer", files[m], all)
		w.lists(m, all)
		for _, person := range []string{"P-0001", "P-0002", "P-9999", "P-7777"} {
			about := slices.DeleteFunc(slices.Clone(all), func(a asked) bool { return !strings.EqualFold(a.subject, person) })
			w.same(person+" at "+m, w.personLog(m, person), about)
		}
	}
	r, err := trace.Reconcile([]*network.Configuration{w.config}, files[civil].File, files[benefits].File)
	w.check(err)
	if len(r.Differences) != 0 || r.Compared != len(all) || r.Agreeing != len(all) {
		t.Errorf("%+v", r)
	}
	w.nothingBroken()
}

// file exports and verifies a member's file once all its receipts are shown.
func (w *world) file(member string) *trace.Report {
	w.t.Helper()
	var report *trace.Report
	w.eventually("the receipts are shown at "+member, func() bool {
		data, err := w.running[member].ExportReceipts(api.ReceiptExport{})
		w.check(err)
		if strings.Contains(string(data), "P-0001") || strings.Contains(string(data), "P-9999") {
			w.t.Errorf("the file of %s names a person", member)
		}
		report, err = trace.Verify([]*network.Configuration{w.config}, data)
		w.check(err)
		return report.Pending == 0
	})
	return report
}

// personLog issues a token, redeems it once, and not twice.
func (w *world) personLog(member, person string) *trace.Report {
	w.t.Helper()
	g := w.running[member]
	token, err := g.IssueToken(api.TokenRequest{Subject: strings.ToLower(person), Hours: 1})
	w.check(err)
	data, err := g.SubjectLog(api.LogRequest{Token: token.Token})
	w.check(err)
	if _, err := g.SubjectLog(api.LogRequest{Token: token.Token}); problemCode(err) != "no_such_token" {
		w.t.Errorf("redeemed twice: %v", err)
	}
	if len(data) != 64<<10 {
		w.t.Errorf("a log of %d bytes", len(data))
	}
	report, err := trace.Verify([]*network.Configuration{w.config}, data)
	w.check(err)
	w.check(report.About(w.config, person))
	if report.OfPerson != report.Records || strings.Contains(w.log.String(), token.Token) {
		w.t.Errorf("%+v", report)
	}
	return report
}

func (w *world) same(whose string, r *trace.Report, want []asked) {
	w.t.Helper()
	var have, expect []string
	for _, rec := range r.File.Records {
		q := rec.Asks()
		have = append(have, asked{purpose: q.Purpose, basis: q.LegalBasis, policy: q.Policy, outcome: rec.Outcome + "|" + rec.Code}.String())
	}
	for _, a := range want {
		expect = append(expect, a.String())
	}
	slices.Sort(have)
	slices.Sort(expect)
	if !slices.Equal(have, expect) {
		w.t.Errorf("the log of %s:\nhave %s\nwant %s", whose, strings.Join(have, "\n     "), strings.Join(expect, "\n     "))
	}
}

// lists looks at what the officer sees without a file, and narrows it down.
func (w *world) lists(member string, all []asked) {
	w.t.Helper()
	for _, c := range []struct {
		q    api.ReceiptQuery
		want int
	}{
		{api.ReceiptQuery{Limit: 100}, len(all)}, {api.ReceiptQuery{Limit: 2}, 2}, {api.ReceiptQuery{Limit: 100, Outcome: "refused"}, 5},
		{api.ReceiptQuery{Limit: 100, Outcome: "purpose_not_allowed"}, 3}, {api.ReceiptQuery{Limit: 100, Peer: "GOV/nobody"}, 0},
		{api.ReceiptQuery{Limit: 100, Broken: true}, 0}, {api.ReceiptQuery{Limit: 100, Until: "2020-01-01T00:00:00Z"}, 0},
	} {
		list, err := w.running[member].Receipts(c.q)
		w.check(err)
		if len(list) != c.want {
			w.t.Errorf("%s: %+v lists %d, want %d", member, c.q, len(list), c.want)
		}
		for _, r := range list {
			if r.Receipt != "logged" || r.Peer == member || r.Role != map[string]string{civil: "answered", benefits: "asked"}[member] {
				w.t.Errorf("%+v", r)
			}
		}
	}
	for _, bad := range []error{second(w.running[member].Receipts(api.ReceiptQuery{Since: "today"})),
		second(w.running[member].ExportReceipts(api.ReceiptExport{Peer: member})),
		second(w.running[member].SubjectLog(api.LogRequest{Token: "guess"})), second(w.running[member].IssueToken(api.TokenRequest{Subject: "Jane Doe", Hours: 1}))} {
		if code := problemCode(bad); !slices.Contains([]string{"invalid_request", "unknown_peer", "no_such_token", "no_token"}, code) ||
			strings.Contains(fmt.Sprint(bad), "Jane") {
			w.t.Errorf("%v", bad)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func (w *world) nothingBroken() {
	w.t.Helper()
	for _, m := range []string{civil, benefits} {
		if s := w.running[m].Status(); s.BrokenPromises != 0 || s.BrokenToUs != 0 {
			w.t.Errorf("%s: %+v", m, s)
		}
	}
	for _, private := range []string{"P-0001", "p-0001", "P-9999", "Jane", "case 7"} {
		if strings.Contains(w.log.String(), private) {
			w.t.Errorf("the logs hold %q", private)
		}
	}
}

// TestBrokenPromiseAlertsBothSides: a holder that stops before its batch is logged breaks its promise. The requester's gateway says so in
// its log, its metrics and its status while the holder is away; the holder's own says so once it is back.
func TestBrokenPromiseAlertsBothSides(t *testing.T) {
	w := newWorldWith(t, func(p *network.Params) { p.BeatSeconds, p.FreshnessSeconds = 2, 3 }, civil, benefits)
	w.start(civil, benefits)
	w.furnish(2)
	w.eventually("a beat begins", func() bool { return time.Now().UnixNano()%int64(2*time.Second) < int64(200*time.Millisecond) })
	if a := w.put(question("P-0001")); a.outcome != "satisfied|" {
		t.Fatal(a)
	}
	w.halt(civil) // the beat is not over
	w.eventually("the requester counts it", func() bool { return w.running[benefits].Status().BrokenToUs == 1 })
	w.start(civil)
	w.eventually("the holder counts it", func() bool { return w.running[civil].Status().BrokenPromises == 1 })
	for m, line := range map[string]string{civil: `grille_promises_broken_total{member="GOV/benefits",side="own"} 1`,
		benefits: `grille_promises_broken_total{member="GOV/civil",side="holder"} 1`} {
		rec := httptest.NewRecorder()
		w.running[m].metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if !strings.Contains(rec.Body.String(), line+"\n") {
			t.Errorf("the metrics of %s do not hold %s", m, line)
		}
		list, err := w.running[m].Receipts(api.ReceiptQuery{Limit: 10, Broken: true})
		w.check(err)
		if len(list) != 1 || list[0].Receipt != "broken" {
			t.Errorf("%s lists %+v", m, list)
		}
	}
	if n := strings.Count(w.log.String(), "level=ERROR msg=\"receipt promise broken"); n != 2 {
		t.Errorf("%d alerts", n)
	}
}
