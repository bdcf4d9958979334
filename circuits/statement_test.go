package circuits

import "testing"

func TestStatementHolds(t *testing.T) {
	f := newFixture(newRand(1), sampleRecord(), sampleProgram())
	f.mask[0], f.mask[13] = true, true
	if v := f.public(t).Verdict; v != Satisfied {
		t.Fatal(v)
	}
	if err := solve(t, f.assign(t)); err != nil {
		t.Fatal(err)
	}
	t.Log(system().GetNbConstraints(), system().GetNbPublicVariables(), system().GetNbSecretVariables())
}
