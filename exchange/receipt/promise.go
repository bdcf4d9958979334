package receipt

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// A Promise is the holder's signed word that a receipt will stand at a place in the batch of one beat. It is signed inside an
// envelope of the bundle package; this is its body.
type Promise struct {
	Version  int    `json:"v"`        // 1
	Member   string `json:"member"`   // whose log will carry the batch
	Query    Hash   `json:"query"`    // digest of the signed query
	Receipt  Hash   `json:"receipt"`  // see Digest
	Beat     uint64 `json:"beat"`     // Unix time divided by the instance's beat length, rounded down
	Place    uint32 `json:"place"`    // leaf in the beat's tree
	Deadline string `json:"deadline"` // RFC 3339, UTC, see Deadline; downtime excuses nothing
}

// ErrBroken reports a promise whose batch is missing after its deadline, or whose batch does not hold the receipt.
var ErrBroken = errors.New("receipt promise broken")

// BeatAt is the number of the beat that t falls into, for beats of the given length.
func BeatAt(t time.Time, length time.Duration) uint64 {
	return uint64(t.UnixNano() / int64(length))
}

// BeatStart is the first instant of a beat.
func BeatStart(beat uint64, length time.Duration) time.Time {
	return time.Unix(0, int64(min(beat, lastBeat(length)))*int64(length)).UTC()
}

// lastBeat is the last beat that begins within what Unix nanoseconds can say, in 2262. Beyond it, times would wrap around to ours.
func lastBeat(length time.Duration) uint64 { return uint64(math.MaxInt64 / int64(length)) }

// Deadline is when the batch of a beat has to be final: two beat lengths after that beat began, so that at least one whole beat
// is left to append the batch and make it final.
func Deadline(beat uint64, length time.Duration) time.Time {
	return BeatStart(beat+2, length)
}

// Check reports a promise that is not well formed for a beat of the given length.
func (p *Promise) Check(length time.Duration) error {
	if p.Version != 1 {
		return fmt.Errorf("checking a promise: version %d: %w", p.Version, ErrEncoding)
	}
	if p.Beat > lastBeat(length)-2 || p.Deadline != Deadline(p.Beat, length).Format(time.RFC3339) {
		return fmt.Errorf("checking a promise: deadline is not that of its beat: %w", ErrEncoding)
	}
	return nil
}

// A Proof shows that a kept promise was kept: the siblings from the receipt up to the root in the batch entry.
type Proof struct {
	Path []Hash `json:"path"` // Depth hashes, leaf first
}
