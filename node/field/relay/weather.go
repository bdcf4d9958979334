package relay

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// Weather is how one direction of a link treats datagrams. The zero value carries each at once.
type Weather struct {
	Delay     time.Duration // of every datagram
	Jitter    time.Duration // at most this much more or less than Delay, evenly spread; at most Delay
	Loss      float64       // share that never arrives, 0 to 1
	Duplicate float64       // share of the rest that arrives twice, 0 to 1
	Reorder   float64       // share that is held back, so that later ones overtake it, 0 to 1
	HoldBack  time.Duration // how long those are held back
}

// ErrWeather says that a Weather has a share beyond 0 to 1, a negative time, or more jitter than delay.
var ErrWeather = errors.New("no such weather")

func (w Weather) check() error {
	for _, share := range []float64{w.Loss, w.Duplicate, w.Reorder} {
		if !(share >= 0 && share <= 1) {
			return fmt.Errorf("%w: a share of %g", ErrWeather, share)
		}
	}
	if w.Delay < 0 || w.HoldBack < 0 || w.Jitter < 0 || w.Jitter > w.Delay {
		return fmt.Errorf("%w: delay %s, jitter %s, held back %s", ErrWeather, w.Delay, w.Jitter, w.HoldBack)
	}
	return nil
}

// A Fate is what becomes of one datagram.
type Fate struct {
	Lost   bool
	Copies int           // 1 or 2; 0 if lost
	Delay  time.Duration // of every copy
	Held   bool          // later ones may overtake it; Delay includes the holding back
}

// Fate decides about the n-th datagram from one member to another. It is a function of its arguments alone: the same seed gives
// the same weather on every run and machine, whatever the other directions carry.
func (w Weather) Fate(seed uint64, from, to string, n uint64) Fate {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n%d\n%s\n%s", seed, n, from, to)
	sum := h.Sum(nil)
	rng := rand.New(rand.NewPCG(binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:])))
	// All are drawn whatever the others say, so that changing one share leaves the decisions about the others alone.
	loss, duplicate, reorder, jitter := rng.Float64(), rng.Float64(), rng.Float64(), rng.Float64()
	if loss < w.Loss {
		return Fate{Lost: true}
	}
	f := Fate{Copies: 1, Delay: w.Delay + time.Duration((2*jitter-1)*float64(w.Jitter))}
	if duplicate < w.Duplicate {
		f.Copies = 2
	}
	if reorder < w.Reorder {
		f.Held, f.Delay = true, f.Delay+w.HoldBack
	}
	return f
}
