package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/prover"
)

func (a *app) networkCommand() *cobra.Command {
	return group("network", "Agree with the other members on who takes part", a.networkBuild(), a.networkShow(), a.networkAdopt())
}

// networkFile is what the network commands print.
type networkFile struct {
	File        string `json:"file"`
	Instance    string `json:"instance"`
	Version     int    `json:"version"`
	Mode        string `json:"mode"`
	Digest      string `json:"digest"`
	Fingerprint string `json:"fingerprint"`
	Members     int    `json:"members"`
	Mirrors     int    `json:"mirrors"`
	Quorum      int    `json:"quorum"`
}

func describeNetwork(path string, c *network.Configuration) networkFile {
	return networkFile{File: path, Instance: c.Instance, Version: c.Version, Mode: c.Mode, Digest: c.Digest(),
		Fingerprint: fingerprint(c.Digest()), Members: len(c.Members), Mirrors: len(c.Mirrors()), Quorum: c.Quorum()}
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
  beat_seconds: 60                # optional: 60, 10 and 30 are the defaults
  heartbeat_seconds: 10
  freshness_seconds: 30
  schemes:
    - {name: person, pattern: "P-[0-9]{4}", normalise: upper, example: P-0001}
  circuits:                       # optional: --keys adds the one in that folder
    - {id: ..., verifying_key: ..., kind: development}`

func (a *app) networkBuild() *cobra.Command {
	var cards []string
	var params, keys, out string
	c := &cobra.Command{
		Use: "build --card A.json --card B.json ... --params params.yaml", Short: "Make the network configuration from the members' cards",
		Long: "Makes the configuration that all members adopt. The same cards, parameters and keys make the same bytes in any order, so " +
			"each member can build it and compare fingerprints.\n\n" + paramsHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(cards) == 0 {
				return usagef("there is no --card: give one for each member")
			}
			p, err := a.readParams(cmd, params, keys)
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
	c.Flags().StringVar(&keys, "keys", "", "folder of the circuit's keys, made by grille keys prepare")
	c.Flags().StringVarP(&out, "file", "f", "network.json", "where to write it; - for standard output")
	if err := c.MarkFlagRequired("params"); err != nil {
		panic("grille: " + err.Error())
	}
	return c
}

func (a *app) readParams(cmd *cobra.Command, path, keys string) (network.Params, error) {
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
	if keys == "" {
		return p, nil
	}
	loaded, err := prover.Load(cmd.Context(), keys, a.stage)
	if err != nil {
		return p, fmt.Errorf("loading the circuit's keys: %w", err)
	}
	m := loaded.Metadata()
	p.Circuits = append(p.Circuits, network.Circuit{ID: m.CircuitID, VerifyingKey: m.VerifyingKeySHA256, Kind: m.Kind})
	return p, nil
}

func buildNetwork(paths []string, p network.Params) (*network.Configuration, error) {
	var cards []network.Card
	for _, path := range paths {
		data, err := readLimited(path, network.MaxCardSize)
		if err != nil {
			return nil, err
		}
		card, err := network.ParseCard(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		cards = append(cards, card)
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

func readNetwork(path string) (*network.Configuration, error) {
	data, err := readLimited(path, network.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("reading the network configuration: %w", err)
	}
	cfg, err := network.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return cfg, nil
}

func (a *app) networkShow() *cobra.Command {
	return &cobra.Command{
		Use: "show [network.json]", Short: "Show a network configuration", Args: cobra.MaximumNArgs(1),
		Long: "Shows a network configuration file, or the one in the gateway's folder.",
		RunE: func(_ *cobra.Command, args []string) error {
			path := config.Folder(a.dir).Path("network.json")
			if len(args) == 1 {
				path = args[0]
			}
			cfg, err := readNetwork(path)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.print(struct {
					networkFile
					Document *network.Configuration `json:"document"`
				}{describeNetwork(path, cfg), cfg}, nil)
			}
			return a.printDetails(path, cfg)
		},
	}
}

// printDetails shows a whole configuration to a person.
func (a *app) printDetails(path string, cfg *network.Configuration) error {
	if err := a.printNetwork(describeNetwork(path, cfg), ""); err != nil {
		return err
	}
	facts(a.out, "expires", cfg.Expires, "beat", fmt.Sprintf("%d s", cfg.BeatSeconds), "heartbeat", fmt.Sprintf("%d s", cfg.HeartbeatSeconds),
		"freshness", fmt.Sprintf("%d s", cfg.FreshnessSeconds))
	var rows [][]string
	for _, m := range cfg.Members {
		mirror := "no"
		if m.Mirror {
			mirror = "yes"
		}
		rows = append(rows, []string{m.Name, m.Title, m.Endpoint, mirror})
	}
	table(a.out, []string{"\nMEMBER", "TITLE", "ENDPOINT", "MIRROR"}, rows)
	rows = nil
	for _, s := range cfg.Schemes {
		rows = append(rows, []string{s.Name, s.Pattern, s.Example})
	}
	table(a.out, []string{"\nSCHEME", "PATTERN", "EXAMPLE"}, rows)
	rows = nil
	for _, k := range cfg.Circuits {
		rows = append(rows, []string{k.ID, k.VerifyingKey, k.Kind})
	}
	table(a.out, []string{"\nCIRCUIT", "VERIFYING KEY", "KIND"}, rows)
	return nil
}

func (a *app) networkAdopt() *cobra.Command {
	var claimed string
	c := &cobra.Command{
		Use: "adopt DIR network.json --fingerprint X", Short: "Pin a network configuration for a gateway", Args: cobra.ExactArgs(2),
		Long: `Copies a network configuration into the gateway's folder and pins its digest, if its fingerprint is the one you give. Get that
fingerprint from the other members' operators by another way than the file: everything this gateway will believe follows from it.`,
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
	cfg, err := readNetwork(path)
	if err != nil {
		return nil, err
	}
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
	if err := config.Replace(dir.Path(settings.Network.File), cfg.Bytes(), 0o644); err != nil {
		return nil, err
	}
	return cfg, config.Replace(dir.Config(), text, 0o600)
}
