package ceremony

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/consensys/gnark/frontend"
)

// Four members, one absent, one whose contribution is false: the keys are good, and the folder verifies by what stands in it alone.
func TestCeremonyOfFour(t *testing.T) {
	r := begin(t, nil)
	r.resume() // before the first step: this process verifies everything all the same
	for phase := 1; phase <= 2; phase++ {
		r.contribute(names[0])
		r.must(r.Pass(names[1], ReasonAbsent, clock))
		con := r.make(names[2])
		con.Payload = put(phase, lastProof, generator2(t))(con.Payload)
		resign(t, con, names[2], nil)
		wantReason(t, "a false contribution", r.Add(context.Background(), con, nil), ReasonProof)
		r.must(r.Pass(names[2], ReasonProof, clock))
		wantReason(t, "closing early", r.ClosePhase(clock, clock.Add(time.Minute)), ReasonContributors)
		r.contribute(names[3])
		res := r.endPhase()
		if (res != nil) != (phase == 2) {
			t.Fatal("keys after phase", phase)
		}
		if res == nil {
			continue
		}
		if !res.Whole || res.Members(1) != 2 || res.Members(2) != 2 {
			t.Errorf("%+v", res.Verification)
		}
		proves(t, res)
	}
	r.Close()
	again, err := Verify(context.Background(), copyOf(t, r.dir), compileTest(new(chain)), ledgerBeacon, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Transcript != r.Transcript().Digest() || !slices.Equal(r.Transcript().Contributors(2), []string{names[0], names[3]}) {
		t.Error(again.Verification)
	}
	proves(t, again)
}

// proves fails unless the keys prove and verify a true statement, and no false one.
func proves(t *testing.T, r *Result) {
	t.Helper()
	assign := func(y fr.Element) (pub fr.Vector, err error) {
		var x, z fr.Element
		x.SetUint64(3)
		z.Mul(&x, &y)
		w, err := frontend.NewWitness(&chain{X: x, Y: y, Z: z}, ecc.BLS12_381.ScalarField())
		if err != nil {
			return nil, err
		}
		p, err := groth16.Prove(r.circuit.system, r.keys.proving, w)
		if err != nil {
			return nil, err
		}
		pub = fr.Vector{y, z}
		if err := groth16.Verify(p, r.keys.verifying, pub); err != nil {
			t.Errorf("a true proof: %v", err)
		}
		pub[0].SetUint64(1)
		if groth16.Verify(p, r.keys.verifying, pub) == nil {
			t.Error("a proof holds for another statement")
		}
		return pub, nil
	}
	var y, x fr.Element
	x.SetUint64(3)
	y = x
	for range chainRounds {
		y.Square(&y).Add(&y, &x)
	}
	if _, err := assign(y); err != nil {
		t.Error(err)
	}
	if _, _, g1, _ := bls.Generators(); r.keys.verifying.G1.Delta.Equal(&g1) {
		t.Error("delta is the generator")
	}
	if _, err := assign(x); err == nil {
		t.Error("a false statement is proved")
	}
}

// copyOf is a copy of a ceremony's folder as another machine has it.
func copyOf(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
