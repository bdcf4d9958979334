package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/grille-gateway/grille/exchange/bundle"
)

// together is how many bundles are read and verified at once: at most 256 MiB of them, usually 2.
const together = 256

// bundleFiles are the files named, and of a folder those with a name that ends in .json.
func bundleFiles(args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, fmt.Errorf("reading the bundle: %w", err)
		}
		if !info.IsDir() {
			files = append(files, arg)
			continue
		}
		entries, err := os.ReadDir(arg) // sorted
		if err != nil {
			return nil, fmt.Errorf("reading the folder: %w", err)
		}
		before := len(files)
		for _, e := range entries {
			if !e.IsDir() && strings.HasSuffix(e.Name(), ".json") {
				files = append(files, filepath.Join(arg, e.Name()))
			}
		}
		if len(files) == before {
			return nil, hint(fmt.Errorf("reading the folder %s: there is no .json file in it", arg), "grille answer ID -f NAME.json")
		}
	}
	return files, nil
}

func readBundle(path string) ([]byte, error) {
	data, err := readLimited(path, bundle.MaxBundle)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle: %w", err)
	}
	return data, nil
}

// verifiedFile is what verify prints of one bundle of several: what it prints of one alone, and the file.
type verifiedFile struct {
	File     string `json:"file"`
	Verified bool   `json:"verified"`
	Reason   string `json:"reason,omitempty"` // stable code, of one that is refused
	*bundle.Report
}

// verifyMany verifies files some hundred at a time and prints a table with a row, or a JSON line, for each.
func (a *app) verifyMany(v *bundle.Verifier, replica *copiedLedger, files []string) error {
	var rows [][]string
	bad := 0
	for some := range slices.Chunk(files, together) {
		data := make([][]byte, len(some))
		for i, path := range some {
			var err error
			if data[i], err = readBundle(path); err != nil {
				return err
			}
		}
		results := v.VerifyAll(data)
		if replica != nil && replica.err != nil {
			return noLedger(replica.err)
		}
		for i, r := range results {
			if r.Err != nil {
				bad++
			}
			row, err := a.resultOf(some[i], r)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
	}
	if a.output != "json" {
		table(a.out, []string{"FILE", "VERIFIED", "VERDICT", "POLICY", "HOLDER", "ANSWERED", "RECEIPT", "CURRENCY"}, rows)
		fmt.Fprintf(a.out, "%d of %d verified; network %s %s, keys %s\n", len(files)-bad, len(files), v.Config.Instance,
			fingerprint(v.Config.Digest()), kinds(v.Proofs))
	}
	if bad > 0 {
		return errFalse{fmt.Errorf("%d of %d bundles do not verify; grille verify FILE says more of one", bad, len(files))}
	}
	return nil
}

// resultOf prints the line of one bundle, or returns its row.
func (a *app) resultOf(file string, r bundle.Result) ([]string, error) {
	f := verifiedFile{File: file, Verified: r.Err == nil, Report: r.Report}
	var refused *bundle.Refused
	if errors.As(r.Err, &refused) {
		f.Reason = refused.Code()
	}
	if a.output == "json" {
		if err := json.NewEncoder(a.out).Encode(f); err != nil {
			return nil, fmt.Errorf("printing: %w", err)
		}
		return nil, nil
	}
	if r.Err != nil {
		return []string{file, "NO: " + f.Reason, "-", "-", "-", "-", "-", "-"}, nil
	}
	policy := r.Report.Policy + " v" + strconv.Itoa(r.Report.Version)
	return []string{file, "yes", r.Report.Verdict.String(), policy, r.Report.Holder, r.Report.AnsweredAt, r.Report.Receipt, r.Report.Currency}, nil
}
