package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// ErrFenced says that a configuration ended this log: there is nothing to add to it.
var ErrFenced = errors.New("log is fenced by the network configuration")

// openFenced opens a log that the configuration ended. All of it is here, up to the root that the configuration names, or
// none of it is served and it is fetched again: what this member held may be another history than the one that stands.
func (s *Store) openFenced(r *replica, f network.Fence) error {
	end := f.Tree()
	r.fence = f
	var err error
	r.files, err = s.openAt(r, end)
	if errors.Is(err, ErrCorrupt) && end.N > 0 && !unreadable(err) {
		s.log.Warn("fenced log is fetched again", "origin", r.origin, "error", err)
		var empty tlog.Hash
		if empty, err = tlog.TreeHash(0, nil); err != nil {
			return err
		}
		r.final, r.head, r.version = tlog.Tree{Hash: empty}, Head{}, 0
		r.files, err = s.openAt(r, tlog.Tree{Hash: empty})
	}
	if err != nil {
		return err
	}
	if r.verified.N == end.N {
		r.final = end
	}
	return nil
}

// unreadable says that files are there and cannot be read, perhaps only now: no reason to throw them away.
func unreadable(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path) && !errors.Is(err, fs.ErrNotExist)
}

// openAt opens the tiles at one tree and takes the facts of its entries.
func (s *Store) openAt(r *replica, tree tlog.Tree) (*tiles.Log, error) {
	r.facts = s.newFacts(r.origin)
	files, err := tiles.Open(s.disk, s.logDir(r.origin), tree.N, func(_ uint64, raw []byte) error {
		r.facts.Add(decode(raw))
		return nil
	})
	if err != nil {
		return nil, err
	}
	have, err := files.Tree(tree.N)
	if err != nil {
		return nil, err
	}
	if have.Hash != tree.Hash {
		return nil, fmt.Errorf("%w: root at size %d differs from the one that counts", ErrCorrupt, tree.N)
	}
	r.verified = tree
	return files, files.Repair()
}

// reachFence makes a fenced log whole once its entries have arrived. Call with r.write held.
func (s *Store) reachFence(r *replica) error {
	end := r.fence.Tree()
	if r.verified.N == end.N || r.files.Size() < end.N {
		return nil
	}
	have, err := r.files.Tree(end.N)
	if err != nil {
		return err
	}
	if have.Hash != end.Hash {
		return errors.Join(fmt.Errorf("%w: of a fenced log", ErrEntries), r.files.Rollback(0))
	}
	if err := r.verify(note.Checkpoint{Tree: end}); err != nil {
		return err
	}
	r.mu.Lock()
	r.final = end
	r.mu.Unlock()
	return s.reindex(r)
}

// End returns the largest tree of a log, with its owner's signature, that this member holds or was told that somebody holds: what
// a fence must keep so that no mirror that cosigned more refuses its vote. Once the log's owner has stopped, all members come to the
// same one within two comparisons of theirs with one another. Its entries are fetched from now on; until all of them are here, Size
// is less, and a fence there would be a guess: whoever told of it may be lying.
//
// Errors: ErrOrigin, ErrFenced (it has its end), ErrHalted (there are two histories; people decide which one counts).
func (s *Store) End(origin string) (tlog.Tree, error) {
	r, err := s.replica(origin)
	switch {
	case err != nil:
	case r.fence.Origin != "":
		err = ErrFenced
	case s.Halted(origin):
		err = ErrHalted
	}
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("finding the end of %q: %w", origin, err)
	}
	r.write.Lock()
	defer r.write.Unlock()
	end := r.verified
	for _, c := range append([]note.Checkpoint{r.wanted.c}, r.told...) {
		if c.Tree.N > end.N {
			end, r.end = c.Tree, c
		}
	}
	if end.N > r.verified.N {
		s.wake()
	}
	return end, nil
}

// A Want is a log with entries to pull, and up to which size.
type Want struct {
	Origin string
	Size   uint64
}

// Wants lists the logs whose entries should be pulled from any member: heads were heard of that are ahead of what is here,
// or checkpoints where a proposal would fence a log, or the log is fenced and incomplete. Pull from Stored on.
func (s *Store) Wants() []Want {
	if s.Failure() != nil {
		return nil
	}
	var out []Want
	for _, origin := range s.order {
		r := s.replicas[origin]
		r.write.Lock()
		if err := s.arrived(r); err != nil { // what arrived could not be read back before
			s.log.Warn("entries that arrived are not taken", "origin", r.origin, "error", err)
		}
		size := s.target(r)
		if int64(size) > r.files.Size() {
			out = append(out, Want{origin, size})
		}
		r.write.Unlock()
	}
	return out
}

// noteFences notes where the proposals that are known would fence logs. Mirrors fetch what they lack up to there, though it was
// never final and the log's owner, who brought it only to some of them, is gone: no mirror votes for what it does not hold.
func (s *Store) noteFences() {
	known := s.Succession()
	ends := make(map[string][]tlog.Tree)
	for _, p := range []*network.Proposal{known.Proposal, known.Rival} {
		if p == nil {
			continue
		}
		next, err := p.Verify(s.cfg)
		if err != nil {
			continue
		}
		for _, f := range next.Fences {
			if _, old := s.cfg.Fence(f.Origin); !old {
				ends[f.Origin] = append(ends[f.Origin], f.Tree())
			}
		}
	}
	s.mu.Lock()
	s.ends = ends
	s.mu.Unlock()
}

// wouldEnd says whether a proposal that is known would fence a log at the tree of this checkpoint.
func (s *Store) wouldEnd(c note.Checkpoint) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.Tree.N > 0 && slices.Contains(s.ends[c.Origin], c.Tree)
}

// target is how far this log should be pulled, 0 if nothing is awaited. Call with write held.
func (s *Store) target(r *replica) uint64 {
	if r.fence.Origin == "" {
		if i := slices.IndexFunc(r.told, func(c note.Checkpoint) bool { return c.Tree.N > r.verified.N && s.wouldEnd(c) }); i >= 0 {
			r.end = r.told[i]
		}
		if r.end.Tree.N > r.verified.N {
			return max(uint64(r.wanted.c.Tree.N), uint64(r.end.Tree.N))
		}
		return uint64(r.wanted.c.Tree.N)
	}
	if r.verified.N == r.fence.Size {
		return 0
	}
	return uint64(r.fence.Size)
}
