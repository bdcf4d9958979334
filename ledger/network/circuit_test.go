package network

import (
	"strings"
	"testing"
	"time"
)

// ceremonial makes the first circuit one with keys from a ceremony, and returns it.
func ceremonial(c *Configuration) *Circuit {
	k := &c.Circuits[0]
	k.Kind, k.Transcript, k.Contributors = KindCeremony, strings.Repeat("cd", 32), 2
	return k
}

func TestBuildWithoutCircuits(t *testing.T) {
	p := testParams()
	digests := make(map[string]bool)
	for _, none := range [][]Circuit{nil, {}} {
		p.Circuits = none
		c, err := Build(testInstance, p, testCards(t))
		if err != nil {
			t.Fatal(err)
		}
		digests[c.Digest()] = true
		if again, err := Parse(c.Bytes()); err != nil || again.Digest() != c.Digest() {
			t.Errorf("no circuits: %v", err)
		}
	}
	if len(digests) != 1 {
		t.Error("no circuits have two forms")
	}
}

func TestCeremonyCircuits(t *testing.T) {
	for name, edit := range map[string]func(*Configuration){
		"ceremony in demo":       func(c *Configuration) { ceremonial(c).Contributors = 1 },
		"demo":                   func(c *Configuration) { ceremonial(c).Kind = KindDemo },
		"ceremony in production": func(c *Configuration) { c.Mode = ModeProduction; ceremonial(c) },
		"with a time": func(c *Configuration) {
			ceremonial(c).Since, c.Circuits[0].Until = "2027-01-01T00:00:00Z", "2027-01-01T00:00:01Z"
		},
	} {
		c := testBuild(t)
		edit(c)
		again, err := Parse(c.Bytes())
		if err != nil || again.Circuits[0] != c.Circuits[0] {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCircuitsAt(t *testing.T) {
	id := func(s string) string { return strings.Repeat(s, 32) }
	c := &Configuration{Circuits: []Circuit{
		{ID: id("aa"), Until: "2027-02-01T00:00:00Z"},
		{ID: id("bb"), Since: "2027-01-01T00:00:00Z"},
		{ID: id("cc"), Since: "2027-01-15T00:00:00Z", Until: "2027-01-16T00:00:00Z"},
		{ID: id("dd"), Since: "nonsense"}, {ID: id("ee"), Until: "nonsense"},
	}}
	for at, want := range map[string]string{
		"2026-12-31T23:59:59Z": "aa", "2027-01-01T00:00:00Z": "bbaa", "2027-01-15T00:00:00Z": "ccbbaa", "2027-01-15T23:59:59Z": "ccbbaa",
		"2027-01-16T00:00:00Z": "bbaa", "2027-01-31T23:59:59Z": "bbaa", "2027-02-01T00:00:00Z": "bb",
	} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, k := range c.CircuitsAt(when) {
			got += k.ID[:2]
		}
		if got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
	if k, ok := c.Circuit(id("bb")); !ok || k.ID != id("bb") {
		t.Error("circuit not found")
	}
	if _, ok := c.Circuit(id("ff")); ok {
		t.Error("found a circuit that is not there")
	}
}

func TestCircuitsOfASuccessor(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	k := *ceremonial(v1)
	const until, earlier, later = "2028-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z"
	other := k
	other.ID, other.VerifyingKey = strings.Repeat("ef", 32), strings.Repeat("ef", 32)
	with := func(k Circuit, edit func(*Circuit)) Circuit { edit(&k); return k }
	ended := with(k, func(k *Circuit) { k.Until = until })
	for name, tc := range map[string]struct {
		before Circuit
		after  []Circuit
		field  string // "": may follow
	}{
		"a second beside the first":  {k, []Circuit{k, other}, ""},
		"ends":                       {k, []Circuit{ended, other}, ""},
		"ends earlier":               {ended, []Circuit{with(k, func(k *Circuit) { k.Until = earlier })}, ""},
		"leaves after its end":       {ended, []Circuit{other}, ""},
		"another key after its end":  {ended, []Circuit{with(other, func(o *Circuit) { o.ID = k.ID })}, ""},
		"leaves":                     {k, nil, "circuits.id"},
		"another key":                {k, []Circuit{with(k, func(k *Circuit) { k.VerifyingKey = other.ID })}, "circuits.id"},
		"another transcript":         {k, []Circuit{with(k, func(k *Circuit) { k.Transcript = other.ID })}, "circuits.id"},
		"fewer contributors":         {k, []Circuit{with(k, func(k *Circuit) { k.Contributors-- })}, "circuits.id"},
		"another kind":               {k, []Circuit{with(k, func(k *Circuit) { k.Kind = KindDemo })}, "circuits.id"},
		"another beginning":          {k, []Circuit{with(k, func(k *Circuit) { k.Since = earlier })}, "circuits.id"},
		"ends later":                 {ended, []Circuit{with(k, func(k *Circuit) { k.Until = later })}, "circuits.until"},
		"ends no more":               {ended, []Circuit{k}, "circuits.until"},
		"ends no more, another kind": {ended, []Circuit{with(k, func(k *Circuit) { k.Kind = KindDemo })}, "circuits.id"},
		"no end, other transcript":   {ended, []Circuit{with(k, func(k *Circuit) { k.Transcript = other.ID })}, "circuits.id"},
	} {
		prev := *v1
		prev.Circuits = []Circuit{tc.before}
		_, err := Succeed(&prev, Change{Circuits: &tc.after})
		if tc.field != "" {
			checkRefusal(t, name, tc.field, err)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDifferencesOfCircuits(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	ceremonial(v1)
	ended := v1.Circuits[0]
	ended.Until = "2028-01-01T00:00:00Z"
	other := ended
	other.ID, other.Since, other.Until = strings.Repeat("ef", 32), "2027-12-01T00:00:00Z", ""
	v2 := succeed(t, v1, Change{Circuits: &[]Circuit{other, ended}})
	key := strings.Repeat("ab", 32)
	says := "ceremony key " + key + ", transcript " + strings.Repeat("cd", 32) + ", at least 2 contributors in each phase"
	want := []Difference{
		{"circuit " + key, says, says + ", until 2028-01-01T00:00:00Z"},
		{"circuit " + other.ID, "", says + ", since 2027-12-01T00:00:00Z"},
	}
	if got := Differences(v1, v2); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got\n%s\nwant\n%s", listing(got), listing(want))
	}
}
