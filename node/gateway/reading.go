package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/metrics"
	"github.com/grille-gateway/grille/node/peer"
)

// Entries implements api.Gateway.
func (g *Gateway) Entries(q api.EntryQuery) (*api.EntryPage, error) {
	found, err := g.ledger.Search(ledger.Query{Kind: q.Kind, Member: q.Member, Dataset: q.Dataset, Policy: q.Policy,
		From: q.From, To: q.To, After: q.After, Limit: q.Limit})
	if err != nil {
		return nil, api.NewProblem(http.StatusUnprocessableEntity, api.CodeInvalid, "the search cannot be made; is after a cursor of a page before?")
	}
	page := &api.EntryPage{}
	for _, f := range found {
		e := api.Entry{Origin: f.Origin, Member: f.Member, Index: f.Index, Kind: f.Kind, Dataset: f.Dataset, Policy: f.Policy}
		if f.Time.Unix() > 0 {
			e.Time = entry.FormatTime(f.Time)
		}
		if q.Content {
			raw, err := g.finalEntry(f.Origin, f.Index)
			if err != nil {
				return nil, err
			}
			e.Hash, e.Content = entry.Hash(raw), content(raw)
		}
		page.Entries = append(page.Entries, e)
	}
	if len(found) == q.Limit {
		page.Next = found[len(found)-1].Cursor
	}
	return page, nil
}

// content shows an entry as JSON: bytes that are none, as a string.
func content(raw []byte) json.RawMessage {
	if json.Valid(raw) {
		return raw
	}
	quoted, err := json.Marshal(string(raw))
	if err != nil {
		panic("gateway: writing a string as JSON: " + err.Error())
	}
	return quoted
}

// Entry implements api.Gateway.
func (g *Gateway) Entry(origin string, index uint64) (*api.Entry, error) {
	raw, err := g.finalEntry(origin, index)
	if err != nil {
		return nil, err
	}
	owner, _ := g.network.Owner(origin) // finalEntry saw it
	e := &api.Entry{Origin: origin, Member: owner.Name, Index: index, Hash: entry.Hash(raw), Content: content(raw)}
	if decoded, err := entry.Decode(raw); err == nil {
		e.Kind = decoded.Kind()
	}
	return e, nil
}

// finalEntry reads an entry that is final.
func (g *Gateway) finalEntry(origin string, index uint64) ([]byte, error) {
	head, ok := g.ledger.Final(origin)
	if !ok || index >= head.Size {
		return nil, api.NewProblem(http.StatusNotFound, api.CodeNotFound, "no such final entry; GET /v1/ledger/heads lists logs and their sizes")
	}
	raw, err := g.ledger.Read(origin, index, index+1)
	if err != nil {
		return nil, err
	}
	if len(raw) != 1 {
		return nil, fmt.Errorf("reading entry %d of %s: %d entries", index, origin, len(raw))
	}
	return raw[0], nil
}

// Heads implements api.Gateway.
func (g *Gateway) Heads() []api.Head {
	var list []api.Head
	for _, h := range g.ledger.Heads() {
		owner, _ := g.network.Owner(h.Origin)
		item := api.Head{Origin: h.Origin, Member: owner.Name, Size: h.Size, Root: h.Root.String(), Checkpoint: string(h.Checkpoint)}
		if median, err := bundle.Median(h.Times); err == nil {
			item.Time = entry.FormatTime(median)
			item.AgeSeconds = int64(g.now().Sub(median).Seconds())
		}
		item.Witnesses = g.outsideOf(h)
		list = append(list, item)
	}
	return list
}

// End implements api.Gateway.
func (g *Gateway) End(origin string) (*api.End, error) {
	end, err := g.ledger.End(origin)
	switch {
	case errors.Is(err, ledger.ErrOrigin):
		return nil, api.NewProblem(http.StatusNotFound, api.CodeNotFound, "no such log; GET /v1/ledger/heads lists them")
	case errors.Is(err, ledger.ErrFenced), errors.Is(err, ledger.ErrHalted):
		return nil, api.NewProblem(http.StatusConflict, codeNoEnd, err.Error())
	case err != nil:
		return nil, err
	}
	return &api.End{Origin: origin, Size: end.N, Root: end.Hash.String(), Here: g.ledger.Size(origin) >= uint64(end.N)}, nil
}

// Proof implements api.Gateway.
func (g *Gateway) Proof(origin string, index uint64) ([]byte, error) {
	proof, _, err := g.ledger.Proof(origin, index)
	if errors.Is(err, ledger.ErrOrigin) || errors.Is(err, ledger.ErrRange) {
		return nil, api.NewProblem(http.StatusNotFound, api.CodeNotFound, "no such final entry; GET /v1/ledger/heads lists logs and their sizes")
	}
	return proof, err
}

// Network implements api.Gateway.
func (g *Gateway) Network() api.Network {
	c := g.network
	n := api.Network{Instance: c.Instance, Version: c.Version, Mode: c.Mode, Digest: c.Digest(), Quorum: c.Quorum(),
		Mirrors: len(c.Mirrors()), Expires: c.Expires, Document: c.Bytes()}
	states := map[string]peer.Status{}
	for _, s := range g.peers.Peers() {
		states[s.Member] = s
	}
	for _, m := range c.Members {
		item := api.NetworkMember{Name: m.Name, Title: m.Title, Endpoint: m.Endpoint, Mirror: m.Mirror, Self: m.Name == g.member.Name}
		if s, ok := states[m.Name]; ok {
			item.Up, item.Since, item.Reason = s.Up, entry.FormatTime(s.Since), s.Reason
		}
		n.Members = append(n.Members, item)
	}
	return n
}

// Status implements api.Gateway.
func (g *Gateway) Status() api.Status {
	why := g.Ready()
	circuits, answering := g.circuitStates()
	s := api.Status{Version: g.version, Instance: g.network.Instance, Member: g.member.Name, Started: entry.FormatTime(g.started),
		Ready: len(why) == 0, NotReady: why, Mode: g.network.Mode, Circuits: circuits, HeadAgeSeconds: -1,
		PeersUp: g.peersUp(), Peers: len(g.network.Members) - 1,
		BeatSeconds: g.network.BeatSeconds, FreshnessSeconds: g.network.FreshnessSeconds}
	if head, ok := g.ledger.Final(g.origin()); ok {
		s.LogSize = head.Size
		s.HeadAgeSeconds = int64(g.headAge().Seconds())
	}
	if answering != nil {
		s.Circuit, s.VerifyingKey, s.KeyKind = answering.ID, answering.VerifyingKey, answering.Kind
	}
	s.ProverQueued, s.ProverRunning = g.proverDepth()
	s.Witnesses = g.outsideStatus()
	s.BrokenPromises, s.BrokenToUs = g.holder.Broken(), g.requester.Broken()
	clock := g.ledger.Clock()
	s.ClockKnown, s.ClockOffset, s.ClockSkewed = clock.Known, clock.Offset.Seconds(), clock.Skewed
	for _, origin := range g.ledger.Origins() {
		if g.ledger.Halted(origin) {
			s.Halted = append(s.Halted, origin)
		}
	}
	return s
}

// Ready implements api.Gateway: a quorum of mirrors is connected, this member's head is final and fresh, and nothing failed.
// A gateway without a circuit is ready: it keeps the ledger, and Status says what it lacks.
func (g *Gateway) Ready() []string {
	var why []string
	if err := g.ledger.Failure(); err != nil {
		why = append(why, "the ledger signs nothing any more; the gateway's log says why")
	}
	mirrors := 0
	for _, m := range g.network.Mirrors() {
		if m.Name == g.member.Name || g.peers.Up(m.Name) {
			mirrors++
		}
	}
	if q := g.network.Quorum(); mirrors < q {
		why = append(why, fmt.Sprintf("%d mirrors are connected, %d are needed", mirrors, q))
	}
	if g.mayAppend() != nil {
		why = append(why, "no quorum of mirrors was heard from since the start")
	}
	if clock := g.ledger.Clock(); clock.Skewed {
		why = append(why, fmt.Sprintf("this clock is %s from the mirrors' median; set it", clock.Offset.Round(time.Second)))
	}
	if g.ledger.Halted(g.origin()) {
		why = append(why, "this member's log is halted, since two histories of it were signed; see grille ledger evidence")
	}
	switch age := g.headAge(); {
	case age < 0:
		why = append(why, "this member's log has no final checkpoint yet")
	case age > time.Duration(g.network.FreshnessSeconds)*time.Second:
		why = append(why, "this member's newest quorum of cosignatures is older than the freshness bound")
	}
	return why
}

// headAge is how old the oldest cosignature of this member's newest quorum is; negative without one.
func (g *Gateway) headAge() time.Duration {
	head, ok := g.ledger.Final(g.origin())
	if !ok || len(head.Times) == 0 {
		return -time.Second
	}
	return max(0, g.now().Sub(head.Times[0]))
}

func (g *Gateway) peersUp() int {
	up := 0
	for _, s := range g.peers.Peers() {
		if s.Up {
			up++
		}
	}
	return up
}

func (g *Gateway) gauges() metrics.Gauges {
	return metrics.Gauges{
		ProverQueued:  func() int { queued, _ := g.proverDepth(); return queued },
		ProverRunning: func() int { _, running := g.proverDepth(); return running },
		PeersUp:       g.peersUp,
		HeadAge:       g.headAge,
		BrokenOwn:     g.holder.Broken,
		BrokenToUs:    g.requester.Broken,
		LogSizes: func() map[string]uint64 {
			sizes := map[string]uint64{}
			for _, h := range g.ledger.Heads() {
				if owner, ok := g.network.Owner(h.Origin); ok {
					sizes[owner.Name] = h.Size
				}
			}
			return sizes
		},
	}
}
