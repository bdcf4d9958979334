package exchange_test

import (
	"crypto/ed25519"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// onDay asks about a day of the epoch before.
func onDay(s *stage) {
	next := atEpoch
	s.query.AsOf, s.header.AsOf, s.header.Epoch, s.header.Next, s.people = "2026-01-15", "2026-01-15", atEpoch1, &next, s.before
}

// byNumber asks the epoch before by its number.
func byNumber(s *stage) {
	s.query.Epoch, s.query.MaxAgeSeconds = 1, 0
	s.header.AsOf, s.header.Epoch, s.people = "2025-12-15", atEpoch1, s.before
}

// answeredAt moves the answer, its cosignatures and its promise; the query is issued as it was.
func answeredAt(s *stage, t time.Time) {
	later := t.Sub(vectorNow)
	for m := range s.times {
		s.times[m] = s.times[m].Add(later)
	}
	s.header.Time, s.header.AsOf = vectorTime(t), bundle.AsOfDate(t)
	s.promise.Beat = receipt.BeatAt(t, time.Minute)
	s.promise.Deadline = vectorTime(receipt.Deadline(s.promise.Beat, time.Minute))
}

// granting changes the agreement's terms.
func granting(f func(t *entry.Terms)) func(s *stage) {
	return func(s *stage) {
		alter(s, atAgreement, func(e *entry.AgreementAccept) { f(&e.Terms) })
	}
}

// badTerms are queries that the agreement does not allow.
var badTerms = []vector{
	{name: "terms-purpose", about: "another purpose", alter: asking(func(q *bundle.Query) { q.Purpose += "." })},
	{name: "terms-legal-basis", about: "another legal basis", alter: asking(func(q *bundle.Query) { q.LegalBasis = "42 CFR 435.949" })},
	{name: "terms-column", about: "a column that the agreement does not name", alter: func(s *stage) {
		s.query.Disclose = []string{"income", "town"}
		granting(func(t *entry.Terms) { t.Disclose = []string{"town"} })(s)
	}},
	{name: "terms-day-before", about: "a day before those that the agreement allows", alter: func(s *stage) {
		onDay(s)
		granting(func(t *entry.Terms) { t.AsOfFrom = "2026-01-16" })(s)
	}},
	{name: "terms-day-after", about: "a day after those that the agreement allows", alter: func(s *stage) {
		onDay(s)
		granting(func(t *entry.Terms) { t.AsOfTo = "2026-01-14" })(s)
	}},
	{name: "terms-today", about: "today, by its date, where the agreement allows no days", alter: func(s *stage) {
		s.query.AsOf = "2026-03-01"
		granting(func(t *entry.Terms) { t.AsOfFrom, t.AsOfTo = "", "" })(s)
	}},
	{name: "terms-epoch-day", about: "an epoch whose day is before those that the agreement allows", alter: func(s *stage) {
		byNumber(s)
		granting(func(t *entry.Terms) { t.AsOfFrom = "2025-12-16" })(s)
	}},
	{name: "terms-scope", about: "a claim under a program that the agreement does not name", alter: func(s *stage) {
		claims(s)
		granting(func(t *entry.Terms) { t.Scope = "summer-heat" })(s)
	}},
	{name: "terms-no-such-column", about: "a column that the agreement names and the dataset does not have", alter: asking(func(q *bundle.Query) {
		q.Disclose = []string{"salary"}
	})},
}

func init() {
	// The agreement names the column; all vectors have one agreement, so it is changed here.
	last := &badTerms[len(badTerms)-1]
	ask := last.alter
	last.alter = func(s *stage) {
		ask(s)
		granting(func(t *entry.Terms) { t.Disclose = []string{"salary"} })(s)
	}
}

// badHeaders are not signed by the holder, or answer another query.
var badHeaders = []vector{
	{name: "header-signature-other", about: "another member signed the header", alter: func(s *stage) { s.headerKey = queryKey(tax) }},
	{name: "header-signature-label", about: "the header's text was signed as a query", alter: func(s *stage) {
		s.onBundle = func(b *bundle.Bundle) {
			b.Header.Signature = b64(ed25519.Sign(queryKey(civil), []byte(bundle.LabelQuery+"\n"+b.Header.Body)))
		}
	}},
	{name: "header-query", about: "the header is for another query", alter: func(s *stage) {
		s.onHeader = func(h *bundle.Header) { h.Query = vectorSalt("query") }
	}},
	{name: "header-query-missing", about: "the header names no query", alter: func(s *stage) {
		s.headerBody = func(body string) string { return s.replace(body, `"query":"`+s.header.Query.String()+`",`, "") }
	}},
	{name: "encoding-header-query-null", about: "the header names a query by null", reason: bundle.ReasonEncoding, alter: func(s *stage) {
		s.headerBody = func(body string) string {
			return s.replace(body, `"query":"`+s.header.Query.String()+`",`, `"query":null,`)
		}
	}},
	{name: "header-version", about: "version 2 of the header", alter: func(s *stage) { s.header.Version = 2 }},
}

// badTimes are not of the time of the cosignatures and the query.
var badTimes = []vector{
	{name: "times-form", about: "the header's time in another zone's spelling", alter: func(s *stage) { s.header.Time = "2026-03-01T12:00:01+00:00" }},
	{name: "times-before", about: "the header's time is a second before the median of the cosignatures", alter: func(s *stage) {
		s.header.Time = vectorTime(vectorNow.Add(-time.Second))
	}},
	{name: "times-after", about: "the header's time is 36 s after the median", alter: func(s *stage) {
		s.header.Time = vectorTime(vectorNow.Add(36 * time.Second))
	}},
	{name: "times-apart", about: "36 s between the first and the last cosignature", alter: func(s *stage) {
		s.times[benefits], s.times[health] = vectorNow.Add(-18*time.Second), vectorNow.Add(18*time.Second)
	}},
	{name: "times-before-query", about: "the median is 36 s before the query was issued", alter: func(s *stage) {
		s.query.Issued, s.query.Expires = vectorTime(vectorNow.Add(36*time.Second)), vectorTime(vectorNow.Add(time.Hour))
	}},
	{name: "times-after-query", about: "the header's time is 6 s after the query expired", alter: func(s *stage) {
		s.query.Expires = vectorTime(vectorNow.Add(-6 * time.Second))
	}},
	{name: "times-as-of", about: "the as-of date is the day before the answer's", alter: func(s *stage) { s.header.AsOf = "2026-02-28" }},
	{name: "times-as-of-form", about: "the as-of date is no date", alter: func(s *stage) { s.header.AsOf = "1 March 2026" }},
	{name: "times-agreement", about: "the agreement had expired a second before the answer", alter: granting(func(t *entry.Terms) {
		t.Expires = vectorTime(vectorNow.Add(-time.Second))
	})},
}

// badDays answer about another day or epoch than was asked.
var badDays = []vector{
	{name: "as-of-next-unasked", about: "a next epoch, and no day was asked about", alter: func(s *stage) {
		next := atEpoch
		s.header.Epoch, s.header.Next, s.people = atEpoch1, &next, s.before
	}},
	{name: "as-of-next-of-number", about: "a next epoch, and an epoch was asked by its number", alter: func(s *stage) {
		byNumber(s)
		next := atEpoch
		s.header.Next = &next
	}},
	{name: "as-of-other-day", about: "the header is about another day than the query", alter: func(s *stage) { onDay(s); s.header.AsOf = "2026-01-16" }},
	{name: "as-of-epoch-day", about: "the header's day is not that of the epoch asked", alter: func(s *stage) { byNumber(s); s.header.AsOf = "2025-12-16" }},
	{name: "as-of-epoch-number", about: "another epoch than the number asked", alter: func(s *stage) { byNumber(s); s.query.Epoch = 3 }},
	{name: "as-of-future", about: "a day after that of the answer", alter: func(s *stage) {
		s.query.AsOf, s.header.AsOf = "2026-03-02", "2026-03-02"
	}},
	{name: "as-of-epoch-after", about: "an epoch that is dated after the day", alter: func(s *stage) {
		s.query.AsOf, s.header.AsOf = "2026-02-09", "2026-02-09"
	}},
	{name: "as-of-next-same-day", about: "a next epoch that is dated on the day asked about", alter: func(s *stage) {
		onDay(s)
		s.query.AsOf, s.header.AsOf = "2026-02-10", "2026-02-10"
	}},
	{name: "as-of-next-number", about: "a next epoch of no higher number", alter: func(s *stage) {
		onDay(s)
		alter(s, atEpoch, func(e *entry.DatasetEpoch) { e.Epoch = 1 })
	}},
	{name: "as-of-next-index", about: "a next epoch that stands before the epoch", alter: func(s *stage) {
		onDay(s)
		s.entries[atEpoch], s.entries[atEpoch1] = s.entries[atEpoch1], s.entries[atEpoch]
		next := atEpoch1
		s.header.Epoch, s.header.Next = atEpoch, &next
	}},
	{name: "as-of-next-future", about: "a next epoch that is dated 36 s after the answer", alter: func(s *stage) {
		answeredAt(s, time.Date(2026, 3, 1, 23, 59, 30, 0, time.UTC))
		s.query.Issued, s.query.Expires = "2026-03-01T23:59:00Z", "2026-03-02T00:29:00Z"
		onDay(s)
		alter(s, atEpoch, func(e *entry.DatasetEpoch) { e.Time = "2026-03-02T00:00:06Z" })
	}},
	{name: "as-of-backdated", about: "an epoch that is dated before a receipts batch that stands before it (with the log)", log: true, alter: func(s *stage) {
		s.query.AsOf, s.header.AsOf = "2026-02-20", "2026-02-20"
		alter(s, atOldBatch, func(e *entry.ReceiptsBatch) { e.Beat -= 1440; e.Time = "2026-02-28T12:00:01Z" })
	}},
	{name: "age-future", about: "an epoch that is dated 36 s after the answer", reason: bundle.ReasonAge, alter: func(s *stage) {
		alter(s, atEpoch, func(e *entry.DatasetEpoch) { e.Time = vectorTime(vectorNow.Add(36 * time.Second)) })
	}},
	{name: "age-old", about: "an epoch a second older than the query accepts", reason: bundle.ReasonAge, alter: func(s *stage) {
		s.query.MaxAgeSeconds = int64(vectorNow.Sub(time.Date(2026, 2, 10, 8, 0, 0, 0, time.UTC))/time.Second) - 1
	}},
	{name: "age-old-on-day", about: "an epoch a second older than the query accepts at the end of the day asked about", reason: bundle.ReasonAge, alter: func(s *stage) {
		onDay(s)
		s.query.MaxAgeSeconds = int64(time.Date(2026, 1, 16, 0, 0, 0, 0, time.UTC).Sub(time.Date(2025, 12, 15, 8, 0, 0, 0, time.UTC))/time.Second) - 1
	}},
}

// append1 appends an entry below the header's size and moves that.
func append1(s *stage, e any) {
	s.entries = append(s.entries, e)
	s.size++
}

// badCurrency are answers that do not rest on what was newest and in force.
var badCurrency = []vector{
	{name: "superseded-batch", about: "the last batch names a newer epoch", alter: func(s *stage) {
		batch := atBatch
		s.header.Batch = &batch
		alter(s, atBatch, func(e *entry.ReceiptsBatch) { e.Epochs = map[string]uint64{"people": atEpoch + 1} })
	}},
	{name: "superseded-newer", about: "the log holds a newer epoch", log: true, alter: func(s *stage) {
		append1(s, entry.DatasetEpoch{Dataset: "people", Declare: atDeclare, Epoch: 3, Root: s.entries[atEpoch].(entry.DatasetEpoch).Root, Time: "2026-02-28T08:00:00Z"})
	}},
	{name: "superseded-void", about: "the epoch is void: its number does not exceed the one before", log: true, alter: func(s *stage) {
		alter(s, atEpoch, func(e *entry.DatasetEpoch) { e.Epoch = 1 })
	}},
	{name: "superseded-day", about: "the log holds another epoch of that day", log: true, alter: func(s *stage) {
		onDay(s)
		s.entries[atOther] = entry.DatasetEpoch{Dataset: "people", Declare: atDeclare, Epoch: 0, Root: s.entries[atEpoch].(entry.DatasetEpoch).Root, Time: "2026-01-20T08:00:00Z"}
	}},
	{name: "superseded-day-next", about: "the header names no next epoch, and the log holds one", log: true, alter: func(s *stage) { onDay(s); s.header.Next = nil }},
	{name: "superseded-number", about: "the log holds another epoch of that number", log: true, alter: func(s *stage) {
		byNumber(s)
		s.entries[atOther] = entry.DatasetEpoch{Dataset: "people", Declare: atDeclare, Epoch: 1, Root: s.entries[atEpoch].(entry.DatasetEpoch).Root, Time: "2025-12-10T08:00:00Z"}
	}},
	{name: "superseded-group", about: "the log holds a newer version of the group", log: true, alter: func(s *stage) {
		asGroup(s)
		append1(s, entry.GroupDefine{Group: "partners", Version: 2, Members: []string{benefits}, Time: vectorTime(vectorNow)})
	}},
	{name: "superseded-beat", about: "the header does not name the last batch", log: true, alter: func(s *stage) {
		append1(s, entry.ReceiptsBatch{Beat: receipt.BeatAt(vectorNow, time.Minute) - 1, Root: vectorSalt("batch 3").String(), Time: vectorTime(vectorNow)})
	}},
	{name: "superseded-no-beat", about: "the header names no batch, and the log holds one", log: true, alter: func(s *stage) { s.header.Batch = nil }},
	{name: "in-force-policy", about: "the policy version is retired", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		append1(s, entry.PolicyRetire{Policy: "aged", Version: 1, Reason: "a new law", Time: vectorTime(vectorNow)})
	}},
	{name: "in-force-policy-second", about: "the policy entry is the second of its version, which is void", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		s.entries[atOther] = s.entries[atPolicy]
	}},
	{name: "in-force-policy-unapproved", about: "the first entry of the policy version lacks approvals and is void, so that this one counts; it is retired", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		s.entries[atOther] = s.entries[atPolicy]
		approving(s)
		approveAll(s, 0)
		append1(s, entry.PolicyRetire{Policy: "aged", Version: 1, Reason: "a new law", Time: vectorTime(vectorNow)})
	}},
	{name: "in-force-agreement", about: "the agreement is revoked", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		append1(s, entry.AgreementRevoke{Accept: atAgreement, Reason: "misuse", Time: vectorTime(vectorNow)})
	}},
	{name: "in-force-agreement-twice", about: "the agreement is the second acceptance of its offer, which is void", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		s.entries[atOther] = s.entries[atAgreement]
	}},
	{name: "in-force-scope-before", about: "the scope opens a second after the answer", reason: bundle.ReasonNotInForce, alter: func(s *stage) {
		claims(s)
		alter(s, atScope, func(e *entry.ScopeOpen) { e.Opens = vectorTime(vectorNow.Add(time.Second)) })
	}},
	{name: "in-force-scope-after", about: "the scope closed a second before the answer", reason: bundle.ReasonNotInForce, alter: func(s *stage) {
		claims(s)
		alter(s, atScope, func(e *entry.ScopeOpen) { e.Closes = vectorTime(vectorNow.Add(-time.Second)) })
	}},
	{name: "in-force-scope-closed", about: "the scope is closed below the header's size", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		claims(s)
		append1(s, entry.ScopeClose{Scope: atScope, Reason: "done", Time: vectorTime(vectorNow)})
	}},
	{name: "in-force-scope-key", about: "the scope's key commitment is of an earlier scope, so that this one is void", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		claims(s)
		earlier := s.entries[atScope].(entry.ScopeOpen)
		earlier.Period = "2025"
		s.entries[atOther] = earlier
	}},
	{name: "in-force-scope-second", about: "the scope is the second of its program and period, which is void", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		claims(s)
		s.entries[atOther] = s.entries[atScope]
	}},
	{name: "in-force-scope-fenced", about: "the scope was open on the holder's log that ended", reason: bundle.ReasonNotInForce, log: true, alter: func(s *stage) {
		claims(s)
		secondLog(s, s.entries[:atScope+1])
	}},
}
