package exchange_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/claim"
	"github.com/grille-gateway/grille/exchange/dataset"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/journal"
	"github.com/grille-gateway/grille/exchange/officer"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

const (
	civil    = "GOV/civil"
	benefits = "GOV/benefits"
	health   = "GOV/health"
	purpose  = "Medicaid eligibility"
	basis    = "42 CFR 435.948"
)

var names = []string{benefits, civil, health}

// keys are development keys, made once for all tests of the package.
var keys = sync.OnceValues(func() (*prover.Keys, error) {
	dir := os.Getenv("GRILLE_TEST_KEYS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "grille-test-keys")
	}
	return prover.Develop(context.Background(), dir, nil)
})

// verifier is made once too: it is safe for concurrent use, and caches what it knows of programs.
var verifier = sync.OnceValues(func() (*prover.Verifier, error) {
	k, err := keys()
	if err != nil {
		return nil, err
	}
	return prover.NewVerifier(k.VerifyingKey())
})

// world is an instance of three members in one process: real ledgers, vaults, journals and proofs; function calls for a network.
type world struct {
	t       *testing.T
	dir     string
	config  *network.Configuration
	verify  *bundle.Verifier // without a replica: as a stranger
	members map[string]*member
	running sync.RWMutex              // held for writing while a member opens or closes, for reading while others talk to it
	holder  string                    // whom furnish and grant furnish
	opening bundle.Opening            // of the last lie
	drafted bundle.Query              // likewise
	asking  func(*requester.Question) // alters the question of a lie
	setting
	mu     sync.Mutex
	offset time.Duration // how far the clock is ahead
}

// setting is what a test may want to be otherwise in its world.
type setting struct {
	logs    slog.Handler // of all members
	beat    int          // seconds
	expires string       // of the configuration
	start   time.Time    // when the clock begins; zero: now
	// terms, if set, alters what grant offers.
	terms func(*entry.Terms)
	// proving are the circuits' keys that the members have, and circuits what the configuration says of them: the statement's alone, for
	// ever, if none are given.
	proving  []*prover.Keys
	circuits []network.Circuit
	// approvers are the rules on civil's card.
	approvers []network.Approvers
}

type member struct {
	w         *world
	name      string
	dir       string
	card      network.Card
	log       ed25519.PrivateKey
	mirror    ed25519.PrivateKey
	query     ed25519.PrivateKey
	ledger    *ledger.Store
	vault     *vault.Vault
	datasets  *dataset.Store
	journal   *journal.Journal
	book      *receipt.Book
	pools     map[string]*prover.Pool // by circuit
	register  *claim.Register
	holder    *holder.Holder
	requester *requester.Requester
	officer   *officer.Officer
	stop      context.CancelFunc
	done      sync.WaitGroup
	// intercept, if set, stands between a requester and this member as holder; path does where it shows a receipt.
	intercept func(reply []byte, err error) ([]byte, error)
	observed  string // the newest outcome that metrics were told
	path      func(reply []byte, err error) ([]byte, error)
	// sealing, if set, is called before a frame of this member's journal is sealed; appending stands between book and journal.
	sealing   func()
	appending func(j receipt.Journal) receipt.Journal
	mute      atomic.Bool // no batch of receipts is logged
	unkept    atomic.Bool // nothing new is taken into the journal
}

// sealer is a member's vault with a hook.
type sealer struct {
	*vault.Vault
	m *member
}

func (s sealer) Seal(purpose string, ad, plaintext []byte) ([]byte, error) {
	if s.m.sealing != nil {
		s.m.sealing()
	}
	if s.m.unkept.Load() {
		return nil, errors.New("nothing is sealed")
	}
	return s.Vault.Seal(purpose, ad, plaintext)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, setting{})
}

func newWorldWith(t *testing.T, s setting) *world {
	t.Helper()
	if s.logs == nil {
		s.logs = slog.DiscardHandler
	}
	if s.expires == "" {
		s.expires = "2100-01-01T00:00:00Z"
	}
	s.beat = max(s.beat, 1)
	proofs, err := s.settleCircuits()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), members: map[string]*member{}, holder: civil, setting: s}
	if !s.start.IsZero() {
		w.offset = time.Until(s.start)
	}
	var cards []network.Card
	for i, name := range names {
		m := w.create(name, i)
		w.members[name] = m
		cards = append(cards, m.card)
	}
	w.config, err = network.Build("test.grille", network.Params{
		Mode:        network.ModeDemo,
		Schemes:     []network.Scheme{{Name: "person", Pattern: `P-[0-9]{4}`, Normalise: "upper", Example: "P-1234"}},
		BeatSeconds: s.beat, HeartbeatSeconds: 1, FreshnessSeconds: 30,
		Circuits: s.circuits, Expires: s.expires,
	}, cards)
	if err != nil {
		t.Fatal(err)
	}
	w.verify = &bundle.Verifier{Config: w.config, Proofs: proofs}
	for _, name := range names {
		w.members[name].start()
	}
	t.Cleanup(func() {
		for _, name := range names {
			w.members[name].halt()
		}
	})
	return w
}

// settleCircuits sets what was left open about circuits, and returns the verifying keys.
func (s *setting) settleCircuits() (bundle.VerifyingKeys, error) {
	if s.proving != nil {
		return verifyingKeys(s.proving)
	}
	k, err := keys()
	if err != nil {
		return nil, err
	}
	v, err := verifier()
	if err != nil {
		return nil, err
	}
	s.proving = []*prover.Keys{k}
	s.circuits = []network.Circuit{{ID: v.CircuitID(), VerifyingKey: v.SHA256(), Kind: v.Kind()}}
	return bundle.VerifyingKeys{v}, nil
}

func verifyingKeys(list []*prover.Keys) (bundle.VerifyingKeys, error) {
	var out bundle.VerifyingKeys
	for _, k := range list {
		v, err := prover.NewVerifier(k.VerifyingKey())
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset)
}

func (w *world) create(name string, i int) *member {
	m := &member{w: w, name: name, dir: filepath.Join(w.dir, strings.ReplaceAll(name, "/", "-"))}
	var public [4]ed25519.PublicKey
	var private [4]ed25519.PrivateKey
	for k := range private {
		var err error
		if public[k], private[k], err = ed25519.GenerateKey(nil); err != nil {
			w.t.Fatal(err)
		}
	}
	m.log, m.mirror, m.query = private[0], private[1], private[3]
	b64 := base64.StdEncoding.EncodeToString
	described := network.Member{Name: name, Title: name,
		LogKey:       network.LogVKey(network.LogName("test.grille", name, 1), public[0]),
		MirrorKey:    network.MirrorVKey(network.MirrorName("test.grille", name, 1), public[1]),
		TransportKey: b64(public[2]), QueryKey: b64(public[3]), Endpoint: fmt.Sprintf("127.0.0.1:%d", 4400+i), Mirror: true}
	if name == civil {
		described.Approvers = w.approvers
	}
	card, err := network.NewCard("test.grille", described, m.log)
	if err != nil {
		w.t.Fatal(err)
	}
	m.card = card
	return m
}

// start opens everything that the member has on disk.
func (m *member) start() {
	w := m.w
	w.running.Lock()
	defer w.running.Unlock()
	must := func(err error) {
		w.t.Helper()
		if err != nil {
			w.t.Fatal(m.name, err)
		}
	}
	must(os.MkdirAll(m.dir, 0o700))
	logger := slog.New(w.logs)
	var err error
	m.ledger, err = ledger.Open(ledger.Options{Dir: filepath.Join(m.dir, "ledger"), Config: w.config, Member: m.name, LogKey: m.log,
		MirrorKey: m.mirror, Now: w.now, Logger: logger})
	must(err)
	for _, other := range w.config.Mirrors() {
		if other.Name != m.name {
			must(m.ledger.Hear(other.Name, nil, nil))
		}
	}
	v, err := vault.Open(filepath.Join(m.dir, "vault.keyset"))
	must(err)
	m.vault = v
	m.datasets, err = dataset.Open(filepath.Join(m.dir, "data"), v)
	must(err)
	m.pools = make(map[string]*prover.Pool)
	for _, k := range w.proving {
		m.pools[k.Metadata().CircuitID] = prover.NewPool(k, 1, 64)
	}
	m.book = receipt.New(receipt.Options{Member: m.name, Beat: bundle.BeatLength(w.config), Secret: receipt.Sum("test", []byte(m.name)),
		Seal: sealer{v, m}, Now: w.now, Logger: logger,
		Publish: func(ctx context.Context, beat uint64, root receipt.Hash) error {
			if m.mute.Load() {
				return errors.New("muted")
			}
			return m.holder.PublishBatch(ctx, beat, root)
		},
		LastPublished: func() (uint64, bool) { return m.lastBeat() }})
	m.register, err = claim.Open(claim.Options{Dir: filepath.Join(m.dir, "claims"), Origin: w.config.Origin(m.name), Ledger: m.ledger,
		Seal: sealer{v, m}, Beat: bundle.BeatLength(w.config), Now: w.now, Logger: logger})
	must(err)
	m.holder = holder.New(holder.Options{Config: w.config, Member: m.name, Key: m.query, Provers: m.pools, Ledger: m.ledger,
		Datasets: m.datasets, Book: m.book, Register: m.register, Now: w.now, Logger: logger,
		Budget: func(_ context.Context, from string, offer entry.Ref) (agreement.Budget, error) {
			return w.members[from].requester.Budget(m.name, offer)
		},
		Observe: func(_, outcome string, _ time.Duration) {
			w.mu.Lock()
			defer w.mu.Unlock()
			m.observed = outcome
		}})
	replica := *w.verify
	replica.Replica = m.ledger
	m.requester = requester.New(requester.Options{Config: w.config, Member: m.name, Key: m.query, Ledger: m.ledger, Book: m.book,
		Verifier: &replica, Peer: wire{m}, Now: w.now, Logger: logger})
	m.officer = officer.New(officer.Options{Config: w.config, Member: m.name, Key: m.query, Ledger: m.ledger, Book: m.book,
		Holder: m.holder, Requester: m.requester, Now: w.now, Logger: logger})
	m.journal, err = journal.Open(filepath.Join(m.dir, "journal"), func(frame []byte) error {
		return m.book.Replay(frame, func(kind string, payload []byte) error {
			return errors.Join(m.holder.Replay(kind, payload), m.requester.Replay(kind, payload), m.officer.Replay(kind, payload))
		})
	})
	must(err)
	if m.book.Attach(m.journal); m.appending != nil {
		m.book.Attach(m.appending(m.journal))
	}
	must(m.holder.Recover())
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	m.done.Go(func() { m.pump(ctx) })
	m.done.Go(func() { _ = m.book.Run(ctx) })
	m.done.Go(func() { _ = m.register.Run(ctx) })
}

func (m *member) lastBeat() (uint64, bool) {
	b, _, ok := m.ledger.View(m.w.config.Origin(m.name), ^uint64(0)).NewestBatch()
	return b.Beat, ok
}

// pump carries this member's pushes to the mirrors and its heads to everybody.
func (m *member) pump(ctx context.Context) {
	told := map[string]string{} // the head that each member has been told
	for ctx.Err() == nil {
		changed := m.ledger.Changed()
		for _, name := range names {
			if name != m.name {
				m.carry(name, told)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// carry brings one other member up to date, if it is running.
func (m *member) carry(to string, told map[string]string) {
	m.w.running.RLock()
	defer m.w.running.RUnlock()
	other := m.w.members[to].ledger
	if other == nil {
		return
	}
	for {
		push, ok := m.ledger.Outgoing(to)
		if !ok {
			break
		}
		reply, err := other.AddCheckpoint(push)
		if err != nil && !errors.Is(err, ledger.ErrStale) || m.ledger.Cosigned(to, reply) != nil {
			break
		}
	}
	if head, ok := m.ledger.Final(m.w.config.Origin(m.name)); ok && told[to] != string(head.Checkpoint) {
		if behind, err := other.AddHead(head); err == nil && !behind {
			told[to] = string(head.Checkpoint)
		}
	}
}

// halt closes everything; the journal and the ledger keep what they acknowledged.
func (m *member) halt() {
	m.stop()
	m.done.Wait()
	for _, pool := range m.pools {
		pool.Close()
	}
	m.w.running.Lock()
	defer m.w.running.Unlock()
	if err := errors.Join(m.journal.Close(), m.register.Close(), m.ledger.Close(), m.datasets.Close()); err != nil {
		m.w.t.Error(m.name, err)
	}
	m.ledger = nil
}

// wire is a requester's view of the other members.
type wire struct{ from *member }

func (p wire) Query(ctx context.Context, to string, request []byte) ([]byte, error) {
	h := p.from.w.members[to]
	reply, err := h.holder.Answer(ctx, p.from.name, request)
	if h.intercept != nil {
		return h.intercept(reply, err)
	}
	return reply, err
}

func (p wire) ReceiptPath(ctx context.Context, to string, request []byte) ([]byte, error) {
	h := p.from.w.members[to]
	reply, err := h.holder.ReceiptPath(ctx, p.from.name, request)
	if h.path != nil {
		return h.path(reply, err)
	}
	return reply, err
}

func (p wire) Retry(err error) bool {
	var r *holder.RequestError
	return errors.As(err, &r) && r.Retry || errors.Is(err, errBusy)
}

const peopleSchema = `
dataset: people
title: People
scheme: person
id: {column: person}
columns:
  - {name: age, type: int}
  - {name: income, type: decimal, scale: 2}
  - {name: town, type: text}
`

const peopleCSV = `person,age,income,town
P-0001,80,100.00,Ulm
P-0002,60,5770.00,Köln
P-0003,,5770.01,Ulm
P-0004,75,-5.00,
`

// furnish gives civil a dataset, a policy and an agreement with benefits, and returns the accepted agreement's index.
func (w *world) furnish(csv string, perSubject, total int, disclose ...string) uint64 {
	w.t.Helper()
	c := w.members[w.holder]
	_, err := c.holder.DeclareDataset(w.t.Context(), []byte(peopleSchema))
	w.check(err)
	w.importCSV(csv)
	return w.grant("aged", "age >= 75", perSubject, total, disclose...)
}

func (w *world) importCSV(csv string) {
	w.t.Helper()
	_, _, err := w.members[w.holder].holder.Import(w.t.Context(), "people", strings.NewReader(csv), nil)
	w.check(err)
}

func (w *world) grant(name, when string, perSubject, total int, disclose ...string) uint64 {
	w.t.Helper()
	d, err := policy.Parse([]byte("policy: " + name + "\nversion: 1\ndataset: people\ntitle: t\nquestion: q\nwhen: " + when + "\n"))
	w.check(err)
	_, err = w.members[w.holder].holder.PublishPolicy(w.t.Context(), d)
	w.check(err)
	w.eventually("the policy reaches the requester", func() bool {
		origin := w.config.Origin(w.holder)
		_, _, ok := w.members[benefits].ledger.View(origin, w.members[benefits].ledger.Size(origin)).Policy(name, 1)
		head, final := w.members[benefits].ledger.Final(origin)
		return ok && final && head.Size >= w.members[w.holder].ledger.Size(origin)-1
	})
	budget, err := agreement.NewBudget(perSubject, total)
	w.check(err)
	terms := entry.Terms{Holder: w.holder, Policy: name, PolicyVersion: 1, Purpose: purpose, LegalBasis: basis, Disclose: disclose,
		Expires: "2099-01-01T00:00:00Z"}
	if w.terms != nil {
		w.terms(&terms)
	}
	var offer entry.Ref
	w.eventually("the offer is made", func() bool {
		offer, err = w.members[benefits].requester.Offer(w.t.Context(), terms, budget)
		return err == nil
	})
	var accept uint64
	w.eventually("the offer is accepted", func() bool {
		accept, err = w.members[w.holder].holder.Accept(w.t.Context(), offer)
		return err == nil
	})
	return accept
}

func (w *world) question(subject string) requester.Question {
	return requester.Question{Holder: w.holder, Policy: "aged", Subject: subject, Purpose: purpose, LegalBasis: basis}
}

func (w *world) ask(q requester.Question) *requester.Result {
	w.t.Helper()
	result, err := w.members[benefits].requester.Ask(w.t.Context(), q)
	w.check(err)
	return result
}

func (w *world) bundle(id string, opening bool) []byte {
	w.t.Helper()
	data, err := w.members[benefits].requester.Bundle(id, opening)
	w.check(err)
	return data
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("15 s passed before %s", what)
}
