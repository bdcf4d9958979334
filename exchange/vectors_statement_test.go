package exchange_test

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/ledger/entry"
)

// templated changes the policy's template as a text.
func templated(old, new string) func(s *stage) {
	return func(s *stage) {
		rich(s)
		alter(s, atPolicy, func(e *entry.PolicyPublish) { e.Template = json.RawMessage(s.replace(string(e.Template), old, new)) })
	}
}

// programmed changes the policy's program, checked or not.
func programmed(f func(t *policy.Template)) func(s *stage) {
	return func(s *stage) {
		rich(s)
		alter(s, atPolicy, func(e *entry.PolicyPublish) {
			t, err := policy.ParseTemplate(e.Template)
			s.must(err)
			f(t)
			raw, err := t.Encode()
			s.must(err)
			e.Template = raw
		})
	}
}

const aMillion = 1 << 20

// badPrograms are templates that are not well formed, properly published.
var badPrograms = []vector{
	{name: "program-unknown-name", about: "a name that templates do not have", alter: templated(`{"program":`, `{"note":0,"program":`)},
	{name: "program-no-program", about: "a template without program", alter: func(s *stage) {
		alter(s, atPolicy, func(e *entry.PolicyPublish) { e.Template = json.RawMessage(`{}`) })
	}},
	{name: "program-number-outside-string", about: "a constant that is no string", alter: templated(`"constant":"-1"`, `"constant":-1`)},
	{name: "program-atoms", about: "13 atoms", alter: programmed(func(t *policy.Template) {
		for len(t.Program.Atoms) < 13 {
			t.Program.Atoms = append(t.Program.Atoms, circuits.Atom{Test: circuits.AtLeastZero})
		}
	})},
	{name: "program-lookups", about: "5 lookups", alter: programmed(func(t *policy.Template) {
		for len(t.Program.Lookups) < 5 {
			t.Program.Lookups = append(t.Program.Lookups, t.Program.Lookups[0])
		}
	})},
	{name: "program-texts", about: "5 text tests", alter: programmed(func(t *policy.Template) {
		for len(t.Program.TextTests) < 5 {
			t.Program.TextTests = append(t.Program.TextTests, t.Program.TextTests[0])
		}
	})},
	{name: "program-no-gates", about: "no gates", alter: programmed(func(t *policy.Template) { t.Program.Gates = nil })},
	{name: "program-gates", about: "9 gates", alter: programmed(func(t *policy.Template) {
		for len(t.Program.Gates) < 9 {
			t.Program.Gates = append(t.Program.Gates, t.Program.Gates[0])
		}
	})},
	{name: "program-on-absent", about: "an absent record is to be satisfied", alter: templated(`"on_absent":"no_record"`, `"on_absent":"satisfied"`)},
	{name: "program-on-missing", about: "a missing value is to be satisfied", alter: templated(`"on_missing":"indeterminate"`, `"on_missing":"satisfied"`)},
	{name: "program-verdict-name", about: "a verdict that there is not", alter: templated(`"on_missing":"indeterminate"`, `"on_missing":"unknown"`)},
	{name: "program-verdict-null", about: "null for a verdict", alter: templated(`"on_missing":"indeterminate"`, `"on_missing":null`)},
	{name: "program-number-spelling", about: "a default with leading zeros", alter: templated(`"default":"2888"`, `"default":"0002888"`)},
	{name: "program-number-null", about: "the word null in a string for a default", alter: templated(`"default":"2888"`, `"default":"null"`)},
	{name: "program-text-name-case", about: "a name of a text test in another case", alter: templated(`"text_tests":[{"column":0,`, `"text_tests":[{"Column":0,`)},
	{name: "program-lookup-column", about: "a lookup of the text column 12", alter: programmed(func(t *policy.Template) { t.Program.Lookups[0].Column = 12 })},
	{name: "program-lookup-pairs", about: "17 pairs", alter: programmed(func(t *policy.Template) {
		for i := len(t.Program.Lookups[0].Pairs); i < 17; i++ {
			t.Program.Lookups[0].Pairs = append(t.Program.Lookups[0].Pairs, circuits.Pair{Key: int64(i + 1000)})
		}
	})},
	{name: "program-lookup-key-twice", about: "a key twice", alter: programmed(func(t *policy.Template) {
		t.Program.Lookups[0].Pairs[1].Key = t.Program.Lookups[0].Pairs[0].Key
	})},
	{name: "program-lookup-key-least", about: "the key -2^63", alter: programmed(func(t *policy.Template) { t.Program.Lookups[0].Pairs[0].Key = -1 << 63 })},
	{name: "program-lookup-key-large", about: "the key 2^63", alter: templated(`"key":"1"`, `"key":"9223372036854775808"`)},
	{name: "program-atom-test", about: "an atom that tests > 0", alter: templated(`"test":"ge0"`, `"test":"gt0"`)},
	{name: "program-atom-column", about: "an atom over column 12", alter: programmed(func(t *policy.Template) { t.Program.Atoms[0].Columns[0].Column = 12 })},
	{name: "program-atom-column-twice", about: "an atom with a column twice", alter: programmed(func(t *policy.Template) {
		t.Program.Atoms[0].Columns = append(t.Program.Atoms[0].Columns, t.Program.Atoms[0].Columns[0])
	})},
	{name: "program-atom-zero", about: "an atom with the coefficient 0", alter: programmed(func(t *policy.Template) { t.Program.Atoms[0].Columns[0].Coefficient = 0 })},
	{name: "program-atom-coefficient", about: "a coefficient of 2^31", alter: templated(`"coefficient":-1`, `"coefficient":2147483648`)},
	{name: "program-atom-lookup", about: "an atom over a lookup that there is not", alter: programmed(func(t *policy.Template) {
		t.Program.Atoms[0].Lookups = []circuits.LookupTerm{{Lookup: 1, Coefficient: 1}}
	})},
	{name: "program-atom-lookup-zero", about: "an atom with the coefficient 0 for a lookup", alter: programmed(func(t *policy.Template) { t.Program.Atoms[1].Lookups[0].Coefficient = 0 })},
	{name: "program-atom-lookup-twice", about: "an atom with a lookup twice", alter: programmed(func(t *policy.Template) {
		t.Program.Atoms[1].Lookups = append(t.Program.Atoms[1].Lookups, t.Program.Atoms[1].Lookups[0])
	})},
	{name: "program-text-column", about: "a text test of column 4", alter: programmed(func(t *policy.Template) { t.Program.TextTests[0].Column = 4 })},
	{name: "program-text-no-column", about: "a text test without column", alter: templated(`"text_tests":[{"column":0,`, `"text_tests":[{`)},
	{name: "program-text-value", about: "a text test against the modulus", alter: func(s *stage) {
		v := bundle.FormatElement(circuits.TextElement("west"))
		templated(v, "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001")(s)
	}},
	{name: "program-gate-weights", about: "weights of a gate that sum to 512", alter: programmed(func(t *policy.Template) {
		t.Program.Gates[0] = circuits.Gate{Atoms: []int{256, -256}, Threshold: 1}
	})},
	{name: "program-gate-weight", about: "a weight of 2^20", alter: programmed(func(t *policy.Template) { t.Program.Gates[0].Atoms = []int{aMillion} })},
	{name: "program-gate-threshold", about: "a threshold of 513", alter: programmed(func(t *policy.Template) { t.Program.Gates[0].Threshold = 513 })},
	{name: "program-gate-later", about: "a gate that reads itself", alter: programmed(func(t *policy.Template) { t.Program.Gates[0].Gates = []int{1} })},
	{name: "program-gate-atoms", about: "a weight for an atom that there is not", alter: programmed(func(t *policy.Template) {
		t.Program.Gates[0].Atoms = make([]int, len(t.Program.Atoms)+1)
	})},
	{name: "program-gate-texts", about: "a weight for a text test that there is not", alter: programmed(func(t *policy.Template) {
		t.Program.Gates[0].Texts = make([]int, len(t.Program.TextTests)+1)
	})},
	{name: "program-exempt-column", about: "the exempt column 16", alter: programmed(func(t *policy.Template) { t.Program.Exempt = []int{16} })},
	{name: "program-exempt-order", about: "exempt columns that do not ascend", alter: programmed(func(t *policy.Template) { t.Program.Exempt = []int{4, 2} })},
	{name: "program-exempt-unread", about: "an exempt column that is not read", alter: programmed(func(t *policy.Template) { t.Program.Exempt = []int{5} })},
	{name: "program-exempt-unguarded", about: "an exempt column is read where nothing asks whether it has a value", alter: programmed(func(t *policy.Template) { t.Program.Exempt = []int{0, 4} })},
	{name: "program-exempt-half-guarded", about: "an exempt column is read beside the question about it: either would do", alter: programmed(func(t *policy.Template) {
		t.Program.Gates = []circuits.Gate{{Atoms: []int{0, 0, 1, 1}, Threshold: 1}}
	})},
	{name: "program-date-atom", about: "a date slot of an atom that there is not", alter: programmed(func(t *policy.Template) { t.Dates[0].Atom = len(t.Program.Atoms) })},
	{name: "program-date-order", about: "two date slots of one atom", alter: programmed(func(t *policy.Template) { t.Dates = append(t.Dates, t.Dates[0]) })},
	{name: "program-date-years", about: "a date slot of 201 years", alter: programmed(func(t *policy.Template) { t.Dates[0].Years = 201 })},
	{name: "program-date-sign", about: "a date slot of sign 2", alter: programmed(func(t *policy.Template) { t.Dates[0].Sign = 2 })},
	{name: "program-date-range", about: "a constant that leaves 64 bits on that day, though not on every day", alter: programmed(func(t *policy.Template) {
		t.Program.Atoms[t.Dates[0].Atom].Constant = 1<<63 - 1
		t.Dates[0].Years, t.Dates[0].Sign = 0, 1
	})},
}

// disclosing asks for columns and changes what is shown of the nth.
func disclosing(n int, f func(d *bundle.Disclosed), columns ...string) func(s *stage) {
	return func(s *stage) {
		s.query.Disclose = columns
		s.onBundle = func(b *bundle.Bundle) { f(&b.Disclosed[n]) }
	}
}

// element64 is a number as a disclosed value.
func element64(n uint64) string {
	e := fr.NewElement(n)
	return bundle.FormatElement(e)
}

// code64 is a column's number as a disclosed value.
func code64(v int64) string { return element64(uint64(v) ^ 1<<63) }

// badPublics claim values that are out of range.
var badPublics = []vector{
	{name: "public-verdict", about: "a verdict that there is not", alter: bundled(func(b *bundle.Bundle) { b.Verdict = "approved" })},
	{name: "public-root", about: "the epoch's root is not below the modulus", alter: func(s *stage) {
		alter(s, atEpoch, func(e *entry.DatasetEpoch) {
			e.Root = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"
		})
	}},
	{name: "public-disclosed-missing", about: "one of two values is not there", alter: func(s *stage) {
		s.query.Disclose = []string{"income", "town"}
		s.onBundle = func(b *bundle.Bundle) { b.Disclosed = b.Disclosed[:1] }
	}},
	{name: "public-disclosed-unasked", about: "a value that was not asked for", alter: bundled(func(b *bundle.Bundle) {
		b.Disclosed = []bundle.Disclosed{{Column: "income", Value: code64(150050)}}
	})},
	{name: "public-disclosed-order", about: "two values in another order", alter: func(s *stage) {
		s.query.Disclose = []string{"income", "town"}
		s.onBundle = func(b *bundle.Bundle) { b.Disclosed[0], b.Disclosed[1] = b.Disclosed[1], b.Disclosed[0] }
	}},
	{name: "public-disclosed-modulus", about: "a value and the modulus, added up", alter: disclosing(0, func(d *bundle.Disclosed) {
		d.Value = aliased(d.Value)
	}, "income")},
	{name: "public-disclosed-case", about: "a value in capital digits", alter: disclosing(0, func(d *bundle.Disclosed) { d.Value = strings.Repeat("0A", 32) }, "town")},
	{name: "public-disclosed-65-bits", about: "a number of 65 bits", alter: disclosing(0, func(d *bundle.Disclosed) {
		d.Value = strings.Repeat("0", 47) + "1" + strings.Repeat("0", 16)
	}, "income")},
	{name: "public-disclosed-bool", about: "the number 2 for true or false", alter: disclosing(0, func(d *bundle.Disclosed) { d.Value = code64(2) }, "married")},
	{name: "public-disclosed-enum", about: "the number of a code that is not declared", alter: disclosing(0, func(d *bundle.Disclosed) { d.Value = code64(3) }, "level")},
	{name: "public-disclosed-date", about: "a day of the year 10000", alter: disclosing(0, func(d *bundle.Disclosed) { d.Value = code64(2932897) }, "birth_date")},
	{name: "public-disclosed-code", about: "a packed code with a zero byte", alter: disclosing(0, func(d *bundle.Disclosed) { d.Value = code64(0x4100) }, "code")},
	{name: "public-disclosed-code-space", about: "a packed code that ends in a space", alter: disclosing(0, func(d *bundle.Disclosed) { d.Value = code64(0x4120) }, "code")},
	{name: "public-text-other", about: "a text that is not what the value is the hash of", alter: disclosing(0, func(d *bundle.Disclosed) { d.Text = "Ulm" }, "town")},
	{name: "public-text-not-nfc", about: "the text in another normal form", alter: disclosing(0, func(d *bundle.Disclosed) { d.Text = "Ko\u0308ln" }, "town")},
	{name: "public-text-space", about: "the text with a space behind it", alter: disclosing(0, func(d *bundle.Disclosed) { d.Text += " " }, "town")},
	{name: "public-text-missing", about: "a value without its text", alter: disclosing(0, func(d *bundle.Disclosed) { d.Text = "" }, "town")},
	{name: "public-text-of-number", about: "a text beside a number", alter: disclosing(0, func(d *bundle.Disclosed) { d.Text = "1500.50" }, "income")},
	{name: "public-text-of-nothing", about: "a text beside a missing value", alter: disclosing(0, func(d *bundle.Disclosed) {
		d.Value, d.Text = element64(0), "Ulm"
	}, "town")},
	{name: "public-nullifier-unasked", about: "a nullifier, and the query has no scope", alter: bundled(func(b *bundle.Bundle) { b.Nullifier = element64(1) })},
	{name: "public-nullifier-unsatisfied", about: "a nullifier of an answer that is not satisfied", alter: func(s *stage) {
		claims(s)
		s.subject = "P-0003"
		s.onBundle = func(b *bundle.Bundle) { b.Nullifier = element64(1) }
	}},
	{name: "public-nullifier-missing", about: "a claim without nullifier", alter: func(s *stage) { claims(s); s.onBundle = func(b *bundle.Bundle) { b.Nullifier = "" } }},
	{name: "public-nullifier-zero", about: "the nullifier 0", alter: func(s *stage) { claims(s); s.onBundle = func(b *bundle.Bundle) { b.Nullifier = element64(0) } }},
	{name: "public-nullifier-modulus", about: "a nullifier and the modulus, added up", alter: func(s *stage) {
		claims(s)
		s.onBundle = func(b *bundle.Bundle) { b.Nullifier = aliased(b.Nullifier) }
	}},
	{name: "public-claim-unasked", about: "a claim's place, and the query has no scope", alter: func(s *stage) { s.claimed = true }},
}

// aliased is an element and the modulus added up, if that fits 256 bits, else the modulus.
func aliased(text string) string {
	e, err := bundle.ParseElement(text)
	if err != nil {
		panic(err)
	}
	n := e.BigInt(fr.Modulus())
	n.Add(n, fr.Modulus())
	return hex.EncodeToString(n.FillBytes(make([]byte, 32)))
}

// proved changes the proof.
func proved(f func(p []byte) []byte) func(s *stage) { return func(s *stage) { s.onProof = f } }

// points changes the proof's points.
func points(f func(a, c *bls.G1Affine, b *bls.G2Affine)) func(s *stage) {
	return proved(func(p []byte) []byte { return movePoints(p, f) })
}

func movePoints(p []byte, f func(a, c *bls.G1Affine, b *bls.G2Affine)) []byte {
	var a, c bls.G1Affine
	var b bls.G2Affine
	for _, err := range []error{setG1(&a, p[:48]), setG2(&b, p[48:144]), setG1(&c, p[144:])} {
		if err != nil {
			panic(err)
		}
	}
	f(&a, &c, &b)
	rawA, rawB, rawC := a.Bytes(), b.Bytes(), c.Bytes()
	return slices.Concat(rawA[:], rawB[:], rawC[:])
}

func setG1(p *bls.G1Affine, raw []byte) error { _, err := p.SetBytes(raw); return err }
func setG2(p *bls.G2Affine, raw []byte) error { _, err := p.SetBytes(raw); return err }

// outside are compressed points on the curves that are in no subgroup of prime order r.
var (
	outsideG1 = "80" + strings.Repeat("00", 46) + "04"
	infinity  = "c0" + strings.Repeat("00", 95)
)

func fromHex(text string) []byte {
	raw, err := hex.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return raw
}

// fieldOrder is the modulus of the curve's base field, big endian.
const fieldOrder = "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"

// badProofs prove nothing, or something else.
var badProofs = []vector{
	{name: "proof-empty", about: "no bytes", alter: proved(func([]byte) []byte { return []byte{} })},
	{name: "proof-null", about: "null for the proof, which reads as no bytes", alter: proved(func([]byte) []byte { return nil })},
	{name: "proof-short", about: "191 bytes", alter: proved(func(p []byte) []byte { return p[:191] })},
	{name: "proof-long", about: "193 bytes", alter: proved(func(p []byte) []byte { return append(p, 0) })},
	{name: "proof-a-negated", about: "A is negated", alter: proved(func(p []byte) []byte { p[0] ^= 0x20; return p })},
	{name: "proof-b-negated", about: "B is negated", alter: proved(func(p []byte) []byte { p[48] ^= 0x20; return p })},
	{name: "proof-c-negated", about: "C is negated", alter: proved(func(p []byte) []byte { p[144] ^= 0x20; return p })},
	{name: "proof-a-and-c", about: "A and C are swapped", alter: proved(func(p []byte) []byte { return slices.Concat(p[144:], p[48:144], p[:48]) })},
	{name: "proof-a-infinity", about: "A is the point at infinity", alter: proved(func(p []byte) []byte { copy(p, fromHex(infinity)[:48]); return p })},
	{name: "proof-b-infinity", about: "B is the point at infinity", alter: proved(func(p []byte) []byte { copy(p[48:], fromHex(infinity)); return p })},
	{name: "proof-c-infinity", about: "C is the point at infinity", alter: proved(func(p []byte) []byte { copy(p[144:], fromHex(infinity)[:48]); return p })},
	{name: "proof-all-infinity", about: "all points are at infinity", alter: proved(func([]byte) []byte {
		return slices.Concat(fromHex(infinity)[:48], fromHex(infinity), fromHex(infinity)[:48])
	})},
	{name: "proof-infinity-flags", about: "the point at infinity with a sign", alter: proved(func(p []byte) []byte { copy(p, fromHex("e0" + infinity[2:])[:48]); return p })},
	{name: "proof-off-curve", about: "A has an x that no point of the curve has (x = 1)", alter: proved(func(p []byte) []byte {
		copy(p, fromHex("80"+strings.Repeat("00", 46)+"01"))
		return p
	})},
	{name: "proof-field-order", about: "A's x is the order of the base field", alter: proved(func(p []byte) []byte {
		raw := fromHex(fieldOrder)
		raw[0] |= 0x80
		copy(p, raw)
		return p
	})},
	{name: "proof-a-subgroup", about: "A is on the curve and not in the subgroup (x = 4)", alter: proved(func(p []byte) []byte { copy(p, fromHex(outsideG1)); return p })},
	{name: "proof-a-cofactor", about: "A and a point of small order, added up: every pairing is as before", alter: points(func(a, _ *bls.G1Affine, _ *bls.G2Affine) {
		t := smallG1()
		a.Add(a, &t)
	})},
	{name: "proof-c-cofactor", about: "C and a point of small order, added up", alter: points(func(_, c *bls.G1Affine, _ *bls.G2Affine) {
		t := smallG1()
		c.Add(c, &t)
	})},
	{name: "proof-b-subgroup", about: "B is on the twist and not in the subgroup", alter: proved(func(p []byte) []byte { copy(p[48:], outsideG2()); return p })},
	{name: "proof-uncompressed-flag", about: "A without the flag of a compressed point", alter: proved(func(p []byte) []byte { p[0] &= 0x7f; return p })},
	{name: "proof-other-verdict", about: "the verdict is another", alter: bundled(func(b *bundle.Bundle) { b.Verdict = "not_satisfied" })},
	{name: "proof-folded-verdict", about: "no record, where the person has one", alter: bundled(func(b *bundle.Bundle) { b.Verdict = "no_record" })},
	{name: "proof-other-value", about: "a disclosed number is another", alter: disclosing(0, func(d *bundle.Disclosed) { d.Value = code64(150051) }, "income")},
	{name: "proof-missing-value", about: "a disclosed number is said to be missing", alter: disclosing(0, func(d *bundle.Disclosed) { d.Value = element64(0) }, "income")},
	{name: "proof-other-text", about: "a disclosed text is another, with its hash", alter: disclosing(0, func(d *bundle.Disclosed) {
		d.Value, d.Text = bundle.FormatElement(circuits.TextElement("Ulm")), "Ulm"
	}, "town")},
	{name: "proof-other-tag", about: "the query is about another subject than the proof", alter: func(s *stage) {
		s.query.Tag = bundle.FormatElement(circuits.Tag(circuits.SubjectKey(vectorInstance, "person", "P-0002"), vectorElement("nonce")))
		s.onPublic = withTag(s)
	}},
	{name: "proof-other-context", about: "the proof was made for another query: it has another case reference", alter: func(s *stage) {
		s.onPublic = func(pub *circuits.Public, _ *circuits.Secret) { pub.Context = vectorElement("context") }
	}},
	{name: "proof-other-epoch", about: "the proof is of the epoch before", alter: func(s *stage) { s.people = s.before }},
	{name: "proof-other-program", about: "the policy's income limit was raised after the proof", alter: func(s *stage) {
		rich(s)
		s.onPublic = func(pub *circuits.Public, _ *circuits.Secret) {
			p := *pub.Program
			p.Lookups = slices.Clone(p.Lookups)
			p.Lookups[0].Default++
			pub.Program = &p
		}
	}},
	{name: "proof-other-date", about: "the proof is for the day before", alter: func(s *stage) {
		s.onPublic = func(pub *circuits.Public, _ *circuits.Secret) {
			p := *pub.Program
			p.Atoms = slices.Clone(p.Atoms)
			p.Atoms[0].Constant--
			pub.Program = &p
		}
	}},
	{name: "proof-other-nullifier", about: "the nullifier is another", alter: func(s *stage) {
		claims(s)
		s.onBundle = func(b *bundle.Bundle) { b.Nullifier = element64(1) }
	}},
	{name: "proof-other-scope-key", about: "the nullifier is made with another key than the scope's", alter: func(s *stage) {
		claims(s)
		s.onPublic = func(pub *circuits.Public, sec *circuits.Secret) {
			sec.ScopeKey = vectorElement("another key")
			pub.ScopeKeyCommitment = circuits.ScopeKeyCommitment(sec.ScopeKey)
			pub.Nullifier = circuits.Nullifier(sec.ScopeKey, sec.Key, pub.Scope)
		}
	}},
	{name: "proof-no-scope", about: "the proof is for no scope, and the query asks for one", alter: func(s *stage) {
		claims(s)
		s.onPublic = func(pub *circuits.Public, _ *circuits.Secret) {
			pub.Scope.SetZero()
			pub.ScopeKeyCommitment.SetZero()
			pub.Nullifier.SetZero()
		}
	}},
}

// withTag makes the proof for the subject's own tag, whatever the query has.
func withTag(s *stage) func(*circuits.Public, *circuits.Secret) {
	return func(pub *circuits.Public, sec *circuits.Secret) { pub.Tag = circuits.Tag(sec.Key, sec.TagNonce) }
}

// smallG1 is a point of the curve whose order divides the cofactor: r times one outside the subgroup.
func smallG1() bls.G1Affine {
	var p bls.G1Affine
	d := bls.NewDecoder(strings.NewReader(string(fromHex(outsideG1))), bls.NoSubgroupChecks())
	if err := d.Decode(&p); err != nil {
		panic(err)
	}
	var j bls.G1Jac
	j.FromAffine(&p)
	sum := bls.G1Jac{}
	sum.X.SetOne()
	sum.Y.SetOne() // at infinity
	n := fr.Modulus()
	for i := n.BitLen() - 1; i >= 0; i-- { // ScalarMultiplication may reduce modulo r
		sum.DoubleAssign()
		if n.Bit(i) == 1 {
			sum.AddAssign(&j)
		}
	}
	p.FromJacobian(&sum)
	if p.IsInfinity() || !p.IsOnCurve() || p.IsInSubGroup() {
		panic("no point of small order")
	}
	return p
}

// outsideG2 is the first compressed point of the twist that is not in the subgroup.
func outsideG2() []byte {
	for x := byte(1); ; x++ {
		raw := make([]byte, 96)
		raw[0], raw[95] = 0x80, x
		var p bls.G2Affine
		if err := bls.NewDecoder(strings.NewReader(string(raw)), bls.NoSubgroupChecks()).Decode(&p); err == nil && !p.IsInSubGroup() {
			return raw
		}
	}
}
