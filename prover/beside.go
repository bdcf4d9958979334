package prover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// othersFolder is where, in a key folder, there are key folders of further ceremonies for the same circuits.
const othersFolder = "others"

// KeyFolder returns the key folder, for Load and ReadVerification, that has the keys of a circuit (id, hex) from the ceremony with that
// transcript (SHA-256, hex; "" of development keys): dir itself, or dir/others/<transcript> if dir has keys of another ceremony. It is dir
// where there are none. A transcript tells ceremonies apart, not a verifying key: somebody may sign another's contributions again, and
// gets the same key.
func KeyFolder(dir, circuit, transcript string) string {
	for _, of := range []string{dir, besides(dir, transcript)} {
		c := &keyCache{dir: filepath.Join(of, circuit)}
		if has, err := c.transcript(); err == nil && has == transcript {
			return of
		}
	}
	return dir
}

// KeyFolders returns dir and the key folders in it of further ceremonies.
func KeyFolders(dir string) ([]string, error) {
	found, err := os.ReadDir(filepath.Join(dir, othersFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for keys: %w", err)
	}
	out := []string{dir}
	for _, e := range found {
		if digestForm.MatchString(e.Name()) {
			out = append(out, besides(dir, e.Name()))
		}
	}
	return out, nil
}

// besides is the key folder of a ceremony that is not dir itself.
func besides(dir, transcript string) string {
	if !digestForm.MatchString(transcript) {
		return dir
	}
	return filepath.Join(dir, othersFolder, transcript)
}

// StoreBeside is Store for keys of a ceremony that the network need not name: if dir has keys of another one, or development keys, they
// stay, since they may be those in force, and these go to dir/others/<transcript>. It returns the key folder, for WriteVerification. The
// error is ErrVerifyingKey for development keys, the context's, or the disk's.
func (k *Keys) StoreBeside(ctx context.Context, dir string) (string, error) {
	if k.metadata.Transcript == "" {
		return "", fmt.Errorf("storing keys: %w: they are of no ceremony", ErrVerifyingKey)
	}
	return k.beside(ctx, dir, func(c *keyCache) error { return c.write(k) })
}

// beside calls write with the folder of the circuit where the keys of k's transcript belong; nobody else writes it meanwhile.
func (k *Keys) beside(ctx context.Context, dir string, write func(*keyCache) error) (string, error) {
	c, unlock, err := k.open(ctx, dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	has, err := c.transcript()
	if errors.Is(err, fs.ErrNotExist) || err == nil && has == k.metadata.Transcript {
		return dir, write(c)
	}
	// Other keys, or damaged ones: those are for people to delete.
	of := besides(dir, k.metadata.Transcript)
	other, unlockOther, err := k.open(ctx, of)
	if err != nil {
		return "", err
	}
	defer unlockOther()
	for _, parent := range []string{filepath.Dir(of), dir} { // names above the circuit's folder, durable before anything is in it
		if err := (&keyCache{dir: parent}).folder().Sync(); err != nil {
			return "", err
		}
	}
	return of, write(other)
}

// transcript is what the folder's metadata says; the error is fs.ErrNotExist for a folder without keys.
func (c *keyCache) transcript() (string, error) {
	raw, err := c.folder().Read(metadataFile, maxMetadata)
	if err != nil {
		return "", err
	}
	var m Metadata
	if err := json.Unmarshal(raw, &m); err != nil {
		return "", c.damaged("%s is malformed: %v", metadataFile, err)
	}
	return m.Transcript, nil
}
