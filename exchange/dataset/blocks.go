package dataset

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/grille-gateway/grille/exchange/vault"
)

// The index of subjects and the tree's levels say who is in a dataset to anybody who can guess identifiers, so they are
// sealed too, in blocks: a file of blocks is the sealing of each plaintext block of one fixed size, the last one shorter.
const purposeBlock = "dataset block"

// A fileSum is what a manifest says about a file.
type fileSum struct {
	Size   int64  `json:"size,string"`
	SHA256 string `json:"sha256"`
}

// A sumWriter writes a new file and remembers its length and hash.
type sumWriter struct {
	f    *os.File
	buf  *bufio.Writer
	hash hash.Hash
	size int64
	step stepper
}

func createSummed(path string, step stepper) (*sumWriter, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &sumWriter{f: f, buf: bufio.NewWriterSize(f, 1<<18), hash: sha256.New(), step: step}, nil
}

func (w *sumWriter) Write(b []byte) (int, error) {
	n, err := w.buf.Write(b)
	w.hash.Write(b[:n])
	w.size += int64(n)
	return n, err
}

// close makes the file durable; its name is not before the folder is synced.
func (w *sumWriter) close() (fileSum, error) {
	err := w.buf.Flush()
	if err == nil {
		w.step("written", w.f.Name())
		err = w.f.Sync()
	}
	if e := w.f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fileSum{}, err
	}
	w.step("synced", w.f.Name())
	return fileSum{Size: w.size, SHA256: hex.EncodeToString(w.hash.Sum(nil))}, nil
}

// checkSum compares an open file with its sum.
func checkSum(f *os.File, want fileSum) error {
	name := filepath.Base(f.Name())
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != want.Size {
		return fmt.Errorf("%w: file %s has %d bytes, want %d", ErrCorrupt, name, info.Size(), want.Size)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, want.Size)); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != want.SHA256 {
		return fmt.Errorf("%w: file %s has another checksum than its manifest says", ErrCorrupt, name)
	}
	return nil
}

// blockContext is what binds a block to its place: the epoch's files, the file and, with it, the block's number.
type blockContext struct {
	vault *vault.Vault
	files [16]byte // random, one for each set of files
	name  string
	size  int // plaintext bytes of a full block
}

func (c *blockContext) associated(number int) []byte {
	ad := append([]byte(nil), c.files[:]...)
	ad = binary.BigEndian.AppendUint64(ad, uint64(number))
	return append(ad, c.name...)
}

// A blockWriter seals what is written to it block by block.
type blockWriter struct {
	blockContext
	out    *sumWriter
	buf    []byte
	number int
}

func createBlocks(folder string, c blockContext, step stepper) (*blockWriter, error) {
	out, err := createSummed(filepath.Join(folder, c.name), step)
	if err != nil {
		return nil, err
	}
	return &blockWriter{blockContext: c, out: out, buf: make([]byte, 0, c.size)}, nil
}

func (w *blockWriter) write(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), w.size-len(w.buf))
		w.buf = append(w.buf, b[:n]...)
		b = b[n:]
		if len(w.buf) == w.size {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *blockWriter) flush() error {
	sealed, err := w.vault.Seal(purposeBlock, w.associated(w.number), w.buf)
	if err != nil {
		return err
	}
	w.number++
	w.buf = w.buf[:0]
	_, err = w.out.Write(sealed)
	return err
}

func (w *blockWriter) close() (fileSum, error) {
	if len(w.buf) > 0 {
		if err := w.flush(); err != nil {
			w.out.f.Close()
			return fileSum{}, err
		}
	}
	return w.out.close()
}

// A blockReader opens blocks of a file. It is safe for concurrent use.
type blockReader struct {
	blockContext
	f     *os.File
	total int64 // plaintext bytes
}

// blocks is the number of blocks.
func (r *blockReader) blocks() int { return int((r.total + int64(r.size) - 1) / int64(r.size)) }

// sealedSize is the length of the file that holds the total.
func (r *blockReader) sealedSize() int64 { return r.total + int64(r.blocks())*vault.Overhead }

// block returns the plaintext of a block, 0 to blocks()-1.
func (r *blockReader) block(number int) ([]byte, error) {
	n := min(int64(r.size), r.total-int64(number)*int64(r.size))
	sealed := make([]byte, n+vault.Overhead)
	if _, err := r.f.ReadAt(sealed, int64(number)*int64(r.size+vault.Overhead)); err != nil {
		return nil, readError(r.name, err)
	}
	plaintext, err := r.vault.Open(purposeBlock, r.associated(number), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, r.name, err)
	}
	return plaintext, nil
}

// readError tells damage from a failing disk and from a closed store.
func readError(name string, err error) error {
	switch {
	case errors.Is(err, os.ErrClosed):
		return ErrClosed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: file %s ends early", ErrCorrupt, name)
	}
	return fmt.Errorf("reading %s: %w", name, err)
}
