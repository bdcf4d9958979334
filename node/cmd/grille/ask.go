package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/node/api"
)

func (a *app) askCommand() *cobra.Command {
	var q api.Question
	var subjectFile, resend, scope string
	c := &cobra.Command{
		Use: "ask", Aliases: []string{"query"}, Short: "Ask a holder one question about one subject", Args: cobra.NoArgs,
		Long: `Asks one question and prints the verdict, after this gateway has verified its evidence. The subject's id is read from standard
input or a file, never from the command line, where other users of the machine and the shell's history would see it.`,
		Example: `  grille ask --holder GOV/health --policy aged-75 --purpose "care allowance" --legal-basis "s. 12" < id.txt
  grille ask --holder GOV/land --policy clear-title --purpose "..." --legal-basis "..." --disclose owner --as-of 2026-03-01 < parcel.txt
  grille ask --resend 2f6c...     # the same question again, after no reply; it is charged once`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if scope != "" {
				name, err := scopeArg(scope)
				if err != nil {
					return err
				}
				q.Scope = &name
			}
			return a.ask(cmd, q, subjectFile, resend)
		},
	}
	f := c.Flags()
	f.StringVar(&q.Holder, "holder", "", "member whose records answer (required)")
	f.StringVar(&q.Policy, "policy", "", "policy of the holder (required)")
	f.IntVar(&q.Version, "policy-version", 0, "version of the policy; 0: the newest")
	f.StringVar(&q.Purpose, "purpose", "", "purpose, as in the agreement (required)")
	f.StringVar(&q.LegalBasis, "legal-basis", "", "legal basis, as in the agreement (required)")
	f.StringVar(&q.Case, "case", "", "your case reference; not a person's name")
	f.StringSliceVar(&q.Disclose, "disclose", nil, "columns to disclose")
	f.IntVar(&q.MaxAge, "max-age", 0, "oldest committed state of the data to accept, in seconds before now or the end of --as-of; 0: any")
	f.StringVar(&scope, "scope", "", "make a claim: PROGRAM/PERIOD of which the holder is the register")
	f.StringVar(&q.AsOf, "as-of", "", "day to answer for, like 2026-03-01 (UTC); empty: the holder's current one")
	f.Uint64Var(&q.Epoch, "epoch", 0, "number of the committed state to answer from, instead of a day")
	c.MarkFlagsMutuallyExclusive("as-of", "epoch")
	c.MarkFlagsMutuallyExclusive("max-age", "epoch")
	f.IntVar(&q.Wait, "wait", 0, "seconds to wait; 0: as long as the gateway allows")
	f.StringVar(&subjectFile, "subject-file", "-", "file with the subject's id; - for standard input")
	f.StringVar(&resend, "resend", "", "id of a question that got no reply")
	return c
}

// ask sends a question, or one that got no reply again, and prints the verdict.
func (a *app) ask(cmd *cobra.Command, q api.Question, subjectFile, resend string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	var answer api.Answer
	if resend != "" {
		err = client.post(cmd.Context(), "/v1/queries/"+pathEscape(resend), struct{}{}, &answer)
	} else {
		if err := required(q); err != nil {
			return err
		}
		if q.Subject, err = a.readSubject(subjectFile); err != nil {
			return err
		}
		err = client.post(cmd.Context(), "/v1/queries", q, &answer)
	}
	if err != nil {
		return askFailed(err)
	}
	return a.print(answer, func(w io.Writer) { printAnswer(w, answer) })
}

// required checks what a question cannot do without; --resend needs none of it, so cobra cannot.
func required(q api.Question) error {
	var missing []string
	for name, value := range map[string]string{"--holder": q.Holder, "--policy": q.Policy, "--purpose": q.Purpose, "--legal-basis": q.LegalBasis} {
		if value == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return usagef("a question needs %s", strings.Join(missing, ", "))
}

// readSubject reads one line.
func (a *app) readSubject(path string) (string, error) {
	in := a.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", fmt.Errorf("reading the subject's id: %w", err)
		}
		defer file.Close()
		in = file
	} else if f, ok := in.(*os.File); ok && isTerminal(f) {
		fmt.Fprint(a.err, "Subject id: ")
	}
	line, err := bufio.NewReader(io.LimitReader(in, bundle.MaxSubject+2)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the subject's id: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case line == "":
		return "", usagef("there is no subject id on standard input")
	case len(line) > bundle.MaxSubject:
		return "", usagef("the subject id has more than %d bytes", bundle.MaxSubject)
	}
	return line, nil
}

// askFailed says what to do about a question without an answer. A rejected answer was verified and found false.
func askFailed(err error) error {
	failed := fmt.Errorf("asking: %w", err)
	p, ok := asProblem(err)
	switch {
	case ok && strings.HasPrefix(p.Code, "rejected_"):
		return errFalse{failed}
	case ok && p.Query != "":
		return hint(failed, "grille ask --resend %s", p.Query)
	}
	return failed
}

func asProblem(err error) (*problemError, bool) {
	var p *problemError
	return p, errors.As(err, &p)
}

func printAnswer(w io.Writer, answer api.Answer) {
	fmt.Fprintf(w, "%s\n", answer.Verdict)
	facts(w, "question", answer.Question, "holder", answer.Holder, "policy", fmt.Sprintf("%s version %d", answer.Policy, answer.Version),
		"as of", answer.AsOf, "data of", dataOf(answer.EpochTime, answer.Epoch), "currency", answer.Currency, "receipt", answer.Receipt, "claim", answer.Claim,
		"took", fmt.Sprintf("%.0f ms, of them %.1f ms to verify", answer.Timings.TotalMillis, answer.Timings.VerifyMillis), "query id", answer.ID)
	for _, v := range answer.Disclosed {
		facts(w, v.Column, disclosed(v.Text))
	}
	fmt.Fprintf(w, "Next: grille answer %s -f bundle.json, to show it to others\n", answer.ID)
}

// dataOf names a committed state of a dataset.
func dataOf(made string, epoch uint64) string { return fmt.Sprintf("%s, epoch %d", made, epoch) }

// disclosed is a disclosed value as people read it; a record that has none there, or no record, gives the empty text.
func disclosed(text string) string {
	if text == "" {
		return "(missing)"
	}
	return text
}

func (a *app) answerCommand() *cobra.Command {
	var opening bool
	var out string
	c := &cobra.Command{
		Use: "answer [ID]", Short: "Get the evidence of an answer, or list the newest questions", Args: cobra.MaximumNArgs(1),
		Long: `Writes an answer with its evidence, which anyone can check with grille verify. Without --opening it names nobody; with it, it says
whom the answer is about. Without an id, lists the newest questions of this gateway.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.listAnswers(cmd, client)
			}
			path := "/v1/answers/" + pathEscape(args[0])
			if opening {
				path += "?opening=true"
			}
			var data []byte
			if err := client.get(cmd.Context(), path, &data); err != nil {
				return hint(fmt.Errorf("getting the answer: %w", err), "grille answer")
			}
			return a.writeFile(out, data, 0o600)
		},
	}
	c.Flags().BoolVar(&opening, "opening", false, "include subject id and nonce: says whom the answer is about")
	c.Flags().StringVarP(&out, "file", "f", "-", "where to write it; - for standard output")
	return c
}

func (a *app) listAnswers(cmd *cobra.Command, client *gatewayClient) error {
	var list items[api.AnswerSummary]
	if err := client.get(cmd.Context(), "/v1/answers", &list); err != nil {
		return fmt.Errorf("listing questions: %w", err)
	}
	return a.print(list.Items, func(w io.Writer) {
		var rows [][]string
		for _, s := range list.Items {
			rows = append(rows, []string{s.ID, s.Time, s.Holder, fmt.Sprintf("%s/%d", s.Policy, s.Version), s.Outcome, s.Receipt})
		}
		table(w, []string{"QUERY ID", "TIME", "HOLDER", "POLICY", "OUTCOME", "RECEIPT"}, rows)
	})
}

func pathEscape(s string) string { return url.PathEscape(s) }
