package signer

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

var (
	// ErrOldSize says that a proof does not begin at the tree that the witness cosigned last. Prove from there.
	ErrOldSize = errors.New("not the size that was cosigned last")
	// ErrTwoRoots says that a log has another root than the one cosigned at the same size: it forked.
	ErrTwoRoots = fmt.Errorf("%w: two roots of one size", ErrInconsistent)
)

// A Witness cosigns the checkpoints of one log for strangers (C2SP tlog-witness): it stores no entries and promises only
// that it never signed two trees that contradict each other. Its key is not the mirror's, whose cosignatures promise more.
type Witness struct {
	*keeper
	name string
	key  ed25519.PrivateKey
}

// LoadWitness reads a witness's state for one log from path. name is the name of its cosignature key.
func LoadWitness(disk *tiles.Disk, path, origin, name string, key ed25519.PrivateKey) (*Witness, error) {
	k, err := load(disk, path, "witness", origin)
	if err != nil {
		return nil, err
	}
	return &Witness{k, name, key}, nil
}

// Cosign returns the cosignature line for a checkpoint whose owner's signature was verified. old is the size that proof
// begins at, and must be that of the tree cosigned last, 0 for none; proof is empty if it is 0 or the checkpoint's own
// size. size is the last tree's from here on, whatever the error. Times are as Mirror.Cosign has them.
//
// Errors: ErrOldSize, ErrTwoRoots, ErrInconsistent (the proof does not verify), ErrClock, tiles.ErrDurability.
func (w *Witness) Cosign(c note.Checkpoint, old int64, proof []tlog.Hash, now time.Time, slack time.Duration) (line string, size int64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last := w.state.Tree
	switch {
	case c.Origin != w.origin:
		return "", last.N, fmt.Errorf("witness: %w: of another log", note.ErrNote)
	case old != last.N:
		return "", last.N, fmt.Errorf("witness: %w: %d, not %d", ErrOldSize, last.N, old)
	case c.Tree.N == last.N && c.Tree.Hash != last.Hash:
		return "", last.N, fmt.Errorf("witness: %w", ErrTwoRoots)
	case len(proof) > 0 && (old == 0 || c.Tree.N == old):
		return "", last.N, fmt.Errorf("witness: %w: a proof of what needs none", ErrInconsistent)
	}
	at, err := w.clock(now, slack)
	if err != nil {
		return "", last.N, err
	}
	next := State{Tree: c.Tree, Time: at, Note: note.Assemble(c, nil)}
	if err := w.grow(next, func(tlog.Tree) (tlog.TreeProof, error) { return proof, nil }); err != nil {
		return "", w.state.Tree.N, err
	}
	line, err = note.Cosign(c.Text, w.name, w.key, at)
	return line, c.Tree.N, err
}

// clock returns the time of the next cosignature. Call with mu held.
func (k *keeper) clock(now time.Time, slack time.Duration) (time.Time, error) {
	at := now.UTC().Truncate(time.Second)
	if last := k.state.Time; at.Before(last) {
		if last.Sub(at) > slack {
			return time.Time{}, fmt.Errorf("%s: %w", k.role, ErrClock)
		}
		at = last
	}
	return at, nil
}

// Last returns the checkpoint cosigned last with the owner's signature and this one, or nil before the first. It signs
// nothing new: the same tree and time give the same bytes.
func (w *Witness) Last() ([]byte, error) { return w.last(w.name, w.key) }

// Last is the same for a mirror.
func (m *Mirror) Last() ([]byte, error) { return m.last(m.name, m.key) }

func (k *keeper) last(name string, key ed25519.PrivateKey) ([]byte, error) {
	s := k.State()
	if len(s.Note) == 0 {
		return nil, nil
	}
	line, err := note.Cosign(note.Text(k.origin, s.Tree), name, key, s.Time)
	if err != nil {
		return nil, err
	}
	return append(s.Note[:len(s.Note):len(s.Note)], line...), nil
}
