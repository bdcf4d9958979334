package policy

import (
	"math/rand/v2"
	"testing"
)

// TestSameTestReadTwoWays holds the evaluators to one another where two conditions come to one test of the circuit, though only one of
// them reads the column: has(x) is x >= -(2^63-1), and what the text reads may not be missing.
func TestSameTestReadTwoWays(t *testing.T) {
	r, err := newReference()
	if err != nil {
		t.Fatal(err)
	}
	a := &author{Rand: rand.New(rand.NewPCG(1, 1))}
	for _, when := range []string{
		"has(i0) || i0 >= -9223372036854775807",
		"i0 >= -9223372036854775807 || has(i0)",
		"has(i0) || i0 > -9223372036854775808",
		"has(i0) && i0 >= -9223372036854775807",
		"at_least(1, has(i0), i0 >= -9223372036854775807, i1 > 1)",
		"1 in [i0, i1]",
		"has(i0) && 1 in [i0, i0 + 3]",
		"(i1 > 1 && has(i0)) || (i1 > 1 && i0 >= -9223372036854775807)",
	} {
		tr, err := prepare(&Document{Policy: "p", Version: 1, Dataset: "wide", When: when}, wide, r)
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		for range 200 {
			if _, _, err := tr.compare(a.record(), wide, 0); err != nil {
				t.Error(err)
				break
			}
		}
	}
}
