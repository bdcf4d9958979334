package bundle

import "fmt"

// A Reason is a stable code for why a bundle is refused. Verifiers written by others give the same codes.
type Reason string

// The reasons, in the order in which Verify checks. The first that applies is given.
const (
	ReasonEncoding       Reason = "encoding"         // not a bundle, too large, or not in its one encoding
	ReasonConfiguration  Reason = "configuration"    // made under another network configuration or instance
	ReasonCircuit        Reason = "circuit"          // the configuration does not name this circuit and verifying key, or not for that time
	ReasonCheckpoint     Reason = "checkpoint"       // holder's signature or a quorum of cosignatures missing
	ReasonInclusion      Reason = "inclusion"        // an entry is not under the checkpoint
	ReasonReference      Reason = "reference"        // the entries do not belong together
	ReasonApprovals      Reason = "approvals"        // policy, agreement or group lacks approvals that the configuration asks for
	ReasonQuerySignature Reason = "query_signature"  // the requester did not sign the query
	ReasonQueryTerms     Reason = "query_terms"      // the agreement does not allow what the query asks
	ReasonHeader         Reason = "header_signature" // the holder did not sign the header, or it is for another query
	ReasonTimes          Reason = "times"            // the cosignatures are not of the answer's time
	ReasonAsOf           Reason = "as_of"            // the date or the epoch is not the one that was asked for
	ReasonAge            Reason = "epoch_age"        // the epoch is older than the query accepts
	ReasonSuperseded     Reason = "epoch_superseded" // a newer epoch stood on the log
	ReasonNotInForce     Reason = "not_in_force"     // policy retired or agreement revoked below the header's size
	ReasonProgram        Reason = "program"          // the published template is malformed
	ReasonPublic         Reason = "public_inputs"    // a claimed value is out of range
	ReasonProof          Reason = "proof"            // the proof does not hold for this statement
	ReasonPromise        Reason = "promise"          // the receipt promise is missing, of another answer, or unsigned
	ReasonReceipt        Reason = "receipt"          // the receipt is not under its batch
	ReasonClaim          Reason = "claim"            // the claim does not stand where the bundle says, or not first
	ReasonOpening        Reason = "opening"          // subject and nonce do not make the tag
)

// A Refused says why a bundle is not accepted.
type Refused struct {
	Reason Reason
	Err    error
}

func (r *Refused) Error() string { return fmt.Sprintf("bundle refused (%s): %v", r.Reason, r.Err) }

// Unwrap returns the cause.
func (r *Refused) Unwrap() error { return r.Err }

// Code is the stable reason code.
func (r *Refused) Code() string { return string(r.Reason) }

func refuse(reason Reason, format string, args ...any) error {
	return &Refused{Reason: reason, Err: fmt.Errorf(format, args...)}
}
