// Package prover proves and verifies the statement of package circuits with Groth16 over BLS12-381.
//
// Proofs and verifying keys have fixed-length encodings of this module; nothing that a peer sent ever reaches gnark's own decoders.
// A proof can be re-randomised by anyone, so its bytes identify nothing: the public inputs do. Keys come from a
// ceremony of the members (package ceremony). Those that Develop makes are for trying things out: whoever generated them could have
// kept what forges proofs, and the kind says so.
package prover
