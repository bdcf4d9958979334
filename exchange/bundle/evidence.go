package bundle

import (
	"fmt"
	"slices"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger"
)

// Include reads an entry of a log and its inclusion path under the tree of the given size.
func Include(log *ledger.Store, origin string, index, size uint64) (Entry, error) {
	raw, err := log.Read(origin, index, index+1)
	if err != nil || len(raw) != 1 {
		return Entry{}, fmt.Errorf("reading entry %d for a bundle: %w", index, err)
	}
	hashes, err := log.Inclusion(origin, index, size)
	if err != nil {
		return Entry{}, fmt.Errorf("proving entry %d for a bundle: %w", index, err)
	}
	e := Entry{Index: index, Body: string(raw[0]), Path: make([][]byte, len(hashes))}
	for i, h := range hashes {
		e.Path[i] = slices.Clone(h[:])
	}
	return e, nil
}

// IncludeAll includes the entries that a header names, each once, rising by index.
func IncludeAll(log *ledger.Store, h *Header) ([]Entry, error) {
	indexes := []uint64{h.Dataset, h.Epoch, h.Policy, h.Agreement}
	if h.Scope != nil {
		indexes = append(indexes, *h.Scope)
	}
	if h.Batch != nil {
		indexes = append(indexes, *h.Batch)
	}
	if h.Next != nil {
		indexes = append(indexes, *h.Next)
	}
	if h.Group != nil {
		indexes = append(indexes, *h.Group)
	}
	slices.Sort(indexes)
	entries := make([]Entry, 0, len(indexes))
	for _, index := range indexes {
		e, err := Include(log, h.Origin, index, h.Size)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// LabelEvidence begins what EvidenceDigest hashes.
const LabelEvidence = "grille/v1/evidence"

// EvidenceDigest identifies an answer with its evidence: all of a bundle but the opening, which is for the two parties alone, and what
// is there later: the receipt's path and the claim's place.
func (b *Bundle) EvidenceDigest() (receipt.Hash, error) {
	bare := *b
	bare.Opening, bare.Receipt, bare.Claim = nil, nil, nil
	data, err := Encode(&bare)
	if err != nil {
		return receipt.Hash{}, err
	}
	return receipt.Sum(LabelEvidence, data), nil
}
