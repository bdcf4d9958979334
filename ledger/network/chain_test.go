package network

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// testChain returns a chain of four versions of four mirrors: a member joins, becomes a mirror, and takes the log of
// GOV/m01 to its second generation with it.
func testChain(t testing.TB) *Chain {
	t.Helper()
	c := NewChain(testNetwork(t, 4, 0))
	step := func(change Change, f func(*Configuration) func(string) map[string]tlog.Tree) {
		prev := c.Newest()
		if err := c.Extend(linked(t, prev, succeed(t, prev, change), f(prev))); err != nil {
			t.Fatal(err)
		}
	}
	v1 := c.Newest()
	first, second := v1.Origin(nth(1)), v1.Origin(nth(2))
	step(Change{Add: []Card{testCard(t, testMember("GOV/new", 6000))}}, func(*Configuration) func(string) map[string]tlog.Tree {
		return func(mirror string) map[string]tlog.Tree { // one lags behind in the first log, nobody has entries of the last
			trees := map[string]tlog.Tree{first: testTree(first, 9, ""), second: testTree(second, 3, "")}
			if mirror == nth(2) {
				trees[first] = testTree(first, 8, "")
			}
			return trees
		}
	})
	step(Change{Mirrors: map[string]bool{"GOV/new": true}, Proposer: ptr("GOV/new")},
		func(*Configuration) func(string) map[string]tlog.Tree {
			return func(mirror string) map[string]tlog.Tree { // the second log lay idle for all but one
				trees := map[string]tlog.Tree{first: testTree(first, 12, "")}
				if mirror == nth(1) {
					trees[second] = testTree(second, 3, "")
				}
				return trees
			}
		})
	v3 := c.Newest()
	step(Change{Replace: []Card{rotated(t, v3, nth(1), true, true)}, Fences: []Fence{fenceAt(first, 12)}},
		func(c *Configuration) func(string) map[string]tlog.Tree {
			return func(mirror string) map[string]tlog.Tree {
				return map[string]tlog.Tree{first: testTree(first, 12, "")}
			}
		})
	return c
}

func TestChain(t *testing.T) {
	c := testChain(t)
	if v := c.Newest(); v.Version != 4 || v.Origin(nth(1)) != "test.example/GOV/m01/log/2" || v.Proposer != "GOV/new" || v.Quorum() != 4 {
		t.Errorf("newest is %s", v.Bytes())
	}
	if c.Pinned().Version != 1 || len(c.Versions()) != 4 || len(c.Links()) != 3 {
		t.Errorf("%d versions, %d links", len(c.Versions()), len(c.Links()))
	}
	for i, v := range c.Versions() {
		at, ok := c.At(i + 1)
		by, ok2 := c.ByDigest(v.Digest())
		if !ok || !ok2 || at != v || by != v {
			t.Errorf("version %d is not found", i+1)
		}
	}
	for _, version := range []int{-1, 0, 5} {
		if _, ok := c.At(version); ok {
			t.Errorf("there is a version %d", version)
		}
	}
	if _, ok := c.ByDigest(strings.Repeat("0", 64)); ok {
		t.Error("unknown digest found")
	}
	first, second := "test.example/GOV/m01/log/1", "test.example/GOV/m02/log/1"
	for origin, want := range map[string][]tlog.Tree{
		first:                        {testTree(first, 8, ""), testTree(first, 9, ""), testTree(first, 12, "")},
		second:                       {testTree(second, 3, "")}, // though no newer handover names it
		"test.example/GOV/m03/log/1": nil,
		"test.example/GOV/m01/log/2": nil,
	} {
		if got := c.Pins(origin); !slices.Equal(got, want) {
			t.Errorf("pins of %s are %v, want %v", origin, got, want)
		}
	}
	if got := c.Links()[0].Pins(first); len(got) != 2 || got[0].N != 8 || got[1].N != 9 {
		t.Errorf("pins of the first link: %v", got)
	}
	clone := c.Clone()
	next := extended(t, c.Newest(), 61)
	if err := clone.Extend(linked(t, c.Newest(), next, same(c.Newest(), 20))); err != nil {
		t.Fatal(err)
	}
	if c.Newest().Version != 4 || clone.Newest().Version != 5 || len(c.Pins(second)) != 1 || len(clone.Pins(second)) != 2 {
		t.Error("extending a clone changed the chain, or not the clone")
	}
	if err := clone.Extend(clone.Links()[3]); !errors.Is(err, ErrSuccession) || clone.Newest().Version != 5 {
		t.Errorf("a link twice: %v", err)
	}
}

func TestChainGolden(t *testing.T) {
	c := testChain(t)
	path := filepath.Join("testdata", "chain.golden")
	if *update {
		if err := os.WriteFile(path, c.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(golden, c.Bytes()) {
		t.Fatalf("differs from %s (%v); got\n%s", path, err, c.Bytes())
	}
	parsed, err := ParseChain(golden)
	if err != nil || parsed.Newest().Digest() != c.Newest().Digest() || !slices.Equal(parsed.Pins("test.example/GOV/m01/log/1"),
		c.Pins("test.example/GOV/m01/log/1")) {
		t.Errorf("golden file does not parse: %v", err)
	}
	alone := NewChain(c.Pinned())
	if parsed, err := ParseChain(alone.Bytes()); err != nil || parsed.Newest().Digest() != c.Pinned().Digest() {
		t.Errorf("a chain without links: %v", err)
	}
}

func TestParseChainRefuses(t *testing.T) {
	c := testChain(t)
	good := string(c.Bytes())
	join := func(links ...*Link) string { return string(compact(chainFile{c.Pinned(), links})) }
	links := c.Links()
	invalid := *c.Pinned()
	invalid.Proposer = "GOV/none"
	for name, doc := range map[string]string{
		"empty": "", "null": "null\n", "no configuration": "{}\n", "null configuration": `{"configuration":null}` + "\n",
		"null link":         strings.Replace(join(), "}\n", `,"links":[null]}`+"\n", 1),
		"empty links":       strings.Replace(join(), "}\n", `,"links":[]}`+"\n", 1),
		"a configuration":   string(c.Pinned().Bytes()),
		"invalid":           string(compact(chainFile{&invalid, nil})),
		"link left out":     join(links[0], links[2]),
		"link first":        join(links[1]),
		"link twice":        join(links[0], links[0]),
		"another beginning": string(compact(chainFile{extended(t, c.Pinned(), 63), links})),
		"no final newline":  strings.TrimSuffix(good, "\n"), "indented": string(canonical(chainFile{c.Pinned(), links})),
		"unknown field": strings.Replace(good, `{"configuration"`, `{"colour":1,"configuration"`, 1),
	} {
		if _, err := ParseChain([]byte(doc)); !errors.Is(err, ErrConfiguration) && !errors.Is(err, ErrSuccession) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLinkRefuses changes one thing at a time in a link, of which each signature is good.
func TestLinkRefuses(t *testing.T) {
	v1 := testNetwork(t, 4, 1)
	v2, rival := extended(t, v1, 61), extended(t, v1, 62)
	good := linked(t, v1, v2, same(v1, 7))
	if next, err := good.Verify(v1); err != nil || next.Digest() != v2.Digest() {
		t.Fatal(err)
	}
	m1 := v1.Origin(nth(1))
	for _, tc := range []struct {
		name string
		edit func(l *Link)
	}{
		{"no votes", func(l *Link) { l.Votes = nil }},
		{"a vote fewer", func(l *Link) { l.Votes = l.Votes[1:] }},
		{"a mirror counted twice", func(l *Link) { l.Votes[1] = l.Votes[0] }},
		{"votes out of order", func(l *Link) { slices.Reverse(l.Votes) }},
		{"too many votes", func(l *Link) { l.Votes = slices.Repeat(l.Votes[:1], MaxMirrors+1) }},
		{"vote for the rival", func(l *Link) { l.Votes[0] = vote(t, v1, rival, nth(1)) }},
		{"forged vote", func(l *Link) { l.Votes[0].Signature = l.Votes[1].Signature }},
		{"no handovers", func(l *Link) { l.Handovers = nil }},
		{"a handover fewer", func(l *Link) { l.Handovers = l.Handovers[1:] }},
		{"a mirror hands over twice", func(l *Link) { l.Handovers[1] = l.Handovers[0] }},
		{"handovers out of order", func(l *Link) { slices.Reverse(l.Handovers) }},
		{"handover to the rival", func(l *Link) { l.Handovers[0], _ = handover(t, v1, rival, nth(1), same(v1, 7)("")) }},
		{"forged handover", func(l *Link) { l.Handovers[0].Signature = l.Handovers[1].Signature }},
		{"no checkpoints", func(l *Link) { l.Checkpoints = nil }},
		{"a checkpoint fewer", func(l *Link) { l.Checkpoints = l.Checkpoints[1:] }},
		{"checkpoints out of order", func(l *Link) { slices.Reverse(l.Checkpoints) }},
		{"a checkpoint twice", func(l *Link) { l.Checkpoints = slices.Insert(l.Checkpoints, 0, l.Checkpoints[0]) }},
		{"a checkpoint too many", func(l *Link) {
			l.Checkpoints = append(l.Checkpoints, signTree(t, v1, m1, testTree(m1, 8, "")))
			slices.Sort(l.Checkpoints)
		}},
		{"checkpoint of another tree", func(l *Link) { l.Checkpoints[0] = signTree(t, v1, m1, testTree(m1, 7, "fork")) }},
		{"the rival's document", func(l *Link) { l.Proposal = *propose(t, v1, rival) }},
	} {
		bad, err := ParseLink(good.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		tc.edit(bad)
		if _, err := bad.Verify(v1); !errors.Is(err, ErrSuccession) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	for name, prev := range map[string]*Configuration{"the version it leads to": v2, "another version 1": rival, "more members": testNetwork(t, 4, 2)} {
		if _, err := good.Verify(prev); !errors.Is(err, ErrSuccession) {
			t.Errorf("from %s: %v", name, err)
		}
	}
}

// TestPinsHoldWhatIsFinal: for every quorum that cosigned a tree and every quorum that hands over, of up to seven mirrors,
// more mirrors are in both than may lie, so an honest one hands over a tree that contains it.
func TestPinsHoldWhatIsFinal(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for q := Quorum(n); q <= n; q++ {
			all := uint(1)<<n - 1
			for _, liars := range subsets(all, 2*q-n-1) {
				for _, final := range subsets(all, q) {
					for _, handing := range subsets(all, q) {
						if final&handing&^liars == 0 {
							t.Fatalf("%d of %d: a final tree is not handed over", q, n)
						}
					}
				}
			}
		}
	}
}

// TestContradictingPins: an owner that signed two histories shows in the pins, and a mirror that lies cannot make it look
// so, for it lacks the owner's signature.
func TestContradictingPins(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	v2 := extended(t, v1, 61)
	origin := v1.Origin(nth(1))
	l := linked(t, v1, v2, func(mirror string) map[string]tlog.Tree {
		fork := ""
		if mirror == nth(2) {
			fork = "other"
		}
		return map[string]tlog.Tree{origin: testTree(origin, 7, fork)}
	})
	c := NewChain(v1)
	if err := c.Extend(l); err != nil {
		t.Fatal(err)
	}
	if pins := c.Pins(origin); len(pins) != 2 || pins[0].N != 7 || pins[1].N != 7 || bytes.Compare(pins[0].Hash[:], pins[1].Hash[:]) >= 0 {
		t.Errorf("pins %v", pins)
	}
}

func FuzzParseLink(f *testing.F) {
	v1 := testNetwork(f, 4, 0)
	v2 := extended(f, v1, 61)
	good := linked(f, v1, v2, func(string) map[string]tlog.Tree {
		return map[string]tlog.Tree{v1.Origin(nth(1)): testTree("x", 7, "")}
	})
	f.Add(good.Bytes())
	f.Add([]byte(`{"proposal":{"document":"","signature":""},"votes":null,"handovers":null}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLink(data)
		if err != nil {
			return
		}
		if !bytes.Equal(l.Bytes(), data) {
			t.Fatalf("accepted what is not canonical: %q", data)
		}
		if next, err := l.Verify(v1); err == nil && next.Digest() != v2.Digest() {
			t.Fatalf("forged a link: %q", data)
		}
	})
}

func FuzzParseChain(f *testing.F) {
	c := testChain(f)
	f.Add(c.Bytes())
	f.Add(NewChain(c.Pinned()).Bytes())
	f.Add([]byte("{}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseChain(data); err == nil && !bytes.Equal(c.Bytes(), data) {
			t.Fatalf("accepted what is not canonical: %q", data)
		}
	})
}
