package network

import (
	"encoding/base64"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/grille-gateway/grille/ledger/entry"
)

var (
	instanceForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)
	hexForm      = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// A Refusal is the error of one field. It wraps ErrConfiguration.
type Refusal struct {
	Field string // like members.endpoint
	Value string // what stands there, shortened. Nothing in a configuration is secret.
	Want  string // what would be accepted
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%v: %s is %q: want %s", ErrConfiguration, r.Field, r.Value, r.Want)
}

func (r *Refusal) Unwrap() error { return ErrConfiguration }

func refuse(field, value, want string) error {
	if len(value) > 200 {
		value = value[:200] + "..."
	}
	return &Refusal{Field: field, Value: value, Want: want}
}

func (c *Configuration) validate() error {
	switch {
	case !instanceForm.MatchString(c.Instance):
		return refuse("instance", c.Instance, "1 to 64 of a-z 0-9 . -, beginning with a letter or digit")
	case c.Version < 1 || c.Version > MaxVersion:
		return refuse("version", strconv.Itoa(c.Version), fmt.Sprintf("1 to %d", MaxVersion))
	case c.Version == 1 && c.Previous != "":
		return refuse("previous", c.Previous, "none in version 1")
	case c.Version > 1 && !hexForm.MatchString(c.Previous):
		return refuse("previous", c.Previous, "the digest of the version before, 64 lower-case hexadecimal digits")
	case c.Mode != ModeDemo && c.Mode != ModeProduction:
		return refuse("mode", c.Mode, `"demo" or "production"`)
	}
	if _, err := entry.ParseTime(c.Expires); err != nil {
		return refuse("expires", c.Expires, "a UTC time like 2030-01-02T15:04:05Z")
	}
	if err := c.validateIntervals(); err != nil {
		return err
	}
	if err := c.validateMembers(); err != nil {
		return err
	}
	if err := c.validateSchemes(); err != nil {
		return err
	}
	return c.validateCircuits()
}

func (c *Configuration) validateIntervals() error {
	for _, f := range []struct {
		name string
		n    int
	}{{"beat_seconds", c.BeatSeconds}, {"heartbeat_seconds", c.HeartbeatSeconds}, {"freshness_seconds", c.FreshnessSeconds}} {
		if f.n < 1 || f.n > MaxSeconds {
			return refuse(f.name, strconv.Itoa(f.n), fmt.Sprintf("1 to %d", MaxSeconds))
		}
	}
	if c.FreshnessSeconds <= c.HeartbeatSeconds {
		return refuse("freshness_seconds", strconv.Itoa(c.FreshnessSeconds),
			"more than heartbeat_seconds, or heads are stale between heartbeats")
	}
	return nil
}

func (c *Configuration) validateMembers() error {
	if len(c.Members) < 1 || len(c.Members) > MaxMembers {
		return refuse("members", strconv.Itoa(len(c.Members)), fmt.Sprintf("1 to %d members", MaxMembers))
	}
	endpoints := make(map[string]string)
	keys := make(map[string]string) // raw key to who holds it
	for i, m := range c.Members {
		if i > 0 && c.Members[i-1].Name >= m.Name {
			return refuse("members.name", m.Name, "distinct names in ascending order")
		}
		raw, err := m.validate(c.Instance)
		if err != nil {
			return err
		}
		if other, ok := endpoints[m.Endpoint]; ok {
			return refuse("members.endpoint", m.Endpoint, "an endpoint of "+m.Name+" alone; "+other+" has it too")
		}
		endpoints[m.Endpoint] = m.Name
		for role, key := range raw {
			if other, ok := keys[string(key)]; ok {
				return refuse("members."+role, m.Name, "a key of its own; "+other+" holds the same one")
			}
			keys[string(key)] = m.Name + "'s " + role
		}
	}
	if n := c.approverKeys(); n > MaxApproverKeys {
		return refuse("members.approvers.keys", strconv.Itoa(n), fmt.Sprintf("at most %d in all", MaxApproverKeys))
	}
	if err := c.validateFences(keys); err != nil {
		return err
	}
	return c.validateCommittee()
}

// validateCommittee checks who decides: the mirrors, the quorum, the proposer.
func (c *Configuration) validateCommittee() error {
	n := len(c.Mirrors())
	_, proposes := c.Member(c.Proposer)
	switch {
	case n < 1 || n > MaxMirrors:
		return refuse("members.mirror", strconv.Itoa(n), fmt.Sprintf("1 to %d mirrors", MaxMirrors))
	case c.Mode == ModeProduction && n < MinProductionMirrors:
		return refuse("members.mirror", strconv.Itoa(n), fmt.Sprintf("at least %d mirrors in production", MinProductionMirrors))
	case c.QuorumSize != 0 && (c.QuorumSize < Quorum(n) || c.QuorumSize > n):
		return refuse("quorum", strconv.Itoa(c.QuorumSize), fmt.Sprintf("%d to %d of %d mirrors, or none for %[1]d", Quorum(n), n, n))
	case !proposes:
		return refuse("proposer", c.Proposer, "the name of a member")
	}
	return nil
}

// validate checks one member and returns its raw public keys by field name.
func (m Member) validate(instance string) (map[string][]byte, error) {
	if !entry.MemberName(m.Name) {
		return nil, refuse("members.name", m.Name, "a class of 2 to 8 capitals and a code of a-z 0-9 -, like GOV/tax")
	}
	if m.Title == "" || len(m.Title) > MaxTitle || !printable(m.Title) {
		return nil, refuse("members.title", m.Title, fmt.Sprintf("1 to %d bytes of printable text", MaxTitle))
	}
	if err := validEndpoint(m.Endpoint); err != nil {
		return nil, err
	}
	if name, _, ok := parseName(m.Origin(), instance, "log"); !ok || name != m.Name {
		return nil, refuse("members.log_key", m.LogKey, "a key named "+LogName(instance, m.Name, 1)+" or a later generation")
	}
	if name, _, ok := parseName(m.MirrorName(), instance, "mirror"); !ok || name != m.Name {
		return nil, refuse("members.mirror_key", m.MirrorKey, "a key named "+MirrorName(instance, m.Name, 1)+" or a later generation")
	}
	log, err := parseLogVKey("members.log_key", m.LogKey, m.Origin())
	if err != nil {
		return nil, err
	}
	mirror, err := parseMirrorVKey(m.MirrorKey, m.MirrorName())
	if err != nil {
		return nil, err
	}
	raw := map[string][]byte{"log_key": log, "mirror_key": mirror}
	for field, value := range map[string]string{"transport_key": m.TransportKey, "query_key": m.QueryKey} {
		key, err := base64.StdEncoding.Strict().DecodeString(value)
		if err != nil || len(key) != 32 || base64.StdEncoding.EncodeToString(key) != value {
			return nil, refuse("members."+field, value, "base64 of a 32-byte Ed25519 public key")
		}
		raw[field] = key
	}
	return raw, m.validateApprovers(raw)
}

func validEndpoint(s string) error {
	const want = "host:port with a port of 1 to 65535, like 127.0.0.1:4433"
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" || len(s) > 255 || strings.ContainsFunc(host, unicode.IsSpace) || !printable(host) {
		return refuse("members.endpoint", s, want)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return refuse("members.endpoint", s, want)
	}
	return nil
}

func (c *Configuration) validateSchemes() error {
	if len(c.Schemes) > MaxSchemes {
		return refuse("schemes", strconv.Itoa(len(c.Schemes)), fmt.Sprintf("at most %d", MaxSchemes))
	}
	for i, s := range c.Schemes {
		if !entry.Name(s.Name) {
			return refuse("schemes.name", s.Name, "1 to 64 of a-z 0-9 . _ -")
		}
		if i > 0 && c.Schemes[i-1].Name >= s.Name {
			return refuse("schemes.name", s.Name, "distinct names in ascending order")
		}
		if s.Normalise != "upper" && s.Normalise != "none" {
			return refuse("schemes.normalise", s.Normalise, `"upper" or "none"`)
		}
		if s.Pattern == "" || len(s.Pattern) > MaxPattern {
			return refuse("schemes.pattern", s.Pattern, fmt.Sprintf("1 to %d bytes", MaxPattern))
		}
		re, err := regexp.Compile(s.Pattern) // alone, so that it cannot close the group that anchors it
		if err == nil {
			re, err = regexp.Compile(`^(?:` + s.Pattern + `)$`)
		}
		if err != nil {
			return refuse("schemes.pattern", s.Pattern, "an RE2 expression: "+err.Error())
		}
		if len(s.Example) > MaxTitle || !re.MatchString(s.normalise(s.Example)) {
			return refuse("schemes.example", s.Example, "an identifier that matches "+s.Pattern)
		}
	}
	return nil
}

func (s Scheme) normalise(id string) string {
	if s.Normalise == "upper" {
		return strings.ToUpper(id)
	}
	return id
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
