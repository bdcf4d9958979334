// Package gateway wires one member's gateway: ledger, vault, datasets, prover and journal below, holder and requester on
// them, QUIC and REST around them.
//
// Order of opening: keys and pinned configuration, then what locks its folder (ledger, journal), then the journal's replay,
// then the network. Nothing is appended to the log before a quorum was heard (package gossip). Order of closing: REST first,
// with requests in flight finishing over a network that still works, then the loops, then connections, then the stores.
package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/claim"
	"github.com/grille-gateway/grille/exchange/dataset"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/journal"
	"github.com/grille-gateway/grille/exchange/officer"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/auth"
	"github.com/grille-gateway/grille/node/ceremony"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/gossip"
	"github.com/grille-gateway/grille/node/keyring"
	"github.com/grille-gateway/grille/node/metrics"
	"github.com/grille-gateway/grille/node/peer"
	"github.com/grille-gateway/grille/node/tlogweb"
	"github.com/grille-gateway/grille/node/witness"
	"github.com/grille-gateway/grille/prover"
)

// Options say which gateway to open.
type Options struct {
	Folder  config.Folder
	Version string // of this program
	Logger  *slog.Logger
	Now     func() time.Time // nil: time.Now
	// Circuits, if set, holds circuits' keys for several gateways of one process; others are loaded from prover.keys.
	Circuits []*prover.Keys
	// Progress, if set, is told each stage of loading the circuit's keys, which takes seconds, or a minute the first time.
	Progress func(stage string)
}

// Gateway is one member's gateway. Open it, Run it, Close it.
type Gateway struct {
	api.KeyCeremonies // of ceremonies

	settings config.Config
	network  *network.Configuration
	member   network.Member
	version  string
	log      *slog.Logger
	now      func() time.Time
	started  time.Time
	keys     config.Keys
	ring     *keyring.Ring
	trust    keyring.Options
	files    string // what the key folder held before ring was loaded

	ledger     *ledger.Store
	datasets   *dataset.Store
	journal    *journal.Journal
	pools      map[string]*prover.Pool // by circuit id
	book       *receipt.Book
	register   *claim.Register
	holder     *holder.Holder
	requester  *requester.Requester
	casework   *program.Cases
	officer    *officer.Officer
	metrics    *metrics.Metrics
	gossip     *gossip.Gossip
	api        *api.Server
	outside    *witness.Client
	ceremonies *ceremony.Service
	public     *tlogweb.Server // nil: nobody outside is served
	peers      *peer.Node      // set before connected is closed
	connected  chan struct{}   // closed when peers may be used

	proposing sync.Mutex // held while the next version is proposed: two proposals are none
	telling   sync.Mutex // held while the circuits' keys are published, from looking at the log to appending
}

// Open opens everything in the gateway's folder and joins the network. On an error nothing stays open.
func Open(ctx context.Context, o Options) (*Gateway, error) {
	g := &Gateway{version: o.Version, log: o.Logger, now: o.Now, connected: make(chan struct{})}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.started = g.now()
	if err := g.open(ctx, o); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Gateway) open(ctx context.Context, o Options) error {
	var err error
	f := o.Folder
	if g.settings, err = config.Load(f); err != nil {
		return err
	}
	chain, err := g.loadChain(f)
	if err != nil {
		return err
	}
	if err := g.loadCircuits(ctx, o); err != nil {
		return err
	}
	witnessKey, _, err := config.EnsureWitness(f)
	if err != nil {
		return err
	}
	if g.ledger, err = ledger.Open(ledger.Options{Dir: f.Ledger(), Chain: chain, Member: g.member.Name,
		LogKey: g.keys.Log, MirrorKey: g.keys.Mirror, WitnessKey: witnessKey, Now: g.now, Logger: g.log}); err != nil {
		return err
	}
	if err := g.openExchange(f, chain); err != nil {
		return err
	}
	if err := g.openCeremonies(f, chain); err != nil {
		return err
	}
	if err := g.openInterfaces(f); err != nil {
		return err
	}
	if err := g.openOutside(f); err != nil {
		return err
	}
	return g.connect()
}

// openExchange opens what remembers, and replays the journal into those who must.
func (g *Gateway) openExchange(f config.Folder, chain *network.Chain) error {
	v, err := vault.Open(f.Vault())
	if err != nil {
		return err
	}
	if g.datasets, err = dataset.Open(f.Data(), v); err != nil {
		return err
	}
	g.datasets.Keep(g.settings.Datasets.KeepEpochs)
	secret, err := receiptSecret(f)
	if err != nil {
		return err
	}
	g.book = g.newBook(v, secret)
	if g.register, err = claim.Open(claim.Options{Dir: f.Claims(), Origin: g.origin(), Ledger: g.ledger, Seal: v,
		Ended: g.endedLogs(), Beat: bundle.BeatLength(g.network), Now: g.now, Logger: g.log}); err != nil {
		return err
	}
	g.metrics = metrics.New(g.version)
	g.holder = holder.New(holder.Options{Config: g.network, Member: g.member.Name, Key: g.keys.Query, Provers: g.pools,
		Ledger: g.ledger, Datasets: g.datasets, Book: g.book, Register: g.register, Now: g.now, Logger: g.log,
		Budget: g.askBudget, Observe: g.observe, Broken: func(peer string) { g.metrics.PromiseBroken(metrics.SideOwn, peer) }})
	g.requester = requester.New(requester.Options{Config: g.network, Member: g.member.Name, Key: g.keys.Query, Ledger: g.ledger,
		Book: g.book, Verifier: &bundle.Verifier{Config: g.network, Chain: chain, Proofs: g.ring.Proofs, Replica: g.ledger}, Peer: wire{g},
		Now: g.now, Logger: g.log, Broken: func(holder string) { g.metrics.PromiseBroken(metrics.SideHolder, holder) }})
	g.officer = officer.New(officer.Options{Config: g.network, Member: g.member.Name, Key: g.keys.Query, Ledger: g.ledger, Book: g.book,
		Holder: g.holder, Requester: g.requester, Now: g.now, Logger: g.log})
	g.casework = program.New(program.Options{Config: g.network, Member: g.member.Name, Key: g.keys.Query, Ledger: g.ledger, Asker: g.requester,
		Keep: g.book.Keep, Now: g.now, Logger: g.log})
	g.journal, err = journal.Open(f.Path("journal/book"), func(frame []byte) error {
		return g.book.Replay(frame, func(kind string, payload []byte) error {
			return errors.Join(g.holder.Replay(kind, payload), g.requester.Replay(kind, payload), g.officer.Replay(kind, payload),
				g.casework.Replay(kind, payload))
		})
	})
	if err != nil {
		return err
	}
	g.book.Attach(g.journal)
	return g.holder.Recover()
}

// newBook makes the journal of record, not attached to its file yet.
func (g *Gateway) newBook(v *vault.Vault, secret receipt.Hash) *receipt.Book {
	return receipt.New(receipt.Options{Member: g.member.Name, Beat: bundle.BeatLength(g.network), Secret: secret, Seal: v,
		Now: g.now, Logger: g.log,
		Publish: func(ctx context.Context, beat uint64, root receipt.Hash) error {
			return g.holder.PublishBatch(ctx, beat, root)
		},
		LastPublished: func() (uint64, bool) {
			batch, _, ok := g.ledger.View(g.origin(), ^uint64(0)).NewestBatch()
			return batch.Beat, ok
		}})
}

// receiptSecret is what the empty places of receipt trees are made from. Paths of old beats need it, so it is kept.
func receiptSecret(f config.Folder) (receipt.Hash, error) {
	if _, err := os.Stat(f.Receipts()); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(f.Path("journal/book")); err == nil {
			return receipt.Hash{}, fmt.Errorf("%s is missing, and there is a journal whose receipts were logged with it; restore it from a backup", f.Receipts())
		}
	}
	text, err := config.EnsureSecret(f.Receipts(), func() string {
		salt, err := receipt.NewSalt()
		if err != nil {
			panic("gateway: " + err.Error()) // crypto/rand never fails
		}
		return salt.String()
	})
	if err != nil {
		return receipt.Hash{}, err
	}
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != receipt.HashSize {
		return receipt.Hash{}, fmt.Errorf("%s is not the secret that this gateway wrote; restore it from a backup", f.Receipts())
	}
	return receipt.Hash(raw), nil
}

// openInterfaces prepares REST and metrics; nothing listens yet.
func (g *Gateway) openInterfaces(f config.Folder) error {
	token, err := config.EnsureSecret(f.Token(), auth.NewToken)
	if err != nil {
		return err
	}
	guard, err := auth.NewGuard(token)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Token(), err)
	}
	rest := g.settings.API
	rest.TLSCertificate, rest.TLSKey = f.Path(rest.TLSCertificate), f.Path(rest.TLSKey)
	g.api, err = api.New(api.Options{Gateway: g, Guard: guard, Metrics: g.metrics.Handler(), Config: rest,
		Limits: g.settings.Limits, Version: g.version, Logger: g.log})
	return err
}

// connect opens the QUIC side. Handlers wait for it to be usable, since a neighbour may be faster than Listen returns.
func (g *Gateway) connect() error {
	g.gossip = gossip.New(gossip.Options{Store: g.ledger, Peers: wire{g}, Config: g.network, Member: g.member.Name, Logger: g.log,
		Versions: versions{g.ledger}, Now: g.now, OnFinal: g.metrics.Final})
	members, err := transportMembers(g.ledger.Chain())
	if err != nil {
		return err
	}
	bounds := peer.DefaultBounds()
	query := bounds[peer.KindQuery]
	query.Concurrent = g.settings.Limits.QueriesAtOnce
	query.Rate, query.Burst = perSecond(g.settings.Limits.QueriesPerSecond)
	bounds[peer.KindQuery] = query
	g.peers, err = peer.Listen(peer.Options{
		Network: peer.Network{Instance: g.network.Instance, Digest: g.network.Digest(), Members: members},
		Self:    g.member.Name, Key: g.keys.Transport, Listen: g.settings.Peer.Listen, Handler: g.handle, Bounds: bounds,
		Keep:   gossip.Keep(g.network, g.member.Name),
		Logger: g.log,
		OnChange: func(member string, up bool) {
			if up {
				g.gossip.Wake(member)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("%w; is another program listening on %s?", err, g.settings.Peer.Listen)
	}
	close(g.connected)
	g.metrics.Watch(g.gauges())
	return nil
}

// Run serves until ctx ends or the gateway must stop by itself, as when its disk fails, and returns why.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	behind, end := context.WithCancel(context.WithoutCancel(ctx)) // the loops outlive the REST interface
	var loops sync.WaitGroup
	loops.Go(func() { g.gossip.Run(behind) })
	loops.Go(func() {
		if err := g.beat(behind); err != nil {
			stop(err)
		}
	})
	loops.Go(func() {
		if err := g.claims(behind); err != nil {
			stop(err)
		}
	})
	loops.Go(func() { g.publishing(behind) })
	loops.Go(func() {
		if err := g.awaitKeys(behind); err != nil {
			stop(err)
		}
	})
	loops.Go(func() { g.follow(behind) })
	loops.Go(func() { g.decideCases(behind) })
	loops.Go(func() { g.oversee(behind) })
	loops.Go(func() {
		if err := g.watch(behind); err != nil {
			stop(err)
		}
	})
	loops.Go(func() { g.outside.Run(behind) })
	loops.Go(func() { g.ceremonies.Run(behind) })
	if g.public != nil {
		loops.Go(func() {
			if err := g.public.Serve(behind); err != nil {
				stop(err)
			}
		})
	}
	err := g.api.Serve(ctx)
	end()
	loops.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// Addr is where the REST interface listens, once it does.
func (g *Gateway) Addr(ctx context.Context) net.Addr { return g.api.Addr(ctx) }

// Close ends connections and closes the stores. Run must have returned.
func (g *Gateway) Close() error {
	var errs []error
	if g.public != nil {
		errs = append(errs, g.public.Close())
	}
	if g.peers != nil {
		errs = append(errs, g.peers.Close())
	}
	if g.ceremonies != nil {
		errs = append(errs, g.ceremonies.Close())
	}
	for _, p := range g.pools {
		p.Close()
	}
	if g.journal != nil {
		errs = append(errs, g.journal.Close())
	}
	if g.register != nil {
		errs = append(errs, g.register.Close())
	}
	if g.datasets != nil {
		errs = append(errs, g.datasets.Close())
	}
	if g.ledger != nil {
		errs = append(errs, g.ledger.Close())
	}
	return errors.Join(errs...)
}

func (g *Gateway) origin() string { return g.network.Origin(g.member.Name) }
