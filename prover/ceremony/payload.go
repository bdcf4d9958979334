package ceremony

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark/backend/groth16/bls12-381/mpcsetup"
)

// A payload is the state that a contribution leaves, in the encoding of gnark's mpcsetup. With N the domain, all points compressed
// (G1: 48 bytes, G2: 96) and all numbers big endian:
//
//	phase 1   3 x (G1 commitment, G2 proof of knowledge)   for tau, alpha, beta
//	          N, 8 bytes
//	          beta in G2; tau^i in G1, 0 < i <= 2N-2; tau^i in G2, 0 < i < N; beta tau^i, then alpha tau^i in G1, 0 <= i < N
//	          challenge: its length, 1 byte; 32 bytes
//	phase 2   number of commitments, 2 bytes: 0
//	          delta in G1; private wires: their number, 4 bytes, and as many G1; Z: N-1, 4 bytes, and as many G1; delta in G2
//	          G1 commitment, G2 proof of knowledge         for delta
//	          challenge, as above
//
// The challenge is the SHA-256 of the payload before. The state that a phase begins with has an empty one. All lengths follow from
// the circuit, so that gnark's decoders, which allocate what the bytes claim, see only bytes whose counts were compared first.
const (
	g1Size        = bls.SizeOfG1AffineCompressed
	g2Size        = bls.SizeOfG2AffineCompressed
	proofSize     = g1Size + g2Size
	challengeSize = 1 + sha256.Size
)

// layout says where the points of a payload are.
type layout struct {
	size   int64
	counts []count
	points []points
	marks  []mark // what a contribution must change
	proofs int    // how many of the points, at the end, belong to proofs
}

// count is a number that must stand at an offset.
type count struct {
	at, bytes int64
	value     uint64
}

// points is a run of points.
type points struct {
	at, n, size int64
	infinity    bool // allowed
}

// mark is a single point that must be neither the generator nor what it was.
type mark struct {
	name     string
	at, size int64
}

func (c *Circuit) layout(phase int) layout {
	n := int64(c.domain)
	if phase == 1 {
		const params = 3 * proofSize
		tau1 := int64(params + 8 + g2Size)
		tau2 := tau1 + (2*n-2)*g1Size
		beta := tau2 + (n-1)*g2Size
		alpha := beta + n*g1Size
		l := layout{counts: []count{{params, 8, c.domain}}, points: []points{{at: params + 8, n: 1, size: g2Size},
			{at: tau1, n: 2*n - 2, size: g1Size}, {at: tau2, n: n - 1, size: g2Size}, {at: beta, n: 2 * n, size: g1Size}},
			marks: []mark{{"beta", params + 8, g2Size}, {"tau", tau1, g1Size}, {"tau", tau2, g2Size}, {"beta", beta, g1Size},
				{"alpha", alpha, g1Size}}}
		return l.end(alpha+n*g1Size, 0, proofSize, 2*proofSize)
	}
	p := int64(c.private)
	wires := int64(2 + g1Size + 4)
	z := wires + p*g1Size + 4
	delta2 := z + (n-1)*g1Size
	l := layout{counts: []count{{0, 2, 0}, {wires - 4, 4, uint64(p)}, {z - 4, 4, uint64(n - 1)}},
		points: []points{{at: 2, n: 1, size: g1Size}, {at: wires, n: p, size: g1Size, infinity: true},
			{at: z, n: n - 1, size: g1Size}, {at: delta2, n: 1, size: g2Size}},
		marks: []mark{{"delta", 2, g1Size}, {"delta", delta2, g2Size}}}
	return l.end(delta2+g2Size+proofSize, delta2+g2Size)
}

// opening is the layout of the state that a phase begins with: no challenge, no proofs.
func (l layout) opening() layout {
	l.points, l.size = l.points[:len(l.points)-l.proofs], l.size-sha256.Size
	return l
}

// end adds the challenge and the update proofs at the given offsets.
func (l layout) end(challenge int64, proofs ...int64) layout {
	for _, at := range proofs {
		l.points = append(l.points, points{at: at, n: 1, size: g1Size}, points{at: at + g1Size, n: 1, size: g2Size})
	}
	l.size, l.proofs = challenge+challengeSize, 2*len(proofs)
	return l
}

// PayloadSize is the length in bytes of each contribution in phase 1 or 2.
func (c *Circuit) PayloadSize(phase int) int64 { return c.layout(phase).size }

// state is what a phase has come to.
type state struct {
	powers    *powers          // in phase 1
	phase2    *mpcsetup.Phase2 // in phase 2
	digest    [sha256.Size]byte
	marks     [][]byte // as in the layout
	challenge []byte   // of a contribution: digest of the state that it builds on
}

// checkForm compares everything that can be compared without arithmetic and without the state before.
func (l layout) checkForm(payload []byte) error {
	if int64(len(payload)) != l.size {
		return refuse(ReasonLength, "the payload has %d bytes, a contribution has %d", len(payload), l.size)
	}
	for _, c := range l.counts {
		var got uint64
		for _, b := range payload[c.at : c.at+c.bytes] {
			got = got<<8 | uint64(b)
		}
		if got != c.value {
			return refuse(ReasonDomain, "the payload says %d where the circuit has %d", got, c.value)
		}
	}
	return l.checkPoints(payload)
}

// checkPoints refuses uncompressed points, after which the decoder would read elsewhere, and points at infinity.
func (l layout) checkPoints(payload []byte) error {
	const compressed, infinity = 0x80, 0x40
	for _, p := range l.points {
		for i := range p.n {
			first := payload[p.at+i*p.size]
			if first&compressed == 0 || first&infinity != 0 && !p.infinity {
				return refuse(ReasonPoints, "the point at byte %d is uncompressed or at infinity", p.at+i*p.size)
			}
		}
	}
	return nil
}

// inspect checks everything about a contribution's payload that needs neither arithmetic nor the state before. The state that it
// returns has no points yet.
func (l layout) inspect(payload []byte) (*state, error) {
	if err := l.checkForm(payload); err != nil {
		return nil, err
	}
	challenge := payload[l.size-challengeSize:]
	if challenge[0] != sha256.Size { // gnark would take an empty one
		return nil, refuse(ReasonBase, "the challenge has %d bytes, not %d", challenge[0], sha256.Size)
	}
	s := &state{digest: sha256.Sum256(payload), challenge: bytes.Clone(challenge[1:])}
	s.mark(l, payload)
	return s, nil
}

// buildsOn refuses a contribution to another state than before, and one that leaves a secret as it was, or at one.
func (s *state) buildsOn(before *state, l layout) error {
	if !bytes.Equal(s.challenge, before.digest[:]) {
		return refuse(ReasonBase, "the payload does not build on the last accepted state %s", before.hex())
	}
	_, _, g1, g2 := bls.Generators()
	one1, one2 := g1.Bytes(), g2.Bytes()
	for i, now := range s.marks {
		if bytes.Equal(now, one1[:]) || bytes.Equal(now, one2[:]) {
			return refuse(ReasonUnchanged, "%s is the generator", l.marks[i].name)
		}
		if bytes.Equal(now, before.marks[i]) {
			return refuse(ReasonUnchanged, "%s is what it was", l.marks[i].name)
		}
	}
	return nil
}

// accept verifies that payload is a contribution to the state before and returns the state after it. before stays as it is.
func (c *Circuit) accept(ctx context.Context, before *state, payload []byte) (*state, error) {
	l := c.layout(before.phase())
	after, err := l.inspect(payload)
	if err != nil {
		return nil, err
	}
	if err := after.buildsOn(before, l); err != nil {
		return nil, err
	}
	if err := c.decode(ctx, after, before.phase(), payload); err != nil {
		return nil, err
	}
	return after, before.verify(after)
}

// decode reads the points of a payload whose form was checked into s; each is checked to be in its subgroup. Takes some seconds for
// the statement.
func (c *Circuit) decode(ctx context.Context, s *state, phase int, payload []byte) error {
	if phase == 1 {
		var err error
		if s.powers, err = readPowers(ctx, c.domain, c.layout(1), payload); err != nil {
			return err
		}
	} else {
		s.phase2 = new(mpcsetup.Phase2)
		if _, err := s.phase2.ReadFrom(bytes.NewReader(payload)); err != nil {
			return refuse(ReasonPoints, "reading the payload: %w", err)
		}
	}
	again, err := s.encode()
	if err != nil {
		return err
	}
	if !bytes.Equal(again, payload) {
		return refuse(ReasonPoints, "the payload has another spelling")
	}
	return nil
}

// read returns the state of a payload that was accepted before, or that a phase begins with.
func (c *Circuit) read(ctx context.Context, phase int, payload []byte) (*state, error) {
	s := &state{digest: sha256.Sum256(payload)}
	s.mark(c.layout(phase), payload)
	return s, c.decode(ctx, s, phase, payload)
}

// verify checks the update proofs of after, whose points are read. It leaves s as it is.
func (s *state) verify(after *state) (err error) {
	if s.powers != nil {
		err = s.powers.verify(after.powers, s.digest[:])
	} else {
		err = s.phase2.Verify(after.phase2)
	}
	if err != nil {
		return refuse(ReasonProof, "verifying the contribution: %w", err)
	}
	return nil
}

func (s *state) phase() int {
	if s.powers != nil {
		return 1
	}
	return 2
}

func (s *state) mark(l layout, payload []byte) {
	s.marks = nil
	for _, m := range l.marks {
		s.marks = append(s.marks, bytes.Clone(payload[m.at:m.at+m.size]))
	}
}

func (s *state) hex() string { return hex.EncodeToString(s.digest[:]) }

func (s *state) encode() ([]byte, error) {
	var buf bytes.Buffer
	var err error
	if s.powers != nil {
		err = s.powers.encode(&buf)
	} else {
		_, err = s.phase2.WriteTo(&buf)
	}
	return buf.Bytes(), err
}

// beginning returns the state that phase 1 begins with.
func (c *Circuit) beginning() (*state, error) {
	s := &state{powers: newPowers(c.domain)}
	_, err := c.settle(s)
	return s, err
}

// settle sets the digest and the marks of a state that was computed here, and returns its payload.
func (c *Circuit) settle(s *state) ([]byte, error) {
	payload, err := s.encode()
	if err != nil {
		return nil, err
	}
	s.digest = sha256.Sum256(payload)
	s.mark(c.layout(s.phase()), payload)
	return payload, nil
}
