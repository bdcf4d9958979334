// Package folder keeps files that must survive a crash whole or not at all.
package folder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrTooLong means that a file has more bytes than its reader takes.
var ErrTooLong = errors.New("the file is too long")

// lockFile is the file whose lock is the folder's.
const lockFile = "lock"

// lockInterval is how often a process that waits for another asks again.
const lockInterval = 50 * time.Millisecond

// A Folder is the path of an existing folder.
type Folder string

// Path returns the path of a file in it.
func (f Folder) Path(name string) string { return filepath.Join(string(f), name) }

// Lock takes the folder for this process; the lock ends with unlock or with the process. The error is the context's when it ends
// while another process has it.
func (f Folder) Lock(ctx context.Context) (unlock func(), err error) {
	l, err := os.OpenFile(f.Path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a folder's lock: %w", err)
	}
	for {
		err := syscall.Flock(int(l.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { l.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking a folder: %w", err), l.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), l.Close())
		case <-time.After(lockInterval):
		}
	}
}

// Read reads a file of at most limit bytes. The error is ErrTooLong for a longer one and fs.ErrNotExist for none.
func (f Folder) Read(name string, limit int64) ([]byte, error) {
	file, err := os.Open(f.Path(name))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("reading %s: %w (over %d bytes)", name, ErrTooLong, limit)
	}
	return data, nil
}

// Write replaces a file so that a crash leaves the old or the new one: write aside, fsync, rename, fsync the folder.
func (f Folder) Write(name string, data []byte) error {
	file, err := os.CreateTemp(string(f), name+".*.tmp")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	defer os.Remove(file.Name()) // fails once renamed, which is fine
	if _, err := file.Write(data); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), file.Close())
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	if err := os.Rename(file.Name(), f.Path(name)); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return f.Sync()
}

// Clear removes temporary files; the lock says that nobody is writing them.
func (f Folder) Clear() error {
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return fmt.Errorf("clearing a folder: %w", err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".tmp" {
			continue
		}
		if err := os.Remove(f.Path(e.Name())); err != nil {
			return fmt.Errorf("clearing a folder: %w", err)
		}
	}
	return nil
}

// Sync puts the folder's names on disk.
func (f Folder) Sync() error {
	d, err := os.Open(string(f))
	if err != nil {
		return fmt.Errorf("syncing a folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing a folder: %w", err)
	}
	return nil
}
