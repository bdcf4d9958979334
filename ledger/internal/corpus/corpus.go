// Package corpus keeps the committed seeds of fuzzers, testdata/fuzz/NAME/, equal to what tests say they are: a few real
// inputs and a few nasty ones, made from golden values. Only tests import it.
package corpus

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Env is the environment variable that makes Check write the files instead of comparing them.
const Env = "GRILLE_WRITE_CORPUS"

// Check compares the seeds of a fuzzer in the package under test with inputs: by file name, the fuzzer's arguments, each a
// []byte, string, int, uint64 or bool. A file more, less or other than these is an error.
func Check(tb testing.TB, fuzzer string, inputs map[string][]any) {
	tb.Helper()
	dir := filepath.Join("testdata", "fuzz", fuzzer)
	if os.Getenv(Env) != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	for name, args := range inputs {
		path := filepath.Join(dir, name)
		want := encode(tb, args)
		if os.Getenv(Env) != "" {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				tb.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			tb.Errorf("seed %s is not what the test says (%v); %s=1 writes it", path, err, Env)
		}
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range list {
		if _, ok := inputs[e.Name()]; !ok {
			tb.Errorf("seed %s is in no test", filepath.Join(dir, e.Name()))
		}
	}
}

// encode writes arguments as go test does.
func encode(tb testing.TB, args []any) []byte {
	out := []byte("go test fuzz v1\n")
	for _, arg := range args {
		switch arg := arg.(type) {
		case []byte:
			out = fmt.Appendf(out, "[]byte(%q)\n", arg)
		case string, int, uint64, bool:
			out = fmt.Appendf(out, "%T(%#v)\n", arg, arg)
		default:
			tb.Fatalf("seed of type %T", arg)
		}
	}
	return out
}
