package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/demo"
)

func (a *app) demoCommand() *cobra.Command {
	run := demo.Run{Out: a.out, Err: a.err}
	c := &cobra.Command{
		Use: "demo", Short: "Run four departments on this machine and ask them about real people", Args: cobra.NoArgs,
		Long: `Starts four departments, each a gateway process of its own with its own folder, keys and store, on loopback. They commit to a
survey of 4,406 real people, make agreements and ask one another six questions; the evidence of one answer is tampered with and
refused. Then the network stays up until Ctrl-C, or ends by itself with --once.

The circuit's keys are made once and kept in the user's cache folder; everything else is removed at the end unless --dir names a
folder for it.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if run.Program, err = os.Executable(); err != nil {
				return fmt.Errorf("finding this program: %w", err)
			}
			if run.KeysDir == "" {
				cache, err := os.UserCacheDir()
				if err != nil {
					return hint(fmt.Errorf("finding a folder for the circuit's keys: %w", err), "grille demo --keys FOLDER")
				}
				run.KeysDir = filepath.Join(cache, "grille", "keys")
			}
			if run.KeysDir, err = filepath.Abs(run.KeysDir); err != nil {
				return fmt.Errorf("finding the keys' folder: %w", err)
			}
			run.Dir = ""
			if cmd.Flags().Changed("dir") {
				run.Dir = a.dir
			}
			run.JSON = a.output == "json"
			return demo.Play(cmd.Context(), run)
		},
	}
	c.Flags().BoolVar(&run.Once, "once", false, "end after the story instead of leaving the network up")
	c.Flags().StringVar(&run.KeysDir, "keys", "", "folder of the circuit's keys, kept between runs (default: the user's cache)")
	return c
}
