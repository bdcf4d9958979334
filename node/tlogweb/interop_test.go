package tlogweb

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"

	"filippo.io/torchwood"
	"github.com/transparency-dev/formats/log"
	formats "github.com/transparency-dev/formats/note"
	fproof "github.com/transparency-dev/formats/proof"
	fwitness "github.com/transparency-dev/formats/witness"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	tclient "github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	xnote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
)

// A stranger has a URL, an HTTPS client with the site's certificate, the log's verifier key and the mirrors', and tools
// that nobody here wrote.
type stranger struct {
	t       *testing.T
	site    *site
	prefix  string // URL of the log
	origin  string
	log     xnote.Verifier
	mirrors []string // verifier keys
	n       int      // how many of them must have cosigned
	fetch   *tclient.HTTPFetcher
}

func newStranger(t *testing.T, s *site, prefix, origin, logKey string, mirrors []string, quorum int) *stranger {
	t.Helper()
	v, err := formats.NewVerifier(logKey)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.url + prefix)
	if err != nil {
		t.Fatal(err)
	}
	f, err := tclient.NewHTTPFetcher(u, s.client)
	if err != nil {
		t.Fatal(err)
	}
	return &stranger{t, s, s.url + prefix, origin, v, mirrors, quorum, f}
}

func leafHashes(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, e := range b.Entries {
		out = append(out, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return out, nil
}

// fsck lets tessera read everything and compare it with the checkpoint.
func (s *stranger) fsck() {
	s.t.Helper()
	if err := fsck.New(s.origin, s.log, s.fetch, leafHashes, fsck.Opts{N: 8}).Check(s.t.Context()); err != nil {
		s.t.Errorf("tessera's fsck of %s: %v", s.prefix, err)
	}
}

// checkpoint fetches the checkpoint with tessera and has all its cosignatures verified by formats.
func (s *stranger) checkpoint() (*log.Checkpoint, []byte) {
	s.t.Helper()
	cp, raw, _, err := tclient.FetchCheckpoint(s.t.Context(), s.fetch.ReadCheckpoint, s.log, s.origin)
	if err != nil {
		s.t.Fatal(err)
	}
	var others []xnote.Verifier
	var group fwitness.Group
	for _, key := range s.mirrors {
		v, err := formats.NewVerifierForCosignatureV1(key)
		if err != nil {
			s.t.Fatal(err)
		}
		w, err := fwitness.New(key, &url.URL{Scheme: "https", Host: "unused.example"})
		if err != nil {
			s.t.Fatal(err)
		}
		others = append(others, v)
		group.Components = append(group.Components, w)
	}
	group.N = s.n
	again, rest, n, err := log.ParseCheckpoint(raw, s.origin, s.log, others...)
	if err != nil || len(rest) != 0 || len(n.UnverifiedSigs) != 0 || len(n.Sigs) != 1+s.n || again.Size != cp.Size {
		s.t.Errorf("formats reads %s: %+v, %v", raw, again, err)
	}
	if !group.Satisfied(raw) {
		s.t.Errorf("formats: fewer than %d mirrors cosigned %s", s.n, raw)
	}
	return cp, raw
}

// proofs has tessera build proofs from tiles, and merkle verify them.
func (s *stranger) proofs(cp *log.Checkpoint, indexes []uint64, sizes []uint64, entry func(uint64) []byte, root func(uint64) tlog.Hash) {
	s.t.Helper()
	pb, err := tclient.NewProofBuilder(s.t.Context(), cp.Size, s.fetch.ReadTile)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, i := range indexes {
		p, err := pb.InclusionProof(s.t.Context(), i)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, cp.Size, rfc6962.DefaultHasher.HashLeaf(entry(i)), p, cp.Hash); err != nil {
			s.t.Errorf("entry %d of %d: %v", i, cp.Size, err)
		}
	}
	for _, size := range sizes {
		p, err := pb.ConsistencyProof(s.t.Context(), size, cp.Size)
		if err != nil {
			s.t.Fatal(err)
		}
		r := root(size)
		if err := proof.VerifyConsistency(rfc6962.DefaultHasher, size, cp.Size, p, r[:], cp.Hash); err != nil {
			s.t.Errorf("size %d to %d: %v", size, cp.Size, err)
		}
	}
}

// torchwood reads the log with torchwood's client: all entries from some index on, and single ones with proofs.
func (s *stranger) torchwood(raw []byte, from int64, indexes []uint64, entry func(uint64) []byte) {
	s.t.Helper()
	var policies []torchwood.Policy
	for _, key := range s.mirrors {
		v, err := torchwood.NewCosignatureVerifier(key)
		if err != nil {
			s.t.Fatal(err)
		}
		policies = append(policies, torchwood.SingleVerifierPolicy(v))
	}
	policy := torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(s.origin), torchwood.SingleVerifierPolicy(s.log), torchwood.ThresholdPolicy(s.n, policies...))
	c, _, err := torchwood.VerifyCheckpoint(raw, policy)
	if err != nil {
		s.t.Fatal(err)
	}
	fetcher, err := torchwood.NewTileFetcher(s.prefix, torchwood.WithHTTPClient(s.site.client), torchwood.WithConcurrencyLimit(16))
	if err != nil {
		s.t.Fatal(err)
	}
	tw, err := torchwood.NewClient(fetcher)
	if err != nil {
		s.t.Fatal(err)
	}
	read := from
	for i, e := range tw.AllEntries(s.t.Context(), c.Tree, from) {
		if i != read || !bytes.Equal(e, entry(uint64(i))) {
			s.t.Fatalf("torchwood reads entry %d as another", i)
		}
		read++
	}
	if err := tw.Err(); err != nil || read != c.N {
		s.t.Errorf("torchwood reads %d of %d entries: %v", read, c.N, err)
	}
	for _, i := range indexes {
		e, p, err := tw.Entry(s.t.Context(), c.Tree, int64(i))
		if err != nil {
			s.t.Fatal(err)
		}
		spicy := torchwood.FormatProof(int64(i), p, raw)
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry(i)), spicy); err != nil || !bytes.Equal(e, entry(i)) {
			s.t.Errorf("torchwood's proof of entry %d of %d: %v", i, c.N, err)
		}
	}
}

// xmod proves consistency with x/mod's tile reader, which verifies each tile against the tree.
func (s *stranger) xmod(cp *log.Checkpoint, size uint64, root tlog.Hash) {
	s.t.Helper()
	tree := tlog.Tree{N: int64(cp.Size), Hash: tlog.Hash(cp.Hash)}
	hashes := tlog.TileHashReader(tree, webTiles{s.t, s.site, s.prefix})
	p, err := tlog.ProveTree(tree.N, int64(size), hashes)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := tlog.CheckTree(p, tree.N, tree.Hash, int64(size), root); err != nil {
		s.t.Errorf("x/mod: size %d to %d: %v", size, tree.N, err)
	}
}

// webTiles is a tlog.TileReader over HTTPS.
type webTiles struct {
	t      *testing.T
	site   *site
	prefix string
}

func (webTiles) Height() int                     { return torchwood.TileHeight }
func (webTiles) SaveTiles([]tlog.Tile, [][]byte) {}
func (w webTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		got := w.site.get(w.prefix[len(w.site.url):] + "/" + torchwood.TilePath(t))
		if got.status != 200 {
			return nil, fmt.Errorf("tile %+v: %d", t, got.status)
		}
		out[i] = got.body
	}
	return out, nil
}

// TestStrangersReadTheLog has the tools of others read one growing log at sizes where tiles begin and end, from a member
// that does not own it, and from that member's mirror.
func TestStrangersReadTheLog(t *testing.T) {
	n := newNet(t)
	origin := n.cfg.Origin("GOV/tax")
	store := n.stores["GOV/health"]
	site := serve(t, Options{Store: store})
	key, _, _ := n.cfg.LogKey(origin)
	var mirrors []string
	for _, m := range n.cfg.Mirrors() {
		mirrors = append(mirrors, m.MirrorKey)
	}
	health, _ := n.cfg.Member("GOV/health")
	owner := newStranger(t, site, "/"+origin, origin, key, mirrors, n.cfg.Quorum())
	mirror := newStranger(t, site, "/mirror/"+OriginHash(origin), origin, key, []string{health.MirrorKey}, 1)

	entry := func(i uint64) []byte {
		raw, err := store.Read(origin, i, i+1)
		if err != nil {
			t.Fatal(err)
		}
		return raw[0]
	}
	root := func(size uint64) tlog.Hash {
		h, err := tlog.TreeHash(int64(size), reader{store, origin})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	random := rand.New(rand.NewPCG(1, 2))
	var sizes []uint64
	for _, size := range []uint64{1, 2, 255, 256, 257, 511, 512, 513, 70000} {
		n.grow("GOV/tax", size)
		indexes := []uint64{0, size - 1, random.Uint64N(size), random.Uint64N(size)}
		for _, s := range []*stranger{owner, mirror} {
			s.fsck()
			cp, raw := s.checkpoint()
			if cp.Size != size || tlog.Hash(cp.Hash) != root(size) {
				t.Fatalf("%s: size %d, want %d", s.prefix, cp.Size, size)
			}
			s.proofs(cp, indexes, sizes, entry, root)
			s.torchwood(raw, max(0, int64(size)-1000), indexes, entry)
			if len(sizes) > 0 {
				before := sizes[random.IntN(len(sizes))]
				s.xmod(cp, before, root(before))
			}
		}
		sizes = append(sizes, size)
		checkOwnProofs(t, store, origin, key, mirrors, n.cfg.Quorum(), indexes, entry)
	}
	// Each size that was ever published can still be read, though larger tiles have taken the place of its partial ones.
	for _, size := range sizes {
		hashes := tlog.TileHashReader(tlog.Tree{N: int64(size), Hash: root(size)}, webTiles{t, site, owner.prefix})
		if got, err := tlog.TreeHash(int64(size), hashes); err != nil || got != root(size) {
			t.Errorf("size %d: %v", size, err)
		}
		if _, err := owner.fetch.ReadEntryBundle(context.Background(), (size-1)/256, uint8(size%256)); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
	}
}

// checkOwnProofs has torchwood and formats read the proofs that the store hands out.
func checkOwnProofs(t *testing.T, store *ledger.Store, origin, key string, mirrors []string, quorum int, indexes []uint64, entry func(uint64) []byte) {
	t.Helper()
	v, err := xnote.NewVerifier(key)
	if err != nil {
		t.Fatal(err)
	}
	var policies []torchwood.Policy
	for _, m := range mirrors {
		c, err := torchwood.NewCosignatureVerifier(m)
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, torchwood.SingleVerifierPolicy(c))
	}
	policy := torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v), torchwood.ThresholdPolicy(quorum, policies...))
	for _, i := range indexes {
		data, head, err := store.Proof(origin, i)
		if err != nil {
			t.Fatal(err)
		}
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(entry(i)), data); err != nil {
			t.Errorf("entry %d: torchwood: %v", i, err)
		}
		var f fproof.TLogProof
		if err := f.Unmarshal(data); err != nil || f.Index != i || !bytes.Equal(f.Checkpoint, head.Checkpoint) || !bytes.Equal(f.Marshal(), data) {
			t.Errorf("entry %d: formats: %v", i, err)
		}
		var path [][]byte
		for _, h := range f.Hashes {
			path = append(path, h[:])
		}
		if err := proof.VerifyInclusion(rfc6962.DefaultHasher, i, head.Size, rfc6962.DefaultHasher.HashLeaf(entry(i)), path, head.Root[:]); err != nil {
			t.Errorf("entry %d: merkle: %v", i, err)
		}
	}
}
