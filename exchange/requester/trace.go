package requester

import (
	"fmt"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/trace"
)

// Traces hands every query that this member asked to use, oldest first. wanted, if set, is asked first, with the subject keys of the
// person that the query is about, one for each scheme of the network.
func (r *Requester) Traces(wanted func(about circuits.Key) bool, use func(*trace.Record) error) error {
	r.mu.Lock()
	ids := r.order[:len(r.order):len(r.order)] // only ever appended to
	r.mu.Unlock()
	for _, id := range ids {
		record, err := r.traceOf(id, wanted)
		if err == nil && record != nil {
			err = use(record)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Requester) traceOf(id string, wanted func(circuits.Key) bool) (*trace.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.cases[id]
	if wanted != nil && !r.isAbout(a, wanted) {
		return nil, nil
	}
	s := &a.sent
	t := &trace.Record{Role: trace.RoleAsked, Query: s.Query, Outcome: receipt.OutcomeAsked,
		Asked: &trace.Asked{Salt: s.Salt, Beat: s.Receipt.Beat, Place: s.Receipt.Place}}
	if wanted != nil {
		t.Nonce = s.Opening.Nonce
	}
	if a.result != nil {
		if err := a.traceReply(t); err != nil {
			return nil, err
		}
	}
	return t, t.Read()
}

// isAbout says whether a query is about a wanted person. The tag decides in which scheme: one id may be two persons' in two of them.
func (r *Requester) isAbout(a *asked, wanted func(circuits.Key) bool) bool {
	for _, s := range r.opts.Config.Schemes {
		if !wanted(circuits.SubjectKey(r.opts.Config.Instance, s.Name, a.sent.Opening.Subject)) {
			continue
		}
		var q bundle.Query
		if a.sent.Query.Peek(&q) != nil {
			return false
		}
		if _, _, err := a.sent.Opening.CheckOpening(&q, s.Name); err == nil {
			return true
		}
	}
	return false
}

// traceReply fills in what came of a query.
func (a *asked) traceReply(t *trace.Record) error {
	if a.result.Rejected != "" {
		t.Outcome, t.Code = trace.OutcomeRejected, a.result.Rejected
		return nil
	}
	reply, err := bundle.DecodeReply(a.result.Reply)
	if err != nil {
		return fmt.Errorf("reading a reply back: %w", err)
	}
	if reply.Refusal != nil {
		t.Outcome, t.Code, t.Refusal = receipt.OutcomeRefused, a.result.Refusal, &reply.Refusal.Refusal
		t.Answer, t.Salt, t.Promise = reply.Refusal.Refusal.Digest(bundle.LabelRefusal), reply.Refusal.Salt, &reply.Refusal.Promise
	} else {
		t.Outcome, t.Answer, t.Salt, t.Promise = a.result.Report.Verdict.String(), a.result.Report.Answer, reply.Answer.Salt, &reply.Answer.Promise
	}
	if a.logged != nil {
		t.Path = a.logged.Proof.Path
	}
	switch {
	case a.missed:
		t.Broken = trace.BrokenMissed
	case a.unproved:
		t.Broken = trace.BrokenUnproved
	}
	return nil
}

// Broken returns how many promises of holders to this member were not kept in time.
func (r *Requester) Broken() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.broken)
}

// recount keeps the count of broken promises after one changed. r.mu is held.
func (r *Requester) recount(a *asked) {
	if a.missed || a.unproved {
		r.broken[a.sent.ID] = true
		return
	}
	delete(r.broken, a.sent.ID)
}
