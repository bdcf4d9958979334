package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/ceremony"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/prover"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// maxCeremonyFile bounds a contribution or a task in a file; one for the statement has 5 MB.
const maxCeremonyFile = 64 << 20

// offline are the flags of a contribution on a machine without a network.
type offline struct{ task, key, member, out string }

func (o *offline) flags(c *cobra.Command) {
	c.Flags().StringVar(&o.task, "offline", "", "contribute to what this file holds, without a gateway")
	c.Flags().StringVar(&o.key, "key", "", "with --offline: the member's query key")
	c.Flags().StringVar(&o.member, "member", "", "with --offline: the member, like GOV/tax")
	c.Flags().StringVarP(&o.out, "file", "f", "", "with --offline: where to write the contribution (default contribution.bin)")
}

func (a *app) contributeOffline(ctx context.Context, o offline) error {
	if o.key == "" || o.member == "" {
		return usagef("--offline needs --key query.key and --member GOV/name")
	}
	key, err := config.LoadQuery(o.key)
	if err != nil {
		return err
	}
	data, err := readLimited(o.task, maxCeremonyFile)
	if err != nil {
		return fmt.Errorf("reading the task: %w", err)
	}
	a.stage("compiling the statement")
	circuit, err := rules.Statement()
	if err != nil {
		return err
	}
	task, err := rules.ReadTask(bytes.NewReader(data), circuit)
	if err != nil {
		return hint(err, "grille ceremony export, at the gateway, in this member's turn")
	}
	made, err := rules.Contribute(ctx, circuit, task, rules.Signer{Member: o.member, Key: key}, time.Now(), a.stage)
	if err != nil {
		return hint(fmt.Errorf("contributing: %w", err), "grille ceremony status, at the gateway")
	}
	if o.out == "" {
		o.out = "contribution.bin"
	}
	var file bytes.Buffer
	if _, err := made.WriteTo(&file); err != nil {
		return err
	}
	if err := a.writeFile(o.out, file.Bytes(), 0o644); err != nil {
		return err
	}
	turn := task.Transcript.Turn()
	return a.print(map[string]any{"file": o.out, "ceremony": turn.Ceremony, "phase": turn.Phase, "member": o.member}, func(w io.Writer) {
		fmt.Fprintf(w, "The contribution of %s to phase %d is in %s. Its secrets are gone.\n", o.member, turn.Phase, o.out)
		fmt.Fprintf(w, "Next: grille ceremony submit %s, at the gateway, before the turn ends\n", o.out)
	})
}

func (a *app) ceremonyExport() *cobra.Command {
	var r ceremonyRequest
	var out string
	c := &cobra.Command{
		Use: "export [-f task.bin | --transcript DIR]", Short: "Write what an offline machine needs to contribute, or to verify", Args: cobra.NoArgs,
		Long: `Brings this gateway's copy of the ceremony up to date, and writes a task for contributing on a machine without a network, in this
member's turn (-f), or a folder with the whole transcript, which grille ceremony verify DIR checks anywhere (--transcript).`,
	}
	file := c.Flags().StringP("file", "f", "", "write a task to this file")
	c.Flags().StringVar(&out, "transcript", "", "write the transcript and all contributions to this folder")
	c.Flags().StringVar(&r.Ceremony, "ceremony", "", "which ceremony (default: the only one)")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if (*file == "") == (out == "") {
			return usagef("write -f task.bin for a contribution, or --transcript DIR for the whole")
		}
		found, err := a.fetchCeremony(cmd.Context(), r)
		if err != nil {
			return err
		}
		if out != "" {
			return a.exportTranscript(found, out)
		}
		return a.exportTask(found, *file)
	}
	return c
}

// fetchCeremony completes the gateway's copy of a ceremony.
func (a *app) fetchCeremony(ctx context.Context, r ceremonyRequest) (api.Ceremony, error) {
	quiet := &app{terminal: terminal{out: io.Discard, err: a.err}, dir: a.dir, output: a.output}
	var found api.Ceremony
	gateway, err := a.client()
	if err != nil {
		return found, err
	}
	if err := gateway.post(ctx, "/v1/ceremony/fetch", r, &found); err != nil {
		return found, fmt.Errorf("fetching the ceremony: %w", err)
	}
	r.Ceremony = found.ID
	again := func(now *api.Ceremony) error { return gateway.post(ctx, "/v1/ceremony/fetch", r, now) }
	fetched := func(api.Ceremony) bool { return true }
	if err := quiet.follow(ctx, gateway, found, "fetching the ceremony", fetched, again); err != nil {
		return found, err
	}
	return found, gateway.get(ctx, "/v1/ceremony/"+found.ID, &found)
}

func (a *app) exportTask(c api.Ceremony, out string) error {
	circuit, err := rules.Statement()
	if err != nil {
		return err
	}
	folder := rules.OpenFolder(c.Here.Folder)
	task := &rules.Task{}
	if task.Transcript, err = folder.Transcript(); err != nil {
		return err
	}
	turn := task.Transcript.Turn()
	if turn.Member == "" {
		return hint(fmt.Errorf("nobody's contribution is awaited: %s", ceremonyState(c)), "grille ceremony status")
	}
	if turn.Base != "" {
		if task.Base, err = folder.Payload(turn.Base, max(circuit.PayloadSize(1), circuit.PayloadSize(2))); err != nil {
			return err
		}
	}
	var file bytes.Buffer
	if _, err := task.WriteTo(&file); err != nil {
		return err
	}
	if err := a.writeFile(out, file.Bytes(), 0o644); err != nil {
		return err
	}
	return a.print(map[string]any{"file": out, "ceremony": turn.Ceremony, "phase": turn.Phase, "turn": turn.Member}, func(w io.Writer) {
		fmt.Fprintf(w, "%s holds what %s needs to contribute to phase %d.\n", out, turn.Member, turn.Phase)
		fmt.Fprintf(w, "Next, on the other machine: grille ceremony contribute --offline %s --key query.key --member %s\n", filepath.Base(out), turn.Member)
	})
}

// exportTranscript copies a ceremony's folder: the contributions, then the transcript that names them.
func (a *app) exportTranscript(c api.Ceremony, out string) error {
	from := rules.OpenFolder(c.Here.Folder)
	t, err := from.Transcript()
	if err != nil {
		return err
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		return errors.Join(fmt.Errorf("writing the transcript: %s exists already; name another folder", out), err)
	}
	to, err := rules.MakeFolder(out)
	if err != nil {
		return err
	}
	for _, p := range t.Payloads() {
		data, err := from.Payload(p.Digest, p.Size)
		if err == nil {
			_, err = to.PutPayload(data)
		}
		if err != nil {
			return err
		}
	}
	if err := to.PutTranscript(t); err != nil {
		return err
	}
	return a.print(map[string]any{"folder": out, "ceremony": t.Ceremony(), "transcript": t.Digest(), "complete": t.Complete()}, func(w io.Writer) {
		fmt.Fprintf(w, "%s holds the transcript %s with %d contributions.\n", out, t.Digest(), len(t.Payloads()))
		if t.Complete() {
			fmt.Fprintf(w, "Next, anywhere: grille ceremony verify %s --network network.json\n", out)
		}
	})
}

func (a *app) ceremonySubmit() *cobra.Command {
	return &cobra.Command{
		Use: "submit contribution.bin", Short: "Submit a contribution that was made on an offline machine", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readLimited(args[0], maxCeremonyFile)
			if err != nil {
				return fmt.Errorf("reading the contribution: %w", err)
			}
			gateway, err := a.client()
			if err != nil {
				return err
			}
			var c api.Ceremony
			if err := gateway.send(cmd.Context(), "/v1/ceremony/submit", "application/octet-stream", bytes.NewReader(data), &c); err != nil {
				return hint(fmt.Errorf("submitting %s: %w", args[0], err), "grille ceremony status")
			}
			return a.follow(cmd.Context(), gateway, c, "submitting", a.contributed(c.Phase), func(now *api.Ceremony) error {
				return gateway.send(cmd.Context(), "/v1/ceremony/submit", "application/octet-stream", bytes.NewReader(data), now)
			})
		},
	}
}

func (a *app) ceremonyVerify() *cobra.Command {
	var r ceremonyRequest
	var networkPath, keys string
	c := &cobra.Command{
		Use: "verify [DIR]", Short: "Verify a whole transcript and store the keys that it gives", Args: cobra.MaximumNArgs(1),
		Example: `  grille ceremony verify
  grille ceremony verify transcript --network network.json`,
		Long: `Without DIR: the gateway fetches the whole transcript, verifies it, stores the keys in its key folder with the note that it verified
them, and logs them. With DIR, a folder that grille ceremony export --transcript wrote: verifies it here, without a gateway and without a
network. What you trust then is the network configuration, or chain of them: compare its fingerprint. Either takes about a minute for four
members. In a demo --adopt takes over the keys that the coordinator verified. Exit code 3 means that it does not verify.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && (networkPath != "" || keys != ""):
				return usagef("--network and --keys go with a folder")
			case len(args) == 0:
				return a.ceremonyTask(cmd.Context(), "/v1/ceremony/verify", r, "verifying", func(c api.Ceremony) bool { return c.Here.Verified != "" })
			case r.Adopt:
				return usagef("--adopt goes without a folder: the gateway asks the coordinator")
			}
			return a.verifyTranscript(cmd.Context(), args[0], networkPath, keys)
		},
	}
	c.Flags().StringVar(&r.Ceremony, "ceremony", "", "which ceremony (default: the only one that is sealed)")
	c.Flags().BoolVar(&r.Adopt, "adopt", false, "in a demo: take over what the coordinator verified")
	c.Flags().StringVar(&networkPath, "network", "", "with DIR: the network configuration, or a chain of them (default: the one of --dir)")
	c.Flags().StringVar(&keys, "keys", "", "with DIR: store the keys in this key folder, beside those of another ceremony")
	return c
}

// verifyTranscript verifies a folder without a gateway.
func (a *app) verifyTranscript(ctx context.Context, dir, networkPath, keys string) error {
	chain, err := a.trusted(networkPath)
	if err != nil {
		return err
	}
	t, err := rules.OpenFolder(dir).Transcript()
	if errors.Is(err, rules.ErrNoTranscript) {
		return hint(err, "grille ceremony export --transcript DIR, at a gateway")
	}
	if err == nil {
		err = ceremony.CheckOpening(chain, t.Opening())
	}
	if err != nil {
		return a.falseTranscript(dir, err)
	}
	a.stage("compiling the statement")
	circuit, err := rules.Statement()
	if err != nil {
		return err
	}
	began := time.Now()
	result, err := rules.Verify(ctx, dir, circuit, func(evidence []byte, after time.Time) ([]byte, error) {
		return ceremony.Beacon(chain.Versions(), evidence, after)
	}, a.stage)
	if err != nil {
		return a.falseTranscript(dir, err)
	}
	if keys != "" {
		if _, err := result.Store(ctx, keys, time.Now()); err != nil {
			return err
		}
	}
	stored := ""
	if keys != "" {
		stored = prover.KeyFolder(keys, result.Circuit, result.Transcript)
	}
	return a.print(result.Verification, func(w io.Writer) {
		fmt.Fprintf(w, "The transcript in %s verifies.\n", dir)
		facts(w, "ceremony", result.Ceremony, "transcript", result.Transcript, "circuit", result.Circuit, "verifying key", result.VerifyingKey,
			"proving key", result.ProvingKey, "kind", result.Kind, "phase 1", contributors(result, 1), "phase 2", contributors(result, 2),
			"network", chain.Newest().Digest(), "key folder", stored, "took", time.Since(began).Round(100*time.Millisecond).String())
	})
}

func contributors(r *rules.Result, phase int) string {
	text := ""
	for i, c := range r.Phases[phase-1] {
		if i > 0 {
			text += ", "
		}
		text += c.Member
	}
	return text
}

// falseTranscript reports a transcript that is refused, with its stable reason.
func (a *app) falseTranscript(dir string, err error) error {
	var refused *rules.Refused
	reason := ""
	switch {
	case errors.As(err, &refused):
		reason = refused.Code()
	case errors.Is(err, ceremony.ErrOpening):
		reason = "network"
	case errors.Is(err, rules.ErrNoPayload):
		reason = "payload"
	default:
		return err
	}
	if a.output == "json" {
		if printErr := a.print(map[string]any{"verified": false, "reason": reason}, nil); printErr != nil {
			return printErr
		}
	}
	return errFalse{fmt.Errorf("%s does not verify: %w", dir, err)}
}
