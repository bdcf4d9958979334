package holder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/dataset"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/prover"
)

// job is one query on its way to a reply.
type job struct {
	request *bundle.Request
	query   *bundle.Query
	digest  receipt.Hash
	issued  time.Time
	expires time.Time
	median  time.Time // of the head's cosignatures

	header  bundle.Header
	signed  bundle.Signed
	head    string // checkpoint note
	right   agreement.Right
	policy  entry.PolicyPublish
	epoch   entry.DatasetEpoch
	until   time.Time // when the next epoch is dated, of a query for a day; zero if there is none
	schema  *schema.Schema
	key     circuits.Key
	secret  *circuits.Secret
	row     schema.Row // of the record, if there is one
	pub     *circuits.Public
	proof   prover.Proof
	proving time.Duration
	charged bool
	code    string // of the refusal, if it came to one
	claimed bool   // this query was the first to bear its id

	scope     *entry.ScopeOpen // of the query, if it names one
	nullifier receipt.Hash     // of a satisfied answer in that scope
	reserved  bool             // the register holds it for this query
}

// Answer takes a request of the authenticated member from and returns an encoded bundle.Reply: an answer or a signed refusal.
// The same query bytes get the same reply, with one receipt and one charge, however often and however concurrently they come.
// A *RequestError means that nothing was recorded.
func (h *Holder) Answer(ctx context.Context, from string, request []byte) ([]byte, error) {
	j, err := h.authenticate(from, request)
	if err != nil {
		return nil, err
	}
	for {
		reply, wait, err := h.enter(j)
		if reply != nil || err != nil {
			return reply, err
		}
		if wait == nil {
			break
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, requestError(CodeBusy, true, "waiting for the same query: %w", ctx.Err())
		}
	}
	defer h.leave(j)
	return h.decide(ctx, j)
}

// authenticate checks who asks before anything is looked up.
func (h *Holder) authenticate(from string, request []byte) (*job, error) {
	r, q, err := bundle.DecodeRequest(request)
	if err != nil {
		return nil, requestError(CodeMalformed, false, "%w", err)
	}
	switch {
	case q.Requester != from:
		return nil, requestError(CodeNotYours, false, "the query names another requester than the member that sent it")
	case q.Holder != h.opts.Member || q.Instance != h.opts.Config.Instance:
		return nil, requestError(CodeElsewhere, false, "the query is for another member or instance")
	}
	key, err := bundle.Key(h.opts.Config, from)
	if err != nil {
		return nil, requestError(CodeNotYours, false, "%w", err)
	}
	if err := r.Query.Open(key, bundle.LabelQuery, q); err != nil {
		return nil, requestError(CodeSignature, false, "%w", err)
	}
	issued, expires, err := q.Times()
	if err != nil {
		return nil, requestError(CodeMalformed, false, "%w", err)
	}
	return &job{request: r, query: q, digest: bundle.QueryDigest(&r.Query), issued: issued, expires: expires}, nil
}

// enter returns the stored reply, or a channel to wait on while the same query is being answered, or neither: then the caller
// answers and must leave.
func (h *Holder) enter(j *job) (reply []byte, wait chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.answers[j.digest]; s != nil {
		return s.reply, nil, nil
	}
	if wait := h.inflight[j.digest]; wait != nil {
		return nil, wait, nil
	}
	h.inflight[j.digest] = make(chan struct{})
	return nil, nil, nil
}

func (h *Holder) leave(j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.inflight[j.digest])
	delete(h.inflight, j.digest)
	h.forget()
}

// decide makes the answer or the refusal and records it.
func (h *Holder) decide(ctx context.Context, j *job) ([]byte, error) {
	err := h.prepare(ctx, j)
	if err == nil {
		err = h.prove(ctx, j)
	}
	var reply []byte
	if err == nil {
		reply, err = h.conclude(j, h.recordAnswer)
	}
	no := (*refusal)(nil)
	if errors.As(err, &no) && no.code == CodeClaimed { // which tells that somebody claimed: it takes a right, and costs what an answer costs
		reply, err = h.conclude(j, func(j *job) ([]byte, error) { return h.recordRefusal(j, CodeClaimed) })
	}
	if errors.As(err, &no) {
		h.unreserve(j)
		h.release(j)
		reply, err = h.recordRefusal(j, no.code)
	}
	if err != nil {
		h.unreserve(j)
		h.release(j)
		h.unclaimID(j)
		return nil, err
	}
	return reply, nil
}

// conclude rechecks the right and records what is charged to it, with no revocation in between.
func (h *Holder) conclude(j *job, record func(*job) ([]byte, error)) ([]byte, error) {
	h.ending.RLock()
	defer h.ending.RUnlock()
	if err := h.recheck(j); err != nil {
		return nil, err
	}
	return record(j)
}

func (h *Holder) release(j *job) {
	if j.charged {
		h.meter.Release(j.right.Index, j.key)
		j.charged = false
	}
}

// prepare settles everything that can be said before the vault is read, and takes one answer out of the budget.
func (h *Holder) prepare(ctx context.Context, j *job) error {
	now, err := h.fixHead(j)
	if err != nil {
		return err
	}
	if err := h.claimID(j); err != nil {
		return err
	}
	switch {
	case now.After(j.expires):
		return refuse(CodeExpired)
	case j.median.Before(j.issued.Add(-bundle.Window(h.opts.Config))): // as verifiers will see it
		return refuse(CodeEarly)
	}
	if err := h.fixEntries(j, now); err != nil {
		return err
	}
	if err := h.fixSubject(j); err != nil {
		return err
	}
	return h.reserve(ctx, j)
}

// claimID binds a query id to one query for good.
func (h *Holder) claimID(j *job) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := queryID{j.query.Requester, j.query.ID}
	digest, ok := h.ids[id]
	if ok && digest != j.digest {
		return refuse(CodeReplayed)
	}
	h.ids[id] = j.digest
	j.claimed = !ok
	return nil
}

// unclaimID gives back the id of a query of which nothing was recorded.
func (h *Holder) unclaimID(j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if j.claimed {
		delete(h.ids, queryID{j.query.Requester, j.query.ID})
	}
}

// fixHead picks the holder's newest final checkpoint, which must be fresh, and the ledger's time.
func (h *Holder) fixHead(j *job) (time.Time, error) {
	head, ok := h.opts.Ledger.Final(h.origin())
	if !ok {
		return time.Time{}, requestError(CodeNotFresh, true, "this member's log has no final checkpoint yet")
	}
	now, median, err := h.ledgerTime(head)
	if err != nil {
		return now, requestError(CodeNotFresh, true, "%w", err)
	}
	j.median = median
	if end, err := entry.ParseTime(h.opts.Config.Expires); err != nil || now.After(end) {
		return now, requestError(CodeConfiguration, false, "the network configuration has expired; its members must agree on a new one")
	}
	if age := h.opts.Now().Sub(head.Times[0]); age > h.freshness() || now.Sub(head.Times[0]) > h.freshness() {
		return now, requestError(CodeNotFresh, true, "the newest quorum of cosignatures is too old; is a quorum of mirrors connected?")
	}
	j.head = string(head.Checkpoint)
	circuit, ok := h.circuitAt(now)
	if !ok {
		return now, requestError(CodeNoCircuit, false, "this member has keys of no circuit that is in force; its operator runs grille doctor")
	}
	j.header = bundle.Header{Version: 1, Instance: h.opts.Config.Instance, Circuit: circuit, Query: j.digest,
		Origin: h.origin(), Size: head.Size, Time: entry.FormatTime(now), AsOf: bundle.AsOfDate(now)}
	return now, nil
}

// circuitAt returns the circuit to answer under at a time: of those in force that this member can prove, the one that came last.
func (h *Holder) circuitAt(at time.Time) (string, bool) {
	for _, k := range h.opts.Config.CircuitsAt(at) {
		if h.opts.Provers[k.ID] != nil {
			return k.ID, true
		}
	}
	return "", false
}

// fixEntries finds policy, agreement, dataset and epoch below the checkpoint. Default is no.
func (h *Holder) fixEntries(j *job, now time.Time) error {
	q, hd := j.query, &j.header
	v := h.opts.Ledger.View(hd.Origin, hd.Size)
	p, index, ok := v.Policy(q.Policy, q.PolicyVersion)
	if !ok {
		return refuse(CodeUnknownPolicy)
	}
	j.policy, hd.Policy, hd.Dataset = p, index, p.Declare
	day, unknown := j.fixEpoch(v)
	right, why := agreement.Find(v, agreement.Use{Requester: q.Requester, Holder: q.Holder, Policy: q.Policy, PolicyVersion: q.PolicyVersion,
		PolicyIndex: index, Purpose: q.Purpose, LegalBasis: q.LegalBasis, Disclose: q.Disclose, AsOf: day,
		Scope: scopeProgram(q), At: now, Withdrawn: h.withdrawn})
	if why != "" {
		return refuse(why)
	}
	j.right, hd.Agreement, hd.Group = right, right.Index, right.Group
	declared, ok := v.Declare(p.Declare)
	if !ok {
		return refuse(CodeUnknownPolicy)
	}
	var err error
	if j.schema, err = schema.FromDeclare(declared); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	if err := h.checkEpoch(j, day, unknown, now); err != nil {
		return err
	}
	if _, batch, ok := v.NewestBatch(); ok {
		hd.Batch = &batch
	}
	return h.fixScope(j, v, now)
}

// fixSubject normalises the subject id and checks the tag.
func (h *Holder) fixSubject(j *job) error {
	scheme, ok := h.opts.Config.Scheme(j.schema.Scheme)
	if !ok {
		return fmt.Errorf("answering: the dataset's identifier scheme is not in the configuration")
	}
	id, err := schema.NormaliseID(scheme, j.request.Opening.Subject)
	if err != nil || id != j.request.Opening.Subject {
		return refuse(CodeSubject)
	}
	key, nonce, err := j.request.Opening.CheckOpening(j.query, scheme.Name)
	if err != nil {
		return refuse(CodeOpening)
	}
	j.key, j.secret = key, &circuits.Secret{Key: key, TagNonce: nonce}
	return nil
}

// reserve takes one answer out of the agreement's budget.
func (h *Holder) reserve(ctx context.Context, j *job) error {
	budget, err := h.budget(ctx, j.right)
	if err != nil {
		h.opts.Logger.Warn("budget of an agreement is not known", slog.Uint64("index", j.right.Index), slog.Any("error", err))
		return refuse(CodeBudgetUnknown)
	}
	if err := h.meter.Reserve(j.right.Index, j.key, budget); err != nil {
		return refuse(CodeBudget)
	}
	j.charged = true
	return nil
}

// prove reads the record and proves the verdict for this query and header alone.
func (h *Holder) prove(ctx context.Context, j *job) error {
	template, err := policy.ParseTemplate(j.policy.Template)
	if err != nil {
		return refuse(CodeUnknownPolicy)
	}
	program, err := template.ProgramAt(j.header.AsOf)
	if err != nil {
		return refuse(CodeUnknownPolicy)
	}
	mask, _, err := bundle.Mask(j.schema, j.query.Disclose)
	if err != nil {
		return refuse(CodeDisclosure)
	}
	epoch, err := h.opts.Datasets.Epoch(j.policy.Dataset, j.epoch.Epoch)
	if errors.Is(err, dataset.ErrEpoch) && j.past() {
		return refuse(CodeNotRetained)
	}
	if err != nil {
		return fmt.Errorf("answering: opening the epoch: %w", err)
	}
	found, err := epoch.Lookup(j.key)
	if err != nil {
		return fmt.Errorf("answering: reading the vault: %w", err)
	}
	if j.signed, err = bundle.Sign(h.opts.Key, bundle.LabelHeader, &j.header); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	root, err := bundle.ParseElement(j.epoch.Root)
	if err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	j.row = found.Row
	j.secret.Record, j.secret.Salt, j.secret.Opening = found.Record, found.Salt, found.Opening
	scope, err := h.claim(j, program)
	if err != nil {
		return err
	}
	if j.pub, err = j.secret.Public(root, bundle.Context(&j.header, &j.signed), scope, mask, program); err != nil {
		h.opts.Logger.Error("an epoch does not open to its root", slog.String("dataset", j.policy.Dataset), slog.Any("error", err))
		return refuse(CodeRecord)
	}
	if err := h.reserveClaim(ctx, j); err != nil {
		return err
	}
	started := time.Now()
	j.proof, err = h.opts.Provers[j.header.Circuit].Prove(ctx, j.pub, j.secret)
	j.proving = time.Since(started)
	if errors.Is(err, prover.ErrBusy) || ctx.Err() != nil {
		return requestError(CodeBusy, true, "proving: %w", err)
	}
	return err
}

// recheck makes sure that nothing was revoked while the proof was made: a right ends when its revocation is appended.
func (h *Holder) recheck(j *job) error {
	v := h.opts.Ledger.View(j.header.Origin, ^uint64(0))
	if !j.right.Stands(v, j.query.Requester) || h.withdrawn(j.right.Offer) {
		return refuse(CodeWithdrawn)
	}
	if _, index, ok := v.Policy(j.policy.Policy, j.policy.Version); !ok || index != j.header.Policy {
		return refuse(CodeWithdrawn)
	}
	return nil
}

// withdrawn reports whether an offer was taken back on its requester's log, as far as that log has arrived here, final or not.
func (h *Holder) withdrawn(offer entry.Ref) bool {
	v := h.opts.Ledger.View(offer.Origin, ^uint64(0))
	_, stands := v.Offer(offer.Index)
	return !stands && offer.Index < v.Size()
}
