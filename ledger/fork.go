package ledger

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// ErrHalted says that a log's owner signed two histories. Nothing more of it is cosigned or becomes final until a
// configuration fences it.
var ErrHalted = errors.New("log is halted, since its owner signed two histories")

// contradicted deals with a checkpoint that contradicts the tree here: if both together prove a fork, the evidence is
// kept and the log halts; if not, the checkpoint is remembered and told to others, who may hold its entries. Call with
// r.write held.
func (s *Store) contradicted(r *replica, c note.Checkpoint) {
	r.mu.Lock()
	mine := r.signed
	if r.head.Size > 0 && mine.Tree.N <= r.final.N {
		if head, err := note.Parse(r.head.Checkpoint); err == nil {
			mine = head // with the cosignatures
		}
	}
	if c.Tree.N > r.suspect.Tree.N {
		r.suspect = c
	}
	r.mu.Unlock()
	if mine.Tree.N == 0 || c.Tree.N > mine.Tree.N {
		s.wake()
		return
	}
	e, err := evidence.New(noteOf(c), noteOf(mine), r.files)
	if err == nil {
		_, err = s.keepEvidence(e)
	}
	if err != nil {
		s.log.Error("evidence of a fork not kept", "origin", r.origin, "error", err)
	}
}

// noteOf writes a parsed note again, with all its signatures.
func noteOf(c note.Checkpoint) []byte {
	data := c.Text + "\n"
	for _, sig := range c.Sigs {
		data += sig.Line()
	}
	return []byte(data)
}

// AddEvidence takes evidence of a fork from another member or from a file: it verifies it, keeps it durably and halts the
// log. fresh says that nothing of the kind was known.
func (s *Store) AddEvidence(data []byte) (fresh bool, err error) {
	e, err := evidence.Parse(data)
	if err == nil {
		fresh, err = s.keepEvidence(e)
	}
	if err != nil {
		return false, fmt.Errorf("taking evidence: %w", err)
	}
	return fresh, nil
}

// kept is evidence that is on the disk.
type kept struct {
	data  []byte
	found evidence.Finding
}

func (s *Store) keepEvidence(e evidence.Evidence) (bool, error) {
	found, err := e.Verify(s.keys()...)
	if err != nil {
		return false, err
	}
	s.evidenceMu.Lock()
	defer s.evidenceMu.Unlock()
	if err := s.Failure(); errors.Is(err, ErrClosed) {
		return false, err
	}
	if s.covered(found) {
		return false, nil
	}
	data := e.Encode()
	if err := s.disk.Write(tiles.File{Path: s.disk.Path("evidence", found.ID()+".txt"), Data: data}); err != nil {
		return false, s.stopping(err)
	}
	s.halt(kept{data, found})
	s.log.Error("owner signed two histories", "origin", found.Origin, "member", found.Owner)
	s.wake()
	return true, nil
}

// covered says whether evidence adds nothing to what is kept, or there is no room for more. For the first of each log there is: it
// halts the log.
func (s *Store) covered(found evidence.Finding) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.evidence {
		if k.found.Covers(found) {
			return true
		}
	}
	return len(s.evidence) >= maxEvidence && s.halted[found.Origin]
}

// halt remembers evidence that is on the disk.
func (s *Store) halt(k kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evidence[k.found.ID()] = k
	s.halted[k.found.Origin] = true
}

// keys are the configurations that evidence may have been signed under, newest first.
func (s *Store) keys() []evidence.Keys {
	all := s.chain.Versions()
	out := make([]evidence.Keys, len(all))
	for i, c := range all {
		out[len(all)-1-i] = c
	}
	return out
}

// loadEvidence reads what is kept. A file that does not verify is reported and left; one that cannot be read is an error.
func (s *Store) loadEvidence() error {
	names, err := s.disk.List(s.disk.Path("evidence"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		data, err := s.disk.Read(s.disk.Path("evidence", name), evidence.MaxSize)
		if err != nil {
			return err
		}
		e, err := evidence.Parse(data)
		if err == nil {
			var found evidence.Finding
			if found, err = e.Verify(s.keys()...); err == nil {
				s.halt(kept{data, found})
			}
		}
		if err != nil {
			s.log.Warn("evidence file not used", "name", name, "error", err)
		}
	}
	return nil
}

// Evidence returns all evidence of forks that is kept, as files.
func (s *Store) Evidence() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, len(s.evidence))
	for id := range s.evidence {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	out := make([][]byte, len(ids))
	for i, id := range ids {
		out[i] = s.evidence[id].data
	}
	return out
}

// Halted says whether nothing more of a log becomes final, because its owner signed two histories.
func (s *Store) Halted(origin string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, fenced := s.cfg.Fence(origin)
	return s.halted[origin] && !fenced
}

var (
	_ evidence.Keys   = (*network.Configuration)(nil)
	_ tlog.HashReader = (*tiles.Log)(nil)
)
