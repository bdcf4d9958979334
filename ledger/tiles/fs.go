package tiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked says that another process has the folder open.
var ErrLocked = errors.New("folder is in use by another process")

// An FS is what a Disk needs of a file system: the real one, or one in memory that loses what a real one may lose when
// power fails. Paths are absolute. Errors for what is missing wrap fs.ErrNotExist. Implementations are safe for concurrent
// use of different paths.
type FS interface {
	// MkdirAll creates a folder and its parents; Mkdir one folder below one that exists. A folder that is there is no error.
	MkdirAll(dir string) error
	Mkdir(dir string) error
	// Create writes a new file, or an existing one anew. Its content survives a loss of power once Sync returned nil.
	Create(path string, data []byte) (Created, error)
	// Rename puts a file in another's place, at once for whoever reads. It survives a loss of power after SyncDir.
	Rename(from, to string) error
	// SyncDir makes durable which names a folder holds.
	SyncDir(dir string) error
	// Remove removes a file; RemoveAll a folder with all in it, or nothing. Neither need be durable.
	Remove(path string) error
	RemoveAll(dir string) error
	// Read reads a file of at most max bytes.
	Read(path string, max int64) ([]byte, error)
	// List returns the names in a folder, sorted.
	List(dir string) ([]fs.DirEntry, error)
	// Exists reports whether there is a file or folder.
	Exists(path string) (bool, error)
	// Lock takes the exclusive use of a lock file, created if missing, until it is closed or the process ends, or returns
	// an error that wraps ErrLocked.
	Lock(path string) (io.Closer, error)
}

// Created is a file that was just written.
type Created interface {
	Sync() error
	Close() error
}

// OS returns the file system of the machine.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (osFS) Mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func (osFS) Create(path string, data []byte) (Created, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(data); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (osFS) Remove(path string) error   { return os.Remove(path) }
func (osFS) RemoveAll(dir string) error { return os.RemoveAll(dir) }

func (osFS) Read(path string, max int64) ([]byte, error) {
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
		return nil, tooLarge(path, max)
	}
	return data, nil
}

func tooLarge(path string, max int64) error {
	return fmt.Errorf("reading %s: larger than %d bytes", filepath.Base(path), max)
}

func (osFS) List(dir string) ([]fs.DirEntry, error) { return os.ReadDir(dir) }

func (osFS) Exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Lock uses flock: the kernel drops it when the process ends.
func (osFS) Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: stop it, or give this gateway a folder of its own", ErrLocked), f.Close())
	}
	return f, nil
}
