package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

// TestUnprovedReceiptIsReported: the batch is on the log in time, but the receipt is not shown to be under it.
func TestUnprovedReceiptIsReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	c, r := w.members[civil], w.members[benefits].requester
	for purposeOf, path := range map[string]func([]byte, error) ([]byte, error){
		purpose: func(reply []byte, err error) ([]byte, error) {
			if err != nil {
				return nil, err
			}
			include, err := bundle.DecodeReceipt(reply)
			w.check(err)
			include.Proof.Path[7][0] ^= 1
			return bundle.Encode(include)
		},
		"curiosity": func([]byte, error) ([]byte, error) { return nil, errors.New("no such receipt") },
	} {
		c.path = path
		q := w.question("P-0001")
		q.Purpose = purposeOf // a refusal is promised like an answer
		result := w.ask(q)
		state := result.State
		w.eventually("the promise is reported as broken: "+purposeOf, func() bool {
			r.Follow(t.Context())
			result, _ = r.Result(result.ID)
			return result.Broken
		})
		if result.State != state || state != map[string]string{purpose: requester.StateAnswered, "curiosity": requester.StateRefused}[purposeOf] {
			t.Errorf("%s: %+v", purposeOf, result)
		}
	}
}

// TestRejectedAnswerIsVerifiedAgain: what could not be verified at first (the replica was behind, the holder erred) is not lost.
func TestRejectedAnswerIsVerifiedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	c, r := w.members[civil], w.members[benefits].requester
	c.intercept = func(reply []byte, err error) ([]byte, error) {
		return bytes.Replace(reply, []byte(`"verdict":"satisfied"`), []byte(`"verdict":"no_record"`), 1), err
	}
	result := w.ask(w.question("P-0001"))
	if result.Rejected == "" || result.State != requester.StateRefused {
		t.Fatalf("%+v", result)
	}
	c.intercept = nil
	result, err := r.Resend(t.Context(), result.ID)
	w.check(err)
	if result.Verdict != "satisfied" || result.Rejected != "" || c.holder.Used(accept) != 1 {
		t.Fatalf("%+v, charged %d", result, c.holder.Used(accept))
	}
	w.members[benefits].halt()
	w.members[benefits].start()
	if result, _ = w.members[benefits].requester.Result(result.ID); result.Verdict != "satisfied" {
		t.Fatalf("after a restart %+v", result)
	}
}

// TestVerifiedAnswerIsNotOverwritten sends one query twice at once and spoils the reply that comes later.
func TestVerifiedAnswerIsNotOverwritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	c, r := w.members[civil], w.members[benefits].requester
	c.intercept = func([]byte, error) ([]byte, error) { return nil, errors.New("lost") }
	result, err := r.Ask(t.Context(), w.question("P-0001"))
	if !errors.Is(err, requester.ErrNoReply) {
		t.Fatal(err)
	}
	id := result.ID
	var calls atomic.Int32
	second := make(chan struct{})
	c.intercept = func(reply []byte, err error) ([]byte, error) {
		if calls.Add(1) > 1 {
			close(second)
			for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
				if got, _ := r.Result(id); got.State != requester.StateSent {
					break
				}
			}
			return []byte("{}"), nil
		}
		select {
		case <-second:
		case <-time.After(500 * time.Millisecond):
		}
		return reply, err
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if _, err := r.Resend(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if result, _ = r.Result(id); result.Verdict != "satisfied" {
		t.Fatalf("a later reply took the place of a verified one: %+v", result)
	}
}

// TestSilentHolderDoesNotHoldUpOthers: what is open with one member waits for that member alone.
func TestSilentHolderDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	w.holder = health
	w.furnish(peopleCSV, 10, 100)
	b := w.members[benefits]
	lost := func([]byte, error) ([]byte, error) { return nil, errors.New("lost") }
	w.members[civil].intercept, w.members[health].intercept = lost, lost
	var ids []string
	for _, name := range []string{civil, health} {
		w.holder = name
		result, err := b.requester.Ask(t.Context(), w.question("P-0001"))
		if !errors.Is(err, requester.ErrNoReply) {
			t.Fatal(err)
		}
		ids = append(ids, result.ID)
	}
	b.halt()
	b.start()
	w.members[civil].intercept = func([]byte, error) ([]byte, error) { return nil, errBusy } // for as long as the query lives
	w.members[health].intercept = nil
	ctx, stop := context.WithCancel(t.Context())
	var resuming sync.WaitGroup
	resuming.Go(func() { b.requester.Resume(ctx) })
	defer resuming.Wait()
	defer stop()
	w.eventually("the other member's answer arrives", func() bool {
		result, _ := b.requester.Result(ids[1])
		return result.Verdict == "satisfied"
	})
}

// errBusy may pass.
var errBusy = errors.New("busy")

// TestRefusalIsBounded has a holder sign a refusal that is no code but a text.
func TestRefusalIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	c, b := w.members[civil], w.members[benefits]
	for name, no := range map[string]bundle.Refusal{
		"long code":    {Version: 1, Code: strings.Repeat("x", 3000), Message: "m", Time: entry.FormatTime(w.now())},
		"code of text": {Version: 1, Code: "<b>call 555-1234</b>", Message: "m", Time: entry.FormatTime(w.now())},
		"long message": {Version: 1, Code: "no", Message: strings.Repeat("x", 3000), Time: entry.FormatTime(w.now())},
		"no time":      {Version: 1, Code: "no", Message: "m", Time: "later"},
	} {
		c.intercept = func(reply []byte, _ error) ([]byte, error) {
			r, err := bundle.DecodeReply(reply)
			w.check(err)
			var honest bundle.Refusal
			w.check(r.Refusal.Refusal.Peek(&honest))
			no.Query = honest.Query
			signed, err := bundle.Sign(c.query, bundle.LabelRefusal, &no)
			w.check(err)
			p, salt, err := c.book.Record(receipt.Draft{Kind: "lie", Query: no.Query, Outcome: receipt.OutcomeRefused,
				Answer: signed.Digest(bundle.LabelRefusal), Payload: func(receipt.Promise, receipt.Hash) (any, error) { return nil, nil }})
			w.check(err)
			promise, err := bundle.Sign(c.query, bundle.LabelPromise, &p)
			w.check(err)
			return bundle.Encode(&bundle.Reply{Refusal: &bundle.SignedRefusal{Refusal: signed, Promise: promise, Salt: salt}})
		}
		q := w.question("P-0001")
		q.Purpose = "curiosity"
		result, err := b.requester.Ask(t.Context(), q)
		w.check(err)
		if result.Rejected != string(bundle.ReasonEncoding) || result.Refusal != "" {
			t.Errorf("%s: %.200v", name, result)
		}
	}
}
