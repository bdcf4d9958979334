package index

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/tidwall/buntdb"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
)

// Memory is the path of an index that has no file.
const Memory = ":memory:"

// An Index is the open database.
type Index struct {
	damage error // why the file was begun anew
	write  sync.Mutex
	db     *buntdb.DB

	mu     sync.RWMutex // guards what follows; taken after write
	groups map[uint32]*group
	ids    map[names]uint32
	next   uint32 // above all ids in use
	heads  map[string]head

	content int64 // bytes that a file needs for what load read
}

// A head is how far a log is indexed: up to which tree, and the digest of its rows. It is stored beside them.
type head struct {
	Size   int64  `json:"size,string"`
	Root   string `json:"root"`
	Digest string `json:"digest"`
}

// maxHead bounds a stored head in bytes.
const maxHead = 1024

// ErrDamaged says that a file is not what was written. Nothing is lost: the rows are made again from the logs.
var ErrDamaged = errors.New("index file is damaged")

// Open opens the index at path, or begins a new one if the file is missing, cannot be read or disagrees with its digests;
// Damage then says what was wrong. The caller compares each log's Tree with its tiles.
func Open(path string) (*Index, error) {
	x, err := open(path)
	if err == nil {
		return x, nil
	}
	if path == Memory {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	if rmErr := os.Remove(path); rmErr != nil && !errors.Is(rmErr, os.ErrNotExist) {
		return nil, fmt.Errorf("opening index: %w", errors.Join(err, rmErr))
	}
	damage := err
	if x, err = open(path); err != nil {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	x.damage = damage
	return x, nil
}

func open(path string) (*Index, error) {
	if path != Memory {
		if err := checkFrames(path); err != nil {
			return nil, err
		}
	}
	x, err := newIndex(path)
	if err != nil {
		return nil, err
	}
	if err := x.load(); err != nil {
		return nil, errors.Join(err, x.db.Close())
	}
	if err := x.compact(path); err != nil {
		return nil, errors.Join(err, x.db.Close())
	}
	return x, nil
}

// compactAbove is the size in bytes below which a file is left to grow, and compactRatio how many times larger than its
// content it may become: each new head is written behind the ones before.
var compactAbove = int64(16 << 20)

const compactRatio = 4

// compact writes the file anew if it is mostly what was overwritten since. If there is no room for that it stays.
func (x *Index) compact(path string) error {
	info, err := os.Stat(path)
	if path == Memory || err == nil && (info.Size() <= compactAbove || info.Size() <= compactRatio*x.content) {
		return nil
	}
	if err == nil {
		if err = x.db.Shrink(); errors.Is(err, syscall.ENOSPC) {
			return nil
		}
	}
	return err
}

// newIndex opens the database; load then reads what is in it.
func newIndex(path string) (*Index, error) {
	db, err := buntdb.Open(path)
	if err != nil {
		return nil, err
	}
	x := &Index{db: db, groups: make(map[uint32]*group), ids: make(map[names]uint32), heads: make(map[string]head)}
	var cfg buntdb.Config
	err = db.ReadConfig(&cfg)
	if err == nil {
		cfg.SyncPolicy, cfg.AutoShrinkDisabled = buntdb.Never, true // everything here can be made again
		err = db.SetConfig(cfg)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return x, nil
}

// Damage returns why Open began the file anew, or nil if it did not.
func (x *Index) Damage() error { return x.damage }

// Close closes the file.
func (x *Index) Close() error { return x.db.Close() }

func headKey(origin string) string { return string(prefixHead) + origin }

// load reads groups and heads and checks that each log has the rows that its digest covers, and that there are no others.
func (x *Index) load() error {
	sums := make(map[string]*sum)
	var bad error
	err := x.db.View(func(tx *buntdb.Tx) error {
		return tx.Ascend("", func(key, value string) bool {
			x.content += int64(len(key) + len(value) + 30) // and the lengths
			switch {
			case key == "":
				bad = fmt.Errorf("%w: empty key", ErrDamaged)
			case key[0] == prefixGroup:
				bad = x.loadGroup(key, value)
			case key[0] == prefixHead:
				bad = x.loadHead(key[1:], value)
			default:
				bad = x.loadRow(key, value, sums)
			}
			return bad == nil
		})
	})
	if err = errors.Join(err, bad); err != nil {
		return err
	}
	for _, g := range x.groups {
		if g.last < 0 {
			return fmt.Errorf("%w: group without rows", ErrDamaged)
		}
	}
	if len(sums) != len(x.heads) {
		return fmt.Errorf("%w: rows of %d logs, heads of %d", ErrDamaged, len(sums), len(x.heads))
	}
	for origin, s := range sums {
		if h, ok := x.heads[origin]; !ok || h.Size != s.rows || h.Digest != hex.EncodeToString(s.digest[:]) {
			return fmt.Errorf("%w: rows of a log differ from their digest", ErrDamaged)
		}
	}
	return nil
}

// A sum is what was read of one log's rows.
type sum struct {
	rows   int64
	digest digest
}

func (x *Index) loadGroup(key, value string) error {
	id, ok := parseGroupKey(key)
	n, ok2 := parseNames(value)
	if _, again := x.ids[n]; !ok || !ok2 || again {
		return fmt.Errorf("%w: group", ErrDamaged)
	}
	x.addGroup(newGroup(id, n))
	return nil
}

func (x *Index) addGroup(g *group) {
	x.groups[g.id], x.ids[g.names] = g, g.id
	x.next = max(x.next, g.id+1)
}

func (x *Index) loadHead(origin, value string) error {
	var h head
	if err := entry.DecodeStrict([]byte(value), maxHead, &h); err != nil {
		return fmt.Errorf("%w: head: %w", ErrDamaged, err)
	}
	if b, err := hex.DecodeString(h.Root + h.Digest); err != nil || len(h.Root) != 2*tlog.HashSize || len(b) != 2*tlog.HashSize {
		return fmt.Errorf("%w: head", ErrDamaged)
	}
	x.heads[origin] = h
	return nil
}

func (x *Index) loadRow(key, value string, sums map[string]*sum) error {
	id, t, _, ok := parseRowKey(key)
	g := x.groups[id]
	if !ok || g == nil || value != "" {
		return fmt.Errorf("%w: row", ErrDamaged)
	}
	s := sums[g.origin]
	if s == nil {
		s = new(sum)
		sums[g.origin] = s
	}
	g.saw(t)
	s.rows++
	s.digest.add(g, key)
	return nil
}

// Tree returns the tree up to which a log is indexed. The caller drops the log if its tiles have another root there.
func (x *Index) Tree(origin string) (tlog.Tree, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	h, ok := x.heads[origin]
	root, err := hex.DecodeString(h.Root)
	if !ok || err != nil {
		return tlog.Tree{}, false
	}
	return tlog.Tree{N: h.Size, Hash: tlog.Hash(root)}, true
}

// dropAtOnce bounds the rows deleted in one transaction, which keeps them all in memory three times.
const dropAtOnce = 10_000

// Drop forgets a log: its head first, so that what a crash leaves of the rows shows as damage.
func (x *Index) Drop(origin string) error {
	x.write.Lock()
	defer x.write.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.heads, origin)
	if err := x.delete([]string{headKey(origin)}); err != nil {
		return fmt.Errorf("dropping a log from the index: %w", err)
	}
	for id, g := range x.groups {
		if g.origin != origin {
			continue
		}
		var err error
		for keys := x.some(id); len(keys) > 0 && err == nil; keys = x.some(id) {
			err = x.delete(keys)
		}
		if err == nil {
			err = x.delete([]string{groupKey(id)})
		}
		if err != nil {
			return fmt.Errorf("dropping a log from the index: %w", err)
		}
		delete(x.groups, id)
		delete(x.ids, g.names)
	}
	return nil
}

// some returns the keys of up to dropAtOnce rows of a group.
func (x *Index) some(id uint32) (keys []string) {
	_ = x.db.View(func(tx *buntdb.Tx) error { // fails only if closed: then there is nothing
		return tx.DescendLessOrEqual("", rowKey(id, maxTime, maxIndex), func(key, _ string) bool {
			of, _, _, ok := parseRowKey(key)
			if ok = ok && of == id && len(keys) < dropAtOnce; ok {
				keys = append(keys, key)
			}
			return ok
		})
	})
	return keys
}

func (x *Index) delete(keys []string) error {
	return x.db.Update(func(tx *buntdb.Tx) error {
		for _, k := range keys {
			if _, err := tx.Delete(k); err != nil && !errors.Is(err, buntdb.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// Add indexes the next entries of a log. tree is the tree that ends with the last of them.
func (x *Index) Add(origin, member string, entries [][]byte, tree tlog.Tree) error {
	x.write.Lock()
	defer x.write.Unlock()
	h := x.heads[origin] // only holders of the write lock change it
	if h.Size+int64(len(entries)) != tree.N || len(entries) == 0 {
		return fmt.Errorf("indexing %d entries behind %d for size %d: sizes differ", len(entries), h.Size, tree.N)
	}
	if tree.N > maxIndex {
		return fmt.Errorf("indexing: %w", errFull)
	}
	var d digest
	copy(d[:], mustHex(h.Digest))
	rows := make([]Row, len(entries))
	for i, e := range entry.DecodeAll(entries) {
		rows[i] = RowFor(origin, member, uint64(h.Size)+uint64(i), e)
	}
	b := batch{x: x, fresh: make(map[names]*group), keys: make([]string, len(rows))}
	for i, r := range rows {
		g, err := b.group(r.names())
		if err != nil {
			return fmt.Errorf("indexing: %w", err)
		}
		b.keys[i] = rowKey(g.id, r.Time.Unix(), r.Index)
		d.add(g, b.keys[i])
	}
	next := head{Size: tree.N, Root: hex.EncodeToString(tree.Hash[:]), Digest: hex.EncodeToString(d[:])}
	if err := b.store(origin, next, rows); err != nil {
		return fmt.Errorf("indexing: %w", err)
	}
	return nil
}

// mustHex decodes what loadHead or Add has checked or written.
func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic("index: digest in memory is not hexadecimal")
	}
	return b
}

// A batch is what one Add stores. Its groups become the index's own only once they are stored.
type batch struct {
	x     *Index
	fresh map[names]*group
	keys  []string
}

func (b *batch) group(n names) (*group, error) {
	if id, ok := b.x.ids[n]; ok {
		return b.x.groups[id], nil
	}
	if g, ok := b.fresh[n]; ok {
		return g, nil
	}
	id := b.x.next + uint32(len(b.fresh))
	if id < b.x.next || id == ^uint32(0) {
		return nil, errFull
	}
	n = names{strings.Clone(n.origin), strings.Clone(n.member), strings.Clone(n.kind), strings.Clone(n.dataset), strings.Clone(n.policy)}
	b.fresh[n] = newGroup(id, n)
	return b.fresh[n], nil
}

func (b *batch) store(origin string, next head, rows []Row) error {
	meta, err := json.Marshal(next)
	if err != nil {
		return err
	}
	x := b.x
	x.mu.Lock()
	defer x.mu.Unlock()
	err = x.db.Update(func(tx *buntdb.Tx) error {
		for _, g := range b.fresh {
			if _, _, err := tx.Set(groupKey(g.id), g.value(), nil); err != nil {
				return err
			}
		}
		for _, key := range b.keys {
			if _, _, err := tx.Set(key, "", nil); err != nil {
				return err
			}
		}
		_, _, err := tx.Set(headKey(origin), string(meta), nil)
		return err
	})
	if err != nil {
		return err
	}
	for _, g := range b.fresh {
		x.addGroup(g)
	}
	for _, r := range rows {
		x.groups[x.ids[r.names()]].saw(r.Time.Unix())
	}
	x.heads[strings.Clone(origin)] = next
	return nil
}
