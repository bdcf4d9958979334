package program

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// A Reason is a stable code for why a decision document is refused. Verifiers written by others give the same codes.
type Reason string

// The reasons, in the order in which Verify checks. The first that applies is given.
const (
	ReasonEncoding      Reason = "encoding"      // not a decision document, too large, or not in its one encoding
	ReasonConfiguration Reason = "configuration" // made under a network configuration that is not of the chain, or in another instance
	ReasonSignature     Reason = "signature"     // the member did not sign the decision
	ReasonCheckpoint    Reason = "checkpoint"    // the member's signature or a quorum of cosignatures is missing
	ReasonInclusion     Reason = "inclusion"     // program or decision is not under the checkpoint
	ReasonProgram       Reason = "program"       // the published program is not the one decided by, or cannot be read
	ReasonLogged        Reason = "logged"        // the entry is of another decision or time
	ReasonChecks        Reason = "checks"        // the findings are not those of the program's checks
	ReasonEvidence      Reason = "evidence"      // an answer is missing, does not verify, or is to another question
	// Of a check that its holder refused, in the order in which they are checked.
	ReasonRefusedQuery     Reason = "refused_query"     // the refused query is not signed by the member, or is not this check's question in this case
	ReasonRefusalSignature Reason = "refusal_signature" // the check's holder did not sign the refusal
	ReasonRefusalQuery     Reason = "refusal_query"     // the refusal is of another query
	ReasonRefusalCode      Reason = "refusal_code"      // the refusal has another code than the decision says
	ReasonRefusalPromise   Reason = "refusal_promise"   // the holder did not promise to log the refusal's receipt

	ReasonTimes   Reason = "times"   // the times of application, answers, refusals, decision and effect do not follow one another
	ReasonRule    Reason = "rule"    // the rule says otherwise, or a person had to decide, or none could
	ReasonReplica Reason = "replica" // the whole log says otherwise
)

// A Refused says why a decision document is not accepted.
type Refused struct {
	Reason Reason
	Err    error
}

func (r *Refused) Error() string { return fmt.Sprintf("decision refused (%s): %v", r.Reason, r.Err) }

// Unwrap returns the cause: a *bundle.Refused where an answer does not verify.
func (r *Refused) Unwrap() error { return r.Err }

// Code is the stable reason code.
func (r *Refused) Code() string { return string(r.Reason) }

func refuse(reason Reason, format string, args ...any) error {
	return &Refused{reason, fmt.Errorf(format, args...)}
}

// A Report is what a verified decision document says.
type Report struct {
	Decision
	Program string           `json:"program_name"`
	Version int              `json:"program_version"`
	Title   string           `json:"title"`
	Rule    bool             `json:"rule_followed"` // decided by the rule, which gives this result for these verdicts
	Reviews []string         `json:"review_reasons,omitempty"`
	Answers []*bundle.Report `json:"answers"`
	Refused []RefusalReport  `json:"refusals,omitempty"`
	Digest  string           `json:"digest"`
	Index   uint64           `json:"index"` // of the decision's entry
	Logged  string           `json:"logged"`
	Log     string           `json:"log"`
}

// verification carries what the steps learn from one another.
type verification struct {
	*bundle.Verifier
	config   *network.Configuration
	doc      *Document
	decision Decision
	tree     tlog.Tree // of the checkpoint
	final    time.Time // median of its cosignatures
	program  *Program
	report   Report
}

// Verify checks a decision document without any network: the member's signature, its log, the program that it published, the evidence of
// each answer and refusal, and that the rule gives this result for these verdicts. v must have the chain that the document's configuration is of; its
// replica is used if there is one. Not shown by a document: that the answers are about one person (openings show it), that no later
// decision of the case took its place, and what a check without answer or refusal says of its reason. A refused document gives a *Refused.
func Verify(v *bundle.Verifier, data []byte) (*Report, error) {
	doc, err := DecodeDocument(data)
	if err != nil {
		return nil, &Refused{ReasonEncoding, err}
	}
	c := &verification{Verifier: v, doc: doc}
	for _, step := range []func() error{c.signature, c.checkpoint, c.published, c.logged, c.checks, c.evidence, c.times, c.rule, c.replicated} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &c.report, nil
}

func (c *verification) signature() error {
	for _, cfg := range c.Configurations() {
		if cfg.Version == c.doc.Configuration.Version && cfg.Digest() == c.doc.Configuration.Digest {
			c.config = cfg
		}
	}
	if err := c.doc.Decision.Peek(&c.decision); err != nil {
		return &Refused{ReasonEncoding, err}
	}
	if err := c.decision.check(); err != nil {
		return &Refused{ReasonEncoding, err}
	}
	if c.config == nil || c.config.Instance != c.decision.Instance {
		return refuse(ReasonConfiguration, "made under a network configuration that is not the one given, nor one that led to it")
	}
	if err := c.signed(); err != nil {
		return &Refused{ReasonSignature, err}
	}
	c.report.Decision = c.decision
	c.report.Digest = digestOf(&c.doc.Decision).String()
	return nil
}

// signed opens the decision with the member's query key of the document's configuration or of one before it: a decision keeps its
// signature, and is shown under the configuration of the day.
func (c *verification) signed() error {
	return c.doc.Decision.OpenBy(c.then(), c.decision.Member, LabelDecision, &c.decision)
}

// then are the configurations up to the document's.
func (c *verification) then() []*network.Configuration {
	return slices.DeleteFunc(slices.Clone(c.Configurations()), func(cfg *network.Configuration) bool { return cfg.Version > c.config.Version })
}

// checkpoint checks that program and decision are entries of the member's log.
func (c *verification) checkpoint() error {
	c.report.Log = c.decision.Program.Origin
	own := func(cfg *network.Configuration) bool { // a log may have ended since
		owner, ok := cfg.Owner(c.report.Log)
		return ok && owner.Name == c.decision.Member
	}
	if !slices.ContainsFunc(c.Configurations(), own) {
		return refuse(ReasonProgram, "the program stands on another member's log")
	}
	var err error
	if c.tree, c.final, err = bundle.CheckHead(c.Configurations(), c.report.Log, c.doc.Checkpoint); err != nil {
		return &Refused{ReasonCheckpoint, err}
	}
	for _, e := range []*bundle.Entry{&c.doc.Program, &c.doc.Logged} {
		if err := bundle.CheckIncluded(e, c.tree); err != nil {
			return &Refused{ReasonInclusion, err}
		}
	}
	return nil
}

func (c *verification) published() error {
	if c.doc.Program.Index != c.decision.Program.Index || entry.Hash([]byte(c.doc.Program.Body)) != c.decision.Program.Hash {
		return refuse(ReasonProgram, "the entry is not the program that the decision names")
	}
	decoded, err := entry.Decode([]byte(c.doc.Program.Body))
	if err != nil {
		return &Refused{ReasonProgram, err}
	}
	published, ok := decoded.(entry.ProgramPublish)
	if !ok {
		return refuse(ReasonProgram, "the entry is a %s", decoded.Kind())
	}
	if c.program, err = FromEntry(published); err != nil {
		return &Refused{ReasonProgram, err}
	}
	c.report.Program, c.report.Version, c.report.Title = c.program.Name, c.program.Version, c.program.Title
	return nil
}

func (c *verification) logged() error {
	decoded, err := entry.Decode([]byte(c.doc.Logged.Body))
	if err != nil {
		return &Refused{ReasonLogged, err}
	}
	logged, ok := decoded.(entry.CaseDecision)
	if !ok || logged.Digest != c.report.Digest || logged.Time != c.decision.Decided || c.doc.Logged.Index <= c.doc.Program.Index {
		return refuse(ReasonLogged, "the entry is not that of this decision")
	}
	c.report.Index, c.report.Logged = c.doc.Logged.Index, logged.Time
	return nil
}

// checks checks that there is one finding of each of the program's checks, in their order, and evidence of each answer and refusal.
func (c *verification) checks() error {
	var evident []string
	for i, f := range c.decision.Checks {
		if i >= len(c.program.Checks) || f.Check != c.program.Checks[i].Name {
			return refuse(ReasonChecks, "finding %d is not of the program's check", i+1)
		}
		if err := c.formed(f); err != nil {
			return err
		}
		if shown(f.Outcome) {
			evident = append(evident, f.Check)
		}
	}
	var has []string
	for _, e := range c.doc.Evidence {
		has = append(has, e.Check)
	}
	if len(c.decision.Checks) != len(c.program.Checks) || !slices.Equal(evident, has) {
		return refuse(ReasonChecks, "want a finding of each check, and the evidence of each answer and refusal, in the program's order")
	}
	return nil
}

// formed checks that a finding says what one of its outcome can say.
func (c *verification) formed(f Finding) error {
	claims := c.program.Scope != nil && c.program.Scope.Check == f.Check
	switch f.Outcome {
	case OutcomeAnswered:
		if f.Evidence == nil || f.Code != "" {
			return refuse(ReasonChecks, "check %s: an answer has evidence and no code", f.Check)
		}
		return nil
	case OutcomeClaimed, OutcomeSpared:
		if !claims || f.Code != "" {
			return refuse(ReasonChecks, "check %s: it claims nothing", f.Check)
		}
	case OutcomeRefused:
		if f.Code == "" || claims && f.Code == holder.CodeClaimed {
			return refuse(ReasonChecks, "check %s: a refusal has a code, and %s is an outcome of its own", f.Check, OutcomeClaimed)
		}
	case OutcomeRejected, OutcomeUnanswered, OutcomeUnaskable:
	default:
		return refuse(ReasonChecks, "check %s: unknown outcome", f.Check)
	}
	if f.Evidence != nil || f.Verdict != "" || f.Claim != "" {
		return refuse(ReasonChecks, "check %s: no answer has no verdict", f.Check)
	}
	return nil
}

// evidence verifies each answer as a bundle, each refusal, and that both are to the question that the program asks in this case.
func (c *verification) evidence() error {
	rest := c.doc.Evidence
	for i, f := range c.decision.Checks {
		if !shown(f.Outcome) {
			continue
		}
		e := rest[0]
		rest = rest[1:]
		if (f.Outcome == OutcomeAnswered) != (e.Answer != nil) {
			return refuse(ReasonChecks, "check %s: the evidence is not of its outcome", f.Check)
		}
		if e.Refusal != nil {
			if err := c.refusal(c.program.Checks[i], f, e.Refusal); err != nil {
				return err
			}
			continue
		}
		if err := c.answer(c.program.Checks[i], f, e.Answer); err != nil {
			return &Refused{ReasonEvidence, fmt.Errorf("check %s: %w", f.Check, err)}
		}
	}
	return nil
}

func (c *verification) answer(k Check, f Finding, b *bundle.Bundle) error {
	if b.Opening != nil {
		return fmt.Errorf("the answer names its subject: %w", bundle.ErrEncoding)
	}
	digest, err := b.EvidenceDigest()
	if err != nil {
		return err
	}
	if digest != *f.Evidence {
		return fmt.Errorf("not the answer that the decision rests on: %w", bundle.ErrEncoding)
	}
	data, err := bundle.Encode(b)
	if err != nil {
		return err
	}
	report, err := c.Verify(data)
	if err != nil {
		return err
	}
	var q bundle.Query
	if err := b.Query.Peek(&q); err != nil {
		return err
	}
	if !c.asks(k, f, &q) {
		return fmt.Errorf("the answer is to another question: %w", bundle.ErrEncoding)
	}
	if report.Verdict.String() != f.Verdict {
		return fmt.Errorf("the answer has another verdict: %w", bundle.ErrEncoding)
	}
	if err := c.claimed(k, f, &q, report.Claim, b); err != nil {
		return err
	}
	c.report.Answers = append(c.report.Answers, report)
	return nil
}

// asks reports whether a query is the deciding member's to a check's question in this case. Its scope is another matter.
func (c *verification) asks(k Check, f Finding, q *bundle.Query) bool {
	return q.Instance == c.decision.Instance && q.Requester == c.decision.Member && q.Holder == k.Holder && q.Policy == k.Policy &&
		q.PolicyVersion == k.Version && q.Purpose == k.Purpose && q.LegalBasis == k.LegalBasis && q.ID == f.Query &&
		q.Case == reference(c.program, c.decision.Program.Hash, c.decision.Case, k.Name) &&
		q.MaxAgeSeconds == int64(k.MaxAge/time.Second) && q.AsOf == "" && q.Epoch == 0 && len(q.Disclose) == 0
}

// claimed checks that the answer to the scope's check, and no other, claims; and that what the decision says of its place is not belied.
func (c *verification) claimed(k Check, f Finding, q *bundle.Query, shown string, b *bundle.Bundle) error {
	if s := c.program.Scope; s == nil || s.Check != k.Name {
		if q.Scope != nil || f.Claim != "" {
			return fmt.Errorf("the answer claims: %w", bundle.ErrEncoding)
		}
		return nil
	}
	if q.Scope == nil || *q.Scope != *c.program.scope() {
		return fmt.Errorf("the answer claims in another scope: %w", bundle.ErrEncoding)
	}
	final := shown == bundle.ClaimFinal || shown == bundle.ClaimFirst
	switch f.Claim {
	case "":
		return nil
	case bundle.ClaimFirst, ClaimTwice:
		if !final {
			return fmt.Errorf("the claim is not shown to be final: %w", bundle.ErrEncoding)
		}
		return nil
	case bundle.ClaimLater:
		if shown == "" || final {
			return fmt.Errorf("the claim is called a later one, and none is or it is shown to stand: %w", bundle.ErrEncoding)
		}
		return c.later(b)
	}
	return fmt.Errorf("the claim has no known place: %w", bundle.ErrEncoding)
}

// later checks against the register's log, where there is one, that the claim stood there before the answer that makes it again.
func (c *verification) later(b *bundle.Bundle) error {
	log, ok := c.Replica.(bundle.ClaimLog)
	if !ok {
		return nil
	}
	h, err := b.PeekHeader()
	if err != nil {
		return err
	}
	_, _, found, err := bundle.FindClaim(log, h.Origin, *h.Scope, h.Size, b.Nullifier) // Verify saw that the header names the scope
	if err == nil && !found {
		err = fmt.Errorf("the claim is called a later one, and there is no earlier one: %w", bundle.ErrEncoding)
	}
	return err
}

// times checks that each step follows the one before it, as far as clocks agree.
func (c *verification) times() error {
	contested, opened, decided, effective, err := c.decision.times()
	slack := bundle.Window(c.config)
	switch {
	case err != nil:
		return &Refused{ReasonTimes, err}
	case effective.Sub(decided) != c.program.Notice:
		return refuse(ReasonTimes, "the decision's effect does not follow it by the program's notice")
	case c.decision.Contest != nil && (contested.Before(opened) || contested.After(decided)):
		return refuse(ReasonTimes, "the contest is not between application and decision")
	case decided.After(c.final.Add(slack)):
		return refuse(ReasonTimes, "the decision is dated after it was logged")
	}
	for _, r := range c.report.Answers {
		answered, err := entry.ParseTime(r.AnsweredAt)
		if err != nil {
			return &Refused{ReasonTimes, err}
		}
		if answered.Before(opened.Add(-slack)) || answered.After(decided.Add(slack)) {
			return refuse(ReasonTimes, "an answer is not of the time between application and decision")
		}
	}
	for _, r := range c.report.Refused {
		if err := (&bundle.Refusal{Time: r.Time}).CheckTime(c.config, opened, decided); err != nil {
			return refuse(ReasonTimes, "a refusal is not of the time between application and decision")
		}
	}
	return nil
}

// rule checks who had to decide, and that the rule gives this result where it decided.
func (c *verification) rule() error {
	if c.decision.Granted && !grantable(c.program, c.decision.Checks) {
		return refuse(ReasonRule, "nothing can be granted without a first claim")
	}
	c.report.Reviews = reasons(c.program, c.decision.Checks)
	if c.decision.By == PersonDecided {
		if len(c.report.Reviews) == 0 && c.decision.Contest == nil {
			return refuse(ReasonRule, "a person decided what the rule decides, without a contest")
		}
		return nil
	}
	if len(c.report.Reviews) > 0 {
		return refuse(ReasonRule, "a person had to decide: %s", c.report.Reviews[0])
	}
	yes, err := granted(c.program, c.decision.Checks)
	if err != nil {
		return &Refused{ReasonRule, err}
	}
	if yes != c.decision.Granted {
		return refuse(ReasonRule, "the rule gives the other result for these verdicts")
	}
	c.report.Rule = true
	return nil
}

// replicated asks the whole log, where there is one: program and decision are the entries that count.
func (c *verification) replicated() error {
	if c.Replica == nil {
		return nil
	}
	log := c.Replica.View(c.report.Log, uint64(c.tree.N))
	if log == nil || log.Size() != uint64(c.tree.N) {
		return refuse(ReasonReplica, "the replica does not hold the member's log up to entry %d yet; sync it and verify again", c.tree.N)
	}
	at := slices.IndexFunc(log.Programs(), func(p view.ProgramVersion) bool { return p.Index == c.doc.Program.Index })
	if at < 0 {
		return refuse(ReasonReplica, "the program does not count: its version was published before")
	}
	if index, ok := log.Decision(c.report.Digest); !ok || index != c.report.Index {
		return refuse(ReasonReplica, "the log holds the decision at another place")
	}
	return nil
}
