package program

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// States of a case.
const (
	StateChecking  = "checking"     // its checks are under way
	StateReview    = "needs_review" // the rule may not decide it: a person does
	StatePending   = "pending"      // its claim is not known to be final, or its decision is not final on the ledger
	StateDecided   = "decided"
	StateContested = "contested" // the person it is about disagrees: a person decides
)

// Outcomes of a check.
const (
	OutcomeAnswered   = "answered"   // with a verdict whose evidence was verified
	OutcomeRefused    = "refused"    // by the holder, with its code
	OutcomeRejected   = "rejected"   // the holder's answer does not verify, with the reason
	OutcomeUnanswered = "unanswered" // no reply within the check's time
	OutcomeUnaskable  = "unaskable"  // the question cannot be asked any more: its policy was retired
	OutcomeClaimed    = "claimed"    // the register refused: the claim was made before
	OutcomeSpared     = "spared"     // the claim's check was not asked: the rule refuses, whatever its verdict
)

// A Finding is what came of one check. It names nobody.
type Finding struct {
	Check    string        `json:"check"`
	Outcome  string        `json:"outcome"`
	Verdict  string        `json:"verdict,omitempty"`  // of an answer
	Code     string        `json:"code,omitempty"`     // of a refusal or rejection
	Query    string        `json:"query,omitempty"`    // query id
	Evidence *receipt.Hash `json:"evidence,omitempty"` // of an answer: digest of its bundle without opening, receipt path and claim's place
	Claim    string        `json:"claim,omitempty"`    // of a claim that is final: bundle.ClaimFirst, bundle.ClaimLater or ClaimTwice
}

// A Round is one decision of a case: the first one, or one after a contest.
type Round struct {
	Granted bool
	By      string // RuleDecided or PersonDecided
	Officer string // the person's reference
	Reason  string // the person's
	Time    time.Time
	// Effective is when the decision takes effect: Time and the program's notice.
	Effective time.Time
	Digest    receipt.Hash // of the signed decision; it stands on the ledger
	Index     uint64       // of its entry, if Logged
	Logged    bool         // the entry is final
}

// Who decided.
const (
	RuleDecided   = "rule"
	PersonDecided = "person"
)

// A Contest is the objection of the person that a decision is about.
type Contest struct {
	Round  int // the decision that it is against
	Time   time.Time
	Reason string
}

// A Case is one application to a program. It holds no subject id.
type Case struct {
	ID          string // 32 hexadecimal digits
	Program     *Program
	Entry       entry.Ref // of the program's publication
	Application string    // the caller's own id of the application; "" for none
	Opened      time.Time
	Findings    []Finding // those there are, in the order of the program's checks
	Rounds      []Round
	Contests    []Contest
	Took        Timing
}

// Timing says how long a case took that was opened since the start of the process; zero where it is not known.
type Timing struct {
	Verdicts time.Duration // from the application to the last check's outcome on disk
	Decision time.Duration // to the first decision, final on the ledger
}

// State is where the case stands:
//
//	checking --all checks settled--> pending --entry final--> decided <--> contested
//	   |                               ^ (a claim is final, and first)        |
//	   `--a person is needed--> needs_review --review--+----------------------'
func (c *Case) State() string {
	switch {
	case len(c.Findings) < len(c.Program.Checks):
		if c.onlyClaim() {
			return StatePending
		}
		return StateChecking
	case len(c.Rounds) > 0 && !c.Rounds[len(c.Rounds)-1].Logged, c.claiming() != "":
		return StatePending
	case c.contested() != nil:
		return StateContested
	case len(c.Rounds) > 0:
		return StateDecided
	case len(c.Reasons()) > 0:
		return StateReview
	}
	return StatePending
}

// claiming is the query whose claim is not final yet; "" if there is none.
func (c *Case) claiming() string {
	if c.Program.Scope == nil {
		return ""
	}
	if f, ok := c.finding(c.Program.Scope.Check); ok && f.Verdict == circuits.Satisfied.String() && f.Claim == "" {
		return f.Query
	}
	return ""
}

// onlyClaim reports whether the check that claims is the only one that is not settled.
func (c *Case) onlyClaim() bool {
	if c.Program.Scope == nil || len(c.Findings) != len(c.Program.Checks)-1 {
		return false
	}
	_, settled := c.finding(c.Program.Scope.Check)
	return !settled
}

// contested is the contest that no decision has followed.
func (c *Case) contested() *Contest {
	if n := len(c.Contests); n > 0 && c.Contests[n-1].Round == len(c.Rounds)-1 {
		return &c.Contests[n-1]
	}
	return nil
}

// Reasons are why a person has to decide the case; none while checks are under way.
func (c *Case) Reasons() []string {
	if len(c.Findings) < len(c.Program.Checks) {
		return nil
	}
	return reasons(c.Program, c.Findings)
}

// reasons are why a rule may not decide over settled checks: a person was asked for, or there is no verdict to go by. The rule is not
// looked at: whether an open check would make a difference is for a person to say.
func reasons(p *Program, findings []Finding) []string {
	var why []string
	if p.Review {
		why = append(why, "the program asks for a person")
	}
	for _, f := range findings {
		switch {
		case f.Outcome == OutcomeClaimed || f.Outcome == OutcomeSpared: // decisive: it is not granted
		case f.Outcome != OutcomeAnswered && f.Code != "":
			why = append(why, fmt.Sprintf("check %s is %s (%s)", f.Check, f.Outcome, f.Code))
		case f.Outcome != OutcomeAnswered:
			why = append(why, fmt.Sprintf("check %s is %s", f.Check, f.Outcome))
		case f.Claim == ClaimTwice:
			why = append(why, fmt.Sprintf("check %s claims what another case here has claimed: the register gave one claim twice", f.Check))
		case f.Verdict == circuits.Indeterminate.String():
			why = append(why, fmt.Sprintf("check %s is indeterminate", f.Check))
		}
	}
	return why
}

// granted applies the rule to findings that all decide. What was claimed before, or cannot be granted whatever the claim's verdict, is
// not granted.
func granted(p *Program, findings []Finding) (bool, error) {
	of := make(map[string]circuits.Verdict, len(findings))
	claimed := false
	for _, f := range findings {
		if f.Outcome == OutcomeClaimed || f.Outcome == OutcomeSpared || f.Claim == bundle.ClaimLater || f.Claim == ClaimTwice {
			claimed = claimed || f.Outcome != OutcomeSpared
			of[f.Check] = circuits.Satisfied
			continue
		}
		v, err := circuits.ParseVerdict(f.Verdict)
		if err != nil {
			return false, fmt.Errorf("applying the rule of %s to check %s: %w", p.Name, f.Check, err)
		}
		of[f.Check] = v
	}
	yes, err := p.Grants(of)
	return yes && !claimed, err
}

// grantable reports whether anybody may grant: where the program has a scope, the case's claim must be final and first.
func grantable(p *Program, findings []Finding) bool {
	if p.Scope == nil {
		return true
	}
	i := slices.IndexFunc(findings, func(f Finding) bool { return f.Check == p.Scope.Check })
	return i >= 0 && findings[i].Outcome == OutcomeAnswered && findings[i].Claim == bundle.ClaimFirst
}

// spare reports whether the claim's check need not be asked, since the others decide that nothing is granted. Where a person will decide
// it is asked: whoever may be granted something has claimed it.
func spare(p *Program, others []Finding) (bool, error) {
	if len(reasons(p, others)) > 0 {
		return false, nil
	}
	yes, err := granted(p, append(slices.Clone(others), Finding{Check: p.Scope.Check, Outcome: OutcomeSpared}))
	return !yes, err
}

// What a caller can mend.
var (
	ErrState       = errors.New("the case is in another state")
	ErrReason      = errors.New("a reason of one line is needed")
	ErrRounds      = errors.New("the case was contested as often as one can be")
	ErrApplication = errors.New("this application was made with other subjects")
	ErrClaimed     = errors.New("nothing can be granted without a first claim")
	ErrSubjects    = errors.New("one subject id for each role is needed")
)

// mayContest reports why a contest cannot be taken.
func (c *Case) mayContest(reason string) error {
	switch {
	case !line(reason, MaxReason):
		return fmt.Errorf("contesting a decision: reason of 1 to %d bytes: %w", MaxReason, ErrReason)
	case c.State() != StateDecided:
		return fmt.Errorf("contesting a decision: it is %s, not %s: %w", c.State(), StateDecided, ErrState)
	case len(c.Rounds) == MaxRounds:
		return fmt.Errorf("contesting a decision: %d times: %w", MaxRounds, ErrRounds)
	}
	return nil
}

// mayReview reports why a person cannot decide.
func (c *Case) mayReview(yes bool, officer, reason string) error {
	switch state := c.State(); {
	case !line(reason, MaxReason):
		return fmt.Errorf("deciding as a person: reason of 1 to %d bytes: %w", MaxReason, ErrReason)
	case !line(officer, MaxOfficer):
		return fmt.Errorf("deciding as a person: officer's reference of 1 to %d bytes: %w", MaxOfficer, ErrReason)
	case state != StateReview && state != StateContested:
		return fmt.Errorf("deciding as a person: it is %s, neither %s nor %s: %w", state, StateReview, StateContested, ErrState)
	case yes && !grantable(c.Program, c.Findings):
		return fmt.Errorf("deciding as a person: apply again, if there is reason to: %w", ErrClaimed)
	}
	return nil
}

// finding is what came of a check, if it is settled.
func (c *Case) finding(check string) (Finding, bool) {
	i := slices.IndexFunc(c.Findings, func(f Finding) bool { return f.Check == check })
	if i < 0 {
		return Finding{}, false
	}
	return c.Findings[i], true
}

// settle takes what came of a check. The first finding stands.
func (c *Case) settle(f Finding) error {
	order := func(name string) int {
		return slices.IndexFunc(c.Program.Checks, func(k Check) bool { return k.Name == name })
	}
	if order(f.Check) < 0 {
		return fmt.Errorf("settling a check: the program has none called %s: %w", f.Check, ErrState)
	}
	if _, again := c.finding(f.Check); again {
		return nil
	}
	c.Findings = append(slices.Clone(c.Findings), f) // copies of the case share the old one
	slices.SortFunc(c.Findings, func(a, b Finding) int { return order(a.Check) - order(b.Check) })
	return nil
}

// place takes where the case's claim stands.
func (c *Case) place(state string) error {
	if c.claiming() == "" || state != bundle.ClaimFirst && state != bundle.ClaimLater && state != ClaimTwice {
		return fmt.Errorf("placing a claim: %w", ErrState)
	}
	c.Findings = slices.Clone(c.Findings)
	for i := range c.Findings {
		if c.Findings[i].Check == c.Program.Scope.Check {
			c.Findings[i].Claim = state
		}
	}
	return nil
}

// Reference is the case reference that the query of a check carries: it ties the answer to the program, its very publication, the case
// and the check, and names nobody.
func (c *Case) Reference(check string) string {
	return reference(c.Program, c.Entry.Hash, c.ID, check)
}

func reference(p *Program, hash, id, check string) string {
	return fmt.Sprintf("%s/%d/%s/%s/%s", p.Name, p.Version, hash, id, check)
}
