package tlogweb

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"context"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/config"
)

const instance = "test.example"

var names = []string{"GOV/benefits", "GOV/civil", "GOV/health", "GOV/tax"}

const testKeys = networktest.Keys("tlogweb test key ")

func testConfig(tb testing.TB) *network.Configuration {
	tb.Helper()
	var cards []network.Card
	for i, name := range names {
		cards = append(cards, testKeys.Card(tb, instance, testKeys.Member(instance, name, fmt.Sprintf("127.0.0.1:%d", 4433+i), true)))
	}
	return networktest.Build(tb, instance, network.Params{}, cards...)
}

// A ledgerNet is four members' ledgers in one process.
type ledgerNet struct {
	tb     testing.TB
	cfg    *network.Configuration
	now    func() time.Time
	dir    string
	stores map[string]*ledger.Store
}

func newNet(tb testing.TB) *ledgerNet {
	tb.Helper()
	n := &ledgerNet{tb: tb, cfg: testConfig(tb), dir: tb.TempDir(), stores: make(map[string]*ledger.Store),
		now: time.Now}
	for _, name := range names {
		n.open(name)
	}
	tb.Cleanup(func() {
		for _, s := range n.stores {
			if err := s.Close(); err != nil {
				tb.Error(err)
			}
		}
	})
	return n
}

func (n *ledgerNet) open(name string) {
	n.tb.Helper()
	s, err := ledger.Open(ledger.Options{Dir: filepath.Join(n.dir, strings.ReplaceAll(name, "/", "-")), Config: n.cfg, Member: name,
		LogKey: testKeys.Key("log " + name), MirrorKey: testKeys.Key("mirror " + name), WitnessKey: testKeys.Key("witness " + name), Now: n.now})
	if err != nil {
		n.tb.Fatal(err)
	}
	n.stores[name] = s
	for _, other := range names {
		if other == name {
			continue
		}
		if err := s.Hear(other, nil, nil); err != nil {
			n.tb.Fatal(err)
		}
	}
}

func (n *ledgerNet) reopen(name string) {
	n.tb.Helper()
	if err := n.stores[name].Close(); err != nil {
		n.tb.Fatal(err)
	}
	n.open(name)
}

// grow appends to a member's log up to a size and makes it final everywhere.
func (n *ledgerNet) grow(owner string, size uint64) {
	n.tb.Helper()
	origin := n.cfg.Origin(owner)
	for at := n.stores[owner].Size(origin); at < size; {
		var batch []entry.Entry
		for i := at; i < min(size, at+4000); i++ {
			batch = append(batch, entry.ReceiptsBatch{Beat: i + 1, Root: strings.Repeat("0f", 32), Time: "2026-03-01T12:00:00Z"})
		}
		if _, err := n.stores[owner].Append(context.Background(), batch...); err != nil {
			n.tb.Fatal(err)
		}
		at += uint64(len(batch))
		n.finish(owner)
	}
}

// finish lets the mirrors cosign an owner's log and spreads the head.
func (n *ledgerNet) finish(owner string) {
	n.tb.Helper()
	for range 3 {
		for _, m := range names {
			for range 50 {
				p, ok := n.stores[owner].Outgoing(m)
				if !ok {
					break
				}
				reply, err := n.stores[m].AddCheckpoint(p)
				if err != nil {
					n.tb.Fatal(err)
				}
				if err := n.stores[owner].Cosigned(m, reply); err != nil {
					n.tb.Fatal(err)
				}
			}
		}
	}
	head, ok := n.stores[owner].Final(n.cfg.Origin(owner))
	if !ok {
		n.tb.Fatal("nothing is final")
	}
	for _, m := range names {
		if behind, err := n.stores[m].AddHead(head); err != nil || behind && m != owner {
			n.tb.Fatalf("%s takes the head: behind %v, %v", m, behind, err)
		}
	}
}

// A site is a member's public side over HTTPS.
type site struct {
	tb     testing.TB
	url    string
	client *http.Client
}

// serve opens a member's public side over HTTPS with a certificate of its own.
func serve(tb testing.TB, o Options) *site {
	tb.Helper()
	folder := config.Folder(filepath.Join(tb.TempDir(), "gw"))
	if err := folder.Create(); err != nil {
		tb.Fatal(err)
	}
	if _, err := config.EnsureCertificate(folder, time.Now()); err != nil {
		tb.Fatal(err)
	}
	if o.RequestsPerSecond == 0 {
		o.RequestsPerSecond = 100000
	}
	s, err := Listen("127.0.0.1:0", folder.Certificate(), folder.CertificateKey(), New(o), slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	pair, err := tls.LoadX509KeyPair(folder.Certificate(), folder.CertificateKey())
	if err != nil {
		tb.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return &site{tb, "https://" + s.Addr().String(), &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// An answer is a whole HTTP response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *site) do(method, path string, body []byte, header ...string) answer {
	s.tb.Helper()
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.tb.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, data}
}

func (s *site) get(path string) answer { s.tb.Helper(); return s.do(http.MethodGet, path, nil) }

// A reader reads a log's hashes from a store, as a client that holds the log would.
type reader struct {
	store  *ledger.Store
	origin string
}

func (r reader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		t := tlog.TileForIndex(8, x)
		data, err := r.store.Tile(r.origin, t)
		if err != nil {
			return nil, err
		}
		if out[i], err = tlog.HashFromTile(t, data, x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// signed returns the owner's checkpoint of the first size entries of its log.
func (n *ledgerNet) signed(owner string, size int64) []byte {
	n.tb.Helper()
	origin := n.cfg.Origin(owner)
	root, err := tlog.TreeHash(size, reader{n.stores[owner], origin})
	if err != nil {
		n.tb.Fatal(err)
	}
	data, err := note.Sign(origin, tlog.Tree{N: size, Hash: root}, testKeys.Key("log "+owner))
	if err != nil {
		n.tb.Fatal(err)
	}
	return data
}

// proof returns the consistency proof between two sizes of an owner's log.
func (n *ledgerNet) proof(owner string, from, to int64) []tlog.Hash {
	n.tb.Helper()
	if from == 0 || from == to {
		return nil
	}
	p, err := n.stores[owner].Consistency(n.cfg.Origin(owner), uint64(from), uint64(to))
	if err != nil {
		n.tb.Fatal(err)
	}
	return p
}
