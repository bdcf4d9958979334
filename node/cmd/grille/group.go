package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/api"
)

func (a *app) groupCommand() *cobra.Command {
	return group("group", "Say which members may ask under one agreement", a.groupDefine(), a.groupList())
}

func (a *app) groupDefine() *cobra.Command {
	var d api.GroupDefinition
	var draft string
	c := &cobra.Command{
		Use: "define NAME --member MEMBER ...", Short: "Say who belongs to a group from now on", Args: cobra.ExactArgs(1),
		Example: "  grille group define care-desks --member GOV/benefits --member GOV/health",
		Long: `Puts the group's next version on this member's log. Its members may ask under every agreement whose terms name the group, out of the
agreement's one budget. Who is left out may not ask under it any more from the moment the entry is on the log. Without --member, nobody may.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			d.Group = args[0]
			if d.Members == nil {
				d.Members = []string{}
			}
			return a.publishOrDraft(cmd, "/v1/groups", draft, d, "defining the group", "grille group list")
		},
	}
	c.Flags().StringArrayVar(&d.Members, "member", nil, "name of a member that belongs to it; repeat it")
	bindDraft(c, &draft)
	return c
}

func bindDraft(c *cobra.Command, draft *string) {
	c.Flags().StringVar(draft, "draft", "", "publish nothing; write a draft for this member's approvers to this file")
}

// publishOrDraft posts a body: to be published, or to path/draft to become a draft.
func (a *app) publishOrDraft(cmd *cobra.Command, path, draft string, body any, what, next string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	if draft != "" {
		var d api.Draft
		if err := client.post(cmd.Context(), path+"/draft", body, &d); err != nil {
			return hint(fmt.Errorf("%s: %w", what, err), "%s", next)
		}
		return a.draftTo(draft, d)
	}
	var p api.Published
	if err := client.post(cmd.Context(), path, body, &p); err != nil {
		return hint(fmt.Errorf("%s: %w", what, err), "%s", afterApprovals(err, next))
	}
	return a.printPublished(p)
}

// afterApprovals is what to do next about an error: make a draft, if it is about approvals.
func afterApprovals(err error, next string) string {
	if hasCode(err, api.CodeApprovals) {
		return "repeat this with --draft FILE, have FILE signed (grille approve FILE --key KEY), then grille publish FILE"
	}
	return next
}

func (a *app) groupList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the groups of all members", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var list items[api.Group]
			if err := c.get(cmd.Context(), "/v1/groups", &list); err != nil {
				return fmt.Errorf("listing groups: %w", err)
			}
			return a.print(list.Items, func(w io.Writer) {
				var rows [][]string
				for _, g := range list.Items {
					rows = append(rows, []string{g.Holder, g.Group, strconv.Itoa(g.Version), strings.Join(g.Members, ", ")})
				}
				table(w, []string{"HOLDER", "GROUP", "VERSION", "MEMBERS"}, rows)
			})
		},
	}
}
