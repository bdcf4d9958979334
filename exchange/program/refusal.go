package program

import (
	"fmt"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
)

// A RefusalReport is what a verified refusal of a check says. The holder signed it, and promised to log its receipt.
type RefusalReport struct {
	Check   string `json:"check"`
	Holder  string `json:"holder"`
	Code    string `json:"code"`
	Message string `json:"message"` // the holder's, what to do next
	QueryID string `json:"query_id"`
	Time    string `json:"time"`
}

// shown reports whether a document has evidence of a check with that outcome: what the holder signed, an answer or a refusal.
func shown(outcome string) bool {
	return outcome == OutcomeAnswered || outcome == OutcomeRefused || outcome == OutcomeClaimed
}

// refusal verifies that the check's holder refused exactly the query that the deciding member signed for this check of this case, with
// the code that the decision gives. Else a member could deny by rule whom it likes, by saying that the register refused.
func (c *verification) refusal(k Check, f Finding, r *Refusal) error {
	fail := func(reason Reason, err error) error {
		return &Refused{reason, fmt.Errorf("check %s: %w", k.Name, err)}
	}
	var q bundle.Query
	if err := r.Query.OpenBy(c.then(), c.decision.Member, bundle.LabelQuery, &q); err != nil {
		return fail(ReasonRefusedQuery, err)
	}
	if err := q.Check(); err != nil {
		return fail(ReasonRefusedQuery, err)
	}
	if !c.asks(k, f, &q) || !c.scopes(k, &q) {
		return fail(ReasonRefusedQuery, fmt.Errorf("the refused query asks another question: %w", bundle.ErrEncoding))
	}
	var no bundle.Refusal
	if err := r.Reply.Refusal.OpenBy(c.then(), k.Holder, bundle.LabelRefusal, &no); err != nil {
		return fail(ReasonRefusalSignature, err)
	}
	if err := no.Check(); err != nil {
		return fail(ReasonRefusalSignature, err)
	}
	digest := bundle.QueryDigest(&r.Query)
	if no.Query != digest {
		return fail(ReasonRefusalQuery, fmt.Errorf("the refusal is of another query: %w", bundle.ErrEncoding))
	}
	want := f.Code
	if f.Outcome == OutcomeClaimed {
		want = holder.CodeClaimed
	}
	if no.Code != want {
		return fail(ReasonRefusalCode, fmt.Errorf("the refusal has another code: %w", bundle.ErrEncoding))
	}
	issued, _, err := q.Times()
	if err != nil {
		return fail(ReasonRefusedQuery, err)
	}
	_, _, decided, _, err := c.decision.times()
	if err != nil {
		return fail(ReasonTimes, err)
	}
	if err := r.Reply.CheckPromise(c.then(), k.Holder, digest, issued, decided); err != nil {
		return fail(ReasonRefusalPromise, err)
	}
	c.report.Refused = append(c.report.Refused, RefusalReport{Check: k.Name, Holder: k.Holder, Code: no.Code, Message: no.Message, QueryID: q.ID, Time: no.Time})
	return nil
}

// scopes reports whether the query claims in the program's scope, if it is its check's, and in none otherwise.
func (c *verification) scopes(k Check, q *bundle.Query) bool {
	if s := c.program.Scope; s == nil || s.Check != k.Name {
		return q.Scope == nil
	}
	return q.Scope != nil && *q.Scope == *c.program.scope()
}
