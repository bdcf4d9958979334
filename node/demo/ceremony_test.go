//go:build unix

package demo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/keyring"
	"github.com/grille-gateway/grille/prover"
)

// developed is the folder of the development keys that the tests use, in place of a ceremony for each.
func developed(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("GRILLE_TEST_KEYS")
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "grille-test-keys")
	}
	if _, err := prover.Develop(t.Context(), dir, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// demoKeys makes keys that say they are from a ceremony, and the note that goes with them.
func demoKeys(t *testing.T, dir string) prover.Verification {
	t.Helper()
	made := developed(t)
	keys, err := prover.Load(t.Context(), made, nil)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(made, keys.Metadata().CircuitID)
	proving, err := os.ReadFile(filepath.Join(folder, "proving.key"))
	if err != nil {
		t.Fatal(err)
	}
	verifying := keys.VerifyingKey()
	copy(verifying[16:32], append([]byte(prover.KindDemo), make([]byte, 16)...)) // where the format has the kind
	v := prover.Verification{Ceremony: digestOf([]byte("ceremony")), Transcript: digestOf([]byte("transcript")), Circuit: keys.Metadata().CircuitID,
		VerifyingKey: digestOf(verifying), ProvingKey: digestOf(proving), Kind: prover.KindDemo, Contributors: 1, Verified: "2026-03-01T00:00:00Z"}
	for phase := range v.Phases {
		v.Phases[phase] = []prover.Contribution{{Member: coordinator, SHA256: digestOf([]byte{byte(phase)})}}
	}
	if err := prover.Adopt(t.Context(), dir, v, verifying, proving); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestCachedKeys looks what the next run finds after one that was interrupted, at each point at which it may have been.
func TestCachedKeys(t *testing.T) {
	dir := t.TempDir()
	find := func() (*prover.Keys, string, error) {
		keys, circuit, err := cachedKeys(t.Context(), dir, func(string) {})
		return keys, circuit.Transcript, err
	}
	none := func(when string) {
		t.Helper()
		if keys, _, err := find(); keys != nil || err != nil {
			t.Errorf("%s: %v, %v", when, keys, err)
		}
	}
	none("nothing was made")
	v := demoKeys(t, dir)
	keys, circuit, err := cachedKeys(t.Context(), dir, func(string) {})
	if err != nil || keys == nil || circuit != keyring.CircuitOf(v) || circuit.Kind != prover.KindDemo || circuit.Contributors != 1 {
		t.Fatalf("%+v, %v", circuit, err)
	}
	of := filepath.Join(dir, v.Circuit)
	note, err := os.ReadFile(filepath.Join(of, "verified.json"))
	if err != nil {
		t.Fatal(err)
	}
	remove(t, filepath.Join(of, "verified.json"))
	none("the keys are there, and not the note")
	other := bytes.ReplaceAll(note, []byte(v.Transcript), []byte(digestOf([]byte("another"))))
	if err := os.WriteFile(filepath.Join(of, "verified.json"), other, 0o600); err != nil {
		t.Fatal(err)
	}
	none("the note is that of another ceremony")
	remove(t, filepath.Join(of, "metadata.json"))
	none("half the keys are there")
	if v = demoKeys(t, dir); v.Circuit == "" { // over what is left
		t.Fatal("no circuit")
	}
	if keys, transcript, err := find(); err != nil || keys == nil || transcript != v.Transcript {
		t.Errorf("made again: %v", err)
	}
	if err := os.Truncate(filepath.Join(of, "proving.key"), 1000); err != nil {
		t.Fatal(err)
	}
	if _, _, err := find(); !errors.Is(err, prover.ErrKeys) || !strings.Contains(err.Error(), "delete the folder") {
		t.Errorf("a damaged key: %v", err)
	}
	dir = developed(t)
	if _, _, err := find(); err == nil || !strings.Contains(err.Error(), "--keys") {
		t.Errorf("development keys: %v", err)
	}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestNetworkComesByItsCircuit takes a running network without a circuit, whose members come by keys of one ceremony, to its second version,
// and asks a question under it.
func TestNetworkComesByItsCircuit(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tell := func(stage string) { t.Log(stage) }
	n, err := Build(Options{Dir: t.TempDir(), Program: path, OwnKeys: true, Beat: 2, Schemes: Schemes, Members: Departments, Progress: tell})
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, n)
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	var v prover.Verification
	for _, node := range n.Nodes {
		v = demoKeys(t, node.Folder.Path(ownKeys))
	}
	if err := n.nameCircuit(ctx, keyring.CircuitOf(v), tell); err != nil {
		t.Fatal(err)
	}
	keys, circuit, err := cachedKeys(ctx, n.Node(coordinator).Folder.Path(ownKeys), tell)
	if err != nil || n.Config.Version != 2 || len(n.Config.Circuits) != 1 || n.Config.Circuits[0] != circuit {
		t.Fatalf("%+v, %v", n.Config.Circuits, err)
	}
	n.opts.VerifyingKey = keys.VerifyingKey()
	if err := n.Furnish(ctx); err != nil {
		t.Fatal(err)
	}
	right := Rights[0]
	a := ask(t, n, right.Requester, right.Holder, 30)
	data, err := n.Node(right.Requester).bundle(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	report, err := documentVerifier(t, n).Verify(data)
	if err != nil || report.KeyKind != prover.KindDemo || report.Circuit != circuit.ID {
		t.Errorf("%+v, %v", report, err)
	}
}

// progress is what a run tells, and calls seen when a line holds a text.
type progress struct {
	mu   sync.Mutex
	text strings.Builder
	on   string
	seen func()
}

func (p *progress) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(string(data), p.on) {
		p.seen()
	}
	return p.text.Write(data)
}

// TestInterruptedFirstRun interrupts the first run while the members contribute. No process and no key is left, and the next run begins anew.
func TestInterruptedFirstRun(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cache, work := t.TempDir(), filepath.Join(t.TempDir(), "work")
	told := &progress{on: "phase 1: " + coordinator + " verifies", seen: cancel}
	err = Play(ctx, Run{Program: path, KeysDir: cache, Dir: work, Once: true, Out: io.Discard, Err: told})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v; it told\n%s", err, told.text.String())
	}
	if !strings.Contains(told.text.String(), "phase 1: GOV/benefits contributes (1 of 4)") {
		t.Errorf("it told\n%s", told.text.String())
	}
	for _, d := range Departments {
		settings, err := config.Load(config.Folder(filepath.Join(work, strings.ToLower(strings.ReplaceAll(d.Name, "/", "-")))))
		if err != nil {
			t.Fatal(err)
		}
		if n := (&Node{API: "http://" + settings.API.Listen}); ready(t.Context(), n.Client()) {
			t.Errorf("the gateway of %s still runs", d.Name)
		}
	}
	if keys, _, err := cachedKeys(t.Context(), cache, func(string) {}); keys != nil || err != nil {
		t.Errorf("the next run finds %v, %v", keys, err)
	}
}
