package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
)

// workshop is what the commands for a policy's author need: schemas and published policies, from files or from a gateway.
type workshop struct {
	app    *app
	ctx    context.Context
	schema string         // --schema: a file instead of the gateway
	client *gatewayClient // nil until the gateway is asked
	member string
}

func (w *workshop) flags(c *cobra.Command) {
	c.Flags().StringVar(&w.schema, "schema", "", "the dataset's schema as a file; without it, the one that this member declared")
}

// gateway connects to the gateway of --dir.
func (w *workshop) gateway() error {
	if w.client != nil {
		return nil
	}
	c, err := w.app.client()
	if err != nil {
		return hint(err, "name the dataset's schema with --schema to work without a gateway")
	}
	var s api.Status
	if err := c.get(w.ctx, "/v1/status", &s); err != nil {
		return fmt.Errorf("asking the gateway: %w", err)
	}
	w.client, w.member = c, s.Member
	return nil
}

// entries are the member's newest entries of a kind, with their content.
func (w *workshop) entries(kind, field, name string) ([]api.Entry, error) {
	var all []api.Entry
	after := ""
	for {
		q := url.Values{"kind": {kind}, "member": {w.member}, field: {name}, "content": {"true"}, "limit": {"100"}}
		if after != "" {
			q.Set("after", after)
		}
		var page api.EntryPage
		if err := w.client.get(w.ctx, "/v1/ledger/entries?"+q.Encode(), &page); err != nil {
			return nil, fmt.Errorf("searching %s: %w", kind, err)
		}
		all = append(all, page.Entries...)
		if after = page.Next; after == "" {
			return all, nil
		}
	}
}

// columns is the schema of a dataset.
func (w *workshop) columns(dataset string) (*schema.Schema, error) {
	if w.schema != "" {
		data, err := readLimited(w.schema, schema.MaxDocument)
		if err != nil {
			return nil, fmt.Errorf("reading the schema: %w", err)
		}
		s, _, err := schema.Load(data)
		if err == nil && s.Dataset != dataset {
			err = fmt.Errorf("%s is the schema of dataset %s, the policy is for %s", w.schema, s.Dataset, dataset)
		}
		return s, err
	}
	if err := w.gateway(); err != nil {
		return nil, err
	}
	found, err := w.entries("dataset.declare", "dataset", dataset)
	if err != nil {
		return nil, err
	}
	for _, e := range found { // newest first
		if decoded, err := entry.Decode(e.Content); err == nil {
			if d, ok := decoded.(entry.DatasetDeclare); ok {
				return schema.FromDeclare(d)
			}
		}
	}
	return nil, hint(fmt.Errorf("%s has declared no dataset %q", w.member, dataset), "grille dataset list, or name a file with --schema")
}

// A draft is a policy with what it compiles to.
type draft struct {
	document *policy.Document
	template *policy.Template
	columns  *schema.Schema
}

// file compiles a policy's document.
func (w *workshop) file(path string) (*draft, error) {
	data, err := readLimited(path, policy.MaxDocument)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	d := &draft{}
	if d.document, err = policy.Parse(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if d.columns, err = w.columns(d.document.Dataset); err != nil {
		return nil, err
	}
	if d.template, err = d.document.Compile(d.columns); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// published reads an entry of policy.publish; the template is what the entry holds.
func (w *workshop) published(e entry.PolicyPublish) (*draft, error) {
	t, err := policy.ParseTemplate(e.Template)
	if err != nil {
		return nil, err
	}
	d := &draft{template: t, document: &policy.Document{Policy: e.Policy, Version: e.Version, Dataset: e.Dataset, Title: e.Title,
		Question: e.Question, When: e.Source.Text}}
	d.columns, err = w.columns(e.Dataset)
	return d, err
}

// others are the member's policies of a dataset that are not retired, but the named version.
func (w *workshop) others(d *policy.Document) ([]policy.Published, error) {
	var list items[api.Policy]
	if err := w.client.get(w.ctx, "/v1/policies", &list); err != nil {
		return nil, fmt.Errorf("listing policies: %w", err)
	}
	var others []policy.Published
	for _, p := range list.Items {
		if p.Holder != w.member || p.Dataset != d.Dataset || p.Retired || p.Policy == d.Policy && p.Version == d.Version {
			continue
		}
		e, err := w.entry(p.Policy, p.Version)
		if err != nil {
			return nil, err
		}
		t, err := policy.ParseTemplate(e.Template)
		if err != nil {
			return nil, err
		}
		others = append(others, policy.Published{Name: fmt.Sprintf("%s/%d", p.Policy, p.Version), Template: t})
	}
	return others, nil
}

// entry is the first publication of a version.
func (w *workshop) entry(name string, version int) (entry.PolicyPublish, error) {
	found, err := w.entries("policy.publish", "policy", name)
	if err != nil {
		return entry.PolicyPublish{}, err
	}
	for i := len(found) - 1; i >= 0; i-- {
		if decoded, err := entry.Decode(found[i].Content); err == nil {
			if p, ok := decoded.(entry.PolicyPublish); ok && p.Version == version {
				return p, nil
			}
		}
	}
	return entry.PolicyPublish{}, hint(fmt.Errorf("%s has published no policy %s/%d", w.member, name, version), "grille policy list")
}

func (a *app) policyLint() *cobra.Command {
	w := &workshop{app: a}
	var beside []string
	c := &cobra.Command{
		Use: "lint POLICY.yaml", Short: "Compile a policy and show what it takes, reads and gives away", Args: cobra.ExactArgs(1),
		Long: `Compiles a policy and shows how much of the circuit it uses, which columns it reads, and which verdicts it can give. It is compared
with the policies that this member has published about the same dataset: where two compare the same, asking both about one person tells
more than either answer. Without a gateway, name the schema with --schema and other policies with --beside.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w.ctx = cmd.Context()
			d, err := w.file(args[0])
			if err != nil {
				return err
			}
			var others []policy.Published
			if w.client != nil {
				if others, err = w.others(d.document); err != nil {
					return err
				}
			}
			for _, path := range beside {
				o, err := w.file(path)
				if err != nil {
					return err
				}
				others = append(others, policy.Published{Name: fmt.Sprintf("%s/%d", o.document.Policy, o.document.Version), Template: o.template})
			}
			lint := policy.NewLint(d.document, d.template, d.columns, others)
			return a.print(lint, func(out io.Writer) { printLint(out, lint) })
		},
	}
	w.flags(c)
	c.Flags().StringSliceVar(&beside, "beside", nil, "another policy of the dataset to compare with, as a file")
	return c
}

func printLint(w io.Writer, l *policy.Lint) {
	fmt.Fprintf(w, "Policy %s version %d compiles for dataset %s.\n", l.Policy, l.Version, l.Dataset)
	var rows [][]string
	for _, u := range l.Used {
		rows = append(rows, []string{u.What, fmt.Sprintf("%d of %d", u.Used, u.Limit)})
	}
	table(w, []string{"USES", ""}, rows)
	rows = nil
	for _, c := range l.Columns {
		read, missing := "its value", "the verdict is on_missing's"
		if !c.ValueRead {
			read = "whether it has a value"
		}
		if c.MayMiss {
			missing = "makes no difference by itself"
		}
		rows = append(rows, []string{c.Column, read, missing})
	}
	table(w, []string{"COLUMN", "READ", "MISSING"}, rows)
	for _, c := range l.Comparisons {
		fmt.Fprintf(w, "  compares: %s\n", c)
	}
	facts(w, "verdicts", strings.Join(l.Verdicts, ", "))
	if l.AsOf {
		facts(w, "depends on", "the as-of date")
	}
	warn(w, l.Warnings)
}

func (a *app) policyTest() *cobra.Command {
	w := &workshop{app: a}
	c := &cobra.Command{
		Use: "test POLICY.yaml CASES.yaml", Short: "Run a policy over sample records", Args: cobra.ExactArgs(2),
		Long: `Compiles a policy and evaluates it for the records of a file, without any proof:

  as_of: 2026-11-02
  cases:
    - {name: at the limit, record: {age: 70, income: 1000.00}, verdict: satisfied}
    - {name: income not known, record: {age: 70}, verdict: indeterminate}
    - {name: not in the dataset, verdict: no_record}

Columns that a record does not name are missing. The exit code is 3 when a verdict is another than expected.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w.ctx = cmd.Context()
			d, err := w.file(args[0])
			if err != nil {
				return err
			}
			data, err := readLimited(args[1], policy.MaxCases)
			if err != nil {
				return fmt.Errorf("reading the cases: %w", err)
			}
			cases, err := policy.ParseCases(data)
			if err != nil {
				return fmt.Errorf("%s: %w", args[1], err)
			}
			results, err := cases.Run(d.template, d.columns)
			if err != nil {
				return fmt.Errorf("%s: %w", args[1], err)
			}
			return a.printCases(d.document, results)
		},
	}
	w.flags(c)
	return c
}

func (a *app) printCases(d *policy.Document, results []policy.CaseResult) error {
	failed := 0
	for _, r := range results {
		if !r.Held {
			failed++
		}
	}
	report := struct {
		Policy  string              `json:"policy"`
		Version int                 `json:"version"`
		Passed  int                 `json:"passed"`
		Failed  int                 `json:"failed"`
		Cases   []policy.CaseResult `json:"cases"`
	}{d.Policy, d.Version, len(results) - failed, failed, results}
	err := a.print(report, func(w io.Writer) {
		for _, r := range results {
			if !r.Held {
				fmt.Fprintf(w, "FAILED %s: %s, expected %s\n", r.Name, r.Got, r.Want)
			}
		}
		fmt.Fprintf(w, "%d of %d cases of policy %s version %d have the expected verdict.\n", len(results)-failed, len(results), d.Policy, d.Version)
	})
	if err == nil && failed > 0 {
		return errFalse{fmt.Errorf("testing policy %s: %d of %d cases have another verdict", d.Policy, failed, len(results))}
	}
	return err
}

func (a *app) policyDiff() *cobra.Command {
	w := &workshop{app: a}
	c := &cobra.Command{
		Use: "diff A B", Short: "Show what changed from one policy to another", Args: cobra.ExactArgs(2),
		Long: `Compares two policies: files, or versions that this member has published, written NAME/VERSION. What counts is the compiled program:
it is said whether that is the same.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			w.ctx = cmd.Context()
			before, err := w.either(args[0])
			if err != nil {
				return err
			}
			after, err := w.either(args[1])
			if err != nil {
				return err
			}
			d := policy.Diff(before.document, after.document, before.template, after.template, before.columns, after.columns)
			return a.print(d, func(out io.Writer) { printPolicyDiff(out, d) })
		},
	}
	w.flags(c)
	return c
}

// either reads a file or a published version.
func (w *workshop) either(arg string) (*draft, error) {
	if _, err := os.Stat(arg); !errors.Is(err, os.ErrNotExist) {
		return w.file(arg)
	}
	name, digits, ok := strings.Cut(arg, "/")
	version, err := strconv.Atoi(digits)
	if !ok || err != nil {
		return nil, usagef("%s is neither a file nor a published version, written NAME/VERSION", arg)
	}
	if err := w.gateway(); err != nil {
		return nil, err
	}
	e, err := w.entry(name, version)
	if err != nil {
		return nil, err
	}
	return w.published(e)
}

func printPolicyDiff(w io.Writer, d *policy.Difference) {
	for _, c := range d.Changes {
		switch {
		case c.Before == "":
			fmt.Fprintf(w, "  + %s: %s\n", c.What, c.After)
		case c.After == "":
			fmt.Fprintf(w, "  - %s: %s\n", c.What, c.Before)
		default:
			fmt.Fprintf(w, "  ~ %s: %s\n      now %s\n", c.What, c.Before, c.After)
		}
	}
	if d.Program {
		fmt.Fprintln(w, "The programs differ: verdicts may, too.")
	} else {
		fmt.Fprintln(w, "The programs are the same: every record gets the same verdict.")
	}
}
