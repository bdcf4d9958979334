package network

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
)

// How a circuit's keys came about.
const (
	KindDevelopment = "development" // one process made them: mode demo only
	KindDemo        = "demo"        // a ceremony that one process verified for all: mode demo only
	KindCeremony    = "ceremony"    // a ceremony that each member verifies by itself
)

// A Circuit names a circuit, the verifying key that members accept for it, and for what time. Two stand side by side while the members
// go over from one to the other.
type Circuit struct {
	ID           string `json:"id"`                     // 64 hexadecimal digits
	VerifyingKey string `json:"verifying_key"`          // SHA-256, 64 hexadecimal digits
	Kind         string `json:"kind"`                   // KindDevelopment, KindDemo or KindCeremony
	Transcript   string `json:"transcript,omitempty"`   // SHA-256 of the ceremony's transcript; none of development keys
	Contributors int    `json:"contributors,omitempty"` // fewest distinct members that contributed in each phase; none of development keys
	Since        string `json:"since,omitempty"`        // UTC, the first time of answers under it; "": always
	Until        string `json:"until,omitempty"`        // UTC, after the last time of answers under it; "": open end
}

// FromCeremony says whether the keys come from a ceremony, which has a transcript.
func (k Circuit) FromCeremony() bool { return k.Kind == KindDemo || k.Kind == KindCeremony }

// InForce says whether an answer of that time may be under the circuit: since <= at < until.
func (k Circuit) InForce(at time.Time) bool {
	since, err := entry.ParseTime(k.Since)
	if k.Since != "" && (err != nil || at.Before(since)) {
		return false
	}
	until, err := entry.ParseTime(k.Until)
	return k.Until == "" || err == nil && at.Before(until)
}

// Circuit returns the circuit of that id.
func (c *Configuration) Circuit(id string) (Circuit, bool) {
	for _, k := range c.Circuits {
		if k.ID == id {
			return k, true
		}
	}
	return Circuit{}, false
}

// CircuitsAt returns the circuits in force at a time, the one with the latest since first: holders that have its keys answer under it.
func (c *Configuration) CircuitsAt(at time.Time) []Circuit {
	var out []Circuit
	for _, k := range c.Circuits {
		if k.InForce(at) {
			out = append(out, k)
		}
	}
	slices.SortStableFunc(out, func(a, b Circuit) int { return strings.Compare(b.Since, a.Since) }) // times of one length, or ""
	return out
}

// sortCircuits returns the circuits in the order of a configuration. No circuits have one form.
func sortCircuits(list []Circuit) []Circuit {
	if len(list) == 0 {
		return nil
	}
	out := slices.Clone(list)
	slices.SortFunc(out, func(a, b Circuit) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (c *Configuration) validateCircuits() error {
	if len(c.Circuits) > MaxCircuits {
		return refuse("circuits", strconv.Itoa(len(c.Circuits)), fmt.Sprintf("at most %d", MaxCircuits))
	}
	for i, k := range c.Circuits {
		if i > 0 && c.Circuits[i-1].ID >= k.ID {
			return refuse("circuits.id", k.ID, "distinct ids in ascending order")
		}
		if err := k.validate(c.Mode); err != nil {
			return err
		}
	}
	return nil
}

func (k Circuit) validate(mode string) error {
	switch {
	case !hexForm.MatchString(k.ID):
		return refuse("circuits.id", k.ID, "64 lower-case hexadecimal digits")
	case !hexForm.MatchString(k.VerifyingKey):
		return refuse("circuits.verifying_key", k.VerifyingKey, "a SHA-256 as 64 lower-case hexadecimal digits")
	case k.Kind != KindDevelopment && !k.FromCeremony():
		return refuse("circuits.kind", k.Kind, `"development", "demo" or "ceremony"`)
	case k.Kind != KindCeremony && mode == ModeProduction:
		return refuse("circuits.kind", k.Kind, `"ceremony" in production`)
	}
	if err := k.validateCeremony(mode); err != nil {
		return err
	}
	since, err := optionalTime("circuits.since", k.Since)
	if err != nil {
		return err
	}
	until, err := optionalTime("circuits.until", k.Until)
	if err != nil {
		return err
	}
	if k.Until != "" && !since.Before(until) {
		return refuse("circuits.until", k.Until, "a time after since")
	}
	return nil
}

// validateCeremony checks what stands of a circuit's ceremony. Contributors may have left since, so their number is bounded by that of
// the members an instance may have.
func (k Circuit) validateCeremony(mode string) error {
	least := MinContributors
	if mode == ModeProduction {
		least = MinProductionContributors
	}
	switch {
	case !k.FromCeremony() && k.Transcript != "":
		return refuse("circuits.transcript", k.Transcript, "none of development keys")
	case !k.FromCeremony() && k.Contributors != 0:
		return refuse("circuits.contributors", strconv.Itoa(k.Contributors), "none of development keys")
	case !k.FromCeremony():
		return nil
	case !hexForm.MatchString(k.Transcript):
		return refuse("circuits.transcript", k.Transcript, "the SHA-256 of the ceremony's transcript as 64 lower-case hexadecimal digits")
	case k.Contributors < least || k.Contributors > MaxMembers:
		return refuse("circuits.contributors", strconv.Itoa(k.Contributors), fmt.Sprintf("%d to %d members in each phase", least, MaxMembers))
	}
	return nil
}

// optionalTime reads a time, or "", the zero time.
func optionalTime(field, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := entry.ParseTime(s)
	if err != nil {
		return time.Time{}, refuse(field, s, "a UTC time like 2030-01-02T15:04:05Z, or none")
	}
	return t, nil
}

// describe shows a circuit to those who decide on it.
func (k Circuit) describe() string {
	s := k.Kind + " key " + k.VerifyingKey
	if k.FromCeremony() {
		s += fmt.Sprintf(", transcript %s, at least %d contributors in each phase", k.Transcript, k.Contributors)
	}
	if k.Since != "" {
		s += ", since " + k.Since
	}
	if k.Until != "" {
		s += ", until " + k.Until
	}
	return s
}

// checkCircuits enforces rule 9. Evidence is verified under the version that it names, and a signer may name an old one for ever: only
// a time ends a circuit for those who know the later version, and it must stay the same circuit until then. Development keys bind
// nobody, and may go at any time.
func checkCircuits(prev, next *Configuration) error {
	for _, old := range prev.Circuits {
		if !old.FromCeremony() {
			continue
		}
		now, _ := next.Circuit(old.ID)
		same := now
		same.Until = old.Until
		switch {
		case now.VerifyingKey != old.VerifyingKey:
			if old.Until == "" {
				return refuse("circuits.id", old.ID, "the circuit as it stands in the version before; it may leave after a version that says until when it holds")
			}
		case same != old:
			return refuse("circuits.id", old.ID, "the circuit as it stands in the version before, but for until")
		case old.Until != "" && (now.Until == "" || now.Until > old.Until): // times of one length
			return refuse("circuits.until", now.Until, old.Until+" as in the version before, or earlier")
		}
	}
	return nil
}
