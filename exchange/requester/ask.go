package requester

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// A Question is what a case worker asks.
type Question struct {
	Holder        string
	Policy        string
	PolicyVersion int // 0: the newest in force
	Subject       string
	Purpose       string
	LegalBasis    string
	Case          string
	Disclose      []string
	Scope         *bundle.Scope // where a satisfied answer is a claim; nil: nowhere. The holder is its register
	MaxAge        time.Duration // oldest epoch accepted, at the end of AsOf if there is one; 0: any
	AsOf          string        // day asked about, YYYY-MM-DD, UTC; empty: the holder's current one
	Epoch         uint64        // number of the epoch asked, instead of a day; 0: none
	Life          time.Duration // how long the query may wait for its answer; 0: five minutes
}

// A Result is what came of a query.
type Result struct {
	ID       string         `json:"id"`
	Holder   string         `json:"holder"`
	Policy   string         `json:"policy"`
	Version  int            `json:"version"`
	Purpose  string         `json:"purpose"`
	Issued   string         `json:"issued"`             // UTC
	State    string         `json:"state"`              // sent, answered, receipted or refused
	Verdict  string         `json:"verdict,omitempty"`  // of an answer that was verified
	Report   *bundle.Report `json:"report,omitempty"`   // of an answer that was verified
	Refusal  string         `json:"refusal,omitempty"`  // the holder's code
	Message  string         `json:"message,omitempty"`  // what to do about a refusal
	Rejected string         `json:"rejected,omitempty"` // reason code for which an answer was not believed
	Scope    *bundle.Scope  `json:"scope,omitempty"`    // asked to claim in
	Claim    string         `json:"claim,omitempty"`    // pending, first or later; a query that makes no claim has none
	Broken   bool           `json:"broken,omitempty"`   // the receipt promise was not kept by its deadline
	Logged   bool           `json:"logged,omitempty"`   // the receipt of the answer or refusal is shown under its batch
	Timing   Timing         `json:"timing"`
}

// States of a query.
const (
	StateSent      = "sent"
	StateAnswered  = "answered"
	StateReceipted = "receipted"
	StateRefused   = "refused"
)

const defaultLife = 5 * time.Minute

// Ask signs a question, writes its receipt, sends it and returns the verified answer or the holder's refusal. A reply that does
// not verify is kept as evidence and reported as rejected. On ErrNoReply the result has the id to Resend.
func (r *Requester) Ask(ctx context.Context, question Question) (*Result, error) {
	s, err := r.sign(question)
	if err != nil {
		return nil, err
	}
	var none receipt.Hash
	_, _, err = r.opts.Book.Record(receipt.Draft{Kind: KindSent, Query: bundle.QueryDigest(&s.Query), Outcome: receipt.OutcomeAsked,
		Answer: none, Payload: func(p receipt.Promise, salt receipt.Hash) (any, error) {
			s.Receipt, s.Salt = p, salt
			return s, nil
		}})
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	r.mu.Lock()
	r.file(*s)
	a := r.cases[s.ID]
	r.mu.Unlock()
	return r.send(ctx, a)
}

// Resend returns what came of a query, or sends its bytes again. A reply that was rejected is judged again first: the replica may
// have been behind it.
func (r *Requester) Resend(ctx context.Context, id string) (*Result, error) {
	r.mu.Lock()
	a := r.cases[id]
	r.mu.Unlock()
	if a == nil {
		return nil, fmt.Errorf("sending again: %w", ErrUnknownQuery)
	}
	return r.send(ctx, a)
}

// sign drafts the query of a question and signs it.
func (r *Requester) sign(question Question) (*sentRecord, error) {
	q, opening, err := r.Draft(question)
	if err != nil {
		return nil, err
	}
	signed, err := bundle.Sign(r.opts.Key, bundle.LabelQuery, q)
	if err != nil {
		return nil, err
	}
	return &sentRecord{ID: q.ID, Holder: q.Holder, Policy: q.Policy, Version: q.PolicyVersion,
		Purpose: q.Purpose, Issued: q.Issued, Scope: q.Scope, Query: signed, Expires: q.Expires, Case: q.Case, Opening: *opening}, nil
}

// Draft checks the question against the holder's log and makes its query, with a new id, nonce and tag. Nothing is kept or sent.
func (r *Requester) Draft(question Question) (*bundle.Query, *bundle.Opening, error) {
	now, life := r.opts.Now(), question.Life
	if err := r.askable(&question, now); err != nil {
		return nil, nil, err
	}
	policy, scheme, err := r.find(&question)
	if err != nil {
		return nil, nil, err
	}
	known, ok := r.opts.Config.Scheme(scheme)
	if !ok {
		return nil, nil, fmt.Errorf("asking: the identifier scheme of the dataset is not in the configuration: %w", ErrQuestion)
	}
	subject, err := schema.NormaliseID(known, question.Subject)
	if err != nil {
		return nil, nil, fmt.Errorf("asking: %w: %w", ErrQuestion, err)
	}
	var nonce fr.Element
	if _, err := nonce.SetRandom(); err != nil {
		return nil, nil, fmt.Errorf("asking: drawing a nonce: %w", err)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, nil, fmt.Errorf("asking: drawing an id: %w", err)
	}
	if life == 0 {
		life = defaultLife
	}
	disclose := slices.Clone(question.Disclose)
	slices.Sort(disclose)
	q := &bundle.Query{
		Version: 1, ID: hex.EncodeToString(id), Instance: r.opts.Config.Instance, Requester: r.opts.Member, Holder: question.Holder,
		Policy: policy.Policy, PolicyVersion: policy.Version,
		Tag:     bundle.FormatElement(circuits.Tag(circuits.SubjectKey(r.opts.Config.Instance, scheme, subject), nonce)),
		Purpose: question.Purpose, LegalBasis: question.LegalBasis, Case: question.Case, Disclose: disclose,
		Scope:         question.Scope,
		MaxAgeSeconds: int64(question.MaxAge / time.Second), AsOf: question.AsOf, Epoch: question.Epoch,
		Issued: entry.FormatTime(now), Expires: entry.FormatTime(now.Add(life)),
	}
	if err := q.Check(); err != nil {
		return nil, nil, fmt.Errorf("asking: %w: %w", ErrQuestion, err)
	}
	return q, &bundle.Opening{Subject: subject, Nonce: bundle.FormatElement(nonce)}, nil
}

// askable checks what needs no ledger.
func (r *Requester) askable(q *Question, now time.Time) error {
	if end, err := entry.ParseTime(r.opts.Config.Expires); err != nil || now.After(end) {
		return fmt.Errorf("asking: the network configuration has expired: %w", ErrQuestion)
	}
	if len(r.opts.Config.CircuitsAt(now)) == 0 {
		return fmt.Errorf("asking: %w", ErrNoCircuit)
	}
	if q.MaxAge%time.Second != 0 { // a part of a second would round to no limit at all
		return fmt.Errorf("asking: the maximum age is not in whole seconds: %w", ErrQuestion)
	}
	return nil
}

// find looks the policy up on the replica of the holder's log, and the identifier scheme of its dataset.
func (r *Requester) find(q *Question) (entry.PolicyPublish, string, error) {
	var none entry.PolicyPublish
	if _, ok := r.opts.Config.Member(q.Holder); !ok {
		return none, "", fmt.Errorf("asking: holder %q: %w: %w", q.Holder, ErrQuestion, bundle.ErrUnknownMember)
	}
	origin := r.opts.Config.Origin(q.Holder)
	head, ok := r.opts.Ledger.Final(origin)
	if !ok {
		return none, "", fmt.Errorf("asking: nothing final from %s has arrived yet; try again: %w", q.Holder, ErrQuestion)
	}
	v := r.opts.Ledger.View(origin, head.Size)
	p, ok := newest(v, q.Policy, q.PolicyVersion)
	if !ok {
		return none, "", fmt.Errorf("asking: %s has no such policy in force; see its policies on the ledger: %w", q.Holder, ErrQuestion)
	}
	if r.withdrew(q, &p) {
		return none, "", fmt.Errorf("asking: this member withdrew its offer for this question; make a new one: %w", ErrQuestion)
	}
	declared, ok := v.Declare(p.Declare)
	if !ok {
		return none, "", fmt.Errorf("asking: the policy's dataset is not declared: %w", ErrQuestion)
	}
	return p, declared.Scheme, nil
}

// withdrew reports whether this member offered to ask this question and took every such offer back, which binds it at once. Whether
// there is an agreement at all is for the holder to say.
func (r *Requester) withdrew(q *Question, p *entry.PolicyPublish) bool {
	withdrawn := false
	for _, o := range r.opts.Ledger.View(r.origin(), ^uint64(0)).Offers() {
		t := &o.Offer.Terms
		missing := func(column string) bool { return !slices.Contains(t.Disclose, column) }
		if t.Holder != q.Holder || t.Policy != p.Policy || t.PolicyVersion != p.Version || t.Purpose != q.Purpose ||
			t.LegalBasis != q.LegalBasis || slices.ContainsFunc(q.Disclose, missing) ||
			q.AsOf != "" && !t.AllowsAsOf(q.AsOf) || q.Epoch != 0 && t.AsOfFrom == "" ||
			q.Scope != nil && t.Scope != q.Scope.Program {
			continue
		}
		if !o.Withdrawn {
			return false
		}
		withdrawn = true
	}
	return withdrawn
}

func newest(v *view.View, name string, version int) (found entry.PolicyPublish, ok bool) {
	for _, p := range v.Policies() {
		if p.Policy.Policy == name && !p.Retired && (version == p.Policy.Version || version == 0 && p.Policy.Version > found.Version) {
			found, ok = p.Policy, true
		}
	}
	return found, ok
}

// send carries the query until there is a reply, the query expires or ctx ends. The same bytes are safe to send again; a query that
// another call is sending waits for what comes of it.
func (r *Requester) send(ctx context.Context, a *asked) (*Result, error) {
	s := &a.sent
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("asking %s: %w: %w", s.Holder, ErrNoReply, ctx.Err())
	}
	result, err := r.settled(a)
	if result != nil || err != nil {
		return result, err
	}
	request, err := bundle.Encode(&bundle.Request{Query: s.Query, Opening: s.Opening})
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	expires, err := entry.ParseTime(s.Expires)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}
	now := r.opts.Now()
	left := expires.Sub(now)
	if left < 0 && now.Before(expires.Add(bundle.MaxLife)) {
		left = lateTry
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	started := time.Now()
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 50*time.Millisecond, 2*time.Second
	reply, err := backoff.Retry(ctx, func() ([]byte, error) {
		reply, err := r.opts.Peer.Query(ctx, s.Holder, request)
		if err != nil && !r.opts.Peer.Retry(err) {
			return nil, backoff.Permanent(err)
		}
		return reply, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
	if err != nil {
		result, _ := r.Result(s.ID)
		return result, fmt.Errorf("asking %s: %w: %w", s.Holder, ErrNoReply, err)
	}
	took := time.Since(started)
	r.await(ctx, s.Holder, reply)
	return r.receive(a, reply, took)
}

// lateTry is for how long a query is sent again whose time is over, within an hour of it: the holder gives the reply that it made in
// time, or refuses.
const lateTry = 10 * time.Second

// settled returns what came of a query, or nil while it is worth sending. The caller has its turn.
func (r *Requester) settled(a *asked) (*Result, error) {
	r.mu.Lock()
	old := a.result
	r.mu.Unlock()
	switch {
	case old == nil:
		return nil, nil
	case old.Rejected == "":
		return r.Result(a.sent.ID)
	}
	result, err := r.receive(a, old.Reply, old.Timing.Answer)
	expires, e := entry.ParseTime(a.sent.Expires)
	if err == nil && result.Rejected != "" && e == nil && r.opts.Now().Before(expires) {
		return nil, nil
	}
	return result, err
}

// replicaWait is how long an answer may be ahead of this member's replica of the holder's log: the head that it stands on is
// broadcast when it becomes final, so a second is much.
const replicaWait = 5 * time.Second

// await waits until the replica holds as much of the holder's log as the answer stands on, so that what its header asserts can
// be checked. If that takes too long, verification says so.
func (r *Requester) await(ctx context.Context, member string, data []byte) {
	reply, err := bundle.DecodeReply(data)
	if err != nil || reply.Answer == nil {
		return
	}
	header, err := reply.Answer.PeekHeader()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, replicaWait)
	defer cancel()
	for {
		changed := r.opts.Ledger.Changed()
		if r.opts.Ledger.Size(r.opts.Config.Origin(member)) >= header.Size {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// receive verifies a reply and keeps it, believed or not.
func (r *Requester) receive(a *asked, data []byte, took time.Duration) (*Result, error) {
	s := &a.sent
	record := &resultRecord{ID: s.ID, Reply: data, Timing: Timing{Answer: took}}
	started := time.Now()
	err := r.judge(s, data, record)
	record.Timing.Verify = time.Since(started)
	var refused *bundle.Refused
	if errors.As(err, &refused) {
		record.Rejected, record.Message = refused.Code(), refused.Error()
	} else if err != nil {
		return nil, fmt.Errorf("reading the reply of %s: %w", s.Holder, err)
	}
	r.mu.Lock()
	known := a.result != nil && a.result.Rejected == record.Rejected && bytes.Equal(a.result.Reply, data)
	r.mu.Unlock()
	if !known {
		if err := r.opts.Book.Keep(KindResult, record); err != nil {
			return nil, err
		}
	}
	r.mu.Lock()
	a.settle(record)
	r.mu.Unlock()
	return r.Result(s.ID)
}

func (r *Requester) judge(s *sentRecord, data []byte, record *resultRecord) error {
	reply, err := bundle.DecodeReply(data)
	if err != nil {
		return &bundle.Refused{Reason: bundle.ReasonEncoding, Err: err}
	}
	if reply.Refusal != nil {
		return r.judgeRefusal(s, reply.Refusal, record)
	}
	if reply.Answer.Query != s.Query || reply.Answer.Opening != nil {
		return &bundle.Refused{Reason: bundle.ReasonHeader, Err: errors.New("the answer is for another query")}
	}
	whole := *reply.Answer
	whole.Opening = &s.Opening
	encoded, err := bundle.Encode(&whole)
	if err != nil {
		return err
	}
	record.Report, err = r.opts.Verifier.Verify(encoded)
	return err
}

// judgeRefusal checks a signed no, its time and its promise: whatever is taken here verifies in a decision document.
func (r *Requester) judgeRefusal(s *sentRecord, signed *bundle.SignedRefusal, record *resultRecord) error {
	key, err := bundle.Key(r.opts.Config, s.Holder)
	if err != nil {
		return err
	}
	var no bundle.Refusal
	if err := signed.Refusal.Open(key, bundle.LabelRefusal, &no); err != nil {
		return &bundle.Refused{Reason: bundle.ReasonHeader, Err: err}
	}
	digest := bundle.QueryDigest(&s.Query)
	if err := no.Check(); err != nil {
		return &bundle.Refused{Reason: bundle.ReasonEncoding, Err: err}
	}
	if no.Query != digest {
		return &bundle.Refused{Reason: bundle.ReasonHeader, Err: errors.New("the refusal is of another query")}
	}
	issued, err := entry.ParseTime(s.Issued)
	if err != nil {
		return err
	}
	now := r.opts.Now()
	if err := no.CheckTime(r.opts.Config, issued, now); err != nil {
		return &bundle.Refused{Reason: bundle.ReasonTimes, Err: err}
	}
	if err := signed.CheckPromise([]*network.Configuration{r.opts.Config}, s.Holder, digest, issued, now); err != nil {
		return &bundle.Refused{Reason: bundle.ReasonPromise, Err: err}
	}
	record.Refusal, record.Message = no.Code, no.Message
	return nil
}
