//go:build race

package exchange_test

// byteStep spares the race detector most of the changed bytes: they are all checked by one goroutine.
const byteStep = 61

// revokeLoad is how many queries TestRevokeUnderLoad asks: a proof takes ten times as long under the race detector.
const revokeLoad = 10
