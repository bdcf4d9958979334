package gossip

import (
	"context"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/node/peer"
)

// pushLoop keeps one mirror supplied with our own log, one push in flight at a time.
func (g *Gossip) pushLoop(ctx context.Context, mirror string) {
	select {
	case <-g.o.Store.Heard():
	case <-ctx.Done():
		return
	}
	pause := newPause()
	wake(g.wakePush[mirror])
	for sleep(ctx, time.Hour, g.wakePush[mirror]) {
		for ctx.Err() == nil {
			push, ok := g.o.Store.Outgoing(mirror)
			if !ok {
				break
			}
			if err := g.push(ctx, mirror, push); err != nil {
				g.report(ctx, "pushing to mirror failed", mirror, err)
				sleep(ctx, pause.NextBackOff(), nil)
				continue
			}
			pause.Reset()
		}
	}
}

func (g *Gossip) push(ctx context.Context, mirror string, push ledger.Push) error {
	size := push.From + uint64(len(push.Entries))
	g.mu.Lock()
	if _, ok := g.sentAt[size]; !ok && len(push.Entries) > 0 && len(g.sentAt) < maxMeasured {
		g.sentAt[size] = time.Now()
	}
	g.mu.Unlock()
	body, err := g.o.Peers.Call(ctx, mirror, peer.KindPush, push.Encode())
	if err != nil {
		return err
	}
	reply, err := ledger.DecodePushReply(body)
	if err != nil {
		return err
	}
	if err := g.o.Store.Cosigned(mirror, reply); err != nil {
		return err
	}
	g.noteFinal()
	return nil
}

// maxMeasured bounds what is measured at once while there is no quorum.
const maxMeasured = 1024

// noteFinal has a new final head announced and measures how long finality took.
func (g *Gossip) noteFinal() {
	head, ok := g.o.Store.Final(g.origin)
	if !ok {
		return
	}
	g.sweep(g.origin)
	g.mu.Lock()
	var took []time.Duration
	for size, at := range g.sentAt {
		if size <= head.Size {
			took = append(took, time.Since(at))
			delete(g.sentAt, size)
		}
	}
	g.mu.Unlock()
	for _, d := range took {
		if g.o.OnFinal != nil {
			g.o.OnFinal(d)
		}
	}
}
