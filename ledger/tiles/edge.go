package tiles

import (
	"fmt"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	height = torchwood.TileHeight
	width  = torchwood.TileWidth
	// maxBundle bounds an entry bundle in bytes: 256 entries, each after two length bytes.
	maxBundle = width * (2 + 65535)
	// maxTile is the size of a full hash tile in bytes.
	maxTile = width * tlog.HashSize
)

// An edge is the right edge of a tree: at each level the hashes of the tile that is not yet full, and the entry bundle
// that is not yet full. With it a tree grows without reading anything. Edges are values: extend copies what it changes.
type edge struct {
	size   int64
	levels [][]byte // levels[l] holds size>>(8l) mod 256 hashes
	bundle []byte   // the last size mod 256 entries
}

// A tileFile is a tile's coordinates (level -1: an entry bundle) and its content.
type tileFile struct {
	tile tlog.Tile
	data []byte
}

// extend appends entries and returns the new edge with every tile to be written: those that became full, and the
// partial ones at the new size whose width changed.
func (e edge) extend(entries [][]byte) (edge, []tileFile) {
	next := edge{size: e.size, bundle: clip(e.bundle)}
	for _, l := range e.levels {
		next.levels = append(next.levels, clip(l))
	}
	var out []tileFile
	touched := 0 // levels below this one changed
	for _, raw := range entries {
		b, err := torchwood.AppendTileEntry(next.bundle, raw)
		if err != nil {
			panic("tiles: entry longer than its caller allows: " + err.Error())
		}
		next.bundle = b
		next.size++
		if next.size%width == 0 {
			out = append(out, tileFile{tlog.Tile{H: height, L: -1, N: next.size/width - 1, W: width}, next.bundle})
			next.bundle = nil
		}
		h := tlog.RecordHash(raw)
		for l := 0; ; l++ {
			touched = max(touched, l+1)
			if l == len(next.levels) {
				next.levels = append(next.levels, nil)
			}
			next.levels[l] = append(next.levels[l], h[:]...)
			if len(next.levels[l]) < maxTile {
				break
			}
			n := next.size>>(height*(l+1)) - 1
			out = append(out, tileFile{tlog.Tile{H: height, L: l, N: n, W: width}, next.levels[l]})
			h = rootOf(next.levels[l])
			next.levels[l] = nil
		}
	}
	return next, append(out, next.partials(touched)...)
}

// partials returns the partial tiles of levels below n, and the partial bundle if n > 0.
func (e edge) partials(n int) []tileFile {
	var out []tileFile
	if w := int(e.size % width); n > 0 && w > 0 {
		out = append(out, tileFile{tlog.Tile{H: height, L: -1, N: e.size / width, W: w}, e.bundle})
	}
	for l, data := range e.levels {
		if w := len(data) / tlog.HashSize; l < n && w > 0 {
			out = append(out, tileFile{tlog.Tile{H: height, L: l, N: e.size >> (height * (l + 1)), W: w}, data})
		}
	}
	return out
}

// clip makes append copy, so that two edges never share what they write to.
func clip(b []byte) []byte { return b[:len(b):len(b)] }

// rootOf hashes a full tile's 256 hashes to the one above them.
func rootOf(data []byte) tlog.Hash {
	row := make([]tlog.Hash, len(data)/tlog.HashSize)
	for i := range row {
		row[i] = tlog.Hash(data[i*tlog.HashSize:])
	}
	for len(row) > 1 {
		for i := range len(row) / 2 {
			row[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
		row = row[:len(row)/2]
	}
	return row[0]
}

// split cuts a bundle into at most n entries and returns the bytes they took. It fails if there are fewer.
func split(bundle []byte, n int) (entries [][]byte, used int, err error) {
	rest := bundle
	for range n {
		var e []byte
		if e, rest, err = torchwood.ReadTileEntry(rest); err != nil || len(e) == 0 {
			return nil, 0, fmt.Errorf("%w: entry bundle cut off or with an empty entry", ErrCorrupt)
		}
		entries = append(entries, e)
	}
	return entries, len(bundle) - len(rest), nil
}
