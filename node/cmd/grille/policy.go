package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/api"
)

func (a *app) policyCommand() *cobra.Command {
	var draft string
	publish := &cobra.Command{
		Use: "publish POLICY.yaml [--draft FILE]", Short: "Compile and publish a policy", Args: cobra.ExactArgs(1),
		Long: `Compiles a policy for its dataset's schema and publishes it. A version that is published never changes: raise the version.

Where this member's card asks for approvals, make a draft, have it signed (grille approve) and publish that (grille publish).`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if draft == "" {
				return a.publishDocument(cmd, args[0], "/v1/policies", "publishing")
			}
			var d api.Draft
			if err := a.sendDocument(cmd, args[0], "/v1/policies/draft", "drafting", &d); err != nil {
				return err
			}
			return a.draftTo(draft, d)
		},
	}
	bindDraft(publish, &draft)
	list := &cobra.Command{
		Use: "list", Short: "List the published policies of all members", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var list items[api.Policy]
			if err := c.get(cmd.Context(), "/v1/policies", &list); err != nil {
				return fmt.Errorf("listing policies: %w", err)
			}
			return a.print(list.Items, func(w io.Writer) {
				var rows [][]string
				for _, p := range list.Items {
					state := "in force"
					if p.Retired {
						state = "retired"
					}
					rows = append(rows, []string{p.Holder, p.Policy, strconv.Itoa(p.Version), state, p.Question})
				}
				table(w, []string{"HOLDER", "POLICY", "VERSION", "STATE", "QUESTION"}, rows)
			})
		},
	}
	return group("policy", "Publish the questions that may be asked", publish, list, a.policyLint(), a.policyTest(), a.policyDiff())
}
