package network

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// nth names the nth mirror of a test network.
func nth(i int) string { return fmt.Sprintf("GOV/m%02d", i) }

// testNetwork builds version 1 of a network with mirrors GOV/m01, GOV/m02, ... and as many members that are none,
// GOV/x01, ...
func testNetwork(t testing.TB, mirrors, others int) *Configuration {
	t.Helper()
	var cards []Card
	for i := range mirrors + others {
		m := testMember(nth(i+1), 5000+i)
		if i >= mirrors {
			m = testMember(fmt.Sprintf("GOV/x%02d", i-mirrors+1), 5000+i)
			m.Mirror = false
		}
		cards = append(cards, testCard(t, m))
	}
	c, err := Build(testInstance, testParams(), cards)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func succeed(t testing.TB, prev *Configuration, change Change) *Configuration {
	t.Helper()
	next, err := Succeed(prev, change)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// extended returns a successor of prev that differs only in its beat.
func extended(t testing.TB, prev *Configuration, beat int) *Configuration {
	return succeed(t, prev, Change{Beat: &beat})
}

// rotated returns the card of a member with a new log key, mirror key or both, of the next generation.
func rotated(t testing.TB, c *Configuration, name string, log, mirror bool) Card {
	t.Helper()
	m, ok := c.Member(name)
	if !ok {
		t.Fatalf("no member %s", name)
	}
	logKey := keyOf(m.Origin(), "log", name)
	if log {
		g := generation(m.Origin(), c.Instance, "log") + 1
		logKey = testKey(fmt.Sprintf("log %d %s", g, name))
		m.LogKey = LogVKey(LogName(c.Instance, name, g), logKey.Public().(ed25519.PublicKey))
	}
	if mirror {
		g := generation(m.MirrorName(), c.Instance, "mirror") + 1
		m.MirrorKey = MirrorVKey(MirrorName(c.Instance, name, g), testPub(fmt.Sprintf("mirror %d %s", g, name)))
	}
	card, err := NewCard(c.Instance, m, logKey)
	if err != nil {
		t.Fatal(err)
	}
	return card
}

// keyOf returns the private key of a log or a mirror by its name, as testMember and rotated make them.
func keyOf(name, role, member string) ed25519.PrivateKey {
	if g := generation(name, testInstance, role); g > 1 {
		return testKey(fmt.Sprintf("%s %d %s", role, g, member))
	}
	return testKey(role + " " + member)
}

func logKeyOf(t testing.TB, c *Configuration, member string) ed25519.PrivateKey {
	t.Helper()
	return keyOf(c.Origin(member), "log", member)
}

func mirrorKeyOf(t testing.TB, c *Configuration, member string) ed25519.PrivateKey {
	t.Helper()
	m, ok := c.Member(member)
	if !ok {
		t.Fatalf("no member %s", member)
	}
	return keyOf(m.MirrorName(), "mirror", member)
}

// testTree is a tree of a log; fork tells histories apart.
func testTree(origin string, size int64, fork string) tlog.Tree {
	return tlog.Tree{N: size, Hash: sha256.Sum256(fmt.Appendf(nil, "%s %d %s", origin, size, fork))}
}

// signTree returns the owner's note for a tree.
func signTree(t testing.TB, c *Configuration, origin string, tree tlog.Tree) string {
	t.Helper()
	owner, ok := c.Owner(origin)
	if !ok {
		t.Fatalf("no log %s", origin)
	}
	return signText(t, owner.LogKey, torchwood.Checkpoint{Origin: origin, Tree: tree}.String(), logKeyOf(t, c, owner.Name))
}

func signText(t testing.TB, vkey, text string, key ed25519.PrivateKey) string {
	t.Helper()
	v, err := note.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	sig := append(binary.BigEndian.AppendUint32(nil, v.KeyHash()), ed25519.Sign(key, []byte(text))...)
	return text + "\n— " + v.Name() + " " + base64.StdEncoding.EncodeToString(sig) + "\n"
}

func propose(t testing.TB, prev, next *Configuration) *Proposal {
	t.Helper()
	p, err := NewProposal(prev, next, logKeyOf(t, prev, prev.Proposer))
	if err != nil {
		t.Fatal(err)
	}
	return &p
}

func vote(t testing.TB, prev, next *Configuration, mirror string) Vote {
	t.Helper()
	v, err := NewVote(prev, next, mirror, mirrorKeyOf(t, prev, mirror))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func votes(t testing.TB, prev, next *Configuration, mirrors ...string) []Vote {
	t.Helper()
	var out []Vote
	for _, m := range mirrors {
		out = append(out, vote(t, prev, next, m))
	}
	return out
}

// handover signs a mirror's handover of trees, and returns the owners' notes for them too.
func handover(t testing.TB, prev, next *Configuration, mirror string, trees map[string]tlog.Tree) (Handover, []string) {
	t.Helper()
	var stands []Stand
	var notes []string
	for origin, tree := range trees {
		stands = append(stands, NewStand(origin, tree))
		notes = append(notes, signTree(t, prev, origin, tree))
	}
	h, err := NewHandover(prev, next, mirror, stands, mirrorKeyOf(t, prev, mirror))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(notes)
	return h, notes
}

// merge merges parts into a succession, in order; errors other than of an equivocation are fatal.
func merge(t testing.TB, prev *Configuration, parts ...*Succession) *Succession {
	t.Helper()
	s := new(Succession)
	for _, p := range parts {
		if _, err := s.Merge(prev, p); err != nil && !errors.Is(err, ErrEquivocation) {
			t.Fatal(err)
		}
	}
	return s
}

// handed returns a whole succession: q votes, and handovers of the first q mirrors with trees that f gives.
func handed(t testing.TB, prev, next *Configuration, f func(mirror string) map[string]tlog.Tree) *Succession {
	t.Helper()
	q := prev.Quorum()
	parts := []*Succession{{Proposal: propose(t, prev, next)}}
	for _, m := range prev.Mirrors()[:q] {
		parts = append(parts, &Succession{Proposal: parts[0].Proposal, Votes: votes(t, prev, next, m.Name)})
	}
	decided := merge(t, prev, parts...)
	for _, m := range prev.Mirrors()[:q] {
		h, notes := handover(t, prev, next, m.Name, f(m.Name))
		part := *decided
		part.Handovers, part.Checkpoints = []Handover{h}, notes
		parts = append(parts, &part)
	}
	return merge(t, prev, parts...)
}

// linked returns the link of handed.
func linked(t testing.TB, prev, next *Configuration, f func(mirror string) map[string]tlog.Tree) *Link {
	t.Helper()
	l, ok := handed(t, prev, next, f).Link(prev)
	if !ok {
		t.Fatal("no link")
	}
	return l
}

// same returns trees that all mirrors agree on: each log of c with a size.
func same(c *Configuration, size int64) func(string) map[string]tlog.Tree {
	return func(string) map[string]tlog.Tree {
		out := make(map[string]tlog.Tree)
		for _, origin := range c.Origins() {
			out[origin] = testTree(origin, size, "")
		}
		return out
	}
}
