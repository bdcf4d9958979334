package ceremony

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// A Task is all that a member needs to contribute, over the network or from a file on a machine without one.
type Task struct {
	Transcript *Transcript
	Base       []byte // the payload that Turn().Base names; empty where that is empty
}

// A Contribution is what a member hands in: a signed step and the payload that it names.
type Contribution struct {
	Step    Signed
	Payload []byte
}

// Magic strings of the two files. What follows is the length of the JSON part (4 bytes, big endian), that part, and the payload to
// the end.
const (
	taskMagic         = "grille-ceremony-task/1\n"
	contributionMagic = "grille-ceremony-contribution/1\n"
)

// WriteTo writes the task's file.
func (t *Task) WriteTo(w io.Writer) (int64, error) {
	return writeParts(w, taskMagic, t.Transcript.Encode(), t.Base)
}

// ReadTask reads a task for the circuit from anywhere. The error is a *Refused or the reader's.
func ReadTask(r io.Reader, c *Circuit) (*Task, error) {
	head, base, err := readParts(r, taskMagic, MaxTranscript, c.maxPayload())
	if err != nil {
		return nil, fmt.Errorf("reading a task: %w", err)
	}
	t, err := DecodeTranscript(head)
	if err != nil {
		return nil, err
	}
	task := &Task{Transcript: t, Base: base}
	return task, task.check(c)
}

// check compares the task with the circuit and the payload with the transcript, without arithmetic.
func (t *Task) check(c *Circuit) error {
	if err := t.Transcript.opening.checkCircuit(c); err != nil {
		return err
	}
	turn := t.Transcript.Turn()
	if turn.Base == "" {
		if len(t.Base) != 0 {
			return refuse(ReasonPayload, "the phase has no payload yet, the task has one")
		}
		return nil
	}
	l := c.layout(turn.Phase)
	if len(t.Transcript.phases[turn.Phase-1].contributors) == 0 {
		l = l.opening()
	}
	if err := l.checkForm(t.Base); err != nil {
		return err
	}
	if sum(t.Base) != turn.Base {
		return refuse(ReasonPayload, "the payload is not the last accepted state %s", turn.Base)
	}
	return nil
}

// WriteTo writes the contribution's file.
func (c *Contribution) WriteTo(w io.Writer) (int64, error) {
	head, err := encode(c.Step)
	if err != nil {
		return 0, err
	}
	return writeParts(w, contributionMagic, head, c.Payload)
}

// ReadContribution reads a contribution for the circuit from anywhere; Ceremony.Add verifies it. The error is a *Refused or the
// reader's.
func ReadContribution(r io.Reader, c *Circuit) (*Contribution, error) {
	head, payload, err := readParts(r, contributionMagic, 2*maxOpening, c.maxPayload())
	if err != nil {
		return nil, fmt.Errorf("reading a contribution: %w", err)
	}
	out := &Contribution{Payload: payload}
	if err := decode(head, len(head), &out.Step); err != nil {
		return nil, refuse(ReasonEncoding, "reading a contribution: %w", err)
	}
	return out, nil
}

// Contribute makes the signer's contribution: it changes the task's state by secrets from crypto/rand and signs the step. That the state
// follows from those before it is what Verify shows in the end; here its points are only checked one by one. The secrets
// are in memory only, and nothing refers to them when it returns; what it was interrupted in is repeated from the start, with new
// secrets. It takes some seven seconds for the statement in phase 1 on two processors and watches ctx all along; in phase 2 some two,
// and ctx is seen at the end. progress, which may be nil, is told each stage in a few words. The error is a *Refused, or the context's.
func Contribute(ctx context.Context, c *Circuit, task *Task, who Signer, at time.Time, progress func(stage string)) (*Contribution, error) {
	if err := task.check(c); err != nil {
		return nil, err
	}
	turn := task.Transcript.Turn()
	if turn.Member != who.Member || turn.Member == "" {
		return nil, refuse(ReasonTurn, "it is not the turn of %s in phase %d", who.Member, turn.Phase)
	}
	tell(progress, fmt.Sprintf("contributing to phase %d", turn.Phase))
	base, err := c.base(ctx, task)
	if err != nil {
		return nil, err
	}
	payload, err := c.contribute(ctx, base)
	if err != nil {
		return nil, err
	}
	step := task.Transcript.step(StepContribution, who.Member, at)
	step.Payload, step.Size = sum(payload), int64(len(payload))
	signed, err := who.sign(LabelStep, step)
	if err != nil {
		return nil, err
	}
	_, err = task.Transcript.With(signed) // what the coordinator would refuse, such as another key, the member learns here
	return &Contribution{Step: signed, Payload: payload}, err
}

// base returns the state that a turn begins with.
func (c *Circuit) base(ctx context.Context, task *Task) (*state, error) {
	turn := task.Transcript.Turn()
	if turn.Base == "" {
		return c.beginning()
	}
	return c.read(ctx, turn.Phase, task.Base)
}

// step is the next step with what all kinds have.
func (t *Transcript) step(kind, member string, at time.Time) Step {
	turn := t.Turn()
	return Step{Version: 1, Kind: kind, Ceremony: turn.Ceremony, Index: turn.Index, Previous: turn.Previous, Phase: turn.Phase,
		Member: member, Time: formatTime(at)}
}

func (c *Circuit) maxPayload() int64 { return max(c.PayloadSize(1), c.PayloadSize(2)) }

func writeParts(w io.Writer, magic string, head, payload []byte) (int64, error) {
	prefix := binary.BigEndian.AppendUint32([]byte(magic), uint32(len(head)))
	return io.Copy(w, io.MultiReader(bytes.NewReader(prefix), bytes.NewReader(head), bytes.NewReader(payload)))
}

// readParts reads what writeParts wrote, with both parts bounded before they are read.
func readParts(r io.Reader, magic string, maxHead, maxPayload int64) (head, payload []byte, err error) {
	prefix := make([]byte, len(magic)+4)
	if _, err := io.ReadFull(r, prefix); err != nil {
		return nil, nil, refuse(ReasonLength, "the file is cut: %w", err)
	}
	if string(prefix[:len(magic)]) != magic {
		return nil, nil, refuse(ReasonEncoding, "not a file of this kind and version")
	}
	n := int64(binary.BigEndian.Uint32(prefix[len(magic):]))
	if n > maxHead {
		return nil, nil, refuse(ReasonLength, "%d bytes of JSON, at most %d may be", n, maxHead)
	}
	head, err = io.ReadAll(io.LimitReader(r, n))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(head)) != n {
		return nil, nil, refuse(ReasonLength, "the file is cut")
	}
	payload, err = io.ReadAll(io.LimitReader(r, maxPayload+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(payload)) > maxPayload {
		return nil, nil, refuse(ReasonLength, "the payload has more than %d bytes", maxPayload)
	}
	return head, payload, nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

func tell(progress func(string), stage string) {
	if progress != nil {
		progress(stage)
	}
}
