package network

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/grille-gateway/grille/ledger/entry"
)

// A Succession is what a member knows of the way from this version to the next:
//
//	proposal (the proposer) -> votes (operators of mirrors) -> q votes: decided -> handovers -> q handovers: a Link
//
// Members exchange their successions and merge them; two that know the same have the same bytes, whatever came first. The
// zero value knows nothing. Obtain others from Merge: what it took is verified.
type Succession struct {
	Proposal *Proposal `json:"proposal,omitempty"`
	// Rival is a second proposal of the same proposer, which should not be. Proposal is then the one that is decided, or
	// while none is, the one with the smaller digest.
	Rival     *Proposal  `json:"rival,omitempty"`
	Votes     []Vote     `json:"votes,omitempty"`     // for either proposal, sorted by mirror and digest
	Handovers []Handover `json:"handovers,omitempty"` // to Proposal once it is decided, sorted by mirror
	// Checkpoints holds for each tree that a handover names the note that its owner signed, with no other signatures,
	// sorted. So a mirror that lies cannot hand over a tree that no owner signed.
	Checkpoints []string `json:"checkpoints,omitempty"`
}

// ParseSuccession reads a succession exactly as Bytes writes it. Nothing in it is verified: Merge does that.
func ParseSuccession(data []byte) (*Succession, error) {
	var s Succession
	if err := entry.DecodeStrict(data, MaxLinkSize, &s); err != nil {
		return nil, fmt.Errorf("parsing succession: %w: %w", ErrSuccession, err)
	}
	if !bytes.Equal(s.Bytes(), data) {
		return nil, fmt.Errorf("parsing succession: %w: not in canonical form", ErrSuccession)
	}
	return &s, nil
}

// Bytes returns the canonical document: JSON in one line, ending in a newline, of at most MaxLinkSize bytes if it came from
// Merge or ParseSuccession.
func (s *Succession) Bytes() []byte { return compact(s) }

// Decided says whether a quorum of prev's mirrors voted for Proposal. s holds what Merge took.
func (s *Succession) Decided(prev *Configuration) bool {
	return s.Proposal != nil && countVotes(prev, s.Votes, s.Proposal.Digest()) >= prev.Quorum()
}

// countVotes counts the mirrors of prev that voted for a digest.
func countVotes(prev *Configuration, votes []Vote, digest string) int {
	voted := make(map[string]bool)
	for _, v := range votes {
		if m, ok := prev.Member(v.Mirror); ok && m.Mirror && v.Digest == digest {
			voted[v.Mirror] = true
		}
	}
	return len(voted)
}

// Link returns the link to the next version, if it is decided and a quorum of prev's mirrors handed over. Members may hold
// different links for one version, of different handovers: each link's pins hold all that was final.
func (s *Succession) Link(prev *Configuration) (*Link, bool) {
	q := prev.Quorum()
	if !s.Decided(prev) || len(s.Handovers) < q {
		return nil, false
	}
	l := &Link{Proposal: *s.Proposal, Handovers: slices.Clone(s.Handovers[:q])}
	for _, v := range s.Votes {
		if v.Digest == l.Proposal.Digest() && len(l.Votes) < q {
			l.Votes = append(l.Votes, v)
		}
	}
	l.Checkpoints = needed(l.Handovers, s.Checkpoints)
	return l, true
}

// needed returns the checkpoints of trees that handovers name.
func needed(handovers []Handover, checkpoints []string) []string {
	named := make(map[Stand]bool)
	for _, h := range handovers {
		for _, s := range h.Stands {
			named[s] = true
		}
	}
	var out []string
	for _, c := range checkpoints {
		if s, ok := readCheckpoint(c); ok && named[s] {
			out = append(out, c)
		}
	}
	return out
}

// A ballot is what a vote or a handover is counted as once.
type ballot struct{ mirror, digest string }

// knowledge is a succession taken apart.
type knowledge struct {
	prev      *Configuration
	proposals map[string]Proposal // by digest
	votes     map[ballot]Vote
	handovers map[ballot]Handover
	notes     map[Stand]string // owner-signed checkpoints
}

// Merge adds what other knows, verified against prev, whose succession both are. An error that wraps ErrSuccession means
// that something in other is not acceptable, and that nothing was taken. ErrEquivocation means that the rest was taken and
// that the proposer signed two proposals; a third is dropped unless it is decided.
//
// A mirror that signs twice is counted once: the smaller signature or handover stays, so that the order does not matter.
func (s *Succession) Merge(prev *Configuration, other *Succession) (changed bool, err error) {
	k := &knowledge{prev: prev, proposals: make(map[string]Proposal), votes: make(map[ballot]Vote),
		handovers: make(map[ballot]Handover), notes: make(map[Stand]string)}
	if err := k.add(s, false); err != nil {
		return false, err
	}
	if other == nil {
		other = &Succession{}
	}
	if err := k.add(other, true); err != nil {
		return false, fmt.Errorf("merging what is known of version %d: %w", prev.Version+1, err)
	}
	merged, rivals := k.assemble(s)
	data := merged.Bytes()
	if len(data) > MaxLinkSize {
		return false, fmt.Errorf("merging what is known of version %d: %w: %d bytes, the limit is %d", prev.Version+1, ErrSuccession,
			len(data), MaxLinkSize)
	}
	if rivals > 0 && (s.Rival == nil || rivals > 1) {
		err = ErrEquivocation
	}
	changed = !bytes.Equal(data, s.Bytes())
	*s = *merged
	return changed, err
}

// add takes what a succession holds. What is new is verified if its source is not trusted.
func (k *knowledge) add(s *Succession, check bool) error {
	digests, err := k.addProposals(s, check)
	if err != nil {
		return err
	}
	if len(s.Votes) > 2*MaxMirrors || len(s.Handovers) > MaxMirrors {
		return step("votes", strconv.Itoa(len(s.Votes)), fmt.Sprintf("at most two of each of %d mirrors, and a handover", MaxMirrors))
	}
	for _, v := range s.Votes {
		at := ballot{v.Mirror, v.Digest}
		old, known := k.votes[at]
		if check && (!known || old != v) {
			if !slices.Contains(digests, v.Digest) {
				return step("vote.digest", v.Digest, "that of a proposal beside it")
			}
			if err := v.Verify(k.prev); err != nil {
				return err
			}
		}
		if !known || v.Signature < old.Signature {
			k.votes[at] = v
		}
	}
	return k.addHandovers(s, check)
}

// addProposals returns the digests of the proposals that a succession holds.
func (k *knowledge) addProposals(s *Succession, check bool) ([]string, error) {
	var digests []string
	for _, p := range []*Proposal{s.Proposal, s.Rival} {
		if p == nil {
			continue
		}
		digest := p.Digest()
		old, known := k.proposals[digest]
		if check && (!known || old.Signature != p.Signature) {
			if _, err := p.Verify(k.prev); err != nil {
				return nil, err
			}
		}
		if !known || p.Signature < old.Signature {
			k.proposals[digest] = *p
		}
		digests = append(digests, digest)
	}
	return digests, nil
}

// addHandovers takes handovers to a decided proposal, with a checkpoint for each of their trees.
func (k *knowledge) addHandovers(s *Succession, check bool) error {
	notes := make(map[Stand]string) // of this succession
	for _, c := range s.Checkpoints {
		if stand, ok := readCheckpoint(c); ok && (notes[stand] == "" || c < notes[stand]) {
			notes[stand] = c
		}
	}
	for _, h := range s.Handovers {
		at := ballot{h.Mirror, h.Digest}
		old, known := k.handovers[at]
		same := known && bytes.Equal(compact(old), compact(h))
		if check && !same {
			if countVotes(k.prev, s.Votes, h.Digest) < k.prev.Quorum() {
				return step("handover.digest", h.Digest, "a version that a quorum voted for")
			}
			if err := h.Verify(k.prev); err != nil {
				return err
			}
		}
		if err := k.addNotes(h, notes, check); err != nil {
			return err
		}
		if !known || !same && bytes.Compare(compact(h), compact(old)) < 0 {
			k.handovers[at] = h
		}
	}
	return nil
}

func (k *knowledge) addNotes(h Handover, notes map[Stand]string, check bool) error {
	for _, s := range h.Stands {
		c, ok := notes[s]
		if !ok {
			return step("checkpoints", s.Origin, fmt.Sprintf("the owner's checkpoint of size %d that %s handed over", s.Size, h.Mirror))
		}
		old, known := k.notes[s]
		if old == c {
			continue
		}
		if check {
			if _, err := verifyCheckpoint(k.prev, c); err != nil {
				return err
			}
		}
		if !known || c < old {
			k.notes[s] = c
		}
	}
	return nil
}

// choose returns the proposal to keep, its rival, and how many other proposals there are. s is what was kept before.
func (k *knowledge) choose(s *Succession) (best, rival *Proposal, rivals int) {
	votes := make(map[string]int)
	for at := range k.votes {
		votes[at.digest]++
	}
	undecided := func(digest string) int {
		if votes[digest] >= k.prev.Quorum() {
			return 0
		}
		return 1
	}
	late := func(digest string) int { // a third one does not displace those that were there
		for _, p := range []*Proposal{s.Proposal, s.Rival} {
			if p != nil && p.Digest() == digest {
				return 0
			}
		}
		return 1
	}
	order := slices.SortedFunc(maps.Keys(k.proposals), func(a, b string) int {
		return cmp.Or(cmp.Compare(undecided(a), undecided(b)), cmp.Compare(late(a), late(b)), strings.Compare(a, b))
	})
	rivals = max(0, len(order)-1)
	order = order[:min(2, len(order))]
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(undecided(a), undecided(b)), strings.Compare(a, b))
	})
	if len(order) > 0 {
		p := k.proposals[order[0]]
		best = &p
	}
	if len(order) > 1 {
		p := k.proposals[order[1]]
		rival = &p
	}
	return best, rival, rivals
}

// assemble makes the one form of what is known.
func (k *knowledge) assemble(s *Succession) (out *Succession, rivals int) {
	out = &Succession{}
	out.Proposal, out.Rival, rivals = k.choose(s)
	if out.Proposal == nil {
		return out, rivals
	}
	digest, second := out.Proposal.Digest(), ""
	if out.Rival != nil {
		second = out.Rival.Digest()
	}
	for at, v := range k.votes {
		if at.digest == digest || at.digest == second {
			out.Votes = append(out.Votes, v)
		}
	}
	slices.SortFunc(out.Votes, func(a, b Vote) int {
		return cmp.Or(strings.Compare(a.Mirror, b.Mirror), strings.Compare(a.Digest, b.Digest))
	})
	for at, h := range k.handovers {
		if at.digest == digest {
			out.Handovers = append(out.Handovers, h)
		}
	}
	slices.SortFunc(out.Handovers, func(a, b Handover) int { return strings.Compare(a.Mirror, b.Mirror) })
	out.Checkpoints = needed(out.Handovers, slices.Sorted(maps.Values(k.notes)))
	return out, rivals
}
