// Package signer holds the two keys that a member signs checkpoints with, and sees to it that neither ever signs two
// trees that contradict each other: the state, last tree signed, is on the disk before a signature leaves, one process
// holds the folder, and each next tree is checked to contain the last one.
//
// Signer state is never in a backup. A copy of an old state would sign a second history.
package signer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked says that another process has the folder open.
var ErrLocked = errors.New("folder is in use by another process")

// A Lock is the exclusive use of a folder.
type Lock struct{ file *os.File }

// Acquire takes the lock of a folder, or returns an error that wraps ErrLocked. The kernel drops it when the process ends.
func Acquire(dir string) (*Lock, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: stop it, or give this gateway a folder of its own", ErrLocked), f.Close())
	}
	return &Lock{f}, nil
}

// Release gives the lock back.
func (l *Lock) Release() error { return l.file.Close() }
