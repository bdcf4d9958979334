package ceremony

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// Labels separate what one query key signs. They precede the body in the signed bytes.
const (
	LabelOpening = "grille/v1/ceremony-opening"
	LabelStep    = "grille/v1/ceremony-step"
)

// Signed is a body and an Ed25519 signature over label, newline, body. The body stays the text that was signed.
type Signed struct {
	Body      string `json:"body"`      // JSON text in its one encoding
	Signature string `json:"signature"` // 64 bytes, base64
}

// A Signer is a member with its query key.
type Signer struct {
	Member string // as the opening names it
	Key    ed25519.PrivateKey
}

func (s Signer) sign(label string, v any) (Signed, error) {
	body, err := encode(v)
	if err != nil {
		return Signed{}, fmt.Errorf("signing: %w", err)
	}
	return Signed{Body: string(body),
		Signature: base64.StdEncoding.EncodeToString(ed25519.Sign(s.Key, signedBytes(label, string(body))))}, nil
}

// digest identifies the signed bytes, not the signature: Ed25519 lets a signer make several signatures of one text.
func (s Signed) digest(label string) string {
	sum := sha256.Sum256(signedBytes(label, s.Body))
	return hex.EncodeToString(sum[:])
}

func (s Signed) verify(key ed25519.PublicKey, label string) error {
	sig, err := base64.StdEncoding.DecodeString(s.Signature)
	// Even strict base64 skips line breaks: only the encoding of what was read is the one spelling.
	if err != nil || base64.StdEncoding.EncodeToString(sig) != s.Signature ||
		len(sig) != ed25519.SignatureSize || !ed25519.Verify(key, signedBytes(label, s.Body), sig) {
		return refuse(ReasonSignature, "the signature does not match")
	}
	return nil
}

func signedBytes(label, body string) []byte {
	return append(append([]byte(label), '\n'), body...)
}

// encode is the one encoding of what this package signs and stores: JSON without insignificant space, fields in the order of
// their declaration, no HTML escapes.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// decode reads data of at most limit bytes and refuses every spelling but the one that encode gives: with it go unknown and
// double names, other cases of letters, invalid UTF-8 and trailing data.
func decode(data []byte, limit int, v any) error {
	if len(data) > limit {
		return fmt.Errorf("%d bytes, the limit is %d", len(data), limit)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return errors.New("not the JSON that is expected")
	}
	again, err := encode(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errors.New("not in canonical form (was it reformatted?)")
	}
	return nil
}

// isDigest tells 32 bytes in lower-case hex.
func isDigest(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && hex.EncodeToString(b) == s
}
