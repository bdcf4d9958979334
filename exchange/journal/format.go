package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// MaxFrame is the largest frame in bytes: room for an answer bundle with all its inclusion paths, and small enough that a
// damaged length cannot make Open allocate much.
const MaxFrame = 16 << 20

const (
	magic           = "grille journal 1"
	idSize          = 16
	fileHeaderSize  = len(magic) + idSize + 4
	batchHeaderSize = 12
	prefixSize      = 4                     // length before each frame
	maxBatch        = MaxFrame + prefixSize // payload bytes; the largest frame alone fills a batch
	queueLength     = 1024                  // appends waiting for the writer; more wait in Append
	keepBuffer      = 1 << 20               // a larger write buffer is given back after use
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func fileHeader(id [idSize]byte) []byte {
	b := append([]byte(magic), id[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// batchSums returns the two checksums of a batch that begins at position at.
func batchSums(id [idSize]byte, at int64, length, payload []byte) (ofLength, ofPayload uint32) {
	var seed [idSize + 9]byte
	copy(seed[:], id[:])
	binary.BigEndian.PutUint64(seed[idSize:], uint64(at))
	sum := func(kind byte, b []byte) uint32 {
		seed[idSize+8] = kind
		return crc32.Update(crc32.Checksum(seed[:], castagnoli), castagnoli, b)
	}
	return sum('l', length), sum('p', payload)
}

// putBatchHeader fills in the header of a batch whose payload is complete.
func putBatchHeader(b []byte, id [idSize]byte, at int64) {
	binary.BigEndian.PutUint32(b, uint32(len(b)-batchHeaderSize))
	l, p := batchSums(id, at, b[:4], b[batchHeaderSize:])
	binary.BigEndian.PutUint32(b[4:], l)
	binary.BigEndian.PutUint32(b[8:], p)
}

// errTorn says that no whole batch stands at a position; internal to scan.
var errTorn = errors.New("no whole batch here")

// scan replays the whole batches of a file and returns where they end and the file's size.
func scan(f *os.File, replay func([]byte) error) (id [idSize]byte, good, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return id, 0, 0, err
	}
	size = info.Size()
	header := make([]byte, fileHeaderSize)
	if _, err := f.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return id, 0, 0, err
	}
	copy(id[:], header[len(magic):])
	if string(header) != string(fileHeader(id)) {
		return id, 0, 0, fmt.Errorf("%w: its header is not one of a journal", ErrCorrupt)
	}
	good = int64(fileHeaderSize)
	for good < size {
		payload, err := readBatch(f, id, good, size)
		if errors.Is(err, errTorn) {
			return id, good, size, checkLast(f, id, good, size)
		}
		if err != nil {
			return id, 0, 0, err
		}
		if err := replayBatch(payload, replay); err != nil {
			return id, 0, 0, fmt.Errorf("batch at byte %d: %w", good, err)
		}
		good += int64(batchHeaderSize + len(payload))
	}
	return id, good, size, nil
}

// readLength returns the payload length of the batch at a position, if its header is whole.
func readLength(f *os.File, id [idSize]byte, at, size int64) (n int64, header [batchHeaderSize]byte, err error) {
	if at+batchHeaderSize > size {
		return 0, header, errTorn
	}
	if _, err := f.ReadAt(header[:], at); err != nil {
		return 0, header, err
	}
	n = int64(binary.BigEndian.Uint32(header[:]))
	sum, _ := batchSums(id, at, header[:4], nil)
	if sum != binary.BigEndian.Uint32(header[4:]) || n > maxBatch {
		return 0, header, errTorn
	}
	return n, header, nil
}

// readBatch returns the payload of the batch at a position, or errTorn. It allocates no more than the file holds.
func readBatch(f *os.File, id [idSize]byte, at, size int64) ([]byte, error) {
	n, header, err := readLength(f, id, at, size)
	if err != nil {
		return nil, err
	}
	if at+batchHeaderSize+n > size {
		return nil, errTorn
	}
	payload := make([]byte, n)
	if _, err := f.ReadAt(payload, at+batchHeaderSize); err != nil {
		return nil, err
	}
	if _, sum := batchSums(id, at, header[:4], payload); sum != binary.BigEndian.Uint32(header[8:]) {
		return nil, errTorn
	}
	return payload, nil
}

// checkLast returns nil if the broken batch at a position was the last one, else ErrCorrupt. With a good length the batch
// says itself where it ends. Without one, any whole batch further on shows that it was not the last.
func checkLast(f *os.File, id [idSize]byte, at, size int64) error {
	damaged := fmt.Errorf("%w: at byte %d of %d", ErrCorrupt, at, size)
	n, _, err := readLength(f, id, at, size)
	if err == nil {
		if at+batchHeaderSize+n < size {
			return damaged
		}
		return nil
	}
	if !errors.Is(err, errTorn) {
		return err
	}
	const window = 1 << 16
	buf := make([]byte, window+batchHeaderSize)
	for from := at + 1; from < size; from += window {
		k, err := f.ReadAt(buf, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for i := 0; i < window && i+batchHeaderSize <= k; i++ {
			if sum, _ := batchSums(id, from+int64(i), buf[i:i+4], nil); sum != binary.BigEndian.Uint32(buf[i+4:]) {
				continue
			}
			switch _, err := readBatch(f, id, from+int64(i), size); {
			case err == nil:
				return damaged
			case !errors.Is(err, errTorn):
				return err
			}
		}
	}
	return nil
}

// replayBatch hands out the frames of a payload whose checksum is right.
func replayBatch(payload []byte, replay func([]byte) error) error {
	if len(payload) == 0 {
		return fmt.Errorf("%w: empty batch", ErrCorrupt)
	}
	for len(payload) > 0 {
		if len(payload) < prefixSize {
			return fmt.Errorf("%w: frames do not fill their batch", ErrCorrupt)
		}
		n := int(binary.BigEndian.Uint32(payload))
		payload = payload[prefixSize:]
		if n == 0 || n > len(payload) {
			return fmt.Errorf("%w: frames do not fill their batch", ErrCorrupt)
		}
		if err := replay(payload[:n:n]); err != nil {
			return fmt.Errorf("replaying: %w", err)
		}
		payload = payload[n:]
	}
	return nil
}
