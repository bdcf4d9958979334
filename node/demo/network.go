// Package demo runs a network of four departments on one machine, each a process of its own with its own folder, keys and store,
// and tells a person what happens when one asks another about a real person. Nothing in it is special: it does with the
// gateway's own commands and interfaces what operators do by hand.
package demo

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/config"
)

// Instance is the name of the demo's network.
const Instance = "demo.grille"

// A Department is one member of the demo and the files that it starts from, embedded under datasets and policies.
type Department struct {
	Name    string
	Title   string
	Dataset string // dataset and schema file
	Policy  string // policy file
}

// Departments are the demo's members.
var Departments = []Department{
	{"GOV/civil", "Civil registry", "residents", "aged-75"},
	{"GOV/tax", "Tax office", "income", "income-below-poverty"},
	{"GOV/health", "Health service", "health", "care-need"},
	{"GOV/benefits", "Benefits agency", "medicaid", "receives-medicaid"},
}

// Options says how to run a network.
type Options struct {
	Dir          string          // folder for everything; each member gets a folder in it
	Program      string          // grille executable
	KeysDir      string          // of the circuit's keys, shared by the members
	OwnKeys      bool            // in place of KeysDir each member has a folder of its own for keys, which are still to be made
	Circuit      network.Circuit // zero: the network has none yet
	VerifyingKey []byte          // of Circuit, as prover writes it
	Beat         int             // seconds
	Schemes      []network.Scheme
	Members      []Department
	Progress     func(stage string)
	// Place, if set, says where a member's gateway runs; nil: all on this machine's loopback, at free ports.
	Place func(d Department) (Place, error)
}

// A Place is where a member's gateway runs and is to be found.
type Place struct {
	Peer     string   // UDP host:port where it listens for the other members
	Endpoint string   // where they find it, as its card says
	API      string   // TCP host:port where its REST interface listens
	Command  []string // what its process is started by, like `ip netns exec NAME`; empty: directly
	// Dial reaches API; nil: as any address is.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Prepare makes the folder of one more member, as Build does, which the network does not know yet.
func (n *Network) Prepare(d Department) (*Node, error) {
	node, _, err := prepare(n.opts, d)
	if err != nil {
		return nil, fmt.Errorf("preparing %s: %w", d.Name, err)
	}
	n.Nodes = append(n.Nodes, node)
	return node, nil
}

// onLoopback is a Place with two free ports.
func onLoopback(Department) (Place, error) {
	peer, err := FreePort()
	if err != nil {
		return Place{}, err
	}
	rest, err := FreePort()
	return Place{Peer: peer, Endpoint: peer, API: rest}, err
}

// A Node is one member's gateway.
type Node struct {
	Department
	Folder config.Folder
	Place  Place
	API    string // http://127.0.0.1:port
	Peer   string // 127.0.0.1:port
	Token  string
	cmd    *exec.Cmd
	exited chan struct{}
}

// A Network is a set of running gateways.
type Network struct {
	Config *network.Configuration
	Nodes  []*Node
	opts   Options
}

// Build makes the members' folders, keys, cards and settings and the configuration that they all adopt. Nothing runs yet.
func Build(opts Options) (*Network, error) {
	if opts.Place == nil {
		opts.Place = onLoopback
	}
	n := &Network{opts: opts}
	var cards []network.Card
	for _, d := range opts.Members {
		node, card, err := prepare(opts, d)
		if err != nil {
			return nil, fmt.Errorf("preparing %s: %w", d.Name, err)
		}
		n.Nodes = append(n.Nodes, node)
		cards = append(cards, card)
	}
	var circuits []network.Circuit
	if opts.Circuit.ID != "" {
		circuits = []network.Circuit{opts.Circuit}
	}
	var err error
	n.Config, err = network.Build(Instance, network.Params{Mode: network.ModeDemo, Schemes: opts.Schemes, BeatSeconds: opts.Beat,
		HeartbeatSeconds: 2, FreshnessSeconds: 30, Circuits: circuits,
		Expires: time.Now().AddDate(1, 0, 0).UTC().Format("2006-01-02T15:04:05Z")}, cards)
	if err != nil {
		return nil, err
	}
	for _, node := range n.Nodes {
		if err := node.adopt(n.Config); err != nil {
			return nil, fmt.Errorf("adopting the configuration at %s: %w", node.Name, err)
		}
	}
	return n, nil
}

// ownKeys is the folder of keys in a member's own.
const ownKeys = "circuit"

// prepare makes one member's folder with settings, keys and card.
func prepare(opts Options, d Department) (*Node, network.Card, error) {
	folder := config.Folder(filepath.Join(opts.Dir, strings.ToLower(strings.ReplaceAll(d.Name, "/", "-"))))
	if err := folder.Create(); err != nil {
		return nil, network.Card{}, err
	}
	keys, _, err := config.EnsureKeys(folder)
	if err != nil {
		return nil, network.Card{}, err
	}
	place, err := opts.Place(d)
	if err != nil {
		return nil, network.Card{}, err
	}
	settings := config.Default()
	settings.Member, settings.Instance = d.Name, Instance
	settings.Peer.Listen, settings.API.Listen = place.Peer, place.API
	settings.API.Metrics = "loopback"
	settings.Prover.Keys = opts.KeysDir
	if opts.OwnKeys {
		settings.Prover.Keys = folder.Path(ownKeys)
	}
	settings.Limits.QueriesPerSecond = 1000
	if err := config.WriteNew(folder.Config(), settings.Render(), 0o600); err != nil {
		return nil, network.Card{}, err
	}
	card, err := network.NewCard(Instance, keys.Member(Instance, d.Name, d.Title, place.Endpoint, true), keys.Log)
	if err != nil {
		return nil, network.Card{}, err
	}
	if err := config.WriteNew(folder.Card(), card.Bytes(), 0o644); err != nil {
		return nil, network.Card{}, err
	}
	return &Node{Department: d, Folder: folder, Place: place, API: "http://" + place.API, Peer: place.Peer}, card, nil
}

// FreePort finds a loopback address whose port is free for both TCP and UDP just now. It looks below the ports that the system hands
// out by itself (32768 and up on Linux), so that no connection of another program takes it before the gateway does.
func FreePort() (string, error) {
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", address)
		if err := errors.Join(err, l.Close()); err != nil {
			continue
		}
		return address, c.Close()
	}
	return "", errors.New("finding a free port: none on loopback from 20000 to 31999")
}

// adopt pins the configuration, as `grille network adopt` does.
func (n *Node) adopt(c *network.Configuration) error {
	if err := config.WriteNew(n.Folder.Path("network.json"), c.Bytes(), 0o600); err != nil {
		return err
	}
	settings, err := os.ReadFile(n.Folder.Config())
	if err != nil {
		return err
	}
	if settings, err = config.SetDigest(settings, c.Digest()); err != nil {
		return err
	}
	return config.Replace(n.Folder.Config(), settings, 0o600)
}

// Start starts every gateway and waits until all are ready.
func (n *Network) Start(ctx context.Context) error {
	for _, node := range n.Nodes {
		if err := n.StartNode(node); err != nil {
			return err
		}
	}
	for _, node := range n.Nodes {
		if err := node.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// StartNode starts one gateway as a process of its own, with its log in its folder.
func (n *Network) StartNode(node *Node) error {
	log, err := os.OpenFile(node.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s: %w", node.Name, err)
	}
	defer log.Close()
	args := append(slices.Clone(node.Place.Command), n.opts.Program, "serve", string(node.Folder))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = processAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", node.Name, err)
	}
	exited := make(chan struct{})
	node.cmd, node.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // its log says why
		close(exited)
	}()
	return nil
}

// LogFile is where the gateway's log goes.
func (n *Node) LogFile() string { return n.Folder.Path("gateway.log") }

// WaitReady waits until the gateway says that it can answer.
func (n *Node) WaitReady(ctx context.Context) error {
	for {
		if token, err := os.ReadFile(n.Folder.Token()); err == nil {
			n.Token = strings.TrimSpace(string(token))
			if ready(ctx, n.Client()) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; its log is %s", n.Name, ctx.Err(), n.LogFile())
		case <-n.exited:
			return fmt.Errorf("the gateway of %s stopped by itself; its log is %s:\n%s", n.Name, n.LogFile(), n.LogEnd())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// LogEnd is the last kilobyte of the gateway's log.
func (n *Node) LogEnd() string { return tail(n.LogFile()) }

// tail is the last kilobyte of a file.
func tail(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data[max(0, len(data)-1024):])
}

// Exited is closed when the gateway's process has ended.
func (n *Node) Exited() <-chan struct{} { return n.exited }

// Kill ends a gateway as a power cut would, and waits until it is gone.
func (n *Node) Kill() error {
	if n.cmd == nil {
		return nil
	}
	err := n.cmd.Process.Kill()
	<-n.exited
	return err
}

// Stop asks every gateway to finish, and kills those that take longer than ctx.
func (n *Network) Stop(ctx context.Context) error {
	for _, node := range n.Nodes {
		if node.cmd != nil {
			_ = node.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		}
	}
	var errs []error
	for _, node := range n.Nodes {
		if node.cmd == nil {
			continue
		}
		select {
		case <-node.exited:
		case <-ctx.Done():
			errs = append(errs, fmt.Errorf("%s did not stop in time and was killed", node.Name))
			_ = node.Kill()
		}
	}
	return errors.Join(errs...)
}

// Node returns the member of that name.
func (n *Network) Node(name string) *Node {
	for _, node := range n.Nodes {
		if node.Name == name {
			return node
		}
	}
	return nil
}

// VerifyingKey is the circuit's, as prover writes it.
func (n *Network) VerifyingKey() []byte { return n.opts.VerifyingKey }
