package ledger

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// Errors of AddOutside and AddPackage, besides those of AddCheckpoint.
var (
	// ErrNotWitness says that there is no witness key here.
	ErrNotWitness = errors.New("this member is no witness")
	// ErrOldSize says that a consistency proof does not begin at the tree that was cosigned last.
	ErrOldSize = signer.ErrOldSize
	// ErrTwoRoots says that a log has two roots of one size, both signed by its owner. It wraps ErrBadProof.
	ErrTwoRoots = signer.ErrTwoRoots
	// ErrBadProof says that a consistency proof does not verify.
	ErrBadProof = signer.ErrInconsistent
)

// WitnessName is the name of the key that a member cosigns with for strangers: INSTANCE/MEMBER/witness/1. It is in no
// configuration, since its cosignatures count to no quorum.
func WitnessName(instance, member string) string { return instance + "/" + member + "/witness/1" }

// WitnessVKey is the verifier key of type 0x04 of that key.
func WitnessVKey(instance, member string, pub ed25519.PublicKey) string {
	return network.MirrorVKey(WitnessName(instance, member), pub)
}

// loadWitness reads the states of the witness key, one for each log that goes on and is not this member's own. They are
// created when the key is new, and for logs without entries: a key without a state could sign a second history.
func (s *Store) loadWitness(o Options) error {
	s.witness = make(map[string]*signer.Witness)
	if o.WitnessKey == nil {
		return nil
	}
	if len(o.WitnessKey) != ed25519.PrivateKeySize || o.WitnessKey.Equal(o.MirrorKey) || o.WitnessKey.Equal(o.LogKey) {
		return errors.New("the witness key is not an Ed25519 key of its own")
	}
	seen := tiles.File{Path: s.disk.Path("signer", "witness", "key"),
		Data: []byte(WitnessVKey(s.cfg.Instance, s.member, o.WitnessKey.Public().(ed25519.PublicKey)) + "\n")}
	old, err := s.disk.Read(seen.Path, signer.MaxState)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	known := string(old) == string(seen.Data)
	for _, origin := range s.cfg.Origins() {
		if s.replicas[origin] == s.own {
			continue
		}
		path := s.disk.Path("signer", "witness", escape(origin)+".json")
		if err := s.firstState(path, "witness", origin, !known); err != nil {
			return fmt.Errorf("log %s: %w (a new witness key needs none: remove keys/witness.key)", origin, err)
		}
		w, err := signer.LoadWitness(s.disk, path, origin, WitnessName(s.cfg.Instance, s.member), o.WitnessKey)
		if err != nil {
			return fmt.Errorf("log %s: %w", origin, err)
		}
		s.witness[origin] = w
	}
	if known {
		return nil
	}
	return s.disk.Write(seen)
}

// AddOutside cosigns a checkpoint with the witness key (C2SP tlog-witness add-checkpoint): its owner signed it, and proof
// shows that it contains the tree of size old, which must be the one cosigned last, 0 for none. No entries are needed and
// none are stored. size is that of the tree cosigned last from here on; it is meaningful beside ErrOldSize and ErrTwoRoots.
//
// Errors: ErrOrigin, ErrNotWitness, note.ErrNote, note.ErrSignature, note.ErrRequest (old beyond the checkpoint),
// ErrOldSize, ErrTwoRoots, ErrBadProof, ErrStarting, ErrHalted, signer.ErrClock, ErrStopped.
func (s *Store) AddOutside(origin string, old int64, proof []tlog.Hash, signed []byte) (cosignature []byte, size int64, err error) {
	cosignature, size, err = s.addOutside(origin, old, proof, signed)
	if err != nil {
		return nil, size, fmt.Errorf("witnessing %q: %w", origin, err)
	}
	return cosignature, size, nil
}

func (s *Store) addOutside(origin string, old int64, proof []tlog.Hash, signed []byte) ([]byte, int64, error) {
	r, err := s.replica(origin)
	if err != nil {
		return nil, 0, err
	}
	w, ok := s.witness[origin]
	switch {
	case ok:
	case r == s.own, r.fence.Origin != "": // nothing to witness
		return nil, 0, ErrOrigin
	default:
		return nil, 0, ErrNotWitness
	}
	c, err := note.VerifyOwner(s.cfg, origin, signed)
	if err != nil {
		return nil, 0, err
	}
	if old > c.Tree.N {
		return nil, 0, fmt.Errorf("%w: old size %d, the checkpoint's is %d", note.ErrRequest, old, c.Tree.N)
	}
	r.write.Lock() // Close waits for it
	defer r.write.Unlock()
	if err := s.compareHere(r, c); err != nil {
		return nil, 0, err
	}
	if err := s.maySign(); err != nil {
		return nil, 0, err
	}
	if s.Halted(origin) {
		return nil, 0, ErrHalted
	}
	last := w.State().Note
	line, size, err := w.Cosign(c, old, proof, s.now(), ClockAllowance)
	if errors.Is(err, ErrTwoRoots) && len(last) > 0 {
		s.accuse(r, c, last)
	}
	return []byte(line), size, s.stopping(err)
}

// compareHere compares a checkpoint that a stranger holds with the entries here, if they reach as far: it may show that
// the owner signed two histories. Call with r.write held.
func (s *Store) compareHere(r *replica, c note.Checkpoint) error {
	if c.Tree.N > r.verified.N {
		return nil
	}
	err := s.compareRoot(r, c)
	if errors.Is(err, ErrInconsistent) {
		err = fmt.Errorf("%w: %w", ErrBadProof, err)
	}
	return err
}

// accuse keeps two signed checkpoints of one size and different roots as evidence.
func (s *Store) accuse(r *replica, c note.Checkpoint, last []byte) {
	e, err := evidence.New(noteOf(c), last, nil)
	if err == nil {
		_, err = s.keepEvidence(e)
	}
	if err != nil && !errors.Is(err, evidence.ErrConsistent) {
		s.log.Error("evidence of a fork not kept", "origin", r.origin, "error", err)
	}
}

// Witnessed returns the checkpoint that the witness key cosigned last for a log, with its owner's signature and that
// cosignature, or nil.
func (s *Store) Witnessed(origin string) ([]byte, error) {
	if w, ok := s.witness[origin]; ok {
		return w.Last()
	}
	return nil, nil
}

// Mirrored returns the checkpoint that the mirror key cosigned last for a log, with its owner's signature and that
// cosignature, or nil. All its entries are here and durable.
func (s *Store) Mirrored(origin string) ([]byte, error) {
	r, err := s.replica(origin)
	if err != nil || r.mirror == nil {
		return nil, nil
	}
	return r.mirror.Last()
}

// Mirrors tells whether this member's mirror key cosigns a log that others bring to it: not its own, and none that is fenced.
func (s *Store) Mirrors(origin string) bool {
	r, err := s.replica(origin)
	return err == nil && r.mirror != nil && r != s.own && r.fence.Origin == ""
}

// Missing returns the first entry of a log that an upload should bring: entries before it are here and, where a package
// of an upload would need them, known to be the owner's.
func (s *Store) Missing(origin string) int64 {
	r, err := s.replica(origin)
	if err != nil {
		return 0
	}
	return max(r.tree().N, r.files.Size()/note.PackageEntries*note.PackageEntries)
}

// AddPackage takes a package of an upload (C2SP tlog-mirror add-entries) towards a checkpoint that its owner signed: the
// proof must show that its entries, after those that are here already, are the checkpoint's. They are stored durably; when
// the checkpoint's tree is complete the mirror key cosigns it, and the reply has the cosignature. A package without
// entries asks for the cosignature alone.
//
// Errors: those of AddCheckpoint; ErrGap if entries before the package are missing here; ErrBadProof.
func (s *Store) AddPackage(origin string, checkpoint []byte, p note.Package) (PushReply, error) {
	r, err := s.replica(origin)
	if err != nil {
		return PushReply{}, fmt.Errorf("uploading to %q: %w", origin, err)
	}
	c, err := note.VerifyOwner(s.cfg, origin, checkpoint)
	if err == nil && len(p.Entries) > 0 {
		err = r.checkPackage(c.Tree, p)
	}
	if err != nil {
		return PushReply{}, fmt.Errorf("uploading to %q: %w", origin, err)
	}
	push := Push{Origin: origin, Checkpoint: note.Assemble(c, nil), From: uint64(p.Start)}
	for rest := p.Entries; ; {
		push.Entries, rest = fitting(rest)
		reply, err := s.AddCheckpoint(push)
		if err != nil || len(rest) == 0 {
			return reply, err
		}
		push.From += uint64(len(push.Entries))
	}
}

// fitting splits entries after as many as one push carries.
func fitting(entries [][]byte) (now, rest [][]byte) {
	total := 0
	for i, e := range entries {
		if total += 2 + len(e); total > MaxPushBytes {
			return entries[:i], entries[i:]
		}
	}
	return entries, nil
}

// checkPackage verifies that a package's entries, after those stored here from its base on, are a part of the tree.
func (r *replica) checkPackage(tree tlog.Tree, p note.Package) error {
	if err := checkPackageBounds(p); err != nil {
		return err
	}
	if p.Start > r.files.Size() {
		return fmt.Errorf("%w: stored %d, given from %d", ErrGap, r.files.Size(), p.Start)
	}
	var indexes []int64
	for i := p.Base(); i < p.Start; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, i))
	}
	leaves, err := r.files.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for _, e := range p.Entries {
		leaves = append(leaves, tlog.RecordHash(e))
	}
	if err := note.CheckSubtree(p.Proof, p.Base(), p.End, rootOf(leaves), tree); err != nil {
		return fmt.Errorf("%w: %w", ErrBadProof, err)
	}
	return nil
}

func checkPackageBounds(p note.Package) error {
	if p.Start < 0 || p.End-p.Start != int64(len(p.Entries)) || p.End > p.Base()+note.PackageEntries {
		return fmt.Errorf("%w: %d entries of [%d, %d)", note.ErrRequest, len(p.Entries), p.Start, p.End)
	}
	return nil
}

// rootOf returns the Merkle tree hash of leaves (RFC 6962, section 2.1); there is at least one.
func rootOf(leaves []tlog.Hash) tlog.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for 2*k < len(leaves) {
		k *= 2
	}
	return tlog.NodeHash(rootOf(leaves[:k]), rootOf(leaves[k:]))
}
