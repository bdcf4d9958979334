package note

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"filippo.io/torchwood"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/verified"
)

// A Cosignature is one mirror's verified cosignature of a checkpoint.
type Cosignature struct {
	Mirror string    // member name
	Time   time.Time // whole seconds
	Line   string    // signature line with its newline
}

// Cosign returns a mirror's signature line for a checkpoint's text at a time (tlog-cosignature v1: the signed message is
// "cosignature/v1\ntime T\n" and the text; the signature is the big-endian time and 64 bytes).
func Cosign(text, mirrorName string, key ed25519.PrivateKey, t time.Time) (string, error) {
	if _, err := ParseText(text); err != nil {
		return "", err
	}
	if t.Unix() < 0 {
		return "", fmt.Errorf("cosigning: time before 1970")
	}
	v, err := torchwood.NewCosignatureVerifier(network.MirrorVKey(mirrorName, key.Public().(ed25519.PublicKey)))
	if err != nil {
		return "", fmt.Errorf("cosigning: %w", err)
	}
	sig := ed25519.Sign(key, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", t.Unix(), text))
	body := append(binary.BigEndian.AppendUint64(nil, uint64(t.Unix())), sig...)
	return Signature{Name: mirrorName, Hash: v.KeyHash(), Body: body}.Line(), nil
}

// VerifyCosignature verifies one signature line of a mirror over a checkpoint's text.
func VerifyCosignature(mirror network.Member, text, line string) (Cosignature, error) {
	sig, err := ParseSignature(line)
	if err != nil {
		return Cosignature{}, err
	}
	v, err := torchwood.NewCosignatureVerifier(mirror.MirrorKey)
	if err != nil {
		return Cosignature{}, fmt.Errorf("reading mirror key of %s: %w", mirror.Name, err)
	}
	if sig.Name != v.Name() || sig.Hash != v.KeyHash() {
		return Cosignature{}, fmt.Errorf("%w: of another key than %s's", ErrSignature, mirror.Name)
	}
	return verify(mirror, v, text, sig)
}

func verify(mirror network.Member, v *torchwood.CosignatureVerifier, text string, sig Signature) (Cosignature, error) {
	if !verified.Check(mirror.MirrorKey, text, sig.Body, func() bool { return v.Verify([]byte(text), sig.Body) }) {
		return Cosignature{}, fmt.Errorf("%w: %s's cosignature", ErrSignature, mirror.Name)
	}
	sec := binary.BigEndian.Uint64(sig.Body) // Verify saw 72 bytes
	if sec > math.MaxInt32*1000 {            // the year 70000: time arithmetic stays far from overflow
		return Cosignature{}, fmt.Errorf("%w: %s's cosignature time", ErrSignature, mirror.Name)
	}
	return Cosignature{Mirror: mirror.Name, Time: time.Unix(int64(sec), 0).UTC(), Line: sig.Line()}, nil
}
