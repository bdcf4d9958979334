package witness

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/torchwood"
	xnote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/config"
)

const (
	instance = "test.example"
	member   = "GOV/tax"
)

var origin = network.LogName(instance, member, 1)

const testKeys = networktest.Keys("witness test key ")

// testCard is the card of a member, which is a mirror.
func testCard(t *testing.T, name, endpoint string) network.Card {
	t.Helper()
	return testKeys.Card(t, instance, testKeys.Member(instance, name, endpoint, true))
}

// openStore opens the ledger of a network of one, where everything is final at once.
func openStore(t *testing.T, dir string) *ledger.Store {
	t.Helper()
	return openIn(t, dir, member, testCard(t, member, "127.0.0.1:4433"))
}

// openIn opens the ledger of one of the members with these cards.
func openIn(t *testing.T, dir, name string, cards ...network.Card) *ledger.Store {
	t.Helper()
	s, err := ledger.Open(ledger.Options{Dir: dir, Config: networktest.Build(t, instance, network.Params{}, cards...), Member: name,
		LogKey: testKeys.Key("log " + name), MirrorKey: testKeys.Key("mirror " + name), WitnessKey: testKeys.Key("witness " + name)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func grow(t *testing.T, s *ledger.Store, n int) ledger.Head {
	t.Helper()
	at := s.Size(origin)
	var batch []entry.Entry
	for i := range n {
		batch = append(batch, entry.ReceiptsBatch{Beat: at + uint64(i) + 1, Root: strings.Repeat("0f", 32), Time: "2026-03-01T12:00:00Z"})
	}
	if _, err := s.Append(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	head, ok := s.Final(origin)
	if !ok || head.Size != at+uint64(n) {
		t.Fatalf("final size %d", head.Size)
	}
	return head
}

// An outsider is a witness as C2SP tlog-witness has it, which knows nothing of this repository.
type outsider struct {
	t      *testing.T
	signer *torchwood.CosignatureSigner
	log    xnote.Verifier
	server *httptest.Server

	mu    sync.Mutex
	tree  tlog.Tree
	asked []int64                       // old sizes
	next  []func(w http.ResponseWriter) // answers to give instead, in this order
}

func newOutsider(t *testing.T, name string) *outsider {
	t.Helper()
	signer, err := torchwood.NewCosignatureSigner(name, testKeys.Key(name))
	if err != nil {
		t.Fatal(err)
	}
	log, err := xnote.NewVerifier(network.LogVKey(origin, testKeys.Public("log "+member)))
	if err != nil {
		t.Fatal(err)
	}
	o := &outsider{t: t, signer: signer, log: log}
	o.server = httptest.NewTLSServer(o)
	t.Cleanup(o.server.Close)
	return o
}

func (o *outsider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != "POST" || r.URL.Path != "/w/add-checkpoint" {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.next) > 0 {
		f := o.next[0]
		o.next = o.next[1:]
		f(w)
		return
	}
	head, signed, _ := bytes.Cut(body, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	var old int64
	if _, err := fmt.Sscanf(lines[0], "old %d", &old); err != nil {
		http.Error(w, "old", http.StatusBadRequest)
		return
	}
	o.asked = append(o.asked, old)
	var proof tlog.TreeProof
	for _, l := range lines[1:] {
		h, err := tlog.ParseHash(l)
		if err != nil {
			http.Error(w, "hash", http.StatusBadRequest)
			return
		}
		proof = append(proof, h)
	}
	n, err := xnote.Open(signed, xnote.VerifierList(o.log))
	if err != nil || len(n.UnverifiedSigs) != 0 {
		http.Error(w, "signature", http.StatusForbidden)
		return
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err != nil {
		http.Error(w, "checkpoint", http.StatusBadRequest)
		return
	}
	if old != o.tree.N {
		w.Header().Set("Content-Type", "text/x.tlog.size")
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, "%d\n", o.tree.N)
		return
	}
	if old > 0 && tlog.CheckTree(proof, c.N, c.Hash, o.tree.N, o.tree.Hash) != nil || old == 0 && len(proof) > 0 {
		http.Error(w, "proof", http.StatusUnprocessableEntity)
		return
	}
	o.tree = c.Tree
	o.write(w, n.Text, o.signer)
}

// write answers with a cosignature, and one of another key before it.
func (o *outsider) write(w io.Writer, text string, signers ...xnote.Signer) {
	other, err := torchwood.NewCosignatureSigner("other.example/w", testKeys.Key("other"))
	if err != nil {
		o.t.Error(err)
		return
	}
	signed, err := xnote.Sign(&xnote.Note{Text: text}, append([]xnote.Signer{other}, signers...)...)
	if err != nil {
		o.t.Error(err)
		return
	}
	_, sigs, _ := bytes.Cut(signed, []byte("\n\n"))
	_, _ = w.Write(sigs)
}

func (o *outsider) setting() config.Witness {
	o.t.Helper()
	file := filepath.Join(o.t.TempDir(), "ca.pem")
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.server.Certificate().Raw})
	if err := os.WriteFile(file, data, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return config.Witness{URL: o.server.URL + "/w", Key: o.signer.Verifier().String(), Certificate: file}
}

func (o *outsider) sizes() []int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.asked)
}

func newClient(t *testing.T, s *ledger.Store, dir string, witnesses ...config.Witness) *Client {
	t.Helper()
	c, err := New(Options{Store: s, Origin: origin, Witnesses: witnesses, Dir: dir, Heartbeat: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// eventually waits for something that another goroutine brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// run runs a client until the test ends or stop is called.
func run(t *testing.T, c *Client) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func TestWitnessesFollowTheLog(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	a, b := newOutsider(t, "witness.example/a"), newOutsider(t, "witness.example/b")
	c := newClient(t, s, filepath.Join(dir, "outside"), a.setting(), b.setting())
	stop := run(t, c)
	first := grow(t, s, 3)
	eventually(t, "no cosignature of the first head", func() bool { return bytes.Count(c.Lines(first), []byte("\n")) == 2 })
	second := grow(t, s, 300)
	eventually(t, "no cosignature of the second head", func() bool { return bytes.Count(c.Lines(second), []byte("\n")) == 2 })
	if len(c.Lines(first)) != 0 {
		t.Error("cosignatures are shown with a head that they are not of")
	}
	checkLines(t, second, c.Lines(second), a, b)
	if now, _ := s.Final(origin); len(now.Times) != 1 || bytes.Contains(now.Checkpoint, []byte("witness.example")) {
		t.Errorf("outside cosignatures were counted: %s", now.Checkpoint)
	}
	before := c.Status()
	eventually(t, "not cosigned again for a heartbeat", func() bool {
		now := c.Status()
		return now[0].Time.After(before[0].Time) && now[1].Time.After(before[1].Time)
	})
	if st := c.Status()[0]; st.Name != "witness.example/a" || st.Size != 303 || st.Fault != "" || st.URL != a.server.URL+"/w" {
		t.Errorf("status %+v", st)
	}
	if got := a.sizes(); got[0] != 0 || !slices.Contains(got, 3) || !slices.Contains(got, 303) {
		t.Errorf("old sizes %v", got)
	}
	stop()
	kept := c.Lines(second)
	again := newClient(t, s, filepath.Join(dir, "outside"), a.setting(), b.setting())
	if got := again.Lines(second); !bytes.Equal(got, kept) || again.Status()[1].Size != 303 {
		t.Errorf("after a restart: %s", got)
	}
	n := len(a.sizes())
	run(t, again)
	eventually(t, "not asked after a restart", func() bool { return len(a.sizes()) > n })
	if got := a.sizes()[n]; got != 303 {
		t.Errorf("asked from size %d after a restart", got)
	}
}

// checkLines lets x/mod and torchwood verify the head with the lines.
func checkLines(t *testing.T, head ledger.Head, lines []byte, from ...*outsider) {
	t.Helper()
	verifiers := []xnote.Verifier{from[0].log}
	for _, o := range from {
		verifiers = append(verifiers, o.signer.Verifier())
	}
	n, err := xnote.Open(append(bytes.Clone(head.Checkpoint), lines...), xnote.VerifierList(verifiers...))
	if err != nil || len(n.Sigs) != len(verifiers) {
		t.Errorf("%d of %d signatures verify, %v", len(n.Sigs), len(verifiers), err)
	}
}

func TestConflictsOfSize(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	o := newOutsider(t, "witness.example/a")
	c := newClient(t, s, filepath.Join(dir, "outside"), o.setting())
	head := grow(t, s, 10)
	if err := c.ask(t.Context(), c.list[0], head); err != nil {
		t.Fatal(err)
	}
	head = grow(t, s, 5)
	if err := os.Remove(c.list[0].file); err != nil { // a lost file: the witness knows more than this side
		t.Fatal(err)
	}
	c = newClient(t, s, filepath.Join(dir, "outside"), o.setting())
	if err := c.ask(t.Context(), c.list[0], head); err != nil || fmt.Sprint(o.sizes()) != "[0 0 10]" {
		t.Errorf("asked %v, %v", o.sizes(), err)
	}
	o.tree = tlog.Tree{} // the witness has forgotten
	head = grow(t, s, 5)
	if err := c.ask(t.Context(), c.list[0], head); err != nil || fmt.Sprint(o.sizes()) != "[0 0 10 15 0]" {
		t.Errorf("asked %v, %v", o.sizes(), err)
	}
	o.tree.N = 21 // more than is here
	if err := c.ask(t.Context(), c.list[0], head); !errors.Is(err, ErrDiverged) {
		t.Errorf("a witness that knows more than the owner: %v", err)
	}
	o.tree = tlog.Tree{N: 15, Hash: tlog.Hash{1}}
	if err := c.ask(t.Context(), c.list[0], head); !errors.Is(err, ErrDiverged) {
		t.Errorf("a witness of another history: %v", err)
	}
}

func TestAnswersThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	o := newOutsider(t, "witness.example/a")
	c := newClient(t, s, filepath.Join(dir, "outside"), o.setting())
	head := grow(t, s, 10)
	cp, err := note.Parse(head.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	status := func(code int, header ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			fmt.Fprint(w, "says no")
		}
	}
	size := func(text string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/x.tlog.size")
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, text)
		}
	}
	line := func(text string, key string, at time.Time) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			l, err := note.Cosign(text, "witness.example/a", testKeys.Key(key), at)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprint(w, l)
		}
	}
	name := o.signer.Name()
	for _, tc := range []struct {
		name   string
		answer func(http.ResponseWriter)
		want   error
	}{
		{"unknown log", status(404), ErrUnknown},
		{"another key", status(403), ErrUnknown},
		{"bad proof", status(422), ErrDiverged},
		{"two roots", status(409, "Content-Type", "text/plain"), ErrDiverged},
		{"bad request", status(400), ErrAnswer},
		{"redirect", status(302, "Location", "/elsewhere"), ErrAnswer},
		{"a size that is none", size("x\n"), ErrAnswer},
		{"its own size", size("0\n"), ErrAnswer},
		{"empty", func(http.ResponseWriter) {}, ErrAnswer},
		{"text", func(w http.ResponseWriter) { fmt.Fprint(w, "thank you\n") }, ErrAnswer},
		{"too much", func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat("x", maxAnswer+1)) }, ErrAnswer},
		{"another key's cosignature only", func(w http.ResponseWriter) { o.write(w, cp.Text) }, ErrAnswer},
		{"a cosignature by another key under its name", line(cp.Text, "other", time.Now()), ErrAnswer},
		{"of another tree", line(note.Text(origin, tlog.Tree{N: 10}), name, time.Now()), ErrAnswer},
		{"in the future", line(cp.Text, name, time.Now().Add(time.Minute)), ErrAnswer},
	} {
		o.next = append(o.next, tc.answer)
		if err := c.ask(t.Context(), c.list[0], head); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		if len(c.Lines(head)) != 0 || len(o.next) != 0 {
			t.Fatalf("%s: kept", tc.name)
		}
	}
	setting := o.setting()
	setting.Certificate = ""
	untrusted := newClient(t, s, t.TempDir(), setting)
	if err := untrusted.ask(t.Context(), untrusted.list[0], head); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a witness whose certificate is not trusted: %v", err)
	}
	o.server.Config.Handler = http.NotFoundHandler()
	if err := c.ask(t.Context(), c.list[0], head); !errors.Is(err, ErrUnknown) {
		t.Errorf("another path: %v", err)
	}
}

func TestWitnessThatIsBusy(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	o := newOutsider(t, "witness.example/a")
	c := newClient(t, s, filepath.Join(dir, "outside"), o.setting())
	head := grow(t, s, 10)
	for header, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "soon": 0, "-1": 0} {
		for _, code := range []int{429, 500, 503} {
			o.next = append(o.next, func(w http.ResponseWriter) {
				w.Header().Set("Retry-After", header)
				w.WriteHeader(code)
			})
			err := c.ask(t.Context(), c.list[0], head)
			var later *laterError
			if !errors.As(err, &later) || later.after != want {
				t.Errorf("%d with Retry-After %q: %v", code, header, err)
			}
		}
	}
	for i := range 3 {
		o.next = append(o.next, func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/x.tlog.size")
			w.WriteHeader(http.StatusConflict)
			fmt.Fprintf(w, "%d\n", 3+i)
		})
	}
	if err := c.ask(t.Context(), c.list[0], head); !errors.Is(err, ErrAnswer) {
		t.Errorf("a size that changes each time: %v", err)
	}
}

func TestFailuresAreShownAndPass(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	o := newOutsider(t, "witness.example/a")
	o.next = []func(http.ResponseWriter){func(w http.ResponseWriter) { w.WriteHeader(404) }}
	var mu sync.Mutex
	var outcomes []bool
	c, err := New(Options{Store: s, Origin: origin, Witnesses: []config.Witness{o.setting()}, Dir: filepath.Join(dir, "outside"),
		Heartbeat: time.Hour, Observe: func(_ string, ok bool) { mu.Lock(); defer mu.Unlock(); outcomes = append(outcomes, ok) }})
	if err != nil {
		t.Fatal(err)
	}
	head := grow(t, s, 3)
	run(t, c)
	eventually(t, "no fault is shown", func() bool { return strings.Contains(c.Status()[0].Fault, "give its operator the log's key") })
	eventually(t, "never asked again", func() bool { return len(c.Lines(head)) > 0 && c.Status()[0].Fault == "" })
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(outcomes) != "[false true]" {
		t.Errorf("outcomes %v", outcomes)
	}
}

func TestKeptCosignaturesAreVerified(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	o := newOutsider(t, "witness.example/a")
	c := newClient(t, s, filepath.Join(dir, "outside"), o.setting())
	head := grow(t, s, 3)
	if err := c.ask(t.Context(), c.list[0], head); err != nil {
		t.Fatal(err)
	}
	file := c.list[0].file
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := xnote.Open(good, xnote.VerifierList(o.log, o.signer.Verifier())); err != nil || len(n.Sigs) != 2 {
		t.Errorf("the file is no cosigned checkpoint: %s, %v", good, err)
	}
	for name, data := range map[string][]byte{"empty": nil, "cut off": good[:len(good)-10], "another size": bytes.Replace(good, []byte("\n3\n"), []byte("\n4\n"), 1),
		"without the witness": good[:bytes.LastIndex(good, []byte("—"))], "long": append(good, make([]byte, 1<<20)...)} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if c := newClient(t, s, filepath.Join(dir, "outside"), o.setting()); len(c.Lines(head)) != 0 || c.Status()[0].Size != 0 {
			t.Errorf("%s: taken as it is", name)
		}
	}
}

func TestSettingsThatAreRefused(t *testing.T) {
	s := openStore(t, t.TempDir())
	own := config.Witness{URL: "https://127.0.0.1:1", Key: network.MirrorVKey(network.MirrorName(instance, member, 1), testKeys.Public("mirror "+member))}
	if _, err := New(Options{Store: s, Origin: origin, Witnesses: []config.Witness{own}, Dir: t.TempDir()}); !errors.Is(err, ErrMirror) {
		t.Errorf("a mirror of the network: %v", err)
	}
	w := newOutsider(t, "witness.example/a").setting()
	for name, file := range map[string]string{"missing": "/nonexistent/ca.pem", "no certificate": os.Args[0]} {
		w.Certificate = file
		if _, err := New(Options{Store: s, Origin: origin, Witnesses: []config.Witness{w}, Dir: t.TempDir()}); err == nil {
			t.Errorf("certificate file %s: accepted", name)
		}
	}
	c, err := New(Options{Store: s, Origin: origin})
	if err != nil || len(c.Status()) != 0 {
		t.Errorf("without witnesses: %v", err)
	}
	c.Run(t.Context()) // returns
}
