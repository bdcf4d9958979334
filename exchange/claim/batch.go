package claim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

// Run logs the claims of each beat until ctx ends, and closes scopes whose time is over. A journal that fails ends it with an error:
// the process has to stop.
func (r *Register) Run(ctx context.Context) error {
	for {
		now := r.opts.Now()
		next := receipt.BeatStart(receipt.BeatAt(now, r.opts.Beat)+1, r.opts.Beat)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(max(next.Sub(now), time.Millisecond)):
		}
		if err := r.CloseBeat(ctx); err != nil && ctx.Err() == nil {
			r.opts.Logger.Warn("claims not logged yet", slog.Any("error", err))
		}
		if err := r.failure(); err != nil {
			return fmt.Errorf("logging claims: %w: %w", ErrFailed, err)
		}
	}
}

// CloseBeat logs the batches of the beat that ended last, if a scope is open and they are not on the log. What a beat has no room for
// waits for the next.
func (r *Register) CloseBeat(ctx context.Context) error {
	r.publishing.Lock()
	last, _, some := r.all().NewestClaims()
	beat := receipt.BeatAt(r.opts.Now(), r.opts.Beat) - 1
	var err error
	if !some || last < beat {
		for range r.opts.Batches {
			if err = r.publish(ctx, beat); err != nil {
				break
			}
		}
	}
	if err == nil && r.index.Full() {
		err = r.turn()
	}
	r.publishing.Unlock()
	return errors.Join(err, r.closeOver(ctx))
}

// closeOver closes the scopes whose time is over.
func (r *Register) closeOver(ctx context.Context) error {
	var errs []error
	for _, s := range r.all().Scopes() {
		closes, err := entry.ParseTime(s.Open.Closes)
		if err == nil && !s.Closed && r.opts.Now().After(closes) {
			_, err = r.appendClose(ctx, s, "its time is over")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// publish logs one batch. publishing is held.
func (r *Register) publish(ctx context.Context, beat uint64) error {
	if !anyOpen(r.all()) {
		return nil
	}
	if err := r.read(); err != nil { // an append that failed may be on the log
		return err
	}
	last, _, _ := r.all().NewestClaims()
	claims := r.next()
	drawn, err := pad(claims)
	if err != nil {
		return err
	}
	batch := entry.ClaimsBatch{Beat: max(beat, last), Time: entry.FormatTime(r.opts.Now())}
	for _, n := range drawn {
		batch.Nullifiers = append(batch.Nullifiers, n.String())
	}
	indexes, err := r.opts.Ledger.Append(ctx, batch)
	if err != nil {
		return fmt.Errorf("logging claims: %w", err)
	}
	return r.place(indexes[0], claims)
}

func anyOpen(v *view.View) bool {
	for _, s := range v.Scopes() {
		if !s.Closed {
			return true
		}
	}
	return false
}

// next picks up to 64 claims that stand in no batch, in no order.
func (r *Register) next() []receipt.Hash {
	r.mu.Lock()
	defer r.mu.Unlock()
	var claims []receipt.Hash
	for n := range r.waiting {
		if len(claims) == entry.Claims {
			break
		}
		claims = append(claims, n)
	}
	return claims
}

// pad adds random elements and shuffles: nobody can tell a random element from a nullifier without the scope's key.
func pad(claims []receipt.Hash) ([]receipt.Hash, error) {
	batch := append(make([]receipt.Hash, 0, entry.Claims), claims...)
	for len(batch) < entry.Claims {
		var e fr.Element
		if _, err := e.SetRandom(); err != nil {
			return nil, fmt.Errorf("drawing padding: %w", err)
		}
		if !e.IsZero() {
			batch = append(batch, e.Bytes())
		}
	}
	// The top-level generator is ChaCha8, seeded by the system.
	rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	return batch, nil
}

// place remembers where claims stand: on disk, so that a restart need not read the batch again and take its padding for claims.
func (r *Register) place(index uint64, claims []receipt.Hash) error {
	r.turning.RLock()
	defer r.turning.RUnlock()
	if err := r.keep(frame{Op: opPlaced, Entry: index, Placed: claims}); err != nil {
		return fmt.Errorf("%w: %w", ErrFailed, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range claims {
		r.index.Add(n, index)
		delete(r.waiting, n)
	}
	r.through = index + 1
	return nil
}

// read looks through batches on the own log that this register does not remember: one whose Append failed or was followed by a
// crash, all of them after its files were lost or set back to an older copy. What stands there and does not wait is taken for a claim,
// padding too: it costs 32 bytes, and a claim that is forgotten could be made again.
func (r *Register) read() error {
	r.mu.Lock()
	from := r.through
	r.mu.Unlock()
	batches := r.all().Claims(from)
	for _, index := range batches {
		raw, err := r.opts.Ledger.Read(r.opts.Origin, index, index+1)
		if err != nil || len(raw) != 1 {
			return fmt.Errorf("reading claims batch %d: %w", index, err)
		}
		nullifiers, err := Nullifiers(raw[0])
		if err != nil {
			return err
		}
		r.mu.Lock()
		for _, n := range nullifiers {
			if _, known, err := r.index.Find(n); err != nil {
				r.mu.Unlock()
				return err
			} else if !known {
				r.index.Add(n, index)
			}
			delete(r.waiting, n)
		}
		r.through = index + 1
		r.mu.Unlock()
		if r.index.Full() {
			if err := r.turn(); err != nil {
				return err
			}
		}
	}
	// What was read here is in no frame: it is in a file before the next batch's frame says how far the log was read.
	if len(batches) > 0 {
		return r.turn()
	}
	return nil
}

// Nullifiers reads the entry of a claims batch.
func Nullifiers(raw []byte) ([]receipt.Hash, error) {
	e, err := entry.Decode(raw)
	if err != nil {
		return nil, fmt.Errorf("reading a claims batch: %w", err)
	}
	batch, ok := e.(entry.ClaimsBatch)
	if !ok {
		return nil, fmt.Errorf("reading a claims batch: the entry is a %s: %w", e.Kind(), bundle.ErrEncoding)
	}
	list := make([]receipt.Hash, len(batch.Nullifiers))
	for i, text := range batch.Nullifiers {
		if err := list[i].UnmarshalText([]byte(text)); err != nil {
			return nil, fmt.Errorf("reading a claims batch: %w", err)
		}
	}
	return list, nil
}
