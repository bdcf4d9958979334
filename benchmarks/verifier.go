package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// verifierDir is the verifier in TypeScript, from the folder of the benchmarks.
const verifierDir = "../node/console/verifier"

// aimVerifyBrowser is what one verification should take in a browser, in milliseconds.
const aimVerifyBrowser = 150

// verifierRun is what `npm run bench -- --json` prints of one place that runs JavaScript.
type verifierRun struct {
	Where   string `json:"where"`
	Figures []struct {
		Name    string  `json:"name"`
		Samples int     `json:"samples"`
		Median  float64 `json:"median"`
		Slowest float64 `json:"slowest"`
	} `json:"figures"`
}

// verifier measures the second verifier in Node and, where Chromium is found, in a browser.
func (b *bench) verifier(ctx context.Context) error {
	b.stage("verifying a published vector in Node and in a browser")
	runs, err := runVerifier(ctx, b.samples(60, 4))
	if err != nil {
		return err
	}
	if len(runs) < 2 {
		b.stage("no Chromium found (apt-get install chromium, or name it in CHROMIUM): the browser's figures are left out")
	}
	for i, run := range runs {
		b.report.Rows = append(b.report.Rows, Row{Part: "verifier", Name: "in " + run.Where})
		for _, f := range run.Figures {
			aim := 0.0
			if i > 0 && f.Samples > 1 && strings.HasPrefix(f.Name, "verify") { // the first of a process is compiled while it runs
				aim = aimVerifyBrowser
			}
			values := []Value{{"median", f.Median}, {"slowest", f.Slowest}}
			if f.Samples == 1 {
				values = []Value{{Number: f.Median}}
			}
			b.add("verifier", "  "+f.Name, "ms", f.Samples, values, "median", aim)
		}
	}
	return nil
}

func runVerifier(ctx context.Context, samples int) ([]verifierRun, error) {
	script := filepath.Join(verifierDir, "dist/bench/main.js")
	if _, err := os.Stat(script); err != nil {
		return nil, errors.New("the verifier in TypeScript is not built: run `make ts` first, which needs Node 20.19 or newer with npm")
	}
	cmd := exec.CommandContext(ctx, "node", script, "--json", "--samples", strconv.Itoa(samples))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w\n%s", script, err, stderr.String())
	}
	var report struct {
		Runs []verifierRun `json:"runs"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return nil, fmt.Errorf("reading what %s measured: %w", script, err)
	}
	return report.Runs, nil
}
