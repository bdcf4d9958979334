package exchange_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// promising changes the promise before it is signed.
func promising(f func(p *receipt.Promise)) func(s *stage) { return func(s *stage) { s.onPromise = f } }

// atBeat promises for another beat, with its deadline.
func atBeat(beats int64) func(s *stage) {
	return promising(func(p *receipt.Promise) {
		p.Beat = uint64(int64(p.Beat) + beats)
		p.Deadline = vectorTime(receipt.Deadline(p.Beat, time.Minute))
	})
}

// badPromises do not say where the answer's receipt will stand.
var badPromises = []vector{
	{name: "promise-signature", about: "another member signed the promise", alter: func(s *stage) { s.promiseKey = queryKey(tax) }},
	{name: "promise-label", about: "the promise's text was signed as a header", alter: func(s *stage) {
		s.onBundle = func(b *bundle.Bundle) {
			b.Promise.Signature = b64(ed25519.Sign(queryKey(civil), []byte(bundle.LabelHeader+"\n"+b.Promise.Body)))
		}
	}},
	{name: "promise-salt", about: "the salt is another", alter: bundled(func(b *bundle.Bundle) { b.Salt[0] ^= 1 })},
	{name: "promise-receipt", about: "the receipt of another verdict", alter: func(s *stage) {
		s.onPromise = func(p *receipt.Promise) {
			p.Receipt = receipt.Digest(vectorSalt("receipt salt "+s.name), p.Query, "not_satisfied", vectorSalt("answer"))
		}
	}},
	{name: "promise-member", about: "another member's log", alter: promising(func(p *receipt.Promise) { p.Member = tax })},
	{name: "promise-query", about: "another query", alter: promising(func(p *receipt.Promise) { p.Query = vectorSalt("query") })},
	{name: "promise-version", about: "version 2 of the promise", alter: promising(func(p *receipt.Promise) { p.Version = 2 })},
	{name: "promise-unknown-name", about: "a name that promises do not have", alter: func(s *stage) {
		s.promiseBody = func(body string) string { return s.replace(body, `{"v":1,`, `{"v":1,"note":"",`) }
	}},
	{name: "promise-place", about: "a place beyond 32 bits", alter: func(s *stage) {
		s.promiseBody = func(body string) string { return s.replace(body, `"place":3237998146`, `"place":4294967296`) }
	}},
	{name: "promise-deadline", about: "a deadline that is not two beats after the beat began", alter: promising(func(p *receipt.Promise) {
		p.Deadline = vectorTime(receipt.Deadline(p.Beat+1, time.Minute))
	})},
	{name: "promise-past", about: "a beat whose deadline was over 6 s before the answer", alter: func(s *stage) {
		answeredAt(s, vectorNow.Add(5*time.Second)) // 12:00:06
		atBeat(-2)(s)
	}},
	{name: "promise-future", about: "a beat that begins more than the window and one beat after the query expires", alter: atBeat(32)},
	{name: "promise-far", about: "a beat beyond the year 2262", alter: promising(func(p *receipt.Promise) { p.Beat = 1 << 40 })},
}

// received shows the receipt, changed.
func received(f func(s *stage, r *bundle.ReceiptInclude)) func(s *stage) {
	return func(s *stage) {
		s.logged = true
		s.onBundle = func(b *bundle.Bundle) { f(s, b.Receipt) }
	}
}

// badReceipts are not under the batch of the promised beat.
var badReceipts = []vector{
	{name: "receipt-quorum", about: "the receipt's checkpoint lacks a cosignature", alter: received(func(_ *stage, r *bundle.ReceiptInclude) {
		text, owner, c := lines(r.Checkpoint)
		r.Checkpoint = text + owner + c[0] + c[1]
	})},
	{name: "receipt-inclusion", about: "the batch is not under its checkpoint", alter: received(func(_ *stage, r *bundle.ReceiptInclude) { r.Batch.Index-- })},
	{name: "receipt-path-hash", about: "a hash of the batch's path has 33 bytes", alter: received(func(_ *stage, r *bundle.ReceiptInclude) {
		r.Batch.Path = slices.Clone(r.Batch.Path)
		r.Batch.Path[0] = append(slices.Clone(r.Batch.Path[0]), 0)
	})},
	{name: "receipt-kind", about: "the entry is no receipts batch", alter: received(func(s *stage, r *bundle.ReceiptInclude) { r.Batch = s.log.include(s.t, atEpoch, logEnd) })},
	{name: "receipt-beat", about: "the batch of another beat", alter: received(func(s *stage, r *bundle.ReceiptInclude) { r.Batch = s.log.include(s.t, atBatch, logEnd) })},
	{name: "receipt-path", about: "a sibling of the receipt's path is another", alter: received(func(_ *stage, r *bundle.ReceiptInclude) { r.Proof.Path[7][0] ^= 1 })},
	{name: "receipt-path-short", about: "a path of 31 siblings", alter: received(func(_ *stage, r *bundle.ReceiptInclude) { r.Proof.Path = r.Proof.Path[:31] })},
	{name: "receipt-path-long", about: "a path of 33 siblings", alter: received(func(_ *stage, r *bundle.ReceiptInclude) { r.Proof.Path = append(r.Proof.Path, receipt.Hash{}) })},
	{name: "receipt-place", about: "the receipt stands at its neighbour's place", alter: func(s *stage) {
		s.logged = true
		s.onPromise = func(p *receipt.Promise) { s.place = p.Place; p.Place ^= 1 }
	}},
	{name: "receipt-batch-void", about: "the log holds a batch of a later beat before this one, which is void", log: true, alter: func(s *stage) {
		s.logged = true
		s.onLater = func() {
			s.entries = append(s.entries, entry.ReceiptsBatch{Beat: s.promise.Beat + 1, Root: vectorSalt("batch 4").String(), Time: vectorTime(vectorNow.Add(time.Minute))})
		}
	}},
	{name: "receipt-batch-second", about: "the batch is the second of its beat, which is void", log: true, alter: func(s *stage) {
		s.logged = true
		s.onLater = func() {
			s.entries = append(s.entries, entry.ReceiptsBatch{Beat: s.promise.Beat, Root: vectorSalt("batch 4").String(), Time: vectorTime(vectorNow.Add(time.Minute))})
		}
	}},
	{name: "receipt-other-beat", about: "the receipt is in the batch of the beat after the promised one", alter: func(s *stage) { s.logged, s.late = true, 1 }},
	{name: "receipt-replica-behind", about: "the verifier's copy of the log ends before the batch", log: true, alter: func(s *stage) {
		s.logged = true
		s.onLog = func(l *logFile) { l.Logs[0].Entries = l.Logs[0].Entries[:atReceipt] }
	}},
}

// claiming shows the claim, changed.
func claiming(f func(s *stage, c *bundle.ClaimInclude)) func(s *stage) {
	return func(s *stage) {
		claims(s)
		s.claimed = true
		s.onBundle = func(b *bundle.Bundle) { f(s, b.Claim) }
	}
}

// badClaims do not stand where the bundle says, or not first.
var badClaims = []vector{
	{name: "claim-quorum", about: "the claim's checkpoint lacks a cosignature", alter: claiming(func(_ *stage, c *bundle.ClaimInclude) {
		text, owner, sigs := lines(c.Checkpoint)
		c.Checkpoint = text + owner + sigs[1] + sigs[2]
	})},
	{name: "claim-inclusion", about: "the batch is not under its checkpoint", alter: claiming(func(_ *stage, c *bundle.ClaimInclude) { c.Batch.Index-- })},
	{name: "claim-kind", about: "the entry is no claims batch", alter: claiming(func(s *stage, c *bundle.ClaimInclude) { c.Batch = s.log.include(s.t, atReceipt, logEnd) })},
	{name: "claim-slot", about: "another slot of the batch", alter: claiming(func(_ *stage, c *bundle.ClaimInclude) { c.Slot = 16 })},
	{name: "claim-slot-64", about: "slot 64", alter: claiming(func(_ *stage, c *bundle.ClaimInclude) { c.Slot = 64 })},
	{name: "claim-slot-negative", about: "slot -1", alter: claiming(func(_ *stage, c *bundle.ClaimInclude) { c.Slot = -1 })},
	{name: "claim-spelling", about: "a claims batch with a space in it, which is malformed", alter: func(s *stage) {
		claims(s)
		s.claimed = true
		s.onLater = func() {
			s.entries = append(s.entries, s.replace(s.body(s.claims(s.promise.Beat, bundle.FormatElement(s.pub.Nullifier))), `"beat":`, `"beat": `))
		}
		s.onBundle = func(b *bundle.Bundle) { b.Claim.Batch = s.log.include(s.t, atReceipt, logEnd+1) }
	}},
	{name: "claim-before", about: "the claim stood on the log before the answer was given", alter: func(s *stage) {
		claims(s)
		s.claimed = true
		nullifier := s.nullifier()
		s.entries[atClaims] = s.claims(receipt.BeatAt(vectorNow, time.Minute)-2, nullifier)
		s.onBundle = func(b *bundle.Bundle) { b.Claim.Batch = s.log.include(s.t, atClaims, logEnd) }
	}},
	{name: "claim-later", about: "the log holds the same claim earlier", log: true, alter: func(s *stage) {
		claims(s)
		s.claimed = true
		s.onLater = func() {
			s.entries = append(s.entries, s.claims(s.promise.Beat, bundle.FormatElement(s.pub.Nullifier)))
		}
	}},
	{name: "claim-later-slot", about: "the log holds the same claim before the answer", log: true, alter: func(s *stage) {
		claims(s)
		s.claimed = true
		s.entries[atClaims] = s.claims(receipt.BeatAt(vectorNow, time.Minute)-2, s.nullifier())
	}},
	{name: "claim-after-close", about: "the scope was closed before the claim was logged", log: true, alter: func(s *stage) {
		claims(s)
		s.claimed = true
		s.onLater = func() {
			s.entries = append(s.entries, entry.ScopeClose{Scope: atScope, Reason: "done", Time: vectorTime(vectorNow.Add(time.Minute))})
		}
	}},
	{name: "claim-void", about: "the claims batch is of an earlier beat than the one before it, and void", log: true, alter: func(s *stage) {
		claims(s)
		s.claimed = true
		s.onLater = func() { s.entries = append(s.entries, s.claims(s.promise.Beat+1, "")) }
	}},
	{name: "claim-replica-behind", about: "the verifier's copy of the log ends before the claim", reason: bundle.ReasonCheckpoint, log: true, alter: func(s *stage) {
		claims(s)
		s.claimed = true
		s.onLog = func(l *logFile) { l.Logs[0].Entries = l.Logs[0].Entries[:atClaim] }
	}},
}

// opened shows the opening, changed.
func opened(f func(o *bundle.Opening)) func(s *stage) {
	return func(s *stage) {
		s.opening = true
		s.onBundle = func(b *bundle.Bundle) { f(b.Opening) }
	}
}

// badOpenings do not make the tag.
var badOpenings = []vector{
	{name: "opening-subject", about: "another subject", alter: opened(func(o *bundle.Opening) { o.Subject = "P-0002" })},
	{name: "opening-nonce", about: "another nonce", alter: opened(func(o *bundle.Opening) { o.Nonce = strings.Repeat("0a", 32) })},
	{name: "opening-nonce-modulus", about: "the nonce and the modulus, added up", alter: opened(func(o *bundle.Opening) { o.Nonce = aliased(o.Nonce) })},
	{name: "opening-empty", about: "no subject", alter: opened(func(o *bundle.Opening) { o.Subject = "" })},
	{name: "opening-long", about: "a subject of 257 bytes, whose tag it is", alter: func(s *stage) { s.opening, s.subject = true, strings.Repeat("P", 257) }},
	{name: "opening-spelling", about: "a subject in another spelling than its scheme's, whose tag it is", alter: func(s *stage) {
		s.opening, s.subject = true, "p-0001"
	}},
	{name: "opening-letters", about: "a subject with a small letter, whose tag it is", alter: func(s *stage) { letters(s, "STRASSé") }},
	{name: "opening-not-nfc", about: "a subject in another normal form, whose tag it is", alter: func(s *stage) { letters(s, "STRASSE\u0301") }},
	{name: "opening-pattern", about: "a subject that its scheme cannot have, whose tag it is", alter: func(s *stage) { s.opening, s.subject = true, "P-00010" }},
	{name: "opening-scheme", about: "a dataset whose identifier scheme the configuration does not have", alter: func(s *stage) {
		alter(s, atDeclare, func(e *entry.DatasetDeclare) { e.Scheme = "vehicle" })
		s.opening, s.scheme = true, "vehicle"
	}},
}
