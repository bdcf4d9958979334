package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
)

func (a *app) receiptsCommand() *cobra.Command {
	return group("receipts", "Oversee what this gateway asked and was asked", a.receiptsList(), a.receiptsExport(), a.receiptsVerify(),
		a.receiptsReconcile())
}

// period adds the flags that bound a list or a file in time.
func period(c *cobra.Command, since, until *string) {
	c.Flags().StringVar(since, "since", "", "only queries issued then or later, UTC, like 2030-01-01T00:00:00Z")
	c.Flags().StringVar(until, "until", "", "only queries issued before then")
}

// query writes the parameters that are set.
func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

func (a *app) receiptsList() *cobra.Command {
	var q api.ReceiptQuery
	c := &cobra.Command{
		Use: "list", Short: "List the newest queries, refusals included", Args: cobra.NoArgs,
		Long: "Lists what this gateway asked and was asked, newest first: who, which policy, for which purpose, with which outcome. It names no subject.",
		Example: `  grille receipts list --outcome refused
  grille receipts list --broken       # promises of receipts that were not kept in time`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			broken := ""
			if q.Broken {
				broken = "true"
			}
			var list items[api.ReceiptSummary]
			if err := client.advise(client.Get(cmd.Context(), "/v1/receipts"+query("role", q.Role, "peer", q.Peer, "policy", q.Policy, "outcome", q.Outcome,
				"since", q.Since, "until", q.Until, "broken", broken, "limit", strconv.Itoa(q.Limit)), &list)); err != nil {
				return fmt.Errorf("listing receipts: %w", err)
			}
			return a.print(list.Items, func(w io.Writer) {
				var rows [][]string
				for _, r := range list.Items {
					receipt := r.Receipt
					if r.Broken != "" {
						receipt += ": " + r.Broken
					}
					rows = append(rows, []string{r.Issued, r.Role, r.Peer, fmt.Sprintf("%s/%d", r.Policy, r.Version), r.Purpose, outcome(r.Outcome, r.Code), receipt, r.ID})
				}
				table(w, []string{"ISSUED", "ROLE", "PEER", "POLICY", "PURPOSE", "OUTCOME", "RECEIPT", "QUERY ID"}, rows)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&q.Role, "role", "", "asked or answered: this gateway's part")
	f.StringVar(&q.Peer, "peer", "", "the other member")
	f.StringVar(&q.Policy, "policy", "", "name of the policy")
	f.StringVar(&q.Outcome, "outcome", "", "a verdict, refused, rejected or asked; or the code of a refusal")
	period(c, &q.Since, &q.Until)
	f.BoolVar(&q.Broken, "broken", false, "only those whose receipt promise was not kept in time")
	f.IntVar(&q.Limit, "limit", 50, "how many, at most 1000")
	return c
}

func outcome(outcome, code string) string {
	if code == "" {
		return outcome
	}
	return outcome + ": " + code
}

func (a *app) receiptsExport() *cobra.Command {
	var e api.ReceiptExport
	var out string
	c := &cobra.Command{
		Use: "export", Short: "Write a signed file of receipts with inclusion proofs", Args: cobra.NoArgs,
		Long: `Writes what this gateway asked and was asked in a time, refusals included, each with the path of its receipt to a batch on the ledger and
that batch's place under a final checkpoint. The file names subjects by their tags only. grille receipts verify checks it offline,
grille receipts reconcile compares it with the other side's. One file holds 4096 queries.`,
		Example: `  grille receipts export --since 2030-01-01T00:00:00Z --until 2030-02-01T00:00:00Z --peer GOV/health -f january.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var data []byte
			if err := client.advise(client.Get(cmd.Context(), "/v1/receipts/export"+query("since", e.Since, "until", e.Until, "peer", e.Peer), &data)); err != nil {
				return fmt.Errorf("exporting receipts: %w", err)
			}
			return a.writeFile(out, data, 0o600)
		},
	}
	period(c, &e.Since, &e.Until)
	c.Flags().StringVar(&e.Peer, "peer", "", "only queries to or from that member")
	c.Flags().StringVarP(&out, "file", "f", "-", "where to write it; - for standard output")
	return c
}

const networkFlag = "the network configuration, or a chain of them (default: the gateway's)"

func (a *app) receiptsVerify() *cobra.Command {
	var networkPath string
	c := &cobra.Command{
		Use: "verify FILE [--network network.json]", Short: "Check a file of receipts, offline", Args: cobra.ExactArgs(1),
		Long: `Checks every signature, path and checkpoint in a file that grille receipts export wrote. It needs no gateway: what you trust is the
network configuration, whose fingerprint is printed. That nothing was left out is the word of the member that signed the file;
grille receipts reconcile tests it against the other side's. Exit code 3 means that the file does not verify.`,
		RunE: func(_ *cobra.Command, args []string) error {
			chain, err := a.trusted(networkPath)
			if err != nil {
				return err
			}
			report, err := a.readTrace(args[0], chain, trace.KindReceipts)
			if err != nil {
				return err
			}
			return a.printTrace(report, chain)
		},
	}
	c.Flags().StringVar(&networkPath, "network", "", networkFlag)
	return c
}

// readTrace reads and verifies a file of one kind.
func (a *app) readTrace(path string, chain *network.Chain, kind string) (*trace.Report, error) {
	data, err := readLimited(path, trace.MaxFile)
	if err != nil {
		return nil, fmt.Errorf("reading a file of receipts: %w", err)
	}
	report, err := trace.Verify(configurations(chain), data)
	if err != nil {
		if a.output == "json" {
			if printErr := a.print(map[string]any{"verified": false}, nil); printErr != nil {
				return nil, printErr
			}
		}
		return nil, errFalse{fmt.Errorf("%s does not verify: %w", path, err)}
	}
	switch other := report.File.Kind; {
	case other == kind:
		return report, nil
	case other == trace.KindSubject:
		return nil, usagef("%s is one person's log: use grille subject verify", path)
	}
	return nil, usagef("%s is an officer's file: use grille receipts verify", path)
}

// configurations are those of a chain, newest first.
func configurations(chain *network.Chain) []*network.Configuration {
	return (&bundle.Verifier{Config: chain.Newest(), Chain: chain}).Configurations()
}

// traced is what a verified file says.
type traced struct {
	Verified    bool         `json:"verified"`
	Network     string       `json:"network"`
	Fingerprint string       `json:"network_fingerprint"`
	Kind        string       `json:"kind"`
	Member      string       `json:"member"`
	Made        string       `json:"made"`
	Since       string       `json:"since,omitempty"`
	Until       string       `json:"until,omitempty"`
	Peer        string       `json:"peer,omitempty"`
	Counts      trace.Report `json:"counts"`
	Queries     []tracedItem `json:"queries"`
}

type tracedItem struct {
	bundle.Query
	Role    string `json:"role"`
	Peer    string `json:"peer"`
	Outcome string `json:"outcome"`
	Code    string `json:"code,omitempty"`
	Receipt string `json:"receipt"` // logged, pending, broken, or none without a reply
}

func (a *app) printTrace(r *trace.Report, chain *network.Chain) error {
	f := r.File
	t := traced{Verified: true, Network: f.Instance, Fingerprint: fingerprint(chain.Pinned().Digest()), Kind: f.Kind, Member: f.Member, Made: f.Made,
		Since: f.Since, Until: f.Until, Peer: f.Peer, Counts: *r, Queries: []tracedItem{}}
	var rows [][]string
	for _, rec := range f.Records {
		item := tracedItem{Query: *rec.Asks(), Role: rec.Role, Peer: rec.Peer(), Outcome: rec.Outcome, Code: rec.Code, Receipt: receiptState(rec)}
		t.Queries = append(t.Queries, item)
		rows = append(rows, []string{item.Issued, item.Role, item.Peer, fmt.Sprintf("%s/%d", item.Policy, item.PolicyVersion), item.Purpose,
			item.LegalBasis, outcome(item.Outcome, item.Code), item.Receipt, item.ID})
	}
	return a.print(t, func(w io.Writer) {
		fmt.Fprintf(w, "Verified: %d queries that %s recorded\n", r.Records, f.Member)
		about := ""
		if f.Kind == trace.KindSubject {
			about = fmt.Sprintf("%d of this person", r.OfPerson)
			if r.Unopened > 0 {
				about += fmt.Sprintf(", %d that named this person under another's tag", r.Unopened)
			}
		}
		facts(w, "made", f.Made, "from", f.Since, "until", f.Until, "with", f.Peer, "about", about,
			"receipts", fmt.Sprintf("%d logged, %d pending, %d promises broken", r.Logged, r.Pending, r.Broken),
			"network", f.Instance+" "+t.Fingerprint)
		if len(rows) > 0 {
			table(w, []string{"\nISSUED", "ROLE", "PEER", "POLICY", "PURPOSE", "LEGAL BASIS", "OUTCOME", "RECEIPT", "QUERY ID"}, rows)
		}
	})
}

func receiptState(r *trace.Record) string {
	switch {
	case r.Broken != "":
		return "broken: " + r.Broken
	case r.Promise == nil:
		return "none"
	case r.Path == nil:
		return "pending"
	}
	return "logged"
}

func (a *app) receiptsReconcile() *cobra.Command {
	var networkPath string
	c := &cobra.Command{
		Use: "reconcile FILE_A FILE_B [--network network.json]", Short: "Compare the files of two members, offline", Args: cobra.ExactArgs(2),
		Long: `Verifies both files and compares what each member says of the queries between them, in the time that both files cover: queries that one
side does not show, answers without a reply at the other side, different outcomes, promises that were not kept in time. Exit code 3
means that something does not match, or that a file does not verify.`,
		RunE: func(_ *cobra.Command, args []string) error {
			chain, err := a.trusted(networkPath)
			if err != nil {
				return err
			}
			var files [2]*trace.File
			for i, path := range args {
				report, err := a.readTrace(path, chain, trace.KindReceipts)
				if err != nil {
					return err
				}
				files[i] = report.File
			}
			return a.reconcile(configurations(chain), files)
		},
	}
	c.Flags().StringVar(&networkPath, "network", "", networkFlag)
	return c
}

// reconcile compares both directions: each member may hold what the other asks.
func (a *app) reconcile(all []*network.Configuration, files [2]*trace.File) error {
	var both []*trace.Reconciliation
	differences := 0
	for i, holder := range files {
		r, err := trace.Reconcile(all, holder, files[1-i])
		if err != nil {
			return err
		}
		both, differences = append(both, r), differences+len(r.Differences)
	}
	err := a.print(map[string]any{"matches": differences == 0, "exchanges": both}, func(w io.Writer) {
		for _, r := range both {
			if r.Compared+r.Later > 0 {
				printReconciliation(w, r)
			}
		}
		if both[0].Compared+both[1].Compared+both[0].Later+both[1].Later == 0 {
			fmt.Fprintf(w, "Neither %s nor %s shows a query between the two.\n", files[0].Member, files[1].Member)
		}
	})
	if err == nil && differences > 0 {
		err = errFalse{fmt.Errorf("reconciling: %d differences", differences)}
	}
	return err
}

func printReconciliation(w io.Writer, r *trace.Reconciliation) {
	fmt.Fprintf(w, "%s asked %s: %d queries compared, %d agree\n", r.Requester, r.Holder, r.Compared, r.Agreeing)
	later := ""
	if r.Later > 0 {
		later = fmt.Sprintf("%d: one of the files was made too early to show them", r.Later)
	}
	facts(w, "from", r.Since, "until", r.Until, "not compared", later)
	var rows [][]string
	for _, d := range r.Differences {
		rows = append(rows, []string{d.Kind, d.Issued, fmt.Sprintf("%s/%d", d.Policy, d.Version), d.Purpose, orNone(d.Holder), orNone(d.Requester), d.ID})
	}
	if len(rows) > 0 {
		table(w, []string{"DIFFERENCE", "ISSUED", "POLICY", "PURPOSE", "HOLDER SAYS", "REQUESTER SAYS", "QUERY ID"}, rows)
	}
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
