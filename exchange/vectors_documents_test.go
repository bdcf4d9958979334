package exchange_test

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// entryUnits say what a reader takes an entry for: its kind, "unknown" (a kind or version that it does not know) or "malformed". Each of
// the last two is void on a log.
type entryUnits struct {
	About string `json:"about"`
	Body  string `json:"body"`
	Is    string `json:"is"`
}

// networkUnits replace the first occurrence of a text in a file of networks/.
type networkUnits struct {
	About string `json:"about"`
	File  string `json:"file"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// entries are one of each kind that a verifier reads, and changes of them.
func (u *units) entries(t *testing.T) {
	add := func(about, body string) {
		is := "malformed"
		if e, err := entry.Decode([]byte(body)); err == nil {
			is = e.Kind()
			if _, unknown := e.(entry.Unknown); unknown {
				is = "unknown"
			}
		}
		u.Entries = append(u.Entries, entryUnits{about, body, is})
	}
	bodies := unitBodies(t)
	for _, body := range bodies {
		add("well formed", body)
	}
	for _, c := range entryChanges {
		i := slices.IndexFunc(bodies, func(b string) bool { return strings.HasPrefix(b, `{"kind":"`+c.kind+`"`) })
		if i < 0 || !strings.Contains(bodies[i], c.old) {
			t.Fatalf("%s: no %q", c.about, c.old)
		}
		add(c.about, strings.Replace(bodies[i], c.old, c.new, 1))
	}
	element := regexp.MustCompile(`"[0-9a-f]{64}"`)
	for _, c := range []struct {
		about, kind string
		change      func(text string) string
	}{
		{"a root in capital digits", "dataset.epoch", strings.ToUpper},
		{"a root of 62 digits", "dataset.epoch", func(text string) string { return text[:63] + `"` }},
		{"a root of 64 f, which is not below the modulus: that is not looked at here", "dataset.epoch", func(string) string { return `"` + strings.Repeat("f", 64) + `"` }},
		{"a key commitment of 0", "scope.open", func(string) string { return `"` + strings.Repeat("0", 64) + `"` }},
		{"a key commitment that is the modulus", "scope.open", func(string) string { return `"` + fr.Modulus().Text(16) + `"` }},
		{"65 nullifiers", "claims.batch", func(text string) string { return `"` + strings.Repeat("1", 64) + `",` + text }},
		{"a nullifier of 0", "claims.batch", func(string) string { return `"` + strings.Repeat("0", 64) + `"` }},
	} {
		i := slices.IndexFunc(bodies, func(b string) bool { return strings.HasPrefix(b, `{"kind":"`+c.kind+`"`) })
		at := element.FindStringIndex(bodies[i])
		add(c.about, bodies[i][:at[0]]+c.change(bodies[i][at[0]:at[1]])+bodies[i][at[1]:])
	}
	add("another kind", `{"kind":"something.else","v":1,"x":[1,2]}`)
	add("another kind, with a name twice", `{"kind":"something.else","v":1,"x":1,"x":2}`)
	add("no fields", `{"kind":"something.else","v":1}`)
	add("a version of seven digits", `{"kind":"something.else","v":1000000}`)
	add("a kind in capitals", `{"kind":"Something","v":1}`)
	add("no object", `[]`)
	add("nothing", ``)
}

// entryChanges are what makes an entry of a kind another, or none.
var entryChanges = []struct{ about, kind, old, new string }{
	{"white space and escapes", "dataset.epoch", `"dataset":"people"`, "\n \"dataset\" : \"p\\u0065ople\" "},
	{"another order", "dataset.epoch", `"dataset":"people","declare":1,`, `"declare":1,"dataset":"people",`},
	{"version 2", "dataset.epoch", `"v":1`, `"v":2`},
	{"version 0", "dataset.epoch", `"v":1`, `"v":0`},
	{"a space before the kind", "dataset.epoch", `{"kind"`, `{ "kind"`},
	{"a second version", "dataset.epoch", `"declare":1`, `"declare":1,"v":1`},
	{"a name that it does not have", "dataset.epoch", `"declare":1`, `"declare":1,"note":0`},
	{"a name in another case", "dataset.epoch", `"declare"`, `"Declare"`},
	{"a number that is missing, and reads as 0", "dataset.epoch", `"declare":1,`, ``},
	{"a text that is missing", "dataset.epoch", `"dataset":"people",`, ``},
	{"null for a number", "dataset.epoch", `"declare":1`, `"declare":null`},
	{"an index below 0", "dataset.epoch", `"declare":1`, `"declare":-1`},
	{"an index with a fraction", "dataset.epoch", `"declare":1`, `"declare":1.0`},
	{"an index beyond 2^53-1", "dataset.epoch", `"declare":1`, `"declare":9007199254740992`},
	{"a leap second", "dataset.epoch", `08:00:00Z`, `08:00:60Z`},
	{"hour 24", "dataset.epoch", `08:00:00Z`, `24:00:00Z`},
	{"30 February", "dataset.epoch", `2025-12-15T08`, `2026-02-30T08`},
	{"a fraction of a second", "dataset.epoch", `08:00:00Z`, `08:00:00.0Z`},
	{"a dataset in capitals", "dataset.epoch", `"people"`, `"People"`},
	{"a column's name in capitals", "dataset.declare", `"birth_date"`, `"Birth_date"`},
	{"a column's name that begins with a digit", "dataset.declare", `"birth_date"`, `"1birth_date"`},
	{"a column twice", "dataset.declare", `"birth_date"`, `"town"`},
	{"a column of another type", "dataset.declare", `"type":"date"`, `"type":"time"`},
	{"a scale of an int", "dataset.declare", `"type":"int"`, `"type":"int","scale":1`},
	{"a scale of 10", "dataset.declare", `"scale":2`, `"scale":10`},
	{"an enum without codes", "dataset.declare", `,"codes":["normal","limited","high"]`, ``},
	{"a code twice", "dataset.declare", `"limited"`, `"normal"`},
	{"an empty code", "dataset.declare", `"limited"`, `""`},
	{"codes of a text", "dataset.declare", `"name":"town","type":"text"`, `"name":"town","type":"text","codes":["a"]`},
	{"a title with a control character", "dataset.declare", `"People"`, `"Peo\u0007ple"`},
	{"a title with a tab", "dataset.declare", `"People"`, `"Peo\tple"`},
	{"a title with U+0085", "dataset.declare", `"People"`, `"Peo\u0085ple"`},
	{"no title", "dataset.declare", `"title":"People",`, ``},
	{"a template that is a list", "policy.publish", `"template":{`, `"template":[],"x":{`},
	{"version 0 of a policy", "policy.publish", `"version":1`, `"version":0`},
	{"version 1000001 of a policy", "policy.publish", `"version":1`, `"version":1000001`},
	{"empty approvals", "policy.publish", `"time":"2026-01-01T12:00:01Z"`, `"time":"2026-01-01T12:00:01Z","approvals":[]`},
	{"null for approvals", "policy.publish", `"time":"2026-01-01T12:00:01Z"`, `"time":"2026-01-01T12:00:01Z","approvals":null`},
	{"an approval whose signature is too short", "policy.publish", `"time":"2026-01-01T12:00:01Z"`,
		`"time":"2026-01-01T12:00:01Z","approvals":[{"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","signature":"AAAA"}]`},
	{"a requester that is the holder", "agreement.accept", `"requester":"GOV/benefits"`, `"requester":"GOV/civil"`},
	{"a requester that is no name", "agreement.accept", `"requester":"GOV/benefits"`, `"requester":"gov/benefits"`},
	{"a column to disclose twice", "agreement.accept", `"disclose":["birth_date"`, `"disclose":["town"`},
	{"a last day without a first", "agreement.accept", `"as_of_from":"2025-12-01",`, ``},
	{"a last day before the first", "agreement.accept", `"as_of_to":"2026-12-31"`, `"as_of_to":"2025-11-30"`},
	{"a day that is none", "agreement.accept", `"as_of_to":"2026-12-31"`, `"as_of_to":"2026-12-32"`},
	{"an offer's index in a string", "agreement.accept", `"index":3`, `"index":"3"`},
	{"members that do not ascend", "group.define", `["GOV/benefits","GOV/health"]`, `["GOV/health","GOV/benefits"]`},
	{"no members", "group.define", `["GOV/benefits","GOV/health"]`, `[]`},
	{"null for members", "group.define", `["GOV/benefits","GOV/health"]`, `null`},
	{"an index in a batch beyond 2^53-1", "receipts.batch", `"people":3`, `"people":9007199254740992`},
	{"a batch without epochs", "receipts.batch", `"epochs":{"people":3},`, ``},
	{"a dataset in a batch that is no name", "receipts.batch", `{"people":3}`, `{"":3}`},
	{"a scope that closes when it opens", "scope.open", `"closes":"2026-12-31T23:59:59Z"`, `"closes":"2026-02-01T00:00:00Z"`},
	{"white space in a claims batch", "claims.batch", `"beat":`, `"beat": `},
	{"no reason, which is empty", "scope.close", `"reason":"done",`, ``},
}

// unitBodies are the texts of entries of each kind that counts in a verification.
func unitBodies(t *testing.T) []string {
	s, _, err := schema.Load([]byte(vectorSchema))
	if err != nil {
		t.Fatal(err)
	}
	v, err := prover.NewVerifier(readVector(t, vectorDir, "keys/development.key"))
	if err != nil {
		t.Fatal(err)
	}
	sc := &scene{t: t, schema: s, verifier: v}
	sc.config = sc.configure(nil)
	sc.now, sc.before = newPeople(t, s, "2", vectorPeople), newPeople(t, s, "1", vectorPeople)
	var out []string
	for _, e := range append(sc.standard(),
		sc.claims(1, ""),
		entry.PolicyRetire{Policy: "aged", Version: 1, Reason: "a new law", Time: vectorTime(vectorNow)},
		entry.AgreementRevoke{Accept: atAgreement, Reason: "misuse", Time: vectorTime(vectorNow)},
		entry.ScopeClose{Scope: atScope, Reason: "done", Time: vectorTime(vectorNow)}) {
		if _, unread := e.(entry.CircuitKeys); !unread { // no verification reads it
			out = append(out, entryBody(t, e.(entry.Entry)))
		}
	}
	return out
}

// networks are refused when they are read, with the reason that whoever reads them gives; a verification never begins.
func (u *units) networks(t *testing.T) {
	const one, two = "networks/network.json", "networks/valid-earlier-configuration.json"
	chain, err := network.ReadChain(readVector(t, vectorDir, two))
	if err != nil {
		t.Fatal(err)
	}
	link := chain.Links()[0]
	u.Networks = []networkUnits{
		{"a space more", one, `"version": 1`, `"version":  1`},
		{"version 0", one, `"version": 1`, `"version": 0`},
		{"a member twice", one, `"name": "GOV/health"`, `"name": "GOV/civil"`},
		{"a log key's id that is not its own", one, `/log/1+`, `/log/1+0`},
		{"freshness that is not above the heartbeat", one, `"freshness_seconds": 30`, `"freshness_seconds": 10`},
		{"production with development keys", one, `"mode": "demo"`, `"mode": "production"`},
		{"a title with U+088F, which Unicode 15.0 does not assign", one, `"title": "GOV/audit"`, `"title": "࢏"`},
		{"an endpoint with U+088F", one, `"endpoint": "127.0.0.1:`, `"endpoint": "࢏:`},
		{"no expiry", one, `"expires": "2036-01-01T00:00:00Z"`, `"expires": ""`},
		{"a quorum below two thirds", one, `"members": [`, "\"quorum\": 2,\n  \"members\": ["},
		{"a name twice", one, `"version": 1,`, "\"version\": 1,\n  \"version\": 1,"},
		{"a chain whose first version is another", two, `"beat_seconds":60`, `"beat_seconds":61`},
		{"a proposal with another signature", two, link.Proposal.Signature, link.Votes[0].Signature},
		{"a vote with another's signature", two, link.Votes[0].Signature, link.Votes[1].Signature},
		{"a vote for another version", two, `"mirror":"GOV/benefits","version":2`, `"mirror":"GOV/benefits","version":3`},
		{"a handover with a vote's signature", two, link.Handovers[2].Signature, link.Votes[2].Signature},
		{"a mirror that votes twice", two, `{"mirror":"GOV/civil","version":2,`, `{"mirror":"GOV/benefits","version":2,`},
		{"a checkpoint that no handover names", two, `"size":"13"`, `"size":"12"`},
	}
	for _, n := range u.Networks {
		file := readVector(t, vectorDir, n.File)
		changed := bytes.Replace(file, []byte(n.Old), []byte(n.New), 1)
		if _, err := network.ReadChain(changed); bytes.Equal(changed, file) || err == nil {
			t.Errorf("a network file with %s is read", n.About)
		}
	}
}
