package program

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
)

// Kinds of journal payloads. Their order for one case is that of its states; each is on disk before the next step is taken.
const (
	KindOpened    = "program.opened"    // an application, before its first check is asked
	KindFound     = "program.found"     // what came of a check
	KindClaimed   = "program.claimed"   // where a claim stands, once it is final
	KindDecided   = "program.decided"   // a signed decision, before its entry is appended
	KindLogged    = "program.logged"    // the entry is final
	KindContested = "program.contested" // an objection
)

type openedRecord struct {
	ID          string               `json:"id"`
	Entry       entry.Ref            `json:"entry"`
	Publication entry.ProgramPublish `json:"publication"`
	Application string               `json:"application,omitempty"`
	Subjects    map[string]string    `json:"subjects"` // role to subject id
	Opened      time.Time            `json:"opened"`
}

type foundRecord struct {
	Case    string  `json:"case"`
	Finding Finding `json:"finding"`
}

type claimedRecord struct {
	Case      string `json:"case"`
	State     string `json:"state"`
	Nullifier string `json:"nullifier"` // what tells that another case has the same claim
}

type decidedRecord struct {
	Case   string        `json:"case"`
	Signed bundle.Signed `json:"signed"`
}

type loggedRecord struct {
	Case  string `json:"case"`
	Round int    `json:"round"`
	Index uint64 `json:"index"`
}

type contestedRecord struct {
	Case    string    `json:"case"`
	Contest Objection `json:"contest"`
}

// file is a case with what only its member knows.
type file struct {
	Case
	subjects map[string]string
	signed   []bundle.Signed // decisions, by round
	began    time.Time       // when it was opened, if since the start of the process
	busy     chan struct{}   // holds one token while a decision or a contest is taken
	changed  chan struct{}   // closed, and made anew, when something was settled
}

func newFile(r openedRecord, p *Program) *file {
	return &file{Case: Case{ID: r.ID, Program: p, Entry: r.Entry, Application: r.Application, Opened: r.Opened}, subjects: r.Subjects,
		busy: make(chan struct{}, 1), changed: make(chan struct{})}
}

// decide takes a signed decision as the newest round.
func (f *file) decide(s bundle.Signed) error {
	var d Decision
	if err := s.Peek(&d); err != nil {
		return err
	}
	_, _, decided, effective, err := d.times()
	if err != nil {
		return err
	}
	if d.Round != len(f.Rounds) || d.Case != f.ID {
		return fmt.Errorf("taking a decision: it is of round %d, want %d: %w", d.Round, len(f.Rounds), ErrState)
	}
	f.Rounds = append(f.Rounds, Round{Granted: d.Granted, By: d.By, Officer: d.Officer, Reason: d.Reason, Time: decided,
		Effective: effective, Digest: digestOf(&s)})
	f.signed = append(f.signed, s)
	return nil
}

func (f *file) log(round int, index uint64) error {
	if round != len(f.Rounds)-1 {
		return fmt.Errorf("logging a decision: it is of round %d of %d: %w", round, len(f.Rounds), ErrState)
	}
	f.Rounds = append([]Round{}, f.Rounds...) // copies of the case share the old ones
	f.Rounds[round].Index, f.Rounds[round].Logged = index, true
	return nil
}

func (f *file) contest(o Objection) error {
	at, err := entry.ParseTime(o.Time)
	if err == nil {
		err = f.mayContest(o.Reason)
	}
	if err != nil {
		return err
	}
	f.Contests = append(f.Contests, Contest{Round: len(f.Rounds) - 1, Time: at, Reason: o.Reason})
	return nil
}

// time notes how long the case has taken so far.
func (f *file) time() {
	if f.began.IsZero() {
		return
	}
	if f.Took.Verdicts == 0 && len(f.Findings) == len(f.Program.Checks) {
		f.Took.Verdicts = time.Since(f.began)
	}
	if f.Took.Decision == 0 && f.State() == StateDecided {
		f.Took.Decision = time.Since(f.began)
	}
}

// Replay takes back one journal payload of this package's kinds.
func (c *Cases) Replay(kind string, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.replay(kind, payload); err != nil {
		return fmt.Errorf("replaying %s: malformed journal payload: %w", kind, err)
	}
	return nil
}

func (c *Cases) replay(kind string, payload []byte) error {
	switch kind {
	case KindOpened:
		r, err := decode[openedRecord](payload)
		if err != nil {
			return err
		}
		return c.file(r)
	case KindFound:
		r, err := decode[foundRecord](payload)
		return c.with(r.Case, err, func(f *file) error { return f.settle(r.Finding) })
	case KindClaimed:
		r, err := decode[claimedRecord](payload)
		return c.with(r.Case, err, func(f *file) error { return c.recall(f, r) })
	case KindDecided:
		r, err := decode[decidedRecord](payload)
		return c.with(r.Case, err, func(f *file) error { return f.decide(r.Signed) })
	case KindLogged:
		r, err := decode[loggedRecord](payload)
		return c.with(r.Case, err, func(f *file) error { return f.log(r.Round, r.Index) })
	case KindContested:
		r, err := decode[contestedRecord](payload)
		return c.with(r.Case, err, func(f *file) error { return f.contest(r.Contest) })
	}
	return nil
}

func decode[T any](payload []byte) (v T, err error) {
	err = json.Unmarshal(payload, &v)
	return v, err
}

// with changes a case that is known.
func (c *Cases) with(id string, err error, change func(*file) error) error {
	if err != nil {
		return err
	}
	f := c.cases[id]
	if f == nil {
		return ErrUnknownCase
	}
	return change(f)
}

// file adds a new case.
func (c *Cases) file(r openedRecord) error {
	if !caseID(r.ID) || c.cases[r.ID] != nil {
		return fmt.Errorf("opening a case: bad id or the id of another: %w", ErrState)
	}
	p, err := c.parse(r.Publication)
	if err != nil {
		return err
	}
	c.cases[r.ID] = newFile(r, p)
	c.order = append(c.order, r.ID)
	if r.Application != "" {
		c.applications[application{p.Name, p.Version, r.Application}] = r.ID
	}
	return nil
}

// parse reads a publication once, however many cases it has.
func (c *Cases) parse(e entry.ProgramPublish) (*Program, error) {
	if p := c.programs[e]; p != nil {
		return p, nil
	}
	p, err := FromEntry(e)
	if err == nil {
		c.programs[e] = p
	}
	return p, err
}
