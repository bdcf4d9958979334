package tlogweb

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
)

func TestReading(t *testing.T) {
	n := newNet(t)
	tax := n.cfg.Origin("GOV/tax")
	n.grow("GOV/tax", 300)
	n.grow("GOV/tax", 600)
	store := n.stores["GOV/health"] // a member that is not the owner serves it just so
	s := serve(t, Options{Store: store})
	head, _ := store.Final(tax)

	got := s.get("/" + tax + "/checkpoint")
	if got.status != 200 || !bytes.Equal(got.body, head.Checkpoint) || got.header.Get("Content-Type") != "text/plain; charset=utf-8" ||
		got.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("checkpoint: %+v", got)
	}
	if got := s.do(http.MethodHead, "/"+tax+"/checkpoint", nil); got.status != 200 || len(got.body) != 0 || got.header.Get("Content-Length") != fmt.Sprint(len(head.Checkpoint)) {
		t.Errorf("HEAD: %+v", got)
	}
	for _, size := range []int64{1, 255, 256, 257, 300, 512, 600} {
		for level := -1; level <= 1; level++ {
			for i := int64(0); i<<8 < size>>(8*max(level, 0)); i++ {
				tile := tlog.Tile{H: 8, L: level, N: i, W: int(min(size>>(8*max(level, 0))-i<<8, 256))}
				want, err := store.Tile(tax, tile)
				if err != nil {
					t.Fatal(err)
				}
				got := s.get("/" + tax + "/" + torchwood.TilePath(tile))
				if got.status != 200 || !bytes.Equal(got.body, want) || got.header.Get("Content-Type") != "application/octet-stream" {
					t.Errorf("tile %+v: status %d, %d bytes, want %d", tile, got.status, len(got.body), len(want))
				}
				if cc := got.header.Get("Cache-Control"); cc != "public, max-age=31536000, immutable" {
					t.Errorf("tile %+v: %q", tile, cc)
				}
			}
		}
	}
	if got := s.get("/" + n.cfg.Origin("GOV/civil") + "/checkpoint"); got.status != 404 {
		t.Errorf("a log without a head: %+v", got)
	}
	if got := s.get("/"); got.status != 200 || !bytes.Contains(got.body, []byte(tax+"\n  member  GOV/tax\n  key     "+tax+"+")) {
		t.Errorf("index: %.400s", got.body)
	}
}

func TestPathsThatAreNone(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 300)
	tax := n.cfg.Origin("GOV/tax")
	s := serve(t, Options{Store: n.stores["GOV/health"]})
	for _, path := range []string{"/checkpoint", "/x", "//", "/" + tax, "/" + tax + "/", "/" + tax + "/tile", "/" + tax + "/tile/0", "/" + tax + "/tile/0/00",
		"/" + tax + "/tile/00/000", "/" + tax + "/tile/0/0", "/" + tax + "/tile/-1/000", "/" + tax + "/tile/64/000", "/" + tax + "/tile/data/000",
		"/" + tax + "/tile/0/000.p/0", "/" + tax + "/tile/0/000.p/256", "/" + tax + "/tile/0/000.p/01", "/" + tax + "/tile/0/001", // 44 there
		"/" + tax + "/tile/0/001.p/45", "/" + tax + "/tile/1/000", "/" + tax + "/tile/1/000.p/2", "/" + tax + "/tile/2/000.p/1", "/" + tax + "/tile/entries/001",
		"/" + tax + "/tile/entries/001.p/45", "/" + tax + "/tile/0/x000/000", "/" + tax + "/tile/8/0/000", "/" + tax + "/../" + tax + "/checkpoint/x",
		"/" + tax + "/tile/0/x999/x999/x999/x999/x999/x999/999", "/" + tax + "x/checkpoint", "/test.example/GOV/none/log/1/checkpoint",
		"/mirror/" + OriginHash("x") + "/checkpoint", "/mirror/" + tax + "/checkpoint", "/mirror/" + strings.ToUpper(OriginHash(tax)) + "/checkpoint",
		"/witness/" + OriginHash(tax) + "/tile/0/000", "/witness/" + OriginHash(tax), "/other/" + OriginHash(tax) + "/checkpoint",
		"/" + strings.Repeat("a", 600), "/signer/owner.json", "/" + tax + "/index.db"} {
		got := s.get(path)
		if got.status != 404 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") || len(got.body) == 0 {
			t.Errorf("%s: %d %.80s", path, got.status, got.body)
		}
		if bytes.Contains(got.body, []byte("GOV")) {
			t.Errorf("%s: the answer repeats the path: %.80s", path, got.body)
		}
	}
	for _, tc := range []struct{ method, path, allow string }{
		{"POST", "/" + tax + "/checkpoint", "GET, HEAD"}, {"PUT", "/" + tax + "/tile/0/000", "GET, HEAD"}, {"DELETE", "/", "GET, HEAD"},
		{"GET", "/add-checkpoint", "POST"}, {"HEAD", "/add-entries", "POST"}, {"OPTIONS", "/" + tax + "/add-checkpoint", "POST"},
		{"POST", "/mirror/" + OriginHash(tax) + "/checkpoint", "GET, HEAD"},
	} {
		if got := s.do(tc.method, tc.path, nil); got.status != 405 || got.header.Get("Allow") != tc.allow {
			t.Errorf("%s %s: %d, allowed %q", tc.method, tc.path, got.status, got.header.Get("Allow"))
		}
	}
}

// The cosignatures of outside witnesses are appended to the head that they are of, and counted by nobody.
func TestOutsideCosignaturesAreAppended(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 3)
	tax := n.cfg.Origin("GOV/tax")
	store := n.stores["GOV/tax"]
	var asked []ledger.Head
	s := serve(t, Options{Store: store, Outside: func(h ledger.Head) []byte {
		asked = append(asked, h)
		return []byte("— witness.example/w1 AAAAAAA=\n")
	}})
	head, _ := store.Final(tax)
	got := s.get("/" + tax + "/checkpoint")
	if string(got.body) != string(head.Checkpoint)+"— witness.example/w1 AAAAAAA=\n" || len(asked) != 1 || asked[0].Origin != tax {
		t.Errorf("%s", got.body)
	}
	if again, _ := store.Final(tax); !bytes.Equal(again.Checkpoint, head.Checkpoint) {
		t.Error("the head itself has changed")
	}
}

func TestObserved(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 3)
	tax := n.cfg.Origin("GOV/tax")
	var mu sync.Mutex
	seen := make(map[string]int)
	s := serve(t, Options{Store: n.stores["GOV/tax"], Observe: func(resource string, status int) {
		mu.Lock()
		defer mu.Unlock()
		seen[fmt.Sprint(resource, " ", status)]++
	}})
	for _, path := range []string{"/", "/" + tax + "/checkpoint", "/" + tax + "/tile/0/000.p/3", "/" + tax + "/tile/entries/000.p/3", "/" + tax + "/tile/0/000", "/no"} {
		s.get(path)
	}
	s.do("POST", "/add-checkpoint", nil)
	want := "map[add-checkpoint 400:1 checkpoint 200:1 entries 200:1 index 200:1 none 404:1 tile 200:1 tile 404:1]"
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(seen) != want {
		t.Errorf("observed %v, want %s", seen, want)
	}
}

// A client that asks too fast is slowed down first and refused then; others are not.
func TestClientsAreLimited(t *testing.T) {
	n := newNet(t)
	s := serve(t, Options{Store: n.stores["GOV/tax"], RequestsPerSecond: 2})
	var mu sync.Mutex
	statuses := make(map[int]int)
	var wait string
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			got := s.get("/")
			mu.Lock()
			defer mu.Unlock()
			statuses[got.status]++
			if got.status == 429 {
				wait = got.header.Get("Retry-After")
			}
		})
	}
	wg.Wait()
	// 4 at once, 2 a second for 5 seconds; the rest is refused.
	if statuses[200] < 4 || statuses[200] > 16 || statuses[200]+statuses[429] != 40 || wait == "" || wait == "0" {
		t.Errorf("statuses %v, Retry-After %q", statuses, wait)
	}
	c := newClients(1)
	for _, addr := range []string{"127.0.2.1:1", "127.0.2.2:1", "[fd00::1]:1", "[fd00:0:1::1]:1", "pipe"} {
		for i := range 2 {
			release, _, ok := c.admit(t.Context(), addr)
			if !ok {
				t.Errorf("%s: request %d refused", addr, i)
				continue
			}
			release()
		}
	}
	if c.of("127.0.2.1:1") != c.of("127.0.2.1:9") || c.of("[fd00::1]:1") != c.of("[fd00::ffff]:2") || c.of("[::ffff:127.0.2.1]:1") != c.of("127.0.2.1:1") {
		t.Error("one client counts as several")
	}
	if c.of("127.0.2.1:1") == c.of("127.0.2.2:1") || c.of("[fd00::1]:1") == c.of("[fd00:0:1::1]:1") {
		t.Error("two clients count as one")
	}
	for i := range maxClients + 100 {
		c.of(fmt.Sprintf("127.%d.%d.%d:1", i>>16, i>>8&255, i&255))
	}
	if len(c.byAddr) > maxClients {
		t.Errorf("%d clients are remembered", len(c.byAddr))
	}
}
