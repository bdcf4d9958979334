package tiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

var (
	// ErrCorrupt says that files of a log are missing or not what was written. Restore the folder or fetch the log again.
	ErrCorrupt = errors.New("log files are damaged")
	// ErrRange says that an index or a size lies beyond the log.
	ErrRange = errors.New("beyond the log")
)

// A Log is the files of one log. They are read without Disk.Read's care: whatever vouches for the size that a log is opened
// at was written after they were durable. Append and Rollback need a caller that serialises them; reading goes on beside them.
//
// After Open the disk is not believed: entries are compared with the level-0 tile above them, and each hash tile with the
// tile above it, up to the edge in memory, before anything of them is served. What differs is ErrCorrupt.
type Log struct {
	disk *Disk
	dir  string

	damaged map[tlog.Tile]bool // full tiles that Repair writes anew

	mu   sync.RWMutex
	edge edge
}

// Open reads the log in dir up to size entries, which the caller knows to have been durable, and calls visit for each entry
// in order. It changes nothing: the caller compares Tree with what was signed, for damage to entries shows there, and then
// calls Repair.
func Open(disk *Disk, dir string, size int64, visit func(index uint64, raw []byte) error) (*Log, error) {
	l := &Log{disk: disk, dir: dir, damaged: make(map[tlog.Tile]bool)}
	err := l.replay(size, func(first int64, entries [][]byte, full []tileFile) error {
		for i, raw := range entries {
			if err := visit(uint64(first)+uint64(i), raw); err != nil {
				return err
			}
		}
		for _, f := range full {
			if !l.stands(f) {
				l.damaged[f.tile] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// replay grows the edge from nothing to size with the entries on the disk. It calls f for each bundle, with the tiles that
// become full.
func (l *Log) replay(size int64, f func(first int64, entries [][]byte, full []tileFile) error) error {
	var e edge
	for n := int64(0); n*width < size; n++ {
		count := int(min(size-n*width, width))
		bundle, err := l.readTile(tlog.Tile{H: height, L: -1, N: n, W: count})
		if err != nil {
			return err
		}
		entries, _, err := split(bundle, count)
		if err != nil {
			return err
		}
		next, files := e.extend(entries)
		full := slices.DeleteFunc(files, func(f tileFile) bool { return f.tile.W < width }) // the others are of no published size
		if err := f(n*width, entries, full); err != nil {
			return err
		}
		e = next
	}
	l.edge = e
	return nil
}

func (l *Log) stands(f tileFile) bool {
	have, err := l.disk.fs.Read(l.path(f.tile), maxBundle)
	return err == nil && bytes.Equal(have, f.data)
}

// Repair writes those files anew that do not follow from the entries, and removes what lies beyond the size: entries that
// nobody signed for. Call it once, before all else, when the tree of the whole size, which Tree takes from the entries
// alone, is known to be the signed one.
func (l *Log) Repair() error {
	if err := l.disk.ensure(l.dir); err != nil {
		return fmt.Errorf("%w: %w", ErrDurability, err)
	}
	var missing []File
	for _, f := range l.edge.partials(len(l.edge.levels)) {
		if !l.stands(f) {
			missing = append(missing, File{l.path(f.tile), f.data})
		}
	}
	if len(missing) > 0 {
		if err := l.disk.Write(missing...); err != nil {
			return err
		}
	}
	if len(l.damaged) > 0 {
		if err := l.mend(); err != nil {
			return err
		}
	}
	return l.sweep()
}

// mend makes the full tiles that are damaged from the entries, reading these again.
func (l *Log) mend() error {
	before := l.edge
	err := l.replay(before.size, func(_ int64, _ [][]byte, full []tileFile) error {
		for _, f := range full {
			if l.damaged[f.tile] {
				if err := l.disk.Write(File{l.path(f.tile), f.data}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err == nil && !bytes.Equal(bytes.Join(l.edge.levels, nil), bytes.Join(before.levels, nil)) {
		err = fmt.Errorf("%w: they change while they are read", ErrCorrupt)
	}
	if err == nil {
		clear(l.damaged)
	}
	return err
}

func (l *Log) path(t tlog.Tile) string {
	return filepath.Join(l.dir, filepath.FromSlash(torchwood.TilePath(t)))
}

// readTile reads a tile of at least the width asked for: the exact file, or the beginning of a larger one, which the same
// tree wrote later.
func (l *Log) readTile(t tlog.Tile) ([]byte, error) {
	data, err := l.disk.fs.Read(l.path(t), maxBundle)
	if err == nil {
		return data, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || t.W == width {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	full := t
	full.W = width
	if data, err := l.disk.fs.Read(l.path(full), maxBundle); err == nil {
		return data, nil
	}
	names, _ := l.disk.List(filepath.Dir(l.path(t))) // none: reported below
	for _, name := range names {
		if w, err := strconv.Atoi(name); err == nil && w > t.W && w < width {
			if data, err := l.disk.fs.Read(filepath.Join(filepath.Dir(l.path(t)), name), maxBundle); err == nil {
				return data, nil
			}
		}
	}
	return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
}

// sweep removes temporary files, tiles beyond the size, and partial tiles whose full tile stands.
func (l *Log) sweep() error {
	var stale []string
	err := l.disk.walk(filepath.Join(l.dir, "tile"), func(path string) error {
		rel, err := filepath.Rel(l.dir, path)
		if err != nil {
			return err
		}
		if t, err := torchwood.ParseTilePath(filepath.ToSlash(rel)); err != nil {
			if strings.HasSuffix(path, tempSuffix) {
				stale = append(stale, path)
			}
		} else if n := l.edge.size >> (height * max(t.L, 0)); t.N*width+int64(t.W) > n || t.W < width && (t.N+1)*width <= n {
			stale = append(stale, path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("sweeping log files: %w", err)
	}
	for _, path := range stale {
		if err := l.disk.Remove(path); err != nil {
			return fmt.Errorf("sweeping log files: %w", err)
		}
	}
	return nil
}

// Size returns the number of entries.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.edge.size
}

// Append makes entries (1 to 65,535 bytes each) durable with their tiles and returns the new size. After an error the
// log is as before, on the disk too once it is opened again.
func (l *Log) Append(entries [][]byte) (int64, error) {
	l.mu.RLock()
	next, tiles := l.edge.extend(entries)
	l.mu.RUnlock()
	files := make([]File, len(tiles))
	for i, t := range tiles {
		files[i] = File{l.path(t.tile), t.data}
	}
	if err := l.disk.Write(files...); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.edge = next
	l.mu.Unlock()
	for _, t := range tiles {
		if t.tile.W == width {
			l.disk.removeAll(l.path(t.tile) + ".p")
		}
	}
	return next.size, nil
}

// Rollback cuts the log to size entries.
func (l *Log) Rollback(size int64) error {
	e, err := l.edgeAt(size)
	if err != nil {
		return err
	}
	var files []File
	for _, t := range e.partials(len(e.levels)) {
		files = append(files, File{l.path(t.tile), t.data})
	}
	if len(files) > 0 {
		if err := l.disk.Write(files...); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edge = e
	l.disk.cache.forget(l)
	return l.sweep()
}

// edgeAt returns the edge as it was at a smaller size.
func (l *Log) edgeAt(size int64) (edge, error) {
	if size < 0 || size > l.Size() {
		return edge{}, fmt.Errorf("%w: size %d", ErrRange, size)
	}
	e := edge{size: size}
	for lv := 0; size>>(height*lv) > 0; lv++ {
		var data []byte
		if w := int(size >> (height * lv) % width); w > 0 {
			t := tlog.Tile{H: height, L: lv, N: size >> (height * (lv + 1)), W: w}
			tile, err := l.tile(t)
			if err != nil {
				return edge{}, err
			}
			data = bytes.Clone(tile[:w*tlog.HashSize])
		}
		e.levels = append(e.levels, data)
	}
	if w := int(size % width); w > 0 {
		bundle, _, err := l.bundle(size / width)
		if err != nil {
			return edge{}, err
		}
		_, used, err := split(bundle, w)
		if err != nil {
			return edge{}, err
		}
		e.bundle = bytes.Clone(bundle[:used])
	}
	return e, nil
}

func (l *Log) snapshot() edge {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.edge
}

// tile returns the data of a hash tile, t.W hashes or more.
func (l *Log) tile(t tlog.Tile) ([]byte, error) { return l.tileIn(l.snapshot(), t) }

// tileIn is tile in the tree of an edge.
func (l *Log) tileIn(e edge, t tlog.Tile) ([]byte, error) {
	last := e.size >> (height * (t.L + 1)) // the tile at the edge
	if t.L >= len(e.levels) || t.N > last || t.N == last && len(e.levels[t.L]) < t.W*tlog.HashSize {
		return nil, fmt.Errorf("%w: tile", ErrRange)
	}
	if t.N == last {
		return e.levels[t.L], nil
	}
	full := t
	full.W = width
	if data := l.disk.cache.get(l, full); data != nil {
		return data, nil
	}
	data, err := l.disk.fs.Read(l.path(full), maxTile)
	if err != nil || len(data) != maxTile {
		return nil, fmt.Errorf("%w: hash tile: %w", ErrCorrupt, errors.Join(err, fmt.Errorf("%d bytes", len(data))))
	}
	above := tlog.Tile{H: height, L: t.L + 1, N: t.N / width, W: int(t.N%width) + 1}
	hashes, err := l.tileIn(e, above)
	if err != nil {
		return nil, err
	}
	if want := rootOf(data); !bytes.Equal(want[:], hashes[(above.W-1)*tlog.HashSize:above.W*tlog.HashSize]) {
		return nil, fmt.Errorf("%w: a hash tile of level %d does not belong to the tree", ErrCorrupt, t.L)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if (full.N+1)<<(height*(full.L+1)) <= l.edge.size { // else rolled back meanwhile: not to be kept
		l.disk.cache.put(l, full, data)
	}
	return data, nil
}

// bundle returns the n-th entry bundle, full or with all entries there are, and its entries.
func (l *Log) bundle(n int64) ([]byte, [][]byte, error) {
	e := l.snapshot()
	if n == e.size/width && e.size%width > 0 {
		entries, _, err := split(e.bundle, int(e.size%width))
		return e.bundle, entries, err
	}
	data, err := l.disk.fs.Read(l.path(tlog.Tile{H: height, L: -1, N: n, W: width}), maxBundle)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: entry bundle: %w", ErrCorrupt, err)
	}
	entries, used, err := split(data, width)
	if err != nil {
		return nil, nil, err
	}
	hashes, err := l.tileIn(e, tlog.Tile{H: height, L: 0, N: n, W: width})
	if err != nil {
		return nil, nil, err
	}
	for i, raw := range entries {
		if h := tlog.RecordHash(raw); !bytes.Equal(h[:], hashes[i*tlog.HashSize:(i+1)*tlog.HashSize]) {
			return nil, nil, fmt.Errorf("%w: an entry does not belong to the tree", ErrCorrupt)
		}
	}
	return data[:used], entries, nil
}

// Tile returns the content of a tile of the layout's height as others read it: t.W hashes (1 to 256), or at level -1 the
// entry bundle with t.W entries. Any width up to what stands is given, as of the moment when the log was that large. Beyond
// the log the error is ErrRange.
func (l *Log) Tile(t tlog.Tile) ([]byte, error) {
	if t.H != height || t.L < -1 || t.L > 6 || t.N < 0 || t.W < 1 || t.W > width {
		return nil, fmt.Errorf("%w: no tile of this layout", ErrRange)
	}
	if have := l.Size()>>(height*max(t.L, 0)) - int64(t.W); have < 0 || t.N > have/width {
		return nil, fmt.Errorf("%w: tile", ErrRange)
	}
	if t.L >= 0 {
		data, err := l.tile(t)
		if err != nil {
			return nil, err
		}
		return bytes.Clone(data[:t.W*tlog.HashSize]), nil
	}
	bundle, _, err := l.bundle(t.N)
	if err != nil {
		return nil, err
	}
	_, used, err := split(bundle, t.W)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(bundle[:used]), nil
}

// ReadHashes implements tlog.HashReader over stored hash indexes of the log.
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		t := tlog.TileForIndex(height, x)
		data, err := l.tile(t)
		if err != nil {
			return nil, err
		}
		if out[i], err = tlog.HashFromTile(t, data[:t.W*tlog.HashSize], x); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	return out, nil
}

// Tree returns the tree of the first size entries.
func (l *Log) Tree(size int64) (tlog.Tree, error) {
	if size < 0 || size > l.Size() {
		return tlog.Tree{}, fmt.Errorf("%w: size %d", ErrRange, size)
	}
	h, err := tlog.TreeHash(size, l)
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: size, Hash: h}, nil
}

// Entries returns entries [from, to), as many as fit maxBytes counting two length bytes for each, but at least one if
// there is one.
func (l *Log) Entries(from, to int64, maxBytes int) ([][]byte, error) {
	if from < 0 || to < from || to > l.Size() {
		return nil, fmt.Errorf("%w: entries %d to %d", ErrRange, from, to)
	}
	var out [][]byte
	total := 0
	for n := from / width; n*width < to; n++ {
		_, entries, err := l.bundle(n)
		if err != nil {
			return nil, err
		}
		for _, e := range entries[max(0, from-n*width):min(to-n*width, width)] {
			if total += 2 + len(e); total > maxBytes && len(out) > 0 {
				return out, nil
			}
			out = append(out, bytes.Clone(e))
		}
	}
	return out, nil
}
