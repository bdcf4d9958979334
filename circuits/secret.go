package circuits

import (
	"errors"
	"fmt"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
)

// ErrOpening means that a secret does not fit the root, or that the bucket it opens answers for no one record: there is no proof
// to make. A holder should rebuild the epoch.
var ErrOpening = errors.New("the opening does not match")

// Secret is what the holder knows and a proof hides.
type Secret struct {
	Key      Key        // of the subject
	TagNonce fr.Element // chosen by the requester, uniform in the field
	Salt     fr.Element // of the record's commitment; any value when the record is absent
	ScopeKey fr.Element // of the nullifier's scope; any value when there is none
	Record   *Record    // nil when the dataset has no record of the subject
	Opening  Opening    // of the subject's place
}

// Public computes the public half of the statement that the secret proves under a root, for a context, a scope (0 for none), a
// disclosure mask and a program. The error is ErrProgram for a malformed program, and ErrOpening when the opening is not of the
// subject's place under the root, the key is in two slots, or the record and salt are not what the bucket commits to.
func (s *Secret) Public(root, context, scope fr.Element, mask [Columns]bool, p *Program) (*Public, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if err := s.check(root); err != nil {
		return nil, err
	}
	pub := &Public{Root: root, Tag: Tag(s.Key, s.TagNonce), Context: context, Scope: scope, Verdict: p.Evaluate(s.Record),
		Mask: mask, Program: p}
	if !scope.IsZero() {
		pub.ScopeKeyCommitment = ScopeKeyCommitment(s.ScopeKey)
		pub.Nullifier = Nullifier(s.ScopeKey, s.Key, scope)
	}
	if s.Record != nil {
		for i, shown := range mask {
			if shown {
				pub.Disclosed[i] = s.Record.Column(i)
			}
		}
	}
	return pub, nil
}

func (s *Secret) check(root fr.Element) error {
	if got := s.Opening.Root(s.Key.Place()); !got.Equal(&root) {
		return fmt.Errorf("%w: another root", ErrOpening)
	}
	var matches []fr.Element
	key := s.Key.Element()
	for i := range s.Opening.Bucket {
		if slot := &s.Opening.Bucket[i]; slot.Key.Equal(&key) {
			matches = append(matches, slot.Commitment)
		}
	}
	switch {
	case len(matches) > 1:
		return fmt.Errorf("%w: the subject stands in %d slots", ErrOpening, len(matches))
	case len(matches) == 1 && s.Record == nil:
		return fmt.Errorf("%w: the subject has a record, none is given", ErrOpening)
	case len(matches) == 0 && s.Record != nil:
		return fmt.Errorf("%w: the subject has no record, one is given", ErrOpening)
	case len(matches) == 0:
		return nil
	}
	if got := s.Record.Commitment(s.Salt); !got.Equal(&matches[0]) {
		return fmt.Errorf("%w: another record or salt is committed to", ErrOpening)
	}
	return nil
}
