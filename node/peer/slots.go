package peer

import "sync"

// slots bounds how many of something there are at once, in all and for each key.
type slots struct {
	all, each int

	mu    sync.Mutex
	total int
	taken map[string]int // by key; no zeros
}

func newSlots(all, each int) *slots {
	return &slots{all: all, each: each, taken: make(map[string]int)}
}

// take reports whether there was a slot; give it back.
func (s *slots) take(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.all || s.taken[key] >= s.each {
		return false
	}
	s.total++
	s.taken[key]++
	return true
}

func (s *slots) give(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.taken[key]--; s.taken[key] == 0 {
		delete(s.taken, key)
	}
}
