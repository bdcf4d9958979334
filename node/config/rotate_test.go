package config

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
)

// testGateway makes a folder with keys and a card, and the network of this one member.
func testGateway(t *testing.T) (Folder, *network.Configuration) {
	t.Helper()
	f := testFolder(t)
	keys, _, err := EnsureKeys(f)
	if err != nil {
		t.Fatal(err)
	}
	card, err := network.NewCard("demo", keys.Member("demo", "GOV/tax", "Tax", "127.0.0.1:4433", true), keys.Log)
	if err != nil {
		t.Fatal(err)
	}
	if err := Replace(f.Card(), card.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := network.Build("demo", network.Params{Mode: network.ModeDemo, Expires: "2036-01-01T00:00:00Z"}, []network.Card{card})
	if err != nil {
		t.Fatal(err)
	}
	return f, cfg
}

func replace(t *testing.T, cfg *network.Configuration, card network.Card) *network.Configuration {
	t.Helper()
	change := network.Change{Replace: []network.Card{card}}
	if now := cfg.Origin(card.Member.Name); now != card.Member.Origin() {
		change.Fences = []network.Fence{{Origin: now, Size: 0, Root: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}
	}
	next, err := network.Succeed(cfg, change)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func chosen(t *testing.T, f Folder, cfg *network.Configuration) Keys {
	t.Helper()
	keys, err := LoadKeys(f)
	if err != nil {
		t.Fatal(err)
	}
	out, err := keys.For(cfg, "GOV/tax")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRotate: a new key is used from the version on that names it, and not before; each role alone.
func TestRotate(t *testing.T) {
	for _, r := range Roles() {
		f, v1 := testGateway(t)
		before := chosen(t, f, v1)
		card, err := Rotate(f, v1, r)
		if err != nil {
			t.Fatalf("%s: %v", r, err)
		}
		if got := chosen(t, f, v1); !got.of(r).Equal(*before.of(r)) {
			t.Errorf("%s: the new key is used under the version before", r)
		}
		v2 := replace(t, v1, card)
		after := chosen(t, f, v2)
		for _, other := range Roles() {
			if same := after.of(other).Equal(*before.of(other)); same == (other == r) {
				t.Errorf("%s: key of %s is the same: %v", r, other, same)
			}
		}
		if _, err := Rotate(f, v1, r); !errors.Is(err, ErrPending) {
			t.Errorf("%s rotated twice: %v", r, err)
		}
		if _, err := Rotate(f, nil, r); !errors.Is(err, ErrPending) {
			t.Errorf("%s rotated twice without a network: %v", r, err)
		}
		old, err := os.ReadFile(f.Key(r))
		if err != nil {
			t.Fatal(err)
		}
		card, err = Rotate(f, v2, r)
		if err != nil {
			t.Fatalf("%s again: %v", r, err)
		}
		if kept, err := os.ReadFile(f.OldKey(r, 1)); err != nil || !bytes.Equal(kept, old) {
			t.Errorf("%s: the first key is not kept: %v", r, err)
		}
		if got := chosen(t, f, v2); !got.of(r).Equal(*after.of(r)) {
			t.Errorf("%s: the second key is lost to the second rotation", r)
		}
		v3 := replace(t, v2, card)
		if got := chosen(t, f, v3); got.of(r).Equal(*after.of(r)) || got.of(r).Equal(*before.of(r)) {
			t.Errorf("%s: the third key is not used", r)
		}
		if keys, _ := LoadKeys(f); len(keys.Next) != 1 {
			t.Errorf("%s: %d next keys", r, len(keys.Next))
		}
		if err := CheckPrivate(f.NextKey(r)); err != nil {
			t.Error(err)
		}
	}
}

// TestRotateInterrupted stops a rotation after each of its steps on the disk; running it again ends as if it had not been.
func TestRotateInterrupted(t *testing.T) {
	f, v1 := testGateway(t)
	oldCard, err := os.ReadFile(f.Card())
	if err != nil {
		t.Fatal(err)
	}
	want, err := Rotate(f, v1, RoleMirror)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Card(), oldCard, 0o644); err != nil { // the key was written, the card was not
		t.Fatal(err)
	}
	if got, err := Rotate(f, v1, RoleMirror); err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
		t.Errorf("next key written, card not: %+v, %v", got, err)
	}
	for step, stop := range map[string]func(f Folder) error{
		"old key linked": func(f Folder) error { return os.Link(f.Key(RoleLog), f.OldKey(RoleLog, 1)) },
		"next key in its place": func(f Folder) error {
			return errors.Join(os.Link(f.Key(RoleLog), f.OldKey(RoleLog, 1)), os.Rename(f.NextKey(RoleLog), f.Key(RoleLog)))
		},
	} {
		f, v1 := testGateway(t)
		first := chosen(t, f, v1)
		card, err := Rotate(f, v1, RoleLog)
		if err != nil {
			t.Fatal(err)
		}
		v2 := replace(t, v1, card)
		second := chosen(t, f, v2)
		if err := stop(f); err != nil {
			t.Fatal(err)
		}
		if got := chosen(t, f, v2); !got.Log.Equal(second.Log) {
			t.Errorf("%s: the key in force is lost", step)
		}
		card, err = Rotate(f, v2, RoleLog)
		if err != nil || card.Member.Origin() != "demo/GOV/tax/log/3" {
			t.Fatalf("%s: %s, %v", step, card.Member.Origin(), err)
		}
		kept, err := loadKey(f.OldKey(RoleLog, 1))
		if err != nil || !kept.Equal(first.Log) || !chosen(t, f, v2).Log.Equal(second.Log) {
			t.Errorf("%s: keys are not where they belong: %v", step, err)
		}
		if _, err := os.Lstat(f.OldKey(RoleLog, 2)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: an old key twice: %v", step, err)
		}
	}
}

func TestRotateSeveral(t *testing.T) {
	f, v1 := testGateway(t)
	if rotated, err := Rotated(f); err != nil || rotated {
		t.Errorf("rotated at first: %v", err)
	}
	card, err := Rotate(f, v1, Roles()...)
	if err != nil {
		t.Fatal(err)
	}
	if rotated, err := Rotated(f); err != nil || !rotated {
		t.Errorf("not rotated: %v", err)
	}
	if card.Member.Origin() != "demo/GOV/tax/log/2" || card.Member.MirrorName() != "demo/GOV/tax/mirror/2" {
		t.Errorf("card %+v", card.Member)
	}
	renewed, err := RenewCard(f, func(m *network.Member) error { m.Endpoint = "127.0.0.1:4434"; return nil })
	if err != nil || renewed.Member.Endpoint != "127.0.0.1:4434" || renewed.Member.LogKey != card.Member.LogKey {
		t.Errorf("renewed: %+v, %v", renewed, err)
	}
	v2 := replace(t, v1, renewed)
	keys := chosen(t, f, v2)
	before := chosen(t, f, v1)
	for _, r := range Roles() {
		if keys.of(r).Equal(*before.of(r)) {
			t.Errorf("%s is the old one", r)
		}
	}
	if _, err := Rotate(f, v1, RoleWitness); !errors.Is(err, ErrConfig) {
		t.Errorf("witness: %v", err)
	}
	if err := os.Chmod(f.NextKey(RoleLog), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(f); !errors.Is(err, ErrExposed) {
		t.Errorf("next key readable by others: %v", err)
	}
}

// TestKeysLost: a folder that was made anew continues as the next generations.
func TestKeysLost(t *testing.T) {
	_, v1 := testGateway(t)
	f, _ := testGateway(t) // the same member, other keys
	keys, err := LoadKeys(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.For(v1, "GOV/tax"); !errors.Is(err, ErrConfig) {
		t.Errorf("other keys are accepted: %v", err)
	}
	if _, err := keys.For(v1, "GOV/none"); !errors.Is(err, ErrConfig) {
		t.Errorf("no member: %v", err)
	}
	card, err := RenewCard(f, func(m *network.Member) error { return Follow(m, v1) })
	if err != nil {
		t.Fatal(err)
	}
	if card.Member.Origin() != "demo/GOV/tax/log/2" || card.Member.MirrorName() != "demo/GOV/tax/mirror/2" {
		t.Errorf("card %+v", card.Member)
	}
	v2 := replace(t, v1, card)
	if got := chosen(t, f, v2); !bytes.Equal(got.Log.Public().(ed25519.PublicKey), keys.Log.Public().(ed25519.PublicKey)) {
		t.Error("another log key")
	}
	again, err := RenewCard(f, func(m *network.Member) error { return Follow(m, v2) })
	if err != nil || !reflect.DeepEqual(again.Member, card.Member) {
		t.Errorf("keys that the network names get another generation: %+v, %v", again.Member, err)
	}
	if _, err := RenewCard(f, func(m *network.Member) error {
		m.Name = "GOV/none"
		return Follow(m, v2)
	}); !errors.Is(err, ErrConfig) {
		t.Errorf("no member: %v", err)
	}
}

// TestLoadChain: the adopted digest may be that of any version in the file.
func TestLoadChain(t *testing.T) {
	f, v1 := testGateway(t)
	c := Default()
	c.Member, c.Instance = "GOV/tax", "demo"
	keys := chosen(t, f, v1)
	beat := 61
	v2, err := network.Succeed(v1, network.Change{Beat: &beat})
	if err != nil {
		t.Fatal(err)
	}
	chain := network.NewChain(v1)
	if err := chain.Extend(link(t, v1, v2, keys)); err != nil {
		t.Fatal(err)
	}
	if err := Replace(f.Path(c.Network.File), chain.File(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, adopted := range []*network.Configuration{v1, v2} {
		c.Network.Digest = adopted.Digest()
		if got, err := LoadChain(f, c); err != nil || got.Newest().Digest() != v2.Digest() {
			t.Errorf("version %d adopted: %v", adopted.Version, err)
		}
		if got, err := LoadNetwork(f, c, keys); err != nil || got.Version != 2 {
			t.Errorf("version %d adopted: %v", adopted.Version, err)
		}
	}
	other := *v1
	other.Expires = "2037-01-01T00:00:00Z"
	c.Network.Digest = other.Digest()
	if _, err := LoadChain(f, c); !errors.Is(err, ErrNotAdopted) {
		t.Errorf("another version adopted: %v", err)
	}
}

// link makes the link of a network of one mirror.
func link(t *testing.T, prev, next *network.Configuration, keys Keys) *network.Link {
	t.Helper()
	p, err := network.NewProposal(prev, next, keys.Log)
	if err != nil {
		t.Fatal(err)
	}
	v, err := network.NewVote(prev, next, "GOV/tax", keys.Mirror)
	if err != nil {
		t.Fatal(err)
	}
	h, err := network.NewHandover(prev, next, "GOV/tax", nil, keys.Mirror)
	if err != nil {
		t.Fatal(err)
	}
	return &network.Link{Proposal: p, Votes: []network.Vote{v}, Handovers: []network.Handover{h}}
}

// TestApproversFollowTheLog: a card's approval rules are about one log. A rotated log key, and a folder that was made anew, begin with
// the rule that held last.
func TestApproversFollowTheLog(t *testing.T) {
	f := Folder(t.TempDir())
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	keys, _, err := EnsureKeys(f)
	if err != nil {
		t.Fatal(err)
	}
	card, err := network.NewCard("demo", keys.Member("demo", "GOV/tax", "Tax", "127.0.0.1:4433", true), keys.Log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Card(), card.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	var people []string
	for _, name := range []string{"anna", "ben"} {
		public, err := MakeApprover(filepath.Join(string(f), name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		people = append(people, public)
		if key, err := LoadApprover(filepath.Join(string(f), name+".key")); err != nil || base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)) != public {
			t.Errorf("an approver's key reads back as another: %v", err)
		}
	}
	if _, err := MakeApprover(filepath.Join(string(f), "anna.key")); err == nil {
		t.Error("a key was overwritten")
	}
	add := func(from uint64, number int, keys ...string) (network.Card, error) {
		return RenewCard(f, func(m *network.Member) error { Approve(m, from, number, keys); return nil })
	}
	if _, err := add(4, 3, people...); err == nil {
		t.Error("three of two approvers")
	}
	if _, err := add(4, 1, people[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := add(4, 2, people...); err != nil { // in the place of the one before: nobody has seen it
		t.Fatal(err)
	}
	card, err = add(9, 1, people...)
	if err != nil || len(card.Member.Approvers) != 2 || card.Member.Approvers[0].Number != 2 || card.Member.Approvers[1].From != 9 {
		t.Fatalf("%+v, %v", card.Member.Approvers, err)
	}
	if _, err := add(7, 1, people...); err == nil {
		t.Error("a rule that begins before the one before it")
	}
	lost, err := network.NewCard("demo", card.Member, keys.Log)
	if err != nil {
		t.Fatal(err)
	}
	next, err := Rotate(f, nil, RoleLog)
	if err != nil || len(next.Member.Approvers) != 1 || next.Member.Approvers[0].From != 0 || next.Member.Approvers[0].Number != 1 {
		t.Errorf("after a rotation: %+v, %v", next.Member.Approvers, err)
	}
	inForce := networktest.Build(t, "demo", network.Params{}, lost)
	fresh := Folder(t.TempDir())
	if err := fresh.Create(); err != nil {
		t.Fatal(err)
	}
	again, _, err := EnsureKeys(fresh)
	if err != nil {
		t.Fatal(err)
	}
	m := again.Member("demo", "GOV/tax", "Tax", "127.0.0.1:4433", true)
	if err := Follow(&m, inForce); err != nil || len(m.Approvers) != 1 || m.Approvers[0].From != 0 {
		t.Errorf("after keys were lost: %+v, %v", m.Approvers, err)
	}
}
