package network

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/ledger/entry"
)

// rule is an approval rule of keys labelled "approver N".
func rule(from uint64, number int, labels ...string) Approvers {
	r := Approvers{From: from, Number: number, Keys: []string{}}
	for _, l := range labels {
		r.Keys = append(r.Keys, base64.StdEncoding.EncodeToString(testPub("approver "+l)))
	}
	slices.Sort(r.Keys)
	return r
}

func testGroup(t *testing.T, origin string, labels ...string) entry.Entry {
	t.Helper()
	var e entry.Approved = entry.GroupDefine{Group: "g", Version: 1, Members: []string{"GOV/m01"}, Time: "2026-03-01T12:00:00Z"}
	for _, l := range labels {
		var err error
		if e, err = entry.Approve(origin, e, testKey("approver "+l)); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// TestCheckApprovals follows a log through three rules: none, two of three, two others, none any more.
func TestCheckApprovals(t *testing.T) {
	const origin = "test.example/GOV/m01/log/1"
	rules := []Approvers{rule(10, 2, "a", "b", "c"), rule(20, 1, "d", "e"), rule(30, 0)}
	for _, tc := range []struct {
		index uint64
		by    []string
		ok    bool
	}{
		{9, nil, true}, {10, nil, false}, {10, []string{"a"}, false}, {10, []string{"a", "c"}, true}, {19, []string{"a", "b", "c"}, true},
		{19, []string{"a", "d"}, false}, {10, []string{"x", "y"}, false}, {20, []string{"a", "b"}, false}, {20, []string{"e"}, true}, {29, []string{"d", "e"}, true},
		{30, nil, true}, {1 << 50, nil, true},
	} {
		err := CheckApprovals(rules, origin, tc.index, testGroup(t, origin, tc.by...))
		if tc.ok != (err == nil) || err != nil && !errors.Is(err, ErrApprovals) {
			t.Errorf("entry %d by %v: %v", tc.index, tc.by, err)
		}
	}
	if err := CheckApprovals(rules, origin, 10, testGroup(t, "test.example/GOV/m01/log/2", "a", "b")); !errors.Is(err, ErrApprovals) {
		t.Errorf("approved for another log: %v", err)
	}
	if err := CheckApprovals(rules, origin, 10, entry.AgreementRevoke{}); err != nil {
		t.Errorf("a revocation needs no approval: %v", err)
	}
	if err := CheckApprovals(nil, origin, 10, testGroup(t, origin)); err != nil {
		t.Error(err)
	}
}

func TestApproversAreValidated(t *testing.T) {
	many := []Approvers{}
	for i := range MaxApproverRules + 1 {
		many = append(many, rule(uint64(i), 1, "a"))
	}
	nine := rule(0, 2, "1", "2", "3", "4", "5", "6", "7", "8", "9")
	for name, bad := range map[string]struct {
		rules []Approvers
		field string
	}{
		"too many rules":  {many, "members.approvers"},
		"too many keys":   {[]Approvers{nine}, "members.approvers.number"},
		"order":           {[]Approvers{rule(5, 1, "a"), rule(5, 1, "b")}, "members.approvers.from"},
		"index":           {[]Approvers{rule(1<<51, 1, "a")}, "members.approvers.from"},
		"too few keys":    {[]Approvers{rule(0, 2, "a")}, "members.approvers.number"},
		"negative":        {[]Approvers{rule(0, -1, "a")}, "members.approvers.number"},
		"keys for none":   {[]Approvers{rule(0, 0, "a")}, "members.approvers.number"},
		"no list":         {[]Approvers{{}}, "members.approvers.keys"},
		"key twice":       {[]Approvers{rule(0, 2, "a", "a")}, "members.approvers.keys"},
		"not a key":       {[]Approvers{{Number: 1, Keys: []string{"AAAA"}}}, "members.approvers.keys"},
		"not in one form": {[]Approvers{{Number: 1, Keys: []string{strings.Repeat("A", 42) + "B="}}}, "members.approvers.keys"},
	} {
		m := testMember("GOV/tax", 4433)
		m.Approvers = bad.rules
		_, err := NewCard(testInstance, m, testKey("log GOV/tax"))
		checkRefusal(t, name, bad.field, err)
	}
	// A gateway's own key is no approver's, and none approves for two members.
	v1 := testNetwork(t, 4, 0)
	for name, rules := range map[string][2][]Approvers{
		"a gateway's own key": {{own2(v1, nth(1))}, nil},
		"another's key":       {{own2(v1, nth(2))}, nil},
		"for two members":     {{rule(0, 1, "a")}, {rule(3, 1, "a")}},
	} {
		next := succeed(t, v1, Change{Beat: new(int(61))})
		next.Members[0].Approvers, next.Members[1].Approvers = rules[0], rules[1]
		if err := CheckSuccessor(v1, next); !errors.Is(err, ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
	v1 = testNetwork(t, 12, 0)
	next := succeed(t, v1, Change{Beat: new(int(61))})
	for i := range next.Members {
		for k := range MaxApproverRules {
			r := rule(uint64(k), entry.MaxApprovals)
			for n := range entry.MaxApprovals {
				r.Keys = append(r.Keys, base64.StdEncoding.EncodeToString(testPub("many "+strconv.Itoa(i*1000+k*10+n))))
			}
			slices.Sort(r.Keys)
			next.Members[i].Approvers = append(next.Members[i].Approvers, r)
		}
	}
	checkRefusal(t, "1152 keys in all", "members.approvers.keys", CheckSuccessor(v1, next))
}

func own2(c *Configuration, name string) Approvers {
	m, _ := c.Member(name)
	return Approvers{Number: 1, Keys: []string{m.QueryKey}}
}

// TestApproversOnlyGrow: which entries of a log count never changes, so a rule stays and the next begins after it.
func TestApproversOnlyGrow(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	with := func(prev *Configuration, rules ...Approvers) (*Configuration, error) {
		m, _ := prev.Member(nth(1))
		m.Approvers = rules
		card, err := NewCard(prev.Instance, m, logKeyOf(t, prev, nth(1)))
		if err != nil {
			t.Fatal(err)
		}
		return Succeed(prev, Change{Replace: []Card{card}})
	}
	first, second := rule(5, 2, "a", "b"), rule(9, 1, "a", "c")
	v2, err := with(v1, first)
	if err != nil {
		t.Fatal(err)
	}
	if d := Differences(v1, v2); len(d) != 1 || d[0].What != "approvals of "+nth(1) || !strings.HasPrefix(d[0].After, "2 of ") {
		t.Errorf("differences %+v", d)
	}
	v3, err := with(v2, first, second)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := Parse(v3.Bytes())
	if err != nil || parsed.Digest() != v3.Digest() {
		t.Errorf("does not read back: %v", err)
	}
	for name, rules := range map[string][]Approvers{
		"one dropped": {first}, "all dropped": nil, "other keys": {first, rule(9, 1, "a", "d")}, "fewer signers": {rule(5, 1, "a", "b"), second},
		"begins later": {rule(6, 2, "a", "b"), second}, "another before": {rule(4, 1, "z"), first, second}, "two at once": {first, second, rule(10, 0), rule(11, 1, "a")},
	} {
		_, err := with(v3, rules...)
		checkRefusal(t, name, "members.approvers", err)
	}
	if _, err := with(v3, first, second, rule(12, 0)); err != nil {
		t.Errorf("the need for approvals cannot end: %v", err)
	}
}

// TestRulesOfAChain: each log has the rules of the newest version in which it was a member's, whatever came after.
func TestRulesOfAChain(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	old := v1.Origin(nth(1))
	m, _ := v1.Member(nth(1))
	m.Approvers = []Approvers{rule(5, 2, "a", "b")}
	card, err := NewCard(v1.Instance, m, logKeyOf(t, v1, nth(1)))
	if err != nil {
		t.Fatal(err)
	}
	v2 := succeed(t, v1, Change{Replace: []Card{card}})
	next := rotated(t, v2, nth(1), true, false)
	next.Member.Approvers = []Approvers{rule(0, 1, "c")}
	if next, err = NewCard(v1.Instance, next.Member, testKey("log 2 "+nth(1))); err != nil {
		t.Fatal(err)
	}
	tree := testTree(old, 10, "")
	v3 := succeed(t, v2, Change{Replace: []Card{next}, Fences: []Fence{{Origin: old, Size: tree.N, Root: hex.EncodeToString(tree.Hash[:])}}})
	c := NewChain(v1)
	for i, prev := range []*Configuration{v1, v2} {
		if len(c.Rules(old)) != i {
			t.Errorf("under version %d the log has rules %v", i+1, c.Rules(old))
		}
		if err := c.Extend(linked(t, prev, []*Configuration{v2, v3}[i], same(prev, 10))); err != nil {
			t.Fatal(err)
		}
	}
	if got := describeApprovers(c.Rules(old)); got != rule(5, 2, "a", "b").Describe() {
		t.Errorf("the log that ended: %s", got)
	}
	if got := describeApprovers(c.Rules(v3.Origin(nth(1)))); got != rule(0, 1, "c").Describe() {
		t.Errorf("the log that follows: %s", got)
	}
	if got := c.Rules(v1.Origin(nth(2))); got != nil {
		t.Errorf("another member's: %v", got)
	}
	if got := NewChain(v3).Rules(old); got != nil {
		t.Errorf("of a log that ended before the pinned version: %v", got)
	}
}
