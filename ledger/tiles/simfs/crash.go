package simfs

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"time"
)

// Restart starts the machine again: after a step where it stopped, or out of nothing, as when power fails. Of what was not
// durable r picks what is still there; locks are free, and no failure is planned any more.
func (f *FS) Restart(r *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	crash(f.root, r)
	f.locks = make(map[string]bool)
	f.crashed, f.stopAt, f.failAt = false, 0, 0
}

// Kill ends the process and leaves the machine on: all that was written is there, only locks and planned failures are gone.
func (f *FS) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.locks = make(map[string]bool)
	f.crashed, f.stopAt, f.failAt = false, 0, 0
}

func crash(n *node, r *rand.Rand) {
	if !n.dir {
		if !n.clean {
			n.data = torn(n, r)
		}
		n.synced, n.clean, n.lost = n.data, true, false
		return
	}
	if len(n.pending) > 0 {
		for _, c := range survivors(n.pending, r) {
			put(n.durable, c)
		}
		n.names, n.pending = maps.Clone(n.durable), nil
	}
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		crash(n.names[name], r)
	}
}

// survivors picks which operations on a folder were written: none, all, the first few, or any, for a disk may write the
// blocks of a folder in any order.
func survivors(pending []change, r *rand.Rand) []change {
	switch r.IntN(4) {
	case 0:
		return nil
	case 1:
		return pending
	case 2:
		return pending[:r.IntN(len(pending)+1)]
	}
	var out []change
	for _, c := range pending {
		if r.IntN(2) == 0 {
			out = append(out, c)
		}
	}
	return out
}

// torn picks what is on the disk of a file that was written and not fsynced: what was there before, nothing, all, the
// beginning, or blocks of zeros where the length was written and the content was not.
func torn(n *node, r *rand.Rand) []byte {
	switch r.IntN(5) {
	case 0:
		return n.synced
	case 1:
		return nil
	case 2:
		return n.data
	case 3:
		return n.data[:r.IntN(len(n.data)+1)]
	}
	out := make([]byte, len(n.data))
	copy(out, n.data[:r.IntN(len(n.data)+1)])
	return out
}

// Durable returns the contents that a file may have after a crash: one, or two and more while its name is being given to
// another file. It is false if the file may be missing or torn then.
func (f *FS) Durable(path string) ([][]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	parent, name, err := f.parent("open", path)
	if err != nil || !f.kept(filepath.Dir(path)) {
		return nil, false
	}
	nodes := []*node{parent.durable[name]}
	for _, c := range parent.pending {
		for _, e := range c {
			if e.name == name {
				nodes = append(nodes, e.to)
			}
		}
	}
	var out [][]byte
	for _, n := range nodes {
		if n == nil || n.dir || !n.clean {
			return nil, false
		}
		out = append(out, slices.Clone(n.synced))
	}
	return out, true
}

// kept says whether a folder is there after any crash.
func (f *FS) kept(dir string) bool {
	n := f.root
	for name := range split(dir) {
		if slices.ContainsFunc(n.pending, func(c change) bool { return touches(c, name) }) || n.durable[name] == nil {
			return false
		}
		n = n.durable[name]
	}
	return n.dir
}

func touches(c change, name string) bool {
	return slices.ContainsFunc(c, func(e edit) bool { return e.name == name })
}

// Copy returns a copy of all that is seen, on a disk of its own: what a backup of the folder would bring back.
func (f *FS) Copy() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := New()
	out.root = copyOf(f.root)
	return out
}

func copyOf(n *node) *node {
	if !n.dir {
		return &node{data: n.data, synced: n.data, clean: true}
	}
	out := newDir()
	for name, child := range n.names {
		c := copyOf(child)
		out.names[name], out.durable[name] = c, c
	}
	return out
}

// info describes a node for List.
type info struct {
	name string
	node *node
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return int64(len(i.node.data)) }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.node.dir }
func (i info) Sys() any           { return nil }
func (i info) Mode() fs.FileMode {
	if i.node.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
