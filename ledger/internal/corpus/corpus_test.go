package corpus

import (
	"testing"
)

// TestSeedsAreKept, with FuzzSeeds, checks that the fuzzing engine reads what encode writes: a seed it cannot read fails the fuzzer.
func TestSeedsAreKept(t *testing.T) {
	Check(t, "FuzzSeeds", map[string][]any{"first": {[]byte("\x00\"\xff\n"), `a"\`, 7, uint64(1 << 60), true}})
}

func FuzzSeeds(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, s string, n int, u uint64, yes bool) {
		if t.Name() == "FuzzSeeds/first" && (string(b) != "\x00\"\xff\n" || s != `a"\` || n != 7 || u != 1<<60 || !yes) {
			t.Errorf("%q %q %d %d %v", b, s, n, u, yes)
		}
	})
}
