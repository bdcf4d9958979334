package ledger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/grille-gateway/grille/ledger/note"
)

func TestWireGolden(t *testing.T) {
	p := Push{Origin: "o", Checkpoint: []byte("note"), From: 258, Entries: [][]byte{[]byte("a"), []byte("bc")}}
	r := PushReply{Cosignature: []byte("line\n"), Size: 3, Have: 4}
	e := Entries{From: 1, Entries: [][]byte{[]byte("x")}}
	for _, tc := range []struct {
		got  []byte
		want string
	}{
		{p.Encode(), "11" + "016f" + "00046e6f7465" + "0000000000000102" + "00000007" + "000161" + "00026263"},
		{r.Encode(), "21" + "00056c696e650a" + "0000000000000003" + "0000000000000004"},
		{e.Encode(), "41" + "0000000000000001" + "00000003" + "000178"},
	} {
		if got := hex.EncodeToString(tc.got); got != tc.want {
			t.Errorf("%s, want %s", got, tc.want)
		}
	}
	if got, err := DecodePush(p.Encode()); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := DecodePushReply(r.Encode()); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := DecodeEntries(e.Encode()); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("%+v, %v", got, err)
	}
}

func wireSamples(tb testing.TB) map[string][]byte {
	tb.Helper()
	c := newCluster(tb)
	c.append("GOV/tax", batchEntry(1))
	p, ok := c.stores["GOV/tax"].Outgoing("GOV/civil")
	if !ok {
		tb.Fatal("nothing to push")
	}
	reply, err := c.stores["GOV/civil"].AddCheckpoint(p)
	if err != nil {
		tb.Fatal(err)
	}
	return map[string][]byte{"push": p.Encode(), "reply": reply.Encode(),
		"entries": Entries{From: 0, Entries: p.Entries}.Encode()}
}

// decodeAny reads a message of any kind and writes it again.
func decodeAny(data []byte) (again []byte, err error) {
	if p, err := DecodePush(data); err == nil {
		return p.Encode(), nil
	}
	if r, err := DecodePushReply(data); err == nil {
		return r.Encode(), nil
	}
	e, err := DecodeEntries(data)
	return e.Encode(), err
}

// TestWireRefuses cuts, extends and relabels each message, and states lengths that are not there.
func TestWireRefuses(t *testing.T) {
	for name, good := range wireSamples(t) {
		if again, err := decodeAny(good); err != nil || !bytes.Equal(again, good) {
			t.Errorf("%s is not read: %v", name, err)
		}
		for n := range len(good) {
			if _, err := decodeAny(good[:n]); !errors.Is(err, ErrMessage) {
				t.Fatalf("%s cut to %d: %v", name, n, err)
			}
		}
		if _, err := decodeAny(append(bytes.Clone(good), 0)); !errors.Is(err, ErrMessage) {
			t.Errorf("%s with a byte more: %v", name, err)
		}
		other := bytes.Clone(good)
		other[0] = 0x77
		if _, err := decodeAny(other); !errors.Is(err, ErrMessage) {
			t.Errorf("%s of another kind: %v", name, err)
		}
	}
	big := make([]byte, MaxPushBytes)
	for name, data := range map[string][]byte{
		"empty entry":       Entries{Entries: [][]byte{{}}}.Encode(),
		"too many entries":  Entries{Entries: [][]byte{big[:60000], big[:60000]}, From: 1 << 63}.Encode(),
		"too long":          append(Entries{}.Encode(), make([]byte, MaxMessage)...),
		"origin too long":   Push{Origin: string(big[:200])}.Encode(),
		"note too long":     Push{Origin: "o", Checkpoint: big[:note.MaxSize+1]}.Encode(),
		"line too long":     PushReply{Cosignature: big[:MaxLine+1]}.Encode(),
		"size out of range": PushReply{Size: 1 << 60}.Encode(),
		"have out of range": PushReply{Have: 1 << 60}.Encode(),
		"from out of range": Push{Origin: "o", From: 1 << 60}.Encode(),
		"entries' length":   {wireEntries, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 1, 'x'},
	} {
		if _, err := decodeAny(data); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzWire(f *testing.F) {
	for _, data := range wireSamples(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if again, err := decodeAny(data); err == nil && !bytes.Equal(again, data) {
			t.Fatalf("%x is written again as %x", data, again)
		}
	})
}

func TestHeadOfRefuses(t *testing.T) {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1))
	c.pushAll("GOV/tax", testNames...)
	good := c.final("GOV/tax", "GOV/tax")
	if h, err := HeadOf(good.Origin, good.Checkpoint); err != nil || h.tree() != good.tree() {
		t.Errorf("size %d: %v", h.Size, err)
	}
	for name, tc := range map[string]struct {
		origin string
		data   []byte
	}{"another log": {c.cfg.Origin("GOV/civil"), good.Checkpoint}, "no note": {good.Origin, []byte("x")}, "empty": {good.Origin, nil},
		"too long": {good.Origin, make([]byte, note.MaxSize+1)}} {
		if _, err := HeadOf(tc.origin, tc.data); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
