package core

import (
	"bytes"
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// world is a network of Spreads in virtual time. Members hold whatever size they were given; entries are not modelled.
type world struct {
	t      *testing.T
	random *rand.Rand
	now    time.Time
	names  []string
	nodes  map[string]*worldNode
	events events
	seq    int
	sent   map[string]int // messages by sender
	pulled map[string]int // pulls answered, by who answered
}

type worldNode struct {
	name   string
	spread *Spread
	held   []uint64
	wakeAt time.Time
	down   bool                              // answers nothing, at once
	hangs  bool                              // answers nothing, for ten seconds
	lies   func(log int, size uint64) uint64 // what it says to hold; nil: the truth
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

func newWorld(t *testing.T, n int, seed uint64) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 9)), now: start, nodes: map[string]*worldNode{}, sent: map[string]int{}, pulled: map[string]int{}}
	for i := range n {
		w.names = append(w.names, fmt.Sprintf("GOV/%04d", i))
	}
	for _, name := range w.names {
		w.nodes[name] = &worldNode{name: name, held: make([]uint64, n), spread: NewSpread(n, Neighbours(w.names, name, "d1"), w.random.Float64)}
	}
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now.Add(d), w.seq, do})
}

func (w *world) latency() time.Duration {
	return 5*time.Millisecond + time.Duration(w.random.Int64N(int64(60*time.Millisecond)))
}

// run lets virtual time pass, or until done.
func (w *world) run(d time.Duration, done func() bool) bool {
	for end := w.now.Add(d); len(w.events) > 0 && !w.events[0].at.After(end); {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
		if done != nil && done() {
			return true
		}
	}
	return done == nil
}

func treeOf(size uint64) tlog.Tree { return tree(int64(size), byte(size)) }

func (w *world) hold(n *worldNode, log int, size uint64) {
	n.held[log] = max(n.held[log], size)
	n.spread.Held(log, treeOf(n.held[log]))
	w.tick(n)
}

func (w *world) tick(n *worldNode) {
	tasks, next := n.spread.Tick(w.now)
	for _, task := range tasks {
		w.sent[n.name]++
		w.send(n, w.nodes[task.To], task)
	}
	if !next.IsZero() && (n.wakeAt.IsZero() || next.Before(n.wakeAt) || !n.wakeAt.After(w.now)) {
		if !next.After(w.now) {
			w.t.Fatalf("%s is to be woken at once, for ever", n.name)
		}
		n.wakeAt = next
		w.after(next.Sub(w.now), func() { w.tick(n) })
	}
}

// send carries a task to its end.
func (w *world) send(from, to *worldNode, task Task) {
	finish := func(ok bool, got []Mark) {
		if task.Announce != nil {
			from.spread.Delivered(to.name, ok, w.now)
		} else {
			for _, m := range got {
				from.held[m.Log] = max(from.held[m.Log], m.Size)
			}
			from.spread.Pulled(to.name, task.Pull, got, ok, w.now)
			for _, m := range got {
				from.spread.Held(m.Log, treeOf(from.held[m.Log]))
			}
		}
		w.tick(from)
	}
	w.after(w.latency(), func() {
		switch {
		case to.down || from.down:
			w.after(w.latency(), func() { finish(false, nil) })
		case to.hangs:
			w.after(10*time.Second, func() { finish(false, nil) })
		case task.Announce != nil:
			if !slices.IsSortedFunc(task.Announce, func(a, b Mark) int { return a.Log - b.Log }) {
				w.t.Fatal("marks do not ascend")
			}
			marks := slices.Clone(task.Announce)
			for i := range marks {
				if from.lies != nil {
					marks[i].Size = from.lies(marks[i].Log, marks[i].Size)
				}
			}
			to.spread.Announced(from.name, marks)
			w.tick(to)
			w.after(w.latency(), func() { finish(true, nil) })
		default:
			if len(task.Pull) > MaxWants {
				w.t.Fatalf("a pull of %d logs", len(task.Pull))
			}
			w.pulled[to.name]++
			var got []Mark
			for _, m := range task.Pull {
				if to.held[m.Log] > 0 {
					got = append(got, Mark{Log: m.Log, Size: to.held[m.Log]})
				}
			}
			w.after(w.latency(), func() { finish(true, got) })
		}
	})
}

// everybody tells whether all members that are up hold so much of a log.
func (w *world) everybody(log int, size uint64) bool {
	for _, n := range w.nodes {
		if !n.down && !n.hangs && n.held[log] < size {
			return false
		}
	}
	return true
}

func TestSpreadReachesEverybody(t *testing.T) {
	for _, n := range []int{3, 16, 40, 200} {
		w := newWorld(t, n, uint64(n))
		w.hold(w.nodes[w.names[0]], 0, 5)
		if !w.run(10*time.Second, func() bool { return w.everybody(0, 5) }) {
			t.Fatalf("%d members: not everybody has it", n)
		}
		took := w.now.Sub(start)
		w.run(10*time.Second, nil)
		for name, count := range w.sent {
			degree := len(w.nodes[name].spread.near)
			if count > 3*degree+3 {
				t.Errorf("%d members: %s sent %d messages for one head", n, name, count)
			}
		}
		if took > 5*time.Second {
			t.Errorf("%d members: it took %v", n, took)
		}
		first := w.nodes[w.names[0]].spread.Digest()
		for _, node := range w.nodes {
			if !bytes.Equal(node.spread.Digest(), first) {
				t.Fatal("digests differ")
			}
		}
	}
}

// A fifth is down and comes back later; others hang or lie. Heads reach all who can be reached, soon, and those that come back.
func TestSpreadWithDownHangingAndLying(t *testing.T) {
	for seed := range uint64(5) {
		w := newWorld(t, 60, seed)
		order := w.random.Perm(60)
		for _, i := range order[:12] {
			w.nodes[w.names[i]].down = true
		}
		for _, i := range order[12:15] {
			w.nodes[w.names[i]].hangs = true
		}
		for _, i := range order[15:18] {
			w.nodes[w.names[i]].lies = func(log int, size uint64) uint64 { return 1 << 40 }
		}
		for k, i := range order[20:50] {
			w.after(time.Duration(k)*time.Millisecond, func() { w.hold(w.nodes[w.names[i]], i, 7) })
		}
		all := func() bool {
			for _, i := range order[20:50] {
				if !w.everybody(i, 7) {
					return false
				}
			}
			return true
		}
		if !w.run(30*time.Second, all) {
			t.Fatalf("seed %d: not everybody has everything", seed)
		}
		for _, i := range order[:15] {
			w.nodes[w.names[i]].down, w.nodes[w.names[i]].hangs = false, false
		}
		if !w.run(3*BackOffMax, all) {
			t.Fatalf("seed %d: those that came back have not everything", seed)
		}
	}
}

// An owner that makes heads without end gets its quota of pulls, and another log is not delayed by it.
func TestFloodingLogIsHeldToItsQuota(t *testing.T) {
	w := newWorld(t, 20, 1)
	flooder, other := w.nodes[w.names[0]], w.nodes[w.names[1]]
	for i := range 2000 {
		w.after(time.Duration(i)*5*time.Millisecond, func() { w.hold(flooder, 0, uint64(i+1)) })
	}
	w.after(5*time.Second, func() { w.hold(other, 1, 3) })
	w.run(5*time.Second, nil)
	from := w.now
	if !w.run(5*time.Second, func() bool { return w.everybody(1, 3) }) {
		t.Fatal("another log does not get through")
	}
	if took := w.now.Sub(from); took > 2*time.Second {
		t.Errorf("another log took %v", took)
	}
	w.run(5*time.Second, nil)
	total := 0
	for _, n := range w.pulled {
		total += n
	}
	// 10 s at two a second and the burst, for each of 19, hedged at most twice, and one for the other log
	if most := 19 * (2*10 + LogBurst + 3); total > most {
		t.Errorf("%d pulls, want at most %d", total, most)
	}
	w.run(20*time.Second, nil)
	if !w.everybody(0, 2000) {
		t.Error("the newest head of the busy log is not everywhere")
	}
}

// A liar costs one pull and its credit; then others are asked first.
func TestLiarLosesItsCredit(t *testing.T) {
	s := NewSpread(100, []string{"a", "b"}, func() float64 { return 0 })
	all := make([]Mark, 100)
	for i := range all {
		all[i] = Mark{Log: i, Size: 1 << 40}
	}
	s.Announced("a", all)
	tasks, _ := s.Tick(start)
	if len(tasks) != 1 || tasks[0].To != "a" || len(tasks[0].Pull) != MaxWants {
		t.Fatalf("%+v", tasks)
	}
	if more, _ := s.Tick(start); len(more) != 0 {
		t.Fatalf("two pulls from one member: %+v", more)
	}
	s.Pulled("a", tasks[0].Pull, nil, true, start)
	if again, next := s.Tick(start); len(again) != 0 || !next.After(start) {
		t.Fatalf("the liar is asked again at once: %+v, %v", again, next)
	}
	s.Announced("b", []Mark{{Log: tasks[0].Pull[0].Log, Size: 4}, {Log: 99, Size: 4}})
	tasks, _ = s.Tick(start.Add(time.Hour))
	for _, task := range tasks {
		if task.To == "b" && len(task.Pull) == 2 {
			return
		}
	}
	t.Errorf("the honest member is not asked first: %+v", tasks)
}

// A member that hangs keeps a log to itself for PullPatience and no longer.
func TestHangingMemberIsPassedBy(t *testing.T) {
	s := NewSpread(1, []string{"a", "b", "c"}, func() float64 { return 0.5 })
	for _, m := range []string{"a", "b", "c"} {
		s.Announced(m, []Mark{{Log: 0, Size: 4}})
	}
	asked := map[string]bool{}
	now := start
	for range 3 {
		tasks, next := s.Tick(now)
		for _, task := range tasks {
			asked[task.To] = true
		}
		if len(asked) < maxFlying && !next.Equal(now.Add(PullPatience)) {
			t.Fatalf("asked %v, next %v", asked, next)
		}
		now = now.Add(PullPatience)
	}
	if len(asked) != maxFlying {
		t.Errorf("asked %v", asked)
	}
}

// What a comparison shows is used whoever it is with, and one that is no neighbour holds one place a log.
func TestFarSource(t *testing.T) {
	s := NewSpread(2, []string{"a"}, func() float64 { return 0 })
	for i := range 100 {
		s.Announced(fmt.Sprintf("x%d", i), []Mark{{Log: 1, Size: uint64(9 + i)}, {Log: 2, Size: 5}, {Log: -1, Size: 5}})
	}
	tasks, _ := s.Tick(start)
	if len(tasks) != 1 || tasks[0].To != "x0" || len(s.srcs) != 1 {
		t.Fatalf("%+v", tasks)
	}
	s.Pulled("x0", tasks[0].Pull, []Mark{{Log: 1, Size: 9}}, true, start)
	s.Held(1, treeOf(9))
	if tasks, next := s.Tick(start.Add(time.Second)); len(tasks) != 1 || tasks[0].To != "a" || tasks[0].Announce == nil || !next.IsZero() || len(s.srcs) != 0 {
		t.Errorf("%+v %v", tasks, next)
	}
	more, forked, fewer := s.Differing([]Mark{{Log: 0, Size: 1}, {Log: 1, Size: 9}})
	if len(more) != 1 || len(forked) != 1 || len(fewer) != 0 {
		t.Errorf("%v %v %v", more, forked, fewer)
	}
	more, forked, fewer = s.Differing(s.Marks())
	if len(more)+len(forked)+len(fewer) != 0 {
		t.Errorf("differs from itself: %v %v %v", more, forked, fewer)
	}
	if _, _, fewer = s.Differing([]Mark{{Log: 1, Size: 8}}); len(fewer) != 1 || fewer[0].Size != 9 {
		t.Errorf("%v", fewer)
	}
}

// Heads that were fetched and wait for their entries are not pulled again.
func TestFetchedIsNotPulledAgain(t *testing.T) {
	s := NewSpread(1, []string{"a", "b"}, func() float64 { return 0 })
	s.Announced("a", []Mark{{Log: 0, Size: 9}})
	tasks, _ := s.Tick(start)
	s.Pulled("a", tasks[0].Pull, []Mark{{Log: 0, Size: 9}}, true, start)
	s.Announced("b", []Mark{{Log: 0, Size: 9}})
	if tasks, _ := s.Tick(start); len(tasks) != 0 {
		t.Errorf("pulled again: %+v", tasks)
	}
	s.Announced("b", []Mark{{Log: 0, Size: 10}})
	if tasks, _ := s.Tick(start); len(tasks) != 1 || tasks[0].To != "b" {
		t.Errorf("the next one is not pulled: %+v", tasks)
	}
}
