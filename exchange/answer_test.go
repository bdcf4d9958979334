package exchange_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

func TestEachVerdictVerifiesAnywhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	for subject, want := range map[string]circuits.Verdict{
		"P-0001": circuits.Satisfied, "P-0002": circuits.NotSatisfied, "P-0003": circuits.Indeterminate, "P-0004": circuits.Satisfied,
		"P-9999": circuits.NoRecord, "p-0001": circuits.Satisfied,
	} {
		result := w.ask(w.question(subject))
		if result.Verdict != want.String() || result.State == requester.StateRefused {
			t.Fatalf("%+v, want %v", result, want)
		}
		if result.Report.Currency != bundle.CurrencyReplica {
			t.Errorf("the replica was not used: %s", result.Report.Currency)
		}
		report, err := w.verify.Verify(w.bundle(result.ID, false))
		w.check(err)
		if report.Verdict != want || report.OpeningSeen {
			t.Fatalf("%+v, want %v", report, want)
		}
		report, err = w.verify.Verify(w.bundle(result.ID, true))
		w.check(err)
		if !report.OpeningSeen {
			t.Fatal("the opening was not checked")
		}
	}
}

func TestReceiptIsLoggedByItsDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	result := w.ask(w.question("P-0001"))
	r := w.members[benefits].requester
	w.eventually("the receipt's path is fetched", func() bool {
		r.Follow(t.Context())
		result, _ = r.Result(result.ID)
		return result.State == requester.StateReceipted
	})
	if result.Broken {
		t.Fatal("the promise was reported as broken")
	}
	report, err := w.verify.Verify(w.bundle(result.ID, false))
	w.check(err)
	if report.Receipt != "logged" {
		t.Fatalf("receipt is %s", report.Receipt)
	}
	var b bundle.Bundle
	w.check(json.Unmarshal(w.bundle(result.ID, false), &b))
	b.Receipt.Proof.Path[3][0] ^= 1
	w.refused(t, &b, bundle.ReasonReceipt)
}

// refused encodes a changed bundle and wants the reason for which a stranger refuses it.
func (w *world) refused(t *testing.T, b *bundle.Bundle, want bundle.Reason) {
	t.Helper()
	data, err := bundle.Encode(b)
	w.check(err)
	_, err = w.verify.Verify(data)
	var r *bundle.Refused
	if !errors.As(err, &r) || r.Reason != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestRedactedBundleNamesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	result := w.ask(w.question("P-0001"))
	var whole bundle.Bundle
	w.check(json.Unmarshal(w.bundle(result.ID, true), &whole))
	redacted := w.bundle(result.ID, false)
	for _, secret := range []string{whole.Opening.Subject, whole.Opening.Nonce} {
		if len(secret) < 6 || bytes.Contains(redacted, []byte(secret)) {
			t.Fatal("a bundle without its opening holds part of it")
		}
	}
}

// TestAnyChangedByteIsRefused changes bytes of a whole bundle, one at a time: all of them with GRILLE_EXHAUSTIVE set.
func TestAnyChangedByteIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100, "income")
	q := w.question("P-0001")
	q.Disclose = []string{"income"}
	result := w.ask(q)
	r := w.members[benefits].requester
	w.eventually("the receipt's path is fetched", func() bool {
		r.Follow(t.Context())
		result, _ = r.Result(result.ID)
		return result.State == requester.StateReceipted
	})
	data := w.bundle(result.ID, true)
	_, err := w.verify.Verify(data)
	w.check(err)
	step := byteStep
	if os.Getenv("GRILLE_EXHAUSTIVE") != "" {
		step = 1
	}
	reasons := map[bundle.Reason]int{}
	for i := 0; i < len(data); i += step {
		for _, bit := range []byte{1, 4} {
			changed := bytes.Clone(data)
			changed[i] ^= bit
			_, err := w.verify.Verify(changed)
			var refused *bundle.Refused
			if !errors.As(err, &refused) {
				t.Fatalf("byte %d of %d changed by %d: %v", i, len(data), bit, err)
			}
			reasons[refused.Reason]++
		}
	}
	t.Logf("%d bytes, refused for %v", len(data), reasons)
	if len(reasons) < 5 {
		t.Fatalf("only %v: the checks behind them were never reached", reasons)
	}
}

func TestResentQueryIsAnsweredFromStoreAndChargedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 2, 100)
	request := w.request(w.question("P-0001"), nil)
	h := w.members[civil]
	replies := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range replies {
		wg.Go(func() {
			var err error
			if replies[i], err = h.holder.Answer(t.Context(), benefits, request); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range replies {
		if !bytes.Equal(r, replies[0]) {
			t.Fatal("one query got two replies")
		}
	}
	if used := h.holder.Used(accept); used != 1 {
		t.Fatalf("charged %d times", used)
	}
	h.halt()
	h.start()
	again, err := h.holder.Answer(t.Context(), benefits, request)
	w.check(err)
	if !bytes.Equal(again, replies[0]) || h.holder.Used(accept) != 1 {
		t.Fatal("the restart forgot the answer or its charge")
	}
}

func TestBudgetHoldsAcrossRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 2, 3)
	for range 2 {
		if r := w.ask(w.question("P-7777")); r.Verdict != "no_record" { // unknown subjects are charged too
			t.Fatalf("%+v", r)
		}
	}
	w.members[civil].halt()
	w.members[civil].start()
	if r := w.ask(w.question("P-7777")); r.Refusal != holder.CodeBudget {
		t.Fatalf("per subject: %+v", r)
	}
	if r := w.ask(w.question("P-0001")); r.Verdict != "satisfied" {
		t.Fatalf("%+v", r)
	}
	if r := w.ask(w.question("P-0002")); r.Refusal != holder.CodeBudget {
		t.Fatalf("in all: %+v", r)
	}
}

// request signs a question as benefits does; change may spoil the query before it is signed.
func (w *world) request(question requester.Question, change func(*bundle.Query, *bundle.Opening)) []byte {
	w.t.Helper()
	q, opening, err := w.members[benefits].requester.Draft(question)
	w.check(err)
	if change != nil {
		change(q, opening)
	}
	signed, err := bundle.Sign(w.members[benefits].query, bundle.LabelQuery, q)
	w.check(err)
	data, err := bundle.Encode(&bundle.Request{Query: signed, Opening: *opening})
	w.check(err)
	return data
}

func TestRefusalsAreTypedSignedAndPromised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	w.grant("rich", "income > 1000.00", 1, 1)
	used := w.ask(w.question("P-0001")).ID
	for code, change := range map[string]func(*bundle.Query, *bundle.Opening){
		holder.CodeUnknownPolicy: func(q *bundle.Query, _ *bundle.Opening) { q.Policy = "aged-90" },
		"purpose_not_allowed":    func(q *bundle.Query, _ *bundle.Opening) { q.Purpose = "curiosity" },
		"disclosure_not_allowed": func(q *bundle.Query, _ *bundle.Opening) { q.Disclose = []string{"income"} },
		holder.CodeStaleEpoch:    func(q *bundle.Query, _ *bundle.Opening) { q.MaxAgeSeconds = 1 },
		holder.CodeSubject:       func(_ *bundle.Query, o *bundle.Opening) { o.Subject = "Jane Doe" },
		holder.CodeOpening:       func(_ *bundle.Query, o *bundle.Opening) { o.Subject = "P-0002" },
		holder.CodeExpired: func(q *bundle.Query, _ *bundle.Opening) {
			q.Issued, q.Expires = entry.FormatTime(w.now().Add(-time.Hour)), entry.FormatTime(w.now().Add(-time.Minute))
		},
		holder.CodeReplayed: func(q *bundle.Query, _ *bundle.Opening) { q.ID = used },
	} {
		if code == holder.CodeStaleEpoch {
			time.Sleep(2 * time.Second)
		}
		reply, err := w.members[civil].holder.Answer(t.Context(), benefits, w.request(w.question("P-0001"), change))
		if err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		r, err := bundle.DecodeReply(reply)
		w.check(err)
		if r.Refusal == nil {
			t.Fatalf("%s: answered", code)
		}
		key, err := bundle.Key(w.config, civil)
		w.check(err)
		var no bundle.Refusal
		w.check(r.Refusal.Refusal.Open(key, bundle.LabelRefusal, &no))
		if no.Code != code || no.Message == "" || strings.Contains(string(reply), "P-000") {
			t.Errorf("got %+v, want %s", no, code)
		}
		w.mu.Lock()
		if got := w.members[civil].observed; got != code {
			t.Errorf("metrics were told %q, want %s", got, code)
		}
		w.mu.Unlock()
		var p receipt.Promise
		w.check(r.Refusal.Promise.Open(key, bundle.LabelPromise, &p))
		if p.Receipt != receipt.Digest(r.Refusal.Salt, p.Query, receipt.OutcomeRefused, r.Refusal.Refusal.Digest(bundle.LabelRefusal)) {
			t.Errorf("%s: the promise is of another refusal", code)
		}
	}
}

func TestRequestsThatAreNotAuthenticLeaveNoTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	good := w.request(w.question("P-0001"), nil)
	h := w.members[civil].holder
	_, forger, err := ed25519.GenerateKey(nil)
	w.check(err)
	q, opening, err := w.members[benefits].requester.Draft(w.question("P-0001"))
	w.check(err)
	forged, err := bundle.Sign(forger, bundle.LabelQuery, q)
	w.check(err)
	forgedRequest, err := bundle.Encode(&bundle.Request{Query: forged, Opening: *opening})
	w.check(err)
	for name, c := range map[string]struct {
		from    string
		request []byte
		code    string
	}{
		"another member sends it":   {health, good, holder.CodeNotYours},
		"another key signed it":     {benefits, forgedRequest, holder.CodeSignature},
		"for another holder":        {benefits, w.request(w.question("P-0001"), func(q *bundle.Query, _ *bundle.Opening) { q.Holder = health }), holder.CodeElsewhere},
		"for another instance":      {benefits, w.request(w.question("P-0001"), func(q *bundle.Query, _ *bundle.Opening) { q.Instance = "x" }), holder.CodeElsewhere},
		"empty":                     {benefits, nil, holder.CodeMalformed},
		"not JSON":                  {benefits, []byte("GET / HTTP/1.1"), holder.CodeMalformed},
		"oversized":                 {benefits, make([]byte, bundle.MaxQuery+1), holder.CodeMalformed},
		"reformatted":               {benefits, append(bytes.Clone(good), '\n'), holder.CodeMalformed},
		"one byte of the signature": {benefits, flipSignature(good), holder.CodeSignature},
	} {
		_, err := h.Answer(t.Context(), c.from, c.request)
		var r *holder.RequestError
		if !errors.As(err, &r) || r.Code() != c.code || !errors.Is(err, holder.ErrRequest) {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
		if err != nil && strings.Contains(err.Error(), "P-0001") {
			t.Errorf("%s: the error names the subject", name)
		}
	}
	if h.Used(accept) != 0 {
		t.Error("an unauthentic request was charged")
	}
}

func flipSignature(request []byte) []byte {
	var r bundle.Request
	if err := json.Unmarshal(request, &r); err != nil {
		panic(err)
	}
	if r.Query.Signature[0] == 'A' {
		r.Query.Signature = "B" + r.Query.Signature[1:]
	} else {
		r.Query.Signature = "A" + r.Query.Signature[1:]
	}
	data, err := bundle.Encode(&r)
	if err != nil {
		panic(err)
	}
	return data
}

func TestQuestionsThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	for name, change := range map[string]func(*requester.Question){
		"unknown member":  func(q *requester.Question) { q.Holder = "GOV/moon" },
		"unknown policy":  func(q *requester.Question) { q.Policy = "nope" },
		"unknown version": func(q *requester.Question) { q.PolicyVersion = 7 },
		"wrong subject":   func(q *requester.Question) { q.Subject = "Jane Doe" },
		"no purpose":      func(q *requester.Question) { q.Purpose = "" },
		"too long a life": func(q *requester.Question) { q.Life = 2 * time.Hour },
	} {
		q := w.question("P-0001")
		change(&q)
		_, err := w.members[benefits].requester.Ask(t.Context(), q)
		if !errors.Is(err, requester.ErrQuestion) || strings.Contains(err.Error(), "Jane") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRevocationEndsTheRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	if r := w.ask(w.question("P-0001")); r.Verdict != "satisfied" {
		t.Fatalf("%+v", r)
	}
	_, err := w.members[civil].holder.Revoke(t.Context(), accept, "purpose ended")
	w.check(err)
	if r := w.ask(w.question("P-0001")); r.Refusal != "no_agreement" {
		t.Fatalf("%+v", r)
	}
}

func TestDisclosedValuesAreProved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100, "income", "town")
	q := w.question("P-0002")
	q.Disclose = []string{"town", "income"}
	result := w.ask(q)
	if len(result.Report.Disclosed) != 2 || result.Report.Disclosed[0].Text != "5770.00" || result.Report.Disclosed[1].Text != "Köln" {
		t.Fatalf("disclosed %+v", result.Report.Disclosed)
	}
	var b bundle.Bundle
	w.check(json.Unmarshal(w.bundle(result.ID, false), &b))
	b.Disclosed[1].Text = "Ulm"
	w.refused(t, &b, bundle.ReasonPublic)
	b.Disclosed[1].Value = bundle.FormatElement(circuits.TextElement("Ulm"))
	w.refused(t, &b, bundle.ReasonProof)
	q.Subject = "P-9999"
	if r := w.ask(q); r.Verdict != "no_record" || r.Report.Disclosed[0].Text != "" || r.Report.Disclosed[1].Text != "" {
		t.Fatalf("an absent record disclosed %+v", r.Report.Disclosed)
	}
}

func TestTamperedReplyIsRejectedAndKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	w.members[civil].intercept = func(reply []byte, err error) ([]byte, error) {
		return bytes.Replace(reply, []byte(`"verdict":"not_satisfied"`), []byte(`"verdict":"satisfied"`), 1), err
	}
	result := w.ask(w.question("P-0002"))
	if result.Rejected != string(bundle.ReasonProof) || result.Verdict != "" {
		t.Fatalf("%+v", result)
	}
	if _, err := w.members[benefits].requester.Bundle(result.ID, false); !errors.Is(err, requester.ErrNoAnswer) {
		t.Fatalf("a rejected answer is served: %v", err)
	}
	w.members[civil].intercept = func([]byte, error) ([]byte, error) { return []byte("{}"), nil }
	q := w.question("P-0002")
	q.Purpose = "curiosity" // refused: whatever came is gone
	if result := w.ask(q); result.Rejected != string(bundle.ReasonEncoding) {
		t.Fatalf("%+v", result)
	}
}

func TestUnansweredQueryIsSentAgainWithTheSameBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	lost := errors.New("connection lost")
	w.members[civil].intercept = func([]byte, error) ([]byte, error) { return nil, lost } // answered, but the reply is lost
	result, err := w.members[benefits].requester.Ask(t.Context(), w.question("P-0001"))
	if !errors.Is(err, requester.ErrNoReply) || result.State != requester.StateSent {
		t.Fatalf("%+v %v", result, err)
	}
	w.members[civil].intercept = nil
	w.members[benefits].halt()
	w.members[benefits].start()
	result, err = w.members[benefits].requester.Resend(t.Context(), result.ID)
	w.check(err)
	if result.Verdict != "satisfied" || w.members[civil].holder.Used(accept) != 1 {
		t.Fatalf("%+v, charged %d", result, w.members[civil].holder.Used(accept))
	}
}

func TestOtherKeysAndNetworksAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	data := w.bundle(w.ask(w.question("P-0001")).ID, false)
	other := newWorld(t)
	if _, err := other.verify.Verify(data); reason(err) != bundle.ReasonConfiguration {
		t.Errorf("another network: %v", err)
	}
	wrong := *w.verify
	wrong.Proofs = bundle.VerifyingKeys{renamed{wrong.Proofs[0]}}
	if _, err := wrong.Verify(data); reason(err) != bundle.ReasonCircuit {
		t.Errorf("another verifying key: %v", err)
	}
}

type renamed struct{ bundle.ProofVerifier }

func (renamed) SHA256() string { return strings.Repeat("0", 64) }

func reason(err error) bundle.Reason {
	var r *bundle.Refused
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

// TestInterruptedImportIsSettledByTheNext cuts imports off at each step that reports progress, the publication of the root included.
func TestInterruptedImportIsSettledByTheNext(t *testing.T) {
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	for step := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		_, _, err := w.members[civil].holder.Import(ctx, "people", strings.NewReader("person,age,income,town\nP-0001,20,0.00,Ulm\n"), func(int, int) {
			if calls++; calls == step {
				cancel()
			}
		})
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	w.importCSV("person,age,income,town\nP-0001,99,0.00,Ulm\n")
	if r := w.ask(w.question("P-0001")); r.Verdict != "satisfied" {
		t.Fatalf("%+v", r)
	}
}
