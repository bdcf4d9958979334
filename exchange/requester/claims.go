package requester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/view"
)

// KindClaim is the kind of journal payloads about claims.
const KindClaim = "requester.claim"

type claimRecord struct {
	ID    string `json:"id"`
	State string `json:"state"` // bundle.ClaimFirst or ClaimLater
	Claim []byte `json:"claim"` // encoded bundle.ClaimInclude
}

// A Claim says what became of the claim that an answer made. Nothing is granted before it is bundle.ClaimFirst.
type Claim struct {
	State string `json:"state"`           // bundle.ClaimPending, ClaimFirst or ClaimLater
	Index uint64 `json:"index,omitempty"` // of the claims.batch on the register's log, once it is final
	Slot  int    `json:"slot,omitempty"`
}

// ErrNoClaim reports a query that makes no claim: without a scope, refused, or answered with another verdict than satisfied.
var ErrNoClaim = errors.New("the query makes no claim")

// Claim looks on the replica what became of a query's claim. While there is no reply, or its batch is not final here, it is pending.
func (r *Requester) Claim(id string) (*Claim, error) {
	r.mu.Lock()
	a := r.cases[id]
	r.mu.Unlock()
	if a == nil {
		return nil, fmt.Errorf("looking a claim up: %w", ErrUnknownQuery)
	}
	if err := r.followClaims(a.sent.Holder); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch state := a.claimState(); {
	case state == "":
		return nil, fmt.Errorf("looking a claim up: %w", ErrNoClaim)
	case a.claim == nil:
		return &Claim{State: state}, nil
	default:
		return &Claim{State: state, Index: a.claim.Batch.Index, Slot: a.claim.Slot}, nil
	}
}

// WaitClaim waits until a claim is final, or ctx ends: then the claim is pending and the error is nil.
func (r *Requester) WaitClaim(ctx context.Context, id string) (*Claim, error) {
	for {
		changed := r.opts.Ledger.Changed()
		c, err := r.Claim(id)
		if err != nil || c.State != bundle.ClaimPending {
			return c, err
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // the reply may come from another call
		case <-ctx.Done():
			return c, nil
		}
	}
}

// claimState is what is known here; empty if the query makes no claim. r.mu is held.
func (a *asked) claimState() string {
	switch {
	case a.sent.Scope == nil:
		return ""
	case a.result == nil || a.result.Rejected != "":
		return bundle.ClaimPending // the register may have made the claim
	case a.result.Report == nil || a.result.Report.Nullifier == "":
		return ""
	case a.claim == nil:
		return bundle.ClaimPending
	}
	return a.place
}

// seek is a claim that is looked for.
type seek struct {
	*asked
	scope, size uint64 // of the answer's header
}

// followClaims looks for the open claims of one register among its final batches. Each batch is read once for all of them.
func (r *Requester) followClaims(holder string) error {
	r.claiming.Lock()
	defer r.claiming.Unlock()
	origin := r.opts.Config.Origin(holder)
	head, ok := r.opts.Ledger.Final(origin)
	if !ok {
		return nil
	}
	wanted, from, err := r.openClaims(holder)
	if err != nil || len(wanted) == 0 {
		return err
	}
	v := r.opts.Ledger.View(origin, head.Size)
	ends := scopeEnds(v)
	for _, index := range v.Claims(from) {
		raw, err := r.opts.Ledger.Read(origin, index, index+1)
		if err != nil || len(raw) != 1 {
			return fmt.Errorf("looking for claims in entry %d of %s: %w", index, origin, err)
		}
		for slot, n := range bundle.ClaimSlots(raw[0]) {
			for _, s := range wanted[n] {
				if end, closed := ends[s.scope]; index < s.looked || index <= s.scope || closed && index > end {
					continue
				}
				include, err := bundle.Include(r.opts.Ledger, origin, index, head.Size)
				if err != nil {
					return err
				}
				if err := r.settleClaim(s, &bundle.ClaimInclude{Checkpoint: string(head.Checkpoint), Batch: include, Slot: slot}); err != nil {
					return err
				}
			}
			delete(wanted, n) // the first place
		}
	}
	for _, list := range wanted {
		for _, s := range list {
			s.looked = head.Size
		}
	}
	return nil
}

// scopeEnds is where scopes closed, by the index that opened them: what a batch says of them afterwards does not count.
func scopeEnds(v *view.View) map[uint64]uint64 {
	ends := map[uint64]uint64{}
	for _, s := range v.Scopes() {
		if s.Closed {
			ends[s.Index] = s.End
		}
	}
	return ends
}

// followAllClaims looks for every open claim.
func (r *Requester) followAllClaims() {
	for _, m := range r.opts.Config.Members {
		if err := r.followClaims(m.Name); err != nil {
			r.opts.Logger.Warn("claims not looked for", slog.String("peer", m.Name), slog.Any("error", err))
		}
	}
}

// openClaims lists the claims without a place by nullifier, and where to begin to look.
func (r *Requester) openClaims(holder string) (map[string][]seek, uint64, error) {
	wanted, from := map[string][]seek{}, ^uint64(0)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.cases {
		if a.sent.Holder != holder || a.claim != nil || a.claimState() != bundle.ClaimPending || a.result == nil || a.result.Report == nil {
			continue
		}
		reply, err := bundle.DecodeReply(a.result.Reply)
		if err != nil || reply.Answer == nil {
			return nil, 0, fmt.Errorf("reading an answer back: %w", err)
		}
		h, err := reply.Answer.PeekHeader()
		if err != nil || h.Scope == nil {
			return nil, 0, fmt.Errorf("reading an answer back: %w", err)
		}
		n := a.result.Report.Nullifier
		wanted[n] = append(wanted[n], seek{a, *h.Scope, h.Size})
		from = min(from, max(a.looked, *h.Scope+1))
	}
	return wanted, from, nil
}

// settleClaim keeps where a claim stands. A place before the answer's header is another answer's.
func (r *Requester) settleClaim(s seek, include *bundle.ClaimInclude) error {
	data, err := bundle.Encode(include)
	if err != nil {
		return err
	}
	state := bundle.ClaimFirst
	if include.Batch.Index < s.size {
		state = bundle.ClaimLater
		r.opts.Logger.Error("the register made a claim that stood on its log", slog.String("peer", s.sent.Holder), slog.Uint64("index", include.Batch.Index))
	}
	if err := r.opts.Book.Keep(KindClaim, claimRecord{ID: s.sent.ID, State: state, Claim: data}); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.claim, s.place = include, state
	return nil
}

// replayClaim takes back what settleClaim kept. r.mu is held.
func (r *Requester) replayClaim(payload []byte) bool {
	var s claimRecord
	var include bundle.ClaimInclude
	if json.Unmarshal(payload, &s) != nil || r.cases[s.ID] == nil || json.Unmarshal(s.Claim, &include) != nil {
		return false
	}
	r.cases[s.ID].claim, r.cases[s.ID].place = &include, s.State
	return true
}
