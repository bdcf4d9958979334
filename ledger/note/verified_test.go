package note

import (
	"testing"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/verified"
)

// TestChangedBitIsNotRemembered verifies a head until it is remembered, then changes each bit of it.
func TestChangedBitIsNotRemembered(t *testing.T) {
	cfg := testConfig(t)
	tree, _ := buildTree(t, 5)
	owner, lines := testHead(t, tree)
	head := join(owner, lines[:3]...)
	if _, _, err := VerifyHead(cfg, testOrigin, head, 3); err != nil {
		t.Fatal(err)
	}
	for i := range head {
		for bit := range 8 {
			bad := append([]byte(nil), head...)
			bad[i] ^= 1 << bit
			if got, _, err := VerifyHead(cfg, testOrigin, bad, 3); err == nil {
				t.Fatalf("byte %d, bit %d changed: accepted as %+v", i, bit, got)
			}
		}
	}
	if _, _, err := VerifyHead(cfg, testOrigin, head, 3); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkVerifyHead(b *testing.B) {
	cfg := testConfig(b)
	tree, _ := buildTree(b, 5)
	owner, lines := testHead(b, tree)
	head := join(owner, lines[:3]...)
	run := func(b *testing.B, fresh bool) {
		for b.Loop() {
			if fresh {
				verified.Forget()
			}
			if _, _, err := VerifyHead(cfg, network.LogName(testInstance, "GOV/tax", 1), head, 3); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("first", func(b *testing.B) { run(b, true) })
	b.Run("again", func(b *testing.B) { run(b, false) })
}
