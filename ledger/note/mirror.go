package note

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/tlog"
)

// Bounds and media types of C2SP tlog-mirror.
const (
	// PackageEntries is how many entries a package of an upload has at most; packages end at its multiples.
	PackageEntries = 256
	// MaxOrigin bounds the origin of an upload in bytes, as tlog-cosignature does.
	MaxOrigin = 255
	// MaxMirrorInfo bounds the body of a conflict in bytes: two sizes and a ticket.
	MaxMirrorInfo = 64 + (1<<16)*4/3 + 4
	// MirrorInfoType is the media type of a MirrorInfo.
	MirrorInfoType = "text/x.tlog.mirror-info"
	// EntriesType is the media type of an upload.
	EntriesType = "application/octet-stream"
)

// An AddEntries is the head of an upload of entries to a mirror (tlog-mirror add-entries). Packages follow it: those of
// Packages, or the first few of them.
//
//	uint16 length, origin; uint64 start; uint64 end; uint16 length, ticket
type AddEntries struct {
	Origin     string
	Start, End int64 // the entries [Start, End) of the tree of size End
	Ticket     []byte
}

// Append appends the head to b.
func (a AddEntries) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.Origin)))
	b = append(b, a.Origin...)
	b = binary.BigEndian.AppendUint64(b, uint64(a.Start))
	b = binary.BigEndian.AppendUint64(b, uint64(a.End))
	b = binary.BigEndian.AppendUint16(b, uint16(len(a.Ticket)))
	return append(b, a.Ticket...)
}

// ReadAddEntries reads the head of an upload and leaves r at the first package.
func ReadAddEntries(r io.Reader) (AddEntries, error) {
	origin, err := readBytes16(r)
	if err != nil || len(origin) == 0 || len(origin) > MaxOrigin || !utf8.Valid(origin) {
		return AddEntries{}, fmt.Errorf("%w: origin", ErrRequest)
	}
	var sizes [16]byte
	if _, err := io.ReadFull(r, sizes[:]); err != nil {
		return AddEntries{}, fmt.Errorf("%w: sizes", ErrRequest)
	}
	start, end := binary.BigEndian.Uint64(sizes[:]), binary.BigEndian.Uint64(sizes[8:])
	if start > end || end > MaxTreeSize {
		return AddEntries{}, fmt.Errorf("%w: start beyond the end, or end out of range", ErrRequest)
	}
	ticket, err := readBytes16(r)
	if err != nil {
		return AddEntries{}, fmt.Errorf("%w: ticket", ErrRequest)
	}
	return AddEntries{Origin: string(origin), Start: int64(start), End: int64(end), Ticket: ticket}, nil
}

// readBytes16 reads bytes after their length in two bytes.
func readBytes16(r io.Reader) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// A Package is a part of an upload that can be verified by itself: the entries [Start, End), with the proof that the
// subtree [Base, End) they complete is one of the tree of the upload's end. Base is Start rounded down to a multiple of
// PackageEntries.
type Package struct {
	Start, End int64
	Entries    [][]byte
	Proof      []tlog.Hash // CheckSubtree verifies it
}

// Base returns the first index of the package's subtree.
func (p Package) Base() int64 { return p.Start / PackageEntries * PackageEntries }

// Next returns the bounds of the package that begins at start, which is below a.End.
func (a AddEntries) Next(start int64) Package {
	p := Package{Start: start}
	p.End = min(a.End, p.Base()+PackageEntries)
	return p
}

// Append appends the package to b: each entry after its length in two bytes, the number of hashes in a byte, the hashes.
func (p Package) Append(b []byte) []byte {
	for _, e := range p.Entries {
		b = binary.BigEndian.AppendUint16(b, uint16(len(e)))
		b = append(b, e...)
	}
	b = append(b, byte(len(p.Proof)))
	for _, h := range p.Proof {
		b = append(b, h[:]...)
	}
	return b
}

// ErrCutOff says that a body ended within a package or before it. What came before counts.
var ErrCutOff = errors.New("upload is cut off")

// Read reads the package's entries and proof. Errors: ErrCutOff, ErrRequest. Entries are taken as they are: an empty one
// is none of ours, but whether a log has one is not said by the format.
func (p *Package) Read(r io.Reader) error {
	p.Entries, p.Proof = nil, nil
	for range p.End - p.Start {
		e, err := readBytes16(r)
		if err != nil {
			return fmt.Errorf("%w: entry", ErrCutOff)
		}
		p.Entries = append(p.Entries, e)
	}
	var n [1]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return fmt.Errorf("%w: number of hashes", ErrCutOff)
	}
	if n[0] > MaxProofLines {
		return fmt.Errorf("%w: %d hashes, the limit is %d", ErrRequest, n[0], MaxProofLines)
	}
	for range n[0] {
		var h tlog.Hash
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return fmt.Errorf("%w: hash", ErrCutOff)
		}
		p.Proof = append(p.Proof, h)
	}
	return nil
}

// A MirrorInfo is what a mirror answers an upload with that does not fit, or is not complete (MirrorInfoType).
type MirrorInfo struct {
	Size   int64  // of a checkpoint to upload towards
	Next   int64  // first entry that is missing
	Ticket []byte // opaque; to be sent with the next upload
}

// Encode returns the body: three lines.
func (m MirrorInfo) Encode() []byte {
	return fmt.Appendf(nil, "%d\n%d\n%s\n", m.Size, m.Next, base64.StdEncoding.EncodeToString(m.Ticket))
}

// ParseMirrorInfo reads the body.
func ParseMirrorInfo(data []byte) (MirrorInfo, error) {
	if len(data) > MaxMirrorInfo {
		return MirrorInfo{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrRequest, len(data), MaxMirrorInfo)
	}
	lines := strings.Split(string(data), "\n")
	if len(lines) != 4 || lines[3] != "" {
		return MirrorInfo{}, fmt.Errorf("%w: not three lines", ErrRequest)
	}
	size, ok := parseSize(lines[0])
	next, ok2 := parseSize(lines[1])
	ticket, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if !ok || !ok2 || err != nil || len(ticket) >= 1<<16 || base64.StdEncoding.EncodeToString(ticket) != lines[2] {
		return MirrorInfo{}, fmt.Errorf("%w: sizes or ticket", ErrRequest)
	}
	return MirrorInfo{Size: size, Next: next, Ticket: ticket}, nil
}
