package network

import (
	"errors"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

func ptr[T any](v T) *T { return &v }

func fenceAt(origin string, size int64) Fence {
	return Fence{Origin: origin, Size: size, Root: strings.Repeat("ab", 32)}
}

func TestSucceed(t *testing.T) {
	v1 := testNetwork(t, 4, 1)
	before := string(v1.Bytes())
	v2 := succeed(t, v1, Change{
		Add: []Card{testCard(t, testMember("GOV/new", 6000))}, Remove: []string{"GOV/x01"}, Replace: []Card{rotated(t, v1, nth(1), true, true)},
		Fences:   []Fence{fenceAt("test.example/GOV/x01/log/1", 9), fenceAt("test.example/GOV/m01/log/1", 5)},
		Proposer: ptr(nth(2)), Quorum: ptr(4), Beat: ptr(70), Heartbeat: ptr(11), Freshness: ptr(31), Expires: ptr("2031-01-01T00:00:00Z"),
		Circuits: ptr([]Circuit(nil)), Schemes: []Scheme{{Name: "a", Pattern: "x", Normalise: "none", Example: "x"}},
	})
	if string(v1.Bytes()) != before {
		t.Fatal("the version before was changed")
	}
	if v2.Version != 2 || v2.Previous != v1.Digest() || v2.Proposer != nth(2) || v2.Quorum() != 4 || v2.BeatSeconds != 70 ||
		v2.HeartbeatSeconds != 11 || v2.FreshnessSeconds != 31 || v2.Expires != "2031-01-01T00:00:00Z" || v2.Circuits != nil ||
		len(v2.Schemes) != 3 {
		t.Errorf("got %s", v2.Bytes())
	}
	if m, ok := v2.Member("GOV/new"); !ok || m.Mirror {
		t.Errorf("a new member is %+v", m)
	}
	if _, ok := v2.Member("GOV/x01"); ok || len(v2.Members) != 5 {
		t.Error("who left is still there")
	}
	if v2.Origin(nth(1)) != "test.example/GOV/m01/log/2" || v2.Fences[0].LogKey != v1.Members[0].LogKey || v2.Fences[0].Member != nth(1) {
		t.Errorf("rotated: %s, fences %+v", v2.Origin(nth(1)), v2.Fences)
	}
	if parsed, err := Parse(v2.Bytes()); err != nil || parsed.Digest() != v2.Digest() {
		t.Errorf("does not parse: %v", err)
	}
	v3 := succeed(t, v2, Change{Mirrors: map[string]bool{"GOV/new": true}, Quorum: ptr(0)})
	if m, _ := v3.Member("GOV/new"); !m.Mirror || v3.Quorum() != 4 || len(v3.Mirrors()) != 5 {
		t.Errorf("a mirror later: %+v", m)
	}
	v4 := succeed(t, v3, Change{Replace: []Card{rotated(t, v3, nth(1), true, false)}, Fences: []Fence{fenceAt(v3.Origin(nth(1)), 1)}})
	if len(v4.Fences) != 3 || v4.Fences[0] != v2.Fences[0] || v4.Origin(nth(1)) != "test.example/GOV/m01/log/3" {
		t.Errorf("fences %+v", v4.Fences)
	}
}

func TestSucceedRefuses(t *testing.T) {
	v1 := testNetwork(t, 4, 1)
	stranger := testCard(t, testMember("GOV/new", 6000))
	elsewhere := stranger
	elsewhere.Instance = "other.example"
	forged := stranger
	forged.Member.Title = "another"
	for _, tc := range []struct {
		name, field string
		change      Change
	}{
		{"remove a stranger", "change.remove", Change{Remove: []string{"GOV/none"}}},
		{"remove twice", "change.remove", Change{Remove: []string{nth(1), nth(1)}}},
		{"replace a stranger's card", "change.replace", Change{Replace: []Card{stranger}}},
		{"replace with a forged card", "card.signature", Change{Replace: []Card{forged}}},
		{"add a member", "change.add", Change{Add: []Card{testCard(t, testMember(nth(1), 6000))}}},
		{"add twice", "change.add", Change{Add: []Card{stranger, stranger}}},
		{"add from another instance", "card.instance", Change{Add: []Card{elsewhere}}},
		{"add a forged card", "card.signature", Change{Add: []Card{forged}}},
		{"a stranger as mirror", "change.mirrors", Change{Mirrors: map[string]bool{"GOV/none": true}}},
		{"fence of no log", "change.fences", Change{Fences: []Fence{fenceAt("test.example/GOV/none/log/1", 1)}}},
		{"new member as mirror", "members.mirror", Change{Add: []Card{stranger}, Mirrors: map[string]bool{"GOV/new": true}}},
		{"proposer leaves", "proposer", Change{Remove: []string{nth(1)}, Fences: []Fence{fenceAt(v1.Origin(nth(1)), 1)}}},
		{"scheme twice", "schemes.name", Change{Schemes: v1.Schemes[:1]}},
	} {
		_, err := Succeed(v1, tc.change)
		checkRefusal(t, tc.name, tc.field, err)
	}
}

func checkRefusal(t *testing.T, name, field string, err error) {
	t.Helper()
	var r *Refusal
	if !errors.Is(err, ErrConfiguration) || !errors.As(err, &r) || r.Field != field || r.Want == "" {
		t.Errorf("%s: %v, want a complaint about %s", name, err, field)
	}
}

// TestSuccessorRules breaks one rule of CheckSuccessor at a time.
func TestSuccessorRules(t *testing.T) {
	v1 := testNetwork(t, 4, 2)
	v2 := succeed(t, v1, Change{ // the base: GOV/x01's log was rotated, GOV/x02 left
		Replace: []Card{rotated(t, v1, "GOV/x01", true, false)}, Remove: []string{"GOV/x02"},
		Fences: []Fence{fenceAt("test.example/GOV/x01/log/1", 3), fenceAt("test.example/GOV/x02/log/1", 4)},
	})
	key := func(s string) string { return s + "+00000000+AAAA" } // of no valid form; only names are looked at before
	for _, tc := range []struct {
		name, field string
		edit        func(next *Configuration, m *Member) // m is GOV/m02, a mirror
	}{
		{"invalid by itself", "mode", func(n *Configuration, _ *Member) { n.Mode = "" }},
		{"another instance", "instance", func(n *Configuration, _ *Member) {
			*n = *testNetwork(t, 4, 0)
			n.Version, n.Previous, n.Instance = 3, v2.Digest(), "x"
			for i := range n.Members {
				n.Members[i].LogKey = LogVKey(LogName("x", n.Members[i].Name, 1), testPub("log "+n.Members[i].Name))
				n.Members[i].MirrorKey = MirrorVKey(MirrorName("x", n.Members[i].Name, 1), testPub("mirror "+n.Members[i].Name))
			}
		}},
		{"version skipped", "version", func(n *Configuration, _ *Member) { n.Version = 4 }},
		{"version again", "version", func(n *Configuration, _ *Member) { n.Version = 2 }},
		{"previous", "previous", func(n *Configuration, _ *Member) { n.Previous = v1.Digest() }},
		{"mode changed", "mode", func(n *Configuration, _ *Member) { n.Mode, n.Circuits = ModeProduction, nil }},
		{"fence dropped", "fences.origin", func(n *Configuration, _ *Member) { n.Fences = n.Fences[1:] }},
		{"fence moved", "fences.origin", func(n *Configuration, _ *Member) { n.Fences[0].Size++ }},
		{"fence's root changed", "fences.origin", func(n *Configuration, _ *Member) { n.Fences[0].Root = strings.Repeat("cd", 32) }},
		{"fence's key changed", "fences.origin", func(n *Configuration, _ *Member) {
			n.Fences[0].LogKey = LogVKey(n.Fences[0].Origin, testPub("x"))
		}},
		{"fence of a log that never was", "fences.origin", func(n *Configuration, _ *Member) {
			f := fenceAt("test.example/GOV/y/log/1", 1)
			f.Member, f.LogKey = "GOV/y", LogVKey(f.Origin, testPub("x"))
			n.Fences = append(n.Fences, f)
		}},
		{"fence of a current log", "fences.log_key", func(n *Configuration, m *Member) {
			f := fenceAt(m.Origin(), 1)
			f.Member, f.LogKey = m.Name, m.LogKey
			n.Fences = slices.Insert(n.Fences, 0, f)
		}},
		{"fence with another key than the log's", "fences.log_key", func(n *Configuration, m *Member) {
			f := fenceAt(m.Origin(), 1)
			f.Member, f.LogKey = m.Name, LogVKey(m.Origin(), testPub("x"))
			n.Fences = slices.Insert(n.Fences, 0, f)
			m.LogKey = LogVKey(LogName(testInstance, m.Name, 2), testPub("y"))
		}},
		{"member leaves without a fence", "members.name", func(n *Configuration, _ *Member) {
			n.Members = slices.DeleteFunc(n.Members, func(m Member) bool { return m.Name == "GOV/x01" })
		}},
		{"log rotated without a fence", "members.log_key", func(_ *Configuration, m *Member) {
			m.LogKey = LogVKey(LogName(testInstance, m.Name, 2), testPub("x"))
		}},
		{"log rotated by two generations", "members.log_key", func(n *Configuration, m *Member) {
			fenceFirst(n, *m)
			m.LogKey = LogVKey(LogName(testInstance, m.Name, 3), testPub("x"))
		}},
		{"log's generation goes back", "members.log_key", func(n *Configuration, _ *Member) {
			n.Members[4].LogKey = LogVKey(LogName(testInstance, "GOV/x01", 1), testPub("x"))
			n.Fences = n.Fences[1:]
			v := *v2 // the fence of generation 1 alone would stop it
			v.Fences = n.Fences
			n.Previous = v.Digest()
		}},
		{"new log key under the old origin", "members.log_key", func(_ *Configuration, m *Member) {
			m.LogKey = LogVKey(m.Origin(), testPub("x"))
		}},
		{"old log key under a new origin", "fences.log_key", func(n *Configuration, m *Member) {
			fenceFirst(n, *m)
			m.LogKey = LogVKey(LogName(testInstance, m.Name, 2), testPub("log "+m.Name))
		}},
		{"new mirror key under the old name", "members.mirror_key", func(_ *Configuration, m *Member) {
			m.MirrorKey = MirrorVKey(m.MirrorName(), testPub("x"))
		}},
		{"old mirror key under a new name", "members.mirror_key", func(_ *Configuration, m *Member) {
			m.MirrorKey = MirrorVKey(MirrorName(testInstance, m.Name, 2), testPub("mirror "+m.Name))
		}},
		{"mirror key by two generations", "members.mirror_key", func(_ *Configuration, m *Member) {
			m.MirrorKey = MirrorVKey(MirrorName(testInstance, m.Name, 3), testPub("x"))
		}},
		{"key twice in one version", "members.query_key", func(n *Configuration, m *Member) { m.QueryKey = n.Members[0].QueryKey }},
		{"a member's keys exchange roles", "members.transport_key", func(_ *Configuration, m *Member) {
			m.QueryKey, m.TransportKey = m.TransportKey, m.QueryKey
		}},
		{"members exchange keys", "members.query_key", func(n *Configuration, m *Member) {
			n.Members[0].QueryKey, m.QueryKey = m.QueryKey, n.Members[0].QueryKey
		}},
		{"key of an earlier log", "fences.log_key", func(n *Configuration, m *Member) {
			m.MirrorKey = MirrorVKey(MirrorName(testInstance, m.Name, 2), testPub("log GOV/x02"))
		}},
		{"mirror from the start", "members.mirror", func(n *Configuration, _ *Member) {
			m := testMember("GOV/y", 6000)
			n.Members = append(n.Members, m)
		}},
		{"a mirror exchanged for another", "members.mirror", func(n *Configuration, m *Member) {
			m.Mirror, n.Members[4].Mirror = false, true
		}},
		{"two mirrors fewer", "members.mirror", func(n *Configuration, m *Member) { m.Mirror, n.Members[0].Mirror = false, false }},
		{"quorum too low", "quorum", func(n *Configuration, _ *Member) { n.QuorumSize = 2 }},
		{"proposer is nobody", "proposer", func(n *Configuration, _ *Member) { n.Proposer = "GOV/x02" }},
		{"scheme dropped", "schemes.name", func(n *Configuration, _ *Member) { n.Schemes = n.Schemes[1:] }},
		{"scheme changed", "schemes.name", func(n *Configuration, _ *Member) { n.Schemes[0].Normalise = "upper" }},
		{"expires earlier", "expires", func(n *Configuration, _ *Member) { n.Expires = "2029-12-31T23:59:59Z" }},
		{"malformed key", "members.log_key", func(_ *Configuration, m *Member) { m.LogKey = key(m.Origin()) }},
	} {
		next := extended(t, v2, 61)
		tc.edit(next, &next.Members[1])
		prev := *v2
		if tc.name == "log's generation goes back" {
			prev.Fences = prev.Fences[1:]
		}
		checkRefusal(t, tc.name, tc.field, CheckSuccessor(&prev, next))
	}
}

// fenceFirst adds a fence for a member's log.
func fenceFirst(c *Configuration, m Member) {
	f := fenceAt(m.Origin(), 1)
	f.Member, f.LogKey = m.Name, m.LogKey
	c.Fences = slices.Insert(c.Fences, 0, f)
}

func TestProductionKeepsFourMirrors(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	v1.Mode, v1.Circuits = ModeProduction, nil
	_, err := Succeed(v1, Change{Mirrors: map[string]bool{nth(4): false}})
	checkRefusal(t, "three mirrors", "members.mirror", err)
	if !strings.Contains(err.Error(), "at least 4") {
		t.Error(err)
	}
}

// TestOneMirrorAtATime: with the usual quorums a mirror can always be added or removed, and its key rotated.
func TestOneMirrorAtATime(t *testing.T) {
	for n := 1; n < MaxMirrors; n++ {
		if q, more := Quorum(n), Quorum(n+1); !overlaps(n, q, n+1, more, n+1) || !overlaps(n+1, more, n, q, n+1) || !overlaps(n, q, n, q, n) {
			t.Errorf("refused between %d and %d mirrors", n, n+1)
		}
	}
	for n := 1; n <= MaxMirrors; n++ {
		if q := Quorum(n); overlaps(n, q, n, q, n+1) {
			t.Errorf("one of %d mirrors may be exchanged in one step", n)
		}
	}
	v1 := testNetwork(t, 4, 0)
	succeed(t, v1, Change{Replace: []Card{rotated(t, v1, nth(2), false, true), rotated(t, v1, nth(3), false, true)}})
}

// TestOverlapAdmitsNoConflict looks at every pair of committees of up to seven mirrors with every overlap and every quorum
// that is allowed. An accepted change has no two quorums, one of each version, that share only liars, whatever up to f
// mirrors lie; so whichever honest mirrors were fooled, before or after the change, two trees that contradict each other
// are never both final. A refused one has such quorums.
func TestOverlapAdmitsNoConflict(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for n2 := 1; n2 <= 7; n2++ {
			for both := 0; both <= min(n, n2); both++ {
				for q := Quorum(n); q <= n; q++ {
					for q2 := Quorum(n2); q2 <= n2; q2++ {
						checkCommittees(t, n, q, n2, q2, both)
					}
				}
			}
		}
	}
}

func checkCommittees(t *testing.T, n, q, n2, q2, both int) {
	t.Helper()
	before := uint(1)<<n - 1                 // mirrors 0 to n-1
	after := (uint(1)<<n2 - 1) << (n - both) // mirrors n-both on
	u := n + n2 - both
	liars := min(2*q-n, 2*q2-n2) - 1
	conflict := false
	for _, a := range subsets(before, q) {
		for _, b := range subsets(after, q2) {
			if bits.OnesCount(a&b) <= liars { // all they share may lie
				conflict = true
			}
		}
	}
	accepted := overlaps(n, q, n2, q2, u)
	if accepted == conflict {
		t.Errorf("%d of %d, then %d of %d with %d in both: accepted %v, conflict possible %v", q, n, q2, n2, both, accepted, conflict)
	}
	if c := min(n-q, both); accepted && q2 <= c+liars {
		t.Errorf("%d of %d, then %d of %d with %d in both: %d fooled and %d liars make a quorum", q, n, q2, n2, both, c, liars)
	}
}

// subsets returns all subsets of a set with k elements.
func subsets(set uint, k int) []uint {
	var out []uint
	for s := set; ; s = (s - 1) & set {
		if bits.OnesCount(s) == k {
			out = append(out, s)
		}
		if s == 0 {
			return out
		}
	}
}
