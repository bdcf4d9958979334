// Package vault seals what must not be read from a stolen disk: records, salts, indexes by subject, personal openings. It is
// AES-256-GCM through Tink.
//
// The keys lie in clear in one file of mode 0600, guarded by the operating system. The file belongs on another disk than the
// data and in another backup, or in none: whoever has both reads everything, and destroying the file erases everything that
// was sealed.
//
// Nonces are 96 random bits, so that one key should seal no more than 2^32 blobs (NIST SP 800-38D section 8.3): a million
// records that all change every day for ten years.
package vault

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

var (
	// ErrKeyset means that the keyset file is not one that this package wrote, or is damaged. Restore it: what was sealed with
	// it cannot be read without it.
	ErrKeyset = errors.New("vault keyset is unusable")
	// ErrExposed means that others than the owner may access the keyset file. Run chmod 600 on it, and consider its keys known.
	ErrExposed = errors.New("vault keyset is accessible to others")
	// ErrTruncated means that a blob is shorter than any sealed one.
	ErrTruncated = errors.New("sealed blob is cut short")
	// ErrWrongKey means that a blob was sealed with a key that is not in the keyset.
	ErrWrongKey = errors.New("sealed with another vault's key")
	// ErrAltered means that a blob is not what was sealed for this purpose and associated data: it was altered or swapped.
	ErrAltered = errors.New("sealed blob was altered or belongs elsewhere")
)

// Overhead is by how many bytes a sealed blob is longer than its plaintext: key id 5, nonce 12, tag 16.
const Overhead = prefixSize + 12 + 16

const (
	prefixSize = 5       // 0x01 and the key's id in 4 bytes: Tink's output prefix
	maxKeyset  = 1 << 16 // bytes of a keyset file; one key takes about 300
)

// A Vault seals and opens blobs. It is safe for concurrent use.
type Vault struct {
	aead tink.AEAD
	ids  map[uint32]bool // keys in the keyset
}

// Open reads the keyset at path. If there is no file, it creates one with a fresh key, durably, unless its folder does not
// exist. A caller that knows of sealed data must check that the vault opens them: a lost keyset is replaced silently here.
// Errors: ErrKeyset, ErrExposed, or the operating system's. No error holds key material.
func Open(path string) (*Vault, error) {
	v, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("opening vault: %w", err)
	}
	return v, nil
}

func open(path string) (*Vault, error) {
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("creating keyset: %w", err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: not a regular file", ErrKeyset)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: mode %04o, want 0600", ErrExposed, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyset+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeyset {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrKeyset, maxKeyset)
	}
	return parse(data)
}

// parse drops the causes that Tink gives: they may quote the file.
func parse(data []byte) (*Vault, error) {
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("%w: not a Tink keyset in JSON", ErrKeyset)
	}
	v := &Vault{ids: make(map[uint32]bool)}
	want := aead.AES256GCMKeyTemplate()
	for _, k := range h.KeysetInfo().GetKeyInfo() {
		if k.GetTypeUrl() != want.GetTypeUrl() || k.GetOutputPrefixType() != want.GetOutputPrefixType() {
			return nil, fmt.Errorf("%w: holds a key of another kind than AES-GCM with a key id", ErrKeyset)
		}
		v.ids[k.GetKeyId()] = true
	}
	for i := range h.Len() {
		e, err := h.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("%w: unreadable key", ErrKeyset)
		}
		p, ok := e.Key().Parameters().(interface{ KeySizeInBytes() int })
		if !ok || p.KeySizeInBytes() != 32 {
			return nil, fmt.Errorf("%w: holds a key of another length than 256 bits", ErrKeyset)
		}
	}
	if v.aead, err = aead.New(h); err != nil {
		return nil, fmt.Errorf("%w: holds no enabled primary key", ErrKeyset)
	}
	return v, nil
}

// create writes a keyset of one fresh key. It never replaces a file: of two processes that create at once, both end up
// reading the one that came first.
func create(path string) error {
	h, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&buf)); err != nil {
		return err
	}
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".keyset-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(buf.Bytes())
	clear(buf.Bytes())
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// bind returns the associated data that Tink sees: label, purpose and ad, each after its length, so that no two pairs of
// purpose and ad share an encoding.
func bind(purpose string, ad []byte) []byte {
	const label = "grille/v1/vault"
	b := make([]byte, 0, len(label)+len(purpose)+len(ad)+12)
	for _, part := range [][]byte{[]byte(label), []byte(purpose), ad} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// Seal encrypts a plaintext and binds it to a purpose (a constant of the calling package) and to associated data that say
// what it is about; Open wants the same two. The blob is Overhead bytes longer than the plaintext.
func (v *Vault) Seal(purpose string, ad, plaintext []byte) ([]byte, error) {
	sealed, err := v.aead.Encrypt(plaintext, bind(purpose, ad))
	if err != nil {
		return nil, fmt.Errorf("sealing %s: %w", purpose, err)
	}
	return sealed, nil
}

// Open decrypts a blob that Seal made with the same purpose and associated data. It returns ErrTruncated, ErrWrongKey or
// ErrAltered otherwise.
func (v *Vault) Open(purpose string, ad, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, fmt.Errorf("opening sealed %s: %w", purpose, ErrTruncated)
	}
	plaintext, err := v.aead.Decrypt(sealed, bind(purpose, ad))
	if err == nil {
		return plaintext, nil
	}
	if sealed[0] != 1 || !v.ids[binary.BigEndian.Uint32(sealed[1:prefixSize])] {
		return nil, fmt.Errorf("opening sealed %s: %w", purpose, ErrWrongKey)
	}
	return nil, fmt.Errorf("opening sealed %s: %w", purpose, ErrAltered)
}
