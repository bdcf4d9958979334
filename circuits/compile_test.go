package circuits

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/constraint"
	r1csbls "github.com/consensys/gnark/constraint/bls12-381"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/scs"
)

var update = flag.Bool("update", false, "rewrite testdata/golden.json")

// golden are the circuit's parameters. A change of any of them changes keys, roots or proofs of running networks.
type golden struct {
	Constraints  int                      `json:"constraints"`
	PublicInputs int                      `json:"public_inputs"`
	SecretInputs int                      `json:"secret_inputs"`
	CircuitID    string                   `json:"circuit_id"`
	RoundKeys    map[Use]string           `json:"round_keys_sha256"` // over all constants in order of use, 32 bytes each
	Hashes       map[Use][]string         `json:"hashes"`            // of (0,0,0), (1,2,3), (-1,-2,-3)
	Vectors      map[string]string        `json:"vectors"`
	Programs     map[string]programVector `json:"programs"`
}

type programVector struct {
	Program *Program `json:"program"`
	SHA256  string   `json:"sha256"` // over the program's part of the public inputs, 32 bytes each
}

const goldenFile = "testdata/golden.json"

func TestGolden(t *testing.T) {
	got := currentGolden(t)
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetIndent("", "  ")
	if err := e.Encode(got); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenFile, buf.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, buf.Bytes()) {
		t.Errorf("%s is not what the package computes; if the change is meant, run go test -run Golden -update and expect new "+
			"keys and new roots. Computed:\n%s", goldenFile, buf.Bytes())
	}
}

func currentGolden(t *testing.T) *golden {
	id, err := ID(system())
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{Constraints: system().GetNbConstraints(), PublicInputs: system().GetNbPublicVariables() - 1,
		SecretInputs: system().GetNbSecretVariables(), CircuitID: id, RoundKeys: map[Use]string{}, Hashes: map[Use][]string{},
		Vectors: map[string]string{}, Programs: map[string]programVector{}}
	for _, u := range uses {
		g.RoundKeys[u] = roundKeyDigest(u)
		for _, in := range [][]fr.Element{elements(0, 0, 0), elements(1, 2, 3), elements(-1, -2, -3)} {
			h := Hash(u, in[0], in[1], in[2])
			g.Hashes[u] = append(g.Hashes[u], hexOf(h))
		}
	}
	key := SubjectKey("instance", "person", "12345678")
	g.Vectors["subject key instance/person/12345678"] = hex.EncodeToString(key[:])
	g.Vectors["text Zürich"] = hexOf(TextElement("Zürich"))
	g.Vectors["commitment of the sample record, salt 7"] = hexOf(sampleRecord().Commitment(fr.NewElement(7)))
	g.Vectors["empty bucket"] = hexOf(EmptyNode(0))
	g.Vectors["empty root"] = hexOf(EmptyNode(Levels))
	g.Vectors["tag, nonce 7"] = hexOf(Tag(key, fr.NewElement(7)))
	g.Vectors["nullifier, scope key 7, scope 9"] = hexOf(Nullifier(fr.NewElement(7), key, fr.NewElement(9)))
	g.Vectors["scope key commitment, scope key 7"] = hexOf(ScopeKeyCommitment(fr.NewElement(7)))
	g.Programs["sample"] = programVector{sampleProgram(), elementsDigest(sampleProgram().layout().appendTo(nil))}
	return g
}

func hexOf(e fr.Element) string {
	b := e.Bytes()
	return hex.EncodeToString(b[:])
}

func elementsDigest(v []fr.Element) string {
	h := sha256.New()
	for i := range v {
		b := v[i].Bytes()
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}

func roundKeyDigest(u Use) string {
	var all []fr.Element
	k := keysOf(u)
	for i := range k.first {
		all = append(all, k.first[i][:]...)
	}
	all = append(all, k.partial[:]...)
	for i := range k.last {
		all = append(all, k.last[i][:]...)
	}
	return elementsDigest(all)
}

// The prover's domain is the next power of two; the limit leaves room for nothing to cross it by accident.
func TestConstraintLimit(t *testing.T) {
	if n := system().GetNbConstraints(); n > 11000 {
		t.Fatalf("%d constraints", n)
	}
}

func TestCompileIsDeterministic(t *testing.T) {
	again, err := Compile()
	if err != nil {
		t.Fatal(err)
	}
	a, err := ID(system())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ID(again)
	if err != nil {
		t.Fatal(err)
	}
	if a != b {
		t.Fatal("two compilations have two ids")
	}
}

func TestIDSeesEveryConstraint(t *testing.T) {
	compile := func(square, constant int) string {
		g := newGadget(t, 2, 1, func(api frontend.API, in []frontend.Variable) []frontend.Variable {
			return []frontend.Variable{api.Add(api.Mul(in[square], in[0]), constant)}
		})
		id, err := ID(g.cs)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	seen := map[string]bool{compile(0, 1): true, compile(1, 1): true, compile(0, 2): true, compile(0, 0): true}
	if len(seen) != 4 || !seen[compile(0, 1)] {
		t.Fatal("circuits share an id")
	}
}

func TestIDRefusesOtherSystems(t *testing.T) {
	sparse, err := frontend.Compile(Curve.ScalarField(), scs.NewBuilder, new(squareCircuit))
	if err != nil {
		t.Fatal(err)
	}
	for _, cs := range []constraint.ConstraintSystem{sparse, nil} {
		if _, err := ID(cs); !errors.Is(err, ErrSystem) {
			t.Error(err)
		}
	}
}

type squareCircuit struct{ X, Y frontend.Variable }

func (c *squareCircuit) Define(api frontend.API) error {
	api.AssertIsEqual(c.Y, api.Mul(c.X, c.X))
	return nil
}

func publicWireNames(t *testing.T) []string {
	t.Helper()
	return system().(*r1csbls.R1CS).Public[1:] // the first is the constant 1
}

// A public input in no constraint would be bound by nothing, and a secret in none would mean nothing.
func TestEveryWireIsConstrained(t *testing.T) {
	cs := system().(*r1csbls.R1CS)
	wires := cs.GetNbPublicVariables() + cs.GetNbSecretVariables() + cs.GetNbInternalVariables()
	seen := make([]bool, wires)
	mark := func(l constraint.LinearExpression) {
		for _, term := range l {
			if !cs.Coefficients[term.CoeffID()].IsZero() {
				seen[term.WireID()] = true
			}
		}
	}
	for _, c := range cs.GetR1Cs() {
		// A product with the constant 0 binds nothing in the other factor.
		if !isZeroExpression(cs, c.R) {
			mark(c.L)
		}
		if !isZeroExpression(cs, c.L) {
			mark(c.R)
		}
		mark(c.O)
	}
	for i, ok := range seen {
		if !ok && i != 0 {
			t.Errorf("wire %d is in no constraint", i)
		}
	}
}

func isZeroExpression(cs *r1csbls.R1CS, l constraint.LinearExpression) bool {
	for _, term := range l {
		if !cs.Coefficients[term.CoeffID()].IsZero() {
			return false
		}
	}
	return true
}

// Whatever secret or internal wire of a solution changes, some constraint notices. The one exception is the hinted inverse x in
// m = 1 - a*x where a is 0: it stands in that constraint alone, and has no effect there.
func TestEveryWireChangeIsNoticed(t *testing.T) {
	f := newFixture(newRand(1), sampleRecord(), sampleProgram())
	f.mask[0] = true
	w, err := frontend.NewWitness(f.assign(t), Curve.ScalarField())
	if err != nil {
		t.Fatal(err)
	}
	solution, err := system().Solve(w)
	if err != nil {
		t.Fatal(err)
	}
	cs, values := system().(*r1csbls.R1CS), []fr.Element(solution.(*r1csbls.R1CSSolution).W)
	places := constraintsByWire(cs)
	free := 0
	for i := cs.GetNbPublicVariables(); i < len(values); i++ {
		old := values[i]
		one := fr.One()
		values[i].Add(&old, &one)
		if holdAll(cs, places[i], values) {
			free++
			if c := places[i][0]; len(places[i]) != 1 || !isZeroValue(cs, c.L, values) {
				t.Errorf("wire %d may be anything", i)
			}
		}
		values[i] = old
	}
	const zeroTests = Slots + Columns + Lookups*LookupPairs + Atoms + TextTests + 2
	if free > zeroTests {
		t.Errorf("%d wires may be anything, there are %d tests for zero", free, zeroTests)
	}
}

// constraintsByWire lists the constraints each wire is in, the first 64: those are enough to notice.
func constraintsByWire(cs *r1csbls.R1CS) [][]constraint.R1C {
	places := make([][]constraint.R1C, cs.GetNbPublicVariables()+cs.GetNbSecretVariables()+cs.GetNbInternalVariables())
	for _, c := range cs.GetR1Cs() {
		seen := map[int]bool{}
		for _, l := range []constraint.LinearExpression{c.L, c.R, c.O} {
			for _, term := range l {
				if i := term.WireID(); !seen[i] && len(places[i]) < 64 {
					seen[i] = true
					places[i] = append(places[i], c)
				}
			}
		}
	}
	return places
}

func isZeroValue(cs *r1csbls.R1CS, l constraint.LinearExpression, values []fr.Element) bool {
	v := value(cs, l, values)
	return v.IsZero()
}

func holdAll(cs *r1csbls.R1CS, constraints []constraint.R1C, values []fr.Element) bool {
	for _, c := range constraints {
		l, r, o := value(cs, c.L, values), value(cs, c.R, values), value(cs, c.O, values)
		if l.Mul(&l, &r); !l.Equal(&o) {
			return false
		}
	}
	return true
}

func value(cs *r1csbls.R1CS, l constraint.LinearExpression, values []fr.Element) (sum fr.Element) {
	for _, term := range l {
		var product fr.Element
		product.Mul(&cs.Coefficients[term.CoeffID()], &values[term.WireID()])
		sum.Add(&sum, &product)
	}
	return sum
}

func rawConstraints() []constraint.R1C { return system().(*r1csbls.R1CS).GetR1Cs() }
