package gossip

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/peer"
)

// The transport's bounds let through the largest messages.
func TestBoundsFitTheMessages(t *testing.T) {
	full := make([]core.Mark, core.MaxLogs)
	for i := range full {
		full[i] = core.Mark{Log: i, Size: 1 << 50}
	}
	var items []item
	for i := range core.MaxWants {
		items = append(items, item{log: i, checkpoint: make([]byte, note.MaxSize)})
	}
	items[0].entries = ledger.Entries{Entries: slices.Repeat([][]byte{make([]byte, maxItemBytes/32-2)}, 32)}
	l := listing{evidence: make([]hash, maxEvidence), standing: make([]hash, maxListed)}
	b := peer.DefaultBounds()
	for _, c := range []struct {
		name         string
		have, needed int
	}{
		{"announcement", b[peer.KindAnnounce].Request, len(encodeAnnouncement([stateMark]byte{}, full))},
		{"pull", b[peer.KindPull].Request, len(core.EncodeMarks(full[:core.MaxWants], false))},
		{"pulled", b[peer.KindPull].Reply, len(encodeItems(items))},
		{"comparison", b[peer.KindCompare].Reply, len(comparison{differ: true, marks: full, listing: &l}.encode())},
		{"standing", b[peer.KindStanding].Reply, len(encodeDocuments(slices.Repeat([][]byte{make([]byte, 400)}, maxStanding), maxStandingBytes))},
		{"asking for evidence", b[peer.KindEvidence].Request, len(encodeHashes(make([]hash, maxFetch)))},
		{"succession", b[peer.KindSuccession].Reply, network.MaxLinkSize},
		{"link", b[peer.KindChain].Reply, network.MaxLinkSize},
		{"evidence", b[peer.KindEvidence].Reply, maxFetch * (3 + evidence.MaxSize)},
	} {
		if c.have < c.needed {
			t.Errorf("%s: the transport carries %d bytes, a message has up to %d", c.name, c.have, c.needed)
		}
	}
}

func TestItems(t *testing.T) {
	asked := []core.Mark{{Log: 1}, {Log: 5}, {Log: 9}}
	items := []item{{log: 1, checkpoint: []byte("x")}, {log: 9, checkpoint: []byte("y"), entries: ledger.Entries{From: 3, Entries: [][]byte{[]byte("e")}}}}
	good := encodeItems(items)
	got, err := decodeItems(good, asked)
	if err != nil || !reflect.DeepEqual(got, items) {
		t.Fatalf("%+v, %v", got, err)
	}
	for name, bad := range map[string][]byte{
		"cut":               good[:len(good)-1],
		"not asked for":     encodeItems([]item{{log: 2, checkpoint: []byte("x")}}),
		"twice":             encodeItems([]item{items[0], items[0]}),
		"in another order":  encodeItems([]item{items[1], items[0]}),
		"without a note":    encodeItems([]item{{log: 1}}),
		"note too long":     encodeItems([]item{{log: 1, checkpoint: make([]byte, note.MaxSize+1)}}),
		"malformed entries": {0, 1, 0, 1, 'x', 0, 0, 1, 7},
		"too many entries":  encodeItems([]item{{log: 1, checkpoint: []byte("x"), entries: ledger.Entries{Entries: slices.Repeat([][]byte{{1}}, maxTail+1)}}}),
	} {
		if got, err := decodeItems(bad, asked); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestComparison(t *testing.T) {
	at := time.Unix(1_700_000_000, 123)
	l := listing{version: 7, succession: hash{1}, evidence: []hash{{2}, {3}}, standing: []hash{{4}}}
	for _, c := range []comparison{
		{received: at, sent: at.Add(1)},
		{received: at, sent: at, differ: true, marks: []core.Mark{}},
		{received: at, sent: at, differ: true, marks: []core.Mark{{Log: 2, Size: 9, Root: [4]byte{1}}}, listing: &l},
	} {
		got, err := decodeComparison(c.encode(), 3)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v, want %+v, %v", got, c, err)
		}
	}
	long := l
	long.evidence = make([]hash, maxEvidence+1)
	for name, bad := range map[string][]byte{
		"nothing":       nil,
		"unknown flag":  append(make([]byte, 16), 4),
		"no marks":      append(make([]byte, 16), flagMarks),
		"bad marks":     append(make([]byte, 16), flagMarks, 0, 0, 1, 9),
		"trailing":      append(comparison{}.encode(), 0),
		"cut state":     comparison{listing: &l}.encode()[:60],
		"long evidence": comparison{listing: &long}.encode(),
	} {
		if got, err := decodeComparison(bad, 3); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestDocuments(t *testing.T) {
	docs := [][]byte{[]byte("one"), []byte("two")}
	if got, err := decodeDocuments(encodeDocuments(docs, 12), 2, 3); err != nil || !reflect.DeepEqual(got, docs) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := decodeDocuments(encodeDocuments(docs, 11), 2, 3); err != nil || len(got) != 1 {
		t.Errorf("beyond the bound: %q, %v", got, err)
	}
	for name, data := range map[string][]byte{"too many": encodeDocuments(docs, 99), "cut": {0, 0, 2, 1}, "empty": {0, 0, 0}} {
		if got, err := decodeDocuments(data, 1, 9); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got, err := decodeDocuments(encodeDocuments(docs, 99), 2, 2); err == nil {
		t.Errorf("too long: %q", got)
	}
}

func FuzzDecodeItems(f *testing.F) {
	f.Add(encodeItems([]item{{log: 1, checkpoint: []byte("x")}, {log: 9, checkpoint: []byte("y"), entries: ledger.Entries{From: 3, Entries: [][]byte{[]byte("e")}}}}))
	f.Add([]byte{0, 1, 0, 1, 'x', 0, 0, 1, 7})
	asked := []core.Mark{{Log: 1}, {Log: 5}, {Log: 9}}
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := decodeItems(data, asked)
		if err == nil && len(items) > len(asked) {
			t.Errorf("%d items", len(items))
		}
	})
}

func FuzzDecodeComparison(f *testing.F) {
	l := listing{version: 7, succession: hash{1}, evidence: []hash{{2}, {3}}, standing: []hash{{4}}}
	f.Add(comparison{differ: true, marks: []core.Mark{{Log: 2, Size: 9}}, listing: &l}.encode())
	f.Add(comparison{}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeComparison(data, 100)
		if err != nil {
			return
		}
		if !bytes.Equal(c.encode(), data) {
			t.Error("two encodings of one comparison")
		}
		if len(c.marks) > 100 || c.listing != nil && len(c.listing.evidence) > maxEvidence {
			t.Error("out of bounds")
		}
	})
}

func FuzzDecodeDocuments(f *testing.F) {
	f.Add(encodeDocuments([][]byte{[]byte("one"), []byte("two")}, 99))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := decodeDocuments(data, 3, 10)
		if err == nil && !bytes.Equal(encodeDocuments(docs, 99), data) {
			t.Error("two encodings of one list")
		}
	})
}
