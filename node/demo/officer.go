package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/grille-gateway/grille/ledger/audit"
)

// An Audit is one run of `grille ledger audit` in a process of its own.
type Audit struct {
	What    string   `json:"what"`
	Folder  string   `json:"folder"`
	Clean   bool     `json:"clean"`
	Exit    int      `json:"exit"`
	Logs    int      `json:"logs"`
	Entries int64    `json:"entries"`
	Codes   []string `json:"codes"` // of what is wrong, the first of each
}

// officer is whose folder the audits look at: a member that neither asks nor is asked about income.
const officer = "GOV/health"

// oversee audits the logs that a member holds, while its gateway runs, and then a copy of them with one bit changed.
func (n *Network) oversee(ctx context.Context, s *Story) error {
	dir := n.Node(officer).Folder.Ledger()
	honest, err := n.audit(ctx, "its own copy, with the gateway running", dir)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(n.opts.Dir, "audit-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(work) }()
	changed := filepath.Join(work, "ledger")
	if err := copyLedger(changed, dir); err != nil {
		return fmt.Errorf("copying the ledger: %w", err)
	}
	if err := flip(filepath.Join(changed, "logs")); err != nil {
		return err
	}
	damaged, err := n.audit(ctx, "a copy of it with one bit of one entry changed", changed)
	if err != nil {
		return err
	}
	s.Audits = []Audit{honest, damaged}
	if !honest.Clean || damaged.Clean || damaged.Exit != exitFalse {
		return fmt.Errorf("the audit is broken: honest ledger %v, changed ledger clean %v", honest.Codes, damaged.Clean)
	}
	return nil
}

// audit runs `grille ledger audit` on a folder.
func (n *Network) audit(ctx context.Context, what, dir string) (Audit, error) {
	file := filepath.Join(n.opts.Dir, "audited.json")
	if err := os.WriteFile(file, n.Config.Bytes(), 0o600); err != nil {
		return Audit{}, err
	}
	cmd := exec.CommandContext(ctx, n.opts.Program, "ledger", "audit", "--ledger", dir, "--network", file, "-o", "json")
	var said, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaints
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return Audit{}, fmt.Errorf("running grille ledger audit: %w", err)
	}
	var report struct {
		Clean bool `json:"clean"`
		audit.Report
	}
	if err := json.Unmarshal(said.Bytes(), &report); err != nil {
		return Audit{}, fmt.Errorf("running grille ledger audit: %s", complaints.String())
	}
	a := Audit{What: what, Folder: dir, Clean: report.Clean, Exit: cmd.ProcessState.ExitCode(), Logs: len(report.Logs)}
	seen := map[audit.Code]bool{}
	for _, l := range report.Logs {
		a.Entries += l.Entries
	}
	for _, p := range report.All() {
		if !p.Remark && !seen[p.Code] {
			seen[p.Code] = true
			a.Codes = append(a.Codes, string(p.Code))
		}
	}
	return a, nil
}

// copyLedger copies a folder that a gateway may be writing to: a file that is renamed meanwhile is looked for again.
func copyLedger(to, from string) error {
	for tries := 0; ; tries++ {
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil || tries == 5 || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// flip changes one bit of the first entry bundle below a folder.
func flip(logs string) error {
	changed := false
	err := filepath.WalkDir(logs, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(filepath.ToSlash(path), "/tile/entries/") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) < 8 {
			return err
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
		changed = true
		return fs.SkipAll
	})
	if err == nil && !changed {
		err = errors.New("no entry was found")
	}
	if err != nil {
		return fmt.Errorf("changing a copy of the ledger: %w", err)
	}
	return nil
}
