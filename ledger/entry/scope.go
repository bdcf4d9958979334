package entry

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// ScopeOpen opens a scope: from now until it closes, the owner of the log is the register of who has claimed under a program
// in a period. All nullifiers of the scope are made with one key, which stays at home and is destroyed when the scope closes.
type ScopeOpen struct {
	Program       string `json:"program"`
	Period        string `json:"period"`
	KeyCommitment string `json:"key_commitment"` // 64 hexadecimal digits: a canonical field element that is not 0, big endian
	Opens         string `json:"opens"`          // claims are taken from then
	Closes        string `json:"closes"`         // until then, after Opens
	Time          string `json:"time"`
}

// ScopeClose ends a scope from the moment it is appended: no claim below it in the log counts.
type ScopeClose struct {
	Scope  uint64 `json:"scope"` // index of the scope.open on the same log
	Reason string `json:"reason"`
	Time   string `json:"time"`
}

// ClaimsBatch logs the claims of one beat in all scopes of a register, in random order among random elements, so that
// neither how many there are nor of which scopes can be seen. Where a nullifier stands first in a log, there is its claim.
type ClaimsBatch struct {
	Beat       uint64   `json:"beat"`
	Nullifiers []string `json:"nullifiers"` // Claims distinct ones, each 64 hexadecimal digits: a canonical field element, not 0
	Time       string   `json:"time"`
}

// modulus is the order of the scalar field of BLS12-381 in hexadecimal digits. An element is below it, and digits compare as
// numbers do.
const modulus = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"

const zeroElement = "0000000000000000000000000000000000000000000000000000000000000000"

// Element reports whether s is a field element other than 0 in its one spelling.
func Element(s string) bool { return hex32(s) && s < modulus && s != zeroElement }

func (c *checker) element(field, s string) {
	if !Element(s) {
		c.fail(field, "must be a field element other than 0, as 64 lower-case hexadecimal digits")
	}
}

func (c *checker) scopeOpen(e ScopeOpen) {
	c.name("program", e.Program)
	c.name("period", e.Period)
	c.element("key_commitment", e.KeyCommitment)
	c.time("opens", e.Opens)
	c.time("closes", e.Closes)
	if e.Opens >= e.Closes { // one layout, so that text compares as time does
		c.fail("closes", "must be after opens")
	}
	c.time("time", e.Time)
}

func (c *checker) claims(e ClaimsBatch) {
	c.index("beat", e.Beat)
	if len(e.Nullifiers) != Claims {
		c.fail("nullifiers", fmt.Sprintf("must be exactly %d", Claims))
		return
	}
	seen := make(map[string]bool, Claims)
	for _, n := range e.Nullifiers {
		c.element("nullifiers", n)
		if seen[n] {
			c.fail("nullifiers", "must be distinct")
		}
		seen[n] = true
	}
	c.time("time", e.Time)
}

// intoClaims reads a claims.batch in its canonical form only: whether a nullifier stands in one can then be told from its bytes,
// without reading millions of them.
func intoClaims(body []byte) (Entry, error) {
	e, err := into[ClaimsBatch](body)
	if err != nil {
		return nil, err
	}
	if again, err := json.Marshal(e); err != nil || !bytes.Equal(again, body) {
		return nil, fmt.Errorf("%w: not in canonical form", ErrEntry)
	}
	return e, nil
}
