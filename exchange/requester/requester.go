// Package requester is the asking half of a query: it signs the question, writes its own receipt before it sends, and believes
// an answer only after verifying it against its replica of the holder's log.
package requester

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// ErrNoCircuit means that the configuration names no circuit that is in force: nobody can answer. The members agree on a version that
// names one.
var ErrNoCircuit = errors.New("the network has no circuit in force")

// A Peer reaches other members. An error that may pass is worth a retry with the same bytes; the holder answers them once.
type Peer interface {
	// Query carries a request to its holder and returns the encoded reply.
	Query(ctx context.Context, holder string, request []byte) ([]byte, error)
	// ReceiptPath asks a holder for the path of a promised receipt.
	ReceiptPath(ctx context.Context, holder string, request []byte) ([]byte, error)
	// Retry says whether an error of the two may pass by itself.
	Retry(err error) bool
}

// Options says what a Requester works with.
type Options struct {
	Config   *network.Configuration
	Member   string
	Key      ed25519.PrivateKey // the member's query key
	Ledger   *ledger.Store
	Book     *receipt.Book
	Verifier *bundle.Verifier // with the replica
	Peer     Peer
	Now      func() time.Time
	Logger   *slog.Logger
	// Broken, if set, is told once of each promise that a holder did not keep in time, for metrics.
	Broken func(holder string)
}

// A Requester asks. It is safe for concurrent use. What it must remember is in the journal; Replay takes it back.
type Requester struct {
	opts Options

	claiming sync.Mutex // while claims are looked for
	offering sync.Mutex // from looking for an equal offer to appending it: one question, one budget

	mu      sync.Mutex // guards what follows
	cases   map[string]*asked
	order   []string            // ids, oldest first
	broken  map[string]bool     // ids whose promise was not kept in time
	refs    map[string][]string // ids of queries by their case reference, oldest first
	budgets map[string]agreement.Budget
}

// asked is one query's state.
//
//	sent --reply verified--> answered --batch final--> receipted
//	  |        `--refused, by holder or by verification--> refused
//	  `--expired without a reply--> stays sent: Resend says so
type asked struct {
	sent     sentRecord
	turn     chan struct{} // holds one token while the query is sent and its reply judged
	result   *resultRecord
	logged   *bundle.ReceiptInclude
	claim    *bundle.ClaimInclude // of a satisfied answer in a scope, once its batch is final
	place    string               // bundle.ClaimFirst or ClaimLater
	looked   uint64               // entries of the register's log below this do not hold the claim; of Requester.claiming
	missed   bool                 // the batch was not final by the promise's deadline
	unproved bool                 // it was, and the holder does not show the receipt under it
	told     int                  // how often the holder was told of a missed batch
}

// settle takes a result, unless there is one that was believed: no later reply takes its place.
func (a *asked) settle(result *resultRecord) {
	if a.result == nil || a.result.Rejected != "" {
		a.result = result
	}
}

// Kinds of journal payloads.
const (
	KindSent   = "requester.sent"
	KindResult = "requester.result"
	KindLogged = "requester.logged"
	KindOffer  = "requester.offer"
	KindBroken = "requester.broken"
)

type sentRecord struct {
	ID      string         `json:"id"`
	Holder  string         `json:"holder"`
	Policy  string         `json:"policy"`
	Version int            `json:"version"`
	Purpose string         `json:"purpose"`
	Issued  string         `json:"issued"`
	Scope   *bundle.Scope  `json:"scope,omitempty"`
	Query   bundle.Signed  `json:"query"`
	Opening bundle.Opening `json:"opening"`
	Expires string         `json:"expires"`
	Case    string         `json:"case,omitempty"`
	// This member's own receipt of having asked, under its own beat, and the salt that opens it for an officer.
	Receipt receipt.Promise `json:"receipt"`
	Salt    receipt.Hash    `json:"salt"`
}

type resultRecord struct {
	ID       string         `json:"id"`
	Reply    []byte         `json:"reply"`   // encoded bundle.Reply
	Report   *bundle.Report `json:"report"`  // nil for a refusal
	Refusal  string         `json:"refusal"` // code of the holder's refusal
	Message  string         `json:"message"`
	Rejected string         `json:"rejected"` // reason for which an answer was not believed
	Timing   Timing         `json:"timing"`
}

type loggedRecord struct {
	ID      string `json:"id"`
	Receipt []byte `json:"receipt"` // encoded bundle.ReceiptInclude
}

// brokenRecord notes a promise that was not kept in time. A path that is shown later ends "unproved", but not "missed".
type brokenRecord struct {
	ID  string `json:"id"`
	How string `json:"how"` // trace.BrokenMissed or trace.BrokenUnproved
}

type offerRecord struct {
	Commitment string           `json:"commitment"`
	Budget     agreement.Budget `json:"budget"`
}

// Timing says how long the parts of a query took.
type Timing struct {
	Answer time.Duration `json:"answer_ns"` // from sending to the whole reply: network, proof and the holder's receipt
	Verify time.Duration `json:"verify_ns"` // the whole verification, its pairings included
}

// What a caller can mend.
var (
	ErrUnknownQuery = errors.New("no such query was asked here")
	ErrQuestion     = errors.New("the question cannot be asked")
	ErrNoReply      = errors.New("no reply; the query may be sent again with its id until it expires")
	ErrOffer        = errors.New("offer cannot be made")
)

// New makes a requester with nothing remembered.
func New(opts Options) *Requester {
	return &Requester{opts: opts, cases: map[string]*asked{}, refs: map[string][]string{}, broken: map[string]bool{}, budgets: map[string]agreement.Budget{}}
}

// Replay takes back one journal payload of this package's kinds.
func (r *Requester) Replay(kind string, payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	bad := func() error { return fmt.Errorf("replaying %s: malformed journal payload", kind) }
	switch kind {
	case KindSent:
		var s sentRecord
		if json.Unmarshal(payload, &s) != nil || s.ID == "" {
			return bad()
		}
		r.file(s)
	case KindResult:
		var s resultRecord
		if json.Unmarshal(payload, &s) != nil || r.cases[s.ID] == nil {
			return bad()
		}
		r.cases[s.ID].settle(&s)
	case KindLogged:
		var s loggedRecord
		var include bundle.ReceiptInclude
		if json.Unmarshal(payload, &s) != nil || r.cases[s.ID] == nil || json.Unmarshal(s.Receipt, &include) != nil {
			return bad()
		}
		r.cases[s.ID].logged, r.cases[s.ID].unproved = &include, false
		r.recount(r.cases[s.ID])
	case KindBroken:
		var s brokenRecord
		if json.Unmarshal(payload, &s) != nil || r.cases[s.ID] == nil {
			return bad()
		}
		a := r.cases[s.ID]
		a.missed, a.unproved = a.missed || s.How == trace.BrokenMissed, a.unproved || s.How == trace.BrokenUnproved
		r.recount(a)
	case KindClaim:
		if !r.replayClaim(payload) {
			return bad()
		}
	case KindOffer:
		var s offerRecord
		if json.Unmarshal(payload, &s) != nil {
			return bad()
		}
		r.budgets[s.Commitment] = s.Budget
	}
	return nil
}

func (r *Requester) file(s sentRecord) {
	r.cases[s.ID] = &asked{sent: s, turn: make(chan struct{}, 1)}
	r.order = append(r.order, s.ID)
	if s.Case != "" {
		r.refs[s.Case] = append(r.refs[s.Case], s.ID)
	}
}

// Offer puts an offer on this member's log and returns its reference. The budget stays in the journal and goes to the holder
// when it asks. Offering the same again, while the holder has not answered, returns the offer that stands: a repeated call must not
// double the budget.
func (r *Requester) Offer(ctx context.Context, t entry.Terms, b agreement.Budget) (entry.Ref, error) {
	if err := b.Check(); err != nil {
		return entry.Ref{}, err
	}
	if _, ok := r.opts.Config.Member(t.Holder); !ok || t.Holder == r.opts.Member {
		return entry.Ref{}, fmt.Errorf("offering an agreement: holder %q is not another member: %w", t.Holder, ErrOffer)
	}
	origin := r.opts.Config.Origin(t.Holder)
	head, ok := r.opts.Ledger.Final(origin)
	if !ok {
		return entry.Ref{}, fmt.Errorf("offering an agreement: %s has no final checkpoint here yet; try again: %w", t.Holder, ErrOffer)
	}
	_, index, ok := r.opts.Ledger.View(origin, head.Size).Policy(t.Policy, t.PolicyVersion)
	if !ok {
		return entry.Ref{}, fmt.Errorf("offering an agreement: %s has published no policy %s version %d: %w", t.Holder, t.Policy, t.PolicyVersion, ErrOffer)
	}
	if _, _, ok := r.opts.Ledger.View(origin, head.Size).Group(t.Group); !ok && t.Group != "" {
		return entry.Ref{}, fmt.Errorf("offering an agreement: %s has defined no group %q: %w", t.Holder, t.Group, ErrOffer)
	}
	if max(len(t.Purpose), len(t.LegalBasis)) > bundle.MaxText {
		return entry.Ref{}, fmt.Errorf("offering an agreement: purpose or legal basis of more than %d bytes, which no query can repeat: %w", bundle.MaxText, ErrOffer)
	}
	t.Requester, t.PolicyIndex, t.BudgetCommitment = r.opts.Member, index, b.Commitment()
	t.Disclose = slices.Sorted(slices.Values(t.Disclose))
	r.offering.Lock()
	defer r.offering.Unlock()
	if index, ok := r.standing(&t, b); ok {
		return r.offered(ctx, index)
	}
	if err := r.opts.Book.Keep(KindOffer, offerRecord{Commitment: t.BudgetCommitment, Budget: b}); err != nil {
		return entry.Ref{}, err
	}
	r.mu.Lock()
	r.budgets[t.BudgetCommitment] = b
	r.mu.Unlock()
	indexes, err := r.opts.Ledger.Append(ctx, entry.AgreementOffer{Terms: t, Time: entry.FormatTime(r.opts.Now())})
	if err != nil {
		return entry.Ref{}, fmt.Errorf("offering an agreement: %w", err)
	}
	return r.offered(ctx, indexes[0])
}

func (r *Requester) offered(ctx context.Context, index uint64) (entry.Ref, error) {
	if err := r.opts.Ledger.WaitFinal(ctx, index); err != nil {
		return entry.Ref{}, fmt.Errorf("waiting for the offer to be final: %w", err)
	}
	return r.ref(index)
}

// standing finds an offer with these terms and a budget of the same numbers that is neither withdrawn nor, as far as the holder's log
// has arrived here, answered.
func (r *Requester) standing(t *entry.Terms, b agreement.Budget) (uint64, bool) {
	holder := r.opts.Ledger.View(r.opts.Config.Origin(t.Holder), ^uint64(0))
	for _, o := range r.opts.Ledger.View(r.origin(), ^uint64(0)).Offers() {
		old := o.Offer.Terms
		r.mu.Lock()
		budget, known := r.budgets[old.BudgetCommitment]
		r.mu.Unlock()
		old.BudgetCommitment = t.BudgetCommitment
		if o.Withdrawn || !known || budget.PerSubject != b.PerSubject || budget.Total != b.Total || !old.Equal(t) {
			continue
		}
		ref, err := r.ref(o.Index)
		if err != nil {
			continue
		}
		_, accepted := holder.Accepted(ref)
		if _, rejected := holder.Rejected(ref); !accepted && !rejected {
			return o.Index, true
		}
	}
	return 0, false
}

// Withdraw takes an offer back. It binds this gateway from the moment its entry is appended, and the holder once replicated. Doing so
// again returns the entry that stands.
func (r *Requester) Withdraw(ctx context.Context, offer uint64, reason string) (uint64, error) {
	r.offering.Lock()
	defer r.offering.Unlock()
	if index, ok := r.opts.Ledger.View(r.origin(), ^uint64(0)).Withdrawn(offer); ok {
		return index, nil
	}
	if _, ok := r.opts.Ledger.View(r.origin(), ^uint64(0)).Offer(offer); !ok {
		return 0, fmt.Errorf("withdrawing offer %d: none stands there: %w", offer, ErrOffer)
	}
	indexes, err := r.opts.Ledger.Append(ctx, entry.AgreementWithdraw{Offer: offer, Reason: reason, Time: entry.FormatTime(r.opts.Now())})
	if err != nil {
		return 0, fmt.Errorf("withdrawing an offer: %w", err)
	}
	return indexes[0], nil
}

func (r *Requester) origin() string { return r.opts.Config.Origin(r.opts.Member) }

func (r *Requester) ref(index uint64) (entry.Ref, error) {
	raw, err := r.opts.Ledger.Read(r.origin(), index, index+1)
	if err != nil || len(raw) != 1 {
		return entry.Ref{}, fmt.Errorf("reading an offer back: %w", err)
	}
	return entry.Ref{Origin: r.origin(), Index: index, Hash: entry.Hash(raw[0])}, nil
}

// Budget tells the holder of an offer the budget that it commits to, and nobody else.
func (r *Requester) Budget(from string, offer entry.Ref) (agreement.Budget, error) {
	var none agreement.Budget
	if offer.Origin != r.origin() {
		return none, fmt.Errorf("telling a budget: not an offer of this member: %w", ErrOffer)
	}
	o, ok := r.opts.Ledger.View(offer.Origin, ^uint64(0)).Offer(offer.Index)
	if !ok || o.Terms.Holder != from {
		return none, fmt.Errorf("telling a budget: no offer to that member: %w", ErrOffer)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.budgets[o.Terms.BudgetCommitment]
	if !ok {
		return none, fmt.Errorf("telling a budget: not in the journal: %w", ErrOffer)
	}
	return b, nil
}
