package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// A Transcript is an opening and the steps that follow it. It is a value: With returns another. Everything that needs no payload
// has been checked: forms, signatures, the chain of hashes, turns, numbers of contributors. Payloads, beacons and keys are checked
// by Ceremony as they come, and by Verify.
type Transcript struct {
	opening Opening
	name    string // digest of the opening
	signed  file
	steps   []Step
	phases  [2]phase
	head    string // digest of the last step, or of the opening
}

// file is transcript.json.
type file struct {
	Opening Signed   `json:"opening"`
	Steps   []Signed `json:"steps"`
}

// phase is what the steps say of one phase.
type phase struct {
	contributors []string // in the order of their contributions
	had          []string // who had a turn, each once
	last         string   // whose turn was last
	base         string   // digest of the last accepted state; empty: what phase 1 begins with
	close, seal  *Step
}

// Digest is the hex SHA-256 of the transcript's encoding, and so of transcript.json. It changes with every step.
func (t *Transcript) Digest() string {
	sum := sha256.Sum256(t.Encode())
	return hex.EncodeToString(sum[:])
}

// Ceremony is the digest of the opening: the ceremony's name.
func (t *Transcript) Ceremony() string { return t.name }

// Opening returns what the ceremony is about.
func (t *Transcript) Opening() Opening {
	o := t.opening
	o.Members = slices.Clone(o.Members)
	return o
}

// Steps returns what was done.
func (t *Transcript) Steps() []Step { return slices.Clone(t.steps) }

// Contributors returns the distinct members that contributed in phase 1 or 2, in that order.
func (t *Transcript) Contributors(phase int) []string {
	if phase != 1 && phase != 2 {
		return nil
	}
	return slices.Clone(t.phases[phase-1].contributors)
}

// Complete tells that both phases are sealed.
func (t *Transcript) Complete() bool { return t.phases[1].seal != nil }

// Encode returns transcript.json.
func (t *Transcript) Encode() []byte {
	data, err := encode(t.signed)
	if err != nil {
		panic(err) // strings always encode
	}
	return data
}

// DecodeTranscript reads transcript.json from anywhere: bounded by MaxTranscript, in its one encoding, every signature and rule
// checked that needs no payload. The error is a *Refused.
func DecodeTranscript(data []byte) (*Transcript, error) {
	var f file
	if err := decode(data, MaxTranscript, &f); err != nil {
		return nil, refuse(ReasonEncoding, "reading a transcript: %w", err)
	}
	if len(f.Steps) > MaxSteps {
		return nil, refuse(ReasonEncoding, "%d steps, a transcript has at most %d", len(f.Steps), MaxSteps)
	}
	t, err := newTranscript(f.Opening)
	if err != nil {
		return nil, err
	}
	for i := range f.Steps {
		if err := t.add(f.Steps[i]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// newTranscript returns the transcript without steps.
func newTranscript(signed Signed) (*Transcript, error) {
	t := &Transcript{signed: file{Opening: signed, Steps: []Signed{}}, name: signed.digest(LabelOpening)}
	t.head = t.name
	if err := decode([]byte(signed.Body), maxOpening, &t.opening); err != nil {
		return nil, refuse(ReasonEncoding, "reading an opening: %w", err)
	}
	if err := t.opening.check(); err != nil {
		return nil, err
	}
	m, _ := t.opening.Member(t.opening.Coordinator)
	return t, signed.verify(m.key(), LabelOpening)
}

// With returns the transcript with a further step, after the checks that need no payload. t stays as it is. The error is a *Refused.
func (t *Transcript) With(s Signed) (*Transcript, error) {
	next := *t
	next.signed.Steps, next.steps = slices.Clip(t.signed.Steps), slices.Clip(t.steps)
	for i := range next.phases {
		p := &next.phases[i]
		p.contributors, p.had = slices.Clip(p.contributors), slices.Clip(p.had)
	}
	if err := next.add(s); err != nil {
		return nil, err
	}
	return &next, nil
}

// add checks a step and appends it.
func (t *Transcript) add(s Signed) error {
	step, err := t.check(s)
	if err != nil {
		return err
	}
	t.signed.Steps, t.steps = append(t.signed.Steps, s), append(t.steps, step)
	t.head = s.digest(LabelStep)
	t.apply(&t.steps[len(t.steps)-1])
	return nil
}

// apply notes a step that was checked.
func (t *Transcript) apply(s *Step) {
	p := &t.phases[s.Phase-1]
	switch s.Kind {
	case StepContribution:
		p.contributors, p.base = append(p.contributors, s.Member), s.Payload
		p.turned(s.Member)
	case StepPass:
		p.turned(s.Member)
	case StepClose:
		p.close = s
	case StepSeal:
		p.seal = s
		if s.Phase == 1 {
			t.phases[1].base = s.Opens
		}
	}
}

func (p *phase) turned(member string) {
	p.last = member
	if !slices.Contains(p.had, member) {
		p.had = append(p.had, member)
	}
}
