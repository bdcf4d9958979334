// Package ceremony carries a key ceremony through the gateways. What is right is package prover/ceremony's to say; this package
// decides whose turn it is, moves bytes, and keeps the files.
package ceremony
