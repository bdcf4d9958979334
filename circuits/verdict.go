package circuits

import (
	"errors"
	"fmt"
)

// ErrVerdict means that a value names no verdict.
var ErrVerdict = errors.New("unknown verdict")

// Verdict is what a policy says about a subject. Its number is its public input.
type Verdict uint8

// The four verdicts. The first two are the outcome of a gate as a bit.
const (
	NotSatisfied  Verdict = 0
	Satisfied     Verdict = 1
	Indeterminate Verdict = 2 // a value that the policy needs is missing
	NoRecord      Verdict = 3 // the dataset provably has no record of the subject
)

var verdictNames = [...]string{"not_satisfied", "satisfied", "indeterminate", "no_record"}

// String returns the verdict's name in the interface, such as "not_satisfied".
func (v Verdict) String() string {
	if int(v) >= len(verdictNames) {
		return fmt.Sprintf("verdict(%d)", uint8(v))
	}
	return verdictNames[v]
}

// ParseVerdict is the inverse of String; another text is ErrVerdict.
func ParseVerdict(s string) (Verdict, error) {
	for i, name := range verdictNames {
		if s == name {
			return Verdict(i), nil
		}
	}
	return 0, ErrVerdict
}

// MarshalText writes the verdict's name; an undeclared verdict is ErrVerdict.
func (v Verdict) MarshalText() ([]byte, error) {
	if int(v) >= len(verdictNames) {
		return nil, ErrVerdict
	}
	return []byte(verdictNames[v]), nil
}

// UnmarshalText reads a verdict's name; another text is ErrVerdict.
func (v *Verdict) UnmarshalText(b []byte) error {
	parsed, err := ParseVerdict(string(b))
	if err != nil {
		return err
	}
	*v = parsed
	return nil
}
