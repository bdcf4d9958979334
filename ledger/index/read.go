package index

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidwall/buntdb"
)

// OpenRead reads the index at path into memory and leaves the file alone, for whoever looks at the folder of a gateway,
// which may be writing to it. An index that Open would begin anew is read as far as possible; Damage says what is wrong.
// The error is for a file that cannot be read at all; for a missing one it wraps fs.ErrNotExist.
func OpenRead(path string) (*Index, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	defer f.Close()
	frames := &counter{r: f}
	buffered := bufio.NewReaderSize(frames, 1<<16)
	damage := readFrames(buffered)
	x, err := newIndex(Memory)
	if err != nil {
		return nil, fmt.Errorf("reading index: %w", err)
	}
	if damage == nil {
		if _, err = f.Seek(0, io.SeekStart); err == nil { // what was appended since has not been checked
			err = x.db.Load(io.LimitReader(f, frames.n))
		}
		if err != nil {
			return nil, fmt.Errorf("reading index: %w", errors.Join(err, x.db.Close()))
		}
		damage = x.load()
	}
	x.damage = damage
	return x, nil
}

// A counter counts the bytes read.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// Has tells whether the index holds exactly this row for its entry.
func (x *Index) Has(r Row) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	id, ok := x.ids[r.names()]
	if !ok || r.Index > maxIndex || r.Time.Unix() < 0 || r.Time.Unix() > maxTime {
		return false
	}
	return x.db.View(func(tx *buntdb.Tx) error {
		_, err := tx.Get(rowKey(id, r.Time.Unix(), r.Index))
		return err
	}) == nil
}
