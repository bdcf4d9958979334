package ledger

import (
	"fmt"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/note"
)

// Origins returns the origins of all logs, fenced ones too.
func (s *Store) Origins() []string { return slices.Clone(s.order) }

// Tile returns a tile of a log as C2SP tlog-tiles serves it: exactly t.W hashes, or for level -1 the bundle of t.W entries,
// each after its length in two bytes. t.H is 8, t.W 1 to 256. The error is ErrOrigin, or ErrRange for what lies beyond Size.
func (s *Store) Tile(origin string, t tlog.Tile) ([]byte, error) {
	r, err := s.replica(origin)
	if err != nil {
		return nil, fmt.Errorf("reading tile of %q: %w", origin, err)
	}
	data, err := r.serve(t)
	if err != nil {
		return nil, fmt.Errorf("reading tile of %q: %w", origin, err)
	}
	return data, nil
}

func (r *replica) serve(t tlog.Tile) ([]byte, error) {
	level := max(t.L, 0)
	if t.H != torchwood.TileHeight || t.L < -1 || t.L > 7 || t.W < 1 || t.W > torchwood.TileWidth || t.N < 0 || t.N > note.MaxTreeSize {
		return nil, fmt.Errorf("%w: no such tile", ErrRange)
	}
	if have, to := r.tree().N>>(torchwood.TileHeight*level), t.N*torchwood.TileWidth+int64(t.W); to > have {
		return nil, fmt.Errorf("%w: up to %d of %d at level %d", ErrRange, to, have, t.L)
	}
	return r.files.Tile(t)
}
