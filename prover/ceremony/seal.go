package ceremony

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/consensys/gnark/backend/groth16/bls12-381/mpcsetup"
	"github.com/grille-gateway/grille/prover"
)

// Seal ends the phase that is closed with its beacon. After phase 1 it opens phase 2, which takes half a minute for the statement, and
// returns no result. After phase 2 it returns the keys. The error is a *Refused: ReasonTurn when no phase is closed, ReasonTime before
// the announced time, ReasonBeacon when beacon refuses the evidence; or ErrDamaged, the context's, or the disk's. On any error the ceremony is as
// it was.
func (c *Ceremony) Seal(ctx context.Context, evidence []byte, at time.Time, beacon Beacon, progress func(stage string)) (*Result, error) {
	c.working.Lock()
	defer c.working.Unlock()
	turn := c.Transcript().Turn()
	if turn.Action != ActSeal {
		return nil, refuse(ReasonTurn, "the ceremony waits for: %s", turn.Action)
	}
	if at.Before(turn.After) {
		return nil, refuse(ReasonTime, "the beacon is from after %s", formatTime(turn.After))
	}
	value, err := askBeacon(beacon, evidence, turn.After)
	if err != nil {
		return nil, err
	}
	step := c.Transcript().step(StepSeal, c.coordinator.Member, at)
	step.Evidence, step.Beacon = base64.StdEncoding.EncodeToString(evidence), hex.EncodeToString(value)
	if turn.Phase == 1 {
		return nil, c.sealFirst(ctx, step, value, progress)
	}
	return c.sealSecond(ctx, step, value, progress)
}

func askBeacon(beacon Beacon, evidence []byte, after time.Time) ([]byte, error) {
	if len(evidence) > MaxEvidence {
		return nil, refuse(ReasonBeacon, "%d bytes of evidence, at most %d may be", len(evidence), MaxEvidence)
	}
	value, err := beacon(evidence, after)
	if err != nil {
		return nil, refuse(ReasonBeacon, "checking the beacon's evidence: %w", err)
	}
	if len(value) != 32 {
		return nil, refuse(ReasonBeacon, "the beacon has %d bytes, not 32", len(value))
	}
	return value, nil
}

func (c *Ceremony) sealFirst(ctx context.Context, step Step, beacon []byte, progress func(string)) error {
	last, err := c.take(ctx, progress)
	if err != nil {
		return err
	}
	srs, err := c.circuit.sealFirst(ctx, last, beacon, progress)
	if err != nil {
		return err
	}
	if _, err := c.folder.PutPayload(srs.payload); err != nil {
		return err
	}
	step.Opens = srs.begin.hex()
	if err := c.append(step); err != nil {
		return err
	}
	c.commons, c.evals, c.state = srs.commons, srs.evals, srs.begin
	return nil
}

func (c *Ceremony) sealSecond(ctx context.Context, step Step, beacon []byte, progress func(string)) (*Result, error) {
	if err := c.reopen(ctx, progress); err != nil {
		return nil, err
	}
	last, err := c.take(ctx, progress)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tell(progress, "sealing phase 2")
	k, err := c.circuit.sealSecond(c.Transcript().opening.Kind, last, c.commons, c.evals, beacon)
	if err != nil {
		return nil, err
	}
	step.VerifyingKey, step.ProvingKey = k.verifyingDigest, k.provingDigest
	if err := c.append(step); err != nil {
		return nil, err
	}
	return c.circuit.result(c.Transcript(), k, c.whole), nil
}

// take hands over the last accepted state, for sealing changes it.
func (c *Ceremony) take(ctx context.Context, progress func(string)) (*state, error) {
	s, err := c.last(ctx, progress)
	c.state = nil
	return s, err
}

// reopen computes what phase 2 began with anew, after a restart.
func (c *Ceremony) reopen(ctx context.Context, progress func(string)) error {
	if c.commons != nil {
		return nil
	}
	t := c.Transcript()
	tell(progress, "reading the last state of phase 1")
	last, err := c.accepted(ctx, 1, t.phases[0].base)
	if err != nil {
		return err
	}
	beacon, err := hex.DecodeString(t.phases[0].seal.Beacon)
	if err != nil {
		return err
	}
	srs, err := c.circuit.sealFirst(ctx, last, beacon, progress)
	if err != nil {
		return err
	}
	if srs.begin.hex() != t.phases[0].seal.Opens {
		return fmt.Errorf("%w: phase 1 gives another state to begin phase 2 with than its seal says", ErrDamaged)
	}
	c.commons, c.evals = srs.commons, srs.evals
	return nil
}

// reference is what phase 1 gave, and the state that phase 2 begins with.
type reference struct {
	commons *mpcsetup.SrsCommons
	evals   *mpcsetup.Phase2Evaluations
	begin   *state
	payload []byte // of begin
}

// sealFirst seals phase 1, which uses up its last state, and opens phase 2.
func (c *Circuit) sealFirst(ctx context.Context, last *state, beacon []byte, progress func(string)) (*reference, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	tell(progress, "sealing phase 1")
	if err := last.powers.seal(ctx, last.digest, beacon); err != nil {
		return nil, err
	}
	tell(progress, "opening phase 2")
	commons := &last.powers.SrsCommons
	second, evals, err := c.openSecond(ctx, commons)
	if err != nil {
		return nil, err
	}
	begin := &state{phase2: second}
	payload, err := c.settle(begin)
	if err != nil {
		return nil, err
	}
	return &reference{commons: commons, evals: evals, begin: begin, payload: payload}, nil
}

// keyPair is what phase 2 gave.
type keyPair struct {
	proving                        *groth16.ProvingKey
	verifying                      *groth16.VerifyingKey
	provingDigest, verifyingDigest string
}

// sealSecond seals phase 2, which uses up its last state.
func (c *Circuit) sealSecond(kind string, last *state, commons *mpcsetup.SrsCommons, evals *mpcsetup.Phase2Evaluations,
	beacon []byte) (*keyPair, error) {
	pk, vk := last.phase2.Seal(commons, evals, beacon)
	proving, ok := pk.(*groth16.ProvingKey)
	verifying, ok2 := vk.(*groth16.VerifyingKey)
	if !ok || !ok2 {
		return nil, errors.New("sealing phase 2: keys of another curve")
	}
	encoded, err := prover.EncodeVerifyingKey(kind, c.id, verifying)
	if err != nil {
		return nil, fmt.Errorf("sealing phase 2: %w", err)
	}
	digest, err := prover.ProvingKeyDigest(proving)
	if err != nil {
		return nil, err
	}
	return &keyPair{proving: proving, verifying: verifying, provingDigest: digest, verifyingDigest: sum(encoded)}, nil
}
