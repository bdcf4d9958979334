package ceremony

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/grille-gateway/grille/node/peer"
)

// Caller reaches the other members. node/peer's Node is one.
type Caller func(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error)

// retryAfter is how long a transfer rests after a fault that passes by itself. A variable so that a test need not wait.
var retryAfter = time.Second

// passing tells a fault of the way from a refusal: a member that restarts is called again until ctx ends.
func passing(err error) bool {
	var refusal *peer.RemoteError
	if errors.As(err, &refusal) {
		switch refusal.Code {
		case peer.CodeBusy, peer.CodeRateLimited, peer.CodeTimeout, peer.CodeInternal:
			return true
		}
		return false
	}
	return !errors.Is(err, peer.ErrUnknownMember) && !errors.Is(err, peer.ErrTooLarge) && !errors.Is(err, peer.ErrClosed) &&
		!errors.Is(err, ErrMessage)
}

// persist calls a member until it answers, it refuses, or ctx ends.
func (call Caller) persist(ctx context.Context, member string, kind peer.Kind, body []byte) ([]byte, error) {
	for {
		reply, err := call(ctx, member, kind, body)
		if err == nil || !passing(err) {
			return reply, err
		}
		if !pause(ctx, retryAfter) {
			return nil, err
		}
	}
}

// download fetches a file of a known size from a member, on from what an earlier attempt left in dir, which holds one file at a time. told
// gets the bytes that are here.
func (call Caller) download(ctx context.Context, from, dir string, name digest, size int64, told func(done int64)) ([]byte, error) {
	p, err := newPartial(dir, "", name, size)
	if err != nil {
		return nil, err
	}
	if err := p.alone(); err != nil {
		return nil, err
	}
	held, err := p.held()
	for err == nil && held < size {
		told(held)
		var part []byte
		part, err = call.persist(ctx, from, peer.KindFetch, fetch{name, uint64(held), uint32(min(MaxPart, size-held))}.encode())
		if err == nil && int64(len(part)) != min(MaxPart, size-held) {
			err = fmt.Errorf("%w: %d bytes at %d of %d", ErrMessage, len(part), held, size)
		}
		if err == nil {
			held, err = p.add(held, part)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fetching %.12s from %s: %w", name, from, err)
	}
	data, err := p.take()
	if err != nil {
		return nil, fmt.Errorf("fetching %.12s from %s: %w", name, from, err)
	}
	return data, nil
}

// upload brings a file to the coordinator of a ceremony, on from what it holds.
func (call Caller) upload(ctx context.Context, to string, ceremony digest, data []byte, told func(done int64)) error {
	o := offer{Ceremony: ceremony, File: sha256.Sum256(data), Size: uint64(len(data))}
	for first := true; ; first = false {
		if !first { // the first message is empty and asks where to begin
			o.Part = data[o.Offset:min(o.Size, o.Offset+MaxPart)]
		}
		reply, err := call.persist(ctx, to, peer.KindOffer, o.encode())
		if err == nil {
			o.Offset, err = decodeHeld(reply, o.Size)
		}
		if err != nil {
			return fmt.Errorf("sending a contribution to %s: %w", to, err)
		}
		told(int64(o.Offset))
		if o.Offset == o.Size {
			return nil
		}
	}
}

// pause waits, and tells whether ctx still runs.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
