package field

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/client"
	"github.com/grille-gateway/grille/node/demo"
	"github.com/grille-gateway/grille/node/field/relay"
	"github.com/grille-gateway/grille/prover"
)

// patience bounds each wait for something that should come soon. It is no measurement.
const patience = 60 * time.Second

// program builds grille once for all tests of the package.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "grille-field-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "grille")
	out, err := exec.Command("go", "build", "-o", path, "../cmd/grille").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building grille: %w\n%s", err, out)
	}
	return path, nil
})

var built bool

func TestMain(m *testing.M) {
	if by := os.Getenv(shiftVariable); by != "" {
		os.Exit(serveShifted(by, os.Args[len(os.Args)-1]))
	}
	code := m.Run()
	if built {
		if path, err := program(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// A site is a running network: each member is a gateway process in a namespace of its own.
type site struct {
	*demo.Network
	t       *testing.T
	ground  *ground
	relay   *relay.Relay // nil: members reach one another directly
	clients []*client.Client
	program string
}

// plan says what network a test wants.
type plan struct {
	members int            // the demo's four departments, then more without data
	spare   int            // places for members that join later
	beat    int            // seconds; 0 for 5
	data    bool           // with datasets, policies and agreements
	weather *relay.Weather // between any two members; nil: a direct link
	seed    uint64         // of the weather
}

// newSite starts a network and waits until all members are ready.
func newSite(t *testing.T, p plan) *site {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	built = true
	keysDir := os.Getenv("GRILLE_TEST_KEYS")
	if keysDir == "" {
		keysDir = filepath.Join(os.TempDir(), "grille-test-keys")
	}
	keys, err := prover.Develop(t.Context(), keysDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, ground: newGround(t, p.members+p.spare), program: path}
	s.openRelay(p)
	m := keys.Metadata()
	s.Network, err = demo.Build(demo.Options{Dir: t.TempDir(), Program: path, KeysDir: keysDir, VerifyingKey: keys.VerifyingKey(), Beat: cmp.Or(p.beat, 5),
		Circuit: network.Circuit{ID: m.CircuitID, VerifyingKey: m.VerifyingKeySHA256, Kind: m.Kind}, Schemes: demo.Schemes,
		Members: departments(p.members), Progress: func(stage string) { t.Log(stage) }, Place: s.placer()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	s.start(p)
	return s
}

// departments are the demo's four, and more beyond them that have no data.
func departments(n int) []demo.Department {
	all := slices.Clone(demo.Departments)
	for i := len(all); i < n; i++ {
		all = append(all, demo.Department{Name: fmt.Sprintf("GOV/extra%d", i), Title: fmt.Sprintf("Department %d", i)})
	}
	return all[:n]
}

// peerPort and restPort are the same in every namespace.
const (
	peerPort = 4433
	restPort = 8443
)

// endpoint is where the others find the i-th member.
func (s *site) endpoint(i int) netip.AddrPort {
	if s.relay != nil {
		return netip.AddrPortFrom(hubAddress, uint16(5000+i))
	}
	return netip.AddrPortFrom(address(i), peerPort)
}

func (s *site) placer() func(demo.Department) (demo.Place, error) {
	next := 0
	return func(demo.Department) (demo.Place, error) {
		i := next
		next++
		place := demo.Place{Peer: netip.AddrPortFrom(address(i), peerPort).String(), Endpoint: s.endpoint(i).String(),
			API: fmt.Sprintf("127.0.0.1:%d", restPort), Command: s.command(i), Dial: dialler(s.ground.members[i])}
		return place, nil
	}
}

// command starts a program at the i-th member.
func (s *site) command(i int) []string { return []string{"ip", "netns", "exec", s.ground.members[i]} }

func (s *site) openRelay(p plan) {
	if p.weather == nil {
		return
	}
	s.t.Helper()
	members := departments(p.members)
	var err error
	s.relay, err = relay.New(relay.Options{Seed: p.seed, Weather: *p.weather, Listen: listener(s.ground.hub),
		Name: func(a netip.Addr) (string, bool) {
			for i, m := range members {
				if a == address(i) {
					return m.Name, true
				}
			}
			return "", false
		}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := s.relay.Close(); err != nil {
			s.t.Error(err)
		}
	})
	for i, m := range members {
		if err := s.relay.Carry(m.Name, s.endpoint(i), netip.AddrPortFrom(address(i), peerPort)); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *site) start(p plan) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		s.t.Fatal(err)
	}
	for _, n := range s.Nodes {
		s.clients = append(s.clients, n.Client())
	}
	if p.data {
		if err := s.Furnish(ctx); err != nil {
			s.t.Fatal(err)
		}
	}
}

// stopAll stops every gateway in order.
func (s *site) stopAll() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		s.t.Error(err)
	}
}

func (s *site) stop() {
	s.stopAll()
	if s.t.Failed() {
		for _, n := range s.Nodes {
			s.t.Logf("the log of %s ends:\n%s", n.Name, n.LogEnd())
		}
	}
}

// declare puts a declaration on the i-th member's log and returns its index once it is final. Declaring a dataset again is an entry if
// the title is another; a member declares at most 256 datasets.
func (s *site) declare(ctx context.Context, i int, name, title string) (uint64, error) {
	var p api.Published
	document := fmt.Sprintf("dataset: %s\ntitle: %s\nscheme: nmes-person\nid: {column: person}\ncolumns:\n"+
		"  - {name: number, type: int, title: A number}\n", name, title)
	err := s.clients[i].Send(ctx, "/v1/datasets", "application/yaml", strings.NewReader(document), &p)
	return p.Index, err
}

// mustDeclare is declare where it has to work.
func (s *site) mustDeclare(i int, name string) uint64 {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	started := time.Now()
	index, err := s.declare(ctx, i, name, "Made by a test")
	if err != nil {
		s.t.Fatalf("an entry at %s: %v", s.Nodes[i].Name, err)
	}
	if took := time.Since(started); took > patience/10 {
		s.t.Logf("entry %s at %s: final only after %.1f s", name, s.Nodes[i].Name, took.Seconds())
	}
	return index
}

// heads are the final heads that the i-th member shows, by owner.
func (s *site) heads(i int) (map[string]api.Head, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	var page struct {
		Items []api.Head `json:"items"`
	}
	if err := s.clients[i].Get(ctx, "/v1/ledger/heads", &page); err != nil {
		return nil, fmt.Errorf("heads of %s: %w", s.Nodes[i].Name, err)
	}
	all := map[string]api.Head{}
	for _, h := range page.Items {
		all[h.Member] = h
	}
	return all, nil
}

func (s *site) mustHeads(i int) map[string]api.Head {
	s.t.Helper()
	h, err := s.heads(i)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// eventually repeats a look until it shows nothing to complain about.
func (s *site) eventually(what string, look func() error) {
	s.t.Helper()
	var err, last error
	started := time.Now()
	for time.Since(started) < patience {
		if last, err = err, look(); err == nil {
			if took := time.Since(started); took > patience/10 {
				s.t.Logf("%s: only after %.1f s; before that: %v", what, took.Seconds(), last)
			}
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	s.t.Fatalf("%s: %v", what, err)
}

// agree waits until the members show the same heads, and returns them.
func (s *site) agree(members ...int) map[string]api.Head {
	s.t.Helper()
	if len(members) == 0 {
		for i := range s.Nodes {
			members = append(members, i)
		}
	}
	var common map[string]api.Head
	s.eventually("equal heads", func() error {
		common = nil
		for _, i := range members {
			heads, err := s.heads(i)
			if err != nil {
				return err
			}
			if common == nil {
				common = heads
			}
			if err := sameHeads(common, heads); err != nil {
				return fmt.Errorf("%s and %s: %w", s.Nodes[members[0]].Name, s.Nodes[i].Name, err)
			}
		}
		return nil
	})
	return common
}

func sameHeads(a, b map[string]api.Head) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d and %d heads", len(a), len(b))
	}
	for owner, h := range a {
		if g := b[owner]; g.Size != h.Size || g.Root != h.Root {
			return fmt.Errorf("the log of %s: %d entries and %d", owner, h.Size, g.Size)
		}
	}
	return nil
}

// hash is the hash of an entry as the i-th member shows it.
func (s *site) hash(ctx context.Context, i int, at place) (string, error) {
	var e api.Entry
	path := fmt.Sprintf("/v1/ledger/entry?origin=%s&index=%d", url.QueryEscape(at.origin), at.index)
	if err := s.clients[i].Get(ctx, path, &e); err != nil {
		return "", fmt.Errorf("entry %d of %s at %s: %w", at.index, at.origin, s.Nodes[i].Name, err)
	}
	if e.Hash == "" {
		return "", errors.New("an entry without its hash")
	}
	return e.Hash, nil
}

// place is where an entry stands.
type place struct {
	origin string
	index  uint64
}

// restart starts a member that was killed or stopped, and waits until it is ready.
func (s *site) restart(i int) {
	s.t.Helper()
	if err := s.StartNode(s.Nodes[i]); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	if err := s.Nodes[i].WaitReady(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// grille runs a command of the program at the i-th member.
func (s *site) grille(i int, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	line := slices.Concat(s.command(i), []string{s.program}, args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("grille %s at %s: %w\n%s%s", strings.Join(args, " "), s.Nodes[i].Name, err, out, stderr.Bytes())
	}
	return out, nil
}
