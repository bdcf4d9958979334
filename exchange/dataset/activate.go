package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/entry"
)

const (
	purposeEpochs = "dataset epochs"
	purposeCanary = "dataset store"
	purposeSchema = "dataset schema"
)

// An activation is an epoch that stands on the ledger.
type activation struct {
	Epoch       uint64 `json:"epoch,string"`
	LedgerIndex uint64 `json:"ledger_index,string"`
	Root        string `json:"root"`
}

type activations struct {
	V      int          `json:"v"`
	Active []activation `json:"active"`
}

// Activate makes a pending epoch the current one, after its root has been appended to the ledger at the given index, and
// retires the epochs beyond those to keep. It is durable when it returns. Repeating it for the current epoch with the same
// index does nothing. Errors: ErrDataset, ErrEpoch, ErrBusy, ErrCorrupt, the operating system's.
func (s *Store) Activate(dataset string, epoch, ledgerIndex uint64) error {
	if err := s.activate(dataset, epoch, ledgerIndex); err != nil {
		return fmt.Errorf("activating epoch %d of %s: %w", epoch, dataset, err)
	}
	return nil
}

func (s *Store) activate(name string, epoch, ledgerIndex uint64) error {
	d, release, err := s.acquire(name, false)
	if err != nil {
		return err
	}
	defer release()
	s.mu.Lock()
	pending, current, active, keep := d.pending, d.current, slices.Clone(d.active), s.keep
	s.mu.Unlock()
	if current != nil && current.number == epoch && current.ledgerIndex == ledgerIndex {
		return nil
	}
	if pending == nil || pending.Epoch != epoch {
		return fmt.Errorf("%w is pending", ErrEpoch)
	}
	e, err := openEpoch(s.vault, filepath.Join(d.dir, epochFolder(epoch)), name, epoch)
	if err != nil {
		return err
	}
	e.ledgerIndex = ledgerIndex
	active = append(active, activation{epoch, ledgerIndex, e.RootHex()})
	retired := active[:max(0, len(active)-keep)]
	active = active[len(retired):]
	if err := s.writeActive(name, d.dir, active); err != nil {
		e.close()
		return err
	}
	s.advance(d, e, active, retired)
	for _, r := range retired {
		if err := s.removeEpoch(d.dir, r.Epoch); err != nil {
			return fmt.Errorf("retiring epoch %d: %w", r.Epoch, err)
		}
	}
	return nil
}

// advance makes an epoch current in memory, after the list of epochs says so on disk.
func (s *Store) advance(d *dataset, e *Epoch, active, retired []activation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.current != nil {
		d.hold(d.current)
	}
	d.current, d.active, d.pending = e, active, nil
	for _, r := range retired {
		// Those who still hold the epoch can read on: its files, removed, close when the collector finds it unused.
		delete(d.old, r.Epoch)
	}
}

// Pending returns the epoch that waits for Activate or Discard.
func (s *Store) Pending(dataset string) (*Prepared, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.datasets[dataset]
	if !ok || d.pending == nil {
		return nil, false
	}
	p := *d.pending
	return &p, true
}

// Discard removes a pending epoch. Its root must not be on the ledger: what was committed to there could never be opened.
func (s *Store) Discard(dataset string, epoch uint64) error {
	d, release, err := s.acquire(dataset, false)
	if err != nil {
		return fmt.Errorf("discarding epoch %d of %s: %w", epoch, dataset, err)
	}
	defer release()
	s.mu.Lock()
	pending := d.pending
	s.mu.Unlock()
	if pending == nil || pending.Epoch != epoch {
		return fmt.Errorf("discarding epoch %d of %s: %w is pending", epoch, dataset, ErrEpoch)
	}
	if err := s.removeEpoch(d.dir, epoch); err != nil {
		return fmt.Errorf("discarding epoch %d of %s: %w", epoch, dataset, err)
	}
	s.mu.Lock()
	d.pending = nil
	s.mu.Unlock()
	return nil
}

// removeEpoch removes an epoch's folder so that a crash leaves either all of it or a temporary folder.
func (s *Store) removeEpoch(parent string, number uint64) error {
	from := filepath.Join(parent, epochFolder(number))
	to := filepath.Join(parent, temporaryPrefix+"removed-"+epochFolder(number))
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	s.step("renamed", to)
	if err := syncFolder(parent, s.step); err != nil {
		return err
	}
	err := os.RemoveAll(to)
	s.step("removed", to)
	return err
}

// Current returns the current epoch of a dataset, if one is activated.
func (s *Store) Current(dataset string) (*Epoch, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.datasets[dataset]
	if !ok || d.current == nil {
		return nil, false
	}
	return d.current, true
}

// Epoch returns an activated epoch that has not been retired. The first call for an old epoch verifies its files, which holds up
// nobody else. Errors: ErrDataset, ErrEpoch, ErrClosed, ErrCorrupt, the operating system's.
func (s *Store) Epoch(dataset string, number uint64) (*Epoch, error) {
	e, err := s.epoch(dataset, number)
	if err != nil {
		return nil, fmt.Errorf("opening epoch %d of %s: %w", number, dataset, err)
	}
	return e, nil
}

func (s *Store) epoch(name string, number uint64) (*Epoch, error) {
	e, d, a, err := s.find(name, number)
	if e != nil || err != nil {
		return e, err
	}
	fresh, err := s.openActive(name, d.dir, a)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, _, _, again := s.lookup(name, number)
	switch {
	case err != nil && again != nil: // retired or closed meanwhile, which is why
		return nil, again
	case err != nil:
		return nil, err
	case e != nil || again != nil:
		fresh.close()
		return e, again
	}
	d.hold(fresh)
	return fresh, nil
}

// hold keeps an old epoch open, in the place of another if there are many. Whoever holds that one can read on; the collector closes
// its files.
func (d *dataset) hold(e *Epoch) {
	for number := range d.old {
		if len(d.old) < maxOpenEpochs {
			break
		}
		delete(d.old, number)
	}
	d.old[e.number] = e
}

func (s *Store) find(name string, number uint64) (*Epoch, *dataset, activation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lookup(name, number)
}

// lookup returns an epoch that is open, or what opening it takes. s.mu is held.
func (s *Store) lookup(name string, number uint64) (*Epoch, *dataset, activation, error) {
	if s.closed {
		return nil, nil, activation{}, ErrClosed
	}
	d, ok := s.datasets[name]
	if !ok {
		return nil, nil, activation{}, ErrDataset
	}
	if d.current != nil && d.current.number == number {
		return d.current, d, activation{}, nil
	}
	if e, ok := d.old[number]; ok {
		return e, d, activation{}, nil
	}
	i := slices.IndexFunc(d.active, func(a activation) bool { return a.Epoch == number })
	if i < 0 {
		return nil, nil, activation{}, ErrEpoch
	}
	return nil, d, d.active[i], nil
}

// openActive opens an epoch of the list.
func (s *Store) openActive(name, dir string, a activation) (*Epoch, error) {
	e, err := openEpoch(s.vault, filepath.Join(dir, epochFolder(a.Epoch)), name, a.Epoch)
	if err != nil {
		return nil, err
	}
	if e.RootHex() != a.Root {
		e.close()
		return nil, fmt.Errorf("%w: the epoch has another root than the one activated", ErrCorrupt)
	}
	e.ledgerIndex = a.LedgerIndex
	return e, nil
}

func (s *Store) writeActive(name, dir string, active []activation) error {
	b, err := json.Marshal(activations{V: 1, Active: active})
	if err != nil {
		return err
	}
	sealed, err := s.vault.Seal(purposeEpochs, []byte(name), b)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, epochsName), sealed, s.step)
}

func (s *Store) readActive(name, dir string) ([]activation, error) {
	path := filepath.Join(dir, epochsName)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	sealed, err := readBounded(path, maxEpochsFile)
	if err != nil {
		return nil, err
	}
	b, err := s.vault.Open(purposeEpochs, []byte(name), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: list of epochs: %w", ErrCorrupt, err)
	}
	var a activations
	if err := entry.DecodeStrict(b, maxEpochsFile, &a); err != nil || a.V != 1 || len(a.Active) == 0 {
		return nil, fmt.Errorf("%w: list of epochs: not one of this version", ErrCorrupt)
	}
	for i := 1; i < len(a.Active); i++ {
		if a.Active[i].Epoch <= a.Active[i-1].Epoch {
			return nil, fmt.Errorf("%w: list of epochs: out of order", ErrCorrupt)
		}
	}
	return a.Active, nil
}

// checkVault compares the vault with the one that the store was made with, by a constant that was sealed then.
func (s *Store) checkVault(empty bool) error {
	const constant = "grille datasets 1"
	path := filepath.Join(s.dir, canaryName)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if !empty {
			return fmt.Errorf("%w: file %s is missing", ErrCorrupt, canaryName)
		}
		sealed, err := s.vault.Seal(purposeCanary, nil, []byte(constant))
		if err != nil {
			return err
		}
		return replaceFile(path, sealed, s.step)
	}
	sealed, err := readBounded(path, 4096)
	if err != nil {
		return err
	}
	b, err := s.vault.Open(purposeCanary, nil, sealed)
	switch {
	case errors.Is(err, vault.ErrWrongKey):
		return fmt.Errorf("%w: %w", ErrVault, err)
	case err != nil:
		return fmt.Errorf("%w: file %s: %w", ErrCorrupt, canaryName, err)
	case string(b) != constant:
		return fmt.Errorf("%w: file %s: not of this version", ErrCorrupt, canaryName)
	}
	return nil
}

func removeTemporary(dir, name string) error {
	if !strings.HasPrefix(name, temporaryPrefix) {
		return fmt.Errorf("%w: %s does not belong here", ErrCorrupt, name)
	}
	return os.RemoveAll(filepath.Join(dir, name))
}

// load reads a dataset's folder and cleans it up.
func (s *Store) load(name string) error {
	if !entry.Name(name) {
		return fmt.Errorf("%w: not a dataset's name", ErrCorrupt)
	}
	d := &dataset{dir: filepath.Join(s.dir, name), old: make(map[uint64]*Epoch)}
	files, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	var epochs []uint64
	for _, f := range files {
		number, isEpoch := epochNumber(f.Name())
		switch {
		case isEpoch:
			epochs = append(epochs, number)
		case f.Name() == schemaName || f.Name() == epochsName:
		default:
			if err := removeTemporary(d.dir, f.Name()); err != nil {
				return err
			}
		}
	}
	if d.active, err = s.readActive(name, d.dir); err != nil {
		return err
	}
	if d.schema, err = s.readSchema(d.dir, name); err != nil {
		if errors.Is(err, os.ErrNotExist) && len(epochs) == 0 && d.active == nil {
			return os.RemoveAll(d.dir) // a Declare that did not finish
		}
		return fmt.Errorf("%w: schema: %w", ErrCorrupt, err)
	}
	s.datasets[name] = d
	return s.loadEpochs(name, d, epochs)
}

// loadEpochs opens the current epoch and decides what the folders that are not in the list are.
func (s *Store) loadEpochs(name string, d *dataset, epochs []uint64) (err error) {
	var newest uint64
	if n := len(d.active); n > 0 {
		for _, a := range d.active {
			if !slices.Contains(epochs, a.Epoch) {
				return fmt.Errorf("%w: epoch %d is missing", ErrCorrupt, a.Epoch)
			}
		}
		newest = d.active[n-1].Epoch
		if d.current, err = s.openActive(name, d.dir, d.active[n-1]); err != nil {
			return fmt.Errorf("epoch %d: %w", newest, err)
		}
	}
	for _, number := range epochs {
		switch {
		case slices.ContainsFunc(d.active, func(a activation) bool { return a.Epoch == number }):
		case number < newest:
			if err := s.removeEpoch(d.dir, number); err != nil {
				return err
			}
		case d.pending != nil:
			return fmt.Errorf("%w: two epochs are pending", ErrCorrupt)
		default:
			m, err := readManifest(s.vault, filepath.Join(d.dir, epochFolder(number)), name, number)
			if err != nil {
				return fmt.Errorf("pending epoch %d: %w", number, err)
			}
			d.pending = &Prepared{Dataset: name, Epoch: number}
			if d.pending.Root, err = decodeElement(m.Root); err != nil {
				return fmt.Errorf("pending epoch %d: %w", number, err)
			}
		}
	}
	return nil
}

// writeSchema keeps the declared schema. It is public, and sealed all the same: a changed one would give records another
// meaning.
func (s *Store) writeSchema(dir string, sch *schema.Schema) error {
	b, err := entry.Encode(sch.Declare(time.Unix(0, 0)))
	if err != nil {
		return err
	}
	sealed, err := s.vault.Seal(purposeSchema, []byte(sch.Dataset), b)
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(dir, schemaName), sealed, s.step)
}

func (s *Store) readSchema(dir, name string) (*schema.Schema, error) {
	path := filepath.Join(dir, schemaName)
	if _, err := os.Lstat(path); err != nil {
		return nil, err
	}
	sealed, err := readBounded(path, entry.MaxSize+vault.Overhead)
	if err != nil {
		return nil, err
	}
	b, err := s.vault.Open(purposeSchema, []byte(name), sealed)
	if err != nil {
		return nil, err
	}
	e, err := entry.Decode(b)
	if err != nil {
		return nil, err
	}
	declare, ok := e.(entry.DatasetDeclare)
	if !ok || declare.Dataset != name {
		return nil, errors.New("not a declaration of this dataset")
	}
	return schema.FromDeclare(declare)
}
