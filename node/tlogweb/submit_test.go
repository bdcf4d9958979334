package tlogweb

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/note"
)

func witnessVerifier(tb testing.TB, member string) *torchwood.CosignatureVerifier {
	tb.Helper()
	v, err := torchwood.NewCosignatureVerifier(ledger.WitnessVKey(instance, member, testKeys.Public("witness "+member)))
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// witnessed asks for a cosignature and returns the answer.
func (n *ledgerNet) witnessed(s *site, path, owner string, old, size int64) answer {
	n.tb.Helper()
	return s.do("POST", path, note.AddCheckpoint{Old: old, Proof: n.proof(owner, old, size), Note: n.signed(owner, size)}.Encode())
}

func TestWitnessOverHTTPS(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 300)
	tax := n.cfg.Origin("GOV/tax")
	s := serve(t, Options{Store: n.stores["GOV/health"]})
	v := witnessVerifier(t, "GOV/health")
	last := "/witness/" + OriginHash(tax) + "/checkpoint"
	if got := s.get(last); got.status != 404 {
		t.Errorf("before the first: %d", got.status)
	}
	for i, step := range []struct{ old, size int64 }{{0, 1}, {1, 255}, {255, 256}, {256, 257}, {257, 300}, {300, 300}} {
		path := "/add-checkpoint"
		if i%2 == 1 {
			path = "/" + tax + path
		}
		got := n.witnessed(s, path, "GOV/tax", step.old, step.size)
		if got.status != 200 || got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Fatalf("%v: %d %s", step, got.status, got.body)
		}
		sigs, err := note.ParseLines(got.body)
		if err != nil {
			t.Fatal(err)
		}
		signed := n.signed("GOV/tax", step.size)
		c, err := note.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.VerifyOutside(v, c.Text, sigs); err != nil {
			t.Errorf("%v: %v", step, err)
		}
		if served := s.get(last); served.status != 200 || !bytes.Equal(served.body, append(signed, got.body...)) {
			t.Errorf("%v: served as %s", step, served.body)
		}
		conflict := n.witnessed(s, path, "GOV/tax", 0, 300)
		if conflict.status != 409 || conflict.header.Get("Content-Type") != "text/x.tlog.size" || string(conflict.body) != fmt.Sprintf("%d\n", step.size) {
			t.Errorf("%v: conflict %d %q %s", step, conflict.status, conflict.header.Get("Content-Type"), conflict.body)
		}
	}
}

func TestWitnessStatuses(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 30)
	n.grow("GOV/civil", 30)
	tax, civil := n.cfg.Origin("GOV/tax"), n.cfg.Origin("GOV/civil")
	s := serve(t, Options{Store: n.stores["GOV/health"]})
	if got := n.witnessed(s, "/add-checkpoint", "GOV/tax", 0, 20); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	signed := n.signed("GOV/tax", 30)
	proof := n.proof("GOV/tax", 20, 30)
	request := func(old int64, proof []tlog.Hash, signed []byte) []byte {
		return note.AddCheckpoint{Old: old, Proof: proof, Note: signed}.Encode()
	}
	forged, err := note.Sign(tax, tlog.Tree{N: 30}, testKeys.Key("log GOV/civil"))
	if err != nil {
		t.Fatal(err)
	}
	fork, err := note.Sign(tax, tlog.Tree{N: 40}, testKeys.Key("log GOV/tax"))
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Replace(signed, []byte("\n30\n"), []byte("\n31\n"), 1)
	unknown, err := note.Sign("test.example/GOV/none/log/1", tlog.Tree{N: 3}, testKeys.Key("x"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, path string
		body       []byte
		want       int
	}{
		{"empty", "/add-checkpoint", nil, 400},
		{"no checkpoint", "/add-checkpoint", []byte("old 20\n\n"), 400},
		{"checkpoint alone", "/add-checkpoint", signed, 400},
		{"old size beyond", "/add-checkpoint", request(31, nil, signed), 400},
		{"extension line", "/add-checkpoint", request(20, proof, bytes.Replace(signed, []byte("\n\n"), []byte("\nx\n\n"), 1)), 400},
		{"too large", "/add-checkpoint", bytes.Repeat([]byte("x"), note.MaxAddCheckpoint+1), 413},
		{"unknown origin", "/add-checkpoint", request(0, nil, unknown), 404},
		{"own log", "/add-checkpoint", request(0, nil, bytes.ReplaceAll(signed, []byte("GOV/tax"), []byte("GOV/health"))), 404},
		{"another log's path", "/" + civil + "/add-checkpoint", request(20, proof, signed), 404},
		{"another key", "/add-checkpoint", request(20, proof, forged), 403},
		{"spoilt signature", "/add-checkpoint", request(20, proof, spoilt), 403},
		{"old size", "/add-checkpoint", request(19, n.proof("GOV/tax", 19, 30), signed), 409},
		{"no proof", "/add-checkpoint", request(20, nil, signed), 422},
		{"wrong proof", "/add-checkpoint", request(20, n.proof("GOV/tax", 19, 30), signed), 422},
		{"proof to itself", "/add-checkpoint", request(20, proof[:1], n.signed("GOV/tax", 20)), 422},
		{"fork", "/add-checkpoint", request(20, proof, fork), 422},
		{"the next one", "/" + tax + "/add-checkpoint", request(20, proof, signed), 200},
	} {
		got := s.do("POST", tc.path, tc.body)
		if got.status != tc.want || !strings.HasPrefix(got.header.Get("Content-Type"), "text/") {
			t.Errorf("%s: %d %s, want %d", tc.name, got.status, got.body, tc.want)
		}
		if tc.want != 200 && bytes.Contains(got.body, []byte("—")) {
			t.Errorf("%s: signed %s", tc.name, got.body)
		}
	}
	two, err := note.Sign(tax, tlog.Tree{N: 30}, testKeys.Key("log GOV/tax"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.do("POST", "/add-checkpoint", request(30, nil, two)); got.status != 422 { // the replica here has the entries
		t.Errorf("two roots: %d %s", got.status, got.body)
	}
	if got := s.do("POST", "/add-checkpoint", request(30, nil, signed)); got.status != 403 {
		t.Errorf("after evidence of a fork: %d %s", got.status, got.body)
	}
}

// A conflict of roots at one size is a 409 that does not look like one of sizes, or a client would come again at once.
func TestTwoRootsOfOneSize(t *testing.T) {
	n := newNet(t)
	tax := n.cfg.Origin("GOV/tax")
	s := serve(t, Options{Store: n.stores["GOV/health"]})
	for i, want := range []int{200, 409} {
		signed, err := note.Sign(tax, tlog.Tree{N: 7, Hash: tlog.Hash{byte(i)}}, testKeys.Key("log GOV/tax"))
		if err != nil {
			t.Fatal(err)
		}
		got := s.do("POST", "/add-checkpoint", note.AddCheckpoint{Old: int64(7 * i), Note: signed}.Encode())
		if got.status != want || got.header.Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%d: %d %s", i, got.status, got.body)
		}
	}
	if len(n.stores["GOV/health"].Evidence()) != 1 {
		t.Error("no evidence was kept")
	}
}

// Of many who extend one tree at once, one is served and the others are told the size; the tree never shrinks.
func TestWitnessRaces(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 64)
	s := serve(t, Options{Store: n.stores["GOV/health"]})
	size := int64(0)
	for size < 60 {
		var mu sync.Mutex
		served := []int64{}
		var wg sync.WaitGroup
		for i := range int64(8) {
			wg.Go(func() {
				to := size + 1 + i%4
				got := n.witnessed(s, "/add-checkpoint", "GOV/tax", size, to)
				mu.Lock()
				defer mu.Unlock()
				switch got.status {
				case 200:
					served = append(served, to)
				case 409:
				default:
					t.Errorf("%d %s", got.status, got.body)
				}
			})
		}
		wg.Wait()
		for _, to := range served {
			if to != served[0] {
				t.Fatalf("cosigned sizes %v after %d", served, size)
			}
		}
		if len(served) != 1 {
			t.Fatalf("%d were served after %d", len(served), size)
		}
		size = served[0]
	}
}

func TestWitnessStartsOnlyWhenHeard(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 5)
	name := "GOV/health"
	if err := n.stores[name].Close(); err != nil {
		t.Fatal(err)
	}
	o := ledger.Options{Dir: n.dir + "/GOV-health", Config: n.cfg, Member: name, LogKey: testKeys.Key("log " + name),
		MirrorKey: testKeys.Key("mirror " + name), WitnessKey: testKeys.Key("witness " + name), Now: n.now}
	silent, err := ledger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	n.stores[name] = silent
	s := serve(t, Options{Store: silent})
	got := n.witnessed(s, "/add-checkpoint", "GOV/tax", 0, 5)
	if got.status != 503 || got.header.Get("Retry-After") != "5" {
		t.Errorf("%d %q %s", got.status, got.header.Get("Retry-After"), got.body)
	}
	if got := s.get("/" + n.cfg.Origin("GOV/tax") + "/checkpoint"); got.status != 200 {
		t.Errorf("reading: %d", got.status)
	}
}

// uploader is a client of tlog-mirror that knows the specification only.
type uploader struct {
	tb      testing.TB
	s       *site
	origin  string
	entries func(from, to int64) ([][]byte, error)
	hashes  tlog.HashReader
	most    int // packages in one request
	gzip    bool
	rounds  int
}

// uploader returns one that brings an owner's log to a site.
func (n *ledgerNet) uploader(s *site, owner string, most int) *uploader {
	origin := n.cfg.Origin(owner)
	store := n.stores[owner]
	return &uploader{tb: n.tb, s: s, origin: origin, hashes: reader{store, origin}, most: most,
		entries: func(from, to int64) ([][]byte, error) { return store.Read(origin, uint64(from), uint64(to)) }}
}

// build writes an upload of [start, end).
func (u *uploader) build(start, end int64, ticket []byte) []byte {
	u.tb.Helper()
	a := note.AddEntries{Origin: u.origin, Start: start, End: end, Ticket: ticket}
	body := a.Append(nil)
	for at, i := start, 0; at < end && i < u.most; i++ {
		p := a.Next(at)
		var err error
		if p.Entries, err = u.entries(p.Start, p.End); err != nil {
			u.tb.Fatal(err)
		}
		if p.Proof, err = note.ProveSubtree(p.Base(), p.End, end, u.hashes); err != nil {
			u.tb.Fatal(err)
		}
		body, at = p.Append(body), p.End
	}
	return body
}

func (u *uploader) send(body []byte) answer {
	u.tb.Helper()
	u.rounds++
	header := []string{"Content-Type", "application/octet-stream"}
	if u.gzip {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		if _, err := w.Write(body); err != nil {
			u.tb.Fatal(err)
		}
		if err := w.Close(); err != nil {
			u.tb.Fatal(err)
		}
		body, header = packed.Bytes(), append(header, "Content-Encoding", "gzip")
	}
	return u.s.do("POST", "/add-entries", body, header...)
}

// upload brings a mirror to a size, from whatever it says it has, and returns its cosignature.
func (u *uploader) upload(size int64) []byte {
	u.tb.Helper()
	start, ticket := int64(0), []byte(nil)
	for range 100 {
		got := u.send(u.build(start, size, ticket))
		switch got.status {
		case 200:
			return got.body
		case 202, 409:
			info, err := note.ParseMirrorInfo(got.body)
			if err != nil || got.header.Get("Content-Type") != "text/x.tlog.mirror-info" || info.Size != size {
				u.tb.Fatalf("%d %q: %+v, %v", got.status, got.header.Get("Content-Type"), info, err)
			}
			start, ticket = info.Next, info.Ticket
		default:
			u.tb.Fatalf("%d %.200s", got.status, got.body)
		}
	}
	u.tb.Fatal("never complete")
	return nil
}

// alone returns a mirror that has heard nothing of the owner's log.
func (n *ledgerNet) alone(owner, mirror string, size uint64) {
	n.tb.Helper()
	kept := n.stores[mirror]
	others := []string{}
	for _, m := range names {
		if m != mirror {
			others = append(others, m)
		}
	}
	all := names
	names = others
	defer func() { names = all; n.stores[mirror] = kept }()
	delete(n.stores, mirror)
	n.grow(owner, size)
}

func TestUploadOverHTTPS(t *testing.T) {
	n := newNet(t)
	n.alone("GOV/tax", "GOV/health", 2000)
	tax := n.cfg.Origin("GOV/tax")
	mirror := n.stores["GOV/health"]
	s := serve(t, Options{Store: mirror})
	member, _ := n.cfg.Member("GOV/health")
	v, err := torchwood.NewCosignatureVerifier(member.MirrorKey)
	if err != nil {
		t.Fatal(err)
	}
	old := int64(0)
	for i, size := range []int64{1, 255, 256, 257, 600, 2000} {
		if got := n.witnessed(s, "/add-checkpoint", "GOV/tax", old, size); got.status != 200 {
			t.Fatalf("size %d: %d %s", size, got.status, got.body)
		}
		if mirror.Size(tax) != uint64(old) {
			t.Fatalf("a checkpoint alone brought %d entries", mirror.Size(tax))
		}
		u := n.uploader(s, "GOV/tax", 2)
		u.gzip = i%2 == 1
		line := u.upload(size)
		sigs, err := note.ParseLines(line)
		if err != nil {
			t.Fatal(err)
		}
		signed := n.signed("GOV/tax", size)
		c, err := note.Parse(signed)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.VerifyOutside(v, c.Text, sigs); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		served := s.get("/mirror/" + OriginHash(tax) + "/checkpoint")
		if served.status != 200 || !bytes.Equal(served.body, append(signed, line...)) || mirror.Size(tax) != uint64(size) {
			t.Errorf("size %d: served %s, %d entries", size, served.body, mirror.Size(tax))
		}
		if got := s.get("/mirror/" + OriginHash(tax) + "/tile/entries/000.p/1"); got.status != 200 {
			t.Errorf("size %d: tile of the mirror: %d", size, got.status)
		}
		if size == 2000 && u.rounds < 4 {
			t.Errorf("%d requests for 6 packages of at most 2", u.rounds)
		}
		old = size
	}
	n.reopen("GOV/health")
	if data, err := n.stores["GOV/health"].Mirrored(tax); err != nil || !bytes.HasPrefix(data, n.signed("GOV/tax", 2000)) {
		t.Errorf("after a restart: %s, %v", data, err)
	}
}

// info writes what a mirror says of its state in one line.
func info(a answer) string {
	m, err := note.ParseMirrorInfo(a.body)
	if err != nil || a.header.Get("Content-Type") != note.MirrorInfoType {
		return fmt.Sprintf("%d %.200q", a.status, a.body)
	}
	return fmt.Sprintf("%d size %d next %d", a.status, m.Size, m.Next)
}

func TestUploadStatuses(t *testing.T) {
	n := newNet(t)
	n.alone("GOV/tax", "GOV/health", 700)
	tax := n.cfg.Origin("GOV/tax")
	mirror := n.stores["GOV/health"]
	s := serve(t, Options{Store: mirror})
	u := n.uploader(s, "GOV/tax", 100)
	if got := info(u.send(u.build(0, 0, nil))); got != "409 size 0 next 0" {
		t.Errorf("nothing pending: %s", got)
	}
	for _, step := range [][2]int64{{0, 300}, {300, 700}} {
		if got := n.witnessed(s, "/add-checkpoint", "GOV/tax", step[0], step[1]); got.status != 200 {
			t.Fatal(got.status)
		}
	}
	if got := info(u.send(u.build(0, 0, nil))); got != "409 size 700 next 0" {
		t.Errorf("asking: %s", got)
	}
	if got := info(u.send(u.build(0, 300, nil))); got != "409 size 700 next 0" {
		t.Errorf("an end that is no longer pending: %s", got)
	}
	if got := info(u.send(u.build(10, 700, nil))); got != "409 size 700 next 0" {
		t.Errorf("a start beyond: %s", got)
	}
	whole := u.build(0, 700, nil)
	head := len(note.AddEntries{Origin: tax, Start: 0, End: 700}.Append(nil))
	changed := bytes.Clone(whole)
	changed[head+500] ^= 1
	for _, tc := range []struct {
		name   string
		body   []byte
		header []string
		want   int
	}{
		{"empty", nil, nil, 400},
		{"head cut off", whole[:20], nil, 400},
		{"first package cut off", whole[:head+2000], nil, 400},
		{"no package", whole[:head], nil, 400},
		{"a changed byte", changed, nil, 422},
		{"another type", whole, []string{"Content-Type", "text/plain"}, 415},
		{"another encoding", whole, []string{"Content-Encoding", "br"}, 415},
		{"not gzip", whole, []string{"Content-Encoding", "gzip"}, 400},
		{"unknown origin", note.AddEntries{Origin: "test.example/GOV/none/log/1"}.Append(nil), nil, 404},
		{"own log", note.AddEntries{Origin: n.cfg.Origin("GOV/health")}.Append(nil), nil, 404},
	} {
		got := s.do("POST", "/add-entries", tc.body, append([]string{"Content-Type", "application/octet-stream"}, tc.header...)...)
		if got.status != tc.want || got.header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s: %d %.100s, want %d", tc.name, got.status, got.body, tc.want)
		}
		if n := mirror.Stored(tax); n != 0 {
			t.Fatalf("%s: stored %d entries", tc.name, n)
		}
	}
	if got := s.do("POST", "/"+n.cfg.Origin("GOV/civil")+"/add-entries", whole, "Content-Type", "application/octet-stream"); got.status != 404 {
		t.Errorf("another log's path: %d", got.status)
	}
}

// An upload that was cut off goes on where it ended, with the ticket also after the log itself went on.
func TestUploadGoesOn(t *testing.T) {
	n := newNet(t)
	n.alone("GOV/tax", "GOV/health", 700)
	tax := n.cfg.Origin("GOV/tax")
	mirror := n.stores["GOV/health"]
	s := serve(t, Options{Store: mirror})
	u := n.uploader(s, "GOV/tax", 100)
	if got := n.witnessed(s, "/add-checkpoint", "GOV/tax", 0, 700); got.status != 200 {
		t.Fatal(got.status)
	}
	whole := u.build(0, 700, nil)
	// Cut off in the second package, the first one counts.
	got := u.send(whole[:len(whole)*2/3])
	if info(got) != "202 size 700 next 256" {
		t.Fatalf("cut off: %s", info(got))
	}
	if line, err := mirror.Mirrored(tax); line != nil || err != nil {
		t.Errorf("cosigned a part: %s", line)
	}
	partial, _ := note.ParseMirrorInfo(got.body)
	// The log goes on meanwhile; with the ticket the upload goes on as well.
	n.goOn("GOV/tax", 900)
	if got := n.witnessed(s, "/add-checkpoint", "GOV/tax", 700, 900); got.status != 200 {
		t.Fatal(got.status)
	}
	rest := u.build(256, 700, nil)
	if got := info(u.send(rest)); got != "409 size 900 next 256" {
		t.Errorf("without the ticket: %s", got)
	}
	spoilt := bytes.Clone(partial.Ticket)
	spoilt[3] ^= 1
	if got := info(u.send(u.build(256, 700, spoilt))); got != "409 size 900 next 256" {
		t.Errorf("with a spoilt ticket: %s", got)
	}
	if got := u.send(u.build(256, 700, partial.Ticket)); got.status != 200 {
		t.Errorf("with the ticket: %s", info(got))
	}
	if got := info(u.send(u.build(256, 300, nil))); got != "409 size 900 next 700" {
		t.Errorf("smaller than the mirror's: %s", got)
	}
	if got := u.upload(900); len(got) == 0 {
		t.Error("no cosignature")
	}
	if got := u.send(u.build(900, 900, nil)); got.status != 200 { // the cosignature again
		t.Errorf("again: %s", info(got))
	}
}

// goOn appends to an owner's log without telling anybody.
func (n *ledgerNet) goOn(owner string, size uint64) {
	n.tb.Helper()
	kept := names
	names = []string{"GOV/benefits", "GOV/civil", "GOV/tax"}
	defer func() { names = kept }()
	n.grow(owner, size)
}

// A large upload and a gzip bomb stop at the bound.
func TestUploadBounds(t *testing.T) {
	n := newNet(t)
	n.alone("GOV/tax", "GOV/health", 300)
	s := serve(t, Options{Store: n.stores["GOV/health"]})
	if got := n.witnessed(s, "/add-checkpoint", "GOV/tax", 0, 300); got.status != 200 {
		t.Fatal(got.status)
	}
	head := note.AddEntries{Origin: n.cfg.Origin("GOV/tax"), Start: 0, End: 300}.Append(nil)
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	if _, err := w.Write(head); err != nil {
		t.Fatal(err)
	}
	filler := bytes.Repeat([]byte{0xff}, 1<<20)
	for range 64 {
		if _, err := w.Write(filler); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	got := s.do("POST", "/add-entries", bomb.Bytes(), "Content-Type", "application/octet-stream", "Content-Encoding", "gzip")
	if got.status != http.StatusBadRequest && got.status != http.StatusUnprocessableEntity || time.Since(start) > 20*time.Second {
		t.Errorf("a bomb: %d %s", got.status, got.body)
	}
	if got := s.get("/" + n.cfg.Origin("GOV/tax") + "/checkpoint"); got.status != 404 {
		t.Errorf("afterwards: %d", got.status)
	}
}
