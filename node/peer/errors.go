package peer

import (
	"errors"
	"fmt"
)

var (
	// ErrUnknownMember says that the configuration has no such member, or that the member is this gateway itself.
	ErrUnknownMember = errors.New("unknown member")
	// ErrUnreachable says that there is no connection to the member and none could be made in time. Try again later.
	ErrUnreachable = errors.New("member unreachable")
	// ErrClosed says that the node was closed.
	ErrClosed = errors.New("peer node closed")
	// ErrTooLarge says that a body is over its kind's bound.
	ErrTooLarge = errors.New("message over its bound")
	// ErrOtherVersion says that the member has another configuration of this instance: only links and successions can be asked for.
	// Ask it for the links that are missing here. It is an ErrUnreachable, which it is for everything else.
	ErrOtherVersion = fmt.Errorf("%w: %s: it has another network configuration; compare `grille network show`", ErrUnreachable,
		CodeWrongNetwork)
	// ErrProtocol says that the neighbour does not speak the protocol. Nothing it sent was used.
	ErrProtocol = errors.New("peer protocol violation")
)

// Codes that this package itself puts into a RemoteError. A handler's own codes are whatever its errors say.
const (
	CodeInternal        = "internal"           // the handler failed without a code; details stay with the neighbour
	CodeBusy            = "busy"               // too many requests of this kind in progress
	CodeRateLimited     = "rate_limited"       // too many requests of this kind a second
	CodeTooLarge        = "too_large"          // the request's body is over its bound
	CodeUnknownKind     = "unknown_kind"       // the neighbour does not serve this kind
	CodeTimeout         = "timeout"            // the handler did not finish in time
	CodeWrongInstance   = "wrong_instance"     // hello: another network
	CodeWrongNetwork    = "wrong_network"      // another configuration of this network: this kind is not served until they agree
	CodeWrongMember     = "wrong_member"       // hello: a name that is not the key's
	CodeProtocol        = "protocol_violation" // the request could not be parsed
	codeMalformedRemote = "malformed_code"     // the neighbour's code is not one
)

// RemoteError is a failure that the neighbour reported. Code is stable and for programs, Message is the neighbour's text
// and untrusted.
type RemoteError struct {
	Code    string
	Message string
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("neighbour refused: %s: %s", e.Code, e.Message)
}

// Coded is an error whose code a neighbour may be told, together with its text. A Handler that returns any other error
// makes the neighbour see CodeInternal and nothing else.
type Coded interface {
	error
	Code() string
}

// remote turns a handler's error into what the neighbour may see.
func remote(err error) *RemoteError {
	var coded Coded
	if errors.As(err, &coded) && validCode(coded.Code()) {
		return &RemoteError{Code: coded.Code(), Message: coded.Error()}
	}
	return &RemoteError{Code: CodeInternal, Message: "internal error"}
}

// validCode accepts 1 to maxCode of a-z, 0-9, '_', '.', '-'.
func validCode(code string) bool {
	if len(code) == 0 || len(code) > maxCode {
		return false
	}
	for _, c := range []byte(code) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}
