package note

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// Bounds and media types of C2SP tlog-witness.
const (
	// MaxProofLines is how many consistency proof lines a client may send.
	MaxProofLines = 63
	// MaxAddCheckpoint bounds an add-checkpoint request in bytes: the old size, 63 hashes of 45 bytes, a signed checkpoint.
	MaxAddCheckpoint = 64 + MaxProofLines*45 + MaxSize
	// SizeType is the media type of a size that a witness answers a conflict with.
	SizeType = "text/x.tlog.size"
)

// ErrRequest says that bytes are not a body of tlog-witness or tlog-mirror in our form.
var ErrRequest = errors.New("malformed request or answer")

// An AddCheckpoint is the body of a request to cosign a checkpoint (tlog-witness add-checkpoint), not verified:
//
//	old N
//	base64 of each hash of the consistency proof from size N, on a line of its own
//
//	signed checkpoint
type AddCheckpoint struct {
	Old   int64
	Proof []tlog.Hash
	Note  []byte // signed checkpoint
}

// Encode returns the body.
func (a AddCheckpoint) Encode() []byte {
	b := fmt.Appendf(nil, "old %d\n", a.Old)
	for _, h := range a.Proof {
		b = append(append(b, h.String()...), '\n')
	}
	return append(append(b, '\n'), a.Note...)
}

// ParseAddCheckpoint reads the body of an add-checkpoint request and the checkpoint in it. Errors: ErrRequest, ErrNote.
func ParseAddCheckpoint(data []byte) (AddCheckpoint, Checkpoint, error) {
	if len(data) > MaxAddCheckpoint {
		return AddCheckpoint{}, Checkpoint{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrRequest, len(data), MaxAddCheckpoint)
	}
	head, signed, ok := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	old, ok2 := strings.CutPrefix(lines[0], "old ")
	size, ok3 := parseSize(old)
	if !ok || !ok2 || !ok3 {
		return AddCheckpoint{}, Checkpoint{}, fmt.Errorf("%w: old size line", ErrRequest)
	}
	if len(lines)-1 > MaxProofLines {
		return AddCheckpoint{}, Checkpoint{}, fmt.Errorf("%w: %d proof lines, the limit is %d", ErrRequest, len(lines)-1, MaxProofLines)
	}
	a := AddCheckpoint{Old: size, Note: signed}
	for _, line := range lines[1:] {
		h, ok := parseHash(line)
		if !ok {
			return AddCheckpoint{}, Checkpoint{}, fmt.Errorf("%w: proof line", ErrRequest)
		}
		a.Proof = append(a.Proof, h)
	}
	c, err := Parse(signed)
	if err != nil {
		return AddCheckpoint{}, Checkpoint{}, err
	}
	return a, c, nil
}

// parseSize reads a tree size in decimal, without leading zeros.
func parseSize(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && n <= MaxTreeSize && strconv.FormatInt(n, 10) == s
}

// parseHash reads a hash in its one base64 spelling.
func parseHash(s string) (tlog.Hash, bool) {
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != tlog.HashSize || tlog.Hash(raw).String() != s {
		return tlog.Hash{}, false
	}
	return tlog.Hash(raw), true
}

// EncodeSize returns the body of a conflict: the size of the tree that the witness cosigned last (SizeType).
func EncodeSize(size int64) []byte { return fmt.Appendf(nil, "%d\n", size) }

// ParseSize reads the body of a conflict.
func ParseSize(data []byte) (int64, error) {
	text, ok := strings.CutSuffix(string(data), "\n")
	size, ok2 := parseSize(text)
	if !ok || !ok2 {
		return 0, fmt.Errorf("%w: size", ErrRequest)
	}
	return size, nil
}

// ParseLines reads the signature lines that a witness or a mirror answers with: at least one, at most MaxSignatures, and
// nothing else. Nothing is verified.
func ParseLines(data []byte) ([]Signature, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes of signatures, the limit is %d", ErrRequest, len(data), MaxSize)
	}
	var sigs []Signature
	for rest := string(data); rest != ""; {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok || len(sigs) == MaxSignatures {
			return nil, fmt.Errorf("%w: signature lines", ErrRequest)
		}
		sig, err := ParseSignature(line + "\n")
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		sigs, rest = append(sigs, sig), after
	}
	if len(sigs) == 0 {
		return nil, fmt.Errorf("%w: no signature lines", ErrRequest)
	}
	return sigs, nil
}

// An Outside is a verified cosignature of a witness that is no mirror of the configuration. It says that the log grew
// consistently in the witness's eyes, and that this was the largest tree it knew. It is a type of its own so that it
// cannot be counted to a quorum.
type Outside struct {
	Witness string    // name of its key
	Time    time.Time // whole seconds
	Line    string    // signature line with its newline
}

// VerifyOutside finds the cosignature of a witness among signature lines over a checkpoint's text and verifies it; of
// several it returns the newest. Lines of other keys are ignored; a bad one of this key refuses them all, as a note with
// it would be refused (C2SP signed-note).
func VerifyOutside(witness *torchwood.CosignatureVerifier, text string, sigs []Signature) (Outside, error) {
	var found Outside
	for _, s := range sigs {
		if s.Name != witness.Name() || s.Hash != witness.KeyHash() {
			continue
		}
		if !witness.Verify([]byte(text), s.Body) {
			return Outside{}, fmt.Errorf("%w: %s's", ErrSignature, s.Name)
		}
		sec := binary.BigEndian.Uint64(s.Body) // Verify saw 72 bytes
		if sec == 0 || sec > math.MaxInt32*1000 {
			return Outside{}, fmt.Errorf("%w: %s's time", ErrSignature, s.Name)
		}
		if at := time.Unix(int64(sec), 0).UTC(); at.After(found.Time) {
			found = Outside{Witness: s.Name, Time: at, Line: s.Line()}
		}
	}
	if found.Line == "" {
		return Outside{}, fmt.Errorf("%w: %s's is missing", ErrSignature, witness.Name())
	}
	return found, nil
}
