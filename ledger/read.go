package ledger

import (
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/view"
)

// Final returns the newest final head of a log, with the newest quorum of cosignatures. It is false while there is none.
func (s *Store) Final(origin string) (Head, bool) {
	r, err := s.replica(origin)
	if err != nil {
		return Head{}, false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.head, r.head.Size > 0
}

// Size returns how many entries of a log are here, durable and covered by its owner's signature. Final or not, Read, View
// and Inclusion serve these.
func (s *Store) Size(origin string) uint64 {
	r, err := s.replica(origin)
	if err != nil {
		return 0
	}
	return uint64(r.tree().N)
}

func (r *replica) tree() tlog.Tree {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.verified
}

// Stored returns how many entries of a log are here counting those pulled towards a head that is not reached: where to
// pull from next.
func (s *Store) Stored(origin string) uint64 {
	r, err := s.replica(origin)
	if err != nil {
		return 0
	}
	return uint64(r.files.Size())
}

// Read returns entries from index from up to, not including, to: as many as fit MaxPushBytes, at least one if there is
// one. A to beyond Size is cut; a from beyond it is ErrRange.
func (s *Store) Read(origin string, from, to uint64) ([][]byte, error) {
	r, err := s.replica(origin)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", origin, err)
	}
	size := uint64(r.tree().N)
	to = min(to, size)
	if from > to {
		return nil, fmt.Errorf("reading %q: %w: entry %d of %d", origin, ErrRange, from, size)
	}
	entries, err := r.files.Entries(int64(from), int64(to), MaxPushBytes)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", origin, err)
	}
	return entries, nil
}

// Inclusion returns the path from the entry at index to the root of the tree of that size, at most Size.
func (s *Store) Inclusion(origin string, index, size uint64) ([]tlog.Hash, error) {
	r, err := s.replica(origin)
	if err != nil {
		return nil, fmt.Errorf("proving inclusion in %q: %w", origin, err)
	}
	if n := uint64(r.tree().N); size > n || index >= size {
		return nil, fmt.Errorf("proving inclusion in %q: %w: entry %d in size %d of %d", origin, ErrRange, index, size, n)
	}
	path, err := tlog.ProveRecord(int64(size), int64(index), r.files)
	if err != nil {
		return nil, fmt.Errorf("proving inclusion in %q: %w", origin, err)
	}
	return path, nil
}

// Consistency returns the proof that the tree of size next begins with the tree of size last; 1 <= last <= next <= Size.
func (s *Store) Consistency(origin string, last, next uint64) ([]tlog.Hash, error) {
	r, err := s.replica(origin)
	if err != nil {
		return nil, fmt.Errorf("proving growth of %q: %w", origin, err)
	}
	if n := uint64(r.tree().N); next > n || last > next || last == 0 {
		return nil, fmt.Errorf("proving growth of %q: %w: size %d to %d of %d", origin, ErrRange, last, next, n)
	}
	proof, err := tlog.ProveTree(int64(next), int64(last), r.files)
	if err != nil {
		return nil, fmt.Errorf("proving growth of %q: %w", origin, err)
	}
	return proof, nil
}

// Proof returns a C2SP tlog-proof for the entry at index under the newest final head, and that head.
func (s *Store) Proof(origin string, index uint64) ([]byte, Head, error) {
	h, ok := s.Final(origin)
	if !ok {
		return nil, Head{}, fmt.Errorf("proving inclusion in %q: %w: nothing is final", origin, ErrRange)
	}
	path, err := s.Inclusion(origin, index, h.Size)
	if err != nil {
		return nil, Head{}, err
	}
	return note.EncodeProof(index, path, h.Checkpoint), h, nil
}

// View returns the facts below a size of one log, final or not, up to Size. Of an unknown log it is empty.
func (s *Store) View(origin string, size uint64) *view.View {
	r, err := s.replica(origin)
	if err != nil {
		return view.NewLog().At(0)
	}
	return r.facts.At(size)
}

// A Query selects final entries. Empty fields and zero times select everything; From is included, To is not.
type Query struct {
	Kind    string
	Member  string // owner of the log
	Dataset string
	Policy  string
	From    time.Time
	To      time.Time
	After   string // Cursor of the last entry of the page before
	Limit   int    // 1 to MaxFound; 0: 100
}

// A Found is one entry that matches. Time is what its owner wrote, or 1970 if nothing.
type Found struct {
	Origin  string
	Member  string
	Index   uint64
	Kind    string // empty for bytes that are no entry
	Dataset string
	Policy  string
	Time    time.Time
	Cursor  string
}

// Search returns final entries, newest first. Read gives their bytes.
func (s *Store) Search(q Query) ([]Found, error) {
	if q.Limit == 0 {
		q.Limit = 100
	}
	if q.Limit < 0 || q.Limit > MaxFound {
		return nil, fmt.Errorf("searching: %w: limit %d, want 1 to %d", index.ErrQuery, q.Limit, MaxFound)
	}
	rows, err := s.index.Search(index.Query{Kind: q.Kind, Member: q.Member, Dataset: q.Dataset, Policy: q.Policy,
		From: q.From, To: q.To, After: q.After, Limit: q.Limit})
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	out := make([]Found, len(rows))
	for i, r := range rows {
		out[i] = Found{Origin: r.Origin, Member: r.Member, Index: r.Index, Kind: r.Kind, Dataset: r.Dataset,
			Policy: r.Policy, Time: r.Time, Cursor: r.Cursor()}
	}
	return out, nil
}
