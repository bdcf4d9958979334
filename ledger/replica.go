package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
	"github.com/grille-gateway/grille/ledger/view"
)

// A replica is one log, one's own or another's.
//
//	0 ...... final.N ...... verified.N ...... files.Size()
//	  quorum           owner signed       staged: not known to be the owner's; gone after a restart
type replica struct {
	origin string
	owner  network.Member
	head0  string // path of the final head's file
	files  *tiles.Log
	facts  *view.Log      // of the first verified.N entries
	mirror *signer.Mirror // nil if this member is no mirror

	write  sync.Mutex // held by whoever changes files, and while a push or a head is dealt with
	pushed tlog.Tree  // the checkpoint that all staged entries came with; zero if they came otherwise. Under write.
	wanted Head       // the largest final head heard of whose entries are missing. Under write.

	mu       sync.RWMutex // guards what follows; taken last
	verified tlog.Tree
	final    tlog.Tree
	head     Head
	cosigs   map[string]note.Cosignature // of final, by mirror
}

func (s *Store) logDir(origin string) string { return s.disk.Path("logs", escape(origin)) }

// loadReplica opens one log at the largest size that a signer state or the final head vouches for.
func (s *Store) loadReplica(o Options, me network.Member, origin string) (*replica, error) {
	member, _ := s.cfg.Owner(origin) // origins come from the configuration
	r := &replica{origin: origin, owner: member, head0: s.disk.Path("logs", escape(origin), "checkpoint"), facts: view.NewLog()}
	if err := s.readHead(r); err != nil {
		return nil, err
	}
	known := []tlog.Tree{r.final}
	if me.Mirror {
		path := s.disk.Path("signer", "mirror", escape(origin)+".json")
		if err := s.firstState(path, "mirror", origin); err != nil {
			return nil, err
		}
		var err error
		if r.mirror, err = signer.LoadMirror(s.disk, path, origin, me.MirrorName(), o.MirrorKey); err != nil {
			return nil, err
		}
		known = append(known, r.mirror.State().Tree)
	}
	if member.Name == me.Name {
		if err := s.loadOwner(o, origin, known); err != nil {
			return nil, err
		}
		known = append(known, s.owner.State().Tree)
	}
	return r, s.openFiles(r, known)
}

// loadOwner reads the owner's state and compares it with what else this folder knows of the own log.
func (s *Store) loadOwner(o Options, origin string, known []tlog.Tree) error {
	path := s.disk.Path("signer", "owner.json")
	if err := s.firstState(path, "owner", origin); err != nil {
		return err
	}
	var err error
	if s.owner, err = signer.LoadOwner(s.disk, path, origin, o.LogKey); err != nil {
		return err
	}
	for _, t := range known {
		if size := s.owner.State().Tree.N; t.N > size {
			return fmt.Errorf("%w: size %d was cosigned, the signer state says %d", ErrRolledBack, t.N, size)
		}
	}
	return nil
}

// firstState creates a signer state where there can be none yet: the log has no files. Where it has, a missing state is
// an error, for a key without a state could sign a second history.
func (s *Store) firstState(path, role, origin string) error {
	ok, err := signer.Exists(s.disk, path)
	if ok || err != nil {
		return err
	}
	if some, err := s.disk.Exists(s.disk.Path("logs", escape(origin), "tile")); err != nil {
		return err
	} else if some {
		return fmt.Errorf("%w: of %s, but its log has entries; a restore means new keys and a new generation of the log",
			signer.ErrState, role)
	}
	return signer.Create(s.disk, path, role, origin)
}

// readHead reads the final head from its file.
func (s *Store) readHead(r *replica) error {
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return err
	}
	r.final, r.cosigs = tlog.Tree{Hash: empty}, make(map[string]note.Cosignature)
	data, err := s.disk.Read(r.head0, note.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading final head: %w", err)
	}
	c, cosigs, err := note.Cosignatures(s.cfg, r.origin, data)
	if err != nil || len(cosigs) < s.quorum {
		return fmt.Errorf("reading final head: %w: not signed as the configuration demands", errors.Join(ErrCorrupt, err))
	}
	r.setHead(c, cosigs, s.quorum)
	return nil
}

// openFiles opens the tiles at the largest known tree and checks that they hash to every known one.
func (s *Store) openFiles(r *replica, known []tlog.Tree) error {
	r.verified = slices.MaxFunc(known, func(a, b tlog.Tree) int { return int(a.N - b.N) })
	files, err := tiles.Open(s.disk, s.logDir(r.origin), r.verified.N, func(_ uint64, raw []byte) error {
		r.facts.Add(decode(raw))
		return nil
	})
	if err != nil {
		return err
	}
	r.files = files
	for _, t := range known {
		have, err := files.Tree(t.N)
		if err != nil {
			return err
		}
		if have.Hash != t.Hash {
			return fmt.Errorf("%w: root at size %d differs from the signed one", ErrCorrupt, t.N)
		}
	}
	return nil
}

// decode reads an entry; a malformed one becomes Unknown, which is void.
func decode(raw []byte) entry.Entry {
	e, _ := entry.Decode(raw)
	return e
}

// state is the replica as the core sees it. Call with write held.
func (r *replica) state() core.Replica {
	st := core.Replica{Stored: r.files.Size(), Verified: r.verified}
	if r.mirror != nil {
		st.Signed = r.mirror.State().Tree
	}
	return st
}

// stage stores entries beyond the verified ones; cp is the checkpoint they came with, zero for pulled ones. Call with
// write held.
func (r *replica) stage(entries [][]byte, cp tlog.Tree) error {
	if len(entries) == 0 {
		return nil
	}
	if r.files.Size() == r.verified.N {
		r.pushed = cp
	} else if r.pushed != cp {
		r.pushed = tlog.Tree{}
	}
	_, err := r.files.Append(entries)
	return err
}

// settle compares the stored entries with a signed tree and, if they agree, makes it verified. If not, staged entries
// are dropped. Call with write held.
func (r *replica) settle(cp tlog.Tree) (core.Verdict, error) {
	have, err := r.files.Tree(cp.N)
	if err != nil {
		return 0, err
	}
	st := r.state()
	v := st.Settle(cp, have.Hash, r.pushed == cp || st.Stored == st.Verified.N)
	if v == core.Agree {
		return v, r.verify(cp)
	}
	if st.Stored > st.Verified.N {
		r.pushed = tlog.Tree{}
		err = r.files.Rollback(st.Verified.N)
	}
	return v, err
}

// verify takes the facts of the entries up to a tree that they are known to hash to.
func (r *replica) verify(tree tlog.Tree) error {
	for from := r.verified.N; from < tree.N; {
		entries, err := r.files.Entries(from, tree.N, MaxPushBytes)
		if err != nil {
			return err
		}
		for _, raw := range entries {
			r.facts.Add(decode(raw))
		}
		from += int64(len(entries))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if tree.N > r.verified.N {
		r.verified = tree
	}
	return nil
}

// setHead makes a checkpoint with at least n cosignatures the final head, with the n newest. Call with mu held, or alone.
func (r *replica) setHead(owner note.Checkpoint, cosigs []note.Cosignature, n int) {
	if owner.Tree != r.final {
		r.cosigs = make(map[string]note.Cosignature)
	}
	for _, c := range cosigs {
		if old, ok := r.cosigs[c.Mirror]; !ok || c.Time.After(old.Time) {
			r.cosigs[c.Mirror] = c
		}
	}
	newest := core.Newest(r.cosigs, n)
	times := make([]time.Time, len(newest))
	for i, c := range newest {
		times[i] = c.Time
	}
	slices.SortFunc(times, time.Time.Compare)
	r.final = owner.Tree
	r.head = Head{Origin: r.origin, Size: uint64(owner.Tree.N), Root: owner.Tree.Hash,
		Checkpoint: note.Assemble(owner, newest), Times: times}
}

// finish makes a checkpoint with a quorum the final head: durably if the tree is new, in memory if only times are newer.
// A head lost with the process is heard again at the next heartbeat. Call with the lock held that serialises heads of
// this log: sendMu for the own one, write for others.
func (s *Store) finish(r *replica, owner note.Checkpoint, cosigs []note.Cosignature) error {
	r.mu.RLock()
	next := replica{origin: r.origin, final: r.final, cosigs: maps.Clone(r.cosigs)}
	grows := owner.Tree.N > r.final.N
	r.mu.RUnlock()
	next.setHead(owner, cosigs, s.quorum)
	if grows {
		if err := s.disk.Write(tiles.File{Path: r.head0, Data: next.head.Checkpoint}); err != nil {
			return s.stopping(err)
		}
	}
	r.mu.Lock()
	same := bytes.Equal(r.head.Checkpoint, next.head.Checkpoint)
	r.final, r.head, r.cosigs = next.final, next.head, next.cosigs
	r.mu.Unlock()
	if grows {
		if err := s.reindex(r); err != nil {
			s.log.Error("index is behind", "origin", r.origin, "error", err)
		}
	}
	if !same {
		s.wake()
	}
	return nil
}

// reindex brings the index up to the final head, from the tiles; a log that it has otherwise is indexed anew.
func (s *Store) reindex(r *replica) error {
	r.mu.RLock()
	final := r.final
	r.mu.RUnlock()
	at, ok := s.index.Tree(r.origin)
	if ok && at.N <= final.N {
		have, err := r.files.Tree(at.N)
		if err != nil {
			return err
		}
		ok = have.Hash == at.Hash
	} else {
		ok = false
	}
	if !ok {
		if err := s.index.Drop(r.origin); err != nil {
			return err
		}
		at = tlog.Tree{}
	}
	for at.N < final.N {
		entries, err := r.files.Entries(at.N, final.N, MaxPushBytes)
		if err != nil {
			return err
		}
		if at, err = r.files.Tree(at.N + int64(len(entries))); err != nil {
			return err
		}
		if err := s.index.Add(r.origin, r.owner.Name, entries, at); err != nil {
			return err
		}
	}
	return nil
}

// replica returns the log of that origin.
func (s *Store) replica(origin string) (*replica, error) {
	r, ok := s.replicas[origin]
	if !ok {
		return nil, ErrOrigin
	}
	return r, nil
}
