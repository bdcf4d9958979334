// Package network holds what the members of one instance agree on before they talk: who they are, their keys and
// endpoints, who mirrors, intervals, identifier schemes and circuits. A configuration is one canonical JSON document and
// is pinned by its SHA-256. Version 1 is pinned out of band; each later version follows from the one before by a Link.
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
	LogKey       string `json:"log_key"`       // signed-note verifier key, Ed25519; its name is the member's origin
	MirrorKey    string `json:"mirror_key"`    // verifier key of type 0x04 (tlog-cosignature), named for its mirror
	TransportKey string `json:"transport_key"` // base64 of an Ed25519 public key
	QueryKey     string `json:"query_key"`     // base64 of an Ed25519 public key
	Endpoint     string `json:"endpoint"`      // host:port of its gateway
	Mirror       bool   `json:"mirror"`        // counts to the quorum
	// Approvers are the rules about who signs the member's policies, acceptances and groups, ascending by where they begin in its log.
	Approvers []Approvers `json:"approvers,omitempty"`
}

// A Scheme is a kind of subject identifier.
type Scheme struct {
	Name      string `json:"name"`
	Pattern   string `json:"pattern"`   // RE2, matched against the whole normalised identifier
	Normalise string `json:"normalise"` // "upper" or "none"
	Example   string `json:"example"`   // matches Pattern
}

// Params are the choices of an instance that no single member makes.
type Params struct {
	Mode             string    `json:"mode"`     // ModeDemo or ModeProduction
	Proposer         string    `json:"proposer"` // member that proposes version 2; "": the first mirror by name
	QuorumSize       int       `json:"quorum"`   // as in a Configuration
	Schemes          []Scheme  `json:"schemes"`
	BeatSeconds      int       `json:"beat_seconds"`      // a receipts batch each so many seconds; 0: 60
	HeartbeatSeconds int       `json:"heartbeat_seconds"` // a re-cosigned head each so many seconds; 0: 10
	FreshnessSeconds int       `json:"freshness_seconds"` // a head is current this long; 0: 30
	Circuits         []Circuit `json:"circuits"`          // none: no query is answered before a later version names one
	Expires          string    `json:"expires"`           // UTC, like 2030-01-02T15:04:05Z
}

// A Configuration is what all members of an instance agree on. Obtain one from Build, Succeed or Parse, which validate it.
type Configuration struct {
	Instance         string    `json:"instance"`
	Version          int       `json:"version"`            // from 1
	Previous         string    `json:"previous,omitempty"` // digest of the version before; "" in version 1
	Mode             string    `json:"mode"`
	Proposer         string    `json:"proposer"`         // the member that alone may propose the next version
	QuorumSize       int       `json:"quorum,omitempty"` // 0: Quorum(n); else from that to n, the number of mirrors
	Members          []Member  `json:"members"`          // sorted by name
	Schemes          []Scheme  `json:"schemes"`
	BeatSeconds      int       `json:"beat_seconds"`
	HeartbeatSeconds int       `json:"heartbeat_seconds"`
	FreshnessSeconds int       `json:"freshness_seconds"`
	Circuits         []Circuit `json:"circuits"`
	Fences           []Fence   `json:"fences,omitempty"` // sorted by origin
	Expires          string    `json:"expires"`
}

// Build makes version 1 of a configuration from the members' cards. The same cards in any order give the same bytes.
// Every card must be signed for this instance.
func Build(instance string, p Params, cards []Card) (*Configuration, error) {
	c := &Configuration{
		Instance: instance, Version: 1, Mode: p.Mode, Proposer: p.Proposer, QuorumSize: p.QuorumSize,
		Schemes: slices.Clone(p.Schemes), Circuits: sortCircuits(p.Circuits),
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
	if mirrors := c.Mirrors(); c.Proposer == "" && len(mirrors) > 0 {
		c.Proposer = mirrors[0].Name
	}
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
	i, ok := slices.BinarySearchFunc(c.Members, name, func(m Member, name string) int { return strings.Compare(m.Name, name) })
	if !ok {
		return Member{}, false
	}
	return c.Members[i], true
}

// Origin returns the origin of a member's log: the name of its log key. It is "" for who is not a member.
func (c *Configuration) Origin(member string) string {
	m, ok := c.Member(member)
	if !ok {
		return ""
	}
	return m.Origin()
}

// Owner returns the member whose log has that origin now. A fenced log has none.
func (c *Configuration) Owner(origin string) (Member, bool) {
	name, _, ok := parseName(origin, c.Instance, "log")
	if !ok {
		return Member{}, false
	}
	m, ok := c.Member(name)
	if !ok || m.Origin() != origin {
		return Member{}, false
	}
	return m, true
}

// Fence returns where a log of an earlier version ended.
func (c *Configuration) Fence(origin string) (Fence, bool) {
	i, ok := slices.BinarySearchFunc(c.Fences, origin, func(f Fence, origin string) int { return strings.Compare(f.Origin, origin) })
	if !ok {
		return Fence{}, false
	}
	return c.Fences[i], true
}

// LogKey returns the verifier key of a log and the member that owns or owned it, current and fenced logs alike.
func (c *Configuration) LogKey(origin string) (vkey, member string, ok bool) {
	if m, ok := c.Owner(origin); ok {
		return m.LogKey, m.Name, true
	}
	f, ok := c.Fence(origin)
	return f.LogKey, f.Member, ok
}

// Origins returns the origins of the members' current logs, in the order of Members.
func (c *Configuration) Origins() []string {
	out := make([]string, len(c.Members))
	for i, m := range c.Members {
		out[i] = m.Origin()
	}
	return out
}

// Logs returns the origins of all logs: the current ones in the order of Members, then the fenced ones in that of Fences.
func (c *Configuration) Logs() []string {
	out := c.Origins()
	for _, f := range c.Fences {
		out = append(out, f.Origin)
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

// Quorum returns how many distinct mirrors must cosign a checkpoint to make it final: QuorumSize, or floor(2n/3)+1 of n
// where that is 0.
func (c *Configuration) Quorum() int {
	if c.QuorumSize != 0 {
		return c.QuorumSize
	}
	return Quorum(len(c.Mirrors()))
}

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

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}
