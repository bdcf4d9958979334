package index

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tidwall/buntdb"
)

// A Query selects rows. Empty fields and zero times select everything. From is included, To is not.
type Query struct {
	Kind    string
	Member  string
	Dataset string
	Policy  string
	From    time.Time
	To      time.Time
	After   string // Cursor of the last row of the page before
	Limit   int    // 1 or more
}

// Search returns the rows that match, newest first, at most Limit.
func (x *Index) Search(q Query) ([]Row, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("%w: limit below 1", ErrQuery)
	}
	name, f, want := q.order()
	pivot, err := q.pivot(f, want)
	if err != nil {
		return nil, err
	}
	from := hex16(uint64(max(0, q.From.Unix())))
	var out []Row
	var bad error
	visit := func(_, value string) bool {
		if f >= 0 && field(value, f) != want || field(value, fieldTime) < from {
			return false
		}
		if value == pivot {
			return true // the cursor's own row
		}
		r, err := parseRow(value)
		if err != nil {
			bad = fmt.Errorf("searching: damaged row")
			return false
		}
		if q.selects(r) {
			out = append(out, r)
		}
		return len(out) < q.Limit
	}
	err = x.db.View(func(tx *buntdb.Tx) error { return tx.DescendLessOrEqual(name, pivot, visit) })
	if err == nil {
		err = bad
	}
	return out, err
}

// order picks the most selective order: its name, the field it sorts by before the time (-1: none) and the value wanted.
func (q Query) order() (name string, f int, want string) {
	switch {
	case q.Policy != "":
		return "policy", fieldPolicy, q.Policy
	case q.Dataset != "":
		return "dataset", fieldDataset, q.Dataset
	case q.Kind != "":
		return "kind", fieldKind, q.Kind
	case q.Member != "":
		return "member", fieldMember, q.Member
	}
	return orderTime, -1, ""
}

// pivot returns the row to descend from: the cursor's, or one just below the end of the time range.
func (q Query) pivot(f int, want string) (string, error) {
	if strings.ContainsAny(q.Policy+q.Dataset+q.Kind+q.Member, separator) {
		return "", fmt.Errorf("%w: control character", ErrQuery)
	}
	if q.After != "" {
		r, err := parseCursor(q.After)
		if err != nil {
			return "", err
		}
		return r.value(), nil
	}
	end := uint64(math.MaxInt64)
	if !q.To.IsZero() {
		if q.To.Unix() <= 0 {
			end = 0
		} else {
			end = uint64(q.To.Unix()) - 1
		}
	}
	fields := make([]string, fieldCount)
	for i := range fields {
		fields[i] = "\xff"
	}
	fields[fieldTime] = hex16(end)
	if f >= 0 {
		fields[f] = want
	}
	return strings.Join(fields, separator), nil
}

func (q Query) selects(r Row) bool {
	return (q.Kind == "" || r.Kind == q.Kind) && (q.Member == "" || r.Member == q.Member) &&
		(q.Dataset == "" || r.Dataset == q.Dataset) && (q.Policy == "" || r.Policy == q.Policy) &&
		(q.From.IsZero() || !r.Time.Before(q.From)) && (q.To.IsZero() || r.Time.Before(q.To))
}
