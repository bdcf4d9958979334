package gossip

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	stdnet "net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
	"github.com/grille-gateway/grille/node/peer"
)

// largeConfig has members GOV/m00, ..., the first of which mirror.
func largeConfig(t *testing.T, members, mirrors int) *network.Configuration {
	t.Helper()
	var cards []network.Card
	for i := range members {
		name := fmt.Sprintf("GOV/m%02d", i)
		socket, err := stdnet.ListenUDP("udp", &stdnet.UDPAddr{IP: stdnet.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		endpoint := socket.LocalAddr().String()
		defer socket.Close() // all ports are taken before the first is given back
		cards = append(cards, testKeys.Card(t, instance, testKeys.Member(instance, name, endpoint, i < mirrors)))
	}
	return networktest.Build(t, instance, network.Params{}, cards...)
}

// A gate is a member with its own transport. Its handler and its calls can be tampered with.
type gate struct {
	name   string
	store  *ledger.Store
	gossip *Gossip
	node   *peer.Node
	hang   atomic.Bool // answers nothing
}

// large is a network over QUIC on loopback.
type large struct {
	t     *testing.T
	cfg   *network.Configuration
	gates map[string]*gate
}

// later is a Caller that is there only after the gossip that uses it.
type later struct{ node chan *peer.Node }

func (l later) Call(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error) {
	select {
	case n := <-l.node:
		l.node <- n
		return n.Call(ctx, member, kind, body)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newLarge(t *testing.T, members, mirrors int, compare time.Duration) *large {
	l := &large{t: t, cfg: largeConfig(t, members, mirrors), gates: map[string]*gate{}}
	dir := t.TempDir()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, m := range l.cfg.Members {
		wg.Go(func() {
			g := l.open(m, filepath.Join(dir, strings.ReplaceAll(m.Name, "/", "-")), compare)
			mu.Lock()
			defer mu.Unlock()
			l.gates[m.Name] = g
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return l
}

// open starts one member; it stops with the test.
func (l *large) open(m network.Member, dir string, compare time.Duration) *gate {
	g := &gate{name: m.Name}
	var err error
	if g.store, err = ledger.Open(ledger.Options{Dir: dir, Config: l.cfg, Member: m.Name,
		LogKey: testKeys.Key("log " + m.Name), MirrorKey: testKeys.Key("mirror " + m.Name)}); err != nil {
		l.t.Error(err)
		return g
	}
	caller := later{make(chan *peer.Node, 1)}
	g.gossip = New(Options{Store: g.store, Peers: caller, Config: l.cfg, Member: m.Name, Compare: compare})
	var members []peer.Member
	for _, other := range l.cfg.Members {
		key, err := base64.StdEncoding.DecodeString(other.TransportKey)
		if err != nil {
			l.t.Error(err)
		}
		members = append(members, peer.Member{Name: other.Name, Key: ed25519.PublicKey(key), Endpoint: other.Endpoint})
	}
	g.node, err = peer.Listen(peer.Options{Network: peer.Network{Instance: instance, Digest: l.cfg.Digest(), Members: members},
		Self: m.Name, Key: testKeys.Key("transport " + m.Name), Listen: m.Endpoint, Keep: Keep(l.cfg, m.Name),
		Handler: func(ctx context.Context, from string, kind peer.Kind, body []byte) ([]byte, error) {
			if g.hang.Load() {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return g.gossip.Handle(ctx, from, kind, body)
		},
		OnChange: func(member string, up bool) {
			if up {
				g.gossip.Wake(member)
			}
		}})
	if err != nil {
		l.t.Error(err)
		return g
	}
	caller.node <- g.node
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.gossip.Run(ctx) }()
	l.t.Cleanup(func() {
		cancel()
		<-done
		if err := errors.Join(g.node.Close(), g.store.Close()); err != nil {
			l.t.Error(err)
		}
	})
	return g
}

func (l *large) append(member string, beat int) uint64 {
	l.t.Helper()
	s := l.gates[member].store
	select {
	case <-s.Heard():
	case <-time.After(60 * time.Second):
		l.t.Fatalf("%s has not heard a quorum", member)
	}
	at, err := s.Append(l.t.Context(), batch(beat))
	if err != nil {
		l.t.Fatal(err)
	}
	return at[0]
}

func (l *large) final(member string, index uint64, within time.Duration) time.Duration {
	l.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(l.t.Context(), within)
	defer cancel()
	if err := l.gates[member].store.WaitFinal(ctx, index); err != nil {
		l.t.Fatalf("entry %d of %s: %v", index, member, err)
	}
	return time.Since(began)
}

// everybody waits until all members, but those that hang, hold so many final entries of a member's log.
func (l *large) everybody(owner string, size uint64, within time.Duration) {
	l.t.Helper()
	origin := l.cfg.Origin(owner)
	end := time.Now().Add(within)
	for _, g := range l.gates {
		for !g.hang.Load() {
			if h, ok := g.store.Final(origin); ok && h.Size >= size {
				break
			}
			if time.Now().After(end) {
				l.t.Fatalf("%s does not hold %d entries of %s", g.name, size, owner)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// Forty members, seven of which mirror: each head reaches everybody, over no more connections than each member keeps and is kept
// by. Comparing is too slow to help.
func TestFortyMembersOverQUIC(t *testing.T) {
	l := newLarge(t, 40, 7, time.Hour)
	keepers := map[string]map[string]bool{} // member -> those it has a connection with
	for _, m := range l.cfg.Members {
		for _, other := range Keep(l.cfg, m.Name) {
			for _, pair := range [][2]string{{m.Name, other}, {other, m.Name}} {
				if keepers[pair[0]] == nil {
					keepers[pair[0]] = map[string]bool{}
				}
				keepers[pair[0]][pair[1]] = true
			}
		}
	}
	for i, m := range l.cfg.Members {
		if i%4 == 0 {
			l.append(m.Name, i)
		}
	}
	for i, m := range l.cfg.Members {
		if i%4 == 0 {
			l.final(m.Name, 0, 60*time.Second)
			l.everybody(m.Name, 1, 60*time.Second)
		}
	}
	end := time.Now().Add(15 * time.Second) // crossing dials settle, at the latest when the superseded connection's grace is over
	for _, m := range l.cfg.Members {
		most := len(keepers[m.Name])
		for l.gates[m.Name].node.Connections() > most {
			if time.Now().After(end) {
				t.Fatalf("%s has %d connections, want at most %d", m.Name, l.gates[m.Name].node.Connections(), most)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if !m.Mirror && most > 20 {
			t.Errorf("%s would keep %d connections", m.Name, most)
		}
	}
}

// One mirror of four and three other members answer nothing, and one floods a mirror and its neighbours with requests of all kinds. The
// others' entries become final and reach everybody, long before anything that hangs has timed out, and the flood is held to its rates.
func TestFloodAndHangingMembersDelayNobody(t *testing.T) {
	l := newLarge(t, 24, 4, time.Second)
	names := make([]string, 0, len(l.cfg.Members))
	for _, m := range l.cfg.Members {
		names = append(names, m.Name)
		<-l.gates[m.Name].store.Heard()
	}
	for _, i := range []int{3, 10, 15, 20} { // GOV/m03 mirrors
		l.gates[names[i]].hang.Store(true)
	}
	flooder, owner := l.gates[names[8]], names[12]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	bodies := map[peer.Kind][]byte{peer.KindPush: make([]byte, 1<<20), peer.KindAnnounce: make([]byte, 60<<10), peer.KindPull: {1, 0, 1, 0},
		peer.KindCompare: make([]byte, 64), peer.KindEntries: encodeRange(l.cfg.Origin(owner), 0, 9), peer.KindStanding: nil,
		peer.KindEvidence: make([]byte, 32), peer.KindChain: make([]byte, 4), peer.KindFresh: nil}
	began := time.Now()
	var refused atomic.Int64
	answered := map[string]*[256]atomic.Int64{}
	for _, victim := range []string{names[0], names[1], owner} {
		counts := new([256]atomic.Int64)
		answered[victim] = counts
		for kind, body := range bodies {
			for range 2 {
				wg.Go(func() {
					for ctx.Err() == nil {
						var refusal *peer.RemoteError
						_, err := flooder.node.Call(ctx, victim, kind, body)
						if err == nil || errors.As(err, &refusal) && refusal.Code != peer.CodeRateLimited && refusal.Code != peer.CodeBusy {
							counts[kind].Add(1)
						} else if refusal != nil {
							refused.Add(1)
						}
					}
				})
			}
		}
	}
	for i := range 5 {
		l.final(owner, l.append(owner, i), 15*time.Second)
		if i == 2 {
			l.final(names[1], l.append(names[1], i), 15*time.Second)
		}
	}
	l.everybody(owner, 5, 30*time.Second)
	l.everybody(names[1], 1, 30*time.Second)
	for end := time.Now().Add(30 * time.Second); refused.Load() < 100 && time.Now().Before(end); {
		time.Sleep(20 * time.Millisecond) // a slow machine's flood needs longer
	}
	cancel()
	wg.Wait()
	seconds := time.Since(began).Seconds()
	for victim, counts := range answered {
		for kind := range bodies {
			bound := peer.DefaultBounds()[kind]
			if n := float64(counts[kind].Load()); n > float64(bound.Burst)+float64(bound.Rate)*seconds+1 {
				t.Errorf("%s answered %.0f requests of kind %s in %.1f s", victim, n, kind, seconds)
			}
		}
	}
	if refused.Load() < 100 {
		t.Errorf("only %d requests of the flood were refused", refused.Load())
	}
}
