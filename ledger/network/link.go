package network

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
)

// A Link is the proof that one version of a configuration follows another: the document with its proposer's signature, a
// quorum of votes for it, and a quorum of handovers to it with the checkpoints that these name. It convinces whoever
// trusts the version before.
//
// The trees that its handovers name in a log are the log's pins. Every tree F that is final under the version before is
// contained in one of them: q of its mirrors cosigned F, q handed over, and as the two quorums share more mirrors than
// may lie, an honest one is in both. It cosigned F before it handed over, so the tree that it cosigned last contains F.
type Link struct {
	Proposal    Proposal   `json:"proposal"`
	Votes       []Vote     `json:"votes"`                 // sorted by mirror
	Handovers   []Handover `json:"handovers"`             // sorted by mirror
	Checkpoints []string   `json:"checkpoints,omitempty"` // owner-signed notes of exactly the trees in Handovers, sorted
}

// ParseLink reads a link exactly as Bytes writes it. Nothing in it is verified.
func ParseLink(data []byte) (*Link, error) {
	var l Link
	if err := entry.DecodeStrict(data, MaxLinkSize, &l); err != nil {
		return nil, fmt.Errorf("parsing link: %w: %w", ErrSuccession, err)
	}
	if !bytes.Equal(l.Bytes(), data) {
		return nil, fmt.Errorf("parsing link: %w: not in canonical form", ErrSuccession)
	}
	return &l, nil
}

// Bytes returns the canonical document: JSON in one line, ending in a newline.
func (l *Link) Bytes() []byte { return compact(l) }

// Verify checks that the link leads from prev to the next version, and returns that.
func (l *Link) Verify(prev *Configuration) (*Configuration, error) {
	next, err := l.verify(prev)
	if err != nil {
		return nil, fmt.Errorf("verifying the link to version %d: %w", prev.Version+1, err)
	}
	return next, nil
}

func (l *Link) verify(prev *Configuration) (*Configuration, error) {
	next, err := l.Proposal.Verify(prev)
	if err != nil {
		return nil, err
	}
	digest, q := l.Proposal.Digest(), prev.Quorum()
	if n := len(l.Votes); n < q || n > MaxMirrors {
		return nil, step("votes", strconv.Itoa(n), fmt.Sprintf("those of %d mirrors or more", q))
	}
	for i, v := range l.Votes {
		switch {
		case i > 0 && l.Votes[i-1].Mirror >= v.Mirror:
			return nil, step("vote.mirror", v.Mirror, "distinct mirrors in ascending order")
		case v.Digest != digest:
			return nil, step("vote.digest", v.Digest, "that of the proposal, "+digest)
		}
		if err := v.Verify(prev); err != nil {
			return nil, err
		}
	}
	return next, l.verifyHandovers(prev, digest)
}

func (l *Link) verifyHandovers(prev *Configuration, digest string) error {
	if n, q := len(l.Handovers), prev.Quorum(); n < q || n > MaxMirrors {
		return step("handovers", strconv.Itoa(n), fmt.Sprintf("those of %d mirrors or more", q))
	}
	named := make(map[Stand]bool)
	for i, h := range l.Handovers {
		switch {
		case i > 0 && l.Handovers[i-1].Mirror >= h.Mirror:
			return step("handover.mirror", h.Mirror, "distinct mirrors in ascending order")
		case h.Digest != digest:
			return step("handover.digest", h.Digest, "that of the proposal, "+digest)
		}
		if err := h.Verify(prev); err != nil {
			return err
		}
		for _, s := range h.Stands {
			named[s] = true
		}
	}
	for i, c := range l.Checkpoints {
		s, err := verifyCheckpoint(prev, c)
		if err != nil {
			return err
		}
		if i > 0 && l.Checkpoints[i-1] >= c || !named[s] {
			return step("checkpoints", c, "one for each tree that a handover names, in ascending order")
		}
		delete(named, s)
	}
	for s := range named {
		return step("checkpoints", s.Origin, fmt.Sprintf("the owner's checkpoint of size %d, which a handover names", s.Size))
	}
	return nil
}

// Pins returns the distinct trees that the handovers of a verified link name in a log, ascending by size, then by root.
func (l *Link) Pins(origin string) []tlog.Tree {
	return distinct(l.pins()[origin])
}

// pins returns the trees that the handovers of a verified link name, by origin.
func (l *Link) pins() map[string][]tlog.Tree {
	out := make(map[string][]tlog.Tree)
	for _, h := range l.Handovers {
		for _, s := range h.Stands {
			out[s.Origin] = append(out[s.Origin], s.Tree())
		}
	}
	return out
}

// distinct sorts trees by size and root, and drops those that stand twice.
func distinct(trees []tlog.Tree) []tlog.Tree {
	slices.SortFunc(trees, func(a, b tlog.Tree) int {
		return cmp.Or(cmp.Compare(a.N, b.N), bytes.Compare(a.Hash[:], b.Hash[:]))
	})
	return slices.Compact(trees)
}
