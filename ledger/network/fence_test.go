package network

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// fenced returns a configuration in which two logs ended: the first generation of COM/bank-1, and the log of a member
// that has left.
func fenced(t testing.TB) *Configuration {
	t.Helper()
	c := testBuild(t)
	c.Version, c.Previous = 2, c.Digest()
	old := c.Members[0]
	c.Members[0].LogKey = LogVKey(LogName(testInstance, old.Name, 2), testPub("log 2 "+old.Name))
	c.Fences = []Fence{
		{Origin: old.Origin(), Member: old.Name, LogKey: old.LogKey, Size: 7, Root: strings.Repeat("cd", 32)},
		{Origin: LogName(testInstance, "GOV/left", 3), Member: "GOV/left", Size: 0, Root: emptyRoot,
			LogKey: LogVKey(LogName(testInstance, "GOV/left", 3), testPub("log GOV/left"))},
	}
	return c
}

func TestFencedLogs(t *testing.T) {
	c, err := Parse(fenced(t).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	const ended, now, left = "test.example/COM/bank-1/log/1", "test.example/COM/bank-1/log/2", "test.example/GOV/left/log/3"
	if got := c.Origins(); len(got) != 4 || got[0] != now || slices.Contains(got, ended) {
		t.Errorf("origins %v", got)
	}
	if got := c.Logs(); len(got) != 6 || got[0] != now || got[4] != ended || got[5] != left {
		t.Errorf("logs %v", got)
	}
	if c.Origin("COM/bank-1") != now {
		t.Error("a member's origin is not its newest")
	}
	if _, ok := c.Owner(ended); ok {
		t.Error("a fenced log has an owner")
	}
	if f, ok := c.Fence(ended); !ok || f.Tree().N != 7 || f.Tree().Hash[31] != 0xcd {
		t.Errorf("fence %+v", f)
	}
	if _, ok := c.Fence(now); ok {
		t.Error("a current log has a fence")
	}
	for origin, who := range map[string]string{ended: "COM/bank-1", now: "COM/bank-1", left: "GOV/left"} {
		if key, member, ok := c.LogKey(origin); !ok || member != who || KeyName(key) != origin {
			t.Errorf("key of %s: %s of %s", origin, key, member)
		}
	}
	if _, _, ok := c.LogKey(LogName(testInstance, "GOV/tax", 2)); ok {
		t.Error("key of a log that is not there")
	}
}

func TestFencesRefused(t *testing.T) {
	for _, tc := range []struct {
		name, field string
		edit        func(c *Configuration, f *Fence)
	}{
		{"order", "fences.origin", func(c *Configuration, _ *Fence) { slices.Reverse(c.Fences) }},
		{"twice", "fences.origin", func(c *Configuration, _ *Fence) { c.Fences[1] = c.Fences[0] }},
		{"too many", "fences", func(c *Configuration, _ *Fence) { c.Fences = make([]Fence, MaxFences+1) }},
		{"origin of another instance", "fences.origin", func(_ *Configuration, f *Fence) { f.Origin = "x/COM/bank-1/log/1" }},
		{"origin of a mirror", "fences.origin", func(_ *Configuration, f *Fence) { f.Origin = MirrorName(testInstance, "COM/bank-1", 1) }},
		{"member", "fences.member", func(_ *Configuration, f *Fence) { f.Member = "GOV/tax" }},
		{"negative size", "fences.size", func(_ *Configuration, f *Fence) { f.Size = -1 }},
		{"huge size", "fences.size", func(_ *Configuration, f *Fence) { f.Size = MaxTreeSize + 1 }},
		{"root", "fences.root", func(_ *Configuration, f *Fence) { f.Root = "CD" }},
		{"root of the empty tree", "fences.root", func(_ *Configuration, f *Fence) { f.Size = 0 }},
		{"key of another log", "fences.log_key", func(c *Configuration, f *Fence) { f.LogKey = c.Members[0].LogKey }},
		{"key of a mirror", "fences.log_key", func(_ *Configuration, f *Fence) { f.LogKey = MirrorVKey(f.Origin, testPub("x")) }},
		{"key that is in use", "fences.log_key", func(c *Configuration, f *Fence) { f.LogKey = LogVKey(f.Origin, testPub("log GOV/tax")) }},
		{"key of two fences", "fences.log_key", func(c *Configuration, f *Fence) { f.LogKey = LogVKey(f.Origin, testPub("log GOV/left")) }},
		{"current log", "fences.origin", func(c *Configuration, f *Fence) {
			f.Origin = c.Members[0].Origin()
			f.LogKey = LogVKey(f.Origin, testPub("x"))
		}},
		{"later than the current log", "fences.origin", func(c *Configuration, f *Fence) {
			f.Origin = LogName(testInstance, f.Member, 3)
			f.LogKey = LogVKey(f.Origin, testPub("x"))
		}},
	} {
		c := fenced(t)
		tc.edit(c, &c.Fences[0])
		if _, err := Parse(c.Bytes()); !errors.Is(err, ErrConfiguration) || !strings.Contains(err.Error(), tc.field) {
			t.Errorf("%s: %v, want a complaint about %s", tc.name, err, tc.field)
		}
	}
	doc := bytes.Replace(fenced(t).Bytes(), []byte(`"size": "7"`), []byte(`"size": 7`), 1)
	if _, err := Parse(doc); !errors.Is(err, ErrConfiguration) {
		t.Errorf("size that is no string: %v", err)
	}
}
