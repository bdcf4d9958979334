package ceremony

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func TestFetchMessage(t *testing.T) {
	f := fetch{File: digest{1, 2, 31: 9}, Offset: 1 << 20, Length: MaxPart}
	if got, err := decodeFetch(f.encode()); err != nil || got != f {
		t.Errorf("%+v, %v", got, err)
	}
	good := f.encode()
	change := func(at int, b []byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	for name, bad := range map[string][]byte{
		"empty": nil, "truncated": good[:len(good)-1], "too long": append(bytes.Clone(good), 0),
		"no length": change(40, make([]byte, 4)), "too large a part": change(40, binary.BigEndian.AppendUint32(nil, MaxPart+1)),
		"beyond any file": change(32, bytes.Repeat([]byte{0xff}, 8)),
	} {
		if _, err := decodeFetch(bad); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// badOffers are offers that nobody may send.
func badOffers() map[string][]byte {
	o := offer{Ceremony: digest{1}, File: digest{2}, Size: 10, Offset: 4, Part: []byte("abcdef")}
	with := func(change func(*offer)) []byte {
		bad := o
		change(&bad)
		return bad.encode()
	}
	return map[string][]byte{
		"empty": nil, "truncated": o.encode()[:offerHead-1],
		"of nothing":        with(func(o *offer) { o.Size, o.Offset, o.Part = 0, 0, nil }),
		"of too large size": with(func(o *offer) { o.Size = maxFile + 1 }),
		"beyond its end":    with(func(o *offer) { o.Offset = 5 }),
		"begins beyond it":  with(func(o *offer) { o.Offset, o.Part = 11, nil }),
		"far beyond":        with(func(o *offer) { o.Offset = 1 << 63 }),
		"too large a part":  with(func(o *offer) { o.Size, o.Offset, o.Part = maxFile, 0, make([]byte, MaxPart+1) }),
	}
}

func TestOfferMessage(t *testing.T) {
	for _, o := range []offer{
		{Ceremony: digest{1}, File: digest{2}, Size: 10, Offset: 4, Part: []byte("abcdef")},
		{Ceremony: digest{1}, File: digest{2}, Size: 10, Part: []byte{}},
		{Ceremony: digest{1}, File: digest{2}, Size: maxFile, Offset: maxFile - MaxPart, Part: make([]byte, MaxPart)},
	} {
		got, err := decodeOffer(o.encode())
		if err != nil || !bytes.Equal(got.encode(), o.encode()) {
			t.Errorf("%v", err)
		}
	}
	for name, bad := range badOffers() {
		if _, err := decodeOffer(bad); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeOffer(f *testing.F) {
	f.Add((offer{Ceremony: digest{1}, File: digest{2}, Size: 10, Offset: 4, Part: []byte("abcdef")}).encode())
	for _, bad := range badOffers() {
		if len(bad) < 1<<10 {
			f.Add(bad)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := decodeOffer(data)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(o.encode(), data) || o.Offset+uint64(len(o.Part)) > o.Size {
			t.Fatalf("%+v", o)
		}
	})
}

func TestHeldMessage(t *testing.T) {
	if n, err := decodeHeld(encodeHeld(7), 7); err != nil || n != 7 {
		t.Error(n, err)
	}
	for name, bad := range map[string][]byte{"empty": nil, "short": {1}, "long": make([]byte, 9), "more than there is": encodeHeld(8)} {
		if _, err := decodeHeld(bad, 7); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDigest(t *testing.T) {
	good := strings.Repeat("0a", 32)
	if d, err := parseDigest(good); err != nil || d.String() != good {
		t.Error(err)
	}
	for _, bad := range []string{"", "0a", strings.Repeat("0A", 32), strings.Repeat("0g", 32), good + "00"} {
		if _, err := parseDigest(bad); !errors.Is(err, ErrMessage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// What a coordinator tells is shown on terminals: its texts are short and have no control characters.
func TestAnswerTexts(t *testing.T) {
	t.Parallel()
	good := position{Ceremony: digest{1}.String(), Transcript: digest{2}.String(), Size: 1, State: stateTurn, Turn: tax, Until: "2026-03-01T12:00:00Z",
		Waiting: []string{tax}, Fault: "2 of 4 logs have a checkpoint from after the announced time, 3 are needed"}
	if _, err := decodeAnswer(mustEncode(answer{Version: 1, Ceremonies: []position{good}})); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*position){
		"a fault with an escape sequence": func(p *position) { p.Fault = "\x1b]0;done\a" },
		"a fault of two lines":            func(p *position) { p.Fault = "none\nall is well" },
		"a state of two columns":          func(p *position) { p.State = "done\tdone" },
		"a turn with a control character": func(p *position) { p.Turn = "GOV/\u009btax" },
		"a time of another kind":          func(p *position) { p.Until = "\r" },
		"a long text":                     func(p *position) { p.Fault = strings.Repeat("x", maxTold+1) },
		"one of the waiting":              func(p *position) { p.Waiting = []string{tax, "\x00"} },
	} {
		bad := good
		change(&bad)
		if _, err := decodeAnswer(mustEncode(answer{Version: 1, Ceremonies: []position{bad}})); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
