package main

import (
	"context"
	"flag"
	"fmt"
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
	list := flag.Bool("list", false, "list the mutants and run none")
	dir := flag.String("dir", ".", "root of the module")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survivors, err := run(ctx, *dir, *only, *every, *list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(2)
	}
	if survivors > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, only string, every int, list bool) (survivors int, err error) {
	began := time.Now()
	sources, mutants, err := plant(dir + "/circuits")
	if err != nil {
		return 0, err
	}
	planted := len(mutants)
	mutants = slices.DeleteFunc(mutants, func(m mutant) bool {
		return !strings.Contains(m.group+" "+m.place()+" "+m.change, only) || m.id%every != 0
	})
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "GROUP\tPLACE\tMUTANT\tCAUGHT BY")
	if list {
		for _, m := range mutants {
			fmt.Fprintf(out, "%s\t%s\t%s\t\n", m.group, m.place(), m.change)
		}
		return 0, out.Flush()
	}
	b, err := build(ctx, dir, sources)
	if err != nil {
		return 0, err
	}
	defer b.remove()
	if err := b.honest(ctx); err != nil {
		return 0, err
	}
	killers, err := b.all(ctx, mutants)
	if err != nil {
		return 0, err
	}
	for i, m := range mutants {
		if killers[i] == "" {
			survivors++
			killers[i] = "NOTHING"
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", m.group, m.place(), m.change, killers[i])
	}
	if err := out.Flush(); err != nil {
		return survivors, err
	}
	fmt.Printf("\n%d mutants of %d, %d caught, %d survive, in %v. A test counts when it shows a wrong statement accepted or an honest one\n"+
		"refused; the golden file, the circuit's id, size and shape do not.\n",
		len(mutants), planted, len(mutants)-survivors, survivors, time.Since(began).Round(time.Second))
	return survivors, nil
}

func (m mutant) place() string { return fmt.Sprintf("%s:%d", m.file, m.line) }
