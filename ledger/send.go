package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
)

// Outgoing returns what a mirror should be sent now: the checkpoint being brought to a quorum with the entries the mirror
// lacks, at most MaxPushBytes of them, or, a heartbeat after its last cosignature, the same checkpoint again. It is false
// if there is nothing to send, or for this member itself, which cosigns without sending.
//
// Send pushes to one mirror one after the other, and give each answer to Cosigned before the next.
func (s *Store) Outgoing(mirror string) (Push, bool) {
	if s.maySign() != nil {
		return Push{}, false
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if err := s.cosignOwn(); err != nil {
		s.log.Error("own mirror does not cosign", "origin", s.own.origin, "error", err)
	}
	if mirror == s.member {
		return Push{}, false
	}
	tree, from, ok := s.sending.Wants(mirror, s.now(), s.heartbeat)
	if !ok {
		return Push{}, false
	}
	entries, err := s.own.files.Entries(from, tree.N, MaxPushBytes)
	if err != nil {
		s.log.Error("reading entries to push", "origin", s.own.origin, "error", err)
		return Push{}, false
	}
	return Push{Origin: s.own.origin, Checkpoint: note.Assemble(s.notes[tree.N], nil), From: uint64(from), Entries: entries}, true
}

// Cosigned takes a mirror's answer to a push. Errors: ErrNoProgress if the mirror took nothing (wait before the next
// push), ErrFuture for a time ahead of this clock, note.ErrSignature for a cosignature that does not verify.
func (s *Store) Cosigned(mirror string, r PushReply) error {
	m, ok := s.cfg.Member(mirror)
	if !ok || !m.Mirror || mirror == s.member {
		return fmt.Errorf("taking answer of %q: not another mirror", mirror)
	}
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if err := s.Failure(); err != nil {
		return err
	}
	if len(r.Cosignature) == 0 {
		defer s.wake() // there may be entries to send from where it stands
		if err := s.sending.Stands(mirror, r.Have); err != nil {
			return fmt.Errorf("taking answer of %s: %w", mirror, err)
		}
		return nil
	}
	if r.Size > note.MaxTreeSize {
		return fmt.Errorf("taking answer of %s: %w", mirror, ErrRange)
	}
	c, ok := s.notes[int64(r.Size)]
	if !ok {
		return nil // late: a larger checkpoint is final already
	}
	cosig, err := note.VerifyCosignature(m, c.Text, string(r.Cosignature))
	if err != nil {
		return fmt.Errorf("taking answer of %s: %w", mirror, err)
	}
	now := s.now()
	if cosig.Time.After(now.Add(ClockAllowance)) {
		return fmt.Errorf("taking answer of %s: %w", mirror, ErrFuture)
	}
	if s.sending.Cosigned(int64(r.Size), cosig, now) {
		if err := s.finalOwn(); err != nil {
			return err
		}
	}
	return s.cosignOwn()
}

// finalOwn publishes the head that the core says is final. Call with sendMu held.
func (s *Store) finalOwn() error {
	final := s.sending.Final()
	c, ok := s.notes[final.N]
	if !ok {
		return fmt.Errorf("finishing size %d: its checkpoint is not kept", final.N)
	}
	if s.Halted(s.own.origin) && final.N > s.own.final.N {
		return ErrHalted
	}
	if err := s.finish(s.own, c, s.sending.Newest(s.now()), s.cfg); err != nil {
		return err
	}
	maps.DeleteFunc(s.notes, func(size int64, _ note.Checkpoint) bool { return size < final.N })
	return nil
}

// cosignOwn lets this member's mirror cosign its own log: like any mirror, after durable storage, and again at each
// heartbeat. Call with sendMu held.
func (s *Store) cosignOwn() error {
	if s.own.mirror == nil {
		return nil
	}
	for {
		now := s.now()
		tree, _, ok := s.sending.Wants(s.member, now, s.heartbeat)
		if !ok || s.mayCosign(s.own, tree) != nil {
			return nil
		}
		line, at, err := s.own.mirror.Cosign(tree, note.Assemble(s.notes[tree.N], nil), s.own.files, now, ClockAllowance)
		if errors.Is(err, signer.ErrClock) {
			return err
		}
		if err != nil {
			return s.stopping(err)
		}
		cosig := note.Cosignature{Mirror: s.member, Time: at, Line: line}
		if s.sending.Cosigned(tree.N, cosig, now) {
			if err := s.finalOwn(); err != nil {
				return err
			}
		}
	}
}

// Heads returns the newest final head of each log that has one, in the order of the configuration.
func (s *Store) Heads() []Head {
	out := make([]Head, 0, len(s.order))
	for _, origin := range s.order {
		if h, ok := s.Final(origin); ok {
			out = append(out, h)
		}
	}
	return slices.Clip(out)
}
