package ceremony

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/grille-gateway/grille/ledger/entry"
)

// Bounds on what members tell one another about a ceremony, checked before anything is allocated.
const (
	// MaxPart is how many bytes of a file travel in one message.
	MaxPart = 512 << 10
	// maxRequest bounds a request of kind ceremony: a signed step, or a few names.
	maxRequest = 16 << 10
	// maxStatus bounds a reply of kind ceremony.
	maxStatus = 256 << 10

	digestSize = sha256.Size
	fetchSize  = digestSize + 8 + 4
	offerHead  = digestSize + digestSize + 8 + 8
)

// ErrMessage says that a member's message about a ceremony cannot be read. Nothing of it was used.
var ErrMessage = errors.New("malformed ceremony message")

// digest is the SHA-256 of a file, which names it.
type digest [digestSize]byte

func (d digest) String() string { return hex.EncodeToString(d[:]) }

// parseDigest reads 64 lower-case hexadecimal digits.
func parseDigest(s string) (digest, error) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != digestSize || hex.EncodeToString(raw) != s {
		return digest{}, fmt.Errorf("%w: %d characters are not a SHA-256 in hexadecimal digits", ErrMessage, len(s))
	}
	return digest(raw), nil
}

// fetch asks for a part of a file.
//
//	fetch = SHA-256 (32 bytes) | offset (8 bytes) | length (4 bytes, 1 to MaxPart), big endian
//	reply = the bytes from offset on: length of them, or fewer where the file ends
type fetch struct {
	File   digest
	Offset uint64
	Length uint32
}

func (f fetch) encode() []byte {
	b := append(make([]byte, 0, fetchSize), f.File[:]...)
	b = binary.BigEndian.AppendUint64(b, f.Offset)
	return binary.BigEndian.AppendUint32(b, f.Length)
}

func decodeFetch(data []byte) (fetch, error) {
	if len(data) != fetchSize {
		return fetch{}, fmt.Errorf("%w: a fetch of %d bytes", ErrMessage, len(data))
	}
	f := fetch{digest(data[:digestSize]), binary.BigEndian.Uint64(data[digestSize:]), binary.BigEndian.Uint32(data[digestSize+8:])}
	if f.Length == 0 || f.Length > MaxPart || f.Offset > maxFile {
		return fetch{}, fmt.Errorf("%w: a fetch of %d bytes at %d", ErrMessage, f.Length, f.Offset)
	}
	return f, nil
}

// offer brings a part of a contribution's bytes. A part that does not begin where the coordinator's file ends is not taken; the
// reply says where that is, so an empty part asks.
//
//	offer = ceremony (32) | SHA-256 of the contribution (32) | its size (8) | offset (8) | part (0 to MaxPart bytes), big endian
//	reply = bytes held (8)
type offer struct {
	Ceremony, File digest
	Size, Offset   uint64
	Part           []byte
}

func (o offer) encode() []byte {
	b := append(make([]byte, 0, offerHead+len(o.Part)), o.Ceremony[:]...)
	b = append(b, o.File[:]...)
	b = binary.BigEndian.AppendUint64(b, o.Size)
	b = binary.BigEndian.AppendUint64(b, o.Offset)
	return append(b, o.Part...)
}

func decodeOffer(data []byte) (offer, error) {
	if len(data) < offerHead || len(data) > offerHead+MaxPart {
		return offer{}, fmt.Errorf("%w: an offer of %d bytes", ErrMessage, len(data))
	}
	o := offer{digest(data[:32]), digest(data[32:64]), binary.BigEndian.Uint64(data[64:]), binary.BigEndian.Uint64(data[72:]), data[offerHead:]}
	if o.Size == 0 || o.Size > maxFile || o.Offset > o.Size || uint64(len(o.Part)) > o.Size-o.Offset {
		return offer{}, fmt.Errorf("%w: an offer of %d bytes at %d of %d", ErrMessage, len(o.Part), o.Offset, o.Size)
	}
	return o, nil
}

func encodeHeld(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func decodeHeld(data []byte, size uint64) (uint64, error) {
	if len(data) != 8 {
		return 0, fmt.Errorf("%w: %d bytes say how many are held", ErrMessage, len(data))
	}
	n := binary.BigEndian.Uint64(data)
	if n > size {
		return 0, fmt.Errorf("%w: %d bytes held of %d", ErrMessage, n, size)
	}
	return n, nil
}

// decode reads a JSON message of another member strictly.
func decode(data []byte, limit int, v any) error {
	if err := entry.DecodeStrict(data, limit, v); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}
