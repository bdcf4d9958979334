package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
)

// changeFlags are what network change is told.
type changeFlags struct {
	from, out                      string
	add, remove, replace           []string // cards, member names, cards
	fences, mirrors                []string // ORIGIN or ORIGIN:SIZE:ROOT, NAME=true|false
	proposer, expires, schemes     string
	circuits                       circuitFlags
	quorum, beat, heartbeat, fresh int
}

const changeLong = `Makes the document of the network's next version from this one and what you ask for, and shows what changes. It is only a
document: the proposer signs it, a quorum of mirrors votes for it, and these hand over to it, before it holds for anybody.

A member that joins copies all logs first; make it a mirror in a later version. A member that leaves, or takes a new log key,
needs a fence: the place at which its present log ends for ever. Stop its gateway first. With --fence ORIGIN alone, the gateway in
--dir says where: at the largest checkpoint that anybody is known to hold, for a mirror that cosigned more does not vote. Wait until
several members say the same. Add or remove one mirror at a time, the new one first.

A circuit is added from the ceremony that made its keys, which at least a quorum of mirrors must have verified and published before the
version is proposed. An older circuit stands beside it until the time that --until gives; what was answered under it before stays
verifiable. A circuit from a ceremony may leave in a version after that.`

const changeExample = `  grille network change --add shelter/card.json -f next.json
  grille network change --mirror GOV/shelter=true -f next.json
  grille network change --ceremony 3f8a... -f next.json
  grille network change --ceremony DIR --since 2031-01-01T00:00:00Z --until 09128e9a=2031-02-01T00:00:00Z -f next.json
  grille network change --remove GOV/audit --fence gov.example/GOV/audit/log/1 -f next.json
  grille network change --replace land/card.json --fence gov.example/GOV/land/log/1:950:ROOT -f next.json`

func (a *app) networkChange() *cobra.Command {
	var f changeFlags
	c := &cobra.Command{
		Use: "change [--from network.json] ... -f next.json", Short: "Make the document of the next version", Args: cobra.NoArgs,
		Long: changeLong, Example: changeExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			prev, err := a.present(&f)
			if err != nil {
				return err
			}
			change, err := a.readChange(cmd, prev, f)
			if err != nil {
				return err
			}
			next, err := network.Succeed(prev, change)
			if err != nil {
				return fmt.Errorf("making version %d: %w", prev.Version+1, err)
			}
			if len(network.Differences(prev, next)) == 0 {
				return usagef("nothing changes: name what is to be otherwise in version %d", next.Version)
			}
			if err := a.writeFile(f.out, next.Bytes(), 0o644); err != nil || f.out == "-" {
				return err
			}
			return a.printDifference(compare(f.from, prev, f.out, next),
				"Next: the operators of the mirrors compare the fingerprint of %s and decide.\n", f.out)
		},
	}
	f.bind(c)
	return c
}

// present returns the version that is to be changed.
func (a *app) present(f *changeFlags) (*network.Configuration, error) {
	if f.from != "" {
		return readNetwork(f.from)
	}
	f.from = a.dir
	chain, err := a.folderChain()
	if err != nil {
		return nil, err
	}
	return chain.Newest(), nil
}

func (f *changeFlags) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.from, "from", "", "the present version, or a chain of versions (default: what the gateway in --dir knows)")
	c.Flags().StringArrayVar(&f.add, "add", nil, "card of a member that joins; repeat it")
	c.Flags().StringArrayVar(&f.remove, "remove", nil, "name of a member that leaves; repeat it")
	c.Flags().StringArrayVar(&f.replace, "replace", nil, "new card of a member, with other keys, endpoint or title; repeat it")
	c.Flags().StringArrayVar(&f.fences, "fence", nil, "ORIGIN or ORIGIN:SIZE:ROOT, where a log ends; repeat it")
	c.Flags().StringArrayVar(&f.mirrors, "mirror", nil, "NAME=true or NAME=false, who is a mirror from now on; repeat it")
	c.Flags().StringVar(&f.proposer, "proposer", "", "member that proposes the version after this")
	c.Flags().IntVar(&f.quorum, "quorum", 0, "mirrors that make a tree final; 0 for two thirds and one")
	c.Flags().IntVar(&f.beat, "beat", 0, "seconds between receipts batches")
	c.Flags().IntVar(&f.heartbeat, "heartbeat", 0, "seconds between re-cosigned heads")
	c.Flags().IntVar(&f.fresh, "freshness", 0, "seconds for which a head is current")
	c.Flags().StringVar(&f.expires, "expires", "", "when the network stops if there is no further version, like 2031-01-02T15:04:05Z")
	c.Flags().StringVar(&f.schemes, "schemes", "", "YAML list of further identifier schemes")
	f.circuits.bind(c)
	c.Flags().StringVarP(&f.out, "file", "f", "next.json", "where to write it; - for standard output")
}

// readChange makes a change of the flags that were given.
func (a *app) readChange(cmd *cobra.Command, prev *network.Configuration, f changeFlags) (c network.Change, err error) {
	if c.Add, err = readCards(f.add); err != nil {
		return c, err
	}
	if c.Replace, err = readCards(f.replace); err != nil {
		return c, err
	}
	c.Remove = f.remove
	if c.Fences, err = a.readFences(cmd, f.fences); err != nil {
		return c, err
	}
	if c.Mirrors, err = parseMirrors(f.mirrors); err != nil {
		return c, err
	}
	given := cmd.Flags().Changed
	for flag, field := range map[string]struct {
		to   **int
		from *int
	}{"quorum": {&c.Quorum, &f.quorum}, "beat": {&c.Beat, &f.beat}, "heartbeat": {&c.Heartbeat, &f.heartbeat}, "freshness": {&c.Freshness, &f.fresh}} {
		if given(flag) {
			*field.to = field.from
		}
	}
	if given("proposer") {
		c.Proposer = &f.proposer
	}
	if given("expires") {
		c.Expires = &f.expires
	}
	if c.Schemes, err = readSchemes(f.schemes); err != nil {
		return c, err
	}
	c.Circuits, err = a.changeCircuits(cmd, prev.Circuits, f.circuits)
	return c, err
}

func readCards(paths []string) ([]network.Card, error) {
	var cards []network.Card
	for _, path := range paths {
		data, err := readLimited(path, network.MaxCardSize)
		if err != nil {
			return nil, fmt.Errorf("reading a card: %w", err)
		}
		card, err := network.ParseCard(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		cards = append(cards, card)
	}
	return cards, nil
}

// readFences reads ORIGIN:SIZE:ROOT; the root is in hexadecimal digits, or in base64 as in a checkpoint. Of an ORIGIN alone the
// gateway says where it ends.
func (a *app) readFences(cmd *cobra.Command, args []string) ([]network.Fence, error) {
	var out []network.Fence
	for _, arg := range args {
		read := parseFence
		if !strings.Contains(arg, ":") {
			read = func(origin string) (network.Fence, error) { return a.askFence(cmd, origin) }
		}
		fence, err := read(arg)
		if err != nil {
			return nil, err
		}
		out = append(out, fence)
	}
	return out, nil
}

func parseFence(arg string) (network.Fence, error) {
	parts := strings.Split(arg, ":")
	if len(parts) != 3 {
		return network.Fence{}, usagef("--fence is %q: write ORIGIN, or ORIGIN:SIZE:ROOT", arg)
	}
	size, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return network.Fence{}, usagef("--fence is %q: %q is no number of entries", arg, parts[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(root) != 32 {
		if root, err = hex.DecodeString(parts[2]); err != nil || len(root) != 32 {
			return network.Fence{}, usagef("--fence is %q: %q is no root: write 64 hexadecimal digits, or the checkpoint's third line", arg, parts[2])
		}
	}
	return network.Fence{Origin: parts[0], Size: size, Root: hex.EncodeToString(root)}, nil
}

// askFence asks the gateway where a log should end.
func (a *app) askFence(cmd *cobra.Command, origin string) (network.Fence, error) {
	var end api.End
	client, err := a.client()
	if err == nil {
		err = client.get(cmd.Context(), "/v1/ledger/end?"+url.Values{"origin": {origin}}.Encode(), &end)
	}
	if err != nil {
		return network.Fence{}, fmt.Errorf("asking the gateway where %s ends (or write ORIGIN:SIZE:ROOT): %w", origin, err)
	}
	fence := fmt.Sprintf("%s:%d:%s", origin, end.Size, end.Root)
	if !end.Here {
		return network.Fence{}, hint(fmt.Errorf("somebody holds %d entries of %s, and not all of them are here yet", end.Size, origin),
			"repeat this in some seconds; if they never come, decide between --fence %s and the final head that grille ledger heads shows", fence)
	}
	return parseFence(fence)
}

func parseMirrors(args []string) (map[string]bool, error) {
	out := make(map[string]bool)
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		if value != "true" && value != "false" {
			return nil, usagef("--mirror is %q: write NAME=true or NAME=false", arg)
		}
		if _, twice := out[name]; twice {
			return nil, usagef("--mirror names %s twice", name)
		}
		out[name] = value == "true"
	}
	return out, nil
}

func readSchemes(path string) ([]network.Scheme, error) {
	if path == "" {
		return nil, nil
	}
	data, err := readLimited(path, network.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("reading the schemes: %w", err)
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return nil, fmt.Errorf("reading the schemes: %s", yaml.FormatError(err, false, true))
	}
	var out []network.Scheme
	if err := entry.DecodeStrict(asJSON, network.MaxSize, &out); err != nil {
		return nil, fmt.Errorf("reading the schemes: %w", err)
	}
	return out, nil
}

// comparison is what network diff and network change print.
type comparison struct {
	From    networkFile          `json:"from"`
	To      networkFile          `json:"to"`
	Follows bool                 `json:"follows"` // To may follow From
	Reason  string               `json:"reason,omitempty"`
	Changes []network.Difference `json:"changes"`
}

func compare(fromPath string, from *network.Configuration, toPath string, to *network.Configuration) comparison {
	c := comparison{From: describeNetwork(fromPath, from), To: describeNetwork(toPath, to), Changes: network.Differences(from, to)}
	err := network.CheckSuccessor(from, to)
	if c.Follows = err == nil; err != nil {
		c.Reason = err.Error()
	}
	return c
}

func (a *app) printDifference(c comparison, next string, args ...any) error {
	return a.print(c, func(w io.Writer) {
		fmt.Fprintf(w, "Network %s, from version %d to %d:\n", c.To.Instance, c.From.Version, c.To.Version)
		for _, d := range c.Changes {
			switch {
			case d.Before == "":
				fmt.Fprintf(w, "  + %s: %s\n", d.What, d.After)
			case d.After == "":
				fmt.Fprintf(w, "  - %s: %s\n", d.What, d.Before)
			default:
				fmt.Fprintf(w, "  ~ %s: %s\n      now %s\n", d.What, d.Before, d.After)
			}
		}
		facts(w, "file", c.To.File, "fingerprint", c.To.Fingerprint, "digest", c.To.Digest)
		if !c.Follows {
			fmt.Fprintf(w, "Version %d of the one cannot follow version %d of the other: %s\n", c.To.Version, c.From.Version, c.Reason)
		}
		if next != "" {
			fmt.Fprintf(w, next, args...)
		}
	})
}

func (a *app) networkDiff() *cobra.Command {
	return &cobra.Command{
		Use: "diff BEFORE AFTER", Short: "Show what one version has otherwise than another", Args: cobra.ExactArgs(2),
		Long: `Shows what the second configuration has otherwise than the first, key by key, and whether it may follow it. Of a chain of
versions the newest is taken. Whoever votes for a version reads this first, and compares new keys with the members' cards.`,
		RunE: func(_ *cobra.Command, args []string) error {
			from, err := readNetwork(args[0])
			if err != nil {
				return err
			}
			to, err := readNetwork(args[1])
			if err != nil {
				return err
			}
			return a.printDifference(compare(args[0], from, args[1], to), "")
		},
	}
}
