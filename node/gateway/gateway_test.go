package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/demo"
	"github.com/grille-gateway/grille/node/keyring"
	"github.com/grille-gateway/grille/prover"
)

func TestMain(m *testing.M) {
	// buntdb's manager wakes once a second, and only then sees that its database was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/tidwall/buntdb.(*DB).backgroundManager"))
}

const instance = "test"

// circuit are development keys, made once and shared by all tests of the module.
var circuit = sync.OnceValues(func() (*prover.Keys, error) { return prover.Develop(context.Background(), keysDir(), nil) })

func keysDir() string {
	if dir := os.Getenv("GRILLE_TEST_KEYS"); dir != "" {
		return dir
	}
	return filepath.Join(os.TempDir(), "grille-test-keys")
}

// world is a network of gateways in one process, over real QUIC on loopback.
type world struct {
	t       *testing.T
	dir     string
	keys    *prover.Keys
	bare    string // a member that has no keys
	made    string // folder of keys as of a ceremony
	config  *network.Configuration
	log     *lockedBuffer
	running map[string]*running
	ahead   atomic.Int64 // nanoseconds that the gateways' clocks are before the real time, or behind it
}

type running struct {
	*Gateway
	stop context.CancelFunc
	done chan error
}

// lockedBuffer collects the logs of all gateways.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// given are the addresses that freeAddress gave out. A port that nobody listens on yet can be found free twice.
var given sync.Map

func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		address, err := demo.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := given.LoadOrStore(address, true); !twice {
			return address
		}
	}
}

// newWorld makes the folders of the members, adopted and ready to be opened.
func newWorld(t *testing.T, members ...string) *world {
	t.Helper()
	return newWorldWith(t, func(*network.Params) {}, members...)
}

// newWorldWith changes the parameters of the network first.
func newWorldWith(t *testing.T, change func(*network.Params), members ...string) *world {
	t.Helper()
	keys, err := circuit()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), keys: keys, log: &lockedBuffer{}, running: map[string]*running{}}
	var cards []network.Card
	for _, m := range members {
		f := w.folder(m)
		w.check(f.Create())
		private, _, err := config.EnsureKeys(f)
		w.check(err)
		c := config.Default()
		c.Member, c.Instance, c.Peer.Listen, c.API.Listen = m, instance, freeAddress(t), freeAddress(t)
		w.check(config.WriteNew(f.Config(), c.Render(), 0o600))
		card, err := network.NewCard(instance, private.Member(instance, m, m, c.Peer.Listen, true), private.Log)
		w.check(err)
		cards = append(cards, card)
	}
	meta := keys.Metadata()
	params := network.Params{Mode: network.ModeDemo, Expires: "2036-01-01T00:00:00Z", BeatSeconds: 1, HeartbeatSeconds: 1,
		Schemes:  []network.Scheme{{Name: "person", Pattern: "P-[0-9]{4}", Normalise: "upper", Example: "P-0001"}},
		Circuits: []network.Circuit{{ID: meta.CircuitID, VerifyingKey: meta.VerifyingKeySHA256, Kind: meta.Kind}}}
	change(&params)
	w.config, err = network.Build(instance, params, cards)
	w.check(err)
	for _, m := range members {
		w.pin(m, w.config)
	}
	t.Cleanup(func() {
		for m := range w.running {
			w.halt(m)
		}
	})
	return w
}

// pin makes a member adopt a configuration.
func (w *world) pin(member string, cfg *network.Configuration) {
	w.t.Helper()
	f := w.folder(member)
	w.check(config.Replace(f.Path("network.json"), cfg.Bytes(), 0o600))
	text, err := os.ReadFile(f.Config())
	w.check(err)
	text, err = config.SetDigest(text, cfg.Digest())
	w.check(err)
	w.check(config.Replace(f.Config(), text, 0o600))
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) folder(member string) config.Folder {
	return config.Folder(filepath.Join(w.dir, strings.ReplaceAll(member, "/", "-")))
}

// shared are the keys that all gateways of the world have in common, if they do, but for the bare one.
func (w *world) shared(member string) []*prover.Keys {
	if w.keys == nil || w.bare == member {
		return nil
	}
	return []*prover.Keys{w.keys}
}

func (w *world) open(member string) (*Gateway, error) {
	return Open(w.t.Context(), Options{Folder: w.folder(member), Version: "test", Circuits: w.shared(member),
		Now:    func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) },
		Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
}

func (w *world) start(members ...string) {
	w.t.Helper()
	for _, m := range members {
		g, err := w.open(m)
		w.check(err)
		ctx, cancel := context.WithCancel(context.Background())
		r := &running{Gateway: g, stop: cancel, done: make(chan error, 1)}
		go func() { r.done <- errors.Join(g.Run(ctx), g.Close()) }()
		w.running[m] = r
	}
	for _, m := range members {
		w.eventually(m+" is ready", func() bool { return len(w.running[m].Ready()) == 0 })
	}
}

func (w *world) halt(member string) {
	w.t.Helper()
	r := w.running[member]
	delete(w.running, member)
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			w.t.Errorf("%s: %v", member, err)
		}
	case <-time.After(30 * time.Second):
		w.t.Fatalf("%s does not stop", member)
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	w.t.Fatalf("not within a minute: %s\n%s", what, w.log)
}

const (
	civil    = "GOV/civil"
	benefits = "GOV/benefits"
)

const people = "dataset: people\ntitle: People\nscheme: person\nid: {column: person}\ncolumns:\n  - {name: age, type: int}\n  - {name: town, type: text}\n"

const aged = "policy: aged\nversion: 1\ndataset: people\ntitle: Aged\nquestion: Is this person 75 or over?\nwhen: age >= 75\n"

// furnish gives civil data and a policy, and benefits the right to ask it.
func (w *world) furnish(perSubject int) {
	w.t.Helper()
	ctx := w.t.Context()
	h, r := w.running[civil], w.running[benefits]
	_, err := h.DeclareDataset(ctx, []byte(people))
	w.check(err)
	_, err = h.Import(ctx, "people", strings.NewReader("person,age,town\nP-0001,80,Ulm\nP-0002,60,Bonn\n"))
	w.check(err)
	_, err = h.PublishPolicy(ctx, []byte(aged))
	w.check(err)
	w.eventually("the policy arrives", func() bool { return len(r.Policies()) == 1 })
	offer, err := r.Offer(ctx, api.Offer{Holder: civil, Policy: "aged", Version: 1, Purpose: "care", LegalBasis: "law",
		Disclose: []string{"town"}, PerSubject: perSubject, Total: 100, Expires: "2036-01-01T00:00:00Z"})
	w.check(err)
	w.eventually("the offer arrives", func() bool { return len(h.Agreements().Offers) == 1 })
	_, err = h.Accept(ctx, api.Reference{Origin: offer.Origin, Index: offer.Index})
	w.check(err)
	w.eventually("the right arrives", func() bool {
		a := r.Agreements()
		return len(a.Rights) == 1 && a.Rights[0].State == "in_force" && a.Offers[0].State == "accepted"
	})
}

func question(subject string, disclose ...string) api.Question {
	return api.Question{Holder: civil, Policy: "aged", Subject: subject, Purpose: "care", LegalBasis: "law", Case: "case 7", Disclose: disclose}
}

func problemCode(err error) string {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return fmt.Sprint(err)
}

// slowBeats leaves a gateway time to restart on a busy machine before a promise that it made is broken: downtime excuses nothing.
func slowBeats(p *network.Params) { p.BeatSeconds = 8 }

// One flow through both halves, with a restart of each side in between: what was answered stays answered, what was charged
// stays charged, what was promised is kept.
func TestAskRestartAskAgain(t *testing.T) {
	w := newWorldWith(t, slowBeats, civil, benefits)
	w.start(civil, benefits)
	w.furnish(2)
	ctx := t.Context()
	first, err := w.running[benefits].Ask(ctx, question("P-0001", "town"))
	w.check(err)
	if first.Verdict != "satisfied" || !first.Verified || len(first.Disclosed) != 1 || first.Disclosed[0].Text != "Ulm" {
		t.Errorf("%+v", first)
	}
	second, err := w.running[benefits].Ask(ctx, question("P-0001"))
	w.check(err)
	w.halt(civil)
	w.halt(benefits)
	w.start(civil, benefits)

	if _, err := w.running[benefits].Ask(ctx, question("P-0001")); problemCode(err) != "budget_exhausted" {
		t.Errorf("a third answer about one subject after the restart: %v", err)
	}
	again, err := w.running[benefits].Resend(ctx, second.ID)
	if err != nil || again.Verdict != second.Verdict {
		t.Errorf("resend after the restart: %+v, %v", again, err)
	}
	none, err := w.running[benefits].Ask(ctx, question("P-9999"))
	if err != nil || none.Verdict != "no_record" {
		t.Errorf("an unknown subject: %+v, %v", none, err)
	}
	w.eventually("the receipts are logged", func() bool {
		for _, s := range w.running[benefits].Answers(10) {
			if s.Receipt == "promised" || s.Receipt == "broken" {
				return false
			}
		}
		return true
	})
	open, err := w.running[benefits].Bundle(ctx, first.ID, true)
	w.check(err)
	redacted, err := w.running[benefits].Bundle(ctx, first.ID, false)
	w.check(err)
	if !bytes.Contains(open, []byte("P-0001")) || bytes.Contains(redacted, []byte("P-0001")) {
		t.Error("the opening is not where it belongs")
	}
	w.noTraces(first.ID)
}

// noTraces looks for the subject everywhere that others read: logs, metrics, the ledger.
func (w *world) noTraces(id string) {
	w.t.Helper()
	for _, m := range []string{civil, benefits} {
		rec := httptest.NewRecorder()
		w.running[m].metrics.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if !strings.Contains(rec.Body.String(), `policy="aged"`) {
			w.t.Errorf("%s counts nothing", m)
		}
		for _, private := range []string{"P-0001", "P-9999", "case 7", id} {
			if strings.Contains(rec.Body.String(), private) {
				w.t.Errorf("the metrics of %s hold %q", m, private)
			}
		}
		page, err := w.running[m].Entries(api.EntryQuery{Limit: 100, Content: true})
		w.check(err)
		for _, e := range page.Entries {
			for _, private := range []string{"P-0001", "P-9999", "case 7", "Ulm", id} {
				if strings.Contains(string(e.Content), private) {
					w.t.Errorf("entry %d of %s holds %q", e.Index, e.Member, private)
				}
			}
		}
	}
	for _, private := range []string{"P-0001", "P-9999", "case 7", "Ulm"} {
		if strings.Contains(w.log.String(), private) {
			w.t.Errorf("the logs hold %q", private)
		}
	}
	if strings.Contains(w.log.String(), "level=ERROR") {
		w.t.Errorf("errors were logged:\n%s", w.log)
	}
}

func TestReadyWithoutQuorum(t *testing.T) {
	w := newWorld(t, civil, benefits)
	w.start(civil, benefits)
	w.halt(benefits)
	w.eventually("civil is not ready alone", func() bool {
		why := w.running[civil].Ready()
		return len(why) > 0 && strings.Contains(why[0], "1 mirrors are connected, 2 are needed")
	})
	if s := w.running[civil].Status(); s.Ready || s.PeersUp != 0 || s.Peers != 1 {
		t.Errorf("%+v", s)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := w.running[civil].DeclareDataset(ctx, []byte(people)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publishing without a quorum: %v", err)
	}
	w.start(benefits)
	w.eventually("civil is ready again", func() bool { return len(w.running[civil].Ready()) == 0 })
	if _, err := w.running[civil].DeclareDataset(t.Context(), []byte(people)); err != nil {
		t.Errorf("the same request again: %v", err)
	}
	if d := w.running[civil].Datasets(); len(d) != 1 || d[0].Name != "people" {
		t.Errorf("%+v", d)
	}
}

func TestProblems(t *testing.T) {
	w := newWorld(t, civil, benefits)
	w.start(civil, benefits)
	ctx, g := t.Context(), w.running[civil]
	origin := w.config.Origin(civil)
	for _, c := range []struct {
		name, code string
		do         func() error
	}{
		{"schema", "schema", func() error { _, err := g.DeclareDataset(ctx, []byte("colour: red")); return err }},
		{"scheme", "schema", func() error {
			_, err := g.DeclareDataset(ctx, []byte(strings.Replace(people, "scheme: person", "scheme: other", 1)))
			return err
		}},
		{"policy", "policy", func() error { _, err := g.PublishPolicy(ctx, []byte("colour: red")); return err }},
		{"policy of no dataset", "not_found", func() error { _, err := g.PublishPolicy(ctx, []byte(aged)); return err }},
		{"import into no dataset", "not_found", func() error { _, err := g.Import(ctx, "x", strings.NewReader("")); return err }},
		{"offer to nobody", "offer", func() error {
			_, err := g.Offer(ctx, api.Offer{Holder: "GOV/x", PerSubject: 1, Total: 1, Expires: "2036-01-01T00:00:00Z"})
			return err
		}},
		{"offer with a bad time", "invalid_request", func() error { _, err := g.Offer(ctx, api.Offer{Holder: benefits, PerSubject: 1, Total: 1}); return err }},
		{"offer with a bad budget", "budget", func() error {
			_, err := g.Offer(ctx, api.Offer{Holder: benefits, PerSubject: 2, Total: 1, Expires: "2036-01-01T00:00:00Z"})
			return err
		}},
		{"accept nothing", "not_found", func() error { _, err := g.Accept(ctx, api.Reference{Origin: origin, Index: 1 << 40}); return err }},
		{"accept no offer", "offer", func() error { _, err := g.Accept(ctx, api.Reference{Origin: origin, Index: 0}); return err }},
		{"reject no offer", "offer", func() error { _, err := g.Reject(ctx, api.Reference{Origin: origin, Index: 0}, "r"); return err }},
		{"revoke nothing", "offer", func() error { _, err := g.Revoke(ctx, 7777, "r"); return err }},
		{"ask nobody", "unknown_holder", func() error { _, err := g.Ask(ctx, api.Question{Holder: "GOV/x"}); return err }},
		{"ask oneself", "unknown_holder", func() error { _, err := g.Ask(ctx, api.Question{Holder: civil}); return err }},
		{"ask nothing", "question", func() error { _, err := g.Ask(ctx, api.Question{Holder: benefits, Policy: "x"}); return err }},
		{"resend nothing", "not_found", func() error { _, err := g.Resend(ctx, "00"); return err }},
		{"no such answer", "not_found", func() error { _, err := g.Bundle(ctx, "00", false); return err }},
		{"no such entry", "not_found", func() error { _, err := g.Entry(origin, 1<<40); return err }},
		{"no such log", "not_found", func() error { _, err := g.Entry("x", 0); return err }},
		{"no such proof", "not_found", func() error { _, err := g.Proof("x", 0); return err }},
		{"bad cursor", "invalid_request", func() error { _, err := g.Entries(api.EntryQuery{After: "!", Limit: 1}); return err }},
	} {
		if err := c.do(); problemCode(err) != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestImportReportsRowsWithoutValues(t *testing.T) {
	w := newWorld(t, civil)
	w.start(civil)
	g := w.running[civil]
	_, err := g.DeclareDataset(t.Context(), []byte(people))
	w.check(err)
	_, err = g.Import(t.Context(), "people", strings.NewReader("person,age,town\nP-0001,80,Ulm\nP-0002,eighty,Bonn\n"))
	var p *api.Problem
	if !errors.As(err, &p) || p.Report == nil || len(p.Report.Problems) != 1 || p.Report.Problems[0].Line != 3 || p.Report.Problems[0].Column != "age" {
		t.Fatalf("%v %+v", err, p)
	}
	if text := fmt.Sprintf("%+v %+v", p, *p.Report); strings.Contains(text, "eighty") || strings.Contains(text, "P-0002") {
		t.Errorf("the report holds a value: %s", text)
	}
	if d := g.Datasets(); len(d) != 1 || d[0].EpochTime != "" {
		t.Errorf("something was imported: %+v", d)
	}
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t, civil)
	f := w.folder(civil)
	w.start(civil)
	if _, err := w.open(civil); !errors.Is(err, signer.ErrLocked) {
		t.Errorf("a second process: %v", err)
	}
	w.halt(civil)
	spoil := func(path, content string, want error, says string) {
		t.Helper()
		old, err := os.ReadFile(path)
		w.check(err)
		w.check(os.WriteFile(path, []byte(content), 0o600))
		g, err := w.open(civil)
		if err == nil {
			w.check(g.Close())
		}
		if err == nil || want != nil && !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
		w.check(os.WriteFile(path, old, 0o600))
	}
	spoil(f.Config(), "colour: red", config.ErrConfig, "colour")
	spoil(f.Path("network.json"), "{}", network.ErrConfiguration, "")
	spoil(f.Token(), "short", nil, "API token")
	spoil(f.Receipts(), "short", nil, "receipts.secret")
	spoil(f.Vault(), "{}", nil, "vault")
	spoil(f.Key(config.RoleQuery), "x", nil, "query key")
	kept := f.Path("kept")
	w.check(os.Rename(f.Receipts(), kept)) // no new secret is made for receipts that were logged with this one
	if _, err := w.open(civil); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
		t.Errorf("without receipts.secret: %v", err)
	}
	w.check(os.Rename(kept, f.Receipts()))
	w.start(civil) // nothing of this did harm
}

// Keys that the network does not pin prove nothing to the others, so a gateway does not start with them.
func TestOpenRefusesOtherCircuitKeys(t *testing.T) {
	for code, change := range map[string]func(*network.Params){
		keyring.CodeKey:     func(p *network.Params) { p.Circuits[0].VerifyingKey = strings.Repeat("ab", 32) },
		keyring.CodeProgram: func(p *network.Params) { p.Circuits[0].ID = strings.Repeat("ab", 32) },
	} {
		w := newWorldWith(t, change, civil)
		g, err := w.open(civil)
		if refusal := (*keyring.Refusal)(nil); !errors.As(err, &refusal) || refusal.Code != code || refusal.Next == "" {
			t.Errorf("want %s, got %v", code, err)
		}
		if g != nil {
			w.check(g.Close())
		}
	}
}

// A gateway whose folder is an old copy stops by itself and says why.
func TestStopsOnRestoredFolder(t *testing.T) {
	w := newWorld(t, civil, benefits)
	w.start(civil, benefits)
	w.halt(civil)
	snapshot := t.TempDir()
	w.check(os.CopyFS(snapshot, os.DirFS(w.folder(civil).Ledger())))
	w.start(civil)
	_, err := w.running[civil].DeclareDataset(t.Context(), []byte(people))
	w.check(err)
	size := w.running[civil].Status().LogSize
	w.eventually("benefits holds civil's log", func() bool {
		h, ok := w.running[benefits].ledger.Final(w.config.Origin(civil))
		return ok && h.Size >= size
	})
	w.halt(civil)
	w.check(os.RemoveAll(w.folder(civil).Ledger()))
	w.check(os.CopyFS(w.folder(civil).Ledger(), os.DirFS(snapshot)))
	g, err := w.open(civil)
	w.check(err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := errors.Join(g.Run(ctx), g.Close()); !errors.Is(err, ledger.ErrRolledBack) {
		t.Errorf("run ended with %v", err)
	}
}
