package tlogweb

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what is remembered of clients, and of how long they are held rather than refused: a tool that reads a whole log
// asks as fast as it can, and most give up at the first refusal.
const (
	maxClients = 8192
	clientRuns = 32 // requests of one client at once
	maxHeld    = 5 * time.Second
	clientIdle = time.Minute
)

// clients admits requests by address.
type clients struct {
	rate  rate.Limit
	burst int

	mu     sync.Mutex
	byAddr map[netip.Addr]*client
	others *client // of all whom there is no room for
}

type client struct {
	limiter *rate.Limiter
	slots   chan struct{}
	seen    time.Time // under clients.mu
}

func newClients(perSecond float64) *clients {
	c := &clients{rate: rate.Limit(perSecond), burst: max(1, int(2*perSecond)), byAddr: make(map[netip.Addr]*client)}
	c.others = c.fresh()
	return c
}

func (c *clients) fresh() *client {
	return &client{limiter: rate.NewLimiter(c.rate, c.burst), slots: make(chan struct{}, clientRuns)}
}

// admit waits for a request's turn. If that would take too long it says how long.
func (c *clients) admit(ctx context.Context, remote string) (release func(), wait time.Duration, ok bool) {
	who := c.of(remote)
	turn := who.limiter.Reserve()
	if wait = turn.Delay(); wait > maxHeld {
		turn.Cancel()
		return nil, wait, false
	}
	timer := time.NewTimer(maxHeld)
	defer timer.Stop()
	select {
	case who.slots <- struct{}{}:
	case <-timer.C:
		return nil, time.Second, false
	case <-ctx.Done():
		return nil, time.Second, false
	}
	release = func() { <-who.slots }
	if wait > 0 {
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			release()
			return nil, time.Second, false
		}
	}
	return release, 0, true
}

// addressOf returns what a client is known by: its address, or its IPv6 network of 64 bits, since whoever has one address
// there has them all.
func addressOf(remote string) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, false
	}
	addr := ap.Addr().Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	return addr, true
}

// of returns the client of an address.
func (c *clients) of(remote string) *client {
	addr, ok := addressOf(remote)
	if !ok {
		return c.others
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	who, ok := c.byAddr[addr]
	if !ok {
		if len(c.byAddr) >= maxClients {
			c.forget(now)
		}
		if len(c.byAddr) >= maxClients {
			return c.others
		}
		who = c.fresh()
		c.byAddr[addr] = who
	}
	who.seen = now
	return who
}

// forget drops clients that were quiet. Call with mu held.
func (c *clients) forget(now time.Time) {
	for addr, who := range c.byAddr {
		if now.Sub(who.seen) > clientIdle && len(who.slots) == 0 {
			delete(c.byAddr, addr)
		}
	}
}
