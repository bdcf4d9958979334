package ledger

import (
	"slices"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// Of four mirrors and a member that is none, three mirrors have to publish the same keys, and what they publish has to be final.
func TestCircuitSupport(t *testing.T) {
	hex := func(s string) string { return strings.Repeat(s, 32) }
	k := network.Circuit{ID: hex("1a"), VerifyingKey: hex("2b"), Kind: network.KindCeremony, Transcript: hex("3c"), Contributors: 2}
	keys := func(edit func(*entry.CircuitKeys)) entry.Entry {
		e := entry.CircuitKeys{Circuit: k.ID, VerifyingKey: k.VerifyingKey, KeyKind: k.Kind, Transcript: k.Transcript, Time: "2026-03-01T12:00:00Z"}
		edit(&e)
		return e
	}
	same := keys(func(*entry.CircuitKeys) {})
	c := newCluster(t, "GOV/audit")
	var mirrors []string
	for _, m := range c.cfg.Mirrors() {
		mirrors = append(mirrors, m.Name)
	}
	at := mirrors[0]
	publish := func(owner string, entries ...entry.Entry) {
		t.Helper()
		c.append(owner, entries...)
		c.pushAll(owner, mirrors...)
		c.spread(owner, at, owner)
	}
	check := func(what string, want ...string) {
		t.Helper()
		got := c.stores[at].CircuitSupport(k)
		if !slices.Equal(got.Members, want) || got.Quorum != 3 || got.Counts() != (len(want) >= 3) {
			t.Errorf("%s: %v of %d, want %v", what, got.Members, got.Quorum, want)
		}
	}
	check("nobody published")
	publish(at, same)
	publish("GOV/audit", same)
	check("a mirror and a member that is none", at)
	publish(mirrors[1], keys(func(e *entry.CircuitKeys) { e.VerifyingKey = hex("ff") }))
	publish(mirrors[2], keys(func(e *entry.CircuitKeys) { e.Transcript = hex("ff") }))
	publish(mirrors[3], keys(func(e *entry.CircuitKeys) { e.KeyKind = network.KindDemo }))
	check("others published something else", at)
	publish(mirrors[1], same)
	publish(mirrors[2], same, keys(func(e *entry.CircuitKeys) { e.Circuit = hex("ff") })) // another circuit beside it
	check("a quorum", mirrors[:3]...)
	publish(mirrors[1], keys(func(e *entry.CircuitKeys) { e.Transcript = hex("ff") }))
	check("a mirror changed its mind", at, mirrors[2])
	c.append(mirrors[3], same)
	check("a fourth, not final", at, mirrors[2])
	c.pushAll(mirrors[3], mirrors...)
	c.spread(mirrors[3], at, mirrors[3])
	check("a fourth", at, mirrors[2], mirrors[3])
}
