package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

const allowance = `program: allowance
version: 1
title: Allowance for couples
purpose: Medicaid eligibility
legal_basis: 42 CFR 435.948
checks:
  - {name: own, holder: GOV/civil, policy: aged, version: 1, max_age: 30d}
  - {name: other, holder: GOV/civil, policy: aged, version: 1, subject: spouse, timeout: 1m}
rule: own == satisfied && other in [satisfied, no_record]
notice: 14d
`

// office is the case work of benefits with a memory of what it kept.
type office struct {
	*program.Cases
	w    *world
	mu   sync.Mutex
	kept []kept
	halt func()
}

type kept struct {
	kind    string
	payload []byte
}

// work opens an office that remembers some facts, and runs it.
func (w *world) work(remembered []kept) *office {
	w.t.Helper()
	m := w.members[benefits]
	o := &office{w: w}
	o.Cases = program.New(program.Options{Config: w.config, Member: benefits, Key: m.query, Ledger: m.ledger, Asker: m.requester, Now: w.now,
		Logger: slog.New(slog.DiscardHandler), Keep: func(kind string, payload any) error {
			data, err := json.Marshal(payload)
			if err == nil {
				o.mu.Lock()
				o.kept = append(o.kept, kept{kind, data})
				o.mu.Unlock()
				err = m.book.Keep(kind, payload)
			}
			return err
		}})
	for _, k := range remembered {
		w.check(o.Replay(k.kind, k.payload))
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() { o.Run(ctx) })
	o.halt = sync.OnceFunc(func() { cancel(); running.Wait() })
	w.t.Cleanup(o.halt)
	return o
}

func (o *office) publish(text string) {
	o.w.t.Helper()
	p, err := program.Parse([]byte(text))
	o.w.check(err)
	_, err = o.Publish(o.w.t.Context(), p)
	o.w.check(err)
}

func couple(own, other string) program.Application {
	return program.Application{Program: "allowance", Subjects: map[string]string{"applicant": own, "spouse": other}}
}

// decide applies and waits for what comes of it.
func (o *office) decide(a program.Application) *program.Case {
	o.w.t.Helper()
	c, err := o.Apply(a)
	o.w.check(err)
	return o.settled(c.ID)
}

func (o *office) settled(id string) *program.Case {
	o.w.t.Helper()
	ctx, cancel := context.WithTimeout(o.w.t.Context(), 30*time.Second)
	defer cancel()
	c, err := o.Wait(ctx, id)
	o.w.check(err)
	return c
}

// shown verifies the document of a decision as a stranger and returns it with what it says.
func (o *office) shown(id string, round int) ([]byte, *program.Report) {
	o.w.t.Helper()
	data, err := o.Document(id, round)
	o.w.check(err)
	r, err := program.Verify(o.w.verify, data)
	o.w.check(err)
	replica := *o.w.verify
	replica.Replica = o.w.members[benefits].ledger
	if _, err := program.Verify(&replica, data); err != nil {
		o.w.t.Errorf("with the whole log: %v", err)
	}
	return data, r
}

func TestCasesAreDecided(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 1000)
	o := w.work(nil)
	o.publish(allowance)
	o.publish(allowance) // again: the same entry
	for _, c := range []struct {
		own, other, state string
		granted           bool
	}{
		{"P-0001", "P-0004", program.StateDecided, true},
		{"P-0001", "P-9999", program.StateDecided, true}, // no such person is proven
		{"P-0002", "P-0001", program.StateDecided, false},
		{"P-0001", "P-0003", program.StateReview, false}, // indeterminate
	} {
		got := o.decide(couple(c.own, c.other))
		if got.State() != c.state {
			t.Fatalf("%+v: %s, %v", c, got.State(), got.Reasons())
		}
		if c.state != program.StateDecided {
			continue
		}
		data, r := o.shown(got.ID, -1)
		if r.Granted != c.granted || !r.Rule || len(r.Answers) != 2 || r.Effective == r.Decided || r.Case != got.ID {
			t.Errorf("%+v: %+v", c, r)
		}
		for _, secret := range []string{c.own, c.other, "nonce", "opening"} {
			if strings.Contains(string(data), secret) {
				t.Errorf("%+v: the document holds %q", c, secret)
			}
		}
	}
}

func TestPeopleDecideContestedCases(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 1000)
	o := w.work(nil)
	o.publish(allowance)
	c := o.decide(couple("P-0001", "P-0003"))
	why := c.Reasons()
	if c.State() != program.StateReview || len(why) != 1 || why[0] != "check other is indeterminate" {
		t.Fatalf("%s %v", c.State(), why)
	}
	if _, err := o.Contest(t.Context(), c.ID, "no"); !errors.Is(err, program.ErrState) {
		t.Errorf("contesting what is not decided: %v", err)
	}
	if _, err := o.Document(c.ID, -1); !errors.Is(err, program.ErrNoDecision) {
		t.Errorf("document of no decision: %v", err)
	}
	if _, err := o.Review(t.Context(), c.ID, true, "", "seen the passport"); !errors.Is(err, program.ErrReason) {
		t.Errorf("review by nobody: %v", err)
	}
	c, err := o.Review(t.Context(), c.ID, true, "officer 17", "seen the passport")
	w.check(err)
	if c.State() != program.StateDecided || !c.Rounds[0].Granted {
		t.Fatalf("%s %+v", c.State(), c.Rounds)
	}
	if _, err := o.Review(t.Context(), c.ID, false, "officer 17", "changed my mind"); !errors.Is(err, program.ErrState) {
		t.Errorf("a second decision without a contest: %v", err)
	}
	if c, err = o.Contest(t.Context(), c.ID, "the neighbours object"); err != nil || c.State() != program.StateContested {
		t.Fatalf("%v, %v", c, err)
	}
	c, err = o.Review(t.Context(), c.ID, false, "officer 18", "the passport was forged")
	w.check(err)
	_, first := o.shown(c.ID, 0)
	_, second := o.shown(c.ID, 1)
	if !first.Granted || second.Granted || second.By != program.PersonDecided || second.Before.String() != first.Digest ||
		second.Contest.Reason != "the neighbours object" || len(second.Reviews) != 1 {
		t.Errorf("%+v\n%+v", first, second)
	}
	for _, n := range []struct {
		state string
		want  int
	}{{"", 1}, {program.StateDecided, 1}, {program.StateReview, 0}} {
		if got := len(o.List(n.state, 10)); got != n.want {
			t.Errorf("%d cases %q, want %d", got, n.state, n.want)
		}
	}
}

// TestUnansweredChecksGoToAPerson has holders refuse, stay silent and answer falsely.
func TestUnansweredChecksGoToAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 1, 1000)
	o := w.work(nil)
	o.publish(strings.Replace(allowance, "timeout: 1m", "timeout: 1s", 1))
	o.decide(couple("P-0001", "P-0004"))
	if c := o.decide(couple("P-0001", "P-0002")); c.State() != program.StateReview || c.Findings[0].Outcome != program.OutcomeRefused || c.Findings[0].Code == "" {
		t.Errorf("budget spent: %s %+v", c.State(), c.Findings)
	}
	w.members[civil].intercept = func(reply []byte, err error) ([]byte, error) { return nil, errBusy }
	p := strings.NewReplacer("timeout: 1m", "timeout: 1s", "max_age: 30d", "timeout: 1s", "version: 1\ntitle", "version: 2\ntitle")
	o.publish(p.Replace(allowance))
	c := o.decide(couple("P-7001", "P-7002"))
	if c.State() != program.StateReview || c.Findings[0].Outcome != program.OutcomeUnanswered || c.Findings[1].Outcome != program.OutcomeUnanswered {
		t.Errorf("silence: %s %+v", c.State(), c.Findings)
	}
	c, err := o.Review(t.Context(), c.ID, false, "officer 17", "nobody answers")
	w.check(err)
	if _, r := o.shown(c.ID, -1); len(r.Answers) != 0 || len(r.Reviews) != 2 || r.Granted {
		t.Errorf("%+v", r)
	}
}

func TestApplicationsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 1000)
	o := w.work(nil)
	o.publish(allowance)
	apply := func(change func(a *program.Application)) error {
		a := couple("P-0001", "P-0004")
		change(&a)
		_, err := o.Apply(a)
		return err
	}
	for name, c := range map[string]struct {
		change func(a *program.Application)
		want   error
	}{
		"unknown program": {func(a *program.Application) { a.Program = "other" }, program.ErrUnknownProgram},
		"unknown version": {func(a *program.Application) { a.Version = 2 }, program.ErrUnknownProgram},
		"role missing":    {func(a *program.Application) { delete(a.Subjects, "spouse") }, program.ErrSubjects},
		"role too many":   {func(a *program.Application) { a.Subjects["child"] = "P-0002" }, program.ErrSubjects},
		"bad subject":     {func(a *program.Application) { a.Subjects["spouse"] = "Mary" }, requester.ErrQuestion},
		"application id":  {func(a *program.Application) { a.ID = "a\nb" }, program.ErrApplication},
	} {
		if err := apply(c.change); !errors.Is(err, c.want) || strings.Contains(err.Error(), "Mary") {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if n := len(o.List("", 10)); n != 0 {
		t.Fatalf("%d cases were opened by bad applications", n)
	}
	a := couple("P-0001", "P-0004")
	a.ID = "form 7"
	first := o.decide(a)
	again, err := o.Apply(a)
	if err != nil || again.ID != first.ID {
		t.Errorf("the same application: %v, %v", again, err)
	}
	a.Subjects = map[string]string{"applicant": "P-0002", "spouse": "P-0004"}
	if _, err := o.Apply(a); !errors.Is(err, program.ErrApplication) {
		t.Errorf("the same id for others: %v", err)
	}
	p, err := program.Parse([]byte(strings.Replace(allowance, "notice: 14d", "notice: 15d", 1)))
	w.check(err)
	if _, err := o.Publish(t.Context(), p); !errors.Is(err, program.ErrPublished) {
		t.Errorf("another document of the same version: %v", err)
	}
	if p, err = program.Parse([]byte(strings.ReplaceAll(allowance, "GOV/civil", "GOV/benefits"))); err == nil {
		_, err = o.Publish(t.Context(), p)
	}
	if !errors.Is(err, program.ErrProgram) {
		t.Errorf("asking oneself: %v", err)
	}
	if _, err := o.Retire(t.Context(), "allowance", 1, "replaced"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Apply(couple("P-0001", "P-0004")); !errors.Is(err, program.ErrUnknownProgram) {
		t.Errorf("after the program was retired: %v", err)
	}
	if _, err := o.Retire(t.Context(), "allowance", 1, "replaced"); !errors.Is(err, program.ErrUnknownProgram) {
		t.Errorf("retired again: %v", err)
	}
	if _, r := o.shown(first.ID, -1); !r.Granted { // what was decided stands
		t.Errorf("%+v", r)
	}
}

// TestCasesResume takes case work up after a stop behind each fact that it wrote. The agreement allows one answer about each person, so
// that asking twice would be refused; each decision stands on the log once.
func TestCasesResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 1, 1000)
	o := w.work(nil)
	o.publish(allowance)
	c := o.decide(couple("P-0001", "P-0004"))
	if c.State() != program.StateDecided {
		t.Fatalf("%s %+v", c.State(), c.Findings)
	}
	_, err := o.Contest(t.Context(), c.ID, "an objection")
	w.check(err)
	c, err = o.Review(t.Context(), c.ID, true, "officer 17", "it is right")
	w.check(err)
	o.halt()
	facts := o.kept
	if len(facts) != 8 { // opened, 2 found, decided, logged, contested, decided, logged
		t.Fatalf("%d facts", len(facts))
	}
	decisions := func() (n int) {
		m := w.members[benefits]
		size := m.ledger.Size(w.config.Origin(benefits))
		raw, err := m.ledger.Read(w.config.Origin(benefits), 0, size)
		w.check(err)
		for _, r := range raw {
			if strings.HasPrefix(string(r), `{"kind":"`+entry.KindCaseDecision) {
				n++
			}
		}
		return n
	}
	standing := decisions()
	for n := 1; n <= len(facts); n++ {
		o := w.work(facts[:n])
		got := o.settled(c.ID)
		want := program.StateDecided
		if n == 6 {
			want = program.StateContested
		}
		if got.State() != want || got.Findings[0].Outcome != program.OutcomeAnswered || got.Findings[1].Outcome != program.OutcomeAnswered {
			t.Fatalf("after %d facts: %s, %+v", n, got.State(), got.Findings)
		}
		if n < 4 {
			standing++ // a decision of its own, since none was signed
		}
		if d := decisions(); d != standing {
			t.Errorf("after %d facts: %d decisions on the log, want %d", n, d, standing)
		}
		o.shown(c.ID, -1)
		o.halt()
	}
	for kind, payload := range map[string]string{program.KindOpened: "{", program.KindFound: `{"case":"x"}`, program.KindDecided: `[]`,
		program.KindLogged: `{"case":"` + c.ID + `","round":9}`, program.KindContested: `{}`} {
		o := w.work(nil)
		if err := o.Replay(kind, []byte(payload)); err == nil {
			t.Errorf("%s %s was replayed", kind, payload)
		}
	}
}

// resign changes what the member signed, and signs and logs it again.
func (w *world) resign(d *program.Document, change func(*program.Decision)) {
	w.t.Helper()
	var said program.Decision
	w.check(d.Decision.Peek(&said))
	change(&said)
	var err error
	d.Decision, err = bundle.Sign(w.members[benefits].query, program.LabelDecision, said)
	w.check(err)
	l := w.members[benefits].ledger
	indexes, err := l.Append(w.t.Context(), entry.CaseDecision{Digest: d.Decision.Digest(program.LabelDecision).String(), Time: said.Decided})
	w.check(err)
	w.check(l.WaitFinal(w.t.Context(), indexes[0]))
	head, _ := l.Final(w.config.Origin(benefits))
	d.Checkpoint = string(head.Checkpoint)
	d.Program, err = bundle.Include(l, head.Origin, d.Program.Index, head.Size)
	w.check(err)
	d.Logged, err = bundle.Include(l, head.Origin, indexes[0], head.Size)
	w.check(err)
}

// TestLyingDecisions changes a decision document as its member could, or as anyone could, and wants each lie named.
func TestLyingDecisions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 1000)
	o := w.work(nil)
	o.publish(allowance)
	data, _ := o.shown(o.decide(couple("P-0001", "P-0004")).ID, -1)
	no, _ := o.shown(o.decide(couple("P-0002", "P-0004")).ID, -1)
	other, err := program.DecodeDocument(no)
	w.check(err)
	for name, c := range map[string]struct {
		change func(d *program.Document)
		want   program.Reason
	}{
		"nothing":            {func(d *program.Document) { w.resign(d, func(*program.Decision) {}) }, ""},
		"version":            {func(d *program.Document) { d.Version = 2 }, program.ReasonEncoding},
		"configuration":      {func(d *program.Document) { d.Configuration.Digest = strings.Repeat("0", 64) }, program.ReasonConfiguration},
		"signature":          {func(d *program.Document) { d.Decision.Body = strings.Replace(d.Decision.Body, "true", "false", 1) }, program.ReasonSignature},
		"another's decision": {func(d *program.Document) { d.Decision = other.Decision }, program.ReasonLogged},
		"checkpoint":         {func(d *program.Document) { d.Checkpoint = "x" }, program.ReasonCheckpoint},
		"path":               {func(d *program.Document) { d.Logged.Path[0][0] ^= 1 }, program.ReasonInclusion},
		"another's entry": {func(d *program.Document) {
			d.Logged, d.Checkpoint, d.Program = other.Logged, other.Checkpoint, other.Program
		}, program.ReasonLogged},
		"not the program":    {func(d *program.Document) { d.Program = d.Logged }, program.ReasonProgram},
		"evidence missing":   {func(d *program.Document) { d.Evidence = d.Evidence[1:] }, program.ReasonChecks},
		"another's evidence": {func(d *program.Document) { d.Evidence = other.Evidence }, program.ReasonEvidence},
		"evidence swapped": {func(d *program.Document) {
			d.Evidence[0].Answer, d.Evidence[1].Answer = d.Evidence[1].Answer, d.Evidence[0].Answer
		}, program.ReasonEvidence},
		"granted otherwise": {func(d *program.Document) { w.resign(d, func(s *program.Decision) { s.Granted = false }) }, program.ReasonRule},
		"verdict otherwise": {func(d *program.Document) {
			w.resign(d, func(s *program.Decision) { s.Checks[0].Verdict = "not_satisfied" })
		}, program.ReasonEvidence},
		"a check too few": {func(d *program.Document) { w.resign(d, func(s *program.Decision) { s.Checks = s.Checks[1:] }) }, program.ReasonChecks},
		"person, unasked": {func(d *program.Document) {
			w.resign(d, func(s *program.Decision) {
				s.By, s.Officer, s.Reason, s.Granted = program.PersonDecided, "17", "x", false
			})
		}, program.ReasonRule},
		"check hidden": {func(d *program.Document) {
			d.Evidence = d.Evidence[1:]
			w.resign(d, func(s *program.Decision) {
				s.Checks[0] = program.Finding{Check: "own", Outcome: program.OutcomeUnanswered}
			})
		}, program.ReasonRule},
		"outcome":      {func(d *program.Document) { w.resign(d, func(s *program.Decision) { s.Checks[0].Outcome = "guessed" }) }, program.ReasonChecks},
		"by":           {func(d *program.Document) { w.resign(d, func(s *program.Decision) { s.By = "dice" }) }, program.ReasonEncoding},
		"no notice":    {func(d *program.Document) { w.resign(d, func(s *program.Decision) { s.Effective = s.Decided }) }, program.ReasonTimes},
		"another case": {func(d *program.Document) { w.resign(d, func(s *program.Decision) { s.Case = strings.Repeat("0", 32) }) }, program.ReasonEvidence},
		"opened later": {func(d *program.Document) {
			later := entry.FormatTime(w.now().Add(time.Hour))
			w.resign(d, func(s *program.Decision) {
				s.Opened, s.Decided, s.Effective = later, later, entry.FormatTime(w.now().Add(15*24*time.Hour))
			})
		}, program.ReasonTimes},
	} {
		d, err := program.DecodeDocument(data)
		w.check(err)
		c.change(d)
		changed, err := bundle.Encode(d)
		w.check(err)
		_, err = program.Verify(w.verify, changed)
		var refused *program.Refused
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &refused) || refused.Reason != c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := program.Verify(w.verify, append(data, '\n')); err == nil {
		t.Error("another spelling is taken")
	}
}
