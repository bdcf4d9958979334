package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/config"
)

// Exit codes, documented in --help and stable.
const (
	exitDone   = 0 // the command did what it says
	exitFailed = 1 // it could not
	exitUsage  = 2 // it was called wrongly; nothing was done
	exitFalse  = 3 // something was verified and found false
)

// terminal is where a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// app is what all commands share.
type app struct {
	terminal
	dir    string // --dir: the gateway's folder
	output string // --output: text or json
	began  bool   // a command's own code was reached, so its arguments were right
}

// errFalse marks an error about something that was verified and found false.
type errFalse struct{ error }

func (e errFalse) Unwrap() error { return e.error }

// errUsage marks an error about how the command was called.
type errUsage struct{ error }

func (e errUsage) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return errUsage{fmt.Errorf(format, args...)} }

// hinted is an error with the next command to try.
type hinted struct {
	error
	next string
}

func (e hinted) Unwrap() error { return e.error }

// hint adds the next command to an error.
func hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return hinted{err, fmt.Sprintf(format, args...)}
}

// run executes one command line and returns its exit code.
func run(ctx context.Context, args []string, t terminal) int {
	a := &app{terminal: t}
	root := a.command()
	root.SetArgs(args)
	root.SetIn(t.in)
	root.SetOut(t.out)
	root.SetErr(t.err)
	called, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	var usage errUsage
	isUsage := errors.As(err, &usage) || !a.began
	a.report(err)
	switch verified := (errFalse{}); {
	case isUsage:
		fmt.Fprintf(t.err, "  next: %s --help\n", called.CommandPath())
		return exitUsage
	case errors.As(err, &verified):
		return exitFalse
	}
	return exitFailed
}

// report says what happened, why, and what to do next.
func (a *app) report(err error) {
	fmt.Fprintf(a.err, "grille: %v\n", err)
	var h hinted
	if errors.As(err, &h) {
		fmt.Fprintf(a.err, "  next: %s\n", h.next)
	}
}

const rootLong = `Grille answers eligibility questions between departments with proofs instead of data.

Each department runs one gateway in one folder. "grille init" makes the folder, "grille network build" and "grille network
adopt" agree with the others on who takes part, "grille serve" runs the gateway. The other commands talk to a running gateway
over its REST interface, with the token in its folder (--dir or GRILLE_DIR).

Exit codes: 0 done; 1 failed; 2 called wrongly, nothing was done; 3 verified and found false.`

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use: "grille", Short: "Answer eligibility questions between departments with proofs instead of data", Long: rootLong,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "text" && a.output != "json" {
				return usagef("--output is %q: write text or json", a.output)
			}
			return nil
		},
	}
	dir := os.Getenv("GRILLE_DIR")
	if dir == "" {
		dir = "."
	}
	root.PersistentFlags().StringVarP(&a.dir, "dir", "d", dir, "the gateway's folder (env GRILLE_DIR)")
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "how results are printed: text or json")
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(&cobra.Group{ID: "try", Title: "Try it:"}, &cobra.Group{ID: "setup", Title: "Set up:"}, &cobra.Group{ID: "use", Title: "Use a running gateway:"},
		&cobra.Group{ID: "oversee", Title: "Oversee:"}, &cobra.Group{ID: "check", Title: "Check:"})
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("try", a.demoCommand())
	members := a.networkCommand()
	members.AddCommand(a.successionCommands()...)
	add("setup", a.initCommand(), members, a.keysCommand(), a.ceremonyCommand(), a.serveCommand())
	add("use", a.datasetCommand(), a.policyCommand(), a.agreementCommand(), a.groupCommand(), a.publishCommand(), a.scopeCommand(), a.programCommand(),
		a.askCommand(), a.answerCommand(), a.ledgerCommand(), a.statusCommand())
	add("oversee", a.receiptsCommand(), a.subjectCommand(), a.approveCommand())
	add("check", a.verifyCommand(), a.doctorCommand(), a.versionCommand(), a.demoCommand())
	a.note(root)
	return root
}

// note makes every command tell that its own code was reached: cobra checks arguments and flags before that, and its
// errors about them have no type.
func (a *app) note(c *cobra.Command) {
	if body := c.RunE; body != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.began = true
			return body(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		a.note(sub)
	}
}

// group is a command that only has others below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return errors.Join(cmd.Help(), usagef("%s needs one of: %s", cmd.CommandPath(), names(cmd.Commands())))
	}}
	c.AddCommand(commands...)
	return c
}

func names(commands []*cobra.Command) string {
	var list []string
	for _, c := range commands {
		if c.IsAvailableCommand() {
			list = append(list, c.Name())
		}
	}
	return strings.Join(list, ", ")
}

// folder is the gateway's folder: the argument at i if given, else --dir.
func (a *app) folder(args []string, i int) config.Folder {
	if i < len(args) {
		return config.Folder(args[i])
	}
	return config.Folder(a.dir)
}

// print writes a result: v as JSON, or what text writes.
func (a *app) print(v any, text func(w io.Writer)) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	text(a.out)
	return nil
}
