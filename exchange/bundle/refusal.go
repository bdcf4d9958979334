package bundle

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// CheckTime checks that a refusal is dated between two times, give or take what the holder's ledger may be behind and clocks may differ:
// from when the query was issued to when the refusal was had.
func (r *Refusal) CheckTime(c *network.Configuration, from, until time.Time) error {
	at, err := entry.ParseTime(r.Time)
	if err != nil {
		return err
	}
	if at.Before(from.Add(-Window(c))) || at.After(until.Add(Window(c))) {
		return fmt.Errorf("checking a refusal: it is not of the query's time: %w", ErrEncoding)
	}
	return nil
}

// CheckPromise checks, under any of the configurations, that the holder signed to log the receipt of this refusal of a query. From is when
// the query was issued, until when the refusal was had.
func (s *SignedRefusal) CheckPromise(configurations []*network.Configuration, holder string, query receipt.Hash, from, until time.Time) error {
	want := receipt.Digest(s.Salt, query, receipt.OutcomeRefused, s.Refusal.Digest(LabelRefusal))
	var errs []error
	for _, cfg := range configurations {
		err := byAny([]*network.Configuration{cfg}, holder, func(key ed25519.PublicKey) error {
			_, err := OpenPromise(&s.Promise, key, cfg, holder, query, want, from, until)
			return err
		})
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
