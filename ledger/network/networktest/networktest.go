// Package networktest makes members and configurations for tests, from keys that follow from labels: what tests keep on disk
// stays what it is.
package networktest

import (
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"testing"

	"github.com/grille-gateway/grille/ledger/network"
)

// Keys derives keys from labels. Two packages' Keys differ, so that neither signs for the other.
type Keys string

// Key returns the key of a label.
func (k Keys) Key(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(string(k) + label))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Public returns the public key of a label.
func (k Keys) Public(label string) ed25519.PublicKey {
	return k.Key(label).Public().(ed25519.PublicKey)
}

// Member returns a member whose keys are those of "log NAME", "mirror NAME", "transport NAME" and "query NAME", all of the
// first generation. Its title is its name.
func (k Keys) Member(instance, name, endpoint string, mirror bool) network.Member {
	b64 := func(label string) string { return base64.StdEncoding.EncodeToString(k.Public(label)) }
	return network.Member{
		Name: name, Title: name, Endpoint: endpoint, Mirror: mirror,
		LogKey:       network.LogVKey(network.LogName(instance, name, 1), k.Public("log "+name)),
		MirrorKey:    network.MirrorVKey(network.MirrorName(instance, name, 1), k.Public("mirror "+name)),
		TransportKey: b64("transport " + name), QueryKey: b64("query " + name),
	}
}

// Card returns the card of a member of Member's keys.
func (k Keys) Card(tb testing.TB, instance string, m network.Member) network.Card {
	tb.Helper()
	c, err := network.NewCard(instance, m, k.Key("log "+m.Name))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Build returns version 1 of a network: for demonstration and until 2036 unless p says otherwise.
func Build(tb testing.TB, instance string, p network.Params, cards ...network.Card) *network.Configuration {
	tb.Helper()
	p.Mode, p.Expires = cmp.Or(p.Mode, network.ModeDemo), cmp.Or(p.Expires, "2036-01-01T00:00:00Z")
	cfg, err := network.Build(instance, p, cards)
	if err != nil {
		tb.Fatal(err)
	}
	return cfg
}
