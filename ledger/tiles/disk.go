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
	"os"
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

// A Disk writes files durably below one folder. Several goroutines may use it for different files.
type Disk struct {
	// Before, if set, is called before each step with the path concerned; an error makes the step fail. Tests crash here.
	Before func(s Step, path string) error

	root string
	mu   sync.Mutex
	made map[string]bool // folders whose own entry in their parent this process has fsynced
}

// NewDisk creates the folder root, if need be with its parents, and returns a Disk for what lies below it.
func NewDisk(root string) (*Disk, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", root, err)
	}
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("creating folder: %w", err)
	}
	if err := syncDir(filepath.Dir(root)); err != nil {
		return nil, fmt.Errorf("syncing folder above %s: %w", root, err)
	}
	return &Disk{root: root, made: map[string]bool{root: true}}, nil
}

// Path returns the path of a file below the root.
func (d *Disk) Path(elem ...string) string {
	return filepath.Join(append([]string{d.root}, elem...)...)
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
	err := parallel(len(files), func(i int) error { return d.writeTemp(files[i]) })
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDurability, err)
	}
	for _, f := range files {
		if err := d.step(StepRename, f.Path, func() error { return os.Rename(f.Path+tempSuffix, f.Path) }); err != nil {
			return fmt.Errorf("%w: %w", ErrDurability, err)
		}
	}
	err = parallel(len(dirs), func(i int) error {
		return d.step(StepSyncDir, dirs[i], func() error { return syncDir(dirs[i]) })
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
	var file *os.File
	err := d.step(StepCreate, path, func() (err error) {
		if file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600); err != nil {
			return err
		}
		_, err = file.Write(f.Data)
		return err
	})
	if file == nil {
		return err
	}
	if err == nil {
		err = d.step(StepSync, path, file.Sync)
	}
	return errors.Join(err, file.Close())
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
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return syncDir(parent)
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
	_ = os.RemoveAll(dir) // what stays is swept on the next start
}

// parallel runs f(0) to f(n-1), a few at once, and joins their errors.
func parallel(n int, f func(int) error) error {
	if n == 1 {
		return f(0)
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

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Read reads a file of at most max bytes.
func Read(path string, max int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > max {
		return nil, fmt.Errorf("reading %s: larger than %d bytes", filepath.Base(path), max)
	}
	return data, nil
}
