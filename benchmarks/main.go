// Command benchmarks measures Grille on the machine it runs on and prints one table: what the statement costs, what importing
// and looking up records costs, how fast entries become final, and what a query between real gateway processes costs from question
// to verified answer.
//
//	go run .                  the whole, some minutes
//	go run . -quick           fewer samples, under a minute: to see that it runs, not to quote
//	go run . -only proof      one part: proof, batch, data, policy, ledger, gossip, claims, network, program, agreement, ceremony, verifier (after `make ts`) or mutation
//	go run . -o json          the same figures for a program
//
// Progress goes to standard error. Figures depend on what else the machine does: the load average is printed with them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The parts of a run, in order.
var parts = []struct {
	name string
	run  func(*bench, context.Context) error
}{{"proof", (*bench).proof}, {"batch", (*bench).batch}, {"data", (*bench).data}, {"policy", (*bench).policy}, {"ledger", (*bench).ledger}, {"gossip", (*bench).gossip}, {"claims", (*bench).claims},
	{"network", (*bench).network}, {"program", (*bench).program}, {"agreement", (*bench).agreement}, {"ceremony", (*bench).ceremony}, {"verifier", (*bench).verifier},
	{"mutation", (*bench).mutation}}

// bench is one run.
type bench struct {
	quick   bool
	rows    int    // of the synthetic dataset
	dir     string // temporary, on the disk that is measured
	started time.Time
	log     io.Writer
	report  Report
}

func main() {
	if child() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		stop()
		os.Exit(1)
	}
}

// child does one measurement in a process of its own, if this is one.
func child() bool {
	children := map[string]func(io.Reader, io.Writer) error{importCommand: importChild, openCommand: openChild, claimsCommand: claimsChild}
	if len(os.Args) != 2 || children[os.Args[1]] == nil {
		return false
	}
	if err := children[os.Args[1]](os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return true
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.SetOutput(log)
	quick := flags.Bool("quick", false, "take few samples")
	rows := flags.Int("rows", 100_000, "rows of the synthetic dataset")
	only := flags.String("only", "", "parts to run, comma-separated: proof, batch, data, policy, ledger, gossip, claims, network, program, agreement, ceremony, verifier, mutation (default all but the last two; a quick run leaves ceremony out unless it is named)")
	format := flags.String("o", "table", "table or json")
	profile := flags.String("cpuprofile", "", "file for a processor profile of the run (go tool pprof)")
	dir := flags.String("dir", "", "folder to work in, on the disk to measure (default: the system's temporary folder)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only, *quick)
	if err != nil {
		return err
	}
	if *format != "table" && *format != "json" || *rows < 1000 || flags.NArg() > 0 {
		return errors.New("called wrongly: -o is table or json, -rows is 1000 or more, and there are no other arguments")
	}
	stop, err := startProfile(*profile)
	if err != nil {
		return err
	}
	defer stop()
	b := &bench{quick: *quick, rows: *rows, started: time.Now(), log: log}
	if b.dir, err = os.MkdirTemp(*dir, "grille-bench-"); err != nil {
		return fmt.Errorf("making a folder to work in: %w", err)
	}
	defer os.RemoveAll(b.dir)
	if b.report.Machine, err = machine(b.dir); err != nil {
		return err
	}
	b.report.Quick = b.quick
	if err := b.measureAll(ctx, chosen); err != nil {
		return err
	}
	if *format == "json" {
		return b.report.writeJSON(out)
	}
	return b.report.writeTable(out)
}

func (b *bench) measureAll(ctx context.Context, chosen []string) error {
	for _, p := range parts {
		if !slices.Contains(chosen, p.name) {
			continue
		}
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("measuring %s: %w", p.name, err)
		}
	}
	b.report.Seconds = time.Since(b.started).Seconds()
	return nil
}

// startProfile writes what the processor does to a file, if one is named, until stop is called.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("making the profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, fmt.Errorf("making the profile: %w", errors.Join(err, f.Close()))
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile cut short says so when it is read
	}, nil
}

func choose(only string, quick bool) ([]string, error) {
	var all, chosen []string
	for _, p := range parts {
		all = append(all, p.name)
	}
	if only == "" { // the verifier needs more than Go, a ceremony takes minutes, however few samples, and mutants are no measurement
		return slices.DeleteFunc(all, func(name string) bool { return name == "verifier" || name == "mutation" || quick && name == "ceremony" }), nil
	}
	for name := range strings.SplitSeq(only, ",") {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("called wrongly: there is no part %q; there are %s", name, strings.Join(all, ", "))
		}
		chosen = append(chosen, name)
	}
	return chosen, nil
}

// stage tells whoever waits what is being measured.
func (b *bench) stage(format string, args ...any) {
	fmt.Fprintf(b.log, "%7.1f s  %s\n", time.Since(b.started).Seconds(), fmt.Sprintf(format, args...))
}

// samples is how many samples to take: n, or few in a quick run.
func (b *bench) samples(n, few int) int {
	if b.quick {
		return few
	}
	return n
}
