package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
)

func (a *app) agreementCommand() *cobra.Command {
	return group("agreement", "Agree on who may ask what, for which purpose", a.agreementOffer(), a.agreementAccept(),
		a.agreementReject(), a.agreementRevoke(), a.agreementList())
}

func (a *app) agreementOffer() *cobra.Command {
	var o api.Offer
	c := &cobra.Command{
		Use: "offer", Short: "Ask a holder for the right to ask a policy", Args: cobra.NoArgs,
		Example: `  grille agreement offer --holder GOV/health --policy aged-75 --purpose "care allowance" --legal-basis "s. 12" \
    --per-subject 2 --total 1000 --expires 2030-01-01T00:00:00Z`,
		Long: "Puts an offer on this member's log. The budget stays between the two parties: the ledger holds a salted commitment to it.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var ref api.Reference
			if err := client.post(cmd.Context(), "/v1/agreements", o, &ref); err != nil {
				return fmt.Errorf("offering an agreement: %w", err)
			}
			return a.print(ref, func(w io.Writer) {
				fmt.Fprintf(w, "Final: entry %d of %s.\n", ref.Index, ref.Origin)
				fmt.Fprintf(w, "Next, at the holder: grille agreement accept %s %d\n", ref.Origin, ref.Index)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&o.Holder, "holder", "", "member whose records answer (required)")
	f.StringVar(&o.Policy, "policy", "", "policy of the holder (required)")
	f.IntVar(&o.Version, "policy-version", 1, "version of the policy")
	f.StringVar(&o.Purpose, "purpose", "", "purpose of the questions (required)")
	f.StringVar(&o.LegalBasis, "legal-basis", "", "legal basis of the questions (required)")
	f.StringVar(&o.Group, "group", "", "group of the holder whose members may ask, instead of this member alone")
	f.StringVar(&o.OnBehalfOf, "on-behalf-of", "", "for whom this member asks, if not for itself")
	f.StringSliceVar(&o.Disclose, "disclose", nil, "columns that answers may disclose")
	f.StringVar(&o.AsOfFrom, "as-of-from", "", "first day that may be asked about, like 2020-01-01; empty: only the current one")
	f.StringVar(&o.AsOfTo, "as-of-to", "", "last such day; empty, beside --as-of-from: no end")
	f.StringVar(&o.Scope, "scope", "", "program under which answers may be claims, of which a person makes one in a period")
	f.IntVar(&o.PerSubject, "per-subject", 1, "answers about one subject")
	f.IntVar(&o.Total, "total", 0, "answers in all (required)")
	f.StringVar(&o.Expires, "expires", "", "end of the right, UTC, like 2030-01-01T00:00:00Z (required)")
	for _, name := range []string{"holder", "policy", "purpose", "legal-basis", "total", "expires"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic("grille: " + err.Error())
		}
	}
	return c
}

// offerArgs reads "ORIGIN INDEX" or "MEMBER INDEX".
func (a *app) offerArgs(args []string) (api.Reference, error) {
	index, err := parseIndex(args[1])
	if err != nil {
		return api.Reference{}, err
	}
	origin, err := a.originArg(args[0])
	return api.Reference{Origin: origin, Index: index}, err
}

func parseIndex(s string) (uint64, error) {
	index, err := strconv.ParseUint(s, 10, 53)
	if err != nil {
		return 0, usagef("%q is not the index of an entry: write a number from 0", s)
	}
	return index, nil
}

// originArg takes the origin of a log, or the name of the member that owns it.
func (a *app) originArg(s string) (string, error) {
	if !entry.MemberName(s) {
		return s, nil
	}
	chain, err := a.folderChain()
	if err != nil {
		return "", err
	}
	m, ok := chain.Newest().Member(s)
	if !ok {
		return "", usagef("%s is not a member of %s; see grille network show", s, chain.Newest().Instance)
	}
	return m.Origin(), nil
}

func (a *app) agreementAccept() *cobra.Command {
	var draft string
	c := &cobra.Command{
		Use: "accept ORIGIN|MEMBER INDEX", Short: "Grant an offered right", Args: cobra.ExactArgs(2),
		Long: "Repeats the offer's terms on this member's log, which alone decides. See the offers with grille agreement list.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := a.offerArgs(args)
			if err != nil {
				return err
			}
			return a.publishOrDraft(cmd, "/v1/agreements/accept", draft, ref, "accepting the offer", "grille agreement list")
		},
	}
	bindDraft(c, &draft)
	return c
}

func (a *app) agreementReject() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "reject ORIGIN|MEMBER INDEX", Short: "Answer an offer with no", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := a.offerArgs(args)
			if err != nil {
				return err
			}
			body := struct {
				api.Reference
				Reason string `json:"reason"`
			}{ref, reason}
			return a.step(cmd, "/v1/agreements/reject", body, "rejecting the offer")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "stands on the ledger for all members; no personal data")
	return c
}

func (a *app) agreementRevoke() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "revoke INDEX", Short: "End a right that this member granted", Args: cobra.ExactArgs(1),
		Long: "Ends a right from the moment the entry is on this member's log. INDEX is the acceptance's.",
		RunE: func(cmd *cobra.Command, args []string) error {
			index, err := parseIndex(args[0])
			if err != nil {
				return err
			}
			body := struct {
				Accept uint64 `json:"accept"`
				Reason string `json:"reason"`
			}{index, reason}
			return a.step(cmd, "/v1/agreements/revoke", body, "revoking the right")
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "stands on the ledger for all members; no personal data")
	return c
}

// step posts one step of an agreement and prints where it stands.
func (a *app) step(cmd *cobra.Command, path string, body any, what string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	var p api.Published
	if err := client.post(cmd.Context(), path, body, &p); err != nil {
		return hint(fmt.Errorf("%s: %w", what, err), "grille agreement list")
	}
	return a.printPublished(p)
}

func (a *app) agreementList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List offers and rights that concern this member", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var list api.Agreements
			if err := client.get(cmd.Context(), "/v1/agreements", &list); err != nil {
				return fmt.Errorf("listing agreements: %w", err)
			}
			return a.print(list, func(w io.Writer) {
				var rows [][]string
				for _, o := range list.Offers {
					rows = append(rows, append([]string{o.Origin, strconv.FormatUint(o.Index, 10), o.State}, termsRow(o.Terms)...))
				}
				table(w, append([]string{"OFFER ON", "INDEX", "STATE"}, termsHeader...), rows)
				rows = nil
				for _, r := range list.Rights {
					rows = append(rows, append([]string{r.Holder, strconv.FormatUint(r.Index, 10), r.State}, termsRow(r.Terms)...))
				}
				table(w, append([]string{"\nRIGHT AT", "INDEX", "STATE"}, termsHeader...), rows)
			})
		},
	}
}

var termsHeader = []string{"REQUESTER", "POLICY", "PURPOSE", "DISCLOSES", "DAYS", "EXPIRES"}

func termsRow(t api.Terms) []string {
	disclose := strings.Join(t.Disclose, ",")
	if disclose == "" {
		disclose = "nothing"
	}
	requester := t.Requester
	if t.Group != "" {
		requester += " for " + t.Group
	}
	return []string{requester, fmt.Sprintf("%s/%d", t.Policy, t.Version), t.Purpose, disclose, days(t), t.Expires}
}

// days says which days may be asked about.
func days(t api.Terms) string {
	switch {
	case t.AsOfFrom == "":
		return "current"
	case t.AsOfTo == "":
		return t.AsOfFrom + " on"
	}
	return t.AsOfFrom + " to " + t.AsOfTo
}
