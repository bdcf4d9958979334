package ledger

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/note"
)

// ErrStarting says that nothing is signed yet, since too few members were heard from after the start. Try again.
var ErrStarting = errors.New("too few members were heard from since the start")

// Hear takes what another member tells of the logs: its final heads, and its Standing. Once a quorum of mirrors was heard,
// this member counting if it is one, Heard is closed and signing begins: an owner whose log is behind what the others hold
// refuses to sign (ErrRolledBack), and a mirror signs no tree smaller than one that somebody holds with its owner's
// signature. It is a tripwire for folders restored from a copy, not a proof.
//
// Anything that does not verify is left out and reported in the error; the member counts as heard nevertheless, for what
// it told is no worse than silence about those logs.
func (s *Store) Hear(member string, heads []Head, standing [][]byte) error {
	m, ok := s.cfg.Member(member)
	if !ok || member == s.member {
		return fmt.Errorf("hearing %q: not another member", member)
	}
	if len(heads) > len(s.order) || len(standing) > maxStanding(len(s.order)) {
		return fmt.Errorf("hearing %s: %w: %d heads and %d checkpoints of %d logs", member, ErrMessage, len(heads), len(standing), len(s.order))
	}
	var errs []error
	for _, h := range heads {
		if _, err := s.addHead(h); err != nil {
			errs = append(errs, fmt.Errorf("head of %q: %w", h.Origin, err))
		}
	}
	if err := s.AddStanding(member, standing); err != nil {
		errs = append(errs, err)
	}
	if err := s.Failure(); err != nil {
		return fmt.Errorf("hearing %s: %w", member, errors.Join(append(errs, err)...))
	}
	if m.Mirror && s.count(member) {
		errs = append(errs, s.resumeSuccession())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("hearing %s: %w", member, err)
	}
	return nil
}

// AddStanding takes what another member's Standing told, without counting the member as heard: its heads may not be here. What
// does not verify is left out and reported.
func (s *Store) AddStanding(member string, standing [][]byte) error {
	if len(standing) > maxStanding(len(s.order)) {
		return fmt.Errorf("%w: %d checkpoints of %d logs", ErrMessage, len(standing), len(s.order))
	}
	var errs []error
	for _, data := range standing {
		errs = append(errs, s.stand(member, data))
	}
	return errors.Join(errs...)
}

// maxStanding bounds the checkpoints that a member tells: of each log the one it holds and one that contradicts it.
func maxStanding(logs int) int { return 2 * logs }

// count notes that a mirror was heard, and reports whether signing begins with it.
func (s *Store) count(member string) (begins bool) {
	s.mu.Lock()
	s.told[member] = true
	if begins = !s.started && s.quorumHeard(); begins {
		s.started = true
		close(s.heard)
	}
	s.mu.Unlock()
	s.wake()
	return begins
}

// quorumHeard says whether enough mirrors were heard. Call with mu held.
func (s *Store) quorumHeard() bool {
	n := len(s.told)
	if me, ok := s.cfg.Member(s.member); ok && me.Mirror {
		n++
	}
	return n >= s.quorum
}

// Heard is closed once a quorum of mirrors was heard and signing may begin.
func (s *Store) Heard() <-chan struct{} { return s.heard }

// maySign returns ErrStarting before a quorum was heard, and why the store stopped if it did.
func (s *Store) maySign() error {
	if err := s.Failure(); err != nil {
		return err
	}
	select {
	case <-s.heard:
		return nil
	default:
		return ErrStarting
	}
}

// stand takes a checkpoint that its owner signed and somebody holds. An owner's own word sets no floor: it may have signed more
// than it is bringing to a quorum now, and a mirror that waited for that would never cosign this.
func (s *Store) stand(member string, data []byte) error {
	c, err := note.Parse(data)
	if err != nil {
		return err
	}
	r, err := s.replica(c.Origin)
	if err != nil {
		return err
	}
	if c, err = note.VerifyOwner(s.cfg, c.Origin, data); err != nil {
		return fmt.Errorf("checkpoint of %q: %w", r.origin, err)
	}
	r.write.Lock()
	defer r.write.Unlock()
	if c.Tree.N <= r.verified.N {
		return s.compareRoot(r, c)
	}
	if r == s.own {
		return s.stopping(fmt.Errorf("%w: others hold size %d, here are %d", ErrRolledBack, c.Tree.N, r.verified.N))
	}
	r.told = slices.DeleteFunc(r.told, func(t note.Checkpoint) bool { return t.Tree.N <= r.verified.N || t.Tree == c.Tree })
	r.told = append(r.told[max(0, len(r.told)-maxTold+1):], c)
	if c.Tree.N > r.floor.Tree.N && r.owner != member {
		r.floor = c
	}
	return nil
}

// compareRoot compares a checkpoint with the tree here, which is at least as large. Call with r.write held.
func (s *Store) compareRoot(r *replica, c note.Checkpoint) error {
	have, err := r.files.Tree(c.Tree.N)
	if err != nil {
		return err
	}
	if have.Hash == c.Tree.Hash {
		return nil
	}
	s.contradicted(r, c)
	err = fmt.Errorf("%w: %q has two roots of size %d", ErrInconsistent, r.origin, c.Tree.N)
	if r == s.own { // this key signed what is not here
		return s.stopping(fmt.Errorf("%w: %w", ErrRolledBack, err))
	}
	return err
}

// above refuses a tree that this member must not cosign because somebody holds a larger one, or one that it does not
// contain. Call with r.write held and the tree's entries verified.
func (s *Store) above(r *replica, tree tlog.Tree) error {
	for _, bound := range r.bounds {
		if err := r.contains(tree, bound); err != nil {
			if data, ok := s.pinned(r.origin, bound); ok && errors.Is(err, ErrInconsistent) {
				if c, perr := note.Parse(data); perr == nil {
					s.contradicted(r, c)
				}
			}
			return err
		}
	}
	for _, held := range []note.Checkpoint{r.wanted.c, r.floor} {
		if held.Tree.N == 0 {
			continue
		}
		if err := r.contains(tree, held.Tree); err != nil {
			if errors.Is(err, ErrInconsistent) {
				s.contradicted(r, held)
			}
			return err
		}
	}
	return nil
}

// underHead refuses a pushed tree that does not contain a final head that was told of, before any of it counts as verified
// here: the entries of the head could not be fetched any more. Call with r.write held and the tree's entries stored.
func (s *Store) underHead(r *replica, c note.Checkpoint) error {
	head := r.wanted.c
	if head.Tree.N <= r.verified.N {
		return nil
	}
	if c.Tree.N >= head.Tree.N {
		have, err := r.files.Tree(c.Tree.N)
		if err != nil || have != c.Tree {
			return err // the entries are not its owner's: settle finds out
		}
	}
	err := r.contains(c.Tree, head.Tree)
	if !errors.Is(err, ErrInconsistent) {
		return err
	}
	e, eerr := evidence.New(noteOf(c), noteOf(head), r.files)
	if eerr == nil {
		_, eerr = s.keepEvidence(e)
	}
	if eerr != nil {
		s.log.Error("evidence of a fork not kept", "origin", r.origin, "error", eerr)
	}
	r.pushed = tlog.Tree{}
	return errors.Join(err, r.files.Rollback(r.verified.N))
}

// rise forgets what a tree contains that was found to be above it and is cosigned now: all later ones contain it too. Call
// with r.write held.
func (r *replica) rise() { r.bounds, r.floor = nil, note.Checkpoint{} }

// contains refuses a tree that does not contain another. Call with the tree's entries verified.
func (r *replica) contains(tree, part tlog.Tree) error {
	if tree.N < part.N {
		return fmt.Errorf("%w: size %d, others hold %d", core.ErrStale, tree.N, part.N)
	}
	have, err := r.files.Tree(part.N)
	if err == nil && have.Hash != part.Hash {
		err = fmt.Errorf("%w: another root at size %d is held elsewhere", ErrInconsistent, part.N)
	}
	return err
}

// Standing returns, of each log, the signed checkpoint of the largest tree here where that is beyond the final head, and
// one that contradicts what is here but proves nothing by what is here. Give it to the other members. Of the own log it is
// the one being brought to a quorum, which no mirror is asked beyond: told of a larger one, mirrors would refuse it as old.
func (s *Store) Standing() [][]byte {
	s.sendMu.Lock()
	pushed := s.notes[s.sending.Target().N]
	s.sendMu.Unlock()
	var out [][]byte
	for _, origin := range s.order {
		r := s.replicas[origin]
		r.mu.RLock()
		signed := r.signed
		if r == s.own {
			signed = pushed
		}
		if signed.Tree.N > r.final.N {
			out = append(out, note.Assemble(signed, nil))
		}
		if r.suspect.Tree.N > 0 {
			out = append(out, note.Assemble(r.suspect, nil))
		}
		r.mu.RUnlock()
	}
	return out
}
