package exchange_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/ledger/entry"
)

// offer has benefits offer to ask the policy aged, on terms that change may alter, and waits until the holder has the offer.
func (w *world) offer(perSubject, total int, change func(*entry.Terms)) entry.Ref {
	w.t.Helper()
	offer, err := w.tryOffer(perSubject, total, change)
	w.check(err)
	w.eventually("the offer reaches the holder", func() bool {
		head, ok := w.members[w.holder].ledger.Final(offer.Origin)
		return ok && head.Size > offer.Index
	})
	return offer
}

func (w *world) tryOffer(perSubject, total int, change func(*entry.Terms)) (entry.Ref, error) {
	w.t.Helper()
	budget, err := agreement.NewBudget(perSubject, total)
	w.check(err)
	terms := entry.Terms{Holder: w.holder, Policy: "aged", PolicyVersion: 1, Purpose: purpose, LegalBasis: basis,
		Expires: "2099-01-01T00:00:00Z"}
	if change != nil {
		change(&terms)
	}
	return w.members[benefits].requester.Offer(w.t.Context(), terms, budget)
}

// accept has the holder grant an offer.
func (w *world) accept(offer entry.Ref) uint64 {
	w.t.Helper()
	index, err := w.members[w.holder].holder.Accept(w.t.Context(), offer)
	w.check(err)
	return index
}

// TestRepeatedOfferIsOneOffer: a call that is repeated, or made by several at once, must not double the budget.
func TestRepeatedOfferIsOneOffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	refs := make([]entry.Ref, 6)
	var all sync.WaitGroup
	for i := range refs {
		all.Go(func() { refs[i] = w.offer(2, 20, func(t *entry.Terms) { t.Disclose = []string{"town", "age"} }) })
	}
	all.Wait()
	for _, ref := range refs {
		if ref != refs[0] {
			t.Fatalf("one offer stands at %d and %d", refs[0].Index, ref.Index)
		}
	}
	b := w.members[benefits]
	b.halt()
	b.start()
	w.eventually("the holder's log is known again", func() bool { _, ok := b.ledger.Final(w.config.Origin(civil)); return ok })
	same := func(t *entry.Terms) { t.Disclose = []string{"age", "town"} }
	if ref := w.offer(2, 20, same); ref != refs[0] {
		t.Fatal("after a restart the offer is made again")
	}
	for name, other := range map[string]func() entry.Ref{
		"budget per subject": func() entry.Ref { return w.offer(1, 20, same) },
		"budget in all":      func() entry.Ref { return w.offer(2, 21, same) },
		"columns":            func() entry.Ref { return w.offer(2, 20, nil) },
		"purpose":            func() entry.Ref { return w.offer(2, 20, func(t *entry.Terms) { same(t); t.Purpose = "other" }) },
	} {
		if other() == refs[0] {
			t.Errorf("%s: another offer is taken for the first", name)
		}
	}
	w.accept(refs[0])
	w.eventually("the acceptance is known", func() bool {
		_, ok := b.ledger.View(w.config.Origin(civil), ^uint64(0)).Accepted(refs[0])
		return ok
	})
	if ref := w.offer(2, 20, same); ref == refs[0] {
		t.Error("an offer that was accepted is returned as open: there could never be a second one")
	}
}

// TestAnswersToAnOfferAreRepeatable: each operation returns the entry that stands, and none undoes another.
func TestAnswersToAnOfferAreRepeatable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	h := w.members[civil].holder
	twice := func(what string, do func() (uint64, error)) uint64 {
		t.Helper()
		first, err := do()
		w.check(err)
		size := w.rightsLogged()
		second, err := do()
		w.check(err)
		if first != second || w.rightsLogged() != size {
			t.Errorf("%s: entries %d and %d", what, first, second)
		}
		return first
	}
	unwanted := w.offer(1, 10, nil)
	twice("reject", func() (uint64, error) { return h.Reject(t.Context(), unwanted, "no") })
	wanted := w.offer(2, 10, nil)
	accept := twice("accept", func() (uint64, error) { return h.Accept(t.Context(), wanted) })
	if _, err := h.Reject(t.Context(), wanted, "changed my mind"); !errors.Is(err, holder.ErrOffer) {
		t.Errorf("an accepted offer was rejected: %v", err)
	}
	twice("revoke", func() (uint64, error) { return h.Revoke(t.Context(), accept, "over") })
	if _, err := h.Accept(t.Context(), wanted); !errors.Is(err, holder.ErrOffer) {
		t.Errorf("a revoked right came back with a new budget: %v", err)
	}
	if _, err := h.Revoke(t.Context(), 0, "no right"); !errors.Is(err, holder.ErrOffer) {
		t.Errorf("revoked what is no acceptance: %v", err)
	}
}

// rightsLogged counts the holder's entries that answer offers or end rights.
func (w *world) rightsLogged() int {
	v := w.members[w.holder].ledger.View(w.config.Origin(w.holder), ^uint64(0))
	n := len(v.Rejects())
	for _, a := range v.Agreements() {
		if n++; a.Revoked {
			n++
		}
	}
	return n
}
