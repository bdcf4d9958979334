package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// A folder is a store's folder, only read. A gateway may be writing to it: files appear whole, partial tiles vanish once
// the full one stands, and logs grow.
type folder struct {
	fs  tiles.FS
	dir string
}

func (f folder) path(elem ...string) string {
	return filepath.Join(append([]string{f.dir}, elem...)...)
}

// log returns the folder of a log.
func (f folder) log(origin string) string { return f.path("logs", url.PathEscape(origin)) }

func tilePath(log string, t tlog.Tile) string {
	return filepath.Join(log, filepath.FromSlash(torchwood.TilePath(t)))
}

// list returns the names in a folder; none if it is missing.
func (f folder) list(dir string) ([]fs.DirEntry, error) {
	entries, err := f.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

// tile reads a tile of width t.W: the exact file, or the beginning of a wider one. It returns the width of the file. An
// error wraps fs.ErrNotExist if there is none.
func (f folder) tile(log string, t tlog.Tile) (data []byte, w int, err error) {
	for range 3 { // a running gateway may replace the partial tile by a full one between two looks
		if data, err = f.fs.Read(tilePath(log, t), maxBundle); !errors.Is(err, fs.ErrNotExist) || t.W == width {
			return data, t.W, err
		}
		wider := f.wider(log, t)
		for _, w := range wider {
			t := t
			t.W = w
			if data, err = f.fs.Read(tilePath(log, t), maxBundle); !errors.Is(err, fs.ErrNotExist) {
				return data, w, err
			}
		}
	}
	return nil, 0, err
}

// wider lists the widths above t.W that there may be: the partial ones ascending, then the full one.
func (f folder) wider(log string, t tlog.Tile) []int {
	var out []int
	for _, w := range f.partials(log, t) {
		if w > t.W {
			out = append(out, w)
		}
	}
	return append(out, width)
}

// partials lists the widths of the partial tiles that stand at a tile's place, ascending.
func (f folder) partials(log string, t tlog.Tile) []int {
	t.W = width
	names, _ := f.list(tilePath(log, t) + ".p") // one that cannot be listed has none; the tile's own reading tells
	var out []int
	for _, e := range names {
		if w, err := strconv.Atoi(e.Name()); err == nil && w > 0 && w < width && strconv.Itoa(w) == e.Name() {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return out
}

// links extends a trusted chain by the links that the folder keeps, each verified. An error says why the first one that was
// not taken is none; the chain then ends before it.
func (f folder) links(chain *network.Chain) (*network.Chain, error) {
	chain = chain.Clone()
	for {
		name := fmt.Sprintf("%d.json", chain.Newest().Version+1)
		data, err := f.fs.Read(f.path("chain", name), network.MaxLinkSize)
		if errors.Is(err, fs.ErrNotExist) {
			return chain, nil
		}
		var link *network.Link
		if err == nil {
			link, err = network.ParseLink(data)
		}
		if err == nil {
			err = chain.Extend(link)
		}
		if err != nil {
			return chain, fmt.Errorf("chain/%s: %w", name, err)
		}
	}
}

// split cuts a bundle of n entries, and returns how many bytes follow them. There should be none.
func split(bundle []byte, n int) (entries [][]byte, more int, err error) {
	out, rest := make([][]byte, n), bundle
	for i := range out {
		if out[i], rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return nil, 0, fmt.Errorf("cut off at entry %d of %d", i, n)
		}
		if len(out[i]) == 0 {
			return nil, 0, fmt.Errorf("entry %d of %d is empty", i, n)
		}
	}
	return out, len(rest), nil
}

// checkpoint reads the file of a log's final head.
func (f folder) checkpoint(origin string) ([]byte, error) {
	return f.fs.Read(filepath.Join(f.log(origin), "checkpoint"), note.MaxSize)
}

// A state is one signer state file.
type state struct {
	path string // below the folder
	role string // as its place says
	signer.Record
	err error
}

// states reads all signer states: signer/owner*.json, signer/mirror*/*.json and signer/witness*/*.json.
func (f folder) states() ([]state, error) {
	names, err := f.list(f.path("signer"))
	if err != nil {
		return nil, fmt.Errorf("listing signer states: %w", err)
	}
	var out []state
	for _, e := range names {
		role := roleOf(e.Name())
		if !e.IsDir() && role == "owner" && strings.HasSuffix(e.Name(), ".json") {
			out = append(out, f.state(role, "signer", e.Name()))
		}
		if !e.IsDir() || role != "mirror" && role != "witness" {
			continue
		}
		below, err := f.list(f.path("signer", e.Name()))
		if err != nil {
			return nil, fmt.Errorf("listing signer states: %w", err)
		}
		for _, g := range below {
			if strings.HasSuffix(g.Name(), ".json") {
				out = append(out, f.state(role, "signer", e.Name(), g.Name()))
			}
		}
	}
	return out, nil
}

// roleOf is the role of a key whose file or folder has that name: the role, and from the second generation on "-" and its
// number.
func roleOf(name string) string {
	role, _, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "-")
	return role
}

func (f folder) state(role string, elem ...string) state {
	s := state{path: filepath.Join(elem...), role: role}
	data, err := f.fs.Read(f.path(elem...), signer.MaxState)
	if err == nil {
		s.Record, err = signer.ParseState(data)
	}
	if err == nil && s.Role != role {
		err = fmt.Errorf("%w: of a key with the role %q", signer.ErrState, s.Role)
	}
	if role != "owner" { // its name tells whose it should be
		origin, uerr := url.PathUnescape(strings.TrimSuffix(filepath.Base(s.path), ".json"))
		if err == nil && (uerr != nil || s.Origin != origin) {
			err = fmt.Errorf("%w: of another log than its name says", signer.ErrState)
		}
		s.Origin = origin
	}
	s.err = err
	return s
}

// origins lists the logs that have a folder.
func (f folder) origins() ([]string, error) {
	names, err := f.list(f.path("logs"))
	if err != nil {
		return nil, fmt.Errorf("listing logs: %w", err)
	}
	var out []string
	for _, e := range names {
		if origin, err := url.PathUnescape(e.Name()); err == nil && e.IsDir() && url.PathEscape(origin) == e.Name() {
			out = append(out, origin)
		}
	}
	return out, nil
}
