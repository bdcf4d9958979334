package bundle

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/receipt"
)

// A Header is what a holder signs about an answer before it proves: which entries of its own log the answer stands on, each
// asserted to be the newest and in force below Size. A header that contradicts the log is evidence against its signer.
type Header struct {
	Version   int          `json:"v"` // 1
	Instance  string       `json:"instance"`
	Circuit   string       `json:"circuit"` // id, hex
	Query     receipt.Hash `json:"query"`   // digest of the signed query
	Origin    string       `json:"origin"`  // the holder's log
	Size      uint64       `json:"size"`    // of the checkpoint in the bundle
	Time      string       `json:"time"`    // the ledger's time: the median of that checkpoint's cosignature times
	AsOf      string       `json:"as_of"`   // the date that relative dates count from, YYYY-MM-DD: the query's, its epoch's, or the current one
	Dataset   uint64       `json:"dataset"` // entry indexes on the holder's log
	Epoch     uint64       `json:"epoch"`
	Next      *uint64      `json:"next,omitempty"` // of a query for a day: the first epoch dated after it; absent: none below Size
	Policy    uint64       `json:"policy"`
	Agreement uint64       `json:"agreement"`
	Group     *uint64      `json:"group,omitempty"` // newest group.define of the agreement's group, if it names one
	Scope     *uint64      `json:"scope,omitempty"` // the scope.open of the query's scope, if it names one
	Batch     *uint64      `json:"batch,omitempty"` // newest receipts.batch below Size, if any: what was current at that beat
}

// Context is the statement's context: the first 248 bits of SHA-256 over instance, circuit, signed query and signed header. It
// makes a proof good for one query, one requester, one purpose and one set of entries.
func Context(h *Header, header *Signed) fr.Element {
	sum := receipt.Sum("grille/v1/context", []byte(h.Instance), []byte(h.Circuit), h.Query[:], []byte(header.Body))
	var e fr.Element
	e.SetBytes(sum[:31])
	return e
}

// AnswerDigest identifies an answer by its statement. The proof stays out: a Groth16 proof has many encodings, and anyone can
// make another one from it.
func AnswerDigest(header *Signed, pub *circuits.Public) receipt.Hash {
	parts := [][]byte{[]byte(header.Body), {byte(pub.Verdict)}}
	nullifier := pub.Nullifier.Bytes()
	parts = append(parts, nullifier[:])
	for i := range pub.Disclosed {
		if pub.Mask[i] {
			value := pub.Disclosed[i].Bytes()
			parts = append(parts, binary.BigEndian.AppendUint16(nil, uint16(i)), value[:])
		}
	}
	return receipt.Sum("grille/v1/answer", parts...)
}

// AsOfDate is the date of a time in UTC, as a header writes it.
func AsOfDate(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Median is the middle one of rising times; of an even number, the earlier of the two in the middle. More than a third of a
// quorum would have to lie to move it past every honest clock.
func Median(times []time.Time) (time.Time, error) {
	if len(times) == 0 {
		return time.Time{}, fmt.Errorf("taking the ledger's time: no cosignatures")
	}
	return times[(len(times)-1)/2], nil
}
