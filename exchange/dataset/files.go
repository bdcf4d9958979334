package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	lockName        = ".lock"
	canaryName      = ".vault"
	schemaName      = "schema"
	epochsName      = "epochs"
	epochPrefix     = "epoch-"
	temporaryPrefix = "temporary-"
)

// A stepper is told of each durability step that has been taken: written, synced, renamed, folder-synced, removed. Tests look
// at the disk there, as after a crash.
type stepper func(step, path string)

func epochFolder(number uint64) string { return epochPrefix + strconv.FormatUint(number, 10) }

// epochNumber reads the name of an epoch's folder.
func epochNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, epochPrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil && epochFolder(n) == name
}

func syncFolder(path string, step stepper) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	if err == nil {
		step("folder-synced", path)
	}
	return err
}

// replaceFile makes a small file hold the given bytes: after a crash it holds either these or what it held before.
func replaceFile(path string, data []byte, step stepper) error {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, temporaryPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		step("written", f.Name())
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		step("synced", f.Name())
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	step("renamed", path)
	return syncFolder(folder, step)
}

func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("locking: %w", err)
	}
	return f, nil
}
