package circuits

import (
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/poseidon2"
	"github.com/consensys/gnark/frontend"
)

func edgeElements() []fr.Element {
	var zero, one, last fr.Element
	one.SetOne()
	last.Neg(&one)
	return []fr.Element{zero, one, last}
}

// Hash is the library's permutation with feed-forward.
func TestHashIsLibraryPermutation(t *testing.T) {
	r := newRand(1)
	for _, u := range uses {
		p := poseidon2.NewPermutationWithSeed(hashWidth, fullRounds, partialRounds, "grille/v1/"+string(u))
		inputs := append(edgeElements(), randElement(r), randElement(r), randElement(r))
		for range 40 {
			in := []fr.Element{inputs[r.IntN(6)], inputs[r.IntN(6)], inputs[r.IntN(6)]}
			want := append([]fr.Element(nil), in...)
			if err := p.Permutation(want); err != nil {
				t.Fatal(err)
			}
			want[0].Add(&want[0], &in[0])
			if got := Hash(u, in[0], in[1], in[2]); !got.Equal(&want[0]) {
				t.Fatalf("%s: another value than gnark-crypto's", u)
			}
		}
	}
}

func TestUsesAreSeparate(t *testing.T) {
	seen := make(map[fr.Element]Use)
	for _, u := range uses {
		h := Hash(u, fr.Element{}, fr.Element{}, fr.Element{})
		if other, ok := seen[h]; ok {
			t.Errorf("%s and %s hash alike", u, other)
		}
		seen[h] = u
	}
}

func TestHashLanesMatter(t *testing.T) {
	r := newRand(2)
	in := [3]fr.Element{randElement(r), randElement(r), randElement(r)}
	base := Hash(UseNode, in[0], in[1], in[2])
	for i := range in {
		changed := in
		changed[i] = randElement(r)
		if h := Hash(UseNode, changed[0], changed[1], changed[2]); h.Equal(&base) {
			t.Errorf("lane %d has no effect", i)
		}
	}
	if h := Hash(UseNode, in[1], in[0], in[2]); h.Equal(&base) {
		t.Error("the order of lanes has no effect")
	}
}

func TestUndeclaredUsePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	Hash("nobody", fr.Element{}, fr.Element{}, fr.Element{})
}

func TestHashGadgetIsHash(t *testing.T) {
	r := newRand(3)
	inputs := append(edgeElements(), randElement(r), randElement(r))
	for _, u := range uses {
		g := newGadget(t, 3, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
			return []frontend.Variable{hash(api, u, in[0], in[1], in[2])}
		})
		for range 10 {
			in := []fr.Element{inputs[r.IntN(5)], inputs[r.IntN(5)], inputs[r.IntN(5)]}
			g.computes(t, in, Hash(u, in[0], in[1], in[2]))
		}
	}
}

func TestHashDoesNotAllocate(t *testing.T) {
	r := newRand(4)
	a, b, c := randElement(r), randElement(r), randElement(r)
	if n := testing.AllocsPerRun(100, func() { a = Hash(UseNode, a, b, c) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkHash(b *testing.B) {
	r := newRand(1)
	x, y, z := randElement(r), randElement(r), randElement(r)
	for b.Loop() {
		x = Hash(UseNode, x, y, z)
	}
}
