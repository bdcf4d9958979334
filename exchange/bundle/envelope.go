// Package bundle holds what two departments exchange about one question: the signed query, the signed answer header, the
// bundle that carries a verdict with its evidence, signed refusals, and the verification that needs nothing but the bundle, the
// network configuration and the verifying key.
package bundle

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// Bounds on foreign bytes, checked before anything is parsed.
const (
	MaxQuery   = 16 << 10 // a signed query with its opening: names, purpose and reference texts
	MaxSubject = 256      // bytes of a subject id before normalisation
	MaxText    = 1024     // bytes of a purpose, legal basis or case reference
	MaxBundle  = 1 << 20  // four to six entries of at most 64 KiB, their paths, a note with 31 cosignatures
	MaxRefusal = 8 << 10
)

// Labels separate what one query key signs. They precede the body in the signed bytes.
const (
	LabelQuery   = "grille/v1/query"
	LabelHeader  = "grille/v1/header"
	LabelPromise = "grille/v1/promise"
	LabelRefusal = "grille/v1/refusal"
)

// ErrSignature reports an envelope that the named member's query key did not sign.
var ErrSignature = errors.New("signature does not match")

// Signed is a body and an Ed25519 signature over label, newline, body. The body stays the text that was signed, so that
// nobody has to reproduce an encoding to check it.
type Signed struct {
	Body      string `json:"body"`      // JSON text
	Signature string `json:"signature"` // 64 bytes, base64
}

// Sign encodes v as the body of an envelope.
func Sign(key ed25519.PrivateKey, label string, v any) (Signed, error) {
	body, err := Encode(v)
	if err != nil {
		return Signed{}, fmt.Errorf("signing: %w", err)
	}
	sig := ed25519.Sign(key, signedBytes(label, string(body)))
	return Signed{Body: string(body), Signature: base64.StdEncoding.EncodeToString(sig)}, nil
}

// Open checks the signature and then reads the body into v, strictly.
func (s *Signed) Open(key ed25519.PublicKey, label string, v any) error {
	sig, err := base64.StdEncoding.DecodeString(s.Signature)
	// Even strict base64 skips line breaks: only the encoding of what was read is the one spelling.
	if err != nil || base64.StdEncoding.EncodeToString(sig) != s.Signature ||
		len(sig) != ed25519.SignatureSize || !ed25519.Verify(key, signedBytes(label, s.Body), sig) {
		return fmt.Errorf("opening a %s: %w", label, ErrSignature)
	}
	return s.Peek(v)
}

// Peek reads the body without checking the signature: to learn whose key to check it with.
func (s *Signed) Peek(v any) error {
	return entry.DecodeStrict([]byte(s.Body), MaxQuery, v)
}

// Digest identifies the signed bytes, not the signature: Ed25519 lets a signer make several signatures of one text.
func (s *Signed) Digest(label string) receipt.Hash {
	return receipt.Sum(label, []byte(s.Body))
}

func signedBytes(label, body string) []byte {
	return append(append([]byte(label), '\n'), body...)
}

// Encode is the one encoding of what this package writes: JSON without insignificant space, fields in the order of their
// declaration, no HTML escapes.
func Encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// decodeCanonical reads data strictly and refuses every spelling but the one that Encode gives, so that no byte of a bundle
// can change without changing what it says.
func decodeCanonical(data []byte, max int, v any) error {
	if !utf8.Valid(data) {
		return errors.New("not valid UTF-8")
	}
	if err := entry.DecodeStrict(data, max, v); err != nil {
		return err
	}
	again, err := Encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errors.New("not in canonical form (was it reformatted?)")
	}
	return nil
}
