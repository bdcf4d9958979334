package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/api"
)

func (a *app) datasetCommand() *cobra.Command {
	return group("dataset", "Declare datasets and import their data", a.datasetDeclare(), a.datasetImport(), a.datasetList())
}

// maxDocument bounds a schema or policy document in bytes, as the gateway does.
const maxDocument = 1 << 20

// publishDocument sends a document and prints where it stands on the log.
func (a *app) publishDocument(cmd *cobra.Command, path, endpoint, what string) error {
	var p api.Published
	if err := a.sendDocument(cmd, path, endpoint, what, &p); err != nil {
		return err
	}
	return a.printPublished(p)
}

func (a *app) sendDocument(cmd *cobra.Command, path, endpoint, what string, reply any) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the document: %w", err)
	}
	defer file.Close()
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := c.send(cmd.Context(), endpoint, "application/yaml", io.LimitReader(file, maxDocument+1), reply); err != nil {
		err = fmt.Errorf("%s %s: %w", what, path, err)
		if next := afterApprovals(err, ""); next != "" {
			err = hint(err, "%s", next)
		}
		return err
	}
	return nil
}

func (a *app) printPublished(p api.Published) error {
	return a.print(p, func(w io.Writer) { fmt.Fprintf(w, "Final: entry %d of this member's log.\n", p.Index) })
}

func (a *app) datasetDeclare() *cobra.Command {
	return &cobra.Command{
		Use: "declare SCHEMA.yaml", Short: "Publish a dataset's schema", Args: cobra.ExactArgs(1),
		Long: "Publishes a dataset's schema and keeps how a CSV file maps to it. Declaring the same schema again changes nothing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.publishDocument(cmd, args[0], "/v1/datasets", "declaring")
		},
	}
}

func (a *app) datasetImport() *cobra.Command {
	return &cobra.Command{
		Use: "import NAME FILE.csv", Short: "Commit to a CSV file as the dataset's new state", Args: cobra.ExactArgs(2),
		Long: `Reads a CSV file into a new epoch of the dataset and publishes its root. All rows or none: what is wrong is listed by line and
column, without values. The records stay on this machine, sealed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[1])
			if err != nil {
				return fmt.Errorf("reading the CSV: %w", err)
			}
			defer file.Close()
			info, err := file.Stat()
			if err != nil {
				return fmt.Errorf("reading the CSV: %w", err)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			body := io.TeeReader(file, a.meter("sending", info.Size()))
			var result api.ImportResult
			if err := c.send(cmd.Context(), "/v1/datasets/"+pathEscape(args[0])+"/epochs", "text/csv", body, &result); err != nil {
				return a.importFailed(args[0], err)
			}
			return a.print(result, func(w io.Writer) {
				fmt.Fprintf(w, "Final: epoch %d of %s, entry %d of this member's log.\n", result.Epoch, result.Dataset, result.Index)
				facts(w, "root", result.Root)
				printReport(w, result.Report)
			})
		},
	}
}

// importFailed shows the validation report before the error.
func (a *app) importFailed(name string, err error) error {
	if p, ok := asProblem(err); ok && p.Report != nil {
		printing := a.print(p.Report, func(w io.Writer) { printReport(w, p.Report) })
		return errors.Join(hint(fmt.Errorf("importing into %s: %w", name, err), "correct the file and run the same command again"), printing)
	}
	return fmt.Errorf("importing into %s: %w", name, err)
}

func printReport(w io.Writer, r *api.ImportReport) {
	if r == nil {
		return
	}
	facts(w, "rows", fmt.Sprintf("%d, of them %d accepted, %d filtered out", r.Rows, r.Accepted, r.Filtered))
	if r.ProblemCount == 0 {
		facts(w, "compared", fmt.Sprintf("%d added, %d changed, %d unchanged, %d removed", r.Added, r.Changed, r.Unchanged, r.Removed))
	}
	if len(r.Ignored) > 0 {
		facts(w, "not read", strings.Join(r.Ignored, ", "))
	}
	for _, p := range r.Problems {
		column := ""
		if p.Column != "" {
			column = ", column " + p.Column
		}
		fmt.Fprintf(w, "  line %d%s: %s\n", p.Line, column, p.Reason)
	}
	if more := r.ProblemCount - len(r.Problems); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

func (a *app) datasetList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List this gateway's datasets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var list items[api.Dataset]
			if err := c.get(cmd.Context(), "/v1/datasets", &list); err != nil {
				return fmt.Errorf("listing datasets: %w", err)
			}
			return a.print(list.Items, func(w io.Writer) {
				var rows [][]string
				for _, d := range list.Items {
					epoch := "none yet"
					if d.EpochTime != "" {
						epoch = fmt.Sprintf("%d of %s", d.Epoch, d.EpochTime)
					}
					rows = append(rows, []string{d.Name, d.Scheme, strconv.Itoa(len(d.Columns)), epoch, d.Title})
				}
				table(w, []string{"DATASET", "SCHEME", "COLUMNS", "EPOCH", "TITLE"}, rows)
			})
		},
	}
}
