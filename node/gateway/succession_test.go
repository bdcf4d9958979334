package gateway

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/client"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/prover"
)

// served is a gateway that goes on from version to version, and its REST interface.
type served struct {
	*client.Client
	stop context.CancelFunc
	done chan error
}

func (w *world) serve(member string) *served {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &served{stop: cancel, done: make(chan error, 1)}
	go func() {
		s.done <- Serve(ctx, Options{Folder: w.folder(member), Version: "test", Circuits: w.shared(member),
			Logger: slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	}()
	settings, err := config.Load(w.folder(member))
	w.check(err)
	w.eventually(member+" has a token", func() bool {
		token, err := config.ReadSecret(w.folder(member).Token())
		s.Client = client.New("http://"+settings.API.Listen, strings.TrimSpace(string(token)), nil)
		return err == nil
	})
	w.t.Cleanup(func() {
		cancel()
		if err := <-s.done; err != nil && !errors.Is(err, config.ErrConfig) {
			w.t.Errorf("%s: %v", member, err)
		}
		s.done <- nil
	})
	return s
}

// version is that of the configuration that a gateway is ready under, 0 while it is not.
func (s *served) version(t *testing.T) int {
	var status api.Status
	var n api.Network
	if s.Get(t.Context(), "/v1/status", &status) != nil || !status.Ready || s.Get(t.Context(), "/v1/network", &n) != nil {
		return 0
	}
	return n.Version
}

// TestNetworkChangesWhileItRuns takes a running network from version to version: intervals, a member that joins, one that
// leaves. Answers go on, and evidence from before verifies after.
func TestNetworkChangesWhileItRuns(t *testing.T) {
	const health, tax, labour = "GOV/health", "GOV/tax", "GOV/labour"
	w := newWorld(t, civil, benefits, health, tax)
	w.start(civil, benefits, health, tax)
	w.furnish(5)
	before, err := w.running[benefits].Ask(t.Context(), question("P-0001"))
	w.check(err)
	evidence, err := w.running[benefits].Bundle(t.Context(), before.ID, false)
	w.check(err)
	for _, m := range []string{civil, benefits, health, tax} {
		w.halt(m)
	}
	g := map[string]*served{}
	for _, m := range []string{civil, benefits, health, tax} {
		g[m] = w.serve(m)
	}
	cfg := w.config
	inForce := func(version int, members ...string) {
		t.Helper()
		for _, m := range members {
			w.eventually(m+" is at the next version", func() bool { return g[m].version(t) == version })
		}
	}
	change := func(c network.Change, voters ...string) {
		t.Helper()
		next, err := network.Succeed(cfg, c)
		w.check(err)
		var s api.Succession
		w.check(g[cfg.Proposer].Send(t.Context(), "/v1/network/proposal", "application/json", bytes.NewReader(next.Bytes()), &s))
		if s.Proposal == nil || s.Proposal.Digest != next.Digest() || len(s.Proposal.Changes) == 0 {
			t.Fatalf("%+v", s)
		}
		for _, m := range voters {
			w.eventually("the proposal arrives", func() bool {
				var seen api.Succession
				return g[m].Get(t.Context(), "/v1/network/succession", &seen) == nil && seen.Proposal != nil
			})
			w.eventually("the vote is cast", func() bool { // a mirror may have to fetch first what a fence keeps
				return g[m].Post(t.Context(), "/v1/network/vote", map[string]string{"digest": next.Digest()}, &s) == nil
			})
		}
		cfg = next
	}
	inForce(1, civil, benefits, health, tax)
	two := 2
	change(network.Change{Heartbeat: &two}, civil, benefits, health)
	inForce(2, civil, benefits, health, tax)

	var after api.Answer
	w.check(g[benefits].Post(t.Context(), "/v1/queries", question("P-0001"), &after))
	if after.Verdict != "satisfied" || !after.Verified {
		t.Errorf("%+v", after)
	}
	w.verifies(g[benefits], evidence)

	card := w.join(cfg, labour)
	change(network.Change{Add: []network.Card{card}}, civil, benefits, tax)
	inForce(3, civil, benefits, health, tax)
	w.pin(labour, cfg)
	g[labour] = w.serve(labour)
	inForce(3, labour)

	g[tax].stop() // so that its log stands still
	w.check(<-g[tax].done)
	g[tax].done <- nil
	fence := w.largest(cfg.Origin(tax), civil, benefits, health)
	change(network.Change{Remove: []string{tax}, Fences: []network.Fence{fence}}, civil, benefits, health)
	inForce(4, civil, benefits, health, labour)
	gone := w.serve(tax) // it knows nothing of version 4, and nobody talks to it any more
	var n api.Network
	w.eventually("the member that left is served", func() bool { return gone.Get(t.Context(), "/v1/network", &n) == nil })
	time.Sleep(2 * time.Second)
	w.check(gone.Get(t.Context(), "/v1/network", &n))
	for _, m := range n.Members {
		if m.Up {
			t.Errorf("%s keeps a connection to the member that left", m.Name)
		}
	}
	w.check(g[benefits].Post(t.Context(), "/v1/queries", question("P-0002"), &after))
	if after.Verdict != "not_satisfied" || !after.Verified {
		t.Errorf("%+v", after)
	}
	for _, m := range []string{civil, benefits} {
		w.showsAll(g[m], 3)
	}
}

// showsAll verifies a member's file of receipts, made under several versions, with the chain that its gateway exports.
func (w *world) showsAll(g *served, queries int) {
	w.t.Helper()
	var file []byte
	w.check(g.Get(w.t.Context(), "/v1/network/chain", &file))
	chain, err := network.ParseChain(file)
	w.check(err)
	w.check(g.Get(w.t.Context(), "/v1/receipts/export", &file))
	report, err := trace.Verify((&bundle.Verifier{Config: chain.Newest(), Chain: chain}).Configurations(), file)
	w.check(err)
	if report.Records != queries || report.Logged < queries-1 { // the last beat may not be over
		w.t.Errorf("%+v", report)
	}
}

// largest is the fence at the largest tree of a log that a member's mirror cosigned. A head shows what is final; a mirror may have
// cosigned more.
func (w *world) largest(origin string, members ...string) network.Fence {
	w.t.Helper()
	fence := network.Fence{Origin: origin}
	for _, m := range members {
		data, err := os.ReadFile(filepath.Join(w.folder(m).Ledger(), "signer", "mirror", url.PathEscape(origin)+".json"))
		w.check(err)
		rec, err := signer.ParseState(data)
		w.check(err)
		if tree := rec.State.Tree; tree.N > fence.Size {
			fence.Size, fence.Root = tree.N, hex.EncodeToString(tree.Hash[:])
		}
	}
	return fence
}

// join makes a member's folder and returns its card.
func (w *world) join(cfg *network.Configuration, member string) network.Card {
	w.t.Helper()
	f := w.folder(member)
	w.check(f.Create())
	private, _, err := config.EnsureKeys(f)
	w.check(err)
	c := config.Default()
	c.Member, c.Instance, c.Peer.Listen, c.API.Listen = member, cfg.Instance, freeAddress(w.t), freeAddress(w.t)
	w.check(config.WriteNew(f.Config(), c.Render(), 0o600))
	card, err := network.NewCard(cfg.Instance, private.Member(cfg.Instance, member, member, c.Peer.Listen, false), private.Log)
	w.check(err)
	return card
}

// verifies checks evidence with the chain that a gateway exports, and that the newest version alone does not do.
func (w *world) verifies(g *served, evidence []byte) {
	w.t.Helper()
	var file []byte
	w.check(g.Get(w.t.Context(), "/v1/network/chain", &file))
	chain, err := network.ParseChain(file)
	w.check(err)
	if chain.Pinned().Digest() != w.config.Digest() {
		w.t.Error("the chain does not begin with what was pinned")
	}
	proofs, err := prover.NewVerifier(w.keys.VerifyingKey())
	w.check(err)
	_, err = (&bundle.Verifier{Config: chain.Newest(), Chain: chain, Proofs: bundle.VerifyingKeys{proofs}}).Verify(evidence)
	w.check(err)
	var refused *bundle.Refused
	if _, err := (&bundle.Verifier{Config: chain.Newest(), Proofs: bundle.VerifyingKeys{proofs}}).Verify(evidence); !errors.As(err, &refused) || refused.Reason != bundle.ReasonConfiguration {
		w.t.Errorf("with the newest version alone: %v", err)
	}
}
