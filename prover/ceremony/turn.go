package ceremony

import (
	"slices"
	"time"
)

// An Action is what a ceremony waits for.
type Action string

// The actions.
const (
	ActContribute Action = "contribute" // Member contributes, or the coordinator passes it over
	ActClose      Action = "close"      // the coordinator closes the phase; Member, if any, may still contribute before
	ActSeal       Action = "seal"       // the coordinator seals the phase once there is a beacon from after After
	ActDone       Action = "done"
)

// A Turn is what comes next.
type Turn struct {
	Ceremony string    `json:"ceremony"` // digest of the opening
	Index    int       `json:"index"`    // of the next step
	Previous string    `json:"previous"` // digest that it must name
	Phase    int       `json:"phase"`    // 1 or 2
	Action   Action    `json:"action"`
	Member   string    `json:"member,omitempty"` // who may contribute
	Base     string    `json:"base,omitempty"`   // SHA-256 of the payload to contribute to; empty: what phase 1 begins with
	Missing  int       `json:"missing"`          // distinct contributors that the phase still wants
	After    time.Time `json:"after,omitzero"`   // the announced time of the beacon
}

// Turn returns what comes next.
//
// In each phase the members have their turns in the order of the opening. Whoever is passed over has another turn after the last
// member, as long as the phase is open. A phase may be closed once every member has had a turn and enough have contributed.
func (t *Transcript) Turn() Turn {
	turn := Turn{Ceremony: t.name, Index: len(t.steps), Previous: t.head, Phase: 1}
	if t.phases[0].seal != nil {
		turn.Phase = 2
	}
	p := &t.phases[turn.Phase-1]
	turn.Base, turn.Missing = p.base, max(0, t.opening.Contributors-len(p.contributors))
	switch {
	case p.seal != nil:
		turn.Action = ActDone
	case p.close != nil:
		turn.Action, turn.After = ActSeal, p.close.BeaconTime()
	default:
		turn.Action, turn.Member = ActContribute, t.next(p)
		if t.mayClose(p) == nil {
			turn.Action = ActClose
		}
	}
	return turn
}

// next is the member after the last one that has not contributed, or empty.
func (t *Transcript) next(p *phase) string {
	members := t.opening.Members
	last := slices.IndexFunc(members, func(m Member) bool { return m.Name == p.last })
	for i := range members {
		m := members[(last+1+i)%len(members)].Name
		if !slices.Contains(p.contributors, m) {
			return m
		}
	}
	return ""
}

// mayClose refuses the end of a phase below the configured number of contributors, and before everybody has had a turn.
func (t *Transcript) mayClose(p *phase) error {
	if len(p.contributors) < t.opening.Contributors {
		return refuse(ReasonContributors, "%d of at least %d members contributed", len(p.contributors), t.opening.Contributors)
	}
	if len(p.had) < len(t.opening.Members) {
		return refuse(ReasonTurn, "%d members have had no turn yet", len(t.opening.Members)-len(p.had))
	}
	return nil
}
