// Package tiles keeps logs in plain files, laid out as C2SP tlog-tiles: hash tiles under tile/, entry bundles under
// tile/entries/, with a partial tile for each published size until the full tile stands.
//
// A file is written beside its place, fsynced, renamed, and the folder is fsynced. What Write returned nil for survives
// kill -9 and loss of power; a file is never seen half written.
package tiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
)

// ErrDurability says that a write, fsync or rename failed. What reached the disk is unknown from here on: stop signing
// and stop the process.
var ErrDurability = errors.New("cannot write durably")

// A Step is one thing that Write does to the disk, in this order.
type Step string

// The steps of a write.
const (
	StepMkdir   Step = "mkdir"    // create a folder and fsync its parent
	StepCreate  Step = "create"   // write the temporary file
	StepSync    Step = "sync"     // fsync the temporary file
	StepRename  Step = "rename"   // put it in its place
	StepSyncDir Step = "sync dir" // fsync the folder
)

// A Disk writes files durably below one folder, and reads them. Several goroutines may use it for different files.
type Disk struct {
	// Before, if set, is called before each step with the path concerned; an error makes the step fail. Tests crash here.
	Before func(s Step, path string) error
	// Serial makes Write take its steps one after the other, in the order of the files: for a simulation from a seed.
	Serial bool

	fs    FS
	root  string
	cache *cache // of the logs that are open
	mu    sync.Mutex
	made  map[string]bool // folders whose own entry in their parent this process has fsynced
	kept  map[string]bool // folders whose names this process has fsynced before it read them
}

// NewDisk creates the folder root, if need be with its parents, and returns a Disk for what lies below it.
func NewDisk(root string) (*Disk, error) { return NewDiskOn(OS(), root) }

// NewDiskOn is NewDisk on a file system.
func NewDiskOn(fs FS, root string) (*Disk, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", root, err)
	}
	if err := fs.MkdirAll(root); err != nil {
		return nil, fmt.Errorf("creating folder: %w", err)
	}
	if err := fs.SyncDir(filepath.Dir(root)); err != nil {
		return nil, fmt.Errorf("syncing folder above %s: %w", root, err)
	}
	return &Disk{fs: fs, root: root, cache: newCache(), made: map[string]bool{root: true}, kept: make(map[string]bool)}, nil
}

// Path returns the path of a file below the root.
func (d *Disk) Path(elem ...string) string {
	return filepath.Join(append([]string{d.root}, elem...)...)
}

// Read reads a file of at most max bytes that Write wrote. What it returns survives a loss of power from now on: a process
// that ended between renaming a file and fsyncing the folder left one that is seen, and acted on, but not kept. If there is
// none the error wraps fs.ErrNotExist; if the folder cannot be fsynced it wraps ErrDurability.
func (d *Disk) Read(path string, max int64) ([]byte, error) {
	if err := d.keep(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDurability, err)
	}
	return d.fs.Read(path, max)
}

// keep fsyncs a folder once, if it is there.
func (d *Disk) keep(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept[dir] {
		return nil
	}
	if ok, err := d.fs.Exists(dir); err != nil || !ok {
		return err
	}
	err := d.step(StepSyncDir, dir, func() error { return d.fs.SyncDir(dir) })
	d.kept[dir] = err == nil
	return err
}

// Exists reports whether there is a file or folder.
func (d *Disk) Exists(path string) (bool, error) { return d.fs.Exists(path) }

// List returns the names in a folder, sorted; none for a folder that is missing.
func (d *Disk) List(dir string) ([]string, error) {
	entries, err := d.fs.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing folder: %w", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Remove removes a file. That it is gone need not be durable: a loss of power may bring it back.
func (d *Disk) Remove(path string) error { return d.fs.Remove(path) }

// Lock takes the exclusive use of the whole folder until it is closed, or returns an error that wraps ErrLocked.
func (d *Disk) Lock() (io.Closer, error) { return d.fs.Lock(d.Path("lock")) }

// walk calls f for each file below dir, folder by folder in sorted order. A dir that is missing has none.
func (d *Disk) walk(dir string, f func(path string) error) error {
	entries, err := d.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = d.walk(path, f)
		} else {
			err = f(path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A File is a path and its whole content.
type File struct {
	Path string
	Data []byte
}

// parallelSyncs is how many fsyncs run at once: the file system joins them into one journal commit.
const parallelSyncs = 8

// Write makes all files durable, or returns an error that wraps ErrDurability; then some may stand and some not, each
// whole. Files in one call are synced together and must have distinct paths.
func (d *Disk) Write(files ...File) error {
	dirs := make([]string, 0, len(files))
	seen := make(map[string]bool)
	for _, f := range files {
		if dir := filepath.Dir(f.Path); !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		if err := d.ensure(dir); err != nil {
			return fmt.Errorf("%w: %w", ErrDurability, err)
		}
	}
	err := d.parallel(len(files), func(i int) error { return d.writeTemp(files[i]) })
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDurability, err)
	}
	for _, f := range files {
		if err := d.step(StepRename, f.Path, func() error { return d.fs.Rename(f.Path+tempSuffix, f.Path) }); err != nil {
			return fmt.Errorf("%w: %w", ErrDurability, err)
		}
	}
	err = d.parallel(len(dirs), func(i int) error {
		return d.step(StepSyncDir, dirs[i], func() error { return d.fs.SyncDir(dirs[i]) })
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDurability, err)
	}
	return nil
}

const tempSuffix = ".tmp"

func (d *Disk) step(s Step, path string, do func() error) error {
	if d.Before != nil {
		if err := d.Before(s, path); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return do()
}

func (d *Disk) writeTemp(f File) error {
	path := f.Path + tempSuffix
	var file Created
	err := d.step(StepCreate, path, func() (err error) {
		file, err = d.fs.Create(path, f.Data)
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(d.step(StepSync, path, file.Sync), file.Close())
}

// ensure makes a folder and its parents below the root durable: a folder found there may be left from a process that was
// killed before it fsynced the parent, so each is fsynced once by this process.
func (d *Disk) ensure(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ensureLocked(filepath.Clean(dir))
}

func (d *Disk) ensureLocked(dir string) error {
	if d.made[dir] {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return fmt.Errorf("%s is not below %s", dir, d.root)
	}
	if err := d.ensureLocked(parent); err != nil {
		return err
	}
	err := d.step(StepMkdir, dir, func() error {
		if err := d.fs.Mkdir(dir); err != nil {
			return err
		}
		return d.fs.SyncDir(parent)
	})
	if err == nil {
		d.made[dir] = true
	}
	return err
}

// removeAll removes a folder that is no longer needed. It need not be durable.
func (d *Disk) removeAll(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.made, filepath.Clean(dir))
	_ = d.fs.RemoveAll(dir) // what stays is swept on the next start
}

// parallel runs f(0) to f(n-1), a few at once, and joins their errors; if the disk is serial, up to the first error.
func (d *Disk) parallel(n int, f func(int) error) error {
	if n == 1 || d.Serial {
		for i := range n {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallelSyncs)
	for i := range n {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer wg.Done()
			errs[i] = f(i)
			<-slots
		}()
	}
	wg.Wait()
	return errors.Join(errs...)
}
