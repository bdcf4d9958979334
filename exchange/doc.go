// Package exchange answers questions between departments. Its parts, from the outside in:
//
//	requester, holder   the two halves of a query
//	bundle              what travels between them, and its verification by anybody
//	receipt             the promise that a query leaves a trace, and the beat that keeps it
//	claim               the register: who has claimed in a scope, without names
//	agreement, policy   who may ask what, and what the question means
//	dataset, schema     the records at home and the commitments to them
//	vault, journal      how both are kept on disk
//
// No part opens a socket; package node carries their bytes.
package exchange
