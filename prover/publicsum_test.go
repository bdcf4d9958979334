package prover

import (
	"errors"
	"math"
	"math/big"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"pgregory.net/rapid"
)

var sumEdges = func() []fr.Element {
	var edges []fr.Element
	one := big.NewInt(1)
	for _, n := range []uint{0, 1, 4, 5, 31, 32, 63, 64, 65, 127, 128, 253} {
		for _, v := range []*big.Int{new(big.Int).Lsh(one, n), new(big.Int).Sub(new(big.Int).Lsh(one, n), one)} {
			var e, minus fr.Element
			e.SetBigInt(v)
			minus.Neg(&e)
			edges = append(edges, e, minus)
		}
	}
	return edges
}()

func testBases(n int) []bls.G1Affine {
	_, _, g, _ := bls.Generators()
	bases := make([]bls.G1Affine, n)
	for i := range bases {
		bases[i].ScalarMultiplication(&g, big.NewInt(int64(i*i+3)))
	}
	return bases
}

// naiveSum multiplies one by one.
func naiveSum(bases []bls.G1Affine, values []fr.Element) bls.G1Affine {
	var sum bls.G1Affine
	for i := range values {
		var term bls.G1Affine
		term.ScalarMultiplication(&bases[i], values[i].BigInt(new(big.Int)))
		sum.Add(&sum, &term)
	}
	return sum
}

func TestPublicSum(t *testing.T) {
	bases := testBases(20)
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, len(bases)).Draw(t, "n")
		values := make([]fr.Element, n)
		for i := range values {
			values[i] = rapid.OneOf(rapid.SampledFrom(sumEdges), rapid.Map(rapid.Int64Range(math.MinInt64, math.MaxInt64),
				func(v int64) fr.Element { var e fr.Element; return *e.SetInt64(v) })).Draw(t, "value")
		}
		got, err := publicSum(bases[:n], values)
		if err != nil {
			t.Fatal(err)
		}
		var affine bls.G1Affine
		affine.FromJacobian(&got)
		if want := naiveSum(bases, values); !affine.Equal(&want) {
			t.Fatal("another sum")
		}
	})
}

func TestBaseTable(t *testing.T) {
	base := testBases(3)[2:]
	table := newBaseTable(&base[0])
	r := newRand(1)
	for _, v := range append(sumEdges, randElement(r), randElement(r), randElement(r)) {
		var sum bls.G1Jac
		table.add(&sum, &v)
		var got bls.G1Affine
		got.FromJacobian(&sum)
		if want := naiveSum(base, []fr.Element{v}); !got.Equal(&want) {
			t.Errorf("%s x base", v.String())
		}
	}
}

func TestMagnitude(t *testing.T) {
	for _, c := range []struct {
		v        int64
		n        uint64
		negative bool
	}{{0, 0, false}, {1, 1, false}, {-1, 1, true}, {math.MaxInt64, math.MaxInt64, false}, {math.MinInt64, 1 << 63, true}} {
		var e fr.Element
		e.SetInt64(c.v)
		if n, negative, ok := magnitude(&e); n != c.n || negative != c.negative || !ok {
			t.Errorf("%d: %d %v %v", c.v, n, negative, ok)
		}
	}
	var e fr.Element
	e.SetBigInt(new(big.Int).Lsh(big.NewInt(1), 64))
	if _, _, ok := magnitude(&e); ok {
		t.Error("2^64 is short")
	}
}

func TestSumCacheKeepsTheMostRecent(t *testing.T) {
	c := newSumCache(2)
	bases := testBases(4)
	computed := 0
	get := func(i int) bls.G1Affine {
		sum, err := c.get([]fr.Element{fr.NewElement(uint64(i))}, func() (bls.G1Affine, error) { computed++; return bases[i], nil })
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	for _, step := range []struct{ i, computed int }{{0, 1}, {1, 2}, {0, 2}, {2, 3}, {0, 3}, {1, 4}, {2, 5}, {2, 5}} {
		if got := get(step.i); !got.Equal(&bases[step.i]) || computed != step.computed {
			t.Fatalf("%+v: computed %d", step, computed)
		}
	}
	if c.recent.Len() != 2 || len(c.byHash) != 2 {
		t.Fatal("it grew")
	}
	want := errors.New("no sum")
	if _, err := c.get(nil, func() (bls.G1Affine, error) { return bls.G1Affine{}, want }); !errors.Is(err, want) || len(c.byHash) != 2 {
		t.Fatal("an error is remembered")
	}
}
