// Package signer holds the two keys that a member signs checkpoints with, and sees to it that neither ever signs two
// trees that contradict each other: the state, last tree signed, is on the disk before a signature leaves, one process
// holds the folder, and each next tree is checked to contain the last one.
//
// Signer state is never in a backup. A copy of an old state would sign a second history.
package signer

import (
	"io"

	"github.com/grille-gateway/grille/ledger/tiles"
)

// ErrLocked says that another process has the folder open.
var ErrLocked = tiles.ErrLocked

// A Lock is the exclusive use of a folder.
type Lock struct{ file io.Closer }

// Acquire takes the lock of a disk's folder, or returns an error that wraps ErrLocked. It ends with the process.
func Acquire(disk *tiles.Disk) (*Lock, error) {
	f, err := disk.Lock()
	if err != nil {
		return nil, err
	}
	return &Lock{f}, nil
}

// Release gives the lock back.
func (l *Lock) Release() error { return l.file.Close() }
