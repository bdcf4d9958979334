package network

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestLargestFits: the largest configuration that the other bounds allow is within MaxSize, and the link from it, each
// mirror handing over every log, is within MaxLinkSize.
func TestLargestFits(t *testing.T) {
	c := largest()
	if err := c.validate(); err != nil {
		t.Fatal(err)
	}
	if n := len(c.Bytes()); n > MaxSize {
		t.Errorf("%d bytes, MaxSize is %d", n, MaxSize)
	}
	if parsed, err := Parse(c.Bytes()); err != nil || parsed.Digest() != c.Digest() {
		t.Fatalf("does not parse: %v", err)
	}
	next := extended(t, c, 61)
	document := base64.StdEncoding.EncodeToString(next.Bytes())
	s := &Succession{Proposal: &Proposal{Document: next.Bytes()}, Rival: &Proposal{Document: next.Bytes()}}
	stands := make([]Stand, 0, MaxMembers)
	for i, origin := range c.Origins() {
		stands = append(stands, NewStand(origin, testTree(origin, MaxTreeSize-int64(i), "")))
	}
	for _, m := range c.Mirrors() {
		s.Handovers = append(s.Handovers, Handover{Mirror: m.Name, Version: 3, Digest: next.Digest(), Stands: stands, Signature: document[:88]})
	}
	for i := range MaxMirrors * MaxMembers / 4 {
		m := c.Members[i%MaxMembers]
		s.Checkpoints = append(s.Checkpoints, fmt.Sprintf("%s\n%d\n%s\n\n— %[1]s %[4]s\n", m.Origin(), int64(MaxTreeSize-i), document[:44], document[:92]))
	}
	if n := len(s.Bytes()); n > MaxLinkSize {
		t.Errorf("a succession of %d bytes, MaxLinkSize is %d", n, MaxLinkSize)
	}
	if n := len(slices.MaxFunc(s.Checkpoints, func(a, b string) int { return len(a) - len(b) })); n > MaxCheckpoint {
		t.Errorf("a checkpoint of %d bytes, MaxCheckpoint is %d", n, MaxCheckpoint)
	}
}

// largest makes a configuration with everything as long as it may be.
func largest() *Configuration {
	instance := strings.Repeat("i", 64)
	c := &Configuration{Instance: instance, Version: 2, Previous: strings.Repeat("ab", 32), Mode: ModeDemo, BeatSeconds: MaxSeconds,
		HeartbeatSeconds: MaxSeconds - 1, FreshnessSeconds: MaxSeconds, Expires: "2030-01-01T00:00:00Z"}
	for i := range MaxMembers {
		name := fmt.Sprintf("GOVGOVGO/%032d", i)
		c.Members = append(c.Members, Member{
			Name: name, Title: strings.Repeat("t", MaxTitle), Mirror: i < MaxMirrors, Endpoint: fmt.Sprintf("%0249d:65535", i),
			LogKey:       LogVKey(LogName(instance, name, MaxGeneration), testPub("log "+name)),
			MirrorKey:    MirrorVKey(MirrorName(instance, name, MaxGeneration), testPub("mirror "+name)),
			TransportKey: base64.StdEncoding.EncodeToString(testPub("transport " + name)),
			QueryKey:     base64.StdEncoding.EncodeToString(testPub("query " + name)),
		})
	}
	for i := range MaxFences {
		name := fmt.Sprintf("LEFTLEFT/%032d", i)
		origin := LogName(instance, name, MaxGeneration)
		c.Fences = append(c.Fences, Fence{Origin: origin, Member: name, LogKey: LogVKey(origin, testPub("log "+name)),
			Size: MaxTreeSize, Root: strings.Repeat("ab", 32)})
	}
	for i := range MaxSchemes {
		c.Schemes = append(c.Schemes, Scheme{Name: fmt.Sprintf("s%063d", i), Pattern: strings.Repeat("X", MaxPattern), Normalise: "upper",
			Example: strings.Repeat("X", MaxPattern)})
	}
	c.Proposer = c.Members[0].Name
	return c
}
