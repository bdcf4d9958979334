package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		samples []float64
		q, want float64
	}{
		{[]float64{7}, 0, 7}, {[]float64{7}, 0.99, 7}, {[]float64{3, 1, 2}, 0, 1}, {[]float64{3, 1, 2}, 0.5, 2}, {[]float64{3, 1, 2}, 1, 3},
		{[]float64{4, 3, 2, 1}, 0.5, 2}, {hundred, 0.5, 50}, {hundred, 0.9, 90}, {hundred, 0.99, 99}, {hundred, 1, 100},
	} {
		if got := quantile(c.samples, c.q); got != c.want {
			t.Errorf("quantile %g of %d samples is %g, want %g", c.q, len(c.samples), got, c.want)
		}
	}
}

func TestAims(t *testing.T) {
	var b bench
	b.add("p", "under", "ms", 3, []Value{{"min", 1}, {"median", 2}}, "median", 2)
	b.add("p", "over", "ms", 3, []Value{{"min", 1}, {"median", 2.001}}, "median", 2)
	b.least("p", "reached", "1/s", 3, 5, 5)
	b.least("p", "not reached", "1/s", 3, 4.9, 5)
	b.add("p", "none", "ms", 3, []Value{{"median", 9}}, "median", 0)
	var out bytes.Buffer
	if err := b.report.writeTable(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	for i, want := range []string{"median <= 2: met", "median <= 2: MISSED", ">= 5: met", ">= 5: MISSED", "median 9            -"} {
		if line := lines[len(lines)-5+i]; !strings.HasSuffix(line, want) {
			t.Errorf("%q does not end in %q", line, want)
		}
	}
}

func TestFormat(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.1234: "0.123", 1.234: "1.23", 123.45: "123.5", 1234.5: "1234", 10622: "10622", -2: "-2"} {
		if got := format(x); got != want {
			t.Errorf("%g is written %s, want %s", x, got, want)
		}
	}
}

func TestCalledWrongly(t *testing.T) {
	for _, args := range [][]string{{"-only", "nothing"}, {"-o", "xml"}, {"-rows", "1"}, {"-no-such-flag"}, {"extra"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

// TestMain lets this program be the children that parts of a run start.
func TestMain(m *testing.M) {
	if child() {
		return
	}
	os.Exit(m.Run())
}

// Quick runs: figures are there, and are no nonsense.
func TestQuickRun(t *testing.T) {
	r := quickRun(t, "proof")
	if len(r.Circuit) != 64 || len(r.Rows) < 12 {
		t.Errorf("%+v", r)
	}
}

func TestQuickLedger(t *testing.T) {
	if r := quickRun(t, "ledger"); len(r.Rows) != 19 {
		t.Errorf("%d rows", len(r.Rows))
	}
}

func quickRun(t *testing.T, part string) Report {
	t.Helper()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-quick", "-rows", "1000", "-o", "json", "-only", part, "-dir", t.TempDir()}, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Machine.Gnark == "" || r.Machine.SyncMillis <= 0 || !r.Quick {
		t.Errorf("%+v", r)
	}
	for _, row := range r.Rows {
		for _, v := range row.Values {
			if v.Number <= 0 {
				t.Errorf("%s: %s %g", row.Name, v.Label, v.Number)
			}
		}
	}
	return r
}

// The simulation brings every head to everybody, the same way each time.
func TestSimulation(t *testing.T) {
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("GOV/m%02d", i))
	}
	shape := simShape{members: 60, mirrors: 7, quorum: 5, warm: 5 * time.Second, length: 20 * time.Second, entryEvery: 10 * time.Second,
		heartbeat: 5 * time.Second, compareEvery: 5 * time.Second}
	run := func(seed uint64) *simulation {
		s := newSimulation(shape, names, "d", messageSizes{push: 800, beat: 300, pushReply: 200, item: 3000, compareAsk: 64, compareEnd: 20}, seed)
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := run(1)
	if n := len(s.everywhere); n < 100 || n > 120 { // two from each, but for the last that are under way
		t.Errorf("%d heads reached everybody", n)
	}
	for _, n := range s.nodes {
		if n.traffic.messages == 0 || n.traffic.sent == 0 || n.traffic.received == 0 || n.queries.heads == 0 {
			t.Errorf("%+v %+v", n.traffic, n.queries)
		}
	}
	if again := run(1); !slices.Equal(again.everywhere, s.everywhere) || again.seq != s.seq {
		t.Error("the same seed gives another run")
	}
	if other := run(2); slices.Equal(other.everywhere, s.everywhere) {
		t.Error("another seed gives the same run")
	}
}
