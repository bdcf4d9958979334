package exchange_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/officer"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger/network"
)

// event is one query as a test saw it: what a log must hold of it, and no more.
type event struct{ id, subject, purpose, legalBasis, outcome, code string }

func (e event) String() string {
	return strings.Join([]string{e.id, e.purpose, e.legalBasis, e.outcome, e.code}, "|")
}

// TestLogsAreWhatWasAsked puts random questions, allowed and not, about people known and unknown, restarts both sides in between and
// compares both officers' files and each person's with what was put.
func TestLogsAreWhatWasAsked(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorldWith(t, setting{beat: 4})
	w.furnish(peopleCSV, 2, 12)
	people := []string{"P-0001", "P-0002", "P-0003", "P-0004", "P-7777", "P-8888"} // the last two are in no dataset; nobody asks about P-9999
	var asked []event
	for n := 0; n < 24; n++ {
		switch random.IntN(8) {
		case 0:
			w.members[civil].halt()
			w.members[civil].start()
		case 1:
			w.members[benefits].halt()
			w.members[benefits].start()
		}
		asked = append(asked, w.askAnything(random, people[random.IntN(len(people))]))
	}
	outcomes := map[string]int{}
	for _, e := range asked {
		outcomes[cmp.Or(e.code, e.outcome)]++
	}
	t.Log(outcomes)
	if len(outcomes) < 3 || outcomes["purpose_not_allowed"] == 0 {
		t.Fatalf("the run shows too little: %v", outcomes)
	}
	w.allLogged(t, civil, benefits)
	holder, requester := w.export(t, civil), w.export(t, benefits)
	sameEvents(t, "the holder's file", holder, asked)
	sameEvents(t, "the requester's file", requester, asked)
	w.agree(t, holder, requester)
	for _, person := range append(people, "P-9999") {
		about := slices.DeleteFunc(slices.Clone(asked), func(e event) bool { return e.subject != person })
		for _, at := range []string{civil, benefits} {
			sameEvents(t, "the log of a person", w.subjectLog(t, at, person), about)
		}
		sameEvents(t, "the log of a person at a member that nobody asked", w.subjectLog(t, health, person), nil)
	}
}

// askAnything puts one question, by chance one that will be refused, and by chance twice.
func (w *world) askAnything(random *rand.Rand, subject string) event {
	w.t.Helper()
	q := w.question(subject)
	switch random.IntN(6) {
	case 0, 1:
		q.Purpose = "curiosity"
	case 2:
		q.LegalBasis = "none"
	case 3:
		q.Case = fmt.Sprint("case ", random.IntN(100))
	}
	result := w.ask(q)
	if random.IntN(4) == 0 {
		if _, err := w.members[benefits].requester.Resend(w.t.Context(), result.ID); err != nil {
			w.t.Fatal(err)
		}
	}
	e := event{id: result.ID, subject: subject, purpose: q.Purpose, legalBasis: q.LegalBasis, outcome: result.Verdict, code: result.Refusal}
	if e.code != "" {
		e.outcome = receipt.OutcomeRefused
	}
	return e
}

// allLogged waits until every receipt of the members is under a final batch, and every promise followed.
func (w *world) allLogged(t *testing.T, members ...string) {
	t.Helper()
	w.eventually("all receipts are shown", func() bool {
		w.members[benefits].requester.Follow(t.Context())
		for _, name := range members {
			data, err := w.members[name].officer.Export("", "", "")
			w.check(err)
			report, err := trace.Verify([]*network.Configuration{w.config}, data)
			w.check(err)
			if report.Pending > 0 {
				return false
			}
		}
		return true
	})
}

// export writes and verifies a member's receipts file.
func (w *world) export(t *testing.T, name string) *trace.Report {
	t.Helper()
	data, err := w.members[name].officer.Export("", "", "")
	w.check(err)
	return w.verified(t, data)
}

func (w *world) verified(t *testing.T, data []byte) *trace.Report {
	t.Helper()
	report, err := trace.Verify([]*network.Configuration{w.config}, data)
	w.check(err)
	for _, secret := range []string{"P-000", "P-7777", "P-8888", "P-9999", `"opening"`} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("a file holds %q", secret)
		}
	}
	if report.Pending > 0 || report.Broken > 0 {
		t.Errorf("%d pending, %d broken", report.Pending, report.Broken)
	}
	return report
}

// subjectLog issues a token for a person, redeems it once, and not twice.
func (w *world) subjectLog(t *testing.T, at, person string) *trace.Report {
	t.Helper()
	o := w.members[at].officer
	token, _, err := o.Issue("person", strings.ToLower(person), time.Hour)
	w.check(err)
	data, err := o.SubjectLog(token, "", "")
	w.check(err)
	if _, err := o.SubjectLog(token, "", ""); !errors.Is(err, officer.ErrToken) {
		t.Errorf("redeemed twice: %v", err)
	}
	report := w.verified(t, data)
	w.check(report.About(w.config, person))
	if report.OfPerson != report.Records || report.Unopened != 0 {
		t.Errorf("%d records, %d opened", report.Records, report.OfPerson)
	}
	if report.Records > 0 && report.About(w.config, "P-1234") == nil {
		t.Error("the file is about another person, too")
	}
	return report
}

func sameEvents(t *testing.T, what string, r *trace.Report, want []event) {
	t.Helper()
	var have, expect []string
	for _, rec := range r.File.Records {
		q := rec.Asks()
		have = append(have, event{id: q.ID, purpose: q.Purpose, legalBasis: q.LegalBasis, outcome: rec.Outcome, code: rec.Code}.String())
	}
	for _, e := range want {
		expect = append(expect, e.String())
	}
	slices.Sort(have)
	slices.Sort(expect)
	if !slices.Equal(have, expect) {
		t.Errorf("%s:\nhave %s\nwant %s", what, strings.Join(have, "\n     "), strings.Join(expect, "\n     "))
	}
}

func (w *world) agree(t *testing.T, holder, requester *trace.Report) {
	t.Helper()
	r, err := trace.Reconcile([]*network.Configuration{w.config}, holder.File, requester.File)
	w.check(err)
	if len(r.Differences) != 0 || r.Compared != r.Agreeing || r.Compared != len(holder.File.Records) {
		t.Errorf("%+v", r)
	}
}

// TestReconcile makes each way in which two sides can differ.
func TestReconcile(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 4})
	w.furnish(peopleCSV, 3, 20)
	good := w.ask(w.question("P-0001"))
	c := w.members[civil]
	lost := w.question("P-0002") // the holder answers, the reply is lost
	lost.Life = 30 * time.Second
	c.intercept = func([]byte, error) ([]byte, error) { return nil, errors.New("connection lost") }
	if _, err := w.members[benefits].requester.Ask(t.Context(), lost); err == nil {
		t.Fatal("no reply was expected")
	}
	c.intercept = func(reply []byte, err error) ([]byte, error) { // the reply is another than the holder recorded
		return bytes.Replace(reply, []byte(`"verdict":"`), []byte(`"verdict":"x`), 1), err
	}
	if r := w.ask(w.question("P-0003")); r.Rejected == "" {
		t.Fatalf("%+v", r)
	}
	c.intercept = nil
	var bare bundle.Query // nothing of it is recorded at the requester
	if _, err := c.holder.Answer(t.Context(), benefits, w.request(w.question("P-0004"), func(q *bundle.Query, _ *bundle.Opening) { bare = *q })); err != nil {
		t.Fatal(err)
	}
	w.allLogged(t, civil)
	w.eventually("the good answer's receipt is shown", func() bool {
		w.members[benefits].requester.Follow(t.Context())
		r, err := w.members[benefits].requester.Result(good.ID)
		return err == nil && r.Logged
	})
	all := []*network.Configuration{w.config}
	w.mu.Lock()
	w.offset += time.Minute // no reply can come any more
	w.mu.Unlock()
	holder, requester := w.parse(t, civil), w.parse(t, benefits)
	r, err := trace.Reconcile(all, holder, requester)
	w.check(err)
	kinds := map[string]int{}
	for _, d := range r.Differences {
		kinds[d.Kind]++
		if d.Kind == trace.OnlyHolder && d.ID != bare.ID {
			t.Errorf("%+v", d)
		}
	}
	if r.Compared != 4 || r.Agreeing != 1 || len(r.Differences) != 3 || kinds[trace.OnlyHolder] != 1 || kinds[trace.NoReply] != 1 || kinds[trace.OtherOutcome] != 1 {
		t.Errorf("%+v", r)
	}
	holder.Records = slices.DeleteFunc(holder.Records, func(r *trace.Record) bool { return r.Asks().ID == good.ID }) // the holder conceals one
	r, err = trace.Reconcile(all, holder, requester)
	w.check(err)
	if !slices.ContainsFunc(r.Differences, func(d trace.Difference) bool { return d.Kind == trace.OnlyRequester && d.ID == good.ID }) {
		t.Errorf("%+v", r)
	}
	for _, pair := range [][2]*trace.File{{holder, holder}, {holder, {Kind: trace.KindSubject, Member: benefits}}, {holder, {Kind: trace.KindReceipts, Member: benefits, Peer: health}}} {
		if _, err := trace.Reconcile(all, pair[0], pair[1]); !errors.Is(err, trace.ErrReconcile) {
			t.Errorf("%v", err)
		}
	}
}

func (w *world) parse(t *testing.T, name string) *trace.File {
	t.Helper()
	data, err := w.members[name].officer.Export("", "", "")
	w.check(err)
	report, err := trace.Verify([]*network.Configuration{w.config}, data)
	w.check(err)
	return report.File
}

// TestForgedFiles changes each part of two files, signs them again as their member could, and has them refused.
func TestForgedFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 3, 20)
	w.ask(w.question("P-0001"))
	other := w.question("P-0001")
	other.Purpose = "curiosity"
	w.ask(other)
	w.allLogged(t, civil, benefits)
	all := []*network.Configuration{w.config}
	for name, forge := range map[string]func(f *trace.File, yes, no *trace.Record){
		"outcome":       func(f *trace.File, yes, no *trace.Record) { yes.Outcome = "not_satisfied" },
		"code":          func(f *trace.File, yes, no *trace.Record) { no.Code = "no_agreement" },
		"refused alone": func(f *trace.File, yes, no *trace.Record) { no.Refusal = nil },
		"answer":        func(f *trace.File, yes, no *trace.Record) { yes.Answer[3] ^= 1 },
		"salt":          func(f *trace.File, yes, no *trace.Record) { yes.Salt[3] ^= 1 },
		"path":          func(f *trace.File, yes, no *trace.Record) { yes.Path[7][0] ^= 1 },
		"short path":    func(f *trace.File, yes, no *trace.Record) { yes.Path = yes.Path[1:] },
		"path gone":     func(f *trace.File, yes, no *trace.Record) { yes.Path, no.Path = nil, nil; dropAsked(f) },
		"role":          func(f *trace.File, yes, no *trace.Record) { yes.Role = "watched" },
		"query": func(f *trace.File, yes, no *trace.Record) {
			yes.Query.Body = strings.Replace(yes.Query.Body, purpose, "another", 1)
		},
		"promise":        func(f *trace.File, yes, no *trace.Record) { yes.Promise = no.Promise },
		"promise gone":   func(f *trace.File, yes, no *trace.Record) { yes.Promise = nil },
		"nonce":          func(f *trace.File, yes, no *trace.Record) { yes.Nonce = yes.Asks().Tag },
		"order":          func(f *trace.File, yes, no *trace.Record) { slices.Reverse(f.Records) },
		"since":          func(f *trace.File, yes, no *trace.Record) { f.Since = "2099-01-01T00:00:00Z" },
		"since nonsense": func(f *trace.File, yes, no *trace.Record) { f.Since = "yesterday" },
		"peer":           func(f *trace.File, yes, no *trace.Record) { f.Peer = health },
		"member":         func(f *trace.File, yes, no *trace.Record) { f.Member = health },
		"instance":       func(f *trace.File, yes, no *trace.Record) { f.Instance = "other" },
		"made":           func(f *trace.File, yes, no *trace.Record) { f.Made = "" },
		"kind":           func(f *trace.File, yes, no *trace.Record) { f.Kind = "else" },
		"version":        func(f *trace.File, yes, no *trace.Record) { f.Version = 2 },
		"head": func(f *trace.File, yes, no *trace.Record) {
			f.Logs[0].Checkpoint = f.Logs[0].Checkpoint[:len(f.Logs[0].Checkpoint)-2] + "\n"
		},
		"batch": func(f *trace.File, yes, no *trace.Record) {
			f.Logs[0].Batches[0].Body = strings.Replace(f.Logs[0].Batches[0].Body, `"beat":`, `"beat":1`, 1)
		},
		"batch index": func(f *trace.File, yes, no *trace.Record) { f.Logs[0].Batches[0].Index++ },
		"batch twice": func(f *trace.File, yes, no *trace.Record) {
			f.Logs[0].Batches = append(f.Logs[0].Batches, f.Logs[0].Batches[0])
		},
		"log gone": func(f *trace.File, yes, no *trace.Record) { f.Logs = f.Logs[1:] },
		"padding":  func(f *trace.File, yes, no *trace.Record) { f.Padding = "note" },
		"broken":   func(f *trace.File, yes, no *trace.Record) { yes.Broken = "somehow" },
	} {
		for _, member := range []string{civil, benefits} {
			f := w.parse(t, member)
			yes, no := f.Records[0], f.Records[1] // issued within a second, they may stand either way
			if yes.Outcome == receipt.OutcomeRefused {
				yes, no = no, yes
			}
			forge(f, yes, no)
			padding := f.Padding
			if data, err := f.Sign(w.members[member].query); err == nil && padding == "" {
				if _, err := trace.Verify(all, data); !errors.Is(err, trace.ErrFile) {
					t.Errorf("%s of %s: %v", name, member, err)
				}
			}
		}
	}
	data, err := w.members[civil].officer.Export("", "", "")
	w.check(err)
	for i := 0; i < len(data); i += 1 + len(data)/300 { // unsigned changes
		forged := bytes.Clone(data)
		forged[i] ^= 1
		if _, err := trace.Verify(all, forged); !errors.Is(err, trace.ErrFile) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

// dropAsked makes a file without paths one that still carries batches.
func dropAsked(f *trace.File) {
	for _, r := range f.Records {
		if r.Asked != nil {
			r.Asked.Path = nil
		}
	}
}

// TestTokens: a token is for one person, for a time, once; its hash alone is on the disk; a restart keeps what was issued and redeemed.
func TestTokens(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 4})
	w.furnish(peopleCSV, 3, 20)
	w.ask(w.question("P-0001"))
	w.allLogged(t, civil)
	c := w.members[civil]
	issue := func(subject string) string {
		token, _, err := c.officer.Issue("", subject, time.Hour)
		w.check(err)
		return token
	}
	used, kept, late := issue("P-0001"), issue("P-0001"), issue("P-0001")
	if _, err := c.officer.SubjectLog(used, "", ""); err != nil {
		t.Fatal(err)
	}
	c.halt()
	c.start()
	if _, err := c.officer.SubjectLog(used, "", ""); !errors.Is(err, officer.ErrToken) {
		t.Errorf("after a restart: %v", err)
	}
	data, err := c.officer.SubjectLog(kept, "", "")
	w.check(err)
	if r := w.verified(t, data); r.Records != 1 {
		t.Errorf("%+v", r)
	}
	stranger, err := c.officer.SubjectLog(issue("P-9999"), "", "") // in no dataset
	w.check(err)
	unasked, err := c.officer.SubjectLog(issue("P-0002"), "", "") // in the dataset, nobody asked
	w.check(err)
	if a, b := w.verified(t, stranger), w.verified(t, unasked); a.Records != 0 || b.Records != 0 || len(stranger) != len(unasked) || len(data) != len(unasked) {
		t.Errorf("%d and %d records, %d, %d and %d bytes", a.Records, b.Records, len(stranger), len(unasked), len(data))
	}
	w.mu.Lock()
	w.offset += 2 * time.Hour
	w.mu.Unlock()
	for _, token := range []string{late, "", "0", strings.Repeat("0", 64)} {
		if _, err := c.officer.SubjectLog(token, "", ""); !errors.Is(err, officer.ErrToken) {
			t.Errorf("%v", err)
		}
	}
	for _, bad := range [][2]string{{"", "Jane Doe"}, {"other", "P-0001"}, {"", ""}, {"", strings.Repeat("P", 1000)}} {
		_, _, err := c.officer.Issue(bad[0], bad[1], time.Hour)
		if !errors.Is(err, officer.ErrIssue) || strings.Contains(err.Error(), "Jane") || strings.Contains(err.Error(), "P-0001") {
			t.Errorf("%v", err)
		}
	}
	if err := c.book.Scan(func(kind string, payload []byte) error {
		if strings.HasPrefix(kind, "officer.") && (bytes.Contains(payload, []byte(kept)) || bytes.Contains(payload, []byte("P-0001"))) {
			t.Errorf("the journal holds a token or an id: %s", kind)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenPromisesAreKnown: a holder that goes down with promises open breaks them. Both sides note it, log it, tell their metrics once,
// and still know after a restart.
func TestBrokenPromisesAreKnown(t *testing.T) {
	t.Parallel()
	logs := capture{captured: &captured{}}
	w := newWorldWith(t, setting{logs: slog.Handler(logs)})
	w.furnish(peopleCSV, 3, 20)
	c, b := w.members[civil], w.members[benefits]
	refused := w.question("P-0001")
	refused.Purpose = "curiosity" // a refusal is promised, too
	c.mute.Store(true)
	results := []string{w.ask(w.question("P-0001")).ID, w.ask(refused).ID}
	w.mu.Lock()
	w.offset += time.Minute
	w.mu.Unlock()
	w.eventually("the requester notes both promises as broken", func() bool {
		b.requester.Follow(t.Context())
		return b.requester.Broken() == 2
	})
	if c.holder.Broken() != 2 {
		t.Errorf("the holder heard of %d", c.holder.Broken())
	}
	c.halt()
	c.mute.Store(false)
	c.start()
	b.halt()
	b.start()
	w.check(c.holder.CheckPromises())
	w.eventually("the late batches are logged", func() bool {
		b.requester.Follow(t.Context())
		for _, id := range results {
			if r, err := b.requester.Result(id); err != nil || !r.Logged || !r.Broken {
				return false
			}
		}
		return true
	})
	if c.holder.Broken() != 2 || b.requester.Broken() != 2 {
		t.Errorf("after a restart the holder knows of %d, the requester of %d", c.holder.Broken(), b.requester.Broken())
	}
	for _, name := range []string{civil, benefits} {
		list, err := w.members[name].officer.List(officer.Filter{Broken: true}, 10)
		w.check(err)
		data, err := w.members[name].officer.Export("", "", "")
		w.check(err)
		report, err := trace.Verify([]*network.Configuration{w.config}, data)
		w.check(err)
		if len(list) != 2 || report.Broken != 2 {
			t.Errorf("%s lists %d, its file shows %d", name, len(list), report.Broken)
		}
	}
	r, err := trace.Reconcile([]*network.Configuration{w.config}, w.parse(t, civil), w.parse(t, benefits))
	w.check(err)
	if len(r.Differences) != 2 || r.Differences[0].Kind != trace.PromiseBroken {
		t.Errorf("%+v", r)
	}
	if text := logs.String(); strings.Count(text, "ERROR receipt promise broken") != 4 {
		t.Errorf("%d alerts", strings.Count(text, "ERROR receipt promise broken"))
	}
}

// TestBrokenPromiseIsKeptFirst: what the journal does not hold is not counted, told or taken for known: the next look notes it.
func TestBrokenPromiseIsKeptFirst(t *testing.T) {
	t.Parallel()
	logs := capture{captured: &captured{}}
	w := newWorldWith(t, setting{logs: slog.Handler(logs)})
	w.furnish(peopleCSV, 3, 20)
	c, b := w.members[civil], w.members[benefits]
	c.mute.Store(true)
	w.ask(w.question("P-0001"))
	c.unkept.Store(true)
	b.unkept.Store(true)
	w.mu.Lock()
	w.offset += time.Minute
	w.mu.Unlock()
	if err := c.holder.CheckPromises(); err == nil {
		t.Error("the holder noted what it could not keep")
	}
	b.requester.Follow(t.Context())
	if c.holder.Broken() != 0 || b.requester.Broken() != 0 || strings.Contains(logs.String(), "ERROR receipt promise broken") {
		t.Errorf("counted before it is kept: %d, %d", c.holder.Broken(), b.requester.Broken())
	}
	c.unkept.Store(false)
	b.unkept.Store(false)
	for range 2 {
		w.check(c.holder.CheckPromises())
		b.requester.Follow(t.Context())
	}
	if c.holder.Broken() != 1 || b.requester.Broken() != 1 || strings.Count(logs.String(), "ERROR receipt promise broken") != 2 {
		t.Errorf("%d, %d, %d alerts", c.holder.Broken(), b.requester.Broken(), strings.Count(logs.String(), "ERROR receipt promise broken"))
	}
	list, err := c.officer.List(officer.Filter{Broken: true}, 10)
	w.check(err)
	if len(list) != 1 || list[0].Broken != trace.BrokenMissed {
		t.Errorf("%+v", list)
	}
}

// TestOnlyTheRequesterComplains: whoever has a bundle has the promise in it, and only the member that asked may call it broken, after its
// deadline. A complaint that comes early changes nothing, and the path is shown.
func TestOnlyTheRequesterComplains(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 3})
	w.furnish(peopleCSV, 3, 20)
	c := w.members[civil]
	one := w.complaint(w.ask(w.question("P-0001")).ID)
	if _, err := c.holder.ReceiptPath(t.Context(), benefits, w.encode(one)); c.holder.Broken() != 0 { // the batch may be final by now
		t.Errorf("an early complaint: %v, %d noted", err, c.holder.Broken())
	}
	two := w.complaint(w.ask(w.question("P-0002")).ID)
	w.allLogged(t, civil, benefits)
	w.mu.Lock()
	w.offset += time.Minute
	w.mu.Unlock()
	two.Promise = one.Promise // and the query of another
	malformed := *one
	malformed.Broken = &bundle.Signed{Body: "{}"}
	for _, bad := range []struct {
		from    string
		request *bundle.ReceiptRequest
	}{{health, one}, {benefits, two}, {benefits, &malformed}} {
		var no *holder.RequestError
		if _, err := c.holder.ReceiptPath(t.Context(), bad.from, w.encode(bad.request)); !errors.As(err, &no) || no.Code() != holder.CodeNotYours {
			t.Errorf("%v", err)
		}
	}
	if c.holder.Broken() != 0 {
		t.Errorf("%d noted", c.holder.Broken())
	}
	for range 2 {
		if _, err := c.holder.ReceiptPath(t.Context(), benefits, w.encode(one)); err != nil {
			t.Error(err)
		}
	}
	if c.holder.Broken() != 1 {
		t.Errorf("%d noted", c.holder.Broken())
	}
}

// complaint makes the request that says a promise was not kept.
func (w *world) complaint(id string) *bundle.ReceiptRequest {
	w.t.Helper()
	var b bundle.Bundle
	w.check(json.Unmarshal(w.bundle(id, false), &b))
	return &bundle.ReceiptRequest{Promise: b.Promise, Broken: &b.Query}
}
