package dataset

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/vault"
)

// An Epoch is one committed state of a dataset: an immutable set of files, read where they lie. It is safe for concurrent use
// and stays readable while it is held, even after its retirement, or else until the Store is closed.
type Epoch struct {
	number      uint64
	ledgerIndex uint64
	schema      *schema.Schema
	root        fr.Element
	filler      filler
	index       *index
	tree        *treeFile
	records     *os.File
	sealer      *sealer
}

// Found is what an epoch holds at a subject's key.
type Found struct {
	Record  *circuits.Record // nil if the subject has no record
	Row     schema.Row       // the same with texts, one value for each column; nil if there is no record
	Salt    fr.Element       // of the record's commitment; zero if there is no record
	Opening circuits.Opening // of the bucket at key.Place(), under Root
}

// Number is the epoch's number, from 1.
func (e *Epoch) Number() uint64 { return e.number }

// LedgerIndex is the index of the epoch's entry on the holder's log; 0 for an epoch that is not activated.
func (e *Epoch) LedgerIndex() uint64 { return e.ledgerIndex }

// Root is the tree's root as the ledger has it.
func (e *Epoch) Root() fr.Element { return e.root }

// RootHex is the root as a dataset.epoch entry writes it: 64 hexadecimal digits.
func (e *Epoch) RootHex() string { return encodeElement(e.root) }

// Schema is the schema of the epoch's records.
func (e *Epoch) Schema() *schema.Schema { return e.schema }

// Rows is the number of records, which is known to the holder only.
func (e *Epoch) Rows() int { return e.index.rows }

// openEpoch opens the files of an epoch and checks them: each against its checksum in the manifest, the index for order, and
// the top of the tree against the root. Errors about the content wrap ErrCorrupt.
func openEpoch(v *vault.Vault, folder, dataset string, number uint64) (*Epoch, error) {
	m, err := readManifest(v, folder, dataset, number)
	if err != nil {
		return nil, err
	}
	e := &Epoch{number: number}
	if e.schema, err = m.schema(); err != nil {
		return nil, err
	}
	e.sealer = newSealer(v, e.schema)
	if e.root, err = decodeElement(m.Root); err != nil {
		return nil, err
	}
	if e.filler, err = m.filler(); err != nil {
		return nil, err
	}
	opened, err := openFiles(folder, m)
	if err != nil {
		return nil, err
	}
	if err := e.attach(v, m, opened[0], opened[1], opened[2]); err != nil {
		for _, f := range opened {
			f.Close()
		}
		return nil, err
	}
	return e, nil
}

// openFiles opens records, index and tree and compares them with their checksums.
func openFiles(folder string, m *manifest) (opened []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range opened {
				f.Close()
			}
		}
	}()
	for _, part := range []struct {
		name string
		sum  fileSum
	}{{recordsName, m.Records}, {indexName, m.Index}, {treeName, m.Tree}} {
		f, err := os.Open(filepath.Join(folder, part.name))
		if err != nil {
			return opened, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		opened = append(opened, f)
		if err := checkSum(f, part.sum); err != nil {
			return opened, err
		}
	}
	return opened, nil
}

// attach gives the epoch its files, whose checksums are right.
func (e *Epoch) attach(v *vault.Vault, m *manifest, records, index, tree *os.File) error {
	files, err := m.files()
	if err != nil {
		return err
	}
	e.records = records
	if e.index, err = openIndex(indexContext(v, files), index, m.Rows, m.Records.Size); err != nil {
		return err
	}
	e.tree = newTreeFile(treeContext(v, files), tree, m.Depth)
	if e.tree.sealedSize() != m.Tree.Size || e.index.sealedSize() != m.Index.Size {
		return fmt.Errorf("%w: the manifest's counts do not fit its files", ErrCorrupt)
	}
	top, err := e.tree.children(0, 0)
	if err != nil {
		return err
	}
	if root := circuits.NodeHash(top[0], top[1], top[2]); !root.Equal(&e.root) {
		return fmt.Errorf("%w: the tree has another root than the manifest", ErrCorrupt)
	}
	return nil
}

func indexContext(v *vault.Vault, files [16]byte) blockContext {
	return blockContext{vault: v, files: files, name: indexName, size: entriesPerBlock * entrySize}
}

func treeContext(v *vault.Vault, files [16]byte) blockContext {
	return blockContext{vault: v, files: files, name: treeName, size: groupsInBlock * groupSize}
}

func (e *Epoch) close() {
	e.records.Close()
	e.index.f.Close()
	e.tree.f.Close()
}

// Lookup returns what the epoch holds about a subject, with an opening that has been checked against the root. Absence is
// no error. Errors are ErrCorrupt, ErrClosed or the operating system's, and do not contain the key.
func (e *Epoch) Lookup(key circuits.Key) (Found, error) {
	found, err := e.lookup(key)
	if err != nil {
		return Found{}, fmt.Errorf("looking up a subject in epoch %d of %s: %w", e.number, e.schema.Dataset, err)
	}
	return found, nil
}

func (e *Epoch) lookup(key circuits.Key) (found Found, err error) {
	place := key.Place()
	height := circuits.Levels - e.tree.depth
	cell := place / powers[height]
	start := cell * powers[height]
	entries, err := e.index.between(start, start+powers[height])
	if err != nil {
		return Found{}, err
	}
	leaves, err := appendLeaves(nil, entries, &e.filler, start, start+powers[height])
	if err != nil {
		return Found{}, err
	}
	openBelow(&found.Opening, leaves, height, start, place)
	if err := e.tree.openAbove(&found.Opening, cell); err != nil {
		return Found{}, err
	}
	if root := found.Opening.Root(place); !root.Equal(&e.root) {
		return Found{}, fmt.Errorf("%w: an opening does not lead to the root", ErrCorrupt)
	}
	for i := range entries {
		if entries[i].key == key {
			found.Record, found.Row, found.Salt, err = e.record(&entries[i])
			return found, err
		}
	}
	return found, nil
}

// sealed returns an entry's sealed record.
func (e *Epoch) sealed(x *indexEntry) ([]byte, error) {
	b := make([]byte, x.length)
	if _, err := e.records.ReadAt(b, x.offset); err != nil {
		return nil, readError(recordsName, err)
	}
	return b, nil
}

// record opens an entry's record and checks it against the commitment in the tree.
func (e *Epoch) record(x *indexEntry) (*circuits.Record, schema.Row, fr.Element, error) {
	sealed, err := e.sealed(x)
	if err != nil {
		return nil, nil, fr.Element{}, err
	}
	encoded, salt, err := e.sealer.open(x.key, x.commitment, sealed)
	if err != nil {
		return nil, nil, fr.Element{}, err
	}
	row, err := parseRow(encoded, e.schema)
	if err != nil {
		return nil, nil, fr.Element{}, err
	}
	record, err := e.schema.Encode(row)
	if err != nil {
		return nil, nil, fr.Element{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if c := record.Commitment(salt); c.Bytes() != x.commitment {
		return nil, nil, fr.Element{}, fmt.Errorf("%w: a record does not match its commitment", ErrCorrupt)
	}
	return &record, row, salt, nil
}

// Check reads everything and makes the tree again from the records: each sealed record must open and match its commitment, and
// the leaves must hash to every stored node. It takes as long as an import. progress is called with the records done.
func (e *Epoch) Check(ctx context.Context, progress func(done, total int)) error {
	if err := e.check(ctx, progress); err != nil {
		return fmt.Errorf("checking epoch %d of %s: %w", e.number, e.schema.Dataset, err)
	}
	return nil
}

func (e *Epoch) check(ctx context.Context, progress func(done, total int)) error {
	entries, err := e.index.all()
	if err != nil {
		return err
	}
	count := newCounter(2*len(entries), progress)
	workers := runtime.GOMAXPROCS(0)
	err = parallel(ctx, len(entries), workers, func(from, to int) error {
		for i := from; i < to; i++ {
			if _, _, _, err := e.record(&entries[i]); err != nil {
				return err
			}
		}
		count.add(to - from)
		return nil
	})
	if err != nil {
		return err
	}
	s := &snapshot{entries: entries, filler: e.filler}
	fresh := emptyLevels(e.tree.depth)
	if err := s.update(ctx, fresh, s.changedCells(nil, e.tree.depth), workers, count.add); err != nil {
		return err
	}
	stored, err := e.tree.load(e.root)
	if err != nil {
		return err
	}
	for j := range stored {
		for i := range stored[j] {
			if !stored[j][i].Equal(&fresh[j][i]) {
				return fmt.Errorf("%w: a stored node at level %d is not the hash of what is below it", ErrCorrupt, j)
			}
		}
	}
	return nil
}

// snapshot returns what the epoch's tree was made from.
func (e *Epoch) snapshot() (*snapshot, error) {
	entries, err := e.index.all()
	if err != nil {
		return nil, err
	}
	return &snapshot{entries: entries, filler: e.filler}, nil
}

// unchanged returns the sealed record of an entry if it holds the same encoded row, else nil.
func (e *Epoch) unchanged(x *indexEntry, row []byte) ([]byte, error) {
	sealed, err := e.sealed(x)
	if err != nil {
		return nil, err
	}
	old, _, err := e.sealer.open(x.key, x.commitment, sealed)
	if err != nil || !bytes.Equal(old, row) {
		return nil, err
	}
	return sealed, nil
}
