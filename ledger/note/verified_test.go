package note

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/grille-gateway/grille/ledger/network"
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

// TestRememberedForItsKeyOnly moves bytes between key, message and signature.
func TestRememberedForItsKeyOnly(t *testing.T) {
	v := &verified{half: 8}
	yes, no := func() bool { return true }, func() bool { return false }
	if !v.check("key", "message", []byte("sig"), yes) {
		t.Fatal("a valid signature is refused")
	}
	if !v.check("key", "message", []byte("sig"), no) {
		t.Error("a signature is forgotten at once")
	}
	for _, tc := range [][3]string{{"keym", "essage", "sig"}, {"ke", "ymessage", "sig"}, {"key", "messages", "ig"}, {"key", "messag", "esig"},
		{"key2", "message", "sig"}, {"key", "message", "sig2"}, {"key", "", "messagesig"}, {"", "keymessage", "sig"}} {
		for range 2 { // a refusal is not remembered as anything
			if v.check(tc[0], tc[1], []byte(tc[2]), no) {
				t.Errorf("%q is taken for what verified", tc)
			}
		}
	}
}

func TestVerifiedIsBounded(t *testing.T) {
	v := &verified{half: 8}
	calls := 0
	check := func(i int) { v.check("key", fmt.Sprint(i), nil, func() bool { calls++; return true }) }
	for i := range 1000 {
		check(0) // in use all the time
		check(i)
		if n := len(v.young) + len(v.old); n > 16 {
			t.Fatalf("%d remembered", n)
		}
	}
	if calls != 1000 {
		t.Errorf("%d verifications: what is in use is forgotten", calls)
	}
	if check(1); calls != 1001 {
		t.Error("what was not used for long is still remembered")
	}
}

func TestVerifiedConcurrently(t *testing.T) {
	cfg := testConfig(t)
	tree, _ := buildTree(t, 7)
	owner, lines := testHead(t, tree)
	head := join(owner, lines...)
	bad := append([]byte(nil), head...)
	bad[len(bad)-20] ^= 1
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if _, _, err := VerifyHead(cfg, testOrigin, head, 3); err != nil {
					t.Error(err)
				}
				if _, _, err := VerifyHead(cfg, testOrigin, bad, 3); !errors.Is(err, ErrSignature) && !errors.Is(err, ErrNote) {
					t.Errorf("bad head: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerifyHead(b *testing.B) {
	cfg := testConfig(b)
	tree, _ := buildTree(b, 5)
	owner, lines := testHead(b, tree)
	head := join(owner, lines[:3]...)
	run := func(b *testing.B, fresh bool) {
		for b.Loop() {
			if fresh {
				remembered = &verified{half: maxVerified / 2}
			}
			if _, _, err := VerifyHead(cfg, network.LogName(testInstance, "GOV/tax", 1), head, 3); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("first", func(b *testing.B) { run(b, true) })
	b.Run("again", func(b *testing.B) { run(b, false) })
}
