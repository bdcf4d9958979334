// Package simfs is a file system in memory for tests and simulations. It loses at a crash what a disk may lose: content
// that was not fsynced, names in folders that were not fsynced, each of them whole, in part or not at all, as a seeded
// generator says. What was fsynced it keeps. It fails or stops at any chosen step.
package simfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/grille-gateway/grille/ledger/tiles"
)

// ErrCrashed says that the machine stopped at a step before this one. Nothing works until Restart.
var ErrCrashed = errors.New("crashed here")

// An FS is a file system. Its methods are safe for concurrent use; the fields are set before.
type FS struct {
	// LosesSync, if set, says for which paths an fsync, of the file or of the folder, returns nil and does nothing: a
	// disk that lies, or a program that forgot.
	LosesSync func(path string) bool
	// Trace, if set, is told each step before it is taken.
	Trace func(step int, what, path string)

	mu      sync.Mutex
	root    *node
	locks   map[string]bool
	steps   int
	failAt  int
	failure error
	stopAt  int
	crashed bool
}

// A node is a file or a folder, with what is seen and what is certain to be on the disk.
type node struct {
	dir bool

	data   []byte // of a file, never changed in place
	synced []byte // what the last fsync put on the disk
	clean  bool   // data is synced
	lost   bool   // an fsync failed: later ones return nil, but the pages are gone, as on Linux

	names   map[string]*node // of a folder
	durable map[string]*node
	pending []change // since the folder's last fsync
}

// A change is one operation on a folder: at most two names get another node, or none (nil), together.
type change []edit

type edit struct {
	name string
	to   *node
}

func newDir() *node {
	return &node{dir: true, names: make(map[string]*node), durable: make(map[string]*node)}
}

func (n *node) apply(c change) {
	n.pending = append(n.pending, c)
	put(n.names, c)
}

func put(names map[string]*node, c change) {
	for _, e := range c {
		if e.to == nil {
			delete(names, e.name)
		} else {
			names[e.name] = e.to
		}
	}
}

// New returns an empty file system.
func New() *FS { return &FS{root: newDir(), locks: make(map[string]bool)} }

// Steps returns how many changing steps were begun: folders made, files written, fsyncs, renames, removals.
func (f *FS) Steps() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.steps
}

// FailAt makes the n-th changing step from now, n >= 1, fail with err; the steps after it work again. A failed write
// leaves a part of the content, a failed fsync drops it for good.
func (f *FS) FailAt(n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failAt, f.failure = f.steps+n, err
}

// CrashAt stops the machine before the n-th changing step from now, n >= 1. Calls then return ErrCrashed.
func (f *FS) CrashAt(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopAt = f.steps + n
}

// Crashed reports whether the machine stopped at a step that CrashAt named.
func (f *FS) Crashed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// step counts a changing step. It returns ErrCrashed, or the failure of FailAt.
func (f *FS) step(what, path string) error {
	if f.crashed {
		return ErrCrashed
	}
	f.steps++
	if f.Trace != nil {
		f.Trace(f.steps, what, path)
	}
	switch f.steps {
	case f.stopAt:
		f.crashed = true
		return ErrCrashed
	case f.failAt:
		return fmt.Errorf("%s %s: %w", what, filepath.Base(path), f.failure)
	}
	return nil
}

func missing(what, path string) error {
	return &fs.PathError{Op: what, Path: path, Err: fs.ErrNotExist}
}

// find returns the node at a path, or nil.
func (f *FS) find(path string) *node {
	n := f.root
	for name := range split(path) {
		if n = n.names[name]; n == nil { // of a file, names is nil
			break
		}
	}
	return n
}

// split returns the names in an absolute, clean path, from the root on.
func split(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := strings.Trim(path, "/"); rest != ""; {
			name, after, _ := strings.Cut(rest, "/")
			if !yield(name) {
				return
			}
			rest = after
		}
	}
}

// parent returns the folder of a path and the name in it.
func (f *FS) parent(what, path string) (*node, string, error) {
	dir, name := filepath.Split(filepath.Clean(path))
	n := f.find(dir)
	if n == nil || !n.dir {
		return nil, "", missing(what, path)
	}
	return n, name, nil
}

// MkdirAll creates a folder and its parents, which are as volatile as anything else.
func (f *FS) MkdirAll(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return ErrCrashed
	}
	n := f.root
	for name := range split(dir) {
		if n.names[name] == nil {
			n.apply(change{{name, newDir()}})
		}
		if n = n.names[name]; !n.dir {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
		}
	}
	return nil
}

// Mkdir creates one folder.
func (f *FS) Mkdir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("mkdir", dir); err != nil {
		return err
	}
	n, name, err := f.parent("mkdir", dir)
	if err == nil && n.names[name] == nil {
		n.apply(change{{name, newDir()}})
	}
	return err
}

// Create writes a file.
func (f *FS) Create(path string, data []byte) (tiles.Created, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	failure := f.step("create", path)
	if errors.Is(failure, ErrCrashed) {
		return nil, failure
	}
	dir, name, err := f.parent("create", path)
	if err != nil {
		return nil, err
	}
	n := dir.names[name]
	if n == nil {
		n = &node{}
		dir.apply(change{{name, n}})
	}
	if n.dir {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	if failure != nil {
		data = data[:len(data)/2]
	}
	n.data, n.clean, n.lost = slices.Clone(data), false, false
	if failure != nil {
		return nil, failure
	}
	return &created{f, n, path}, nil
}

type created struct {
	fs   *FS
	node *node
	path string
}

func (c *created) Sync() error {
	c.fs.mu.Lock()
	defer c.fs.mu.Unlock()
	err := c.fs.step("sync", c.path)
	switch n := c.node; {
	case err != nil:
		n.lost = true
	case n.lost || c.fs.LosesSync != nil && c.fs.LosesSync(c.path):
	default:
		n.synced, n.clean = n.data, true
	}
	return err
}

func (c *created) Close() error { return nil }

// Rename puts a file in another's place in the same folder.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("rename", to); err != nil {
		return err
	}
	dir, name, err := f.parent("rename", from)
	if err != nil {
		return err
	}
	n := dir.names[name]
	if n == nil || n.dir || filepath.Dir(from) != filepath.Dir(to) {
		return missing("rename", from)
	}
	dir.apply(change{{name, nil}, {filepath.Base(to), n}})
	return nil
}

// SyncDir makes the names in a folder durable.
func (f *FS) SyncDir(dir string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("sync dir", dir); err != nil {
		return err
	}
	n := f.find(dir)
	if n == nil || !n.dir {
		return missing("sync", dir)
	}
	if f.LosesSync == nil || !f.LosesSync(dir) {
		for _, c := range n.pending {
			put(n.durable, c)
		}
		n.pending = nil
	}
	return nil
}

// Remove removes a file.
func (f *FS) Remove(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("remove", path); err != nil {
		return err
	}
	dir, name, err := f.parent("remove", path)
	if err != nil || dir.names[name] == nil {
		return missing("remove", path)
	}
	dir.apply(change{{name, nil}})
	return nil
}

// RemoveAll removes a folder with all in it. After a crash any part of it may be there again.
func (f *FS) RemoveAll(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.step("remove all", path); err != nil {
		return err
	}
	dir, name, err := f.parent("remove", path)
	if err != nil || dir.names[name] == nil {
		return nil
	}
	empty(dir.names[name])
	dir.apply(change{{name, nil}})
	return nil
}

func empty(n *node) {
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		empty(n.names[name])
		n.apply(change{{name, nil}})
	}
}

// Read reads a file of at most max bytes.
func (f *FS) Read(path string, max int64) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.find(path)
	switch {
	case f.crashed:
		return nil, ErrCrashed
	case n == nil:
		return nil, missing("open", path)
	case n.dir:
		return nil, fmt.Errorf("reading %s: is a folder", filepath.Base(path))
	case int64(len(n.data)) > max:
		return nil, fmt.Errorf("reading %s: larger than %d bytes", filepath.Base(path), max)
	}
	return slices.Clone(n.data), nil
}

// List returns the names in a folder, sorted.
func (f *FS) List(dir string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.find(dir)
	switch {
	case f.crashed:
		return nil, ErrCrashed
	case n == nil || !n.dir:
		return nil, missing("open", dir)
	}
	out := make([]fs.DirEntry, 0, len(n.names))
	for _, name := range slices.Sorted(maps.Keys(n.names)) {
		out = append(out, fs.FileInfoToDirEntry(info{name, n.names[name]}))
	}
	return out, nil
}

// Exists reports whether there is a file or folder.
func (f *FS) Exists(path string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return false, ErrCrashed
	}
	return f.find(path) != nil, nil
}

// Lock takes a lock, which the next Restart ends if Close does not. The lock file itself is not kept.
func (f *FS) Lock(path string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.crashed:
		return nil, ErrCrashed
	case f.locks[path]:
		return nil, tiles.ErrLocked
	}
	if _, _, err := f.parent("lock", path); err != nil {
		return nil, err
	}
	held := f.locks
	held[path] = true
	return unlock(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(held, path)
	}), nil
}

type unlock func()

func (u unlock) Close() error {
	u()
	return nil
}
