package exchange_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// TestClaimLoggedAfterItsScopeClosed has a register close a scope on its log and log a claim in it afterwards, while another scope is
// open. The place does not count, for the requester and for whoever verifies with the log.
func TestClaimLoggedAfterItsScopeClosed(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 3600}) // no batch by itself
	w.scoped(3, 100, "2026")
	w.openScope("2027")
	first := w.ask(w.claiming("P-0001", "2026"))
	if first.Verdict != "satisfied" {
		t.Fatalf("%+v", first)
	}
	c := w.members[civil]
	s, _ := c.ledger.View(w.config.Origin(civil), ^uint64(0)).Scope(fuel, "2026")
	last, _, _ := c.ledger.View(w.config.Origin(civil), ^uint64(0)).NewestClaims()
	batch := entry.ClaimsBatch{Beat: max(last, receipt.BeatAt(w.now(), bundle.BeatLength(w.config))), Nullifiers: []string{first.Report.Nullifier}, Time: entry.FormatTime(w.now())}
	for i := range entry.Claims - 1 {
		batch.Nullifiers = append(batch.Nullifiers, bundle.FormatElement(circuits.TextElement(strings.Repeat("x", i+1))))
	}
	at, err := c.ledger.Append(t.Context(), entry.ScopeClose{Scope: s.Index, Reason: "over", Time: entry.FormatTime(w.now())}, batch)
	w.check(err)
	w.check(c.ledger.WaitFinal(t.Context(), at[1]))
	m := w.members[benefits]
	w.eventually("the requester has the batch", func() bool {
		head, ok := m.ledger.Final(w.config.Origin(civil))
		return ok && head.Size > at[1]
	})
	claim, err := m.requester.Claim(first.ID)
	w.check(err)
	if claim.State == bundle.ClaimFirst {
		t.Errorf("the requester takes it for %+v", claim)
	}
	b, err := bundle.Decode(w.bundle(first.ID, false))
	w.check(err)
	head, _ := m.ledger.Final(w.config.Origin(civil))
	include, err := bundle.Include(m.ledger, w.config.Origin(civil), at[1], head.Size)
	w.check(err)
	b.Claim = &bundle.ClaimInclude{Checkpoint: string(head.Checkpoint), Batch: include}
	replica := *w.verify
	replica.Replica = m.ledger
	if report, err := replica.Verify(w.encode(b)); reason(err) != bundle.ReasonClaim {
		t.Errorf("with the log: %+v, %v", report, err)
	}
}

// TestClaimCalledLater has a member deny by rule what was claimed first, by calling the claim a later one: with the claim's place in the
// document, without it, and in words that are no state of a claim.
func TestClaimCalledLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.claimOffice()
	data, _ := o.shown(o.decide(household("P-0001", "P-0002")).ID, -1)
	m := w.members[benefits]
	origin := w.config.Origin(benefits)
	for name, c := range map[string]struct {
		state   string
		strip   bool
		granted bool
	}{
		"its place shown":  {bundle.ClaimLater, false, false},
		"its place hidden": {bundle.ClaimLater, true, false},
		"no known state":   {"lost", true, true},
	} {
		d, err := program.DecodeDocument(data)
		w.check(err)
		var said program.Decision
		w.check(d.Decision.Peek(&said))
		said.Checks[0].Claim, said.Granted, said.Salt = c.state, c.granted, receipt.Sum(name)
		if c.strip {
			d.Evidence[0].Answer.Claim = nil
		}
		d.Decision, err = bundle.Sign(m.query, program.LabelDecision, said)
		w.check(err)
		at, err := m.ledger.Append(t.Context(), entry.CaseDecision{Digest: d.Decision.Digest(program.LabelDecision).String(), Time: said.Decided})
		w.check(err)
		w.check(m.ledger.WaitFinal(t.Context(), at[0]))
		head, _ := m.ledger.Final(origin)
		d.Checkpoint = string(head.Checkpoint)
		d.Program, err = bundle.Include(m.ledger, origin, d.Program.Index, head.Size)
		w.check(err)
		d.Logged, err = bundle.Include(m.ledger, origin, at[0], head.Size)
		w.check(err)
		replica := *w.verify
		replica.Replica = m.ledger
		changed, err := bundle.Encode(d)
		w.check(err)
		_, err = program.Verify(&replica, changed)
		if refused := (*program.Refused)(nil); !errors.As(err, &refused) || refused.Reason != program.ReasonEvidence {
			t.Errorf("%s: %v, want %s", name, err, program.ReasonEvidence)
		}
	}
}
