package network

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/grille-gateway/grille/ledger/verified"
)

var (
	// ErrSuccession says that a proposal, a vote, a handover, a checkpoint or a link does not belong to the next version or
	// is not signed by who it names. Drop what it came with.
	ErrSuccession = errors.New("unacceptable step to the next configuration")
	// ErrEquivocation says that the proposer signed two proposals for one version. If neither gets a quorum of votes, the
	// operators agree on a configuration and each pins it again, out of band.
	ErrEquivocation = errors.New("the proposer signed two proposals for one version")
)

// Labels of what is signed on the way to the next version. No origin begins so: the log and mirror keys sign checkpoints.
const (
	proposalLabel = "grille/v1/proposal\n"
	voteLabel     = "grille/v1/vote\n"
	handoverLabel = "grille/v1/handover\n"
)

// step makes the error of one part of a succession, like refuse.
func step(field, value, want string) error {
	if len(value) > 200 {
		value = value[:200] + "..."
	}
	return fmt.Errorf("%w: %s is %q: want %s", ErrSuccession, field, value, want)
}

// compact returns the canonical form of all documents of a succession: JSON in one line, ending in a newline.
func compact(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("network: encoding plain strings and integers: " + err.Error())
	}
	return buf.Bytes()
}

// sign returns the base64 signature of a labelled message with the key whose public half pub returns.
func sign(label string, message []byte, key ed25519.PrivateKey, pub ed25519.PublicKey) (string, error) {
	if len(key) != ed25519.PrivateKeySize || !bytes.Equal(key.Public().(ed25519.PublicKey), pub) {
		return "", fmt.Errorf("%w: the private key is not that of the public key in the configuration", ErrSuccession)
	}
	return base64.StdEncoding.EncodeToString(ed25519.Sign(key, append([]byte(label), message...))), nil
}

func verify(pub ed25519.PublicKey, label string, message []byte, signature string) bool {
	if len(signature) > 2*ed25519.SignatureSize {
		return false
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || base64.StdEncoding.EncodeToString(sig) != signature {
		return false
	}
	signed := append([]byte(label), message...)
	return verified.Check("ed25519 "+string(pub), string(signed), sig, func() bool { return ed25519.Verify(pub, signed, sig) })
}

// A Proposal is a document for the next version, signed with the log key of the proposer of this one.
type Proposal struct {
	Document  []byte `json:"document"`  // Bytes of the next configuration
	Signature string `json:"signature"` // base64, of "grille/v1/proposal\n" and the document
}

// NewProposal signs next, which must follow prev, with the log key of prev's proposer.
func NewProposal(prev, next *Configuration, key ed25519.PrivateKey) (Proposal, error) {
	if err := CheckSuccessor(prev, next); err != nil {
		return Proposal{}, fmt.Errorf("proposing version %d: %w", next.Version, err)
	}
	p := Proposal{Document: next.Bytes()}
	pub, err := proposerKey(prev)
	if err != nil {
		return Proposal{}, fmt.Errorf("proposing version %d: %w", next.Version, err)
	}
	if p.Signature, err = sign(proposalLabel, p.Document, key, pub); err != nil {
		return Proposal{}, fmt.Errorf("proposing version %d as %s: %w", next.Version, prev.Proposer, err)
	}
	return p, nil
}

func proposerKey(prev *Configuration) (ed25519.PublicKey, error) {
	m, ok := prev.Member(prev.Proposer)
	if !ok {
		return nil, refuse("proposer", prev.Proposer, "the name of a member")
	}
	return parseLogVKey("members.log_key", m.LogKey, m.Origin())
}

// Digest returns the digest of the proposed configuration as 64 hexadecimal digits.
func (p Proposal) Digest() string {
	h := sha256.Sum256(p.Document)
	return hex.EncodeToString(h[:])
}

// Verify checks the proposer's signature and returns the proposed configuration, which may follow prev.
func (p Proposal) Verify(prev *Configuration) (*Configuration, error) {
	pub, err := proposerKey(prev)
	if err != nil {
		return nil, err
	}
	if len(p.Document) > MaxSize || !verify(pub, proposalLabel, p.Document, p.Signature) {
		return nil, step("proposal.signature", p.Signature, "the signature of "+prev.Proposer+"'s log key on the document")
	}
	next, err := Parse(p.Document)
	if err != nil {
		return nil, fmt.Errorf("%w: proposal: %w", ErrSuccession, err)
	}
	if err := CheckSuccessor(prev, next); err != nil {
		return nil, fmt.Errorf("%w: proposal: %w", ErrSuccession, err)
	}
	return next, nil
}

// checkBallot checks what the votes and handovers of one version have in common.
func checkBallot(what string, prev *Configuration, mirror string, version int, digest string) (ed25519.PublicKey, error) {
	m, ok := prev.Member(mirror)
	switch {
	case !ok || !m.Mirror:
		return nil, step(what+".mirror", mirror, "a mirror of version "+strconv.Itoa(prev.Version))
	case version != prev.Version+1:
		return nil, step(what+".version", strconv.Itoa(version), strconv.Itoa(prev.Version+1))
	case !hexForm.MatchString(digest):
		return nil, step(what+".digest", digest, "64 lower-case hexadecimal digits")
	}
	return parseMirrorVKey(m.MirrorKey, m.MirrorName())
}
