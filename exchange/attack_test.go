package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
)

// receipted asks about a subject and waits until the receipt is logged.
func (w *world) receipted(q requester.Question) *requester.Result {
	w.t.Helper()
	result := w.ask(q)
	r := w.members[benefits].requester
	w.eventually("the receipt's path is fetched", func() bool {
		r.Follow(w.t.Context())
		result, _ = r.Result(result.ID)
		return result.State == requester.StateReceipted
	})
	return result
}

// answer lets benefits ask with a request that it signed itself, and returns the verdict or the refusal's code.
func (w *world) answer(from string, request []byte) string {
	w.t.Helper()
	data, err := w.members[civil].holder.Answer(w.t.Context(), from, request)
	w.check(err)
	reply, err := bundle.DecodeReply(data)
	w.check(err)
	if reply.Answer != nil {
		return reply.Answer.Verdict
	}
	var no bundle.Refusal
	w.check(reply.Refusal.Refusal.Peek(&no))
	return no.Code
}

// TestBundleHasOneSpelling spells a valid bundle in ways that say the same, or carry bytes that nothing authenticates.
func TestBundleHasOneSpelling(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100, "town")
	q := w.question("P-0004") // has no town
	q.Disclose = []string{"town"}
	whole := w.bundle(w.receipted(q).ID, true)
	_, err := w.verify.Verify(whole)
	w.check(err)
	broken := func(signature string) string { return signature[:20] + "\n" + signature[20:] }
	stranger := "\u2014 example.com/stranger AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
	reorder := func(note string) string {
		lines := strings.SplitAfter(note, "\n")
		n := len(lines)
		lines[n-2], lines[n-3] = lines[n-3], lines[n-2]
		return strings.Join(lines, "")
	}
	for name, c := range map[string]struct {
		change func(*bundle.Bundle)
		want   bundle.Reason
	}{
		"query signature in two lines":   {func(b *bundle.Bundle) { b.Query.Signature = broken(b.Query.Signature) }, bundle.ReasonQuerySignature},
		"header signature in two lines":  {func(b *bundle.Bundle) { b.Header.Signature = broken(b.Header.Signature) }, bundle.ReasonHeader},
		"promise signature in two lines": {func(b *bundle.Bundle) { b.Promise.Signature = broken(b.Promise.Signature) }, bundle.ReasonPromise},
		"a stranger's signature":         {func(b *bundle.Bundle) { b.Checkpoint += stranger }, bundle.ReasonCheckpoint},
		"cosignatures reordered":         {func(b *bundle.Bundle) { b.Checkpoint = reorder(b.Checkpoint) }, bundle.ReasonCheckpoint},
		"a stranger under the receipt":   {func(b *bundle.Bundle) { b.Receipt.Checkpoint += stranger }, bundle.ReasonReceipt},
		"a text for a missing value":     {func(b *bundle.Bundle) { b.Disclosed[0].Text = "Ulm" }, bundle.ReasonPublic},
	} {
		var b bundle.Bundle
		w.check(json.Unmarshal(whole, &b))
		c.change(&b)
		if _, err := w.verify.Verify(w.encode(&b)); reason(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestPromiseOfAnotherTimeIsRefused has the holder promise its receipt for a beat that the answer does not belong to.
func TestPromiseOfAnotherTimeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	honest := w.lie("P-0001", func(*bundle.Header) {})
	var p receipt.Promise
	w.check(honest.Promise.Peek(&p))
	year := uint64(365 * 24 * 3600)
	for name, beat := range map[string]uint64{"in a year": p.Beat + year, "a year ago": p.Beat - year, "in two hours": p.Beat + 7200,
		"at the end of time": 1 << 40} {
		late := p
		late.Beat, late.Deadline = beat, receipt.Deadline(beat, time.Second).Format(time.RFC3339)
		b := *honest
		var err error
		b.Promise, err = bundle.Sign(w.members[civil].query, bundle.LabelPromise, &late)
		w.check(err)
		if _, err := w.verify.Verify(w.encode(&b)); reason(err) != bundle.ReasonPromise {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOpeningMustBeNormalised has a dishonest pair prove that nobody is called "p-0001", and show it as if it were about P-0001.
func TestOpeningMustBeNormalised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	for _, subject := range []string{"p-0001", "P-0001 ", "nobody"} {
		b := w.lie(subject, func(*bundle.Header) {})
		opening := w.opening
		b.Opening = &opening
		if b.Verdict != "no_record" {
			t.Fatalf("%q: %s", subject, b.Verdict)
		}
		if _, err := w.verify.Verify(w.encode(b)); reason(err) != bundle.ReasonOpening {
			t.Errorf("%q: %v", subject, err)
		}
	}
}

// TestEpochFromTheFutureIsRefused has the holder date an epoch so that it never grows old.
func TestEpochFromTheFutureIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	c := w.members[civil]
	e, _, _ := c.ledger.View(w.config.Origin(civil), ^uint64(0)).Epoch("people")
	e.Epoch++
	e.Time = "2099-01-01T00:00:00Z"
	at, err := c.ledger.Append(t.Context(), e)
	w.check(err)
	w.check(c.ledger.WaitFinal(t.Context(), at[0]))
	if _, err := w.verify.Verify(w.encode(w.claim(func(*bundle.Header) {}))); reason(err) != bundle.ReasonAge {
		t.Fatalf("got %v", err)
	}
	if code := w.answer(benefits, w.request(w.question("P-0001"), func(q *bundle.Query, _ *bundle.Opening) { q.MaxAgeSeconds = 3600 })); code != holder.CodeStaleEpoch {
		t.Fatalf("the honest holder says %s", code)
	}
}

// TestOldBeatShowsNothing has the holder name an old receipts batch, from before the epoch that it hides.
func TestOldBeatShowsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	c, origin := w.members[civil], w.config.Origin(civil)
	newest := func() (entry.ReceiptsBatch, uint64) {
		head, _ := c.ledger.Final(origin)
		batch, index, _ := c.ledger.View(origin, head.Size).NewestBatch()
		return batch, index
	}
	var first uint64
	var beat uint64
	w.eventually("a beat names the epoch", func() bool {
		batch, index := newest()
		first, beat = index, batch.Beat
		return batch.Epochs["people"] > 0
	})
	_, hidden, _ := c.ledger.View(origin, ^uint64(0)).Epoch("people")
	w.importCSV("person,age,income,town\nP-0001,20,0.00,Ulm\n")
	window := bundle.BeatLength(w.config)*4 + 6*time.Second // two beats, the clocks' allowance and a margin
	w.eventually("the beat is old", func() bool { return w.now().Sub(receipt.BeatStart(beat, time.Second)) > window })
	stale := w.encode(w.lie("P-0001", func(h *bundle.Header) { h.Epoch, h.Batch = hidden, &first }))
	report, err := w.verify.Verify(stale)
	w.check(err)
	if report.Currency != bundle.CurrencyAsserted {
		t.Errorf("an old beat makes the answer %q", report.Currency)
	}
	replica := *w.verify
	replica.Replica = c.ledger
	old := w.encode(w.claim(func(h *bundle.Header) { h.Batch = &first }))
	if _, err := replica.Verify(old); reason(err) != bundle.ReasonSuperseded {
		t.Errorf("a header that calls an old beat the newest: %v", err)
	}
}

// TestSecondBatchOfABeatDoesNotCount has the holder log a beat twice: the second is void, whatever it holds.
func TestSecondBatchOfABeatDoesNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	result := w.receipted(w.question("P-0001"))
	var b bundle.Bundle
	w.check(json.Unmarshal(w.bundle(result.ID, false), &b))
	c, origin := w.members[civil], w.config.Origin(civil)
	e, err := entry.Decode([]byte(b.Receipt.Batch.Body))
	w.check(err)
	at, err := c.ledger.Append(t.Context(), e)
	w.check(err)
	w.check(c.ledger.WaitFinal(t.Context(), at[0]))
	replica := *w.verify
	replica.Replica = c.ledger
	_, err = replica.Verify(w.encode(&b))
	w.check(err)
	head, _ := c.ledger.Final(origin)
	b.Receipt.Checkpoint = string(head.Checkpoint)
	b.Receipt.Batch, err = bundle.Include(c.ledger, origin, at[0], head.Size)
	w.check(err)
	if _, err := replica.Verify(w.encode(&b)); reason(err) != bundle.ReasonReceipt {
		t.Fatalf("the second batch of a beat: %v", err)
	}
}

// TestExpiredConfigurationEndsAnswers moves the clock beyond the end of the network configuration.
func TestExpiredConfigurationEndsAnswers(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 600, expires: entry.FormatTime(time.Now().Add(time.Hour))})
	w.furnish(peopleCSV, 10, 100)
	request := w.request(w.question("P-0001"), func(q *bundle.Query, _ *bundle.Opening) {
		q.Issued, q.Expires = entry.FormatTime(w.now().Add(2*time.Hour)), entry.FormatTime(w.now().Add(3*time.Hour))
	})
	_, err := w.verify.Verify(w.encode(w.lie("P-0001", func(*bundle.Header) {})))
	w.check(err)
	w.mu.Lock()
	w.offset = 2 * time.Hour
	w.mu.Unlock()
	w.eventually("the ledger's time is beyond it", func() bool {
		head, _ := w.members[civil].ledger.Final(w.config.Origin(civil))
		return head.Times[0].After(time.Now().Add(90 * time.Minute))
	})
	if _, err := w.verify.Verify(w.encode(w.claim(func(*bundle.Header) {}))); reason(err) != bundle.ReasonConfiguration {
		t.Errorf("a stranger says %v", err)
	}
	_, err = w.members[civil].holder.Answer(t.Context(), benefits, request)
	var r *holder.RequestError
	if !errors.As(err, &r) || r.Code() != "configuration_expired" {
		t.Errorf("the holder says %v", err)
	}
	if _, err := w.members[benefits].requester.Ask(t.Context(), w.question("P-0001")); !errors.Is(err, requester.ErrQuestion) {
		t.Errorf("the requester says %v", err)
	}
}

// TestQueryFromTheFutureIsRefused: its answer would not verify, and would have to be stored until then.
func TestQueryFromTheFutureIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	for _, ahead := range []time.Duration{2 * time.Minute, 24 * time.Hour, 50 * 365 * 24 * time.Hour} {
		code := w.answer(benefits, w.request(w.question("P-0001"), func(q *bundle.Query, _ *bundle.Opening) {
			q.Issued, q.Expires = entry.FormatTime(w.now().Add(ahead)), entry.FormatTime(w.now().Add(ahead+time.Minute))
		}))
		if code != "query_not_yet_valid" {
			t.Errorf("%s ahead: %s", ahead, code)
		}
	}
	if w.members[civil].holder.Used(accept) != 0 {
		t.Error("charged")
	}
}

// TestMaximumAgeIsMeant: neither a fraction of a second nor an overflow may turn a limit into none.
func TestMaximumAgeIsMeant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	q := w.question("P-0001")
	q.MaxAge = 500 * time.Millisecond
	if _, _, err := w.members[benefits].requester.Draft(q); !errors.Is(err, requester.ErrQuestion) {
		t.Errorf("half a second became no limit: %v", err)
	}
	request := w.request(w.question("P-0001"), func(q *bundle.Query, _ *bundle.Opening) { q.MaxAgeSeconds = 10_000_000_000 })
	if _, err := w.members[civil].holder.Answer(t.Context(), benefits, request); !errors.Is(err, holder.ErrRequest) {
		t.Errorf("an age beyond 292 years was taken: %v", err)
	}
}

// TestQueryIDsBelongToTheirRequester has another member use up an id first.
func TestQueryIDsBelongToTheirRequester(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	id := strings.Repeat("ab", 16)
	mine := w.request(w.question("P-0001"), func(q *bundle.Query, _ *bundle.Opening) { q.ID = id })
	var theirs []byte
	w.request(w.question("P-0001"), func(q *bundle.Query, o *bundle.Opening) {
		q.ID, q.Requester = id, health
		signed, err := bundle.Sign(w.members[health].query, bundle.LabelQuery, q)
		w.check(err)
		theirs, err = bundle.Encode(&bundle.Request{Query: signed, Opening: *o})
		w.check(err)
	})
	if code := w.answer(health, theirs); code != "no_agreement" {
		t.Fatalf("a member without an agreement: %s", code)
	}
	if got := w.answer(benefits, mine); got != "satisfied" {
		t.Fatalf("the id was taken by another member: %s", got)
	}
	w.members[civil].halt()
	w.members[civil].start()
	if got := w.answer(benefits, w.request(w.question("P-0002"), func(q *bundle.Query, _ *bundle.Opening) { q.ID = id })); got != holder.CodeReplayed {
		t.Fatalf("the restart forgot the id: %s", got)
	}
}

// TestUnservedRequestLeavesNoTrace: what gets a RequestError is neither charged nor keeps its id.
func TestUnservedRequestLeavesNoTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 1, 100)
	id := strings.Repeat("cd", 16)
	withID := func(q *bundle.Query, _ *bundle.Opening) { q.ID = id }
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.members[civil].holder.Answer(gone, benefits, w.request(w.question("P-0001"), withID)); !errors.Is(err, holder.ErrRequest) {
		t.Fatalf("with a context that has ended: %v", err)
	}
	if w.members[civil].holder.Used(accept) != 0 {
		t.Fatal("charged")
	}
	if got := w.answer(benefits, w.request(w.question("P-0001"), withID)); got != "satisfied" {
		t.Fatalf("the id was used up by nothing: %s", got)
	}
}

// TestRevocationAndReceiptDoNotCross: once a revocation is on the log, no answer under that right is written.
func TestRevocationAndReceiptDoNotCross(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	c, origin := w.members[civil], w.config.Origin(civil)
	inForce := func() bool { _, ok := c.ledger.View(origin, ^uint64(0)).Agreement(accept); return ok }
	var revoking sync.WaitGroup
	var crossed, once atomic.Bool
	c.sealing = func() {
		if !once.CompareAndSwap(false, true) {
			return
		}
		revoking.Go(func() { // at the last moment before the receipt is on disk
			if _, err := c.holder.Revoke(t.Context(), accept, "ended"); err != nil {
				t.Error(err)
			}
		})
		for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if !inForce() {
				crossed.Store(true)
				return
			}
		}
	}
	request := w.request(w.question("P-0001"), nil) // no journal of civil's is written before the answer's
	got := w.answer(benefits, request)
	revoking.Wait()
	if got == "satisfied" && crossed.Load() {
		t.Fatal("an answer was receipted after its right had been revoked on the log")
	}
	if got := w.answer(benefits, w.request(w.question("P-0001"), nil)); got != "no_agreement" {
		t.Fatalf("after the revocation: %s", got)
	}
}

// TestOneOfferMakesOneAgreement: two acceptances would be two budgets.
func TestOneOfferMakesOneAgreement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	c, origin := w.members[civil], w.config.Origin(civil)
	offer := w.offer(3, 30, func(t *entry.Terms) { t.Purpose = "another" })
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if _, err := c.holder.Accept(t.Context(), offer); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	for _, other := range c.ledger.View(origin, ^uint64(0)).Agreements() {
		if other.Accept.Offer == offer {
			n++
		}
	}
	if n != 1 {
		t.Fatalf("%d agreements for one offer", n)
	}
}

// TestWithdrawnOfferEndsTheRight: it binds the requester's own gateway at once, and the holder once replicated.
func TestWithdrawnOfferEndsTheRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	request := w.request(w.question("P-0001"), nil)
	a, _ := w.members[civil].ledger.View(w.config.Origin(civil), ^uint64(0)).Agreement(accept)
	b := w.members[benefits]
	withdrawn, err := b.requester.Withdraw(t.Context(), a.Offer.Index, "done")
	w.check(err)
	again, err := b.requester.Withdraw(t.Context(), a.Offer.Index, "done")
	w.check(err)
	if again != withdrawn {
		t.Errorf("withdrawn by entries %d and %d", withdrawn, again)
	}
	if _, err := b.requester.Withdraw(t.Context(), 1<<40, "done"); !errors.Is(err, requester.ErrOffer) {
		t.Errorf("withdrew what is no offer: %v", err)
	}
	if _, err := b.requester.Ask(t.Context(), w.question("P-0001")); !errors.Is(err, requester.ErrQuestion) {
		t.Errorf("the requester's own gateway: %v", err)
	}
	w.eventually("the withdrawal is replicated", func() bool {
		_, ok := w.members[civil].ledger.View(a.Offer.Origin, ^uint64(0)).Offer(a.Offer.Index)
		return !ok
	})
	if got := w.answer(benefits, request); got != "no_agreement" {
		t.Errorf("the holder: %s", got)
	}
	if _, err := w.members[civil].holder.Accept(t.Context(), a.Offer); !errors.Is(err, holder.ErrOffer) {
		t.Errorf("a withdrawn offer was accepted: %v", err)
	}
}

// TestReplicaWithAnotherTreeIsNoticed verifies a bundle against a replica that holds another log of the same size.
func TestReplicaWithAnotherTreeIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	data := w.bundle(w.ask(w.question("P-0001")).ID, false)
	replica := *w.verify
	replica.Replica = forked{w.members[civil].ledger}
	if _, err := replica.Verify(data); reason(err) != bundle.ReasonCheckpoint {
		t.Fatalf("got %v", err)
	}
}

// forked is a replica of a log that differs from the first entry on.
type forked struct{ *ledger.Store }

func (f forked) Inclusion(origin string, index, size uint64) ([]tlog.Hash, error) {
	path, err := f.Store.Inclusion(origin, index, size)
	for i := range path {
		path[i][0] ^= 1
	}
	return path, err
}

// TestOfferMustBeAskable: terms that no query can repeat are not offered.
func TestOfferMustBeAskable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	a, _ := w.members[civil].ledger.View(w.config.Origin(civil), ^uint64(0)).Agreement(accept)
	budget, err := agreement.NewBudget(1, 1)
	w.check(err)
	terms := a.Terms
	terms.Purpose = strings.Repeat("p", bundle.MaxText+1)
	if _, err := w.members[benefits].requester.Offer(t.Context(), terms, budget); !errors.Is(err, requester.ErrOffer) {
		t.Fatalf("got %v", err)
	}
}
