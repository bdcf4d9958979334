package peer

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/grille-gateway/grille/node/logkey"
)

// acceptLoop takes connections that passed TLS until the listener closes.
func (n *Node) acceptLoop() {
	for {
		conn, err := n.listener.Accept(n.ctx)
		if err != nil {
			return // the listener was closed
		}
		n.windows.watch(conn)
		key, err := provenKey(conn.ConnectionState().TLS)
		if err != nil || !n.hellos.take(string(key)) {
			_ = conn.CloseWithError(codeRefused, "busy")
			continue
		}
		if !n.start(func() { n.greet(conn, key) }) {
			n.hellos.give(string(key))
			_ = conn.CloseWithError(codeGoodbye, "closing")
		}
	}
}

// greet waits for the dialler's hello and answers it.
func (n *Node) greet(conn *quic.Conn, key ed25519.PublicKey) {
	defer n.hellos.give(string(key))
	ctx, cancel := context.WithTimeout(n.ctx, handshakeTimeout)
	defer cancel()
	l, nb, err := n.answerHello(ctx, conn, key)
	if err != nil {
		n.log.Warn("connection refused", logkey.Error, err)
		select { // let the dialler read why
		case <-conn.Context().Done():
		case <-time.After(lingerRefused):
		case <-n.ctx.Done():
		}
		_ = conn.CloseWithError(codeRefused, "hello refused")
		return
	}
	nb.adopt(l)
}

func (n *Node) answerHello(ctx context.Context, conn *quic.Conn, key ed25519.PublicKey) (*link, *neighbour, error) {
	nb, former := n.holder(key)
	if nb == nil {
		return nil, nil, errPin // acceptsKey let it pass: impossible, and refused all the same
	}
	stream, err := conn.AcceptStream(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("waiting for hello of %s: %w", nb.member.Name, err)
	}
	deadline, _ := ctx.Deadline()
	if err := stream.SetDeadline(deadline); err != nil {
		return nil, nil, err
	}
	bound := n.bounds[kindHello]
	_, body, err := readRequest(stream, func(k Kind, _ uint32) (int, bool) { return bound.Request, k == kindHello })
	var theirs hello
	if err == nil {
		theirs, err = parseHello(body, bound.Request)
	}
	if err == nil {
		err = nb.checkHello(theirs)
	}
	if err != nil {
		refuse(stream, refusalFor(err))
		return nil, nil, fmt.Errorf("hello of %s: %w", nb.member.Name, err)
	}
	if err := n.replyHello(stream); err != nil {
		return nil, nil, fmt.Errorf("answering hello of %s: %w", nb.member.Name, err)
	}
	l := newLink(conn, false, theirs, n.opts.Network.Digest)
	l.other = l.other || former
	return l, nb, nil
}

func (n *Node) replyHello(stream *quic.Stream) error {
	ours, err := json.Marshal(n.hello())
	if err != nil {
		return err
	}
	if err := writeReply(stream, ours, nil); err != nil {
		return err
	}
	return stream.Close()
}

// serve answers the neighbour's requests on l until its connection ends.
func (nb *neighbour) serve(l *link) {
	defer nb.drop(l)
	for {
		stream, err := l.conn.AcceptStream(nb.node.ctx)
		if err != nil {
			if nb.node.ctx.Err() != nil {
				l.close(codeGoodbye, "closing")
			}
			return
		}
		l.enter(false)
		if !nb.node.start(func() { defer l.leave(); nb.answer(l, stream) }) {
			l.leave()
			l.close(codeGoodbye, "closing")
			return
		}
	}
}

// answer serves one stream. Its time is bounded three times over: to read the request, to handle it, to write the reply.
func (nb *neighbour) answer(l *link, stream *quic.Stream) {
	if err := stream.SetDeadline(time.Now().Add(readTimeout)); err != nil {
		refuse(stream, &RemoteError{CodeInternal, "internal error"})
		return
	}
	a := admission{nb: nb, other: l.other}
	defer a.release()
	kind, body, err := readRequest(stream, a.admit)
	if a.denied != nil {
		err = a.denied
	}
	if err != nil {
		refuse(stream, refusalFor(err))
		return
	}
	reply, err := nb.handle(stream, kind, body)
	if err == nil && !a.charge(len(reply)) {
		err = errBusy
	}
	if err != nil {
		refuse(stream, refusalFor(err))
		return
	}
	if err := stream.SetDeadline(time.Now().Add(nb.gates[kind].bound.Timeout)); err != nil {
		stream.CancelWrite(streamAbandoned)
		return
	}
	if err := writeReply(stream, reply, nil); err != nil {
		stream.CancelWrite(streamAbandoned)
		return
	}
	_ = stream.Close() // fails only on a stream that is cancelled already
}

// errBusy is what a neighbour is told whose request, or the reply to it, does not fit what may be held now.
var errBusy = &RemoteError{CodeBusy, "too much is in progress"}

// admission is what one request holds of its neighbour's share and of everybody's.
type admission struct {
	nb     *neighbour
	other  bool // the neighbour has another configuration
	denied *RemoteError
	slot   chan struct{}
	bytes  int64
}

// admit decides whether the neighbour may make a request of a kind now. The kind's slot and rate and the bytes are taken after
// the request's head and before its body, so that excess costs us five bytes.
func (a *admission) admit(kind Kind, length uint32) (int, bool) {
	g := a.nb.gates[kind]
	switch {
	case g == nil || kind == kindHello: // a second hello is no request
		return 0, false
	case a.other && !kind.crosses():
		a.denied = &RemoteError{CodeWrongNetwork, "the neighbour has another network configuration"}
	case !g.rate.Allow():
		a.denied = &RemoteError{CodeRateLimited, "too many requests of this kind a second"}
	case int64(length) > int64(g.bound.Request):
		return g.bound.Request, true // refused by readBody, without a slot
	case !a.take(g.slots):
		a.denied = &RemoteError{CodeBusy, "too many requests of this kind in progress"}
	case !a.charge(int(length)):
		a.denied = errBusy
	default:
		return g.bound.Request, true
	}
	return 0, false
}

func (a *admission) take(slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		a.slot = slots
		return true
	default:
		return false
	}
}

// charge takes bytes off the neighbour's budget and everybody's.
func (a *admission) charge(n int) bool {
	if !a.nb.bodies.take(int64(n)) {
		return false
	}
	if !a.nb.node.bodies.take(int64(n)) {
		a.nb.bodies.give(int64(n))
		return false
	}
	a.bytes += int64(n)
	return true
}

func (a *admission) release() {
	a.nb.bodies.give(a.bytes)
	a.nb.node.bodies.give(a.bytes)
	if a.slot != nil {
		<-a.slot
	}
}

func (nb *neighbour) handle(stream *quic.Stream, kind Kind, body []byte) ([]byte, error) {
	bound := nb.gates[kind].bound
	ctx, cancel := context.WithTimeout(nb.node.ctx, bound.Timeout)
	defer cancel()
	stop := context.AfterFunc(stream.Context(), cancel) // the neighbour stopped reading, or the connection ended
	defer stop()
	reply, err := nb.node.opts.Handler(ctx, nb.member.Name, kind, body)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil, &RemoteError{CodeTimeout, "the request was not finished in time"}
		}
		refusal := remote(err)
		if refusal.Code == CodeInternal {
			nb.node.log.Error("request failed", logkey.Member, nb.member.Name, logkey.Kind, kind.String(), logkey.Error, err)
		}
		return nil, refusal
	}
	if len(reply) > bound.Reply {
		nb.node.log.Error("reply over its bound", logkey.Member, nb.member.Name, logkey.Kind, kind.String(), logkey.Size, len(reply))
		return nil, &RemoteError{CodeInternal, "internal error"}
	}
	return reply, nil
}

// refusalFor names the reason of an error that this package made.
func refusalFor(err error) *RemoteError {
	var refusal *RemoteError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case errors.Is(err, ErrTooLarge):
		return &RemoteError{CodeTooLarge, "the request's body is over its bound"}
	case errors.Is(err, errUnknownKind):
		return &RemoteError{CodeUnknownKind, "this kind of request is not served"}
	}
	return &RemoteError{CodeProtocol, "the request could not be read"}
}

// refuse sends a refusal and gives up whatever is left to read.
func refuse(stream *quic.Stream, refusal *RemoteError) {
	stream.CancelRead(streamRefused)
	_ = stream.SetWriteDeadline(time.Now().Add(readTimeout))
	if err := writeReply(stream, nil, refusal); err != nil {
		stream.CancelWrite(streamAbandoned)
		return
	}
	_ = stream.Close() // fails only on a stream that is cancelled already
}
