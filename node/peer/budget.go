package peer

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"
)

// budget is a number of bytes that several share.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take takes n bytes, or none if they are not there.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// windows bounds by how much the receive windows of all connections together may grow beyond what they begin with. A connection
// that gets no more goes on with the window it has.
type windows struct {
	budget budget
	mu     sync.Mutex // guards what follows
	grown  map[*quic.Conn]int64
}

func newWindows(limit int64) *windows {
	return &windows{budget: budget{limit: limit}, grown: make(map[*quic.Conn]int64)}
}

// allow is quic-go's AllowConnectionWindowIncrease, which must not use the connection.
func (w *windows) allow(conn *quic.Conn, delta uint64) bool {
	if !w.budget.take(int64(delta)) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grown[conn] += int64(delta)
	return true
}

// watch gives a connection's bytes back when it has ended.
func (w *windows) watch(conn *quic.Conn) {
	context.AfterFunc(conn.Context(), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.budget.give(w.grown[conn])
		delete(w.grown, conn)
	})
}
