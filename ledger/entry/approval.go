package entry

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
)

// approvalLabel separates approvals from all else that an Ed25519 key may sign.
const approvalLabel = "grille/v1/approval\n"

// An Approval is one approver's signature on an entry of one log. Where a member's configuration asks for approvals, an entry
// without enough of them is void.
type Approval struct {
	Key       string `json:"key"`       // base64 of the approver's Ed25519 public key
	Signature string `json:"signature"` // base64, over ApprovalMessage
}

// Approved is an entry that may have to be approved.
type Approved interface {
	Entry
	approvals() []Approval
	with(a []Approval) Approved
}

func (e PolicyPublish) approvals() []Approval   { return e.Approvals }
func (e AgreementAccept) approvals() []Approval { return e.Approvals }
func (e GroupDefine) approvals() []Approval     { return e.Approvals }

func (e PolicyPublish) with(a []Approval) Approved   { e.Approvals = a; return e }
func (e AgreementAccept) with(a []Approval) Approved { e.Approvals = a; return e }
func (e GroupDefine) with(a []Approval) Approved     { e.Approvals = a; return e }

// ApprovalsOf returns what an entry carries.
func ApprovalsOf(e Approved) []Approval { return e.approvals() }

// ApprovalMessage is what approvers sign: the label, the origin of the log, and the entry's encoding without approvals. The origin
// holds the instance, the member and the log's generation, so that an approval counts on one log alone; the entry holds its time,
// and a log takes the same policy version, acceptance or group version once.
func ApprovalMessage(origin string, e Approved) ([]byte, error) {
	body, err := Encode(e.with(nil))
	if err != nil {
		return nil, err
	}
	return append([]byte(approvalLabel+origin+"\n"), body...), nil
}

// Approve returns the entry with one more approval. A second one of the same key takes the first one's place.
func Approve(origin string, e Approved, key ed25519.PrivateKey) (Approved, error) {
	message, err := ApprovalMessage(origin, e)
	if err != nil {
		return nil, err
	}
	public := base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
	more := slices.DeleteFunc(slices.Clone(e.approvals()), func(a Approval) bool { return a.Key == public })
	more = append(more, Approval{public, base64.StdEncoding.EncodeToString(ed25519.Sign(key, message))})
	slices.SortFunc(more, func(a, b Approval) int { return strings.Compare(a.Key, b.Key) })
	out := e.with(more)
	return out, check(out)
}

// Approvers returns the keys, as Approval.Key writes them, whose approvals of the entry on that log are valid.
func Approvers(origin string, e Approved) ([]string, error) {
	message, err := ApprovalMessage(origin, e)
	if err != nil {
		return nil, err
	}
	var valid []string
	for _, a := range e.approvals() {
		key, err1 := decode64(a.Key, ed25519.PublicKeySize)
		sig, err2 := decode64(a.Signature, ed25519.SignatureSize)
		if err1 == nil && err2 == nil && ed25519.Verify(key, message, sig) {
			valid = append(valid, a.Key)
		}
	}
	return valid, nil
}

// decode64 reads base64 of n bytes in its one spelling.
func decode64(s string, n int) ([]byte, error) {
	if len(s) != base64.StdEncoding.EncodedLen(n) {
		return nil, fmt.Errorf("%w: want base64 of %d bytes", ErrEntry, n)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) != n || base64.StdEncoding.EncodeToString(raw) != s {
		return nil, fmt.Errorf("%w: want base64 of %d bytes", ErrEntry, n)
	}
	return raw, nil
}

func (c *checker) approvals(all []Approval) {
	if len(all) > MaxApprovals {
		c.fail("approvals", fmt.Sprintf("must be at most %d", MaxApprovals))
		return
	}
	for i, a := range all {
		if _, err := decode64(a.Key, ed25519.PublicKeySize); err != nil {
			c.fail("approvals.key", "must be base64 of a 32-byte Ed25519 key")
		}
		if _, err := decode64(a.Signature, ed25519.SignatureSize); err != nil {
			c.fail("approvals.signature", "must be base64 of a 64-byte Ed25519 signature")
		}
		if i > 0 && all[i-1].Key >= a.Key {
			c.fail("approvals.key", "must be distinct and in ascending order")
		}
	}
}

// A Draft is an entry on its way to a log: what a gateway made, what approvers sign on machines of their own, what the gateway
// then appends.
type Draft struct {
	Origin string `json:"origin"` // of the log that it is for
	Body   string `json:"entry"`  // the entry's JSON text, with the approvals it has so far
	// Declared is, with a policy, the JSON text of the dataset.declare that it was compiled for: whoever approves can compile it again.
	Declared string `json:"declared,omitempty"`
}

// NewDraft returns the draft of an entry.
func NewDraft(origin string, e Approved) (Draft, error) {
	raw, err := Encode(e)
	return Draft{Origin: origin, Body: string(raw)}, err
}

// MaxDraft bounds a draft: the texts of two entries, escaped.
const MaxDraft = 4*MaxSize + 1024

// ParseDraft reads a draft and its entry. It refuses an entry that is not in the one encoding: what an approver is shown is all that
// there is.
func ParseDraft(data []byte) (Draft, Approved, error) {
	var d Draft
	if err := DecodeStrict(bytes.TrimSpace(data), MaxDraft, &d); err != nil {
		return d, nil, fmt.Errorf("reading a draft: %w: %w", ErrEntry, err)
	}
	e, err := d.Entry()
	return d, e, err
}

// Entry reads the draft's entry.
func (d Draft) Entry() (Approved, error) {
	e, err := Decode([]byte(d.Body))
	if err != nil {
		return nil, fmt.Errorf("reading a draft: %w", err)
	}
	a, ok := e.(Approved)
	if !ok {
		return nil, fmt.Errorf("reading a draft: %w: entries of kind %q are not approved", ErrEntry, e.Kind())
	}
	raw, err := Encode(a)
	if err != nil || string(raw) != d.Body {
		return nil, fmt.Errorf("reading a draft: %w: not in canonical form (was it edited?)", ErrEntry)
	}
	return a, nil
}
