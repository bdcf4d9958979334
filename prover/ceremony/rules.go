package ceremony

import "slices"

// check reads a step and says whether it may follow, as far as that needs no payload.
func (t *Transcript) check(signed Signed) (Step, error) {
	var s Step
	if err := decode([]byte(signed.Body), maxStep, &s); err != nil {
		return Step{}, refuse(ReasonEncoding, "reading a step: %w", err)
	}
	if err := s.checkForm(); err != nil {
		return Step{}, err
	}
	if len(t.steps) >= MaxSteps {
		return Step{}, refuse(ReasonEncoding, "a transcript has at most %d steps", MaxSteps)
	}
	m, ok := t.opening.Member(s.Member)
	if !ok {
		return Step{}, refuse(ReasonMember, "%s is no member of the ceremony", s.Member)
	}
	if s.Kind != StepContribution { // the rest is the coordinator's, whomever it is about
		m, _ = t.opening.Member(t.opening.Coordinator)
	}
	if err := signed.verify(m.key(), LabelStep); err != nil {
		return Step{}, err
	}
	if s.Ceremony != t.name {
		return Step{}, refuse(ReasonChain, "the step is of ceremony %s, this is %s", s.Ceremony, t.name)
	}
	if s.Index != len(t.steps) || s.Previous != t.head {
		return Step{}, refuse(ReasonChain, "the step follows %s at %d, the next follows %s at %d", s.Previous, s.Index, t.head, len(t.steps))
	}
	return s, t.checkTurn(&s)
}

// checkTurn says whether the step is the one that comes next.
func (t *Transcript) checkTurn(s *Step) error {
	turn := t.Turn()
	p := &t.phases[turn.Phase-1]
	if s.Phase != turn.Phase || turn.Action == ActDone {
		return refuse(ReasonTurn, "a step of phase %d, the ceremony waits for: %s in phase %d", s.Phase, turn.Action, turn.Phase)
	}
	switch s.Kind {
	case StepContribution, StepPass:
		if p.close != nil || s.Member != turn.Member {
			return refuse(ReasonTurn, "it is not the turn of %s in phase %d", s.Member, s.Phase)
		}
		if slices.ContainsFunc(t.steps, func(o Step) bool { return s.Payload != "" && o.Payload == s.Payload }) {
			return refuse(ReasonChain, "the payload was contributed before")
		}
	case StepClose:
		return t.checkClose(s, p)
	case StepSeal:
		if p.close == nil || s.Member != t.opening.Coordinator {
			return refuse(ReasonTurn, "phase %d is not closed", s.Phase)
		}
		if parseTime(s.Time).Before(p.close.BeaconTime()) {
			return refuse(ReasonTime, "the seal is older than its beacon")
		}
	}
	return nil
}

func (t *Transcript) checkClose(s *Step, p *phase) error {
	if p.close != nil || s.Member != t.opening.Coordinator {
		return refuse(ReasonTurn, "phase %d is closed already", s.Phase)
	}
	if err := t.mayClose(p); err != nil {
		return err
	}
	if s.BeaconTime().Before(parseTime(s.Time)) {
		return refuse(ReasonTime, "the beacon would be from before the phase was closed")
	}
	return nil
}
