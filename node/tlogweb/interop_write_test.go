package tlogweb

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/tessera"
	tclient "github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	xnote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// noteSigner is a log key as x/mod's note wants it: PRIVATE+KEY+NAME+HASH+KEY, the key being type 1 and the seed.
func noteSigner(t *testing.T, name string, key ed25519.PrivateKey) xnote.Signer {
	t.Helper()
	public := append([]byte{1}, key.Public().(ed25519.PublicKey)...)
	sum := sha256.Sum256(append([]byte(name+"\n"), public...))
	s, err := xnote.NewSigner(fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, binary.BigEndian.Uint32(sum[:]),
		base64.StdEncoding.EncodeToString(append([]byte{1}, key.Seed()...))))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// tesseraLog is a log that tessera keeps, with the name and key of a member's.
type tesseraLog struct {
	t      *testing.T
	add    tessera.AddFn
	await  *tessera.PublicationAwaiter
	files  tclient.FileFetcher
	size   int
	origin string
}

func newTesseraLog(t *testing.T, origin string, key ed25519.PrivateKey, witnessKey string, site *site) *tesseraLog {
	t.Helper()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	driver, err := posix.New(ctx, posix.Config{Path: dir, HTTPClient: site.client})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(site.url)
	if err != nil {
		t.Fatal(err)
	}
	w, err := tessera.NewWitness(witnessKey, u)
	if err != nil {
		t.Fatal(err)
	}
	options := tessera.NewAppendOptions().WithCheckpointSigner(noteSigner(t, origin, key)).WithBatching(1000, 50*time.Millisecond).
		WithCheckpointInterval(100*time.Millisecond).WithCheckpointRepublishInterval(time.Second).
		WithWitnesses(tessera.NewWitnessGroup(1, w), &tessera.WitnessOptions{Timeout: 10 * time.Second})
	appender, shutdown, logReader, err := tessera.NewAppender(ctx, driver, options)
	if err != nil {
		t.Fatal(err)
	}
	l := &tesseraLog{t: t, add: appender.Add, files: tclient.FileFetcher{Root: dir}, origin: origin,
		await: tessera.NewPublicationAwaiter(ctx, logReader.ReadCheckpoint, 50*time.Millisecond)}
	t.Cleanup(func() {
		if err := shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		stop()
		time.Sleep(200 * time.Millisecond) // its loops end by themselves
	})
	return l
}

// grow adds entries and waits until a checkpoint, witnessed as the policy demands, covers them.
func (l *tesseraLog) grow(n int) []byte {
	l.t.Helper()
	var last tessera.IndexFuture
	for range n {
		last = l.add(l.t.Context(), tessera.NewEntry(fmt.Appendf(nil, "entry %d", l.size)))
		l.size++
		if l.size%500 == 0 { // in order: wait for each batch
			if _, err := last(); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	_, cp, err := l.await.Await(ctx, last)
	if err != nil {
		l.t.Fatal(err)
	}
	return cp
}

// TestTesseraLogIsWitnessedAndMirrored lets a log that tessera keeps be witnessed by a gateway, with tessera's client of
// tlog-witness, and mirrors it there by tlog-mirror; then tessera checks the mirror.
func TestTesseraLogIsWitnessedAndMirrored(t *testing.T) {
	n := newNet(t)
	store := n.stores["GOV/health"]
	site := serve(t, Options{Store: store})
	origin := n.cfg.Origin("GOV/tax")
	logKey, _, _ := n.cfg.LogKey(origin)
	owner, err := xnote.NewVerifier(logKey)
	if err != nil {
		t.Fatal(err)
	}
	v := witnessVerifier(t, "GOV/health")
	l := newTesseraLog(t, origin, testKeys.Key("log GOV/tax"), v.String(), site)
	health, _ := n.cfg.Member("GOV/health")
	mirrorKey, err := torchwood.NewCosignatureVerifier(health.MirrorKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []int{1, 255, 444} {
		cp := l.grow(more)
		opened, err := xnote.Open(cp, xnote.VerifierList(owner, v))
		if err != nil || len(opened.Sigs) != 2 {
			t.Fatalf("tessera published %s: %v", cp, err)
		}
		served := site.get("/witness/" + OriginHash(origin) + "/checkpoint")
		witnessed, err := xnote.Open(served.body, xnote.VerifierList(owner, v))
		if err != nil || len(witnessed.Sigs) != 2 {
			t.Fatalf("the witness serves %s: %v", served.body, err)
		}
		c, err := torchwood.ParseCheckpoint(witnessed.Text)
		if err != nil || c.N < int64(l.size) {
			t.Fatalf("witnessed size %d of %d, %v", c.N, l.size, err)
		}
		if store.Size(origin) >= uint64(l.size) {
			t.Error("a witness has entries")
		}
		l.mirror(n, site, c, mirrorKey)
		u, err := url.Parse(site.url + "/mirror/" + OriginHash(origin))
		if err != nil {
			t.Fatal(err)
		}
		f, err := tclient.NewHTTPFetcher(u, site.client)
		if err != nil {
			t.Fatal(err)
		}
		if err := fsck.New(origin, owner, f, leafHashes, fsck.Opts{N: 4}).Check(t.Context()); err != nil {
			t.Errorf("tessera's fsck of the mirror at size %d: %v", l.size, err)
		}
	}
	if _, ok := store.Final(origin); ok {
		t.Error("cosignatures of one mirror and a witness made a head final")
	}
}

// mirror uploads the log to a site from tessera's files, and verifies the mirror's cosignature.
func (l *tesseraLog) mirror(n *ledgerNet, s *site, c torchwood.Checkpoint, key *torchwood.CosignatureVerifier) {
	l.t.Helper()
	size := uint64(c.N)
	hashes := tlog.TileHashReader(c.Tree, fileTiles{l.files})
	u := &uploader{tb: n.tb, s: s, origin: l.origin, hashes: hashes, most: 1, gzip: true, entries: func(from, to int64) ([][]byte, error) {
		b, err := tclient.GetEntryBundle(context.Background(), l.files.ReadEntryBundle, uint64(from/256), size)
		if err != nil {
			return nil, err
		}
		return b.Entries[from%256 : from%256+to-from], nil
	}}
	line := u.upload(c.N)
	signed, err := xnote.Open(append([]byte(c.String()+"\n"), line...), xnote.VerifierList(key))
	if err != nil || len(signed.Sigs) != 1 {
		l.t.Errorf("the mirror answers %s: %v", line, err)
	}
}

// fileTiles is a tlog.TileReader over tessera's files.
type fileTiles struct{ files tclient.FileFetcher }

func (fileTiles) Height() int                     { return torchwood.TileHeight }
func (fileTiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (f fileTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, err := f.files.ReadTile(context.Background(), uint64(t.L), uint64(t.N), uint8(t.W%256))
		if err != nil {
			return nil, err
		}
		if len(data) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %+v has %d bytes", t, len(data))
		}
		out[i] = data[:t.W*tlog.HashSize]
	}
	return out, nil
}

// TestStrangersNotice spoils one byte on the way, in each kind of resource: the others' tools must notice, or they would
// prove nothing above.
func TestStrangersNotice(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 300)
	origin := n.cfg.Origin("GOV/tax")
	inside := New(Options{Store: n.stores["GOV/health"], RequestsPerSecond: 10000})
	key, _, _ := n.cfg.LogKey(origin)
	owner, err := xnote.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, resource := range []string{"", "/checkpoint", "/tile/0/000", "/tile/0/001.p/44", "/tile/1/000.p/1", "/tile/entries/000", "/tile/entries/001.p/44"} {
		spoilt := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen := httptest.NewRecorder()
			inside.ServeHTTP(seen, r)
			body := seen.Body.Bytes()
			if resource != "" && strings.HasSuffix(r.URL.Path, resource) {
				body = bytes.Clone(body)
				at := len(body) / 2
				if resource == "/checkpoint" { // the root; cosignatures are unknown to fsck
					at = len(origin) + 10
				}
				body[at] ^= 1
			}
			w.WriteHeader(seen.Code)
			_, _ = io.Copy(w, bytes.NewReader(body))
		}))
		u, err := url.Parse(spoilt.URL + "/" + origin)
		if err != nil {
			t.Fatal(err)
		}
		f, err := tclient.NewHTTPFetcher(u, spoilt.Client())
		if err != nil {
			t.Fatal(err)
		}
		err = fsck.New(origin, owner, f, leafHashes, fsck.Opts{N: 2}).Check(t.Context())
		if (err == nil) != (resource == "") {
			t.Errorf("%q spoilt: %v", resource, err)
		}
		spoilt.Close()
	}
}
