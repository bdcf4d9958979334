package ceremony

import (
	"bytes"
	"context"
	"testing"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/mpcsetup"
	groth16mpc "github.com/consensys/gnark/backend/groth16/bls12-381/mpcsetup"
)

// resign signs a contribution's step anew after its payload changed, as a member does who wants to deceive.
func resign(t testing.TB, con *Contribution, name string, change func(*Step)) {
	t.Helper()
	var s Step
	if err := decode([]byte(con.Step.Body), maxStep, &s); err != nil {
		t.Fatal(err)
	}
	s.Payload, s.Size = sum(con.Payload), int64(len(con.Payload))
	if change != nil {
		change(&s)
	}
	var err error
	if con.Step, err = signer(name).sign(LabelStep, s); err != nil {
		t.Fatal(err)
	}
}

// put returns a forgery that writes bytes at the offset of a run of points.
func put(phase int, where func(layout) int64, data []byte) func([]byte) []byte {
	return func(payload []byte) []byte {
		copy(payload[where(small().layout(phase)):], data)
		return payload
	}
}

// lastProof is where the last proof of knowledge is; firstPoint and secondPoint are in the longest run.
func lastProof(l layout) int64 { return l.points[len(l.points)-1].at }
func somePower(l layout) int64 { return l.points[1].at + 3*l.points[1].size }

func generatorsBytes() (g1, g2 []byte) {
	_, _, a, b := bls.Generators()
	x, y := a.Bytes(), b.Bytes()
	return x[:], y[:]
}

// outside is a point of the curve that is not in the subgroup, compressed.
func outside(t testing.TB) []byte {
	t.Helper()
	for x := byte(1); x != 0; x++ {
		data := make([]byte, g1Size)
		data[0], data[g1Size-1] = 0x80, x
		var p bls.G1Affine
		if bls.NewDecoder(bytes.NewReader(data), bls.NoSubgroupChecks()).Decode(&p) == nil && !p.IsInSubGroup() {
			return data
		}
	}
	t.Fatal("no such point")
	return nil
}

// offCurve is a compressed x without a point.
func offCurve(t testing.TB) []byte {
	t.Helper()
	for x := byte(1); x != 0; x++ {
		data := make([]byte, g1Size)
		data[0], data[g1Size-1] = 0x80, x
		var p bls.G1Affine
		if bls.NewDecoder(bytes.NewReader(data), bls.NoSubgroupChecks()).Decode(&p) != nil {
			return data
		}
	}
	t.Fatal("no such point")
	return nil
}

// ofOne is a contribution of one to a payload, with proofs that gnark's verifier accepts. In phase 1 only tau is left as it was, or
// all three secrets.
func ofOne(t testing.TB, phase int, base []byte) []byte {
	t.Helper()
	s, err := small().read(context.Background(), phase, base)
	if err != nil {
		t.Fatal(err)
	}
	one := fr.One()
	if phase == 2 {
		s.phase2.Challenge = s.digest[:]
		s.phase2.Delta = mpcsetup.UpdateValues(&one, s.digest[:], groth16mpc.DST_DELTA)
		out, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var buf bytes.Buffer
	for _, dst := range []byte{groth16mpc.DST_TAU, groth16mpc.DST_ALPHA, groth16mpc.DST_BETA} {
		p := mpcsetup.UpdateValues(&one, s.digest[:], dst)
		if _, err := p.WriteTo(&buf); err != nil {
			t.Fatal(err)
		}
	}
	l := small().layout(1)
	buf.Write(base[3*proofSize : l.size-challengeSize])
	buf.WriteByte(32)
	buf.Write(s.digest[:])
	return buf.Bytes()
}

// beginningOf is the payload that a phase begins with.
func (r *run) base() []byte {
	r.t.Helper()
	task, err := r.Task()
	r.must(err)
	if task.Base != nil {
		return task.Base
	}
	s, err := r.circuit.beginning()
	r.must(err)
	out, err := s.encode()
	r.must(err)
	return out
}

// force has a false contribution accepted, as a coordinator does that is in league with its member.
func (r *run) force(con *Contribution) {
	r.t.Helper()
	next, err := r.Transcript().With(con.Step)
	r.must(err)
	_, err = r.folder.PutPayload(con.Payload)
	r.must(err)
	r.must(r.commit(next))
	s := &state{digest: [32]byte(mustHex(sum(con.Payload)))}
	s.mark(r.circuit.layout(next.Turn().Phase), con.Payload)
	r.must(r.circuit.decode(context.Background(), s, next.Turn().Phase, con.Payload))
	r.state = s
}
