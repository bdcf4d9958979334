package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/keyring"
	"github.com/grille-gateway/grille/prover"
	"github.com/grille-gateway/grille/prover/ceremony"
)

// circuitFlags are what the commands that make configurations are told of circuits.
type circuitFlags struct {
	keys     string   // folder of a circuit's keys
	ceremony string   // of a finished ceremony: its folder, or its name in the gateway's
	since    string   // of the circuit that is added
	until    []string // CIRCUIT=TIME
}

func (f *circuitFlags) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.keys, "keys", "", "folder of a further circuit's keys")
	c.Flags().StringVar(&f.ceremony, "ceremony", "", "finished ceremony that made a further circuit's keys: its folder, or its name in the gateway's")
	c.Flags().StringVar(&f.since, "since", "", "from when answers may be under the circuit that is added, like 2031-01-02T15:04:05Z (default: at once)")
	c.Flags().StringArrayVar(&f.until, "until", nil, "CIRCUIT=TIME, from when no answer may be under a circuit that there is; repeat it")
}

// changeCircuits returns the circuits of the next version, or nil if they stay as they are.
func (a *app) changeCircuits(cmd *cobra.Command, prev []network.Circuit, f circuitFlags) (*[]network.Circuit, error) {
	added, err := a.addedCircuit(cmd, f)
	if err != nil {
		return nil, err
	}
	if added == nil && len(f.until) == 0 {
		return nil, nil
	}
	next := slices.Clone(prev)
	for _, arg := range f.until {
		if err := endCircuit(next, arg); err != nil {
			return nil, err
		}
	}
	if added != nil { // in place of one with the same id, if that may go
		next = slices.DeleteFunc(next, func(k network.Circuit) bool { return k.ID == added.ID })
		next = append(next, *added)
	}
	return &next, nil
}

// addedCircuit returns the circuit that --keys or --ceremony names, if one does.
func (a *app) addedCircuit(cmd *cobra.Command, f circuitFlags) (*network.Circuit, error) {
	if f.keys != "" && f.ceremony != "" {
		return nil, usagef("--keys and --ceremony both name a circuit to add: give one of them")
	}
	read, path := a.readCircuit, f.keys
	switch {
	case f.ceremony != "":
		read, path = a.readCeremony, f.ceremony
	case f.keys == "" && f.since != "":
		return nil, usagef("--since is of the circuit that --ceremony or --keys adds: give one of them")
	case f.keys == "":
		return nil, nil
	}
	k, err := read(cmd, path)
	k.Since = f.since
	return &k, err
}

// endCircuit sets until on the circuit that arg names by its id or the beginning of it.
func endCircuit(list []network.Circuit, arg string) error {
	id, until, ok := strings.Cut(arg, "=")
	if !ok || len(id) < 8 {
		return usagef("--until is %q: write CIRCUIT=TIME, with at least 8 digits of the circuit's id", arg)
	}
	at := -1
	for i, k := range list {
		if strings.HasPrefix(k.ID, id) {
			if at >= 0 {
				return usagef("--until %s fits more than one circuit: write more digits of its id", arg)
			}
			at = i
		}
	}
	if at < 0 {
		return usagef("--until %s: the network has no such circuit; see grille network show", arg)
	}
	list[at].Until = until
	return nil
}

// readCircuit reads what pins a circuit's keys in a key folder. Of keys from a ceremony, the note of its verification says it.
func (a *app) readCircuit(cmd *cobra.Command, dir string) (network.Circuit, error) {
	loaded, err := prover.Load(cmd.Context(), dir, a.stage)
	if err != nil {
		return network.Circuit{}, fmt.Errorf("loading the circuit's keys: %w", err)
	}
	m := loaded.Metadata()
	if m.Kind == prover.KindDevelopment {
		return network.Circuit{ID: m.CircuitID, VerifyingKey: m.VerifyingKeySHA256, Kind: m.Kind}, nil
	}
	v, err := prover.ReadVerification(dir, m.CircuitID)
	if err == nil && (v.Transcript != m.Transcript || v.VerifyingKey != m.VerifyingKeySHA256) {
		err = fmt.Errorf("%w: %s has keys of another ceremony than was verified", prover.ErrNotVerified, dir)
	}
	if err != nil {
		return network.Circuit{}, hint(err, "grille network change --ceremony FOLDER")
	}
	return keyring.CircuitOf(v), nil
}

// readCeremony reads what pins the keys of a finished ceremony from its transcript, whose signatures are checked. What the ceremony is
// worth, each gateway verifies before it votes.
func (a *app) readCeremony(_ *cobra.Command, name string) (network.Circuit, error) {
	dir := name
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(name, `/\`) {
		dir = config.Folder(a.dir).Path("ceremony/" + name)
	}
	t, err := ceremony.OpenFolder(dir).Transcript()
	if err != nil {
		return network.Circuit{}, hint(fmt.Errorf("reading the ceremony's transcript in %s: %w", dir, err), "grille ceremony status")
	}
	if !t.Complete() {
		return network.Circuit{}, hint(fmt.Errorf("the ceremony in %s is not finished", dir), "grille ceremony status")
	}
	o, steps := t.Opening(), t.Steps()
	return network.Circuit{ID: o.Circuit, VerifyingKey: steps[len(steps)-1].VerifyingKey, Kind: o.Kind, Transcript: t.Digest(),
		Contributors: o.Contributors}, nil
}
