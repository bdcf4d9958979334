package network

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/grille-gateway/grille/ledger/entry"
)

// cardLabel separates signatures on cards from those on checkpoints, whose first line is an origin.
const cardLabel = "grille/v1/card\n"

// A Card is what a member hands to the others: who it is and its public keys, signed with its log key. Those who receive
// it compare the Fingerprint by another way, by telephone.
type Card struct {
	Instance  string `json:"instance"`
	Member    Member `json:"member"`
	Signature string `json:"signature"` // base64 of an Ed25519 signature with the log key
}

// NewCard signs a member's card. key is the private half of m.LogKey.
func NewCard(instance string, m Member, key ed25519.PrivateKey) (Card, error) {
	c := Card{Instance: instance, Member: m}
	if len(key) != ed25519.PrivateKeySize {
		return Card{}, fmt.Errorf("signing card: %w: log key has %d bytes", ErrConfiguration, len(key))
	}
	c.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, c.message()))
	if err := c.Verify(); err != nil {
		return Card{}, err
	}
	return c, nil
}

// ParseCard reads and verifies a card exactly as Bytes writes it.
func ParseCard(data []byte) (Card, error) {
	var c Card
	if err := entry.DecodeStrict(data, MaxCardSize, &c); err != nil {
		return Card{}, fmt.Errorf("parsing card: %w: %w", ErrConfiguration, err)
	}
	if err := c.Verify(); err != nil {
		return Card{}, err
	}
	if !bytes.Equal(c.Bytes(), data) {
		return Card{}, fmt.Errorf("parsing card: %w: not in canonical form; ask the member for the file unedited", ErrConfiguration)
	}
	return c, nil
}

// Bytes returns the canonical document of a card.
func (c Card) Bytes() []byte { return canonical(c) }

// message is what the log key signs: the label and the canonical card without a signature.
func (c Card) message() []byte {
	c.Signature = ""
	return append([]byte(cardLabel), canonical(c)...)
}

// Verify checks the card's fields and its signature.
func (c Card) Verify() error {
	if !instanceForm.MatchString(c.Instance) {
		return refuse("card.instance", c.Instance, "1 to 64 of a-z 0-9 . -")
	}
	keys, err := c.Member.validate(c.Instance)
	if err != nil {
		return err
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(c.Signature)
	if err != nil || !ed25519.Verify(keys["log_key"], c.message(), sig) {
		return refuse("card.signature", c.Signature, "the signature of "+c.Member.Name+"'s log key on this card")
	}
	return nil
}

// Fingerprint returns the first 128 bits of the card's SHA-256 in groups of four hexadecimal digits, to be read aloud.
func (c Card) Fingerprint() string {
	h := sha256.Sum256(c.Bytes())
	s := hex.EncodeToString(h[:16])
	groups := make([]string, 0, 8)
	for i := 0; i < len(s); i += 4 {
		groups = append(groups, s[i:i+4])
	}
	return strings.Join(groups, "-")
}
