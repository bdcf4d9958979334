package core

import (
	"testing"

	"github.com/grille-gateway/grille/ledger/internal/corpus"
)

func TestSeeds(t *testing.T) {
	corpus.Check(t, "FuzzDecodeMarks", map[string][]any{
		"two":          {[]byte{1, 1, 3, 0x80, 1}, false},
		"with-roots":   {[]byte{1, 5, 1, 2, 3, 4, 3, 0x80, 1, 1, 2, 3, 4}, true},
		"empty":        {[]byte{}, true},
		"long-varint":  {[]byte{1, 0x81, 0}, false},
		"cut-varint":   {[]byte{0x80}, false},
		"cut-root":     {[]byte{1, 1, 9, 9, 9}, true},
		"same-again":   {[]byte{1, 1, 0, 1}, false},
		"wraps":        {[]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1}, false},
		"size-too-big": {[]byte{1, 0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02}, false},
	})
}
