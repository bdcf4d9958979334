package ceremony

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/prover"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// Codes of commands that cannot be done.
const (
	codeNone     = "no_ceremony"           // no ceremony is known that the command can be about
	codeSeveral  = "several_ceremonies"    // name one
	codeBusy     = "ceremony_busy"         // another task of it is under way here
	codeStarting = "starting"              // the gateway does not run yet
	codeElse     = "not_coordinator"       // another member coordinates it
	codeState    = "ceremony_state"        // the ceremony is not at the point for this
	codeAway     = "unreachable"           // the coordinator cannot be reached
	codeShape    = "ceremony_refused"      // the rules refuse it; the detail has the reason
	codeEarly    = "ceremony_contributors" // too few members contributed
	codeAdopt    = "ceremony_adopt"        // only demo keys are adopted
)

const (
	// defaultTurn is how long a member has where the opening says nothing.
	defaultTurn = time.Hour
	// defaultDelay is from the end of a phase to the announced time of its beacon.
	defaultDelay = time.Minute
)

// OpenCeremony implements api.KeyCeremonies.
func (s *Service) OpenCeremony(ctx context.Context, want api.CeremonyOpening) (*api.Ceremony, error) {
	circuit, err := s.circuit()
	if err != nil {
		return nil, err
	}
	opening := rules.NewOpening(circuit, s.o.Now())
	cfg := s.o.Configuration
	opening.Kind, opening.Instance, opening.Configuration, opening.Coordinator = kindOf(cfg.Mode), cfg.Instance, cfg.Digest(), s.o.Member
	if opening.Members, err = membersOf(cfg, want.Members); err != nil {
		return nil, err
	}
	opening.Contributors, opening.TurnSeconds = want.Contributors, want.TurnSeconds
	if opening.Contributors == 0 {
		opening.Contributors = fewest(opening.Kind, len(opening.Members))
	}
	if opening.TurnSeconds == 0 {
		opening.TurnSeconds = int(defaultTurn / time.Second)
	}
	keep := settings{BeaconDelaySeconds: int(defaultDelay / time.Second)}
	if want.BeaconDelay != nil {
		keep.BeaconDelaySeconds = *want.BeaconDelay
	}
	c := s.opened(opening)
	if c == nil {
		if c, err = s.create(ctx, circuit, opening, keep); err != nil {
			return nil, problemOf(err)
		}
	}
	p, err := c.begun(ctx)
	if err != nil {
		return nil, err
	}
	return s.describe(c.ceremony.Transcript(), &p, nil), nil
}

// opened is the ceremony that was opened like this and in which nothing was done yet: the command is repeated.
func (s *Service) opened(want rules.Opening) *coordinator {
	for _, c := range s.coordinators() {
		t := c.ceremony.Transcript()
		was := t.Opening()
		members := slices.Equal(was.Members, want.Members)
		was.Opened, was.Members = want.Opened, want.Members
		if members && len(t.Steps()) == 0 && reflect.DeepEqual(was, want) {
			return c
		}
	}
	return nil
}

// begun waits for the loop to say whose turn it is.
func (c *coordinator) begun(ctx context.Context) (position, error) {
	for {
		p, changed := c.look(c.o.Member, false)
		if p.State != "" {
			return p, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return position{}, ctx.Err()
		}
	}
}

// membersOf are those who may contribute, in the order of their turns; nil: all members of the network.
func membersOf(cfg *network.Configuration, names []string) ([]rules.Member, error) {
	if len(names) == 0 {
		for _, m := range cfg.Members {
			names = append(names, m.Name)
		}
	}
	var out []rules.Member
	for _, name := range names {
		m, ok := cfg.Member(name)
		if !ok {
			return nil, api.NewProblem(http.StatusUnprocessableEntity, api.CodeInvalid, "members: the network has no member "+name)
		}
		out = append(out, rules.Member{Name: m.Name, Key: m.QueryKey})
	}
	return out, nil
}

// fewest is how many members must contribute where the opening does not say: all but one, so that one may be away.
func fewest(kind string, members int) int {
	least := 1
	if kind == prover.KindCeremony {
		least = 2
	}
	return max(least, members-1)
}

// create writes a ceremony's folder aside, under a name of its own, and then gives it the name that the opening has: a crash leaves no half
// one.
func (s *Service) create(ctx context.Context, circuit *rules.Circuit, o rules.Opening, keep settings) (*coordinator, error) {
	if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the ceremonies' folder: %w", err)
	}
	aside, err := os.MkdirTemp(s.o.Dir, "opening-")
	if err != nil {
		return nil, fmt.Errorf("making the ceremony's folder: %w", err)
	}
	defer os.RemoveAll(aside)
	c, err := rules.Create(ctx, aside, circuit, o, s.signer())
	if err != nil {
		return nil, err
	}
	name := c.Transcript().Ceremony()
	c.Close()
	if err := config.WriteNew(filepath.Join(aside, settingsFile), mustEncode(keep), 0o600); err != nil {
		return nil, fmt.Errorf("writing the ceremony's settings: %w", err)
	}
	if err := os.Rename(aside, s.dir(name)); err != nil {
		return nil, fmt.Errorf("naming the ceremony's folder: %w", err)
	}
	if err := syncDir(s.o.Dir); err != nil {
		return nil, err
	}
	if c, err = rules.Resume(ctx, s.dir(name), circuit, s.signer()); err != nil {
		return nil, err
	}
	co := newCoordinator(&s.o, s.dir(name), keep, circuit, c)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running[name] = co
	if !s.beginLocked(co.run) {
		delete(s.running, name)
		c.Close()
		return nil, errStarting
	}
	return co, nil
}

// syncDir makes a name in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("naming the ceremony's folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("naming the ceremony's folder: %w", err)
	}
	return nil
}

var errStarting = api.NewProblem(http.StatusServiceUnavailable, codeStarting, "the gateway is starting or stopping; repeat this in some seconds")

// problemOf tells a refusal of the rules to the caller. Nothing in a ceremony is secret but the secrets, which are in no error.
func problemOf(err error) error {
	var refused *rules.Refused
	var p *api.Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &refused):
		return api.NewProblem(http.StatusUnprocessableEntity, codeShape, refused.Error())
	}
	return err
}

// Ceremonies implements api.KeyCeremonies.
func (s *Service) Ceremonies(ctx context.Context) ([]api.Ceremony, error) {
	found, err := s.known(ctx)
	if err != nil {
		return nil, err
	}
	var out []api.Ceremony
	for _, k := range found {
		out = append(out, *s.describe(k.transcript, k.position, k.err))
	}
	return out, nil
}

// Contribute implements api.KeyCeremonies.
func (s *Service) Contribute(ctx context.Context, id string, phase int) (*api.Ceremony, error) {
	phases := []int{1, 2}
	if phase != 0 {
		phases = []int{phase}
	}
	k, err := s.pick(ctx, id, func(k known) bool {
		o := k.transcript.Opening()
		_, member := o.Member(s.o.Member)
		return member && !k.transcript.Complete()
	})
	if err != nil {
		return nil, err
	}
	o := k.transcript.Opening()
	if _, ok := o.Member(s.o.Member); !ok {
		return nil, api.NewProblem(http.StatusConflict, codeState, "this member takes no part in the ceremony")
	}
	if len(s.left(k.transcript, phases)) == 0 { // done before
		return s.describe(k.transcript, k.position, k.err), nil
	}
	if k.transcript.Complete() {
		return nil, api.NewProblem(http.StatusConflict, codeState, "the ceremony is over; this member did not contribute to it")
	}
	name := k.transcript.Ceremony()
	return s.begun(k, &task{kind: taskContribute, phases: phases}, func(ctx context.Context, t *task) error {
		return s.contribute(ctx, t, o.Coordinator, name, phases)
	})
}

// begun starts a task and tells how things stand.
func (s *Service) begun(k known, t *task, run func(context.Context, *task) error) (*api.Ceremony, error) {
	if !s.start(k.transcript.Ceremony(), t, run) {
		return nil, api.NewProblem(http.StatusConflict, codeBusy, "another task of the ceremony is under way at this gateway, or it is stopping; see grille ceremony status")
	}
	return s.describe(k.transcript, k.position, k.err), nil
}

// SealCeremony implements api.KeyCeremonies.
func (s *Service) SealCeremony(ctx context.Context, id string) (*api.Ceremony, error) {
	k, err := s.pick(ctx, id, func(k known) bool {
		return k.transcript.Opening().Coordinator == s.o.Member && !k.transcript.Complete()
	})
	if err != nil {
		return nil, err
	}
	c, err := s.coordinator(k.transcript.Ceremony())
	if err != nil {
		return nil, api.NewProblem(http.StatusConflict, codeElse, "the ceremony is coordinated by "+k.transcript.Opening().Coordinator+", who alone seals it")
	}
	turn := c.ceremony.Transcript().Turn()
	if turn.Action == rules.ActDone {
		return s.describe(k.transcript, k.position, k.err), nil
	}
	if turn.Action == rules.ActContribute && turn.Missing > 0 && len(c.absent()) == 0 {
		return nil, api.NewProblem(http.StatusConflict, codeEarly, fmt.Sprintf("%d more members have to contribute to phase %d", turn.Missing, turn.Phase))
	}
	c.hasten()
	p, _ := c.look(s.o.Member, false)
	return s.describe(c.ceremony.Transcript(), &p, nil), nil
}

// hasten waits for nobody who is not there, as long as the phase lasts.
func (c *coordinator) hasten() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurry = true
	c.nudge()
}

// absent are the members who had no turn yet in the open phase and are not there.
func (c *coordinator) absent() []string {
	t := c.ceremony.Transcript()
	s := standingOf(t, t.Turn())
	return s.who(func(m string) bool { return s.passed[m] == 0 && !slices.Contains(s.done, m) && !c.isThere(m) })
}

// VerifyCeremony implements api.KeyCeremonies.
func (s *Service) VerifyCeremony(ctx context.Context, id string, adopt bool) (*api.Ceremony, error) {
	k, err := s.pick(ctx, id, func(k known) bool { return k.transcript.Complete() })
	if err != nil {
		return nil, err
	}
	if !k.transcript.Complete() {
		return nil, api.NewProblem(http.StatusConflict, codeState, "the ceremony is not sealed yet; see grille ceremony status")
	}
	if adopt && k.transcript.Opening().Kind != prover.KindDemo {
		return nil, api.NewProblem(http.StatusConflict, codeAdopt, "only demo keys are adopted: in production each member verifies the transcript itself")
	}
	return s.begun(k, &task{kind: taskVerify, adopt: adopt}, func(ctx context.Context, t *task) error {
		if adopt {
			return s.adopt(ctx, t, k.transcript)
		}
		return s.verify(ctx, t, k.transcript)
	})
}

// FetchCeremony implements api.KeyCeremonies.
func (s *Service) FetchCeremony(ctx context.Context, id string) (*api.Ceremony, error) {
	k, err := s.pick(ctx, id, func(known) bool { return true })
	if err != nil {
		return nil, err
	}
	circuit, err := s.circuit()
	if err != nil {
		return nil, err
	}
	return s.begun(k, &task{kind: taskFetch}, func(ctx context.Context, t *task) error {
		coordinator, turn := k.transcript.Opening().Coordinator, k.transcript.Turn()
		if turn.Action == rules.ActContribute && turn.Base != "" { // what the next contribution builds on
			if _, err := s.payload(ctx, t, coordinator, turn.Ceremony, turn.Base, baseSize(circuit, k.transcript)); err != nil {
				return err
			}
		}
		return s.fetchAll(ctx, t, coordinator, k.transcript)
	})
}

// verify completes the copy and verifies all of it, then keeps the keys.
func (s *Service) verify(ctx context.Context, t *task, transcript *rules.Transcript) error {
	if err := s.fetchAll(ctx, t, transcript.Opening().Coordinator, transcript); err != nil {
		return err
	}
	circuit, err := s.circuit()
	if err != nil {
		return err
	}
	result, err := rules.Verify(ctx, s.dir(transcript.Ceremony()), circuit, s.o.beacon, t.told)
	if err != nil {
		return err
	}
	t.told("storing the keys")
	return s.o.stored(ctx, result)
}

// SubmitContribution implements api.KeyCeremonies.
func (s *Service) SubmitContribution(ctx context.Context, r io.Reader) (*api.Ceremony, error) {
	circuit, err := s.circuit()
	if err != nil {
		return nil, err
	}
	made, err := rules.ReadContribution(r, circuit)
	if err != nil {
		return nil, problemOf(err)
	}
	var step rules.Step
	if err := json.Unmarshal([]byte(made.Step.Body), &step); err != nil {
		return nil, api.NewProblem(http.StatusUnprocessableEntity, codeShape, "the file holds no contribution")
	}
	if step.Member != s.o.Member {
		return nil, api.NewProblem(http.StatusConflict, codeState, "the contribution is another member's: submit it at that member's gateway")
	}
	k, err := s.pick(ctx, step.Ceremony, func(known) bool { return true })
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(k.transcript.Steps(), func(o rules.Step) bool { return o == step }) { // submitted before
		return s.describe(k.transcript, k.position, k.err), nil
	}
	if _, err := k.transcript.With(made.Step); err != nil {
		return nil, problemOf(err)
	}
	return s.begun(k, &task{kind: taskContribute, phases: []int{step.Phase}}, func(ctx context.Context, t *task) error {
		return s.bring(ctx, t, k.transcript.Opening().Coordinator, step, made)
	})
}

// bring submits a contribution that was made elsewhere and looks that it is in the transcript.
func (s *Service) bring(ctx context.Context, t *task, coordinator string, step rules.Step, made *rules.Contribution) error {
	if err := s.submit(ctx, t, coordinator, step.Ceremony, step.Phase, made); err != nil {
		return err
	}
	p, err := s.askFor(ctx, coordinator, question{Version: 1, Ceremony: step.Ceremony})
	if err != nil {
		return err
	}
	transcript, err := s.sync(ctx, coordinator, p)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(transcript.Steps(), func(o rules.Step) bool { return o.Payload == step.Payload }) {
		return errors.New("the turn was over before the contribution arrived: export again and make another")
	}
	return nil
}
