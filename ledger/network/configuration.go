// Package network holds what the members of one instance agree on before they talk: who they are, their keys and
// endpoints, who mirrors, intervals, identifier schemes and circuits. A configuration is one canonical JSON document and
// is pinned by its SHA-256.
package network

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/grille-gateway/grille/ledger/entry"
)

// ErrConfiguration says that a configuration or a card is not acceptable. The message names the field, the value and
// what would be accepted.
var ErrConfiguration = errors.New("unacceptable configuration")

// The modes of an instance. A demo may run with development keys and fewer than four mirrors.
const (
	ModeDemo       = "demo"
	ModeProduction = "production"
)

// A Member is one department and its gateway.
type Member struct {
	Name         string `json:"name"`          // GOV/tax
	Title        string `json:"title"`         // for people
	LogKey       string `json:"log_key"`       // signed-note verifier key, Ed25519, named for the member's origin
	MirrorKey    string `json:"mirror_key"`    // verifier key of type 0x04 (tlog-cosignature), named for its mirror
	TransportKey string `json:"transport_key"` // base64 of an Ed25519 public key
	QueryKey     string `json:"query_key"`     // base64 of an Ed25519 public key
	Endpoint     string `json:"endpoint"`      // host:port of its gateway
	Mirror       bool   `json:"mirror"`        // counts to the quorum
}

// A Scheme is a kind of subject identifier.
type Scheme struct {
	Name      string `json:"name"`
	Pattern   string `json:"pattern"`   // RE2, matched against the whole normalised identifier
	Normalise string `json:"normalise"` // "upper" or "none"
	Example   string `json:"example"`   // matches Pattern
}

// A Circuit names a circuit and the verifying key that members accept for it.
type Circuit struct {
	ID           string `json:"id"`            // 64 hexadecimal digits
	VerifyingKey string `json:"verifying_key"` // SHA-256, 64 hexadecimal digits
	Kind         string `json:"kind"`          // "development" or "ceremony"
}

// Params are the choices of an instance that no single member makes.
type Params struct {
	Mode             string    `json:"mode"` // ModeDemo or ModeProduction
	Schemes          []Scheme  `json:"schemes"`
	BeatSeconds      int       `json:"beat_seconds"`      // a receipts batch each so many seconds; 0: 60
	HeartbeatSeconds int       `json:"heartbeat_seconds"` // a re-cosigned head each so many seconds; 0: 10
	FreshnessSeconds int       `json:"freshness_seconds"` // a head is current this long; 0: 30
	Circuits         []Circuit `json:"circuits"`
	Expires          string    `json:"expires"` // UTC, like 2030-01-02T15:04:05Z
}

// A Configuration is what all members of an instance agree on. Obtain one from Build or Parse, which validate it.
type Configuration struct {
	Instance         string    `json:"instance"`
	Version          int       `json:"version"`
	Mode             string    `json:"mode"`
	Members          []Member  `json:"members"` // sorted by name
	Schemes          []Scheme  `json:"schemes"`
	BeatSeconds      int       `json:"beat_seconds"`
	HeartbeatSeconds int       `json:"heartbeat_seconds"`
	FreshnessSeconds int       `json:"freshness_seconds"`
	Circuits         []Circuit `json:"circuits"`
	Expires          string    `json:"expires"`
}

// Build makes version 1 of a configuration from the members' cards. The same cards in any order give the same bytes.
// Every card must be signed for this instance.
func Build(instance string, p Params, cards []Card) (*Configuration, error) {
	c := &Configuration{
		Instance: instance, Version: 1, Mode: p.Mode,
		Schemes: slices.Clone(p.Schemes), Circuits: slices.Clone(p.Circuits),
		BeatSeconds:      orDefault(p.BeatSeconds, 60),
		HeartbeatSeconds: orDefault(p.HeartbeatSeconds, 10),
		FreshnessSeconds: orDefault(p.FreshnessSeconds, 30),
		Expires:          p.Expires,
	}
	for _, card := range cards {
		if card.Instance != instance {
			return nil, refuse("card.instance", card.Instance, "a card made for "+instance)
		}
		if err := card.Verify(); err != nil {
			return nil, err
		}
		c.Members = append(c.Members, card.Member)
	}
	slices.SortFunc(c.Members, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Schemes, func(a, b Scheme) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Circuits, func(a, b Circuit) int { return strings.Compare(a.ID, b.ID) })
	if err := c.validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// Parse reads a configuration exactly as Bytes writes it: one configuration has one digest.
func Parse(data []byte) (*Configuration, error) {
	var c Configuration
	if err := entry.DecodeStrict(data, MaxSize, &c); err != nil {
		return nil, fmt.Errorf("parsing network configuration: %w: %w", ErrConfiguration, err)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	if !bytes.Equal(c.Bytes(), data) {
		return nil, fmt.Errorf("parsing network configuration: %w: not in canonical form; use the file that was built, unedited",
			ErrConfiguration)
	}
	return &c, nil
}

// Bytes returns the canonical document: indented JSON with fields in the order of the struct, ending in a newline.
func (c *Configuration) Bytes() []byte {
	return canonical(c)
}

func canonical(v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		panic("network: encoding plain strings and integers: " + err.Error())
	}
	return buf.Bytes()
}

// Digest returns the SHA-256 of Bytes as 64 hexadecimal digits.
func (c *Configuration) Digest() string {
	h := sha256.Sum256(c.Bytes())
	return hex.EncodeToString(h[:])
}

// Member returns the member of that name.
func (c *Configuration) Member(name string) (Member, bool) {
	for _, m := range c.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Origin returns the origin of a member's log in this configuration.
func (c *Configuration) Origin(member string) string { return Origin(c.Instance, member) }

// Owner returns the member whose log has that origin.
func (c *Configuration) Owner(origin string) (Member, bool) {
	for _, m := range c.Members {
		if c.Origin(m.Name) == origin {
			return m, true
		}
	}
	return Member{}, false
}

// Origins returns the origins of all logs, in the order of Members.
func (c *Configuration) Origins() []string {
	out := make([]string, len(c.Members))
	for i, m := range c.Members {
		out[i] = c.Origin(m.Name)
	}
	return out
}

// Mirrors returns the members that count to the quorum, in the order of Members.
func (c *Configuration) Mirrors() []Member {
	var out []Member
	for _, m := range c.Members {
		if m.Mirror {
			out = append(out, m)
		}
	}
	return out
}

// Quorum returns how many distinct mirrors must cosign a checkpoint to make it final: floor(2n/3)+1 of n.
func (c *Configuration) Quorum() int { return Quorum(len(c.Mirrors())) }

// Quorum is floor(2n/3)+1: any two quorums share more than a third of the mirrors.
func Quorum(mirrors int) int { return 2*mirrors/3 + 1 }

// Scheme returns the identifier scheme of that name.
func (c *Configuration) Scheme(name string) (Scheme, bool) {
	for _, s := range c.Schemes {
		if s.Name == name {
			return s, true
		}
	}
	return Scheme{}, false
}

// Origin returns the origin of the first generation of a member's log.
func Origin(instance, member string) string { return instance + "/" + member + "/log/1" }

// MirrorName returns the name of the key that a member cosigns with.
func MirrorName(instance, member string) string { return instance + "/" + member + "/mirror/1" }

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}
