package exchange_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

// define has the holder define a group and waits until the others know it.
func (w *world) define(name string, members ...string) uint64 {
	w.t.Helper()
	index, err := w.members[civil].holder.DefineGroup(w.t.Context(), name, members)
	w.check(err)
	w.eventually("the group is known", func() bool {
		for _, other := range []string{benefits, health} {
			if head, ok := w.members[other].ledger.Final(w.config.Origin(civil)); !ok || head.Size <= index {
				return false
			}
		}
		return true
	})
	return index
}

func (w *world) askAs(member string) *requester.Result {
	w.t.Helper()
	result, err := w.members[member].requester.Ask(w.t.Context(), w.question("P-0001"))
	w.check(err)
	return result
}

// TestGroupOfRequesters: whoever belongs to the group of an agreement may ask under it, out of one budget, for as long as it belongs.
func TestGroupOfRequesters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 1, 1)
	revoked := w.members[civil].ledger.View(w.config.Origin(civil), ^uint64(0)).Agreements()[0].Index
	_, err := w.members[civil].holder.Revoke(t.Context(), revoked, "the group's right is tested")
	w.check(err)
	grouped := func(t *entry.Terms) { t.Group = "desks" }
	if _, err := w.tryOffer(3, 4, grouped); !errors.Is(err, requester.ErrOffer) {
		t.Errorf("an offer for a group that nobody defined: %v", err)
	}
	if _, err := w.members[civil].holder.DefineGroup(t.Context(), "desks", []string{"GOV/none"}); !errors.Is(err, holder.ErrGroup) {
		t.Errorf("a group of strangers: %v", err)
	}
	alone := w.define("desks", health)
	accept := w.accept(w.offer(3, 4, grouped))
	if r := w.askAs(benefits); r.Refusal != "no_agreement" {
		t.Errorf("who offered but does not belong to the group: %+v", r)
	}
	both := w.define("desks", health, benefits)
	if again := w.define("desks", benefits, health, health); again != both {
		t.Errorf("the same group stands at %d and %d", both, again)
	}
	for _, member := range []string{benefits, health, health} {
		r := w.askAs(member)
		data, err := w.members[member].requester.Bundle(r.ID, false)
		w.check(err)
		report, err := w.verify.Verify(data)
		if err != nil || report.Requester != member || r.Rejected != "" {
			t.Fatalf("%s: %+v, %v", member, r, err)
		}
		b, err := bundle.Decode(data)
		w.check(err)
		header, err := b.PeekHeader()
		w.check(err)
		if header.Group == nil || *header.Group != both || header.Agreement != accept {
			t.Errorf("%s: the header names %+v", member, header)
		}
	}
	for _, member := range []string{benefits, health} {
		if r := w.askAs(member); r.Refusal != holder.CodeBudget {
			t.Errorf("%s asks a fourth time about one person: %+v", member, r)
		}
	}
	if n := w.members[civil].holder.Used(accept); n != 3 {
		t.Errorf("%d answers are charged", n)
	}
	w.spoilGroup(alone, both)
	w.define("desks", benefits)
	if r := w.askAs(health); r.Refusal != "no_agreement" {
		t.Errorf("who left the group: %+v", r)
	}
}

// spoilGroup has the holder sign headers that do not fit the group of their agreement.
func (w *world) spoilGroup(alone, both uint64) {
	w.t.Helper()
	other := w.define("others", benefits)
	ended := w.members[civil].ledger.View(w.config.Origin(civil), ^uint64(0)).Agreements()[0].Index
	for name, c := range map[string]struct {
		group *uint64
		want  bundle.Reason
	}{
		"no group":          {nil, bundle.ReasonReference},
		"another group":     {&other, bundle.ReasonReference},
		"an older version":  {&alone, bundle.ReasonReference}, // to which the requester did not belong
		"another kind":      {&ended, bundle.ReasonReference},
		"the newest itself": {&both, ""},
	} {
		b := w.lie("P-0001", func(h *bundle.Header) {
			v := w.members[civil].ledger.View(h.Origin, h.Size)
			h.Agreement, h.Group = v.Agreements()[len(v.Agreements())-1].Index, c.group
		})
		if _, err := w.verify.Verify(w.encode(b)); reason(err) != c.want {
			w.t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	unasked := w.claim(func(h *bundle.Header) { h.Agreement, h.Group = ended, &both })
	if _, err := w.verify.Verify(w.encode(unasked)); reason(err) != bundle.ReasonReference {
		w.t.Errorf("a group that the agreement does not name: %v", err)
	}
	// To an older version the requester did belong. Offline that stands as asserted; the log shows the newer one.
	newer := w.define("desks", health)
	newest := w.define("desks", benefits, health)
	stale := w.lie("P-0001", func(h *bundle.Header) {
		v := w.members[civil].ledger.View(h.Origin, h.Size)
		h.Agreement, h.Group = v.Agreements()[len(v.Agreements())-1].Index, &both
	})
	if newer == newest {
		w.t.Fatal("the group did not change")
	}
	replica := *w.verify
	replica.Replica = w.members[benefits].ledger
	if _, err := replica.Verify(w.encode(stale)); reason(err) != bundle.ReasonSuperseded {
		w.t.Errorf("an older version of the group, with the log: %v", err)
	}
	if _, err := w.verify.Verify(w.encode(stale)); err != nil {
		w.t.Errorf("an older version of the group, offline: %v", err)
	}
}

// TestLeavingAGroupEndsTheRight takes a member out of a group while its answer is proved: once that returned, no receipt is written.
func TestLeavingAGroupEndsTheRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 1, 1)
	w.define("desks", benefits, health)
	accept := w.accept(w.offer(50, 50, func(t *entry.Terms) { t.Group = "desks" }))
	c := w.members[civil]
	c.halt()
	journal := &slowJournal{m: c}
	c.appending = func(j receipt.Journal) receipt.Journal { journal.Journal = j; return journal }
	c.start()
	w.eventually("the holder's head is fresh", func() bool { _, ok := c.ledger.Final(w.config.Origin(civil)); return ok })
	charged := func() (n int) {
		for _, f := range journal.all() {
			if f.kind == holder.KindAnswer && f.agreement != nil && *f.agreement == accept {
				n++
			}
		}
		return n
	}
	var asking sync.WaitGroup
	results := make(chan *requester.Result, 8)
	for range cap(results) {
		asking.Go(func() {
			if r, err := w.members[health].requester.Ask(t.Context(), w.question("P-0001")); err == nil {
				results <- r
			} else {
				t.Error(err)
			}
		})
	}
	w.eventually("an answer is given", func() bool { return len(results) > 0 })
	_, err := c.holder.DefineGroup(t.Context(), "desks", []string{benefits})
	w.check(err)
	logged := charged()
	asking.Wait()
	close(results)
	answered := 0
	for r := range results {
		switch {
		case r.Verdict != "":
			answered++
		case r.Refusal != holder.CodeWithdrawn && r.Refusal != "no_agreement":
			t.Errorf("%+v", r)
		}
	}
	if n := charged(); n != logged || answered != logged || answered == 8 {
		t.Errorf("%d answers were charged when the group had changed, %d in the end; %d were given", logged, n, answered)
	}
}
