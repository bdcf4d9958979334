// Package journal keeps frames of bytes in one append-only file. A frame that Append has acknowledged is on the disk and is
// replayed by every later Open, whole and in order; a frame that was not acknowledged is replayed whole or not at all.
//
// The file, integers big endian:
//
//	header  "grille journal 1" (16 bytes), file id (16 random bytes), CRC32C of both (4 bytes)
//	batch*  length n of the payload (4), CRC32C of the length (4), CRC32C of the payload (4), payload (n bytes)
//	payload (frame length (4), frame)+
//
// One batch is one write and one fsync, shared by the Append calls that were waiting. Both batch checksums also cover the file id
// and the batch's position, so that bytes inside a frame never pass for a batch. The length has a checksum of its own: a
// flipped bit in it would otherwise make an early batch look like an incomplete last one.
//
// Open decides between a torn write and damage. A crash leaves at most one batch without its fsync, and it is the last one:
// Open cuts off a last batch that is incomplete or fails a checksum. The same anywhere before the last batch is damage to
// something that was acknowledged, and Open refuses with ErrCorrupt and changes nothing.
package journal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

var (
	// ErrCorrupt means that acknowledged frames are damaged. Restore the file from its disk's redundancy; nothing was changed.
	ErrCorrupt = errors.New("journal is damaged")
	// ErrLocked means that another process has the journal open.
	ErrLocked = errors.New("journal is in use by another process")
	// ErrFailed means that a write or fsync failed, now or earlier. What the disk holds is unknown: the process should stop, and
	// the next Open finds out.
	ErrFailed = errors.New("journal cannot be written")
	// ErrClosed means that the journal was closed.
	ErrClosed = errors.New("journal is closed")
	// ErrFrameSize means that a frame is empty or larger than MaxFrame. The journal is unharmed.
	ErrFrameSize = errors.New("journal frame has a wrong size")
)

// file is what the journal needs of its file; the tests put a failing one in its place.
type file interface {
	io.Writer
	Sync() error
	Close() error
}

type request struct {
	frame []byte
	done  chan error // buffered, receives one result
}

// A Journal is an open journal file. Append and Close may be called concurrently.
type Journal struct {
	path     string
	lock     *os.File
	synced   atomic.Int64 // bytes that are on the disk: what Scan reads up to
	requests chan *request
	stopped  chan struct{} // closed when the writer goroutine has ended

	closing sync.RWMutex // held for reading while a request is handed over, so that Close cannot close the channel under it
	closed  bool

	// Owned by the writer goroutine.
	f      file
	id     [idSize]byte
	size   int64 // bytes in the file, all of them synced unless failed is set
	failed error // sticky
	buf    []byte
}

// Open opens the journal at path, creating it if there is none, and calls replay with each frame in the order of their
// appending; replay may keep the slice. An error from replay ends Open and is returned wrapped. Open locks the journal
// against other processes (path + ".lock") until Close. It returns ErrLocked, ErrCorrupt or the operating system's error.
func Open(path string, replay func(frame []byte) error) (*Journal, error) {
	j, err := open(path, replay)
	if err != nil {
		return nil, fmt.Errorf("opening journal: %w", err)
	}
	go j.run()
	return j, nil
}

func open(path string, replay func([]byte) error) (_ *Journal, err error) {
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := create(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	id, good, size, err := scan(f, replay)
	if err != nil {
		return nil, err
	}
	if good < size { // a torn batch
		if err := f.Truncate(good); err != nil {
			return nil, err
		}
	}
	// Even if nothing was cut off: a process killed before its fsync may have left these frames in the page cache only.
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if _, err := f.Seek(good, io.SeekStart); err != nil {
		return nil, err
	}
	j := &Journal{path: path, lock: lock, f: f, id: id, size: good,
		requests: make(chan *request, queueLength), stopped: make(chan struct{})}
	j.synced.Store(good)
	return j, nil
}

// Scan calls use with each frame that is on the disk now, in the order of their appending, while others go on appending. It
// reads the file anew and keeps nothing: its time grows with the journal, its memory with the largest batch. An error from use
// ends it and is returned wrapped.
func (j *Journal) Scan(use func(frame []byte) error) error {
	end := j.synced.Load()
	f, err := os.Open(j.path)
	if err != nil {
		return fmt.Errorf("scanning the journal: %w", err)
	}
	defer f.Close()
	for at := int64(fileHeaderSize); at < end; {
		payload, err := readBatch(f, j.id, at, end)
		if errors.Is(err, errTorn) {
			err = fmt.Errorf("%w: at byte %d of %d", ErrCorrupt, at, end)
		}
		if err == nil {
			err = replayBatch(payload, use)
		}
		if err != nil {
			return fmt.Errorf("scanning the journal: %w", err)
		}
		at += int64(batchHeaderSize + len(payload))
	}
	return nil
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, err
	}
	return f, nil
}

// create writes the header of a new journal. The file appears whole or not at all, so a file shorter than its header is
// never a torn creation. The caller holds the lock.
func create(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var id [idSize]byte
	rand.Read(id[:])
	temporary := path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(fileHeader(id))
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}

// Append adds a frame of 1 to MaxFrame bytes and returns when it is on the disk. The frame must not change meanwhile. After an
// error other than ErrFrameSize the frame may or may not be there at the next Open. Once a write or fsync has failed,
// every later Append returns ErrFailed.
func (j *Journal) Append(frame []byte) error {
	if len(frame) == 0 || len(frame) > MaxFrame {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrFrameSize, len(frame), MaxFrame)
	}
	r := &request{frame: frame, done: make(chan error, 1)}
	j.closing.RLock()
	if j.closed {
		j.closing.RUnlock()
		return ErrClosed
	}
	j.requests <- r
	j.closing.RUnlock()
	return <-r.done
}

// Close waits for the appends under way, closes the file and releases the lock. It returns ErrFailed if an append had failed.
func (j *Journal) Close() error {
	j.closing.Lock()
	if j.closed {
		j.closing.Unlock()
		return ErrClosed
	}
	j.closed = true
	close(j.requests)
	j.closing.Unlock()
	<-j.stopped
	err := j.failed
	if e := j.f.Close(); err == nil && e != nil {
		err = fmt.Errorf("%w: %w", ErrFailed, e)
	}
	if e := j.lock.Close(); err == nil {
		err = e
	}
	return err
}

// run writes batches: the request that woke it and those that queued up behind it, up to maxBatch bytes.
func (j *Journal) run() {
	defer close(j.stopped)
	var next *request
	for {
		first := next
		next = nil
		if first == nil {
			var ok bool
			if first, ok = <-j.requests; !ok {
				return
			}
		}
		batch, payload := []*request{first}, prefixSize+len(first.frame)
	gather:
		for {
			select {
			case r, ok := <-j.requests:
				if !ok {
					break gather
				}
				if payload+prefixSize+len(r.frame) > maxBatch {
					next = r
					break gather
				}
				batch, payload = append(batch, r), payload+prefixSize+len(r.frame)
			default:
				break gather
			}
		}
		err := j.write(batch)
		for _, r := range batch {
			r.done <- err
		}
	}
}

func (j *Journal) write(batch []*request) error {
	if j.failed != nil {
		return j.failed
	}
	b := append(j.buf[:0], make([]byte, batchHeaderSize)...)
	for _, r := range batch {
		b = binary.BigEndian.AppendUint32(b, uint32(len(r.frame)))
		b = append(b, r.frame...)
	}
	putBatchHeader(b, j.id, j.size)
	n, err := j.f.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		// A second fsync after a failed one may report success for pages that the kernel has dropped.
		j.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		return j.failed
	}
	j.size += int64(len(b))
	j.synced.Store(j.size)
	clear(b) // frames may hold openings; the buffer outlives them
	if cap(b) <= keepBuffer {
		j.buf = b
	} else {
		j.buf = nil
	}
	return nil
}
