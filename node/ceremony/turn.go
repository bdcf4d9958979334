package ceremony

import "slices"

const (
	// maxRefused bounds how often a contribution of one member is refused in one phase: each costs the coordinator a verification.
	maxRefused = 3
	// maxPassed bounds how often one member is passed over in one phase, so that a transcript stays small.
	maxPassed = 16
)

// standing is what the steps of a phase that is open say about whose turn it is. It is a value: who is there is passed in.
type standing struct {
	order  []string       // members in turn order
	next   string         // whose contribution may come next by the ceremony's rules; "": everybody has contributed
	done   []string       // who contributed in this phase
	passed map[string]int // how often each was passed over in this phase, for whatever reason
	failed map[string]int // of that, because its contribution was refused
	enough bool           // enough contributed for the phase to close
}

// decision is what the coordinator does next.
type decision struct {
	Wait  string // give this member its time
	Pass  string // pass this member over at once: it had its time, is not there, and another is
	Close bool
}

// decide gives everybody one turn in order, there or not. Then those who were passed over and are there now have another, as long as
// the phase is open: it closes when nobody who may still come is there and enough have contributed. The empty decision is to wait
// until somebody is there.
func (s standing) decide(there func(member string) bool) decision {
	if s.next != "" && s.passed[s.next] == 0 {
		return decision{Wait: s.next}
	}
	coming := s.who(func(m string) bool { return s.mayCome(m) && there(m) })
	switch {
	case slices.Contains(coming, s.next):
		return decision{Wait: s.next}
	case len(coming) > 0:
		return decision{Pass: s.next}
	}
	return decision{Close: s.enough}
}

// mayCome tells whether a member may still contribute in this phase.
func (s standing) mayCome(member string) bool {
	return !slices.Contains(s.done, member) && s.passed[member] < maxPassed && s.failed[member] < maxRefused
}

// late are the members who were passed over and may still come.
func (s standing) late() []string {
	return s.who(func(m string) bool { return s.passed[m] > 0 && s.mayCome(m) })
}

func (s standing) who(is func(string) bool) []string {
	var out []string
	for _, m := range s.order {
		if is(m) {
			out = append(out, m)
		}
	}
	return out
}
