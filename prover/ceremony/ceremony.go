package ceremony

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/consensys/gnark/backend/groth16/bls12-381/mpcsetup"
)

// A Beacon returns the 32 bytes that the evidence gives for a phase that was announced to be sealed after a time. It refuses evidence
// that is none, with any error. It is public and follows from the ledger; soundness does not rest on it.
type Beacon func(evidence []byte, after time.Time) ([]byte, error)

// ErrDamaged means that the coordinator's own folder no longer holds what was accepted: nobody's contribution is to blame. Put the
// payload back that the message names (members who copied the transcript have it), or open another ceremony.
var ErrDamaged = errors.New("the ceremony's folder is damaged")

// A Ceremony is the coordinator's: it keeps the folder, verifies each contribution once as it comes, and goes on from the last accepted
// state. Whatever is refused leaves it as it was. Safe for concurrent use; what changes it happens one after another.
//
// A contribution is on disk, payload first, before it counts. After a restart Resume goes on from there; what stands in the folder was
// verified by the process that wrote it, and is verified again, whole, by everyone who calls Verify.
type Ceremony struct {
	circuit     *Circuit
	folder      *Folder
	coordinator Signer
	unlock      func()

	working sync.Mutex // held while the ceremony changes; guards what follows
	state   *state     // last accepted of the open phase; nil: it is read from the folder when it is needed
	commons *mpcsetup.SrsCommons
	evals   *mpcsetup.Phase2Evaluations
	whole   bool // every contribution was verified by this process

	mu         sync.Mutex // guards transcript
	transcript *Transcript
}

// Create opens a ceremony in a folder that holds none, signed by the coordinator. The error is a *Refused (ReasonOpening,
// ReasonCircuit, ReasonDomain, ReasonSignature) or the disk's.
func Create(ctx context.Context, dir string, c *Circuit, o Opening, coordinator Signer) (*Ceremony, error) {
	signed, err := coordinator.sign(LabelOpening, o)
	if err != nil {
		return nil, err
	}
	t, err := newTranscript(signed)
	if err != nil {
		return nil, err
	}
	if o.Coordinator != coordinator.Member {
		return nil, refuse(ReasonMember, "%s is not the coordinator", coordinator.Member)
	}
	if err := o.checkCircuit(c); err != nil {
		return nil, err
	}
	f, err := MakeFolder(dir)
	if err != nil {
		return nil, err
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := f.dir.Read(transcriptFile, MaxTranscript); !errors.Is(err, fs.ErrNotExist) {
		unlock()
		return nil, fmt.Errorf("opening a ceremony: %s holds one already: resume it, or choose another folder", dir)
	}
	if err := f.PutTranscript(t); err != nil {
		unlock()
		return nil, err
	}
	return &Ceremony{circuit: c, folder: f, coordinator: coordinator, unlock: unlock, transcript: t, whole: true}, nil
}

// Resume goes on with the ceremony in a folder. The error is ErrNoTranscript, a *Refused, or the disk's.
func Resume(ctx context.Context, dir string, c *Circuit, coordinator Signer) (*Ceremony, error) {
	f := OpenFolder(dir)
	t, err := f.Transcript()
	if err != nil {
		return nil, err
	}
	if err := t.opening.checkCircuit(c); err != nil {
		return nil, err
	}
	if t.opening.Coordinator != coordinator.Member {
		return nil, refuse(ReasonMember, "%s is not the coordinator", coordinator.Member)
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		return nil, err
	}
	if t, err = f.Transcript(); err != nil { // another process may have had it
		unlock()
		return nil, err
	}
	return &Ceremony{circuit: c, folder: f, coordinator: coordinator, unlock: unlock, transcript: t,
		whole: len(t.steps) == 0}, nil
}

// Close gives the folder to other processes. The ceremony must not be used any more.
func (c *Ceremony) Close() { c.unlock() }

// Transcript returns the transcript as it stands. It does not wait for work under way.
func (c *Ceremony) Transcript() *Transcript {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.transcript
}

// Payload returns the bytes of a payload that the transcript names, for those who fetch it. The error is as of Folder.Payload.
func (c *Ceremony) Payload(digest string) ([]byte, error) {
	return c.folder.Payload(digest, c.circuit.maxPayload())
}

// Task returns what the member whose turn it is needs. The error is a *Refused with ReasonTurn when nobody's contribution is awaited,
// ErrDamaged, or the disk's.
func (c *Ceremony) Task() (*Task, error) {
	t := c.Transcript()
	turn := t.Turn()
	if turn.Member == "" {
		return nil, refuse(ReasonTurn, "the ceremony waits for: %s", turn.Action)
	}
	task := &Task{Transcript: t}
	if turn.Base != "" {
		var err error
		if task.Base, err = c.own(turn.Base); err != nil {
			return nil, err
		}
	}
	return task, nil
}

// Add verifies a contribution and appends it. It takes some seconds for the statement. On a *Refused error the ceremony is as it was:
// the coordinator passes the member over with its reason, or lets it try again. Other errors are not the member's: ErrDamaged, the
// context's, or the disk's.
func (c *Ceremony) Add(ctx context.Context, con *Contribution, progress func(stage string)) error {
	c.working.Lock()
	defer c.working.Unlock()
	next, err := c.Transcript().With(con.Step)
	if err != nil {
		return err
	}
	step := next.steps[len(next.steps)-1]
	if step.Kind != StepContribution {
		return refuse(ReasonTurn, "the step is no contribution")
	}
	if int64(len(con.Payload)) != step.Size || sum(con.Payload) != step.Payload {
		return refuse(ReasonPayload, "the payload is not what the signed step says")
	}
	before, err := c.last(ctx, progress)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tell(progress, fmt.Sprintf("verifying the contribution of %s to phase %d", step.Member, step.Phase))
	after, err := c.circuit.accept(ctx, before, con.Payload)
	if err != nil {
		return err
	}
	if _, err := c.folder.PutPayload(con.Payload); err != nil {
		return err
	}
	if err := c.commit(next); err != nil {
		return err
	}
	c.state = after
	return nil
}

// commit makes a transcript the one that holds.
func (c *Ceremony) commit(next *Transcript) error {
	if err := c.folder.PutTranscript(next); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.transcript = next
	return nil
}

// append signs a step of the coordinator's and appends it.
func (c *Ceremony) append(step Step) error {
	signed, err := c.coordinator.sign(LabelStep, step)
	if err != nil {
		return err
	}
	next, err := c.Transcript().With(signed)
	if err != nil {
		return err
	}
	return c.commit(next)
}

// Pass passes the member over whose turn it is: absent in its time, or refused with a reason. The error is a *Refused with ReasonTurn
// for another member.
func (c *Ceremony) Pass(member string, reason Reason, at time.Time) error {
	c.working.Lock()
	defer c.working.Unlock()
	step := c.Transcript().step(StepPass, member, at)
	step.Reason = reason
	return c.append(step)
}

// ClosePhase ends the open phase and announces the time after which its beacon is taken, not before at. The error is a *Refused with
// ReasonContributors below the configured number and with ReasonTurn before everybody has had a turn.
func (c *Ceremony) ClosePhase(at, beaconAfter time.Time) error {
	c.working.Lock()
	defer c.working.Unlock()
	step := c.Transcript().step(StepClose, c.coordinator.Member, at)
	step.BeaconAfter = formatTime(beaconAfter)
	return c.append(step)
}

// last returns the last accepted state of the open phase.
func (c *Ceremony) last(ctx context.Context, progress func(string)) (*state, error) {
	if c.state != nil {
		return c.state, nil
	}
	turn := c.Transcript().Turn()
	if turn.Base == "" {
		s, err := c.circuit.beginning()
		c.state = s
		return s, err
	}
	tell(progress, "reading the last accepted state")
	var err error
	c.state, err = c.accepted(ctx, turn.Phase, turn.Base)
	return c.state, err
}

// accepted reads a state that was accepted. The error is ErrDamaged or the disk's, and never a *Refused, which would be a member's.
func (c *Ceremony) accepted(ctx context.Context, phase int, digest string) (*state, error) {
	payload, err := c.own(digest)
	if err != nil {
		return nil, err
	}
	s, err := c.circuit.read(ctx, phase, payload)
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		return nil, fmt.Errorf("%w: payload %s: %v", ErrDamaged, digest, err)
	}
	return s, err
}

// own reads a payload that was accepted.
func (c *Ceremony) own(digest string) ([]byte, error) {
	payload, err := c.Payload(digest)
	if refused := (*Refused)(nil); errors.As(err, &refused) || errors.Is(err, ErrNoPayload) {
		return nil, fmt.Errorf("%w: payload %s: %v", ErrDamaged, digest, err)
	}
	return payload, err
}
