package prover

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/grille-gateway/grille/prover/internal/folder"
)

// The files of a key folder. Metadata is written last and names the hashes of the others, so a folder without it holds nothing: a
// crash before that leaves files that the next start writes anew.
const (
	metadataFile     = "metadata.json"
	provingKeyFile   = "proving.key"
	verifyingKeyFile = "verifying.key"
)

// maxProvingKey bounds what is read from disk before its hash is known; a key has about 6 MB.
const maxProvingKey = 64 << 20

const maxMetadata = 1 << 16

// keyCache is one key folder.
type keyCache struct{ dir string }

func (c *keyCache) folder() folder.Folder { return folder.Folder(c.dir) }

func (c *keyCache) path(name string) string { return c.folder().Path(name) }

// lock takes the folder for this process; the lock ends with unlock or with the process.
func (c *keyCache) lock(ctx context.Context) (unlock func(), err error) { return c.folder().Lock(ctx) }

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
	raw, err := c.readFile(metadataFile, maxMetadata)
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
	if (m.Kind == KindDevelopment) != (m.Transcript == "") {
		return c.damaged("%s names a transcript for development keys, or none for others", metadataFile)
	}
	k.proving = new(groth16.ProvingKey)
	if _, err := k.proving.UnsafeReadFrom(bytes.NewReader(pk)); err != nil { // safe: it is what this module wrote, by hash
		return c.damaged("reading %s: %v", provingKeyFile, err)
	}
	k.metadata = m
	return nil
}

func (c *keyCache) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s; delete the folder %s and get the keys anew", ErrKeys, fmt.Sprintf(format, args...), c.dir)
}

func (c *keyCache) readPinned(name string, limit int64, pin string) ([]byte, error) {
	data, err := c.readFile(name, limit)
	if err != nil {
		return nil, err
	}
	if digest(data) != pin {
		return nil, c.damaged("%s is not the file that %s pins", name, metadataFile)
	}
	return data, nil
}

// readFile reads a file of at most limit bytes; a missing or longer one is ErrKeys.
func (c *keyCache) readFile(name string, limit int64) ([]byte, error) {
	data, err := c.folder().Read(name, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, c.damaged("%s is missing", name)
	}
	if errors.Is(err, folder.ErrTooLong) {
		return nil, c.damaged("%s is longer than %d bytes", name, limit)
	}
	return data, err
}

// write stores keys.
func (c *keyCache) write(k *Keys) error {
	pk, err := encodeProvingKey(k.proving)
	if err != nil {
		return err
	}
	k.metadata.ProvingKeySHA256 = digest(pk)
	return c.writeFiles(k.metadata, k.encoded, pk)
}

// writeFiles stores encoded keys, the metadata last, in a folder that is itself on disk, and clears what a crashed write left.
func (c *keyCache) writeFiles(metadata Metadata, vk, pk []byte) error {
	if err := c.folder().Clear(); err != nil {
		return err
	}
	if err := folder.Folder(filepath.Dir(c.dir)).Sync(); err != nil {
		return err
	}
	m, err := json.MarshalIndent(metadata, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the key metadata: %w", err)
	}
	if err := c.folder().Write(provingKeyFile, pk); err != nil {
		return err
	}
	if err := c.folder().Write(verifyingKeyFile, vk); err != nil {
		return err
	}
	return c.folder().Write(metadataFile, append(m, '\n'))
}
