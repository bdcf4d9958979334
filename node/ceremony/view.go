package ceremony

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/node/peer"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// known is a ceremony as this gateway knows it.
type known struct {
	transcript *rules.Transcript
	position   *position // nil: its coordinator was not reached
	err        error     // why it was not, or why it was not believed
}

// known are all ceremonies: those coordinated here, those that the other members tell of now, and copies of those whose coordinator is
// away. The newest comes first.
func (s *Service) known(ctx context.Context) ([]known, error) {
	found := make(map[string]known)
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if t, err := rules.OpenFolder(s.dir(name)).Transcript(); err == nil {
			found[name] = known{transcript: t, err: errAway}
		}
	}
	for _, c := range s.coordinators() {
		p, _ := c.look(s.o.Member, false)
		found[p.Ceremony] = known{transcript: c.ceremony.Transcript(), position: &p}
	}
	s.syncAll(ctx, s.askAll(ctx), found)
	var out []known
	for _, k := range found {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b known) int { return -compareAge(a.transcript, b.transcript) })
	return out, nil
}

// syncAll brings the copies up to date of what the coordinators tell. They are asked side by side and each for a bounded time: one that
// sends nothing holds up nobody's commands.
func (s *Service) syncAll(ctx context.Context, told map[string][]position, found map[string]known) {
	var mu sync.Mutex // guards found
	var syncing sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for coordinator, positions := range told {
		slots <- struct{}{}
		syncing.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, syncTimeout)
			defer cancel()
			for _, p := range positions {
				t, err := s.sync(ctx, coordinator, p)
				if err != nil {
					s.o.Logger.Warn("what a member tells of a ceremony is not believed", logkey.Member, coordinator, logkey.Error, err)
				}
				mu.Lock()
				old, ok := found[p.Ceremony]
				switch {
				case err == nil:
					found[p.Ceremony] = known{transcript: t, position: &p}
				case ok && old.transcript.Opening().Coordinator == coordinator:
					found[p.Ceremony] = known{transcript: old.transcript, err: err}
				}
				mu.Unlock()
			}
		})
	}
	syncing.Wait()
}

// Ceremony implements api.KeyCeremonies.
func (s *Service) Ceremony(ctx context.Context, id string) (*api.Ceremony, error) {
	k := known{err: errAway}
	if c, err := s.coordinator(id); err == nil {
		p, _ := c.look(s.o.Member, false)
		return s.describe(c.ceremony.Transcript(), &p, nil), nil
	}
	if _, err := parseDigest(id); err != nil {
		return nil, api.NewProblem(http.StatusNotFound, codeNone, "no such ceremony is known here")
	}
	var err error
	if k.transcript, err = rules.OpenFolder(s.dir(id)).Transcript(); errors.Is(err, rules.ErrNoTranscript) {
		return nil, api.NewProblem(http.StatusNotFound, codeNone, "no such ceremony is known here; grille ceremony status asks the other members")
	} else if err != nil {
		return nil, err
	}
	coordinator := k.transcript.Opening().Coordinator
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if p, err := s.ask(ctx, Caller(s.call), coordinator, question{Version: 1, Ceremony: id}); err == nil {
		t, err := s.sync(ctx, coordinator, p)
		if err == nil {
			return s.describe(t, &p, nil), nil
		}
		k.err = err
	}
	return s.describe(k.transcript, nil, k.err), nil
}

var errAway = api.NewProblem(http.StatusBadGateway, codeAway, "its coordinator cannot be reached now")

// askAll asks the other members for the ceremonies that they coordinate.
func (s *Service) askAll(ctx context.Context) map[string][]position {
	var mu sync.Mutex
	found := make(map[string][]position)
	slots := make(chan struct{}, askAtOnce)
	var asking sync.WaitGroup
	for _, m := range s.o.Configuration.Members {
		if m.Name == s.o.Member {
			continue
		}
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			reply, err := s.o.Call(ctx, m.Name, peer.KindCeremony, mustEncode(question{Version: 1}))
			if err != nil {
				return // away: what is known of its ceremonies is shown all the same
			}
			a, err := decodeAnswer(reply)
			if err != nil {
				s.o.Logger.Warn("what a member tells of its ceremonies cannot be read", logkey.Member, m.Name, logkey.Error, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found[m.Name] = a.Ceremonies[:min(len(a.Ceremonies), maxCeremonies)]
		})
	}
	asking.Wait()
	return found
}

// pick returns the ceremony of an id, or the only one that fits.
func (s *Service) pick(ctx context.Context, id string, fits func(known) bool) (known, error) {
	all, err := s.known(ctx)
	if err != nil {
		return known{}, err
	}
	var fitting []known
	for _, k := range all {
		if k.transcript.Ceremony() == id || id == "" && fits(k) {
			fitting = append(fitting, k)
		}
	}
	switch {
	case len(fitting) == 0:
		return known{}, api.NewProblem(http.StatusNotFound, codeNone, "no such ceremony is known here; one of the members opens one with grille ceremony open")
	case len(fitting) > 1:
		return known{}, api.NewProblem(http.StatusConflict, codeSeveral, "there are several; name one of those that grille ceremony status lists")
	}
	return fitting[0], nil
}

// describe is a ceremony for people.
func (s *Service) describe(t *rules.Transcript, p *position, fault error) *api.Ceremony {
	o, turn := t.Opening(), t.Turn()
	c := &api.Ceremony{ID: t.Ceremony(), Kind: o.Kind, Coordinator: o.Coordinator, Circuit: o.Circuit, Opened: o.Opened,
		Contributors: o.Contributors, TurnSeconds: o.TurnSeconds, Phase: turn.Phase, Steps: len(t.Steps()), Transcript: t.Digest()}
	if p != nil {
		c.State, c.Turn, c.Until, c.Waiting, c.Fault = p.State, p.Turn, p.Until, p.Waiting, p.Fault
	}
	c.State = cmp.Or(c.State, stateOf(turn))
	if fault != nil {
		c.Fault = fault.Error()
	}
	for _, m := range o.Members {
		c.Members = append(c.Members, describeMember(t, m.Name))
	}
	for _, step := range t.Steps() {
		c.VerifyingKey, c.ProvingKey = cmp.Or(step.VerifyingKey, c.VerifyingKey), cmp.Or(step.ProvingKey, c.ProvingKey)
	}
	c.Here = s.here(t)
	return c
}

// stateOf is what a transcript alone says.
func stateOf(turn rules.Turn) string {
	switch turn.Action {
	case rules.ActDone:
		return stateDone
	case rules.ActSeal:
		return stateBeacon
	}
	return stateOpen
}

// What a member did in a phase.
const (
	didContribute = "contributed"
	wasAbsent     = "absent"
	wasRefused    = "refused"
)

func describeMember(t *rules.Transcript, member string) api.CeremonyMember {
	m := api.CeremonyMember{Member: member}
	for _, step := range t.Steps() {
		if step.Member != member || step.Kind != rules.StepContribution && step.Kind != rules.StepPass {
			continue
		}
		did := didContribute
		if step.Kind == rules.StepPass {
			did = wasRefused
			if step.Reason == rules.ReasonAbsent {
				did = wasAbsent
			}
		}
		m.Phases[step.Phase-1] = did
		m.Turns = append(m.Turns, api.CeremonyTurn{Phase: step.Phase, Time: step.Time, Reason: string(step.Reason)})
	}
	return m
}

// here is what this gateway does, and did.
func (s *Service) here(t *rules.Transcript) api.CeremonyHere {
	h := api.CeremonyHere{Folder: s.dir(t.Ceremony())}
	s.mu.Lock()
	running := s.tasks[t.Ceremony()]
	s.mu.Unlock()
	if running != nil {
		running.mu.Lock()
		h.Task, h.Stage, h.Fault = running.kind, running.stage, running.fault
		running.mu.Unlock()
	}
	if s.o.noted(t) {
		h.Verified = verifiedHere
		if _, err := os.Stat(filepath.Join(s.dir(t.Ceremony()), adoptedFile)); err == nil {
			h.Verified = adoptedHere
		}
	}
	return h
}

// How this gateway came by the keys.
const (
	verifiedHere = "verified"
	adoptedHere  = "adopted"
	adoptedFile  = "adopted"
)
