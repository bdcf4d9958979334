package ledger

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/note"
)

// ErrMessage says that a peer's bytes are not a message of the ledger. Drop the message.
var ErrMessage = errors.New("malformed ledger message")

// Messages are big endian: a byte for kind and version, then fields with length prefixes. Entries stand as in a C2SP
// entry bundle, each after its 16-bit length.
const (
	wirePush    = 0x11
	wireReply   = 0x21
	wireEntries = 0x41
)

// A Push carries a checkpoint that its owner signed to a mirror, with entries that the mirror lacks.
type Push struct {
	Origin     string
	Checkpoint []byte // signed note
	From       uint64 // index of Entries[0]
	Entries    [][]byte
}

// A PushReply is a mirror's answer.
type PushReply struct {
	Cosignature []byte // signature line with its newline; empty while entries are missing
	Size        uint64 // of the checkpoint that was cosigned
	Have        uint64 // entries the mirror holds: send from here
}

// A Head is a checkpoint with the cosignatures of exactly a quorum.
type Head struct {
	Origin     string
	Size       uint64
	Root       tlog.Hash
	Checkpoint []byte      // signed note: the owner's signature and q cosignatures
	Times      []time.Time // the cosignatures' times, ascending
}

func (h Head) tree() tlog.Tree { return tlog.Tree{N: int64(h.Size), Hash: h.Root} }

// Entries is a run of entries of one log.
type Entries struct {
	From    uint64
	Entries [][]byte
}

// Encode returns the message; its length is at most MaxMessage for a push that Store.Outgoing made.
func (p Push) Encode() []byte {
	var b cryptobyte.Builder
	b.AddUint8(wirePush)
	addString8(&b, p.Origin)
	addBytes16(&b, p.Checkpoint)
	b.AddUint64(p.From)
	addEntries(&b, p.Entries)
	return b.BytesOrPanic()
}

// DecodePush reads a push; lengths are bounded, nothing is verified.
func DecodePush(data []byte) (Push, error) {
	s, ok := opened(data, wirePush)
	var p Push
	ok = ok && readString8(s, &p.Origin) && readBytes16(s, &p.Checkpoint, note.MaxSize) &&
		s.ReadUint64(&p.From) && readEntries(s, &p.Entries) && s.Empty()
	if !ok || p.From > note.MaxTreeSize {
		return Push{}, fmt.Errorf("%w: push", ErrMessage)
	}
	return p, nil
}

// Encode returns the message.
func (r PushReply) Encode() []byte {
	var b cryptobyte.Builder
	b.AddUint8(wireReply)
	addBytes16(&b, r.Cosignature)
	b.AddUint64(r.Size)
	b.AddUint64(r.Have)
	return b.BytesOrPanic()
}

// DecodePushReply reads a reply.
func DecodePushReply(data []byte) (PushReply, error) {
	s, ok := opened(data, wireReply)
	var r PushReply
	ok = ok && readBytes16(s, &r.Cosignature, MaxLine) && s.ReadUint64(&r.Size) && s.ReadUint64(&r.Have) && s.Empty()
	if !ok || r.Size > note.MaxTreeSize || r.Have > note.MaxTreeSize {
		return PushReply{}, fmt.Errorf("%w: push reply", ErrMessage)
	}
	return r, nil
}

// HeadOf returns the head in a signed note, with nothing verified and Times nil. AddHead verifies it.
// Errors: ErrMessage for what is no checkpoint of that origin.
func HeadOf(origin string, checkpoint []byte) (Head, error) {
	c, err := note.Parse(checkpoint)
	if err == nil && c.Origin != origin {
		err = fmt.Errorf("it is of %q", c.Origin)
	}
	if err != nil {
		return Head{}, fmt.Errorf("%w: head of %q: %w", ErrMessage, origin, err)
	}
	return Head{Origin: origin, Size: uint64(c.Tree.N), Root: c.Tree.Hash, Checkpoint: checkpoint}, nil
}

// Encode returns the message.
func (e Entries) Encode() []byte {
	var b cryptobyte.Builder
	b.AddUint8(wireEntries)
	b.AddUint64(e.From)
	addEntries(&b, e.Entries)
	return b.BytesOrPanic()
}

// DecodeEntries reads a run of entries.
func DecodeEntries(data []byte) (Entries, error) {
	s, ok := opened(data, wireEntries)
	var e Entries
	ok = ok && s.ReadUint64(&e.From) && readEntries(s, &e.Entries) && s.Empty()
	if !ok || e.From > note.MaxTreeSize {
		return Entries{}, fmt.Errorf("%w: entries", ErrMessage)
	}
	return e, nil
}

func opened(data []byte, kind uint8) (*cryptobyte.String, bool) {
	s := cryptobyte.String(data)
	var k uint8
	ok := len(data) <= MaxMessage && s.ReadUint8(&k) && k == kind
	return &s, ok
}

func addString8(b *cryptobyte.Builder, s string) {
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

func addBytes16(b *cryptobyte.Builder, data []byte) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data) })
}

func addEntries(b *cryptobyte.Builder, entries [][]byte) {
	b.AddUint32LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, e := range entries {
			addBytes16(b, e)
		}
	})
}

func readString8(s *cryptobyte.String, out *string) bool {
	var b cryptobyte.String
	if !s.ReadUint8LengthPrefixed(&b) || len(b) > MaxOrigin {
		return false
	}
	*out = string(b)
	return true
}

func readBytes16(s *cryptobyte.String, out *[]byte, max int) bool {
	var b cryptobyte.String
	if !s.ReadUint16LengthPrefixed(&b) || len(b) > max {
		return false
	}
	if len(b) > 0 {
		*out = append([]byte(nil), b...)
	}
	return true
}

func readEntries(s *cryptobyte.String, out *[][]byte) bool {
	var n uint32
	var raw []byte
	if !s.ReadUint32(&n) || n > MaxPushBytes || !s.ReadBytes(&raw, int(n)) {
		return false
	}
	b := cryptobyte.String(raw)
	for !b.Empty() {
		var e cryptobyte.String
		if !b.ReadUint16LengthPrefixed(&e) || len(e) == 0 || len(e) > entry.MaxSize {
			return false
		}
		*out = append(*out, e)
	}
	return true
}
