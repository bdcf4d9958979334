package tiles

import (
	"bytes"
	"errors"
	"testing"

	"filippo.io/torchwood"

	"github.com/grille-gateway/grille/ledger/internal/corpus"
)

func TestSeeds(t *testing.T) {
	two := []byte("\x00\x03one\x00\x03two")
	corpus.Check(t, "FuzzBundle", map[string][]any{
		"two":         {two, 2},
		"two-and-cut": {two[:9], 2},
		"more-asked":  {two, 3},
		"none":        {[]byte{}, 0},
		"empty-entry": {[]byte("\x00\x00\x00\x01x"), 2},
		"long-length": {[]byte("\xff\xffshort"), 1},
		"half-length": {[]byte("\x00"), 1},
		"more-behind": {append(bytes.Clone(two), "\x00\x05more?"...), 2},
	})
}

// FuzzBundle: a bundle that is read is, up to where it was used, what its entries make again.
func FuzzBundle(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 0 || n > width {
			return
		}
		entries, used, err := split(data, n)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		var again []byte
		for _, e := range entries {
			if again, err = torchwood.AppendTileEntry(again, e); err != nil || len(e) == 0 {
				t.Fatalf("entry of %d bytes: %v", len(e), err)
			}
		}
		if len(entries) != n || !bytes.Equal(again, data[:used]) {
			t.Fatalf("%d entries, %x is written again as %x", len(entries), data[:used], again)
		}
	})
}
