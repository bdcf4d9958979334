package network

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestDifferences(t *testing.T) {
	v1 := testNetwork(t, 4, 1)
	if d := Differences(v1, v1); len(d) != 0 {
		t.Errorf("one version differs from itself: %v", d)
	}
	left, moved := v1.Origin("GOV/x01"), rotated(t, v1, nth(1), false, true)
	moved.Member.Endpoint, moved.Member.Title = "127.0.0.1:7000", "Another title"
	card, err := NewCard(v1.Instance, moved.Member, logKeyOf(t, v1, nth(1)))
	if err != nil {
		t.Fatal(err)
	}
	joins := testMember("GOV/new", 6000)
	v2 := succeed(t, v1, Change{
		Add: []Card{testCard(t, joins)}, Remove: []string{"GOV/x01"}, Replace: []Card{card}, Fences: []Fence{fenceAt(left, 9)},
		Proposer: ptr(nth(2)), Quorum: ptr(4), Beat: ptr(70), Heartbeat: ptr(11), Freshness: ptr(31), Expires: ptr("2031-01-01T00:00:00Z"),
		Circuits: ptr([]Circuit(nil)), Schemes: []Scheme{{Name: "a", Pattern: "x", Normalise: "none", Example: "x"}},
	})
	gone, _ := v1.Member("GOV/x01")
	m1, _ := v1.Member(nth(1))
	want := []Difference{
		{"title of " + nth(1), m1.Title, "Another title"},
		{"endpoint of " + nth(1), m1.Endpoint, "127.0.0.1:7000"},
		{"mirror key of " + nth(1), m1.MirrorKey, card.Member.MirrorKey},
		{"member GOV/new", "", joins.Title},
		{"endpoint of GOV/new", "", joins.Endpoint},
		{"log key of GOV/new", "", joins.LogKey},
		{"mirror key of GOV/new", "", joins.MirrorKey},
		{"transport key of GOV/new", "", joins.TransportKey},
		{"query key of GOV/new", "", joins.QueryKey},
		{"member GOV/x01", gone.Title, ""},
		{"endpoint of GOV/x01", gone.Endpoint, ""},
		{"log key of GOV/x01", gone.LogKey, ""},
		{"mirror key of GOV/x01", gone.MirrorKey, ""},
		{"transport key of GOV/x01", gone.TransportKey, ""},
		{"query key of GOV/x01", gone.QueryKey, ""},
		{"fence of " + left, "", "9 entries, root " + strings.Repeat("ab", 32)},
		{"proposer", nth(1), nth(2)},
		{"quorum", "3 of 4 mirrors", "4 of 4 mirrors"},
		{"beat", "60 s", "70 s"}, {"heartbeat", "10 s", "11 s"}, {"freshness", "30 s", "31 s"},
		{"scheme a", "", "x, normalise none, like x"},
		{"circuit " + strings.Repeat("ab", 32), "development key " + strings.Repeat("ab", 32), ""},
		{"expires", "2030-01-01T00:00:00Z", "2031-01-01T00:00:00Z"},
	}
	if got := Differences(v1, v2); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", listing(got), listing(want))
	}
	backwards := Differences(v2, v1)
	if len(backwards) != len(want) {
		t.Errorf("backwards\n%s", listing(backwards))
	}
	for _, d := range want {
		if !slices.Contains(backwards, Difference{d.What, d.After, d.Before}) {
			t.Errorf("backwards %s is missing", d.What)
		}
	}
	v3 := succeed(t, v2, Change{Mirrors: map[string]bool{"GOV/new": true}})
	if got := Differences(v2, v3); len(got) != 2 || got[0] != (Difference{"GOV/new is a mirror", "no", "yes"}) || got[1].What != "quorum" {
		t.Errorf("got\n%s", listing(got))
	}
}

func listing(d []Difference) string {
	var b strings.Builder
	for _, x := range d {
		fmt.Fprintf(&b, "%s: %q -> %q\n", x.What, x.Before, x.After)
	}
	return b.String()
}

func TestNames(t *testing.T) {
	m := testMember("GOV/tax", 4433)
	if m.Origin() != LogName(testInstance, "GOV/tax", 1) || m.MirrorName() != "test.example/GOV/tax/mirror/1" {
		t.Errorf("names %s, %s", m.Origin(), m.MirrorName())
	}
	for name, want := range map[string]int{"a/GOV/tax/log/12": 12, "a/GOV/tax/mirror/1": 1, "a/0": 0, "a/-1": 0, "a/x": 0, "": 0, "7": 7} {
		if got := Generation(name); got != want {
			t.Errorf("generation of %q is %d, want %d", name, got, want)
		}
	}
	for vkey, want := range map[string]string{m.LogKey: "log GOV/tax", m.MirrorKey: "mirror GOV/tax"} {
		if key, err := PublicKey(vkey); err != nil || !key.Equal(testPub(want)) {
			t.Errorf("key in %s: %v", vkey, err)
		}
	}
	for _, vkey := range []string{"", "a", "a+00000000+AAAA", m.LogKey + "A", strings.Replace(m.LogKey, "tax", "tex", 1)} {
		if _, err := PublicKey(vkey); err == nil {
			t.Errorf("key in %q", vkey)
		}
	}
}

func TestReadChain(t *testing.T) {
	c := testChain(t)
	for _, data := range [][]byte{c.Bytes(), c.File(), c.Pinned().Bytes(), NewChain(c.Pinned()).File(), NewChain(c.Pinned()).Bytes()} {
		got, err := ReadChain(data)
		if err != nil || got.Pinned().Digest() != c.Pinned().Digest() {
			t.Errorf("%.40q: %v", data, err)
		}
	}
	if got := NewChain(c.Pinned()).File(); string(got) != string(c.Pinned().Bytes()) {
		t.Error("a chain without links is not written as a configuration")
	}
	if _, err := ReadChain([]byte("{}\n")); err == nil {
		t.Error("nothing is read as a chain")
	}
}
