package requester

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// Result returns what came of a query.
func (r *Requester) Result(id string) (*Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.cases[id]
	if a == nil {
		return nil, fmt.Errorf("looking a query up: %w", ErrUnknownQuery)
	}
	return a.describe(), nil
}

// ByCase returns the id of the first query that asks this question under its case reference. Whoever gives each question a reference of
// its own finds after a crash whether it was sent, and sends the same bytes again. A query that somebody made under the same reference
// about another person, or that asks otherwise, is not it.
func (r *Requester) ByCase(q Question) (id string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.refs[q.Case] {
		if r.asks(&r.cases[id].sent, &q) {
			return id, true
		}
	}
	return "", false
}

// asks reports whether a query that was sent asks a question.
func (r *Requester) asks(s *sentRecord, q *Question) bool {
	var signed bundle.Query
	if s.Query.Peek(&signed) != nil {
		return false
	}
	scope := func(of *bundle.Scope) bundle.Scope {
		if of == nil {
			return bundle.Scope{}
		}
		return *of
	}
	about := func(scheme network.Scheme) bool {
		subject, err := schema.NormaliseID(scheme, q.Subject)
		return err == nil && subject == s.Opening.Subject
	}
	return slices.ContainsFunc(r.opts.Config.Schemes, about) && signed.Holder == q.Holder && signed.Policy == q.Policy &&
		(q.PolicyVersion == 0 || signed.PolicyVersion == q.PolicyVersion) && signed.Purpose == q.Purpose && signed.LegalBasis == q.LegalBasis &&
		slices.Equal(signed.Disclose, slices.Sorted(slices.Values(q.Disclose))) && scope(signed.Scope) == scope(q.Scope) &&
		signed.MaxAgeSeconds == int64(q.MaxAge/time.Second) && signed.AsOf == q.AsOf && signed.Epoch == q.Epoch
}

func (a *asked) describe() *Result {
	result := &Result{ID: a.sent.ID, Holder: a.sent.Holder, Policy: a.sent.Policy, Version: a.sent.Version,
		Purpose: a.sent.Purpose, Issued: a.sent.Issued, State: StateSent, Broken: a.missed || a.unproved, Logged: a.logged != nil,
		Scope: a.sent.Scope, Claim: a.claimState()}
	if a.result == nil {
		return result
	}
	result.Report, result.Timing = a.result.Report, a.result.Timing
	result.Refusal, result.Message, result.Rejected = a.result.Refusal, a.result.Message, a.result.Rejected
	switch {
	case a.result.Report == nil:
		result.State = StateRefused
	case a.logged != nil:
		result.State = StateReceipted
	default:
		result.State = StateAnswered
	}
	if a.result.Report != nil {
		result.Verdict = a.result.Report.Verdict.String()
	}
	return result
}

// Results returns the newest queries first, at most limit of them.
func (r *Requester) Results(limit int) []*Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*Result
	for _, id := range slices.Backward(r.order) {
		if len(list) == limit {
			break
		}
		list = append(list, r.cases[id].describe())
	}
	return list
}

// Bundle returns the encoded answer of a query with its receipt's path, once logged, and with the opening where the caller asks
// for it: an opening names the person.
func (r *Requester) Bundle(id string, opening bool) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.cases[id]
	if a == nil {
		return nil, fmt.Errorf("looking an answer up: %w", ErrUnknownQuery)
	}
	if a.result == nil || a.result.Report == nil {
		return nil, fmt.Errorf("looking an answer up: %w", ErrNoAnswer)
	}
	reply, err := bundle.DecodeReply(a.result.Reply)
	if err != nil {
		return nil, err
	}
	b := *reply.Answer
	b.Receipt = a.logged
	if a.place == bundle.ClaimFirst {
		b.Claim = a.claim
	}
	if opening {
		b.Opening = &a.sent.Opening
	}
	return bundle.Encode(&b)
}

// Refusal returns the signed query that a holder refused and the holder's signed refusal. Neither names the person.
func (r *Requester) Refusal(id string) (bundle.Signed, *bundle.SignedRefusal, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.cases[id]
	if a == nil {
		return bundle.Signed{}, nil, fmt.Errorf("looking a refusal up: %w", ErrUnknownQuery)
	}
	if a.result == nil || a.result.Refusal == "" || a.result.Rejected != "" {
		return bundle.Signed{}, nil, fmt.Errorf("looking a refusal up: %w", ErrNoRefusal)
	}
	reply, err := bundle.DecodeReply(a.result.Reply)
	if err != nil {
		return bundle.Signed{}, nil, err
	}
	if reply.Refusal == nil {
		return bundle.Signed{}, nil, fmt.Errorf("looking a refusal up: %w", ErrNoRefusal)
	}
	return a.sent.Query, reply.Refusal, nil
}

// ErrNoRefusal reports a query that its holder did not refuse.
var ErrNoRefusal = errors.New("the query was not refused")

// ErrNoAnswer reports a query that was refused, rejected or not answered yet.
var ErrNoAnswer = errors.New("the query has no verified answer")

// Resume sends every query again that was sent before a restart, has no reply and has not expired. The bytes are the same, so the
// holder answers each once.
func (r *Requester) Resume(ctx context.Context) {
	now := r.opts.Now()
	r.mu.Lock()
	open := map[string][]*asked{}
	for _, id := range r.order {
		a := r.cases[id]
		if expires, err := entry.ParseTime(a.sent.Expires); a.result == nil && err == nil && now.Before(expires) {
			open[a.sent.Holder] = append(open[a.sent.Holder], a)
		}
	}
	r.mu.Unlock()
	eachHolder(open, func(list []*asked) {
		for _, a := range list {
			if _, err := r.send(ctx, a); err != nil && ctx.Err() == nil {
				r.opts.Logger.Warn("a query from before the restart has no reply", slog.String("peer", a.sent.Holder), slog.Any("error", err))
			}
		}
	})
}

// eachHolder works on what is open with each member at the same time: one that is silent holds up nobody else's.
func eachHolder(open map[string][]*asked, work func([]*asked)) {
	var all sync.WaitGroup
	for _, list := range open {
		all.Go(func() { work(list) })
	}
	all.Wait()
}

// Run takes up queries that a restart interrupted and follows promises until ctx ends: each receipt's path is fetched once its
// batch is final, and a promise that is not kept by its deadline is reported.
func (r *Requester) Run(ctx context.Context) error {
	var resuming sync.WaitGroup
	resuming.Go(func() { r.Resume(ctx) })
	defer resuming.Wait()
	tick := time.NewTicker(max(bundle.BeatLength(r.opts.Config)/4, 250*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.Follow(ctx)
			r.followAllClaims()
		}
	}
}

// Follow looks once after every promise that is not settled.
func (r *Requester) Follow(ctx context.Context) {
	r.mu.Lock()
	open := map[string][]*asked{}
	for _, a := range r.cases {
		if a.result != nil && a.logged == nil && a.result.Rejected == "" {
			open[a.sent.Holder] = append(open[a.sent.Holder], a)
		}
	}
	r.mu.Unlock()
	eachHolder(open, func(list []*asked) {
		silent := false // a member that did not answer is not asked again in this round
		for _, a := range list {
			if ctx.Err() != nil {
				return
			}
			err := r.follow(ctx, a, silent)
			silent = silent || errors.Is(err, errSilent)
			if err != nil {
				r.opts.Logger.Debug("receipt path not fetched yet", slog.Any("error", err))
			}
		}
	})
}

var errSilent = errors.New("the holder does not answer")

// follow looks after one promise. Its batch is on this member's replica or not; the path is the holder's to show.
func (r *Requester) follow(ctx context.Context, a *asked, silent bool) error {
	r.mu.Lock()
	reply, err := bundle.DecodeReply(a.result.Reply)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	signed := promiseOf(reply)
	var p receipt.Promise
	if err := signed.Peek(&p); err != nil {
		return err
	}
	origin := r.opts.Config.Origin(a.sent.Holder)
	head, ok := r.opts.Ledger.Final(origin)
	if !ok {
		return fmt.Errorf("following a promise: %w", receipt.ErrOpenBeat)
	}
	_, index, ok := r.opts.Ledger.View(origin, head.Size).Batch(p.Beat)
	if !ok {
		err := r.late(a, &p, head, trace.BrokenMissed, receipt.ErrOpenBeat)
		if errors.Is(err, receipt.ErrBroken) && !silent && a.told < maxComplaints { // this goroutine alone follows this member
			a.told++
			_ = r.fetch(ctx, a, &p, index, signed) // for the holder to know; there is no path to get yet
		}
		return err
	}
	err = errSilent
	if !silent {
		err = r.fetch(ctx, a, &p, index, signed)
	}
	if err != nil { // downtime excuses nothing
		return r.late(a, &p, head, trace.BrokenUnproved, err)
	}
	return nil
}

func (r *Requester) fetch(ctx context.Context, a *asked, p *receipt.Promise, index uint64, signed *bundle.Signed) error {
	asks := &bundle.ReceiptRequest{Promise: *signed}
	r.mu.Lock()
	if a.missed || a.unproved {
		asks.Broken = &a.sent.Query
	}
	r.mu.Unlock()
	request, err := bundle.Encode(asks)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	data, err := r.opts.Peer.ReceiptPath(ctx, a.sent.Holder, request)
	if err != nil && r.opts.Peer.Retry(err) {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	if err != nil {
		return err
	}
	return r.settle(a, p, index, data)
}

func promiseOf(reply *bundle.Reply) *bundle.Signed {
	if reply.Answer != nil {
		return &reply.Answer.Promise
	}
	return &reply.Refusal.Promise
}

// late reports, once, a promise that was not kept by its deadline. That it is over is known from the holder's own log, or from this
// member's clock when the log is silent.
func (r *Requester) late(a *asked, p *receipt.Promise, head ledger.Head, how string, cause error) error {
	deadline, err := entry.ParseTime(p.Deadline)
	if err != nil {
		return err
	}
	median, err := bundle.Median(head.Times)
	if err != nil {
		return err
	}
	if !median.After(deadline) && !r.opts.Now().After(deadline.Add(bundle.Window(r.opts.Config))) {
		return cause
	}
	if err := r.noteBroken(a, p, how); err != nil {
		return err
	}
	return fmt.Errorf("following a promise: %w: %w", receipt.ErrBroken, cause)
}

// maxComplaints is how often a holder is told that a promise has no batch. It may be down, and its own restart finds out as well.
const maxComplaints = 8

// noteBroken journals, once, that a promise was not kept in time, and tells the operator.
func (r *Requester) noteBroken(a *asked, p *receipt.Promise, how string) error {
	flag, message := &a.missed, "receipt promise broken: no batch by its deadline"
	if how == trace.BrokenUnproved {
		flag, message = &a.unproved, "receipt promise broken: not shown to be under its batch"
	}
	r.mu.Lock() // against readers: one goroutine follows this promise
	known, first := *flag, !a.missed && !a.unproved
	r.mu.Unlock()
	if known {
		return nil
	}
	if err := r.opts.Book.Keep(KindBroken, brokenRecord{ID: a.sent.ID, How: how}); err != nil {
		return fmt.Errorf("noting a broken promise: %w", err)
	}
	r.mu.Lock()
	*flag = true
	r.recount(a)
	r.mu.Unlock()
	r.opts.Logger.Error(message, slog.String("peer", a.sent.Holder), slog.Uint64("beat", p.Beat))
	if first && r.opts.Broken != nil {
		r.opts.Broken(a.sent.Holder)
	}
	return nil
}

// settle checks a path, which must lead to the one batch of its beat that counts, and keeps it with the answer.
func (r *Requester) settle(a *asked, p *receipt.Promise, index uint64, data []byte) error {
	include, err := bundle.DecodeReceipt(data)
	if err != nil {
		return err
	}
	if err := bundle.CheckReceipt(r.opts.Verifier.Configurations(), p, r.opts.Config.Origin(a.sent.Holder), include); err != nil {
		return err
	}
	if include.Batch.Index != index {
		return fmt.Errorf("checking a receipt: the entry is a second batch of its beat: %w", receipt.ErrBroken)
	}
	if err := r.opts.Book.Keep(KindLogged, loggedRecord{ID: a.sent.ID, Receipt: data}); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a.logged, a.unproved = include, false
	r.recount(a)
	return nil
}
