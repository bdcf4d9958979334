package index

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
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

// Search returns the rows that match, newest first, at most Limit. Rows of one time are in descending order of origin,
// then index.
//
// It reads the groups that match, each from the bound backwards, those with the newest rows first, until none can hold a
// row that is newer than the oldest of a full page: the rows read are little more than the rows returned.
func (x *Index) Search(q Query) ([]Row, error) {
	s, err := q.scan()
	if err != nil {
		return nil, err
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	var list []*group
	for _, g := range x.groups {
		if q.selects(g.names) && g.first <= s.end.time && g.last >= s.from {
			list = append(list, g)
		}
	}
	newest := func(g *group) int64 { return min(g.last, s.end.time) }
	slices.SortFunc(list, func(a, b *group) int { return cmp.Compare(newest(b), newest(a)) })
	err = x.db.View(func(tx *buntdb.Tx) error {
		for _, g := range list {
			if s.full() && newest(g) < s.best[0].time {
				return nil
			}
			if err := s.read(tx, g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	return s.rows(), nil
}

func (q Query) selects(n names) bool {
	return (q.Kind == "" || n.kind == q.Kind) && (q.Member == "" || n.member == q.Member) &&
		(q.Dataset == "" || n.dataset == q.Dataset) && (q.Policy == "" || n.policy == q.Policy)
}

// scan returns the query's bounds.
func (q Query) scan() (*scan, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("%w: limit below 1", ErrQuery)
	}
	if strings.ContainsAny(q.Policy+q.Dataset+q.Kind+q.Member, separator) {
		return nil, fmt.Errorf("%w: control character", ErrQuery)
	}
	s := &scan{limit: q.Limit, end: place{time: maxTime + 1}}
	if !q.From.IsZero() {
		s.from = seconds(q.From)
	}
	if !q.To.IsZero() {
		s.end = place{time: seconds(q.To)}
	}
	if q.After != "" {
		after, err := parseCursor(q.After)
		if err != nil {
			return nil, err
		}
		if after.compare(s.end) < 0 {
			s.end = after
		}
	}
	return s, nil
}

// seconds returns the first whole second that is not before t, as far as rows can have it.
func seconds(t time.Time) int64 {
	n := t.Unix()
	if t.Nanosecond() > 0 {
		n++
	}
	return min(max(n, 0), maxTime+1)
}

// A scan gathers the newest rows below a place.
type scan struct {
	limit int
	from  int64 // least time
	end   place // rows are before it
	best  page
}

type found struct {
	place
	group *group
}

// A page is a heap of rows with the oldest on top.
type page []found

func (p page) Len() int           { return len(p) }
func (p page) Less(i, j int) bool { return p[i].compare(p[j].place) < 0 }
func (p page) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *page) Push(v any)        { *p = append(*p, v.(found)) }
func (p *page) Pop() any {
	last := (*p)[len(*p)-1]
	*p = (*p)[:len(*p)-1]
	return last
}

func (s *scan) full() bool { return len(s.best) == s.limit }

// read takes a group's rows, newest first, until they are too old.
func (s *scan) read(tx *buntdb.Tx, g *group) error {
	start, ok := s.start(g)
	if !ok {
		return nil
	}
	return tx.DescendLessOrEqual("", start, func(key, _ string) bool {
		id, t, index, ok := parseRowKey(key)
		if !ok || id != g.id || t < s.from {
			return false
		}
		f := found{place{t, g.origin, index}, g}
		switch {
		case !s.full():
			heap.Push(&s.best, f)
		case f.compare(s.best[0].place) < 0:
			return false
		default:
			s.best[0] = f
			heap.Fix(&s.best, 0)
		}
		return true
	})
}

// start returns the key of the last row that a group can have before the end, or false if it can have none.
func (s *scan) start(g *group) (string, bool) {
	t, index := s.end.time, uint64(maxIndex)
	switch {
	case g.origin == s.end.origin && s.end.index > 0:
		index = s.end.index - 1
	case g.origin >= s.end.origin:
		t--
	}
	if t < 0 {
		return "", false
	}
	return rowKey(g.id, min(t, maxTime), index), true
}

// rows returns what was gathered, newest first.
func (s *scan) rows() []Row {
	slices.SortFunc(s.best, func(a, b found) int { return b.compare(a.place) })
	out := make([]Row, len(s.best))
	for i, f := range s.best {
		n := f.group.names
		out[i] = Row{Origin: n.origin, Member: n.member, Index: f.index, Kind: n.kind, Dataset: n.dataset, Policy: n.policy,
			Time: time.Unix(f.time, 0).UTC()}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
