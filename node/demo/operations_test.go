//go:build unix

package demo

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestOperationsDocument runs every command of docs/operations.md, in order, as a reader would: with the program on the PATH, in an
// empty folder, with one shell.
func TestOperationsDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 8 {
		t.Fatalf("the document has only %d blocks of commands", len(blocks))
	}
	script := "set -eux\ntrap 'kill -9 $(jobs -p) 2>/dev/null || true' EXIT\n" // a failed script leaves no gateway
	for _, b := range blocks {
		script += b[1]
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = processAttributes()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		logs := ""
		for _, m := range []string{"land", "housing", "audit"} {
			logs += "\n" + m + ":\n" + tail(filepath.Join(dir, m+".log"))
		}
		t.Fatalf("following docs/operations.md: %v\n%s\n%s", err, out, logs)
	}
	if !strings.Contains(string(out), `"verdict": "satisfied"`) {
		t.Fatalf("the question at the end was not answered as the document says:\n%s", out)
	}
}
