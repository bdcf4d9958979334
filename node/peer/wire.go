package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/grille-gateway/grille/ledger/entry"
)

// A stream carries one request and one reply, lengths big endian, each followed by the end of its direction:
//
//	request = kind (1 byte) | length (4 bytes) | body
//	reply   = status (1 byte: 0 done, 1 refused) | code length (1 byte) | code | length (4 bytes) | body
//
// A refused reply's body is a short text for people.

const (
	statusDone    = 0
	statusRefused = 1
)

func writeRequest(w io.Writer, kind Kind, body []byte) error {
	frame := make([]byte, 0, 5+len(body))
	frame = append(frame, byte(kind))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(body)))
	_, err := w.Write(append(frame, body...))
	return err
}

// readRequest reads one request. bound gives the limit of a kind, false if a body of so many bytes is not to be read. On
// ErrTooLarge and errUnknownKind the stream still has the body on it.
func readRequest(r io.Reader, bound func(kind Kind, length uint32) (int, bool)) (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("%w: reading request: %w", ErrProtocol, err)
	}
	kind, length := Kind(head[0]), binary.BigEndian.Uint32(head[1:])
	limit, ok := bound(kind, length)
	if !ok {
		return kind, nil, errUnknownKind
	}
	body, err := readBody(r, length, limit)
	return kind, body, err
}

var errUnknownKind = errors.New("unknown kind")

func writeReply(w io.Writer, body []byte, refusal *RemoteError) error {
	status, code := byte(statusDone), ""
	if refusal != nil {
		status, code = statusRefused, refusal.Code
		body = []byte(clipText(refusal.Message))
	}
	frame := make([]byte, 0, 6+len(code)+len(body))
	frame = append(frame, status, byte(len(code)))
	frame = append(frame, code...)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(body)))
	_, err := w.Write(append(frame, body...))
	return err
}

// readReply reads one reply of at most limit bytes. A refusal is returned as *RemoteError.
func readReply(r io.Reader, limit int) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("reading reply: %w", err)
	}
	if head[0] > statusRefused || int(head[1]) > maxCode || (head[0] == statusDone) != (head[1] == 0) {
		return nil, fmt.Errorf("%w: malformed reply", ErrProtocol)
	}
	rest := make([]byte, int(head[1])+4)
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, fmt.Errorf("reading reply: %w", err)
	}
	code := string(rest[:head[1]])
	if head[0] == statusRefused {
		limit = maxMessage
	}
	body, err := readBody(r, binary.BigEndian.Uint32(rest[head[1]:]), limit)
	if err != nil {
		return nil, err
	}
	if head[0] == statusDone {
		return body, nil
	}
	if !validCode(code) {
		code = codeMalformedRemote
	}
	return nil, &RemoteError{Code: code, Message: printable(string(body))}
}

// readBody reads exactly length bytes and the end of the stream. Memory grows with what arrives, not with what is claimed.
func readBody(r io.Reader, length uint32, limit int) ([]byte, error) {
	if int64(length) > int64(limit) {
		return nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, length, limit)
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(length)); err != nil {
		return nil, fmt.Errorf("%w: reading body: %w", ErrProtocol, err)
	}
	var one [1]byte
	switch _, err := io.ReadFull(r, one[:]); {
	case err == nil:
		return nil, fmt.Errorf("%w: data after the body", ErrProtocol)
	case err != io.EOF:
		return nil, fmt.Errorf("%w: waiting for the end: %w", ErrProtocol, err)
	}
	return body.Bytes(), nil
}

// clipText keeps at most maxMessage bytes of valid UTF-8.
func clipText(s string) string {
	s = strings.ToValidUTF8(s, "?")
	for len(s) > maxMessage {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}

// printable replaces what could steer a terminal or break a log line in a neighbour's text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
}

// hello is the first request on a connection, sent by the dialler, and its reply.
type hello struct {
	Instance      string `json:"instance"`
	Configuration string `json:"configuration"` // digest of the network configuration, hex
	Member        string `json:"member"`
	Incarnation   string `json:"incarnation"` // random per process, hex
}

func parseHello(data []byte, max int) (hello, error) {
	var h hello
	if err := entry.DecodeStrict(data, max, &h); err != nil {
		return hello{}, fmt.Errorf("%w: hello: %w", ErrProtocol, err)
	}
	if h.Incarnation == "" || len(h.Incarnation) > 64 {
		return hello{}, fmt.Errorf("%w: hello: incarnation", ErrProtocol)
	}
	return h, nil
}
