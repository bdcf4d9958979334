package holder

import (
	"errors"
	"fmt"

	"github.com/grille-gateway/grille/exchange/agreement"
)

// Codes of refusals. A refusal is signed, receipted and promised like an answer.
const (
	CodeExpired       = "query_expired"
	CodeEarly         = "query_not_yet_valid"
	CodeReplayed      = "query_id_reused"
	CodeUnknownPolicy = "unknown_policy"
	CodeNoEpoch       = "no_epoch"
	CodeStaleEpoch    = "stale_epoch"
	CodeUnknownEpoch  = "unknown_epoch"
	CodeBeforeFirst   = "before_first_epoch"
	CodeOtherSchema   = "epoch_other_schema"
	CodeNotRetained   = "epoch_not_retained"
	CodeSubject       = "subject_format"
	CodeOpening       = "opening_mismatch"
	CodeBudget        = "budget_exhausted"
	CodeBudgetUnknown = "budget_unknown"
	CodeWithdrawn     = "right_ended"
	CodeDisclosure    = "disclosure_not_allowed"
	CodeRecord        = "record_unprovable"
	CodeScope         = "unknown_scope"
	CodeScopeClosed   = "scope_closed"
	CodeScopeEarly    = "scope_not_open_yet"
	CodeScopeKey      = "scope_key_missing"
	CodeClaimed       = "claimed"
)

// remedies tell the requester what to try next; none of them says anything about the subject.
var remedies = map[string]string{
	CodeExpired:              "the query's time is over; sign a new one",
	CodeEarly:                "the query is dated ahead of the ledger's time; set this member's clock and sign a new one",
	CodeReplayed:             "another query bears this id; draw a new id",
	CodeUnknownPolicy:        "no such policy version is in force here; look at this member's policies on the ledger",
	CodeNoEpoch:              "the dataset has no committed epoch yet; ask the holder to import it",
	CodeStaleEpoch:           "the newest epoch is older than the query accepts, or dated in the future; raise the maximum age or ask the holder to import",
	CodeUnknownEpoch:         "the dataset has no final epoch of that number; its epochs are on the holder's log",
	CodeBeforeFirst:          "the dataset had no epoch yet at the end of that day; ask about a later one",
	CodeOtherSchema:          "the epoch has another schema than the policy was compiled for; ask a policy of that schema",
	CodeNotRetained:          "the holder no longer keeps the records of that epoch",
	agreement.OtherDates:     "the agreement allows no question about that day, or the day has not come; agree on a range of days",
	CodeSubject:              "the subject id is not in the form of the dataset's identifier scheme",
	CodeOpening:              "subject and nonce do not make the query's tag",
	CodeBudget:               "the agreement's budget is used up, for this subject or in all; agree on a new one",
	CodeBudgetUnknown:        "the holder does not know the agreement's budget; revoke it and ask for a new offer",
	CodeWithdrawn:            "the policy or the agreement ended while the answer was made",
	CodeRecord:               "the holder's epoch has no proof for this subject; the holder must rebuild it",
	CodeScope:                "this member keeps no register for that program and period; look at its scopes on the ledger",
	CodeScopeClosed:          "the scope takes no claims any more; ask in a period that is open",
	CodeScopeEarly:           "the scope takes no claims yet; ask again when it opens",
	CodeScopeKey:             "the register has lost the scope's key; it must close the scope and open another period",
	CodeClaimed:              "a claim was made in this scope already; a person must decide what follows from that",
	agreement.OtherScope:     "the agreement does not allow to claim under this program; offer one that does",
	"no_agreement":           "no agreement in force lets this member ask this policy: none was granted, or it was revoked or withdrawn, or the member left its group; offer one",
	"purpose_not_allowed":    "the agreement is for another purpose or legal basis",
	"agreement_expired":      "the agreement has expired; offer a new one",
	"disclosure_not_allowed": "a column was asked for that the agreement does not disclose",
}

// refusal is a decision to say no; it becomes a signed reply.
type refusal struct{ code string }

func (r *refusal) Error() string { return "refused: " + r.code }

func refuse(code string) error { return &refusal{code} }

// A RequestError is a request that gets no signed reply: it is not authentic, or cannot be served just now. Nothing is
// receipted and nothing charged.
type RequestError struct {
	code  string
	Retry bool // whether the same bytes may succeed later
	err   error
}

// Codes of request errors.
const (
	CodeMalformed = "malformed_request"
	CodeNotYours  = "not_your_query"
	CodeElsewhere = "not_our_query"
	CodeSignature = "bad_signature"
	CodeBusy      = "busy"
	CodeNotFresh  = "ledger_not_fresh"
	CodeNotYet    = "not_yet"

	CodeConfiguration = "configuration_expired"
	CodeNoCircuit     = "no_circuit" // the configuration names none, or this member has no keys of one that is in force
)

// ErrRequest is the sentinel of every RequestError.
var ErrRequest = errors.New("request not served")

func requestError(code string, retry bool, format string, args ...any) error {
	return &RequestError{code: code, Retry: retry, err: fmt.Errorf(format, args...)}
}

func (e *RequestError) Error() string { return e.err.Error() }

// Code is the stable code that the peer is told.
func (e *RequestError) Code() string { return e.code }

// Unwrap gives the cause and ErrRequest.
func (e *RequestError) Unwrap() []error { return []error{ErrRequest, e.err} }
