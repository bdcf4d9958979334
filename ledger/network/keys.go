package network

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// Signature types of C2SP signed-note verifier keys.
const (
	algEd25519     = 0x01
	algCosignature = 0x04
)

// LogVKey returns the signed-note verifier key (type 0x01) of a log.
func LogVKey(origin string, pub ed25519.PublicKey) string { return vkey(origin, algEd25519, pub) }

// MirrorVKey returns the verifier key (type 0x04, tlog-cosignature) of a mirror.
func MirrorVKey(name string, pub ed25519.PublicKey) string { return vkey(name, algCosignature, pub) }

// vkey writes NAME+HASH+BASE64(TYPE || KEY), HASH being the first four bytes of SHA-256(NAME || \n || TYPE || KEY)
// (C2SP signed-note).
func vkey(name string, alg byte, pub ed25519.PublicKey) string {
	key := append([]byte{alg}, pub...)
	h := sha256.Sum256(append([]byte(name+"\n"), key...))
	return fmt.Sprintf("%s+%08x+%s", name, binary.BigEndian.Uint32(h[:]), base64.StdEncoding.EncodeToString(key))
}

// parseVKey returns the raw key of a verifier key that has exactly this name and type, in its one spelling.
func parseVKey(field, s, name string, alg byte, what string) (ed25519.PublicKey, error) {
	want := fmt.Sprintf("%s named %s", what, name)
	if len(s) > len(name)+64 {
		return nil, refuse(field, s, want)
	}
	rest, ok := strings.CutPrefix(s, name+"+")
	hash, key64, ok2 := strings.Cut(rest, "+")
	key, err := base64.StdEncoding.Strict().DecodeString(key64)
	if _, herr := strconv.ParseUint(hash, 16, 32); !ok || !ok2 || err != nil || herr != nil {
		return nil, refuse(field, s, want)
	}
	if len(key) != 1+ed25519.PublicKeySize || key[0] != alg || vkey(name, alg, key[1:]) != s {
		return nil, refuse(field, s, want)
	}
	return key[1:], nil
}

// PublicKey returns the Ed25519 key in the verifier key of a log or a mirror.
func PublicKey(vkey string) (ed25519.PublicKey, error) {
	if key, err := parseVKey("verifier key", vkey, KeyName(vkey), algCosignature, "a verifier key"); err == nil {
		return key, nil
	}
	return parseVKey("verifier key", vkey, KeyName(vkey), algEd25519, "an Ed25519 verifier key (type 01 or 04)")
}

func parseLogVKey(field, s, origin string) (ed25519.PublicKey, error) {
	key, err := parseVKey(field, s, origin, algEd25519, "an Ed25519 verifier key (type 01)")
	if err != nil {
		return nil, err
	}
	if _, err := note.NewVerifier(s); err != nil {
		return nil, refuse(field, s, "a signed-note verifier key: "+err.Error())
	}
	return key, nil
}

func parseMirrorVKey(s, name string) (ed25519.PublicKey, error) {
	key, err := parseVKey("members.mirror_key", s, name, algCosignature, "a cosignature verifier key (type 04)")
	if err != nil {
		return nil, err
	}
	if _, err := torchwood.NewCosignatureVerifier(s); err != nil {
		return nil, refuse("members.mirror_key", s, "a cosignature verifier key: "+err.Error())
	}
	return key, nil
}
