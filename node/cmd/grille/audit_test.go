package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

func auditKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("cli test key " + label))
	return ed25519.NewKeyFromSeed(seed[:])
}

// fork writes a network configuration and evidence that GOV/a, with GOV/b as a mirror of both sides, signed two histories,
// one of 3 entries and one of as many or more.
func fork(t *testing.T, dir string, second int64) {
	t.Helper()
	var cards []network.Card
	for i, name := range []string{"GOV/a", "GOV/b"} {
		pub := func(role string) ed25519.PublicKey { return auditKey(role + name).Public().(ed25519.PublicKey) }
		b64 := func(role string) string { return base64.StdEncoding.EncodeToString(pub(role)) }
		c, err := network.NewCard("test", network.Member{Name: name, Title: name, Mirror: true, Endpoint: fmt.Sprintf("127.0.0.1:%d", 4433+i),
			LogKey:       network.LogVKey(network.LogName("test", name, 1), pub("log")),
			MirrorKey:    network.MirrorVKey(network.MirrorName("test", name, 1), pub("mirror")),
			TransportKey: b64("transport"), QueryKey: b64("query")}, auditKey("log"+name))
		if err != nil {
			t.Fatal(err)
		}
		cards = append(cards, c)
	}
	cfg, err := network.Build("test", network.Params{Mode: "demo", Expires: "2030-01-01T00:00:00Z"}, cards)
	if err != nil {
		t.Fatal(err)
	}
	origin := network.LogName("test", "GOV/a", 1)
	side := func(n int64, name string) ([]byte, tlog.HashReaderFunc) {
		var stored []tlog.Hash
		read := tlog.HashReaderFunc(func(at []int64) (out []tlog.Hash, err error) {
			for _, i := range at {
				out = append(out, stored[i])
			}
			return out, nil
		})
		for i := range n {
			h, err := tlog.StoredHashes(i, []byte(name), read)
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, h...)
		}
		root, err := tlog.TreeHash(n, read)
		if err != nil {
			t.Fatal(err)
		}
		tree := tlog.Tree{N: n, Hash: root}
		data, err := note.Sign(origin, tree, auditKey("logGOV/a"))
		if err != nil {
			t.Fatal(err)
		}
		line, err := note.Cosign(note.Text(origin, tree), network.MirrorName("test", "GOV/b", 1), auditKey("mirrorGOV/b"), time.Unix(1e9, 0))
		if err != nil {
			t.Fatal(err)
		}
		return append(data, line...), read
	}
	first, _ := side(3, "one")
	other, read := side(second, "two")
	e, err := evidence.New(first, other, read)
	if err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{"network.json": cfg.Bytes(), "evidence.txt": e.Encode(), "ledger/evidence/1.txt": e.Encode(),
		"forged.txt": bytes.Replace(e.Encode(), []byte("\n3\n"), []byte("\n2\n"), 1), "chain.json": network.NewChain(cfg).Bytes()} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEvidenceCommand(t *testing.T) {
	dir := t.TempDir()
	fork(t, dir, 5)
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, tc := range map[string]struct {
		args []string
		code int
		want []string // in what it prints
	}{
		"a file": {[]string{at("evidence.txt"), "--network", at("network.json")}, exitDone,
			[]string{"GOV/a signed two histories of its log test/GOV/a/log/1", "One has 3 entries", "The other has 5", "its first 3 have the root", "GOV/b cosigned both"}},
		"under a chain":      {[]string{at("evidence.txt"), "--network", at("chain.json")}, exitDone, []string{"GOV/a signed two"}},
		"kept by a gateway":  {[]string{"-d", dir}, exitDone, []string{"GOV/a signed two", "ledger/evidence/1.txt"}},
		"forged":             {[]string{at("forged.txt"), "--network", at("network.json")}, exitFalse, []string{"forged.txt proves nothing"}},
		"one of two":         {[]string{at("forged.txt"), at("evidence.txt"), "-d", dir}, exitFalse, []string{"GOV/a signed two", "proves nothing"}},
		"not evidence":       {[]string{at("network.json"), "-d", dir}, exitFalse, []string{"malformed evidence"}},
		"no file":            {[]string{at("none"), "-d", dir}, exitFailed, nil},
		"no network":         {[]string{at("evidence.txt"), "-d", at("none")}, exitFailed, []string{"next: name it with --network"}},
		"network not a file": {[]string{at("evidence.txt"), "--network", dir}, exitFailed, nil},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"ledger", "evidence"}, tc.args...), terminal{in: strings.NewReader(""), out: &out, err: &out}); code != tc.code {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, tc.code, &out)
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in %s", name, want, &out)
			}
		}
	}
}

func TestEvidenceCommandJSON(t *testing.T) {
	dir := t.TempDir()
	fork(t, dir, 3)
	var out, progress bytes.Buffer
	args := []string{"ledger", "evidence", filepath.Join(dir, "evidence.txt"), filepath.Join(dir, "forged.txt"), "-d", dir, "-o", "json"}
	if code := run(t.Context(), args, terminal{in: strings.NewReader(""), out: &out, err: &progress}); code != exitFalse {
		t.Fatalf("exit code %d: %s", code, &progress)
	}
	var list items[found]
	if err := json.Unmarshal(out.Bytes(), &list); err != nil || len(list.Items) != 2 {
		t.Fatalf("%v in %s", err, &out)
	}
	f := list.Items[0]
	if !f.Holds || f.Owner != "GOV/a" || f.First.Size != 3 || f.Second.Size != 3 || f.Root != f.Second.Root || len(f.Mirrors) != 1 || f.Mirrors[0] != "GOV/b" || len(f.ID) != 64 {
		t.Errorf("%+v", f)
	}
	if bad := list.Items[1]; bad.Holds || bad.Reason == "" || bad.Owner != "" {
		t.Errorf("%+v", bad)
	}
}
