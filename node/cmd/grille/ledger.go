package main

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
)

func (a *app) ledgerCommand() *cobra.Command {
	return group("ledger", "Look at what all members have committed to", a.ledgerHeads(), a.ledgerEntries(), a.ledgerShow(), a.ledgerProof(),
		a.ledgerAudit(), a.ledgerFsck(), a.ledgerEvidence(), a.ledgerWitnessKey())
}

func (a *app) ledgerHeads() *cobra.Command {
	return &cobra.Command{
		Use: "heads", Short: "Show the newest final checkpoint of each log", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var list items[api.Head]
			if err := client.get(cmd.Context(), "/v1/ledger/heads", &list); err != nil {
				return fmt.Errorf("reading heads: %w", err)
			}
			return a.print(list.Items, func(w io.Writer) {
				var rows [][]string
				for _, h := range list.Items {
					rows = append(rows, []string{h.Member, strconv.FormatUint(h.Size, 10), h.Time, h.Root})
				}
				table(w, []string{"MEMBER", "ENTRIES", "COSIGNED", "ROOT"}, rows)
				for _, h := range list.Items {
					for _, name := range h.Witnesses {
						fmt.Fprintf(w, "%s is cosigned by %s, too, outside the quorum.\n", h.Member, name)
					}
				}
			})
		},
	}
}

func (a *app) ledgerEntries() *cobra.Command {
	q := map[string]*string{}
	var limit int
	c := &cobra.Command{
		Use: "entries", Short: "Search the final entries of all logs, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			values := url.Values{"limit": {strconv.Itoa(limit)}}
			for name, value := range q {
				if *value != "" {
					values.Set(name, *value)
				}
			}
			var page api.EntryPage
			if err := client.get(cmd.Context(), "/v1/ledger/entries?"+values.Encode(), &page); err != nil {
				return fmt.Errorf("searching entries: %w", err)
			}
			return a.print(page, func(w io.Writer) {
				var rows [][]string
				for _, e := range page.Entries {
					rows = append(rows, []string{e.Time, e.Member, strconv.FormatUint(e.Index, 10), e.Kind, e.Dataset, e.Policy})
				}
				table(w, []string{"TIME", "MEMBER", "INDEX", "KIND", "DATASET", "POLICY"}, rows)
				if page.Next != "" {
					fmt.Fprintf(w, "Next page: --after %s\n", page.Next)
				}
			})
		},
	}
	for name, help := range map[string]string{"kind": "kind of entry, like dataset.epoch", "member": "owner of the log", "dataset": "dataset's name",
		"policy": "policy's name", "from": "not before, like 2026-01-02T15:04:05Z", "to": "before", "after": "cursor of the page before"} {
		q[name] = c.Flags().String(name, "", help)
	}
	c.Flags().IntVar(&limit, "limit", 50, "entries on a page, 1 to 1000")
	return c
}

// entryQuery names an entry by origin or member and index.
func (a *app) entryQuery(args []string) (string, error) {
	ref, err := a.offerArgs(args)
	if err != nil {
		return "", err
	}
	return url.Values{"origin": {ref.Origin}, "index": {strconv.FormatUint(ref.Index, 10)}}.Encode(), nil
}

func (a *app) ledgerShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ORIGIN|MEMBER INDEX", Short: "Show one entry", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			query, err := a.entryQuery(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			var e api.Entry
			if err := client.get(cmd.Context(), "/v1/ledger/entry?"+query, &e); err != nil {
				return fmt.Errorf("reading the entry: %w", err)
			}
			return a.print(e, func(w io.Writer) {
				fmt.Fprintf(w, "Entry %d of %s: %s\n", e.Index, e.Origin, e.Kind)
				facts(w, "hash", e.Hash)
				fmt.Fprintf(w, "%s\n", e.Content)
			})
		},
	}
}

func (a *app) ledgerProof() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use: "proof ORIGIN|MEMBER INDEX", Short: "Get a proof (C2SP tlog-proof) that an entry is final", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			query, err := a.entryQuery(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			var proof []byte
			if err := client.get(cmd.Context(), "/v1/ledger/proof?"+query, &proof); err != nil {
				return fmt.Errorf("getting the proof: %w", err)
			}
			return a.writeFile(out, proof, 0o644)
		},
	}
	c.Flags().StringVarP(&out, "file", "f", "-", "where to write it; - for standard output")
	return c
}

func (a *app) ledgerWitnessKey() *cobra.Command {
	return &cobra.Command{
		Use: "witness-key [DIR]", Short: "Show the key with which this gateway witnesses logs for strangers", Args: cobra.MaximumNArgs(1),
		Long: `Prints the verifier key (C2SP signed-note, type 04) of this gateway's cosignatures at POST /add-checkpoint of its public side.
It promises that the gateway saw a log grow consistently, and nothing about its entries: no member counts it to a quorum.`,
		RunE: func(_ *cobra.Command, args []string) error {
			dir := a.folder(args, 0)
			key, err := witnessKey(dir)
			if err != nil {
				return err
			}
			return a.print(struct {
				Key string `json:"key"`
			}{key}, func(w io.Writer) { fmt.Fprintln(w, key) })
		},
	}
}

// witnessKey is the verifier key of a gateway's witness key.
func witnessKey(dir config.Folder) (string, error) {
	settings, err := config.Load(dir)
	if err != nil {
		return "", err
	}
	key, err := config.LoadWitness(dir)
	if err != nil {
		return "", hint(err, "grille init %s, which makes what is missing", dir)
	}
	return ledger.WitnessVKey(settings.Instance, settings.Member, key.Public().(ed25519.PublicKey)), nil
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the gateway is and who is connected", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var s api.Status
			var n api.Network
			if err := client.get(cmd.Context(), "/v1/status", &s); err != nil {
				return fmt.Errorf("reading the status: %w", err)
			}
			if err := client.get(cmd.Context(), "/v1/network", &n); err != nil {
				return fmt.Errorf("reading the network: %w", err)
			}
			both := struct {
				Status  api.Status          `json:"status"`
				Members []api.NetworkMember `json:"members"`
			}{s, n.Members}
			return a.print(both, func(w io.Writer) { printStatus(w, s, n) })
		},
	}
}

func printStatus(w io.Writer, s api.Status, n api.Network) {
	state := "ready"
	if !s.Ready {
		state = "not ready"
	}
	fmt.Fprintf(w, "%s in %s (%s): %s\n", s.Member, s.Instance, s.Mode, state)
	for _, why := range s.NotReady {
		fmt.Fprintf(w, "  %s\n", why)
	}
	if s.Circuit == "" {
		fmt.Fprintln(w, "  answers nothing: it has keys of no circuit that is in force; see grille doctor")
	}
	for _, c := range s.Circuits {
		if c.Problem != "" {
			fmt.Fprintln(w, "  "+c.Problem)
		}
	}
	clock := "not judged yet: too few mirrors were heard from"
	if s.ClockKnown {
		clock = fmt.Sprintf("%.1f s from the mirrors' median", s.ClockOffset)
	}
	for _, origin := range s.Halted {
		fmt.Fprintf(w, "  halted: %s, two histories of it were signed; see grille ledger evidence\n", origin)
	}
	if s.BrokenPromises+s.BrokenToUs > 0 {
		fmt.Fprintf(w, "  receipt promises not kept in time: %d of this gateway, %d to it; see grille receipts list --broken\n", s.BrokenPromises, s.BrokenToUs)
	}
	facts(w, "clock", clock, "version", s.Version, "running since", s.Started, "log", fmt.Sprintf("%d final entries, cosigned %d s ago", s.LogSize, s.HeadAgeSeconds),
		"prover", fmt.Sprintf("%d running, %d queued", s.ProverRunning, s.ProverQueued), "circuit", s.Circuit, "verifying key", s.VerifyingKey, "keys", s.KeyKind)
	var rows [][]string
	for _, m := range n.Members {
		up := "down: " + m.Reason
		switch {
		case m.Self:
			up = "this gateway"
		case m.Up:
			up = "connected since " + m.Since
		}
		rows = append(rows, []string{m.Name, m.Endpoint, up})
	}
	table(w, []string{"\nMEMBER", "ENDPOINT", "CONNECTION"}, rows)
	if len(s.Witnesses) == 0 {
		return
	}
	rows = nil
	for _, o := range s.Witnesses {
		rows = append(rows, []string{o.Name, strconv.FormatUint(o.Size, 10), cmp.Or(o.Time, "never"), cmp.Or(o.Fault, "ok")})
	}
	table(w, []string{"\nOUTSIDE WITNESS", "ENTRIES", "COSIGNED", "STATE"}, rows)
}
