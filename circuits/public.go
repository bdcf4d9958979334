package circuits

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ErrPublic means that a public value is outside the range that its meaning has. The proof must then not be looked at.
var ErrPublic = errors.New("public input out of range")

// Public is the public half of a statement. Only Verdict, Nullifier and Disclosed come from whoever answers; a verifier derives
// everything else.
type Public struct {
	Root               fr.Element // of the dataset's epoch
	Tag                fr.Element // of the subject: Tag(key, nonce)
	Context            fr.Element // what the proof was made for; below 2^248
	Scope              fr.Element // of the nullifier; 0 when none is asked for
	ScopeKeyCommitment fr.Element // 0 when Scope is 0
	Nullifier          fr.Element // 0 when Scope is 0
	Verdict            Verdict
	Mask               [Columns]bool       // which columns are disclosed
	Disclosed          [Columns]fr.Element // their values (Record.Column); 0 where the mask is false and for an absent record
	Program            *Program
}

// headInputs is how many public inputs come before those of the program.
const headInputs = 7 + 2*Columns

// programInputs is how many public inputs describe the program.
const programInputs = Columns + 2 + Lookups*(NumericColumns+2*LookupPairs+2) + Atoms*(NumericColumns+Lookups+2) +
	TextTests*(TextColumns+1) + Gates*(Atoms+TextTests+1) + earlierWeights

// ProgramRange returns which part of Vector depends on the program alone: indexes from..to-1.
func ProgramRange() (from, to int) { return headInputs, headInputs + programInputs }

// Vector returns the public inputs in the order of PublicNames. The error is ErrProgram when the program is not well formed,
// ErrPublic when a verdict is undeclared, a value is disclosed outside the mask, or a disclosed number exceeds 64 bits.
func (p *Public) Vector() ([]fr.Element, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	v := make([]fr.Element, 0, headInputs+programInputs)
	v = append(v, p.Root, p.Tag, p.Context, p.Scope, p.ScopeKeyCommitment, p.Nullifier, fr.NewElement(uint64(p.Verdict)))
	for _, m := range p.Mask {
		v = append(v, bit(m))
	}
	v = append(v, p.Disclosed[:]...)
	return p.Program.layout().appendTo(v), nil
}

func (p *Public) check() error {
	if err := p.Program.Check(); err != nil {
		return err
	}
	if p.Verdict > NoRecord {
		return fmt.Errorf("%w: verdict %d", ErrPublic, p.Verdict)
	}
	for i := range p.Disclosed {
		d := &p.Disclosed[i]
		if !p.Mask[i] && !d.IsZero() {
			return fmt.Errorf("%w: column %d is shown outside the mask", ErrPublic, i)
		}
		if i < NumericColumns && !d.IsUint64() {
			return fmt.Errorf("%w: column %d exceeds 64 bits", ErrPublic, i)
		}
	}
	return nil
}

// PublicNames returns one name per public input, in the order of Vector.
func PublicNames() []string {
	names := []string{"Root", "Tag", "Context", "Scope", "ScopeKeyCommitment", "Nullifier", "Verdict"}
	add := func(format string, n int, args ...any) {
		for i := range n {
			names = append(names, fmt.Sprintf(format, append(args, i)...))
		}
	}
	add("Mask_%d", Columns)
	add("Disclosed_%d", Columns)
	add("Program_Used_%d", Columns)
	names = append(names, "Program_OnAbsent", "Program_OnMissing")
	for i := range Lookups {
		add("Program_Lookups_%d_Select_%d", NumericColumns, i)
		add("Program_Lookups_%d_Keys_%d", LookupPairs, i)
		add("Program_Lookups_%d_Values_%d", LookupPairs, i)
		names = append(names, fmt.Sprintf("Program_Lookups_%d_Default", i), fmt.Sprintf("Program_Lookups_%d_MissIsMissing", i))
	}
	for i := range Atoms {
		add("Program_Atoms_%d_Columns_%d", NumericColumns, i)
		add("Program_Atoms_%d_Lookups_%d", Lookups, i)
		names = append(names, fmt.Sprintf("Program_Atoms_%d_Constant", i), fmt.Sprintf("Program_Atoms_%d_EqualsZero", i))
	}
	for i := range TextTests {
		add("Program_TextTests_%d_Select_%d", TextColumns, i)
		names = append(names, fmt.Sprintf("Program_TextTests_%d_Value", i))
	}
	for i := range Gates {
		add("Program_Gates_%d_Atoms_%d", Atoms, i)
		add("Program_Gates_%d_Texts_%d", TextTests, i)
		names = append(names, fmt.Sprintf("Program_Gates_%d_Threshold", i))
	}
	add("Program_Earlier_%d", earlierWeights)
	return names
}

func bit(b bool) fr.Element {
	var e fr.Element
	if b {
		e.SetOne()
	}
	return e
}
