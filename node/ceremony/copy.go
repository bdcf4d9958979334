package ceremony

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// maxCopies bounds how many ceremonies of one coordinator are copied.
const maxCopies = 32

// ErrFork says that a coordinator shows another history of a ceremony than it showed before. Keep both transcripts: it signed both.
var ErrFork = errors.New("the coordinator shows another history of the ceremony than before")

// ErrOpening says that a ceremony is not one of this network's.
var ErrOpening = errors.New("the ceremony is not one of this network's")

// CheckOpening compares an opening with the configuration that it names: the network is the same, and members and keys are its members'.
func CheckOpening(chain *network.Chain, o rules.Opening) error {
	cfg, ok := chain.ByDigest(o.Configuration)
	if !ok {
		return fmt.Errorf("%w: it was opened under a configuration that is not in the chain", ErrOpening)
	}
	if o.Instance != cfg.Instance {
		return fmt.Errorf("%w: it is of instance %s", ErrOpening, o.Instance)
	}
	if o.Kind != kindOf(cfg.Mode) {
		return fmt.Errorf("%w: its kind is %s, and the network's mode %s", ErrOpening, o.Kind, cfg.Mode)
	}
	for _, m := range o.Members {
		if known, ok := cfg.Member(m.Name); !ok || known.QueryKey != m.Key {
			return fmt.Errorf("%w: %s is no member, or has another query key", ErrOpening, m.Name)
		}
	}
	return nil
}

// kindOf is the kind of keys that a network of a mode makes.
func kindOf(mode string) string {
	if mode == network.ModeDemo {
		return prover.KindDemo
	}
	return prover.KindCeremony
}

// sync brings this gateway's copy of a transcript up to what its coordinator tells, and returns it. It is checked as far as that needs no
// payload, must be of this network, and must go on from what was shown before. The coordinator's own is no copy.
func (s *Service) sync(ctx context.Context, coordinator string, p position) (*rules.Transcript, error) {
	if coordinator == s.o.Member {
		c, err := s.coordinator(p.Ceremony)
		if err != nil {
			return nil, err
		}
		t := c.ceremony.Transcript()
		return t, s.noteOwn(t)
	}
	unlock, err := s.copying(ctx, coordinator)
	if err != nil {
		return nil, err
	}
	defer unlock()
	known, err := rules.OpenFolder(s.dir(p.Ceremony)).Transcript()
	if err == nil && known.Digest() == p.Transcript {
		return known, nil
	}
	if errors.Is(err, rules.ErrNoTranscript) {
		known, err = nil, s.room(coordinator)
	}
	if err != nil {
		return nil, err
	}
	t, err := s.fetchTranscript(ctx, coordinator, p)
	if err != nil {
		return nil, err
	}
	if err := s.checkCopy(known, t, coordinator, p.Ceremony); err != nil {
		return nil, err
	}
	if err := s.noteOwn(t); err != nil { // first: what is on disk is not looked at again
		return nil, err
	}
	f, err := rules.MakeFolder(s.dir(p.Ceremony))
	if err == nil {
		err = f.PutTranscript(t)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// room refuses to copy more ceremonies of one coordinator than anybody holds.
func (s *Service) room(coordinator string) error {
	names, err := s.names()
	if err != nil {
		return err
	}
	copies := 0
	for _, name := range names {
		if t, err := rules.OpenFolder(s.dir(name)).Transcript(); err == nil && t.Opening().Coordinator == coordinator {
			copies++
		}
	}
	if copies >= maxCopies {
		return fmt.Errorf("%w: there are %d of %s here already; remove those from %s that are over", ErrOpening, copies, coordinator, s.o.Dir)
	}
	return nil
}

// fetchTranscript fetches what a coordinator tells, into a folder of its own for each: nothing is named for what was not checked yet.
func (s *Service) fetchTranscript(ctx context.Context, coordinator string, p position) (*rules.Transcript, error) {
	name, err := parseDigest(p.Transcript)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.o.Dir, "incoming", url.PathEscape(coordinator))
	data, err := Caller(s.call).download(ctx, coordinator, dir, name, p.Size, func(int64) {})
	if err != nil {
		return nil, err
	}
	t, err := rules.DecodeTranscript(data)
	if err != nil {
		return nil, fmt.Errorf("reading the transcript of %s: %w", coordinator, err)
	}
	return t, nil
}

func (s *Service) checkCopy(known, t *rules.Transcript, coordinator, name string) error {
	o := t.Opening()
	if t.Ceremony() != name || o.Coordinator != coordinator {
		return fmt.Errorf("%w: %s shows ceremony %s of %s", ErrOpening, coordinator, short(t.Ceremony()), o.Coordinator)
	}
	if err := CheckOpening(s.o.Chain, o); err != nil {
		return err
	}
	if known == nil {
		return nil
	}
	before, now := known.Steps(), t.Steps()
	if len(now) < len(before) || !slices.Equal(now[:len(before)], before) {
		return ErrFork
	}
	return nil
}

// copying waits until nothing else is copied from a coordinator, or ctx ends. What one coordinator holds up, by any name that it gives to
// its ceremonies, holds up no other's.
func (s *Service) copying(ctx context.Context, coordinator string) (done func(), err error) {
	s.mu.Lock()
	if s.copies[coordinator] == nil {
		s.copies[coordinator] = make(chan struct{}, 1)
	}
	held := s.copies[coordinator]
	s.mu.Unlock()
	select {
	case held <- struct{}{}:
		return func() { <-held }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for what %s sends: %w", coordinator, ctx.Err())
	}
}

// noteOwn keeps the list of this member's contributions that a coordinator took: keys that do not rest on them are not relied on.
func (s *Service) noteOwn(t *rules.Transcript) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	for _, step := range t.Steps() {
		if step.Kind != rules.StepContribution || step.Member != s.o.Member {
			continue
		}
		own := prover.OwnContribution{Ceremony: t.Ceremony(), Member: step.Member, Phase: step.Phase, SHA256: step.Payload}
		if err := prover.NoteContribution(s.o.Own, own); err != nil {
			return err
		}
	}
	return nil
}

// payload returns a payload that a transcript names, from the copy or from the coordinator.
func (s *Service) payload(ctx context.Context, t *task, coordinator, ceremony, name string, size int64) ([]byte, error) {
	f, err := rules.MakeFolder(s.dir(ceremony))
	if err != nil {
		return nil, err
	}
	data, err := f.Payload(name, size)
	if !errors.Is(err, rules.ErrNoPayload) {
		return data, err
	}
	id, err := parseDigest(name)
	if err != nil {
		return nil, err
	}
	data, err = Caller(s.call).download(ctx, coordinator, filepath.Join(s.dir(ceremony), "incoming"), id, size, func(done int64) {
		t.told(fmt.Sprintf("fetching %s, %d %%", short(name), 100*done/size))
	})
	if err != nil {
		return nil, err
	}
	_, err = f.PutPayload(data)
	return data, err
}

// fetchAll completes the copy of a ceremony.
func (s *Service) fetchAll(ctx context.Context, t *task, coordinator string, transcript *rules.Transcript) error {
	missing, err := rules.OpenFolder(s.dir(transcript.Ceremony())).Missing(transcript)
	if err != nil {
		return err
	}
	for _, p := range missing {
		if _, err := s.payload(ctx, t, coordinator, transcript.Ceremony(), p.Digest, p.Size); err != nil {
			return err
		}
	}
	return nil
}
