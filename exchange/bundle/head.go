package bundle

import (
	"crypto/ed25519"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
)

// CheckHead checks that a checkpoint of a log is final by one of the configurations, in its one form, and returns its tree and the
// median of its cosignature times. A receipt may be logged, or shown, under a later configuration than the answer.
func CheckHead(configurations []*network.Configuration, origin, head string) (tlog.Tree, time.Time, error) {
	var errs []error
	for _, cfg := range configurations {
		tree, times, err := verifyHead(cfg, origin, head)
		if err == nil {
			median, err := Median(times)
			return tree, median, err
		}
		errs = append(errs, err)
	}
	return tlog.Tree{}, time.Time{}, errors.Join(errs...)
}

// CheckIncluded checks that an entry stands at its index of a tree.
func CheckIncluded(e *Entry, tree tlog.Tree) error { return included(e, tree) }

// OpenBy opens an envelope with the query key that a member has in any of the configurations.
func (s *Signed) OpenBy(configurations []*network.Configuration, member, label string, v any) error {
	return byAny(configurations, member, func(key ed25519.PublicKey) error { return s.Open(key, label, v) })
}

// byAny tries the query keys that a member had.
func byAny(configurations []*network.Configuration, member string, try func(ed25519.PublicKey) error) error {
	var errs []error
	for _, cfg := range configurations {
		key, err := Key(cfg, member)
		if err == nil {
			err = try(key)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// DecodeCanonical reads data of at most max bytes strictly and refuses every spelling but Encode's.
func DecodeCanonical(data []byte, max int, v any) error { return decodeCanonical(data, max, v) }
