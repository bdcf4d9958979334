package exchange_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
)

// spoilers make a bundle bad, each for a step of verification; those of proofs are found together.
var spoilers = map[bundle.Reason]func(b, other *bundle.Bundle){
	bundle.ReasonEncoding:       func(b, _ *bundle.Bundle) { b.Version = 2 },
	bundle.ReasonConfiguration:  func(b, _ *bundle.Bundle) { b.Instance = "other.grille" },
	bundle.ReasonCheckpoint:     func(b, _ *bundle.Bundle) { b.Checkpoint = b.Checkpoint[:len(b.Checkpoint)-2] },
	bundle.ReasonInclusion:      func(b, _ *bundle.Bundle) { b.Entries[1].Path[0][3] ^= 1 },
	bundle.ReasonReference:      func(b, _ *bundle.Bundle) { b.Entries = b.Entries[1:] },
	bundle.ReasonQuerySignature: func(b, other *bundle.Bundle) { b.Query.Signature = other.Query.Signature },
	bundle.ReasonHeader:         func(b, other *bundle.Bundle) { b.Header.Signature = other.Header.Signature },
	bundle.ReasonPublic:         func(b, _ *bundle.Bundle) { b.Verdict = "approved" },
	bundle.ReasonProof:          func(b, other *bundle.Bundle) { b.Proof = other.Proof },
	bundle.ReasonPromise:        func(b, _ *bundle.Bundle) { b.Salt = receipt.Hash{1} },
	bundle.ReasonReceipt:        func(b, _ *bundle.Bundle) { b.Receipt.Proof.Path[3][0] ^= 1 },
	bundle.ReasonOpening:        func(b, other *bundle.Bundle) { b.Opening.Nonce = other.Opening.Nonce },
}

// TestVerifyAllSaysWhatVerifySays spoils bundles at each step of verification, several at once and several in one bundle, and byte by
// byte: the report and the first reason to refuse are those of each bundle alone, with a replica and without.
func TestVerifyAllSaysWhatVerifySays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 100, 1000, "income")
	var good []*bundle.Bundle
	var whole [][]byte
	for _, subject := range []string{"P-0001", "P-0002", "P-9999"} {
		q := w.question(subject)
		q.Disclose = []string{"income"}
		data := w.bundle(w.receipted(q).ID, true)
		b, err := bundle.Decode(data)
		w.check(err)
		good, whole = append(good, b), append(whole, data)
	}
	all := slices.Clone(whole)
	reasons := []bundle.Reason{"", "", ""}
	spoil := func(i int, of ...bundle.Reason) {
		var b, other bundle.Bundle
		w.check(json.Unmarshal(whole[i%len(whole)], &b))
		w.check(json.Unmarshal(whole[(i+1)%len(whole)], &other))
		for _, r := range of {
			spoilers[r](&b, &other)
		}
		all, reasons = append(all, w.encode(&b)), append(reasons, of[0])
	}
	var names []bundle.Reason
	for name := range spoilers {
		names = append(names, name)
	}
	slices.Sort(names)
	r := rand.New(rand.NewPCG(5, 5))
	for i, name := range names {
		spoil(i, name)
		all, reasons = append(all, whole[i%len(whole)]), append(reasons, "")
		all, reasons = append(all, w.redacted(good[i%len(good)])), append(reasons, "")
		spoil(i+1, bundle.ReasonProof)
	}
	for range 30 {
		data := slices.Clone(whole[r.IntN(len(whole))])
		data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		all = append(all, data)
	}
	for i := range 10 { // the first of several reasons
		spoil(i, names[r.IntN(len(names))], names[r.IntN(len(names))])
	}
	replica := *w.verify
	replica.Replica = w.members[benefits].ledger
	for _, v := range []*bundle.Verifier{w.verify, &replica} {
		for i, got := range v.VerifyAll(all) {
			report, err := v.Verify(all[i])
			if reason(err) != reason(got.Err) || (err == nil) != (got.Err == nil) || !reflect.DeepEqual(report, got.Report) {
				t.Errorf("%d: %v alone, %v among others\n%+v\n%+v", i, err, got.Err, report, got.Report)
			}
			if err != nil && err.Error() != got.Err.Error() {
				t.Errorf("%d: %v alone, %v among others", i, err, got.Err)
			}
			if i < len(reasons) && i < 3+4*len(names) && reason(err) != reasons[i] {
				t.Errorf("%d: %v, want %q", i, err, reasons[i])
			}
		}
	}
	if got := w.verify.VerifyAll(nil); len(got) != 0 {
		t.Error(got)
	}
}

func (w *world) redacted(b *bundle.Bundle) []byte {
	w.t.Helper()
	return w.encode(b.Redact())
}
