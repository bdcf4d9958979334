package vault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

func openVault(t testing.TB, path string) *Vault {
	t.Helper()
	v, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSealAndOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset.json")
	v := openVault(t, path)
	plaintext := []byte("a record that nobody may read")
	sealed, err := v.Seal("record", []byte("subject 1"), plaintext)
	if err != nil {
		t.Fatal(err)
	}
	if len(sealed) != len(plaintext)+Overhead || bytes.Contains(sealed, plaintext[:8]) {
		t.Fatalf("%d bytes sealed from %d", len(sealed), len(plaintext))
	}
	again, _ := v.Seal("record", []byte("subject 1"), plaintext)
	if bytes.Equal(sealed, again) {
		t.Fatal("sealing is deterministic")
	}
	got, err := openVault(t, path).Open("record", []byte("subject 1"), sealed)
	if err != nil || !bytes.Equal(got, plaintext) {
		t.Fatalf("%q, %v", got, err)
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Fatalf("keyset mode %v", info.Mode())
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Fatalf("%d files beside the keyset", len(entries)-1)
	}
}

func TestRefusesWhatWasNotSealedForThis(t *testing.T) {
	folder := t.TempDir()
	v := openVault(t, filepath.Join(folder, "a"))
	sealed, err := v.Seal("record", []byte("subject 1"), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		purpose, ad string
		want        error
	}{
		"another subject":     {"record", "subject 2", ErrAltered},
		"another purpose":     {"receipt", "subject 1", ErrAltered},
		"no associated data":  {"record", "", ErrAltered},
		"moved boundary":      {"records", "ubject 1", ErrAltered},
		"boundary other way":  {"recor", "dsubject 1", ErrAltered},
		"associated data cut": {"record", "subject ", ErrAltered},
	} {
		if _, err := v.Open(c.purpose, []byte(c.ad), sealed); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := openVault(t, filepath.Join(folder, "b")).Open("record", []byte("subject 1"), sealed); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another vault: %v", err)
	}
	for n := range sealed {
		want := ErrAltered
		if n < Overhead {
			want = ErrTruncated
		}
		if _, err := v.Open("record", []byte("subject 1"), sealed[:n]); !errors.Is(err, want) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 0x40
		want := ErrAltered
		if i < prefixSize {
			want = ErrWrongKey
		}
		if _, err := v.Open("record", []byte("subject 1"), bad); !errors.Is(err, want) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
}

func keysetOf(t *testing.T, template *tinkpb.KeyTemplate) []byte {
	t.Helper()
	h, err := keyset.NewHandle(template)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&buf)); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestRefusesBadKeysets(t *testing.T) {
	good := keysetOf(t, aead.AES256GCMKeyTemplate())
	for name, c := range map[string]struct {
		data []byte
		mode os.FileMode
		want error
	}{
		"empty":             {nil, 0o600, ErrKeyset},
		"not JSON":          {[]byte("key"), 0o600, ErrKeyset},
		"no key":            {[]byte("{}"), 0o600, ErrKeyset},
		"cut":               {good[:len(good)-20], 0o600, ErrKeyset},
		"too large":         {bytes.Repeat([]byte(" "), maxKeyset+1), 0o600, ErrKeyset},
		"128-bit key":       {keysetOf(t, aead.AES128GCMKeyTemplate()), 0o600, ErrKeyset},
		"no key id":         {keysetOf(t, aead.AES256GCMNoPrefixKeyTemplate()), 0o600, ErrKeyset},
		"another algorithm": {keysetOf(t, aead.ChaCha20Poly1305KeyTemplate()), 0o600, ErrKeyset},
		"no primary":        {bytes.Replace(good, []byte(`"primaryKeyId":`), []byte(`"primaryKeyId":1`), 1), 0o600, ErrKeyset},
		"group may read":    {good, 0o640, ErrExposed},
		"others may read":   {good, 0o604, ErrExposed},
	} {
		path := filepath.Join(t.TempDir(), "keyset")
		if err := os.WriteFile(path, c.data, c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if now, _ := os.ReadFile(path); !bytes.Equal(now, c.data) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrKeyset) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "missing", "keyset")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

func TestErrorsHoldNoKey(t *testing.T) {
	good := keysetOf(t, aead.AES256GCMKeyTemplate())
	_, rest, _ := strings.Cut(string(good), `"value":"`)
	secret, _, _ := strings.Cut(rest, `"`)
	if len(secret) < 40 {
		t.Fatal("no key found in the keyset")
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 2
		if _, err := parse(bad); err != nil && strings.Contains(err.Error(), secret[:12]) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
}

func TestCreatedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset")
	vaults := make([]*Vault, 8)
	var wg sync.WaitGroup
	for i := range vaults {
		wg.Go(func() {
			v, err := Open(path)
			if err != nil {
				t.Error(err)
			}
			vaults[i] = v
		})
	}
	wg.Wait()
	sealed, err := vaults[0].Seal("p", nil, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range vaults {
		if _, err := v.Open("p", nil, sealed); err != nil {
			t.Fatalf("vault %d: %v", i, err)
		}
	}
}

// An operator adds a key with Tink's own tool and makes it primary; what the old key sealed stays readable.
func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyset")
	old, err := openVault(t, path).Seal("p", nil, []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(path)
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		t.Fatal(err)
	}
	m := keyset.NewManagerFromHandle(h)
	id, err := m.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SetPrimary(id); err != nil {
		t.Fatal(err)
	}
	if h, err = m.Handle(); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&buf)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	v := openVault(t, path)
	if got, err := v.Open("p", nil, old); err != nil || string(got) != "old" {
		t.Fatalf("%q, %v", got, err)
	}
	fresh, _ := v.Seal("p", nil, []byte("new"))
	if bytes.Equal(fresh[:prefixSize], old[:prefixSize]) {
		t.Fatal("sealed with the old key")
	}
}
