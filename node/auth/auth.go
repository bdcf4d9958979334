// Package auth guards the REST interface with one bearer token per gateway.
//
// Claim: a request passes only with the token, and how long a refusal takes tells nothing about it. The token has 256
// bits, lives in a file that only the gateway's user may read, and is held in memory as its SHA-256, so that comparing
// needs no care for length and a core dump of this struct gives nothing away.
package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// size is the token's length in bytes before encoding.
const size = 32

// NewToken makes a random token: 43 characters that need no quoting anywhere.
func NewToken() string {
	var b [size]byte
	rand.Read(b[:]) // never fails, crypto/rand's documentation
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Guard knows the hash of one token.
type Guard struct{ hash [sha256.Size]byte }

// NewGuard takes the content of the token's file; a newline at its end is ignored.
func NewGuard(token string) (*Guard, error) {
	token = strings.TrimSuffix(token, "\n")
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) != size || len(token) != base64.RawURLEncoding.EncodedLen(size) { // the decoder skips newlines
		return nil, fmt.Errorf("the API token is not one that `grille init` wrote: want 43 characters of base64url")
	}
	return &Guard{sha256.Sum256([]byte(token))}, nil
}

// Allows tells whether the request carries the token as "Authorization: Bearer TOKEN" (RFC 6750), exactly once.
func (g *Guard) Allows(r *http.Request) bool {
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return false
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	got := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], g.hash[:]) == 1
}
