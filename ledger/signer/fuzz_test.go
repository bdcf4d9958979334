package signer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/internal/corpus"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/tiles"
)

func seal(tb testing.TB, r Record) []byte {
	tb.Helper()
	data, err := r.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestSeeds(t *testing.T) {
	tree := tlog.Tree{N: 300, Hash: tlog.Hash{1, 2, 3}}
	owner := seal(t, Record{Role: "owner", Origin: origin, State: State{Tree: tree}})
	mirror := Record{Role: "mirror", Origin: origin, State: State{Tree: tree, Time: time.Unix(1772366400, 0), Note: signedNote(t, tree)}}
	witness := mirror
	witness.Role = "witness"
	flipped := bytes.Clone(owner)
	flipped[len(flipped)/2] ^= 1
	corpus.Check(t, "FuzzParseState", map[string][]any{
		"owner": {owner}, "mirror": {seal(t, mirror)}, "witness": {seal(t, witness)},
		"flipped": {flipped}, "cut": {owner[:len(owner)-2]}, "empty": {[]byte{}}, "two": {append(bytes.Clone(owner), owner...)},
		"no-fields":   {[]byte(withSum(`{}`))},
		"root-short":  {[]byte(withSum(`{"role":"owner","origin":"o","size":"1","root":"00","time":"0"}`))},
		"size-number": {[]byte(withSum(`{"role":"owner","origin":"o","size":1,"root":"","time":"0"}`))},
		"note-of-another-tree": {seal(t, Record{Role: "mirror", Origin: origin,
			State: State{Tree: tree, Note: signedNote(t, tlog.Tree{N: 301})}})},
		"note-garbage": {seal(t, Record{Role: "mirror", Origin: origin, State: State{Tree: tree, Note: []byte("x\n\ny\n")}})},
	})
	corpus.Check(t, "FuzzLoadBallot", map[string][]any{
		"empty":    {[]byte{}},
		"nothing":  {[]byte(`{}`)},
		"null":     {[]byte(`{"vote":null}`)},
		"nobody":   {[]byte(`{"vote":{"mirror":"GOV/none","version":2,"digest":"","signature":""}}`)},
		"unsigned": {[]byte(`{"vote":{"mirror":"GOV/tax","version":2,"digest":"00","signature":"AAAA"},"handover":{"mirror":"GOV/tax","version":2,"digest":"00","stands":[{"origin":"o","size":"-1","root":""}],"signature":""}}`)},
	})
}

// FuzzParseState: what is accepted is the one spelling of a state, so no two files say the same.
func FuzzParseState(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := ParseState(data)
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatal(err)
			}
			return
		}
		if again := seal(t, rec); !bytes.Equal(again, data) {
			t.Fatalf("%q is written again as %q", data, again)
		}
	})
}

// FuzzLoadBallot: nothing but what this mirror's key signed is taken for its vote.
func FuzzLoadBallot(f *testing.F) {
	disk, err := tiles.NewDisk(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(disk.Path(), "ballot.json")
	prev := ballotConfig(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := LoadBallot(disk, path, prev, "GOV/tax", nil)
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatal(err)
			}
			return
		}
		if b.Voted() != nil || b.HandedOver() != nil {
			t.Fatalf("a vote was forged: %q", data)
		}
	})
}

// ballotConfig is a network of one mirror.
func ballotConfig(tb testing.TB) *network.Configuration {
	tb.Helper()
	key := func(label string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte("ballot test key " + label))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	pub := func(label string) ed25519.PublicKey { return key(label).Public().(ed25519.PublicKey) }
	m := network.Member{Name: "GOV/tax", Title: "Tax office", Endpoint: "127.0.0.1:4433", Mirror: true,
		LogKey:       network.LogVKey(network.LogName("test.example", "GOV/tax", 1), pub("log")),
		MirrorKey:    network.MirrorVKey(network.MirrorName("test.example", "GOV/tax", 1), pub("mirror")),
		TransportKey: base64.StdEncoding.EncodeToString(pub("transport")), QueryKey: base64.StdEncoding.EncodeToString(pub("query"))}
	card, err := network.NewCard("test.example", m, key("log"))
	if err != nil {
		tb.Fatal(err)
	}
	cfg, err := network.Build("test.example", network.Params{Mode: network.ModeDemo, Expires: "2030-01-01T00:00:00Z"}, []network.Card{card})
	if err != nil {
		tb.Fatal(err)
	}
	return cfg
}
