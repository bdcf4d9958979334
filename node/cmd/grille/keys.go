package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/prover"
)

func (a *app) keysCommand() *cobra.Command {
	prepare := &cobra.Command{
		Use: "prepare KEYSDIR", Short: "Load or make the circuit's keys and show what pins them", Args: cobra.ExactArgs(1),
		Long: `Loads the circuit's keys from a folder, or makes development keys there. Development keys are for trying things out: whoever makes
them could keep what forges proofs. All gateways of a network need the same keys, so make them once and copy the folder.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := prover.Load(cmd.Context(), args[0], a.stage)
			if err != nil {
				return fmt.Errorf("loading the circuit's keys: %w", err)
			}
			m := keys.Metadata()
			return a.print(m, func(w io.Writer) {
				fmt.Fprintf(w, "The circuit's keys are in %s (%s).\n", args[0], m.Kind)
				facts(w, "circuit", m.CircuitID, "verifying key", m.VerifyingKeySHA256, "proving key", m.ProvingKeySHA256,
					"constraints", fmt.Sprint(m.Constraints), "public inputs", fmt.Sprint(m.PublicInputs))
				fmt.Fprintf(w, "Next: grille network build --keys %s ..., and prover.keys in each grille.yaml\n", args[0])
			})
		},
	}
	var out string
	export := &cobra.Command{
		Use: "export KEYSDIR -f verifying.key", Short: "Write the verifying key, which grille verify needs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, err := prover.Load(cmd.Context(), args[0], a.stage)
			if err != nil {
				return fmt.Errorf("loading the circuit's keys: %w", err)
			}
			return a.writeFile(out, keys.VerifyingKey(), 0o644)
		},
	}
	export.Flags().StringVarP(&out, "file", "f", "verifying.key", "where to write it; - for standard output")
	return group("keys", "Prepare the circuit's keys", prepare, export)
}
