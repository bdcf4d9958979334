package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/audit"
	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

func (a *app) ledgerAudit() *cobra.Command {
	var dir, networkPath string
	c := &cobra.Command{
		Use: "audit", Short: "Read all logs again from their files and check everything", Args: cobra.NoArgs,
		Long: `Computes every hash of every log anew from the entries, and compares it with the hash tiles, the signatures of owners and mirrors,
what this gateway's own keys signed, and the index; and checks that what each owner wrote is coherent. It writes nothing and may run
beside the gateway, or on a copy of a ledger folder. What you trust is the network configuration, whose fingerprint is printed. What
each code means and what to do is in docs/operations.md. Exit code 3 means that something is wrong.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chain, err := a.trusted(networkPath)
			if err != nil {
				return err
			}
			report, err := audit.Run(cmd.Context(), audit.Options{Dir: a.ledgerDir(dir), Chain: chain, Progress: a.reading("reading entries")})
			if err != nil {
				return noLedger(err)
			}
			if err := a.print(audited{report.Clean(), report}, func(w io.Writer) { printAudit(w, report, chain) }); err != nil || report.Clean() {
				return err
			}
			return errFalse{fmt.Errorf("auditing the ledger: something is wrong")}
		},
	}
	c.Flags().StringVar(&dir, "ledger", "", "the ledger's folder (default: the gateway's)")
	c.Flags().StringVar(&networkPath, "network", "", "the network configuration, or a chain of them (default: the gateway's)")
	return c
}

// ledgerDir is the ledger's folder: the one named, or the gateway's.
func (a *app) ledgerDir(dir string) string {
	if dir != "" {
		return dir
	}
	return a.folder(nil, 0).Ledger()
}

// trusted reads the network configuration named, or the gateway's: a configuration, or a chain that begins with one.
func (a *app) trusted(path string) (*network.Chain, error) {
	if path == "" {
		path = a.folder(nil, 0).Path("network.json")
	}
	data, err := readLimited(path, network.MaxChainSize)
	if errors.Is(err, os.ErrNotExist) {
		return nil, hint(fmt.Errorf("reading the network configuration: %w", err), "name it with --network, or the gateway's folder with --dir")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the network configuration: %w", err)
	}
	chain, err := network.ReadChain(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return chain, nil
}

func noLedger(err error) error {
	if errors.Is(err, audit.ErrNoLedger) {
		return hint(err, "name the folder that holds logs/; a gateway's is DIR/ledger")
	}
	return err
}

// reading shows how many entries were read: a bar on a terminal; elsewhere a line for each tenth of what takes over a second.
func (a *app) reading(what string) func(done, total int64) {
	began, bar, tenth := time.Now(), (*progressbar.ProgressBar)(nil), int64(0)
	return func(done, total int64) {
		if isTerminal(a.err) {
			if bar == nil {
				bar = progressbar.NewOptions64(total, progressbar.OptionSetDescription(what), progressbar.OptionSetWriter(a.err),
					progressbar.OptionShowCount(), progressbar.OptionClearOnFinish())
			}
			_ = bar.Set64(done) // a closed terminal
			return
		}
		if t := 10 * done / max(1, total); t > tenth && time.Since(began) > time.Second {
			tenth = t
			fmt.Fprintf(a.err, "%s: %d %%\n", what, 10*t)
		}
	}
}

// audited is what audit prints as JSON.
type audited struct {
	Clean bool `json:"clean"`
	*audit.Report
}

func printAudit(w io.Writer, r *audit.Report, chain *network.Chain) {
	whose := "A copy of the ledger"
	if r.Member != "" {
		whose = "The ledger of " + r.Member
	}
	fmt.Fprintf(w, "%s, instance %s\n", whose, r.Instance)
	facts(w, "trusted", fmt.Sprintf("configuration %d, %s", chain.Pinned().Version, fingerprint(chain.Pinned().Digest())),
		"in force", fmt.Sprintf("configuration %d, %s", r.Version, fingerprint(r.Digest)))
	var rows [][]string
	entries, bytes := int64(0), int64(0)
	for _, l := range r.Logs {
		entries, bytes = entries+l.Entries, bytes+l.Bytes
		rows = append(rows, []string{logName(l), number(l.Size), number(l.Entries), number(l.Void), number(l.Beats), number(l.Missed), number(l.Late),
			fmt.Sprintf("%d mirrors", len(l.Heads)), stateOf(l)})
	}
	table(w, []string{"\nLOG", "FINAL", "READ", "VOID", "BEATS", "MISSED", "LATE", "COSIGNED", "STATE"}, rows)
	for _, p := range r.Problems {
		printProblem(w, "the folder", p)
	}
	for _, l := range r.Logs {
		for _, p := range l.Problems {
			printProblem(w, logName(l), p)
		}
		if l.More > 0 {
			fmt.Fprintf(w, "%s: %d more\n", logName(l), l.More)
		}
	}
	verdict := "Clean"
	if !r.Clean() {
		verdict = "NOT CLEAN"
	}
	fmt.Fprintf(w, "\n%s: %d entries, %.1f MB, in %.1f s\n", verdict, entries, float64(bytes)/1e6, r.Took)
}

// logName is a log's owner, and its generation from the second on.
func logName(l *audit.Log) string {
	generation := l.Origin[strings.LastIndexByte(l.Origin, '/')+1:]
	if generation == "1" {
		return l.Owner
	}
	return l.Owner + " log " + generation
}

func stateOf(l *audit.Log) string {
	switch {
	case !l.Clean():
		return "NOT CLEAN"
	case l.Fenced:
		return "ended"
	case l.Size == 0:
		return "nothing final"
	}
	return "clean"
}

func printProblem(w io.Writer, where string, p audit.Problem) {
	mark := "! "
	if p.Remark {
		mark = "  "
	}
	if p.Index >= 0 {
		where += " entry " + number(p.Index)
	}
	fmt.Fprintf(w, "%s%s: %s (%s)\n", mark, where, p.Text, p.Code)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

func (a *app) ledgerFsck() *cobra.Command {
	return &cobra.Command{
		Use: "fsck [DIR]", Short: "Check a ledger's files: what the next start would repair or refuse", Args: cobra.MaximumNArgs(1),
		Long: `Looks at every file of a ledger's folder (default: the gateway's) without any key or configuration: whether tiles, heads, signer states
and index are whole and agree with one another, what a killed process left behind, and who may write. It writes nothing. Stop the
gateway first, or what it is just writing shows as left behind. Exit code 3 means that the next start would refuse the folder. Who
signed what is the question of grille ledger audit.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := a.ledgerDir("")
			if len(args) == 1 {
				dir = args[0]
			}
			files, err := audit.Fsck(cmd.Context(), dir, a.reading("reading entries"))
			if err != nil {
				return noLedger(err)
			}
			result := struct {
				Opens bool `json:"opens"`
				*audit.Files
			}{files.Opens(), files}
			if err := a.print(result, func(w io.Writer) { printFiles(w, files) }); err != nil || files.Opens() {
				return err
			}
			return errFalse{fmt.Errorf("checking the ledger's files: the next start would refuse them")}
		},
	}
}

func printFiles(w io.Writer, f *audit.Files) {
	fmt.Fprintf(w, "%s: %d files, %.1f MB\n", f.Dir, f.Count, float64(f.Bytes)/1e6)
	var rows [][]string
	for _, l := range f.Logs {
		rows = append(rows, []string{l.Origin, number(l.Final), number(l.Size), number(l.Beyond), strconv.Itoa(l.Tiles), strconv.Itoa(l.Partial)})
	}
	table(w, []string{"\nLOG", "FINAL", "SIGNED", "BEYOND", "TILES", "PARTIAL"}, rows)
	count := make(map[audit.Start]int)
	for _, g := range f.Findings {
		count[g.Start]++
		fmt.Fprintf(w, "%-8s %s: %s\n", g.Start, g.Path, g.Text)
	}
	if len(f.Findings) == 0 {
		fmt.Fprintln(w, "\nAll files are as they should be.")
		return
	}
	fmt.Fprintf(w, "\nThe next start repairs %d, leaves %d and refuses %d.\n", count[audit.Repairs], count[audit.Leaves], count[audit.Refuses])
}

func (a *app) ledgerEvidence() *cobra.Command {
	var networkPath string
	c := &cobra.Command{
		Use: "evidence [FILE...]", Short: "Check evidence that somebody signed two histories of a log",
		Long: `Verifies evidence files, offline, and says who signed what: two checkpoints of one log that no single history can hold. Without a file
it takes those that the gateway in the folder keeps. What you trust is the network configuration. Exit code 3 means that a file proves
nothing; nobody is accused then.`,
		RunE: func(_ *cobra.Command, args []string) error {
			chain, err := a.trusted(networkPath)
			if err != nil {
				return err
			}
			dir := a.folder(nil, 0).Ledger()
			if chain, err = audit.LoadChain(dir, chain); err != nil { // it ends before the link that is none
				fmt.Fprintf(a.err, "%v\n", err)
			}
			if len(args) == 0 {
				if args, err = filepath.Glob(filepath.Join(dir, "evidence", "*.txt")); err != nil {
					return fmt.Errorf("listing evidence: %w", err)
				}
			}
			return a.judge(args, chain)
		},
	}
	c.Flags().StringVar(&networkPath, "network", "", "the network configuration, or a chain of them (default: the gateway's)")
	return c
}

// found is what evidence prints for each file.
type found struct {
	File    string    `json:"file"`
	Holds   bool      `json:"holds"`
	Reason  string    `json:"reason,omitempty"` // why it does not
	ID      string    `json:"id,omitempty"`
	Origin  string    `json:"origin,omitempty"`
	Owner   string    `json:"owner,omitempty"`
	First   *treeJSON `json:"first,omitempty"`
	Second  *treeJSON `json:"second,omitempty"`
	Root    string    `json:"root,omitempty"` // that the second's history has at the first's size
	Mirrors []string  `json:"mirrors,omitempty"`
}

type treeJSON struct {
	Size int64  `json:"size"`
	Root string `json:"root"`
}

// judge verifies evidence files.
func (a *app) judge(paths []string, chain *network.Chain) error {
	versions := chain.Versions()
	keys := make([]evidence.Keys, len(versions))
	for i, cfg := range versions {
		keys[len(versions)-1-i] = cfg
	}
	list := make([]found, len(paths))
	var bad []error
	for i, path := range paths {
		data, err := readLimited(path, evidence.MaxSize)
		if err != nil {
			return fmt.Errorf("reading evidence: %w", err)
		}
		if list[i], err = judgeOne(path, data, keys); err != nil {
			bad = append(bad, fmt.Errorf("%s proves nothing: %w", path, err))
		}
	}
	err := a.print(items[found]{Items: list}, func(w io.Writer) {
		for _, f := range list {
			if f.Holds {
				printFound(w, f)
			}
		}
		if len(list) == 0 {
			fmt.Fprintln(w, "There is no evidence in the gateway's folder.")
		}
	})
	if err != nil || len(bad) == 0 {
		return err
	}
	return errFalse{errors.Join(bad...)}
}

func judgeOne(path string, data []byte, keys []evidence.Keys) (found, error) {
	e, err := evidence.Parse(data)
	var f evidence.Finding
	if err == nil {
		f, err = e.Verify(keys...)
	}
	if err != nil {
		return found{File: path, Reason: err.Error()}, err
	}
	return found{File: path, Holds: true, ID: f.ID(), Origin: f.Origin, Owner: f.Owner, Mirrors: f.Mirrors, Root: e.Root.String(),
		First: &treeJSON{f.First.N, f.First.Hash.String()}, Second: &treeJSON{f.Second.N, f.Second.Hash.String()}}, nil
}

func printFound(w io.Writer, f found) {
	fmt.Fprintf(w, "%s signed two histories of its log %s.\n", f.Owner, f.Origin)
	fmt.Fprintf(w, "  One has %d entries with the root %s.\n", f.First.Size, f.First.Root)
	if f.First.Size == f.Second.Size {
		fmt.Fprintf(w, "  The other has as many with the root %s.\n", f.Second.Root)
	} else {
		fmt.Fprintf(w, "  The other has %d with the root %s; its first %d have the root %s.\n", f.Second.Size, f.Second.Root, f.First.Size, f.Root)
	}
	fmt.Fprintln(w, "  Both bear the signature of its log key, and no history can be both.")
	for _, m := range f.Mirrors {
		fmt.Fprintf(w, "  %s cosigned both, which no mirror does that keeps to the rules.\n", m)
	}
	if len(f.Mirrors) == 0 {
		fmt.Fprintln(w, "  No mirror is shown to have cosigned both.")
	}
	facts(w, "finding", f.ID, "file", f.File)
}

// A copiedLedger is a ledger folder that proves what was in force when an answer was given. A log is read, all of it, when the
// verifier first asks for it.
type copiedLedger struct {
	ctx      context.Context // of the command
	options  audit.Options
	ledgers  map[string]*audit.Ledger // by origin
	err      error
	warnings io.Writer
}

func (l *copiedLedger) open(origin string) *audit.Ledger {
	if l.ledgers[origin] != nil || l.err != nil {
		return l.ledgers[origin]
	}
	options := l.options
	options.Origins = []string{origin}
	opened, err := audit.Open(l.ctx, options)
	if err != nil {
		l.err = err
		return nil
	}
	for _, p := range opened.Report().All() {
		if !p.Remark {
			printProblem(l.warnings, "the ledger's copy of "+origin, p)
		}
	}
	if l.ledgers == nil {
		l.ledgers = map[string]*audit.Ledger{}
	}
	l.ledgers[origin] = opened
	return opened
}

// View implements bundle.Replica.
func (l *copiedLedger) View(origin string, size uint64) *view.View {
	opened := l.open(origin)
	if opened == nil {
		return nil
	}
	return opened.View(origin, size)
}

// Read implements bundle.ClaimLog.
func (l *copiedLedger) Read(origin string, from, to uint64) ([][]byte, error) {
	opened := l.open(origin)
	if opened == nil {
		return nil, l.err
	}
	return opened.Read(origin, from, to)
}

// Inclusion implements bundle.Replica.
func (l *copiedLedger) Inclusion(origin string, index, size uint64) ([]tlog.Hash, error) {
	opened := l.open(origin)
	if opened == nil {
		return nil, l.err
	}
	return opened.Inclusion(origin, index, size)
}
