//go:build !race

package exchange_test

// byteStep is how far apart the bytes are that TestAnyChangedByteIsRefused changes.
const byteStep = 11

// revokeLoad is how many queries TestRevokeUnderLoad asks.
const revokeLoad = 24
