// Package entry defines what members write on their logs: one JSON document per entry, strict I-JSON, at most MaxSize
// bytes, each with a "kind" and a version "v". Unknown kinds and versions are kept and shown, never dropped.
package entry

import (
	"encoding/json"
	"reflect"
	"slices"
)

// The kinds this version of the software reads and writes, each at version 1.
const (
	KindDatasetDeclare    = "dataset.declare"
	KindDatasetEpoch      = "dataset.epoch"
	KindPolicyPublish     = "policy.publish"
	KindPolicyRetire      = "policy.retire"
	KindAgreementOffer    = "agreement.offer"
	KindAgreementAccept   = "agreement.accept"
	KindAgreementReject   = "agreement.reject"
	KindAgreementRevoke   = "agreement.revoke"
	KindAgreementWithdraw = "agreement.withdraw"
	KindGroupDefine       = "group.define"
	KindReceiptsBatch     = "receipts.batch"
	KindCircuitKeys       = "circuit.keys"
	KindScopeOpen         = "scope.open"
	KindScopeClose        = "scope.close"
	KindClaimsBatch       = "claims.batch"
	KindProgramPublish    = "program.publish"
	KindProgramRetire     = "program.retire"
	KindCaseDecision      = "case.decision"
)

// An Entry is one decoded entry: a pointer to or a value of one of this package's kinds, or Unknown.
type Entry interface {
	// Kind is the entry's "kind".
	Kind() string
}

// A Column describes one column of a dataset. Type is int, decimal, date, bool, enum, code or text; Scale is the number
// of decimals of a decimal (0 to 9); Codes are the values of an enum, in order.
type Column struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Scale int      `json:"scale,omitempty"`
	Codes []string `json:"codes,omitempty"`
	Title string   `json:"title,omitempty"`
	Unit  string   `json:"unit,omitempty"`
}

// DatasetDeclare announces a dataset and its schema. A later one with the same name replaces it for epochs that name it.
type DatasetDeclare struct {
	Dataset string   `json:"dataset"`
	Title   string   `json:"title"`
	Scheme  string   `json:"scheme"` // identifier scheme of the network configuration
	Columns []Column `json:"columns"`
	Time    string   `json:"time"`
}

// DatasetEpoch commits to one state of a dataset.
type DatasetEpoch struct {
	Dataset string `json:"dataset"`
	Declare uint64 `json:"declare"` // index of the dataset.declare on the same log
	Epoch   uint64 `json:"epoch"`   // strictly growing within the dataset
	Root    string `json:"root"`    // 64 hexadecimal digits: a canonical field element, big endian
	Time    string `json:"time"`
}

// Source is the text that a policy's template was compiled from.
type Source struct {
	Language string `json:"language"`
	Text     string `json:"text"`
}

// PolicyPublish publishes one version of a yes/no question over one dataset. The first entry for a policy and version
// counts; a second is void.
type PolicyPublish struct {
	Policy    string          `json:"policy"`
	Version   int             `json:"version"` // from 1
	Dataset   string          `json:"dataset"`
	Declare   uint64          `json:"declare"` // index of the dataset.declare whose schema the policy was compiled for
	Title     string          `json:"title"`
	Question  string          `json:"question"`
	Source    Source          `json:"source"`
	Template  json.RawMessage `json:"template"` // the compiled program with its date slots
	Time      string          `json:"time"`
	Approvals []Approval      `json:"approvals,omitempty"`
}

// PolicyRetire ends a policy version: no query for it is answered after this entry.
type PolicyRetire struct {
	Policy  string `json:"policy"`
	Version int    `json:"version"`
	Reason  string `json:"reason"`
	Time    string `json:"time"`
}

// Terms is what an agreement grants: one requester, or the members of one group, ask one policy of one holder for one purpose.
type Terms struct {
	Requester        string   `json:"requester"`       // member name
	Group            string   `json:"group,omitempty"` // of the holder: its members may ask, and the requester only as one of them
	Holder           string   `json:"holder"`          // member name
	Policy           string   `json:"policy"`
	PolicyVersion    int      `json:"policy_version"`
	PolicyIndex      uint64   `json:"policy_index"` // of the policy.publish on the holder's log
	Purpose          string   `json:"purpose"`
	LegalBasis       string   `json:"legal_basis"`
	OnBehalfOf       string   `json:"on_behalf_of,omitempty"`
	Disclose         []string `json:"disclose,omitempty"`   // column names that may be disclosed
	Scope            string   `json:"scope,omitempty"`      // program in whose scopes a claim may be made with a question
	BudgetCommitment string   `json:"budget_commitment"`    // 64 hexadecimal digits
	AsOfFrom         string   `json:"as_of_from,omitempty"` // first day that may be asked about, YYYY-MM-DD; empty: only the current one
	AsOfTo           string   `json:"as_of_to,omitempty"`   // last such day; empty, beside a first one: no end
	Expires          string   `json:"expires"`
}

// Equal reports whether two terms say the same, the order of the columns included.
func (t *Terms) Equal(other *Terms) bool {
	a, b := *t, *other
	a.Disclose, b.Disclose = nil, nil
	return slices.Equal(t.Disclose, other.Disclose) && reflect.DeepEqual(a, b)
}

// A Ref names one entry of one log.
type Ref struct {
	Origin string `json:"origin"`
	Index  uint64 `json:"index"`
	Hash   string `json:"hash"` // Hash of the entry's bytes
}

// AgreementOffer asks a holder for an access right; it stands on the requester's log.
type AgreementOffer struct {
	Terms Terms  `json:"terms"`
	Time  string `json:"time"`
}

// AgreementAccept grants the right. It stands on the holder's log, repeats all terms and alone decides.
type AgreementAccept struct {
	Offer     Ref        `json:"offer"`
	Terms     Terms      `json:"terms"`
	Time      string     `json:"time"`
	Approvals []Approval `json:"approvals,omitempty"`
}

// AgreementReject answers an offer with no; it stands on the holder's log.
type AgreementReject struct {
	Offer  Ref    `json:"offer"`
	Reason string `json:"reason"`
	Time   string `json:"time"`
}

// AgreementRevoke ends a right from the moment it is appended to the holder's log.
type AgreementRevoke struct {
	Accept uint64 `json:"accept"` // index of the agreement.accept on the same log
	Reason string `json:"reason"`
	Time   string `json:"time"`
}

// AgreementWithdraw takes an offer back; it stands on the requester's log and binds the requester at once.
type AgreementWithdraw struct {
	Offer  uint64 `json:"offer"` // index of the agreement.offer on the same log
	Reason string `json:"reason"`
	Time   string `json:"time"`
}

// ReceiptsBatch commits to the receipts of one beat, busy or not, and restates the current epoch of each dataset.
type ReceiptsBatch struct {
	Beat   uint64            `json:"beat"`
	Root   string            `json:"root"`             // 64 hexadecimal digits
	Epochs map[string]uint64 `json:"epochs,omitempty"` // dataset -> index of its newest dataset.epoch on the same log
	Time   string            `json:"time"`
}

// CircuitKeys pins a circuit and the verifying key that this member proves with. With a transcript it says besides that the member
// verified the ceremony, or, of key kind "demo", that it relies on who did. The newest of a circuit counts.
type CircuitKeys struct {
	Circuit      string `json:"circuit"`              // 64 hexadecimal digits
	VerifyingKey string `json:"verifying_key"`        // SHA-256, 64 hexadecimal digits
	KeyKind      string `json:"key_kind"`             // "development", "demo" or "ceremony"
	Transcript   string `json:"transcript,omitempty"` // SHA-256 of the ceremony's transcript, 64 hexadecimal digits
	Time         string `json:"time"`
}

// Unknown is an entry of a kind or version that this software does not know, or a malformed one. Raw is kept whole.
type Unknown struct {
	Name string // its "kind", or "" if the bytes do not even start like an entry
	V    int
	Raw  []byte
}

func (DatasetDeclare) Kind() string    { return KindDatasetDeclare }
func (DatasetEpoch) Kind() string      { return KindDatasetEpoch }
func (PolicyPublish) Kind() string     { return KindPolicyPublish }
func (PolicyRetire) Kind() string      { return KindPolicyRetire }
func (AgreementOffer) Kind() string    { return KindAgreementOffer }
func (AgreementAccept) Kind() string   { return KindAgreementAccept }
func (AgreementReject) Kind() string   { return KindAgreementReject }
func (AgreementRevoke) Kind() string   { return KindAgreementRevoke }
func (AgreementWithdraw) Kind() string { return KindAgreementWithdraw }
func (GroupDefine) Kind() string       { return KindGroupDefine }
func (ReceiptsBatch) Kind() string     { return KindReceiptsBatch }
func (CircuitKeys) Kind() string       { return KindCircuitKeys }
func (ScopeOpen) Kind() string         { return KindScopeOpen }
func (ScopeClose) Kind() string        { return KindScopeClose }
func (ClaimsBatch) Kind() string       { return KindClaimsBatch }
func (u Unknown) Kind() string         { return u.Name }
