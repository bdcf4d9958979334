package gossip

import (
	"crypto/sha256"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/note"
)

// Bounds of what members send each other here.
const (
	// maxTail is how many entries come with a pulled head at most, and maxTailBytes how many bytes. More are pulled by themselves.
	maxTail      = 64
	maxTailBytes = 64 << 10
	// maxItemBytes bounds the entries of one reply to a pull.
	maxItemBytes = 1 << 20
	// maxEvidence bounds the evidence that a state names; the store keeps no more. maxFetch is how much is fetched at once.
	maxEvidence = 256
	maxFetch    = 8
	// maxListed bounds the standing checkpoints that a state names; there are none where all is well. maxStanding bounds those of a
	// reply: of each log the largest one and a suspect one.
	maxListed        = 1024
	maxStanding      = 2 * core.MaxLogs
	maxStandingBytes = 2<<20 - 64
	// stateMark is how many bytes of a state's digest go with announcements.
	stateMark = 8
)

// hash names evidence and checkpoints.
type hash = [sha256.Size]byte

// An announcement is the first bytes of the digest of the sender's state, and marks without roots.
func encodeAnnouncement(mark [stateMark]byte, marks []core.Mark) []byte {
	return append(mark[:], core.EncodeMarks(marks, false)...)
}

func decodeAnnouncement(data []byte, logs int) (mark [stateMark]byte, marks []core.Mark, err error) {
	if len(data) < stateMark {
		return mark, nil, fmt.Errorf("%w: announcement", ledger.ErrMessage)
	}
	marks, err = core.DecodeMarks(data[stateMark:], false, logs)
	return [stateMark]byte(data), marks, err
}

// An item is one log of a reply to a pull.
type item struct {
	log        int
	checkpoint []byte         // a head's note
	entries    ledger.Entries // empty, or all from what the asker has up to the head
}

// A reply to a pull is a list of items: number of the log in 2 bytes, note after a 16-bit length, entries message, or nothing,
// after a 24-bit length.
func encodeItems(items []item) []byte {
	var b cryptobyte.Builder
	for _, i := range items {
		b.AddUint16(uint16(i.log))
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(i.checkpoint) })
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) {
			if len(i.entries.Entries) > 0 {
				b.AddBytes(i.entries.Encode())
			}
		})
	}
	return b.BytesOrPanic()
}

// decodeItems reads a reply: items of the logs that were asked for, in that order, each at most once.
func decodeItems(data []byte, asked []core.Mark) ([]item, error) {
	s := cryptobyte.String(data)
	var items []item
	for next := 0; !s.Empty(); next++ {
		var number uint16
		var text, run cryptobyte.String
		if !s.ReadUint16(&number) || !s.ReadUint16LengthPrefixed(&text) || !s.ReadUint24LengthPrefixed(&run) ||
			len(text) == 0 || len(text) > note.MaxSize {
			return nil, fmt.Errorf("%w: pulled heads", ledger.ErrMessage)
		}
		for next < len(asked) && asked[next].Log != int(number) {
			next++
		}
		if next >= len(asked) {
			return nil, fmt.Errorf("%w: a head that was not asked for", ledger.ErrMessage)
		}
		i := item{log: int(number), checkpoint: text}
		if len(run) > 0 {
			var err error
			if i.entries, err = ledger.DecodeEntries(run); err != nil {
				return nil, err
			}
			if len(i.entries.Entries) > maxTail {
				return nil, fmt.Errorf("%w: pulled entries", ledger.ErrMessage)
			}
		}
		items = append(items, i)
	}
	return items, nil
}

// A comparison asks with the digests of heads and state, and is answered with times, and with marks and state where they differ.
type comparison struct {
	received, sent time.Time
	marks          []core.Mark // with roots; nil if the heads are the same
	differ         bool        // marks are meant
	listing        *listing    // nil if the state is the same
}

// A listing is a member's state but for the heads.
type listing struct {
	version    int  // of the configuration
	succession hash // digest of what is known on the way to the next; zero if nothing
	evidence   []hash
	standing   []hash // checkpoints beyond final heads that have not become final for a while
}

const (
	flagMarks = 1
	flagState = 2
)

func (c comparison) encode() []byte {
	var b cryptobyte.Builder
	b.AddUint64(uint64(c.received.UnixNano()))
	b.AddUint64(uint64(c.sent.UnixNano()))
	var flags uint8
	if c.differ {
		flags |= flagMarks
	}
	if c.listing != nil {
		flags |= flagState
	}
	b.AddUint8(flags)
	if c.differ {
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(core.EncodeMarks(c.marks, true)) })
	}
	if c.listing != nil {
		b.AddBytes(c.listing.encode())
	}
	return b.BytesOrPanic()
}

func (l *listing) encode() []byte {
	var b cryptobyte.Builder
	b.AddUint32(uint32(l.version))
	b.AddBytes(l.succession[:])
	for _, list := range [][]hash{l.evidence, l.standing} {
		b.AddUint16(uint16(len(list)))
		for _, h := range list {
			b.AddBytes(h[:])
		}
	}
	return b.BytesOrPanic()
}

func decodeComparison(data []byte, logs int) (comparison, error) {
	s := cryptobyte.String(data)
	var received, sent uint64
	var flags uint8
	ok := s.ReadUint64(&received) && s.ReadUint64(&sent) && s.ReadUint8(&flags) && flags <= flagMarks|flagState
	c := comparison{received: time.Unix(0, int64(received)), sent: time.Unix(0, int64(sent)), differ: flags&flagMarks != 0}
	if ok && c.differ {
		var list cryptobyte.String
		if ok = s.ReadUint24LengthPrefixed(&list); ok {
			var err error
			if c.marks, err = core.DecodeMarks(list, true, logs); err != nil {
				return comparison{}, err
			}
		}
	}
	if ok && flags&flagState != 0 {
		c.listing = new(listing)
		ok = c.listing.read(&s)
	}
	if !ok || !s.Empty() {
		return comparison{}, fmt.Errorf("%w: comparison", ledger.ErrMessage)
	}
	return c, nil
}

func (l *listing) read(s *cryptobyte.String) bool {
	var version uint32
	ok := s.ReadUint32(&version) && s.CopyBytes(l.succession[:]) && readHashes(s, &l.evidence, maxEvidence) &&
		readHashes(s, &l.standing, maxListed)
	l.version = int(version)
	return ok
}

func readHashes(s *cryptobyte.String, out *[]hash, most int) bool {
	var n uint16
	if !s.ReadUint16(&n) || int(n) > most || len(*s) < int(n)*sha256.Size {
		return false
	}
	*out = make([]hash, n)
	for i := range *out {
		s.CopyBytes((*out)[i][:])
	}
	return true
}

// A list of hashes, for asking, is their bytes one after another.
func encodeHashes(list []hash) []byte {
	var out []byte
	for _, h := range list {
		out = append(out, h[:]...)
	}
	return out
}

func decodeHashes(data []byte, most int) ([]hash, error) {
	if len(data)%sha256.Size != 0 || len(data)/sha256.Size > most || len(data) == 0 {
		return nil, fmt.Errorf("%w: list of hashes", ledger.ErrMessage)
	}
	var out []hash
	for ; len(data) > 0; data = data[sha256.Size:] {
		out = append(out, hash(data))
	}
	return out, nil
}

// Documents travel each after a length of 3 bytes.
func encodeDocuments(list [][]byte, most int) []byte {
	var b cryptobyte.Builder
	total := 0
	for _, d := range list {
		if total += 3 + len(d); total > most {
			break
		}
		b.AddUint24LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(d) })
	}
	return b.BytesOrPanic()
}

func decodeDocuments(data []byte, count, size int) ([][]byte, error) {
	s := cryptobyte.String(data)
	var out [][]byte
	for !s.Empty() {
		var d cryptobyte.String
		if len(out) == count || !s.ReadUint24LengthPrefixed(&d) || len(d) == 0 || len(d) > size {
			return nil, fmt.Errorf("%w: documents", ledger.ErrMessage)
		}
		out = append(out, d)
	}
	return out, nil
}

// A range is wanted entries of a log: origin with a length byte, from and to as 8 bytes each, big endian; from < to.
func encodeRange(origin string, from, to uint64) []byte {
	var b cryptobyte.Builder
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(origin)) })
	b.AddUint64(from)
	b.AddUint64(to)
	return b.BytesOrPanic()
}

func decodeRange(data []byte) (origin string, from, to uint64, err error) {
	s := cryptobyte.String(data)
	var name cryptobyte.String
	ok := s.ReadUint8LengthPrefixed(&name) && len(name) <= ledger.MaxOrigin &&
		s.ReadUint64(&from) && s.ReadUint64(&to) && s.Empty()
	if !ok || from >= to || to > 1<<62 {
		return "", 0, 0, fmt.Errorf("%w: range", ledger.ErrMessage)
	}
	return string(name), from, to, nil
}
