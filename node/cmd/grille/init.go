package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/auth"
	"github.com/grille-gateway/grille/node/config"
)

// initFlags are what a new gateway is told.
type initFlags struct {
	instance, member, title, listen, api, endpoint string
	mirror                                         bool
}

// initResult is what init prints.
type initResult struct {
	Member      string        `json:"member"`
	Folder      config.Folder `json:"folder"`
	Card        string        `json:"card"`
	Fingerprint string        `json:"fingerprint"`
	MadeKeys    []config.Role `json:"made_keys"`
}

func (a *app) initCommand() *cobra.Command {
	var f initFlags
	d := config.Default()
	c := &cobra.Command{
		Use: "init DIR", Short: "Make a gateway's folder, keys and card", Args: cobra.ExactArgs(1),
		Long: `Makes what is missing of a gateway's folder: settings, five signing keys, the vault's keyset, the API token, the member's
card and a certificate for the public side. Nothing that exists is changed, so it can be run again. Hand card.json to whoever builds the network, and read them the
fingerprint another way, by telephone.`,
		Example: `  grille init tax --instance gov.example --member GOV/tax --title "Tax office" --listen 192.0.2.7:4433`,
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := initialise(config.Folder(args[0]), f)
			if err != nil {
				return fmt.Errorf("making the gateway in %s: %w", args[0], err)
			}
			return a.print(result, func(w io.Writer) {
				fmt.Fprintf(w, "The gateway of %s is in %s.\n", result.Member, result.Folder)
				facts(w, "card", result.Card, "fingerprint", result.Fingerprint)
				fmt.Fprintf(w, "Next: give the card to whoever builds the network, then\n  grille network adopt %s network.json --fingerprint X\n", args[0])
			})
		},
	}
	c.Flags().StringVar(&f.instance, "instance", "", "name of the network, like gov.example (required)")
	c.Flags().StringVar(&f.member, "member", "", "name of this member, like GOV/tax (required)")
	c.Flags().StringVar(&f.title, "title", "", "name of this member for people (required)")
	c.Flags().StringVar(&f.listen, "listen", d.Peer.Listen, "UDP address for the other members")
	c.Flags().StringVar(&f.endpoint, "endpoint", "", "address under which the others reach it, if not --listen")
	c.Flags().StringVar(&f.api, "api", d.API.Listen, "TCP address of the REST interface")
	c.Flags().BoolVar(&f.mirror, "mirror", true, "take part in the quorum")
	for _, name := range []string{"instance", "member", "title"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic("grille: " + err.Error())
		}
	}
	return c
}

// initialise makes what is missing and compares what exists with the flags.
func initialise(dir config.Folder, f initFlags) (*initResult, error) {
	settings, err := settle(dir, f)
	if err != nil {
		return nil, err
	}
	keys, made, err := config.EnsureKeys(dir)
	if err != nil {
		return nil, err
	}
	if _, fresh, err := config.EnsureWitness(dir); err != nil {
		return nil, err
	} else if fresh {
		made = append(made, config.RoleWitness)
	}
	if _, err := config.EnsureSecret(dir.Token(), auth.NewToken); err != nil {
		return nil, err
	}
	if _, err := vault.Open(dir.Vault()); err != nil {
		return nil, err
	}
	if rotated, err := config.Rotated(dir); err != nil || rotated {
		return nil, errors.Join(err, fmt.Errorf("keys in %s were rotated, so their card is not made anew here; see grille keys card", dir.Keys()))
	}
	if f.endpoint == "" {
		f.endpoint = settings.Peer.Listen
	}
	if _, err := config.EnsureCertificate(dir, time.Now(), f.endpoint, settings.TLog.Listen); err != nil {
		return nil, err
	}
	card, err := network.NewCard(settings.Instance, keys.Member(settings.Instance, settings.Member, f.title, f.endpoint, f.mirror), keys.Log)
	if err != nil {
		return nil, err
	}
	if err := keepCard(dir, card); err != nil {
		return nil, err
	}
	return &initResult{Member: settings.Member, Folder: dir, Card: dir.Card(), Fingerprint: card.Fingerprint(), MadeKeys: made}, nil
}

// settle writes the settings if there are none, and refuses flags that contradict those that exist.
func settle(dir config.Folder, f initFlags) (config.Config, error) {
	c := config.Default()
	c.Instance, c.Member, c.Peer.Listen, c.API.Listen = f.instance, f.member, f.listen, f.api
	if _, err := config.Parse(c.Render()); err != nil {
		return c, errUsage{err}
	}
	if err := dir.Create(); err != nil {
		return c, err
	}
	err := config.WriteNew(dir.Config(), c.Render(), 0o600)
	if !errors.Is(err, os.ErrExist) {
		return c, err
	}
	old, err := config.Load(dir)
	if err != nil {
		return c, err
	}
	if old.Instance != c.Instance || old.Member != c.Member || old.Peer.Listen != c.Peer.Listen || old.API.Listen != c.API.Listen {
		return c, fmt.Errorf("the folder has settings of %s in %s with peer.listen %s and api.listen %s; give the same flags, edit %s, or name "+
			"another folder", old.Member, old.Instance, old.Peer.Listen, old.API.Listen, dir.Config())
	}
	return old, nil
}

// keepCard writes the card, or compares the one that exists: Ed25519 signs deterministically, so the same facts make the
// same card.
func keepCard(dir config.Folder, card network.Card) error {
	err := config.WriteNew(dir.Card(), card.Bytes(), 0o644)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	old, err := os.ReadFile(dir.Card())
	if err != nil {
		return err
	}
	if string(old) != string(card.Bytes()) {
		return fmt.Errorf("%s says something else than these flags and keys; if it was not handed out yet, remove it and run this again", dir.Card())
	}
	return nil
}
