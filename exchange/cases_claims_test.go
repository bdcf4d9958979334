package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/ledger/entry"
)

const claimed = `program: winter-fuel
version: 1
title: Winter fuel payment
purpose: Medicaid eligibility
legal_basis: 42 CFR 435.948
checks:
  - {name: aged, holder: GOV/civil, policy: aged, version: 1, purpose: claiming}
  - {name: partner, holder: GOV/civil, policy: aged, version: 1, subject: spouse}
rule: aged == satisfied && partner != no_record
scope: {check: aged, period: 2026}
`

func (w *world) claimOffice() *office {
	w.t.Helper()
	w.furnish(peopleCSV, 100, 1000)
	w.accept(w.offer(100, 1000, func(t *entry.Terms) { t.Purpose, t.Scope = "claiming", fuel }))
	w.openScope("2026")
	o := w.work(nil)
	o.publish(claimed)
	return o
}

func household(own, other string) program.Application {
	return program.Application{Program: fuel, Subjects: map[string]string{"applicant": own, "spouse": other}}
}

// TestProgramsAreClaimedOnce grants each person once, claims nothing for those who get nothing, and lets nobody grant without a claim.
func TestProgramsAreClaimedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.claimOffice()
	for i, c := range []struct {
		own, other, outcome, claim string
		granted                    bool
	}{
		{"P-0001", "P-0002", program.OutcomeAnswered, bundle.ClaimFirst, true},
		{"P-0001", "P-0004", program.OutcomeClaimed, "", false},
		{"P-0004", "P-9999", program.OutcomeSpared, "", false},
		{"P-0004", "P-0002", program.OutcomeAnswered, bundle.ClaimFirst, true}, // the case before claimed nothing
		{"P-0002", "P-0001", program.OutcomeAnswered, "", false},
	} {
		got := o.decide(household(c.own, c.other))
		if f := got.Findings[0]; got.State() != program.StateDecided || f.Outcome != c.outcome || f.Claim != c.claim || got.Rounds[0].Granted != c.granted {
			t.Fatalf("case %d: %s %+v %+v", i, got.State(), got.Findings, got.Rounds)
		}
		if _, r := o.shown(got.ID, -1); !r.Rule || r.Granted != c.granted || c.granted && r.Answers[0].Claim != bundle.ClaimFinal {
			t.Errorf("case %d: %+v", i, r)
		}
		if c.outcome != program.OutcomeClaimed {
			continue
		}
		_, err := o.Contest(t.Context(), got.ID, "I claimed nothing")
		w.check(err)
		if _, err := o.Review(t.Context(), got.ID, true, "officer 17", "believed"); !errors.Is(err, program.ErrClaimed) {
			t.Errorf("a person grants what was claimed before: %v", err)
		}
		_, err = o.Review(t.Context(), got.ID, false, "officer 17", "the register shows a claim")
		w.check(err)
		o.shown(got.ID, 1)
	}
	if c := o.decide(household("P-0003", "P-0002")); c.State() != program.StateReview { // indeterminate claims nothing
		t.Errorf("%s %+v", c.State(), c.Findings)
	} else if _, err := o.Review(t.Context(), c.ID, true, "officer 17", "seen the passport"); !errors.Is(err, program.ErrClaimed) {
		t.Errorf("a person grants without a claim: %v", err)
	}
	lieAboutClaims(t, w, o)
}

// lieAboutClaims has the deciding member pretend that a claim was final, or was not needed.
func lieAboutClaims(t *testing.T, w *world, o *office) {
	t.Helper()
	list := o.List("", 100)
	granted, spared := list[len(list)-1], list[len(list)-3]
	data, _ := o.shown(granted.ID, -1)
	none, _ := o.shown(spared.ID, -1)
	for name, c := range map[string]struct {
		data   []byte
		change func(d *program.Document, s *program.Decision)
		want   program.Reason
	}{
		"nothing":   {data, func(*program.Document, *program.Decision) {}, ""},
		"no place":  {data, func(d *program.Document, _ *program.Decision) { d.Evidence[0].Answer.Claim = nil }, program.ReasonEvidence},
		"not final": {data, func(_ *program.Document, s *program.Decision) { s.Checks[0].Claim = "" }, program.ReasonRule},
		"later": {data, func(d *program.Document, s *program.Decision) {
			s.Checks[0].Claim, d.Evidence[0].Answer.Claim = bundle.ClaimLater, nil
		}, program.ReasonRule},
		"other check":  {data, func(_ *program.Document, s *program.Decision) { s.Checks[1].Claim = bundle.ClaimFirst }, program.ReasonEvidence},
		"spared, gets": {none, func(_ *program.Document, s *program.Decision) { s.Granted = true }, program.ReasonRule},
		"spared where it matters": {data, func(d *program.Document, s *program.Decision) {
			d.Evidence, s.Granted = d.Evidence[1:], false
			s.Checks[0] = program.Finding{Check: "aged", Outcome: program.OutcomeSpared}
		}, program.ReasonRule},
		"the wrong check claimed": {none, func(d *program.Document, s *program.Decision) {
			d.Evidence, s.Checks[1] = nil, program.Finding{Check: "partner", Outcome: program.OutcomeClaimed}
		}, program.ReasonChecks},
	} {
		d, err := program.DecodeDocument(c.data)
		w.check(err)
		w.resign(d, func(s *program.Decision) { c.change(d, s) })
		changed, err := bundle.Encode(d)
		w.check(err)
		_, err = program.Verify(w.verify, changed)
		var refused *program.Refused
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &refused) || refused.Reason != c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestCasesWaitForTheRegister takes the register away behind its answer: the case is pending, through a restart too, until the claim is
// final.
func TestCasesWaitForTheRegister(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 4})
	o := w.claimOffice()
	time.Sleep(time.Until(w.now().Truncate(4 * time.Second).Add(4*time.Second + 100*time.Millisecond))) // a beat begins
	c, err := o.Apply(household("P-0001", "P-0002"))
	w.check(err)
	w.eventually("both checks are settled", func() bool {
		c, err = o.Case(c.ID)
		return err == nil && len(c.Findings) == 2
	})
	w.members[civil].halt()
	short, cancel := context.WithTimeout(t.Context(), 5*time.Second) // longer than the beat
	defer cancel()
	c, err = o.Wait(short, c.ID)
	w.check(err)
	if c.State() != program.StatePending || len(c.Rounds) != 0 {
		t.Fatalf("%s %+v", c.State(), c.Rounds)
	}
	if _, err := o.Review(t.Context(), c.ID, true, "officer 17", "quick"); !errors.Is(err, program.ErrState) {
		t.Errorf("a person grants what is pending: %v", err)
	}
	o.halt()
	o = w.work(o.kept)
	w.members[civil].start()
	if c = o.settled(c.ID); c.State() != program.StateDecided || !c.Rounds[0].Granted {
		t.Fatalf("%s %+v", c.State(), c.Findings)
	}
	o.shown(c.ID, -1)
	var found struct{ Case string }
	for _, k := range o.kept {
		w.check(json.Unmarshal(k.payload, &found))
	}
	if n := len(o.kept); n != 3 || o.kept[0].kind != program.KindClaimed { // claimed, decided, logged
		t.Errorf("%d facts after the restart", n)
	}
	if strings.Contains(string(o.kept[0].payload), "P-0001") {
		t.Error("the claim names its person")
	}
}

// TestLostClaimsAreFetched has the register claim and its reply get lost until the query's time is over. The case stays pending, and the
// claim is neither lost nor made twice.
func TestLostClaimsAreFetched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var cut atomic.Bool
	w.members[civil].intercept = func(reply []byte, err error) ([]byte, error) {
		if cut.Load() {
			return nil, errBusy
		}
		return reply, err
	}
	w.furnish(peopleCSV, 1, 1000)
	w.accept(w.offer(1, 1000, func(t *entry.Terms) { t.Purpose, t.Scope = "claiming", fuel }))
	w.openScope("2026")
	o := w.work(nil)
	o.publish(strings.NewReplacer("purpose: claiming}", "purpose: claiming, timeout: 6s}",
		"  - {name: partner, holder: GOV/civil, policy: aged, version: 1, subject: spouse}\n", "", " && partner != no_record", "").Replace(claimed))
	cut.Store(true)
	c, err := o.Apply(program.Application{Program: fuel, Subjects: map[string]string{"applicant": "P-0001"}})
	w.check(err)
	short, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	c, err = o.Wait(short, c.ID)
	w.check(err)
	if c.State() != program.StatePending || len(c.Findings) != 0 {
		t.Fatalf("%s %+v", c.State(), c.Findings)
	}
	cut.Store(false)
	if c = o.settled(c.ID); c.State() != program.StateDecided || !c.Rounds[0].Granted {
		t.Fatalf("%s %+v", c.State(), c.Findings)
	}
	o.shown(c.ID, -1)
}
