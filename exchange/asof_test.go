package exchange_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

// on moves the clock of all members to noon of a later day, and waits until the ledger's time follows.
func (w *world) on(day string) {
	w.t.Helper()
	at, err := entry.ParseDate(day)
	w.check(err)
	w.mu.Lock()
	w.offset = time.Until(at.Add(12 * time.Hour))
	w.mu.Unlock()
	w.eventually("the ledger's time is "+day, func() bool {
		head, ok := w.members[w.holder].ledger.Final(w.config.Origin(w.holder))
		return ok && !head.Times[0].Before(at)
	})
}

const titles = `
dataset: titles
title: Land titles
scheme: person
id: {column: parcel}
columns:
  - {name: owner, type: text}
  - {name: since, type: date}
  - {name: charged, type: bool}
`

// settled asks about two days at once: those of the epoch's records and the one asked about.
const settled = `
policy: settled
version: 1
dataset: titles
title: Settled title
question: Has this parcel been with its owner for ten days, free of charges?
when: days_since(since) >= 10 && !charged
`

// register is a world whose holder keeps a register of titles: parcel P-0001 changes hands on 1 and on 20 March.
func register(t *testing.T, perSubject int, change func(*entry.Terms)) *world {
	t.Helper()
	w := newWorldWith(t, setting{beat: 3600, start: time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC)})
	h := w.members[civil].holder
	_, err := h.DeclareDataset(t.Context(), []byte(titles))
	w.check(err)
	w.record("P-0001,Ada Lovelace,2019-05-02,false\nP-0002,Emmy Noether,2001-01-01,true\n")
	d, err := policy.Parse([]byte(settled))
	w.check(err)
	index, err := h.PublishPolicy(t.Context(), d)
	w.check(err)
	origin := w.config.Origin(civil)
	w.eventually("the policy reaches the requester", func() bool {
		head, ok := w.members[benefits].ledger.Final(origin)
		return ok && head.Size > index
	})
	w.accept(w.offer(perSubject, 1000, func(t *entry.Terms) {
		t.Policy, t.Disclose = "settled", []string{"owner", "since"}
		if change != nil {
			change(t)
		}
	}))
	w.on("2026-03-01")
	w.record("P-0001,Grace Hopper,2026-03-01,false\nP-0002,Emmy Noether,2001-01-01,true\n")
	w.on("2026-03-20")
	w.record("P-0001,Sofja Kowalewskaja,2026-03-20,false\n")
	w.on("2026-04-02")
	return w
}

// record replaces the register's titles.
func (w *world) record(rows string) {
	w.t.Helper()
	_, _, err := w.members[civil].holder.Import(w.t.Context(), "titles", strings.NewReader("parcel,owner,since,charged\n"+rows), nil)
	w.check(err)
}

func (w *world) title(parcel, day string, epoch uint64, disclose ...string) requester.Question {
	return requester.Question{Holder: civil, Policy: "settled", Subject: parcel, Purpose: purpose, LegalBasis: basis, AsOf: day, Epoch: epoch,
		Disclose: disclose}
}

func ranged(from, to string) func(*entry.Terms) {
	return func(t *entry.Terms) { t.AsOfFrom, t.AsOfTo = from, to }
}

// TestLandTitleHistory asks who owned a parcel on a day, and of which epoch. What is shown is proved, to the requester with its replica
// and to a stranger with nothing.
func TestLandTitleHistory(t *testing.T) {
	t.Parallel()
	w := register(t, 100, ranged("2026-02-01", "2026-12-31"))
	for name, c := range map[string]struct {
		q              requester.Question
		verdict, owner string
		since, asOf    string
		epoch          uint64
	}{
		"a day after the first entry": {w.title("P-0001", "2026-02-10", 0, "owner", "since"), "satisfied", "Ada Lovelace", "2019-05-02", "2026-02-10", 1},
		"the day before the sale":     {w.title("P-0001", "2026-02-28", 0, "owner", "since"), "satisfied", "Ada Lovelace", "2019-05-02", "2026-02-28", 1},
		"1 March":                     {w.title("P-0001", "2026-03-01", 0, "owner", "since"), "not_satisfied", "Grace Hopper", "2026-03-01", "2026-03-01", 2},
		"nine days on":                {w.title("P-0001", "2026-03-10", 0, "owner", "since"), "not_satisfied", "Grace Hopper", "2026-03-01", "2026-03-10", 2},
		"ten days on":                 {w.title("P-0001", "2026-03-11", 0, "owner", "since"), "satisfied", "Grace Hopper", "2026-03-01", "2026-03-11", 2},
		"the last day of it":          {w.title("P-0001", "2026-03-19", 0, "owner", "since"), "satisfied", "Grace Hopper", "2026-03-01", "2026-03-19", 2},
		"the next sale":               {w.title("P-0001", "2026-03-20", 0, "owner", "since"), "not_satisfied", "Sofja Kowalewskaja", "2026-03-20", "2026-03-20", 3},
		"the present, by its day":     {w.title("P-0001", "2026-04-02", 0, "owner", "since"), "satisfied", "Sofja Kowalewskaja", "2026-03-20", "2026-04-02", 3},
		"the present":                 {w.title("P-0001", "", 0, "owner", "since"), "satisfied", "Sofja Kowalewskaja", "2026-03-20", "2026-04-02", 3},
		"the first epoch":             {w.title("P-0001", "", 1, "owner", "since"), "satisfied", "Ada Lovelace", "2019-05-02", "2026-02-10", 1},
		"the second epoch":            {w.title("P-0001", "", 2, "owner", "since"), "not_satisfied", "Grace Hopper", "2026-03-01", "2026-03-01", 2},
		"a charge":                    {w.title("P-0002", "2026-03-19", 0, "owner", "since"), "not_satisfied", "Emmy Noether", "2001-01-01", "2026-03-19", 2},
		"a parcel that is gone":       {w.title("P-0002", "2026-03-20", 0, "owner", "since"), "no_record", "", "", "2026-03-20", 3},
		"nothing disclosed":           {w.title("P-0001", "2026-03-01", 0), "not_satisfied", "", "", "2026-03-01", 2},
	} {
		result := w.ask(c.q)
		if result.Report == nil {
			t.Errorf("%s: %+v", name, result)
			continue
		}
		stranger, err := w.verify.Verify(w.bundle(result.ID, false))
		w.check(err)
		if result.Report.Currency != bundle.CurrencyReplica || stranger.Currency == bundle.CurrencyReplica {
			t.Errorf("%s: %q to the requester, %q to a stranger", name, result.Report.Currency, stranger.Currency)
		}
		for who, r := range map[string]*bundle.Report{"requester": result.Report, "stranger": stranger} {
			var owner, since string
			if len(r.Disclosed) > 0 {
				owner, since = r.Disclosed[0].Text, r.Disclosed[1].Text
			}
			if r.Verdict.String() != c.verdict || owner != c.owner || since != c.since || r.AsOf != c.asOf || r.Epoch != c.epoch ||
				len(r.Disclosed) != len(c.q.Disclose) {
				t.Errorf("%s, %s: %v by %q since %q on %s, epoch %d", name, who, r.Verdict, owner, since, r.AsOf, r.Epoch)
			}
		}
	}
}

// TestRefusedDaysAndEpochs: each is a typed refusal, signed and receipted, and costs nothing.
func TestRefusedDaysAndEpochs(t *testing.T) {
	t.Parallel()
	w := register(t, 100, ranged("2026-02-05", "2026-12-31"))
	c := w.members[civil]
	_, err := c.holder.DeclareDataset(t.Context(), []byte(strings.Replace(titles, "charged, type: bool", "lien, type: bool", 1)))
	w.check(err)
	_, _, err = c.holder.Import(t.Context(), "titles", strings.NewReader("parcel,owner,since,lien\nP-0001,Sofja Kowalewskaja,2026-03-20,true\n"), nil)
	w.check(err)
	day := func(s string) func(*bundle.Query) { return func(q *bundle.Query) { q.AsOf = s } }
	number := func(n uint64) func(*bundle.Query) { return func(q *bundle.Query) { q.Epoch = n } }
	refused := func(name, want string, change func(*bundle.Query)) {
		t.Helper()
		reply, err := c.holder.Answer(t.Context(), benefits, w.request(w.title("P-0001", "", 0), func(q *bundle.Query, _ *bundle.Opening) { change(q) }))
		w.check(err)
		r, err := bundle.DecodeReply(reply)
		w.check(err)
		if r.Refusal == nil {
			t.Errorf("%s: answered", name)
			return
		}
		key, err := bundle.Key(w.config, civil)
		w.check(err)
		var no bundle.Refusal
		w.check(r.Refusal.Refusal.Open(key, bundle.LabelRefusal, &no))
		var p receipt.Promise
		w.check(r.Refusal.Promise.Open(key, bundle.LabelPromise, &p))
		if p.Receipt != receipt.Digest(r.Refusal.Salt, no.Query, receipt.OutcomeRefused, r.Refusal.Refusal.Digest(bundle.LabelRefusal)) {
			t.Errorf("%s: the promise is of another refusal", name)
		}
		if no.Code != want || no.Message == "" {
			t.Errorf("%s: %+v, want %s", name, no, want)
		}
	}
	refused("before the range", "as_of_not_allowed", day("2026-02-04"))
	refused("after the range", "as_of_not_allowed", day("2027-01-01"))
	refused("in the range, and to come", "as_of_not_allowed", day("2026-04-03"))
	refused("before the first epoch", holder.CodeBeforeFirst, day("2026-02-09"))
	refused("no such epoch", holder.CodeUnknownEpoch, number(99))
	refused("the epoch of another schema, by its day", holder.CodeOtherSchema, day("2026-04-02"))
	refused("the epoch of another schema", holder.CodeOtherSchema, number(4))
	refused("older at the day's end than accepted", holder.CodeStaleEpoch, func(q *bundle.Query) { q.AsOf, q.MaxAgeSeconds = "2026-03-19", 86400 })
	c.datasets.Keep(3)
	w.recordAs("lien")
	refused("an epoch that is no longer kept, by its day", holder.CodeNotRetained, day("2026-02-28"))
	refused("an epoch that is no longer kept", holder.CodeNotRetained, number(1))
	if used := c.holder.Used(c.ledger.View(w.config.Origin(civil), ^uint64(0)).Agreements()[0].Index); used != 0 {
		t.Errorf("%d refusals were charged", used)
	}
}

// recordAs commits one more state, of the schema with that third column.
func (w *world) recordAs(column string) {
	w.t.Helper()
	_, _, err := w.members[civil].holder.Import(w.t.Context(), "titles", strings.NewReader("parcel,owner,since,"+column+"\nP-0001,X,2026-03-20,true\n"), nil)
	w.check(err)
}

// TestDaysNeedARange: without one, the present is all that an agreement lets be asked, even by its own date.
func TestDaysNeedARange(t *testing.T) {
	t.Parallel()
	w := register(t, 100, nil)
	for _, q := range []requester.Question{w.title("P-0001", "2026-03-01", 0), w.title("P-0001", "2026-04-02", 0), w.title("P-0001", "", 3)} {
		if r := w.ask(q); r.Refusal != "as_of_not_allowed" {
			t.Errorf("%q, epoch %d: %+v", q.AsOf, q.Epoch, r)
		}
	}
	if r := w.ask(w.title("P-0001", "", 0)); r.Verdict != "satisfied" {
		t.Errorf("the present: %+v", r)
	}
	for name, change := range map[string]func(*requester.Question){
		"both":              func(q *requester.Question) { q.AsOf, q.Epoch = "2026-03-01", 1 },
		"not a date":        func(q *requester.Question) { q.AsOf = "1 March" },
		"no such day":       func(q *requester.Question) { q.AsOf = "2026-02-29" },
		"age of a number":   func(q *requester.Question) { q.Epoch, q.MaxAge = 1, time.Hour },
		"number beyond all": func(q *requester.Question) { q.Epoch = 1 << 53 },
		"claim for a day": func(q *requester.Question) {
			q.AsOf, q.Scope = "2026-03-01", &bundle.Scope{Program: fuel, Period: "2026"}
		},
		"claim by a number": func(q *requester.Question) { q.Epoch, q.Scope = 1, &bundle.Scope{Program: fuel, Period: "2026"} },
	} {
		q := w.title("P-0001", "", 0)
		change(&q)
		if _, _, err := w.members[benefits].requester.Draft(q); err == nil || !strings.Contains(err.Error(), requester.ErrQuestion.Error()) {
			t.Errorf("%s: %v", name, err)
		}
		request := w.request(w.title("P-0001", "", 0), func(b *bundle.Query, _ *bundle.Opening) {
			b.AsOf, b.Epoch, b.MaxAgeSeconds, b.Scope = q.AsOf, q.Epoch, int64(q.MaxAge/time.Second), q.Scope
		})
		_, err := w.members[civil].holder.Answer(t.Context(), benefits, request)
		var r *holder.RequestError
		if !errors.As(err, &r) || r.Code() != holder.CodeMalformed {
			t.Errorf("%s, signed all the same: %v", name, err)
		}
	}
}

// TestEachDayIsCharged: shifting the day would find out when something changed.
func TestEachDayIsCharged(t *testing.T) {
	t.Parallel()
	w := register(t, 3, ranged("2026-02-01", ""))
	for _, q := range []requester.Question{w.title("P-0001", "2026-03-01", 0), w.title("P-0001", "2026-03-02", 0), w.title("P-0001", "", 1)} {
		if r := w.ask(q); r.Report == nil {
			t.Fatalf("%+v", r)
		}
	}
	w.members[civil].halt()
	w.members[civil].start()
	for _, q := range []requester.Question{w.title("P-0001", "2026-03-03", 0), w.title("P-0001", "", 2), w.title("P-0001", "", 0)} {
		if r := w.ask(q); r.Refusal != holder.CodeBudget {
			t.Errorf("beyond the budget: %+v", r)
		}
	}
	if r := w.ask(w.title("P-0002", "2026-03-03", 0)); r.Report == nil {
		t.Errorf("another subject: %+v", r)
	}
}

// TestHeadersAboutAnotherDay has the holder name other epochs and days than the query asks for, with everything else made for it.
func TestHeadersAboutAnotherDay(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 3600, start: time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC), terms: ranged("2026-02-01", "")})
	w.furnish(peopleCSV, 10, 100)
	for _, day := range []string{"2026-03-01", "2026-03-20", "2026-04-02"} {
		w.on(day)
		if day != "2026-04-02" {
			w.importCSV(peopleCSV)
		}
	}
	c := w.members[civil]
	_, err := c.holder.DeclareDataset(t.Context(), []byte(titles))
	w.check(err)
	w.record("P-0001,Ada Lovelace,2019-05-02,false\n")
	v := c.ledger.View(w.config.Origin(civil), ^uint64(0))
	var epochs []uint64 // indexes
	for n := range uint64(3) {
		_, index, _ := v.EpochNumber("people", n+1)
		epochs = append(epochs, index)
	}
	_, other, _ := v.Epoch("titles")
	_, declared, _ := v.Dataset("titles")
	replica := *w.verify
	replica.Replica = c.ledger
	day := func(s string) func(*requester.Question) { return func(q *requester.Question) { q.AsOf = s } }
	number := func(n uint64) func(*requester.Question) { return func(q *requester.Question) { q.Epoch = n } }
	head := func(asOf string, epoch uint64, next ...uint64) func(*bundle.Header) {
		return func(h *bundle.Header) {
			h.AsOf, h.Epoch = asOf, epoch
			if len(next) > 0 {
				h.Next = &next[0]
			}
		}
	}
	const mid, good = "2026-03-05", bundle.ReasonProof // nothing is left to refuse but the proof that was not made
	for name, c := range map[string]struct {
		asking        func(*requester.Question)
		header        func(*bundle.Header)
		alone, logged bundle.Reason // to a stranger, and with the log
	}{
		"as it is":                    {day(mid), head(mid, epochs[1], epochs[2]), good, good},
		"the newest, by its day":      {day("2026-04-01"), head("2026-04-01", epochs[2]), good, good},
		"by number":                   {number(2), head("2026-03-01", epochs[1]), good, good},
		"about today":                 {day(mid), head("2026-04-02", epochs[1], epochs[2]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"about another day":           {day(mid), head("2026-03-06", epochs[1], epochs[2]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"an epoch after the day":      {day(mid), head(mid, epochs[2]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"the epoch before":            {day(mid), head(mid, epochs[0], epochs[1]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"one epoch left out":          {day(mid), head(mid, epochs[0], epochs[2]), good, bundle.ReasonSuperseded},
		"the next one left out":       {day(mid), head(mid, epochs[1]), good, bundle.ReasonSuperseded},
		"a next one before":           {day(mid), head(mid, epochs[1], epochs[0]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"itself as the next one":      {day(mid), head(mid, epochs[1], epochs[1]), bundle.ReasonInclusion, bundle.ReasonInclusion},
		"a dataset as the next one":   {day(mid), head(mid, epochs[1], declared), bundle.ReasonReference, bundle.ReasonReference},
		"the next of another dataset": {day(mid), head(mid, epochs[1], other), bundle.ReasonReference, bundle.ReasonReference},
		"outside the range":           {day("2026-01-31"), head("2026-01-31", epochs[0], epochs[1]), bundle.ReasonQueryTerms, bundle.ReasonQueryTerms},
		"a day to come":               {day("2026-04-03"), head("2026-04-03", epochs[2]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"a next one for the present":  {nil, head("2026-04-02", epochs[1], epochs[2]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"another day for the present": {nil, head(mid, epochs[1]), bundle.ReasonTimes, bundle.ReasonTimes},
		"another number":              {number(2), head("2026-02-10", epochs[0]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"by number, about today":      {number(2), head("2026-04-02", epochs[1]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"by number, with a next one":  {number(2), head("2026-03-01", epochs[1], epochs[2]), bundle.ReasonAsOf, bundle.ReasonAsOf},
		"young enough on that day":    {func(q *requester.Question) { q.AsOf, q.MaxAge = mid, 5*24*time.Hour }, head(mid, epochs[1], epochs[2]), good, good},
		"too old on that day": {func(q *requester.Question) { q.AsOf, q.MaxAge = mid, 4*24*time.Hour }, head(mid, epochs[1], epochs[2]),
			bundle.ReasonAge, bundle.ReasonAge},
	} {
		w.asking = c.asking
		data := w.encode(w.claim(c.header))
		if _, err := w.verify.Verify(data); reason(err) != c.alone {
			t.Errorf("%s: %v, want %s", name, err, c.alone)
		}
		if _, err := replica.Verify(data); reason(err) != c.logged {
			t.Errorf("%s, with the log: %v, want %s", name, err, c.logged)
		}
	}
	w.check(c.holder.PublishBatch(t.Context(), receipt.BeatAt(w.now(), time.Hour), receipt.Sum("beat")))
	_, batch, _ := c.ledger.View(w.config.Origin(civil), ^uint64(0)).NewestBatch()
	w.check(c.ledger.WaitFinal(t.Context(), batch))
	w.asking = day(mid)
	named := func(h *bundle.Header) { head(mid, epochs[1])(h); h.Batch = &batch }
	if _, err := w.verify.Verify(w.encode(w.claim(named))); reason(err) != bundle.ReasonSuperseded {
		t.Errorf("the next one left out beside a beat that names it: %v", err)
	}
}

// TestPastIsNotChanged has the holder append an epoch that is dated back behind beats that its log shows, and one dated ahead so that the
// newest is passed over.
func TestPastIsNotChanged(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 3600, start: time.Date(2026, 2, 10, 12, 0, 0, 0, time.UTC), terms: ranged("2026-02-01", "")})
	w.furnish(peopleCSV, 10, 100)
	c, origin := w.members[civil], w.config.Origin(civil)
	w.on("2026-03-20")
	w.check(c.holder.PublishBatch(t.Context(), receipt.BeatAt(w.now(), time.Hour)-1, receipt.Sum("beat")))
	first, before, _ := c.ledger.View(origin, ^uint64(0)).Epoch("people")
	add := func(number uint64, at string) *uint64 {
		e := first
		e.Epoch, e.Time = number, at
		index, err := c.ledger.Append(t.Context(), e)
		w.check(err)
		w.check(c.ledger.WaitFinal(t.Context(), index[0]))
		return &index[0]
	}
	replica := *w.verify
	replica.Replica = c.ledger
	w.asking = func(q *requester.Question) { q.AsOf = "2026-03-05" }
	honest := w.encode(w.claim(func(h *bundle.Header) { h.AsOf, h.Epoch = "2026-03-05", before }))
	if _, err := replica.Verify(honest); reason(err) != bundle.ReasonProof {
		t.Fatalf("the epoch of that day: %v", err)
	}
	back := add(2, "2026-03-01T12:00:00Z")
	if _, err := replica.Verify(w.encode(w.claim(func(h *bundle.Header) { h.AsOf, h.Epoch = "2026-03-05", *back }))); reason(err) != bundle.ReasonAsOf {
		t.Errorf("an epoch dated back: %v", err)
	}
	ahead := add(3, "2099-01-01T00:00:00Z")
	w.asking = func(q *requester.Question) { q.AsOf = "2026-03-20" }
	if _, err := w.verify.Verify(w.encode(w.claim(func(h *bundle.Header) { h.AsOf, h.Epoch, h.Next = "2026-03-20", *back, ahead }))); reason(err) != bundle.ReasonAsOf {
		t.Errorf("a next epoch dated ahead: %v", err)
	}
	q := w.question("P-0001")
	q.AsOf = "2026-03-20"
	if code := w.answer(benefits, w.request(q, nil)); code != holder.CodeStaleEpoch {
		t.Errorf("the honest holder says %s", code)
	}
}
