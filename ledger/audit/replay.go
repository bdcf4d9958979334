package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A replay reads the entries of one log in order and computes everything above them anew: each hash tile, and the root at
// each size that somebody signed. It holds one bundle and the right edge of the tree.
type replay struct {
	folder
	dir   string // of the log
	size  int64  // entries to read
	marks []int64
	begin func(entries [][]byte) // before the entries of a bundle are visited; may be nil
	visit func(index uint64, raw []byte) error
	step  func() // after each bundle; may be nil

	n        int64
	bytes    int64
	stack    []tlog.Hash // roots of the perfect trees that n entries fall into, largest first
	rows     [][]byte    // by level, the hashes of the tile that is not yet full
	roots    map[int64]tlog.Hash
	suspects []suspect
	more     int64 // suspects beyond maxSuspects
}

// A suspect is a tile on the disk that differs from what the entries give. Which of the two is wrong, a signed root tells.
type suspect struct {
	tile tlog.Tile
	at   []int // hashes that differ
	err  error
}

// A damaged bundle ends a replay: what follows cannot be known.
type damaged struct {
	index   int64 // first entry of the bundle
	missing bool
	err     error
}

func (d *damaged) Error() string { return fmt.Sprintf("entry bundle from %d: %v", d.index, d.err) }
func (d *damaged) Unwrap() error { return d.err }

// run reads entries up to size. The error is a *damaged, or ctx's, or visit's.
func (r *replay) run(ctx context.Context) error {
	r.roots = make(map[int64]tlog.Hash)
	slices.Sort(r.marks)
	r.mark()
	for r.n < r.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.bundle(r.n/width, int(min(r.size-r.n, width))); err != nil {
			return err
		}
		if r.step != nil {
			r.step()
		}
	}
	for level, row := range r.rows {
		if w := len(row) / tlog.HashSize; w > 0 {
			r.compare(tlog.Tile{H: height, L: level, N: r.n >> (height * (level + 1)), W: w}, row)
		}
	}
	return nil
}

// bundle reads the n-th entry bundle, of which the first w entries belong to the log.
func (r *replay) bundle(n int64, w int) error {
	t := tlog.Tile{H: height, L: -1, N: n, W: w}
	data, have, err := r.tile(r.dir, t)
	if err != nil {
		return &damaged{n * width, errors.Is(err, fs.ErrNotExist), err}
	}
	entries, more, err := split(data, have)
	if err != nil {
		return &damaged{n * width, false, err}
	}
	if more > 0 {
		r.suspect(t, nil, fmt.Errorf("%d bytes after the last of %d entries", more, have))
	}
	if r.begin != nil {
		r.begin(entries[:w])
	}
	for i, raw := range entries[:w] {
		r.bytes += int64(len(raw))
		if err := r.visit(uint64(n*width)+uint64(i), raw); err != nil {
			return err
		}
		r.push(tlog.RecordHash(raw))
	}
	if w < width {
		r.narrower(t, data, entries)
	}
	return nil
}

// narrower compares the partial bundles that were published on the way with the newest one.
func (r *replay) narrower(t tlog.Tile, data []byte, entries [][]byte) {
	for _, w := range r.partials(r.dir, t) {
		if w >= t.W {
			continue
		}
		size := 0
		for _, e := range entries[:w] {
			size += 2 + len(e)
		}
		p := t
		p.W = w
		if have, err := r.fs.Read(tilePath(r.dir, p), maxBundle); err == nil && !bytes.Equal(have, data[:size]) {
			r.suspect(p, nil, errors.New("does not begin as the newest one does"))
		}
	}
}

// push adds a leaf to the tree.
func (r *replay) push(leaf tlog.Hash) {
	h := leaf
	for k := r.n; k&1 == 1; k >>= 1 {
		h = tlog.NodeHash(r.stack[len(r.stack)-1], h)
		r.stack = r.stack[:len(r.stack)-1]
	}
	r.stack = append(r.stack, h)
	r.n++
	h = leaf
	for level := 0; ; level++ {
		if level == len(r.rows) {
			r.rows = append(r.rows, make([]byte, 0, maxTile))
		}
		r.rows[level] = append(r.rows[level], h[:]...)
		if len(r.rows[level]) < maxTile {
			break
		}
		r.compare(tlog.Tile{H: height, L: level, N: r.n>>(height*(level+1)) - 1, W: width}, r.rows[level])
		h = rootOf(r.rows[level])
		r.rows[level] = r.rows[level][:0]
	}
	r.mark()
}

// mark remembers the root if somebody signed this size.
func (r *replay) mark() {
	for len(r.marks) > 0 && r.marks[0] <= r.n {
		if r.marks[0] == r.n {
			r.roots[r.n] = r.root()
		}
		r.marks = r.marks[1:]
	}
}

// root is the root of all entries read (RFC 6962, section 2.1).
func (r *replay) root() tlog.Hash {
	if len(r.stack) == 0 {
		h, err := tlog.TreeHash(0, nil)
		if err != nil {
			panic("audit: hashing the empty tree: " + err.Error())
		}
		return h
	}
	h := r.stack[len(r.stack)-1]
	for _, left := range slices.Backward(r.stack[:len(r.stack)-1]) {
		h = tlog.NodeHash(left, h)
	}
	return h
}

// rootOf hashes a full tile's hashes to the one above them.
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

// compare compares a hash tile with what the entries give, and the narrower ones at its place.
func (r *replay) compare(t tlog.Tile, want []byte) {
	data, w, err := r.tile(r.dir, t)
	switch {
	case err != nil:
		r.suspect(t, nil, err)
	case len(data) != w*tlog.HashSize:
		r.suspect(t, nil, fmt.Errorf("%d bytes, not %d", len(data), w*tlog.HashSize))
	case !bytes.Equal(data[:len(want)], want):
		r.suspect(t, differ(data, want), errors.New("does not follow from the entries"))
	}
	if t.W == width {
		return
	}
	for _, w := range r.partials(r.dir, t) {
		p := t
		if p.W = w; w >= t.W {
			continue
		}
		if data, err := r.fs.Read(tilePath(r.dir, p), maxTile); err == nil && !bytes.Equal(data, want[:w*tlog.HashSize]) {
			r.suspect(p, differ(data, want), errors.New("does not follow from the entries"))
		}
	}
}

// differ returns the hashes in which two tiles differ.
func differ(a, b []byte) (at []int) {
	for i := 0; i+tlog.HashSize <= min(len(a), len(b)); i += tlog.HashSize {
		if !bytes.Equal(a[i:i+tlog.HashSize], b[i:i+tlog.HashSize]) {
			at = append(at, i/tlog.HashSize)
		}
	}
	return at
}

func (r *replay) suspect(t tlog.Tile, at []int, err error) {
	if len(r.suspects) == maxSuspects {
		r.more++
		return
	}
	r.suspects = append(r.suspects, suspect{t, at, err})
}

// missing tells whether there is no such file.
func (s suspect) missing() bool { return errors.Is(s.err, fs.ErrNotExist) }

// name is a tile's path below the log's folder.
func (s suspect) name() string { return filepath.ToSlash(tilePath("", s.tile)) }

// A tileReader reads hash tiles from the folder for tlog.TileHashReader, which verifies them against a tree.
type tileReader struct {
	folder
	dir string
}

func (t tileReader) Height() int { return height }

func (t tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

func (t tileReader) ReadTiles(want []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(want))
	for i, tile := range want {
		data, w, err := t.tile(t.dir, tile)
		if err != nil {
			return nil, err
		}
		if len(data) != w*tlog.HashSize {
			return nil, fmt.Errorf("hash tile of %d bytes, not %d", len(data), w*tlog.HashSize)
		}
		out[i] = data[:tile.W*tlog.HashSize]
	}
	return out, nil
}

// hashes reads the tree's hashes, each verified against its root.
func (f folder) hashes(dir string, tree tlog.Tree) tlog.HashReader {
	return tlog.TileHashReader(tree, tileReader{f, dir})
}
