package index

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/tidwall/buntdb"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
)

// The names of the database's indexes, and the field that each sorts by before the time.
var orders = map[string]int{"kind": fieldKind, "member": fieldMember, "dataset": fieldDataset, "policy": fieldPolicy}

const orderTime = "time"

// An Index is the open database.
type Index struct {
	mu    sync.Mutex // serialises writes
	db    *buntdb.DB
	heads map[string]head
}

// A head is how far a log is indexed: up to which tree, and the digest over its rows. It is stored beside them.
type head struct {
	Size   int64  `json:"size,string"`
	Root   string `json:"root"`
	Digest string `json:"digest"` // SHA-256 chained over the rows: D(i+1) = SHA-256(D(i) || row)
}

// Open opens the index at path, or begins a new one if the file is missing or cannot be read. Logs whose rows disagree
// with their digest are dropped; Tree then says that they are not indexed.
func Open(path string) (*Index, error) {
	x, err := open(path)
	if err == nil {
		if err = x.verify(); err == nil {
			return x, nil
		}
		err = errors.Join(err, x.db.Close())
	}
	if rmErr := os.Remove(path); rmErr != nil && !errors.Is(rmErr, os.ErrNotExist) {
		return nil, fmt.Errorf("opening index: %w", errors.Join(err, rmErr))
	}
	return open(path)
}

func open(path string) (*Index, error) {
	if err := checkFrames(path); err != nil {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	db, err := buntdb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	x := &Index{db: db, heads: make(map[string]head)}
	var cfg buntdb.Config
	err = db.ReadConfig(&cfg)
	if err == nil {
		cfg.SyncPolicy, cfg.AutoShrinkDisabled = buntdb.Never, true // everything here can be made again
		err = db.SetConfig(cfg)
	}
	if err == nil {
		err = db.CreateIndex(orderTime, "e:*", func(a, b string) bool { return a < b })
	}
	for name, f := range orders {
		if err == nil {
			err = db.CreateIndex(name, "e:*", func(a, b string) bool {
				if fa, fb := field(a, f), field(b, f); fa != fb {
					return fa < fb
				}
				return a < b
			})
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening index: %w", err), db.Close())
	}
	return x, nil
}

// Close closes the file.
func (x *Index) Close() error { return x.db.Close() }

func rowKey(origin string, index uint64) string { return "e:" + origin + ":" + hex16(index) }
func headKey(origin string) string              { return "h:" + origin }

// verify recomputes each log's digest, forgets the logs where it differs, and deletes every key that no digest covers.
func (x *Index) verify() error {
	err := x.db.Update(func(tx *buntdb.Tx) error {
		var stale []string
		err := tx.AscendKeys("*", func(key, value string) bool {
			origin, isHead := strings.CutPrefix(key, "h:")
			var h head
			if !isHead {
				return true
			}
			if err := entry.DecodeStrict([]byte(value), 1024, &h); err == nil && x.matches(tx, origin, h) {
				x.heads[origin] = h
			} else {
				stale = append(stale, key)
			}
			return true
		})
		if err != nil {
			return err
		}
		err = tx.AscendKeys("*", func(key, value string) bool {
			r, err := parseRow(value)
			covered := err == nil && key == rowKey(r.Origin, r.Index) && r.Index < uint64(x.heads[r.Origin].Size)
			if !covered && !strings.HasPrefix(key, "h:") {
				stale = append(stale, key)
			}
			return true
		})
		for _, key := range stale {
			if err == nil {
				_, err = tx.Delete(key)
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("verifying index: %w", err)
	}
	return nil
}

func (x *Index) matches(tx *buntdb.Tx, origin string, h head) bool {
	var digest [32]byte
	root, err := hex.DecodeString(h.Root)
	if err != nil || len(root) != tlog.HashSize {
		return false
	}
	n, ok := uint64(0), true
	err = tx.AscendKeys("e:"+origin+":*", func(key, value string) bool {
		r, err := parseRow(value)
		ok = err == nil && key == rowKey(origin, n) && r.Origin == origin && r.Index == n
		digest = chain(digest, value)
		n++
		return ok
	})
	return err == nil && ok && int64(n) == h.Size && hex.EncodeToString(digest[:]) == h.Digest
}

func chain(digest [32]byte, row string) [32]byte {
	return sha256.Sum256(append(digest[:], row...))
}

// Tree returns the tree up to which a log is indexed. The caller drops the log if its tiles have another root there.
func (x *Index) Tree(origin string) (tlog.Tree, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	h, ok := x.heads[origin]
	root, err := hex.DecodeString(h.Root)
	if !ok || err != nil || len(root) != tlog.HashSize {
		return tlog.Tree{}, false
	}
	return tlog.Tree{N: h.Size, Hash: tlog.Hash(root)}, true
}

// Drop forgets a log.
func (x *Index) Drop(origin string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.heads, origin)
	return x.db.Update(func(tx *buntdb.Tx) error {
		var keys []string
		if err := tx.AscendKeys("e:"+origin+":*", func(k, _ string) bool {
			keys = append(keys, k)
			return true
		}); err != nil {
			return err
		}
		for _, k := range append(keys, headKey(origin)) {
			if _, err := tx.Delete(k); err != nil && !errors.Is(err, buntdb.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// Add indexes the next entries of a log. tree is the tree that ends with the last of them.
func (x *Index) Add(origin, member string, entries [][]byte, tree tlog.Tree) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	h := x.heads[origin]
	if h.Size+int64(len(entries)) != tree.N {
		return fmt.Errorf("indexing %d entries behind %d for size %d: sizes differ", len(entries), h.Size, tree.N)
	}
	var digest [32]byte
	if h.Digest != "" {
		if n, err := hex.Decode(digest[:], []byte(h.Digest)); err != nil || n != len(digest) {
			return fmt.Errorf("indexing: stored digest is damaged")
		}
	}
	rows := make([]string, len(entries))
	for i, raw := range entries {
		rows[i] = RowOf(origin, member, uint64(h.Size)+uint64(i), raw).value()
		digest = chain(digest, rows[i])
	}
	next := head{Size: tree.N, Root: hex.EncodeToString(tree.Hash[:]), Digest: hex.EncodeToString(digest[:])}
	meta, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("indexing: %w", err)
	}
	err = x.db.Update(func(tx *buntdb.Tx) error {
		for i, row := range rows {
			if _, _, err := tx.Set(rowKey(origin, uint64(h.Size)+uint64(i)), row, nil); err != nil {
				return err
			}
		}
		_, _, err := tx.Set(headKey(origin), string(meta), nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("indexing: %w", err)
	}
	x.heads[origin] = next
	return nil
}
