// Package agreement keeps the terms under which one department may ask another: which right covers a query, and how often it
// may be used.
package agreement

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/receipt"
)

// ErrBudget reports a query beyond what an agreement allows, for its subject or in all.
var ErrBudget = errors.New("budget exhausted")

// ErrTerms reports a budget that is not the one an offer committed to, or makes no sense.
var ErrTerms = errors.New("budget does not match its commitment")

// A Budget says how often a right may be used. The two parties know it; the ledger holds a salted commitment.
type Budget struct {
	PerSubject int          `json:"per_subject"` // answers about one subject, 1 or more
	Total      int          `json:"total"`       // answers in all, PerSubject or more
	Salt       receipt.Hash `json:"salt"`        // uniform, so that the commitment hides the numbers
}

// NewBudget draws a salt.
func NewBudget(perSubject, total int) (Budget, error) {
	b := Budget{PerSubject: perSubject, Total: total}
	if err := b.Check(); err != nil {
		return b, err
	}
	var err error
	b.Salt, err = receipt.NewSalt()
	return b, err
}

// Check reports numbers that make no sense.
func (b *Budget) Check() error {
	if b.PerSubject < 1 || b.Total < b.PerSubject {
		return fmt.Errorf("checking a budget: want 1 <= per subject <= total: %w", ErrTerms)
	}
	return nil
}

// Commitment is what the agreement on the ledger carries, as 64 hex digits.
func (b *Budget) Commitment() string {
	numbers := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(b.PerSubject)), uint64(b.Total))
	return receipt.Sum("grille/v1/budget", b.Salt[:], numbers).String()
}

// A Meter counts how often each agreement was used, and for whom. A query reserves before the vault is read and commits when
// its receipt is written; unknown subjects are charged like any other.
//
//	free --Reserve--> reserved --Commit--> used
//	                     `------Release--> free
type Meter struct {
	mu    sync.Mutex
	total map[uint64]int
	each  map[use]int
}

type use struct {
	agreement uint64
	subject   circuits.Key
}

// NewMeter returns a meter at zero. Charges from before a restart are put back with Charge.
func NewMeter() *Meter { return &Meter{total: map[uint64]int{}, each: map[use]int{}} }

// Reserve takes one answer out of a budget, or reports ErrBudget. The caller releases it if no receipt gets written.
func (m *Meter) Reserve(agreement uint64, subject circuits.Key, b Budget) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.total[agreement] >= b.Total || m.each[use{agreement, subject}] >= b.PerSubject {
		return fmt.Errorf("using agreement %d: %w", agreement, ErrBudget)
	}
	m.add(agreement, subject, 1)
	return nil
}

// Release gives back what Reserve took.
func (m *Meter) Release(agreement uint64, subject circuits.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(agreement, subject, -1)
}

// Charge counts an answer of which the journal says that it was given.
func (m *Meter) Charge(agreement uint64, subject circuits.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(agreement, subject, 1)
}

// Used returns how many answers were taken from an agreement in all.
func (m *Meter) Used(agreement uint64) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total[agreement]
}

func (m *Meter) add(agreement uint64, subject circuits.Key, n int) {
	m.total[agreement] += n
	u := use{agreement, subject}
	if m.each[u] += n; m.each[u] == 0 {
		delete(m.each, u) // a subject that was not charged leaves nothing behind
	}
}
