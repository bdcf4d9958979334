package core

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// FullMesh is the largest network in which everybody is everybody's neighbour.
const FullMesh = 16

// Neighbours returns the members that self keeps connections to for gossip, in the order of members: everybody up to FullMesh
// members, else its neighbours in a graph that follows from the configuration alone, so that all members see the same one.
// members are all members' names, distinct; digest is the configuration's. A self that is no member has no neighbours.
//
// The graph is a circulant: members stand in a circle, ordered by SHA-256 of digest and name, and each is joined with those
// 1, 2, 4, ... places away on either side, as long as that is at most half the circle. So
//
//   - it is symmetric: b is a's neighbour exactly if a is b's;
//   - the degree is at most 2*log2(n): 18 of 1,000;
//   - the diameter is at most log2(n)/2 + 1: a distance of at most n/2 is a sum of powers of two with signs of which, in its
//     non-adjacent form, at most every other one occurs; on the average it is a third of log2(n);
//   - it stays connected while fewer than 2(d+1)/3 members are away, whichever (Mader; Watkins 1970: every connected
//     vertex-transitive graph of degree d): any 12 of 1,000. When they are away by chance, the graph falls apart about as soon
//     as some member has lost all its neighbours: with a fifth away, 1,000 * 0.2^18, three in ten thousand million.
//
// Nobody can pick a place beside a victim without choosing the whole document anew: the digest covers all names and keys. The
// document's proposer can try many; against that, and against neighbours that keep silent, heads are compared with members
// drawn from all.
func Neighbours(members []string, self, digest string) []string {
	if !slices.Contains(members, self) {
		return nil
	}
	n := len(members)
	chosen := make(map[string]bool)
	if n <= FullMesh {
		for _, m := range members {
			chosen[m] = m != self
		}
	} else {
		circle := circle(members, digest)
		at := slices.Index(circle, self)
		for offset := 1; offset <= n/2; offset *= 2 {
			chosen[circle[(at+offset)%n]] = true
			chosen[circle[(at-offset+n)%n]] = true
		}
	}
	var out []string
	for _, m := range members {
		if chosen[m] {
			out = append(out, m)
		}
	}
	return out
}

// circle orders members by SHA-256 of a label, the digest after its length, and the name.
func circle(members []string, digest string) []string {
	places := make(map[string][]byte, len(members))
	prefix := binary.BigEndian.AppendUint32([]byte("grille/1 circle\n"), uint32(len(digest)))
	prefix = append(prefix, digest...)
	for _, m := range members {
		h := sha256.Sum256(append(slices.Clone(prefix), m...))
		places[m] = h[:]
	}
	out := slices.Clone(members)
	slices.SortFunc(out, func(a, b string) int { return bytes.Compare(places[a], places[b]) })
	return out
}
