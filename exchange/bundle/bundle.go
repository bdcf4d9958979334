package bundle

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// A Bundle is an answer with its evidence. Its one encoding is Encode's, and every byte of it is checked by Verify.
type Bundle struct {
	Version       int             `json:"v"` // 1
	Instance      string          `json:"instance"`
	Configuration Configuration   `json:"configuration"`
	Query         Signed          `json:"query"`
	Header        Signed          `json:"header"`
	Verdict       string          `json:"verdict"`
	Disclosed     []Disclosed     `json:"disclosed,omitempty"` // in the order of the query's disclose
	Nullifier     string          `json:"nullifier,omitempty"` // element, hex: of a satisfied answer to a query with a scope
	Proof         []byte          `json:"proof"`               // 192 bytes, base64
	Checkpoint    string          `json:"checkpoint"`          // signed note: the holder's signature and exactly q cosignatures
	Entries       []Entry         `json:"entries"`             // those the header names, rising by index
	Promise       Signed          `json:"promise"`
	Salt          receipt.Hash    `json:"salt"` // opens the promised receipt
	Receipt       *ReceiptInclude `json:"receipt,omitempty"`
	Claim         *ClaimInclude   `json:"claim,omitempty"`   // where the nullifier stands
	Opening       *Opening        `json:"opening,omitempty"` // only for the two parties; Redact takes it out
}

// Configuration names the network configuration that a bundle was made under.
type Configuration struct {
	Version int    `json:"version"`
	Digest  string `json:"digest"` // SHA-256, hex
}

// Disclosed is one column's value that the agreement and the query asked for.
type Disclosed struct {
	Column string `json:"column"`
	Value  string `json:"value"`          // field element as the circuit holds it, hex; zero: missing
	Text   string `json:"text,omitempty"` // of a text column: what Value is the hash of
}

// An Entry is one ledger entry with its inclusion path under the bundle's checkpoint.
type Entry struct {
	Index uint64   `json:"index"`
	Body  string   `json:"body"` // the entry's JSON text
	Path  [][]byte `json:"path"` // RFC 6962 hashes, base64
}

// ReceiptInclude is the kept promise: the batch of its beat, final under a later checkpoint, and the path to the receipt.
type ReceiptInclude struct {
	Checkpoint string        `json:"checkpoint"`
	Batch      Entry         `json:"batch"`
	Proof      receipt.Proof `json:"proof"`
}

// A ReceiptRequest asks a holder for the path of a promised receipt: whoever has the promise may have it.
type ReceiptRequest struct {
	Promise Signed `json:"promise"`
	// Broken is the query that the promise is for, when its requester noted the promise as not kept in time: the holder is to know. Others
	// who have the promise have no say in that.
	Broken *Signed `json:"broken,omitempty"`
}

// MaxReceiptRequest bounds a ReceiptRequest in bytes: a promise, and a query as large as a request may be.
const MaxReceiptRequest = 2 * MaxQuery

// A Refusal is a signed no. It is receipted and promised like an answer.
type Refusal struct {
	Version int          `json:"v"` // 1
	Query   receipt.Hash `json:"query"`
	Code    string       `json:"code"`
	Message string       `json:"message"` // what to do next; holds nothing of the query
	Time    string       `json:"time"`
}

// Check reports a refusal that is not a code with a short remedy: what a peer writes here is shown to people.
func (r *Refusal) Check() error {
	control := func(c rune) bool { return unicode.IsControl(c) }
	other := func(c rune) bool { return (c < 'a' || c > 'z') && c != '_' }
	_, err := entry.ParseTime(r.Time)
	if r.Version != 1 || r.Code == "" || len(r.Code) > entry.MaxName || strings.ContainsFunc(r.Code, other) ||
		len(r.Message) > MaxText || strings.ContainsFunc(r.Message, control) || err != nil {
		return fmt.Errorf("checking a refusal: want a code of a-z and _, a short message and a time: %w", ErrEncoding)
	}
	return nil
}

// A Reply is what a holder sends back: exactly one of the two.
type Reply struct {
	Answer  *Bundle        `json:"answer,omitempty"`
	Refusal *SignedRefusal `json:"refusal,omitempty"`
}

// A SignedRefusal carries a refusal with its receipt's promise.
type SignedRefusal struct {
	Refusal Signed       `json:"refusal"`
	Promise Signed       `json:"promise"`
	Salt    receipt.Hash `json:"salt"`
}

// Decode reads a bundle of at most MaxBundle bytes in its one encoding.
func Decode(data []byte) (*Bundle, error) {
	var b Bundle
	if err := decodeCanonical(data, MaxBundle, &b); err != nil {
		return nil, fmt.Errorf("reading a bundle: %w: %w", ErrEncoding, err)
	}
	return &b, nil
}

// DecodeReply reads a holder's reply of at most MaxBundle bytes.
func DecodeReply(data []byte) (*Reply, error) {
	var r Reply
	if err := decodeCanonical(data, MaxBundle, &r); err != nil {
		return nil, fmt.Errorf("reading a reply: %w: %w", ErrEncoding, err)
	}
	if (r.Answer == nil) == (r.Refusal == nil) {
		return nil, fmt.Errorf("reading a reply: want either an answer or a refusal: %w", ErrEncoding)
	}
	return &r, nil
}

// DecodeReceipt reads a kept promise's evidence of at most MaxBundle bytes.
func DecodeReceipt(data []byte) (*ReceiptInclude, error) {
	var r ReceiptInclude
	if err := decodeCanonical(data, MaxBundle, &r); err != nil {
		return nil, fmt.Errorf("reading a receipt path: %w: %w", ErrEncoding, err)
	}
	return &r, nil
}

// Redact returns a copy without the opening, to show to others. It holds neither subject id nor nonce.
func (b *Bundle) Redact() *Bundle {
	c := *b
	c.Opening = nil
	return &c
}

// Header reads the header's body without checking its signature.
func (b *Bundle) PeekHeader() (*Header, error) {
	var h Header
	if err := b.Header.Peek(&h); err != nil {
		return nil, fmt.Errorf("reading an answer header: %w", err)
	}
	return &h, nil
}

// PeekQuery reads the query's body without checking its signature.
func (b *Bundle) PeekQuery() (*Query, error) {
	var q Query
	if err := b.Query.Peek(&q); err != nil {
		return nil, fmt.Errorf("reading a query: %w", err)
	}
	return &q, nil
}

// publicOf rebuilds the statement's public inputs from what a verifier derived and what the bundle claims.
func publicOf(b *Bundle, q *Query, h *Header, root string, program *circuits.Program, mask [circuits.Columns]bool, positions []int) (*circuits.Public, error) {
	pub := &circuits.Public{Program: program, Mask: mask, Context: Context(h, &b.Header)}
	var err error
	if pub.Root, err = ParseElement(root); err != nil {
		return nil, err
	}
	if pub.Tag, err = ParseElement(q.Tag); err != nil {
		return nil, err
	}
	if pub.Verdict, err = circuits.ParseVerdict(b.Verdict); err != nil {
		return nil, err
	}
	if len(b.Disclosed) != len(q.Disclose) {
		return nil, fmt.Errorf("reading disclosed values: %d of %d columns: %w", len(b.Disclosed), len(q.Disclose), ErrEncoding)
	}
	for i, d := range b.Disclosed {
		if d.Column != q.Disclose[i] {
			return nil, fmt.Errorf("reading disclosed values: not in the query's order: %w", ErrEncoding)
		}
		if pub.Disclosed[positions[i]], err = ParseElement(d.Value); err != nil {
			return nil, err
		}
	}
	return pub, nil
}
