package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// A Start is what the next start of a gateway does about a file.
type Start string

// What a start does.
const (
	Repairs Start = "repairs" // makes it good by itself; nothing is to be done
	Refuses Start = "refuses" // does not open the ledger; the text says what to do
	Leaves  Start = "leaves"  // neither reads nor changes it, or does well without
)

// A Finding is one file that is not as it should be.
type Finding struct {
	Path  string `json:"path"`  // below the folder
	Start Start  `json:"start"` // what a start does about it
	Text  string `json:"text"`  // what is wrong, and if a start refuses it, what to do
}

// LogFiles is what a folder holds of one log.
type LogFiles struct {
	Origin  string `json:"origin"`
	Size    int64  `json:"size"`    // entries that the final head or a signer state vouches for
	Final   int64  `json:"final"`   // of them, under the final head
	Beyond  int64  `json:"beyond"`  // and more whose place nobody vouches for yet
	Tiles   int    `json:"tiles"`   // full hash tiles and entry bundles
	Partial int    `json:"partial"` // partial ones
	Bytes   int64  `json:"bytes"`   // of all files
}

// Files is what a look at a store's files found, without any key or configuration: whether they are whole and agree with
// one another. Who signed what, Run tells.
type Files struct {
	Dir      string      `json:"dir"`
	Count    int         `json:"files"`
	Bytes    int64       `json:"bytes"`
	Logs     []*LogFiles `json:"logs"`
	Findings []Finding   `json:"findings"`
}

// Opens tells whether a start opens the ledger, as far as files show.
func (f *Files) Opens() bool {
	return !slices.ContainsFunc(f.Findings, func(g Finding) bool { return g.Start == Refuses })
}

// Fsck looks at every file of a store's folder. It only reads; the gateway should be stopped, or what it is writing shows
// as left behind. progress is as in Options.
func Fsck(ctx context.Context, dir string, progress func(done, total int64)) (*Files, error) {
	c := &fsck{folder: folder{tiles.OS(), dir}, out: &Files{Dir: dir, Findings: []Finding{}}, sizes: make(map[string]*sizes), progress: progress}
	if ok, err := c.fs.Exists(c.path("logs")); err != nil || !ok {
		return nil, fmt.Errorf("checking files of %s: %w", dir, errors.Join(ErrNoLedger, err))
	}
	for _, step := range []func() error{c.readVouchers, c.walk, func() error { return c.replay(ctx) }, c.rest} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("checking files of %s: %w", dir, err)
		}
	}
	slices.SortStableFunc(c.out.Findings, func(a, b Finding) int { return strings.Compare(a.Path, b.Path) })
	return c.out, nil
}

type fsck struct {
	folder
	out      *Files
	sizes    map[string]*sizes // by origin
	progress func(done, total int64)
}

// sizes is what vouches for the entries of one log.
type sizes struct {
	*LogFiles
	known []known
	owner int64 // what the owner's state says; -1 if there is none here
	ended bool  // the configuration ended it: what is not whole here is fetched again
	files map[tlog.Tile]bool
}

func (c *fsck) found(s Start, path, format string, a ...any) {
	if rel, err := filepath.Rel(c.dir, path); err == nil {
		path = rel
	}
	c.out.Findings = append(c.out.Findings, Finding{filepath.ToSlash(path), s, fmt.Sprintf(format, a...)})
}

func (c *fsck) log(origin string) *sizes {
	s := c.sizes[origin]
	if s == nil {
		s = &sizes{LogFiles: &LogFiles{Origin: origin}, owner: -1, files: make(map[tlog.Tile]bool)}
		c.sizes[origin] = s
	}
	return s
}

// What to do about what no start repairs.
const (
	copyFile  = "stop the gateway and copy this file, or the log's whole folder, from another member's ledger: all hold the same"
	newKeys   = "do not make one up: a key without its state could sign a second history. Take new keys and a new generation of the log"
	heardTold = "remove it: the gateway hears it again from the others"
)

// readVouchers reads final heads and signer states.
func (c *fsck) readVouchers() error {
	if err := c.readHeads(); err != nil {
		return err
	}
	return c.readStates()
}

func (c *fsck) readHeads() error {
	origins, err := c.origins()
	if err != nil {
		return err
	}
	for _, origin := range origins {
		s := c.log(origin)
		path := filepath.Join(c.folder.log(origin), "checkpoint")
		data, err := c.checkpoint(origin)
		var head note.Checkpoint
		if err == nil {
			head, err = note.Parse(data)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil || head.Origin != origin:
			c.found(Refuses, path, "it is no signed checkpoint of this log; %s", heardTold)
		default:
			s.Final = head.Tree.N
			s.known = append(s.known, known{head.Tree, RootMismatch, "the final head"})
		}
	}
	return nil
}

func (c *fsck) readStates() error {
	states, err := c.states()
	if err != nil {
		return err
	}
	cfg := c.inForce()
	member := memberOf(states, cfg)
	if cfg != nil {
		for _, f := range cfg.Fences {
			c.ended(f)
		}
	}
	for _, st := range states {
		path := c.path(st.path)
		if st.err != nil {
			c.found(Refuses, path, "it cannot be read (%v); %s", st.err, newKeys)
			continue
		}
		s := c.log(st.Origin)
		if st.role == "owner" {
			s.owner = st.State.Tree.N
		}
		if st.vouches(cfg) {
			s.known = append(s.known, known{st.State.Tree, HistoryMismatch, filepath.ToSlash(st.path)})
		}
	}
	c.compareStates(states, cfg, member)
	return nil
}

// ended takes a fence for what a log is opened at, if all of the log is here.
func (c *fsck) ended(f network.Fence) {
	s, ok := c.sizes[f.Origin]
	if !ok {
		return
	}
	s.ended, s.known = true, nil
	n := max(0, f.Size-1) / width
	t := tlog.Tile{H: height, L: -1, N: n, W: int(f.Size - n*width)}
	if _, _, err := c.tile(c.folder.log(f.Origin), t); err == nil {
		s.known = []known{{f.Tree(), HistoryMismatch, "the fence in the network configuration"}}
	}
}

// inForce is the configuration of the newest link in the folder, unverified: it only says which keys are in use. It is nil
// for a folder without links, where all are.
func (c *fsck) inForce() *network.Configuration {
	names, err := c.list(c.path("chain"))
	if err != nil {
		return nil
	}
	var newest *network.Configuration
	for _, e := range names {
		data, err := c.fs.Read(c.path("chain", e.Name()), network.MaxLinkSize)
		if err != nil {
			continue
		}
		link, err := network.ParseLink(data)
		if err != nil {
			continue
		}
		if cfg, err := network.Parse(link.Proposal.Document); err == nil && (newest == nil || cfg.Version > newest.Version) {
			newest = cfg
		}
	}
	return newest
}

// compareStates finds states that are missing, and an owner's that is older than what others cosigned.
func (c *fsck) compareStates(states []state, cfg *network.Configuration, member string) {
	dir := "signer/mirror"
	if cfg != nil && member != "" {
		m, _ := cfg.Member(member) // none: it left
		if dir = ""; m.Mirror {
			dir = mirrorDir(m.MirrorName())
		}
	} else if !slices.ContainsFunc(states, func(s state) bool { return s.role == "mirror" }) {
		dir = "" // it is no mirror
	}
	has := make(map[string]bool)
	for _, st := range states {
		has[filepath.Dir(st.path)+" "+st.Origin] = true
	}
	for _, origin := range slices.Sorted(maps.Keys(c.sizes)) {
		s := c.sizes[origin]
		for _, k := range s.known {
			s.Size = max(s.Size, k.tree.N)
		}
		if s.owner >= 0 && s.owner < s.Size {
			c.found(Refuses, c.path("signer"), "the owner's state of %s says %d entries, and %d are signed: the folder is an old copy; "+
				"take new keys and a new generation of the log", origin, s.owner, s.Size)
		}
		if cfg != nil {
			if _, ok := cfg.Owner(origin); !ok {
				continue
			}
		}
		begun, err := c.fs.Exists(filepath.Join(c.folder.log(origin), "tile"))
		if dir != "" && err == nil && begun && !has[dir+" "+origin] {
			c.found(Refuses, c.path(dir, filepath.Base(c.folder.log(origin))+".json"), "it is missing, and the log has entries; %s", newKeys)
		}
	}
	switch owned := slices.ContainsFunc(states, func(s state) bool { return s.role == "owner" }); {
	case owned:
	case len(states) > 0:
		c.found(Refuses, c.path("signer", "owner.json"), "it is missing; %s", newKeys)
	case len(c.sizes) > 0:
		c.found(Refuses, c.path("signer"), "no key has a state here: this copy can be audited, and no gateway can run on it")
	}
}

// walk looks at each file's name, kind and permissions.
func (c *fsck) walk() error {
	return filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone meanwhile
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil // likewise
		}
		switch mode := info.Mode(); {
		case !mode.IsDir() && !mode.IsRegular():
			c.found(Leaves, path, "it is neither a file nor a folder")
			return nil
		case mode.Perm()&0o022 != 0:
			c.found(Leaves, path, "others can write to it (%s); chmod go-w", mode.Perm())
		case mode.Perm()&0o600 != 0o600:
			c.found(Refuses, path, "its owner cannot read and write it (%s); chmod u+rw", mode.Perm())
		}
		if !d.IsDir() {
			c.out.Count++
			c.out.Bytes += info.Size()
			c.file(path, info)
		}
		return nil
	})
}

// file looks at one file by its name.
func (c *fsck) file(path string, info fs.FileInfo) {
	rel, err := filepath.Rel(c.dir, path)
	if err != nil {
		return
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	if len(parts) > 2 && parts[0] == "logs" {
		c.logFile(path, parts, info)
		return
	}
	known := len(parts) == 1 && (parts[0] == "lock" || parts[0] == "index.db") ||
		len(parts) > 1 && slices.Contains([]string{"signer", "chain", "succession", "evidence", "outside"}, parts[0])
	switch {
	case strings.HasSuffix(rel, ".tmp"):
		c.found(Leaves, path, "it was being written when the gateway ended; it is overwritten or can be removed")
	case !known:
		c.found(Leaves, path, "it is not the ledger's")
	}
}

func (c *fsck) logFile(path string, parts []string, info fs.FileInfo) {
	var s *sizes
	for origin, t := range c.sizes {
		if filepath.Base(c.folder.log(origin)) == parts[1] {
			s = t
		}
	}
	if s == nil {
		c.found(Leaves, path, "it is in a folder that is no log's")
		return
	}
	s.Bytes += info.Size()
	t, err := torchwood.ParseTilePath(strings.Join(parts[2:], "/"))
	switch {
	case err != nil && strings.HasSuffix(path, ".tmp"):
		start := Repairs
		if parts[2] != "tile" {
			start = Leaves
		}
		c.found(start, path, "it was being written when the gateway ended")
	case err != nil && !(len(parts) == 3 && parts[2] == "checkpoint"):
		c.found(Leaves, path, "it is no file of a log")
	case err != nil:
	case t.W == width:
		s.Tiles++
		s.files[t] = true
	default:
		s.Partial++
		s.files[t] = true
	}
	if err == nil {
		c.beyond(path, s, t)
	}
}

// beyond finds tiles that a start sweeps away.
func (c *fsck) beyond(path string, s *sizes, t tlog.Tile) {
	switch n := s.Size >> (height * max(t.L, 0)); {
	case t.N*width+int64(t.W) > n:
		if t.L < 0 {
			s.Beyond = max(s.Beyond, t.N*width+int64(t.W)-s.Size)
		}
		c.found(Repairs, path, "it holds what nobody signed for yet; it is removed and comes again")
	case t.W < width && (t.N+1)*width <= n:
		c.found(Repairs, path, "the full tile stands beside it; it is removed")
	}
}

// replay recomputes all tiles from the entries.
func (c *fsck) replay(ctx context.Context) error {
	total, done := int64(0), int64(0)
	for _, s := range c.sizes {
		total += s.Size
	}
	for _, origin := range slices.Sorted(maps.Keys(c.sizes)) {
		s := c.sizes[origin]
		r := &replay{folder: c.folder, dir: c.folder.log(origin), size: s.Size, visit: func(uint64, []byte) error { return nil }}
		last := int64(0)
		r.step = func() {
			done, last = done+r.n-last, r.n
			if c.progress != nil {
				c.progress(done, total)
			}
		}
		for _, k := range s.known {
			r.marks = append(r.marks, k.tree.N)
		}
		if err := c.replayLog(ctx, s, r); err != nil {
			return err
		}
		c.out.Logs = append(c.out.Logs, s.LogFiles)
	}
	return nil
}

func (c *fsck) replayLog(ctx context.Context, s *sizes, r *replay) error {
	err := r.run(ctx)
	var d *damaged
	switch {
	case errors.As(err, &d):
		t := tlog.Tile{H: height, L: -1, N: d.index / width, W: int(min(s.Size-d.index, width))}
		what := "it cannot be read: " + d.err.Error()
		if d.missing {
			what = "it is missing"
		}
		c.unsound(s, tilePath(r.dir, t), what)
		return nil
	case err != nil:
		return err
	}
	for _, k := range s.known {
		if r.roots[k.tree.N] != k.tree.Hash {
			c.unsound(s, r.dir, fmt.Sprintf("the first %d entries do not hash to %s, which is another history or an entry was changed", k.tree.N, k.what))
		}
	}
	for _, t := range r.suspects {
		switch path := tilePath(r.dir, t.tile); {
		case t.missing():
			c.found(Repairs, path, "it is missing; it is written anew from the entries")
		case t.tile.L < 0 && t.tile.W == int(min(s.Size-t.tile.N*width, width)):
			c.found(Leaves, path, "%v, which whoever is served this file refuses; %s", t.err, copyFile)
		case t.tile.N*width+int64(t.tile.W) < s.Size>>(height*max(t.tile.L, 0)) && t.tile.W < width:
			c.found(Leaves, path, "%v; it was published on the way, and nobody reads it here; it goes when the full one stands", t.err)
		default:
			c.found(Repairs, path, "%v; it is written anew from the entries", t.err)
		}
	}
	if r.more > 0 {
		c.found(Repairs, r.dir, "%d more tiles differ from the entries; they are written anew", r.more)
	}
	c.edge(s, r)
	return nil
}

// unsound reports entries that are not what they should be.
func (c *fsck) unsound(s *sizes, path, what string) {
	if s.ended {
		c.found(Repairs, path, "%s; the log ended, and it is fetched again from the others", what)
		return
	}
	c.found(Refuses, path, "%s; %s", what, copyFile)
}

// edge finds partial tiles of the newest size for which a wider one stands in.
func (c *fsck) edge(s *sizes, r *replay) {
	for level := -1; level < len(r.rows); level++ {
		n := r.n >> (height * max(level, 0))
		t := tlog.Tile{H: height, L: level, N: n / width, W: int(n % width)}
		wide := slices.ContainsFunc(c.wider(r.dir, t), func(w int) bool { u := t; u.W = w; return s.files[u] })
		if t.W > 0 && !s.files[t] && wide {
			c.found(Repairs, tilePath(r.dir, t), "it is missing, and a wider one has what was in it; it is written anew")
		}
	}
}

// rest looks at what can be made anew, and at what others sent.
func (c *fsck) rest() error {
	if _, err := os.Stat(c.path("index.db")); err == nil {
		x, err := index.OpenRead(c.path("index.db"))
		if err != nil {
			return err
		}
		if damage := x.Damage(); damage != nil {
			c.found(Repairs, c.path("index.db"), "%v; it is made anew from the entries", damage)
		}
		if err := x.Close(); err != nil {
			return err
		}
	}
	for folder, check := range map[string]func([]byte) error{
		"evidence": func(b []byte) error { _, err := evidence.Parse(b); return err },
		"chain":    func(b []byte) error { _, err := network.ParseLink(b); return err },
	} {
		names, err := c.list(c.path(folder))
		if err != nil {
			return err
		}
		for _, e := range names[:min(len(names), maxEvidence)] {
			path := c.path(folder, e.Name())
			data, err := c.fs.Read(path, network.MaxLinkSize)
			if err == nil {
				err = check(data)
			}
			switch {
			case err == nil || strings.HasSuffix(e.Name(), ".tmp"):
			case folder == "chain":
				c.found(Refuses, path, "%v; %s", err, heardTold)
			default:
				c.found(Leaves, path, "%v", err)
			}
		}
	}
	return nil
}
