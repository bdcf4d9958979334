package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/keyring"
	"github.com/grille-gateway/grille/prover"
)

// coordinator is the member that opens the demo's key ceremony and verifies what the others contribute.
const coordinator = "GOV/civil"

const (
	// turnSeconds is how long a member has for a contribution, which takes some seconds.
	turnSeconds = 120
	// watchEvery is how often the coordinator is asked how far the ceremony is.
	watchEvery = 200 * time.Millisecond
	// adoptTime bounds the way from the sealed keys to a network that names them.
	adoptTime = 2 * time.Minute
)

// transcriptFolder is where the cache keeps the ceremony's transcript and the network that made it.
const transcriptFolder = "ceremony"

// cachedKeys returns the keys that the ceremony of an earlier run made, and how a configuration names them; nil if there are none. A run
// that was interrupted leaves none: the ceremony is done again.
func cachedKeys(ctx context.Context, dir string, progress func(string)) (*prover.Keys, network.Circuit, error) {
	keys, err := prover.Load(ctx, dir, progress)
	if errors.Is(err, prover.ErrNoKeys) {
		return nil, network.Circuit{}, nil
	}
	if err != nil {
		return nil, network.Circuit{}, err
	}
	m := keys.Metadata()
	if m.Kind != prover.KindDemo {
		return nil, network.Circuit{}, fmt.Errorf("reading the demo's keys: %s has keys of kind %s, which are not the demo's; name another folder with --keys", dir, m.Kind)
	}
	v, err := prover.ReadVerification(dir, m.CircuitID)
	if errors.Is(err, prover.ErrNotVerified) || err == nil && (v.Transcript != m.Transcript || v.VerifyingKey != m.VerifyingKeySHA256) {
		progress("the keys of an interrupted run are made again")
		return nil, network.Circuit{}, nil
	}
	if err != nil {
		return nil, network.Circuit{}, err
	}
	return keys, keyring.CircuitOf(v), nil
}

// makeKeys has the members of a running network make the circuit's keys together, and agree on a second version of the network that
// names them. The keys, the transcript and the network are kept in the cache.
func (n *Network) makeKeys(ctx context.Context, cache string, stage func(string)) (*prover.Keys, error) {
	c, err := n.contribute(ctx, stage)
	if err != nil {
		return nil, fmt.Errorf("making the circuit's keys: %w", err)
	}
	if err := n.adoptKeys(ctx, c, stage); err != nil {
		return nil, fmt.Errorf("adopting the circuit's keys: %w", err)
	}
	keys, circuit, err := n.sealedKeys(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := n.nameCircuit(ctx, circuit, stage); err != nil {
		return nil, fmt.Errorf("agreeing on a network with the circuit: %w", err)
	}
	n.opts.Circuit, n.opts.VerifyingKey = circuit, keys.VerifyingKey()
	return keys, n.keep(ctx, cache, c, keys)
}

// contribute opens a ceremony, lets every member contribute to both phases and waits until they are sealed.
func (n *Network) contribute(ctx context.Context, stage func(string)) (*api.Ceremony, error) {
	at := n.Node(coordinator).Client()
	delay := 0 // the coordinator is among those who sign the checkpoints
	var c api.Ceremony
	if err := at.Post(ctx, "/v1/ceremony/open", api.CeremonyOpening{Contributors: len(n.Nodes), TurnSeconds: turnSeconds, BeaconDelay: &delay}, &c); err != nil {
		return nil, err
	}
	stage(fmt.Sprintf("%s opened key ceremony %.16s: two phases, %d members each", coordinator, c.ID, len(n.Nodes)))
	for _, node := range n.Nodes {
		body := map[string]string{"ceremony": c.ID}
		if err := persist(ctx, func() error { return node.Client().Post(ctx, "/v1/ceremony/contribute", body, nil) }); err != nil {
			return nil, fmt.Errorf("contributing at %s: %w", node.Name, err)
		}
	}
	last := ""
	for {
		if err := at.Get(ctx, "/v1/ceremony/"+c.ID, &c); err != nil {
			return nil, err
		}
		if now := standing(&c); now != last && now != "" {
			stage(now)
			last = now
		}
		if c.State == "done" {
			return &c, nil
		}
		for _, m := range c.Members {
			for _, turn := range m.Turns {
				if turn.Reason != "" {
					return nil, fmt.Errorf("%s was passed over: %s", m.Member, turn.Reason)
				}
			}
		}
		if err := sleep(ctx, watchEvery); err != nil {
			return nil, err
		}
	}
}

// standing says in words how far a ceremony is.
func standing(c *api.Ceremony) string {
	done := 0
	for _, m := range c.Members {
		if c.Phase > 0 && m.Phases[c.Phase-1] == "contributed" {
			done++
		}
	}
	switch c.State {
	case "turn":
		return fmt.Sprintf("phase %d: %s contributes (%d of %d)", c.Phase, c.Turn, done+1, len(c.Members))
	case "checking":
		return fmt.Sprintf("phase %d: %s verifies what %s contributed", c.Phase, c.Coordinator, c.Turn)
	case "beacon":
		return fmt.Sprintf("phase %d: closed; the next checkpoint of each log gives the beacon", c.Phase)
	case "sealing":
		if c.Phase == 1 {
			return "phase 1: sealing, and preparing the circuit for phase 2, which takes longest"
		}
		return "phase 2: sealing"
	case "done":
		return fmt.Sprintf("both phases sealed, transcript %.16s with %d steps", c.Transcript, c.Steps)
	}
	return ""
}

// adoptKeys has every member but the one that verified the transcript take over its keys, by the digests that the transcript says.
func (n *Network) adoptKeys(ctx context.Context, c *api.Ceremony, stage func(string)) error {
	if c.Here.Verified == "" {
		return fmt.Errorf("%s did not store them; its log is %s", coordinator, n.Node(coordinator).LogFile())
	}
	ctx, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	body := map[string]any{"ceremony": c.ID, "adopt": true}
	for _, node := range n.Nodes {
		if node.Name == coordinator {
			continue
		}
		if err := persist(ctx, func() error { return node.Client().Post(ctx, "/v1/ceremony/verify", body, nil) }); err != nil {
			return fmt.Errorf("at %s: %w", node.Name, err)
		}
	}
	for _, node := range n.Nodes {
		if err := node.adopted(ctx, c.ID); err != nil {
			return fmt.Errorf("at %s: %w", node.Name, err)
		}
	}
	stage(fmt.Sprintf("%s verified the transcript, the other members adopted it", coordinator))
	return nil
}

// adopted waits until a member has the ceremony's keys.
func (n *Node) adopted(ctx context.Context, ceremony string) error {
	for {
		var now api.Ceremony
		err := n.Client().Get(ctx, "/v1/ceremony/"+ceremony, &now)
		switch {
		case err != nil:
			return err
		case now.Here.Fault != "":
			return errors.New(now.Here.Fault)
		case now.Here.Verified != "":
			return nil
		}
		if err := sleep(ctx, watchEvery); err != nil {
			return err
		}
	}
}

// sealedKeys reads the keys that the coordinator stored.
func (n *Network) sealedKeys(ctx context.Context, c *api.Ceremony) (*prover.Keys, network.Circuit, error) {
	keys, circuit, err := cachedKeys(ctx, n.Node(coordinator).Folder.Path(ownKeys), func(string) {})
	if err != nil {
		return nil, circuit, err
	}
	if keys == nil || circuit.Transcript != c.Transcript {
		return nil, circuit, fmt.Errorf("making the circuit's keys: %s did not store those of its ceremony", coordinator)
	}
	return keys, circuit, nil
}

// nameCircuit takes the network to its second version, as `grille network change --ceremony`, `propose` and `vote` do. Members vote once a
// quorum of logs has the circuit's keys.
func (n *Network) nameCircuit(ctx context.Context, circuit network.Circuit, stage func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	next, err := network.Succeed(n.Config, network.Change{Circuits: &[]network.Circuit{circuit}})
	if err != nil {
		return err
	}
	propose := func() error {
		return n.Node(n.Config.Proposer).Client().Send(ctx, "/v1/network/proposal", "application/json", bytes.NewReader(next.Bytes()), new(api.Succession))
	}
	if err := persist(ctx, propose); err != nil {
		return err
	}
	stage(fmt.Sprintf("the keys are on the logs of a quorum; %s proposes network version %d", n.Config.Proposer, next.Version))
	for _, node := range n.Nodes {
		vote := func() error {
			version, err := node.version(ctx)
			if err == nil && version < next.Version {
				err = node.Client().Post(ctx, "/v1/network/vote", map[string]string{"digest": next.Digest()}, new(api.Succession))
			}
			return err
		}
		if err := persist(ctx, vote); err != nil {
			return fmt.Errorf("voting at %s: %w", node.Name, err)
		}
	}
	for _, node := range n.Nodes {
		for version := 0; version < next.Version || !ready(ctx, node.Client()); {
			if err := sleep(ctx, watchEvery); err != nil {
				return fmt.Errorf("waiting for %s: %w; its log is %s", node.Name, err, node.LogFile())
			}
			version, _ = node.version(ctx) // it is opening again
		}
	}
	n.Config = next
	stage(fmt.Sprintf("network version %d names the circuit; the gateways opened again with it", next.Version))
	return nil
}

// version is that of the configuration in force at a node.
func (n *Node) version(ctx context.Context) (int, error) {
	var s api.Succession
	err := n.Client().Get(ctx, "/v1/network/succession", &s)
	return s.Version, err
}

// keep puts the keys into the cache, where the next run finds them, and beside them what anybody needs to verify them again: the
// transcript with all contributions, and the chain of the network.
func (n *Network) keep(ctx context.Context, cache string, c *api.Ceremony, keys *prover.Keys) error {
	node := n.Node(coordinator)
	m := keys.Metadata()
	v, err := prover.ReadVerification(node.Folder.Path(ownKeys), m.CircuitID)
	if err != nil {
		return err
	}
	to := filepath.Join(cache, transcriptFolder)
	if err := os.RemoveAll(to); err != nil {
		return fmt.Errorf("keeping the transcript: %w", err)
	}
	if err := os.CopyFS(to, os.DirFS(c.Here.Folder)); err != nil {
		return fmt.Errorf("keeping the transcript: %w", err)
	}
	var chain []byte
	if err := node.Client().Get(ctx, "/v1/network/chain", &chain); err != nil {
		return fmt.Errorf("keeping the network: %w", err)
	}
	if err := config.Replace(filepath.Join(to, "network.json"), chain, 0o644); err != nil {
		return fmt.Errorf("keeping the network: %w", err)
	}
	if err := keys.Store(ctx, cache); err != nil {
		return fmt.Errorf("keeping the keys: %w", err)
	}
	return prover.WriteVerification(cache, v) // the last: without it the next run makes keys again
}

// persist repeats what a gateway refuses for now, such as what it has not heard of yet, until it succeeds or ctx ends.
func persist(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		if sleep(ctx, watchEvery) != nil {
			return errors.Join(ctx.Err(), err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
