package bundle

import (
	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// A ProofVerifier checks proofs under one verifying key.
type ProofVerifier interface {
	Verify(pub *circuits.Public, proof []byte) error
	CircuitID() string
	SHA256() string
}

// VerifyingKeys are the verifying keys that a verifier has, in any order: one for each circuit that answers were given under. The
// configuration says which of them counts for an answer.
type VerifyingKeys []ProofVerifier

// find returns the key that the configuration names for a circuit.
func (v VerifyingKeys) find(k network.Circuit) (ProofVerifier, bool) {
	for _, key := range v {
		if key.CircuitID() == k.ID && key.SHA256() == k.VerifyingKey {
			return key, true
		}
	}
	return nil, false
}

// IDs returns the circuits' ids.
func (v VerifyingKeys) IDs() []string {
	ids := make([]string, len(v))
	for i, key := range v {
		ids[i] = key.CircuitID()
	}
	return ids
}

// circuit checks that the configuration names the answer's circuit for its time, and finds the verifying key. A holder may sign under an
// old version of the configuration for ever, so every later one that is known may have ended the circuit.
func (c *check) circuit() error {
	k, ok := c.Config.Circuit(c.h.Circuit)
	if !ok {
		return refuse(ReasonCircuit, "the configuration does not name the circuit of this answer")
	}
	if c.key, ok = c.Proofs.find(k); !ok {
		return refuse(ReasonCircuit, "none of the verifying keys given is the one the configuration names for the circuit of this answer")
	}
	answered, err := entry.ParseTime(c.h.Time)
	if err != nil {
		return nil // checkTimes refuses it
	}
	if !k.InForce(answered) {
		return refuse(ReasonCircuit, "the circuit of this answer was not in force at its time")
	}
	for _, later := range c.Configurations() {
		now, ok := later.Circuit(k.ID)
		if now.Since = ""; ok && later.Version > c.Config.Version && now.VerifyingKey == k.VerifyingKey && !now.InForce(answered) {
			return refuse(ReasonCircuit, "a later version of the configuration had ended the circuit of this answer")
		}
	}
	c.report.Circuit, c.report.KeyKind = k.ID, k.Kind
	return nil
}
