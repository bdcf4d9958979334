package tlogweb

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"

	"github.com/grille-gateway/grille/node/config"
)

// A request that is in flight when the gateway ends is answered; the next one finds nobody.
func TestServerEndsGracefully(t *testing.T) {
	folder := config.Folder(filepath.Join(t.TempDir(), "gw"))
	if err := folder.Create(); err != nil {
		t.Fatal(err)
	}
	if _, err := config.EnsureCertificate(folder, time.Now()); err != nil {
		t.Fatal(err)
	}
	begun, finish := make(chan struct{}), make(chan struct{})
	s, err := Listen("127.0.0.1:0", folder.Certificate(), folder.CertificateKey(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-finish
		if r.Context().Err() != nil {
			t.Error("the request was called off")
		}
		_, _ = io.WriteString(w, "done")
	}), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // whose certificate it is is no matter here
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	defer transport.CloseIdleConnections()
	answer := make(chan string, 1)
	go func() {
		resp, err := client.Get("https://" + s.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-begun
	stop()
	select {
	case err := <-ended:
		t.Fatalf("ended with a request in flight: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(finish)
	if got := <-answer; got != "done" {
		t.Errorf("answered %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	transport.CloseIdleConnections()
	if _, err := client.Get("https://" + s.Addr().String()); err == nil {
		t.Error("served after the end")
	}
	if err := s.Close(); err != nil {
		t.Errorf("closed after its end: %v", err)
	}
}

// One client has so many connections and no more; when one ends there is room again.
func TestConnectionsOfOneClient(t *testing.T) {
	base, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &fairListener{Listener: base, open: make(map[netip.Addr]int)}
	defer l.Close()
	accepted := make(chan net.Conn)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- conn
		}
	})
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", base.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	var ours, theirs []net.Conn
	for range maxOfClient {
		ours = append(ours, dial())
		theirs = append(theirs, <-accepted)
	}
	refused := dial()
	if n, err := refused.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("one too many was accepted")
	}
	for range 2 { // closing twice counts once
		_ = theirs[0].Close()
	}
	ours = append(ours, dial(), refused)
	theirs = append(theirs, <-accepted)
	if len(l.open) != 1 || l.open[netip.MustParseAddr("127.0.0.1")] != maxOfClient {
		t.Errorf("counted %v", l.open)
	}
	for _, c := range append(ours, theirs...) {
		_ = c.Close()
	}
	_ = l.Close()
	all.Wait()
	if len(l.open) != 0 {
		t.Errorf("counted %v after all ended", l.open)
	}
}

// Strangers who read large bundles slowly do not fill the memory: beyond a bound they are asked to come again.
func TestBytesOnTheirWayAreBounded(t *testing.T) {
	n := newNet(t)
	n.grow("GOV/tax", 300)
	h := New(Options{Store: n.stores["GOV/tax"], RequestsPerSecond: 100})
	if !h.sending.TryAcquire(maxSending - 100) {
		t.Fatal("the bound is taken")
	}
	ask := func() int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/"+n.cfg.Origin("GOV/tax")+"/tile/entries/000", nil))
		return w.Code
	}
	if got := ask(); got != 503 {
		t.Errorf("beyond the bound: %d", got)
	}
	h.sending.Release(maxSending - 100)
	for range 3 {
		if got := ask(); got != 200 {
			t.Errorf("within the bound: %d", got)
		}
	}
}

func TestListenRefuses(t *testing.T) {
	if _, err := Listen("127.0.0.1:0", "none.crt", "none.key", nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "none.crt") {
		t.Errorf("without a certificate: %v", err)
	}
}

// FuzzRoutes looks for paths that name a tile in another than its one spelling, or a log that is none.
func FuzzRoutes(f *testing.F) {
	store := newNet(f).stores["GOV/tax"]
	h := New(Options{Store: store, RequestsPerSecond: 1})
	tax := store.Origins()[3]
	for _, path := range []string{"/", "/add-checkpoint", "/add-entries", "/" + tax + "/checkpoint", "/" + tax + "/tile/0/x001/002", "/" + tax + "/tile/entries/000.p/7",
		"/mirror/" + OriginHash(tax) + "/tile/1/000", "/witness/" + OriginHash(tax) + "/checkpoint", "/" + tax + "/tile/data/000", "//", ""} {
		f.Add(path)
	}
	allowed := func(path string) bool {
		for _, origin := range store.Origins() {
			for _, prefix := range []string{"/" + origin + "/", "/mirror/" + OriginHash(origin) + "/", "/witness/" + OriginHash(origin) + "/", "/"} {
				rest, ok := strings.CutPrefix(path, prefix)
				tile, err := torchwood.ParseTilePath(rest)
				switch {
				case !ok:
				case rest == "checkpoint" && prefix != "/", err == nil && torchwood.TilePath(tile) == rest && !strings.HasPrefix(prefix, "/witness") && prefix != "/":
					return true
				case (rest == "add-checkpoint" || rest == "add-entries") && (prefix == "/" || prefix == "/"+origin+"/"), path == "/":
					return true
				}
			}
		}
		return false
	}
	f.Fuzz(func(t *testing.T, path string) {
		if found, ok := h.find(path); ok != allowed(path) || ok && found.serve == nil {
			t.Errorf("%q: found %v %q", path, ok, found.resource)
		}
	})
}
