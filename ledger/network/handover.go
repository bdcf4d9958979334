package network

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/verified"
)

// A Stand is the tree that a mirror cosigned last in one log.
type Stand struct {
	Origin string `json:"origin"`
	Size   int64  `json:"size,string"` // 1 or more
	Root   string `json:"root"`        // 64 hexadecimal digits
}

// NewStand names a tree.
func NewStand(origin string, t tlog.Tree) Stand {
	return Stand{Origin: origin, Size: t.N, Root: fmt.Sprintf("%x", t.Hash[:])}
}

// Tree returns the tree of a stand that was verified.
func (s Stand) Tree() tlog.Tree { return tree(s.Size, s.Root) }

// A Handover is the end of one mirror's work under this version, signed with its mirror key of this one: it cosigns
// nothing under it any more, and these are the trees it cosigned last. It is on the disk, and what it promises holds,
// before it leaves.
type Handover struct {
	Mirror    string  `json:"mirror"`           // member name
	Version   int     `json:"version"`          // that takes over
	Digest    string  `json:"digest"`           // of that version's document
	Stands    []Stand `json:"stands,omitempty"` // of this version's logs, sorted by origin; a log it never cosigned is left out
	Signature string  `json:"signature"`        // base64, of "grille/v1/handover\n" and this object in one line without a signature
}

// NewHandover signs a mirror's handover to next, which must follow prev. stands may come in any order.
func NewHandover(prev, next *Configuration, mirror string, stands []Stand, key ed25519.PrivateKey) (Handover, error) {
	if err := CheckSuccessor(prev, next); err != nil {
		return Handover{}, fmt.Errorf("handing over to version %d: %w", next.Version, err)
	}
	h := Handover{Mirror: mirror, Version: next.Version, Digest: next.Digest(), Stands: slices.Clone(stands)}
	slices.SortFunc(h.Stands, func(a, b Stand) int { return strings.Compare(a.Origin, b.Origin) })
	pub, err := h.check(prev)
	if err != nil {
		return Handover{}, err
	}
	if h.Signature, err = sign(handoverLabel, h.message(), key, pub); err != nil {
		return Handover{}, fmt.Errorf("handing over as %s: %w", mirror, err)
	}
	return h, nil
}

func (h Handover) message() []byte {
	h.Signature = ""
	return compact(h)
}

// check checks everything but the signature, and returns the key that makes it.
func (h Handover) check(prev *Configuration) (ed25519.PublicKey, error) {
	pub, err := checkBallot("handover", prev, h.Mirror, h.Version, h.Digest)
	if err != nil {
		return nil, err
	}
	for i, s := range h.Stands {
		if _, ok := prev.Owner(s.Origin); !ok {
			return nil, step("handover.stands.origin", s.Origin, "a log of version "+strconv.Itoa(prev.Version))
		}
		if i > 0 && h.Stands[i-1].Origin >= s.Origin {
			return nil, step("handover.stands.origin", s.Origin, "distinct origins in ascending order")
		}
		if err := checkTree("handover.stands", s.Size, s.Root); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSuccession, err)
		}
		if s.Size == 0 {
			return nil, step("handover.stands.size", "0", "1 or more; a log without entries is left out")
		}
	}
	return pub, nil
}

// Verify checks that the handover is one of a mirror of prev to the version after it, and names trees of prev's logs. That
// the owners signed these trees, Link.Verify and Succession.Merge check.
func (h Handover) Verify(prev *Configuration) error {
	pub, err := h.check(prev)
	if err != nil {
		return err
	}
	if !verify(pub, handoverLabel, h.message(), h.Signature) {
		return step("handover.signature", h.Signature, "the signature of "+h.Mirror+"'s mirror key on this handover")
	}
	return nil
}

// verifyCheckpoint reads a checkpoint that a current log of prev signed: its note with the owner's signature alone, in
// their one spelling.
func verifyCheckpoint(prev *Configuration, data string) (Stand, error) {
	bad := func(want string) (Stand, error) { return Stand{}, step("checkpoints", data, want) }
	if len(data) > MaxCheckpoint {
		return bad(fmt.Sprintf("at most %d bytes", MaxCheckpoint))
	}
	origin, _, _ := strings.Cut(data, "\n")
	owner, ok := prev.Owner(origin)
	if !ok {
		return bad("a checkpoint of a log of version " + strconv.Itoa(prev.Version))
	}
	v, err := note.NewVerifier(owner.LogKey)
	if err != nil {
		return Stand{}, fmt.Errorf("reading log key of %s: %w", owner.Name, err)
	}
	n, err := note.Open([]byte(data), note.VerifierList(remembering{v, owner.LogKey}))
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return bad("a note signed by " + owner.Name + "'s log key alone")
	}
	if _, err := base64.StdEncoding.Strict().DecodeString(n.Sigs[0].Base64); err != nil ||
		n.Text+"\n— "+n.Sigs[0].Name+" "+n.Sigs[0].Base64+"\n" != data {
		return bad("a note in canonical form")
	}
	stand, ok := readCheckpoint(data)
	if !ok {
		return bad("a checkpoint of a tree with entries, without extension lines")
	}
	return stand, nil
}

// remembering is a verifier of notes that remembers what it found valid.
type remembering struct {
	note.Verifier
	vkey string
}

func (r remembering) Verify(message, sig []byte) bool {
	return verified.Check(r.vkey, string(message), sig, func() bool { return r.Verifier.Verify(message, sig) })
}

// readCheckpoint returns the tree in a signed checkpoint and verifies nothing.
func readCheckpoint(data string) (Stand, bool) {
	text, _, _ := strings.Cut(data, "\n\n")
	c, err := torchwood.ParseCheckpoint(text + "\n")
	if err != nil || c.Extension != "" || c.N < 1 || c.N > MaxTreeSize || c.String() != text+"\n" {
		return Stand{}, false
	}
	return NewStand(c.Origin, c.Tree), true
}
