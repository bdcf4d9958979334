package ceremony

import (
	"context"
	"encoding/hex"
	"fmt"
)

// A Follower verifies a ceremony as it goes on, for a member that contributes only to what it verified. It repeats what Verify does, each
// contribution once. Not safe for concurrent use.
type Follower struct {
	circuit *Circuit
	state   *state // after the steps that were verified; nil: nothing goes on from a refusal
	steps   []Step // that were verified
}

// Follow returns a follower that has verified nothing yet.
func (c *Circuit) Follow() (*Follower, error) {
	begin, err := c.beginning()
	return &Follower{circuit: c, state: begin}, err
}

// Advance verifies the steps of t that follow those verified before, up to the seal of phase 2, which is Verify's. payload gets the bytes
// that a contribution names. It takes some three seconds for each contribution to the statement, and half a minute for the seal of phase 1.
// The error is a *Refused, after which the ceremony must not be contributed to; or payload's, after which it can be called again; or the
// context's, after which a new follower begins.
func (f *Follower) Advance(ctx context.Context, t *Transcript, payload func(PayloadRef) ([]byte, error), beacon Beacon, progress func(stage string)) error {
	if err := t.opening.checkCircuit(f.circuit); err != nil {
		return err
	}
	for i, step := range t.steps {
		switch {
		case i < len(f.steps) && f.steps[i] == step:
			continue
		case i < len(f.steps) || f.state == nil:
			return refuse(ReasonChain, "the transcript does not go on from what was verified")
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		after := f.state
		var err error
		switch {
		case step.Kind == StepContribution:
			after, err = f.contribution(ctx, &step, payload, progress)
		case step.Kind == StepSeal && step.Phase == 1:
			after, err = f.seal(ctx, t, &step, beacon, progress)
		}
		if err != nil {
			return err
		}
		f.state, f.steps = after, append(f.steps, step)
	}
	return nil
}

func (f *Follower) contribution(ctx context.Context, step *Step, payload func(PayloadRef) ([]byte, error), progress func(string)) (*state, error) {
	data, err := payload(PayloadRef{Digest: step.Payload, Size: step.Size, Phase: step.Phase})
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != step.Size || sum(data) != step.Payload {
		return nil, refuse(ReasonPayload, "the payload is not what the signed step says")
	}
	tell(progress, fmt.Sprintf("verifying the contribution of %s to phase %d", step.Member, step.Phase))
	return f.circuit.accept(ctx, f.state, data)
}

// seal repeats the seal of phase 1. Sealing uses the state up, so an interrupted one is not gone on from.
func (f *Follower) seal(ctx context.Context, t *Transcript, step *Step, beacon Beacon, progress func(string)) (*state, error) {
	value, err := askBeacon(beacon, step.EvidenceBytes(), t.phases[0].close.BeaconTime())
	if err != nil {
		return nil, err
	}
	if hex.EncodeToString(value) != step.Beacon {
		return nil, refuse(ReasonBeacon, "the evidence of phase 1 gives another beacon")
	}
	last := f.state
	f.state = nil
	srs, err := f.circuit.sealFirst(ctx, last, value, progress)
	if err != nil {
		return nil, err
	}
	if srs.begin.hex() != step.Opens {
		return nil, refuse(ReasonBase, "phase 1 gives another state to begin phase 2 with than its seal says")
	}
	return srs.begin, nil
}
