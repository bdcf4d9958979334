package main

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// A wholeLog is one log of an input, from its first entry.
type wholeLog struct {
	Origin  string   `json:"origin"`
	Entries []string `json:"entries"`

	hashes []tlog.Hash
	facts  *view.Log
}

// load computes the tree and what counts, under the approval rules of the chain.
func (l *wholeLog) load(chain *network.Chain) error {
	rules := chain.Rules(l.Origin)
	l.facts = view.NewApprovedLog(func(i uint64, e entry.Entry) bool { return network.CheckApprovals(rules, l.Origin, i, e) == nil })
	for i, text := range l.Entries {
		h, err := tlog.StoredHashes(int64(i), []byte(text), l)
		if err != nil {
			return fmt.Errorf("hashing a log: %w", err)
		}
		l.hashes = append(l.hashes, h...)
		e, _ := entry.Decode([]byte(text)) // a malformed one is void
		l.facts.Add(e)
	}
	return nil
}

// ReadHashes implements tlog.HashReader.
func (l *wholeLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

// A replica holds the logs of an input.
type replica map[string]*wholeLog

func newReplica(logs []*wholeLog, chain *network.Chain) (replica, error) {
	r := make(replica)
	for _, l := range logs {
		if err := l.load(chain); err != nil {
			return nil, err
		}
		r[l.Origin] = l
	}
	return r, nil
}

// View implements bundle.Replica.
func (r replica) View(origin string, size uint64) *view.View {
	if l := r[origin]; l != nil {
		return l.facts.At(size)
	}
	return nil
}

// Inclusion implements bundle.Replica.
func (r replica) Inclusion(origin string, index, size uint64) ([]tlog.Hash, error) {
	return tlog.ProveRecord(int64(size), int64(index), r[origin])
}

// Read implements bundle.ClaimLog.
func (r replica) Read(origin string, from, to uint64) ([][]byte, error) {
	var out [][]byte
	for _, text := range r[origin].Entries[from:to] {
		out = append(out, []byte(text))
	}
	return out, nil
}
