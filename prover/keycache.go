package prover

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
)

// The files of a key folder. Metadata is written last and names the hashes of the others, so a folder without it holds nothing: a
// crash before that leaves files that the next start writes anew.
const (
	metadataFile     = "metadata.json"
	provingKeyFile   = "proving.key"
	verifyingKeyFile = "verifying.key"
	lockFile         = "lock"
)

// maxProvingKey bounds what is read from disk before its hash is known; a key has about 6 MB.
const maxProvingKey = 64 << 20

// lockInterval is how often a process that waits for another asks again.
const lockInterval = 50 * time.Millisecond

// keyCache is one key folder.
type keyCache struct{ dir string }

func (c *keyCache) path(name string) string { return filepath.Join(c.dir, name) }

// lock takes the folder for this process; the lock ends with unlock or with the process.
func (c *keyCache) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.OpenFile(c.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the key folder's lock: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking the key folder: %w", err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(lockInterval):
		}
	}
}

// exists says whether the folder has keys.
func (c *keyCache) exists() (bool, error) {
	_, err := os.Stat(c.path(metadataFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for keys: %w", err)
	}
	return true, nil
}

// read sets the keys from the folder. Every file is compared with its pinned hash before it is parsed.
func (c *keyCache) read(k *Keys) error {
	raw, err := c.readFile(metadataFile, 1<<16)
	if err != nil {
		return err
	}
	var m Metadata
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return c.damaged("%s is malformed: %v", metadataFile, err)
	}
	if m.CircuitID != k.metadata.CircuitID || m.Constraints != k.metadata.Constraints ||
		m.PublicInputs != k.metadata.PublicInputs {
		return c.damaged("%s is for another circuit", metadataFile)
	}
	vk, err := c.readPinned(verifyingKeyFile, int64(verifyingKeySize(m.PublicInputs)), m.VerifyingKeySHA256)
	if err != nil {
		return err
	}
	pk, err := c.readPinned(provingKeyFile, maxProvingKey, m.ProvingKeySHA256)
	if err != nil {
		return err
	}
	if err := k.setVerifyingKey(vk); err != nil {
		return c.damaged("%v", err)
	}
	if k.verifier.CircuitID() != m.CircuitID || k.verifier.Kind() != m.Kind {
		return c.damaged("%s is of another circuit or kind than %s says", verifyingKeyFile, metadataFile)
	}
	k.proving = new(groth16.ProvingKey)
	if _, err := k.proving.UnsafeReadFrom(bytes.NewReader(pk)); err != nil { // safe: it is what this module wrote, by hash
		return c.damaged("reading %s: %v", provingKeyFile, err)
	}
	k.metadata = m
	return nil
}

func (c *keyCache) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s; delete the folder %s to generate new ones", ErrKeys, fmt.Sprintf(format, args...), c.dir)
}

func (c *keyCache) readPinned(name string, limit int64, pin string) ([]byte, error) {
	data, err := c.readFile(name, limit)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != pin {
		return nil, c.damaged("%s is not the file that %s pins", name, metadataFile)
	}
	return data, nil
}

// readFile reads a file of at most limit bytes; a missing or longer one is ErrKeys.
func (c *keyCache) readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(c.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, c.damaged("%s is missing", name)
	}
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, c.damaged("%s is longer than %d bytes", name, limit)
	}
	return data, nil
}

// write stores generated keys, the metadata last, in a folder that is itself on disk, and clears what a crashed write left.
func (c *keyCache) write(k *Keys) error {
	if err := c.clear(); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(c.dir)); err != nil {
		return err
	}
	var pk bytes.Buffer
	if _, err := k.proving.WriteRawTo(&pk); err != nil {
		return fmt.Errorf("encoding the proving key: %w", err)
	}
	sum := sha256.Sum256(pk.Bytes())
	k.metadata.ProvingKeySHA256 = hex.EncodeToString(sum[:])
	m, err := json.MarshalIndent(k.metadata, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the key metadata: %w", err)
	}
	if err := c.writeFile(provingKeyFile, pk.Bytes()); err != nil {
		return err
	}
	if err := c.writeFile(verifyingKeyFile, k.encoded); err != nil {
		return err
	}
	return c.writeFile(metadataFile, append(m, '\n'))
}

// clear removes temporary files; the lock says that nobody is writing them.
func (c *keyCache) clear() error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("clearing the key folder: %w", err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".tmp" {
			continue
		}
		if err := os.Remove(c.path(e.Name())); err != nil {
			return fmt.Errorf("clearing the key folder: %w", err)
		}
	}
	return nil
}

// writeFile replaces a file so that a crash leaves the old or the new one: write aside, fsync, rename, fsync the folder.
func (c *keyCache) writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(c.dir, name+".*.tmp")
	if err != nil {
		return fmt.Errorf("writing keys: %w", err)
	}
	defer os.Remove(f.Name()) // fails once renamed, which is fine
	if _, err := f.Write(data); err != nil {
		return errors.Join(fmt.Errorf("writing keys: %w", err), f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("writing keys: %w", err), f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing keys: %w", err)
	}
	if err := os.Rename(f.Name(), c.path(name)); err != nil {
		return fmt.Errorf("writing keys: %w", err)
	}
	return syncDir(c.dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing the key folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the key folder: %w", err)
	}
	return nil
}
