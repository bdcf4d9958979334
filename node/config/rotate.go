package config

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/grille-gateway/grille/ledger/network"
)

// ErrPending says that a new key of a role was made before and the network does not name it yet. Have the present card put
// into the network's next version first.
var ErrPending = errors.New("a new key is waiting already")

// Rotate makes a new key for each role, beside the present one, and a card that names the new ones: log and mirror keys as
// the next generation of theirs. inForce is the newest configuration that this gateway knows, or nil.
//
// The present key stays in use until a configuration names the new one (Keys.For picks it then). At the rotation after
// that the new key takes its place, and the old one is kept under OldKey. The order on the disk is: old key linked to its
// new name, next key renamed over the present one, another next key written, card replaced. Whoever is interrupted runs it
// again: a key that no card names yet is taken up.
func Rotate(f Folder, inForce *network.Configuration, roles ...Role) (network.Card, error) {
	card, err := ReadCard(f)
	if err != nil {
		return network.Card{}, err
	}
	for _, r := range roles {
		if !slices.Contains(Roles(), r) {
			return network.Card{}, refuse("role", string(r), "log, mirror, transport or query")
		}
		if err := rotate(f, inForce, &card, r); err != nil {
			return network.Card{}, fmt.Errorf("rotating the %s key: %w", r, err)
		}
	}
	return renew(f, card)
}

// RenewCard makes a card with the same keys that says something else about the member: title, endpoint, generations.
func RenewCard(f Folder, edit func(m *network.Member) error) (network.Card, error) {
	card, err := ReadCard(f)
	if err != nil {
		return network.Card{}, err
	}
	if err := edit(&card.Member); err != nil {
		return network.Card{}, err
	}
	return renew(f, card)
}

// Follow names a member's log and mirror keys, where they are others than a configuration names, as the generations after
// those. So a member continues whose keys are lost: it makes a folder anew, and its old log gets a fence.
func Follow(m *network.Member, inForce *network.Configuration) error {
	theirs, ok := inForce.Member(m.Name)
	if !ok {
		return refuse("member", m.Name, "the network configuration does not name this member; have its card added")
	}
	card := network.Card{Instance: inForce.Instance, Member: theirs}
	log, err := network.PublicKey(m.LogKey)
	if err != nil {
		return err
	}
	if theirs.LogKey != network.LogVKey(theirs.Origin(), log) {
		rename(&card, RoleLog, log)
	}
	mirror, err := network.PublicKey(m.MirrorKey)
	if err != nil {
		return err
	}
	if theirs.MirrorKey != network.MirrorVKey(theirs.MirrorName(), mirror) {
		rename(&card, RoleMirror, mirror)
	}
	m.LogKey, m.MirrorKey = card.Member.LogKey, card.Member.MirrorKey
	if len(m.Approvers) == 0 { // who approves does not change because keys were lost
		m.Approvers = card.Member.Approvers
	}
	return nil
}

// fromTheStart is what holds at the end of a log's approval rules, as the first rule of its next generation.
func fromTheStart(rules []network.Approvers) []network.Approvers {
	last, ok := network.RuleAt(rules, network.MaxTreeSize)
	if !ok {
		return nil
	}
	last.From = 0
	return []network.Approvers{last}
}

// Approve adds a rule to a card about who approves the member's policies, acceptances and groups, from an index of its log on. With no
// keys, nobody needs to from there on.
func Approve(m *network.Member, from uint64, number int, keys []string) {
	rule := network.Approvers{From: from, Number: number, Keys: append([]string{}, keys...)}
	slices.Sort(rule.Keys)
	if n := len(m.Approvers); n > 0 && m.Approvers[n-1].From == from {
		m.Approvers = m.Approvers[:n-1] // of a card that nobody has put into a network yet; CheckSuccessor refuses it else
	}
	m.Approvers = append(slices.Clone(m.Approvers), rule)
}

// ReadCard reads and verifies the card in a folder.
func ReadCard(f Folder) (network.Card, error) {
	data, err := os.ReadFile(f.Card())
	if err != nil {
		return network.Card{}, fmt.Errorf("reading the card: %w", err)
	}
	return network.ParseCard(data)
}

// renew signs a card anew with the log key that it names, and puts it in the place of the one there is.
func renew(f Folder, card network.Card) (network.Card, error) {
	keys, err := LoadKeys(f)
	if err != nil {
		return network.Card{}, err
	}
	log := keys.Log
	if next := keys.Next[RoleLog]; len(next) != 0 && names(card.Member, RoleLog, next) {
		log = next
	}
	card, err = network.NewCard(card.Instance, card.Member, log)
	if err != nil {
		return network.Card{}, fmt.Errorf("signing the card: %w", err)
	}
	if err := Replace(f.Card(), card.Bytes(), 0o644); err != nil {
		return network.Card{}, fmt.Errorf("writing the card: %w", err)
	}
	return card, nil
}

// rotate makes the next key of one role, if there is none that the card does not name yet, and names it there.
func rotate(f Folder, inForce *network.Configuration, card *network.Card, r Role) error {
	m := card.Member
	keys, err := LoadKeys(f)
	if err != nil {
		return err
	}
	next, waiting := keys.Next[r]
	if waiting && names(m, r, next) {
		if !inUse(inForce, m.Name, r, next) {
			return fmt.Errorf("%w: the network has to name the one in %s first; have %s put into its next version", ErrPending,
				f.NextKey(r), f.Card())
		}
		if err := promote(f, r); err != nil {
			return err
		}
		waiting = false
	}
	if !waiting {
		if err := makeKey(f.NextKey(r), r); err != nil {
			return err
		}
		if next, err = loadKey(f.NextKey(r)); err != nil {
			return err
		}
	}
	rename(card, r, next.Public().(ed25519.PublicKey))
	return nil
}

// rename puts a new public key into a card, of the next generation where it has one. The card's signature fits no longer.
func rename(card *network.Card, r Role, pub ed25519.PublicKey) {
	m := &card.Member
	switch r {
	case RoleLog:
		m.LogKey = network.LogVKey(network.LogName(card.Instance, m.Name, network.Generation(m.Origin())+1), pub)
		m.Approvers = fromTheStart(m.Approvers)
	case RoleMirror:
		m.MirrorKey = network.MirrorVKey(network.MirrorName(card.Instance, m.Name, network.Generation(m.MirrorName())+1), pub)
	case RoleTransport:
		m.TransportKey = base64.StdEncoding.EncodeToString(pub)
	case RoleQuery:
		m.QueryKey = base64.StdEncoding.EncodeToString(pub)
	}
}

func inUse(inForce *network.Configuration, member string, r Role, key ed25519.PrivateKey) bool {
	if inForce == nil {
		return false
	}
	m, ok := inForce.Member(member)
	return ok && names(m, r, key)
}

// promote makes the next key of a role the present one and keeps the one before.
func promote(f Folder, r Role) error {
	present, err := os.ReadFile(f.Key(r))
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		err := os.Link(f.Key(r), f.OldKey(r, n))
		if errors.Is(err, os.ErrExist) {
			if kept, err := os.ReadFile(f.OldKey(r, n)); err != nil {
				return err
			} else if bytes.Equal(kept, present) {
				break // interrupted after this step
			}
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	if err := syncDir(f.Keys()); err != nil {
		return err
	}
	if err := os.Rename(f.NextKey(r), f.Key(r)); err != nil {
		return err
	}
	return syncDir(f.Keys())
}

// Rotated says whether a key of the folder was ever rotated. Its card is then made by Rotate and RenewCard alone, for the
// generations stand in no other file.
func Rotated(f Folder) (bool, error) {
	for _, pattern := range []string{"*.next.key", "*.key.*"} {
		found, err := filepath.Glob(filepath.Join(f.Keys(), pattern))
		if err != nil || len(found) > 0 {
			return len(found) > 0, err
		}
	}
	return false, nil
}
