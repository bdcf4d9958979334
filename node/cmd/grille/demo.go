package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/demo"
)

func (a *app) demoCommand() *cobra.Command {
	var run demo.Run
	c := &cobra.Command{
		Use: "demo", Short: "Run four departments on this machine and tell what happens", Args: cobra.NoArgs,
		Long: `Starts four gateways on loopback, each a process of its own, fills them with survey data, asks questions between them and tries
to forge an answer. The first time the four make the circuit's keys in a ceremony, which takes under two minutes; later runs find
them in the user's cache. Without --once the gateways stay up until you interrupt it, for you to try the other commands on.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program: %w", err)
			}
			if run.KeysDir == "" {
				cache, err := os.UserCacheDir()
				if err != nil {
					return hint(fmt.Errorf("finding a place for the circuit's keys: %w", err), "grille demo --keys DIR")
				}
				run.KeysDir = filepath.Join(cache, "grille", "demo")
			}
			run.Program, run.JSON, run.Out, run.Err = program, a.output == "json", a.out, a.err
			return demo.Play(cmd.Context(), run)
		},
	}
	c.Flags().BoolVar(&run.Once, "once", false, "stop the gateways when the story is told")
	c.Flags().StringVar(&run.Examples, "examples", "", "folder of worked examples to publish too, like exchange/testdata/programs; see its README.md")
	c.Flags().StringVar(&run.Dir, "work", "", "folder for the gateways, empty or missing; without it a temporary one that is removed")
	c.Flags().StringVar(&run.KeysDir, "keys", "", "folder of the circuit's keys, made once (default in the user's cache)")
	return c
}
