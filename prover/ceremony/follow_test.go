package ceremony

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A follower verifies a ceremony as it grows, each contribution once.
func TestFollow(t *testing.T) {
	folder := OpenFolder(finished())
	whole, err := folder.Transcript()
	if err != nil {
		t.Fatal(err)
	}
	f, err := small().Follow()
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	payload := func(p PayloadRef) ([]byte, error) {
		read++
		return folder.Payload(p.Digest, p.Size)
	}
	part, err := newTranscript(whole.signed.Opening)
	if err != nil {
		t.Fatal(err)
	}
	for i, signed := range append([]Signed{}, whole.signed.Steps...) {
		if part, err = part.With(signed); err != nil {
			t.Fatal(err)
		}
		if err := f.Advance(context.Background(), part, payload, ledgerBeacon, nil); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if len(f.steps) != len(whole.steps) || read != 6 {
		t.Errorf("%d steps verified, %d payloads read", len(f.steps), read)
	}
	wantReason(t, "another history", f.Advance(context.Background(), begin(t, nil).with("GOV/identity"), payload, ledgerBeacon, nil), ReasonChain)
}

// with is the transcript after a member's contribution.
func (r *run) with(name string) *Transcript {
	r.t.Helper()
	next, err := r.Transcript().With(r.make(name).Step)
	r.must(err)
	return next
}

func TestFollowRefuses(t *testing.T) {
	r := begin(t, nil)
	r.contribute(names[0])
	good := r.Transcript()
	payload := func(p PayloadRef) ([]byte, error) { return r.Payload(p.Digest) }
	follow := func() *Follower {
		f, err := small().Follow()
		r.must(err)
		return f
	}
	away := errors.New("away")
	f := follow()
	if err := f.Advance(context.Background(), good, func(PayloadRef) ([]byte, error) { return nil, away }, ledgerBeacon, nil); !errors.Is(err, away) {
		t.Errorf("without the payload: %v", err)
	}
	r.must(f.Advance(context.Background(), good, payload, ledgerBeacon, nil)) // it goes on
	wantReason(t, "other bytes", follow().Advance(context.Background(), good, func(PayloadRef) ([]byte, error) { return []byte("x"), nil }, ledgerBeacon, nil), ReasonPayload)
	// The coordinator let a contribution pass without its proof of knowledge.
	con := r.make(names[1])
	copy(con.Payload[:proofSize], con.Payload[proofSize:2*proofSize])
	step := r.Transcript().step(StepContribution, names[1], clock)
	step.Payload, step.Size = sum(con.Payload), int64(len(con.Payload))
	signed, err := signer(names[1]).sign(LabelStep, step)
	r.must(err)
	con.Step = signed
	r.force(con)
	wantReason(t, "a forged contribution", f.Advance(context.Background(), r.Transcript(), payload, ledgerBeacon, nil), ReasonProof)
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if err := follow().Advance(stopped, good, payload, ledgerBeacon, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	sealed := begin(t, nil)
	sealed.wholePhase()
	other := func([]byte, time.Time) ([]byte, error) { return make([]byte, 32), nil }
	wantReason(t, "another beacon", follow().Advance(context.Background(), sealed.Transcript(),
		func(p PayloadRef) ([]byte, error) { return sealed.Payload(p.Digest) }, other, nil), ReasonBeacon)
	f, err = large().Follow()
	r.must(err)
	wantReason(t, "another circuit", f.Advance(context.Background(), good, payload, ledgerBeacon, nil), ReasonCircuit)
}
