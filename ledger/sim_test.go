package ledger

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
)

// The simulator drives whole Stores, the code that runs in a gateway, over disks, clocks and a network that are simulated:
// single-threaded and deterministic, so that one number repeats a run. What may go wrong is in sim_faults_test.go, who
// lies in sim_byzantine_test.go, what must hold in sim_invariants_test.go.
//
//	go test ./ledger -run TestSimulation -sim.runs=10000    many seeds
//	go test ./ledger -run TestSimulation -sim.seed=N        one seed, told step by step
var (
	simSeed   = flag.Uint64("sim.seed", 0, "simulate this seed alone and tell each step; 0: many seeds")
	simFirst  = flag.Uint64("sim.first", 1, "the first of the seeds")
	simRuns   = flag.Int("sim.runs", 100, "how many seeds to simulate")
	simEvents = flag.Int("sim.events", 500, "events in each simulation")
)

// simStart is the true time when each simulation begins.
var simStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A simPlant is a fault built into otherwise honest members, to see that the simulator finds what comes of it.
type simPlant struct {
	name      string
	losesSync func(path string) bool                                     // files and folders whose fsync the disk forgets
	config    func(c *network.Configuration) *network.Configuration      // what stores are opened with
	starting  func(n *simNode)                                           // before each start
	opened    func(n *simNode)                                           // after each start
	hear      func(n *simNode, from string, t *simTold) error            // in the place of Store.Hear
	push      func(n *simNode, from *simNode, p Push) (PushReply, error) // in the place of Store.AddCheckpoint
	want      string                                                     // what the failure says
	seed      uint64                                                     // one that finds it; 0: 1
	blind     bool                                                       // leaves out the checks that see the plant itself, not what comes of it
}

// simOptions says what to simulate.
type simOptions struct {
	seed   uint64
	events int
	plant  simPlant
	trace  io.Writer // nil: no trace
}

// A simFailure is a broken invariant.
type simFailure struct{ text string }

// simulate runs one seed and returns what happened how often, and the broken invariant, or nil.
func simulate(o simOptions) (counts map[string]int, err error) {
	w := newSimWorld(o)
	counts = w.counts
	defer func() {
		for _, n := range w.nodes {
			n.stop()
		}
	}()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case simFailure:
			err = fmt.Errorf("seed %d, event %d: %s", o.seed, w.event, p.text)
		default:
			err = fmt.Errorf("seed %d, event %d: panic: %v\n%s", o.seed, w.event, p, debug.Stack())
		}
	}()
	w.run()
	return counts, nil
}

// A simWorld is the whole simulated network.
type simWorld struct {
	opts     simOptions
	r        *rand.Rand
	versions []*network.Configuration // in force somewhere, from the first on
	links    []*network.Link          // links[i] leads from versions[i] to the next
	ballots  map[int]*simBallot       // by the version voted for
	now      time.Time                // true time
	event    int
	quiet    bool // faults have ended
	nodes    []*simNode
	logs     []*simLog
	mail     []simMail
	cutUntil time.Time             // end of the partition
	group    []int                 // of each node: messages pass within a group
	changes  bool                  // of the configuration are made
	live     bool                  // the faults leave enough mirrors for liveness
	lines    map[string]simEmitted // every cosignature of an honest mirror that came out
	heads    []Head                // seen on the way, for replays
	counts   map[string]int
}

func (w *simWorld) failf(format string, args ...any) {
	panic(simFailure{fmt.Sprintf(format, args...)})
}

func (w *simWorld) tracef(format string, args ...any) {
	if w.opts.trace != nil {
		fmt.Fprintf(w.opts.trace, "%4d %8s  %s\n", w.event, w.now.Sub(simStart).Round(time.Millisecond), fmt.Sprintf(format, args...))
	}
}

// chance is true once in n times.
func (w *simWorld) chance(n int) bool { return w.r.IntN(n) == 0 }

// count notes that something happened, and tells the trace.
func (w *simWorld) count(what string) { w.counts[what]++ }

// run lets everything happen: the seed's schedule of faults among the daily work, then the end of all faults, after which
// what was appended must become final everywhere.
func (w *simWorld) run() {
	for _, n := range w.nodes {
		if !n.byzantine && n.own != nil {
			n.start()
		}
	}
	for len(w.mail) > 0 { // nobody has anything yet, and all hear so
		w.deliverNow(w.r.IntN(len(w.mail)))
	}
	schedule := w.schedule()
	for w.event = 1; w.event <= w.opts.events; w.event++ {
		w.now = w.now.Add(time.Duration(w.r.IntN(500)) * time.Millisecond)
		w.restartDue()
		if f := schedule[w.event-1]; f != nil {
			f(w)
		} else {
			w.work()
		}
		w.check()
	}
	w.heal()
	w.audit()
}

// work is one step of what goes on every day, picked by weight.
func (w *simWorld) work() {
	k := w.r.IntN(100)
	if len(w.pending()) > 0 && w.chance(8) {
		w.vote()
		return
	}
	if k < 62 {
		if w.deliver(); w.chance(2) {
			w.deliver()
		}
		return
	}
	if k >= 87 {
		w.byzantineAct()
		return
	}
	n := w.pickUp()
	switch {
	case n == nil:
	case !n.hasHeard() && w.chance(2):
		n.askAll()
	case k < 76:
		n.poll()
	case k < 83:
		n.append()
	case k < 85:
		n.tell(w.other(n), n.config().Version)
	default:
		n.askAll()
	}
}

// pickUp picks a member that runs, or nil.
func (w *simWorld) pickUp() *simNode {
	var up []*simNode
	for _, n := range w.nodes {
		if n.store != nil {
			up = append(up, n)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[w.r.IntN(len(up))]
}

// other picks a member that is not n.
func (w *simWorld) other(n *simNode) *simNode {
	i := w.r.IntN(len(w.nodes) - 1)
	if i >= n.id {
		i++
	}
	return w.nodes[i]
}

// TestSimulation runs many seeds on all processors. A seed that breaks an invariant is printed with the command that
// repeats it.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		counts, err := simulate(simOptions{seed: *simSeed, events: *simEvents, trace: os.Stdout})
		t.Log(simCounts(counts))
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	total, failed := simMany(*simFirst, *simRuns, *simEvents, simPlant{}, 5)
	for _, f := range failed {
		t.Errorf("%v\n\trepeat with: go test ./ledger -run 'TestSimulation$' -sim.seed=%d -sim.events=%d", f.err, f.seed, *simEvents)
	}
	t.Logf("%d runs of %d events: %s", *simRuns, *simEvents, simCounts(total))
	var must []string
	if *simRuns >= 100 {
		must = simMustHappen
	}
	if *simRuns >= 2000 {
		must = append(must, simRareMustHappen...)
	}
	for _, what := range must {
		if total[what] == 0 {
			t.Errorf("%q never happened", what)
		}
	}
}

// simMany runs n seeds from first on, on all processors, until stopAfter of them fail, and returns their failures by seed.
func simMany(first uint64, n, events int, plant simPlant, stopAfter int) (total map[string]int, failures []simBroken) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // much garbage, little that stays
	total = make(map[string]int)
	var mu sync.Mutex
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= uint64(n) {
					return
				}
				seed := first + i
				counts, err := simulate(simOptions{seed: seed, events: events, plant: plant})
				mu.Lock()
				for what, k := range counts {
					total[what] += k
				}
				if err != nil && strings.Contains(err.Error(), plant.want) {
					failures = append(failures, simBroken{seed, err})
				}
				enough := len(failures) >= stopAfter
				mu.Unlock()
				if enough {
					return
				}
			}
		})
	}
	wg.Wait()
	slices.SortFunc(failures, func(a, b simBroken) int { return int(a.seed) - int(b.seed) })
	return total, failures
}

// A simBroken is a seed that breaks an invariant.
type simBroken struct {
	seed uint64
	err  error
}

func simCounts(counts map[string]int) string {
	var list []string
	for what, n := range counts {
		list = append(list, fmt.Sprintf("%s %d", what, n))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// TestSimulationRepeats runs some seeds twice and compares every step: a run must follow from its seed alone.
func TestSimulationRepeats(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		var first, second bytes.Buffer
		_, err1 := simulate(simOptions{seed: seed, events: 500, trace: &first})
		_, err2 := simulate(simOptions{seed: seed, events: 500, trace: &second})
		if fmt.Sprint(err1) != fmt.Sprint(err2) || !bytes.Equal(first.Bytes(), second.Bytes()) {
			a, b := strings.Split(first.String(), "\n"), strings.Split(second.String(), "\n")
			i := 0
			for i < min(len(a), len(b))-1 && a[i] == b[i] {
				i++
			}
			t.Fatalf("seed %d: step %d differs:\n%s\n%s", seed, i, a[i], b[i])
		}
		if first.Len() < 10_000 {
			t.Errorf("seed %d: a trace of %d bytes", seed, first.Len())
		}
	}
}
