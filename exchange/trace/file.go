// Package trace is what an officer and a person are shown of a gateway's queries: files of receipts, each with the path to its batch
// and that batch's place in a log that is final, which anyone with the network configuration verifies without a gateway.
//
// A receipts file is the officer's: what a gateway asked and was asked, refusals included. It names nobody: subjects stand in it as
// tags. A subject file is a person's: the queries about that person alone, with the nonces that open their tags. Both say what their
// signer recorded; that nothing was left out is the signer's word, which reconciling the two sides of an exchange tests.
package trace

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
)

// Bounds on a file, checked before anything is parsed.
const (
	MaxFile    = 32 << 20 // bytes: some 6 KiB for each record with its paths
	MaxRecords = 4096     // in one file; more need a narrower time
)

// Kinds of files.
const (
	KindReceipts = "receipts"
	KindSubject  = "subject"
)

// Roles of the file's member in a query.
const (
	RoleAsked    = "asked"    // it put the question
	RoleAnswered = "answered" // it was asked, and answered or refused
)

// Outcomes beside the verdicts, receipt.OutcomeRefused and receipt.OutcomeAsked (no reply yet).
const OutcomeRejected = "rejected" // a reply came and did not verify

// Labels of the signatures under files.
const (
	labelReceipts = "grille/v1/receipts-file"
	labelSubject  = "grille/v1/subject-file"
)

// sizeStep is what the size of a subject file is rounded up to: an empty log and a short one are of one size.
const sizeStep = 64 << 10

var (
	// ErrFile reports a file that is malformed or whose evidence does not hold. It must not be relied on.
	ErrFile = errors.New("file does not verify")
	// ErrTooMuch reports more records than a file holds: ask for a narrower time.
	ErrTooMuch = errors.New("more records than one file holds")
)

// A File is an export in its one encoding, bundle.Encode's.
type File struct {
	Version   int       `json:"v"`    // 1
	Kind      string    `json:"kind"` // receipts or subject
	Instance  string    `json:"instance"`
	Member    string    `json:"member"`          // whose gateway wrote and signed it
	Made      string    `json:"made"`            // UTC
	Since     string    `json:"since,omitempty"` // only queries issued then or later
	Until     string    `json:"until,omitempty"` // only queries issued before
	Peer      string    `json:"peer,omitempty"`  // only queries to or from that member
	Logs      []Log     `json:"logs,omitempty"`  // by origin
	Records   []*Record `json:"records"`         // by time of issue, then id
	Padding   string    `json:"padding,omitempty"`
	Signature string    `json:"signature"` // by the member's query key, over the encoding with this field empty
}

// A Log is the final head of one log with the batches that the records lead to.
type Log struct {
	Origin     string         `json:"origin"`
	Checkpoint string         `json:"checkpoint"` // signed note: the owner's signature and exactly q cosignatures
	Batches    []bundle.Entry `json:"batches"`    // rising by index
}

// A Record is one query as the file's member recorded it.
type Record struct {
	Role    string        `json:"role"`
	Query   bundle.Signed `json:"query"`          // names the subject by its tag only
	Outcome string        `json:"outcome"`        // verdict, refused, rejected or asked
	Code    string        `json:"code,omitempty"` // of a refusal, or of why a reply was rejected
	Answer  receipt.Hash  `json:"answer"`         // digest of the answer or the refusal; zero without one that verified
	Salt    receipt.Hash  `json:"salt"`           // opens the holder's receipt; zero likewise
	// Refusal is the holder's signed no, whose digest Answer is; only of a refusal.
	Refusal *bundle.Signed `json:"refusal,omitempty"`
	// Promise is the holder's signed word; absent without a reply that verified.
	Promise *bundle.Signed `json:"promise,omitempty"`
	// Path leads from the holder's receipt to its batch; absent while that is not shown.
	Path  []receipt.Hash `json:"path,omitempty"`
	Asked *Asked         `json:"asked,omitempty"` // of what was asked: the requester's own receipt
	Nonce string         `json:"nonce,omitempty"` // in a subject file: opens the tag for whoever knows the subject id
	// Broken says that the promise was not kept in time: why, as the file's member noted it.
	Broken string `json:"broken,omitempty"`

	query   bundle.Query
	promise receipt.Promise
	late    bool // Verify found that the batch says itself that it was made after the deadline
}

// Asked is a requester's receipt of having asked, under a batch of its own log.
type Asked struct {
	Salt  receipt.Hash   `json:"salt"`
	Beat  uint64         `json:"beat"`
	Place uint32         `json:"place"`
	Path  []receipt.Hash `json:"path,omitempty"`
}

// Why a promise counts as broken.
const (
	BrokenMissed   = "missed"   // the batch was not final by the deadline
	BrokenUnproved = "unproved" // the holder did not show the receipt under its batch by the deadline
	BrokenReported = "reported" // the requester says that it was
)

// Read fills in what a record's envelopes say, without checking signatures.
func (r *Record) Read() error {
	if err := r.Query.Peek(&r.query); err != nil {
		return fmt.Errorf("reading a record's query: %w: %w", ErrFile, err)
	}
	if r.Promise != nil {
		if err := r.Promise.Peek(&r.promise); err != nil {
			return fmt.Errorf("reading a record's promise: %w: %w", ErrFile, err)
		}
	}
	return nil
}

// Asks returns the query's body. The record must have been read.
func (r *Record) Asks() *bundle.Query { return &r.query }

// Promised returns the promise's body, or nil. The record must have been read.
func (r *Record) Promised() *receipt.Promise {
	if r.Promise == nil {
		return nil
	}
	return &r.promise
}

// Peer is the other party of the query. The record must have been read.
func (r *Record) Peer() string {
	if r.Role == RoleAsked {
		return r.query.Holder
	}
	return r.query.Requester
}

// Sign encodes and signs a file. A subject file is padded to a multiple of 64 KiB.
func (f *File) Sign(key ed25519.PrivateKey) ([]byte, error) {
	f.Padding, f.Signature = "", ""
	if f.Kind == KindSubject {
		bare, err := bundle.Encode(f)
		if err != nil {
			return nil, err
		}
		size := len(bare) + len(`,"padding":""`) + base64.StdEncoding.EncodedLen(ed25519.SignatureSize)
		f.Padding = strings.Repeat("0", sizeStep-size%sizeStep)
	}
	signed, err := f.signed()
	if err != nil {
		return nil, err
	}
	f.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed))
	data, err := bundle.Encode(f)
	if err == nil && len(data) > MaxFile {
		err = ErrTooMuch
	}
	return data, err
}

// signed is what the signature is over.
func (f *File) signed() ([]byte, error) {
	bare := *f
	bare.Signature = ""
	body, err := bundle.Encode(&bare)
	label := labelReceipts
	if f.Kind == KindSubject {
		label = labelSubject
	}
	return append([]byte(label+"\n"), body...), err
}

// Decode reads a file of at most MaxFile bytes in its one encoding, and what its envelopes say. Nothing is verified.
func Decode(data []byte) (*File, error) {
	var f File
	if err := bundle.DecodeCanonical(data, MaxFile, &f); err != nil {
		return nil, fmt.Errorf("reading a file of receipts: %w: %w", ErrFile, err)
	}
	if f.Version != 1 || f.Kind != KindReceipts && f.Kind != KindSubject {
		return nil, fmt.Errorf("reading a file of receipts: not one of this version: %w", ErrFile)
	}
	if f.Records == nil {
		return nil, fmt.Errorf("reading a file of receipts: no list of records: %w", ErrFile)
	}
	if len(f.Records) > MaxRecords || len(f.Logs) > MaxRecords+1 {
		return nil, fmt.Errorf("reading a file of receipts: %d records: %w", len(f.Records), ErrTooMuch)
	}
	for _, r := range f.Records {
		if r == nil {
			return nil, fmt.Errorf("reading a file of receipts: a record is null: %w", ErrFile)
		}
		if err := r.Read(); err != nil {
			return nil, err
		}
	}
	return &f, nil
}
