package exchange_test

import (
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/program"
)

// TestQueryOfAnotherPersonIsNoAnswer has somebody ask about another person under the reference of a case whose check has no reply yet. A
// decision document cannot show whom its answers are about, so that the case must not take that query for its own.
func TestQueryOfAnotherPersonIsNoAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 1000)
	o := w.work(nil)
	o.publish(allowance)
	w.members[civil].intercept = func([]byte, error) ([]byte, error) { return nil, errBusy }
	c, err := o.Apply(couple("p-0002", "P-0004")) // sixty years old
	w.check(err)
	sent := func() int { return len(w.members[benefits].requester.Results(10)) }
	w.eventually("both checks are sent", func() bool { return sent() == 2 })
	time.Sleep(100 * time.Millisecond) // their replies are lost
	o.halt()
	w.members[civil].intercept = nil
	q := w.question("P-0001")
	q.Case = c.Reference("own")
	if r := w.ask(q); r.Verdict != "satisfied" {
		t.Fatalf("%+v", r)
	}
	o.mu.Lock()
	facts := o.kept
	o.mu.Unlock()
	got := w.work(facts).settled(c.ID)
	if got.State() != program.StateDecided || got.Findings[0].Verdict != "not_satisfied" || got.Rounds[0].Granted {
		t.Errorf("%s %+v %+v", got.State(), got.Findings, got.Rounds)
	}
	if n := sent(); n != 3 {
		t.Errorf("%d queries, want 3: a check was asked twice", n)
	}
}
