package ceremony

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/grille-gateway/grille/prover"
)

var update = flag.Bool("update", false, "write golden files anew")

// The transcript's text, the signed bytes and the digests are a format that others read: no byte of them may change by itself. The
// payloads here are of no ceremony; the rules that need none do not look at them.
func TestGoldenTranscript(t *testing.T) {
	o := testOpening(small())
	o.Circuit = sum([]byte("a circuit")) // the id of the test's own would change with gnark
	signed, err := signer(names[0]).sign(LabelOpening, o)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTranscript(signed)
	if err != nil {
		t.Fatal(err)
	}
	add := func(kind, member, by string, change func(*Step)) {
		t.Helper()
		s := tr.step(kind, member, clock)
		change(&s)
		signed, err := signer(by).sign(LabelStep, s)
		if err != nil {
			t.Fatal(err)
		}
		if tr, err = tr.With(signed); err != nil {
			t.Fatal(err)
		}
	}
	beacon := sha256.Sum256([]byte("heads"))
	for phase := 1; phase <= 2; phase++ {
		for _, n := range names[:2] {
			add(StepContribution, n, n, func(s *Step) { s.Payload, s.Size = sum(fmt.Append(nil, n, phase)), small().PayloadSize(phase) })
		}
		add(StepPass, names[2], names[0], func(s *Step) { s.Reason = ReasonProof })
		add(StepPass, names[3], names[0], func(s *Step) { s.Reason = ReasonAbsent })
		add(StepClose, names[0], names[0], func(s *Step) { s.BeaconAfter = formatTime(clock.Add(time.Minute)) })
		add(StepSeal, names[0], names[0], func(s *Step) {
			s.Time, s.Evidence, s.Beacon = formatTime(clock.Add(time.Hour)), "aGVhZHM=", fmt.Sprintf("%x", beacon)
			if phase == 1 {
				s.Opens = sum([]byte("phase 2"))
			} else {
				s.VerifyingKey, s.ProvingKey = sum([]byte("verifying key")), sum([]byte("proving key"))
			}
		})
	}
	const path = "testdata/transcript.golden"
	if *update {
		if err := os.WriteFile(path, tr.Encode(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(tr.Encode(), want) {
		t.Errorf("another transcript:\n%s", tr.Encode())
	}
	const name, digest = "a30d9d975ea0e31b36d50d22dc466e7b52b7e0f09dc91b639e0b9499ab647967", "d00872c64eb40fad8a2c62f2a2831b087d0f7ecd9a02cdd7e3f3aebe5482889c"
	if tr.Ceremony() != name || tr.Digest() != digest {
		t.Errorf("ceremony %s, transcript %s", tr.Ceremony(), tr.Digest())
	}
	if again, err := DecodeTranscript(want); err != nil || !again.Complete() || again.Turn().Action != ActDone {
		t.Error(err)
	}
}

// The lengths of the statement's payloads are those of gnark's mpcsetup at its domain.
func TestStatementSizes(t *testing.T) {
	c, err := Statement()
	if err != nil {
		t.Fatal(err)
	}
	if c.Domain() != 1<<14 || c.PayloadSize(1) != 4_718_969 {
		t.Errorf("domain %d, phase 1 %d bytes", c.Domain(), c.PayloadSize(1))
	}
	if want := int64(2+48+4+48*c.private+4+48*(1<<14-1)+96) + 48 + 96 + 33; c.PayloadSize(2) != want {
		t.Errorf("phase 2 %d bytes, want %d", c.PayloadSize(2), want)
	}
}

// Keys of another circuit than the statement are not stored for it.
func TestKeysOfAnotherCircuit(t *testing.T) {
	res, err := verify(finished())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := res.Keys(); err == nil {
		t.Error("the small circuit's keys are taken for the statement's")
	}
	dir := t.TempDir()
	if _, err := res.Store(context.Background(), dir, clock); err == nil {
		t.Error("they are stored")
	}
	if _, err := prover.Load(context.Background(), dir, nil); err == nil {
		t.Error("they are loaded")
	}
}
