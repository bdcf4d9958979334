package circuits

import (
	"math/big"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/frontend"
)

// hash is the circuit's twin of Hash: perm(a, b, c)[0] + a under the permutation of the use, in 240 constraints (three for each
// fifth power; everything else is linear). It uses no hints.
func hash(api frontend.API, u Use, a, b, c frontend.Variable) frontend.Variable {
	k := keysOf(u)
	s := [hashWidth]frontend.Variable{a, b, c}
	mixFullIn(api, &s)
	for i := range k.first {
		fullRoundIn(api, &s, &k.first[i])
	}
	for i := range k.partial {
		s[0] = fifthPowerIn(api, api.Add(s[0], constant(&k.partial[i])))
		mixPartialIn(api, &s)
	}
	for i := range k.last {
		fullRoundIn(api, &s, &k.last[i])
	}
	return api.Add(s[0], a)
}

func fullRoundIn(api frontend.API, s *[hashWidth]frontend.Variable, keys *[hashWidth]fr.Element) {
	for i := range s {
		s[i] = fifthPowerIn(api, api.Add(s[i], constant(&keys[i])))
	}
	mixFullIn(api, s)
}

// fifthPowerIn goes by x^2, x^3, x^5 and not by x^4: the square then occurs in the second factors only and the cube in the first
// factors only, so that a prover's three largest multi-exponentiations each lose a third of their points.
func fifthPowerIn(api frontend.API, x frontend.Variable) frontend.Variable {
	square := api.Mul(x, x)
	cube := api.Mul(x, square)
	return api.Mul(cube, square)
}

// mixFullIn multiplies by circ(2,1,1).
func mixFullIn(api frontend.API, s *[hashWidth]frontend.Variable) {
	sum := api.Add(s[0], s[1], s[2])
	for i := range s {
		s[i] = api.Add(sum, s[i])
	}
}

// mixPartialIn multiplies by [[2,1,1],[1,2,1],[1,1,3]].
func mixPartialIn(api frontend.API, s *[hashWidth]frontend.Variable) {
	sum := api.Add(s[0], s[1], s[2])
	s[0], s[1], s[2] = api.Add(sum, s[0]), api.Add(sum, s[1]), api.Add(sum, s[2], s[2])
}

// constant turns an element into a constant of the circuit.
func constant(e *fr.Element) *big.Int { return e.BigInt(new(big.Int)) }

// power returns 2^n as a constant of the circuit.
func power(n uint) *big.Int { return new(big.Int).Lsh(big.NewInt(1), n) }
