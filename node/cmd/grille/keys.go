package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/prover"
)

func (a *app) keysCommand() *cobra.Command {
	prepare := &cobra.Command{
		Use: "prepare KEYSDIR", Short: "Load or make the circuit's keys and show what pins them", Args: cobra.ExactArgs(1),
		Long: `Loads the circuit's keys from a folder, or makes development keys there. Development keys are for trying things out: whoever makes
them could keep what forges proofs. All gateways of a network need the same keys, so make them once and copy the folder.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := prover.Develop(cmd.Context(), args[0], a.stage)
			if err != nil {
				return fmt.Errorf("loading the circuit's keys: %w", err)
			}
			m := keys.Metadata()
			return a.print(m, func(w io.Writer) {
				fmt.Fprintf(w, "The circuit's keys are in %s (%s).\n", args[0], m.Kind)
				facts(w, "circuit", m.CircuitID, "verifying key", m.VerifyingKeySHA256, "proving key", m.ProvingKeySHA256,
					"constraints", fmt.Sprint(m.Constraints), "public inputs", fmt.Sprint(m.PublicInputs))
				fmt.Fprintf(w, "Next: grille network build --keys %s ..., and prover.keys in each grille.yaml\n", args[0])
			})
		},
	}
	var out string
	export := &cobra.Command{
		Use: "export KEYSDIR -f verifying.key", Short: "Write the verifying key, which grille verify needs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := prover.Load(cmd.Context(), args[0], a.stage)
			if err != nil {
				return fmt.Errorf("loading the circuit's keys: %w", err)
			}
			return a.writeFile(out, keys.VerifyingKey(), 0o644)
		},
	}
	export.Flags().StringVarP(&out, "file", "f", "verifying.key", "where to write it; - for standard output")
	return group("keys", "Prepare the circuit's keys, replace a gateway's own", prepare, export, a.keysRotate(), a.keysCard(), a.keysApprover())
}

// newCard is what keys rotate and keys card print.
type newCard struct {
	Card        string        `json:"card"`
	Fingerprint string        `json:"fingerprint"`
	Member      string        `json:"member"`
	Log         string        `json:"log"`
	Rotated     []config.Role `json:"rotated,omitempty"`
}

func (a *app) printCard(dir config.Folder, card network.Card, rotated []config.Role, what string) error {
	c := newCard{Card: dir.Card(), Fingerprint: card.Fingerprint(), Member: card.Member.Name, Log: card.Member.Origin(), Rotated: rotated}
	return a.print(c, func(w io.Writer) {
		fmt.Fprintln(w, what)
		facts(w, "card", c.Card, "fingerprint", c.Fingerprint, "log", c.Log)
		fmt.Fprint(w, "Next: give the card to the proposer of the network's next version, who runs\n  grille network change --replace card.json")
		if slices.Contains(rotated, config.RoleLog) {
			fmt.Fprint(w, " --fence ORIGIN")
		}
		fmt.Fprintln(w)
	})
}

func (a *app) keysRotate() *cobra.Command {
	var names []string
	c := &cobra.Command{
		Use: "rotate DIR --role log|mirror|transport|query", Short: "Make a new signing key and a card that names it", Args: cobra.ExactArgs(1),
		Long: `Makes a new signing key beside the present one, as keys/ROLE.next.key, and a card that names it. Nothing else changes: the gateway
uses the present key until a version of the network's configuration names the new one, and the new one from then on. At the next
rotation of the role the new key takes the place of keys/ROLE.key, and the old one is kept as keys/ROLE.key.1, .2 and so on.

A new log key begins a new log: the present one ends at the fence that the next version holds. If a key may be in other hands, or
the gateway's folder was restored from a copy, rotate and have the network changed at once.`,
		RunE: func(_ *cobra.Command, args []string) error {
			dir := config.Folder(args[0])
			roles, err := parseRoles(names)
			if err != nil {
				return err
			}
			settings, err := config.Load(dir)
			if err != nil {
				return err
			}
			var inForce *network.Configuration
			chain, err := config.LoadChain(dir, settings)
			switch {
			case err == nil:
				inForce = chain.Newest()
			case !errors.Is(err, config.ErrNotAdopted):
				return err
			}
			card, err := config.Rotate(dir, inForce, roles...)
			if err != nil {
				return err
			}
			return a.printCard(dir, card, roles, "The new key waits in "+dir.Keys()+" until the network names it.")
		},
	}
	c.Flags().StringSliceVar(&names, "role", nil, "log, mirror, transport or query; repeat it (required)")
	if err := c.MarkFlagRequired("role"); err != nil {
		panic("grille: " + err.Error())
	}
	return c
}

func parseRoles(names []string) ([]config.Role, error) {
	var roles []config.Role
	for _, name := range names {
		if !slices.Contains(config.Roles(), config.Role(name)) || slices.Contains(roles, config.Role(name)) {
			return nil, usagef("--role is %q: write log, mirror, transport or query, each once", name)
		}
		roles = append(roles, config.Role(name))
	}
	return roles, nil
}

func (a *app) keysCard() *cobra.Command {
	var title, endpoint, after string
	var by approving
	c := &cobra.Command{
		Use:  "card DIR [--title TITLE] [--endpoint HOST:PORT] [--approvals N --approver KEY ...] [--after network.json]",
		Args: cobra.ExactArgs(1), Short: "Make a card with another title, endpoint or approvers, or after keys were lost",
		Long: `Makes the member's card anew, with the newest keys. The others go by it once a version of the network's configuration says the
same.

With --approvals 2 and an --approver for each of two or more people (grille keys approver), this member's policies, acceptances and
groups need the signatures of two of them, from the present end of its log on, or from --from. All members then take an entry without
them for void. Publish nothing of these kinds until the network's next version is in force, or with approvals already.

If a member's keys are lost, or its folder would have to be restored from a copy, do not restore: make a folder anew with grille
init and name the keys in it with --after, as the next generations of those that the network names.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			by.given = cmd.Flags().Changed("approvals")
			if title == "" && endpoint == "" && after == "" && !by.given {
				return usagef("nothing changes: give --title, --endpoint, --approvals or --after")
			}
			if err := by.settle(cmd, config.Folder(args[0])); err != nil {
				return err
			}
			var inForce *network.Configuration
			if after != "" {
				var err error
				if inForce, err = readNetwork(after); err != nil {
					return err
				}
			}
			dir := config.Folder(args[0])
			card, err := config.RenewCard(dir, func(m *network.Member) error {
				m.Title, m.Endpoint = cmp.Or(title, m.Title), cmp.Or(endpoint, m.Endpoint)
				if inForce != nil {
					if err := config.Follow(m, inForce); err != nil {
						return err
					}
				}
				if by.given {
					config.Approve(m, uint64(by.from), by.number, by.keys)
				}
				return nil
			})
			if err != nil {
				return err
			}
			return a.printCard(dir, card, nil, "The card says something else now.")
		},
	}
	c.Flags().IntVar(&by.number, "approvals", 0, "how many approvers must sign; 0: none any more")
	c.Flags().StringArrayVar(&by.keys, "approver", nil, "an approver's public key, as grille keys approver prints it; repeat it")
	c.Flags().Int64Var(&by.from, "from", -1, "index of the first entry that needs approvals (default: where this member's log ends now)")
	c.Flags().StringVar(&after, "after", "", "a network configuration that names keys that are lost")
	c.Flags().StringVar(&title, "title", "", "name of this member for people")
	c.Flags().StringVar(&endpoint, "endpoint", "", "address under which the others reach it")
	return c
}
