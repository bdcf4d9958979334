package network

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"math/bits"
	"slices"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

func TestSuccessionToLink(t *testing.T) {
	v1 := testNetwork(t, 4, 1)
	v2 := extended(t, v1, 61)
	s := new(Succession)
	p := propose(t, v1, v2)
	add := func(part *Succession, fresh bool) {
		t.Helper()
		if changed, err := s.Merge(v1, part); err != nil || changed != fresh {
			t.Fatalf("merged: %v, %v", changed, err)
		}
		if changed, err := s.Merge(v1, part); err != nil || changed {
			t.Fatalf("merged again: %v, %v", changed, err)
		}
	}
	add(nil, false)
	add(&Succession{Proposal: p}, true)
	for i, m := range []string{nth(3), nth(1), nth(4)} {
		if s.Decided(v1) {
			t.Fatalf("decided after %d votes", i)
		}
		add(&Succession{Proposal: p, Votes: votes(t, v1, v2, m)}, true)
	}
	if !s.Decided(v1) {
		t.Fatal("three of four votes do not decide")
	}
	trees := same(v1, 7)("")
	for i, m := range []string{nth(2), nth(4), nth(1)} {
		if _, ok := s.Link(v1); ok {
			t.Fatalf("link after %d handovers", i)
		}
		h, notes := handover(t, v1, v2, m, trees)
		add(&Succession{Proposal: p, Votes: s.Votes, Handovers: []Handover{h}, Checkpoints: notes}, true)
	}
	l, ok := s.Link(v1)
	if !ok {
		t.Fatal("no link")
	}
	next, err := l.Verify(v1)
	if err != nil || next.Digest() != v2.Digest() {
		t.Fatalf("link leads to %v, %v", next, err)
	}
	again, err := ParseSuccession(s.Bytes())
	if err != nil || !bytes.Equal(merge(t, v1, again).Bytes(), s.Bytes()) {
		t.Errorf("other bytes after a round trip: %v", err)
	}
	if len(s.Checkpoints) != 5 || len(l.Checkpoints) != 5 {
		t.Errorf("%d checkpoints of five logs", len(s.Checkpoints))
	}
}

// TestBallotsRefused forges one thing at a time in what one peer tells.
func TestBallotsRefused(t *testing.T) {
	v1 := testNetwork(t, 4, 1)
	v2, other := extended(t, v1, 61), extended(t, v1, 62)
	v3 := extended(t, v2, 61)
	good := handed(t, v1, v2, same(v1, 7))
	foreign := *v1
	foreign.Expires = "2035-01-01T00:00:00Z" // another version 1, of the same members
	elsewhere := extended(t, &foreign, 61)
	origin := v1.Origin(nth(1))
	stranger := func(name string) ed25519.PrivateKey { return testKey("mirror " + name) }
	for _, tc := range []struct {
		name string
		edit func(s *Succession)
	}{
		{"votes without a proposal", func(s *Succession) { s.Proposal = nil }},
		{"proposal signed by another member", func(s *Succession) {
			s.Proposal.Signature = mustSign(t, proposalLabel, s.Proposal.Document, logKeyOf(t, v1, nth(2)))
		}},
		{"proposal's bytes changed", func(s *Succession) {
			s.Proposal.Document = bytes.Replace(s.Proposal.Document, []byte(`"beat_seconds": 61`), []byte(`"beat_seconds": 63`), 1)
		}},
		{"proposal under the vote's label", func(s *Succession) {
			s.Proposal.Signature = mustSign(t, voteLabel, s.Proposal.Document, logKeyOf(t, v1, nth(1)))
		}},
		{"proposal of another network", func(s *Succession) { s.Proposal = propose(t, &foreign, elsewhere) }},
		{"proposal of version 3", func(s *Succession) { s.Proposal = propose(t, v2, v3) }},
		{"signed document that is none", func(s *Succession) {
			s.Proposal = &Proposal{Document: []byte("{}"), Signature: mustSign(t, proposalLabel, []byte("{}"), logKeyOf(t, v1, nth(1)))}
		}},
		{"vote for something else", func(s *Succession) { s.Votes[0] = vote(t, v1, other, nth(1)) }},
		{"vote's digest changed", func(s *Succession) { s.Votes[0].Digest = other.Digest() }},
		{"vote of another version", func(s *Succession) { s.Votes[0].Version++ }},
		{"vote for version 3", func(s *Succession) { s.Votes[0] = vote(t, v2, v3, nth(1)) }},
		{"vote moved to another mirror", func(s *Succession) { s.Votes[0].Mirror = nth(4) }},
		{"vote of who is no mirror", func(s *Succession) {
			s.Votes[0].Mirror = "GOV/x01"
			s.Votes[0].Signature = mustSign(t, voteLabel, s.Votes[0].message(), stranger("GOV/x01"))
		}},
		{"vote of a stranger", func(s *Succession) {
			s.Votes[0].Mirror = "GOV/none"
			s.Votes[0].Signature = mustSign(t, voteLabel, s.Votes[0].message(), stranger("GOV/none"))
		}},
		{"vote with the log key", func(s *Succession) {
			s.Votes[0].Signature = mustSign(t, voteLabel, s.Votes[0].message(), logKeyOf(t, v1, nth(1)))
		}},
		{"vote's signature in another spelling", func(s *Succession) { s.Votes[0].Signature += "\n" }},
		{"vote without a signature", func(s *Succession) { s.Votes[0].Signature = "" }},
		{"empty vote", func(s *Succession) { s.Votes[0] = Vote{} }},
		{"too many votes", func(s *Succession) { s.Votes = slices.Repeat(s.Votes[:1], 2*MaxMirrors+1) }},
		{"handover before the decision", func(s *Succession) { s.Votes = s.Votes[1:] }},
		{"one mirror's vote three times", func(s *Succession) { s.Votes = slices.Repeat(s.Votes[:1], 3) }},
		{"handover signed as a vote", func(s *Succession) {
			s.Handovers[0].Signature = mustSign(t, voteLabel, s.Handovers[0].message(), stranger(nth(1)))
		}},
		{"handover to something else", func(s *Succession) {
			h, _ := handover(t, v1, other, nth(1), nil)
			s.Handovers[0] = h
		}},
		{"handover of version 2", func(s *Succession) { s.Handovers[0].Version++ }},
		{"handover of who is no mirror", func(s *Succession) {
			s.Handovers[0].Mirror = "GOV/x01"
			s.Handovers[0].Signature = mustSign(t, handoverLabel, s.Handovers[0].message(), stranger("GOV/x01"))
		}},
		{"handed over tree changed", func(s *Succession) { s.Handovers[0].Stands[0].Size++ }},
		{"handed over tree left out", func(s *Succession) { s.Handovers[0].Stands = s.Handovers[0].Stands[1:] }},
		{"handover of a log that is not there", func(s *Succession) { resign(t, s, func(h *Handover) { h.Stands[0].Origin += "0" }) }},
		{"handover out of order", func(s *Succession) { resign(t, s, func(h *Handover) { slices.Reverse(h.Stands) }) }},
		{"handover of one log twice", func(s *Succession) { resign(t, s, func(h *Handover) { h.Stands[1] = h.Stands[0] }) }},
		{"handover of an empty tree", func(s *Succession) {
			resign(t, s, func(h *Handover) { h.Stands[0].Size, h.Stands[0].Root = 0, emptyRoot })
		}},
		{"handover with a bad root", func(s *Succession) { resign(t, s, func(h *Handover) { h.Stands[0].Root = "AB" }) }},
		{"handover of a tree beyond all", func(s *Succession) { resign(t, s, func(h *Handover) { h.Stands[0].Size = MaxTreeSize + 1 }) }},
		{"handover of a tree that no owner signed", func(s *Succession) {
			resign(t, s, func(h *Handover) { h.Stands[0].Size = 99 })
		}},
		{"checkpoint missing", func(s *Succession) { s.Checkpoints = s.Checkpoints[1:] }},
		{"checkpoint signed by another log", func(s *Succession) {
			m, _ := v1.Member(nth(2))
			forge := torchwood.Checkpoint{Origin: origin, Tree: testTree(origin, 7, "")}.String()
			s.Checkpoints[0] = signText(t, m.LogKey, forge, logKeyOf(t, v1, nth(2)))
		}},
		{"checkpoint with a forged signature", func(s *Succession) {
			s.Checkpoints[0] = strings.Replace(s.Checkpoints[0], "=\n", "\n", 1)
		}},
		{"checkpoint with two signatures", func(s *Succession) {
			_, line, _ := strings.Cut(s.Checkpoints[0], "\n\n")
			s.Checkpoints[0] += line
		}},
		{"checkpoint with an extension line", func(s *Succession) {
			m, _ := v1.Member(nth(1))
			text := torchwood.Checkpoint{Origin: origin, Tree: testTree(origin, 7, ""), Extension: "more\n"}.String()
			s.Checkpoints[0] = signText(t, m.LogKey, text, logKeyOf(t, v1, nth(1)))
		}},
		{"checkpoint that is too long", func(s *Succession) { s.Checkpoints[0] += strings.Repeat("x", MaxCheckpoint) }},
	} {
		bad, err := ParseSuccession(good.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		tc.edit(bad)
		s := merge(t, v1, &Succession{Proposal: good.Proposal})
		before := s.Bytes()
		if changed, err := s.Merge(v1, bad); !errors.Is(err, ErrSuccession) || changed || !bytes.Equal(s.Bytes(), before) {
			t.Errorf("%s: %v, %v", tc.name, changed, err)
		}
	}
}

func mustSign(t testing.TB, label string, message []byte, key ed25519.PrivateKey) string {
	t.Helper()
	s, err := sign(label, message, key, key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// resign changes the first mirror's handover, and signs it as that mirror would.
func resign(t testing.TB, s *Succession, edit func(h *Handover)) {
	h := &s.Handovers[0]
	edit(h)
	h.Signature = mustSign(t, handoverLabel, h.message(), testKey("mirror "+h.Mirror))
}

func TestBallotsNotMade(t *testing.T) {
	v1 := testNetwork(t, 4, 1)
	v2 := extended(t, v1, 61)
	if _, err := NewProposal(v1, v2, testKey("log "+nth(2))); !errors.Is(err, ErrSuccession) {
		t.Errorf("proposal with another's key: %v", err)
	}
	if _, err := NewProposal(v2, v2, logKeyOf(t, v1, nth(1))); !errors.Is(err, ErrConfiguration) {
		t.Errorf("proposal that follows nothing: %v", err)
	}
	if _, err := NewVote(v1, v2, nth(2), testKey("mirror "+nth(3))); !errors.Is(err, ErrSuccession) {
		t.Errorf("vote with another's key: %v", err)
	}
	if _, err := NewVote(v1, v2, "GOV/x01", testKey("mirror GOV/x01")); !errors.Is(err, ErrSuccession) {
		t.Errorf("vote of who is no mirror: %v", err)
	}
	if _, err := NewVote(v2, v2, nth(2), testKey("mirror "+nth(2))); !errors.Is(err, ErrConfiguration) {
		t.Errorf("vote for what follows nothing: %v", err)
	}
	if _, err := NewHandover(v1, v2, nth(2), nil, nil); !errors.Is(err, ErrSuccession) {
		t.Errorf("handover without a key: %v", err)
	}
	if _, err := NewHandover(v1, v2, nth(2), []Stand{{Origin: "x"}}, testKey("mirror "+nth(2))); !errors.Is(err, ErrSuccession) {
		t.Errorf("handover of no log: %v", err)
	}
}

func TestProposerEquivocates(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	first, second, third := extended(t, v1, 61), extended(t, v1, 62), extended(t, v1, 63)
	if first.Digest() > second.Digest() {
		first, second = second, first
	}
	s := merge(t, v1, &Succession{Proposal: propose(t, v1, second)})
	told := &Succession{Proposal: propose(t, v1, first), Votes: votes(t, v1, first, nth(1))}
	if changed, err := s.Merge(v1, told); !errors.Is(err, ErrEquivocation) || !changed || len(s.Votes) != 1 {
		t.Fatalf("second proposal: %v, %v", changed, err)
	}
	if s.Proposal.Digest() != first.Digest() || s.Rival.Digest() != second.Digest() {
		t.Error("the rivals are not in order")
	}
	if changed, err := s.Merge(v1, told); err != nil || changed {
		t.Errorf("told again: %v, %v", changed, err)
	}
	// A third is dropped, until a quorum votes for it.
	told = &Succession{Proposal: propose(t, v1, third), Votes: votes(t, v1, third, nth(2), nth(3))}
	if changed, err := s.Merge(v1, told); !errors.Is(err, ErrEquivocation) || changed || len(s.Votes) != 1 {
		t.Fatalf("third proposal: %v, %v", changed, err)
	}
	told.Votes = votes(t, v1, third, nth(2), nth(3), nth(4))
	if changed, err := s.Merge(v1, told); !errors.Is(err, ErrEquivocation) || !changed || !s.Decided(v1) {
		t.Fatalf("third proposal with a quorum: %v, %v", changed, err)
	}
	if s.Proposal.Digest() != third.Digest() || s.Rival.Digest() != first.Digest() || len(s.Votes) != 4 {
		t.Errorf("kept %d votes and another proposal", len(s.Votes))
	}
	if _, err := s.Merge(v1, &Succession{Proposal: propose(t, v1, second)}); !errors.Is(err, ErrEquivocation) || !s.Decided(v1) {
		t.Errorf("a late rival: %v", err)
	}
}

// TestOneDecision: whatever honest mirrors vote and whoever of up to 2q-n-1 mirrors votes twice, two documents never both
// have a quorum. One more can do it.
func TestOneDecision(t *testing.T) {
	for _, n := range []int{4, 7} {
		v1 := testNetwork(t, n, 0)
		q := v1.Quorum()
		if conflict := bothDecided(v1, 2*q-n-1); conflict {
			t.Errorf("two decisions of %d mirrors with %d that vote twice", n, 2*q-n-1)
		}
		if !bothDecided(v1, 2*q-n) {
			t.Errorf("no two decisions of %d mirrors with %d that vote twice: the test sees nothing", n, 2*q-n)
		}
	}
}

// bothDecided tries all votes of all mirrors, of which some vote twice.
func bothDecided(c *Configuration, twice int) bool {
	mirrors := c.Mirrors()
	all := uint(1)<<len(mirrors) - 1
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	for _, double := range subsets(all, twice) {
		honest := all &^ double
		for votesA := honest; ; votesA = (votesA - 1) & honest { // the others vote for b: not voting decides no more
			var votes []Vote
			for i, m := range mirrors {
				if (votesA|double)>>i&1 == 1 {
					votes = append(votes, Vote{Mirror: m.Name, Digest: a})
				}
				if votesA>>i&1 == 0 {
					votes = append(votes, Vote{Mirror: m.Name, Digest: b})
				}
			}
			if bits.OnesCount(votesA|double) != countVotes(c, votes, a) {
				panic("miscounted")
			}
			if countVotes(c, votes, a) >= c.Quorum() && countVotes(c, votes, b) >= c.Quorum() {
				return true
			}
			if votesA == 0 {
				break
			}
		}
	}
	return false
}

// TestMergeInAnyOrder: what mirrors and a lying proposer say reaches members in any order and grouping, some of it twice,
// and all end with the same bytes.
func TestMergeInAnyOrder(t *testing.T) {
	v1 := testNetwork(t, 4, 1)
	v2, rival := extended(t, v1, 61), extended(t, v1, 62)
	atoms := everythingSaid(t, v1, v2, rival)
	rapid.Check(t, func(t *rapid.T) {
		chosen := rapid.SliceOfNDistinct(rapid.IntRange(0, len(atoms)-1), 1, len(atoms), rapid.ID[int]).Draw(t, "said")
		want := mergeAll(t, v1, atoms, chosen)
		other := rapid.Permutation(chosen).Draw(t, "order")
		cut := rapid.IntRange(0, len(other)).Draw(t, "cut")
		left, right := mergeAll(t, v1, atoms, other[:cut]), mergeAll(t, v1, atoms, other[cut:])
		again := rapid.IntRange(0, len(other)).Draw(t, "again")
		for _, part := range []*Succession{right, mergeAll(t, v1, atoms, other[:again])} {
			if _, err := left.Merge(v1, part); err != nil && !errors.Is(err, ErrEquivocation) {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(left.Bytes(), want.Bytes()) {
			t.Fatalf("other bytes for the same content:\n%s\n%s", left.Bytes(), want.Bytes())
		}
	})
}

func mergeAll(t *rapid.T, prev *Configuration, atoms []*Succession, which []int) *Succession {
	s := new(Succession)
	for _, i := range which {
		if _, err := s.Merge(prev, atoms[i]); err != nil && !errors.Is(err, ErrEquivocation) {
			t.Fatal(err)
		}
	}
	return s
}

// everythingSaid returns successions that single members may tell: each vote for the decided version and two for its
// rival, one by a mirror that votes twice; each handover, one of them by a mirror that hands over twice.
func everythingSaid(t testing.TB, v1, v2, rival *Configuration) []*Succession {
	p, r := propose(t, v1, v2), propose(t, v1, rival)
	out := []*Succession{{Proposal: p}, {Proposal: r}}
	var all []Vote
	for _, m := range v1.Mirrors()[:3] {
		all = append(all, vote(t, v1, v2, m.Name))
		out = append(out, &Succession{Proposal: p, Votes: all[len(all)-1:]})
	}
	for _, m := range []string{nth(1), nth(4)} {
		out = append(out, &Succession{Proposal: r, Votes: votes(t, v1, rival, m)})
	}
	for i, m := range []string{nth(1), nth(2), nth(3), nth(4), nth(4)} {
		trees := same(v1, 7)("")
		trees[v1.Origin(nth(2))] = testTree("lag", int64(5+i), "")
		if i == 4 {
			trees[v1.Origin(nth(2))] = testTree("fork", 6, "")
			delete(trees, v1.Origin(nth(3)))
		}
		h, notes := handover(t, v1, v2, m, trees)
		out = append(out, &Succession{Proposal: p, Votes: all, Handovers: []Handover{h}, Checkpoints: notes})
	}
	return out
}

// TestUnneededIsDropped: checkpoints that no handover names do not stay, whoever signed them.
func TestUnneededIsDropped(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	v2 := extended(t, v1, 61)
	good := handed(t, v1, v2, same(v1, 7))
	part := *good
	part.Checkpoints = append(slices.Clone(good.Checkpoints), signTree(t, v1, v1.Origin(nth(1)), testTree("more", 8, "")), "nonsense")
	if s := merge(t, v1, &part); !bytes.Equal(s.Bytes(), good.Bytes()) {
		t.Errorf("kept %d checkpoints", len(s.Checkpoints))
	}
}

func TestParseSuccessionRefuses(t *testing.T) {
	v1 := testNetwork(t, 4, 0)
	good := string(handed(t, v1, extended(t, v1, 61), same(v1, 7)).Bytes())
	for name, doc := range map[string]string{
		"empty": "", "null": "null\n", "list": "[]\n", "unknown field": strings.Replace(good, `"votes"`, `"colour":1,"votes"`, 1),
		"field twice": strings.Replace(good, `"votes"`, `"votes":[],"votes"`, 1), "null vote": `{"votes":[null]}` + "\n",
		"empty list": `{"votes":[]}` + "\n", "no final newline": strings.TrimSuffix(good, "\n"), "spaces": " " + good,
		"size outside a string": strings.Replace(good, `"size":"7"`, `"size":7`, 1), "too long": good + strings.Repeat(" ", MaxLinkSize),
	} {
		if _, err := ParseSuccession([]byte(doc)); !errors.Is(err, ErrSuccession) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := ParseLink([]byte(doc)); !errors.Is(err, ErrSuccession) {
			t.Errorf("%s as a link: %v", name, err)
		}
	}
}

func FuzzParseSuccession(f *testing.F) {
	v1 := testNetwork(f, 4, 0)
	v2 := extended(f, v1, 61)
	whole := handed(f, v1, v2, func(string) map[string]tlog.Tree {
		return map[string]tlog.Tree{v1.Origin(nth(1)): testTree("x", 7, "")}
	})
	f.Add(whole.Bytes())
	f.Add([]byte("{}\n"))
	f.Add([]byte(`{"votes":[{"mirror":"GOV/m01","version":2,"digest":"","signature":""}]}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		other, err := ParseSuccession(data)
		if err != nil {
			return
		}
		if !bytes.Equal(other.Bytes(), data) {
			t.Fatalf("accepted what is not canonical: %q", data)
		}
		s := new(Succession)
		if _, err := s.Merge(v1, other); err != nil {
			if !errors.Is(err, ErrSuccession) && !errors.Is(err, ErrEquivocation) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		// What is taken is signed by keys that the fuzzer does not have.
		for _, v := range s.Votes {
			if !slices.Contains(whole.Votes, v) {
				t.Fatalf("forged %+v", v)
			}
		}
		if s.Proposal != nil && base64.StdEncoding.EncodeToString(s.Proposal.Document) != base64.StdEncoding.EncodeToString(whole.Proposal.Document) {
			t.Fatal("forged a proposal")
		}
	})
}
