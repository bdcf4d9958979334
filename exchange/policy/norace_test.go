//go:build !race

package policy

// fewer divides the random pairs that are compared.
const fewer = 1
