package exchange_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

// TestBudgetIsReservedBeforeProving sends more queries at once than the budget has answers. Each waits for its proof while the others
// are checked: only as many as there are answers get so far, the others are refused, and every outcome has its receipt.
func TestBudgetIsReservedBeforeProving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var csv strings.Builder
	csv.WriteString("person,age,income,town\n")
	for i := range 8 {
		fmt.Fprintf(&csv, "P-%04d,80,1.00,Ulm\n", i)
	}
	const total = 3
	accept := w.furnish(csv.String(), 2, total)
	results := make([]*requester.Result, 8)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() {
			var err error
			if results[i], err = w.members[benefits].requester.Ask(t.Context(), w.question(fmt.Sprintf("P-%04d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	told := map[string]int{}
	for _, r := range results {
		told[r.Verdict+r.Refusal]++
	}
	if told["satisfied"] != total || told[holder.CodeBudget] != len(results)-total || w.members[civil].holder.Used(accept) != total {
		t.Errorf("outcomes %v, %d charged; the budget is %d", told, w.members[civil].holder.Used(accept), total)
	}
}

// TestBudgetSurvivesClockChanges: a budget has no clock. After years, and after the clock went back, it is as used up as it was.
func TestBudgetSurvivesClockChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 1, 2)
	if r := w.ask(w.question("P-0001")); r.Verdict != "satisfied" {
		t.Fatalf("%+v", r)
	}
	shift := func(by time.Duration) {
		w.mu.Lock()
		w.offset += by
		w.mu.Unlock()
		w.members[civil].halt()
		w.members[civil].start()
	}
	shift(3 * 365 * 24 * time.Hour)
	var result *requester.Result
	w.eventually("the holder answers after three years", func() bool {
		var err error
		result, err = w.members[benefits].requester.Ask(t.Context(), w.question("P-0001"))
		return err == nil
	})
	if result.Refusal != holder.CodeBudget {
		t.Errorf("three years later: %+v", result)
	}
	shift(-24 * time.Hour) // the ledger's time does not follow: what is asked now is dated before it, and never answered
	for range 5 {
		q := w.question("P-0001")
		q.Life = 2 * time.Second
		result, err := w.members[benefits].requester.Ask(t.Context(), q)
		if err == nil && result.Verdict != "" {
			t.Fatalf("the clock went back, and the budget was new: %+v", result)
		}
	}
}

// TestEndedRightsAreRefused: what an agreement no longer allows is refused with a reason of its own, by a signed refusal whose receipt
// is promised (the requester believes no other).
func TestEndedRightsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 1, 1)
	w.ask(w.question("P-0001"))
	end := w.now().Add(4 * time.Second)
	brief := w.accept(w.offer(5, 5, func(t *entry.Terms) { t.Purpose, t.Expires = "brief", entry.FormatTime(end) }))
	revoked := w.grant("rich", "income > 1000.00", 5, 5)
	_, err := w.members[civil].holder.Revoke(t.Context(), revoked, "over")
	w.check(err)
	w.eventually("the brief agreement has ended", func() bool { return w.now().After(end.Add(2 * time.Second)) })
	for name, c := range map[string]struct {
		change func(*requester.Question)
		want   string
	}{
		"exhausted": {func(q *requester.Question) { q.Subject = "P-0002" }, holder.CodeBudget},
		"expired":   {func(q *requester.Question) { q.Purpose = "brief" }, "agreement_expired"},
		"revoked":   {func(q *requester.Question) { q.Policy = "rich" }, "no_agreement"},
		"purpose":   {func(q *requester.Question) { q.Purpose = "curiosity" }, "purpose_not_allowed"},
		"basis":     {func(q *requester.Question) { q.LegalBasis = "none" }, "purpose_not_allowed"},
	} {
		q := w.question("P-0001")
		c.change(&q)
		r := w.ask(q)
		if r.Refusal != c.want || r.State != requester.StateRefused || r.Message == "" || r.Rejected != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	if n := w.members[civil].holder.Used(brief) + w.members[civil].holder.Used(revoked); n != 0 {
		t.Errorf("refusals were charged %d times", n)
	}
}
