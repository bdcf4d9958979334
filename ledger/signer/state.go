package signer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/tiles"
)

var (
	// ErrStale says that a tree is smaller than one already signed, or a time before one already signed. Nothing was
	// signed; the asker is behind, or the clock went back.
	ErrStale = errors.New("older than what was signed")
	// ErrInconsistent says that a tree contradicts one already signed: the owner's log forked. Nothing was signed.
	ErrInconsistent = errors.New("contradicts what was signed")
	// ErrState says that the state file is missing or damaged. Do not recreate it: take new keys and a new log generation.
	ErrState = errors.New("signer state is missing or damaged")
)

// A State is what a key last signed for one log.
type State struct {
	Tree tlog.Tree
	Time time.Time // of a mirror's last cosignature; zero for an owner
	// Note is the checkpoint of Tree as its owner signed it, for a mirror: what it tells others it has cosigned. Nil if
	// nothing was cosigned, and for an owner, which can sign it again.
	Note []byte
}

func (s State) equal(t State) bool {
	return s.Tree == t.Tree && s.Time.Equal(t.Time) && bytes.Equal(s.Note, t.Note)
}

// stateFile is a State on the disk.
type stateFile struct {
	Role   string `json:"role"`
	Origin string `json:"origin"`
	Size   int64  `json:"size,string"`
	Root   string `json:"root"`
	Time   int64  `json:"time,string"`
	Note   string `json:"checkpoint,omitempty"`
	Sum    string `json:"sum,omitempty"` // SHA-256 of the document without it: not every field shows damage by itself
}

// sealed returns the one spelling of a state file, with its sum.
func (f stateFile) sealed() ([]byte, error) {
	f.Sum = ""
	data, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	f.Sum = hex.EncodeToString(sum[:])
	return json.Marshal(f)
}

// MaxState bounds a state file in bytes: the fields take 500, a checkpoint with the owner's signature 500.
const MaxState = 4096

// A keeper guards the state of one key for one log.
type keeper struct {
	disk   *tiles.Disk
	path   string
	role   string
	origin string

	mu    sync.Mutex
	state State
}

// Exists reports whether there is a state file at path.
func Exists(disk *tiles.Disk, path string) (bool, error) { return disk.Exists(path) }

// Create writes the state of a key that has signed nothing yet. role is "owner", "mirror" or "witness".
func Create(disk *tiles.Disk, path, role, origin string) error {
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return fmt.Errorf("hashing the empty tree: %w", err)
	}
	k := &keeper{disk: disk, path: path, role: role, origin: origin}
	return k.save(State{Tree: tlog.Tree{Hash: empty}})
}

func load(disk *tiles.Disk, path, role, origin string) (*keeper, error) {
	data, err := disk.Read(path, MaxState)
	if err != nil {
		return nil, fmt.Errorf("reading state of %s: %w: %w", role, ErrState, err)
	}
	rec, err := ParseState(data)
	if err != nil {
		return nil, fmt.Errorf("reading state of %s: %w", role, err)
	}
	if rec.Role != role || rec.Origin != origin {
		return nil, fmt.Errorf("reading state of %s: %w: of another key", role, ErrState)
	}
	return &keeper{disk: disk, path: path, role: role, origin: origin, state: rec.State}, nil
}

// A Record is a state file as read: whose state it is, and the state.
type Record struct {
	Role   string // "owner", "mirror" or "witness"
	Origin string // of the log
	State  State
}

// ParseState reads the bytes of a state file, for whoever looks at a folder without its keys. The error wraps ErrState.
func ParseState(data []byte) (Record, error) {
	var f stateFile
	if err := entry.DecodeStrict(data, MaxState, &f); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrState, err)
	}
	if again, err := f.sealed(); err != nil || !bytes.Equal(again, data) {
		return Record{}, fmt.Errorf("%w: it differs from its sum", ErrState)
	}
	root, err := hex.DecodeString(f.Root)
	if err != nil || len(root) != tlog.HashSize || f.Role != "owner" && f.Role != "mirror" && f.Role != "witness" || f.Origin == "" || f.Size < 0 ||
		f.Size > note.MaxTreeSize || f.Time < 0 {
		return Record{}, fmt.Errorf("%w: out of range", ErrState)
	}
	rec := Record{Role: f.Role, Origin: f.Origin, State: State{Tree: tlog.Tree{N: f.Size, Hash: tlog.Hash(root)}}}
	if f.Time > 0 {
		rec.State.Time = time.Unix(f.Time, 0).UTC()
	}
	if f.Note != "" {
		if err := matches(f.Origin, rec.State.Tree, []byte(f.Note)); err != nil {
			return Record{}, fmt.Errorf("%w: %w", ErrState, err)
		}
		rec.State.Note = []byte(f.Note)
	}
	return rec, nil
}

// matches checks that a signed note is a checkpoint of a tree of this log. Its signature is its reader's to verify.
func matches(origin string, tree tlog.Tree, signed []byte) error {
	c, err := note.Parse(signed)
	if err != nil {
		return err
	}
	if c.Origin != origin || c.Tree != tree {
		return fmt.Errorf("%w: of another log or tree", note.ErrNote)
	}
	return nil
}

// Encode returns the bytes of the state file.
func (r Record) Encode() ([]byte, error) {
	tree := r.State.Tree
	f := stateFile{Role: r.Role, Origin: r.Origin, Size: tree.N, Root: hex.EncodeToString(tree.Hash[:]), Note: string(r.State.Note)}
	if !r.State.Time.IsZero() {
		f.Time = r.State.Time.Unix()
	}
	data, err := f.sealed()
	if err != nil {
		return nil, fmt.Errorf("encoding state: %w", err)
	}
	if len(data) > MaxState {
		return nil, fmt.Errorf("encoding state: %d bytes, the limit is %d", len(data), MaxState)
	}
	return data, nil
}

func (k *keeper) save(s State) error {
	data, err := Record{Role: k.role, Origin: k.origin, State: s}.Encode()
	if err != nil {
		return err
	}
	return k.disk.Write(tiles.File{Path: k.path, Data: data})
}

// State returns what was last signed.
func (k *keeper) State() State {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

// advance makes next the state, on the disk first. hashes must be those of the tree next.Tree; the proof that it
// contains the last tree is made from them and checked here, whatever the caller checked before.
func (k *keeper) advance(next State, hashes tlog.HashReader) error {
	return k.grow(next, func(last tlog.Tree) (tlog.TreeProof, error) { return tlog.ProveTree(next.Tree.N, last.N, hashes) })
}

// grow is advance with a proof from whoever has one; it is checked here. Call with mu held.
func (k *keeper) grow(next State, prove func(last tlog.Tree) (tlog.TreeProof, error)) error {
	last := k.state
	switch {
	case next.Tree.N < last.Tree.N:
		return fmt.Errorf("%s: %w: size %d after %d", k.role, ErrStale, next.Tree.N, last.Tree.N)
	case next.Tree.N == last.Tree.N && next.Tree.Hash != last.Tree.Hash:
		return fmt.Errorf("%s: %w: two roots of size %d", k.role, ErrInconsistent, next.Tree.N)
	case next.Time.Before(last.Time):
		return fmt.Errorf("%s: %w: the clock went back by %s", k.role, ErrStale, last.Time.Sub(next.Time))
	}
	if last.Tree.N > 0 && next.Tree.N > last.Tree.N {
		proof, err := prove(last.Tree)
		if err != nil {
			return fmt.Errorf("%s: proving growth: %w", k.role, err)
		}
		if err := tlog.CheckTree(proof, next.Tree.N, next.Tree.Hash, last.Tree.N, last.Tree.Hash); err != nil {
			return fmt.Errorf("%s: %w: size %d does not contain size %d", k.role, ErrInconsistent, next.Tree.N, last.Tree.N)
		}
	}
	if next.equal(last) {
		return nil
	}
	if err := k.save(next); err != nil {
		return err
	}
	k.state = next
	return nil
}
