package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/grille-gateway/grille/ledger/index"
)

// How often a file that changes under our eyes is read again, and after how long.
const (
	indexTries = 5
	indexPause = 50 * time.Millisecond
)

// openIndex reads index.db into memory. It is read before the heads, so that what it covers is final by then. A copy that
// was caught in the middle of a write disagrees with itself and is read again.
func (a *auditor) openIndex() error {
	if a.o.FS != nil {
		return nil
	}
	path := a.path("index.db")
	for try := 1; ; try++ {
		before, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // made anew when a gateway starts
		}
		if err != nil {
			return fmt.Errorf("reading index: %w", err)
		}
		if a.index, err = index.OpenRead(path); err != nil {
			return err
		}
		damage := a.index.Damage()
		after, err := os.Stat(path)
		settled := err == nil && after.Size() == before.Size() && after.ModTime().Equal(before.ModTime())
		if damage == nil || settled || try == indexTries {
			if damage != nil {
				a.report.found(IndexDamaged, "", "index.db: %v", damage)
			}
			return nil
		}
		if err := a.closeIndex(); err != nil {
			return err
		}
		time.Sleep(indexPause)
	}
}

func (a *auditor) closeIndex() error {
	if a.index == nil {
		return nil
	}
	err := a.index.Close()
	a.index = nil
	return err
}

// planIndex notes how far a log is indexed; its root there is compared with the entries'.
func (a *auditor) planIndex(p *plan) {
	if a.index == nil {
		return
	}
	tree, ok := a.index.Tree(p.Origin)
	if !ok {
		return
	}
	p.Indexed = tree.N
	if end := p.head().N; tree.N > end {
		p.found(IndexTree, -1, "index.db covers %d entries, and %d are final", tree.N, end)
	}
	p.known = append(p.known, known{tree, IndexTree, "index.db"})
}

// indexed compares an entry's row with the index.
func (s *scan) indexed(row index.Row) {
	if int64(row.Index) < s.p.Indexed && !s.a.index.Has(row) {
		s.p.found(IndexRow, int64(row.Index), "index.db has no row, or another one, of this entry")
	}
}
