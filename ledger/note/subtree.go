package note

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// The subtrees of an upload, [start, end), are nodes of the tree of size n: start is a multiple of PackageEntries, and end
// is start + PackageEntries, or n if that is less. For a node the subtree consistency proof of
// draft-ietf-plants-merkle-tree-certs (SUBTREE_PROOF) is the path from the node to the root: with k the largest power of
// two below n,
//
//	PATH(0, n, D_n)       = {}
//	PATH(start, end, D_n) = PATH(start, end, D[0:k]) : MTH(D[k:n])          if end <= k
//	PATH(start, end, D_n) = PATH(start - k, end - k, D[k:n]) : MTH(D[0:k])  if k <= start

// isPackage tells whether [start, end) is the subtree of a package in a tree of that size.
func isPackage(start, end, size int64) bool {
	return start >= 0 && start < end && start%PackageEntries == 0 && end == min(start+PackageEntries, size) && size <= MaxTreeSize
}

// SubtreeHash returns the root of the subtree of a package, MTH(D[start:end]), from hashes of a tree of size end or more.
func SubtreeHash(start, end int64, hashes tlog.HashReader) (tlog.Hash, error) {
	var indexes []int64
	for lo := start; lo < end; {
		level := 0
		for lo%(2<<level) == 0 && lo+2<<level <= end {
			level++
		}
		indexes = append(indexes, tlog.StoredHashIndex(level, lo>>level))
		lo += 1 << level
	}
	parts, err := hashes.ReadHashes(indexes)
	if err != nil {
		return tlog.Hash{}, err
	}
	if len(parts) != len(indexes) || len(parts) == 0 {
		return tlog.Hash{}, fmt.Errorf("reading hashes: %d for %d", len(parts), len(indexes))
	}
	h := parts[len(parts)-1]
	for i := len(parts) - 2; i >= 0; i-- {
		h = tlog.NodeHash(parts[i], h)
	}
	return h, nil
}

// ProveSubtree returns the proof that the subtree [start, end) of a package is one of the tree of that size. hashes reads
// that tree.
func ProveSubtree(start, end, size int64, hashes tlog.HashReader) ([]tlog.Hash, error) {
	if !isPackage(start, end, size) {
		return nil, fmt.Errorf("proving subtree: %w: %d to %d of %d is no package", ErrRequest, start, end, size)
	}
	var proof []tlog.Hash
	for lo, hi := int64(0), size; lo != start || hi != end; {
		k := split(hi - lo)
		var h tlog.Hash
		var err error
		if end <= lo+k {
			h, err = SubtreeHash(lo+k, hi, hashes)
			hi = lo + k
		} else {
			h, err = SubtreeHash(lo, lo+k, hashes)
			lo += k
		}
		if err != nil {
			return nil, fmt.Errorf("proving subtree: %w", err)
		}
		proof = append([]tlog.Hash{h}, proof...)
	}
	return proof, nil
}

// CheckSubtree verifies that the subtree [start, end) of a package, which has that hash, is one of the tree. The error
// wraps ErrProof.
func CheckSubtree(proof []tlog.Hash, start, end int64, hash tlog.Hash, tree tlog.Tree) error {
	if !isPackage(start, end, tree.N) {
		return fmt.Errorf("%w: %d to %d of %d is no package", ErrProof, start, end, tree.N)
	}
	var left []bool // on the way down: the sibling is on the left
	for lo, hi := int64(0), tree.N; lo != start || hi != end; {
		if k := split(hi - lo); end <= lo+k {
			hi, left = lo+k, append(left, false)
		} else {
			lo, left = lo+k, append(left, true)
		}
	}
	if len(proof) != len(left) {
		return fmt.Errorf("%w: %d hashes, want %d", ErrProof, len(proof), len(left))
	}
	for i, sibling := range proof {
		if left[len(left)-1-i] {
			hash = tlog.NodeHash(sibling, hash)
		} else {
			hash = tlog.NodeHash(hash, sibling)
		}
	}
	if hash != tree.Hash {
		return fmt.Errorf("%w: it does not lead to the root", ErrProof)
	}
	return nil
}

// split returns the largest power of two below n, which is at least 2.
func split(n int64) int64 {
	k := int64(1)
	for 2*k < n {
		k *= 2
	}
	return k
}
