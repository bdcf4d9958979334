package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// Run says how to run the demo.
type Run struct {
	Program string // grille executable
	KeysDir string // cache of the circuit's keys; kept between runs
	Dir     string // folder for the members, which must be empty or missing; "" for a temporary one that is removed at the end
	// Examples is a folder of worked examples that the network is given too; "" for none.
	Examples string
	Once     bool // end after the story instead of waiting for ctx
	JSON     bool // print the story as one JSON object instead of a transcript
	Out      io.Writer
	Err      io.Writer // progress
}

// Play runs the demo: four departments, six questions, one forgery. It returns when the story is told (Once) or ctx ends, with
// every process that it started gone.
func Play(ctx context.Context, run Run) error {
	started := time.Now()
	p := &printer{out: run.Out, progress: run.Err, quiet: run.JSON, started: started, program: howToCall(run.Program)}
	p.opening()
	dir, remove, err := workFolder(run.Dir)
	if err != nil {
		return err
	}
	defer remove()
	keys, circuit, err := cachedKeys(ctx, run.KeysDir, p.stage)
	if err != nil {
		return err
	}
	n, err := raise(run, dir, keys, circuit, p)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), shutdown)
		defer cancel()
		if err := n.Stop(stopping); err != nil {
			fmt.Fprintln(run.Err, err)
		}
	}()
	if err := n.Start(ctx); err != nil {
		return err
	}
	p.stage("four gateways are up and hear one another")
	if keys == nil {
		p.firstRun()
		if keys, err = n.makeKeys(ctx, run.KeysDir, p.stage); err != nil {
			return err
		}
	}
	p.keys(keys.Metadata(), n.opts.Circuit.Contributors)
	s := &Story{KeyKind: keys.Metadata().Kind, Transcript: keys.Metadata().Transcript}
	if err := n.Furnish(ctx); err != nil {
		return err
	}
	if err := n.addExamples(ctx, run.Examples, s); err != nil {
		return err
	}
	s.Ready, s.Members = time.Since(started).Seconds(), n.members()
	p.ready(s)
	if err := n.tell(ctx, s, p.step); err != nil {
		return err
	}
	p.learnt(s)
	if err := n.prove(ctx, s); err != nil {
		return err
	}
	if err := n.oversee(ctx, s); err != nil {
		return err
	}
	return finish(ctx, run, p, s)
}

// raise prepares the members' folders: with the keys of an earlier run, or none.
func raise(run Run, dir string, keys *prover.Keys, circuit network.Circuit, p *printer) (*Network, error) {
	opts := Options{Dir: dir, Program: run.Program, KeysDir: run.KeysDir, OwnKeys: keys == nil, Beat: 5, Circuit: circuit,
		Schemes: Schemes, Members: Departments, Progress: p.stage}
	if keys != nil {
		opts.VerifyingKey = keys.VerifyingKey()
	}
	return Build(opts)
}

// workFolder makes the folder that the members live in.
func workFolder(dir string) (string, func(), error) {
	if dir == "" {
		dir, err := os.MkdirTemp("", "grille-demo-")
		return dir, func() { _ = os.RemoveAll(dir) }, err
	}
	if found, err := os.ReadDir(dir); err == nil && len(found) > 0 {
		return "", nil, fmt.Errorf("running the demo in %s: the folder is not empty; name another one or leave --work out", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", nil, fmt.Errorf("running the demo: %w", err)
	}
	dir, err := filepath.Abs(dir)
	return dir, func() {}, err
}

// finish prints the rest and, unless it is to end by itself, leaves the network up until ctx ends.
func finish(ctx context.Context, run Run, p *printer, s *Story) error {
	if run.JSON {
		enc := json.NewEncoder(run.Out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(s); err != nil {
			return err
		}
	} else {
		p.checks(s)
		p.audits(s)
	}
	if run.Once {
		return nil
	}
	p.addresses(s)
	p.examples(s)
	<-ctx.Done()
	if errors.Is(context.Cause(ctx), context.Canceled) {
		p.closing()
	}
	return nil
}
