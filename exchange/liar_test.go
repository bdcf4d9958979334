package exchange_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/prover"
)

// lie answers a question as a holder would that has every key and no scruples: change spoils the header before it is signed and the
// proof made, so that everything else fits it.
func (w *world) lie(subject string, change func(*bundle.Header)) *bundle.Bundle {
	w.t.Helper()
	head, _ := w.members[civil].ledger.Final(w.config.Origin(civil))
	return w.lieUnder(head, subject, true, change)
}

// claim is lie without a proof, for what must be refused before anybody looks at one: else the reason given is the proof.
func (w *world) claim(change func(*bundle.Header)) *bundle.Bundle {
	w.t.Helper()
	head, _ := w.members[civil].ledger.Final(w.config.Origin(civil))
	return w.lieUnder(head, "P-0001", false, change)
}

// draft makes the query of a lie. Where the requester will not, it respells its last one for now.
func (w *world) draft() (*bundle.Query, *bundle.Opening) {
	w.t.Helper()
	question := w.question("P-0001")
	if w.asking != nil {
		w.asking(&question)
	}
	q, opening, err := w.members[benefits].requester.Draft(question)
	if err == nil {
		w.drafted, w.opening = *q, *opening
		return q, opening
	}
	again, before := w.drafted, w.opening
	again.Issued, again.Expires = entry.FormatTime(w.now()), entry.FormatTime(w.now().Add(time.Minute))
	return &again, &before
}

// lieUnder lies under a given head of the holder's log. The subject may be spelled as no honest gateway would.
func (w *world) lieUnder(head ledger.Head, subject string, prove bool, change func(*bundle.Header)) *bundle.Bundle {
	w.t.Helper()
	c := w.members[civil]
	origin := w.config.Origin(civil)
	v := c.ledger.View(origin, head.Size)
	p, index, _ := v.Policy("aged", 1)
	_, epoch, _ := v.Epoch("people")
	median, err := bundle.Median(head.Times)
	w.check(err)
	q, opening := w.draft()
	nonce, err := bundle.ParseElement(opening.Nonce)
	w.check(err)
	key := circuits.SubjectKey(w.config.Instance, "person", subject)
	q.Tag = bundle.FormatElement(circuits.Tag(key, nonce))
	w.opening = bundle.Opening{Subject: subject, Nonce: opening.Nonce}
	query, err := bundle.Sign(w.members[benefits].query, bundle.LabelQuery, q)
	w.check(err)
	h := &bundle.Header{Version: 1, Instance: w.config.Instance, Circuit: w.config.Circuits[0].ID, Query: bundle.QueryDigest(&query), Origin: origin,
		Size: head.Size, Time: entry.FormatTime(median), AsOf: bundle.AsOfDate(median), Dataset: p.Declare, Epoch: epoch, Policy: index,
		Agreement: v.Agreements()[0].Index}
	change(h)
	header, err := bundle.Sign(c.query, bundle.LabelHeader, h)
	w.check(err)
	raw, err := c.ledger.Read(origin, h.Epoch, h.Epoch+1)
	w.check(err)
	e, err := entry.Decode(raw[0])
	w.check(err)
	committed := e.(entry.DatasetEpoch)
	template, err := policy.ParseTemplate(p.Template)
	w.check(err)
	program, err := template.ProgramAt(h.AsOf)
	w.check(err)
	files, err := c.datasets.Epoch("people", committed.Epoch)
	for n := committed.Epoch; err != nil && n > 1; { // an epoch that is on the log alone
		n--
		files, err = c.datasets.Epoch("people", n)
	}
	w.check(err)
	found, err := files.Lookup(key)
	w.check(err)
	root, err := bundle.ParseElement(committed.Root)
	w.check(err)
	secret := &circuits.Secret{Key: key, TagNonce: nonce, Record: found.Record, Salt: found.Salt, Opening: found.Opening}
	pub, err := secret.Public(root, bundle.Context(h, &header), fr.Element{}, [circuits.Columns]bool{}, program)
	w.check(err)
	var proof prover.Proof
	if prove {
		pool := c.pools[h.Circuit]
		if pool == nil { // the lie is about the circuit
			pool = c.pools[w.config.Circuits[0].ID]
		}
		proof, err = pool.Prove(w.t.Context(), pub, secret)
		w.check(err)
	}
	entries, err := bundle.IncludeAll(c.ledger, h)
	w.check(err)
	b := &bundle.Bundle{Version: 1, Instance: w.config.Instance, Query: query, Header: header, Verdict: pub.Verdict.String(), Proof: proof[:],
		Configuration: bundle.Configuration{Version: 1, Digest: w.config.Digest()}, Checkpoint: string(head.Checkpoint), Entries: entries}
	promise, salt, err := c.book.Record(receipt.Draft{Kind: "lie", Query: h.Query, Outcome: b.Verdict, Answer: bundle.AnswerDigest(&header, pub),
		Payload: func(receipt.Promise, receipt.Hash) (any, error) { return nil, nil }})
	w.check(err)
	b.Salt = salt
	b.Promise, err = bundle.Sign(c.query, bundle.LabelPromise, &promise)
	w.check(err)
	return b
}

func (w *world) encode(b any) []byte {
	w.t.Helper()
	data, err := bundle.Encode(b)
	w.check(err)
	return data
}

// TestSupersededEpochIsRefused has the holder answer from its first epoch after it committed a second, under fresh cosignatures.
func TestSupersededEpochIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	origin := w.config.Origin(civil)
	_, old, _ := w.members[civil].ledger.View(origin, ^uint64(0)).Epoch("people")
	w.importCSV("person,age,income,town\nP-0001,20,0.00,Ulm\n")
	honest := w.encode(w.lie("P-0001", func(*bundle.Header) {}))
	report, err := w.verify.Verify(honest)
	w.check(err)
	if report.Verdict != circuits.NotSatisfied {
		t.Fatalf("the second epoch says %v", report.Verdict)
	}
	stale := w.encode(w.lie("P-0001", func(h *bundle.Header) { h.Epoch = old }))
	replica := *w.verify
	replica.Replica = w.members[benefits].ledger
	w.eventually("the replica has the whole log", func() bool {
		return w.members[benefits].ledger.Size(origin) >= w.members[civil].ledger.Size(origin)
	})
	if _, err := replica.Verify(stale); reason(err) != bundle.ReasonSuperseded {
		t.Fatalf("with the log: %v", err)
	}
	report, err = w.verify.Verify(stale)
	w.check(err)
	if report.Currency != bundle.CurrencyAsserted {
		t.Fatalf("offline, without a beat, the report says %q", report.Currency)
	}
	w.eventually("a beat names the new epoch", func() bool {
		head, _ := w.members[civil].ledger.Final(origin)
		batch, _, ok := w.members[civil].ledger.View(origin, head.Size).NewestBatch()
		return ok && batch.Epochs["people"] > old
	})
	stale = w.encode(w.lie("P-0001", func(h *bundle.Header) {
		h.Epoch = old
		_, batch, ok := w.members[civil].ledger.View(origin, h.Size).NewestBatch()
		if !ok {
			t.Fatal("no batch below the checkpoint")
		}
		h.Batch = &batch
	}))
	if _, err := w.verify.Verify(stale); reason(err) != bundle.ReasonSuperseded {
		t.Fatalf("offline, with a beat: %v", err)
	}
}

// TestHeadersThatContradictTheirEvidence has the holder sign a header that does not fit, with everything else made for it.
func TestHeadersThatContradictTheirEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	accept := w.furnish(peopleCSV, 10, 100)
	w.grant("rich", "income > 1000.00", 5, 50)
	v := w.members[civil].ledger.View(w.config.Origin(civil), ^uint64(0))
	_, other, _ := v.Policy("rich", 1)
	agreements := v.Agreements()
	for name, c := range map[string]struct {
		change func(*bundle.Header)
		want   bundle.Reason
	}{
		"another policy's agreement": {func(h *bundle.Header) { h.Agreement = agreements[len(agreements)-1].Index }, bundle.ReasonReference},
		"another policy":             {func(h *bundle.Header) { h.Policy = other }, bundle.ReasonReference},
		"a policy as the agreement":  {func(h *bundle.Header) { h.Agreement = other }, bundle.ReasonReference},
		"another query":              {func(h *bundle.Header) { h.Query[0] ^= 1 }, bundle.ReasonHeader},
		"another date":               {func(h *bundle.Header) { h.AsOf = "2001-01-01" }, bundle.ReasonTimes},
		"another time":               {func(h *bundle.Header) { h.Time = "2099-01-01T00:00:00Z"; h.AsOf = "2099-01-01" }, bundle.ReasonTimes},
		"another size":               {func(h *bundle.Header) { h.Size-- }, bundle.ReasonCheckpoint},
		"another instance":           {func(h *bundle.Header) { h.Instance = "x" }, bundle.ReasonConfiguration},
		"another log":                {func(h *bundle.Header) { h.Circuit = "00" }, bundle.ReasonCircuit},
	} {
		b := w.claim(c.change)
		if _, err := w.verify.Verify(w.encode(b)); reason(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if _, err := w.members[civil].holder.Revoke(t.Context(), accept, "ended"); err != nil {
		t.Fatal(err)
	}
	replica := *w.verify
	replica.Replica = w.members[civil].ledger
	if _, err := replica.Verify(w.encode(w.claim(func(*bundle.Header) {}))); reason(err) != bundle.ReasonNotInForce {
		t.Errorf("a revoked agreement: %v", err)
	}
}

// TestPartsOfAnotherAnswerAreRefused swaps one part of a bundle for that of another valid one.
func TestPartsOfAnotherAnswerAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	head, _ := w.members[civil].ledger.Final(w.config.Origin(civil)) // one for both: else the checkpoint tells the headers apart
	one, two := w.lieUnder(head, "P-0001", true, func(*bundle.Header) {}), w.lieUnder(head, "P-0004", true, func(*bundle.Header) {})
	for name, c := range map[string]struct {
		change func(*bundle.Bundle)
		want   bundle.Reason
	}{
		"proof":             {func(b *bundle.Bundle) { b.Proof = two.Proof }, bundle.ReasonProof},
		"header":            {func(b *bundle.Bundle) { b.Header = two.Header }, bundle.ReasonHeader},
		"query":             {func(b *bundle.Bundle) { b.Query = two.Query }, bundle.ReasonHeader},
		"promise":           {func(b *bundle.Bundle) { b.Promise = two.Promise }, bundle.ReasonPromise},
		"salt":              {func(b *bundle.Bundle) { b.Salt = two.Salt }, bundle.ReasonPromise},
		"verdict":           {func(b *bundle.Bundle) { b.Verdict = "no_record" }, bundle.ReasonProof},
		"unknown verdict":   {func(b *bundle.Bundle) { b.Verdict = "approved" }, bundle.ReasonPublic},
		"short proof":       {func(b *bundle.Bundle) { b.Proof = b.Proof[:191] }, bundle.ReasonProof},
		"no proof":          {func(b *bundle.Bundle) { b.Proof = nil }, bundle.ReasonProof},
		"entry missing":     {func(b *bundle.Bundle) { b.Entries = b.Entries[1:] }, bundle.ReasonReference},
		"entries reordered": {func(b *bundle.Bundle) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] }, bundle.ReasonInclusion},
		"opening": {func(b *bundle.Bundle) {
			b.Opening = &bundle.Opening{Subject: "P-0001", Nonce: bundle.FormatElement(fr.NewElement(7))}
		}, bundle.ReasonOpening},
		"version": {func(b *bundle.Bundle) { b.Version = 2 }, bundle.ReasonEncoding},
		"disclosed unasked": {func(b *bundle.Bundle) {
			b.Disclosed = []bundle.Disclosed{{Column: "age", Value: bundle.FormatElement(fr.NewElement(7))}}
		}, bundle.ReasonPublic},
		"too few cosigners": {func(b *bundle.Bundle) {
			lines := bytes.SplitAfter([]byte(b.Checkpoint), []byte("\n"))
			b.Checkpoint = string(bytes.Join(lines[:len(lines)-2], nil))
		}, bundle.ReasonCheckpoint},
	} {
		var b bundle.Bundle
		w.check(json.Unmarshal(w.encode(one), &b))
		b.Entries = slices.Clone(b.Entries)
		c.change(&b)
		if _, err := w.verify.Verify(w.encode(&b)); reason(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte(`{"answer":{"v":1},"refusal":{}}`))
	f.Add([]byte(`{"query":{"body":"{\"v\":1}","signature":""},"opening":{"subject":"","nonce":""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := bundle.Decode(data); err == nil {
			again, err := bundle.Encode(b)
			if err != nil || !bytes.Equal(again, data) {
				t.Fatal("a bundle has two encodings")
			}
		}
		_, _ = bundle.DecodeReply(data)
		_, _, _ = bundle.DecodeRequest(data)
		_, _ = bundle.DecodeReceipt(data)
	})
}
