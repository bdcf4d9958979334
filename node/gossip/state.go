package gossip

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/node/peer"
)

const (
	// stateRefresh is the least time between two looks at the store for a changed state.
	stateRefresh = 100 * time.Millisecond
	// stateGap is the least time between two comparisons with one neighbour because its announcements show another state.
	stateGap = time.Second
	// maxSeen bounds what is remembered as fetched already. Beyond it everything is forgotten, and fetched at most once more.
	maxSeen = 4096
	// evidenceRest is how long a member is not asked for evidence after it gave some that proves nothing.
	evidenceRest = 10 * time.Minute
	// standingRest is how long a member is not asked for checkpoints after it named some and gave none of them. They may have become
	// final in between.
	standingRest = 10 * time.Second
)

// state is what a member holds besides heads that all others should hold, too: evidence, standing checkpoints, and what leads to
// the next configuration.
type state struct {
	listing listing
	digest  hash
	mark    [stateMark]byte
	// documents by name
	evidence map[hash][]byte
	first    map[hash]time.Time // standing checkpoints: when they were seen first
	seen     map[hash]bool      // what was fetched and is of no more use: known in another form, or worthless
	rest     map[string]time.Time
}

func newState() state {
	return state{first: map[hash]time.Time{}, seen: map[hash]bool{}, rest: map[string]time.Time{}}
}

// refreshState looks at the store and tells whether the state has changed.
func (g *Gossip) refreshState() bool {
	now := time.Now()
	var succession []byte
	if g.o.Versions != nil {
		succession = g.o.Versions.Succession()
	}
	docs, standing := g.o.Store.Evidence(), g.o.Store.Standing()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.state
	s.evidence = make(map[hash][]byte, len(docs))
	for _, d := range docs {
		s.evidence[sha256.Sum256(d)] = d
	}
	stuck := s.stuck(standing, now, 2*g.o.Compare)
	l := listing{version: g.o.Config.Version, evidence: sorted(s.evidence, maxEvidence), standing: sorted(stuck, maxListed)}
	if len(succession) > 0 {
		l.succession = sha256.Sum256(succession)
	}
	before := s.digest
	s.listing, s.digest = l, sha256.Sum256(append([]byte("grille/1 state\n"), l.encode()...))
	copy(s.mark[:], s.digest[:])
	return before != s.digest
}

// stuck returns the standing checkpoints that have stood for so long without becoming final that others should be told: they may
// contradict what those hold. Usually they are final within a second. Those that stand no more are forgotten.
func (s *state) stuck(standing [][]byte, now time.Time, patience time.Duration) map[hash]bool {
	first, stuck := make(map[hash]time.Time, len(standing)), map[hash]bool{}
	for _, d := range standing {
		h := hash(sha256.Sum256(d))
		at, ok := s.first[h]
		if !ok {
			at = now
		}
		first[h] = at
		if now.Sub(at) >= patience {
			stuck[h] = true
		}
	}
	s.first = first
	return stuck
}

// sorted returns at most so many names, ascending.
func sorted[V any](m map[hash]V, most int) []hash {
	var out []hash
	for h := range m {
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b hash) int { return bytes.Compare(a[:], b[:]) })
	return out[:min(len(out), most)]
}

// see remembers what need not be fetched again. Call with mu held.
func (s *state) see(h hash) {
	if len(s.seen) >= maxSeen {
		clear(s.seen)
	}
	s.seen[h] = true
}

// tellState sends every neighbour an announcement of no heads, which shows the new state.
func (g *Gossip) tellState(ctx context.Context) {
	for _, n := range g.neighbours {
		g.tasks.Go(func() {
			if err := g.announce(ctx, n, nil); err != nil {
				g.report(ctx, "announcing state failed", n, err)
			}
		})
	}
}

// noticeState has a neighbour compared with whose announcement shows another state than ours.
func (g *Gossip) noticeState(from string, mark [stateMark]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if mark == g.state.mark || g.waiting[from] || !slices.Contains(g.neighbours, from) || time.Since(g.lately[from]) < stateGap {
		return
	}
	select {
	case g.asked <- from:
		g.lately[from], g.waiting[from] = time.Now(), true
	default:
	}
}

// takeState fetches what a member's state has and ours lacks.
func (g *Gossip) takeState(ctx context.Context, member string, theirs *listing) error {
	if theirs == nil {
		return nil
	}
	if err := g.takeEvidence(ctx, member, theirs.evidence); err != nil {
		return err
	}
	if err := g.takeStanding(ctx, member, theirs.standing); err != nil {
		return err
	}
	g.mu.Lock()
	ours, seen := g.state.listing, g.state.seen[theirs.succession]
	g.mu.Unlock()
	if g.o.Versions == nil || theirs.succession == (hash{}) || theirs.succession == ours.succession || theirs.version != ours.version || seen {
		return nil
	}
	return g.takeSuccession(ctx, member)
}

// takeEvidence fetches evidence that we have not, some at a time: the next comparison brings the rest.
func (g *Gossip) takeEvidence(ctx context.Context, member string, names []hash) error {
	var lack []hash
	g.mu.Lock()
	for _, h := range names {
		if _, have := g.state.evidence[h]; !have && !g.state.seen[h] && len(lack) < maxFetch {
			lack = append(lack, h)
		}
	}
	resting := time.Now().Before(g.state.rest[member])
	g.mu.Unlock()
	if len(lack) == 0 || resting {
		return nil
	}
	body, err := g.o.Peers.Call(ctx, member, peer.KindEvidence, encodeHashes(lack))
	if err != nil {
		return err
	}
	docs, err := decodeDocuments(body, maxFetch, evidence.MaxSize)
	if err != nil {
		return err
	}
	for _, d := range docs {
		_, err := g.o.Store.AddEvidence(d)
		g.mu.Lock()
		if h := hash(sha256.Sum256(d)); err == nil || slices.Contains(lack, h) {
			g.state.see(h)
		}
		if err != nil {
			g.state.rest[member] = time.Now().Add(evidenceRest)
		}
		g.mu.Unlock()
		if err != nil {
			return fmt.Errorf("evidence of %s: %w", member, err)
		}
	}
	if g.refreshState() {
		g.tellState(ctx)
	}
	return nil
}

// takeStanding fetches checkpoints that stand at a member without becoming final: they may contradict what is here.
func (g *Gossip) takeStanding(ctx context.Context, member string, names []hash) error {
	lack := make(map[hash]bool)
	g.mu.Lock()
	for _, h := range names {
		if _, have := g.state.first[h]; !have && !g.state.seen[h] {
			lack[h] = true
		}
	}
	resting := time.Now().Before(g.state.rest[member])
	g.mu.Unlock()
	if len(lack) == 0 || resting {
		return nil
	}
	standing, err := g.askStanding(ctx, member)
	if err != nil {
		return err
	}
	err = g.o.Store.AddStanding(member, standing)
	g.mu.Lock()
	defer g.mu.Unlock()
	got := false
	for _, d := range standing { // what did not come may still come from others
		h := hash(sha256.Sum256(d))
		got = got || lack[h]
		g.state.see(h)
	}
	if !got {
		g.state.rest[member] = time.Now().Add(standingRest)
	}
	return err
}

func (g *Gossip) takeSuccession(ctx context.Context, member string) error {
	body, err := g.o.Peers.Call(ctx, member, peer.KindSuccession, nil)
	if err != nil || len(body) == 0 {
		return err
	}
	if err := g.o.Versions.AddSuccession(body); err != nil {
		g.mu.Lock()
		g.state.see(sha256.Sum256(body)) // the same again would fail again
		g.mu.Unlock()
		return fmt.Errorf("succession of %s: %w", member, err)
	}
	return nil
}

// chainLoop asks members that have another configuration for the link to the next one, in turn, and no more often than each
// second.
func (g *Gossip) chainLoop(ctx context.Context) {
	for {
		select {
		case member := <-g.ahead:
			if err := within(ctx, func(ctx context.Context) error { return g.takeLink(ctx, member) }); err != nil && ctx.Err() == nil {
				g.o.Logger.Warn("taking link failed", logkey.Member, member, logkey.Error, err)
			}
		case <-ctx.Done():
			return
		}
		if !sleep(ctx, time.Second, nil) {
			return
		}
	}
}

// takeLink asks a member for the link from our configuration to the next. Once the store has it the gateway opens again, with the
// longer chain, and asks for the one after.
func (g *Gossip) takeLink(ctx context.Context, member string) error {
	if g.o.Versions == nil {
		return nil
	}
	if _, have := g.o.Versions.Link(g.o.Config.Version + 1); have {
		return nil
	}
	body, err := g.o.Peers.Call(ctx, member, peer.KindChain, binary.BigEndian.AppendUint32(nil, uint32(g.o.Config.Version+1)))
	var refusal *peer.RemoteError
	if errors.As(err, &refusal) && refusal.Code == CodeNotHeld || errors.Is(err, peer.ErrUnreachable) {
		return nil // it is behind itself, or gone
	}
	if err != nil {
		return err
	}
	return g.o.Versions.AddLink(body)
}

// handleEvidence returns evidence by name, what there is of it.
func (g *Gossip) handleEvidence(body []byte) ([]byte, error) {
	names, err := decodeHashes(body, maxFetch)
	if err != nil {
		return nil, &refusal{CodeMalformed, err}
	}
	var docs [][]byte
	g.mu.Lock()
	for _, h := range names {
		if d, ok := g.state.evidence[h]; ok {
			docs = append(docs, d)
		}
	}
	g.mu.Unlock()
	return encodeDocuments(docs, maxFetch*(3+evidence.MaxSize)), nil
}

// handleSuccession returns what is known on the way to the next configuration.
func (g *Gossip) handleSuccession(body []byte) ([]byte, error) {
	if len(body) > 0 {
		return nil, &refusal{CodeMalformed, fmt.Errorf("%w: asking for the succession has no body", ledger.ErrMessage)}
	}
	if g.o.Versions == nil {
		return nil, nil
	}
	return g.o.Versions.Succession(), nil
}

// handleChain returns the link to a version.
func (g *Gossip) handleChain(body []byte) ([]byte, error) {
	if len(body) != 4 {
		return nil, &refusal{CodeMalformed, fmt.Errorf("%w: a version has 4 bytes", ledger.ErrMessage)}
	}
	if g.o.Versions != nil {
		if link, ok := g.o.Versions.Link(int(binary.BigEndian.Uint32(body))); ok {
			return link, nil
		}
	}
	return nil, &refusal{CodeNotHeld, errors.New("this link is not here")}
}
