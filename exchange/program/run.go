package program

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

// Run works on cases until ctx ends: those that a restart interrupted, then those that are opened.
func (c *Cases) Run(ctx context.Context) {
	c.mu.Lock()
	c.running = ctx
	for _, id := range c.order {
		c.begin(c.cases[id])
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.running = nil // nothing begins any more
	c.mu.Unlock()
	c.work.Wait()
}

// begin works on a case if there is something to do. The caller holds mu.
func (c *Cases) begin(f *file) {
	ctx := c.running
	if state := f.State(); ctx == nil || state != StateChecking && state != StatePending {
		return
	}
	c.work.Go(func() {
		if err := c.advance(ctx, f); err != nil && ctx.Err() == nil {
			c.opts.Logger.Error("a case does not get on; it is taken up again at the next start", slog.Any("error", err))
		}
	})
}

// advance settles the checks of a case, all at once, and decides it if the rule may.
func (c *Cases) advance(ctx context.Context, f *file) error {
	if err := c.settle(ctx, f); err != nil {
		return err
	}
	release, err := c.take(ctx, f)
	if err != nil {
		return err
	}
	defer release()
	now := c.now(f)
	if now.State() != StatePending {
		return nil
	}
	if len(now.Rounds) == 0 {
		yes, err := granted(now.Program, now.Findings)
		if err != nil {
			return err
		}
		if err := c.decide(f, yes, Round{By: RuleDecided}); err != nil {
			return err
		}
	}
	return c.publish(ctx, f)
}

// settle settles the checks that are open, all at once; then the claim, if the program has a scope: nobody claims what the others refuse.
func (c *Cases) settle(ctx context.Context, f *file) error {
	open := c.now(f)
	var checks sync.WaitGroup
	errs := make([]error, len(open.Program.Checks))
	last := -1
	for i, k := range open.Program.Checks {
		if _, settled := open.finding(k.Name); settled {
			continue
		}
		if s := open.Program.Scope; s != nil && s.Check == k.Name {
			last = i
			continue
		}
		checks.Go(func() { errs[i] = c.check(ctx, f, k) })
	}
	checks.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if last >= 0 {
		if err := c.claim(ctx, f, open.Program.Checks[last]); err != nil {
			return err
		}
	}
	query := c.now(f).claiming()
	if query == "" {
		return nil
	}
	claim, err := c.opts.Asker.WaitClaim(ctx, query)
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return c.placed(f, query, claim.State)
}

// claim asks the check that claims, unless it was asked or nothing can be granted.
func (c *Cases) claim(ctx context.Context, f *file, k Check) error {
	now := c.now(f)
	if _, asked := c.opts.Asker.ByCase(f.question(k)); !asked {
		spared, err := spare(now.Program, now.Findings)
		if err != nil {
			return err
		}
		if spared {
			found := Finding{Check: k.Name, Outcome: OutcomeSpared}
			return c.keep(f, KindFound, foundRecord{f.ID, found}, func() error { return f.settle(found) })
		}
	}
	return c.check(ctx, f, k)
}

// now is a case as it stands.
func (c *Cases) now(f *file) *Case {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.copy()
}

// take waits for the case's token.
func (c *Cases) take(ctx context.Context, f *file) (release func(), err error) {
	select {
	case f.busy <- struct{}{}:
		return func() { <-f.busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// keep writes a fact of a case to the journal and then changes the case by it.
func (c *Cases) keep(f *file, kind string, payload any, change func() error) error {
	if err := c.opts.Keep(kind, payload); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := change(); err != nil {
		return err
	}
	f.time()
	close(f.changed)
	f.changed = make(chan struct{})
	return nil
}

// check asks one question, or takes up the query that was sent before a restart, and keeps what came of it.
func (c *Cases) check(ctx context.Context, f *file, k Check) error {
	result, err := c.ask(ctx, f, k)
	for wait := patience(); ctx.Err() == nil && c.lost(f, k, result, err); {
		select {
		case <-time.After(wait.NextBackOff()):
			result, err = c.ask(ctx, f, k)
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	found, err := c.finding(k, result, err)
	if err != nil {
		return err
	}
	return c.keep(f, KindFound, foundRecord{f.ID, found}, func() error { return f.settle(found) })
}

// lost reports whether a claim may have been made whose reply did not come, and may still. The register keeps it for an hour after the
// query's time; until then the case is pending, since an application made again would find the claim taken.
func (c *Cases) lost(f *file, k Check, result *requester.Result, err error) bool {
	if s := f.Program.Scope; s == nil || s.Check != k.Name || !errors.Is(err, requester.ErrNoReply) || result == nil {
		return false
	}
	issued, err := entry.ParseTime(result.Issued)
	return err == nil && c.opts.Now().Before(issued.Add(k.Timeout+bundle.MaxLife))
}

func patience() *backoff.ExponentialBackOff {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = time.Second, time.Minute
	return wait
}

const judgings = 4 // of a reply that does not verify: this member's replica may be behind it

// ask returns what came of a check's query. The requester sends it until its life is over; a reply that does not verify is judged
// again some seconds later.
func (c *Cases) ask(ctx context.Context, f *file, k Check) (*requester.Result, error) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval = time.Second
	question, last := f.question(k), (*requester.Result)(nil)
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		var err error
		if id, sent := c.opts.Asker.ByCase(question); sent {
			last, err = c.opts.Asker.Resend(ctx, id)
		} else {
			last, err = c.opts.Asker.Ask(ctx, question)
		}
		if err == nil && last.Rejected != "" {
			return struct{}{}, errRejected
		}
		if err != nil {
			return struct{}{}, backoff.Permanent(err)
		}
		return struct{}{}, nil
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(judgings))
	if errors.Is(err, errRejected) {
		err = nil
	}
	return last, err
}

var errRejected = errors.New("the reply does not verify")

// finding says what came of a check.
func (c *Cases) finding(k Check, result *requester.Result, err error) (Finding, error) {
	found := Finding{Check: k.Name}
	if result != nil {
		found.Query = result.ID
	}
	switch {
	case errors.Is(err, requester.ErrQuestion), errors.Is(err, requester.ErrNoCircuit):
		found.Outcome = OutcomeUnaskable
	case errors.Is(err, requester.ErrNoReply):
		found.Outcome = OutcomeUnanswered
	case err != nil:
		return found, fmt.Errorf("check %s: %w", k.Name, err)
	case result.Rejected != "":
		found.Outcome, found.Code = OutcomeRejected, result.Rejected
	case result.Refusal == holder.CodeClaimed && result.Scope != nil:
		found.Outcome = OutcomeClaimed
	case result.Refusal != "":
		found.Outcome, found.Code = OutcomeRefused, result.Refusal
	case result.Report == nil:
		found.Outcome = OutcomeUnanswered
	default:
		digest, err := c.evidence(result.ID)
		if err != nil {
			return found, fmt.Errorf("check %s: %w", k.Name, err)
		}
		found.Outcome, found.Verdict, found.Evidence = OutcomeAnswered, result.Verdict, &digest
	}
	return found, nil
}

func (c *Cases) evidence(query string) (receipt.Hash, error) {
	data, err := c.opts.Asker.Bundle(query, false)
	if err != nil {
		return receipt.Hash{}, err
	}
	b, err := bundle.Decode(data)
	if err != nil {
		return receipt.Hash{}, err
	}
	return b.EvidenceDigest()
}

// decide signs a decision of a case that the caller has taken and keeps it. by says who decides and why.
func (c *Cases) decide(f *file, yes bool, by Round) error {
	salt, err := receipt.NewSalt()
	if err != nil {
		return err
	}
	now := c.opts.Now().UTC().Truncate(time.Second)
	c.mu.Lock()
	d := Decision{Version: 1, Instance: c.opts.Config.Instance, Member: c.opts.Member, Program: f.Entry, Case: f.ID, Round: len(f.Rounds),
		Opened: entry.FormatTime(f.Opened), Granted: yes, By: by.By, Officer: by.Officer, Reason: by.Reason, Checks: f.Findings, Salt: salt}
	if n := len(f.Rounds); n > 0 {
		d.Before = &f.Rounds[n-1].Digest
		d.Contest = &Objection{Time: entry.FormatTime(f.Contests[n-1].Time), Reason: f.Contests[n-1].Reason}
	}
	c.mu.Unlock()
	if now.Before(f.Opened) { // the clock went back
		now = f.Opened
	}
	d.Decided, d.Effective = entry.FormatTime(now), entry.FormatTime(now.Add(f.Program.Notice))
	signed, err := bundle.Sign(c.opts.Key, LabelDecision, d)
	if err != nil {
		return err
	}
	return c.keep(f, KindDecided, decidedRecord{f.ID, signed}, func() error { return f.decide(signed) })
}

// publish puts the digest of the newest decision on the log, unless it is there, and waits until it is final. The caller has taken the
// case.
func (c *Cases) publish(ctx context.Context, f *file) error {
	c.mu.Lock()
	round := len(f.Rounds) - 1
	decision := f.Rounds[round]
	c.mu.Unlock()
	if f.Entry.Origin != c.origin() {
		return fmt.Errorf("logging a decision: the program stands on a log that ended; publish it again, and apply again: %w", ErrUnknownProgram)
	}
	index, ok := c.opts.Ledger.View(c.origin(), ^uint64(0)).Decision(decision.Digest.String())
	if !ok {
		indexes, err := c.opts.Ledger.Append(ctx, entry.CaseDecision{Digest: decision.Digest.String(), Time: entry.FormatTime(decision.Time)})
		if err != nil {
			return fmt.Errorf("logging a decision: %w", err)
		}
		index = indexes[0]
	}
	if err := c.opts.Ledger.WaitFinal(ctx, index); err != nil {
		return fmt.Errorf("waiting for a decision to be final: %w", err)
	}
	return c.keep(f, KindLogged, loggedRecord{f.ID, round, index}, func() error { return f.log(round, index) })
}

// Contest takes an objection to a case's decision. Effect and deadline of a contest are for the law; here, a person decides next.
func (c *Cases) Contest(ctx context.Context, id, reason string) (*Case, error) {
	f, err := c.find(id)
	if err != nil {
		return nil, err
	}
	release, err := c.take(ctx, f)
	if err != nil {
		return nil, err
	}
	defer release()
	c.mu.Lock()
	err = f.mayContest(reason)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	o := Objection{Time: entry.FormatTime(c.opts.Now()), Reason: reason}
	if err := c.keep(f, KindContested, contestedRecord{f.ID, o}, func() error { return f.contest(o) }); err != nil {
		return nil, err
	}
	return c.Case(id)
}

// Review decides a case as a person. It returns when the decision is on disk and final on the ledger; if ctx ends between the two, the
// case is returned as pending and the decision is logged behind.
func (c *Cases) Review(ctx context.Context, id string, yes bool, officer, reason string) (*Case, error) {
	f, err := c.find(id)
	if err != nil {
		return nil, err
	}
	release, err := c.take(ctx, f)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	err = f.mayReview(yes, officer, reason)
	c.mu.Unlock()
	if err == nil {
		err = c.decide(f, yes, Round{By: PersonDecided, Officer: officer, Reason: reason})
	}
	release()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.begin(f)
	c.mu.Unlock()
	return c.Wait(ctx, id)
}

// Document returns the evidence of a decision: of the newest one, if round is negative.
func (c *Cases) Document(id string, round int) ([]byte, error) {
	f, err := c.find(id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	now, signed := f.copy(), f.signed
	c.mu.Unlock()
	if round < 0 {
		round = len(now.Rounds) - 1
	}
	switch {
	case round < 0 || round >= len(now.Rounds):
		return nil, fmt.Errorf("showing a decision: %w", ErrNoDecision)
	case !now.Rounds[round].Logged:
		return nil, fmt.Errorf("showing a decision: %w", ErrNotFinal)
	}
	head, ok := c.opts.Ledger.Final(now.Entry.Origin)
	if !ok || head.Size <= now.Rounds[round].Index {
		return nil, fmt.Errorf("showing a decision: %w", ErrNotFinal)
	}
	d := Document{Version: 1, Configuration: bundle.Configuration{Version: c.opts.Config.Version, Digest: c.opts.Config.Digest()},
		Decision: signed[round], Checkpoint: string(head.Checkpoint), Evidence: []Evidence{}}
	if d.Program, err = bundle.Include(c.opts.Ledger, now.Entry.Origin, now.Entry.Index, head.Size); err != nil {
		return nil, err
	}
	if d.Logged, err = bundle.Include(c.opts.Ledger, now.Entry.Origin, now.Rounds[round].Index, head.Size); err != nil {
		return nil, err
	}
	for _, found := range now.Findings {
		if !shown(found.Outcome) {
			continue
		}
		e, err := c.show(found)
		if err != nil {
			return nil, fmt.Errorf("showing a decision: check %s: %w", found.Check, err)
		}
		d.Evidence = append(d.Evidence, e)
	}
	return bundle.Encode(&d)
}

// show is the evidence of one finding.
func (c *Cases) show(found Finding) (Evidence, error) {
	if found.Outcome != OutcomeAnswered {
		query, no, err := c.opts.Asker.Refusal(found.Query)
		if err != nil {
			return Evidence{}, err
		}
		return Evidence{Check: found.Check, Refusal: &Refusal{Query: query, Reply: *no}}, nil
	}
	data, err := c.opts.Asker.Bundle(found.Query, false)
	if err != nil {
		return Evidence{}, err
	}
	b, err := bundle.Decode(data)
	return Evidence{Check: found.Check, Answer: b}, err
}
