package ledger

import (
	"encoding/binary"
	"testing"

	"github.com/grille-gateway/grille/ledger/internal/corpus"
)

func TestSeeds(t *testing.T) {
	inputs := map[string][]any{
		"empty":              {[]byte{}},
		"unknown-kind":       {[]byte{0xff}},
		"entries-none":       {Entries{From: 5}.Encode()},
		"entries-empty-one":  {[]byte{wireEntries, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0}},
		"entries-length":     {[]byte{wireEntries, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, 'x'}},
		"entries-cut":        {[]byte{wireEntries, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 9, 'x'}},
		"push-from-beyond":   {Push{Origin: "o", Checkpoint: []byte("n"), From: 1 << 60}.Encode()},
		"push-nothing":       {Push{}.Encode()},
		"reply-no-signature": {PushReply{Size: 1, Have: 2}.Encode()},
		"reply-have-beyond":  {binary.BigEndian.AppendUint64([]byte{wireReply, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 1<<63)},
	}
	for name, data := range wireSamples(t) {
		inputs[name] = []any{data}
		inputs[name+"-cut"] = []any{data[:len(data)-1]}
		inputs[name+"-more"] = []any{append(data[:len(data):len(data)], 0)}
	}
	corpus.Check(t, "FuzzWire", inputs)
}
