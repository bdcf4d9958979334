// Package gossip moves ledger messages between this gateway's store and its neighbours.
//
// It decides when to send what to whom and nothing else: every signature, hash and bound is checked by the store, so a
// neighbour that lies here costs time and no truth. What arrives is at most a message late.
//
//	Append -> Changed -> push to every mirror at once, one in flight each -> Cosigned
//	quorum -> a new final head -> told to every member, the newest only
//	a head ahead of our copy -> entries pulled from its owner, or from any member that has them
//	every few seconds -> heads compared with one random member, which mends whatever the above missed
//
// After a start nothing is pushed and nothing cosigned before a quorum of mirrors (ourselves included) has told its heads:
// if one of them holds a larger checkpoint of our own log than we do, this folder is an old copy, and the store refuses to
// sign (ledger.ErrRolledBack). This is a tripwire for restored snapshots, not a proof.
package gossip

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/node/peer"
)

// Store is what is needed of ledger.Store, which has the documentation. Tests inject faults here.
type Store interface {
	Outgoing(mirror string) (ledger.Push, bool)
	Cosigned(mirror string, r ledger.PushReply) error
	Changed() <-chan struct{}
	Hear(member string, heads []ledger.Head, standing [][]byte) error
	AddCheckpoint(p ledger.Push) (ledger.PushReply, error)
	AddHead(h ledger.Head) (behind bool, err error)
	AddEntries(origin string, e ledger.Entries) error
	Heads() []ledger.Head
	Read(origin string, from, to uint64) ([][]byte, error)
	Final(origin string) (ledger.Head, bool)
	Stored(origin string) uint64
}

// Caller sends a request to a member. peer.Node is one.
type Caller interface {
	Call(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error)
}

// Options are what gossip needs. All but Logger, Rand and the intervals are required.
type Options struct {
	Store  Store
	Peers  Caller
	Config *network.Configuration
	Member string // this gateway's
	Logger *slog.Logger

	// OnFinal, if set, is told how long a new final head took since its entries were first sent out.
	OnFinal func(time.Duration)
	// Compare is the interval of comparing heads with a random member, 3 s if zero, jittered by half.
	Compare time.Duration
	// Tick is how often heartbeats that are due are looked for, 1 s if zero.
	Tick time.Duration
}

// Gossip is the traffic of one gateway. Run it once; Handle may be called as soon as New has returned.
type Gossip struct {
	o       Options
	origin  string   // our own log
	others  []string // all members but us
	mirrors []string // those of them that mirror

	wakePush map[string]chan struct{} // by mirror; fixed
	wakeHead map[string]chan struct{} // by member; fixed

	heard chan struct{} // closed when a quorum of mirrors has told its heads

	mu      sync.Mutex           // guards what follows
	sentAt  map[uint64]time.Time // size of our log -> when it was first pushed, until final
	pulling map[string]pull      // by origin: what is wanted
	wanted  chan struct{}        // pulling has something new
}

// pull says how far a log should be fetched and who is known to have it.
type pull struct {
	head ledger.Head
	from string
}

// New prepares gossip; nothing is sent before Run.
func New(o Options) *Gossip {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Compare == 0 {
		o.Compare = 3 * time.Second
	}
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	g := &Gossip{
		o: o, origin: o.Config.Origin(o.Member),
		wakePush: map[string]chan struct{}{}, wakeHead: map[string]chan struct{}{},
		sentAt: map[uint64]time.Time{}, pulling: map[string]pull{}, wanted: make(chan struct{}, 1),
		heard: make(chan struct{}),
	}
	for _, m := range o.Config.Members {
		if m.Name == o.Member {
			continue
		}
		g.others = append(g.others, m.Name)
		g.wakeHead[m.Name] = make(chan struct{}, 1)
		if m.Mirror {
			g.mirrors = append(g.mirrors, m.Name)
			g.wakePush[m.Name] = make(chan struct{}, 1)
		}
	}
	return g
}

// Run works until ctx ends and returns when everything it started has stopped.
func (g *Gossip) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	tasks.Go(func() { g.listen(ctx) })
	for _, m := range g.mirrors {
		tasks.Go(func() { g.pushLoop(ctx, m) })
	}
	for _, m := range g.others {
		tasks.Go(func() { g.headLoop(ctx, m) })
	}
	tasks.Go(func() { g.watch(ctx) })
	tasks.Go(func() { g.pullLoop(ctx) })
	tasks.Go(func() { g.compareLoop(ctx) })
}

// Wake makes gossip try a member again at once, for when its connection has just come up.
func (g *Gossip) Wake(member string) {
	wake(g.wakePush[member])
	wake(g.wakeHead[member])
}

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
	for {
		changed := g.o.Store.Changed() // before the senders look, so that a change meanwhile is not missed
		for _, c := range g.wakePush {
			wake(c)
		}
		for _, c := range g.wakeHead {
			wake(c)
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
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

// pushLoop keeps one mirror supplied with our own log, one push in flight at a time.
func (g *Gossip) pushLoop(ctx context.Context, mirror string) {
	select {
	case <-g.heard:
	case <-ctx.Done():
		return
	}
	pause := newPause()
	wake(g.wakePush[mirror])
	for sleep(ctx, time.Hour, g.wakePush[mirror]) {
		for ctx.Err() == nil {
			push, ok := g.o.Store.Outgoing(mirror)
			if !ok {
				break
			}
			if err := g.push(ctx, mirror, push); err != nil {
				g.report(ctx, "pushing to mirror failed", mirror, err)
				sleep(ctx, pause.NextBackOff(), nil)
				continue
			}
			pause.Reset()
		}
	}
}

func (g *Gossip) push(ctx context.Context, mirror string, push ledger.Push) error {
	size := push.From + uint64(len(push.Entries))
	g.mu.Lock()
	if _, ok := g.sentAt[size]; !ok && len(push.Entries) > 0 && len(g.sentAt) < maxMeasured {
		g.sentAt[size] = time.Now()
	}
	g.mu.Unlock()
	body, err := g.o.Peers.Call(ctx, mirror, peer.KindPush, push.Encode())
	if err != nil {
		return err
	}
	reply, err := ledger.DecodePushReply(body)
	if err != nil {
		return err
	}
	if err := g.o.Store.Cosigned(mirror, reply); err != nil {
		return err
	}
	g.noteFinal()
	return nil
}

// maxMeasured bounds what is measured at once while there is no quorum.
const maxMeasured = 1024

// noteFinal wakes the announcers and measures how long finality took.
func (g *Gossip) noteFinal() {
	head, ok := g.o.Store.Final(g.origin)
	if !ok {
		return
	}
	g.mu.Lock()
	var took []time.Duration
	for size, at := range g.sentAt {
		if size <= head.Size {
			took = append(took, time.Since(at))
			delete(g.sentAt, size)
		}
	}
	g.mu.Unlock()
	for _, d := range took {
		if g.o.OnFinal != nil {
			g.o.OnFinal(d)
		}
	}
	for _, c := range g.wakeHead {
		wake(c)
	}
}

// headLoop tells one member of our newest final head. Heads in between are skipped, and so are heartbeats, which have the
// size of the head before them: whoever needs a fresh one asks for it.
func (g *Gossip) headLoop(ctx context.Context, member string) {
	pause := newPause()
	var told uint64
	for sleep(ctx, time.Hour, g.wakeHead[member]) {
		head, ok := g.o.Store.Final(g.origin)
		if !ok || head.Size <= told {
			continue
		}
		if _, err := g.o.Peers.Call(ctx, member, peer.KindHead, head.Encode()); err != nil {
			g.report(ctx, "announcing head failed", member, err)
			var refusal *peer.RemoteError
			if errors.As(err, &refusal) {
				told = head.Size // it was heard; comparing heads mends what it could not use
			}
			sleep(ctx, pause.NextBackOff(), nil)
			wake(g.wakeHead[member])
			continue
		}
		told = head.Size
		pause.Reset()
	}
}

// compareLoop compares heads with one random member every few seconds.
func (g *Gossip) compareLoop(ctx context.Context) {
	if len(g.others) == 0 {
		return
	}
	for {
		half := g.o.Compare / 2
		if !sleep(ctx, half+rand.N(g.o.Compare), nil) {
			return
		}
		member := g.others[rand.IntN(len(g.others))]
		if err := g.compare(ctx, member); err != nil {
			g.report(ctx, "comparing heads failed", member, err)
		}
	}
}

// compare fetches a member's heads if they differ from ours, takes what is newer there and tells what is newer here.
func (g *Gossip) compare(ctx context.Context, member string) error {
	ours := g.o.Store.Heads()
	body, err := g.o.Peers.Call(ctx, member, peer.KindHeads, digest(ours))
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return nil // the same as ours
	}
	theirs, err := decodeHeads(body)
	if err != nil {
		return err
	}
	sizes := map[string]uint64{}
	for _, h := range theirs {
		sizes[h.Origin] = h.Size
		if err := g.learn(h, member); err != nil {
			g.report(ctx, "head not usable", member, err)
		}
	}
	for _, h := range ours {
		if h.Size > sizes[h.Origin] {
			if _, err := g.o.Peers.Call(ctx, member, peer.KindHead, h.Encode()); err != nil {
				return err
			}
		}
	}
	return nil
}

// learn gives a head to the store, and asks for the entries below it if they are missing.
func (g *Gossip) learn(h ledger.Head, from string) error {
	behind, err := g.o.Store.AddHead(h)
	if err != nil {
		return err
	}
	if behind {
		g.want(h, from)
	}
	return nil
}

// Heard is closed when a quorum of mirrors, ourselves included, has told its heads since the start. Nothing should be
// appended to the log before.
func (g *Gossip) Heard() <-chan struct{} { return g.heard }

// listen compares heads with every mirror until a quorum has answered.
func (g *Gossip) listen(ctx context.Context) {
	answers := make(chan struct{}, len(g.mirrors))
	var tasks sync.WaitGroup
	defer tasks.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, m := range g.mirrors {
		tasks.Go(func() {
			pause := newPause()
			for g.compare(ctx, m) != nil {
				if !sleep(ctx, pause.NextBackOff(), nil) {
					return
				}
			}
			if err := g.o.Store.Hear(m, nil, nil); err != nil {
				g.report(ctx, "hearing member failed", m, err)
			}
			answers <- struct{}{}
		})
	}
	count := 0
	if me, ok := g.o.Config.Member(g.o.Member); ok && me.Mirror {
		count = 1 // our own store is open
	}
	for ; count < g.o.Config.Quorum(); count++ {
		select {
		case <-answers:
		case <-ctx.Done():
			return
		}
	}
	close(g.heard)
}

// report logs a failure, unless it is only that ctx ended. Unreachable neighbours are the transport's to report.
func (g *Gossip) report(ctx context.Context, message, member string, err error) {
	if ctx.Err() != nil {
		return
	}
	level := slog.LevelWarn
	var refusal *peer.RemoteError
	if errors.Is(err, peer.ErrUnreachable) || errors.As(err, &refusal) && refusal.Code == CodeStarting {
		level = slog.LevelDebug
	}
	g.o.Logger.Log(ctx, level, message, logkey.Member, member, logkey.Error, err)
}
