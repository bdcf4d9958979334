package note

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
)

// MaxProofSize bounds a tlog-proof in bytes: a head, 50 hashes of 45 bytes, and the lines before them.
const MaxProofSize = MaxSize + 4<<10

// maxHashes is the longest path in a tree of MaxTreeSize.
const maxHashes = 50

// ErrProof says that an inclusion proof is malformed or does not lead from the entry to the head's root.
var ErrProof = errors.New("inclusion proof does not verify")

const proofHeader = "c2sp.org/tlog-proof@v1\n"

// EncodeProof writes a C2SP tlog-proof (v1) for the entry at index under a signed head.
func EncodeProof(index uint64, path []tlog.Hash, head []byte) []byte {
	return torchwood.FormatProof(int64(index), path, head)
}

// A Proof is a parsed tlog-proof, not verified.
type Proof struct {
	Index uint64
	Path  []tlog.Hash
	Head  []byte // signed note
}

// ParseProof reads a tlog-proof. Ours carry no extra data, and one that does is refused: nothing would authenticate it.
func ParseProof(data []byte) (Proof, error) {
	if len(data) > MaxProofSize {
		return Proof{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrProof, len(data), MaxProofSize)
	}
	rest, ok := strings.CutPrefix(string(data), proofHeader+"index ")
	digits, rest, ok2 := strings.Cut(rest, "\n")
	index, err := strconv.ParseUint(digits, 10, 64)
	if !ok || !ok2 || err != nil || index >= MaxTreeSize || strconv.FormatUint(index, 10) != digits {
		return Proof{}, fmt.Errorf("%w: header or index line", ErrProof)
	}
	p := Proof{Index: index}
	for {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return Proof{}, fmt.Errorf("%w: cut off", ErrProof)
		}
		rest = after
		if line == "" {
			break
		}
		h, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(h) != tlog.HashSize || tlog.Hash(h).String() != line || len(p.Path) == maxHashes {
			return Proof{}, fmt.Errorf("%w: hash line", ErrProof)
		}
		p.Path = append(p.Path, tlog.Hash(h))
	}
	p.Head = []byte(rest)
	return p, nil
}

// VerifyProof verifies that an entry stands in the log with that origin under a head with a quorum of q: it parses the
// proof, verifies the head like VerifyHead and the path. It returns the entry's index, the tree and the head's times.
func VerifyProof(cfg *network.Configuration, origin string, raw, proof []byte, q int) (uint64, tlog.Tree, []time.Time, error) {
	p, err := ParseProof(proof)
	if err != nil {
		return 0, tlog.Tree{}, nil, err
	}
	tree, times, err := VerifyHead(cfg, origin, p.Head, q)
	if err != nil {
		return 0, tlog.Tree{}, nil, err
	}
	if err := CheckInclusion(p.Path, tree, p.Index, raw); err != nil {
		return 0, tlog.Tree{}, nil, err
	}
	return p.Index, tree, times, nil
}

// CheckInclusion verifies that the entry with these bytes stands at index in the tree.
func CheckInclusion(path []tlog.Hash, tree tlog.Tree, index uint64, raw []byte) error {
	if index >= MaxTreeSize || int64(index) >= tree.N || len(path) > maxHashes {
		return fmt.Errorf("%w: index beyond the tree", ErrProof)
	}
	if err := tlog.CheckRecord(path, tree.N, tree.Hash, int64(index), tlog.RecordHash(raw)); err != nil {
		return fmt.Errorf("%w: %w", ErrProof, err)
	}
	return nil
}
