// Package circuits holds the one statement that Grille proves, in two forms that must agree: a circuit over the scalar
// field of BLS12-381, and native twins of everything in it.
//
// A policy is data here: a Program of lookups, linear atoms, text tests and threshold gates, all of it public input of one
// universal circuit. A record is sixteen columns under a hiding commitment; an epoch is a ternary tree of buckets whose
// places are fixed by the subject's key, so that one root gives one answer per subject, presence and absence alike.
//
// The package does no I/O and reads no clock. Its parameters are pinned in testdata/golden.json.
package circuits

import "github.com/consensys/gnark-crypto/ecc"

// Curve is the pairing curve whose scalar field every value of this package lives in. About 120 bits of security.
const Curve = ecc.BLS12_381
