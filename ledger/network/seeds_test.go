package network

import (
	"bytes"
	"testing"

	"github.com/grille-gateway/grille/ledger/internal/corpus"
)

func TestCardSeeds(t *testing.T) {
	good := testCard(t, testMember("GOV/tax", 4433)).Bytes()
	change := func(old, new string) []any { return []any{bytes.Replace(good, []byte(old), []byte(new), 1)} }
	corpus.Check(t, "FuzzParseCard", map[string][]any{
		"real":               {good},
		"cut":                {good[:len(good)/2]},
		"without-line-feed":  {bytes.TrimSpace(good)},
		"another-member":     change("GOV/tax", "GOV/tex"),
		"member-with-slash":  change("GOV/tax", "GOV/t/x"),
		"port-0":             change(":4433", ":0"),
		"empty":              {[]byte("{}\n")},
		"null-member":        {[]byte("{\n  \"instance\": \"test.example\",\n  \"member\": null,\n  \"signature\": \"\"\n}\n")},
		"signature-elsewise": change(`"signature": "`, `"signature": "AAAA`),
	})
}
