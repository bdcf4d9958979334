package gateway

import (
	"context"
	"errors"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/node/logkey"
)

// Serve opens a gateway and runs it until ctx ends or it must stop. A gateway lives for one version of the network
// configuration: when the next is in force, everything is closed and opened again with it, connections to removed members
// among the rest. So it is when keys have come of a circuit that the configuration names. The circuits' keys stay loaded.
func Serve(ctx context.Context, o Options) error {
	for {
		g, err := Open(ctx, o)
		if err != nil {
			return err
		}
		g.log.Info("gateway open", logkey.Member, g.member.Name, logkey.Directory, string(o.Folder), logkey.Version, o.Version,
			logkey.Configuration, g.network.Version)
		o.Circuits = g.ring.Keys
		err = errors.Join(g.Run(ctx), g.Close())
		if errors.Is(err, errKeysCame) && ctx.Err() == nil {
			g.log.Info("keys of a circuit have come", logkey.Configuration, g.network.Version)
			continue
		}
		if !errors.Is(err, ledger.ErrSuperseded) || ctx.Err() != nil {
			return err
		}
		g.log.Info("a newer network configuration is in force", logkey.Configuration, g.network.Version+1)
	}
}
