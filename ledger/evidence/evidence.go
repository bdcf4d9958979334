// Package evidence is the proof that the owner of a log told two stories: two checkpoints that the owner signed and that
// no single history can hold. Whoever has the members' public keys verifies it, offline and years later.
//
// It cannot be made against an honest owner. The two notes carry the owner's signature, and the consistency proof is
// bound from end to end: its hashes must rebuild the root of the larger checkpoint, which leaves one possible root at the
// smaller one's size (RFC 6962, section 2.1.2). That root is not the one the owner signed for that size.
//
// A mirror never cosigns two trees that contradict each other. One whose key cosigned both sides is accused alike.
package evidence

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/note"
)

var (
	// ErrMalformed says that bytes are not an evidence file in its one form. Refuse them; nobody is accused.
	ErrMalformed = errors.New("malformed evidence")
	// ErrUnproven says that a file does not show what it claims: a signature or the proof does not hold, or nobody known owns
	// the log. Refuse it; nobody is accused.
	ErrUnproven = errors.New("evidence proves nothing")
	// ErrConsistent says that two checkpoints do not contradict each other: there is no evidence to make of them.
	ErrConsistent = errors.New("checkpoints do not contradict each other")
)

// header is the first line of a file, version included.
const header = "grille.evidence/v1\n"

// Evidence is two signed checkpoints of one log and what shows that they contradict each other. Obtain one from New or
// Parse; only Verify says whether it holds.
type Evidence struct {
	// First and Second are signed notes with the owner's signature and any cosignatures. Sizes ascend; of equal sizes the
	// smaller root in the order of bytes is First.
	First, Second []byte
	// Root is the root that Second's tree has at First's size. It differs from the one in First. Of equal sizes, it is
	// Second's own.
	Root tlog.Hash
	// Proof is the RFC 6962 consistency proof from Root to Second's root. It is empty for equal sizes, and for First of size 0.
	Proof []tlog.Hash
}

// New makes evidence of two signed notes of one log, in either order. hashes reads the tree of the larger one; nil will do
// for equal sizes. No signature is verified here: that is Verify's.
//
// The error is ErrConsistent if one tree is a prefix of the other. Any other error says that the notes or the hashes are
// not what this needs.
func New(first, second []byte, hashes tlog.HashReader) (Evidence, error) {
	e := Evidence{First: bytes.Clone(first), Second: bytes.Clone(second)}
	a, b, err := e.notes()
	if err != nil {
		return Evidence{}, fmt.Errorf("making evidence: %w", err)
	}
	if !ordered(a.Tree, b.Tree) {
		e.First, e.Second, a, b = e.Second, e.First, b, a
	}
	if e.Root, e.Proof, err = prove(a.Tree.N, b.Tree, hashes); err != nil {
		return Evidence{}, fmt.Errorf("making evidence: %w", err)
	}
	if err := check(a.Tree, b.Tree, e.Root, e.Proof); err != nil {
		return Evidence{}, fmt.Errorf("making evidence: %w", err)
	}
	return e, nil
}

// prove returns the root that a tree has at a size, and the proof of it.
func prove(size int64, tree tlog.Tree, hashes tlog.HashReader) (tlog.Hash, []tlog.Hash, error) {
	if size == tree.N {
		return tree.Hash, nil, nil
	}
	if size == 0 {
		root, err := tlog.TreeHash(0, nil)
		return root, nil, err
	}
	if hashes == nil {
		return tlog.Hash{}, nil, fmt.Errorf("%w: no hashes of the larger tree", ErrUnproven)
	}
	root, err := tlog.TreeHash(size, hashes)
	if err != nil {
		return tlog.Hash{}, nil, fmt.Errorf("hashing the first %d entries: %w", size, err)
	}
	proof, err := tlog.ProveTree(tree.N, size, hashes)
	if err != nil {
		return tlog.Hash{}, nil, fmt.Errorf("proving that %d entries grow to %d: %w", size, tree.N, err)
	}
	return root, proof, nil
}

// check verifies that second's tree has this root at first's size, and that first says otherwise.
func check(first, second tlog.Tree, root tlog.Hash, proof []tlog.Hash) error {
	if first.N == 0 && second.N > 0 { // tlog.CheckTree begins at 1; a tree without entries has one root
		empty, err := tlog.TreeHash(0, nil)
		if err != nil || root != empty || len(proof) > 0 {
			return fmt.Errorf("%w: not the root of a tree without entries", ErrUnproven)
		}
	} else if first.N == second.N {
		if root != second.Hash || len(proof) > 0 {
			return fmt.Errorf("%w: of equal sizes, the root is the second one's and there is no proof", ErrUnproven)
		}
	} else if err := tlog.CheckTree(proof, second.N, second.Hash, first.N, root); err != nil {
		return fmt.Errorf("%w: consistency proof: %w", ErrUnproven, err)
	}
	if root == first.Hash {
		return fmt.Errorf("%w: size %d is a prefix of size %d", ErrConsistent, first.N, second.N)
	}
	return nil
}

// ordered tells whether two trees stand in the order of First and Second.
func ordered(a, b tlog.Tree) bool {
	return a.N < b.N || a.N == b.N && bytes.Compare(a.Hash[:], b.Hash[:]) <= 0
}

// notes parses both notes and sees to it that they are of one log.
func (e Evidence) notes() (first, second note.Checkpoint, err error) {
	if first, err = note.Parse(e.First); err != nil {
		return first, second, fmt.Errorf("%w: first: %w", ErrMalformed, err)
	}
	if second, err = note.Parse(e.Second); err != nil {
		return first, second, fmt.Errorf("%w: second: %w", ErrMalformed, err)
	}
	if first.Origin != second.Origin {
		return first, second, fmt.Errorf("%w: checkpoints of two logs", ErrMalformed)
	}
	return first, second, nil
}

// Encode returns the file:
//
//	grille.evidence/v1
//	<Root, base64>
//	<hashes of Proof, base64, one a line>
//	<empty line>
//	<First: a signed note>
//	<empty line>
//	<Second: a signed note>
func (e Evidence) Encode() []byte {
	var b strings.Builder
	b.WriteString(header + e.Root.String() + "\n")
	for _, h := range e.Proof {
		b.WriteString(h.String() + "\n")
	}
	fmt.Fprintf(&b, "\n%s\n%s", e.First, e.Second)
	return []byte(b.String())
}

// Parse reads a file exactly as Encode writes it, and verifies nothing. The error wraps ErrMalformed.
func Parse(data []byte) (Evidence, error) {
	if len(data) > MaxSize {
		return Evidence{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMalformed, len(data), MaxSize)
	}
	lines, ok := strings.CutPrefix(string(data), header)
	if !ok {
		return Evidence{}, fmt.Errorf("%w: the first line is not %q", ErrMalformed, strings.TrimSuffix(header, "\n"))
	}
	// A note has one empty line inside, and a checkpoint no other.
	parts := strings.Split(lines, "\n\n")
	if len(parts) != 5 {
		return Evidence{}, fmt.Errorf("%w: not two signed checkpoints after the hashes", ErrMalformed)
	}
	hashes, err := parseHashes(parts[0])
	if err != nil {
		return Evidence{}, err
	}
	e := Evidence{Root: hashes[0], Proof: hashes[1:],
		First: []byte(parts[1] + "\n\n" + parts[2] + "\n"), Second: []byte(parts[3] + "\n\n" + parts[4])}
	first, second, err := e.notes()
	if err != nil {
		return Evidence{}, err
	}
	if !ordered(first.Tree, second.Tree) {
		return Evidence{}, fmt.Errorf("%w: the larger checkpoint stands first", ErrMalformed)
	}
	return e, nil
}

// parseHashes reads the root and the proof, at least one line.
func parseHashes(text string) ([]tlog.Hash, error) {
	lines := strings.Split(text, "\n")
	if len(lines) > 1+MaxProof {
		return nil, fmt.Errorf("%w: %d hashes, the limit is %d", ErrMalformed, len(lines), 1+MaxProof)
	}
	out := make([]tlog.Hash, len(lines))
	for i, line := range lines {
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != tlog.HashSize || tlog.Hash(h).String() != line {
			return nil, fmt.Errorf("%w: line %d is no hash", ErrMalformed, i+2)
		}
		out[i] = tlog.Hash(h)
	}
	return out, nil
}
