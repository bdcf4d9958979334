package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
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
	owner  string        // member's name
	head0  string        // path of the final head's file
	fence  network.Fence // where a configuration ended this log; zero for one that goes on
	pins   []tlog.Tree   // trees that a cosigned one must contain, from the chain of configurations; ascending
	before tlog.Tree     // the largest that any of this member's mirror keys had cosigned when the store was opened
	files  *tiles.Log
	facts  *view.Log      // of the first verified.N entries
	mirror *signer.Mirror // nil if this member is no mirror

	write  sync.Mutex        // held by whoever changes files, and while a push or a head is dealt with
	pushed tlog.Tree         // the checkpoint that all staged entries came with; zero if they came otherwise. Under write.
	wanted verifiedHead      // the largest final head heard of whose entries are missing. Under write.
	bounds []tlog.Tree       // those of pins that no cosigned tree is known to contain yet. Under write.
	floor  note.Checkpoint   // the largest checkpoint that somebody holds and that is not here. Under write.
	told   []note.Checkpoint // what somebody holds and is not here: the last few. Under write.
	end    note.Checkpoint   // one of them where a proposal would fence this log. Under write.

	mu       sync.RWMutex // guards what follows; taken last
	verified tlog.Tree
	final    tlog.Tree
	head     Head
	cosigs   map[string]note.Cosignature // of head, by mirror
	version  int                         // of the configuration that head is final by
	signed   note.Checkpoint             // owner's, of the largest tree that came with one
	suspect  note.Checkpoint             // owner's, contradicts what is here
}

func (s *Store) logDir(origin string) string { return s.disk.Path("logs", escape(origin)) }

// loadReplica opens one log at the largest size that a signer state or the final head vouches for.
func (s *Store) loadReplica(o Options, me network.Member, origin string) (*replica, error) {
	_, owner, _ := s.cfg.LogKey(origin) // origins come from the configuration
	r := &replica{origin: origin, owner: owner, head0: s.disk.Path("logs", escape(origin), "checkpoint"), facts: s.newFacts(origin),
		pins: s.chain.Pins(origin)}
	r.bounds = r.pins
	if err := s.readHead(r); err != nil {
		return nil, err
	}
	if fence, ok := s.cfg.Fence(origin); ok {
		return r, s.openFenced(r, fence)
	}
	known, err := s.signedBefore(r)
	if err != nil {
		return nil, err
	}
	for _, tree := range known {
		if tree.N > r.before.N {
			r.before = tree
		}
	}
	known = append(known, r.final)
	if r.signed.Tree.N > 0 {
		known = append(known, r.signed.Tree)
	}
	if me.Mirror {
		mirror, err := s.loadMirror(o, me, origin)
		if err != nil {
			return nil, err
		}
		r.mirror = mirror
		known = append(known, mirror.State().Tree)
		s.resume(r, mirror.State().Note)
	}
	if owner == me.Name {
		if err := s.loadOwner(o, origin, known); err != nil {
			return nil, err
		}
		known = append(known, s.owner.State().Tree)
	}
	if err := s.openFiles(r, known); err != nil {
		return nil, err
	}
	if owner == me.Name {
		return r, s.ownPins(r)
	}
	return r, nil
}

// newFacts returns the facts of a log, empty, under the approval rules that the chain of configurations gives it.
func (s *Store) newFacts(origin string) *view.Log {
	rules := s.chain.Rules(origin)
	return view.NewApprovedLog(func(i uint64, e entry.Entry) bool { return network.CheckApprovals(rules, origin, i, e) == nil })
}

// signedBefore returns what any of this member's mirror keys cosigned of a log, those among them that it no longer signs
// with: the entries below are on this disk for others to rely on.
func (s *Store) signedBefore(r *replica) ([]tlog.Tree, error) {
	names, err := s.disk.List(s.disk.Path("signer"))
	if err != nil {
		return nil, err
	}
	var out []tlog.Tree
	for _, name := range names {
		if name != "mirror" && !strings.HasPrefix(name, "mirror-") {
			continue
		}
		data, err := s.disk.Read(s.disk.Path("signer", name, escape(r.origin)+".json"), signer.MaxState)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rec, err := signer.ParseState(data)
		if err != nil {
			return nil, fmt.Errorf("reading what %s cosigned: %w", name, err)
		}
		out = append(out, rec.State.Tree)
		s.resume(r, rec.State.Note)
	}
	return out, nil
}

// resume takes up the checkpoint that this mirror cosigned last.
func (s *Store) resume(r *replica, data []byte) {
	if c, err := note.VerifyOwner(s.cfg, r.origin, data); err == nil && c.Tree.N > r.signed.Tree.N {
		r.signed = c
	}
}

// ownPins refuses an own log that lacks what was handed over of it, for its owner signed that.
func (s *Store) ownPins(r *replica) error {
	for _, pin := range r.pins {
		if pin.N > r.verified.N {
			return fmt.Errorf("%w: size %d was handed over, here are %d", ErrRolledBack, pin.N, r.verified.N)
		}
		have, err := r.files.Tree(pin.N)
		if err != nil {
			return err
		}
		if have != pin {
			return fmt.Errorf("%w: another root of size %d was handed over", ErrRolledBack, pin.N)
		}
	}
	return nil
}

// loadMirror reads the state of this member's mirror key for one log.
func (s *Store) loadMirror(o Options, me network.Member, origin string) (*signer.Mirror, error) {
	name := me.MirrorName()
	path := s.disk.Path("signer", "mirror"+generation(name), escape(origin)+".json")
	fresh, err := s.newMirror(me, origin)
	if err == nil {
		err = s.firstState(path, "mirror", origin, fresh)
	}
	if err != nil {
		return nil, err
	}
	return signer.LoadMirror(s.disk, path, origin, name, o.MirrorKey)
}

// generation is what a file of a key's later generation is called by: empty for the first.
func generation(name string) string {
	if g := name[strings.LastIndex(name, "/")+1:]; g != "1" {
		return "-" + g
	}
	return ""
}

// newMirror says whether this member's mirror key has never signed for a log: no version before the one in force had both,
// and by this one its states were not all created yet. Of a configuration that was pinned out of band nothing before it is
// known: there a key of a later generation is new if no states of its were ever created.
func (s *Store) newMirror(me network.Member, origin string) (bool, error) {
	versions := s.chain.Versions()
	if len(versions) == 1 {
		if generation(me.MirrorName()) == "" {
			return false, nil
		}
		names, err := s.disk.List(filepath.Dir(s.createdPath(me)))
		return !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, created) }), err
	}
	for _, v := range slices.Backward(versions[:len(versions)-1]) {
		was, ok := v.Member(me.Name)
		if !ok || !was.Mirror || was.MirrorKey != me.MirrorKey {
			continue
		}
		if _, ok := v.Owner(origin); ok {
			return false, nil
		}
	}
	known, err := s.disk.Exists(s.createdPath(me))
	return !known, err
}

// created begins the name of a file that says that all states of a mirror key are there.
const created = "created"

func (s *Store) createdPath(me network.Member) string {
	return s.disk.Path("signer", "mirror"+generation(me.MirrorName()), fmt.Sprintf("%s-%d", created, s.cfg.Version))
}

// mirrorCreated notes that all states of a mirror key are there by this version, so that one that is missing later was lost.
func (s *Store) mirrorCreated(me network.Member) error {
	if !me.Mirror {
		return nil
	}
	path := s.createdPath(me)
	known, err := s.disk.Exists(path)
	if err != nil || known {
		return err
	}
	return s.disk.Write(tiles.File{Path: path, Data: []byte(me.MirrorKey + "\n")})
}

// loadOwner reads the owner's state and compares it with what else this folder knows of the own log.
func (s *Store) loadOwner(o Options, origin string, known []tlog.Tree) error {
	path := s.disk.Path("signer", "owner"+generation(origin)+".json")
	if err := s.firstState(path, "owner", origin, false); err != nil {
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

// firstState creates a signer state where there can be none yet: the log has no files, or the key is new. Where it has, a
// missing state is an error, for a key without a state could sign a second history.
func (s *Store) firstState(path, role, origin string, newKey bool) error {
	ok, err := signer.Exists(s.disk, path)
	if ok || err != nil {
		return err
	}
	begun, err := s.disk.Exists(s.disk.Path("logs", escape(origin), "tile"))
	if err != nil {
		return err
	}
	if begun && !newKey {
		next := "a new key of the log, whose next generation it begins"
		if role == "mirror" {
			next = "a new key of the mirror"
		}
		return fmt.Errorf("%w: of %s, but the log has entries; a key without its state could sign twice: take %s", signer.ErrState, role, next)
	}
	return signer.Create(s.disk, path, role, origin)
}

// readHead reads the final head from its file. It may be final by an earlier configuration.
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
	cfg, c, cosigs, err := s.finalBy(r.origin, data)
	if err != nil && s.chain.Pinned().Version > 1 {
		return s.readOldHead(r, data)
	}
	if err != nil {
		return fmt.Errorf("reading final head: %w: not signed as the configuration demands", errors.Join(ErrCorrupt, err))
	}
	r.setHead(c, cosigs, cfg, s.now())
	return nil
}

// readOldHead takes a head that is final by a version before the one that was pinned here, out of band, whose mirrors are not
// known any more: its entries are kept, and it is to become final again.
func (s *Store) readOldHead(r *replica, data []byte) error {
	if _, fenced := s.cfg.Fence(r.origin); fenced {
		return nil // the configuration says what counts
	}
	c, err := note.VerifyOwner(s.cfg, r.origin, data)
	if err != nil {
		return fmt.Errorf("reading final head: %w: not its owner's", errors.Join(ErrCorrupt, err))
	}
	s.log.Warn("head is not final by the configurations that are known", "origin", r.origin, "size", c.Tree.N)
	r.signed = c
	return nil
}

// finalBy returns the newest configuration by which a head is final.
func (s *Store) finalBy(origin string, head []byte) (*network.Configuration, note.Checkpoint, []note.Cosignature, error) {
	var first error
	versions := s.chain.Versions()
	for i := len(versions) - 1; i >= 0; i-- {
		cfg := versions[i]
		c, cosigs, err := note.Cosignatures(cfg, origin, head)
		if err == nil && len(cosigs) < cfg.Quorum() {
			err = fmt.Errorf("%w: %d mirrors cosigned, the quorum is %d", note.ErrSignature, len(cosigs), cfg.Quorum())
		}
		if err == nil {
			return cfg, c, cosigs, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, note.Checkpoint{}, nil, first
}

// decodeAtOnce is how many entries are decoded together while a log is opened: enough to keep all processors busy.
const decodeAtOnce = 2048

// openFiles opens the tiles at the largest known tree and checks that they hash to every known one.
func (s *Store) openFiles(r *replica, known []tlog.Tree) error {
	r.verified = slices.MaxFunc(known, func(a, b tlog.Tree) int { return int(a.N - b.N) })
	var waiting [][]byte
	bytes := 0
	take := func() {
		for _, e := range entry.DecodeAll(waiting) {
			r.facts.Add(e)
		}
		waiting, bytes = waiting[:0], 0
	}
	files, err := tiles.Open(s.disk, s.logDir(r.origin), r.verified.N, func(_ uint64, raw []byte) error {
		waiting, bytes = append(waiting, raw), bytes+len(raw)
		if len(waiting) >= decodeAtOnce || bytes >= MaxPushBytes {
			take()
		}
		return nil
	})
	if err != nil {
		return err
	}
	take()
	r.files = files
	same := func(t tlog.Tree) error {
		have, err := files.Tree(t.N)
		if err == nil && have.Hash != t.Hash {
			err = fmt.Errorf("%w: root at size %d differs from the signed one", ErrCorrupt, t.N)
		}
		return err
	}
	if err := same(r.verified); err != nil {
		return err
	}
	if err := files.Repair(); err != nil {
		return err
	}
	for _, t := range known {
		if err := same(t); err != nil {
			return err
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
func (r *replica) settle(c note.Checkpoint) (core.Verdict, error) {
	have, err := r.files.Tree(c.Tree.N)
	if err != nil {
		return 0, err
	}
	st := r.state()
	v := st.Settle(c.Tree, have.Hash, r.pushed == c.Tree || st.Stored == st.Verified.N)
	if v == core.Agree {
		return v, r.verify(c)
	}
	if st.Stored > st.Verified.N {
		r.pushed = tlog.Tree{}
		err = r.files.Rollback(st.Verified.N)
	}
	return v, err
}

// verify takes the facts of the entries up to a checkpoint whose root they are known to hash to.
func (r *replica) verify(c note.Checkpoint) error {
	tree := c.Tree
	var fresh []entry.Entry
	for from := r.verified.N; from < tree.N; {
		entries, err := r.files.Entries(from, tree.N, MaxPushBytes)
		if err != nil {
			return err
		}
		for _, raw := range entries {
			fresh = append(fresh, decode(raw))
		}
		from += int64(len(entries))
	}
	for _, e := range fresh { // all or, if one cannot be read, none
		r.facts.Add(e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if tree.N > r.verified.N {
		r.verified = tree
	}
	if tree.N > r.signed.Tree.N && len(c.Sigs) > 0 {
		r.signed = c
	}
	return nil
}

// setHead makes a checkpoint with a quorum of cosignatures the final head, with the newest of them. A log's final tree may be
// ahead of its head, where a fence says so: cosignatures kept are those of the head. Call with mu held, or alone.
func (r *replica) setHead(owner note.Checkpoint, cosigs []note.Cosignature, cfg *network.Configuration, now time.Time) {
	if owner.Tree != r.head.tree() || cfg.Version != r.version {
		r.cosigs = make(map[string]note.Cosignature)
	}
	limit := now.Add(ClockAllowance)
	for _, c := range cosigs {
		core.Keep(r.cosigs, c, limit)
	}
	newest := core.Newest(r.cosigs, cfg.Quorum(), limit)
	times := make([]time.Time, len(newest))
	for i, c := range newest {
		times[i] = c.Time
	}
	slices.SortFunc(times, time.Time.Compare)
	r.final, r.version = owner.Tree, cfg.Version
	r.head = Head{Origin: r.origin, Size: uint64(owner.Tree.N), Root: owner.Tree.Hash,
		Checkpoint: note.Assemble(owner, newest), Times: times}
}

// finish makes a checkpoint with a quorum the final head: durably if the tree is new, in memory if only times are newer.
// A head lost with the process is heard again at the next heartbeat. Call with the lock held that serialises heads of
// this log: sendMu for the own one, write for others.
func (s *Store) finish(r *replica, owner note.Checkpoint, cosigs []note.Cosignature, cfg *network.Configuration) error {
	r.mu.RLock()
	next := replica{origin: r.origin, head: r.head, version: r.version, cosigs: maps.Clone(r.cosigs)}
	grows := owner.Tree.N > r.final.N
	durable := owner.Tree != r.head.tree() || cfg.Version > r.version
	r.mu.RUnlock()
	next.setHead(owner, cosigs, cfg, s.now())
	if durable {
		if err := s.disk.Write(tiles.File{Path: r.head0, Data: next.head.Checkpoint}); err != nil {
			return s.stopping(err)
		}
	}
	r.mu.Lock()
	same := bytes.Equal(r.head.Checkpoint, next.head.Checkpoint)
	r.final, r.head, r.cosigs, r.version = next.final, next.head, next.cosigs, next.version
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
		if at.N > 0 {
			s.log.Warn("log is indexed anew: the index is of another tree", "origin", r.origin, "size", at.N)
		}
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
		if err := s.index.Add(r.origin, r.owner, entries, at); err != nil {
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
