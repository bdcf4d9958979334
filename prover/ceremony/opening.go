package ceremony

import (
	"crypto/ed25519"
	"encoding/base64"
	"math/bits"
	"strings"
	"time"

	"github.com/grille-gateway/grille/prover"
)

// An Opening is what a ceremony is about, signed by its coordinator. Its digest names the ceremony and is in every step.
type Opening struct {
	Version       int      `json:"v"`             // 1
	Kind          string   `json:"kind"`          // prover.KindCeremony or prover.KindDemo, by the network's mode
	Instance      string   `json:"instance"`      // the network
	Configuration string   `json:"configuration"` // digest of the network's configuration, hex SHA-256
	Circuit       string   `json:"circuit"`       // circuit id, hex
	Domain        uint64   `json:"domain"`        // the circuit's: constraints rounded up to a power of two
	Constraints   int      `json:"constraints"`
	PublicInputs  int      `json:"public_inputs"`
	Coordinator   string   `json:"coordinator"`  // one of the members
	Members       []Member `json:"members"`      // in the order of their turns, at most MaxMembers
	Contributors  int      `json:"contributors"` // least number of distinct members in each phase; at least 2 unless it is a demo
	TurnSeconds   int      `json:"turn_seconds"` // how long the coordinator waits for a member, at most MaxTurn
	Opened        string   `json:"opened"`       // RFC 3339, whole seconds, UTC
}

// A Member may contribute, once in each phase.
type Member struct {
	Name string `json:"name"` // as GOV/tax
	Key  string `json:"key"`  // query key: Ed25519, base64
}

// NewOpening returns an opening for the circuit with everything that follows from it set. The caller sets the rest and hands it to
// Create, which checks it.
func NewOpening(c *Circuit, opened time.Time) Opening {
	return Opening{Version: 1, Circuit: c.id, Domain: c.domain, Constraints: c.constraints, PublicInputs: c.publics,
		Opened: formatTime(opened)}
}

// Member returns the member of that name.
func (o *Opening) Member(name string) (Member, bool) {
	for _, m := range o.Members {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// Turn is how long a member has for its contribution.
func (o *Opening) Turn() time.Duration { return time.Duration(o.TurnSeconds) * time.Second }

// key is the member's query key; the opening was checked.
func (m Member) key() ed25519.PublicKey {
	b, err := base64.StdEncoding.DecodeString(m.Key)
	if err != nil || len(b) != ed25519.PublicKeySize || base64.StdEncoding.EncodeToString(b) != m.Key {
		return nil
	}
	return b
}

// check refuses an opening that no ceremony may have, with ReasonOpening.
func (o *Opening) check() error {
	switch {
	case o.Version != 1:
		return refuse(ReasonOpening, "version %d is unknown", o.Version)
	case o.Kind != prover.KindCeremony && o.Kind != prover.KindDemo:
		return refuse(ReasonOpening, "the kind is neither %s nor %s", prover.KindCeremony, prover.KindDemo)
	case !isName(o.Instance):
		return refuse(ReasonOpening, "no instance of 1 to %d printable bytes", maxName)
	case !isDigest(o.Configuration) || !isDigest(o.Circuit):
		return refuse(ReasonOpening, "configuration and circuit are not 32 bytes in hex")
	case o.Domain < 4 || o.Domain > maxDomain || bits.OnesCount64(o.Domain) != 1:
		return refuse(ReasonOpening, "the domain is no power of two from 4 to %d", maxDomain)
	case o.Constraints < 1 || uint64(o.Constraints) > o.Domain || o.PublicInputs < 0 || o.PublicInputs > maxDomain:
		return refuse(ReasonOpening, "the circuit does not fit the domain")
	case len(o.Members) == 0 || len(o.Members) > MaxMembers:
		return refuse(ReasonOpening, "%d members, 1 to %d may take part", len(o.Members), MaxMembers)
	case o.Contributors < 1 || o.Contributors > len(o.Members):
		return refuse(ReasonOpening, "%d contributors of %d members", o.Contributors, len(o.Members))
	case o.Kind == prover.KindCeremony && o.Contributors < 2:
		return refuse(ReasonOpening, "one contributor would have to be trusted: ask for 2 or more")
	case o.TurnSeconds < 1 || o.TurnSeconds > MaxTurn:
		return refuse(ReasonOpening, "a turn lasts 1 to %d seconds", MaxTurn)
	case !isTime(o.Opened):
		return refuse(ReasonOpening, "opened is no time in whole seconds, UTC")
	}
	return o.checkMembers()
}

func (o *Opening) checkMembers() error {
	names, keys := map[string]bool{}, map[string]bool{}
	for i, m := range o.Members {
		if !isName(m.Name) || m.key() == nil {
			return refuse(ReasonOpening, "member %d has no name or no Ed25519 key", i)
		}
		if names[m.Name] || keys[m.Key] {
			return refuse(ReasonOpening, "member %d has the name or the key of another", i)
		}
		names[m.Name], keys[m.Key] = true, true
	}
	if !names[o.Coordinator] {
		return refuse(ReasonOpening, "the coordinator is no member")
	}
	return nil
}

// checkCircuit refuses an opening for another circuit than the one compiled here, with ReasonCircuit.
func (o *Opening) checkCircuit(c *Circuit) error {
	if o.Circuit != c.id || o.Constraints != c.constraints || o.PublicInputs != c.publics {
		return refuse(ReasonCircuit, "the ceremony is for circuit %s, the one compiled here is %s", o.Circuit, c.id)
	}
	if o.Domain != c.domain {
		return refuse(ReasonDomain, "the ceremony has domain %d, the circuit has %d", o.Domain, c.domain)
	}
	return nil
}

// isName tells printable ASCII without quotes or angle brackets, which have one spelling in JSON.
func isName(s string) bool {
	return len(s) > 0 && len(s) <= maxName && strings.IndexFunc(s, func(r rune) bool {
		return r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r)
	}) < 0
}
