package program

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// An Asker asks the questions of cases and remembers them: a *requester.Requester, or what a test puts in its place.
type Asker interface {
	// Draft checks that a question can be asked. Nothing is kept or sent.
	Draft(q requester.Question) (*bundle.Query, *bundle.Opening, error)
	// Ask keeps a new query on disk, then sends it until there is a reply or its life is over.
	Ask(ctx context.Context, q requester.Question) (*requester.Result, error)
	// Resend sends the same bytes of a query again, or returns what came of it.
	Resend(ctx context.Context, id string) (*requester.Result, error)
	// ByCase finds the query that asks a question under its case reference.
	ByCase(q requester.Question) (id string, ok bool)
	// WaitClaim waits until a query's claim is final, or ctx ends.
	WaitClaim(ctx context.Context, id string) (*requester.Claim, error)
	// Bundle returns the evidence of an answer.
	Bundle(id string, opening bool) ([]byte, error)
	// Refusal returns the signed query and the evidence of its refusal.
	Refusal(id string) (bundle.Signed, *bundle.SignedRefusal, error)
}

// Options says what Cases work with.
type Options struct {
	Config *network.Configuration
	Member string
	Key    ed25519.PrivateKey // the member's query key
	Ledger *ledger.Store
	Asker  Asker
	// Keep writes a fact to the journal and returns when it is on disk.
	Keep   func(kind string, payload any) error
	Now    func() time.Time
	Logger *slog.Logger
}

// Cases decides applications to this member's programs. It is safe for concurrent use. What it must remember is in the journal; Replay
// takes it back, and Run takes up what a restart interrupted.
//
// Write order: the case, then each query (the requester's), what came of it, the signed decision, its entry on the ledger, that the
// entry is final. A crash between any two is followed by the second: a check finds its query by its case reference and sends the same
// bytes, which the holder answers and charges once; a decision that is on the log is not appended again.
type Cases struct {
	opts Options

	applying sync.Mutex // from looking for an application's id to keeping its case
	work     sync.WaitGroup

	mu           sync.Mutex // guards what follows, and the cases
	running      context.Context
	cases        map[string]*file
	order        []string // ids, oldest first
	applications map[application]string
	programs     map[entry.ProgramPublish]*Program
	claims       map[claimKey]string // id of the case that has the claim
}

// application is a caller's id of an application to one program version.
type application struct {
	program string
	version int
	id      string
}

// What a caller can mend.
var (
	ErrUnknownCase    = errors.New("no such case here")
	ErrUnknownProgram = errors.New("this member has no such program in force")
	ErrPublished      = errors.New("this version of the program is published with other content")
	ErrNotFinal       = errors.New("the decision is not final on the ledger yet")
	ErrNoDecision     = errors.New("the case has no such decision")
)

// New makes Cases with nothing remembered.
func New(opts Options) *Cases {
	return &Cases{opts: opts, cases: map[string]*file{}, applications: map[application]string{}, programs: map[entry.ProgramPublish]*Program{},
		claims: map[claimKey]string{}}
}

func (c *Cases) origin() string { return c.opts.Config.Origin(c.opts.Member) }

// Publish puts a program on this member's log and waits until it is final. The same document again returns the entry that stands.
func (c *Cases) Publish(ctx context.Context, p *Program) (uint64, error) {
	for _, k := range p.Checks {
		if _, ok := c.opts.Config.Member(k.Holder); !ok || k.Holder == c.opts.Member {
			return 0, fmt.Errorf("publishing a program: check %s: holder is not another member of this network: %w", k.Name, ErrProgram)
		}
	}
	c.applying.Lock()
	defer c.applying.Unlock()
	own := c.opts.Ledger.View(c.origin(), ^uint64(0))
	for _, old := range own.Programs() {
		if old.Program.Program != p.Name || old.Program.Version != p.Version {
			continue
		}
		if old.Retired || old.Program.Source.Text != p.Source {
			return 0, fmt.Errorf("publishing a program: raise its version: %w", ErrPublished)
		}
		return old.Index, c.opts.Ledger.WaitFinal(ctx, old.Index)
	}
	return c.append(ctx, p.Entry(c.opts.Now()))
}

// Retire ends a program version: no application is taken under it any more. Doing so again returns the entry that stands, if any.
func (c *Cases) Retire(ctx context.Context, name string, version int, reason string) (uint64, error) {
	c.applying.Lock()
	defer c.applying.Unlock()
	if _, _, ok := c.opts.Ledger.View(c.origin(), ^uint64(0)).Program(name, version); !ok {
		return 0, fmt.Errorf("retiring a program: %w", ErrUnknownProgram)
	}
	return c.append(ctx, entry.ProgramRetire{Program: name, Version: version, Reason: reason, Time: entry.FormatTime(c.opts.Now())})
}

func (c *Cases) append(ctx context.Context, e entry.Entry) (uint64, error) {
	indexes, err := c.opts.Ledger.Append(ctx, e)
	if err != nil {
		return 0, fmt.Errorf("appending to the log: %w", err)
	}
	if err := c.opts.Ledger.WaitFinal(ctx, indexes[0]); err != nil {
		return 0, fmt.Errorf("waiting for the entry to be final: %w", err)
	}
	return indexes[0], nil
}

// An Application asks for a decision.
type Application struct {
	Program  string
	Version  int               // 0: the newest in force
	ID       string            // the caller's own; the same again returns the same case. "": none
	Subjects map[string]string // role to subject id
}

// Apply opens a case and begins its checks. The same application id again, with the same subjects, returns the case there is.
func (c *Cases) Apply(a Application) (*Case, error) {
	if a.ID != "" && !line(a.ID, MaxApplication) {
		return nil, fmt.Errorf("applying: the application's id must be one line of up to %d bytes: %w", MaxApplication, ErrApplication)
	}
	c.applying.Lock()
	defer c.applying.Unlock()
	published, index, err := c.published(a.Program, a.Version)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	p, err := c.parse(published)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if roles := p.Roles(); !slices.Equal(slices.Sorted(maps.Keys(a.Subjects)), roles) {
		return nil, fmt.Errorf("applying: the roles are %v: %w", roles, ErrSubjects)
	}
	if old, err := c.applied(p, a); old != nil || err != nil {
		return old, err
	}
	return c.open(p, published, index, a)
}

// published finds a program in force whose publication is final.
func (c *Cases) published(name string, version int) (found entry.ProgramPublish, index uint64, err error) {
	head, _ := c.opts.Ledger.Final(c.origin()) // size 0 before the first
	ended := c.opts.Ledger.View(c.origin(), ^uint64(0))
	for _, p := range c.opts.Ledger.View(c.origin(), head.Size).Programs() {
		if p.Program.Program != name || version != 0 && version != p.Program.Version || p.Program.Version < found.Version {
			continue
		}
		if _, _, inForce := ended.Program(name, p.Program.Version); inForce { // a retirement binds at once
			found, index = p.Program, p.Index
		}
	}
	if found.Version == 0 {
		return found, 0, fmt.Errorf("applying: %w", ErrUnknownProgram)
	}
	return found, index, nil
}

// applied is the case of an application that was made before.
func (c *Cases) applied(p *Program, a Application) (*Case, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.cases[c.applications[application{p.Name, p.Version, a.ID}]]
	if a.ID == "" || f == nil {
		return nil, nil
	}
	if !maps.Equal(f.subjects, a.Subjects) {
		return nil, fmt.Errorf("applying: %w", ErrApplication)
	}
	return f.copy(), nil
}

// open keeps a new case, of which each question can be asked, and begins it.
func (c *Cases) open(p *Program, published entry.ProgramPublish, index uint64, a Application) (*Case, error) {
	started := time.Now()
	raw, err := c.opts.Ledger.Read(c.origin(), index, index+1)
	if err != nil || len(raw) != 1 {
		return nil, fmt.Errorf("applying: reading the program back: %w", err)
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("applying: drawing an id: %w", err)
	}
	r := openedRecord{ID: hex.EncodeToString(id), Entry: entry.Ref{Origin: c.origin(), Index: index, Hash: entry.Hash(raw[0])},
		Publication: published, Application: a.ID, Subjects: maps.Clone(a.Subjects), Opened: c.opts.Now().UTC().Truncate(time.Second)}
	draft := newFile(r, p)
	for _, k := range p.Checks {
		if _, _, err := c.opts.Asker.Draft(draft.question(k)); err != nil {
			return nil, fmt.Errorf("applying: check %s: %w", k.Name, err)
		}
	}
	if err := c.opts.Keep(KindOpened, r); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.file(r); err != nil {
		return nil, err
	}
	f := c.cases[r.ID]
	f.began = started
	c.begin(f)
	return f.copy(), nil
}

// question is what a check asks about this case.
func (f *file) question(k Check) requester.Question {
	q := requester.Question{Holder: k.Holder, Policy: k.Policy, PolicyVersion: k.Version, Subject: f.subjects[k.Subject], Purpose: k.Purpose,
		LegalBasis: k.LegalBasis, Case: f.Reference(k.Name), MaxAge: k.MaxAge, Life: k.Timeout}
	if s := f.Program.Scope; s != nil && s.Check == k.Name {
		q.Scope = f.Program.scope()
	}
	return q
}

// scope is where the program's claims are made.
func (p *Program) scope() *bundle.Scope {
	return &bundle.Scope{Program: p.Name, Period: p.Scope.Period}
}

// copy is a case as it stands, for others to read.
func (f *file) copy() *Case {
	c := f.Case
	c.Findings, c.Rounds, c.Contests = slices.Clone(f.Findings), slices.Clone(f.Rounds), slices.Clone(f.Contests)
	return &c
}

// Case returns a case as it stands.
func (c *Cases) Case(id string) (*Case, error) {
	f, err := c.find(id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return f.copy(), nil
}

func (c *Cases) find(id string) (*file, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.cases[id]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("looking a case up: %w", ErrUnknownCase)
}

// List returns the newest cases first, at most limit of them, in one state or in any.
func (c *Cases) List(state string, limit int) []*Case {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*Case
	for _, id := range slices.Backward(c.order) {
		if len(list) == limit {
			break
		}
		if f := c.cases[id]; state == "" || f.State() == state {
			list = append(list, f.copy())
		}
	}
	return list
}

// Wait returns a case once nothing more happens to it by itself, or as it stands when ctx ends.
func (c *Cases) Wait(ctx context.Context, id string) (*Case, error) {
	f, err := c.find(id)
	if err != nil {
		return nil, err
	}
	for {
		c.mu.Lock()
		now, changed := f.copy(), f.changed
		c.mu.Unlock()
		if state := now.State(); state != StateChecking && state != StatePending {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return now, nil
		}
	}
}
