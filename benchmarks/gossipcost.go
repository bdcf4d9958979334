package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/peer"
)

// gossipCosts is what one of each costs, in milliseconds of processor time.
type gossipCosts struct {
	head        float64 // take a head with 15 cosignatures and one entry: verify, store, index
	headHeld    float64 // the same when the entry is here
	push, beat  float64 // cosign a push with one entry; a heartbeat
	cosignature float64 // verify one
	call        float64 // one request and reply over QUIC, at one end
	handshake   float64 // one connection, at one end
	core        float64 // a minute of core.Spread and core.Owner, with the simulation of its share of the network
}

const (
	filledBefore = 128 // entries that a log has before it is measured: half a tile
	entryBytes   = 400
)

// gossipFixture is a large network whose keys are all here.
type gossipFixture struct {
	config *network.Configuration
	names  []string // mirrors first
	logs   map[string]*gossipLog
}

// gossipLog is a member's log in memory.
type gossipLog struct {
	origin  string
	key     ed25519.PrivateKey
	entries [][]byte
	hashes  memoryHashes
}

type memoryHashes []tlog.Hash

func (m memoryHashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		out[i] = m[at]
	}
	return out, nil
}

func fixtureKey(role, name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("grille benchmark " + role + " " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func newGossipFixture(members, mirrors int) (*gossipFixture, error) {
	f := &gossipFixture{logs: map[string]*gossipLog{}}
	var cards []network.Card
	for i := range members {
		name := fmt.Sprintf("GOV/department-%04d", i)
		k := clusterKeys{fixtureKey("log", name), fixtureKey("mirror", name), fixtureKey("transport", name), fixtureKey("query", name)}
		card, err := network.NewCard(benchInstance, network.Member{Name: name, Title: name, Endpoint: fmt.Sprintf("127.0.0.1:%d", 1024+i),
			Mirror: i < mirrors, LogKey: network.LogVKey(network.LogName(benchInstance, name, 1), k.log.Public().(ed25519.PublicKey)),
			MirrorKey:    network.MirrorVKey(network.MirrorName(benchInstance, name, 1), k.mirror.Public().(ed25519.PublicKey)),
			TransportKey: public64(k.transport), QueryKey: public64(k.query)}, k.log)
		if err != nil {
			return nil, err
		}
		cards = append(cards, card)
		f.names = append(f.names, name)
		f.logs[name] = &gossipLog{origin: network.LogName(benchInstance, name, 1), key: k.log}
	}
	var err error
	f.config, err = network.Build(benchInstance, network.Params{Mode: network.ModeDemo, Expires: "2036-01-01T00:00:00Z"}, cards)
	return f, err
}

// grow appends entries and returns the checkpoint that the owner signs.
func (l *gossipLog) grow(count int) ([]byte, error) {
	for range count {
		n := int64(len(l.entries))
		e := fmt.Appendf(nil, `{"kind":"receipts.batch","v":1,"beat":%d,"root":"%064x","time":"2026-03-01T12:00:00Z"`, n+1, n)
		e = fmt.Appendf(e, `,"pad":"%s"}`, strings.Repeat("x", entryBytes-len(e)-10))
		hashes, err := tlog.StoredHashesForRecordHash(n, tlog.RecordHash(e), l.hashes)
		if err != nil {
			return nil, err
		}
		l.entries, l.hashes = append(l.entries, e), append(l.hashes, hashes...)
	}
	tree := tlog.Tree{N: int64(len(l.entries))}
	var err error
	if tree.Hash, err = tlog.TreeHash(tree.N, l.hashes); err != nil {
		return nil, err
	}
	return note.Sign(l.origin, tree, l.key)
}

// final cosigns a checkpoint with the first mirrors.
func (f *gossipFixture) final(l *gossipLog, checkpoint []byte) (ledger.Head, error) {
	c, err := note.Parse(checkpoint)
	if err != nil {
		return ledger.Head{}, err
	}
	var cosigs []note.Cosignature
	for _, m := range f.names[:f.config.Quorum()] {
		line, err := note.Cosign(c.Text, network.MirrorName(benchInstance, m, 1), fixtureKey("mirror", m), time.Now())
		if err != nil {
			return ledger.Head{}, err
		}
		cosigs = append(cosigs, note.Cosignature{Mirror: m, Line: line})
	}
	return ledger.Head{Origin: l.origin, Size: uint64(c.Tree.N), Root: c.Tree.Hash, Checkpoint: note.Assemble(c, cosigs)}, nil
}

func (f *gossipFixture) open(dir, name string, now func() time.Time) (*ledger.Store, error) {
	s, err := ledger.Open(ledger.Options{Now: now, Dir: filepath.Join(dir, strings.ReplaceAll(name, "/", "-")), Config: f.config, Member: name,
		LogKey: fixtureKey("log", name), MirrorKey: fixtureKey("mirror", name)})
	if err != nil {
		return nil, err
	}
	for _, m := range f.names[:f.config.Quorum()+1] {
		if m != name {
			err = errors.Join(err, s.Hear(m, nil, nil))
		}
	}
	return s, err
}

// gossipCosts measures on a real ledger and real connections.
func (b *bench) gossipCosts(ctx context.Context, f *gossipFixture) (gossipCosts, messageSizes, error) {
	var c gossipCosts
	dir, err := os.MkdirTemp(b.dir, "gossip-")
	if err != nil {
		return c, messageSizes{}, err
	}
	defer os.RemoveAll(dir)
	owners := f.names[len(f.names)-b.samples(40, 8):]
	b.stage("measuring what a member of %d does with a head", len(f.names))
	if c.head, err = b.headCost(f, dir, owners); err != nil {
		return c, messageSizes{}, err
	}
	b.stage("measuring what a mirror does with a push")
	sizes, err := b.pushCosts(f, dir, owners, &c)
	if err != nil {
		return c, sizes, err
	}
	b.stage("measuring requests over QUIC")
	if err := b.callCosts(ctx, &c); err != nil {
		return c, sizes, err
	}
	for _, row := range []struct {
		name string
		ms   float64
	}{{"take a head with 15 cosignatures and its entry: verify, store, index", c.head}, {"take a head whose entry is here", c.headHeld},
		{"cosign a push of one entry", c.push}, {"cosign a heartbeat", c.beat}, {"verify a cosignature", c.cosignature},
		{"request and reply over QUIC, at one end", c.call}, {"connection made and closed, at one end", c.handshake}} {
		b.one("gossip", row.name, "ms of processor", row.ms)
	}
	return c, sizes, nil
}

// headCost gives an ordinary member final heads: first those of half a tile, then, measured, one entry at a time.
func (b *bench) headCost(f *gossipFixture, dir string, owners []string) (float64, error) {
	s, err := f.open(dir, f.names[len(f.names)/2], nil)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	var heads []ledger.Head
	var runs []ledger.Entries
	for round := range b.samples(8, 2) + 1 {
		for _, name := range owners {
			l := f.logs[name]
			_, head, run, err := f.step(l, round)
			if err != nil {
				return 0, err
			}
			if round == 0 {
				if err := take(s, head, run); err != nil {
					return 0, err
				}
				continue
			}
			heads, runs = append(heads, head), append(runs, run)
		}
	}
	return timed(len(heads), func(i int) error { return take(s, heads[i], runs[i]) })
}

// step grows a log, by half a tile in the first round and then by one entry, and returns its checkpoint, head and new entries.
func (f *gossipFixture) step(l *gossipLog, round int) ([]byte, ledger.Head, ledger.Entries, error) {
	from, count := len(l.entries), 1
	if from == 0 {
		count = filledBefore
	}
	if from > 0 && round == 0 { // a ledger that has nothing yet
		from = 0
	}
	checkpoint, err := l.grow(count)
	if err != nil {
		return nil, ledger.Head{}, ledger.Entries{}, err
	}
	head, err := f.final(l, checkpoint)
	return checkpoint, head, ledger.Entries{From: uint64(from), Entries: l.entries[from:]}, err
}

// take gives a head and its entries to a ledger as gossip does.
func take(s *ledger.Store, h ledger.Head, run ledger.Entries) error {
	behind, err := s.AddHead(h)
	if err != nil || !behind {
		return err
	}
	if err := s.AddEntries(h.Origin, run); err != nil {
		return err
	}
	if got, ok := s.Final(h.Origin); !ok || got.Size != h.Size {
		return fmt.Errorf("%s: not final", h.Origin)
	}
	return nil
}

// timed returns the processor time that each of n runs took, in milliseconds.
func timed(n int, run func(i int) error) (float64, error) {
	from, err := processorTime()
	if err != nil {
		return 0, err
	}
	for i := range n {
		if err := run(i); err != nil {
			return 0, err
		}
	}
	to, err := processorTime()
	return (to - from) / float64(n), err
}

// pushCosts pushes the same logs to a mirror, and gives it their heads, and heartbeats. It returns what messages have in bytes.
func (b *bench) pushCosts(f *gossipFixture, dir string, owners []string, c *gossipCosts) (messageSizes, error) {
	var sizes messageSizes
	began, late := time.Now(), time.Duration(0)
	s, err := f.open(dir, f.names[0], func() time.Time { return began.Add(late) })
	if err != nil {
		return sizes, err
	}
	defer s.Close()
	var pushes, beats []ledger.Push
	var heads []ledger.Head
	for round := range b.samples(8, 2) + 1 {
		for _, name := range owners {
			l := f.logs[name]
			checkpoint, head, run, err := f.step(l, round)
			if err != nil {
				return sizes, err
			}
			p := ledger.Push{Origin: l.origin, Checkpoint: checkpoint, From: run.From, Entries: run.Entries}
			if round == 0 {
				if _, err := s.AddCheckpoint(p); err != nil {
					return sizes, err
				}
				continue
			}
			pushes, heads = append(pushes, p), append(heads, head)
			beat := ledger.Push{Origin: l.origin, Checkpoint: checkpoint, From: head.Size}
			sizes.push, sizes.beat, sizes.head = len(p.Encode()), len(beat.Encode()), len(head.Checkpoint)
			sizes.item, sizes.entry = 2+2+len(head.Checkpoint)+3+len(run.Encode()), len(run.Entries[0])
			beats = append(beats, beat)
		}
	}
	cosign := func(p ledger.Push) error {
		reply, err := s.AddCheckpoint(p)
		if err == nil && len(reply.Cosignature) == 0 {
			err = fmt.Errorf("%s: not cosigned", p.Origin)
		}
		sizes.pushReply = len(reply.Encode())
		return err
	}
	if c.push, err = timed(len(pushes), func(i int) error { return cosign(pushes[i]) }); err != nil {
		return sizes, err
	}
	if c.headHeld, err = timed(len(heads), func(i int) error { _, err := s.AddHead(heads[i]); return err }); err != nil {
		return sizes, err
	}
	newest := beats[len(beats)-len(owners):]
	if c.beat, err = timed(len(beats), func(i int) error {
		late += time.Second // within one second a cosignature is the same again, which costs nothing
		return cosign(newest[i%len(newest)])
	}); err != nil {
		return sizes, err
	}
	sizes.compareAsk, sizes.compareEnd = 64, 17+3
	c.cosignature, err = verifyCost(f, heads)
	return sizes, err
}

// verifyCost verifies cosignatures that nobody has seen: what was verified once is remembered.
func verifyCost(f *gossipFixture, heads []ledger.Head) (float64, error) {
	mirror, _ := f.config.Member(f.names[0])
	texts, lines := make([]string, len(heads)), make([]string, len(heads))
	for i, h := range heads {
		c, err := note.Parse(h.Checkpoint)
		if err != nil {
			return 0, err
		}
		texts[i] = c.Text
		at := time.Now().Add(time.Hour)
		if lines[i], err = note.Cosign(c.Text, mirror.MirrorName(), fixtureKey("mirror", mirror.Name), at); err != nil {
			return 0, err
		}
	}
	return timed(len(heads), func(i int) error {
		_, err := note.VerifyCosignature(mirror, texts[i], lines[i])
		return err
	})
}

// callCosts measures small requests between two nodes of this process, and connections that are made for one.
func (b *bench) callCosts(ctx context.Context, c *gossipCosts) error {
	network := peer.Network{Instance: benchInstance, Digest: "d"}
	for _, name := range []string{"GOV/a", "GOV/b"} {
		socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return err
		}
		network.Members = append(network.Members, peer.Member{Name: name, Key: fixtureKey("transport", name).Public().(ed25519.PublicKey),
			Endpoint: socket.LocalAddr().String()})
		if err := socket.Close(); err != nil {
			return err
		}
	}
	bounds := peer.DefaultBounds()
	for kind, bound := range bounds {
		bound.Rate, bound.Burst = 1e6, 1e6
		bounds[kind] = bound
	}
	open := func(i int) (*peer.Node, error) {
		m := network.Members[i]
		return peer.Listen(peer.Options{Network: network, Self: m.Name, Key: fixtureKey("transport", m.Name), Listen: m.Endpoint,
			Keep: []string{}, Bounds: bounds,
			Handler: func(context.Context, string, peer.Kind, []byte) ([]byte, error) { return nil, nil }})
	}
	server, err := open(0)
	if err != nil {
		return err
	}
	defer server.Close()
	client, err := open(1)
	if err != nil {
		return err
	}
	ask := func(int) error {
		_, err := client.Call(ctx, "GOV/a", peer.KindAnnounce, make([]byte, 50))
		time.Sleep(time.Millisecond) // requests come apart, not in a row, so none shares a packet or a wake-up with the next
		return err
	}
	if err := ask(0); err != nil {
		return err
	}
	both, err := timed(b.samples(3000, 300), ask)
	if err != nil {
		return err
	}
	c.call = both / 2
	if err := client.Close(); err != nil {
		return err
	}
	both, err = timed(b.samples(100, 10), func(int) error {
		if client, err = open(1); err != nil {
			return err
		}
		return errors.Join(ask(0), client.Close())
	})
	c.handshake = max(both/2-c.call, 0)
	return err
}
