package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/grille-gateway/grille/node/logkey"
)

// heard waits until something may be appended to the log, and tells whether ctx still runs.
func (g *Gateway) heard(ctx context.Context) bool {
	select {
	case <-g.gossip.Heard():
		return true
	case <-ctx.Done():
		return false
	}
}

// beat publishes a receipts batch each beat. It returns why the journal cannot be relied on any more: the
// process has to stop, and the next start finds out what the disk holds.
func (g *Gateway) beat(ctx context.Context) error {
	if !g.heard(ctx) {
		return nil
	}
	if err := g.book.Run(ctx); err != nil {
		return fmt.Errorf("the gateway stops: %w", err)
	}
	return nil
}

// claims logs a batch each beat while a scope of this member's is open. It returns why the register cannot be written any more: the
// process has to stop.
func (g *Gateway) claims(ctx context.Context) error {
	if !g.heard(ctx) {
		return nil
	}
	if err := g.register.Run(ctx); err != nil {
		return fmt.Errorf("the gateway stops: %w", err)
	}
	return nil
}

// follow fetches the receipts that holders promised.
func (g *Gateway) follow(ctx context.Context) {
	if !g.heard(ctx) {
		return
	}
	if err := g.requester.Run(ctx); err != nil && ctx.Err() == nil {
		g.log.Error("following receipts stopped", logkey.Error, err)
	}
}

// watch returns why the ledger signs nothing any more. A process that cannot make a write durable must stop: what it
// would promise from then on, a restart could take back.
func (g *Gateway) watch(ctx context.Context) error {
	for {
		changed := g.ledger.Changed()
		if err := g.ledger.Failure(); err != nil && ctx.Err() == nil {
			return fmt.Errorf("the gateway stops: %w", err)
		}
		select {
		case <-changed:
			pause(ctx, 100*time.Millisecond) // heads change often; a failure may wait this long
		case <-ctx.Done():
			return nil
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
