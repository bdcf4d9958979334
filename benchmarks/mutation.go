package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
)

// aimCaught is how many of a hundred mutants some test should catch.
const aimCaught = 100

// mutation takes the circuit's constraints away in turn and counts what the tests catch. `make mutation` prints the table.
func (b *bench) mutation(ctx context.Context) error {
	b.stage("taking each constraint of the circuit away in turn")
	cmd := exec.CommandContext(ctx, "go", "run", "./circuits/mutation", "-json", "-every", strconv.Itoa(b.samples(1, 40)))
	cmd.Dir = ".."
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || len(out) == 0) {
		return fmt.Errorf("running the mutants: %w", err)
	}
	var found struct {
		Mutants, Caught int
		Seconds         float64
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return fmt.Errorf("reading what the mutation run found: %w", err)
	}
	if found.Mutants == 0 {
		return errors.New("there are no mutants")
	}
	b.least("mutation", "constraints and checks taken away: caught of a hundred", "%", found.Mutants, 100*float64(found.Caught)/float64(found.Mutants), aimCaught)
	b.add("mutation", "the whole run", "s", 1, []Value{{Number: found.Seconds}}, "", 0)
	return nil
}
