package ceremony

import (
	"encoding/base64"
	"slices"
	"time"
)

// The kinds of steps.
const (
	StepContribution = "contribution" // signed by the member
	StepPass         = "pass"         // signed by the coordinator, as the following
	StepClose        = "close"
	StepSeal         = "seal"
)

// A Step is what one member did, signed by it. Fields after Time belong to the kinds named and are empty in the others.
type Step struct {
	Version  int    `json:"v"` // 1
	Kind     string `json:"kind"`
	Ceremony string `json:"ceremony"` // digest of the opening
	Index    int    `json:"index"`    // place in the transcript, from 0
	Previous string `json:"previous"` // digest of the step before, or of the opening
	Phase    int    `json:"phase"`    // 1 or 2
	Member   string `json:"member"`   // who contributed or was passed over; else the coordinator
	Time     string `json:"time"`     // by the signer's clock; RFC 3339, whole seconds, UTC

	Payload      string `json:"payload,omitempty"`       // contribution: SHA-256 of the payload, hex
	Size         int64  `json:"size,omitempty"`          // contribution: its bytes
	Reason       Reason `json:"reason,omitempty"`        // pass
	BeaconAfter  string `json:"beacon_after,omitempty"`  // close: the beacon comes from after this time, not before Time
	Evidence     string `json:"evidence,omitempty"`      // seal: what the beacon follows from, base64, at most MaxEvidence bytes
	Beacon       string `json:"beacon,omitempty"`        // seal: 32 bytes, hex
	Opens        string `json:"opens,omitempty"`         // seal of phase 1: SHA-256 of the state that phase 2 begins with
	VerifyingKey string `json:"verifying_key,omitempty"` // seal of phase 2: SHA-256 of the encoded verifying key
	ProvingKey   string `json:"proving_key,omitempty"`   // seal of phase 2: SHA-256 of the proving key in gnark's raw encoding
}

// BeaconTime is the time that a close step announced; the step was checked.
func (s *Step) BeaconTime() time.Time { return parseTime(s.BeaconAfter) }

// EvidenceBytes is a seal's beacon evidence; the step was checked.
func (s *Step) EvidenceBytes() []byte {
	b, err := base64.StdEncoding.DecodeString(s.Evidence)
	if err != nil {
		return nil
	}
	return b
}

// parseTime reads a time that was checked.
func parseTime(s string) time.Time {
	t, err := time.Parse(timeFormat, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// checkForm refuses a step whose fields are malformed or of another kind, with ReasonEncoding, whatever stands before it.
func (s *Step) checkForm() error {
	if s.Version != 1 || (s.Phase != 1 && s.Phase != 2) || !isTime(s.Time) || !isDigest(s.Ceremony) || !isDigest(s.Previous) {
		return refuse(ReasonEncoding, "the step has a malformed field")
	}
	blank := Step{Version: s.Version, Kind: s.Kind, Ceremony: s.Ceremony, Index: s.Index, Previous: s.Previous, Phase: s.Phase,
		Member: s.Member, Time: s.Time}
	formed := false
	switch s.Kind {
	case StepContribution:
		blank.Payload, blank.Size = s.Payload, s.Size
		formed = isDigest(s.Payload) && s.Size > 0
	case StepPass:
		blank.Reason = s.Reason
		formed = slices.Contains(reasons, s.Reason)
	case StepClose:
		blank.BeaconAfter = s.BeaconAfter
		formed = isTime(s.BeaconAfter)
	case StepSeal:
		blank.Evidence, blank.Beacon, blank.Opens = s.Evidence, s.Beacon, s.Opens
		blank.VerifyingKey, blank.ProvingKey = s.VerifyingKey, s.ProvingKey
		formed = s.sealFormed()
	}
	if !formed || blank != *s {
		return refuse(ReasonEncoding, "the step is not one of the four kinds, or has fields of another")
	}
	return nil
}

func (s *Step) sealFormed() bool {
	evidence, err := base64.StdEncoding.DecodeString(s.Evidence)
	if err != nil || len(evidence) > MaxEvidence || base64.StdEncoding.EncodeToString(evidence) != s.Evidence || !isDigest(s.Beacon) {
		return false
	}
	if s.Phase == 1 {
		return isDigest(s.Opens) && s.VerifyingKey == "" && s.ProvingKey == ""
	}
	return s.Opens == "" && isDigest(s.VerifyingKey) && isDigest(s.ProvingKey)
}
