package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
)

func (a *app) scopeCommand() *cobra.Command {
	return group("scope", "Keep a register in which a person can claim once", a.scopeOpen(), a.scopeClose(), a.scopeList(), a.scopeClaim())
}

// scopeArg reads PROGRAM/PERIOD.
func scopeArg(s string) (api.ScopeName, error) {
	program, period, ok := strings.Cut(s, "/")
	if !ok || !entry.Name(program) || !entry.Name(period) {
		return api.ScopeName{}, usagef("%q is not a scope: write PROGRAM/PERIOD, like winter-fuel/2026, each of a-z 0-9 . _ -", s)
	}
	return api.ScopeName{Program: program, Period: period}, nil
}

func (a *app) scopeOpen() *cobra.Command {
	var opens, closes string
	c := &cobra.Command{
		Use: "open PROGRAM/PERIOD", Short: "Open a scope: this member becomes its register", Args: cobra.ExactArgs(1),
		Example: `  grille scope open winter-fuel/2026 --closes 2027-01-01T00:00:00Z`,
		Long: `Makes this member the register of a program in a period. It draws the scope's key, keeps it sealed in claims/, and puts its commitment
on the ledger. From then on a satisfied answer to a question with this scope is a claim, and a second one of the same person is refused,
whoever asks. The key is destroyed when the scope closes. Needs a right whose offer names the program (grille agreement offer --scope).`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := scopeArg(args[0])
			if err != nil {
				return err
			}
			if opens == "" {
				opens = entry.FormatTime(time.Now())
			}
			return a.scopeStep(cmd, "/v1/scopes", api.ScopeOpening{ScopeName: name, Opens: opens, Closes: closes}, "opening the scope")
		},
	}
	c.Flags().StringVar(&opens, "opens", "", "when claims begin, UTC, like 2026-01-01T00:00:00Z; empty: now")
	c.Flags().StringVar(&closes, "closes", "", "when they end, UTC; the scope closes by itself then (required)")
	if err := c.MarkFlagRequired("closes"); err != nil {
		panic("grille: " + err.Error())
	}
	return c
}

func (a *app) scopeClose() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "close PROGRAM/PERIOD", Short: "Close a scope and destroy its key", Args: cobra.ExactArgs(1),
		Long: `Logs what was claimed and waits for a batch, ends the scope on the ledger, and destroys its key: from then on nobody can tell whose a
nullifier is. A period cannot be opened again.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := scopeArg(args[0])
			if err != nil {
				return err
			}
			return a.scopeStep(cmd, "/v1/scopes/close", api.ScopeClosing{ScopeName: name, Reason: reason}, "closing the scope")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "stands on the ledger for all members; no personal data")
	return c
}

func (a *app) scopeStep(cmd *cobra.Command, path string, body any, what string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	var p api.Published
	if err := client.post(cmd.Context(), path, body, &p); err != nil {
		return hint(fmt.Errorf("%s: %w", what, err), "grille scope list")
	}
	return a.printPublished(p)
}

func (a *app) scopeList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the scopes of all members", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var list items[api.Scope]
			if err := client.get(cmd.Context(), "/v1/scopes", &list); err != nil {
				return fmt.Errorf("listing scopes: %w", err)
			}
			return a.print(list.Items, func(w io.Writer) {
				var rows [][]string
				for _, s := range list.Items {
					waiting, key := "", ""
					if s.Waiting != nil && s.Key != nil {
						waiting, key = strconv.Itoa(*s.Waiting), "here"
						if !*s.Key {
							key = "missing"
						}
					}
					rows = append(rows, []string{s.Program + "/" + s.Period, s.Register, strconv.FormatUint(s.Index, 10), s.State, s.Opens, s.Closes, waiting, key})
				}
				table(w, []string{"SCOPE", "REGISTER", "INDEX", "STATE", "OPENS", "CLOSES", "WAITING", "KEY"}, rows)
			})
		},
	}
}

func (a *app) scopeClaim() *cobra.Command {
	return &cobra.Command{
		Use: "claim ID", Short: "Tell what became of the claim that a question made", Args: cobra.ExactArgs(1),
		Long: `Prints pending, first or later. Nothing is granted before a claim is first: final on the register's log, with none before it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var c api.Claim
			if err := client.get(cmd.Context(), "/v1/claims/"+pathEscape(args[0]), &c); err != nil {
				return hint(fmt.Errorf("looking the claim up: %w", err), "grille answer")
			}
			return a.print(c, func(w io.Writer) {
				fmt.Fprintln(w, c.State)
				if c.State != "pending" {
					facts(w, "entry", strconv.FormatUint(c.Index, 10), "slot", strconv.Itoa(c.Slot))
				}
			})
		},
	}
}
