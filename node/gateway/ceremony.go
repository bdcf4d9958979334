package gateway

import (
	"context"
	"errors"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/ceremony"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/logkey"
)

// openCeremonies reads the key ceremonies that this gateway coordinates or has copies of.
func (g *Gateway) openCeremonies(f config.Folder, chain *network.Chain) error {
	var err error
	g.ceremonies, err = ceremony.Open(ceremony.Options{Dir: f.Ceremonies(), Keys: g.trust.Dir, Own: f.Contributions(),
		Configuration: g.network, Chain: chain, Member: g.member.Name, Key: g.keys.Query, Call: wire{g}.Call, Head: g.ownHead,
		Now: g.now, Logger: g.log, Stored: g.tellStored})
	g.KeyCeremonies = g.ceremonies
	return err
}

// ownHead is the newest final head of this member's log.
func (g *Gateway) ownHead() ([]byte, error) {
	head, ok := g.ledger.Final(g.origin())
	if !ok {
		return nil, errors.New("nothing of this log is final")
	}
	return head.Checkpoint, nil
}

// tellStored publishes keys that a ceremony gave. What fails here is tried again each beat.
func (g *Gateway) tellStored(ctx context.Context) {
	if err := g.PublishCircuits(ctx); err != nil && ctx.Err() == nil {
		g.log.Warn("circuit keys not published yet", logkey.Error, err)
	}
}
