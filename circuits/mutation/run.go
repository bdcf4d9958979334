package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

var (
	//go:embed harness/wire.go.txt
	wireHarness []byte
	//go:embed harness/lies_test.go.txt
	liesHarness []byte
)

// uncounted are the tests that would fail at any change: golden file, id, size, shape, the figures in the documents, and how many tests
// there are of what.
const uncounted = "TestConstraintLimit|TestCompileIsDeterministic|TestEveryWireIsConstrained|TestEveryWireChangeIsNoticed|" +
	"TestContextIsSquared|TestNoStatementIsNextToAnother|TestHashDoesNotAllocate|TestIDSeesEveryConstraint|TestWatcherSees.*|" +
	"TestHintsAreGnarks|TestEveryHintLied|TestFiguresInTheArgument|TestPublicNamesAreTheCircuits"

// A mutant that makes a test run for ever counts as caught by nothing.
const deadline = 3 * time.Minute

// built are test binaries with every mutant planted.
type built struct {
	temp, circuits, prover string
	in                     string       // the module's root
	whole                  func() error // runs all tests with no mutant on, once
}

func build(ctx context.Context, dir string, sources []*source) (*built, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	temp, err := os.MkdirTemp("", "grille-mutation-")
	if err != nil {
		return nil, err
	}
	b := &built{temp: temp, in: root, circuits: filepath.Join(temp, "circuits.test"), prover: filepath.Join(temp, "prover.test")}
	b.whole = sync.OnceValue(func() error { return b.honest(ctx, ".") })
	if err := b.compile(ctx, sources); err != nil {
		return nil, errors.Join(err, b.remove())
	}
	return b, nil
}

func (b *built) remove() error { return os.RemoveAll(b.temp) }

func (b *built) compile(ctx context.Context, sources []*source) error {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	put := func(name string, text []byte) error {
		path := filepath.Join(b.temp, name)
		overlay.Replace[filepath.Join(b.in, "circuits", name)] = path
		return os.WriteFile(path, text, 0o600)
	}
	for _, s := range sources {
		if len(s.edits) > 0 {
			if err := put(s.name, s.planted()); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(put("mutation_wire.go", wireHarness), put("mutation_lies_test.go", liesHarness)); err != nil {
		return err
	}
	table, err := json.Marshal(overlay)
	if err != nil {
		return err
	}
	path := filepath.Join(b.temp, "overlay.json")
	if err := os.WriteFile(path, table, 0o600); err != nil {
		return err
	}
	for out, pkg := range map[string]string{b.circuits: "./circuits", b.prover: "./prover"} {
		cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", path, "-o", out, pkg)
		cmd.Dir = b.in
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building with the mutants planted: %w\n%s", err, text)
		}
	}
	return nil
}

// test runs one of the binaries with one mutant on and returns the name of the first test that failed.
func (b *built) test(ctx context.Context, binary, pkg string, mutant int, args ...string) (failed string, err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	args = append(args, "-test.failfast", "-test.paniconexit0")
	skip := uncounted
	if mutant != 0 {
		skip += "|TestGolden"
	}
	args = append(args, "-test.skip", "^("+skip+")$")
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = filepath.Join(b.in, pkg)
	cmd.Env = append(os.Environ(), fmt.Sprintf("GRILLE_MUTANT=%d", mutant), "GOMAXPROCS=1")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", nil
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("mutant %d: %w", mutant, ctx.Err())
	}
	if failed = firstFailure(string(out)); failed == "" { // killed, or ended before its first test: that shows nothing
		return "", fmt.Errorf("mutant %d: the tests ended without a failing one: %w: %s", mutant, err, shortened(strings.TrimSpace(string(out))))
	}
	return failed, nil
}

var (
	failure = regexp.MustCompile(`(?m)^ *--- FAIL: (\S+)`)
	reason  = regexp.MustCompile(`(?m)^ +\w+_test\.go:\d+: (.*)$`)
)

// firstFailure names the innermost test that failed, with what it said; "" if none did.
func firstFailure(out string) string {
	names := failure.FindAllStringSubmatch(out, -1)
	if len(names) == 0 {
		return ""
	}
	name := names[len(names)-1][1]
	said := reason.FindStringSubmatch(out)
	if said != nil && strings.Contains(said[1], "is not satisfied") {
		return name + ": an honest statement is refused"
	}
	if said != nil {
		return name + ": " + shortened(said[1])
	}
	return name
}

// first and second are the tests that are tried first; first wants the likely forgeries' names.
const (
	first  = "^(TestStatementHolds|TestForgeries)$/^(%s)$"
	second = "^(TestCheck|TestGuards|TestVectorRefuses|TestSecretPublic|TestHash|TestMatch|TestSubjectKey|TestNumericColumn)|Gadget|OpeningRoot"
)

// honest says whether the planted package, with no mutant on, passes these tests. One that fails anyway would catch everything.
func (b *built) honest(ctx context.Context, tests string) error {
	failed, err := b.test(ctx, b.circuits, "circuits", 0, "-test.run", tests)
	if err == nil && failed != "" {
		err = fmt.Errorf("with no mutant on, %s fails", failed)
	}
	return err
}

// all runs the mutants, as many at once as there are processors, and returns what caught each; "" for nothing.
func (b *built) all(ctx context.Context, mutants []mutant) ([]string, error) {
	killers, errs := make([]string, len(mutants)), make([]error, len(mutants))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				killers[i], errs[i] = b.catch(ctx, mutants[i])
			}
		})
	}
	for i := range mutants {
		next <- i
	}
	close(next)
	wg.Wait()
	return killers, errors.Join(errs...)
}

// catch runs the tests that count, the likely ones first.
func (b *built) catch(ctx context.Context, m mutant) (string, error) {
	if m.proof {
		return b.test(ctx, b.prover, "prover", m.id, "-test.run", "^TestEveryPublicInputIsBound$")
	}
	forgeries, ok := likely[m.group]
	if !ok {
		forgeries = likely[m.file]
	}
	for _, tests := range []string{
		fmt.Sprintf(first, forgeries),
		second,
		".",
	} {
		if tests == "." {
			if err := b.whole(); err != nil {
				return "", err
			}
		}
		if failed, err := b.test(ctx, b.circuits, "circuits", m.id, "-test.run", tests); failed != "" || err != nil {
			return failed, err
		}
	}
	return "", nil
}

// likely are the forgeries that should catch what is wrong in a file. They are tried first, which saves time and decides nothing; for
// the path and the inside of the hash the gadgets' tests are.
var likely = map[string]string{
	"subjectKey":       "KeyOutOfRange|Digits|Place",
	"bucketHash":       "Path",
	"match":            "Membership|DoublePresence|RecordWithoutValues",
	"columns.go":       "Columns|ColumnRanges|Membership|Disclosure|Verdict",
	"lookup.go":        "Evaluation",
	"atom.go":          "Evaluation",
	"texttest.go":      "Evaluation",
	"gate.go":          "Evaluation",
	"outcome.go":       "Evaluation|Verdict",
	"names.go":         "Tag|Nullifier|OtherSubject",
	"newRoundKeys":     "NodeAsLeaf",
	"Statement.Define": "OtherSubject|RecordWithoutValues|Elsewhere|Place|Tag|Path|Membership|Columns|ColumnRanges|Evaluation|Verdict|Disclosure|Nullifier",
}
