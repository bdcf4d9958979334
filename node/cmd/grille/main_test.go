package main

import (
	"context"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/grille-gateway/grille/node/demo"
)

// scripts is the folder of scripts to run. testdata/ceremony, a key ceremony at full size, takes minutes.
var scripts = flag.String("scripts", "testdata/script", "folder of the scripts to run")

// TestScripts runs the scripts of a folder. Beside testscript's own commands there are
//
//	exits CODE COMMAND ARGS...   the command ends with exactly that exit code
//	ready DIR                    waits until the gateway in DIR can answer
//	seen DIR PATTERN COMMAND...  repeats a command against DIR until its output holds PATTERN
//	spoil IN KEY OUT             writes a contribution to a key ceremony without its proof of knowledge, signed again
//
// and in the environment $P1..$P8, free ports on loopback, $KEYS, a folder with the circuit's keys, $CHAIN, a chain of
// four versions of a network, and $TRANSCRIPT, that of a finished ceremony.
//
// The program under test is built without the race detector, with which each start would compile the circuit for many
// seconds; package gateway runs the same parts in one process with it.
func TestScripts(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(bin, "grille"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building grille: %v\n%s", err, out)
	}
	chain, err := filepath.Abs("../../../ledger/network/testdata/chain.golden")
	if err != nil {
		t.Fatal(err)
	}
	transcript, err := filepath.Abs("../../../prover/ceremony/testdata/transcript.golden")
	if err != nil {
		t.Fatal(err)
	}
	keys := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "grille"), "keys", "prepare", keys).CombinedOutput(); err != nil {
		t.Fatalf("preparing keys: %v\n%s", err, out)
	}
	testscript.Run(t, testscript.Params{
		Dir: *scripts,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KEYS", keys)
			env.Setenv("CHAIN", chain)
			env.Setenv("TRANSCRIPT", transcript)
			env.Setenv("NETNS", os.Getenv("NETNS"))
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			ports, err := freePorts(8)
			if err != nil {
				return err
			}
			for i, p := range ports {
				env.Setenv("P"+strconv.Itoa(i+1), p)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "ready": ready, "seen": seen, "spoil": spoil},
	})
}

// freePorts finds n different ports.
func freePorts(n int) ([]string, error) {
	var ports []string
	for len(ports) < n {
		address, err := demo.FreePort()
		if err != nil {
			return nil, err
		}
		if _, port, err := net.SplitHostPort(address); err != nil {
			return nil, err
		} else if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func ready(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, "the gateway is ready", func() bool {
		return ts.Exec("grille", "status", "-d", args[0]) == nil && strings.Contains(ts.ReadFile("stdout"), ": ready")
	})
}

func seen(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, "the output holds "+args[1], func() bool {
		return ts.Exec("grille", append([]string{"-d", args[0]}, args[2:]...)...) == nil && strings.Contains(ts.ReadFile("stdout"), args[1])
	})
}

func poll(ts *testscript.TestScript, what string, done func() bool) {
	for end := time.Now().Add(60 * time.Second); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("not within a minute: %s", what)
		}
	}
}

// Each way to call a command wrongly has its exit code and a message.
func TestExitCodes(t *testing.T) {
	for _, c := range []struct {
		args string
		want int
	}{
		{"version", exitDone},
		{"--help", exitDone},
		{"", exitDone},
		{"nonsense", exitUsage},
		{"version extra", exitUsage},
		{"version --nonsense", exitUsage},
		{"version -o xml", exitUsage},
		{"dataset", exitUsage},
		{"dataset nonsense", exitUsage},
		{"dataset import one", exitUsage},
		{"init", exitUsage},
		{"verify x", exitUsage},
		{"receipts", exitUsage},
		{"receipts verify", exitUsage},
		{"receipts reconcile one", exitUsage},
		{"receipts verify /nonexistent --network /nonexistent", exitFailed},
		{"subject", exitUsage},
		{"subject token P-0001", exitUsage},
		{"subject log 0123", exitUsage},
		{"ledger show GOV/a minus", exitUsage},
		{"ceremony", exitUsage},
		{"ceremony contribute now", exitUsage},
		{"ceremony contribute --key k", exitUsage},
		{"ceremony contribute --offline t", exitUsage},
		{"ceremony contribute --offline /nonexistent --key /nonexistent --member GOV/a", exitFailed},
		{"ceremony export", exitUsage},
		{"ceremony export -f a --transcript b", exitUsage},
		{"ceremony submit", exitUsage},
		{"ceremony submit /nonexistent", exitFailed},
		{"ceremony verify /nonexistent --adopt", exitUsage},
		{"ceremony verify --network n", exitUsage},
		{"ceremony verify /nonexistent --network /nonexistent", exitFailed},
		{"ceremony status --dir /nonexistent", exitFailed},
		{"status --dir /nonexistent", exitFailed},
		{"doctor /nonexistent", exitFailed},
		{"verify /nonexistent --network /nonexistent --key /nonexistent", exitFailed},
	} {
		var out, err strings.Builder
		got := run(context.Background(), strings.Fields(c.args), terminal{in: strings.NewReader(""), out: &out, err: &err})
		if got != c.want {
			t.Errorf("grille %s: exit code %d, want %d\n%s", c.args, got, c.want, err.String())
		}
		if got != exitDone && !strings.HasPrefix(err.String(), "grille: ") {
			t.Errorf("grille %s: says %q", c.args, err.String())
		}
	}
}

func TestReadSubject(t *testing.T) {
	for text, want := range map[string]string{"NMES-000001\n": "NMES-000001", "NMES-000001": "NMES-000001", "a b\r\nnext\n": "a b",
		strings.Repeat("x", 256): strings.Repeat("x", 256)} {
		a := &app{terminal: terminal{in: strings.NewReader(text)}}
		if got, err := a.readSubject("-"); err != nil || got != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", strings.Repeat("x", 257), strings.Repeat("x", 1000) + "\n"} {
		a := &app{terminal: terminal{in: strings.NewReader(text)}}
		_, err := a.readSubject("-")
		if err == nil || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{"127.0.0.1:1": "127.0.0.1:1", "0.0.0.0:1": "127.0.0.1:1", "[::]:1": "[::1]:1", "localhost:1": "localhost:1"} {
		if got := reachable(listen); got != want {
			t.Errorf("%s: %s", listen, got)
		}
	}
}

func TestMeterWithoutTerminal(t *testing.T) {
	var out strings.Builder
	a := &app{terminal: terminal{err: &out}}
	m := a.meter("sending", 100)
	for range 10 {
		if _, err := m.Write(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
	}
	if lines := strings.Count(out.String(), "\n"); lines != 10 || strings.Contains(out.String(), "\r") {
		t.Errorf("%d lines: %q", lines, out.String())
	}
}
