package entry

import (
	"fmt"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/ledger/internal/corpus"
)

func TestSeeds(t *testing.T) {
	inputs := map[string][]any{
		"no-entry":          {[]byte("no entry")},
		"unknown-kind":      {[]byte(`{"kind":"scope.merge","v":1,"period":"2026"}`)},
		"unknown-version":   {[]byte(`{"kind":"receipts.batch","v":2}`)},
		"version-0":         {[]byte(`{"kind":"receipts.batch","v":0}`)},
		"space":             {[]byte(`{"kind": "receipts.batch","v":1}`)},
		"name-twice":        {[]byte(`{"kind":"x","v":1,"a":{"b":1,"\u0062":2}}`)},
		"kind-twice":        {[]byte(`{"kind":"x","v":1,"kind":"receipts.batch"}`)},
		"big-beat":          {[]byte(`{"kind":"receipts.batch","v":1,"beat":9007199254740992,"root":"` + testHex + `","time":"` + testTime + `"}`)},
		"null-epochs":       {[]byte(`{"kind":"receipts.batch","v":1,"beat":1,"root":"` + testHex + `","epochs":null,"time":"` + testTime + `"}`)},
		"template-twice":    {[]byte(`{"kind":"policy.publish","v":1,"policy":"a","version":1,"dataset":"b","declare":0,"title":"t","question":"q","source":{"language":"cel","text":""},"template":{"a":1,"a":2},"time":"` + testTime + `"}`)},
		"deep":              {[]byte(`{"kind":"x","v":1,"a":` + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth) + `}`)},
		"time-of-day-24":    {[]byte(`{"kind":"policy.retire","v":1,"policy":"a","version":1,"reason":"","time":"2026-03-01T24:00:00Z"}`)},
		"claims-escaped":    {[]byte(`{"kind":"claims.batch","v":1,"beat":1,"nullifiers":["\u0030"],"time":"` + testTime + `"}`)},
		"scope-null-key":    {[]byte(`{"kind":"scope.open","v":1,"program":"a","period":"b","key_commitment":null,"opens":"` + testTime + `","closes":"2027-01-01T00:00:00Z","time":"` + testTime + `"}`)},
		"control-character": {[]byte(`{"kind":"policy.retire","v":1,"policy":"a","version":1,"reason":"\u0007","time":"` + testTime + `"}`)},
	}
	for _, e := range examples() {
		raw, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		name := e.Kind()
		if inputs[name] != nil {
			name += "-again"
		}
		inputs[name] = []any{raw}
	}
	corpus.Check(t, "FuzzDecode", inputs)

	corpus.Check(t, "FuzzParseDraft", map[string][]any{
		"empty-list": {[]byte(`{"origin":"o","entry":"{\"kind\":\"group.define\",\"v\":1,\"group\":\"g\",\"version\":1,\"members\":[],\"time\":\"` + testTime + `\",\"approvals\":[]}"}`)},
		"no-group":   {[]byte(`{"origin":"o","entry":"{\"kind\":\"group.define\",\"v\":1}"}`)},
		"twice":      {[]byte(`{"origin":"o","origin":"p","entry":""}`)},
	})

	var many []string
	for i := range manyNames + 2 {
		many = append(many, fmt.Sprintf(`"n%d":0`, i))
	}
	corpus.Check(t, "FuzzDecodeStrict", map[string][]any{
		"all-fields":             {[]byte(`{"a":"\ud83d\ude00","n":-1,"big":"18446744073709551615","list":[{"name":"x"}],"pair":[1,2],"map":{"k":{"name":"y"}},"ptr":null,"raw":{"a":[1.5e3,null]},"any":{"x":{}},"bin":"AAE=","extra":7}`)},
		"spaces":                 {[]byte(" { \"map\" : { \"\\u006b\" : { } , \"k2\":{\"name\":\"\"} } ,\n\t\"pair\":[ 1 ,2 ] }\r\n")},
		"many-names":             {[]byte(`{"any":{` + strings.Join(many, ",") + `}}`)},
		"many-names-one-twice":   {[]byte(`{"any":{` + strings.Join(many, ",") + fmt.Sprintf(`,"n%d":1}}`, manyNames+1))},
		"early-name-late-again":  {[]byte(`{"any":{` + strings.Join(many, ",") + `,"n0":1}}`)},
		"escaped-name-twice":     {[]byte(`{"any":{"é":1,"\u00e9":2}}`)},
		"lone-surrogate-in-name": {[]byte(`{"raw":{"\udfff":1}}`)},
		"backslashes":            {[]byte(`{"a":"\\\\\"\\","raw":"\\\"}"}`)},
		"noncharacter":           {[]byte(`{"any":"` + "\U0010ffff" + `"}`)},
		"nul":                    {[]byte(`{"any":"\u0000"}`)},
		"number-out-of-range":    {[]byte(`{"any":1e400}`)},
		"minus-zero":             {[]byte(`{"any":[-0,-0.0,0E+1]}`)},
		"exponent":               {[]byte(`{"any":1e20}`)},
		"integer-beyond":         {[]byte(`{"any":9007199254740992}`)},
		"null-for-a-string":      {[]byte(`{"a":null}`)},
		"case":                   {[]byte(`{"A":"x"}`)},
		"array-too-short":        {[]byte(`{"pair":[1]}`)},
		"cut":                    {[]byte(`{"map":{"k":{"name":"`)},
		"only-opening":           {[]byte(strings.Repeat("[", 40))},
		"two-documents":          {[]byte(`{}{}`)},
	})
}
