package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/program"
)

func (a *app) programVerify() *cobra.Command {
	var networkPath, ledgerDir string
	var keyPaths []string
	c := &cobra.Command{
		Use: "verify DECISION --network network.json --key verifying.key", Short: "Check a decision and all its evidence, offline", Args: cobra.ExactArgs(1),
		Long: `Checks that a member decided a case as its published program says: its signature, the program and the decision on its log, the evidence
of every answer and refusal, and that the rule gives this result for these verdicts, or that a person had to decide. It needs no network and no
gateway. With --ledger, a copy of any member's ledger folder, it proves besides that what the answers rest on was in force. Not shown:
that the answers are about one person, and that no later decision of the case took this one's place. Exit code 3 means that it does
not verify.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readLimited(args[0], program.MaxDecision)
			if err != nil {
				return fmt.Errorf("reading the decision: %w", err)
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
			report, err := program.Verify(verifier, data)
			if replica != nil && replica.err != nil {
				return noLedger(replica.err)
			}
			if err != nil {
				return a.decisionRefused(args[0], err)
			}
			return a.printDecision(verifier, report, kinds(proofs))
		},
	}
	c.Flags().StringVar(&networkPath, "network", "", "the network configuration, or a chain of them (required)")
	c.Flags().StringArrayVar(&keyPaths, "key", nil, "the verifying key (required); repeat it for evidence of several circuits")
	c.Flags().StringVar(&ledgerDir, "ledger", "", "a ledger's folder, or a copy of one, to prove what was in force")
	return needs(c, "network", "key")
}

// decisionRefused reports a decision that is refused, with its stable reason.
func (a *app) decisionRefused(path string, err error) error {
	reason := ""
	var refused *program.Refused
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

func (a *app) printDecision(v *bundle.Verifier, r *program.Report, kind string) error {
	out := struct {
		Verified    bool   `json:"verified"`
		Network     string `json:"network"`
		Fingerprint string `json:"network_fingerprint"`
		KeyKind     string `json:"key_kind"`
		*program.Report
	}{true, v.Config.Instance, fingerprint(v.Config.Digest()), kind, r}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "Verified: %s\n", decisionWord(r.Granted))
		by := "the program's rule, which gives this result"
		if r.By == program.PersonDecided {
			by = "a person, " + r.Officer
		}
		pairs := []string{"program", fmt.Sprintf("%s version %d of %s, entry %d", r.Program, r.Version, r.Member, r.Decision.Program.Index),
			"title", r.Title, "decided by", by, "reason", r.Reason, "case", r.Case, "round", fmt.Sprint(r.Round), "opened", r.Opened,
			"decided", r.Decided, "in effect from", r.Effective, "on the ledger", fmt.Sprintf("entry %d of %s", r.Index, r.Log), "network",
			v.Config.Instance + " " + out.Fingerprint, "keys", kind}
		if r.Contest != nil {
			pairs = append(pairs, "contested", r.Contest.Reason)
		}
		for _, f := range r.Checks {
			what := f.Verdict + ", evidence verified"
			if f.Outcome != program.OutcomeAnswered {
				what = strings.TrimSpace(f.Outcome + " " + f.Code)
				if slices.ContainsFunc(r.Refused, func(no program.RefusalReport) bool { return no.Check == f.Check }) {
					what += ", signed refusal verified"
				}
			}
			if f.Claim != "" {
				what += ", claim " + f.Claim
			}
			pairs = append(pairs, "check "+f.Check, what)
		}
		for _, why := range r.Reviews {
			pairs = append(pairs, "for a person", why)
		}
		facts(w, pairs...)
	})
}
