package gossip

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/peer"
)

// Codes that a neighbour is told.
const (
	CodeMalformed = "malformed"  // not a message of the ledger
	CodeNotOwner  = "not_owner"  // a push of a log that is not the sender's
	CodeNotHeld   = "not_held"   // no such log, or not as far
	CodeRefused   = "refused"    // the store refused it
	CodeStarting  = "starting"   // try again: no quorum was heard from since the start
	CodeNotServed = "not_served" // not a kind of the ledger
)

// refusal is an error whose code the neighbour sees.
type refusal struct {
	code string
	err  error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }
func (r *refusal) Code() string  { return r.code }

// Handle answers a neighbour's ledger request. It has the form of a peer.Handler.
func (g *Gossip) Handle(_ context.Context, from string, kind peer.Kind, body []byte) ([]byte, error) {
	switch kind {
	case peer.KindPush:
		return g.handlePush(from, body)
	case peer.KindHead:
		return nil, g.handleHead(from, body)
	case peer.KindEntries:
		return g.handleEntries(body)
	case peer.KindHeads:
		return g.handleHeads(body)
	}
	return nil, &refusal{CodeNotServed, fmt.Errorf("%s is not a ledger request", kind)}
}

// handlePush takes a push from the owner of the log and from nobody else: its signature would pass whoever brought it, but
// then any member could make us work at another's expense.
func (g *Gossip) handlePush(from string, body []byte) ([]byte, error) {
	push, err := ledger.DecodePush(body)
	if err != nil {
		return nil, &refusal{CodeMalformed, err}
	}
	if owner, ok := g.o.Config.Owner(push.Origin); !ok || owner.Name != from {
		return nil, &refusal{CodeNotOwner, fmt.Errorf("only its owner pushes a log")}
	}
	select {
	case <-g.heard:
	default:
		return nil, &refusal{CodeStarting, fmt.Errorf("this mirror has not heard from a quorum since its start")}
	}
	reply, err := g.o.Store.AddCheckpoint(push)
	if err != nil && !errors.Is(err, ledger.ErrStale) { // a stale owner is told how far this mirror is
		return nil, &refusal{CodeRefused, err}
	}
	return reply.Encode(), nil
}

func (g *Gossip) handleHead(from string, body []byte) error {
	head, err := ledger.DecodeHead(body)
	if err != nil {
		return &refusal{CodeMalformed, err}
	}
	if err := g.learn(head, from); err != nil {
		return &refusal{CodeRefused, err}
	}
	return nil
}

func (g *Gossip) handleEntries(body []byte) ([]byte, error) {
	origin, from, to, err := decodeRange(body)
	if err != nil {
		return nil, &refusal{CodeMalformed, err}
	}
	if _, ok := g.o.Config.Owner(origin); !ok {
		return nil, &refusal{CodeNotHeld, fmt.Errorf("no such log")}
	}
	entries, err := g.o.Store.Read(origin, from, to)
	if err != nil || len(entries) == 0 {
		return nil, &refusal{CodeNotHeld, fmt.Errorf("these entries are not here")}
	}
	return ledger.Entries{From: from, Entries: entries}.Encode(), nil
}

// handleHeads answers a digest of the asker's heads: with nothing if ours are the same, else with all of ours.
func (g *Gossip) handleHeads(body []byte) ([]byte, error) {
	if len(body) != sha256.Size {
		return nil, &refusal{CodeMalformed, fmt.Errorf("a digest has %d bytes", sha256.Size)}
	}
	heads := g.o.Store.Heads()
	if bytes.Equal(digest(heads), body) {
		return nil, nil
	}
	return encodeHeads(heads), nil
}

// digest is SHA-256 over origin, size and root of each head by origin. Cosignature times are left out: heartbeats change
// them all the time and nobody needs others' heartbeats.
func digest(heads []ledger.Head) []byte {
	sorted := slices.Clone(heads)
	slices.SortFunc(sorted, func(a, b ledger.Head) int { return strings.Compare(a.Origin, b.Origin) })
	h := sha256.New()
	h.Write([]byte("grille/1 heads\n"))
	for _, head := range sorted {
		var b []byte
		b = binary.BigEndian.AppendUint16(b, uint16(len(head.Origin)))
		b = append(b, head.Origin...)
		b = binary.BigEndian.AppendUint64(b, head.Size)
		h.Write(append(b, head.Root[:]...))
	}
	return h.Sum(nil)
}

// A range is wanted entries of a log: origin with a length byte, from and to as 8 bytes each, big endian; from < to.
func encodeRange(origin string, from, to uint64) []byte {
	var b cryptobyte.Builder
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(origin)) })
	b.AddUint64(from)
	b.AddUint64(to)
	return b.BytesOrPanic()
}

func decodeRange(data []byte) (origin string, from, to uint64, err error) {
	s := cryptobyte.String(data)
	var name cryptobyte.String
	ok := s.ReadUint8LengthPrefixed(&name) && len(name) <= ledger.MaxOrigin &&
		s.ReadUint64(&from) && s.ReadUint64(&to) && s.Empty()
	if !ok || from >= to || to > 1<<62 {
		return "", 0, 0, fmt.Errorf("%w: range", ledger.ErrMessage)
	}
	return string(name), from, to, nil
}

// Heads travel as a byte 1, to tell having none from having the same, and ledger messages, each after a 16-bit length.
func encodeHeads(heads []ledger.Head) []byte {
	var b cryptobyte.Builder
	b.AddUint8(1)
	for _, h := range heads {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(h.Encode()) })
	}
	return b.BytesOrPanic()
}

func decodeHeads(data []byte) ([]ledger.Head, error) {
	s := cryptobyte.String(data)
	var heads []ledger.Head
	var mark uint8
	if !s.ReadUint8(&mark) || mark != 1 {
		return nil, fmt.Errorf("%w: heads", ledger.ErrMessage)
	}
	for !s.Empty() {
		var one cryptobyte.String
		if len(heads) == network.MaxMembers || !s.ReadUint16LengthPrefixed(&one) {
			return nil, fmt.Errorf("%w: heads", ledger.ErrMessage)
		}
		head, err := ledger.DecodeHead(one)
		if err != nil {
			return nil, err
		}
		heads = append(heads, head)
	}
	return heads, nil
}
