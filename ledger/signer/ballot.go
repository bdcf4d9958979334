package signer

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// ErrVoted says that this mirror has voted for another successor of the same version. It has one vote.
var ErrVoted = errors.New("this mirror has voted for another successor of this version")

// maxBallot bounds the ballot's file in bytes: a vote, and a handover of a hundred bytes for each of 1,024 logs.
const maxBallot = 512 << 10

// A Ballot is what a mirror key signed towards one next version of the configuration: at most one vote, and one handover.
// Both are on the disk before they leave, so a restarted mirror says the same again.
type Ballot struct {
	disk *tiles.Disk
	path string
	prev *network.Configuration
	name string // member
	key  ed25519.PrivateKey

	mu    sync.Mutex
	state ballotFile
}

type ballotFile struct {
	Vote     *network.Vote     `json:"vote,omitempty"`
	Handover *network.Handover `json:"handover,omitempty"`
}

// LoadBallot reads what member's mirror key signed towards the successor of prev. A missing file means nothing yet.
func LoadBallot(disk *tiles.Disk, path string, prev *network.Configuration, member string, key ed25519.PrivateKey) (*Ballot, error) {
	b := &Ballot{disk: disk, path: path, prev: prev, name: member, key: key}
	data, err := disk.Read(path, maxBallot)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ballot: %w: %w", ErrState, err)
	}
	if err := entry.DecodeStrict(data, maxBallot, &b.state); err != nil {
		return nil, fmt.Errorf("reading ballot: %w: %w", ErrState, err)
	}
	if v := b.state.Vote; v != nil && (v.Mirror != member || v.Verify(prev) != nil) {
		return nil, fmt.Errorf("reading ballot: %w: vote of another key or version", ErrState)
	}
	if h := b.state.Handover; h != nil && (h.Mirror != member || h.Verify(prev) != nil) {
		return nil, fmt.Errorf("reading ballot: %w: handover of another key or version", ErrState)
	}
	return b, nil
}

// save writes the next state. Call with mu held.
func (b *Ballot) save(next ballotFile) error {
	data, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encoding ballot: %w", err)
	}
	if err := b.disk.Write(tiles.File{Path: b.path, Data: data}); err != nil {
		return err
	}
	b.state = next
	return nil
}

// Voted returns the vote that was cast, and HandedOver the handover that was signed; nil if none.
func (b *Ballot) Voted() *network.Vote {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.Vote
}

// HandedOver returns the handover that was signed, or nil.
func (b *Ballot) HandedOver() *network.Handover {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.Handover
}

// Vote casts the vote for next, or returns the same one again. Another successor of the same version is ErrVoted.
func (b *Ballot) Vote(next *network.Configuration) (network.Vote, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.state.Vote; v != nil {
		if v.Digest != next.Digest() {
			return network.Vote{}, ErrVoted
		}
		return *v, nil
	}
	v, err := network.NewVote(b.prev, next, b.name, b.key)
	if err != nil {
		return network.Vote{}, err
	}
	return v, b.save(ballotFile{Vote: &v, Handover: b.state.Handover})
}

// Remember takes a vote of this key that others hold and this folder does not know of, as after it was lost.
func (b *Ballot) Remember(v network.Vote) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Vote != nil || v.Mirror != b.name {
		return nil
	}
	if err := v.Verify(b.prev); err != nil {
		return err
	}
	return b.save(ballotFile{Vote: &v, Handover: b.state.Handover})
}

// HandOver signs the trees that this mirror cosigned last, or returns what was signed before. The caller has seen to it
// that nothing more is cosigned.
func (b *Ballot) HandOver(next *network.Configuration, stands []network.Stand) (network.Handover, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h := b.state.Handover; h != nil {
		if h.Digest != next.Digest() {
			return network.Handover{}, ErrVoted
		}
		return *h, nil
	}
	h, err := network.NewHandover(b.prev, next, b.name, stands, b.key)
	if err != nil {
		return network.Handover{}, err
	}
	return h, b.save(ballotFile{Vote: b.state.Vote, Handover: &h})
}
