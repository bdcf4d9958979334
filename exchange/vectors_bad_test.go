package exchange_test

import (
	"bytes"
	"strings"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
)

// replaced changes the first occurrence of a text in a bundle's bytes, which has to be there.
func replaced(old, new string) func(s *stage) {
	return func(s *stage) {
		s.onBytes = func(data []byte) []byte {
			if !bytes.Contains(data, []byte(old)) {
				s.t.Fatalf("%s: no %q in the bundle", s.name, old)
			}
			return bytes.Replace(data, []byte(old), []byte(new), 1)
		}
	}
}

// badEncodings are no bundles.
var badEncodings = []vector{
	{name: "encoding-space", about: "a space that the canonical form does not have", reason: bundle.ReasonEncoding, alter: replaced(`{"v":1,`, `{"v":1, `)},
	{name: "encoding-name-twice", about: "a name stands twice", reason: bundle.ReasonEncoding, alter: replaced(`{"v":1,`, `{"v":1,"v":1,`)},
	{name: "inclusion-path", about: "a path hash with a bit flipped", reason: bundle.ReasonInclusion, alter: func(s *stage) {
		s.onBundle = func(b *bundle.Bundle) { b.Entries[1].Path[0][0] ^= 1 }
	}},
	{name: "reference-policy", about: "the policy entry is another policy than the query asks", reason: bundle.ReasonReference, alter: func(s *stage) {
		alter(s, atPolicy, func(e *entry.PolicyPublish) { e.Policy = "old" })
	}},
	{name: "query-signature", about: "the query is signed by another member", reason: bundle.ReasonQuerySignature, alter: func(s *stage) { s.queryKey = queryKey(health) }},
	{name: "proof-negated", about: "point A is negated", reason: bundle.ReasonProof, alter: func(s *stage) {
		s.onProof = func(p []byte) []byte { p[0] ^= 0x20; return p }
	}},
	{name: "opening-other-subject", about: "the opening names another subject", reason: bundle.ReasonOpening, alter: func(s *stage) {
		s.opening = true
		s.onBundle = func(b *bundle.Bundle) { b.Opening.Subject = strings.Replace(b.Opening.Subject, "1", "2", 1) }
	}},
}
