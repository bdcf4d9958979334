package ceremony

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/network"
)

// gathered is evidence with a head of each of some members' logs.
func (w *world) gathered(after, at time.Time, names ...string) evidence {
	w.t.Helper()
	g := newGathering(w.cfg, after)
	g.ask(w.t.Context(), func(_ context.Context, name string) ([]byte, error) {
		if !slices.Contains(names, name) {
			return nil, errors.New("away")
		}
		return w.headAt(name, at), nil
	})
	data, err := g.evidence()
	w.check(err)
	var e evidence
	w.check(json.Unmarshal(data, &e))
	return e
}

func TestBeacon(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	after := time.Now().Truncate(time.Second)
	at := after.Add(2 * time.Second)
	all := w.gathered(after, at, benefits, civil, health, tax)
	if len(all.Heads) != 4 {
		t.Fatal(all)
	}
	value := func(e evidence) []byte {
		t.Helper()
		data, err := bundle.Encode(e)
		w.check(err)
		b, err := Beacon(w.chain.Versions(), data, after)
		w.check(err)
		return b
	}
	first := value(all)
	if len(first) != 32 || !bytes.Equal(first, value(w.gathered(after, at.Add(time.Minute), benefits, civil, health, tax))) {
		t.Error("the beacon is of more than origins, sizes and roots")
	}
	three := w.gathered(after, at, benefits, health, tax) // a quorum
	if bytes.Equal(first, value(three)) {
		t.Error("a head makes no difference")
	}
	w.size++
	if bytes.Equal(first, value(w.gathered(after, at, benefits, civil, health, tax))) {
		t.Error("an entry makes no difference")
	}
	other := newWorld(t, network.ModeDemo)
	for name, bad := range map[string]func(e *evidence){
		"another version":        func(e *evidence) { e.Version = 2 },
		"an unknown network":     func(e *evidence) { e.Configuration = other.cfg.Digest() },
		"too few":                func(e *evidence) { e.Heads = e.Heads[:2] },
		"none":                   func(e *evidence) { e.Heads = nil },
		"one twice":              func(e *evidence) { e.Heads[1] = e.Heads[0] },
		"out of order":           func(e *evidence) { e.Heads[0], e.Heads[1] = e.Heads[1], e.Heads[0] },
		"of a log of nobody":     func(e *evidence) { e.Heads[3].Origin = "z" + e.Heads[3].Origin },
		"one in another's place": func(e *evidence) { e.Heads[0].Checkpoint = e.Heads[1].Checkpoint },
		"a changed root":         func(e *evidence) { e.Heads[0].Checkpoint = strings.Replace(e.Heads[0].Checkpoint, "A", "B", 1) },
		"without a cosignature": func(e *evidence) {
			c := &e.Heads[0].Checkpoint
			*c = (*c)[:strings.LastIndex((*c)[:len(*c)-1], "\n")+1]
		},
		"at the announced time": func(e *evidence) { e.Heads[0].Checkpoint = string(w.headAt(benefits, after)) },
		"before it":             func(e *evidence) { e.Heads[2].Checkpoint = string(w.headAt(health, after.Add(-time.Hour))) },
		"of a network like it":  func(e *evidence) { e.Heads[0].Checkpoint = strings.Replace(e.Heads[0].Checkpoint, instance, "tset", 1) },
	} {
		e := w.gathered(after, at, benefits, civil, health, tax)
		bad(&e)
		data, err := bundle.Encode(e)
		w.check(err)
		if _, err := Beacon(w.chain.Versions(), data, after); !errors.Is(err, ErrBeacon) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good, err := bundle.Encode(all)
	w.check(err)
	for name, data := range map[string][]byte{"nothing": nil, "no JSON": []byte("x"), "reformatted": append([]byte(" "), good...),
		"too long": bytes.Repeat([]byte("x"), maxEvidence+1), "another field": bytes.Replace(good, []byte(`{"v":1`), []byte(`{"w":1,"v":1`), 1)} {
		if _, err := Beacon(w.chain.Versions(), data, after); !errors.Is(err, ErrBeacon) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Heads from before the announced time are not gathered, and the first one after it stays.
func TestGathering(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	after := time.Now().Truncate(time.Second)
	g := newGathering(w.cfg, after)
	now := after
	head := func(_ context.Context, name string) ([]byte, error) {
		if name == tax {
			return []byte("no head"), nil
		}
		return w.headAt(name, now), nil
	}
	g.ask(t.Context(), head)
	if g.enough() || len(g.missing()) != 4 {
		t.Fatalf("%d heads", len(g.heads))
	}
	now = after.Add(time.Second)
	g.ask(t.Context(), head)
	first := g.heads[w.cfg.Origin(civil)]
	if !g.enough() || !slices.Equal(g.missing(), []string{tax}) {
		t.Fatalf("%d heads", len(g.heads))
	}
	now = after.Add(time.Minute)
	g.ask(t.Context(), head)
	if g.heads[w.cfg.Origin(civil)] != first {
		t.Error("a later head took the place of the first")
	}
}

func FuzzBeacon(f *testing.F) {
	f.Add([]byte(`{"v":1,"configuration":"","heads":[]}`))
	f.Add([]byte(`{"v":1,"configuration":"` + strings.Repeat("0", 64) + `","heads":[{"origin":"a","checkpoint":"b"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := Beacon(nil, data, time.Time{}); !errors.Is(err, ErrBeacon) {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeQuestion(f *testing.F) {
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte(`{"v":1,"ceremony":"` + strings.Repeat("0", 64) + `","there":true,"seen":7,"wait":15,"step":{"body":"{}","signature":""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := decodeQuestion(data)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		if again, err := decodeQuestion(mustEncode(q)); err != nil || again.Ceremony != q.Ceremony {
			t.Fatal(err)
		}
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	digest := strings.Repeat("0", 64)
	f.Add([]byte(`{"v":1,"ceremonies":[{"ceremony":"` + digest + `","mark":1,"transcript":"` + digest + `","size":5,"state":"turn","keys":[0,0]}]}`))
	f.Add([]byte(`{"v":1,"ceremonies":[{"ceremony":"x","mark":1,"transcript":"` + digest + `","size":-5,"state":"","keys":[0,1]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAnswer(data)
		if err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		for _, p := range a.Ceremonies {
			if _, err := parseDigest(p.Transcript); err != nil || p.Size <= 0 {
				t.Fatalf("%+v", p)
			}
		}
	})
}
