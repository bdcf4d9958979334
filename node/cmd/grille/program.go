package main

import (
	"bufio"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/program"
	"github.com/grille-gateway/grille/node/api"
)

func (a *app) programCommand() *cobra.Command {
	return group("program", "Publish programs, run their checks and decide cases", a.programPublish(), a.programList(), a.programShow(),
		a.programRetire(), a.programRun(), a.programCase(), a.programCases(), a.programContest(), a.programReview(), a.programVerify())
}

func (a *app) programPublish() *cobra.Command {
	return &cobra.Command{
		Use: "publish PROGRAM.yaml", Short: "Check and publish a program", Args: cobra.ExactArgs(1),
		Long: `Checks a program's document and publishes it. A version that is published never changes: raise the version. What its author should
look at is printed: a rule that grants nobody or everybody, a check that never makes a difference, a policy that is not published yet.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("reading the program: %w", err)
			}
			defer file.Close()
			c, err := a.client()
			if err != nil {
				return err
			}
			var p api.PublishedProgram
			if err := c.send(cmd.Context(), "/v1/programs", "application/yaml", io.LimitReader(file, maxDocument+1), &p); err != nil {
				return fmt.Errorf("publishing %s: %w", args[0], err)
			}
			return a.print(p, func(w io.Writer) {
				fmt.Fprintf(w, "Final: %s version %d, entry %d of this member's log.\n", p.Program, p.Version, p.Index)
				warn(w, p.Warnings)
				fmt.Fprintf(w, "Next: grille program run %s\n", p.Program)
			})
		},
	}
}

func warn(w io.Writer, warnings []string) {
	for _, s := range warnings {
		fmt.Fprintf(w, "  look at: %s\n", s)
	}
}

func (a *app) programList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the published programs of all members", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var list items[api.Program]
			if err := c.get(cmd.Context(), "/v1/programs", &list); err != nil {
				return fmt.Errorf("listing programs: %w", err)
			}
			return a.print(list.Items, func(w io.Writer) {
				var rows [][]string
				for _, p := range list.Items {
					state := "in force"
					if p.Retired {
						state = "retired"
					}
					rows = append(rows, []string{p.Member, p.Program, strconv.Itoa(p.Version), state, p.Title})
				}
				table(w, []string{"MEMBER", "PROGRAM", "VERSION", "STATE", "TITLE"}, rows)
			})
		},
	}
}

func (a *app) programShow() *cobra.Command {
	var member string
	var version int
	c := &cobra.Command{
		Use: "show NAME", Short: "Show a program and what its rule does", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := fmt.Sprintf("/v1/programs/%s?version=%d&member=%s", pathEscape(args[0]), version, url.QueryEscape(member))
			var p api.ProgramDocument
			if err := c.get(cmd.Context(), path, &p); err != nil {
				return hint(fmt.Errorf("showing a program: %w", err), "grille program list")
			}
			return a.print(p, func(w io.Writer) {
				facts(w, "decided by", p.Member, "published", p.Time, "subjects", strings.Join(p.Roles, ", "), "claimed once", p.Scope, "rule",
					fmt.Sprintf("grants %d of %d combinations of verdicts", p.Granted, p.Combinations))
				warn(w, p.Warnings)
				fmt.Fprintf(w, "\n%s", p.Source)
			})
		},
	}
	c.Flags().StringVar(&member, "member", "", "whose program; empty: this member's")
	c.Flags().IntVar(&version, "version", 0, "version; 0: the newest in force")
	return c
}

func (a *app) programRetire() *cobra.Command {
	var version int
	var reason string
	c := &cobra.Command{
		Use: "retire NAME --version N", Short: "End a program version: no application is taken under it any more", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var p api.Published
			body := map[string]any{"version": version, "reason": reason}
			if err := c.post(cmd.Context(), "/v1/programs/"+pathEscape(args[0])+"/retire", body, &p); err != nil {
				return hint(fmt.Errorf("retiring a program: %w", err), "grille program list")
			}
			return a.printPublished(p)
		},
	}
	c.Flags().IntVar(&version, "version", 0, "version to end (required)")
	c.Flags().StringVar(&reason, "reason", "", "stands on the ledger, so no personal data")
	return needs(c, "version")
}

func (a *app) programRun() *cobra.Command {
	var in api.Application
	var subjectFile, out string
	c := &cobra.Command{
		Use: "run NAME", Short: "Apply to a program: ask its checks and decide", Args: cobra.ExactArgs(1),
		Long: `Asks the checks of a program about the subjects of one application, all at once, and decides by its rule. The subjects' ids are read
from standard input or a file, never from the command line: one line with the id, or, where a program is about several, a line
"role: id" for each. A case that needs a person is left to "grille program review".`,
		Example: `  grille program run winter-fuel < id.txt
  printf 'applicant: P-0001\nspouse: P-0004\n' | grille program run allowance --application form-7 -f decision.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Program = args[0]
			return a.runProgram(cmd, in, subjectFile, out)
		},
	}
	f := c.Flags()
	f.IntVar(&in.Version, "version", 0, "version of the program; 0: the newest in force")
	f.StringVar(&in.Application, "application", "", "your own id of the application: the same again returns the same case; not a person's name")
	f.IntVar(&in.Wait, "wait", 0, "seconds to wait; 0: as long as the gateway allows")
	f.StringVar(&subjectFile, "subject-file", "-", "file with the subjects' ids; - for standard input")
	f.StringVarP(&out, "file", "f", "", "write the decision with its evidence to this file")
	return c
}

func (a *app) runProgram(cmd *cobra.Command, in api.Application, subjectFile, out string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	if in.Subjects, err = a.readSubjects(subjectFile); err != nil {
		return err
	}
	var c api.Case
	if err := client.post(cmd.Context(), "/v1/cases", in, &c); err != nil {
		next := "grille program show " + in.Program
		if hasCode(err, api.CodeNotFound) {
			next = "grille program list"
		}
		return hint(fmt.Errorf("running %s: %w", in.Program, err), "%s", next)
	}
	if out != "" {
		if err := a.writeDecision(cmd, client, c.ID, -1, out); err != nil {
			return err
		}
	}
	return a.print(c, func(w io.Writer) { printCase(w, c) })
}

// readSubjects reads one id, or one for each role.
func (a *app) readSubjects(path string) (map[string]string, error) {
	in := a.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("reading the subjects' ids: %w", err)
		}
		defer file.Close()
		in = file
	} else if f, ok := in.(*os.File); ok && isTerminal(f) {
		fmt.Fprintln(a.err, "Subject id, or role: id on a line each; end with ctrl-D:")
	}
	subjects := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(in, (bundle.MaxSubject+64)*program.MaxChecks))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" {
			continue
		}
		role, id := program.Applicant, line
		if before, after, ok := strings.Cut(line, ": "); ok {
			role, id = before, strings.TrimSpace(after)
		}
		if _, again := subjects[role]; again {
			return nil, usagef("two subject ids for one role on standard input: write a line `role: id` for each")
		}
		if id == "" || len(id) > bundle.MaxSubject {
			return nil, usagef("a subject id has 1 to %d bytes", bundle.MaxSubject)
		}
		subjects[role] = id
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading the subjects' ids: %w", err)
	}
	if len(subjects) == 0 {
		return nil, usagef("there is no subject id on standard input")
	}
	return subjects, nil
}

func printCase(w io.Writer, c api.Case) {
	fmt.Fprintln(w, headline(c))
	pairs := []string{"case", c.ID, "program", fmt.Sprintf("%s version %d", c.Program, c.Version), "application", c.Application, "opened", c.Opened}
	for _, f := range c.Checks {
		what := f.Verdict
		if what == "" {
			what = strings.TrimSpace(f.Outcome + " " + f.Code)
		}
		if f.Claim != "" {
			what += ", claim " + f.Claim
		}
		pairs = append(pairs, "check "+f.Check, what)
	}
	for _, r := range c.Reasons {
		pairs = append(pairs, "for a person", r)
	}
	for _, d := range c.Decisions {
		pairs = append(pairs, "decided", fmt.Sprintf("%s by %s, in effect from %s", decisionWord(d.Granted), d.By, d.Effective), "officer", d.Officer,
			"reason", d.Reason)
	}
	pairs = append(pairs, "contested", c.Contest)
	if c.TotalMillis > 0 {
		pairs = append(pairs, "took", fmt.Sprintf("%.0f ms, of them %.0f ms until all checks were settled", c.TotalMillis, c.CheckMillis))
	}
	facts(w, pairs...)
	switch c.State {
	case program.StateReview, program.StateContested:
		fmt.Fprintf(w, "Next: grille program review %s --decide granted|not_granted --officer REF --reason TEXT\n", c.ID)
	case program.StateDecided:
		fmt.Fprintf(w, "Next: grille program case %s -f decision.json, to show it to others\n", c.ID)
	default:
		fmt.Fprintf(w, "Next: grille program case %s\n", c.ID)
	}
}

// headline is the outcome in a word.
func headline(c api.Case) string {
	if c.State == program.StateDecided && len(c.Decisions) > 0 {
		return decisionWord(c.Decisions[len(c.Decisions)-1].Granted)
	}
	return c.State
}

func decisionWord(granted bool) string {
	if granted {
		return "granted"
	}
	return "not_granted"
}

func (a *app) programCase() *cobra.Command {
	var out string
	round := -1
	c := &cobra.Command{
		Use: "case CASE", Short: "Show a case, or write its decision with the evidence", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if out != "" {
				return a.writeDecision(cmd, client, args[0], round, out)
			}
			var c api.Case
			if err := client.get(cmd.Context(), "/v1/cases/"+pathEscape(args[0]), &c); err != nil {
				return hint(fmt.Errorf("showing a case: %w", err), "grille program cases")
			}
			return a.print(c, func(w io.Writer) { printCase(w, c) })
		},
	}
	c.Flags().StringVarP(&out, "file", "f", "", "write the decision with its evidence here; - for standard output")
	c.Flags().IntVar(&round, "round", -1, "which decision, from 0; -1: the newest")
	return c
}

func (a *app) writeDecision(cmd *cobra.Command, client *gatewayClient, id string, round int, out string) error {
	var data []byte
	if err := client.get(cmd.Context(), fmt.Sprintf("/v1/cases/%s/decision?round=%d", pathEscape(id), round), &data); err != nil {
		return hint(fmt.Errorf("getting the decision: %w", err), "grille program case %s", id)
	}
	return a.writeFile(out, data, 0o600)
}

func (a *app) programCases() *cobra.Command {
	var state string
	c := &cobra.Command{
		Use: "cases", Short: "List the newest cases, or those that wait for a person", Args: cobra.NoArgs,
		Example: "  grille program cases --state needs_review",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			path := "/v1/cases"
			if state != "" {
				path += "?state=" + url.QueryEscape(state)
			}
			var list items[api.Case]
			if err := client.get(cmd.Context(), path, &list); err != nil {
				return fmt.Errorf("listing cases: %w", err)
			}
			return a.print(list.Items, func(w io.Writer) {
				var rows [][]string
				for _, c := range list.Items {
					rows = append(rows, []string{c.ID, c.Opened, fmt.Sprintf("%s/%d", c.Program, c.Version), c.Application, headline(c)})
				}
				table(w, []string{"CASE", "OPENED", "PROGRAM", "APPLICATION", "OUTCOME"}, rows)
			})
		},
	}
	c.Flags().StringVar(&state, "state", "", "only those in this state: checking, needs_review, pending, decided or contested")
	return c
}

func (a *app) programContest() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "contest CASE --reason TEXT", Short: "Take an objection to a decision: a person decides next", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.caseStep(cmd, args[0], "contest", map[string]any{"reason": reason})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "stands in the decision that follows (required)")
	return needs(c, "reason")
}

func (a *app) programReview() *cobra.Command {
	var decide, officer, reason string
	c := &cobra.Command{
		Use: "review CASE --decide granted|not_granted", Short: "Decide a case as a person", Args: cobra.ExactArgs(1),
		Long: "Decides a case that the rule may not decide, or that was contested. Officer's reference and reason stand in the signed decision.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if decide != decisionWord(true) && decide != decisionWord(false) {
				return usagef("--decide is %s or %s", decisionWord(true), decisionWord(false))
			}
			return a.caseStep(cmd, args[0], "review", api.Review{Granted: decide == decisionWord(true), Officer: officer, Reason: reason})
		},
	}
	f := c.Flags()
	f.StringVar(&decide, "decide", "", "granted or not_granted (required)")
	f.StringVar(&officer, "officer", "", "your reference (required)")
	f.StringVar(&reason, "reason", "", "why (required)")
	return needs(c, "decide", "officer", "reason")
}

// needs makes flags required.
func needs(c *cobra.Command, flags ...string) *cobra.Command {
	for _, name := range flags {
		if err := c.MarkFlagRequired(name); err != nil {
			panic("grille: " + err.Error())
		}
	}
	return c
}

func (a *app) caseStep(cmd *cobra.Command, id, step string, body any) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	var c api.Case
	if err := client.post(cmd.Context(), "/v1/cases/"+pathEscape(id)+"/"+step, body, &c); err != nil {
		return hint(fmt.Errorf("%s of a case: %w", step, err), "grille program case %s", id)
	}
	return a.print(c, func(w io.Writer) { printCase(w, c) })
}
