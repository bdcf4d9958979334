package ceremony

import "fmt"

// A Reason is a stable code for why a step, a payload or a transcript is refused.
type Reason string

// The reasons. A refused contribution leaves the ceremony as it was: the coordinator passes the member over with the code, and
// whoever is next goes on from the last accepted state.
const (
	ReasonAbsent       Reason = "absent"       // the member did not contribute in its time; for passing over only
	ReasonEncoding     Reason = "encoding"     // not in the one encoding, or too large
	ReasonOpening      Reason = "opening"      // the opening says what no ceremony may be
	ReasonCircuit      Reason = "circuit"      // of another circuit than the one compiled here
	ReasonMember       Reason = "member"       // the opening names no such member, or it may not do this
	ReasonSignature    Reason = "signature"    // the member's query key did not sign the step
	ReasonChain        Reason = "chain"        // the step is of another ceremony, does not follow the last step, or was there before
	ReasonTurn         Reason = "turn"         // it is another's turn, or another step's
	ReasonContributors Reason = "contributors" // too few distinct members contributed in the phase
	ReasonTime         Reason = "time"         // a beacon is announced for before its phase was closed, or the seal is older than its beacon's time
	ReasonLength       Reason = "length"       // the payload is truncated or too long
	ReasonDomain       Reason = "domain"       // the payload is of another domain or circuit size
	ReasonPayload      Reason = "payload"      // the payload is not what the signed step says
	ReasonBase         Reason = "base"         // the payload does not build on the last accepted state
	ReasonPoints       Reason = "points"       // a point is off the curve, outside its subgroup, or not in its one encoding
	ReasonUnchanged    Reason = "unchanged"    // tau, alpha, beta or delta is the generator, or as it was
	ReasonProof        Reason = "proof"        // the proof of knowledge or of a consistent change does not hold
	ReasonBeacon       Reason = "beacon"       // the beacon is not the one that its evidence gives
	ReasonKeys         Reason = "keys"         // the keys are not those that the transcript gives
)

// reasons are all of them, for checking a passed-over member's.
var reasons = []Reason{ReasonAbsent, ReasonEncoding, ReasonOpening, ReasonCircuit, ReasonMember, ReasonSignature, ReasonChain,
	ReasonTurn, ReasonContributors, ReasonTime, ReasonLength, ReasonDomain, ReasonPayload, ReasonBase, ReasonPoints,
	ReasonUnchanged, ReasonProof, ReasonBeacon, ReasonKeys}

// A Refused says why something is not accepted.
type Refused struct {
	Reason Reason
	Err    error
}

func (r *Refused) Error() string { return fmt.Sprintf("refused (%s): %v", r.Reason, r.Err) }

// Unwrap returns the cause.
func (r *Refused) Unwrap() error { return r.Err }

// Code is the stable reason code.
func (r *Refused) Code() string { return string(r.Reason) }

func refuse(reason Reason, format string, args ...any) error {
	return &Refused{Reason: reason, Err: fmt.Errorf(format, args...)}
}
