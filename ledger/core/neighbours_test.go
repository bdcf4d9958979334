package core

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// graph is who is whose neighbour, by index.
func graph(n int, digest string) [][]int {
	names, at := make([]string, n), map[string]int{}
	for i := range names {
		names[i] = fmt.Sprintf("GOV/%04d", i)
		at[names[i]] = i
	}
	out := make([][]int, n)
	for i, name := range names {
		for _, m := range Neighbours(names, name, digest) {
			out[i] = append(out[i], at[m])
		}
	}
	return out
}

// reach returns how many present members are reached from the first present one, and the most steps that takes.
func reach(g [][]int, from int, away []bool) (count, steps int) {
	distance := map[int]int{from: 0}
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range g[queue[0]] {
			if _, seen := distance[next]; !seen && !away[next] {
				distance[next] = distance[queue[0]] + 1
				steps = max(steps, distance[next])
				queue = append(queue, next)
			}
		}
	}
	return len(distance), steps
}

func TestNeighbours(t *testing.T) {
	for _, n := range []int{1, 2, 3, 15, 16, 17, 18, 31, 32, 33, 64, 100, 255, 256, 257, 512, 1000, 1023, 1024} {
		g := graph(n, "d1")
		most := n - 1
		if n > FullMesh {
			most = 2 * bits.Len(uint(n/2))
		}
		for i, list := range g {
			if len(list) > most || n <= FullMesh && len(list) != most || n > FullMesh && len(list) < most-1 {
				t.Fatalf("%d members: degree %d, want at most %d", n, len(list), most)
			}
			for _, j := range list {
				if i == j || !slices.Contains(g[j], i) {
					t.Fatalf("%d members: %d is no neighbour of %d in return", n, i, j)
				}
			}
			if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
				t.Fatalf("%d members: %v", n, list)
			}
		}
		count, steps := reach(g, 0, make([]bool, n))
		if count != n || n > 1 && steps > bits.Len(uint(n))/2+1 {
			t.Errorf("%d members: %d reached in %d steps", n, count, steps)
		}
	}
	if got := Neighbours([]string{"GOV/a", "GOV/b"}, "GOV/x", "d"); got != nil {
		t.Errorf("a stranger's neighbours: %v", got)
	}
}

// Another configuration has another graph.
func TestNeighboursFollowTheConfiguration(t *testing.T) {
	a, b := graph(200, "d1"), graph(200, "d2")
	same := 0
	for i := range a {
		for _, j := range a[i] {
			if slices.Contains(b[i], j) {
				same++
			}
		}
	}
	if edges := 200 * len(a[0]); same > edges/4 {
		t.Errorf("%d of %d edges are the same", same, edges)
	}
}

// With a fifth of the members away the others still reach one another, in few steps more.
func TestNeighboursWithAFifthAway(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	for _, n := range []int{17, 40, 100, 300, 1000} {
		g := graph(n, "d1")
		for range 50 {
			away := make([]bool, n)
			order := random.Perm(n)
			for _, i := range order[:n/5] {
				away[i] = true
			}
			count, steps := reach(g, order[n/5], away)
			if count != n-n/5 || steps > bits.Len(uint(n))/2+4 {
				t.Fatalf("%d members: %d of %d reached in %d steps", n, count, n-n/5, steps)
			}
		}
	}
}
