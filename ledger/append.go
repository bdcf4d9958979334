package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// A group holds appends until one of them writes the whole batch: whoever gets the turn takes all that wait. Under load,
// many appends share one round of fsyncs and one checkpoint.
type group struct {
	turn    chan struct{} // holds one token while a batch is written
	mu      sync.Mutex
	waiting []*request
}

type request struct {
	entries [][]byte
	bytes   int
	indexes []uint64
	err     error
	done    chan struct{}
}

// Append encodes entries and appends them to the own log. When it returns nil they are durable, the checkpoint that
// covers them is signed, and their indexes are theirs for good; they are not final yet. Entries of one call stand in
// sequence. The limit is MaxBatchBytes for one call.
//
// If ctx ends before the batch is begun nothing is appended; after that, Append waits for the disk.
func (s *Store) Append(ctx context.Context, entries ...entry.Entry) ([]uint64, error) {
	req := &request{done: make(chan struct{})}
	for _, e := range entries {
		raw, err := entry.Encode(e)
		if err != nil {
			return nil, fmt.Errorf("appending: %w", err)
		}
		req.entries = append(req.entries, raw)
		req.bytes += 2 + len(raw)
	}
	if req.bytes > MaxBatchBytes {
		return nil, fmt.Errorf("appending: %d bytes at once, the limit is %d", req.bytes, MaxBatchBytes)
	}
	if len(entries) == 0 {
		return nil, nil
	}
	if err := s.group.run(ctx, req, s.commit); err != nil {
		return nil, fmt.Errorf("appending: %w", err)
	}
	return req.indexes, nil
}

// run waits until req has been written by this or another call.
func (g *group) run(ctx context.Context, req *request, commit func([]*request)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.mu.Lock()
	g.waiting = append(g.waiting, req)
	g.mu.Unlock()
	for {
		select {
		case <-req.done:
			return req.err
		case <-ctx.Done():
			if g.withdraw(req) {
				return ctx.Err()
			}
			<-req.done // in a batch that is being written
			return req.err
		case g.turn <- struct{}{}:
			if batch := g.take(); len(batch) > 0 {
				commit(batch)
				for _, r := range batch {
					close(r.done)
				}
			}
			<-g.turn
		}
	}
}

func (g *group) withdraw(req *request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, req)
	if i < 0 {
		return false
	}
	g.waiting = slices.Delete(g.waiting, i, i+1)
	return true
}

// take removes as many waiting requests as fit one batch.
func (g *group) take() []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, total := 0, 0
	for n < len(g.waiting) && (n == 0 || total+g.waiting[n].bytes <= MaxBatchBytes) {
		total += g.waiting[n].bytes
		n++
	}
	batch := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return batch
}

// commit appends a batch: entries and tiles, then the signer's state, then the signature. Only then may anything be sent.
func (s *Store) commit(batch []*request) {
	first, err := s.appendBatch(batch)
	for _, r := range batch {
		r.err = err
		for range r.entries {
			r.indexes = append(r.indexes, first)
			first++
		}
	}
}

func (s *Store) appendBatch(batch []*request) (first uint64, err error) {
	s.own.write.Lock()
	defer s.own.write.Unlock()
	if err := s.maySign(); err != nil {
		return 0, err
	}
	if s.Halted(s.own.origin) {
		return 0, ErrHalted
	}
	var entries [][]byte
	for _, r := range batch {
		entries = append(entries, r.entries...)
	}
	before := s.own.files.Size()
	size, err := s.own.files.Append(entries)
	if err != nil {
		return 0, s.stopping(err)
	}
	tree, err := s.own.files.Tree(size)
	if err == nil {
		err = s.signed(tree)
	}
	switch {
	case errors.Is(err, tiles.ErrDurability):
		// The state on the disk may cover the entries or not. They stay: the next start adopts or cuts them by it.
		return 0, s.stopping(err)
	case err != nil:
		return 0, errors.Join(err, s.stopping(s.own.files.Rollback(before))) // refused before anything was signed
	}
	return uint64(before), nil
}

// signed signs a tree of the own log whose tiles are durable and sets out to send it.
func (s *Store) signed(tree tlog.Tree) error {
	s.sendMu.Lock()
	defer s.sendMu.Unlock()
	if err := s.signNote(tree); err != nil {
		return err
	}
	if err := s.own.verify(s.notes[tree.N]); err != nil { // what was just written cannot be read: too late to take it back
		return fmt.Errorf("%w: reading back: %w", tiles.ErrDurability, err)
	}
	s.sending.Signed(tree)
	target, final := s.sending.Target().N, s.sending.Final().N
	maps.DeleteFunc(s.notes, func(size int64, _ note.Checkpoint) bool { return size != tree.N && size != target && size != final })
	s.wake()
	if err := s.cosignOwn(); err != nil {
		s.log.Error("own mirror does not cosign", "origin", s.own.origin, "error", err)
	}
	return nil
}

// WaitFinal returns nil once the entry at index of the own log is final. It returns ctx's error, or why the store stopped.
func (s *Store) WaitFinal(ctx context.Context, index uint64) error {
	for {
		changed := s.Changed()
		if h, ok := s.Final(s.own.origin); ok && index < h.Size {
			return nil
		}
		if err := s.Failure(); err != nil {
			return fmt.Errorf("waiting for finality: %w", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for finality: %w", ctx.Err())
		}
	}
}
