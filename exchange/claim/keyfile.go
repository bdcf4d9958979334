package claim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
)

// A scope's key lies sealed in a file of its own, named for its commitment, from before the scope.open is appended until after
// the scope.close. Whoever has it, and the vault's key, can tell for any person whether they have claimed; when both it and what
// memory holds are destroyed, nobody can. (A file system that copies on write, or a backup, keeps what was overwritten: the
// file belongs in no backup, and the sealing key guards what is left.)
const (
	keyPrefix  = "scope-"
	keySuffix  = ".key"
	keyPurpose = "scope-key"
)

// newKey draws a key that is not 0 and keeps it. Order: the file is durable, then its commitment may be shown to others.
func (r *Register) newKey() (commitment string, err error) {
	var key fr.Element
	for key.IsZero() {
		if _, err := key.SetRandom(); err != nil {
			return "", fmt.Errorf("drawing a scope's key: %w", err)
		}
	}
	commitment = bundle.FormatElement(circuits.ScopeKeyCommitment(key))
	raw := key.Bytes()
	defer clear(raw[:])
	sealed, err := r.opts.Seal.Seal(keyPurpose, r.keyData(commitment), raw[:])
	if err != nil {
		return "", err
	}
	if err := replaceFile(r.keyPath(commitment), sealed); err != nil {
		return "", fmt.Errorf("keeping a scope's key: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[commitment] = &key
	return commitment, nil
}

// keyData binds a sealed key to the register and the commitment that the ledger shows.
func (r *Register) keyData(commitment string) []byte {
	return []byte(r.opts.Origin + "\n" + commitment)
}

func (r *Register) keyPath(commitment string) string {
	return filepath.Join(r.opts.Dir, keyPrefix+commitment+keySuffix)
}

// loadKeys reads the keys of open scopes. Others are destroyed: those of scopes that were closed, and those whose scope.open did not
// reach the log.
func (r *Register) loadKeys() error {
	open := map[string]bool{}
	for _, s := range r.all().Scopes() {
		open[s.Open.KeyCommitment] = !s.Closed
	}
	files, err := os.ReadDir(r.opts.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		commitment, ok := strings.CutPrefix(strings.TrimSuffix(f.Name(), keySuffix), keyPrefix)
		if !ok || !strings.HasSuffix(f.Name(), keySuffix) {
			continue
		}
		if !open[commitment] {
			err = destroyFile(filepath.Join(r.opts.Dir, f.Name()))
		} else {
			err = r.loadKey(commitment)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Register) loadKey(commitment string) error {
	sealed, err := os.ReadFile(r.keyPath(commitment))
	if err != nil {
		return err
	}
	raw, err := r.opts.Seal.Open(keyPurpose, r.keyData(commitment), sealed)
	if err != nil {
		return fmt.Errorf("reading a scope's key: %w", err)
	}
	defer clear(raw)
	key := new(fr.Element)
	if len(raw) != fr.Bytes || key.SetBytesCanonical(raw) != nil || bundle.FormatElement(circuits.ScopeKeyCommitment(*key)) != commitment {
		return fmt.Errorf("reading a scope's key: it is not the one that the ledger names: %w", ErrKey)
	}
	r.keys[commitment] = key
	return nil
}

// destroyKey overwrites the key on disk and in memory.
func (r *Register) destroyKey(commitment string) error {
	r.mu.Lock()
	if key := r.keys[commitment]; key != nil {
		key.SetZero()
		delete(r.keys, commitment)
	}
	r.mu.Unlock()
	if !entry.Element(commitment) {
		return nil
	}
	if err := destroyFile(r.keyPath(commitment)); err != nil {
		return fmt.Errorf("destroying a scope's key: %w", err)
	}
	return nil
}

// ErrKey means that a scope's key is not here: the register was moved without its folder, or the scope closed. No claim can be made
// in that scope any more; close it and open one of another period.
var ErrKey = errors.New("the scope's key is not here")
