// Package note reads and writes the signed parts of the ledger in C2SP's formats: checkpoints (tlog-checkpoint on
// signed-note), cosignatures (tlog-cosignature, type 0x04) and inclusion proofs (tlog-proof).
//
// Every signature is verified by itself. A note with one bad signature must not hide the good ones of a checkpoint that
// is being gathered, while a finished head with a bad signature of a known key is refused whole.
package note

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/verified"
)

// Bounds of what peers send.
const (
	// MaxSize bounds a signed checkpoint in bytes: 31 mirrors with names of 110 bytes and signatures of 100 make 7 KB.
	MaxSize = 16 << 10
	// MaxSignatures bounds the signature lines of a note: the owner, 31 mirrors and some witnesses.
	MaxSignatures = 64
	// MaxTreeSize bounds a log.
	MaxTreeSize = network.MaxTreeSize
)

var (
	// ErrNote says that bytes are not a signed checkpoint in our form.
	ErrNote = errors.New("malformed signed checkpoint")
	// ErrSignature says that a signature is missing, of the wrong key, or does not verify. Refuse what it came with.
	ErrSignature = errors.New("signature does not verify")
)

// sigPrefix starts each signature line of a signed note: an em dash and a space.
const sigPrefix = "— "

// A Checkpoint is a parsed note, not verified.
type Checkpoint struct {
	Origin string
	Tree   tlog.Tree
	Text   string      // what signatures sign, ending in a newline
	Sigs   []Signature // in the order of the note
}

// A Signature is one signature line.
type Signature struct {
	Name string
	Hash uint32 // key id
	Body []byte // after the key id
}

// Line returns the signature line with its newline.
func (s Signature) Line() string {
	raw := binary.BigEndian.AppendUint32(nil, s.Hash)
	return sigPrefix + s.Name + " " + base64.StdEncoding.EncodeToString(append(raw, s.Body...)) + "\n"
}

// Text returns the checkpoint of a tree as its owner signs it: origin, size, base64 of the root, no extension lines.
func Text(origin string, tree tlog.Tree) string {
	return torchwood.Checkpoint{Origin: origin, Tree: tree}.String()
}

// Parse reads a signed checkpoint without verifying anything. It refuses extension lines.
func Parse(data []byte) (Checkpoint, error) {
	if len(data) > MaxSize {
		return Checkpoint{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrNote, len(data), MaxSize)
	}
	control := func(r rune) bool { return r < 0x20 && r != '\n' }
	if !utf8.Valid(data) || bytes.ContainsFunc(data, control) {
		return Checkpoint{}, fmt.Errorf("%w: invalid UTF-8 or control characters", ErrNote)
	}
	text, sigs, ok := strings.Cut(string(data), "\n\n")
	if !ok {
		return Checkpoint{}, fmt.Errorf("%w: no signatures", ErrNote)
	}
	c, err := ParseText(text + "\n")
	if err != nil {
		return Checkpoint{}, err
	}
	for sigs != "" {
		line, rest, ok := strings.Cut(sigs, "\n")
		if !ok || len(c.Sigs) == MaxSignatures {
			return Checkpoint{}, fmt.Errorf("%w: signature lines", ErrNote)
		}
		sig, err := ParseSignature(line + "\n")
		if err != nil {
			return Checkpoint{}, err
		}
		c.Sigs, sigs = append(c.Sigs, sig), rest
	}
	if len(c.Sigs) == 0 {
		return Checkpoint{}, fmt.Errorf("%w: no signatures", ErrNote)
	}
	return c, nil
}

// ParseText reads the unsigned text of a checkpoint.
func ParseText(text string) (Checkpoint, error) {
	c, err := torchwood.ParseCheckpoint(text)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrNote, err)
	}
	if c.Extension != "" || c.Origin == "" || c.N > MaxTreeSize || c.String() != text {
		return Checkpoint{}, fmt.Errorf("%w: extension lines, empty origin, size out of range or not canonical", ErrNote)
	}
	return Checkpoint{Origin: c.Origin, Tree: c.Tree, Text: text}, nil
}

// ParseSignature reads one signature line with its newline.
func ParseSignature(line string) (Signature, error) {
	rest, ok := strings.CutPrefix(line, sigPrefix)
	rest, ok2 := strings.CutSuffix(rest, "\n")
	name, b64, ok3 := strings.Cut(rest, " ")
	raw, err := base64.StdEncoding.Strict().DecodeString(b64)
	if !ok || !ok2 || !ok3 || err != nil || len(raw) < 5 || len(line) > 1024 || !validName(name) {
		return Signature{}, fmt.Errorf("%w: signature line", ErrNote)
	}
	s := Signature{Name: name, Hash: binary.BigEndian.Uint32(raw), Body: raw[4:]}
	if s.Line() != line {
		return Signature{}, fmt.Errorf("%w: signature line not canonical", ErrNote)
	}
	return s, nil
}

func validName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r == '+' || unicode.IsSpace(r) || r == utf8.RuneError })
}

// Sign returns the owner's signed note for a tree. Ed25519 is deterministic: the same tree gives the same bytes.
func Sign(origin string, tree tlog.Tree, key ed25519.PrivateKey) ([]byte, error) {
	v, err := note.NewVerifier(network.LogVKey(origin, key.Public().(ed25519.PublicKey)))
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint: %w", err)
	}
	text := Text(origin, tree)
	sig := Signature{Name: origin, Hash: v.KeyHash(), Body: ed25519.Sign(key, []byte(text))}
	return []byte(text + "\n" + sig.Line()), nil
}

// VerifyOwner parses a note and verifies the owner's signature for the log with that origin, which may be a fenced one if
// the tree is not beyond its fence. Others' signatures are not looked at; those under the owner's name by another key are
// left out, so that Assemble takes the verified one.
func VerifyOwner(cfg *network.Configuration, origin string, data []byte) (Checkpoint, error) {
	c, err := Parse(data)
	if err != nil {
		return Checkpoint{}, err
	}
	if c.Origin != origin {
		return Checkpoint{}, fmt.Errorf("%w: checkpoint of another origin", ErrSignature)
	}
	vkey, owner, ok := cfg.LogKey(origin)
	if !ok {
		return Checkpoint{}, fmt.Errorf("%w: no member owns this origin", ErrSignature)
	}
	if f, ok := cfg.Fence(origin); ok && (c.Tree.N > f.Size || c.Tree.N == f.Size && c.Tree != f.Tree()) {
		return Checkpoint{}, fmt.Errorf("%w: the log ended at size %d", ErrSignature, f.Size)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("reading log key of %s: %w", owner, err)
	}
	c.Sigs = slices.DeleteFunc(c.Sigs, func(s Signature) bool { return s.Name == v.Name() && s.Hash != v.KeyHash() })
	i := slices.IndexFunc(c.Sigs, func(s Signature) bool { return s.Name == v.Name() })
	if i < 0 {
		return Checkpoint{}, fmt.Errorf("%w: owner's is missing", ErrSignature)
	}
	sig := c.Sigs[i].Body
	if !verified.Check(vkey, c.Text, sig, func() bool { return v.Verify([]byte(c.Text), sig) }) {
		return Checkpoint{}, fmt.Errorf("%w: owner's", ErrSignature)
	}
	return c, nil
}
