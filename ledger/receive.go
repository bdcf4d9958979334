package ledger

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
)

// AddCheckpoint takes another owner's push as a mirror: it verifies the owner's signature, stores the entries, and when
// they hash to the checkpoint's root, cosigns it. Without a cosignature the reply says from where on entries are missing.
// The reply is meaningful beside ErrStale too.
//
// Errors: ErrStarting, ErrOrigin, ErrNotMirror, ErrStale, ErrInconsistent (the owner forked its log), ErrHalted, ErrFenced,
// ErrHandedOver, note.ErrNote and note.ErrSignature (not the owner's checkpoint), core.ErrBounds, signer.ErrClock, ErrStopped.
func (s *Store) AddCheckpoint(p Push) (PushReply, error) {
	reply, err := s.addCheckpoint(p)
	if err != nil {
		return reply, fmt.Errorf("cosigning %q: %w", p.Origin, err)
	}
	return reply, nil
}

func (s *Store) addCheckpoint(p Push) (PushReply, error) {
	r, err := s.replica(p.Origin)
	if err != nil {
		return PushReply{}, err
	}
	if r.fence.Origin != "" {
		return PushReply{}, ErrFenced
	}
	if r.mirror == nil {
		return PushReply{}, ErrNotMirror
	}
	if r == s.own {
		return PushReply{}, fmt.Errorf("%w: it is this member's own", ErrOrigin)
	}
	c, err := note.VerifyOwner(s.cfg, p.Origin, p.Checkpoint)
	if err != nil {
		return PushReply{}, err
	}
	if err := checkEntries(p.Entries); err != nil {
		return PushReply{}, err
	}
	r.write.Lock()
	defer r.write.Unlock()
	if err := s.mayCosign(r, c.Tree); err != nil {
		return PushReply{Have: uint64(r.files.Size())}, err
	}
	line, err := s.extend(r, c, p)
	if err == nil && line != nil {
		if err := s.reachWanted(r); err != nil { // no matter of this push; a newer head will come
			s.log.Warn("awaited head not taken", "origin", r.origin, "error", err)
		}
	}
	return PushReply{Cosignature: line, Size: uint64(c.Tree.N), Have: uint64(r.files.Size())}, s.stopping(err)
}

// extend stores a push and cosigns if the root is right. Call with r.write held.
func (s *Store) extend(r *replica, c note.Checkpoint, p Push) ([]byte, error) {
	cp := c.Tree
	plan, err := r.state().Push(cp, p.From, len(p.Entries))
	if err != nil {
		if cp.N > r.verified.N {
			return nil, err
		}
		return nil, errors.Join(s.compareRoot(r, c), err) // an old checkpoint may tell of a fork
	}
	if err := r.stage(p.Entries[plan.Skip:plan.Skip+plan.Take], cp); err != nil {
		return nil, err
	}
	if !plan.Settle {
		return nil, nil
	}
	if err := s.underHead(r, c); err != nil {
		return nil, err
	}
	verdict, err := r.settle(c)
	switch {
	case err != nil:
		return nil, err
	case verdict == core.Unproven:
		return nil, nil // the staged entries are dropped; the reply asks for them again
	case verdict == core.Fork:
		s.contradicted(r, c)
		return nil, fmt.Errorf("%w: entries do not hash to the root of size %d", ErrInconsistent, cp.N)
	}
	if err := s.above(r, cp); err != nil {
		return nil, err
	}
	line, _, err := r.mirror.Cosign(cp, note.Assemble(c, nil), r.files, s.now(), ClockAllowance)
	if err == nil {
		r.rise()
	}
	if errors.Is(err, signer.ErrInconsistent) {
		err = fmt.Errorf("%w: %w", ErrInconsistent, err)
	}
	return []byte(line), err
}

func checkEntries(entries [][]byte) error {
	total := 0
	for _, e := range entries {
		if len(e) == 0 || len(e) > MaxEntry {
			return fmt.Errorf("%w: entry of %d bytes", core.ErrBounds, len(e))
		}
		total += 2 + len(e)
	}
	if total > MaxPushBytes {
		return fmt.Errorf("%w: %d bytes, the limit is %d", core.ErrBounds, total, MaxPushBytes)
	}
	return nil
}

// AddHead takes a final head: a checkpoint with a quorum's cosignatures. It is stored and becomes Final once its entries
// are here; behind says that they are not, so pull them with Read at a peer and AddEntries here, from Stored on. An older
// head is checked and dropped.
//
// Errors: ErrOrigin, note.ErrNote, note.ErrSignature, ErrFuture, ErrInconsistent (a quorum cosigned what contradicts this
// replica), ErrRolledBack (the own log is behind what others hold: this folder is an old copy), ErrStopped.
func (s *Store) AddHead(h Head) (behind bool, err error) {
	behind, err = s.addHead(h)
	if err != nil {
		return false, fmt.Errorf("taking head of %q: %w", h.Origin, err)
	}
	return behind, nil
}

func (s *Store) addHead(h Head) (bool, error) {
	r, err := s.replica(h.Origin)
	if err != nil {
		return false, err
	}
	head, err := s.verifyHead(r, h)
	if err != nil {
		return false, err
	}
	c := head.c
	r.write.Lock()
	defer r.write.Unlock()
	if err := s.Failure(); err != nil {
		return false, err
	}
	size := r.files.Size()
	switch {
	case r == s.own && c.Tree.N > size:
		return false, s.stopping(fmt.Errorf("%w: others hold size %d, here are %d", ErrRolledBack, c.Tree.N, size))
	case r.fence.Origin != "" && c.Tree.N > r.fence.Size:
		return false, ErrFenced
	case c.Tree.N > size:
		if c.Tree.N > r.wanted.c.Tree.N {
			r.wanted = head
		}
		return true, nil
	}
	behind, err := s.reach(r, head)
	if err == nil && !behind && s.halts(r, c.Tree) {
		err = ErrHalted
	}
	return behind, err
}

// halts says that a head must not become final, since its log is halted. Its entries are kept nevertheless: a mirror votes for
// no fence of what it does not hold. Call with write held.
func (s *Store) halts(r *replica, tree tlog.Tree) bool {
	return r != s.own && tree.N > r.final.N && s.Halted(r.origin)
}

// A verifiedHead is a head whose signatures verify: the configuration that it is final by, what the owner signed, and who
// cosigned it.
type verifiedHead struct {
	cfg    *network.Configuration
	c      note.Checkpoint
	cosigs []note.Cosignature
}

// verifyHead verifies a head and that its times are not in the future. A head that is final by an earlier configuration
// counts up to the trees that the change handed over, for those are all that can have been final by it.
func (s *Store) verifyHead(r *replica, h Head) (verifiedHead, error) {
	cfg, c, cosigs, err := s.finalBy(h.Origin, h.Checkpoint)
	if err != nil {
		return verifiedHead{}, err
	}
	if cfg != s.cfg && c.Tree.N > r.bound() {
		return verifiedHead{}, fmt.Errorf("%w: size %d is final by version %d, of which less was handed over", note.ErrSignature, c.Tree.N, cfg.Version)
	}
	limit := s.now().Add(ClockAllowance)
	for _, cosig := range cosigs {
		if cosig.Time.After(limit) {
			return verifiedHead{}, ErrFuture
		}
	}
	return verifiedHead{cfg, c, cosigs}, nil
}

// bound is the largest tree that can be final by an earlier configuration.
func (r *replica) bound() int64 {
	n := r.fence.Size
	for _, pin := range r.pins {
		n = max(n, pin.N)
	}
	return n
}

// reach compares a verified head with the entries here and makes it final. Call with r.write held and the entries stored.
func (s *Store) reach(r *replica, head verifiedHead) (behind bool, err error) {
	c := head.c
	verdict, err := r.settle(c)
	switch {
	case err != nil:
		return false, s.stopping(err)
	case verdict == core.Agree:
	case c.Tree.N > r.verified.N: // staged entries were wrong and are dropped
		if c.Tree.N > r.wanted.c.Tree.N {
			r.wanted = head
		}
		return true, nil
	default:
		s.contradicted(r, c)
		return false, fmt.Errorf("%w: root at size %d", ErrInconsistent, c.Tree.N)
	}
	if r == s.own || c.Tree.N < r.final.N || head.cfg.Version < r.version || s.halts(r, c.Tree) {
		return false, nil // the owner gathers its own heads; an older one tells nothing new
	}
	return false, s.finish(r, c, head.cosigs, head.cfg)
}

// reachWanted makes the wanted head final if its entries have arrived. Call with r.write held.
func (s *Store) reachWanted(r *replica) error {
	if r.wanted.c.Tree.N == 0 || r.files.Size() < r.wanted.c.Tree.N {
		return nil
	}
	behind, err := s.reach(r, r.wanted)
	switch {
	case err == nil && behind:
		return ErrEntries
	case err == nil, errors.Is(err, ErrInconsistent):
		r.wanted = verifiedHead{}
	}
	return err // what may pass leaves it wanted
}

// AddEntries stores entries pulled from a peer towards a final head that AddHead said is behind. Entries beyond that head
// are left out. Errors: ErrGap if they do not continue what is stored or no head is awaited, ErrEntries if, complete, they
// do not hash to the head's root (what was pulled is dropped: ask another peer), core.ErrBounds, ErrStopped.
func (s *Store) AddEntries(origin string, e Entries) error {
	if err := s.addEntries(origin, e); err != nil {
		return fmt.Errorf("taking entries of %q: %w", origin, err)
	}
	return nil
}

func (s *Store) addEntries(origin string, e Entries) error {
	r, err := s.replica(origin)
	if err != nil {
		return err
	}
	if err := checkEntries(e.Entries); err != nil {
		return err
	}
	r.write.Lock()
	defer r.write.Unlock()
	if err := s.Failure(); err != nil {
		return err
	}
	if err := s.arrived(r); err != nil {
		return err
	}
	target := int64(s.target(r))
	if target == 0 || e.From > uint64(r.files.Size()) {
		return fmt.Errorf("%w: stored %d, wanted %d, given from %d", ErrGap, r.files.Size(), target, e.From)
	}
	entries := e.Entries
	if room := uint64(target) - min(e.From, uint64(target)); uint64(len(entries)) > room {
		entries = entries[:room]
	}
	plan, err := r.state().Pull(target, e.From, len(entries))
	if err != nil {
		return err
	}
	if err := r.stage(entries[plan.Skip:plan.Skip+plan.Take], tlog.Tree{}); err != nil {
		return s.stopping(err)
	}
	return s.stopping(s.arrived(r))
}

// arrived makes final what was waiting for entries that are here now. Call with r.write held.
func (s *Store) arrived(r *replica) error {
	if r.fence.Origin != "" {
		return s.reachFence(r)
	}
	if err := s.reachWanted(r); err != nil {
		return err
	}
	return s.reachEnd(r)
}

// reachEnd verifies the entries of a log up to where a proposal would fence it, by the checkpoint that its owner signed there.
// Call with r.write held.
func (s *Store) reachEnd(r *replica) error {
	end := r.end
	if end.Tree.N <= r.verified.N || r.files.Size() < end.Tree.N {
		return nil
	}
	verdict, err := r.settle(end)
	if err == nil && verdict != core.Agree {
		err = ErrEntries
	}
	return err
}
