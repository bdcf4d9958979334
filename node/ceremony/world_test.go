package ceremony

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/peer"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

const (
	keysOf   = networktest.Keys("node/ceremony ")
	instance = "test"
	tax      = "GOV/tax"
	health   = "GOV/health"
	civil    = "GOV/civil"
	benefits = "GOV/benefits"
)

// tiny is a circuit of a handful of constraints: x^5 = y.
type tiny struct {
	X frontend.Variable
	Y frontend.Variable `gnark:",public"`
}

func (t *tiny) Define(api frontend.API) error {
	square := api.Mul(t.X, t.X)
	api.AssertIsEqual(api.Mul(api.Mul(square, square), t.X), t.Y)
	return nil
}

var tinyCircuit = sync.OnceValues(func() (*rules.Circuit, error) {
	cs, err := frontend.Compile(ecc.BLS12_381.ScalarField(), r1cs.NewBuilder, &tiny{})
	if err != nil {
		return nil, err
	}
	return rules.NewCircuit(cs)
})

// world is a network of services that call one another without sockets.
type world struct {
	t       *testing.T
	dir     string
	cfg     *network.Configuration
	chain   *network.Chain
	log     *lockedBuffer
	mu      sync.Mutex // guards what follows
	members map[string]*member
	lose    func(from, to string, kind peer.Kind) bool // a call that gets lost, before it arrives
	silent  map[string]bool                            // whose log shows no new heads
	size    int64                                      // of all logs
}

type member struct {
	*Service
	life   context.Context // while it runs
	stop   context.CancelFunc
	done   chan struct{}
	result *rules.Result // of the ceremony whose keys it stored
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newWorld(t *testing.T, mode string) *world {
	t.Helper()
	names := []string{benefits, civil, health, tax}
	var cards []network.Card
	for i, name := range names {
		cards = append(cards, keysOf.Card(t, instance, keysOf.Member(instance, name, fmt.Sprintf("127.0.0.1:%d", i+1), true)))
	}
	cfg := networktest.Build(t, instance, network.Params{Mode: mode, HeartbeatSeconds: 1,
		Schemes: []network.Scheme{{Name: "person", Pattern: "P-[0-9]{4}", Normalise: "upper", Example: "P-0001"}}}, cards...)
	chain := network.NewChain(cfg)
	w := &world{t: t, dir: t.TempDir(), cfg: cfg, chain: chain, log: &lockedBuffer{}, members: make(map[string]*member), size: 7}
	t.Cleanup(func() {
		for _, name := range names {
			w.halt(name)
		}
		if t.Failed() {
			t.Log(w.log)
		}
	})
	return w
}

// start opens a member's service and runs it.
func (w *world) start(names ...string) {
	w.t.Helper()
	for _, name := range names {
		m := &member{done: make(chan struct{})}
		s, err := Open(Options{Dir: w.path(name, "ceremony"), Keys: w.path(name, "keys"), Own: w.path(name, "ceremony/contributions.json"),
			Configuration: w.cfg, Chain: w.chain, Member: name, Key: keysOf.Key("query " + name), Circuit: tinyCircuit, Now: time.Now,
			Call: func(ctx context.Context, to string, kind peer.Kind, body []byte) ([]byte, error) {
				return w.call(ctx, name, to, kind, body)
			},
			Head: func() ([]byte, error) { return w.head(name) },
			Store: func(_ context.Context, r *rules.Result) error {
				w.mu.Lock()
				defer w.mu.Unlock()
				m.result = r
				return nil
			},
			Logger: slog.New(slog.NewTextHandler(w.log, nil)).With("at", name)})
		if err != nil {
			w.t.Fatal(err)
		}
		m.life, m.stop = context.WithCancel(context.Background())
		m.Service = s
		go func() { defer close(m.done); s.Run(m.life) }()
		w.eventually(name+" runs", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.ctx != nil })
		w.mu.Lock()
		w.members[name] = m
		w.mu.Unlock()
	}
}

// halt ends a member's service, as far as it runs.
func (w *world) halt(name string) {
	w.t.Helper()
	w.mu.Lock()
	m := w.members[name]
	delete(w.members, name)
	w.mu.Unlock()
	if m == nil {
		return
	}
	m.stop()
	<-m.done
	if err := m.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *world) path(name, rest string) string {
	return filepath.Join(w.dir, strings.ReplaceAll(name, "/", "-"), rest)
}

// at is a member that runs.
func (w *world) at(name string) *member {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.members[name] == nil {
		w.t.Fatalf("%s does not run", name)
	}
	return w.members[name]
}

// result is the ceremony whose keys a member stored.
func (w *world) result(name string) *rules.Result {
	m := w.at(name)
	w.mu.Lock()
	defer w.mu.Unlock()
	return m.result
}

// call carries a request as the transport does: bounded, and with refusals as codes.
func (w *world) call(ctx context.Context, from, to string, kind peer.Kind, body []byte) ([]byte, error) {
	w.mu.Lock()
	m, lost, silent := w.members[to], w.lose != nil && w.lose(from, to, kind), w.silent[to]
	w.mu.Unlock()
	if kind == peer.KindFresh && !silent {
		return w.head(to)
	}
	bound := peer.DefaultBounds()[kind]
	if len(body) > bound.Request {
		return nil, peer.ErrTooLarge
	}
	if m == nil || lost {
		return nil, fmt.Errorf("calling %s: %w", to, peer.ErrUnreachable)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)() // connections end with the process
	reply, err := m.Handle(ctx, from, kind, bytes.Clone(body))
	var coded peer.Coded
	switch {
	case m.life.Err() != nil:
		return nil, fmt.Errorf("calling %s: %w", to, peer.ErrUnreachable)
	case errors.As(err, &coded):
		return nil, &peer.RemoteError{Code: coded.Code(), Message: err.Error()}
	case err != nil:
		return nil, &peer.RemoteError{Code: peer.CodeInternal}
	case len(reply) > bound.Reply:
		return nil, peer.ErrTooLarge
	}
	return reply, nil
}

// head is a final head of a member's log, cosigned now.
func (w *world) head(name string) ([]byte, error) { return w.headAt(name, time.Now()), nil }

func (w *world) headAt(name string, at time.Time) []byte {
	w.t.Helper()
	owner, ok := w.cfg.Member(name)
	if !ok {
		w.t.Fatal(name)
	}
	w.mu.Lock()
	tree := tlog.Tree{N: w.size, Hash: tlog.Hash(sha256.Sum256([]byte(fmt.Sprint(name, w.size))))}
	w.mu.Unlock()
	signed, err := note.Sign(owner.Origin(), tree, keysOf.Key("log "+name))
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := note.VerifyOwner(w.cfg, owner.Origin(), signed)
	if err != nil {
		w.t.Fatal(err)
	}
	var cosigs []note.Cosignature
	for _, m := range w.cfg.Mirrors()[:w.cfg.Quorum()] {
		line, err := note.Cosign(c.Text, m.MirrorName(), keysOf.Key("mirror "+m.Name), at)
		if err != nil {
			w.t.Fatal(err)
		}
		cosigs = append(cosigs, note.Cosignature{Mirror: m.Name, Time: at, Line: line})
	}
	return note.Assemble(c, cosigs)
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("not within a minute: %s\n%s", what, w.log)
}

// open opens a ceremony at a coordinator, with beacons that come at once.
func (w *world) open(coordinator string, o api.CeremonyOpening) string {
	w.t.Helper()
	none := 0
	o.BeaconDelay = &none
	c, err := w.at(coordinator).OpenCeremony(w.t.Context(), o)
	w.check(err)
	return c.ID
}

// status is a ceremony as a member sees it.
func (w *world) status(at, id string) api.Ceremony {
	w.t.Helper()
	found, err := w.at(at).Ceremonies(w.t.Context())
	w.check(err)
	for _, c := range found {
		if c.ID == id {
			return c
		}
	}
	w.t.Fatalf("%s knows no ceremony %s", at, id)
	return api.Ceremony{}
}

// contribute starts a member's contributions.
func (w *world) contribute(id string, names ...string) {
	w.t.Helper()
	for _, name := range names {
		_, err := w.at(name).Contribute(w.t.Context(), id, 0)
		w.check(err)
	}
}

// verifies runs the offline verification on a member's copy, as another process would.
func (w *world) verifies(at, id string) *rules.Result {
	w.t.Helper()
	circuit, err := tinyCircuit()
	w.check(err)
	result, err := rules.Verify(w.t.Context(), w.at(at).dir(id), circuit, func(e []byte, after time.Time) ([]byte, error) {
		return Beacon(w.chain.Versions(), e, after)
	}, nil)
	w.check(err)
	return result
}

// files are those of a member that a pattern names.
func (w *world) files(name, pattern string) []string {
	w.t.Helper()
	found, err := filepath.Glob(w.path(name, pattern))
	w.check(err)
	return found
}
