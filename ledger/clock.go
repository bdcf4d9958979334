package ledger

import (
	"fmt"
	"time"

	"github.com/grille-gateway/grille/ledger/core"
	"github.com/grille-gateway/grille/ledger/signer"
)

// ObserveClock notes that another member's clock was seen to be offset ahead of this one's, now.
func (s *Store) ObserveClock(member string, offset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock.Observe(member, offset, s.now())
}

// Clock returns what the mirrors' clocks say about this one. A mirror whose clock is skewed cosigns nothing.
func (s *Store) Clock() core.ClockVerdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock.Verdict(s.now())
}

// onTime refuses to cosign by a clock that the other mirrors disagree with.
func (s *Store) onTime() error {
	if v := s.Clock(); v.Skewed {
		return fmt.Errorf("%w: the mirrors' median is %s from this clock", signer.ErrClock, v.Offset.Round(time.Second))
	}
	return nil
}

// newClock returns a clock to be judged by the mirrors of the configuration.
func (s *Store) newClock() *core.Clock {
	var mirrors []string
	for _, m := range s.cfg.Mirrors() {
		mirrors = append(mirrors, m.Name)
	}
	return core.NewClock(s.member, mirrors, s.quorum)
}
