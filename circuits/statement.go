package circuits

import "github.com/consensys/gnark/frontend"

// Statement is the universal circuit.
//
// Statement: under Root, the record of the subject behind Tag (or the proven absence of one) gives Verdict for Program, discloses
// exactly the columns in Mask with these values, and has Nullifier in Scope; all of it made for Context.
//
// Public:
//
//	Root                the epoch's root; from the ledger
//	Tag                 H(key, nonce); from the signed query, made by the requester
//	Context             248 bits of SHA-256 over query and answer header; the verifier computes it
//	Scope               of the nullifier, 0 for none; from the signed query
//	ScopeKeyCommitment  H(scope key), 0 if Scope is 0; from the ledger
//	Nullifier           H(scope key, key, scope), 0 if Scope is 0; from the answer
//	Verdict             0 not_satisfied, 1 satisfied, 2 indeterminate, 3 no_record; from the answer
//	Mask                16 bits, 1 where a column is disclosed; from the signed query
//	Disclosed           16 columns, offset-binary codes or text hashes, 0 where the mask is 0 or no value is; from the answer
//	Program             the policy at full size (layout.go); from the ledger
//
// Secret:
//
//	Quotient, Digits    of the subject key, 128 bits: key = Quotient * 3^21 + place; bound by the ranges, Tag and the bucket
//	TagNonce            any element; bound by Tag
//	Salt, Numeric, Text the record and the salt of its commitment; bound by the bucket if present, 0 (columns) if absent
//	ScopeKey            any element; bound by ScopeKeyCommitment if Scope is not 0, else without effect
//	Bucket, Siblings    the three slots at the subject's place and the path above; bound by Root
//
// Claims:
//
//  1. The key is below 2^128 and the digits are those of key mod 3^21.
//  2. Tag is H(key, nonce).
//  3. The bucket stands at the key's place under Root.
//  4. The key is in exactly one slot (present) or in none (absent).
//  5. If present, the columns are those committed to, and numeric ones have 64 bits; if absent, all columns are 0.
//  6. Each lookup gives the value of the pair whose key its column's number equals, else the default.
//  7. Each atom is its linear form tested >= 0 or == 0 over the integers.
//  8. Each text test is the equality of a column's hash and a value.
//  9. Each gate is a weighted sum of atoms, text tests and earlier gates compared with its threshold.
//  10. Verdict is OnAbsent if absent; else OnMissing if a used column is missing or a lookup that may not miss misses; else gate 7.
//  11. Disclosed is the column where Mask is 1, 0 elsewhere.
//  12. Nullifier is H(scope key, key, scope) and ScopeKeyCommitment is H(scope key), or both are 0 if Scope is 0.
//  13. Context is part of a constraint, so that the proof is for no other.
//
// Assumes, checked outside by Public.Vector and by whoever derives the public inputs: every public input is a canonical element;
// the program passes Program.Check and is laid out by layout (ranges, one-hot selectors, distinct lookup keys, derived Used bits);
// Mask holds bits; ScopeKeyCommitment, Root and Tag are the ones the ledger and the query name; the requester's nonce and the
// holder's salts are uniform.
//
// Sound because: claim by claim in the gadgets. No hint is ours; gnark's two (bits of a decomposition, inverse or 0) are each
// constrained in full: every bit is asserted to be a bit and their sum to be the value, and of x, m in m = 1 - a*x, a*m = 0
// the bit m is forced by a. All decompositions have at most 128 bits, so none has a second solution modulo the 255-bit prime.
// Values that could wrap (key, packs of 192 bits, atom and gate sums) are bounded before they are combined. The columns of an
// absent subject are 0, that is missing, so neither disclosure nor verdict depends on a free secret; a present record's 0 means
// missing and nothing else. An element p-1 is no bit and in no range, and no key, place or code; where any element may stand
// (texts, salts, siblings, keys and commitments of other slots) it is only hashed or compared.
//
// Leaks: the public inputs and nothing else. Verdict and Disclosed say what they say about the subject; an equal Tag, Nullifier or
// Root links two proofs; OnAbsent and OnMissing decide whether membership and missing values show in the verdict.
type Statement struct {
	Root               frontend.Variable          `gnark:",public"`
	Tag                frontend.Variable          `gnark:",public"`
	Context            frontend.Variable          `gnark:",public"`
	Scope              frontend.Variable          `gnark:",public"`
	ScopeKeyCommitment frontend.Variable          `gnark:",public"`
	Nullifier          frontend.Variable          `gnark:",public"`
	Verdict            frontend.Variable          `gnark:",public"`
	Mask               [Columns]frontend.Variable `gnark:",public"`
	Disclosed          [Columns]frontend.Variable `gnark:",public"`
	Program            ProgramInputs              `gnark:",public"`

	Quotient frontend.Variable
	Digits   [Levels]DigitInputs
	TagNonce frontend.Variable
	Salt     frontend.Variable
	ScopeKey frontend.Variable
	Numeric  [NumericColumns]frontend.Variable
	Text     [TextColumns]frontend.Variable
	Bucket   [Slots]SlotInputs
	Siblings [Levels][2]frontend.Variable
}

// Define writes the constraints.
func (s *Statement) Define(api frontend.API) error {
	key := subjectKey(api, s.Quotient, &s.Digits)                                                 // claim 1
	api.AssertIsEqual(s.Tag, tagIn(api, key, s.TagNonce))                                         // claim 2
	api.AssertIsEqual(s.Root, epochRoot(api, bucketHash(api, &s.Bucket), &s.Digits, &s.Siblings)) // claim 3
	present, commitment := match(api, &s.Bucket, key)                                             // claim 4

	columns := newColumns(api, s.Numeric, s.Text)  // claim 5
	columns.bind(api, present, commitment, s.Salt) // claim 5

	api.AssertIsEqual(s.Verdict, s.Program.verdict(api, columns, present)) // claims 6 to 10
	columns.disclose(api, &s.Mask, &s.Disclosed)                           // claim 11

	nullifier, scopeKeyCommitment := scopeNames(api, s.ScopeKey, key, s.Scope) // claim 12
	api.AssertIsEqual(s.Nullifier, nullifier)
	api.AssertIsEqual(s.ScopeKeyCommitment, scopeKeyCommitment)

	api.Mul(s.Context, s.Context) // claim 13; a product with a constant would bind nothing
	return nil
}
