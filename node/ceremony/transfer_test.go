package ceremony

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/grille-gateway/grille/node/peer"
)

func TestMain(m *testing.M) {
	retryAfter = 5 * time.Millisecond
	os.Exit(m.Run())
}

// bytesOf are n bytes that are not all alike.
func bytesOf(n int) []byte {
	data, r := make([]byte, n), rand.New(rand.NewPCG(1, uint64(n)))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return data
}

// serveFile answers fetches of one file, and fails where fault says so.
func serveFile(t *testing.T, data []byte, asked *[]fetch, fault func(call int, reply []byte) ([]byte, error)) Caller {
	return func(_ context.Context, _ string, kind peer.Kind, body []byte) ([]byte, error) {
		f, err := decodeFetch(body)
		if err != nil || kind != peer.KindFetch {
			t.Fatal(kind, err)
		}
		*asked = append(*asked, f)
		return fault(len(*asked), data[f.Offset:f.Offset+uint64(f.Length)])
	}
}

func fine(_ int, reply []byte) ([]byte, error) { return reply, nil }

// A download that is cut off goes on where it was, in a later process, too.
func TestDownloadGoesOn(t *testing.T) {
	data, dir := bytesOf(3*MaxPart+7), t.TempDir()
	name := digest(sha256.Sum256(data))
	ctx, cancel := context.WithCancel(t.Context())
	var asked []fetch
	cut := serveFile(t, data, &asked, func(call int, reply []byte) ([]byte, error) {
		if call == 3 {
			cancel()
			return nil, peer.ErrUnreachable
		}
		return reply, nil
	})
	if _, err := cut.download(ctx, "GOV/a", dir, name, int64(len(data)), func(int64) {}); !errors.Is(err, peer.ErrUnreachable) {
		t.Fatal(err)
	}
	asked = nil
	var done []int64
	got, err := serveFile(t, data, &asked, func(call int, reply []byte) ([]byte, error) {
		if call == 1 {
			return nil, &peer.RemoteError{Code: peer.CodeBusy}
		}
		return reply, nil
	}).download(t.Context(), "GOV/a", dir, name, int64(len(data)), func(n int64) { done = append(done, n) })
	if err != nil || !bytes.Equal(got, data) {
		t.Fatal(err)
	}
	if asked[0].Offset != 2*MaxPart || len(asked) != 3 || done[0] != 2*MaxPart {
		t.Errorf("asked %v, told %v", asked, done)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What a member sends in place of what it was asked for is not used, is not kept, and the next attempt begins anew.
func TestDownloadOfSomethingElse(t *testing.T) {
	data := bytesOf(MaxPart + 100)
	name := digest(sha256.Sum256(data))
	for _, c := range []struct {
		what  string
		fault func(int, []byte) ([]byte, error)
		want  error
	}{
		{"another byte", func(call int, reply []byte) ([]byte, error) {
			reply = bytes.Clone(reply)
			reply[0] ^= byte(call / 2) // in the second part
			return reply, nil
		}, errContent},
		{"too little", func(_ int, reply []byte) ([]byte, error) { return reply[1:], nil }, ErrMessage},
		{"nothing", func(int, []byte) ([]byte, error) { return nil, nil }, ErrMessage},
		{"too much", func(_ int, reply []byte) ([]byte, error) { return append(bytes.Clone(reply), 0), nil }, ErrMessage},
	} {
		dir := t.TempDir()
		var asked []fetch
		if _, err := serveFile(t, data, &asked, c.fault).download(t.Context(), "GOV/a", dir, name, int64(len(data)), func(int64) {}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
		if got, err := serveFile(t, data, &asked, fine).download(t.Context(), "GOV/a", dir, name, int64(len(data)), func(int64) {}); err != nil || !bytes.Equal(got, data) {
			t.Errorf("after %s: %v", c.what, err)
		}
	}
	var refusal *peer.RemoteError
	refused := func(context.Context, string, peer.Kind, []byte) ([]byte, error) {
		return nil, &peer.RemoteError{Code: "not_held"}
	}
	if _, err := Caller(refused).download(t.Context(), "GOV/a", t.TempDir(), name, 5, func(int64) {}); !errors.As(err, &refusal) {
		t.Errorf("a refusal is not asked again: %v", err)
	}
	if _, err := Caller(refused).download(t.Context(), "GOV/a", t.TempDir(), name, maxFile+1, func(int64) {}); !errors.Is(err, ErrMessage) {
		t.Errorf("a file beyond all bounds: %v", err)
	}
}

// An upload goes on where the coordinator is, whatever got lost on the way.
func TestUploadGoesOn(t *testing.T) {
	data, dir := bytesOf(2*MaxPart+3), t.TempDir()
	name := digest(sha256.Sum256(data))
	calls := 0
	call := Caller(func(_ context.Context, _ string, _ peer.Kind, body []byte) ([]byte, error) {
		o, err := decodeOffer(body)
		if err != nil || o.File != name || o.Ceremony != (digest{7}) {
			t.Fatal(err)
		}
		p, err := newPartial(dir, "b-", o.File, int64(o.Size))
		if err != nil {
			t.Fatal(err)
		}
		calls++
		held, err := p.add(int64(o.Offset), o.Part)
		if err != nil {
			t.Fatal(err)
		}
		if calls == 3 { // it was written, and the reply got lost
			return nil, peer.ErrUnreachable
		}
		return encodeHeld(uint64(held)), nil
	})
	var last int64
	if err := call.upload(t.Context(), "GOV/a", digest{7}, data, func(n int64) { last = n }); err != nil || last != int64(len(data)) {
		t.Fatal(last, err)
	}
	p, err := newPartial(dir, "b-", name, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.take(); err != nil || !bytes.Equal(got, data) {
		t.Error(err)
	}
}

func TestPartial(t *testing.T) {
	data, dir := bytesOf(100), t.TempDir()
	p, err := newPartial(dir, "", sha256.Sum256(data), 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		offset int64
		part   []byte
		held   int64
		fails  bool
	}{{1, data[1:5], 0, false}, {0, data[:60], 60, false}, {0, data[:60], 60, false}, {60, data[:41], 60, true}, {60, nil, 60, false}} {
		held, err := p.add(step.offset, step.part)
		if held != step.held || (err != nil) != step.fails {
			t.Errorf("%d bytes at %d: %d held, %v", len(step.part), step.offset, held, err)
		}
	}
	if _, err := p.take(); err == nil {
		t.Error("took a part")
	}
	if err := os.WriteFile(p.path, make([]byte, 101), 0o600); err != nil { // longer than it may be: not ours
		t.Fatal(err)
	}
	if held, err := p.held(); held != 0 || err != nil {
		t.Error(held, err)
	}
	for _, size := range []int64{-1, 0, maxFile + 1} {
		if _, err := newPartial(dir, "", digest{}, size); !errors.Is(err, ErrMessage) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
