package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/audit"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// maxVerifyingKey bounds a verifying key file in bytes: one point for each of some 600 public inputs.
const maxVerifyingKey = 1 << 20

func (a *app) verifyCommand() *cobra.Command {
	var networkPath, ledgerDir string
	var keyPaths []string
	c := &cobra.Command{
		Use: "verify BUNDLE... --network network.json --key verifying.key", Short: "Check answers' evidence, offline", Args: cobra.MinimumNArgs(1),
		Long: `Checks that the verdict in a bundle follows from what its holder had committed to on the ledger. It needs no network and no
gateway: what you trust is the network configuration (compare its fingerprint, which is printed) and, if its keys are development
keys, whoever made them. With --ledger, a copy of any member's ledger folder, it proves besides that policy, agreement and epoch were
the newest and in force when the answer was given, which a bundle alone only asserts. Several bundles, or a folder of them (its files
NAME.json), are checked together, in about half the time, each with the outcome that it has alone; with -o json each gives one line. Exit
code 3 means that one of them does not verify.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := bundleFiles(args)
			if err != nil {
				return err
			}
			proofs, err := readVerifyingKeys(keyPaths)
			if err != nil {
				return err
			}
			verifier, replica, err := a.verifier(cmd.Context(), networkPath, ledgerDir)
			if err != nil {
				return err
			}
			verifier.Proofs = proofs
			if len(args) > 1 || files[0] != args[0] {
				return a.verifyMany(verifier, replica, files)
			}
			data, err := readBundle(args[0])
			if err != nil {
				return err
			}
			report, err := verifier.Verify(data)
			if replica != nil && replica.err != nil {
				return noLedger(replica.err)
			}
			if err != nil {
				return a.notVerified(args[0], err)
			}
			return a.printVerified(report, verifier.Config)
		},
	}
	c.Flags().StringVar(&networkPath, "network", "", "the network configuration, or a chain of them (required)")
	c.Flags().StringArrayVar(&keyPaths, "key", nil, "the verifying key (required); repeat it, and the one of the answer's circuit is taken")
	c.Flags().StringVar(&ledgerDir, "ledger", "", "a ledger's folder, or a copy of one, to prove what was in force")
	for _, name := range []string{"network", "key"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic("grille: " + err.Error())
		}
	}
	return c
}

// verifier makes a verifier that trusts a configuration, or a chain of them, and asks a ledger's folder if one is named.
func (a *app) verifier(ctx context.Context, networkPath, ledgerDir string) (*bundle.Verifier, *copiedLedger, error) {
	chain, err := a.trusted(networkPath)
	if err != nil {
		return nil, nil, err
	}
	if ledgerDir == "" {
		return &bundle.Verifier{Config: chain.Newest(), Chain: chain}, nil, nil
	}
	if chain, err = audit.LoadChain(ledgerDir, chain); err != nil {
		return nil, nil, err
	}
	replica := &copiedLedger{ctx: ctx, warnings: a.err,
		options: audit.Options{Dir: ledgerDir, Chain: chain, Progress: a.reading("reading the holder's log")}}
	return &bundle.Verifier{Config: chain.Newest(), Chain: chain, Replica: replica}, replica, nil
}

// readVerifyingKeys reads a verifying key for each circuit that evidence may be under.
func readVerifyingKeys(paths []string) (bundle.VerifyingKeys, error) {
	if len(paths) > network.MaxCircuits {
		return nil, usagef("there are %d --key, want at most %d", len(paths), network.MaxCircuits)
	}
	var keys bundle.VerifyingKeys
	for _, path := range paths {
		key, err := readVerifyingKey(path)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// kinds says how verifying keys came about, each kind once.
func kinds(keys bundle.VerifyingKeys) string {
	var out []string
	for _, key := range keys {
		if v, ok := key.(*prover.Verifier); ok && !slices.Contains(out, v.Kind()) {
			out = append(out, v.Kind())
		}
	}
	return strings.Join(out, ", ")
}

func readVerifyingKey(path string) (*prover.Verifier, error) {
	key, err := readLimited(path, maxVerifyingKey)
	if err != nil {
		return nil, fmt.Errorf("reading the verifying key: %w", err)
	}
	proofs, err := prover.NewVerifier(key)
	if err != nil {
		return nil, hint(fmt.Errorf("reading the verifying key %s: %w", path, err), "grille keys export DIR -f verifying.key")
	}
	return proofs, nil
}

// notVerified reports a bundle that is refused, with its stable reason.
func (a *app) notVerified(path string, err error) error {
	reason := ""
	var refused *bundle.Refused
	if errors.As(err, &refused) {
		reason = refused.Code()
	}
	if a.output == "json" {
		if printErr := a.print(map[string]any{"verified": false, "reason": reason}, nil); printErr != nil {
			return printErr
		}
	}
	return errFalse{fmt.Errorf("%s does not verify: %w", path, err)}
}

// claimOf says what a bundle shows of the claim that its answer makes.
func claimOf(r *bundle.Report) string {
	switch r.Claim {
	case "":
		return ""
	case bundle.ClaimPending:
		return fmt.Sprintf("in %s/%s, pending: the bundle shows no place", r.Program, r.Period)
	case bundle.ClaimFirst:
		return fmt.Sprintf("in %s/%s, final, and the first in the register's log", r.Program, r.Period)
	}
	return fmt.Sprintf("in %s/%s, final; that it is the first, the register's log shows (--ledger)", r.Program, r.Period)
}

// verified is what verify prints.
type verified struct {
	Verified    bool   `json:"verified"`
	Network     string `json:"network"`
	Fingerprint string `json:"network_fingerprint"`
	*bundle.Report
}

func (a *app) printVerified(r *bundle.Report, cfg *network.Configuration) error {
	v := verified{Verified: true, Network: cfg.Instance, Fingerprint: fingerprint(cfg.Digest()), Report: r}
	return a.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "Verified: %s\n", r.Verdict)
		about := "not shown in this bundle"
		if r.OpeningSeen {
			about = "named in this bundle, and checked"
		}
		facts(w, "question", r.Question, "policy", fmt.Sprintf("%s version %d of %s", r.Policy, r.Version, r.Holder), "asked by", r.Requester,
			"purpose", r.Purpose, "legal basis", r.LegalBasis, "case", r.Case, "as of", r.AsOf, "answered", r.AnsweredAt, "data of", dataOf(r.EpochTime, r.Epoch),
			"subject", about, "cosigned by", fmt.Sprintf("%d mirrors, quorum %d", r.Cosigners, cfg.Quorum()), "currency", r.Currency,
			"receipt", r.Receipt, "claim", claimOf(r), "query id", r.QueryID, "network", cfg.Instance+" "+v.Fingerprint, "keys", r.KeyKind)
		for _, d := range r.Disclosed {
			facts(w, d.Column, disclosed(d.Text))
		}
		if r.Verdict == circuits.NoRecord {
			fmt.Fprintln(w, "  The holder's committed data prove that there is no record of this subject.")
		}
	})
}
