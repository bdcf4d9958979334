package network

import (
	"fmt"
	"slices"
	"strconv"
)

// A Difference is one thing that two versions of a configuration have otherwise.
type Difference struct {
	What   string `json:"what"`             // for people: "member GOV/tax", "mirror key of GOV/tax", "quorum"
	Before string `json:"before,omitempty"` // "" where there was none
	After  string `json:"after,omitempty"`  // "" where there is none any more
}

// Differences lists all that b has otherwise than a, for those who decide on it: members that join or leave and their keys,
// what changes of the others, fences, then the rest. It is empty if the two say the same but for version and previous.
func Differences(a, b *Configuration) []Difference {
	var out differences
	out.add("instance", a.Instance, b.Instance)
	out.add("mode", a.Mode, b.Mode)
	out.members(a, b)
	for _, f := range a.Fences {
		if now, ok := b.Fence(f.Origin); !ok {
			out.add("fence of "+f.Origin, f.describe(), "")
		} else {
			out.add("fence of "+f.Origin, f.describe(), now.describe())
		}
	}
	for _, f := range b.Fences {
		if _, ok := a.Fence(f.Origin); !ok {
			out.add("fence of "+f.Origin, "", f.describe())
		}
	}
	out.add("proposer", a.Proposer, b.Proposer)
	out.add("quorum", a.describeQuorum(), b.describeQuorum())
	seconds := func(what string, before, after int) {
		out.add(what, strconv.Itoa(before)+" s", strconv.Itoa(after)+" s")
	}
	seconds("beat", a.BeatSeconds, b.BeatSeconds)
	seconds("heartbeat", a.HeartbeatSeconds, b.HeartbeatSeconds)
	seconds("freshness", a.FreshnessSeconds, b.FreshnessSeconds)
	out.schemes(a, b)
	out.circuits(a, b)
	out.add("expires", a.Expires, b.Expires)
	return out
}

func (f Fence) describe() string { return fmt.Sprintf("%d entries, root %s", f.Size, f.Root) }

func (c *Configuration) describeQuorum() string {
	return fmt.Sprintf("%d of %d mirrors", c.Quorum(), len(c.Mirrors()))
}

type differences []Difference

func (d *differences) add(what, before, after string) {
	if before != after {
		*d = append(*d, Difference{what, before, after})
	}
}

// members compares those of both versions by name; who joins or leaves is shown with all keys.
func (d *differences) members(a, b *Configuration) {
	var names []string
	for _, m := range slices.Concat(a.Members, b.Members) {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		before, was := a.Member(name)
		after, is := b.Member(name)
		if was != is {
			d.add("member "+name, before.Title, after.Title)
		} else {
			d.add("title of "+name, before.Title, after.Title)
		}
		d.add("endpoint of "+name, before.Endpoint, after.Endpoint)
		role := map[bool]string{true: "yes"}
		if was && is {
			role[false] = "no"
		}
		d.add(name+" is a mirror", role[before.Mirror], role[after.Mirror])
		d.add("log key of "+name, before.LogKey, after.LogKey)
		d.add("mirror key of "+name, before.MirrorKey, after.MirrorKey)
		d.add("transport key of "+name, before.TransportKey, after.TransportKey)
		d.add("query key of "+name, before.QueryKey, after.QueryKey)
		d.add("approvals of "+name, describeApprovers(before.Approvers), describeApprovers(after.Approvers))
	}
}

func (d *differences) schemes(a, b *Configuration) {
	find := func(c *Configuration, name string) string {
		s, ok := c.Scheme(name)
		if !ok {
			return ""
		}
		return fmt.Sprintf("%s, normalise %s, like %s", s.Pattern, s.Normalise, s.Example)
	}
	var names []string
	for _, s := range slices.Concat(a.Schemes, b.Schemes) {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		d.add("scheme "+name, find(a, name), find(b, name))
	}
}

func (d *differences) circuits(a, b *Configuration) {
	find := func(c *Configuration, id string) string {
		i := slices.IndexFunc(c.Circuits, func(k Circuit) bool { return k.ID == id })
		if i < 0 {
			return ""
		}
		return c.Circuits[i].describe()
	}
	var ids []string
	for _, k := range slices.Concat(a.Circuits, b.Circuits) {
		ids = append(ids, k.ID)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		d.add("circuit "+id, find(a, id), find(b, id))
	}
}
