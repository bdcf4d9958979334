// Command mutation shows that every constraint of the statement is missed by a test when it is taken away.
//
// It finds each call in package circuits that makes constraints, plants a mutant at each (the call left out, its result a wire
// that the prover may set as it likes, half of a zero test, bits without their sum or without being bits), adds the weakenings of
// weakened.go and every check that the verifier makes natively, and builds the package's tests once with all mutants planted in an
// overlay, so that the tree is not touched. A mutant is switched on by the environment. Without one the planted package must have
// the pinned circuit id and pass its tests; with one, some test must fail.
//
// Tests that compare the circuit with its golden file, its id, its size or its shape do not count: they would catch any change. What
// counts is a wrong statement that is accepted or an honest one that is refused.
//
//	go run ./circuits/mutation            the table; exits with 1 if a mutant survives
//	go run ./circuits/mutation -only tag  mutants whose group, place or text has this in it
//	go run ./circuits/mutation -every 9   every ninth mutant: a sample
//	go run ./circuits/mutation -json      how many there are and how many were caught
//	go run ./circuits/mutation -list      the mutants, without running them
package main
