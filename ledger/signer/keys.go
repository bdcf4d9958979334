package signer

import (
	"crypto/ed25519"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// ErrClock says that the clock is behind the last cosignature by more than its owner allows.
var ErrClock = fmt.Errorf("%w: wait, or set the clock", ErrStale)

// An Owner signs the checkpoints of one log.
type Owner struct {
	*keeper
	key ed25519.PrivateKey
}

// LoadOwner reads the owner's state from path.
func LoadOwner(disk *tiles.Disk, path, origin string, key ed25519.PrivateKey) (*Owner, error) {
	k, err := load(disk, path, "owner", origin)
	if err != nil {
		return nil, err
	}
	return &Owner{k, key}, nil
}

// Sign returns the signed checkpoint of a tree whose entries and tiles are durable. hashes reads that tree.
func (o *Owner) Sign(tree tlog.Tree, hashes tlog.HashReader) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.advance(State{Tree: tree}, hashes); err != nil {
		return nil, err
	}
	return note.Sign(o.origin, tree, o.key)
}

// A Mirror cosigns the checkpoints of one log.
type Mirror struct {
	*keeper
	name string
	key  ed25519.PrivateKey
}

// LoadMirror reads a mirror's state for one log from path. name is the name of its cosignature key.
func LoadMirror(disk *tiles.Disk, path, origin, name string, key ed25519.PrivateKey) (*Mirror, error) {
	k, err := load(disk, path, "mirror", origin)
	if err != nil {
		return nil, err
	}
	return &Mirror{k, name, key}, nil
}

// Cosign returns the cosignature line for a tree whose entries are durable here, and its time. signed is the tree's
// checkpoint with its owner's signature, which the caller verified; it is kept in the state. hashes reads that tree. Times never go back: while the clock is behind the last cosignature by at most slack, that time is used again; beyond
// it the error is ErrClock.
func (m *Mirror) Cosign(tree tlog.Tree, signed []byte, hashes tlog.HashReader, now time.Time, slack time.Duration) (string, time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, err := m.clock(now, slack)
	if err != nil {
		return "", time.Time{}, err
	}
	if err := matches(m.origin, tree, signed); err != nil {
		return "", time.Time{}, fmt.Errorf("mirror: %w", err)
	}
	if err := m.advance(State{Tree: tree, Time: at, Note: signed}, hashes); err != nil {
		return "", time.Time{}, err
	}
	line, err := note.Cosign(note.Text(m.origin, tree), m.name, m.key, at)
	return line, at, err
}
