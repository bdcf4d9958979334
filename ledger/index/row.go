// Package index makes final entries searchable by kind, member, dataset, policy and time. It is a buntdb file that is
// never the only copy of anything: each log's rows carry a chained digest and the root of the tree they were read from, and
// a log whose rows or root disagree is indexed anew from its tiles.
package index

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
)

// ErrQuery says that a search cannot be run as asked.
var ErrQuery = errors.New("bad query")

// A Row is what the index knows of one entry. Dataset and Policy are empty where an entry names none, Kind is empty for
// bytes that are no entry, Time is the owner's claim, or the zero Unix time if there is none.
type Row struct {
	Origin  string
	Member  string
	Index   uint64
	Kind    string
	Dataset string
	Policy  string
	Time    time.Time
}

// RowOf reads what is searchable from an entry.
func RowOf(origin, member string, index uint64, raw []byte) Row {
	r := Row{Origin: origin, Member: member, Index: index, Time: time.Unix(0, 0).UTC()}
	e, _ := entry.Decode(raw) // malformed entries are searchable too, as of no kind
	r.Kind = e.Kind()
	stamp := ""
	switch e := e.(type) {
	case entry.DatasetDeclare:
		r.Dataset, stamp = e.Dataset, e.Time
	case entry.DatasetEpoch:
		r.Dataset, stamp = e.Dataset, e.Time
	case entry.PolicyPublish:
		r.Dataset, r.Policy, stamp = e.Dataset, e.Policy, e.Time
	case entry.PolicyRetire:
		r.Policy, stamp = e.Policy, e.Time
	case entry.AgreementOffer:
		r.Policy, stamp = e.Terms.Policy, e.Time
	case entry.AgreementAccept:
		r.Policy, stamp = e.Terms.Policy, e.Time
	case entry.AgreementReject:
		stamp = e.Time
	case entry.AgreementRevoke:
		stamp = e.Time
	case entry.AgreementWithdraw:
		stamp = e.Time
	case entry.ReceiptsBatch:
		stamp = e.Time
	case entry.CircuitKeys:
		stamp = e.Time
	}
	if t, err := entry.ParseTime(stamp); err == nil && t.Unix() > 0 {
		r.Time = t
	}
	return r
}

// The fields of a stored row, in order. The time comes first so that rows compare by time as strings.
const (
	fieldTime = iota
	fieldKind
	fieldMember
	fieldDataset
	fieldPolicy
	fieldOrigin
	fieldIndex
	fieldCount
)

const separator = "\t" // stands in no name

func (r Row) value() string {
	return strings.Join([]string{hex16(uint64(r.Time.Unix())), r.Kind, r.Member, r.Dataset, r.Policy, r.Origin, hex16(r.Index)}, separator)
}

func parseRow(value string) (Row, error) {
	f := strings.Split(value, separator)
	if len(f) != fieldCount {
		return Row{}, fmt.Errorf("%w: row", ErrQuery)
	}
	t, err1 := strconv.ParseInt(f[fieldTime], 16, 64)
	i, err2 := strconv.ParseUint(f[fieldIndex], 16, 64)
	r := Row{Origin: f[fieldOrigin], Member: f[fieldMember], Index: i, Kind: f[fieldKind], Dataset: f[fieldDataset],
		Policy: f[fieldPolicy], Time: time.Unix(t, 0).UTC()}
	if err1 != nil || err2 != nil || t < 0 || r.value() != value {
		return Row{}, fmt.Errorf("%w: row", ErrQuery)
	}
	return r, nil
}

// Cursor names the row's place in a search; a later search goes on behind it.
func (r Row) Cursor() string { return base64.RawURLEncoding.EncodeToString([]byte(r.value())) }

func parseCursor(s string) (Row, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(s) > 2048 {
		return Row{}, fmt.Errorf("%w: cursor", ErrQuery)
	}
	return parseRow(string(raw))
}

// field returns one field of a stored row.
func field(value string, n int) string {
	for range n {
		_, value, _ = strings.Cut(value, separator)
	}
	f, _, _ := strings.Cut(value, separator)
	return f
}

func hex16(n uint64) string { return fmt.Sprintf("%016x", n) }
