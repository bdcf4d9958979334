package circuits

import "github.com/consensys/gnark/frontend"

// DigitInputs is one base-3 digit d of a place: Is1 = (d == 1), Is2 = (d == 2).
type DigitInputs struct {
	Is1, Is2 frontend.Variable
}

// subjectKey returns the key quotient * 3^21 + place whose base-3 digits are given, and enforces that it is below 2^128.
//
// Each digit is 0, 1 or 2, since Is1, Is2 and their sum are bits. So place < 3^21, and quotient < 2^95 by its decomposition. Their
// combination stays below 2^95 * 3^21 < 2^129, far under the modulus, so it holds over the integers, where division by 3^21 has
// one quotient and one remainder: the digits are those of key mod 3^21 and no others. The key itself is decomposed into 128
// bits, so it is never 2^128 (an empty slot) nor above (a filler).
func subjectKey(api frontend.API, quotient frontend.Variable, digits *[Levels]DigitInputs) frontend.Variable {
	var place frontend.Variable = 0
	weight := 1
	for i := range digits {
		d := &digits[i]
		api.AssertIsBoolean(d.Is1)
		api.AssertIsBoolean(d.Is2)
		api.AssertIsBoolean(api.Add(d.Is1, d.Is2))
		place = api.Add(place, api.Mul(d.Is1, weight), api.Mul(d.Is2, 2*weight))
		weight *= 3
	}
	api.ToBinary(quotient, quotientBits)
	key := api.Add(api.Mul(quotient, weight), place)
	api.ToBinary(key, keyBits)
	return key
}

// epochRoot returns the root above a bucket's hash on the path of the given digits, which subjectKey has bounded.
//
// The children of a node are the current hash and its two siblings s0, s1, with the current one at the digit's position. The
// first child is the current hash if the digit is 0 and else s0; the third if it is 2 and else s1; the second is what is left
// of the sum of the three.
func epochRoot(api frontend.API, bucket frontend.Variable, digits *[Levels]DigitInputs,
	siblings *[Levels][2]frontend.Variable) frontend.Variable {
	current := bucket
	for i := range digits {
		s0, s1 := siblings[i][0], siblings[i][1]
		is0 := api.Sub(1, digits[i].Is1, digits[i].Is2)
		first := api.Add(s0, api.Mul(is0, api.Sub(current, s0)))
		third := api.Add(s1, api.Mul(digits[i].Is2, api.Sub(current, s1)))
		second := api.Sub(api.Add(current, s0, s1), first, third)
		current = hash(api, UseNode, first, second, third)
	}
	return current
}
