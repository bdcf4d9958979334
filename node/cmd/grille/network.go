package main

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/config"
)

func (a *app) networkCommand() *cobra.Command {
	return group("network", "Agree with the other members on who takes part", a.networkBuild(), a.networkShow(), a.networkAdopt(),
		a.networkChange(), a.networkDiff())
}

// networkFile is what the network commands print.
type networkFile struct {
	File        string `json:"file"`
	Instance    string `json:"instance"`
	Version     int    `json:"version"`
	Mode        string `json:"mode"`
	Digest      string `json:"digest"`
	Fingerprint string `json:"fingerprint"`
	Proposer    string `json:"proposer"`
	Members     int    `json:"members"`
	Mirrors     int    `json:"mirrors"`
	Quorum      int    `json:"quorum"`
}

func describeNetwork(path string, c *network.Configuration) networkFile {
	return networkFile{File: path, Instance: c.Instance, Version: c.Version, Mode: c.Mode, Digest: c.Digest(),
		Fingerprint: fingerprint(c.Digest()), Proposer: c.Proposer, Members: len(c.Members), Mirrors: len(c.Mirrors()), Quorum: c.Quorum()}
}

// fingerprint is the first half of a digest in groups of four, to be read aloud: 128 bits, as for cards.
func fingerprint(digest string) string {
	var groups []string
	for i := 0; i+4 <= len(digest) && i < 32; i += 4 {
		groups = append(groups, digest[i:i+4])
	}
	return strings.Join(groups, "-")
}

const paramsHelp = `The parameters file is YAML:

  mode: demo                      # or production
  expires: 2030-01-01T00:00:00Z
  proposer: GOV/tax               # optional, who proposes changes: the first mirror by name is the default
  beat_seconds: 60                # optional: 60, 10 and 30 are the defaults
  heartbeat_seconds: 10
  freshness_seconds: 30
  schemes:
    - {name: person, pattern: "P-[0-9]{4}", normalise: upper, example: P-0001}
  circuits:                       # optional: --keys adds the one in that folder; none: the members hold a ceremony first
    - {id: ..., verifying_key: ..., kind: development}`

func (a *app) networkBuild() *cobra.Command {
	var cards []string
	var params, out string
	var circuits circuitFlags
	c := &cobra.Command{
		Use: "build --card A.json --card B.json ... --params params.yaml", Short: "Make the network configuration from the members' cards",
		Long: "Makes the configuration that all members adopt. The same cards, parameters and keys make the same bytes in any order, so " +
			"each member can build it and compare fingerprints.\n\n" + paramsHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(cards) == 0 {
				return usagef("there is no --card: give one for each member")
			}
			p, err := a.readParams(cmd, params, circuits)
			if err != nil {
				return err
			}
			cfg, err := buildNetwork(cards, p)
			if err != nil {
				return fmt.Errorf("building the network: %w", err)
			}
			if err := a.writeFile(out, cfg.Bytes(), 0o644); err != nil {
				return err
			}
			if out == "-" {
				return nil
			}
			return a.printNetwork(describeNetwork(out, cfg), "Next: every member compares the fingerprint with the others and runs\n  grille network adopt DIR %s --fingerprint X\n", out)
		},
	}
	c.Flags().StringArrayVar(&cards, "card", nil, "a member's card.json; repeat it")
	c.Flags().StringVar(&params, "params", "", "parameters file (required)")
	c.Flags().StringVar(&circuits.keys, "keys", "", "folder of the circuit's keys, made by grille keys prepare; without a circuit, the members "+
		"make its keys together (grille ceremony) and name it in a later version")
	c.Flags().StringVarP(&out, "file", "f", "network.json", "where to write it; - for standard output")
	if err := c.MarkFlagRequired("params"); err != nil {
		panic("grille: " + err.Error())
	}
	return c
}

func (a *app) readParams(cmd *cobra.Command, path string, f circuitFlags) (network.Params, error) {
	var p network.Params
	data, err := readLimited(path, network.MaxSize)
	if err != nil {
		return p, fmt.Errorf("reading the parameters: %w", err)
	}
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return p, fmt.Errorf("reading the parameters: %s", yaml.FormatError(err, false, true))
	}
	if err := entry.DecodeStrict(asJSON, network.MaxSize, &p); err != nil {
		return p, fmt.Errorf("reading the parameters: %w", err)
	}
	added, err := a.addedCircuit(cmd, f)
	if added != nil {
		p.Circuits = append(p.Circuits, *added)
	}
	return p, err
}

func buildNetwork(paths []string, p network.Params) (*network.Configuration, error) {
	cards, err := readCards(paths)
	if err != nil {
		return nil, err
	}
	return network.Build(cards[0].Instance, p, cards)
}

func (a *app) printNetwork(n networkFile, next string, args ...any) error {
	return a.print(n, func(w io.Writer) {
		fmt.Fprintf(w, "Network %s, version %d (%s): %d members, quorum %d of %d mirrors.\n", n.Instance, n.Version, n.Mode, n.Members, n.Quorum, n.Mirrors)
		facts(w, "file", n.File, "fingerprint", n.Fingerprint, "digest", n.Digest)
		if next != "" {
			fmt.Fprintf(w, next, args...)
		}
	})
}

// readChain reads a configuration, or a chain of versions.
func readChain(path string) (*network.Chain, error) {
	data, err := readLimited(path, network.MaxChainSize)
	if err != nil {
		return nil, fmt.Errorf("reading the network configuration: %w", err)
	}
	chain, err := network.ReadChain(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return chain, nil
}

// folderChain reads the versions of the network that the gateway in --dir knows.
func (a *app) folderChain() (*network.Chain, error) {
	dir := config.Folder(a.dir)
	settings, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	return config.LoadChain(dir, settings)
}

// readNetwork reads a configuration, or the newest version of a chain.
func readNetwork(path string) (*network.Configuration, error) {
	chain, err := readChain(path)
	if err != nil {
		return nil, err
	}
	return chain.Newest(), nil
}

func (a *app) networkShow() *cobra.Command {
	var version int
	c := &cobra.Command{
		Use: "show [network.json]", Short: "Show a network configuration", Args: cobra.MaximumNArgs(1),
		Long: "Shows a network configuration file, or what the gateway in --dir knows. Of a chain of versions it shows the newest, and\n" +
			"lists all.",
		RunE: func(_ *cobra.Command, args []string) error {
			var chain *network.Chain
			var err error
			path := a.dir
			if len(args) == 1 {
				path = args[0]
				chain, err = readChain(path)
			} else {
				chain, err = a.folderChain()
			}
			if err != nil {
				return err
			}
			cfg := chain.Newest()
			if version != 0 {
				var ok bool
				if cfg, ok = chain.At(version); !ok {
					return usagef("%s has versions %d to %d, not %d", path, chain.Pinned().Version, chain.Newest().Version, version)
				}
			}
			if a.output == "json" {
				return a.print(struct {
					networkFile
					Versions []networkFile          `json:"versions,omitempty"`
					Document *network.Configuration `json:"document"`
				}{describeNetwork(path, cfg), describeVersions(path, chain), cfg}, nil)
			}
			return a.printDetails(path, cfg, describeVersions(path, chain))
		},
	}
	c.Flags().IntVar(&version, "version", 0, "show this version of a chain")
	return c
}

// describeVersions describes all versions of a chain that has more than one.
func describeVersions(path string, chain *network.Chain) []networkFile {
	if len(chain.Versions()) == 1 {
		return nil
	}
	var out []networkFile
	for _, v := range chain.Versions() {
		out = append(out, describeNetwork(path, v))
	}
	return out
}

// printDetails shows a whole configuration to a person.
func (a *app) printDetails(path string, cfg *network.Configuration, versions []networkFile) error {
	if err := a.printNetwork(describeNetwork(path, cfg), ""); err != nil {
		return err
	}
	facts(a.out, "expires", cfg.Expires, "beat", fmt.Sprintf("%d s", cfg.BeatSeconds), "heartbeat", fmt.Sprintf("%d s", cfg.HeartbeatSeconds),
		"freshness", fmt.Sprintf("%d s", cfg.FreshnessSeconds), "proposer", cfg.Proposer)
	var rows [][]string
	for _, v := range versions {
		rows = append(rows, []string{strconv.Itoa(v.Version), v.Fingerprint, strconv.Itoa(v.Members), strconv.Itoa(v.Mirrors),
			strconv.Itoa(v.Quorum), v.Proposer})
	}
	a.section(len(rows) > 0, []string{"VERSION", "FINGERPRINT", "MEMBERS", "MIRRORS", "QUORUM", "PROPOSER"}, rows)
	rows = nil
	for _, m := range cfg.Members {
		mirror := "no"
		if m.Mirror {
			mirror = "yes"
		}
		rows = append(rows, []string{m.Name, m.Title, m.Endpoint, mirror, m.Origin()})
	}
	a.section(true, []string{"MEMBER", "TITLE", "ENDPOINT", "MIRROR", "LOG"}, rows)
	rows = nil
	for _, s := range cfg.Schemes {
		rows = append(rows, []string{s.Name, s.Pattern, s.Example})
	}
	a.section(true, []string{"SCHEME", "PATTERN", "EXAMPLE"}, rows)
	rows = nil
	for _, k := range cfg.Circuits {
		rows = append(rows, []string{k.ID, k.VerifyingKey, k.Kind, cmp.Or(k.Transcript, "-"), cmp.Or(k.Since, "-"), cmp.Or(k.Until, "-")})
	}
	a.section(len(rows) > 0, []string{"CIRCUIT", "VERIFYING KEY", "KIND", "TRANSCRIPT", "SINCE", "UNTIL"}, rows)
	if len(rows) == 0 {
		fmt.Fprintln(a.out, "\nNo circuit: nothing is answered before a later version names one (grille ceremony).")
	}
	rows = nil
	for _, f := range cfg.Fences {
		rows = append(rows, []string{f.Origin, strconv.FormatInt(f.Size, 10), f.Root})
	}
	a.section(len(rows) > 0, []string{"ENDED LOG", "ENTRIES", "ROOT"}, rows)
	rows = nil
	for _, m := range cfg.Members {
		for _, r := range m.Approvers {
			rows = append(rows, []string{m.Name, r.Describe()})
		}
	}
	a.section(len(rows) > 0, []string{"MEMBER", "APPROVALS"}, rows)
	return nil
}

// section writes a table after an empty line, if it is wanted.
func (a *app) section(wanted bool, header []string, rows [][]string) {
	if wanted {
		fmt.Fprintln(a.out)
		table(a.out, header, rows)
	}
}

func (a *app) networkAdopt() *cobra.Command {
	var claimed string
	c := &cobra.Command{
		Use: "adopt DIR network.json --fingerprint X", Short: "Pin a network configuration for a gateway", Args: cobra.ExactArgs(2),
		Long: `Copies a network configuration into the gateway's folder and pins its digest, if its fingerprint is the one you give. Get that
fingerprint from the other members' operators by another way than the file: everything this gateway will believe follows from it.
Of a chain of versions the newest is pinned, and with it all before, each of which it names.`,
		RunE: func(_ *cobra.Command, args []string) error {
			cfg, err := adopt(config.Folder(args[0]), args[1], claimed)
			if err != nil {
				return fmt.Errorf("adopting %s: %w", args[1], err)
			}
			return a.printNetwork(describeNetwork(config.Folder(args[0]).Path("network.json"), cfg), "Next: grille serve %s\n", args[0])
		},
	}
	c.Flags().StringVar(&claimed, "fingerprint", "", "what the other members' operators told you (required)")
	if err := c.MarkFlagRequired("fingerprint"); err != nil {
		panic("grille: " + err.Error())
	}
	return c
}

func adopt(dir config.Folder, path, claimed string) (*network.Configuration, error) {
	digits := strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(claimed))
	if _, err := hex.DecodeString(digits); err != nil || len(digits) != 32 && len(digits) != 64 {
		return nil, usagef("--fingerprint is %q: want 32 hexadecimal digits, like %s", claimed, fingerprint(strings.Repeat("0", 64)))
	}
	settings, err := config.Load(dir)
	if err != nil {
		return nil, err
	}
	keys, err := config.LoadKeys(dir)
	if err != nil {
		return nil, err
	}
	chain, err := readChain(path)
	if err != nil {
		return nil, err
	}
	cfg := chain.Newest()
	if !strings.HasPrefix(cfg.Digest(), digits) {
		return nil, errFalse{fmt.Errorf("the file's fingerprint is %s, not the one given; nothing was changed: somebody has another file",
			fingerprint(cfg.Digest()))}
	}
	if err := config.CheckMember(cfg, settings, keys); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(dir.Config())
	if err != nil {
		return nil, err
	}
	if text, err = config.SetDigest(text, cfg.Digest()); err != nil {
		return nil, err
	}
	// The file first: until the digest changes too, serve refuses the pair and says so.
	if err := config.Replace(dir.Path(settings.Network.File), chain.File(), 0o644); err != nil {
		return nil, err
	}
	return cfg, config.Replace(dir.Config(), text, 0o600)
}
