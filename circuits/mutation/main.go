package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	only := flag.String("only", "", "run the mutants whose group, place or text has this in it")
	every := flag.Int("every", 1, "run every nth mutant")
	asJSON := flag.Bool("json", false, "print how many there are and how many were caught, for a program")
	list := flag.Bool("list", false, "list the mutants and run none")
	dir := flag.String("dir", ".", "root of the module")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survivors, err := run(ctx, *dir, *only, *every, *list, *asJSON)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(2)
	}
	if survivors > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, only string, every int, list, asJSON bool) (survivors int, err error) {
	if every < 1 {
		return 0, errors.New("-every is 1 or more")
	}
	began := time.Now()
	sources, mutants, err := plant(dir + "/circuits")
	if err != nil {
		return 0, err
	}
	mutants = slices.DeleteFunc(mutants, func(m mutant) bool {
		return !strings.Contains(m.group+" "+m.place()+" "+m.change, only) || m.id%every != 0
	})
	if list {
		return 0, table(os.Stdout, mutants, make([]string, len(mutants)))
	}
	b, err := build(ctx, dir, sources)
	if err != nil {
		return 0, err
	}
	defer b.remove()
	// The golden file among them: what is planted is the pinned circuit.
	if err := b.honest(ctx, "^(TestGolden|TestStatementHolds|TestForgeries)$|"+second); err != nil {
		return 0, err
	}
	killers, err := b.all(ctx, mutants)
	if err != nil {
		return 0, err
	}
	return report(os.Stdout, mutants, killers, time.Since(began).Round(time.Second), asJSON)
}

// report prints what caught each mutant, and returns how many nothing caught.
func report(out io.Writer, mutants []mutant, killers []string, took time.Duration, asJSON bool) (survivors int, err error) {
	for i := range killers {
		if killers[i] == "" {
			survivors++
			killers[i] = "NOTHING"
		}
	}
	caught := len(mutants) - survivors
	if asJSON {
		return survivors, json.NewEncoder(out).Encode(map[string]any{"mutants": len(mutants), "caught": caught, "seconds": took.Seconds()})
	}
	if err := table(out, mutants, killers); err != nil {
		return survivors, err
	}
	_, err = fmt.Fprintf(out, "\n%d mutants, %d caught, %d survive, in %v. A test counts when it shows a wrong statement accepted or an honest one\n"+
		"refused; the golden file, the circuit's id, size and shape do not.\n", len(mutants), caught, survivors, took)
	return survivors, err
}

func table(out io.Writer, mutants []mutant, killers []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GROUP\tPLACE\tMUTANT\tCAUGHT BY")
	for i, m := range mutants {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.group, m.place(), m.change, killers[i])
	}
	return w.Flush()
}

func (m mutant) place() string { return fmt.Sprintf("%s:%d", m.file, m.line) }
