package prover

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
)

// keyDir is a copy of the test keys' folder that a test may damage.
func keyDir(t *testing.T) (dir string, c *keyCache) {
	t.Helper()
	from := filepath.Join(testDir, testKeys().metadata.CircuitID)
	dir = t.TempDir()
	c = &keyCache{filepath.Join(dir, testKeys().metadata.CircuitID)}
	if err := os.CopyFS(c.dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func TestLoadReadsWhatItWrote(t *testing.T) {
	first := testKeys()
	var stages []string
	again, err := Load(context.Background(), testDir, func(s string) { stages = append(stages, s) })
	if err != nil {
		t.Fatal(err)
	}
	if again.metadata != first.metadata || !bytes.Equal(again.VerifyingKey(), first.VerifyingKey()) {
		t.Errorf("%+v, then %+v", first.metadata, again.metadata)
	}
	if !slices.Equal(stages, []string{"compiling the statement", "reading the keys"}) {
		t.Error(stages)
	}
	e := example()
	proof, err := again.Prove(e.pub, e.sec)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.verifier.Verify(e.pub, proof[:]); err != nil {
		t.Error(err)
	}
}

// edit changes a file of the folder.
func edit(name string, change func([]byte) []byte) func(*testing.T, *keyCache) {
	return func(t *testing.T, c *keyCache) {
		data, err := os.ReadFile(c.path(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(c.path(name), change(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func flip(at int) func([]byte) []byte {
	return func(d []byte) []byte { d[at] ^= 1; return d }
}

func swap(old, new string) func([]byte) []byte {
	return func(d []byte) []byte { return bytes.Replace(d, []byte(old), []byte(new), 1) }
}

func remove(name string) func(*testing.T, *keyCache) {
	return func(t *testing.T, c *keyCache) {
		if err := os.Remove(c.path(name)); err != nil {
			t.Fatal(err)
		}
	}
}

// damages are what may happen to a key folder.
var damages = map[string]func(*testing.T, *keyCache){
	"a bit of the proving key":   edit(provingKeyFile, flip(100000)),
	"a bit of the verifying key": edit(verifyingKeyFile, flip(1000)),
	"proving key cut":            edit(provingKeyFile, func(d []byte) []byte { return d[:len(d)-1] }),
	"proving key grown":          edit(provingKeyFile, func(d []byte) []byte { return append(d, 0) }),
	"verifying key grown":        edit(verifyingKeyFile, func(d []byte) []byte { return append(d, 0) }),
	"proving key empty":          edit(provingKeyFile, func([]byte) []byte { return nil }),
	"no proving key":             remove(provingKeyFile),
	"no verifying key":           remove(verifyingKeyFile),
	"metadata empty":             edit(metadataFile, func([]byte) []byte { return nil }),
	"metadata cut":               edit(metadataFile, func(d []byte) []byte { return d[:len(d)/2] }),
	"metadata with more":         edit(metadataFile, swap("{", `{"x":1,`)),
	"another circuit":            edit(metadataFile, swap(`"circuit_id": "`, `"circuit_id": "0`)),
	"another kind":               edit(metadataFile, swap(KindDevelopment, "ceremony")),
	"a transcript":               edit(metadataFile, swap(`"kind"`, `"transcript": "00", "kind"`)),
	"another count":              edit(metadataFile, swap(`"constraints": 1`, `"constraints": 2`)),
	"another hash":               edit(metadataFile, swap(`"proving_key_sha256": "`, `"proving_key_sha256": "0`)),
}

func TestLoadRefusesDamagedKeys(t *testing.T) {
	for name, damage := range damages {
		dir, c := keyDir(t)
		damage(t, c)
		_, err := Load(context.Background(), dir, nil)
		if !errors.Is(err, ErrKeys) || !strings.Contains(err.Error(), "delete the folder "+c.dir) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A crash before the metadata is written leaves files that mean nothing: the next start makes new keys over them.
func TestLoadAfterACrashedWrite(t *testing.T) {
	for name, leave := range map[string][]string{
		"nothing": nil, "a temporary file": {"proving.key.123.tmp"}, "the proving key": {provingKeyFile},
		"both keys": {provingKeyFile, verifyingKeyFile},
	} {
		dir := t.TempDir()
		c := &keyCache{filepath.Join(dir, testKeys().metadata.CircuitID)}
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, file := range leave {
			if err := os.WriteFile(c.path(file), []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		k := *testKeys() // written over what is left, as Load does after generating
		if found, err := c.exists(); found || err != nil {
			t.Fatalf("%s: %v %v", name, found, err)
		}
		if err := c.write(&k); err != nil {
			t.Fatal(err)
		}
		if left, err := filepath.Glob(c.path("*.tmp")); err != nil || len(left) != 0 {
			t.Errorf("%s: %v is left, %v", name, left, err)
		}
		again, err := Load(context.Background(), dir, nil)
		if err != nil || again.metadata != k.metadata {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The first to come generates, the others wait and read the same keys.
func TestDevelopAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	keys := make([]*Keys, 3)
	var mu sync.Mutex
	generated := 0
	for i := range keys {
		wg.Go(func() {
			k, err := Develop(context.Background(), dir, func(stage string) {
				if stage == "generating development keys" {
					mu.Lock()
					generated++
					mu.Unlock()
				}
			})
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = k
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if generated != 1 || keys[0].metadata != keys[1].metadata || keys[1].metadata != keys[2].metadata {
		t.Fatalf("generated %d times: %+v %+v %+v", generated, keys[0].metadata, keys[1].metadata, keys[2].metadata)
	}
}

func TestLoadStopsWaitingWithItsContext(t *testing.T) {
	dir, c := keyDir(t)
	unlock, err := c.lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Load(ctx, dir, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	unlock()
	if _, err := Load(context.Background(), dir, nil); err != nil {
		t.Error(err)
	}
	if _, err := Develop(ctx, t.TempDir(), nil); !errors.Is(err, context.Canceled) {
		t.Error("keys are generated for nobody")
	}
}

func TestLoadMakesNoKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	_, err := Load(context.Background(), dir, nil)
	if !errors.Is(err, ErrNoKeys) || !strings.Contains(err.Error(), "grille ceremony verify") ||
		!strings.Contains(err.Error(), "grille keys prepare "+dir) {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a folder was made", err)
	}
}

// Keys of a ceremony come back from their folder with their kind and their transcript, in place of those that were there.
func TestStoreKeysOfACeremony(t *testing.T) {
	made, err := compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	var pk groth16.ProvingKey
	var vk groth16.VerifyingKey
	if err := groth16.Setup(made.system, &pk, &vk); err != nil {
		t.Fatal(err)
	}
	transcript := strings.Repeat("5a", 32)
	for name, refused := range map[string]func() (*Keys, error){
		"development":   func() (*Keys, error) { return NewKeys(made.system, KindDevelopment, transcript, &pk, &vk) },
		"no kind":       func() (*Keys, error) { return NewKeys(made.system, "", transcript, &pk, &vk) },
		"no transcript": func() (*Keys, error) { return NewKeys(made.system, KindDemo, "", &pk, &vk) },
	} {
		if _, err := refused(); err == nil {
			t.Error(name, "is taken")
		}
	}
	k, err := NewKeys(made.system, KindCeremony, transcript, &pk, &vk)
	if err != nil {
		t.Fatal(err)
	}
	dir, c := keyDir(t) // holds development keys
	if err := k.Store(context.Background(), dir); err != nil {
		t.Fatal(err)
	}
	again, err := Load(context.Background(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.metadata != k.metadata || again.metadata.Kind != KindCeremony || again.metadata.Transcript != transcript ||
		!bytes.Equal(again.encoded, k.encoded) {
		t.Errorf("%+v, stored %+v", again.metadata, k.metadata)
	}
	e := example()
	proof, err := again.Prove(e.pub, e.sec)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.verifier.Verify(e.pub, proof[:]); err != nil {
		t.Error(err)
	}
	edit(metadataFile, swap(`"transcript": "`+transcript+`",`, ""))(t, c)
	if _, err := Load(context.Background(), dir, nil); !errors.Is(err, ErrKeys) {
		t.Error("no transcript:", err)
	}
}
