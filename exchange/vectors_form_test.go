package exchange_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

// replaced changes the first occurrence of a text in a bundle's bytes, which has to be there.
func replaced(old, new string) func(s *stage) {
	return func(s *stage) {
		s.onBytes = func(data []byte) []byte { return []byte(s.replace(string(data), old, new)) }
	}
}

func (s *stage) replace(text, old, new string) string {
	s.t.Helper()
	if !strings.Contains(text, old) {
		s.t.Fatalf("%s: no %q in %q", s.name, old, text)
	}
	return strings.Replace(text, old, new, 1)
}

// queried changes a text in the query's body before it is signed; headed in the header's.
func queried(old, new string) func(s *stage) {
	return func(s *stage) { s.onQuery = func(body string) string { return s.replace(body, old, new) } }
}

func headed(old, new string) func(s *stage) {
	return func(s *stage) { s.headerBody = func(body string) string { return s.replace(body, old, new) } }
}

// asking changes the query.
func asking(f func(q *bundle.Query)) func(s *stage) { return func(s *stage) { f(&s.query) } }

// bundled changes the bundle after all that is signed.
func bundled(f func(b *bundle.Bundle)) func(s *stage) { return func(s *stage) { s.onBundle = f } }

// badSpellings are no canonical JSON of a bundle.
var badSpellings = []vector{
	{name: "encoding-empty", about: "no bytes", alter: func(s *stage) { s.onBytes = func([]byte) []byte { return nil } }},
	{name: "encoding-space", about: "a space that the canonical form does not have", alter: replaced(`{"v":1,`, `{"v":1, `)},
	{name: "encoding-line-feed", about: "a line feed behind the document", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte { return append(data, '\n') }
	}},
	{name: "encoding-trailing", about: "a second document behind the first", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte { return append(data, "{}"...) }
	}},
	{name: "encoding-byte-order-mark", about: "a byte order mark before the document", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte { return append([]byte("\xef\xbb\xbf"), data...) }
	}},
	{name: "encoding-utf8", about: "a byte that is no UTF-8 in a string", alter: replaced("B-2026", "B-\xff026")},
	{name: "encoding-surrogate", about: "a lone surrogate, escaped, in a string", alter: replaced(`"instance":"vectors`, `"instance":"\ud800vectors`)},
	{name: "encoding-surrogates", about: "two high surrogates, escaped", alter: replaced(`"instance":"vectors`, `"instance":"\ud83d\ud83dvectors`)},
	{name: "encoding-noncharacter", about: "the noncharacter U+FDD0 in a string", alter: replaced(`"instance":"vectors`, "\"instance\":\"\ufdd0vectors")},
	{name: "encoding-escape", about: "an escape where the canonical form has the character", alter: replaced(`"instance":"vectors`, `"instance":"\u0076ectors`)},
	{name: "encoding-slash", about: "an escaped slash", alter: replaced(`"body":"{\"kind\":\"dataset.declare\"`, `"body":"{\/\"kind\":\"dataset.declare\"`)},
	{name: "encoding-escape-case", about: "an escape with a capital digit", alter: replaced(`"instance":"vectors`, `"instance":"\u001Bvectors`)},
	{name: "encoding-separator", about: "a line separator (U+2028) that is not escaped", alter: replaced(`"instance":"vectors`, "\"instance\":\"\u2028vectors")},
	{name: "encoding-html", about: "an escaped less-than sign", alter: replaced(`"instance":"vectors`, `"instance":"\u003cvectors`)},
	{name: "encoding-name-twice", about: "a name stands twice", alter: replaced(`{"v":1,`, `{"v":1,"v":1,`)},
	{name: "encoding-name-twice-deep", about: "a name stands twice in an entry", alter: replaced(`{"index":1,`, `{"index":1,"index":1,`)},
	{name: "encoding-unknown-name", about: "a name that a bundle does not have", alter: replaced(`{"v":1,`, `{"v":1,"note":"",`)},
	{name: "encoding-name-case", about: "a name in another case", alter: replaced(`"verdict":`, `"Verdict":`)},
	{name: "encoding-order", about: "two names in another order", alter: replaced(`{"v":1,"instance":"vectors.grille",`, `{"instance":"vectors.grille","v":1,`)},
	{name: "encoding-missing-name", about: "the version is left out", alter: replaced(`{"v":1,`, `{`)},
	{name: "encoding-empty-option", about: "an optional field that is there and empty", alter: replaced(`"proof":`, `"nullifier":"","proof":`)},
	{name: "encoding-empty-list", about: "an optional list that is there and empty", alter: replaced(`"proof":`, `"disclosed":[],"proof":`)},
	{name: "encoding-null-object", about: "null for an optional object", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte { return append(bytes.TrimSuffix(data, []byte("}")), `,"opening":null}`...) }
	}},
	{name: "encoding-null-text", about: "null for a string", alter: replaced(`"verdict":"satisfied"`, `"verdict":null`)},
	{name: "encoding-number-text", about: "a string for a number", alter: replaced(`{"v":1,`, `{"v":"1",`)},
	{name: "encoding-float", about: "an integer with a fraction", alter: replaced(`{"index":1,`, `{"index":1.0,`)},
	{name: "encoding-exponent", about: "an integer with an exponent", alter: replaced(`{"index":1,`, `{"index":1e0,`)},
	{name: "encoding-leading-zero", about: "an integer with a leading zero", alter: replaced(`{"index":1,`, `{"index":01,`)},
	{name: "encoding-negative-index", about: "an index below 0", alter: replaced(`{"index":1,`, `{"index":-1,`)},
	{name: "encoding-large-integer", about: "an integer beyond 2^53-1", alter: replaced(`{"index":1,`, `{"index":9007199254740992,`)},
	{name: "encoding-depth", about: "lists nested 33 deep", alter: replaced(`"verdict":"satisfied"`, `"verdict":`+strings.Repeat("[", 33)+strings.Repeat("]", 33))},
	{name: "encoding-base64-padding", about: "the proof's base64 with padding that it must not have", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte {
			return []byte(s.replace(string(data), b64(s.proved)+`"`, b64(s.proved)+`="`))
		}
	}},
	{name: "encoding-base64-url", about: "the proof in base64 of the URL alphabet", alter: func(s *stage) {
		s.onProof = func(p []byte) []byte { p[190] = 0xff; p[191] = 0xff; return p }
		s.onBytes = func(data []byte) []byte {
			return []byte(s.replace(string(data), b64(s.proved), strings.NewReplacer("/", "_", "+", "-").Replace(b64(s.proved))))
		}
	}},
	{name: "encoding-base64-line", about: "a line feed in the proof's base64", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte {
			return []byte(s.replace(string(data), b64(s.proved), b64(s.proved)[:76]+`\n`+b64(s.proved)[76:]))
		}
	}},
	{name: "encoding-base64-bits", about: "bits behind the last byte of a path hash's base64", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte {
			at := bytes.Index(data, []byte(`"path":["`)) + len(`"path":["`) + 42 // the last of 43 digits before one =
			data[at] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[strings.IndexByte(
				"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", data[at])|1]
			return data
		}
	}},
	{name: "encoding-salt-case", about: "the salt in capital digits", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte {
			salt := vectorSalt("receipt salt " + s.name).String()
			return []byte(s.replace(string(data), salt, strings.ToUpper(salt)))
		}
	}},
	{name: "encoding-salt-short", about: "a salt of 31 bytes", alter: func(s *stage) {
		s.onBytes = func(data []byte) []byte {
			salt := vectorSalt("receipt salt " + s.name).String()
			return []byte(s.replace(string(data), salt, salt[2:]))
		}
	}},
	{name: "encoding-version", about: "version 2 of the format", alter: bundled(func(b *bundle.Bundle) { b.Version = 2 })},
}

// badBodies are bundles whose query or header is malformed, whoever signed it.
var badBodies = []vector{
	{name: "encoding-query-json", about: "the query is no JSON", alter: func(s *stage) { s.onQuery = func(body string) string { return body[1:] } }},
	{name: "encoding-query-name-twice", about: "a name stands twice in the query", alter: queried(`"requester":`, `"holder":"GOV/civil","requester":`)},
	{name: "encoding-query-unknown-name", about: "a name that a query does not have", alter: queried(`{"v":1,`, `{"v":1,"note":"",`)},
	{name: "encoding-query-name-case", about: "a name of the query in another case", alter: queried(`"case":`, `"CASE":`)},
	{name: "encoding-query-large", about: "a query of more than 16 KiB", alter: queried(`{"v":1,`, `{`+strings.Repeat(" ", 16<<10)+`"v":1,`)},
	{name: "encoding-query-version", about: "version 2 of the query", alter: asking(func(q *bundle.Query) { q.Version = 2 })},
	{name: "encoding-query-id", about: "a query id in capital digits", alter: asking(func(q *bundle.Query) { q.ID = strings.ToUpper(q.ID) })},
	{name: "encoding-query-id-short", about: "a query id of 15 bytes", alter: asking(func(q *bundle.Query) { q.ID = q.ID[2:] })},
	{name: "encoding-query-no-requester", about: "a query without requester", alter: queried(`"requester":"GOV/benefits",`, ``)},
	{name: "encoding-query-no-instance", about: "a query without instance", alter: asking(func(q *bundle.Query) { q.Instance = "" })},
	{name: "encoding-query-no-holder", about: "a query without holder", alter: asking(func(q *bundle.Query) { q.Holder = "" })},
	{name: "encoding-query-no-policy", about: "a query without policy", alter: asking(func(q *bundle.Query) { q.Policy = "" })},
	{name: "encoding-query-long-purpose", about: "a purpose of 1025 bytes", alter: asking(func(q *bundle.Query) { q.Purpose = strings.Repeat("x", 1025) })},
	{name: "encoding-query-no-legal-basis", about: "a query without legal basis", alter: asking(func(q *bundle.Query) { q.LegalBasis = "" })},
	{name: "encoding-query-long-legal-basis", about: "a legal basis of 1025 bytes", alter: asking(func(q *bundle.Query) { q.LegalBasis = strings.Repeat("x", 1025) })},
	{name: "encoding-query-disclose-17", about: "17 columns", alter: asking(func(q *bundle.Query) { q.Disclose = strings.Split("abcdefghijklmnopq", "") })},
	{name: "encoding-query-policy-version", about: "policy version 0", alter: asking(func(q *bundle.Query) { q.PolicyVersion = 0 })},
	{name: "encoding-query-no-purpose", about: "a query without purpose", alter: asking(func(q *bundle.Query) { q.Purpose = "" })},
	{name: "encoding-query-long-case", about: "a case reference of 1025 bytes", alter: asking(func(q *bundle.Query) { q.Case = strings.Repeat("x", 1025) })},
	{name: "encoding-query-disclose-order", about: "columns that do not ascend", alter: asking(func(q *bundle.Query) { q.Disclose = []string{"town", "income"} })},
	{name: "encoding-query-disclose-twice", about: "a column twice", alter: asking(func(q *bundle.Query) { q.Disclose = []string{"town", "town"} })},
	{name: "encoding-query-negative-age", about: "a negative maximum age", alter: asking(func(q *bundle.Query) { q.MaxAgeSeconds = -1 })},
	{name: "encoding-query-large-age", about: "a maximum age beyond 9223372036 seconds", alter: asking(func(q *bundle.Query) { q.MaxAgeSeconds = 9223372037 })},
	{name: "encoding-query-as-of", about: "a day that is no date", alter: asking(func(q *bundle.Query) { q.AsOf = "2026-02-30" })},
	{name: "encoding-query-year-0", about: "a day of the year 0", alter: asking(func(q *bundle.Query) { q.AsOf = "0000-01-01" })},
	{name: "encoding-query-day-and-epoch", about: "a day and an epoch", alter: asking(func(q *bundle.Query) { q.AsOf, q.Epoch, q.MaxAgeSeconds = "2026-01-01", 1, 0 })},
	{name: "encoding-query-epoch-and-age", about: "a maximum age beside an epoch", alter: asking(func(q *bundle.Query) { q.Epoch = 1 })},
	{name: "encoding-query-large-epoch", about: "an epoch beyond 2^53-1", alter: func(s *stage) {
		byNumber(s)
		queried(`"epoch":1`, `"epoch":9007199254740992`)(s)
	}},
	{name: "encoding-query-scope-and-day", about: "a claim for a day that is over", alter: asking(func(q *bundle.Query) {
		q.Scope, q.AsOf = &bundle.Scope{Program: vectorProgram, Period: vectorPeriod}, "2026-01-01"
	})},
	{name: "encoding-query-scope-name", about: "a scope whose period is no name", alter: asking(func(q *bundle.Query) {
		q.Scope = &bundle.Scope{Program: vectorProgram, Period: "Winter 2026"}
	})},
	{name: "encoding-query-tag", about: "a tag that is not below the modulus (it is the modulus)", alter: asking(func(q *bundle.Query) {
		q.Tag = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001"
	})},
	{name: "encoding-query-tag-case", about: "a tag in capital digits", alter: asking(func(q *bundle.Query) { q.Tag = strings.Repeat("0A", 32) })},
	{name: "encoding-query-issued", about: "a time with another zone's spelling", alter: asking(func(q *bundle.Query) { q.Issued = "2026-03-01T11:59:50+00:00" })},
	{name: "encoding-query-issued-fraction", about: "a time with a fraction of a second", alter: asking(func(q *bundle.Query) { q.Issued = "2026-03-01T11:59:50.0Z" })},
	{name: "encoding-query-expired-first", about: "a query that expires when it is issued", alter: asking(func(q *bundle.Query) { q.Expires = q.Issued })},
	{name: "encoding-query-long", about: "a query that lasts for more than an hour", alter: asking(func(q *bundle.Query) { q.Expires = "2026-03-01T12:59:51Z" })},
	{name: "encoding-header-unknown-name", about: "a name that a header does not have", alter: headed(`{"v":1,`, `{"v":1,"note":"",`)},
	{name: "encoding-header-name-twice", about: "a name stands twice in the header", alter: headed(`{"v":1,`, `{"v":1,"v":1,`)},
	{name: "encoding-header-negative", about: "an index below 0", alter: headed(`"agreement":5`, `"agreement":-5`)},
	{name: "encoding-header-float", about: "an index with a fraction", alter: headed(`"agreement":5`, `"agreement":5.0`)},
	{name: "encoding-header-digest", about: "the query's digest in another form", alter: func(s *stage) {
		s.headerBody = func(body string) string {
			return s.replace(body, s.header.Query.String(), strings.ToUpper(s.header.Query.String()))
		}
	}},
	{name: "encoding-header-null", about: "null for a number", alter: headed(`"size":13`, `"size":null`)},
}

// badConfigurations were made under another configuration, or with another key.
var badConfigurations = []vector{
	{name: "configuration-version", about: "another version of the configuration", alter: bundled(func(b *bundle.Bundle) { b.Configuration.Version = 2 })},
	{name: "configuration-digest", about: "another configuration of the same version", alter: bundled(func(b *bundle.Bundle) {
		b.Configuration.Digest = vectorSalt("configuration").String()
	})},
	{name: "configuration-instance", about: "the bundle is of another instance", alter: bundled(func(b *bundle.Bundle) { b.Instance = "other.grille" })},
	{name: "configuration-query-instance", about: "the query is of another instance", alter: asking(func(q *bundle.Query) { q.Instance = "other.grille" })},
	{name: "configuration-header-instance", about: "the header is of another instance", alter: headed(`"instance":"vectors.grille"`, `"instance":"other.grille"`)},
	{name: "configuration-origin", about: "the header is about another member's log", alter: headed(`"origin":"vectors.grille/GOV/civil/log/1"`, `"origin":"vectors.grille/GOV/tax/log/1"`)},
	{name: "configuration-generation", about: "the header is about another generation of the holder's log", alter: headed(`GOV/civil/log/1"`, `GOV/civil/log/2"`)},
	{name: "configuration-holder", about: "the holder is no member", alter: func(s *stage) {
		s.query.Holder = "GOV/nobody"
		headed(`GOV/civil/log/1"`, `GOV/nobody/log/1"`)(s)
	}},
	{name: "configuration-expired", about: "the configuration had expired a second before the answer", alter: func(s *stage) {
		s.config = s.configure(nil, func(p *network.Params) { p.Expires = vectorTime(vectorNow.Add(-time.Second)) })
	}},
}

// negatedAlpha is a key of the same circuit with another digest, under which nothing verifies; otherCircuit says that it is of another.
func negatedAlpha(key []byte) []byte {
	key = slices.Clone(key)
	key[68] ^= 0x20
	return key
}

func otherCircuit(key []byte) []byte {
	key = slices.Clone(key)
	key[32] ^= 1
	return key
}

// circuits makes a configuration with these circuits.
func withCircuits(s *stage, f func(c *network.Circuit)) {
	s.config = s.configure(nil, func(p *network.Params) { f(&p.Circuits[0]) })
}

// badCircuits were proved with keys that do not count for them.
var badCircuits = []vector{
	{name: "circuit-other", about: "the header names a circuit that the configuration does not have", alter: func(s *stage) {
		s.header.Circuit = vectorSalt("circuit").String()
	}},
	{name: "circuit-none", about: "a configuration without circuits", alter: func(s *stage) {
		s.config = s.configure(nil, func(p *network.Params) { p.Circuits = nil })
	}},
	{name: "circuit-key", about: "a verifying key of that circuit, but not the one that the configuration names",
		keys: func(_ *stage, key []byte) [][]byte { return [][]byte{negatedAlpha(key)} }},
	{name: "circuit-key-of-another", about: "a verifying key that says it is of another circuit",
		keys: func(_ *stage, key []byte) [][]byte { return [][]byte{otherCircuit(key)} }},
	{name: "circuit-before", about: "the circuit is in force from a second after the answer", alter: func(s *stage) {
		withCircuits(s, func(c *network.Circuit) { c.Since = vectorTime(vectorNow.Add(time.Second)) })
	}},
	{name: "circuit-after", about: "the circuit was in force until the time of the answer", alter: func(s *stage) {
		withCircuits(s, func(c *network.Circuit) { c.Until = vectorTime(vectorNow) })
	}},
	{name: "circuit-ended-later", about: "the bundle's configuration has the circuit without end; a later version had ended it by then", alter: func(s *stage) {
		made := s.config
		all := slices.Clone(s.config.Circuits)
		all[0].Until = vectorTime(vectorNow.Add(-time.Hour))
		s.succeed(network.Change{Circuits: &all}, s.ended(atBatch))
		s.config = made
	}},
}

// lines splits a head into its text with the empty line, the owner's line, and cosignatures.
func lines(head string) (text, owner string, cosignatures []string) {
	text, rest, _ := strings.Cut(head, "\n\n")
	all := strings.SplitAfter(rest, "\n")
	return text + "\n\n", all[0], all[1 : len(all)-1]
}

// headLines changes a head's lines.
func headLines(f func(s *stage, text, owner string, cosignatures []string) string) func(s *stage) {
	return func(s *stage) {
		s.onHead = func(head string) string {
			text, owner, cosignatures := lines(head)
			return f(s, text, owner, cosignatures)
		}
	}
}

// badHeads are no final checkpoints in their one form.
var badHeads = []vector{
	{name: "checkpoint-two-mirrors", about: "two cosignatures, where the quorum is three", alter: headLines(func(_ *stage, text, owner string, c []string) string {
		return text + owner + c[0] + c[1]
	})},
	{name: "checkpoint-one-mirror-twice", about: "three cosignatures, two of them one mirror's", alter: headLines(func(_ *stage, text, owner string, c []string) string {
		return text + owner + c[0] + c[1] + c[1]
	})},
	{name: "checkpoint-one-mirror-at-two-times", about: "three valid cosignatures, two of them one mirror's at two times", alter: headLines(func(s *stage, text, owner string, c []string) string {
		return text + owner + c[0] + c[1] + s.cosign(strings.TrimSuffix(text, "\n"), civil, vectorNow.Add(time.Second))
	})},
	{name: "checkpoint-four-mirrors", about: "four cosignatures: more than the quorum", alter: headLines(func(s *stage, text, owner string, c []string) string {
		return text + owner + strings.Join(c, "") + s.cosign(strings.TrimSuffix(text, "\n"), tax, vectorNow)
	})},
	{name: "checkpoint-no-mirror", about: "one of three cosignatures is a member's that is no mirror", alter: headLines(func(s *stage, text, owner string, c []string) string {
		return text + owner + s.cosign(strings.TrimSuffix(text, "\n"), audit, vectorNow) + c[0] + c[1]
	})},
	{name: "checkpoint-stranger", about: "a stranger's signature beside the quorum's", alter: headLines(func(s *stage, text, owner string, c []string) string {
		return text + owner + strings.Join(c, "") + strings.Replace(c[0], "vectors.grille/GOV/benefits", "witness.example/w", 1)
	})},
	{name: "checkpoint-unknown-key", about: "a line under a mirror's name with the id of an unknown key", alter: headLines(func(s *stage, text, owner string, c []string) string {
		line, err := note.Cosign(strings.TrimSuffix(text, "\n"), network.MirrorName(vectorInstance, health, 1), vectorKeys.Key("mirror of nobody"), vectorNow)
		s.must(err)
		return text + owner + c[0] + c[1] + line
	})},
	{name: "checkpoint-order", about: "cosignatures that do not stand in the order of the members' names", alter: headLines(func(_ *stage, text, owner string, c []string) string {
		return text + owner + c[1] + c[0] + c[2]
	})},
	{name: "checkpoint-owner-last", about: "the owner's signature behind the cosignatures", alter: headLines(func(_ *stage, text, owner string, c []string) string {
		return text + strings.Join(c, "") + owner
	})},
	{name: "checkpoint-no-owner", about: "the owner's signature is missing", alter: headLines(func(_ *stage, text, _ string, c []string) string {
		return text + strings.Join(c, "")
	})},
	{name: "checkpoint-owner-twice", about: "the owner's signature twice", alter: headLines(func(_ *stage, text, owner string, c []string) string {
		return text + owner + owner + strings.Join(c, "")
	})},
	{name: "checkpoint-owner-signature", about: "a bit of the owner's signature is flipped", alter: headLines(func(s *stage, text, owner string, c []string) string {
		return text + flipped(s, owner) + strings.Join(c, "")
	})},
	{name: "checkpoint-cosignature", about: "a bit of a cosignature is flipped", alter: headLines(func(s *stage, text, owner string, c []string) string {
		return text + owner + c[0] + flipped(s, c[1]) + c[2]
	})},
	{name: "checkpoint-cosignature-time", about: "a cosignature with another time than was signed", alter: headLines(func(s *stage, text, owner string, c []string) string {
		sig, err := note.ParseSignature(c[1])
		s.must(err)
		sig.Body[7]++
		return text + owner + c[0] + sig.Line() + c[2]
	})},
	{name: "checkpoint-late-cosignature", about: "a cosignature of the year 70000", alter: func(s *stage) { s.times[health] = time.Unix(2147483647*1000+1, 0) }},
	{name: "checkpoint-extension", about: "an extension line, signed by all", alter: func(s *stage) {
		s.onHead = func(head string) string { return s.signedText(strings.Split(head, "\n\n")[0] + "\nextension\n") }
	}},
	{name: "checkpoint-leading-zero", about: "a size with a leading zero, signed by all", alter: func(s *stage) {
		s.onHead = func(head string) string {
			return s.signedText(s.replace(strings.Split(head, "\n\n")[0]+"\n", "\n13\n", "\n013\n"))
		}
	}},
	{name: "checkpoint-carriage-return", about: "lines that end in carriage return and line feed", alter: func(s *stage) {
		s.onHead = func(head string) string { return strings.ReplaceAll(head, "\n", "\r\n") }
	}},
	{name: "checkpoint-unterminated", about: "the last line has no line feed", alter: func(s *stage) {
		s.onHead = func(head string) string { return strings.TrimSuffix(head, "\n") }
	}},
	{name: "checkpoint-no-empty-line", about: "no empty line between text and signatures", alter: headLines(func(_ *stage, text, owner string, c []string) string {
		return strings.TrimSuffix(text, "\n") + owner + strings.Join(c, "")
	})},
	{name: "checkpoint-unsigned", about: "no signatures at all", alter: headLines(func(_ *stage, text, _ string, _ []string) string { return text })},
	{name: "checkpoint-empty", about: "no checkpoint", alter: headLines(func(*stage, string, string, []string) string { return "" })},
	{name: "checkpoint-dash", about: "signature lines with a hyphen for the em dash", alter: func(s *stage) {
		s.onHead = func(head string) string { return strings.ReplaceAll(head, "— ", "- ") }
	}},
	{name: "checkpoint-other-log", about: "another member's checkpoint, final as it is", alter: func(s *stage) {
		s.onHead = func(string) string {
			origin := s.header.Origin
			s.header.Origin = s.config.Origin(tax)
			defer func() { s.header.Origin = origin }()
			return s.head(s.size, 0)
		}
	}},
	{name: "checkpoint-size", about: "a final checkpoint of another size than the header's", alter: func(s *stage) {
		s.onHead = func(string) string { return s.head(s.size-1, 0) }
	}},
	{name: "checkpoint-replica-behind", about: "the verifier's copy of the log ends below the header's size", log: true, alter: func(s *stage) {
		s.onLog = func(l *logFile) { l.Logs[0].Entries = l.Logs[0].Entries[:logSize-1] }
	}},
	{name: "checkpoint-replica-without-log", about: "the verifier's copy does not have the holder's log", log: true, alter: func(s *stage) {
		s.onLog = func(l *logFile) { l.Logs[0].Origin = s.config.Origin(tax) }
	}},
	{name: "checkpoint-replica-fork", about: "the verifier's copy is another history of that size: its owner signed two", log: true, alter: func(s *stage) {
		s.onLog = func(l *logFile) {
			e := s.entries[atKeys].(entry.CircuitKeys)
			e.Time = vectorTime(vectorNow)
			l.Logs[0].Entries[atKeys] = entryBody(s.t, e)
		}
	}},
}

func flipped(s *stage, line string) string {
	sig, err := note.ParseSignature(line)
	s.must(err)
	sig.Body[len(sig.Body)-40] ^= 1
	return sig.Line()
}

// signedText is a head whose text is none that this software would sign.
func (s *stage) signedText(text string) string {
	out := text + "\n" + noteLine(s.header.Origin, 1, logKeyOf(s.header.Origin), []byte(text), nil)
	for _, m := range []string{benefits, civil, health} {
		at := s.times[m].Unix()
		message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text)
		out += noteLine(network.MirrorName(vectorInstance, m, 1), 4, vectorKeys.Key("mirror "+m), message, bigEndian(uint64(at)))
	}
	return out
}

// badInclusions carry entries that are not under the checkpoint.
var badInclusions = []vector{
	{name: "inclusion-order", about: "two entries in the wrong order", alter: bundled(func(b *bundle.Bundle) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] })},
	{name: "inclusion-twice", about: "an entry twice", alter: bundled(func(b *bundle.Bundle) { b.Entries = slices.Insert(b.Entries, 0, b.Entries[0]) })},
	{name: "inclusion-path", about: "a path hash with a bit flipped", alter: bundled(func(b *bundle.Bundle) {
		b.Entries[1].Path = slices.Clone(b.Entries[1].Path)
		b.Entries[1].Path[0] = append([]byte{b.Entries[1].Path[0][0] ^ 1}, b.Entries[1].Path[0][1:]...)
	})},
	{name: "inclusion-path-short", about: "a path without its last hash", alter: bundled(func(b *bundle.Bundle) {
		b.Entries[2].Path = b.Entries[2].Path[:len(b.Entries[2].Path)-1]
	})},
	{name: "inclusion-path-long", about: "a path with one hash more", alter: bundled(func(b *bundle.Bundle) {
		b.Entries[2].Path = append(slices.Clone(b.Entries[2].Path), make([]byte, 32))
	})},
	{name: "inclusion-path-null", about: "no path", alter: bundled(func(b *bundle.Bundle) { b.Entries[2].Path = nil })},
	{name: "inclusion-path-hash-size", about: "a path hash of 31 bytes", alter: bundled(func(b *bundle.Bundle) {
		b.Entries[2].Path = slices.Clone(b.Entries[2].Path)
		b.Entries[2].Path[0] = b.Entries[2].Path[0][:31]
	})},
	{name: "inclusion-index", about: "the path of another place of the log", alter: bundled(func(b *bundle.Bundle) { b.Entries[0].Index++ })},
	{name: "inclusion-beyond", about: "an index beyond the checkpoint", alter: bundled(func(b *bundle.Bundle) { b.Entries[len(b.Entries)-1].Index = 13 })},
	{name: "inclusion-far", about: "an index of 2^53-1", alter: bundled(func(b *bundle.Bundle) { b.Entries[len(b.Entries)-1].Index = 1<<53 - 1 })},
	{name: "inclusion-body", about: "an entry with a word changed", alter: func(s *stage) {
		s.onBundle = func(b *bundle.Bundle) { b.Entries[0].Body = s.replace(b.Entries[0].Body, "People", "Peoples") }
	}},
	{name: "inclusion-node", about: "the two nodes below the root, given as an entry", alter: bundled(func(b *bundle.Bundle) {
		e := &b.Entries[0]
		e.Body = "\x01" + e.Body
	})},
}

// because gives vectors their reason where they have none.
func because(reason bundle.Reason, all []vector) []vector {
	for i := range all {
		if all[i].reason == "" {
			all[i].reason = reason
		}
	}
	return all
}
