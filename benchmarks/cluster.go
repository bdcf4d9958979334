package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/demo"
	"github.com/grille-gateway/grille/node/gossip"
	"github.com/grille-gateway/grille/node/peer"
)

// A cluster is the ledgers of some members, all mirrors, in this process: each has its own folder, and what they tell one another goes
// over QUIC on loopback, as between gateways. REST, journal and prover are left out.
type cluster struct {
	members []*clusterMember
	stop    context.CancelFunc
	running sync.WaitGroup
}

type clusterMember struct {
	name  string
	keys  clusterKeys
	store *ledger.Store
	talk  *gossip.Gossip
	peers *peer.Node
	ready chan struct{} // closed when talk and peers are set
}

type clusterKeys struct{ log, mirror, transport, query ed25519.PrivateKey }

func newClusterKeys() (k clusterKeys, err error) {
	for _, key := range []*ed25519.PrivateKey{&k.log, &k.mirror, &k.transport, &k.query} {
		if _, *key, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return k, err
		}
	}
	return k, nil
}

func public64(key ed25519.PrivateKey) string {
	return base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
}

// card is what a member tells the others about itself.
func (k clusterKeys) card(name, endpoint string) (network.Card, error) {
	return network.NewCard(benchInstance, network.Member{Name: name, Title: name, Endpoint: endpoint, Mirror: true,
		LogKey:       network.LogVKey(network.LogName(benchInstance, name, 1), k.log.Public().(ed25519.PublicKey)),
		MirrorKey:    network.MirrorVKey(network.MirrorName(benchInstance, name, 1), k.mirror.Public().(ed25519.PublicKey)),
		TransportKey: public64(k.transport), QueryKey: public64(k.query)}, k.log)
}

// newConfiguration makes keys and a configuration for n members.
func newConfiguration(n int) (*network.Configuration, []*clusterMember, error) {
	var members []*clusterMember
	var cards []network.Card
	for i := range n {
		keys, err := newClusterKeys()
		if err != nil {
			return nil, nil, err
		}
		endpoint, err := demo.FreePort()
		if err != nil {
			return nil, nil, err
		}
		m := &clusterMember{name: fmt.Sprintf("GOV/m%d", i), keys: keys, ready: make(chan struct{})}
		card, err := keys.card(m.name, endpoint)
		if err != nil {
			return nil, nil, err
		}
		members, cards = append(members, m), append(cards, card)
	}
	cfg, err := network.Build(benchInstance, network.Params{Mode: network.ModeDemo,
		Expires: time.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05Z")}, cards)
	return cfg, members, err
}

// startCluster starts n members in folders below dir and waits until each has heard from a quorum.
func startCluster(ctx context.Context, dir string, n int) (*cluster, error) {
	cfg, members, err := newConfiguration(n)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &cluster{members: members, stop: stop}
	for i, m := range members {
		if err := m.open(cfg, filepath.Join(dir, fmt.Sprint(i))); err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.running.Go(func() { m.talk.Run(running) })
	}
	for _, m := range members {
		select {
		case <-m.talk.Heard():
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), c.close())
		}
	}
	return c, nil
}

func (m *clusterMember) open(cfg *network.Configuration, dir string) error {
	var err error
	if m.store, err = ledger.Open(ledger.Options{Dir: dir, Config: cfg, Member: m.name, LogKey: m.keys.log, MirrorKey: m.keys.mirror}); err != nil {
		return err
	}
	m.talk = gossip.New(gossip.Options{Store: m.store, Peers: m, Config: cfg, Member: m.name})
	var members []peer.Member
	for _, other := range cfg.Members {
		key, err := base64.StdEncoding.DecodeString(other.TransportKey)
		if err != nil {
			return err
		}
		members = append(members, peer.Member{Name: other.Name, Key: key, Endpoint: other.Endpoint})
	}
	self, _ := cfg.Member(m.name) // made from its card
	m.peers, err = peer.Listen(peer.Options{Network: peer.Network{Instance: cfg.Instance, Digest: cfg.Digest(), Members: members},
		Self: m.name, Key: m.keys.transport, Listen: self.Endpoint, Handler: m.handle,
		OnChange: func(member string, up bool) {
			if up {
				m.talk.Wake(member)
			}
		}})
	if err == nil {
		close(m.ready)
	}
	return err
}

func (m *clusterMember) handle(ctx context.Context, from string, kind peer.Kind, body []byte) ([]byte, error) {
	select {
	case <-m.ready:
		return m.talk.Handle(ctx, from, kind, body)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Call implements gossip.Caller.
func (m *clusterMember) Call(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error) {
	select {
	case <-m.ready:
		return m.peers.Call(ctx, member, kind, body)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *cluster) close() error {
	c.stop()
	c.running.Wait()
	var errs []error
	for _, m := range c.members {
		if m.peers != nil {
			errs = append(errs, m.peers.Close())
		}
	}
	for _, m := range c.members {
		if m.store != nil {
			errs = append(errs, m.store.Close())
		}
	}
	return errors.Join(errs...)
}
