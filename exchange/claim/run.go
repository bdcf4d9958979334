package claim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/grille-gateway/grille/exchange/receipt"
)

// A run is a file of claims in rising order, integers big endian:
//
//	header  "grille claims 1\n" (16 bytes)
//	claim*  first 24 bytes of the nullifier, index of the claims.batch that it stands in (8)
//	end     number of claims (8), CRC32C of all before (4)
//
// 24 bytes are 191 bits of a nullifier: nobody finds two that share them. In memory is the first nullifier of every 128, 8 bytes
// of it, so that a look-up reads one block of 4 KiB.
type run struct {
	name   string
	file   *os.File
	claims int
	first  []uint64 // of each block, the first 8 bytes
}

const (
	runMagic   = "grille claims 1\n"
	printSize  = 24
	claimSize  = printSize + 8
	blockSize  = 128 * claimSize
	runTrailer = 12
)

// print is what tells nullifiers apart here.
type print [printSize]byte

func printOf(n receipt.Hash) print { return print(n[:printSize]) }

// placed is a claim and the entry it stands in.
type placed struct {
	print print
	place uint64
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeRun writes claims, which rise, and makes file and name durable.
func writeRun(dir, name string, claims iter.Seq2[placed, error]) (err error) {
	file, err := os.CreateTemp(dir, temporaryPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	err = writeClaims(file, claims)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncFolder(dir)
}

func writeClaims(file io.Writer, claims iter.Seq2[placed, error]) error {
	sum := crc32.New(castagnoli)
	buffer := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<20)
	count := uint64(0)
	buffer.WriteString(runMagic) // Flush tells of a failure
	for c, err := range claims {
		if err != nil {
			return err
		}
		var b [claimSize]byte
		copy(b[:], c.print[:])
		binary.BigEndian.PutUint64(b[printSize:], c.place)
		buffer.Write(b[:])
		count++
	}
	if err := buffer.Flush(); err != nil {
		return err
	}
	end := binary.BigEndian.AppendUint64(nil, count)
	sum.Write(end)
	_, err := file.Write(binary.BigEndian.AppendUint32(end, sum.Sum32()))
	return err
}

// openRun reads a whole run once: that it is what was written, and its table. It returns ErrDamaged for any other content.
func openRun(dir, name string) (*run, error) {
	file, err := os.Open(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("opening %s: %w: it is missing", name, ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	r := &run{name: name, file: file}
	if err := r.read(); err != nil {
		file.Close()
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	return r, nil
}

func (r *run) read() error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	body := info.Size() - int64(len(runMagic)) - runTrailer
	if body < 0 || body%claimSize != 0 {
		return fmt.Errorf("%w: %d bytes", ErrDamaged, info.Size())
	}
	sum := crc32.New(castagnoli)
	in := bufio.NewReaderSize(r.file, 1<<20)
	header := make([]byte, len(runMagic))
	if _, err := io.ReadFull(in, header); err != nil || string(header) != runMagic {
		return fmt.Errorf("%w: not a run of claims", ErrDamaged)
	}
	sum.Write(header)
	r.claims = int(body / claimSize)
	r.first = make([]uint64, 0, (body+blockSize-1)/blockSize)
	if err := r.table(in, sum); err != nil {
		return err
	}
	var end [runTrailer]byte
	if _, err := io.ReadFull(in, end[:]); err != nil {
		return err
	}
	sum.Write(end[:8])
	if binary.BigEndian.Uint64(end[:]) != uint64(r.claims) || binary.BigEndian.Uint32(end[8:]) != sum.Sum32() {
		return fmt.Errorf("%w: its checksum does not match", ErrDamaged)
	}
	return nil
}

func (r *run) table(in io.Reader, sum hash.Hash) error {
	var before print
	block := make([]byte, blockSize)
	for left := r.claims * claimSize; left > 0; left -= blockSize {
		b := block[:min(left, blockSize)]
		if _, err := io.ReadFull(in, b); err != nil {
			return err
		}
		sum.Write(b)
		r.first = append(r.first, binary.BigEndian.Uint64(b))
		for ; len(b) > 0; b = b[claimSize:] {
			if bytes.Compare(b[:printSize], before[:]) <= 0 {
				return fmt.Errorf("%w: not in order", ErrDamaged)
			}
			copy(before[:], b)
		}
	}
	return nil
}

// find returns the entry that a claim stands in.
func (r *run) find(p print) (place uint64, ok bool, err error) {
	key := binary.BigEndian.Uint64(p[:])
	// The last block that begins at or before p; blocks that share its first 8 bytes are searched backwards.
	for i := sort.Search(len(r.first), func(i int) bool { return r.first[i] > key }) - 1; i >= 0; i-- {
		var block [blockSize]byte
		b := block[:min(blockSize, (r.claims*claimSize)-i*blockSize)]
		if _, err := r.file.ReadAt(b, int64(len(runMagic)+i*blockSize)); err != nil {
			return 0, false, fmt.Errorf("looking up a claim: %w", err)
		}
		n := len(b) / claimSize
		at := sort.Search(n, func(j int) bool { return bytes.Compare(b[j*claimSize:j*claimSize+printSize], p[:]) >= 0 })
		if at < n && bytes.Equal(b[at*claimSize:at*claimSize+printSize], p[:]) {
			return binary.BigEndian.Uint64(b[at*claimSize+printSize:]), true, nil
		}
		if r.first[i] < key {
			break
		}
	}
	return 0, false, nil
}

// all reads a run from the beginning.
func (r *run) all() iter.Seq2[placed, error] {
	return func(yield func(placed, error) bool) {
		in := bufio.NewReaderSize(io.NewSectionReader(r.file, int64(len(runMagic)), int64(r.claims*claimSize)), 1<<18)
		for range r.claims {
			var b [claimSize]byte
			if _, err := io.ReadFull(in, b[:]); err != nil {
				yield(placed{}, err)
				return
			}
			if !yield(placed{print(b[:printSize]), binary.BigEndian.Uint64(b[printSize:])}, nil) {
				return
			}
		}
	}
}

// merge reads several rising sequences as one. Of equal claims the first place counts.
func merge(sources []iter.Seq2[placed, error]) iter.Seq2[placed, error] {
	return func(yield func(placed, error) bool) {
		type source struct {
			head placed
			next func() (placed, error, bool)
		}
		var open []*source
		failed := false
		for _, s := range sources {
			next, stop := iter.Pull2(s)
			defer stop()
			open = append(open, &source{next: next})
		}
		step := func(s *source) bool {
			head, err, ok := s.next()
			if err != nil && !failed {
				failed = true
				yield(placed{}, err)
			}
			s.head = head
			return ok && !failed
		}
		open = slices.DeleteFunc(open, func(s *source) bool { return !step(s) })
		for len(open) > 0 && !failed {
			least := open[0]
			for _, s := range open[1:] {
				if c := bytes.Compare(s.head.print[:], least.head.print[:]); c < 0 || c == 0 && s.head.place < least.head.place {
					least = s
				}
			}
			smallest := least.head
			if !yield(smallest, nil) {
				return
			}
			open = slices.DeleteFunc(open, func(s *source) bool { return s.head.print == smallest.print && !step(s) })
		}
	}
}
