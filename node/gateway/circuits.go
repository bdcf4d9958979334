package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/keyring"
	"github.com/grille-gateway/grille/node/logkey"
	"github.com/grille-gateway/grille/prover"
)

// Codes of what cannot be done for want of a circuit, besides those of package keyring.
const (
	codeNoCircuit      = "no_circuit"      // the network names no circuit that is in force, or the holder has no keys of one
	codeCircuitSupport = "circuit_support" // too few mirrors published that they rely on the circuit's keys
)

// noCircuit tells the caller that nothing can be asked yet.
func noCircuit() error {
	return api.NewProblem(http.StatusServiceUnavailable, codeNoCircuit, "the network has no circuit in force, so no question can be answered; "+
		"the members make its keys (grille ceremony) and agree on a version that names it (grille network change --ceremony)")
}

// keyringOptions say where this gateway's circuit keys are and what it may rely on.
func (g *Gateway) keyringOptions(f config.Folder) keyring.Options {
	return keyring.Options{Dir: f.Path(g.settings.Prover.Keys), Own: f.Contributions(), Member: g.settings.Member, Config: g.network}
}

// loadCircuits loads the keys of the circuits that the network names, and refuses those that must not be relied on.
func (g *Gateway) loadCircuits(ctx context.Context, o Options) error {
	g.trust = g.keyringOptions(o.Folder)
	g.files = g.trust.Files()
	from := g.trust
	from.Keys, from.Progress = o.Circuits, o.Progress
	var err error
	if g.ring, err = keyring.Load(ctx, from); err != nil {
		return err
	}
	for _, missing := range g.ring.Missing {
		g.log.Warn("answers under a circuit cannot be verified here", logkey.Circuit, missing.Circuit, logkey.Error, missing)
	}
	if len(g.ring.Keys) == 0 {
		g.log.Warn("no circuit: the gateway keeps the ledger, and answers and asks nothing", logkey.Configuration, g.network.Version)
	}
	g.pools = make(map[string]*prover.Pool)
	for _, k := range g.ring.Keys {
		g.pools[k.Metadata().CircuitID] = prover.NewPool(k, g.settings.Prover.Workers, g.settings.Prover.Queue)
	}
	return nil
}

// errKeysCame says that the folder has keys that the gateway can use and lacked: it opens again with them.
var errKeysCame = errors.New("keys of a circuit have come")

// awaitKeys looks each beat whether keys have come of a circuit that the network names, as when this member verifies a ceremony after the
// others agreed on its circuit. Keys that must not be relied on are reported once, and the gateway goes on without them.
func (g *Gateway) awaitKeys(ctx context.Context) error {
	seen := g.files
	for len(g.ring.Missing) > 0 {
		pause(ctx, time.Duration(g.network.BeatSeconds)*time.Second)
		if ctx.Err() != nil {
			return nil
		}
		now := g.trust.Files()
		if now == seen {
			continue
		}
		seen = now
		from := g.trust
		from.Keys = g.ring.Keys
		ring, err := keyring.Load(ctx, from)
		if err != nil {
			g.log.Warn("keys that have come are not used", logkey.Error, err)
		} else if len(ring.Proofs) > len(g.ring.Proofs) {
			return errKeysCame
		}
	}
	return nil
}

// circuitStates says of each circuit that the network names whether it is in force and what this gateway can do with it, and which one it
// answers under now, if any.
func (g *Gateway) circuitStates() (states []api.CircuitState, now *api.CircuitState) {
	at := g.now()
	for _, k := range g.network.Circuits {
		s := api.CircuitState{ID: k.ID, VerifyingKey: k.VerifyingKey, Kind: k.Kind, Transcript: k.Transcript, Contributors: k.Contributors,
			Since: k.Since, Until: k.Until, InForce: k.InForce(at), Answers: g.pools[k.ID] != nil}
		s.Verifies = slices.ContainsFunc(g.ring.Proofs.IDs(), func(id string) bool { return id == k.ID })
		for _, missing := range g.ring.Missing {
			if missing.Circuit == k.ID {
				s.Problem = missing.Error()
			}
		}
		states = append(states, s)
	}
	for _, k := range g.network.CircuitsAt(at) {
		if i := slices.IndexFunc(states, func(s api.CircuitState) bool { return s.ID == k.ID && s.Answers }); i >= 0 {
			return states, &states[i]
		}
	}
	return states, nil
}

// proverDepth is how many proofs wait and how many are being made, of all circuits.
func (g *Gateway) proverDepth() (queued, running int) {
	for _, p := range g.pools {
		q, r := p.Depth()
		queued, running = queued+q, running+r
	}
	return queued, running
}

// publishing looks each beat for keys that this gateway came to rely on, and tells the others.
func (g *Gateway) publishing(ctx context.Context) {
	if !g.heard(ctx) {
		return
	}
	last := ""
	for {
		err := g.PublishCircuits(ctx)
		if err != nil && ctx.Err() == nil && err.Error() != last { // once, while it stays the same
			g.log.Error("circuit keys not published", logkey.Error, err)
			last = err.Error()
		}
		select {
		case <-time.After(time.Duration(g.network.BeatSeconds) * time.Second):
		case <-ctx.Done():
			return
		}
	}
}

// PublishCircuits puts on this member's log which circuits' keys it relies on: those that it proves with, and those of a ceremony that it
// verified and that the network does not name yet. What the log says already is not said again.
func (g *Gateway) PublishCircuits(ctx context.Context) error {
	g.telling.Lock()
	defer g.telling.Unlock()
	noted, err := keyring.Noted(g.trust.Dir)
	errs := []error{err}
	var circuits []network.Circuit
	for _, v := range sayable(g.network, noted) {
		k := keyring.CircuitOf(v)
		if slices.ContainsFunc(circuits, func(c network.Circuit) bool { return c.ID == k.ID }) {
			continue
		}
		if err := g.mayStandBehind(k); err != nil {
			errs = append(errs, err)
			continue
		}
		circuits = append(circuits, k)
	}
	for _, keys := range g.ring.Keys {
		k, ok := g.network.Circuit(keys.Metadata().CircuitID)
		if ok && !slices.ContainsFunc(circuits, func(c network.Circuit) bool { return c.ID == k.ID }) {
			circuits = append(circuits, k)
		}
	}
	for _, k := range circuits {
		errs = append(errs, g.publishCircuit(ctx, k))
	}
	return errors.Join(errs...)
}

// sayable orders the ceremonies that were verified here such that of those of one circuit the first is for the log, whose newest entry
// counts. While the network names a circuit's keys without an end no others can follow them, and nothing is said of other ceremonies:
// anybody may hold one. Where an end is set, or no keys of a ceremony are named, it is the last one that was verified and is not ending.
func sayable(cfg *network.Configuration, noted []prover.Verification) []prover.Verification {
	isNamed := func(v prover.Verification) bool {
		k, ok := cfg.Circuit(v.Circuit)
		return ok && k.VerifyingKey == v.VerifyingKey && k.Transcript == v.Transcript
	}
	out := slices.DeleteFunc(slices.Clone(noted), func(v prover.Verification) bool {
		k, ok := cfg.Circuit(v.Circuit)
		return ok && k.FromCeremony() && k.Until == "" && !isNamed(v)
	})
	slices.SortFunc(out, func(a, b prover.Verification) int {
		if x, y := isNamed(a), isNamed(b); x != y {
			return map[bool]int{true: 1, false: -1}[x]
		}
		return -cmp.Or(strings.Compare(a.Verified, b.Verified), strings.Compare(a.Transcript, b.Transcript)) // times of one length
	})
	return out
}

func (g *Gateway) publishCircuit(ctx context.Context, k network.Circuit) error {
	old, _, ok := g.ledger.View(g.origin(), ^uint64(0)).CircuitKeys(k.ID)
	if ok && old.VerifyingKey == k.VerifyingKey && old.KeyKind == k.Kind && old.Transcript == k.Transcript {
		return nil
	}
	index, err := g.ledger.Append(ctx, entry.CircuitKeys{Circuit: k.ID, VerifyingKey: k.VerifyingKey, KeyKind: k.Kind, Transcript: k.Transcript,
		Time: entry.FormatTime(g.now())})
	if err != nil {
		return err
	}
	g.log.Info("published the circuit's keys", slog.String(logkey.Circuit, k.ID), slog.Uint64(logkey.Index, index[0]))
	return g.ledger.WaitFinal(ctx, index[len(index)-1])
}

// mayStandBehind says why this gateway must not publish or vote for a circuit, if it must not.
func (g *Gateway) mayStandBehind(k network.Circuit) error {
	if g.network.Mode == network.ModeProduction && k.Kind != network.KindCeremony {
		return fmt.Errorf("circuit %.16s... has keys of kind %s, which have no place in production", k.ID, k.Kind)
	}
	return g.trust.Verified(k)
}

// checkCircuits refuses to propose or vote for a version that names a circuit whose keys come from a ceremony, unless a quorum of mirrors
// published that they rely on these keys and this gateway may rely on them too.
func (g *Gateway) checkCircuits(next *network.Configuration) error {
	for _, k := range next.Circuits {
		if old, ok := g.network.Circuit(k.ID); !k.FromCeremony() || ok && old.VerifyingKey == k.VerifyingKey && old.Transcript == k.Transcript {
			continue
		}
		if err := g.mayStandBehind(k); err != nil {
			code := keyring.CodeUnverified
			if refusal := (*keyring.Refusal)(nil); errors.As(err, &refusal) {
				code = refusal.Code
			}
			return api.NewProblem(http.StatusConflict, code, err.Error())
		}
		if s := g.ledger.CircuitSupport(k); !s.Counts() {
			return api.NewProblem(http.StatusConflict, codeCircuitSupport, fmt.Sprintf("version %d names circuit %.16s..., whose keys and "+
				"transcript %d mirrors published (%s), %d are needed; the others run grille ceremony verify first",
				next.Version, k.ID, len(s.Members), strings.Join(s.Members, " "), s.Quorum))
		}
	}
	return nil
}
