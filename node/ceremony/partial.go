package ceremony

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxFile bounds any file of a ceremony: the largest contribution at 2^17 powers has 40 MB, and a transcript a few hundred KB.
const maxFile = 64 << 20

// errContent says that what arrived is not the file it was said to be. It was removed, so that the next transfer begins anew.
var errContent = errors.New("the bytes do not have the SHA-256 that names them")

// partial is a file that arrives in parts. Its parts are on disk as they came, so that a transfer goes on after a restart. They are
// not synced: what a crash tears has another SHA-256 and is fetched again.
type partial struct {
	path string
	name digest
	size int64
}

// newPartial names a file in dir by its SHA-256. owner keeps the files of different senders apart.
func newPartial(dir, owner string, name digest, size int64) (*partial, error) {
	if size <= 0 || size > maxFile {
		return nil, fmt.Errorf("%w: a file of %d bytes", ErrMessage, size)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of transfers: %w", err)
	}
	return &partial{filepath.Join(dir, owner+name.String()+".part"), name, size}, nil
}

// held is how many bytes are here. A file that is longer than it may be is removed.
func (p *partial) held() (int64, error) {
	info, err := os.Stat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking at a transfer: %w", err)
	}
	if info.Size() > p.size {
		return 0, p.drop()
	}
	return info.Size(), nil
}

// add writes a part at the end, if it begins there and ends within the file, and returns how many bytes are held then.
func (p *partial) add(offset int64, part []byte) (int64, error) {
	held, err := p.held()
	if err != nil || offset != held || len(part) == 0 {
		return held, err
	}
	if int64(len(part)) > p.size-held {
		return held, fmt.Errorf("%w: %d bytes at %d of %d", ErrMessage, len(part), offset, p.size)
	}
	f, err := os.OpenFile(p.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return held, fmt.Errorf("keeping a transfer: %w", err)
	}
	_, err = f.Write(part)
	if err = errors.Join(err, f.Close()); err != nil {
		return held, fmt.Errorf("keeping a transfer: %w", err)
	}
	return held + int64(len(part)), nil
}

// take returns the whole file and removes it. The error is errContent if it is not the file it was said to be.
func (p *partial) take() ([]byte, error) {
	held, err := p.held()
	if err != nil {
		return nil, err
	}
	if held != p.size {
		return nil, fmt.Errorf("taking a transfer: %d of %d bytes are here", held, p.size)
	}
	data, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("taking a transfer: %w", err)
	}
	if sha256.Sum256(data) != p.name {
		return nil, errors.Join(errContent, p.drop())
	}
	return data, p.drop()
}

// alone removes what else arrives in its folder: one file at a time.
func (p *partial) alone() error {
	others, err := filepath.Glob(filepath.Join(filepath.Dir(p.path), "*.part"))
	if err != nil {
		return fmt.Errorf("looking for transfers: %w", err)
	}
	for _, other := range others {
		if other != p.path {
			if err := (&partial{path: other}).drop(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *partial) drop() error {
	if err := os.Remove(p.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a transfer: %w", err)
	}
	return nil
}
