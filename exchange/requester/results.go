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
	"github.com/grille-gateway/grille/ledger/entry"
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

func (a *asked) describe() *Result {
	result := &Result{ID: a.sent.ID, Holder: a.sent.Holder, Policy: a.sent.Policy, Version: a.sent.Version,
		Purpose: a.sent.Purpose, Issued: a.sent.Issued, State: StateSent, Broken: a.broken}
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
	if opening {
		b.Opening = &a.sent.Opening
	}
	return bundle.Encode(&b)
}

// ErrNoAnswer reports a query that was refused, rejected or not answered yet.
var ErrNoAnswer = errors.New("the query has no verified answer")

// Resume sends every query again that was sent before a restart, has no reply and has not expired. The bytes are the same, so the
// holder answers each once.
func (r *Requester) Resume(ctx context.Context) {
	now := r.opts.Now()
	r.mu.Lock()
	var open []*sentRecord
	for _, id := range r.order {
		a := r.cases[id]
		if expires, err := entry.ParseTime(a.sent.Expires); a.result == nil && err == nil && now.Before(expires) {
			open = append(open, &a.sent)
		}
	}
	r.mu.Unlock()
	for _, s := range open {
		if _, err := r.send(ctx, s); err != nil && ctx.Err() == nil {
			r.opts.Logger.Warn("a query from before the restart has no reply", slog.String("peer", s.Holder), slog.Any("error", err))
		}
	}
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
		}
	}
}

// Follow looks once after every promise that is not settled.
func (r *Requester) Follow(ctx context.Context) {
	r.mu.Lock()
	var open []string
	for id, a := range r.cases {
		if a.result != nil && a.logged == nil && a.result.Rejected == "" {
			open = append(open, id)
		}
	}
	r.mu.Unlock()
	for _, id := range open {
		if ctx.Err() != nil {
			return
		}
		if err := r.follow(ctx, id); err != nil {
			r.opts.Logger.Debug("receipt path not fetched yet", slog.Any("error", err))
		}
	}
}

func (r *Requester) follow(ctx context.Context, id string) error {
	r.mu.Lock()
	a := r.cases[id]
	r.mu.Unlock()
	reply, err := bundle.DecodeReply(a.result.Reply)
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
	if _, _, ok := r.opts.Ledger.View(origin, head.Size).Batch(p.Beat); !ok {
		return r.late(a, &p)
	}
	request, err := bundle.Encode(&bundle.ReceiptRequest{Promise: *signed})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	data, err := r.opts.Peer.ReceiptPath(ctx, a.sent.Holder, request)
	if err != nil {
		return err
	}
	return r.settle(a, &p, origin, data)
}

func promiseOf(reply *bundle.Reply) *bundle.Signed {
	if reply.Answer != nil {
		return &reply.Answer.Promise
	}
	return &reply.Refusal.Promise
}

// late reports a promise whose batch is missing after its deadline.
func (r *Requester) late(a *asked, p *receipt.Promise) error {
	deadline, err := entry.ParseTime(p.Deadline)
	if err != nil || r.opts.Now().Before(deadline) {
		return err
	}
	r.mu.Lock()
	first := !a.broken
	a.broken = true
	r.mu.Unlock()
	if first {
		r.opts.Logger.Error("receipt promise broken", slog.String("peer", a.sent.Holder), slog.Uint64("beat", p.Beat))
	}
	return fmt.Errorf("following a promise: %w", receipt.ErrBroken)
}

// settle checks a path and keeps it with the answer.
func (r *Requester) settle(a *asked, p *receipt.Promise, origin string, data []byte) error {
	include, err := bundle.DecodeReceipt(data)
	if err != nil {
		return err
	}
	if err := bundle.CheckReceipt(r.opts.Config, p, origin, include); err != nil {
		return err
	}
	if err := r.opts.Book.Keep(KindLogged, loggedRecord{ID: a.sent.ID, Receipt: data}); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	a.logged = include
	return nil
}
