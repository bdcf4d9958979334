package core

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrMarks says that bytes are no list of marks. Drop the message.
var ErrMarks = errors.New("malformed list of logs and sizes")

const (
	// MaxLogs bounds the logs that have a number: those of 1,024 members, and as many fenced ones.
	MaxLogs = 4096
	// MaxMarks bounds an encoded list in bytes: a number, a size of at most 2^50 and four bytes of root for each log.
	MaxMarks = 1 + MaxLogs*(2+8+4)
	// maxMarkSize bounds a size: what a checkpoint may have.
	maxMarkSize = 1 << 50
)

// A Mark is how large a log is. Logs are numbered by the configuration, so that a mark is a few bytes.
type Mark struct {
	Log  int
	Size uint64
	Root [4]byte // first bytes of the root; only where roots are compared
}

// RootMark is the part of a root that stands in a mark. Owners cannot steer around it unseen: a root that differs elsewhere only
// is found when the log grows.
func RootMark(root tlog.Hash) [4]byte { return [4]byte(root[:4]) }

// EncodeMarks writes marks, whose logs must ascend, as varints: for each the distance from the log before (the first from -1)
// and the size; with roots, four bytes of root behind it.
func EncodeMarks(marks []Mark, roots bool) []byte {
	var out []byte
	before := -1
	for _, m := range marks {
		out = binary.AppendUvarint(out, uint64(m.Log-before))
		out = binary.AppendUvarint(out, m.Size)
		if roots {
			out = append(out, m.Root[:]...)
		}
		before = m.Log
	}
	return out
}

// DecodeMarks reads marks of fewer than logs logs. There is one encoding of a list, and decoding costs no more memory than a few
// times the bytes.
func DecodeMarks(data []byte, roots bool, logs int) ([]Mark, error) {
	if len(data) > MaxMarks {
		return nil, fmt.Errorf("%w: %d bytes", ErrMarks, len(data))
	}
	out := make([]Mark, 0, min(logs, len(data)/2))
	before := -1
	for len(data) > 0 {
		var step, size uint64
		var ok bool
		if step, data, ok = uvarint(data); !ok || step == 0 || step > math.MaxInt32 || before+int(step) >= logs {
			return nil, fmt.Errorf("%w: log", ErrMarks)
		}
		if size, data, ok = uvarint(data); !ok || size > maxMarkSize {
			return nil, fmt.Errorf("%w: size", ErrMarks)
		}
		m := Mark{Log: before + int(step), Size: size}
		if roots {
			if len(data) < len(m.Root) {
				return nil, fmt.Errorf("%w: root", ErrMarks)
			}
			copy(m.Root[:], data)
			data = data[len(m.Root):]
		}
		out, before = append(out, m), m.Log
	}
	return slices.Clip(out), nil
}

// uvarint reads one varint in its shortest form.
func uvarint(data []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(data)
	if n <= 0 || n > 1 && data[n-1] == 0 {
		return 0, data, false
	}
	return v, data[n:], true
}
