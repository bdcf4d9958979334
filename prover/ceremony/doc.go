// Package ceremony holds the rules under which the members of a network make the circuit's keys together, those of gnark's mpcsetup:
// phase 1 (powers of tau for the circuit's domain) and phase 2 (delta for the circuit itself).
//
// Each phase begins at a state that anybody can compute. Members change it in turn by secrets that they forget, and each
// contribution carries proofs that it is a change of the state before. The beacon that seals a phase is public: soundness does not
// rest on it but on one contributor in each phase who forgot. A Transcript says who did what, in signed steps, each over the hash
// of the one before. Whoever has the folder with the transcript and its payloads verifies the whole offline, with Verify.
//
// gnark computes phase 1, and what phase 2 begins with, on one processor. powers.go and open.go do the same on all of them; the tests
// take gnark as the judge: anybody can verify the payloads with gnark's own VerifyPhase1 and VerifyPhase2.
//
// gnark's verifiers accept what must not be accepted: no contribution at all, an empty challenge, a domain that is not the
// circuit's, a contribution of one. The rules of this package are checked before and after gnark's: see payload.go and rules.go.
package ceremony
