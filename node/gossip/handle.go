package gossip

import (
	"context"
	"errors"
	"fmt"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/node/peer"
)

// Codes that a neighbour is told.
const (
	CodeMalformed = "malformed"  // not a message of the ledger
	CodeNotOwner  = "not_owner"  // a push of a log that is not the sender's
	CodeNotHeld   = "not_held"   // no such log, not as far, or no such document
	CodeRefused   = "refused"    // the store refused it
	CodeStarting  = "starting"   // try again: no quorum was heard from since the start
	CodeNotServed = "not_served" // not a kind of the ledger
)

// refusal is an error whose code the neighbour sees.
type refusal struct {
	code string
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }
func (r *refusal) Code() string  { return r.code }

// Handle answers a member's ledger request. It has the form of a peer.Handler.
func (g *Gossip) Handle(_ context.Context, from string, kind peer.Kind, body []byte) ([]byte, error) {
	switch kind {
	case peer.KindPush:
		return g.handlePush(from, body)
	case peer.KindAnnounce:
		return nil, g.handleAnnounce(from, body)
	case peer.KindPull:
		return g.handlePull(body)
	case peer.KindEntries:
		return g.handleEntries(body)
	case peer.KindCompare:
		return g.handleCompare(body)
	case peer.KindStanding:
		return g.handleStanding(body)
	case peer.KindEvidence:
		return g.handleEvidence(body)
	case peer.KindSuccession:
		return g.handleSuccession(body)
	case peer.KindChain:
		return g.handleChain(body)
	case peer.KindFresh:
		return g.handleFresh(body)
	}
	return nil, &refusal{CodeNotServed, fmt.Errorf("%s is not a ledger request", kind)}
}

// handlePush takes a push from the owner of the log and from nobody else: its signature would pass whoever brought it, but
// then any member could make us work at another's expense.
func (g *Gossip) handlePush(from string, body []byte) ([]byte, error) {
	push, err := ledger.DecodePush(body)
	if err != nil {
		return nil, &refusal{CodeMalformed, err}
	}
	if owner, ok := g.o.Config.Owner(push.Origin); !ok || owner.Name != from {
		return nil, &refusal{CodeNotOwner, fmt.Errorf("only its owner pushes a log")}
	}
	select {
	case <-g.o.Store.Heard(): // it checks that itself, but later
	default:
		return nil, &refusal{CodeStarting, fmt.Errorf("this mirror has not heard from a quorum since its start")}
	}
	reply, err := g.o.Store.AddCheckpoint(push)
	if err != nil && !errors.Is(err, ledger.ErrStale) { // a stale owner is told how far this mirror is
		return nil, &refusal{CodeRefused, err}
	}
	return reply.Encode(), nil
}

// handleAnnounce notes what a member says to have.
func (g *Gossip) handleAnnounce(from string, body []byte) error {
	mark, marks, err := decodeAnnouncement(body, len(g.origins))
	if err != nil {
		return &refusal{CodeMalformed, err}
	}
	g.mu.Lock()
	g.spread.Announced(from, marks)
	g.mu.Unlock()
	wake(g.kicked)
	g.noticeState(from, mark)
	return nil
}

// handlePull returns the final heads of the logs that are asked for, and the entries from what the asker has on where they are
// few. Logs that have none are left out.
func (g *Gossip) handlePull(body []byte) ([]byte, error) {
	asked, err := core.DecodeMarks(body, false, len(g.origins))
	if err == nil && (len(asked) == 0 || len(asked) > core.MaxWants) {
		err = fmt.Errorf("%w: a pull of %d logs", ledger.ErrMessage, len(asked))
	}
	if err != nil {
		return nil, &refusal{CodeMalformed, err}
	}
	var items []item
	room := maxItemBytes
	for _, a := range asked {
		head, ok := g.o.Store.Final(g.origins[a.Log])
		if !ok {
			continue
		}
		i := item{log: a.Log, checkpoint: head.Checkpoint}
		if run, size := g.tail(head, a.Size); size <= min(room, maxTailBytes) {
			i.entries = run
			room -= size
		}
		items = append(items, i)
	}
	return encodeItems(items), nil
}

// tail returns the entries from one on up to a head, all of them or none, and their bytes.
func (g *Gossip) tail(head ledger.Head, from uint64) (ledger.Entries, int) {
	if from >= head.Size || head.Size-from > maxTail {
		return ledger.Entries{}, 0
	}
	entries, err := g.o.Store.Read(head.Origin, from, head.Size)
	if err != nil || uint64(len(entries)) != head.Size-from {
		return ledger.Entries{}, 0
	}
	size := 0
	for _, e := range entries {
		size += 2 + len(e)
	}
	return ledger.Entries{From: from, Entries: entries}, size
}

func (g *Gossip) handleEntries(body []byte) ([]byte, error) {
	origin, from, to, err := decodeRange(body)
	if err != nil {
		return nil, &refusal{CodeMalformed, err}
	}
	if _, ok := g.numbers[origin]; !ok {
		return nil, &refusal{CodeNotHeld, fmt.Errorf("no such log")}
	}
	entries, err := g.o.Store.Read(origin, from, to)
	if err != nil || len(entries) == 0 {
		return nil, &refusal{CodeNotHeld, fmt.Errorf("these entries are not here")}
	}
	return ledger.Entries{From: from, Entries: entries}.Encode(), nil
}

// handleFresh returns the newest head of this member's own log, heartbeats included.
func (g *Gossip) handleFresh(body []byte) ([]byte, error) {
	if len(body) > 0 {
		return nil, &refusal{CodeMalformed, fmt.Errorf("%w: asking for a fresh head has no body", ledger.ErrMessage)}
	}
	head, ok := g.o.Store.Final(g.origin)
	if !ok {
		return nil, &refusal{CodeNotHeld, fmt.Errorf("nothing of this log is final")}
	}
	return head.Checkpoint, nil
}
