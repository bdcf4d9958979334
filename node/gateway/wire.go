package gateway

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/peer"
)

// handle gives a neighbour's request to whom it is for.
func (g *Gateway) handle(ctx context.Context, from string, kind peer.Kind, body []byte) ([]byte, error) {
	select {
	case <-g.connected:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch kind {
	case peer.KindQuery:
		return g.holder.Answer(ctx, from, body)
	case peer.KindReceiptPath:
		return g.holder.ReceiptPath(ctx, from, body)
	case peer.KindBudget:
		return g.tellBudget(from, body)
	case peer.KindCeremony, peer.KindFetch, peer.KindOffer:
		return g.ceremonies.Handle(ctx, from, kind, body)
	}
	return g.gossip.Handle(ctx, from, kind, body)
}

// maxBudget bounds a request for a budget and its reply in bytes.
const maxBudget = 4 << 10

// codeNoBudget is what a holder is told that asks for a budget of no offer to it.
const codeNoBudget = "no_budget"

type budgetRefusal struct{ err error }

func (r *budgetRefusal) Error() string { return r.err.Error() }
func (r *budgetRefusal) Code() string  { return codeNoBudget }
func (r *budgetRefusal) Unwrap() error { return r.err }

// tellBudget answers the holder of an offer with the budget that the offer commits to.
func (g *Gateway) tellBudget(from string, body []byte) ([]byte, error) {
	var offer entry.Ref
	if err := entry.DecodeStrict(body, maxBudget, &offer); err != nil {
		return nil, &budgetRefusal{err}
	}
	budget, err := g.requester.Budget(from, offer)
	if err != nil {
		return nil, &budgetRefusal{err}
	}
	return json.Marshal(budget)
}

// askBudget asks the requester of an offer for its budget. The holder compares it with the commitment.
func (g *Gateway) askBudget(ctx context.Context, from string, offer entry.Ref) (agreement.Budget, error) {
	body, err := json.Marshal(offer)
	if err != nil {
		return agreement.Budget{}, err
	}
	reply, err := wire{g}.Call(ctx, from, peer.KindBudget, body)
	if err != nil {
		return agreement.Budget{}, err
	}
	var budget agreement.Budget
	if err := entry.DecodeStrict(reply, maxBudget, &budget); err != nil {
		return agreement.Budget{}, fmt.Errorf("reading the budget of %s: %w", from, err)
	}
	return budget, nil
}

// wire is how the parts reach the other members. It is a requester.Peer and a gossip.Caller.
type wire struct{ g *Gateway }

// Call waits for the transport to be open, then calls.
func (w wire) Call(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error) {
	select {
	case <-w.g.connected:
		return w.g.peers.Call(ctx, member, kind, body)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Query carries a request to its holder.
func (w wire) Query(ctx context.Context, to string, request []byte) ([]byte, error) {
	return w.Call(ctx, to, peer.KindQuery, request)
}

// ReceiptPath asks for the path of a promised receipt.
func (w wire) ReceiptPath(ctx context.Context, to string, request []byte) ([]byte, error) {
	return w.Call(ctx, to, peer.KindReceiptPath, request)
}

// Retry says whether an error may pass by itself.
func (w wire) Retry(err error) bool {
	var refusal *peer.RemoteError
	if errors.As(err, &refusal) {
		switch refusal.Code {
		case peer.CodeBusy, peer.CodeRateLimited, peer.CodeTimeout, holder.CodeNotFresh, holder.CodeNotYet:
			return true
		}
		return false
	}
	return !errors.Is(err, peer.ErrUnknownMember) && !errors.Is(err, peer.ErrTooLarge) && !errors.Is(err, peer.ErrClosed)
}

// transportMembers are the members of the newest version as the transport sees them, with their keys of earlier versions.
func transportMembers(chain *network.Chain) ([]peer.Member, error) {
	key := func(m network.Member) (ed25519.PublicKey, error) {
		raw, err := base64.StdEncoding.DecodeString(m.TransportKey)
		if err != nil {
			return nil, fmt.Errorf("reading the transport key of %s: %w", m.Name, err) // the configuration was validated
		}
		return raw, nil
	}
	var members []peer.Member
	for _, m := range chain.Newest().Members {
		now, err := key(m)
		if err != nil {
			return nil, err
		}
		one := peer.Member{Name: m.Name, Key: now, Endpoint: m.Endpoint}
		for _, earlier := range chain.Versions() {
			was, ok := earlier.Member(m.Name)
			if !ok || was.TransportKey == m.TransportKey {
				continue
			}
			former, err := key(was)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(one.Former, func(k ed25519.PublicKey) bool { return k.Equal(former) }) {
				one.Former = append(one.Former, former)
			}
		}
		members = append(members, one)
	}
	return members, nil
}

// perSecond is a sustained rate with a burst of two seconds' worth.
func perSecond(n float64) (rate.Limit, int) { return rate.Limit(n), max(1, int(2*n)) }

// observe counts a query that this gateway answered or refused as its holder.
func (g *Gateway) observe(policy, outcome string, proving time.Duration) {
	_, err := circuits.ParseVerdict(outcome)
	g.metrics.Answered(policy, outcome, err != nil, proving)
}
