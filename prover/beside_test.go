package prover

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Keys of several ceremonies for one circuit stand beside one another and beside development keys, each set with its note, also where they
// have one verifying key; a ceremony that is verified again, or whose keys are damaged, takes its own place.
func TestKeysOfCeremoniesStandBesideOneAnother(t *testing.T) {
	ctx := context.Background()
	first, second, third := strings.Repeat("5a", 32), strings.Repeat("5b", 32), strings.Repeat("5c", 32)
	developed, _ := keyDir(t)
	of := func(transcript string) *Keys {
		k := *testKeys() // with the bytes of development keys, which are not read
		k.metadata.Transcript = transcript
		return &k
	}
	circuit := testKeys().metadata.CircuitID
	store := func(dir, transcript string) string {
		t.Helper()
		to, err := of(transcript).StoreBeside(ctx, dir)
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	found := func(dir, transcript, want string) {
		t.Helper()
		has, err := (&keyCache{dir: filepath.Join(want, circuit)}).transcript()
		if at := KeyFolder(dir, circuit, transcript); at != want || err != nil || has != transcript {
			t.Errorf("%.4s is in %s, which has %.4s, %v; want %s", transcript, at, has, err, want)
		}
	}
	empty := t.TempDir()
	for dir, want := range map[string]map[string]string{
		empty:     {first: empty, second: filepath.Join(empty, "others", second)},
		developed: {"": developed, first: filepath.Join(developed, "others", first), second: filepath.Join(developed, "others", second)},
	} {
		for _, transcript := range []string{first, second, first, second} {
			if to := store(dir, transcript); to != want[transcript] {
				t.Errorf("stored in %s, want %s", to, want[transcript])
			}
		}
		for transcript, at := range want {
			found(dir, transcript, at)
		}
		if at := KeyFolder(dir, circuit, third); at != dir {
			t.Error("keys that are nowhere:", at)
		}
		if all, err := KeyFolders(dir); err != nil || len(all) != len(want) || all[0] != dir {
			t.Error(all, err)
		}
	}
	if _, err := Load(ctx, developed, nil); err != nil {
		t.Error("the development keys:", err)
	}
	if err := os.WriteFile(filepath.Join(empty, circuit, metadataFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if at := KeyFolder(empty, circuit, first); at != empty {
		t.Error("damaged:", at)
	}
	store(empty, first)
	found(empty, first, filepath.Join(empty, "others", first))
	found(empty, second, filepath.Join(empty, "others", second))
	if _, err := of("").StoreBeside(ctx, empty); !errors.Is(err, ErrVerifyingKey) {
		t.Error("development keys:", err)
	}
	if none, err := KeyFolders(filepath.Join(empty, "none")); err != nil || len(none) != 1 {
		t.Error(none, err)
	}
}

// Two ceremonies that are verified at once take two places.
func TestKeysAreStoredByOneAtATime(t *testing.T) {
	dir, circuit := t.TempDir(), testKeys().metadata.CircuitID
	a, b := strings.Repeat("5a", 32), strings.Repeat("5b", 32)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan error)
	for _, transcript := range []string{a, b} {
		go func() {
			k := *testKeys()
			k.metadata.Transcript = transcript
			_, err := k.StoreBeside(ctx, dir)
			done <- err
		}()
	}
	if err := errors.Join(<-done, <-done); err != nil {
		t.Fatal(err)
	}
	for _, transcript := range []string{a, b} {
		c := &keyCache{dir: filepath.Join(KeyFolder(dir, circuit, transcript), circuit)}
		if has, err := c.transcript(); err != nil || has != transcript {
			t.Errorf("%.4s: %.4s, %v", transcript, has, err)
		}
	}
}
