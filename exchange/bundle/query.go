package bundle

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// ErrQuery reports a query that is malformed, whoever signed it.
var ErrQuery = errors.New("malformed query")

// A Query is what a requester signs. It names the subject only by a tag, which nobody without the opening can link to a person.
type Query struct {
	Version       int      `json:"v"`  // 1
	ID            string   `json:"id"` // 16 random bytes, hex; public, for replay protection
	Instance      string   `json:"instance"`
	Requester     string   `json:"requester"`
	Holder        string   `json:"holder"`
	Policy        string   `json:"policy"`
	PolicyVersion int      `json:"policy_version"`
	Tag           string   `json:"tag"` // field element, hex
	Purpose       string   `json:"purpose"`
	LegalBasis    string   `json:"legal_basis"`
	Case          string   `json:"case,omitempty"`     // the requester's own reference; not a person's name
	Disclose      []string `json:"disclose,omitempty"` // columns whose values are asked for, sorted
	Scope         *Scope   `json:"scope,omitempty"`    // where a satisfied answer is a claim
	MaxAgeSeconds int64    `json:"max_age_seconds"`    // oldest epoch accepted, at most MaxAge; 0: any
	AsOf          string   `json:"as_of,omitempty"`    // day asked about, YYYY-MM-DD, UTC; empty: the holder's current one
	Epoch         uint64   `json:"epoch,omitempty"`    // number of the epoch asked, instead of a day; 0: none
	Issued        string   `json:"issued"`             // RFC 3339, UTC
	Expires       string   `json:"expires"`            // as Issued; at most MaxLife after Issued
}

// MaxLife bounds how long a query may wait for its answer.
const MaxLife = time.Hour

// MaxAge is the longest maximum age in seconds: a time.Duration holds no longer one.
const MaxAge = math.MaxInt64 / int64(time.Second)

// An Opening links a query's tag to a person. It goes to the holder beside the query and is in no bundle shown to others.
type Opening struct {
	Subject string `json:"subject"` // as the identifier scheme writes it, normalised
	Nonce   string `json:"nonce"`   // tag nonce, field element, hex
}

// A Request is what travels to the holder.
type Request struct {
	Query   Signed  `json:"query"`
	Opening Opening `json:"opening"`
}

// DecodeRequest reads a request of at most MaxQuery bytes and its query, without trusting either.
func DecodeRequest(data []byte) (*Request, *Query, error) {
	var r Request
	if err := decodeCanonical(data, MaxQuery, &r); err != nil {
		return nil, nil, fmt.Errorf("reading a request: %w: %w", ErrQuery, err)
	}
	var q Query
	if err := r.Query.Peek(&q); err != nil {
		return nil, nil, fmt.Errorf("reading a query: %w: %w", ErrQuery, err)
	}
	if err := q.Check(); err != nil {
		return nil, nil, err
	}
	return &r, &q, nil
}

// Check reports the first field that is not well formed.
func (q *Query) Check() error {
	bad := func(field, want string) error {
		return fmt.Errorf("checking query field %s: want %s: %w", field, want, ErrQuery)
	}
	switch id, err := hex.DecodeString(q.ID); {
	case q.Version != 1:
		return bad("v", "1")
	case err != nil || len(id) != 16 || hex.EncodeToString(id) != q.ID:
		return bad("id", "32 lower-case hex digits")
	case q.Instance == "" || q.Requester == "" || q.Holder == "" || q.Policy == "" || q.PolicyVersion < 1:
		return bad("instance, requester, holder, policy or policy_version", "all of them")
	case q.Purpose == "" || len(q.Purpose) > MaxText || q.LegalBasis == "" || len(q.LegalBasis) > MaxText || len(q.Case) > MaxText:
		return bad("purpose, legal_basis or case", fmt.Sprintf("1 to %d bytes (case may be empty)", MaxText))
	case len(q.Disclose) > circuits.Columns || !slices.IsSorted(q.Disclose) || len(slices.Compact(slices.Clone(q.Disclose))) != len(q.Disclose):
		return bad("disclose", "distinct columns in order")
	case q.MaxAgeSeconds < 0 || q.MaxAgeSeconds > MaxAge:
		return bad("max_age_seconds", fmt.Sprintf("0 to %d", MaxAge))
	}
	if field, want := q.checkAsOf(); field != "" {
		return bad(field, want)
	}
	if q.Scope != nil && q.Scope.Check() != nil {
		return bad("scope", "a program's and a period's name")
	}
	if _, err := ParseElement(q.Tag); err != nil {
		return bad("tag", "a canonical field element in hex")
	}
	issued, expires, err := q.Times()
	if err != nil || !expires.After(issued) || expires.Sub(issued) > MaxLife {
		return bad("issued and expires", "RFC 3339 times in UTC, at most an hour apart")
	}
	return nil
}

// Times are when the query was signed and until when it may be answered.
func (q *Query) Times() (issued, expires time.Time, err error) {
	if issued, err = entry.ParseTime(q.Issued); err != nil {
		return
	}
	expires, err = entry.ParseTime(q.Expires)
	return
}

// Key is the query key of a member in the configuration.
func Key(c *network.Configuration, member string) (ed25519.PublicKey, error) {
	m, ok := c.Member(member)
	if !ok {
		return nil, fmt.Errorf("looking up a member: %w", ErrUnknownMember)
	}
	key, err := base64.StdEncoding.DecodeString(m.QueryKey)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("looking up the query key of a member: %w", network.ErrConfiguration)
	}
	return key, nil
}

// ErrUnknownMember reports a member that is not in the network configuration.
var ErrUnknownMember = errors.New("not a member of this network")

// CheckOpening checks that the opening's subject key and nonce make the query's tag. The subject must be normalised.
func (o *Opening) CheckOpening(q *Query, scheme string) (circuits.Key, fr.Element, error) {
	var none circuits.Key
	nonce, err := ParseElement(o.Nonce)
	if err != nil || o.Subject == "" || len(o.Subject) > MaxSubject {
		return none, nonce, fmt.Errorf("opening a tag: %w", ErrQuery)
	}
	key := circuits.SubjectKey(q.Instance, scheme, o.Subject)
	tag := circuits.Tag(key, nonce)
	if FormatElement(tag) != q.Tag {
		return none, nonce, fmt.Errorf("opening a tag: subject and nonce do not make it: %w", ErrQuery)
	}
	return key, nonce, nil
}

// QueryDigest is what the rest of an answer refers to a query by.
func QueryDigest(s *Signed) receipt.Hash { return s.Digest(LabelQuery) }

// ParseElement reads a field element from 64 lower-case hex digits, big endian, below the modulus.
func ParseElement(text string) (fr.Element, error) {
	var h receipt.Hash
	var e fr.Element
	if err := h.UnmarshalText([]byte(text)); err != nil {
		return e, fmt.Errorf("reading a field element: %w", err)
	}
	if err := e.SetBytesCanonical(h[:]); err != nil {
		return e, fmt.Errorf("reading a field element: not below the modulus: %w", ErrEncoding)
	}
	return e, nil
}

// ErrEncoding reports a value that is not in its one canonical form.
var ErrEncoding = receipt.ErrEncoding

// FormatElement is the inverse of ParseElement.
func FormatElement(e fr.Element) string { return receipt.Hash(e.Bytes()).String() }
