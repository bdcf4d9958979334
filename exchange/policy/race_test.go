//go:build race

package policy

// fewer spares the race detector most of the random pairs: they are all compared by one goroutine.
const fewer = 4
