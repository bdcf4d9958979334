// Package holder is the answering half of a query: it checks that a department may ask, reads one record at home, proves the
// verdict and writes the receipt before the answer leaves.
package holder

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/claim"
	"github.com/grille-gateway/grille/exchange/dataset"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// Options says what a Holder works with.
type Options struct {
	Config   *network.Configuration
	Member   string
	Key      ed25519.PrivateKey      // the member's query key: signs headers, promises and refusals
	Provers  map[string]*prover.Pool // by circuit id: those that this member has keys of; none: it answers nothing
	Ledger   *ledger.Store
	Datasets *dataset.Store
	Book     *receipt.Book
	Register *claim.Register // of the scopes that this member opens; nil: it opens none
	Now      func() time.Time
	Logger   *slog.Logger
	// Budget asks the requester of an offer for the budget that the offer commits to.
	Budget func(ctx context.Context, requester string, offer entry.Ref) (agreement.Budget, error)
	// Observe is told the outcome of each query, for metrics: a verdict or a refusal's code, and how long the proof took.
	Observe func(policy, outcome string, proving time.Duration)
	// Broken, if set, is told once of each promise of this member that was not kept in time, for metrics.
	Broken func(peer string)
}

// A Holder answers queries about its datasets. It is safe for concurrent use. What it has to remember (answers given, budgets
// used, the ledger's time) is in the journal; Replay takes it back after a restart.
type Holder struct {
	opts  Options
	meter *agreement.Meter

	importing sync.Mutex // one import at a time: epochs are numbered
	stating   sync.Mutex // while an epoch is appended, and from looking for the newest ones to appending the batch that names them
	granting  sync.Mutex // from looking for an agreement or policy of that name to appending it: one offer, one agreement
	noting    sync.Mutex // from looking whether a promise is known as broken to its journal frame: each is noted once
	// ending is held for reading from the last look at a right until the receipt is on disk, and for writing while a revocation is
	// appended: a right ends at one point of time for all answers.
	ending sync.RWMutex

	mu       sync.Mutex // guards what follows
	answers  map[receipt.Hash]*stored
	ids      map[queryID]receipt.Hash // digest of the one query that may bear the id
	inflight map[receipt.Hash]chan struct{}
	broken   map[receipt.Hash]string // promises of this member that were not kept in time, by receipt: why
	checked  uint64                  // promises of this beat and earlier ones were looked after
	budgets  map[uint64]agreement.Budget
	mappings map[string]*schema.Mapping // how each dataset's source file is read
	now      time.Time                  // the ledger's time, never going back
	swept    time.Time                  // when old replies were last dropped
}

// queryID is a query's id with its requester: nobody can use up another's.
type queryID struct{ requester, id string }

// stored is a reply that is given again for the same query bytes until the query expired and a while longer.
type stored struct {
	reply []byte
	until time.Time
}

// Kinds of journal payloads.
const (
	KindAnswer  = "holder.answer"
	KindBudget  = "holder.budget"
	KindMapping = "holder.mapping"
)

// answerRecord is what the journal keeps of an answer or refusal.
type answerRecord struct {
	ID        string       `json:"id"`
	Query     receipt.Hash `json:"query"`
	Expires   string       `json:"expires"`
	Time      string       `json:"time"`
	Policy    string       `json:"policy"`
	Requester string       `json:"requester"`
	Outcome   string       `json:"outcome"`
	Agreement *uint64      `json:"agreement,omitempty"` // charged, if any
	Subject   []byte       `json:"subject,omitempty"`   // subject key, if charged
	Claim     *claimRecord `json:"claim,omitempty"`     // made with the answer, if any
	Reply     []byte       `json:"reply"`               // as bytes: an encoder must not respell it
	traceRecord
}

type budgetRecord struct {
	Accept uint64           `json:"accept"`
	Budget agreement.Budget `json:"budget"`
}

type mappingRecord struct {
	Dataset  string `json:"dataset"`
	Document []byte `json:"document"` // schema.Load
}

// New makes a holder with nothing remembered; Replay the journal into it, then Answer.
func New(opts Options) *Holder {
	return &Holder{
		opts: opts, meter: agreement.NewMeter(), answers: map[receipt.Hash]*stored{}, ids: map[queryID]receipt.Hash{},
		inflight: map[receipt.Hash]chan struct{}{}, budgets: map[uint64]agreement.Budget{},
		mappings: map[string]*schema.Mapping{}, broken: map[receipt.Hash]string{},
	}
}

// Replay takes back one journal payload of this package's kinds.
func (h *Holder) Replay(kind string, payload []byte) error {
	switch kind {
	case KindAnswer:
		var r answerRecord
		if err := json.Unmarshal(payload, &r); err != nil {
			return fmt.Errorf("replaying an answer: %w", errReplay)
		}
		if r.Claim != nil && h.opts.Register != nil {
			if err := h.opts.Register.Answered(r.Claim.Scope, r.Claim.Nullifier, r.Query); err != nil {
				return fmt.Errorf("replaying a claim: %w", err)
			}
		}
		return h.remember(&r)
	case KindBudget:
		var r budgetRecord
		if err := json.Unmarshal(payload, &r); err != nil {
			return fmt.Errorf("replaying a budget: %w", errReplay)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.budgets[r.Accept] = r.Budget
	case KindBroken:
		return h.replayBroken(payload)
	case KindChecked:
		return h.replayChecked(payload)
	case KindMapping:
		var r mappingRecord
		if err := json.Unmarshal(payload, &r); err != nil {
			return fmt.Errorf("replaying a mapping: %w", errReplay)
		}
		_, m, err := schema.Load(r.Document)
		if err != nil {
			return fmt.Errorf("replaying a mapping: %w", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.mappings[r.Dataset] = m
	}
	return nil
}

// What a caller can mend.
var (
	ErrUnknownDataset = errors.New("no such dataset is declared; declare it first")
	ErrUnknownPolicy  = errors.New("no such policy version is in force")
	ErrOffer          = errors.New("offer or agreement cannot be used")
	ErrGroup          = errors.New("group cannot be defined so")
	ErrDraft          = errors.New("draft is not one that this member would publish")
)

var errReplay = errors.New("malformed journal payload")

// remember puts an answer's traces back. Charges are counted here, and only here, after a restart.
func (h *Holder) remember(r *answerRecord) error {
	expires, err := entry.ParseTime(r.Expires)
	if err != nil {
		return fmt.Errorf("replaying an answer: %w", errReplay)
	}
	at, err := entry.ParseTime(r.Time)
	if err != nil {
		return fmt.Errorf("replaying an answer: %w", errReplay)
	}
	if r.Agreement != nil {
		if len(r.Subject) != len(circuits.Key{}) {
			return fmt.Errorf("replaying an answer: %w", errReplay)
		}
		h.meter.Charge(*r.Agreement, circuits.Key(r.Subject))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep(r, expires, at)
	return nil
}

// keep files a reply under its query. h.mu is held.
func (h *Holder) keep(r *answerRecord, expires, at time.Time) {
	id := queryID{r.Requester, r.ID}
	if _, taken := h.ids[id]; !taken { // a refusal for a reused id leaves the id to its first query
		h.ids[id] = r.Query
	}
	if at.After(h.now) {
		h.now = at
	}
	if limit := at.Add(bundle.MaxLife); expires.After(limit) { // no query that may be answered expires later
		expires = limit
	}
	if until := expires.Add(bundle.MaxLife); h.opts.Now().Before(until) {
		h.answers[r.Query] = &stored{reply: r.Reply, until: until}
	}
}

// forget drops replies whose queries expired: the same bytes are refused by then. h.mu is held. Once a minute is enough, and
// keeps a query from costing more the more there were before it.
func (h *Holder) forget() {
	now := h.opts.Now()
	if since := now.Sub(h.swept); since >= 0 && since < time.Minute {
		return
	}
	h.swept = now
	for digest, s := range h.answers {
		if now.After(s.until) {
			delete(h.answers, digest)
		}
	}
}

// ledgerTime is the median time of a head's cosignatures, or what it was before if that is later.
func (h *Holder) ledgerTime(head ledger.Head) (now, median time.Time, err error) {
	if median, err = bundle.Median(head.Times); err != nil {
		return now, median, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if median.After(h.now) {
		h.now = median
	}
	return h.now, median, nil
}

func (h *Holder) origin() string { return h.opts.Config.Origin(h.opts.Member) }

func (h *Holder) freshness() time.Duration {
	return time.Duration(h.opts.Config.FreshnessSeconds) * time.Second
}

// Used returns how many answers were charged to an agreement.
func (h *Holder) Used(accept uint64) int { return h.meter.Used(accept) }
