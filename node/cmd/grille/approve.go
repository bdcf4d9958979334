package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
)

const approveLong = `Shows what a draft would put on a member's log, and with --key signs it in place. It needs no gateway and no network: approvers keep
their keys on machines of their own. Of a policy, the text is compiled again, and the draft is refused if it holds another program.

An approval counts for this entry on this log alone. Give the file on to the next approver, or back to the gateway's operator, who
runs grille publish.`

func (a *app) approveCommand() *cobra.Command {
	var key string
	c := &cobra.Command{
		Use: "approve DRAFT.json [--key APPROVER.key]", Short: "Show a draft, or sign it as an approver", Args: cobra.ExactArgs(1), Long: approveLong,
		Example: `  grille keys approver anna.key
  grille policy publish aged.yaml --draft aged.json
  grille approve aged.json
  grille approve aged.json --key anna.key
  grille publish aged.json`,
		RunE: func(_ *cobra.Command, args []string) error {
			d, e, err := readDraft(args[0])
			if err != nil {
				return err
			}
			if err := recompile(d, e); err != nil {
				return errFalse{hint(err, "ask the gateway's operator for a new draft: grille policy publish POLICY.yaml --draft FILE")}
			}
			if key != "" {
				if d, e, err = signDraft(args[0], d, e, key); err != nil {
					return err
				}
			}
			return a.printDraft(args[0], d, e, key != "")
		},
	}
	c.Flags().StringVar(&key, "key", "", "the approver's key; without it the draft is only shown")
	return c
}

func readDraft(path string) (entry.Draft, entry.Approved, error) {
	data, err := readLimited(path, entry.MaxDraft)
	if err != nil {
		return entry.Draft{}, nil, fmt.Errorf("reading the draft: %w", err)
	}
	d, e, err := entry.ParseDraft(data)
	if err != nil {
		return d, nil, hint(fmt.Errorf("%s: %w", path, err), "grille policy publish --help, about --draft")
	}
	return d, e, nil
}

// recompile checks that a policy's program is what its text says.
func recompile(d entry.Draft, e entry.Approved) error {
	p, ok := e.(entry.PolicyPublish)
	if !ok {
		return nil
	}
	declared, err := entry.Decode([]byte(d.Declared))
	if err != nil {
		return fmt.Errorf("reading what the policy was compiled for: %w", err)
	}
	dataset, ok := declared.(entry.DatasetDeclare)
	if !ok {
		return fmt.Errorf("the draft does not say what dataset its policy was compiled for")
	}
	return policy.Recompile(p, dataset)
}

// signDraft adds an approval and writes the draft in the place of the one there was.
func signDraft(path string, d entry.Draft, e entry.Approved, keyPath string) (entry.Draft, entry.Approved, error) {
	key, err := config.LoadApprover(keyPath)
	if err != nil {
		return d, e, hint(err, "grille keys approver %s makes a key", keyPath)
	}
	if e, err = entry.Approve(d.Origin, e, key); err != nil {
		return d, e, fmt.Errorf("signing the draft: %w", err)
	}
	signed, err := entry.NewDraft(d.Origin, e)
	if err != nil {
		return d, e, fmt.Errorf("signing the draft: %w", err)
	}
	signed.Declared = d.Declared
	return signed, e, config.Replace(path, encodeDraft(api.Draft{Origin: signed.Origin, Entry: signed.Body, Declared: signed.Declared}), 0o644)
}

func encodeDraft(d api.Draft) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // for those who read the file
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		panic("grille: encoding strings: " + err.Error())
	}
	return buf.Bytes()
}

// A shownDraft is what grille approve prints.
type shownDraft struct {
	Origin   string      `json:"origin"`
	Entry    entry.Entry `json:"entry"`
	Approved []string    `json:"approved_by"` // keys whose approvals are valid
	Signed   bool        `json:"signed"`      // by this call
}

func (a *app) printDraft(path string, d entry.Draft, e entry.Approved, signed bool) error {
	keys, err := entry.Approvers(d.Origin, e)
	if err != nil {
		return err
	}
	return a.print(shownDraft{d.Origin, e, append([]string{}, keys...), signed}, func(w io.Writer) {
		fmt.Fprintf(w, "A draft of %s for %s:\n", e.Kind(), d.Origin)
		switch e := e.(type) {
		case entry.PolicyPublish:
			facts(w, "policy", fmt.Sprintf("%s version %d", e.Policy, e.Version), "dataset", fmt.Sprintf("%s, declared by entry %d", e.Dataset, e.Declare),
				"title", quoted(e.Title), "question", quoted(e.Question), "made", e.Time)
			fmt.Fprintf(w, "  %s\n    %s\n", e.Source.Language, strings.ReplaceAll(strings.TrimSpace(e.Source.Text), "\n", "\n    "))
			fmt.Fprintln(w, "  Compiled again: the program is what the text says.")
		case entry.AgreementAccept:
			t := e.Terms
			facts(w, "requester", t.Requester, "for the group", t.Group, "policy", fmt.Sprintf("%s version %d, entry %d", t.Policy, t.PolicyVersion, t.PolicyIndex),
				"purpose", quoted(t.Purpose), "legal basis", quoted(t.LegalBasis), "on behalf of", quoted(t.OnBehalfOf),
				"discloses", strings.Join(t.Disclose, ", "), "days", daysOf(t), "claims in", t.Scope, "expires", t.Expires,
				"offer", fmt.Sprintf("entry %d of %s", e.Offer.Index, e.Offer.Origin), "made", e.Time)
		case entry.GroupDefine:
			facts(w, "group", fmt.Sprintf("%s version %d", e.Group, e.Version), "members", strings.Join(e.Members, ", "), "made", e.Time)
		}
		for _, key := range keys {
			fmt.Fprintf(w, "  approved by %s\n", key)
		}
		switch {
		case signed:
			fmt.Fprintf(w, "Signed. Next, by the next approver: grille approve %s --key KEY\n  or, at the gateway: grille publish %[1]s\n", path)
		default:
			fmt.Fprintf(w, "Nothing was signed. Next: grille approve %s --key KEY\n", path)
		}
	})
}

func daysOf(t entry.Terms) string {
	if t.AsOfFrom == "" {
		return ""
	}
	return t.AsOfFrom + " to " + t.AsOfTo
}

// quoted keeps somebody's text in one line.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}

func (a *app) publishCommand() *cobra.Command {
	return &cobra.Command{
		Use: "publish DRAFT.json", Short: "Publish a draft that its approvers signed", Args: cobra.ExactArgs(1),
		Long: "Appends what a draft holds to this member's log, with the approvals in it. Publishing it again changes nothing.",
		RunE: func(cmd *cobra.Command, args []string) error {
			d, e, err := readDraft(args[0])
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			var p api.Published
			if err := client.post(cmd.Context(), "/v1/drafts", api.Draft{Origin: d.Origin, Entry: d.Body, Declared: d.Declared}, &p); err != nil {
				if hasCode(err, api.CodeApprovals) {
					err = hint(err, "grille approve %s --key KEY, by one more approver", args[0])
				}
				return fmt.Errorf("publishing the draft of %s: %w", e.Kind(), err)
			}
			return a.printPublished(p)
		},
	}
}

// draftTo writes a draft that the gateway made to a file.
func (a *app) draftTo(path string, d api.Draft) error {
	if err := a.writeFile(path, encodeDraft(d), 0o644); err != nil || path == "-" {
		return err
	}
	return a.print(d, func(w io.Writer) {
		fmt.Fprintf(w, "Nothing is published yet: %s is for this member's approvers to sign.\n", path)
		fmt.Fprintf(w, "Next, by each of them: grille approve %s --key KEY\n", path)
	})
}

func (a *app) keysApprover() *cobra.Command {
	return &cobra.Command{
		Use: "approver FILE.key", Short: "Make the key of an approver, or show its public half", Args: cobra.ExactArgs(1),
		Long: `Makes a key with which a person approves a member's policies, acceptances and groups, and prints its public half for the member's
card (grille keys card --approver). If the file is there, only its public half is printed. Keep it on no gateway.`,
		RunE: func(_ *cobra.Command, args []string) error {
			var public string
			if _, err := os.Lstat(args[0]); err == nil {
				key, err := config.LoadApprover(args[0])
				if err != nil {
					return err
				}
				public = base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))
			} else if public, err = config.MakeApprover(args[0]); err != nil {
				return err
			}
			return a.print(struct {
				Key string `json:"key"`
			}{public}, func(w io.Writer) {
				facts(w, "approver", public)
				fmt.Fprintf(w, "Next, at the member's gateway: grille keys card DIR --approvals 2 --approver %s --approver ...\n", public)
			})
		},
	}
}

// approving is what a card is to say about approvals.
type approving struct {
	given  bool
	number int
	keys   []string
	from   int64 // -1: the end of the log
}

// settle finds out where the log ends, unless the rule is to begin elsewhere. Before there is a network there is no log.
func (by *approving) settle(cmd *cobra.Command, dir config.Folder) error {
	if !by.given || by.from >= 0 {
		return nil
	}
	settings, err := config.Load(dir)
	if err != nil {
		return err
	}
	chain, err := config.LoadChain(dir, settings)
	if errors.Is(err, config.ErrNotAdopted) {
		by.from = 0
		return nil
	}
	if err != nil {
		return err
	}
	var heads items[api.Head]
	client, _, err := clientFor(dir)
	if err == nil {
		err = client.get(cmd.Context(), "/v1/ledger/heads", &heads)
	}
	if err != nil {
		return hint(fmt.Errorf("asking the gateway where its log ends: %w", err), "grille serve %s, or give --from", dir)
	}
	card, err := config.ReadCard(dir)
	if err != nil {
		return err
	}
	for _, h := range heads.Items {
		if _, ok := chain.Newest().Owner(h.Origin); ok && h.Member == card.Member.Name {
			by.from = int64(h.Size)
			return nil
		}
	}
	return usagef("the gateway knows no end of its log yet: give --from")
}
