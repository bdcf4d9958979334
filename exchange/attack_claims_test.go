package exchange_test

import (
	"strings"
	"testing"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
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
