package ledger

import (
	"errors"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/signer"
)

// A mirror whose clock is a day ahead of the others' cosigns nothing, neither another's log nor its own, and goes on once
// its clock is set.
func TestMirrorADayAheadCosignsNothing(t *testing.T) {
	c := newCluster(t)
	s := c.stores["GOV/civil"]
	tell := func(offset time.Duration) {
		for _, m := range []string{"GOV/tax", "GOV/health"} {
			s.ObserveClock(m, offset)
		}
	}
	c.append("GOV/tax", batchEntry(1))
	p, _ := c.stores["GOV/tax"].Outgoing("GOV/civil")
	s.ObserveClock("GOV/health", -24*time.Hour)
	if v := s.Clock(); v.Known || v.Skewed {
		t.Fatalf("two of four clocks judge: %+v", v)
	}
	tell(-24 * time.Hour)
	if v := s.Clock(); !v.Skewed || v.Offset != -24*time.Hour {
		t.Fatalf("verdict %+v", v)
	}
	if reply, err := s.AddCheckpoint(p); !errors.Is(err, signer.ErrClock) || len(reply.Cosignature) > 0 {
		t.Errorf("cosigns by a clock a day ahead: %v", err)
	}
	at := c.append("GOV/civil", batchEntry(1))
	for _, m := range []string{"GOV/tax", "GOV/health"} {
		c.push("GOV/civil", m)
	}
	if h, ok := s.Final(c.cfg.Origin("GOV/civil")); ok && h.Size > at[0] {
		t.Error("its own mirror cosigned")
	}
	tell(time.Second)
	if reply, err := s.AddCheckpoint(p); err != nil || len(reply.Cosignature) == 0 {
		t.Errorf("after the clock was set: %v", err)
	}
	s.Outgoing("GOV/tax")
	if h, ok := s.Final(c.cfg.Origin("GOV/civil")); !ok || h.Size <= at[0] {
		t.Error("its own log is not final after the clock was set")
	}
}

// A cosignature from the future, which an owner took while its own clock was a day ahead too, leaves its head once that clock
// is set and another mirror cosigned: everybody else refuses a head with it.
func TestFutureCosignatureLeavesTheHead(t *testing.T) {
	for name, restarted := range map[string]bool{"goes on": false, "starts again": true} {
		c := newCluster(t, "GOV/labour")
		const owner, day = "GOV/labour", 24 * time.Hour
		c.append(owner, batchEntry(1))
		c.clock.add(day)
		c.push(owner, "GOV/civil")
		c.clock.add(-day)
		c.push(owner, "GOV/benefits")
		c.push(owner, "GOV/health")
		if _, err := c.stores["GOV/health"].AddHead(c.final(owner, owner)); !errors.Is(err, ErrFuture) {
			t.Fatalf("%s: takes a head from the future: %v", name, err)
		}
		if restarted {
			c.reopen(owner)
		}
		c.push(owner, "GOV/tax")
		h := c.final(owner, owner)
		if _, err := c.stores["GOV/health"].AddHead(h); err != nil || h.Size != 1 {
			t.Errorf("%s: size %d: %v", name, h.Size, err)
		}
	}
}
