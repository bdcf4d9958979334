package peer

import (
	"context"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// link is one connection that is past its hello. It knows how many requests are in flight on it, both ways, so that it
// can be retired without failing them.
type link struct {
	conn        *quic.Conn
	dialled     bool   // by us
	incarnation string // of the other end's process
	other       bool   // the other end has another configuration, or a former key: only kinds that cross versions are served and sent

	mu       sync.Mutex // guards what follows
	inFlight int
	used     time.Time // when a request began or ended last
	retiring bool
	idle     chan struct{} // closed when retiring and nothing is in flight
}

func newLink(conn *quic.Conn, dialled bool, theirs hello, digest string) *link {
	return &link{conn: conn, dialled: dialled, incarnation: theirs.Incarnation, other: theirs.Configuration != digest,
		used: time.Now(), idle: make(chan struct{})}
}

// unused tells since when no request has been in flight; false while one is, or when l is on its way out.
func (l *link) unused() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used, l.inFlight == 0 && !l.retiring
}

// usable tells whether a new request of ours may start on l.
func (l *link) usable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.retiring && l.conn.Context().Err() == nil
}

// enter counts a request in; leave counts it out. own requests are refused on a retiring link, the other end's are not,
// since it may not know yet.
func (l *link) enter(own bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.retiring && own {
		return false
	}
	l.inFlight++
	l.used = time.Now()
	return true
}

func (l *link) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight--
	l.used = time.Now()
	l.signalIdle()
}

func (l *link) signalIdle() {
	if l.retiring && l.inFlight == 0 {
		select {
		case <-l.idle:
		default:
			close(l.idle)
		}
	}
}

// retire lets what is in flight finish, for at most retireGrace, and closes the connection.
func (l *link) retire(ctx context.Context) {
	l.mu.Lock()
	l.retiring = true
	l.signalIdle()
	l.mu.Unlock()
	timer := time.NewTimer(retireGrace)
	defer timer.Stop()
	select {
	case <-l.idle:
	case <-timer.C:
	case <-ctx.Done():
	case <-l.conn.Context().Done():
	}
	l.close(codeSuperseded, "superseded")
}

// close tells the other end that the connection is over. quic-go's error repeats the connection's own, which the reader of
// the connection reports.
func (l *link) close(code quic.ApplicationErrorCode, reason string) {
	_ = l.conn.CloseWithError(code, reason)
}
