package trace

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/network"
)

// How the two sides of an exchange can differ.
const (
	OnlyHolder    = "only_holder"    // the requester shows no such question
	OnlyRequester = "only_requester" // the holder shows no such question
	NoReply       = "no_reply"       // the holder answered or refused; the requester shows no reply
	OtherOutcome  = "outcome"        // they say that different things came of it
	PromiseBroken = "promise_broken" // the requester has the holder's promise; its receipt is not shown under its batch by the deadline
)

// A Difference is one query on which two files differ.
type Difference struct {
	Kind      string `json:"kind"`
	ID        string `json:"query_id"`
	Issued    string `json:"issued"`
	Policy    string `json:"policy"`
	Version   int    `json:"policy_version"`
	Purpose   string `json:"purpose"`
	Tag       string `json:"tag"`
	Holder    string `json:"holder,omitempty"`    // the outcome that the holder recorded
	Requester string `json:"requester,omitempty"` // the outcome that the requester recorded
}

// A Reconciliation compares what two gateways recorded of their exchange.
type Reconciliation struct {
	Holder      string       `json:"holder"`
	Requester   string       `json:"requester"`
	Since       string       `json:"since,omitempty"` // the time that both files cover
	Until       string       `json:"until,omitempty"`
	Compared    int          `json:"compared"` // queries that one or both show
	Agreeing    int          `json:"agreeing"`
	Later       int          `json:"later"` // not compared: the other file was made before it could show them, or their reply
	Differences []Difference `json:"differences"`
}

// ErrReconcile reports two files that say nothing about one another.
var ErrReconcile = errors.New("files cannot be reconciled")

// Reconcile compares a holder's receipts file with a requester's. Both must have been verified. Only queries between the two that were
// issued in the time that both files cover are compared: the time of issue is signed by the requester and known to both. What one file
// was made too early to show is counted apart.
func Reconcile(configurations []*network.Configuration, holder, requester *File) (*Reconciliation, error) {
	switch {
	case holder.Kind != KindReceipts || requester.Kind != KindReceipts:
		return nil, fmt.Errorf("reconciling: both must be receipts files: %w", ErrReconcile)
	case holder.Member == requester.Member:
		return nil, fmt.Errorf("reconciling: both files are of %s: %w", holder.Member, ErrReconcile)
	case holder.Peer != "" && holder.Peer != requester.Member, requester.Peer != "" && requester.Peer != holder.Member:
		return nil, fmt.Errorf("reconciling: a file is about another member's queries: %w", ErrReconcile)
	}
	r := &Reconciliation{Holder: holder.Member, Requester: requester.Member, Since: max(holder.Since, requester.Since),
		Until: earlier(holder.Until, requester.Until), Differences: []Difference{}}
	answered := r.between(holder, RoleAnswered, requester.Member)
	asked := r.between(requester, RoleAsked, holder.Member)
	late := headTime(configurations, holder)
	for digest, mine := range asked {
		switch theirs := answered[digest]; {
		case len(theirs) == 0 && mine[0].query.Issued >= holder.Made,
			len(theirs) > 0 && mine[0].Outcome == receipt.OutcomeAsked && mine[0].query.Expires >= requester.Made:
			r.Later++
		default:
			r.compare(mine[0], theirs, late)
		}
		delete(answered, digest)
	}
	for _, theirs := range answered {
		for _, h := range theirs {
			if h.query.Issued >= requester.Made {
				r.Later++
				continue
			}
			r.Compared++
			r.differ(OnlyHolder, h, h, nil)
		}
	}
	slices.SortFunc(r.Differences, func(a, b Difference) int {
		return slices.Compare([]string{a.Issued, a.ID, a.Kind}, []string{b.Issued, b.ID, b.Kind})
	})
	return r, nil
}

// headTime is the time of the head of its own log that a file shows; zero without one.
func headTime(configurations []*network.Configuration, f *File) time.Time {
	var newest time.Time
	for _, log := range f.Logs {
		owned := func(cfg *network.Configuration) bool { return cfg.Origin(f.Member) == log.Origin }
		if !slices.ContainsFunc(configurations, owned) {
			continue
		}
		if _, median, err := bundle.CheckHead(configurations, log.Origin, log.Checkpoint); err == nil && median.After(newest) {
			newest = median
		}
	}
	return newest
}

// between groups the records of a file that the comparison covers by query.
func (r *Reconciliation) between(f *File, role, peer string) map[receipt.Hash][]*Record {
	found := map[receipt.Hash][]*Record{}
	both := File{Since: r.Since, Until: r.Until, Peer: peer}
	for _, rec := range f.Records {
		if rec.Role == role && both.covers(rec) {
			digest := bundle.QueryDigest(&rec.Query)
			found[digest] = append(found[digest], rec)
		}
	}
	return found
}

// compare sets the requester's record of a query beside the holder's. A holder has more than one where it was sent the same bytes again
// after they had expired.
func (r *Reconciliation) compare(mine *Record, theirs []*Record, late time.Time) {
	r.Compared++
	before := len(r.Differences)
	p := mine.Promised()
	matched := -1
	for i, h := range theirs {
		if p != nil && h.promise.Receipt == p.Receipt {
			matched = i
		}
	}
	switch {
	case len(theirs) == 0:
		r.differ(OnlyRequester, mine, nil, mine)
	case mine.Outcome == receipt.OutcomeAsked:
		r.differ(NoReply, mine, theirs[0], mine)
	case matched < 0:
		r.differ(OtherOutcome, mine, theirs[0], mine)
	}
	for i, h := range theirs {
		if matched >= 0 && i != matched {
			r.differ(OnlyHolder, h, h, mine)
		}
	}
	if p != nil {
		kept := mine.Path != nil || matched >= 0 && theirs[matched].Path != nil
		if mine.late || matched >= 0 && theirs[matched].late || mine.Broken != "" || !kept && overdue(p, late) {
			var h *Record
			if matched >= 0 {
				h = theirs[matched]
			}
			r.differ(PromiseBroken, mine, h, mine)
		}
	}
	if len(r.Differences) == before {
		r.Agreeing++
	}
}

func (r *Reconciliation) differ(kind string, of, holder, requester *Record) {
	q := &of.query
	d := Difference{Kind: kind, ID: q.ID, Issued: q.Issued, Policy: q.Policy, Version: q.PolicyVersion, Purpose: q.Purpose, Tag: q.Tag}
	if holder != nil {
		d.Holder = holder.described()
	}
	if requester != nil {
		d.Requester = requester.described()
	}
	r.Differences = append(r.Differences, d)
}

func (r *Record) described() string {
	if r.Code != "" {
		return r.Outcome + ": " + r.Code
	}
	return r.Outcome
}

func earlier(a, b string) string {
	if a == "" || b != "" && b < a {
		return b
	}
	return a
}
