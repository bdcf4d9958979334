package exchange_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// forgetful keeps a copy of what civil remembers outside its log, and returns what sets civil back to it.
func (w *world) forgetful() (forget func()) {
	w.t.Helper()
	c, old := w.members[civil], w.t.TempDir()
	c.halt()
	for _, name := range []string{"claims", "journal"} {
		w.copy(filepath.Join(c.dir, name), filepath.Join(old, name))
	}
	c.start()
	return func() {
		c.halt()
		for _, name := range []string{"claims", "journal"} {
			w.check(os.RemoveAll(filepath.Join(c.dir, name)))
			w.copy(filepath.Join(old, name), filepath.Join(c.dir, name))
		}
		c.start()
	}
}

// copy copies a file or a folder.
func (w *world) copy(from, to string) {
	w.t.Helper()
	info, err := os.Stat(from)
	w.check(err)
	if info.IsDir() {
		w.check(os.CopyFS(to, os.DirFS(from)))
		return
	}
	data, err := os.ReadFile(from)
	w.check(err)
	w.check(os.WriteFile(to, data, 0o600))
}

// logClaim has the register log one batch with a nullifier.
func (w *world) logClaim(nullifier string) {
	w.t.Helper()
	c := w.members[civil]
	last, _, _ := c.ledger.View(w.config.Origin(civil), ^uint64(0)).NewestClaims()
	batch := entry.ClaimsBatch{Beat: max(last, receipt.BeatAt(w.now(), bundle.BeatLength(w.config))), Time: entry.FormatTime(w.now()),
		Nullifiers: []string{nullifier}}
	for i := range uint64(entry.Claims - 1) {
		batch.Nullifiers = append(batch.Nullifiers, bundle.FormatElement(fr.NewElement(i+1)))
	}
	_, err := c.ledger.Append(w.t.Context(), batch)
	w.check(err)
}

// answered applies for a household and waits until the register has answered, which logs nothing yet. It returns the case and the
// nullifier that it was answered with.
func (o *office) answered(own, other string) (id, nullifier string) {
	o.w.t.Helper()
	c, err := o.Apply(household(own, other))
	o.w.check(err)
	o.w.eventually("both checks are settled", func() bool {
		c, err = o.Case(c.ID)
		return err == nil && len(c.Findings) == 2
	})
	f := c.Findings[0]
	if f.Outcome != program.OutcomeAnswered || f.Verdict != "satisfied" || c.State() != program.StatePending {
		o.w.t.Fatalf("%s %+v", c.State(), c.Findings)
	}
	b, err := bundle.Decode(o.w.bundle(f.Query, false))
	o.w.check(err)
	return c.ID, b.Nullifier
}

// TestRegisterClaimsTwice has a register that was set back answer two cases about one person with one nullifier, and then log it once.
// Each answer by itself is a first claim. One case is granted, and the other by nobody, after restarts too.
func TestRegisterClaimsTwice(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 3600}) // no batch by itself
	o := w.claimOffice()
	forget := w.forgetful()
	first, n := o.answered("P-0001", "P-0002")
	forget()
	second, again := o.answered("P-0001", "P-0004")
	third, other := o.answered("P-0004", "P-0002")
	if n != again || n == other {
		t.Fatal("the register did not lie")
	}
	w.logClaim(n)
	states := map[string]string{}
	for _, id := range []string{first, second} {
		c := o.settled(id)
		states[c.State()] = id
	}
	granted, held := states[program.StateDecided], states[program.StateReview]
	if granted == "" || held == "" {
		t.Fatalf("%v", states)
	}
	if _, r := o.shown(granted, -1); !r.Granted || !r.Rule {
		t.Errorf("the first: %+v", r)
	}
	// After a restart behind each fact, the claim is the same case's.
	facts := o.kept
	o.halt()
	for cut := len(facts) - 4; cut <= len(facts); cut++ {
		grantedOnce(t, w, facts[:cut], first, second)
	}
	// An earlier build named no nullifier, and took both claims for first.
	var older []kept
	for _, k := range facts[:len(facts)-2] { // neither is decided
		payload := strings.Replace(string(k.payload), `"state":"twice"`, `"state":"first"`, 1)
		older = append(older, kept{k.kind, []byte(strings.Replace(payload, `"nullifier":"`+n+`"`, `"nullifier":""`, 1))})
	}
	grantedOnce(t, w, older, first, second)
	o = w.work(facts)
	w.logClaim(other)
	if c := o.settled(third); c.State() != program.StateDecided || !c.Rounds[0].Granted { // another person's
		t.Errorf("another claim: %s %+v", c.State(), c.Findings)
	}
	nobodyGrants(t, w, o, held)
}

// grantedOnce takes case work up from some facts: one of two cases is granted, and the other is for a person.
func grantedOnce(t *testing.T, w *world, facts []kept, cases ...string) {
	t.Helper()
	o := w.work(facts)
	defer o.halt()
	grants := 0
	for _, id := range cases {
		if c := o.settled(id); len(c.Rounds) > 0 && c.Rounds[0].Granted {
			grants++
		} else if c.State() != program.StateReview {
			t.Errorf("after %d facts: %s", len(facts), c.State())
		}
	}
	if grants != 1 {
		t.Errorf("after %d facts, %d cases were granted one claim", len(facts), grants)
	}
}

// nobodyGrants has a person decide a case that was answered with another one's claim, and its document be changed.
func nobodyGrants(t *testing.T, w *world, o *office, held string) {
	t.Helper()
	c, err := o.Case(held)
	w.check(err)
	if why := c.Reasons(); c.Findings[0].Claim != program.ClaimTwice || len(why) != 1 || !strings.Contains(why[0], "one claim twice") {
		t.Errorf("%+v %v", c.Findings[0], why)
	}
	if _, err := o.Review(t.Context(), held, true, "officer 17", "believed"); !errors.Is(err, program.ErrClaimed) {
		t.Errorf("a person grants another's claim: %v", err)
	}
	_, err = o.Review(t.Context(), held, false, "officer 17", "the register gave one claim twice")
	w.check(err)
	data, r := o.shown(held, -1)
	if r.Granted || r.Rule || len(r.Reviews) != 1 {
		t.Errorf("%+v", r)
	}
	for name, change := range map[string]func(*program.Decision){
		"granted": func(s *program.Decision) { s.Granted = true },
		"by rule": func(s *program.Decision) { s.By, s.Officer, s.Reason = program.RuleDecided, "", "" },
	} {
		d, err := program.DecodeDocument(data)
		w.check(err)
		w.resign(d, change)
		changed, err := bundle.Encode(d)
		w.check(err)
		if _, err := program.Verify(w.verify, changed); decisionReason(err) != program.ReasonRule {
			t.Errorf("%s: %v", name, err)
		}
	}
}
