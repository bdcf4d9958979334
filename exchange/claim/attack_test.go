package claim

import (
	"errors"
	"testing"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// generations are a register's log and the one before it, which ended.
type generations struct {
	*memoryLog
	ended *memoryLog
}

const endedOrigin = "test.example/GOV/civil/log/0"

func (g generations) View(o string, size uint64) *view.View {
	if o == endedOrigin {
		return g.ended.View(o, size)
	}
	return g.memoryLog.View(o, size)
}

// TestPeriodOfALogThatEnded: a scope whose log a fence ended is not opened again on the next one. Its key would be another, and whoever
// claimed could claim again.
func TestPeriodOfALogThatEnded(t *testing.T) {
	b := newBench(t)
	b.claim(b.scope("2026"), nullifier(1))
	b.beat()
	old := b.log
	b.check(b.Close())
	b.log = newLog()
	options := b.options()
	options.Dir, options.Ledger = t.TempDir(), generations{b.log, old}
	open := func(period string, size int) error {
		options.Ended = []network.Fence{{Origin: endedOrigin, Size: int64(size)}}
		var err error
		b.Register, err = Open(options)
		b.check(err)
		_, err = b.OpenScope(t.Context(), "fuel", period, b.now, b.now.AddDate(1, 0, 0))
		b.check(b.Close())
		return err
	}
	if err := open("2026", len(old.raw)); !errors.Is(err, ErrScope) {
		t.Errorf("the period of the log that ended: %v", err)
	}
	if err := open("2027", len(old.raw)+1); !errors.Is(err, ErrScope) {
		t.Errorf("while the log that ended is not here whole: %v", err)
	}
	if err := open("2027", len(old.raw)); err != nil {
		t.Errorf("another period: %v", err)
	}
	b.Register = nil
}
