package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/node/api"
)

func (a *app) subjectCommand() *cobra.Command {
	return group("subject", "Show a person who asked about them", a.subjectToken(), a.subjectLog(), a.subjectVerify())
}

func (a *app) subjectToken() *cobra.Command {
	r := api.TokenRequest{}
	var subjectFile string
	c := &cobra.Command{
		Use: "token", Short: "Issue a one-time token for one person's log", Args: cobra.NoArgs,
		Long: `Issues a one-time token for the log of the queries about one person. Identify the person first, your own way: whoever has the token sees
the log. The subject's id is read from standard input or a file, never from the command line. The gateway keeps the token's hash. It
does not look whether there is a record of the person, or any query.`,
		Example: `  grille subject token --hours 48 < id.txt`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if r.Subject, err = a.readSubject(subjectFile); err != nil {
				return err
			}
			var token api.Token
			if err := client.post(cmd.Context(), "/v1/person-log/tokens", r, &token); err != nil {
				return err // which says that it is about a token
			}
			return a.print(token, func(w io.Writer) {
				fmt.Fprintln(w, token.Token)
				fmt.Fprintf(a.err, "Good once, until %s. Next, for the person: grille subject log -f log.json, with the token on standard input\n", token.Expires)
			})
		},
	}
	c.Flags().StringVar(&r.Scheme, "scheme", "", "identifier scheme of the subject's id; needed where the network has several")
	c.Flags().IntVar(&r.Hours, "hours", 24, "how long the token can be redeemed, at most 744")
	c.Flags().StringVar(&subjectFile, "subject-file", "-", "file with the subject's id; - for standard input")
	return c
}

func (a *app) subjectLog() *cobra.Command {
	var r api.LogRequest
	var tokenFile, out string
	c := &cobra.Command{
		Use: "log", Short: "Redeem a token: write one person's log", Args: cobra.NoArgs,
		Long: `Redeems a token, read from standard input or a file, and writes the queries about that person which this gateway asked, answered or
refused, with inclusion proofs. Whoever nobody asked about gets an empty log of the same size. grille subject verify checks it offline.`,
		Example: `  grille subject log -f log.json < token.txt`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if r.Token, err = a.readToken(tokenFile); err != nil {
				return err
			}
			var data []byte
			if err := client.post(cmd.Context(), "/v1/person-log", r, &data); err != nil {
				return fmt.Errorf("redeeming a token: %w", err)
			}
			if err := a.writeFile(out, data, 0o600); err != nil {
				return err
			}
			if out != "-" {
				fmt.Fprintf(a.err, "Written to %s. Next: grille subject verify %s --network network.json, with the person's id on standard input\n", out, out)
			}
			return nil
		},
	}
	period(c, &r.Since, &r.Until)
	c.Flags().StringVar(&tokenFile, "token-file", "-", "file with the token; - for standard input")
	c.Flags().StringVarP(&out, "file", "f", "-", "where to write it; - for standard output")
	return c
}

// readToken reads one line.
func (a *app) readToken(path string) (string, error) {
	in := a.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("reading the token: %w", err)
		}
		defer file.Close()
		in = file
	} else if f, ok := in.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(a.err, "Token: ")
	}
	line, err := bufio.NewReader(io.LimitReader(in, 130)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" || len(line) > 128 {
		return "", usagef("there is no token on standard input")
	}
	return line, nil
}

func (a *app) subjectVerify() *cobra.Command {
	var networkPath, subjectFile string
	c := &cobra.Command{
		Use: "verify FILE [--network network.json]", Short: "Check one person's log, offline", Args: cobra.ExactArgs(1),
		Long: `Checks every signature, path and checkpoint in a log that grille subject log wrote, and that its queries are about the person whose id is on
standard input or in a file. It needs no gateway: what you trust is the network configuration, whose fingerprint is printed. Exit
code 3 means that the file does not verify, or is about somebody else.`,
		Example: `  grille subject verify log.json --network network.json < id.txt`,
		RunE: func(_ *cobra.Command, args []string) error {
			chain, err := a.trusted(networkPath)
			if err != nil {
				return err
			}
			report, err := a.readTrace(args[0], chain, trace.KindSubject)
			if err != nil {
				return err
			}
			subject, err := a.readSubject(subjectFile)
			if err != nil {
				return err
			}
			if err := report.About(chain.Newest(), subject); err != nil {
				return errFalse{fmt.Errorf("%s does not verify: %w", args[0], err)}
			}
			return a.printTrace(report, chain)
		},
	}
	c.Flags().StringVar(&networkPath, "network", "", networkFlag)
	c.Flags().StringVar(&subjectFile, "subject-file", "-", "file with the subject's id; - for standard input")
	return c
}
