// Package dataset imports subjects' records and commits to them. An epoch is one committed state of a dataset: an immutable
// set of files with the sealed records, the index by place, and the upper levels of the tree of DESIGN section 4.
//
// # Write order
//
// The files lie in dir/<dataset>. An import builds epoch n+1 in dir/<dataset>/temporary-*: records, index, tree, then the
// manifest, each synced; it syncs the folder, renames it to epoch-<n+1>, and syncs the folder above. The epoch is now
// *pending*: whole, durable, and used for nothing. The caller appends its root to the ledger and then calls Activate, which
// replaces dir/<dataset>/epochs, the sealed list of activated epochs with their ledger indexes; its last one is current.
//
// After a crash, Open finds
//   - temporary-*: an import that did not finish. Removed.
//   - a pending epoch: whether its root reached the ledger is for the caller to find out. Pending returns it; call Activate if
//     the caller's log has its dataset.epoch entry (final or not), else Discard. Until then Import refuses with ErrPending.
//   - an epoch that is older than the list: its retirement did not finish. Removed.
//   - an epoch in the list without its files, or files that differ from their manifest: ErrCorrupt.
//
// # What a stolen disk shows
//
// Records, index and tree are sealed by the vault, since keys are hashes of identifiers that can be guessed. Sizes, and so the
// number of records, and the times of imports are not hidden.
package dataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/network"
)

var (
	// ErrCorrupt means that files of the store are damaged, missing or exchanged. Restore them, or import into a new store.
	ErrCorrupt = errors.New("dataset files are damaged")
	// ErrLocked means that another process has the store open.
	ErrLocked = errors.New("dataset store is in use by another process")
	// ErrVault means that the store was sealed with other keys than the vault's. Find the keyset that belongs to it.
	ErrVault = errors.New("dataset store belongs to another vault")
	// ErrDataset means that there is no dataset of that name.
	ErrDataset = errors.New("no such dataset")
	// ErrEpoch means that there is no such epoch, or no longer.
	ErrEpoch = errors.New("no such epoch")
	// ErrPending means that an epoch waits for Activate or Discard.
	ErrPending = errors.New("an epoch is pending; activate or discard it first")
	// ErrBusy means that another import into the dataset is under way.
	ErrBusy = errors.New("the dataset is being changed already")
	// ErrScheme means that the identifier scheme is not the one that the schema names.
	ErrScheme = errors.New("not the identifier scheme of the dataset")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("dataset store is closed")
)

// A Store holds datasets in one folder. It is safe for concurrent use.
type Store struct {
	dir   string
	vault *vault.Vault
	lock  *os.File
	step  stepper

	mu       sync.Mutex
	datasets map[string]*dataset
	keep     int
	closed   bool
}

// dataset is the state of one dataset. working serialises what changes it; the other fields are guarded by the store's mu.
type dataset struct {
	dir     string
	working sync.Mutex

	schema  *schema.Schema
	active  []activation      // ascending; the last one is current
	current *Epoch            // nil if none is activated
	old     map[uint64]*Epoch // those before it that are open
	pending *Prepared
}

// A Prepared is a durable epoch that is not current yet.
type Prepared struct {
	Dataset string
	Epoch   uint64
	Root    fr.Element
}

// RootHex is the root as a dataset.epoch entry writes it.
func (p *Prepared) RootHex() string { return encodeElement(p.Root) }

// Open opens the store in a folder, which it creates if needed, and cleans up after a crash (see the package's comment). It
// verifies the files of every current epoch, which takes about a second for a million records. Errors: ErrLocked, ErrVault,
// ErrCorrupt, or the operating system's.
func Open(dir string, v *vault.Vault) (*Store, error) {
	s, err := open(dir, v, func(string, string) {})
	if err != nil {
		return nil, fmt.Errorf("opening datasets: %w", err)
	}
	return s, nil
}

func open(dir string, v *vault.Vault, step stepper) (_ *Store, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, vault: v, lock: lock, step: step, datasets: make(map[string]*dataset), keep: KeepEpochs}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		switch name := e.Name(); {
		case e.IsDir() && name[0] != '.':
			names = append(names, name)
		case name != lockName && name != canaryName:
			if err := removeTemporary(dir, name); err != nil {
				return nil, err
			}
		}
	}
	if err := s.checkVault(len(names) == 0); err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := s.load(name); err != nil {
			return nil, fmt.Errorf("dataset %s: %w", name, err)
		}
	}
	return s, nil
}

// Close closes all epochs that have not been retired. Lookups in them fail after it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.closed = true
	for _, d := range s.datasets {
		if d.current != nil {
			d.current.close()
		}
		for _, e := range d.old {
			e.close()
		}
	}
	return s.lock.Close()
}

// Keep sets how many activated epochs of each dataset stay, 1 to MaxKeepEpochs. It takes effect at the next Activate. The records of
// subjects who have left a dataset remain readable, with the vault's keys, for as long as an epoch that has them.
func (s *Store) Keep(epochs int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = min(max(1, epochs), MaxKeepEpochs)
}

// Declare creates a dataset or changes its schema, durably. Epochs keep the schema that they were imported with; after a change
// of columns the next import commits to every record anew.
func (s *Store) Declare(sch *schema.Schema) error {
	if err := sch.Check(); err != nil {
		return fmt.Errorf("declaring dataset: %w", err)
	}
	d, release, err := s.acquire(sch.Dataset, true)
	if err != nil {
		return fmt.Errorf("declaring dataset %s: %w", sch.Dataset, err)
	}
	defer release()
	if err := s.writeSchema(d.dir, sch); err != nil {
		return fmt.Errorf("declaring dataset %s: %w", sch.Dataset, err)
	}
	s.mu.Lock()
	d.schema = cloneSchema(sch)
	s.mu.Unlock()
	return nil
}

// Schema returns the declared schema of a dataset; it must not be changed.
func (s *Store) Schema(dataset string) (*schema.Schema, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.datasets[dataset]
	if !ok || d.schema == nil {
		return nil, false
	}
	return d.schema, true
}

// Datasets returns the names of the declared datasets, sorted.
func (s *Store) Datasets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name, d := range s.datasets {
		if d.schema != nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// acquire returns a dataset for changing it, and what ends that. With create it makes one that is not there.
func (s *Store) acquire(name string, create bool) (*dataset, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, ErrClosed
	}
	d, ok := s.datasets[name]
	if !ok {
		if !create {
			return nil, nil, ErrDataset
		}
		if len(s.datasets) >= maxDatasets {
			return nil, nil, fmt.Errorf("there are %d datasets already, the limit", maxDatasets)
		}
		d = &dataset{dir: filepath.Join(s.dir, name), old: make(map[uint64]*Epoch)}
		if err := os.Mkdir(d.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, nil, err
		}
		if err := syncFolder(s.dir, s.step); err != nil {
			return nil, nil, err
		}
		s.datasets[name] = d
	}
	if !d.working.TryLock() {
		return nil, nil, ErrBusy
	}
	if d.schema == nil && !create {
		d.working.Unlock()
		return nil, nil, ErrDataset
	}
	return d, d.working.Unlock, nil
}

// target is what an import reads rows for.
type target struct {
	schema     *schema.Schema
	mapping    *schema.Mapping
	identifier *schema.Identifier
	instance   string
}

// ready returns what an import starts from, if no epoch is pending.
func (s *Store) ready(d *dataset) (*schema.Schema, *Epoch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.pending != nil {
		return nil, nil, fmt.Errorf("epoch %d: %w", d.pending.Epoch, ErrPending)
	}
	return d.schema, d.current, nil
}

func newTarget(s *schema.Schema, m *schema.Mapping, instance string, scheme network.Scheme) (*target, error) {
	if scheme.Name != s.Scheme {
		return nil, fmt.Errorf("%w: the schema names %s, given is %s", ErrScheme, s.Scheme, scheme.Name)
	}
	identifier, err := schema.NewIdentifier(scheme)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("%w: there is no mapping, so nothing says where identifiers are", schema.ErrSchema)
	}
	if err := m.Check(s); err != nil {
		return nil, err
	}
	return &target{s, m, identifier, instance}, nil
}

// Import reads a whole new state of a dataset from CSV and builds its next epoch durably, pending until Activate. Subjects
// who are not in the file are not in the epoch. A record that says the same as in the current epoch keeps its salt and so its
// leaf.
//
// Any problem with any row refuses the file with ErrProblems, and nothing is imported; the report, which is never nil, says
// what is wrong. Other errors: schema.ErrSchema (mapping), schema.ErrHeader, ErrSource, ErrScheme, ErrDataset, ErrPending,
// ErrBusy, ErrBucketFull, ErrCorrupt, the context's and the operating system's. No error or report contains a value.
//
// progress, which may be nil, is called with rows read and 0, then with steps done of two for each record.
func (s *Store) Import(ctx context.Context, dataset, instance string, scheme network.Scheme, csv io.Reader, m *schema.Mapping,
	progress func(done, total int)) (*Prepared, *Report, error) {
	if progress == nil {
		progress = func(int, int) {}
	}
	report := new(Report)
	p, err := s.importCSV(ctx, dataset, instance, scheme, csv, m, progress, &report)
	if err != nil {
		return nil, report, fmt.Errorf("importing into %s: %w", dataset, err)
	}
	return p, report, nil
}

func (s *Store) importCSV(ctx context.Context, name, instance string, scheme network.Scheme, csv io.Reader, m *schema.Mapping,
	progress func(done, total int), report **Report) (*Prepared, error) {
	d, release, err := s.acquire(name, false)
	if err != nil {
		return nil, err
	}
	defer release()
	sch, current, err := s.ready(d)
	if err != nil {
		return nil, err
	}
	t, err := newTarget(sch, m, instance, scheme)
	if err != nil {
		return nil, err
	}
	subs, r, err := readSubjects(ctx, csv, t, progress)
	*report = r
	if err != nil {
		return nil, err
	}
	b := &builder{vault: s.vault, schema: sch, number: 1, step: s.step, progress: progress}
	if current != nil {
		b.number = current.number + 1
		if layout(current.schema) == layout(sch) {
			b.previous = current
		}
	}
	made, err := b.makeFolder(ctx, d.dir, subs, r)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Dataset: name, Epoch: b.number}
	if p.Root, err = decodeElement(made.Root); err != nil {
		return nil, err
	}
	s.mu.Lock()
	d.pending = p
	s.mu.Unlock()
	return p, nil
}

func cloneSchema(s *schema.Schema) *schema.Schema {
	c := *s
	c.Columns = slices.Clone(s.Columns)
	for i := range c.Columns {
		c.Columns[i].Codes = slices.Clone(c.Columns[i].Codes)
	}
	return &c
}
