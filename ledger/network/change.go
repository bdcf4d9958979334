package network

import (
	"maps"
	"slices"
	"strings"
)

// A Change is what the next version of a configuration has otherwise than this one. Its zero value changes nothing.
type Change struct {
	// Add holds the cards of new members. They are no mirrors at first, whatever the card says: a member first copies all
	// logs, and becomes a mirror in a later version.
	Add []Card
	// Remove names members that leave. Each needs a fence for its log.
	Remove []string
	// Replace holds new cards of members: rotated keys, another endpoint or title. Whether a member is a mirror stays.
	Replace []Card
	// Fences ends logs of this version. Member and LogKey are taken from this version and may be left empty.
	Fences []Fence
	// Mirrors says by name who is a mirror from now on, and who no longer.
	Mirrors map[string]bool

	Proposer                   *string
	Quorum                     *int       // 0: floor(2n/3)+1
	Beat, Heartbeat, Freshness *int       // seconds
	Circuits                   *[]Circuit // all of the next version's
	Schemes                    []Scheme   // more of them; those that there are stay
	Expires                    *string
}

// Succeed makes the next version of a configuration. It is one that CheckSuccessor accepts.
func Succeed(prev *Configuration, change Change) (*Configuration, error) {
	next := *prev
	next.Version, next.Previous = prev.Version+1, prev.Digest()
	next.Members = slices.Clone(prev.Members)
	next.Schemes = slices.Concat(prev.Schemes, change.Schemes)
	set(&next.Proposer, change.Proposer)
	set(&next.QuorumSize, change.Quorum)
	set(&next.BeatSeconds, change.Beat)
	set(&next.HeartbeatSeconds, change.Heartbeat)
	set(&next.FreshnessSeconds, change.Freshness)
	set(&next.Circuits, change.Circuits)
	set(&next.Expires, change.Expires)
	next.Circuits = sortCircuits(next.Circuits)
	if err := next.changeMembers(change); err != nil {
		return nil, err
	}
	if err := next.addFences(prev, change.Fences); err != nil {
		return nil, err
	}
	slices.SortFunc(next.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(next.Schemes, func(a, b Scheme) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(next.Fences, func(a, b Fence) int { return strings.Compare(a.Origin, b.Origin) })
	if err := CheckSuccessor(prev, &next); err != nil {
		return nil, err
	}
	return &next, nil
}

func set[T any](field, value *T) {
	if value != nil {
		*field = *value
	}
}

func (c *Configuration) changeMembers(change Change) error {
	at := c.indexOf
	for _, name := range change.Remove {
		i := at(name)
		if i < 0 {
			return refuse("change.remove", name, "the name of a member")
		}
		c.Members = slices.Delete(c.Members, i, i+1)
	}
	for _, card := range change.Replace {
		if err := c.checkCard(card); err != nil {
			return err
		}
		i := at(card.Member.Name)
		if i < 0 {
			return refuse("change.replace", card.Member.Name, "the card of a member; a new one is to be added")
		}
		mirror := c.Members[i].Mirror
		c.Members[i] = card.Member
		c.Members[i].Mirror = mirror
	}
	for _, card := range change.Add {
		if err := c.checkCard(card); err != nil {
			return err
		}
		if at(card.Member.Name) >= 0 {
			return refuse("change.add", card.Member.Name, "the card of somebody who is no member; a member's card is to be replaced")
		}
		card.Member.Mirror = false
		c.Members = append(c.Members, card.Member)
	}
	return c.changeMirrors(change.Mirrors)
}

func (c *Configuration) changeMirrors(mirrors map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(mirrors)) {
		i := c.indexOf(name)
		if i < 0 {
			return refuse("change.mirrors", name, "the name of a member")
		}
		c.Members[i].Mirror = mirrors[name]
	}
	return nil
}

// indexOf finds a member while the list is not sorted; -1 if there is none.
func (c *Configuration) indexOf(name string) int {
	return slices.IndexFunc(c.Members, func(m Member) bool { return m.Name == name })
}

func (c *Configuration) checkCard(card Card) error {
	if card.Instance != c.Instance {
		return refuse("card.instance", card.Instance, "a card made for "+c.Instance)
	}
	return card.Verify()
}

func (c *Configuration) addFences(prev *Configuration, fences []Fence) error {
	c.Fences = slices.Clone(prev.Fences)
	for _, f := range fences {
		owner, ok := prev.Owner(f.Origin)
		if !ok {
			return refuse("change.fences", f.Origin, "the origin of a log that a member has now")
		}
		f.Member, f.LogKey = owner.Name, owner.LogKey
		c.Fences = append(c.Fences, f)
	}
	return nil
}
