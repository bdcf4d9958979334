// Package index makes final entries searchable by kind, member, dataset, policy and time. It is a buntdb file that is
// never the only copy of anything: each log's rows have a digest and the root of the tree they were read from; a file that
// disagrees with a digest is begun anew, and a log with another root is indexed anew from its tiles.
package index

import (
	"cmp"
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
	e, _ := entry.Decode(raw) // malformed entries are searchable too, as of no kind
	return RowFor(origin, member, index, e)
}

// RowFor is RowOf for an entry that was decoded.
func RowFor(origin, member string, index uint64, e entry.Entry) Row {
	r := Row{Origin: origin, Member: member, Index: index, Kind: e.Kind(), Time: time.Unix(0, 0).UTC()}
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
	case entry.GroupDefine:
		stamp = e.Time
	case entry.ReceiptsBatch:
		stamp = e.Time
	case entry.CircuitKeys:
		stamp = e.Time
	case entry.ScopeOpen:
		stamp = e.Time
	case entry.ScopeClose:
		stamp = e.Time
	case entry.ClaimsBatch:
	case entry.ProgramPublish:
		stamp = e.Time
	case entry.ProgramRetire:
		stamp = e.Time
	case entry.CaseDecision:
		stamp = e.Time
	}
	if t, err := entry.ParseTime(stamp); err == nil && t.Unix() > 0 {
		r.Time = t
	}
	return r
}

func (r Row) names() names { return names{r.Origin, r.Member, r.Kind, r.Dataset, r.Policy} }

// A place is where a row stands in the order of a search: by time, then origin, then index.
type place struct {
	time   int64
	origin string
	index  uint64
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.time, q.time), cmp.Compare(p.origin, q.origin), cmp.Compare(p.index, q.index))
}

func (r Row) place() place { return place{r.Time.Unix(), r.Origin, r.Index} }

// maxCursor bounds a cursor in bytes: a time, an index and an origin.
const maxCursor = 512

// Cursor names the row's place in a search; a later search goes on behind it. It outlives the index file.
func (r Row) Cursor() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %s", r.Time.Unix(), r.Index, r.Origin))
}

func parseCursor(s string) (place, error) {
	if len(s) > maxCursor {
		return place{}, fmt.Errorf("%w: cursor", ErrQuery)
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	f := strings.SplitN(string(raw), " ", 3)
	if err != nil || len(f) != 3 {
		return place{}, fmt.Errorf("%w: cursor", ErrQuery)
	}
	t, err1 := strconv.ParseInt(f[0], 10, 64)
	i, err2 := strconv.ParseUint(f[1], 10, 64)
	if err1 != nil || err2 != nil || t < 0 || t > maxTime || i > maxIndex {
		return place{}, fmt.Errorf("%w: cursor", ErrQuery)
	}
	return place{t, f[2], i}, nil
}
