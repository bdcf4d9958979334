package ledger

import (
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
)

// A history is the configurations that led to the one in force.
type history struct{ newest *network.Configuration }

func (h history) At(version int) (*network.Configuration, bool) {
	return h.newest, version == h.newest.Version
}

// Versions returns them, oldest first.
func (h history) Versions() []*network.Configuration { return []*network.Configuration{h.newest} }

// Pins returns the trees of a log that what is cosigned must contain.
func (h history) Pins(string) []tlog.Tree { return nil }

// mayCosign says whether this mirror may cosign a tree of a log now. What the tree must contain is above's to check. Call
// with the lock held under which the log is cosigned.
func (s *Store) mayCosign(r *replica, _ tlog.Tree) error {
	if err := s.maySign(); err != nil {
		return err
	}
	if s.Halted(r.origin) {
		return ErrHalted
	}
	if err := s.onTime(); err != nil {
		return err
	}
	return nil
}

// Config returns the configuration in force.
func (s *Store) Config() *network.Configuration { return s.cfg }
