package verified

import (
	"crypto/ed25519"
	"fmt"
	"sync"
	"testing"
)

// TestRememberedForItsKeyOnly moves bytes between key, message and signature.
func TestRememberedForItsKeyOnly(t *testing.T) {
	v := &memory{half: 8}
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

func TestMemoryIsBounded(t *testing.T) {
	v := &memory{half: 8}
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

// Many goroutines check the same few signatures, valid and not; under the race detector.
func TestConcurrently(t *testing.T) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 40 {
				message := fmt.Sprint(i % 4)
				sig := ed25519.Sign(key, []byte(message))
				sig[0] ^= byte(i % 2)
				ok := Check(string(pub), message, sig, func() bool { return ed25519.Verify(pub, []byte(message), sig) })
				if ok != (i%2 == 0) {
					t.Errorf("signature %d: valid %v", i, ok)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCheck(b *testing.B) {
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	message := string(make([]byte, 300))
	sig := ed25519.Sign(key, []byte(message))
	for _, fresh := range []bool{true, false} {
		b.Run(map[bool]string{true: "first", false: "again"}[fresh], func(b *testing.B) {
			for b.Loop() {
				if fresh {
					Forget()
				}
				if !Check(string(pub), message, sig, func() bool { return ed25519.Verify(pub, []byte(message), sig) }) {
					b.Fatal("not valid")
				}
			}
		})
	}
}
