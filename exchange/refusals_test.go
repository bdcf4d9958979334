package exchange_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// TestEveryKindOfRefusalIsLogged draws refusals of many kinds, some of them with requests that no gateway of this program would send, and
// finds each once in the holder's file, in the requester's if that asked, and in the log of the person that the request is about.
func TestEveryKindOfRefusalIsLogged(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 4})
	w.scoped(10, 100, "2026")
	used := w.ask(w.question("P-0001")).ID
	w.ask(w.claiming("P-0001", "2026"))
	time.Sleep(2 * time.Second) // the epoch is older than a second
	asked := map[string]requester.Question{"budget_exhausted": w.question("P-0001"), "claimed": w.claiming("P-0001", "2026"),
		"unknown_scope": w.claiming("P-0001", "1999")}
	for code, change := range map[string]func(q *requester.Question){
		"purpose_not_allowed":    func(q *requester.Question) { q.Purpose = "curiosity" },
		"disclosure_not_allowed": func(q *requester.Question) { q.Disclose = []string{"income"} },
		"as_of_not_allowed":      func(q *requester.Question) { q.AsOf = "2020-01-01" },
		"stale_epoch":            func(q *requester.Question) { q.MaxAge = time.Second },
	} {
		q := w.question("P-0001")
		change(&q)
		asked[code] = q
	}
	for code, q := range asked {
		if r := w.ask(q); r.Refusal != code || r.Rejected != "" {
			t.Fatalf("%+v, want %s", r, code)
		}
	}
	bare := map[string]func(*bundle.Query, *bundle.Opening){
		holder.CodeUnknownPolicy: func(q *bundle.Query, _ *bundle.Opening) { q.Policy = "aged-90" },
		holder.CodeReplayed:      func(q *bundle.Query, _ *bundle.Opening) { q.ID = used },
		holder.CodeSubject:       func(_ *bundle.Query, o *bundle.Opening) { o.Subject = "Jane Doe" },
		holder.CodeOpening:       func(_ *bundle.Query, o *bundle.Opening) { o.Subject = "P-0002" },
		holder.CodeExpired: func(q *bundle.Query, _ *bundle.Opening) {
			q.Issued, q.Expires = entry.FormatTime(w.now().Add(-time.Hour)), entry.FormatTime(w.now().Add(-time.Minute))
		},
	}
	for code, change := range bare {
		_, err := w.members[civil].holder.Answer(t.Context(), benefits, w.request(w.claiming("P-0001", "2026"), change))
		w.check(err)
		if got := w.newestCode(t); got != code {
			t.Errorf("the list's newest is %q, want %s", got, code)
		}
	}
	w.allLogged(t, civil, benefits)
	theirs := slices.Collect(maps.Keys(asked))
	all := slices.Concat(theirs, slices.Collect(maps.Keys(bare)))
	hers, ours := w.export(t, civil), w.export(t, benefits)
	sameCodes(t, "the holder's file", hers, append(all, "", "")) // and two answers
	sameCodes(t, "the requester's file", ours, append(theirs, "", ""))
	r, err := trace.Reconcile([]*network.Configuration{w.config}, hers.File, ours.File)
	w.check(err)
	if len(r.Differences) != len(bare) || r.Agreeing != len(asked)+2 {
		t.Errorf("%+v", r)
	}
	elsewhere := func(code string) bool { return code == holder.CodeSubject || code == holder.CodeOpening }
	mine, opened := w.logOf(t, "P-0001")
	sameCodes(t, "the person's log", mine, append(slices.DeleteFunc(slices.Clone(all), elsewhere), "", ""))
	if opened != mine.Records {
		t.Errorf("%d of %d tags are the person's", opened, mine.Records)
	}
	named, opened := w.logOf(t, "P-0002")
	sameCodes(t, "the log of a person named under another's tag", named, []string{holder.CodeOpening})
	if opened != 0 || named.Unopened != 1 {
		t.Errorf("%+v", named)
	}
}

// newestCode is the code of what the holder recorded last.
func (w *world) newestCode(t *testing.T) string {
	t.Helper()
	code := ""
	w.check(w.members[civil].holder.Traces(nil, func(r *trace.Record) error { code = r.Code; return nil }))
	return code
}

func (w *world) logOf(t *testing.T, person string) (*trace.Report, int) {
	t.Helper()
	token, _, err := w.members[civil].officer.Issue("", person, time.Hour)
	w.check(err)
	data, err := w.members[civil].officer.SubjectLog(token, "", "")
	w.check(err)
	report := w.verified(t, data)
	w.check(report.About(w.config, person))
	return report, report.OfPerson
}

func sameCodes(t *testing.T, what string, r *trace.Report, want []string) {
	t.Helper()
	var have []string
	for _, rec := range r.File.Records {
		have = append(have, rec.Code)
	}
	want = slices.Clone(want)
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("%s has %q, want %q", what, have, want)
	}
}
