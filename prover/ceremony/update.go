package ceremony

import (
	"context"
	"runtime/debug"
)

// contribute changes the state by secrets from crypto/rand, which uses it up, and returns the payload. The memory that the secrets lay
// in, and what was computed from them, goes back to the system as far as the collector can give it. The error is the context's, which is
// watched in phase 1; phase 2 takes some three seconds for the statement.
func (c *Circuit) contribute(ctx context.Context, s *state) ([]byte, error) {
	defer debug.FreeOSMemory()
	if s.powers == nil {
		s.phase2.Contribute()
	} else if err := s.powers.contribute(ctx, s.digest[:]); err != nil {
		return nil, err
	}
	return s.encode()
}
