package ceremony

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/node/peer"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

const (
	// headTimeout bounds asking one member for its newest head.
	headTimeout = 5 * time.Second
	// askTimeout bounds asking one member for its ceremonies.
	askTimeout = 3 * time.Second
	// syncTimeout bounds bringing the copies of one member's ceremonies up to date when somebody asks for all.
	syncTimeout = 15 * time.Second
	// askAtOnce bounds how many members are asked at once.
	askAtOnce = 16
	// maxCeremonies bounds how many ceremonies a coordinator tells of, the newest ones.
	maxCeremonies = 16

	kindFresh    = peer.KindFresh
	settingsFile = "settings.json"
	maxSettings  = 4 << 10
)

// Options are what a gateway gives. All but Circuit, Store and Stored are required.
type Options struct {
	Dir           string // one folder a ceremony
	Keys          string // key folder of package prover
	Own           string // file with the list of this member's contributions
	Configuration *network.Configuration
	Chain         *network.Chain
	Member        string
	Key           ed25519.PrivateKey     // query key
	Call          Caller                 // reaches the other members
	Head          func() ([]byte, error) // the newest final head of this member's log
	Now           func() time.Time
	Logger        *slog.Logger
	// Circuit compiles what keys are made for; nil: the statement.
	Circuit func() (*rules.Circuit, error)
	// Store keeps the keys of a ceremony; nil: in Keys, with the note that the transcript was verified.
	Store func(ctx context.Context, r *rules.Result) error
	// Stored, if set, is told when there are keys from a ceremony.
	Stored func(ctx context.Context)
}

// Service is a gateway's part in all key ceremonies. Open it, Run it, Close it.
type Service struct {
	o       Options
	circuit func() (*rules.Circuit, error)

	mu      sync.Mutex      // guards what follows
	ctx     context.Context // of Run; nil before it
	running map[string]*coordinator
	tasks   map[string]*task
	copies  map[string]chan struct{} // by coordinator; full while a copy of a transcript of its is brought up to date
	loops   sync.WaitGroup
	closed  bool

	noting sync.Mutex // held while the list of own contributions is written
}

// Open reads the ceremonies in the folder. Nothing goes on before Run.
func Open(o Options) (*Service, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{o: o, running: make(map[string]*coordinator), tasks: make(map[string]*task), copies: make(map[string]chan struct{})}
	s.circuit = sync.OnceValues(rules.Statement)
	if o.Circuit != nil {
		s.circuit = o.Circuit
	}
	if s.o.Store == nil {
		s.o.Store = func(ctx context.Context, r *rules.Result) error {
			_, err := r.Store(ctx, o.Keys, o.Now())
			return err
		}
	}
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.resume(name); err != nil {
			return nil, errors.Join(fmt.Errorf("resuming ceremony %s: %w", short(name), err), s.Close())
		}
	}
	return s, nil
}

// names are the ceremonies that have a folder here.
func (s *Service) names() ([]string, error) {
	entries, err := os.ReadDir(s.o.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for ceremonies: %w", err)
	}
	var out []string
	for _, e := range entries {
		if _, err := parseDigest(e.Name()); err == nil && e.IsDir() {
			out = append(out, e.Name())
		}
	}
	return out, nil
}

func (s *Service) dir(name string) string { return filepath.Join(s.o.Dir, name) }

// resume makes the coordinator of a ceremony that this gateway opened. Those under an earlier name or key of this member can be looked
// at, and do not go on.
func (s *Service) resume(name string) error {
	t, err := rules.OpenFolder(s.dir(name)).Transcript()
	if errors.Is(err, rules.ErrNoTranscript) {
		return nil // a crash before anything was told to anybody
	}
	if err != nil {
		return err
	}
	if t.Opening().Coordinator != s.o.Member {
		return nil
	}
	circuit, err := s.circuit()
	if err != nil {
		return err
	}
	if t.Opening().Circuit != circuit.ID() { // of an earlier program
		s.o.Logger.Warn("a ceremony for another circuit does not go on", logkey.Ceremony, short(name))
		return nil
	}
	data, err := os.ReadFile(filepath.Join(s.dir(name), settingsFile))
	var keep settings
	if err == nil {
		err = entry.DecodeStrict(data, maxSettings, &keep)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", settingsFile, err)
	}
	c, err := rules.Resume(context.Background(), s.dir(name), circuit, s.signer())
	if err != nil {
		return err
	}
	s.running[name] = newCoordinator(&s.o, s.dir(name), keep, circuit, c)
	return nil
}

func (s *Service) signer() rules.Signer { return rules.Signer{Member: s.o.Member, Key: s.o.Key} }

// Run takes the ceremonies on until ctx ends.
func (s *Service) Run(ctx context.Context) {
	s.mu.Lock()
	s.ctx = ctx
	for _, c := range s.running {
		s.loops.Go(func() { c.run(ctx) })
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.closed = true // no loop begins any more
	s.mu.Unlock()
	s.loops.Wait()
}

// Close gives the folders to other processes. Run must have returned.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, c := range s.running {
		c.ceremony.Close()
	}
	clear(s.running)
	return nil
}

// beginLocked starts a loop, and returns false while Run does not run.
func (s *Service) beginLocked(loop func(ctx context.Context)) bool {
	if s.ctx == nil || s.closed {
		return false
	}
	ctx := s.ctx
	s.loops.Go(func() { loop(ctx) })
	return true
}

// Handle answers a request of kind ceremony, fetch or offer.
func (s *Service) Handle(ctx context.Context, from string, kind peer.Kind, body []byte) ([]byte, error) {
	switch kind {
	case peer.KindFetch:
		f, err := decodeFetch(body)
		if err != nil {
			return nil, &refusal{codeMalformed, err}
		}
		return s.serve(f)
	case peer.KindOffer:
		o, err := decodeOffer(body)
		if err != nil {
			return nil, &refusal{codeMalformed, err}
		}
		c, err := s.coordinator(o.Ceremony.String())
		if err != nil {
			return nil, err
		}
		return c.take(from, o)
	}
	return s.answer(ctx, from, body)
}

// answer tells a member how ceremonies stand.
func (s *Service) answer(ctx context.Context, from string, body []byte) ([]byte, error) {
	q, err := decodeQuestion(body)
	if err != nil {
		return nil, &refusal{codeMalformed, err}
	}
	a := answer{Version: 1}
	if q.Ceremony == "" {
		all := s.coordinators()
		for _, c := range all[:min(len(all), maxCeremonies)] {
			p, _ := c.look(from, false)
			a.Ceremonies = append(a.Ceremonies, p)
		}
		return mustEncode(a), nil
	}
	c, err := s.coordinator(q.Ceremony)
	if err != nil {
		return nil, err
	}
	p, err := c.answer(ctx, from, q)
	if err != nil {
		return nil, err
	}
	a.Ceremonies = []position{p}
	return mustEncode(a), nil
}

func (s *Service) coordinator(name string) (*coordinator, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.running[name]; c != nil {
		return c, nil
	}
	return nil, &refusal{codeUnknown, fmt.Errorf("%s coordinates no ceremony %s", s.o.Member, short(name))}
}

// coordinators are those of this gateway, the newest first.
func (s *Service) coordinators() []*coordinator {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*coordinator
	for _, c := range s.running {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *coordinator) int {
		x, y := a.ceremony.Transcript(), b.ceremony.Transcript()
		return -compareAge(x, y)
	})
	return out
}

// compareAge orders ceremonies by when they were opened, then by name.
func compareAge(a, b *rules.Transcript) int {
	x, y := a.Opening().Opened+a.Ceremony(), b.Opening().Opened+b.Ceremony() // times of one length
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// serve reads a part of any file of the ceremonies that this gateway coordinates.
func (s *Service) serve(f fetch) ([]byte, error) {
	for _, c := range s.coordinators() {
		part, err := c.part(f)
		if !errors.Is(err, errNotHeld) {
			return part, err
		}
	}
	return nil, errNotHeld
}

// call reaches a member, this one among them.
func (s *Service) call(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error) {
	if member != s.o.Member {
		return s.o.Call(ctx, member, kind, body)
	}
	reply, err := s.Handle(ctx, member, kind, body)
	var coded peer.Coded
	if errors.As(err, &coded) {
		return nil, &peer.RemoteError{Code: coded.Code(), Message: err.Error()}
	}
	return reply, err
}
