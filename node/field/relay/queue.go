package relay

import (
	"container/heap"
	"time"
)

// parcel is one copy of a datagram that waits for its time.
type parcel struct {
	due  time.Time
	seq  uint64 // of equal times the one that came first goes first
	send func()
}

// parcels is a heap: the one that is due first on top.
type parcels []parcel

func (p parcels) Len() int { return len(p) }
func (p parcels) Less(i, k int) bool {
	if p[i].due.Equal(p[k].due) {
		return p[i].seq < p[k].seq
	}
	return p[i].due.Before(p[k].due)
}
func (p parcels) Swap(i, k int) { p[i], p[k] = p[k], p[i] }
func (p *parcels) Push(x any)   { *p = append(*p, x.(parcel)) }
func (p *parcels) Pop() any {
	old := *p
	last := old[len(old)-1]
	old[len(old)-1] = parcel{}
	*p = old[:len(old)-1]
	return last
}

// postLocked puts a parcel into the queue, or drops it when there are too many, as a full router does.
func (r *Relay) postLocked(due time.Time, send func()) bool {
	if len(r.waiting) >= maxWaiting || r.closed {
		return false
	}
	r.seq++
	heap.Push(&r.waiting, parcel{due, r.seq, send})
	if r.waiting[0].seq == r.seq {
		select {
		case r.earlier <- struct{}{}:
		default:
		}
	}
	return true
}

// deliver sends each parcel at its time until the relay closes.
func (r *Relay) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		for {
			r.mu.Lock()
			if len(r.waiting) == 0 {
				r.mu.Unlock()
				break
			}
			if wait = time.Until(r.waiting[0].due); wait > 0 {
				r.mu.Unlock()
				break
			}
			next := heap.Pop(&r.waiting).(parcel)
			r.mu.Unlock()
			next.send()
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.earlier:
		case <-r.done:
			return
		}
	}
}
