package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
)

// successionCommands take a running gateway from the configuration in force to the next.
func (a *app) successionCommands() []*cobra.Command {
	return []*cobra.Command{a.networkPropose(), a.networkVote(), a.networkSuccession(), a.networkChain()}
}

func (a *app) networkPropose() *cobra.Command {
	return &cobra.Command{
		Use: "propose next.json", Short: "Propose the next configuration, as its proposer", Args: cobra.ExactArgs(1),
		Long: `Signs the document that grille network change wrote as this gateway's proposal for the next version, and tells the other members.
Only the member that the configuration in force names as proposer can do this, and only once for each version: a second proposal
would leave the network without a successor. It comes into force when a quorum of the mirrors' operators has voted for it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			document, err := readLimited(args[0], network.MaxSize)
			if err != nil {
				return fmt.Errorf("reading the configuration: %w", err)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			var s api.Succession
			if err := client.send(cmd.Context(), "/v1/network/proposal", "application/json", bytes.NewReader(document), &s); err != nil {
				return fmt.Errorf("proposing %s: %w", args[0], err)
			}
			return a.printSuccession(s)
		},
	}
}

func (a *app) networkVote() *cobra.Command {
	var claimed string
	c := &cobra.Command{
		Use: "vote --fingerprint X", Short: "Vote for the proposed configuration", Args: cobra.NoArgs,
		Long: `Casts this mirror's vote for the proposed configuration, if its fingerprint is the one you give. Compare that with the other
operators by another way, and read what changes with grille network succession. A vote cannot be taken back: a mirror has one for
each version. When a quorum has voted, every gateway changes to the new version by itself.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			digits := strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(claimed))
			if _, err := hex.DecodeString(digits); err != nil || len(digits) != 32 && len(digits) != 64 {
				return usagef("--fingerprint is %q: want 32 hexadecimal digits, like %s", claimed, fingerprint(strings.Repeat("0", 64)))
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			s, err := succession(cmd.Context(), client)
			if err != nil {
				return err
			}
			switch {
			case strings.HasPrefix(s.Digest, digits):
				return a.print(s, func(w io.Writer) {
					fmt.Fprintf(w, "Version %d with this fingerprint is in force already: %d votes were enough.\n", s.Version, s.Quorum)
				})
			case s.Proposal == nil:
				return hint(fmt.Errorf("voting: nothing is proposed to follow version %d", s.Version), "grille network succession")
			case !strings.HasPrefix(s.Proposal.Digest, digits):
				return errFalse{fmt.Errorf("the proposal's fingerprint is %s, not the one given; no vote was cast", fingerprint(s.Proposal.Digest))}
			}
			body := map[string]string{"digest": s.Proposal.Digest}
			if err := client.post(cmd.Context(), "/v1/network/vote", body, &s); err != nil {
				return fmt.Errorf("voting: %w", err)
			}
			return a.printSuccession(s)
		},
	}
	c.Flags().StringVar(&claimed, "fingerprint", "", "of the proposal, as the other operators have it (required)")
	if err := c.MarkFlagRequired("fingerprint"); err != nil {
		panic("grille: " + err.Error())
	}
	return c
}

func (a *app) networkSuccession() *cobra.Command {
	return &cobra.Command{
		Use: "succession", Short: "Show what is proposed to follow, and who has voted", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			s, err := succession(cmd.Context(), client)
			if err != nil {
				return err
			}
			return a.printSuccession(s)
		},
	}
}

func succession(ctx context.Context, client *gatewayClient) (api.Succession, error) {
	var s api.Succession
	if err := client.get(ctx, "/v1/network/succession", &s); err != nil {
		return s, fmt.Errorf("reading the succession: %w", err)
	}
	return s, nil
}

func (a *app) printSuccession(s api.Succession) error {
	return a.print(s, func(w io.Writer) {
		fmt.Fprintf(w, "Version %d is in force; %s may propose the next.\n", s.Version, s.Proposer)
		facts(w, "fingerprint", fingerprint(s.Digest))
		if s.Contested {
			fmt.Fprintln(w, "The proposer signed two proposals. If neither gets a quorum, agree on a configuration and pin it with grille network adopt.")
		}
		if s.Proposal == nil {
			fmt.Fprintln(w, "Nothing is proposed.")
			return
		}
		printProposal(w, s)
	})
}

func printProposal(w io.Writer, s api.Succession) {
	p := s.Proposal
	fmt.Fprintf(w, "\nProposed: version %d\n", p.Version)
	facts(w, "fingerprint", fingerprint(p.Digest), "digest", p.Digest)
	var rows [][]string
	for _, d := range p.Changes {
		rows = append(rows, []string{d.What, d.Before, d.After})
	}
	table(w, []string{"\nCHANGE", "BEFORE", "AFTER"}, rows)
	rows = nil
	votes := 0
	for _, m := range s.Mirrors {
		if m.Voted {
			votes++
		}
		rows = append(rows, []string{m.Member, yesNo(m.Voted), yesNo(m.HandedOver)})
	}
	table(w, []string{"\nMIRROR", "VOTED", "HANDED OVER"}, rows)
	if !p.Decided {
		fmt.Fprintf(w, "\n%s of %d votes. Next, at each mirror: grille network vote --fingerprint %s\n", strconv.Itoa(votes), s.Quorum, fingerprint(p.Digest))
		return
	}
	fmt.Fprintf(w, "\nDecided. It is in force once %d mirrors have handed over, and gateways change to it by themselves.\n", s.Quorum)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (a *app) networkChain() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "chain", Short: "Get the chain of configurations, for verifying offline", Args: cobra.NoArgs,
		Long: `Writes the configuration that this gateway pinned and the links from it to the one in force, each with its votes. Whoever trusts the
first can check all others: pass the file to grille verify or grille ledger audit as --network.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var chain []byte
			if err := client.get(cmd.Context(), "/v1/network/chain", &chain); err != nil {
				return fmt.Errorf("getting the chain: %w", err)
			}
			return a.writeFile(out, chain, 0o644)
		},
	}
	c.Flags().StringVarP(&out, "file", "f", "-", "where to write it; - for standard output")
	return c
}
