package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/quic-go/quic-go"
)

// Call sends one request to a member and returns its reply. It dials if there is no connection. The body must be within
// the kind's bound, and so must the reply.
//
// Errors: *RemoteError when the member answered with a refusal, ErrUnreachable when there was no connection, ErrOtherVersion,
// which is one, when the member has another configuration and the kind is for those who have the same, ErrTooLarge, ErrUnknownMember, ErrClosed, ctx's own, or context.DeadlineExceeded after the kind's Timeout. A request is sent a second time
// when the first connection ended under it (neighbours close superseded connections), so handlers must be idempotent: the
// ledger's messages are, and a repeated query gets the stored answer.
func (n *Node) Call(ctx context.Context, member string, kind Kind, body []byte) ([]byte, error) {
	nb := n.neighbours[member]
	if nb == nil {
		return nil, fmt.Errorf("calling %s: %w", member, ErrUnknownMember)
	}
	bound, ok := n.bounds[kind]
	if !ok || kind == kindHello {
		return nil, fmt.Errorf("calling %s: kind %d: %w", member, kind, errUnknownKind)
	}
	if len(body) > bound.Request {
		return nil, fmt.Errorf("calling %s: %s: %w: %d bytes, the limit is %d", member, kind, ErrTooLarge, len(body), bound.Request)
	}
	ctx, cancel := context.WithTimeout(ctx, bound.Timeout)
	defer cancel()
	var err error
	for range 2 {
		var reply []byte
		reply, err = nb.tryCall(ctx, kind, body, bound)
		if err == nil {
			return reply, nil
		}
		if !isConnectionError(err) || ctx.Err() != nil || n.ctx.Err() != nil {
			break
		}
	}
	if n.ctx.Err() != nil {
		err = ErrClosed
	}
	return nil, fmt.Errorf("calling %s: %s: %w", member, kind, err)
}

func (nb *neighbour) tryCall(ctx context.Context, kind Kind, body []byte, bound Bound) ([]byte, error) {
	l, err := nb.await(ctx)
	if err != nil {
		return nil, err
	}
	defer l.leave()
	if l.other && !kind.crosses() {
		return nil, ErrOtherVersion
	}
	return exchange(ctx, l.conn, kind, body, bound)
}

// await returns a link to send one request on, which the caller must leave. Without a connection it waits for the dial in
// progress, or the next one, to end.
func (nb *neighbour) await(ctx context.Context) (*link, error) {
	nb.waiting.Add(1)
	defer nb.waiting.Add(-1)
	for tries := 0; ; tries++ {
		nb.mu.Lock()
		l, attempt, reason := nb.currentLocked(), nb.attempt, nb.lastError
		nb.mu.Unlock()
		if l != nil && l.enter(true) {
			return l, nil
		}
		// One attempt may have begun before we came, so the second one's end is the first that tells us anything.
		if tries == 2 {
			return nil, fmt.Errorf("%w: %s", ErrUnreachable, reason)
		}
		nb.wake()
		select {
		case <-attempt:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, ctx.Err())
		case <-nb.node.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// exchange sends one request on a stream of its own and reads the reply. Whatever happens, the stream holds nothing when
// it returns: both directions are finished or cancelled.
func exchange(ctx context.Context, conn *quic.Conn, kind Kind, body []byte, bound Bound) ([]byte, error) {
	deadline := time.Now().Add(bound.Timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	opening, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	stream, err := conn.OpenStreamSync(opening) // waits while the neighbour's stream limit is reached
	if err != nil {
		return nil, fmt.Errorf("opening stream: %w", err)
	}
	abandon := func() {
		stream.CancelRead(streamAbandoned)
		stream.CancelWrite(streamAbandoned)
	}
	stop := context.AfterFunc(ctx, abandon)
	defer stop()
	if err := stream.SetDeadline(deadline); err != nil {
		abandon()
		return nil, fmt.Errorf("setting deadline: %w", err)
	}
	reply, err := converse(stream, kind, body, bound.Reply)
	var refusal *RemoteError
	if err != nil && !errors.As(err, &refusal) {
		abandon()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // the stream's deadline can fire before ctx's, for the same instant
			return nil, context.DeadlineExceeded
		}
	}
	return reply, err
}

func converse(stream *quic.Stream, kind Kind, body []byte, replyLimit int) ([]byte, error) {
	// The neighbour may refuse before it has read everything. Then writing fails, and what it said is what matters.
	writeErr := writeRequest(stream, kind, body)
	if writeErr == nil {
		writeErr = stream.Close()
	}
	reply, err := readReply(stream, replyLimit)
	var refusal *RemoteError
	if err != nil && writeErr != nil && !errors.As(err, &refusal) {
		return nil, fmt.Errorf("sending request: %w", writeErr)
	}
	return reply, err
}

// Codes of a cancelled stream, wire format.
const (
	streamAbandoned quic.StreamErrorCode = 1 // the caller gave up or timed out
	streamRefused   quic.StreamErrorCode = 2 // the server does not read the rest
)
