// Package gossip moves ledger messages between this gateway's store and the other members.
//
// It decides when to send what to whom and nothing else: every signature, hash and bound is checked by the store, so a
// member that lies here costs time and no truth. What arrives is at most a message late. It is the same for 3 members and for
// 1,000: connections are kept to the mirrors and to some neighbours (core.Neighbours), not to everybody.
//
//	Append -> Changed -> push to every mirror at once, one in flight each -> Cosigned            (push.go)
//	quorum -> a new final head -> announced to neighbours, which pull it and announce it further (spread.go, core.Spread)
//	a head far ahead of our copy, a fenced log -> entries pulled, run after run, from whoever has them (pull.go)
//	every few seconds -> heads, state and clocks compared with one random member                 (compare.go)
//	evidence, standing checkpoints, successions, links -> pulled when a member's state differs   (state.go)
//
// After a start the store signs nothing before a quorum of mirrors has told its heads and what else it holds (start.go): if one
// of them holds a larger checkpoint of our own log than we do, this folder is an old copy, and the store refuses to sign
// (ledger.ErrRolledBack). This is a tripwire for restored snapshots, not a proof.
package gossip

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/node/peer"
)

// Store is what is needed of ledger.Store, which has the documentation. Tests inject faults here.
type Store interface {
	Outgoing(mirror string) (ledger.Push, bool)
	Cosigned(mirror string, r ledger.PushReply) error
	Changed() <-chan struct{}
	AddCheckpoint(p ledger.Push) (ledger.PushReply, error)
	AddHead(h ledger.Head) (behind bool, err error)
	AddEntries(origin string, e ledger.Entries) error
	Read(origin string, from, to uint64) ([][]byte, error)
	Final(origin string) (ledger.Head, bool)
	Size(origin string) uint64
	Stored(origin string) uint64
	Wants() []ledger.Want
	Hear(member string, heads []ledger.Head, standing [][]byte) error
	Heard() <-chan struct{}
	Standing() [][]byte
	AddStanding(member string, standing [][]byte) error
	Evidence() [][]byte
	AddEvidence(data []byte) (fresh bool, err error)
	ObserveClock(member string, offset time.Duration)
}

// Caller sends a request to a member. peer.Node is one.
type Caller interface {
	Call(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error)
}

// Versions is what the store knows of the chain of configurations, as documents.
type Versions interface {
	// Succession returns what is known on the way to the next version; nil if nothing.
	Succession() []byte
	AddSuccession(data []byte) error
	// Link returns the link that leads to a version.
	Link(version int) ([]byte, bool)
	AddLink(data []byte) error
}

// Options are what gossip needs. Store, Peers, Config and Member are required.
type Options struct {
	Store  Store
	Peers  Caller
	Config *network.Configuration
	Member string // this gateway's
	Logger *slog.Logger
	Now    func() time.Time // nil: time.Now; what other members are told the time by

	// Versions, if set, is what carries the instance from one configuration to the next.
	Versions Versions
	// OnFinal, if set, is told how long a new final head took since its entries were first sent out.
	OnFinal func(time.Duration)
	// Compare is the interval of comparing with a random member, jittered by half. 0: 3 s where everybody is a neighbour, else 10 s,
	// since each comparison may need a connection.
	Compare time.Duration
	// Tick is how often heartbeats that are due, and changes that nobody told of, are looked for, 1 s if zero.
	Tick time.Duration
}

// Gossip is the traffic of one gateway. Run it once; Handle may be called as soon as New has returned.
type Gossip struct {
	o          Options
	origin     string         // our own log
	origins    []string       // of all logs, by number
	numbers    map[string]int // by origin
	others     []string       // all members but us
	neighbours []string
	mirrors    []string // those of the others that mirror
	isMirror   bool     // this member is one

	wakePush map[string]chan struct{} // by mirror; fixed
	kicked   chan struct{}            // the spread has something to do
	wanted   chan struct{}            // entries are to be pulled
	asked    chan string              // members to compare with at once
	ahead    chan string              // members with another configuration, to be asked for links

	tasks sync.WaitGroup // what the loops of Run started

	mu      sync.Mutex // guards what follows
	spread  *core.Spread
	moved   chan struct{}        // closed and replaced when a pull has ended
	sentAt  map[uint64]time.Time // size of our log -> when it was first pushed, until final
	state   state
	waiting map[string]bool      // members in asked
	lately  map[string]time.Time // members that were compared with because their state differs, and when
}

// New prepares gossip; nothing is sent before Run.
func New(o Options) *Gossip {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	if o.Compare == 0 {
		o.Compare = 3 * time.Second
		if len(o.Config.Members) > core.FullMesh {
			o.Compare = 10 * time.Second
		}
	}
	g := &Gossip{
		o: o, origin: o.Config.Origin(o.Member), origins: o.Config.Logs(), numbers: map[string]int{},
		neighbours: neighbours(o.Config, o.Member), wakePush: map[string]chan struct{}{},
		kicked: make(chan struct{}, 1), wanted: make(chan struct{}, 1), asked: make(chan string, 16), ahead: make(chan string, 16),
		moved: make(chan struct{}), sentAt: map[uint64]time.Time{}, state: newState(),
		lately: map[string]time.Time{}, waiting: map[string]bool{},
	}
	for i, origin := range g.origins {
		g.numbers[origin] = i
	}
	for _, m := range o.Config.Members {
		if m.Name == o.Member {
			g.isMirror = m.Mirror
			continue
		}
		g.others = append(g.others, m.Name)
		if m.Mirror {
			g.mirrors = append(g.mirrors, m.Name)
			g.wakePush[m.Name] = make(chan struct{}, 1)
		}
	}
	g.spread = core.NewSpread(len(g.origins), g.neighbours, rand.Float64)
	for _, origin := range g.origins {
		g.sweep(origin)
	}
	g.refreshState()
	return g
}

func neighbours(cfg *network.Configuration, member string) []string {
	names := make([]string, len(cfg.Members))
	for i, m := range cfg.Members {
		names[i] = m.Name
	}
	return core.Neighbours(names, member, cfg.Digest())
}

// Keep names the members that a gateway should always be connected to (peer.Options): its neighbours, and the mirrors, which it
// pushes its log to.
func Keep(cfg *network.Configuration, member string) []string {
	keep := neighbours(cfg, member)
	for _, m := range cfg.Mirrors() {
		if m.Name != member && !slices.Contains(keep, m.Name) {
			keep = append(keep, m.Name)
		}
	}
	if keep == nil {
		keep = []string{} // nil would be everybody
	}
	return keep
}

// Run works until ctx ends and returns when everything it started has stopped.
func (g *Gossip) Run(ctx context.Context) {
	var loops sync.WaitGroup
	defer g.tasks.Wait()
	defer loops.Wait()
	for _, m := range g.mirrors {
		loops.Go(func() { g.listen(ctx, m) })
		loops.Go(func() { g.pushLoop(ctx, m) })
	}
	loops.Go(func() { g.watch(ctx) })
	loops.Go(func() { g.spreadLoop(ctx) })
	loops.Go(func() { g.pullLoop(ctx) })
	loops.Go(func() { g.compareLoop(ctx) })
	loops.Go(func() { g.chainLoop(ctx) })
}

// Wake makes gossip try a member again at once, for when its connection has just come up.
func (g *Gossip) Wake(member string) {
	g.mu.Lock()
	g.spread.Back(member)
	g.mu.Unlock()
	wake(g.wakePush[member])
	wake(g.kicked)
}

// Heard is closed when a quorum of mirrors, ourselves included, has told its heads since the start: the store's Heard.
func (g *Gossip) Heard() <-chan struct{} { return g.o.Store.Heard() }

// wake leaves a token; a nil channel is a member without that duty.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// watch wakes the senders when the store has something new, and on a tick for heartbeats that have come due.
func (g *Gossip) watch(ctx context.Context) {
	tick := time.NewTicker(g.o.Tick)
	defer tick.Stop()
	var look time.Time // at the state next, which is more work than the rest and not in a hurry
	for {
		changed := g.o.Store.Changed() // before the senders look, so that a change meanwhile is not missed
		for _, c := range g.wakePush {
			wake(c)
		}
		g.sweep(g.origin)
		if began := time.Now(); !began.Before(look) {
			if g.refreshState() {
				g.tellState(ctx)
			}
			look = time.Now().Add(stateRefresh + 20*time.Since(began)) // a succession of a large network is megabytes
		}
		select {
		case <-changed:
		case <-tick.C:
			for _, origin := range g.origins {
				g.sweep(origin)
			}
			wake(g.wanted)
		case <-ctx.Done():
			return
		}
	}
}

// sweep tells the spread what the store holds of a log.
func (g *Gossip) sweep(origin string) {
	head, ok := g.o.Store.Final(origin)
	if !ok {
		return
	}
	g.mu.Lock()
	g.spread.Held(g.numbers[origin], tlog.Tree{N: int64(head.Size), Hash: head.Root})
	g.mu.Unlock()
	wake(g.kicked)
}

// sleep waits for d or for a token on c, and tells whether ctx still runs.
func sleep(ctx context.Context, d time.Duration, c <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c:
	case <-ctx.Done():
		return false
	}
	return true
}

// newPause is the schedule after failures: fast at first, since a member that restarts is back in a second.
func newPause() *backoff.ExponentialBackOff {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 5*time.Second
	pause.Reset()
	return pause
}

// report logs a failure, unless it is only that ctx ended. Unreachable neighbours are the transport's to report. A member that
// turns out to have another configuration is asked for what we lack.
func (g *Gossip) report(ctx context.Context, message, member string, err error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, peer.ErrOtherVersion) {
		select {
		case g.ahead <- member:
		default: // others are being asked
		}
	}
	level := slog.LevelWarn
	var refusal *peer.RemoteError
	if errors.Is(err, peer.ErrUnreachable) || errors.Is(err, ledger.ErrStarting) || errors.As(err, &refusal) && refusal.Code == CodeStarting {
		level = slog.LevelDebug
	}
	g.o.Logger.Log(ctx, level, message, logkey.Member, member, logkey.Error, err)
}
