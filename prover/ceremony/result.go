package ceremony

import (
	"context"
	"errors"
	"time"

	"github.com/grille-gateway/grille/prover"
)

// ErrNotWhole means that the process that sealed a ceremony did not verify every contribution itself, because it was started again
// meanwhile: run Verify on the folder.
var ErrNotWhole = errors.New("this process did not verify every contribution of the ceremony")

// A Result is what a sealed ceremony gives: what prover.Verification notes about it, and the keys.
type Result struct {
	prover.Verification      // Verified is set by Store
	Whole               bool // every contribution was verified by this process
	circuit             *Circuit
	keys                *keyPair
}

func (c *Circuit) result(t *Transcript, k *keyPair, whole bool) *Result {
	v := prover.Verification{Ceremony: t.Ceremony(), Transcript: t.Digest(), Circuit: c.id, VerifyingKey: k.verifyingDigest,
		ProvingKey: k.provingDigest, Kind: t.opening.Kind, Contributors: t.opening.Contributors}
	for _, s := range t.steps {
		if s.Kind == StepContribution {
			v.Phases[s.Phase-1] = append(v.Phases[s.Phase-1], prover.Contribution{Member: s.Member, SHA256: s.Payload})
		}
	}
	return &Result{Verification: v, Whole: whole, circuit: c, keys: k}
}

// Keys returns the keys for package prover. The error is prover.ErrVerifyingKey for another circuit than the statement.
func (r *Result) Keys() (*prover.Keys, error) {
	return prover.NewKeys(r.circuit.system, r.Kind, r.Transcript, r.keys.proving, r.keys.verifying)
}

// Store writes the keys to the key folder dir, beside those of another ceremony if there are any (prover.Keys.StoreBeside), and with them
// the note that this machine verified their ceremony at a time. The error is ErrNotWhole, as of Keys, or the disk's.
func (r *Result) Store(ctx context.Context, dir string, at time.Time) (*prover.Keys, error) {
	if !r.Whole {
		return nil, ErrNotWhole
	}
	k, err := r.Keys()
	if err != nil {
		return nil, err
	}
	of, err := k.StoreBeside(ctx, dir)
	if err != nil {
		return nil, err
	}
	r.Verified = formatTime(at)
	return k, prover.WriteVerification(of, r.Verification)
}
