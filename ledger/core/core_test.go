package core

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/note"
)

func tree(n int64, root byte) tlog.Tree { return tlog.Tree{N: n, Hash: tlog.Hash{root}} }

func TestPush(t *testing.T) {
	r := Replica{Stored: 12, Verified: tree(10, 1), Signed: tree(8, 2)}
	for _, tc := range []struct {
		name string
		cp   tlog.Tree
		from uint64
		n    int
		want Plan
		err  error
	}{
		{"smaller than signed", tree(7, 9), 0, 0, Plan{}, ErrStale},
		{"signed again", tree(8, 2), 0, 0, Plan{Settle: true}, nil},
		{"signed, other root", tree(8, 3), 0, 0, Plan{}, ErrInconsistent},
		{"verified, other root", tree(10, 3), 0, 0, Plan{}, ErrInconsistent},
		{"between", tree(9, 5), 0, 0, Plan{Settle: true}, nil},
		{"all stored", tree(11, 5), 9, 2, Plan{Skip: 2, Settle: true}, nil},
		{"next", tree(15, 5), 12, 3, Plan{Take: 3, Settle: true}, nil},
		{"overlap", tree(15, 5), 10, 5, Plan{Skip: 2, Take: 3, Settle: true}, nil},
		{"part", tree(20, 5), 12, 3, Plan{Take: 3}, nil},
		{"old part", tree(20, 5), 0, 3, Plan{Skip: 3}, nil},
		{"gap", tree(20, 5), 13, 7, Plan{}, nil},
		{"nothing", tree(20, 5), 12, 0, Plan{}, nil},
		{"beyond", tree(15, 5), 12, 4, Plan{}, ErrBounds},
		{"far beyond", tree(15, 5), 1 << 63, 1, Plan{}, ErrBounds},
		{"overflow", tree(15, 5), 1<<64 - 1, 2, Plan{}, ErrBounds},
	} {
		got, err := r.Push(tc.cp, tc.from, tc.n)
		if got != tc.want || !errors.Is(err, tc.err) || (err != nil) != (tc.err != nil) {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
	if p, err := r.Pull(14, 11, 3); err != nil || p != (Plan{Skip: 1, Take: 2, Settle: true}) {
		t.Errorf("pull: %+v, %v", p, err)
	}
}

func TestSettle(t *testing.T) {
	r := Replica{Stored: 12, Verified: tree(10, 1)}
	for _, tc := range []struct {
		n          int64
		same, pure bool
		want       Verdict
	}{
		{12, true, false, Agree}, {12, true, true, Agree}, {12, false, false, Unproven}, {12, false, true, Fork},
		{10, false, false, Fork}, {9, false, false, Fork}, {9, true, false, Agree},
	} {
		root := tlog.Hash{7}
		if !tc.same {
			root = tlog.Hash{8}
		}
		if got := r.Settle(tree(tc.n, 7), root, tc.pure); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

var start = time.Unix(1_700_000_000, 0)

func cosig(mirror string, at time.Time) note.Cosignature {
	return note.Cosignature{Mirror: mirror, Time: at, Line: mirror + at.String()}
}

const beat = 10 * time.Second

// TestQuorum brings one tree to a quorum and keeps it fresh.
func TestQuorum(t *testing.T) {
	o := NewOwner(3, 5*time.Second, []string{"a", "b", "c", "d"}, tree(0, 0), tree(0, 0), nil)
	if _, _, ok := o.Wants("a", start, beat); ok {
		t.Fatal("an empty log is pushed")
	}
	o.Signed(tree(5, 1))
	for i, m := range []string{"a", "b", "b", "c"} {
		if _, _, ok := o.Wants(m, start, beat); ok != (i != 2) {
			t.Fatalf("step %d: wanted %v", i, ok)
		}
		if changed := o.Cosigned(5, cosig(m, start), start); changed != (i == 3) {
			t.Fatalf("step %d: changed %v", i, changed)
		}
	}
	if o.Final() != tree(5, 1) || len(o.Newest(start)) != 3 {
		t.Fatalf("final %v", o.Final())
	}
	later := start.Add(beat)
	if _, _, ok := o.Wants("a", later.Add(-1), beat); ok {
		t.Fatal("heartbeat too early")
	}
	if _, from, ok := o.Wants("a", later, beat); !ok || from != 5 {
		t.Fatal("no heartbeat")
	}
	for i, c := range []note.Cosignature{cosig("d", start), cosig("a", later), cosig("a", start), cosig("x", later)} {
		if changed := o.Cosigned(5, c, later); changed != (i < 2) {
			t.Fatalf("heartbeat %d: changed %v", i, changed)
		}
	}
	if c := o.Newest(later); c[0].Mirror != "a" || c[1].Mirror != "b" || c[2].Mirror != "c" || !c[0].Time.Equal(later) {
		t.Fatalf("newest %v", c)
	}
}

// A late cosignature of the final tree still refreshes it while a larger one is on its way.
func TestLateCosignature(t *testing.T) {
	o := NewOwner(2, 5*time.Second, []string{"a", "b", "c"}, tree(5, 1), tree(5, 1), []note.Cosignature{cosig("a", start), cosig("b", start)})
	o.Signed(tree(6, 2))
	if o.Target() != tree(6, 2) || !o.Cosigned(5, cosig("c", start.Add(1)), start) {
		t.Fatal("late cosignature is lost")
	}
	if o.Final() != tree(5, 1) || o.Cosigned(6, cosig("a", start), start) || !o.Cosigned(6, cosig("b", start), start) || o.Final() != tree(6, 2) {
		t.Fatal("larger tree is not brought to a quorum")
	}
	if o.Cosigned(5, cosig("a", start.Add(time.Hour)), start) {
		t.Fatal("a cosignature of a tree that is history changed the head")
	}
}

func TestStands(t *testing.T) {
	o := NewOwner(3, 5*time.Second, []string{"a"}, tree(50, 1), tree(0, 0), nil)
	for i, tc := range []struct {
		have uint64
		ok   bool
	}{{10, true}, {20, true}, {20, false}, {5, false}, {6, true}, {1 << 63, true}, {50, false}} {
		if err := o.Stands("a", tc.have); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrNoProgress) {
			t.Errorf("step %d: %v", i, err)
		}
	}
	if err := o.Stands("x", 60); !errors.Is(err, ErrNoProgress) {
		t.Errorf("stranger: %v", err)
	}
}

// TestBusyLogIsNotStarved lets an owner sign a new tree before each single answer, with mirrors that answer in any order
// and may be lost, and checks that finality goes on, never goes back, and always has a quorum of one tree.
func TestBusyLogIsNotStarved(t *testing.T) {
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		mirrors := []string{"a", "b", "c", "d", "e", "f", "g"}
		o := NewOwner(5, 5*time.Second, mirrors, tree(0, 0), tree(0, 0), nil)
		now, size := start, int64(0)
		signed := make(map[string]int64) // what each mirror cosigned last
		finals := 0
		for range 2000 {
			now = now.Add(time.Second)
			size++
			o.Signed(tree(size, byte(size)))
			m := mirrors[rnd.IntN(len(mirrors))]
			if m == "g" {
				continue // down
			}
			target, from, ok := o.Wants(m, now, beat)
			if !ok {
				continue
			}
			if from > target.N || target.N < signed[m] {
				t.Fatalf("seed %d: pushed size %d from %d to a mirror at %d", seed, target.N, from, signed[m])
			}
			signed[m] = target.N
			if rnd.IntN(5) == 0 {
				continue // the answer is lost
			}
			before := o.Final()
			if o.Cosigned(target.N, cosig(m, now), now) && o.Final() != before {
				finals++
				if o.Final().N <= before.N || len(o.Newest(start)) != 5 {
					t.Fatalf("seed %d: final %v after %v with %d", seed, o.Final(), before, len(o.Newest(start)))
				}
			}
		}
		if finals < 50 {
			t.Errorf("seed %d: only %d final heads in 2000 steps", seed, finals)
		}
	}
}

// TestKeep replaces an older cosignature, and one from the future by any that is not.
func TestKeep(t *testing.T) {
	at := func(s int) note.Cosignature { return cosig("a", start.Add(time.Duration(s)*time.Second)) }
	for _, tc := range []struct {
		name      string
		have, new int
		want      bool
	}{{"newer", 1, 2, true}, {"older", 2, 1, false}, {"the same", 2, 2, false}, {"from the future", 2, 20, true},
		{"in place of the future", 20, 1, true}, {"two from the future", 20, 15, false}, {"at the limit", 10, 9, false}} {
		m := map[string]note.Cosignature{"a": at(tc.have)}
		if got := Keep(m, at(tc.new), start.Add(10*time.Second)); got != tc.want || got == m["a"].Time.Equal(at(tc.have).Time) {
			t.Errorf("%s: %v, then %v", tc.name, got, m["a"].Time)
		}
	}
	m := map[string]note.Cosignature{"a": at(20), "b": cosig("b", start), "c": cosig("c", start)}
	if c := Newest(m, 2, start.Add(10*time.Second)); c[0].Mirror != "b" || c[1].Mirror != "c" {
		t.Errorf("a head with %v", c)
	}
}

func ExampleNewest() {
	m := map[string]note.Cosignature{"a": cosig("a", start), "b": cosig("b", start.Add(2)), "c": cosig("c", start)}
	for _, c := range Newest(m, 2, start.Add(5)) {
		fmt.Println(c.Mirror)
	}
	// Output:
	// b
	// a
}
