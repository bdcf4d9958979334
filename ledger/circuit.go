package ledger

import (
	"github.com/grille-gateway/grille/ledger/network"
)

// CircuitSupport says which mirrors published that they rely on a circuit's keys.
type CircuitSupport struct {
	Members []string // mirrors whose log holds it, by name
	Quorum  int      // how many must
}

// Counts says whether a version that names the circuit may be proposed and voted for: a quorum of mirrors stands behind its keys.
func (s CircuitSupport) Counts() bool { return len(s.Members) >= s.Quorum }

// CircuitSupport counts the mirrors whose current log names the circuit with this verifying key and transcript in its newest final
// circuit.keys entry of that circuit. Members that are no mirror do not count, as everywhere: there may be any number of them.
func (s *Store) CircuitSupport(k network.Circuit) CircuitSupport {
	out := CircuitSupport{Quorum: s.cfg.Quorum()}
	for _, m := range s.cfg.Mirrors() {
		head, ok := s.Final(m.Origin())
		if !ok {
			continue
		}
		e, _, ok := s.View(m.Origin(), head.Size).CircuitKeys(k.ID)
		if ok && e.VerifyingKey == k.VerifyingKey && e.Transcript == k.Transcript && e.KeyKind == k.Kind {
			out.Members = append(out.Members, m.Name)
		}
	}
	return out
}
