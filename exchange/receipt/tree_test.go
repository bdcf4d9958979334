package receipt

import (
	"errors"
	"math/rand/v2"
	"testing"
)

func sampleTree(t *testing.T, n int) (*Tree, []Leaf) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	leaves := make([]Leaf, 0, n)
	for i := range n {
		leaves = append(leaves, Leaf{Place: rng.Uint32(), Receipt: Sum("test", []byte{byte(i), byte(i >> 8)})})
	}
	if n > 2 {
		leaves[0].Place, leaves[1].Place = 0, 1<<32-1
	}
	tree, err := NewTree(Sum("seed"), leaves)
	if err != nil {
		t.Fatal(err)
	}
	return tree, leaves
}

func TestEveryPathLeadsToTheRoot(t *testing.T) {
	for _, n := range []int{1, 2, 3, 64, 500} {
		tree, leaves := sampleTree(t, n)
		root := tree.Root()
		for _, l := range leaves {
			path, err := tree.Path(l.Place)
			if err != nil {
				t.Fatal(err)
			}
			if err := VerifyPath(root, l.Receipt, l.Place, path); err != nil {
				t.Fatalf("%d leaves, place %d: %v", n, l.Place, err)
			}
		}
	}
}

func TestPathRefusesFlippedBits(t *testing.T) {
	tree, leaves := sampleTree(t, 5)
	root, l := tree.Root(), leaves[3]
	path, err := tree.Path(l.Place)
	if err != nil {
		t.Fatal(err)
	}
	for level := range path {
		for bit := 0; bit < 8*HashSize; bit += 7 {
			path[level][bit/8] ^= 1 << (bit % 8)
			if err := VerifyPath(root, l.Receipt, l.Place, path); !errors.Is(err, ErrPath) {
				t.Fatalf("level %d bit %d: got %v", level, bit, err)
			}
			path[level][bit/8] ^= 1 << (bit % 8)
		}
	}
	for bit := range 32 {
		if err := VerifyPath(root, l.Receipt, l.Place^1<<bit, path); !errors.Is(err, ErrPath) {
			t.Fatalf("place bit %d: got %v", bit, err)
		}
	}
	if err := VerifyPath(root, l.Receipt, l.Place, path[:Depth-1]); !errors.Is(err, ErrPath) {
		t.Fatalf("short path: got %v", err)
	}
}

func TestEmptyBeatsLookAlike(t *testing.T) {
	a, err := NewTree(Sum("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewTree(Sum("b"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Root() == b.Root() {
		t.Fatal("two empty beats have one root: a root shows that nothing was asked")
	}
}

func TestTwoReceiptsAtOnePlaceAreRefused(t *testing.T) {
	if _, err := NewTree(Hash{}, []Leaf{{Place: 7}, {Place: 7, Receipt: Hash{1}}}); err == nil {
		t.Fatal("one place held two receipts")
	}
}

func TestHashTextIsCanonical(t *testing.T) {
	good := Sum("x").String()
	var h Hash
	if err := h.UnmarshalText([]byte(good)); err != nil || h.String() != good {
		t.Fatalf("round trip: %v", err)
	}
	for _, bad := range []string{"", good[1:], good + "0", "G" + good[1:], "A" + good[1:]} {
		if err := h.UnmarshalText([]byte(bad)); !errors.Is(err, ErrEncoding) {
			t.Errorf("%q accepted: %v", bad, err)
		}
	}
}

// TestPathsOfABusyBeatAreCheap asks for every path of a beat of 8000 receipts. If each cost the whole tree, this would take hours.
func TestPathsOfABusyBeatAreCheap(t *testing.T) {
	tree, leaves := sampleTree(t, 8000)
	for i, l := range leaves {
		path, err := tree.Path(l.Place)
		if err != nil {
			t.Fatal(err)
		}
		if i%97 == 0 {
			if err := VerifyPath(tree.Root(), l.Receipt, l.Place, path); err != nil {
				t.Fatal(err)
			}
		}
	}
}
