package dataset

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/vault"
)

// A counter adds up work from several goroutines and passes it on one call at a time.
type counter struct {
	mu          sync.Mutex
	done, total int
	progress    func(done, total int)
}

func newCounter(total int, progress func(done, total int)) *counter {
	if progress == nil {
		progress = func(int, int) {}
	}
	return &counter{total: total, progress: progress}
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	c.progress(c.done, c.total)
}

// A builder writes the files of one epoch into a folder.
type builder struct {
	vault    *vault.Vault
	schema   *schema.Schema
	number   uint64
	previous *Epoch // records and nodes are taken over from it; nil for none
	step     stepper
	workers  int
	progress func(done, total int)
}

// build commits to the subjects, in any order, and writes records, index, tree and manifest, in this order, each synced. The
// caller makes the folder durable. It returns the manifest and how the subjects differ from the previous epoch.
func (b *builder) build(ctx context.Context, folder string, subs *subjects, report *Report) (*manifest, error) {
	subs.sort()
	var files [16]byte
	rand.Read(files[:])
	m := &manifest{V: manifestVersion, Dataset: b.schema.Dataset, Epoch: b.number, Files: hex.EncodeToString(files[:]),
		Rows: len(subs.list)}
	m.setSchema(b.schema)
	if b.workers == 0 {
		b.workers = runtime.GOMAXPROCS(0)
	}
	var old *snapshot
	var err error
	if b.previous != nil {
		if old, err = b.previous.snapshot(); err != nil {
			return nil, err
		}
	}
	count := newCounter(2*len(subs.list), b.progress)
	snap, err := b.commit(ctx, folder, subs, old, m, report, count)
	if err != nil {
		return nil, err
	}
	if err := snap.checkBuckets(); err != nil {
		return nil, err
	}
	snap.filler = newFiller(snap.fullAt)
	m.setFiller(snap.filler)
	if m.Index, err = writeIndex(folder, indexContext(b.vault, files), snap.entries, b.step); err != nil {
		return nil, err
	}
	tree, err := b.tree(ctx, snap, old, count)
	if err != nil {
		return nil, err
	}
	m.Depth, m.Root = tree.depth(), encodeElement(tree.root())
	if m.Tree, err = writeTree(folder, treeContext(b.vault, files), tree, b.step); err != nil {
		return nil, err
	}
	return m, m.write(b.vault, folder, b.step)
}

// A committed is a subject's record as it goes into the files.
type committed struct {
	sealed     []byte
	commitment [fr.Bytes]byte
	fate       fate
}

type fate uint8

const (
	added fate = iota
	changed
	kept
)

func (r *Report) count(f fate) {
	switch f {
	case added:
		r.Added++
	case changed:
		r.Changed++
	case kept:
		r.Unchanged++
	}
}

// commit seals the records in the order of the tree, writes them, and returns the index without a filler.
func (b *builder) commit(ctx context.Context, folder string, subs *subjects, old *snapshot, m *manifest, report *Report,
	count *counter) (*snapshot, error) {
	out, err := createSummed(filepath.Join(folder, recordsName), b.step)
	if err != nil {
		return nil, err
	}
	defer out.f.Close() // a second close after the good one does nothing
	const chunk = 1 << 14
	snap := &snapshot{entries: make([]indexEntry, 0, len(subs.list))}
	results, seal := make([]committed, min(chunk, len(subs.list))), newSealer(b.vault, b.schema)
	for start := 0; start < len(subs.list); start += chunk {
		n := min(chunk, len(subs.list)-start)
		err := parallel(ctx, n, b.workers, func(from, to int) error {
			for i := from; i < to; i++ {
				var err error
				if results[i], err = b.one(seal, subs, start+i, old); err != nil {
					return err
				}
			}
			count.add(to - from)
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i := range n {
			r := &results[i]
			snap.entries = append(snap.entries, indexEntry{key: subs.list[start+i].key, commitment: r.commitment,
				offset: out.size, length: uint32(len(r.sealed))})
			if _, err := out.Write(r.sealed); err != nil {
				return nil, err
			}
			report.count(r.fate)
		}
	}
	if old != nil {
		report.Removed = len(old.entries) - report.Changed - report.Unchanged
	}
	m.Records, err = out.close()
	return snap, err
}

// one commits to a subject, or takes over the record of the previous epoch with its salt if it says the same.
func (b *builder) one(seal *sealer, subs *subjects, i int, old *snapshot) (r committed, err error) {
	key, row := subs.list[i].key, subs.row(i)
	if old != nil {
		k := sort.Search(len(old.entries), func(k int) bool { return compareKeys(old.entries[k].key, key) >= 0 })
		if k < len(old.entries) && old.entries[k].key == key {
			sealed, err := b.previous.unchanged(&old.entries[k], row)
			if err != nil {
				return r, fmt.Errorf("comparing with epoch %d: %w", b.previous.number, err)
			}
			if sealed != nil {
				return committed{sealed, old.entries[k].commitment, kept}, nil
			}
			r.fate = changed
		}
	}
	r.sealed, r.commitment, err = seal.seal(key, row)
	return r, err
}

// tree makes the stored levels: a copy of the previous epoch's with the changed paths hashed again where its depth still
// suits the number of records, else all anew.
func (b *builder) tree(ctx context.Context, snap, old *snapshot, count *counter) (levels, error) {
	depth := depthFor(len(snap.entries))
	var l levels
	if old != nil && b.previous.tree.depth >= depth-1 && b.previous.tree.depth <= depth+1 {
		var err error
		if l, err = b.previous.tree.load(b.previous.root); err != nil {
			return nil, fmt.Errorf("copying epoch %d: %w", b.previous.number, err)
		}
		depth = l.depth()
	} else {
		l, old = emptyLevels(depth), nil
	}
	changed := snap.changedCells(old, depth)
	hashed := 0
	for _, c := range changed {
		hashed += c.to - c.from
	}
	count.add(len(snap.entries) - hashed)
	return l, snap.update(ctx, l, changed, b.workers, count.add)
}

func writeIndex(folder string, c blockContext, entries []indexEntry, step stepper) (fileSum, error) {
	w, err := createBlocks(folder, c, step)
	if err != nil {
		return fileSum{}, err
	}
	var b []byte
	for i := range entries {
		b = appendEntry(b[:0], &entries[i])
		if err := w.write(b); err != nil {
			w.out.f.Close()
			return fileSum{}, err
		}
	}
	return w.close()
}

// makeFolder builds an epoch in a temporary folder beside its place and moves it there, in an order that leaves either the
// whole epoch or a temporary folder after a crash at any point: files written and synced, the folder synced, renamed, the
// folder above synced.
func (b *builder) makeFolder(ctx context.Context, parent string, subs *subjects, report *Report) (_ *manifest, err error) {
	temporary, err := os.MkdirTemp(parent, temporaryPrefix)
	if err != nil {
		return nil, err
	}
	folder := temporary
	defer func() {
		if err != nil {
			os.RemoveAll(folder)
		}
	}()
	m, err := b.build(ctx, temporary, subs, report)
	if err != nil {
		return nil, err
	}
	if err := syncFolder(temporary, b.step); err != nil {
		return nil, err
	}
	place := filepath.Join(parent, epochFolder(b.number))
	if err := os.Rename(temporary, place); err != nil {
		return nil, err
	}
	folder = place
	b.step("renamed", place)
	if err := syncFolder(parent, b.step); err != nil {
		return nil, err
	}
	return m, nil
}
