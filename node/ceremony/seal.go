package ceremony

import (
	"context"
	"fmt"
	"time"

	"github.com/grille-gateway/grille/node/logkey"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// advanceBeacon waits for the announced time, gathers the heads from after it, and seals the phase.
func (c *coordinator) advanceBeacon(ctx context.Context, turn rules.Turn, heads **gathering) (time.Duration, error) {
	if now := c.o.Now(); now.Before(turn.After) {
		c.tell(stateBeacon, "", turn.After, "")
		return turn.After.Sub(now), nil
	}
	if *heads == nil || !(*heads).after.Equal(turn.After) {
		*heads = newGathering(c.o.Configuration, turn.After)
	}
	g := *heads
	g.ask(ctx, c.o.head)
	missing := g.missing()
	waited := c.o.Now().Sub(turn.After) > c.o.grace()
	if len(missing) > 0 && !(g.enough() && (waited || c.hurried())) {
		fault := ""
		if waited { // for more than those who are away
			fault = fmt.Sprintf("%d of %d logs have a checkpoint from after the announced time, %d are needed", len(g.heads),
				len(c.o.Configuration.Members), c.o.Configuration.Quorum())
		}
		c.tell(stateBeacon, "", turn.After, fault)
		return beaconAsk, nil
	}
	c.tell(stateSealing, "", time.Time{}, "")
	evidence, err := g.evidence()
	if err != nil {
		return 0, err
	}
	result, err := c.ceremony.Seal(ctx, evidence, c.o.Now(), c.o.beacon, func(stage string) { c.log.Info("sealing", logkey.Stage, stage) })
	if err != nil {
		return 0, err
	}
	*heads = nil
	c.patient()
	if result != nil {
		if err := c.o.stored(ctx, result); err != nil {
			c.log.Warn("the keys were made and not stored: run grille ceremony verify", logkey.Error, err)
		}
	}
	return 0, c.stepped(nil)
}

// patient ends a hurry: it was about one phase.
func (c *coordinator) patient() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurry = false
}

// head is the newest final head of a member's log: the own one, or what the member says.
func (o *Options) head(ctx context.Context, member string) ([]byte, error) {
	if member == o.Member {
		return o.Head()
	}
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	return o.Call(ctx, member, kindFresh, nil)
}

// grace is how long after the announced time a log that shows nothing is waited for: three heartbeats, and what messages take.
func (o *Options) grace() time.Duration {
	return 3*time.Duration(o.Configuration.HeartbeatSeconds)*time.Second + headTimeout
}

// beacon is the Beacon of this gateway's chain of configurations.
func (o *Options) beacon(evidence []byte, after time.Time) ([]byte, error) {
	return Beacon(o.Chain.Versions(), evidence, after)
}

// stored keeps the keys of a ceremony that was verified here, and says so.
func (o *Options) stored(ctx context.Context, r *rules.Result) error {
	if err := o.Store(ctx, r); err != nil {
		return fmt.Errorf("storing the keys: %w", err)
	}
	if o.Stored != nil {
		o.Stored(ctx)
	}
	return nil
}
