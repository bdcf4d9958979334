package circuits

import (
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/poseidon2"
)

// Poseidon2 over the scalar field of BLS12-381, https://eprint.iacr.org/2023/323: width 3, x^5, 8 full and 56 partial rounds
// (the paper's numbers for 128 bits with its security margin), matrices circ(2,1,1) and [[2,1,1],[1,2,1],[1,1,3]].
// Round constants are those of gnark-crypto's NewParametersWithSeed for the seed of the use.
const (
	hashWidth     = 3
	fullRounds    = 8
	partialRounds = 56
	seedPrefix    = "grille/v1/"
)

// Use names what a hash is for. Each use is a permutation of its own, with round constants seeded by "grille/v1/" + use, so
// that an output under one use is no output under another.
type Use string

// The uses of the statement. The numbered ones are the steps of a chain over more than three elements.
const (
	UseNode      Use = "node"
	UseBucket1   Use = "bucket.1"
	UseBucket2   Use = "bucket.2"
	UseBucket3   Use = "bucket.3"
	UseRecord1   Use = "record.1"
	UseRecord2   Use = "record.2"
	UseRecord3   Use = "record.3"
	UseRecord4   Use = "record.4"
	UseTag       Use = "tag"
	UseNullifier Use = "nullifier"
	UseScopeKey  Use = "scope-key"
)

// uses lists every declared use, in the order of the golden file.
var uses = []Use{UseNode, UseBucket1, UseBucket2, UseBucket3, UseRecord1, UseRecord2, UseRecord3, UseRecord4, UseTag,
	UseNullifier, UseScopeKey}

// roundKeys are the constants of one use, laid out for the two kinds of rounds.
type roundKeys struct {
	first   [fullRounds / 2][hashWidth]fr.Element
	partial [partialRounds]fr.Element
	last    [fullRounds / 2][hashWidth]fr.Element
}

var permutations = newPermutations()

func newPermutations() map[Use]*roundKeys {
	m := make(map[Use]*roundKeys, len(uses))
	for _, u := range uses {
		m[u] = newRoundKeys(u)
	}
	return m
}

func newRoundKeys(u Use) *roundKeys {
	p := poseidon2.NewParametersWithSeed(hashWidth, fullRounds, partialRounds, seedPrefix+string(u))
	k := new(roundKeys)
	for i := range k.first {
		copy(k.first[i][:], p.RoundKeys[i])
		copy(k.last[i][:], p.RoundKeys[fullRounds/2+partialRounds+i])
	}
	for i := range k.partial {
		k.partial[i] = p.RoundKeys[fullRounds/2+i][0]
	}
	return k
}

// keysOf returns the constants of a declared use; another use is a bug of the caller.
func keysOf(u Use) *roundKeys {
	k, ok := permutations[u]
	if !ok {
		panic("circuits: undeclared hash use " + string(u))
	}
	return k
}

// Hash compresses three field elements into one: perm(a, b, c)[0] + a, the feed-forward compression of the Poseidon2 paper
// (section 3.1), under the permutation of the given use. Lanes that a use does not need are zero. It does not allocate and is
// safe for concurrent use. It panics for an undeclared use.
func Hash(u Use, a, b, c fr.Element) fr.Element {
	s := [hashWidth]fr.Element{a, b, c}
	keysOf(u).permute(&s)
	s[0].Add(&s[0], &a)
	return s[0]
}

func (k *roundKeys) permute(s *[hashWidth]fr.Element) {
	mixFull(s)
	for i := range k.first {
		fullRound(s, &k.first[i])
	}
	for i := range k.partial {
		s[0].Add(&s[0], &k.partial[i])
		fifthPower(&s[0])
		mixPartial(s)
	}
	for i := range k.last {
		fullRound(s, &k.last[i])
	}
}

func fullRound(s, keys *[hashWidth]fr.Element) {
	for i := range s {
		s[i].Add(&s[i], &keys[i])
		fifthPower(&s[i])
	}
	mixFull(s)
}

func fifthPower(x *fr.Element) {
	var y fr.Element
	y.Square(x)
	y.Square(&y)
	x.Mul(x, &y)
}

// mixFull multiplies by circ(2,1,1).
func mixFull(s *[hashWidth]fr.Element) {
	var sum fr.Element
	sum.Add(&s[0], &s[1]).Add(&sum, &s[2])
	s[0].Add(&s[0], &sum)
	s[1].Add(&s[1], &sum)
	s[2].Add(&s[2], &sum)
}

// mixPartial multiplies by [[2,1,1],[1,2,1],[1,1,3]].
func mixPartial(s *[hashWidth]fr.Element) {
	var sum fr.Element
	sum.Add(&s[0], &s[1]).Add(&sum, &s[2])
	s[0].Add(&s[0], &sum)
	s[1].Add(&s[1], &sum)
	s[2].Double(&s[2]).Add(&s[2], &sum)
}
