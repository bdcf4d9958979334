package holder

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"

	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/dataset"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// all is the whole of the holder's own log, final or not.
func (h *Holder) all() *view.View { return h.opts.Ledger.View(h.origin(), ^uint64(0)) }

// publish appends an entry to the holder's log and waits until a quorum has it. An entry without the approvals that the member's card
// asks for is not appended: it would be void.
func (h *Holder) publish(ctx context.Context, e entry.Entry) (uint64, error) {
	if err := h.approved(e); err != nil {
		return 0, err
	}
	indexes, err := h.opts.Ledger.Append(ctx, e)
	if err != nil {
		return 0, fmt.Errorf("publishing %s: %w", e.Kind(), err)
	}
	if _, ok := e.(entry.Approved); ok && h.all().Void(indexes[0]) { // a rule begins between where the log ended and where the entry came to stand
		return 0, fmt.Errorf("publishing %s: entry %d is void: %w", e.Kind(), indexes[0], network.ErrApprovals)
	}
	return indexes[0], h.final(ctx, e, indexes[0])
}

func (h *Holder) final(ctx context.Context, e entry.Entry, index uint64) error {
	if err := h.opts.Ledger.WaitFinal(ctx, index); err != nil {
		return fmt.Errorf("waiting for %s to be final (it is on this member's log at %d): %w", e.Kind(), index, err)
	}
	return nil
}

// DeclareDataset announces a dataset from a schema document and returns its entry's index. How the source file maps to the schema
// stays in the sealed journal. Declaring the same schema again changes nothing but the mapping.
func (h *Holder) DeclareDataset(ctx context.Context, document []byte) (uint64, error) {
	s, m, err := schema.Load(document)
	if err != nil {
		return 0, err
	}
	if _, ok := h.opts.Config.Scheme(s.Scheme); !ok {
		return 0, fmt.Errorf("declaring dataset %s: identifier scheme %q is not in the network configuration: %w", s.Dataset, s.Scheme, schema.ErrSchema)
	}
	if err := h.opts.Datasets.Declare(s); err != nil {
		return 0, err
	}
	if err := h.opts.Book.Keep(KindMapping, mappingRecord{Dataset: s.Dataset, Document: document}); err != nil {
		return 0, err
	}
	h.mu.Lock()
	h.mappings[s.Dataset] = m
	h.mu.Unlock()
	if old, index, ok := h.all().Dataset(s.Dataset); ok {
		if declared, err := schema.FromDeclare(old); err == nil && declared.Equal(s) {
			return index, h.opts.Ledger.WaitFinal(ctx, index)
		}
	}
	return h.publish(ctx, s.Declare(h.opts.Now()))
}

// EpochInfo says what an import put on the ledger.
type EpochInfo struct {
	Dataset string `json:"dataset"`
	Epoch   uint64 `json:"epoch"`
	Index   uint64 `json:"index"` // of the dataset.epoch entry
	Root    string `json:"root"`
}

// Import reads a CSV into a new epoch and publishes its root. Order: the epoch's files are durable, then its entry is on the log, then
// it is current, then it is final. Queries are answered from the newest final epoch throughout. A crash in between is settled by
// Recover.
func (h *Holder) Import(ctx context.Context, name string, csv io.Reader, progress func(done, total int)) (*dataset.Report, *EpochInfo, error) {
	declared, declare, ok := h.all().Dataset(name)
	h.mu.Lock()
	mapping := h.mappings[name]
	h.mu.Unlock()
	if !ok || mapping == nil {
		return nil, nil, fmt.Errorf("importing into dataset %s: %w", name, ErrUnknownDataset)
	}
	scheme, ok := h.opts.Config.Scheme(declared.Scheme)
	if !ok {
		return nil, nil, fmt.Errorf("importing: the identifier scheme of dataset %s is not in the configuration", name)
	}
	h.importing.Lock()
	defer h.importing.Unlock()
	if err := h.settle(name); err != nil {
		return nil, nil, err
	}
	prepared, report, err := h.opts.Datasets.Import(ctx, name, h.opts.Config.Instance, scheme, csv, mapping, progress)
	if err != nil {
		return report, nil, err
	}
	info := &EpochInfo{Dataset: name, Epoch: prepared.Epoch, Root: prepared.RootHex()}
	h.stating.Lock()
	indexes, err := h.opts.Ledger.Append(ctx, entry.DatasetEpoch{Dataset: name, Declare: declare, Epoch: prepared.Epoch, Root: info.Root,
		Time: entry.FormatTime(h.opts.Now())})
	h.stating.Unlock()
	if err != nil { // the entry may be on the log all the same: the epoch stays pending until settle looks
		return report, nil, fmt.Errorf("publishing an epoch: %w", err)
	}
	info.Index = indexes[0]
	if err := h.opts.Datasets.Activate(name, prepared.Epoch, info.Index); err != nil {
		return report, nil, err
	}
	if err := h.opts.Ledger.WaitFinal(ctx, info.Index); err != nil {
		return report, info, fmt.Errorf("waiting for epoch %d to be final: %w", info.Epoch, err)
	}
	return report, info, nil
}

// Recover settles every epoch whose files were durable when the gateway stopped, and frees the nullifiers of queries that were not
// answered.
func (h *Holder) Recover() error {
	if h.opts.Register != nil {
		h.opts.Register.Settle()
	}
	for _, name := range h.opts.Datasets.Datasets() {
		if err := h.settle(name); err != nil {
			return err
		}
	}
	return nil
}

// settle decides about an epoch of which it was left open whether its entry reached the log: if so it becomes current, else it is
// discarded.
func (h *Holder) settle(name string) error {
	prepared, ok := h.opts.Datasets.Pending(name)
	if !ok {
		return nil
	}
	var err error
	if e, index, ok := h.all().Epoch(name); ok && e.Epoch == prepared.Epoch && e.Root == prepared.RootHex() {
		err = h.opts.Datasets.Activate(name, prepared.Epoch, index)
	} else {
		err = h.opts.Datasets.Discard(name, prepared.Epoch)
	}
	if err != nil {
		return fmt.Errorf("settling epoch %d of dataset %s: %w", prepared.Epoch, name, err)
	}
	return nil
}

// PublishPolicy compiles a policy for its dataset's declared schema and publishes it. The same document again changes nothing;
// another text under a published version is refused. Where the member's card asks for approvals, DraftPolicy and PublishDraft do.
func (h *Holder) PublishPolicy(ctx context.Context, d *policy.Document) (uint64, error) {
	e, err := h.compile(d)
	if err != nil {
		return 0, err
	}
	return h.publishPolicy(ctx, e)
}

func (h *Holder) compile(d *policy.Document) (entry.PolicyPublish, error) {
	declared, declare, ok := h.all().Dataset(d.Dataset)
	if !ok {
		return entry.PolicyPublish{}, fmt.Errorf("publishing policy %s for dataset %s: %w", d.Policy, d.Dataset, ErrUnknownDataset)
	}
	return d.Entry(declared, declare, h.opts.Now())
}

func (h *Holder) publishPolicy(ctx context.Context, e entry.PolicyPublish) (uint64, error) {
	h.granting.Lock()
	defer h.granting.Unlock()
	if old, index, ok := h.all().Policy(e.Policy, e.Version); ok {
		same := e
		if same.Time, same.Approvals = old.Time, old.Approvals; reflect.DeepEqual(old, same) {
			return index, h.opts.Ledger.WaitFinal(ctx, index)
		}
		return 0, fmt.Errorf("publishing policy %s version %d: it is published with another text; raise the version: %w",
			e.Policy, e.Version, policy.ErrPolicy)
	}
	return h.publish(ctx, e)
}

// Accept grants an offer that is final on its requester's log. All terms are repeated on the holder's log. An offer is accepted once:
// doing so again returns the entry that stands. Where the member's card asks for approvals, DraftAccept and PublishDraft do.
func (h *Holder) Accept(ctx context.Context, offer entry.Ref) (uint64, error) {
	terms, err := h.offered(offer)
	if err != nil {
		return 0, err
	}
	return h.accept(ctx, entry.AgreementAccept{Offer: offer, Terms: terms, Time: entry.FormatTime(h.opts.Now())})
}

// accept appends an acceptance of terms that were offered.
func (h *Holder) accept(ctx context.Context, e entry.AgreementAccept) (uint64, error) {
	if index, ok, err := h.accepted(e.Offer); err != nil {
		return 0, err
	} else if ok {
		return index, h.opts.Ledger.WaitFinal(ctx, index)
	}
	if err := h.acceptable(&e.Terms); err != nil {
		return 0, err
	}
	if err := h.approved(e); err != nil { // before the requester is asked
		return 0, err
	}
	budget, err := h.fetchBudget(ctx, e.Terms, e.Offer)
	if err != nil {
		return 0, err
	}
	h.granting.Lock()
	defer h.granting.Unlock()
	if index, ok, err := h.accepted(e.Offer); err != nil {
		return 0, err
	} else if ok { // by a call that was faster to learn the budget
		return index, h.opts.Ledger.WaitFinal(ctx, index)
	}
	accept, err := h.publish(ctx, e)
	if err != nil {
		return 0, err
	}
	return accept, h.keepBudget(accept, budget)
}

// acceptable checks that terms are about what this member has published.
func (h *Holder) acceptable(terms *entry.Terms) error {
	v := h.all()
	p, index, ok := v.Policy(terms.Policy, terms.PolicyVersion)
	if !ok || index != terms.PolicyIndex {
		return fmt.Errorf("accepting an offer: %w", ErrUnknownPolicy)
	}
	declared, ok := v.Declare(p.Declare)
	if !ok {
		return fmt.Errorf("accepting an offer: %w", ErrUnknownDataset)
	}
	for _, column := range terms.Disclose {
		if !slices.ContainsFunc(declared.Columns, func(c entry.Column) bool { return c.Name == column }) {
			return fmt.Errorf("accepting an offer: the dataset has no column %q to disclose: %w", column, ErrOffer)
		}
	}
	if _, _, ok := v.Group(terms.Group); !ok && terms.Group != "" {
		return fmt.Errorf("accepting an offer: this member has no group %q; define it first: %w", terms.Group, ErrOffer)
	}
	return nil
}

// accepted finds the agreement in force that an offer led to. One that was revoked does not come back: it would have a new budget.
func (h *Holder) accepted(offer entry.Ref) (uint64, bool, error) {
	a, ok := h.all().Accepted(offer)
	if ok && a.Revoked {
		return 0, false, fmt.Errorf("accepting an offer: its right was granted and revoked (entry %d); ask for a new offer: %w", a.Index, ErrOffer)
	}
	return a.Index, ok, nil
}

// Reject answers an offer with no. Doing so again returns the entry that stands; an offer that was accepted is not rejected but revoked.
func (h *Holder) Reject(ctx context.Context, offer entry.Ref, reason string) (uint64, error) {
	h.granting.Lock()
	defer h.granting.Unlock()
	if index, ok := h.all().Rejected(offer); ok {
		return index, h.opts.Ledger.WaitFinal(ctx, index)
	}
	if _, err := h.offered(offer); err != nil {
		return 0, err
	}
	if a, ok := h.all().Accepted(offer); ok {
		return 0, fmt.Errorf("rejecting an offer: it was accepted; revoke entry %d instead: %w", a.Index, ErrOffer)
	}
	return h.publish(ctx, entry.AgreementReject{Offer: offer, Reason: reason, Time: entry.FormatTime(h.opts.Now())})
}

// Revoke ends a right from the moment its entry is appended: once it returns, no receipt is written under that agreement. Doing so
// again returns the entry that stands.
func (h *Holder) Revoke(ctx context.Context, accept uint64, reason string) (uint64, error) {
	e := entry.AgreementRevoke{Accept: accept, Reason: reason, Time: entry.FormatTime(h.opts.Now())}
	index, err := h.appendRevoke(ctx, e)
	if err != nil {
		return 0, err
	}
	return index, h.final(ctx, e, index)
}

func (h *Holder) appendRevoke(ctx context.Context, e entry.AgreementRevoke) (uint64, error) {
	h.ending.Lock()
	defer h.ending.Unlock()
	v := h.all()
	if index, ok := v.Revoked(e.Accept); ok {
		return index, nil
	}
	if _, ok := v.Agreement(e.Accept); !ok {
		return 0, fmt.Errorf("revoking agreement %d: none in force: %w", e.Accept, ErrOffer)
	}
	indexes, err := h.opts.Ledger.Append(ctx, e)
	if err != nil {
		return 0, fmt.Errorf("publishing %s: %w", e.Kind(), err)
	}
	return indexes[0], nil
}

// offered reads an offer from the replica of its requester's log.
func (h *Holder) offered(ref entry.Ref) (entry.Terms, error) {
	owner, ok := h.opts.Config.Owner(ref.Origin)
	if !ok {
		return entry.Terms{}, fmt.Errorf("reading an offer: no member has that log: %w", ErrOffer)
	}
	head, ok := h.opts.Ledger.Final(ref.Origin)
	if !ok || ref.Index >= head.Size {
		return entry.Terms{}, fmt.Errorf("reading an offer: not final here yet; try again: %w", ErrOffer)
	}
	raw, err := h.opts.Ledger.Read(ref.Origin, ref.Index, ref.Index+1)
	if err != nil || len(raw) != 1 || entry.Hash(raw[0]) != ref.Hash {
		return entry.Terms{}, fmt.Errorf("reading an offer: another entry stands there: %w", ErrOffer)
	}
	offer, ok := h.opts.Ledger.View(ref.Origin, ^uint64(0)).Offer(ref.Index)
	if !ok || offer.Terms.Requester != owner.Name || offer.Terms.Holder != h.opts.Member {
		return entry.Terms{}, fmt.Errorf("reading an offer: it is withdrawn or not for this member: %w", ErrOffer)
	}
	return offer.Terms, nil
}

// budget returns what an agreement allows. The journal has it, unless a crash came between acceptance and journal: then the
// requester is asked again.
func (h *Holder) budget(ctx context.Context, right agreement.Right) (agreement.Budget, error) {
	h.mu.Lock()
	b, ok := h.budgets[right.Index]
	h.mu.Unlock()
	if ok {
		return b, nil
	}
	b, err := h.fetchBudget(ctx, right.Terms, right.Offer)
	if err != nil {
		return b, err
	}
	return b, h.keepBudget(right.Index, b)
}

func (h *Holder) fetchBudget(ctx context.Context, terms entry.Terms, offer entry.Ref) (agreement.Budget, error) {
	b, err := h.opts.Budget(ctx, terms.Requester, offer)
	if err != nil {
		return b, fmt.Errorf("asking the requester for the budget: %w", err)
	}
	if err := b.Check(); err != nil {
		return b, err
	}
	if b.Commitment() != terms.BudgetCommitment {
		return b, fmt.Errorf("asking the requester for the budget: %w", agreement.ErrTerms)
	}
	return b, nil
}

func (h *Holder) keepBudget(accept uint64, b agreement.Budget) error {
	if err := h.opts.Book.Keep(KindBudget, budgetRecord{Accept: accept, Budget: b}); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.budgets[accept] = b
	return nil
}

// PublishBatch appends the receipts batch of one beat, with the newest epoch of each dataset.
func (h *Holder) PublishBatch(ctx context.Context, beat uint64, root receipt.Hash) error {
	h.stating.Lock()
	defer h.stating.Unlock()
	v := h.all()
	epochs := map[string]uint64{}
	for _, name := range v.Datasets() {
		if _, index, ok := v.Epoch(name); ok {
			epochs[name] = index
		}
	}
	_, err := h.opts.Ledger.Append(ctx, entry.ReceiptsBatch{Beat: beat, Root: root.String(), Epochs: epochs,
		Time: entry.FormatTime(h.opts.Now())})
	if err == nil {
		h.opts.Logger.Debug("receipts batch logged", slog.Uint64("beat", beat))
	}
	return err
}

// LastBeat is the newest beat on the holder's own log, final or not.
func (h *Holder) LastBeat() (uint64, bool) {
	batch, _, ok := h.all().NewestBatch()
	return batch.Beat, ok
}
