package entry

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

type inner struct {
	Name string `json:"name"`
}

type embedded struct {
	Extra int `json:"extra"`
}

// word reads its text itself.
type word uint8

func (w *word) UnmarshalText(text []byte) error { *w = word(len(text)); return nil }

func (w word) MarshalText() ([]byte, error) { return []byte(strings.Repeat("x", int(w))), nil }

type outer struct {
	embedded
	A    string           `json:"a"`
	N    int64            `json:"n"`
	Big  uint64           `json:"big,string"`
	List []inner          `json:"list"`
	Pair [2]int           `json:"pair"`
	Map  map[string]inner `json:"map"`
	Ptr  *inner           `json:"ptr"`
	Raw  json.RawMessage  `json:"raw"`
	Any  any              `json:"any"`
	Bin  []byte           `json:"bin"`
	Word word             `json:"word"`

	Small int64  `json:"small,string"`
	Skip  string `json:"-"`
}

func TestDecodeStrictAccepts(t *testing.T) {
	doc := `{"a":"\ud83d\ude00 \\u d800","n":-9007199254740991,"big":"18446744073709551615","list":[{"name":"x"}],
		"pair":[1,2],"map":{"k":{"name":"y"},"K":{"name":"z"}},"ptr":null,"raw":{"anything":[1.5e3,null]},"any":{"x":{}},
		"bin":"AAE=","extra":7}`
	var o outer
	if err := DecodeStrict([]byte(doc), 1000, &o); err != nil {
		t.Fatal(err)
	}
	if o.A != "😀 \\u d800" || o.N != -9007199254740991 || o.Big != 1<<64-1 || o.List[0].Name != "x" || o.Map["K"].Name != "z" ||
		string(o.Bin) != "\x00\x01" || o.Extra != 7 {
		t.Fatalf("%+v", o)
	}
}

func TestDecodeStrictRefuses(t *testing.T) {
	deep := strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1)
	for name, doc := range map[string]string{
		"empty":                        ``,
		"not JSON":                     `{a:1}`,
		"trailing value":               `{"a":"x"} {}`,
		"trailing garbage":             `{"a":"x"}x`,
		"byte order mark":              "\ufeff{}",
		"name twice":                   `{"a":"x","a":"y"}`,
		"name twice by escape":         `{"a":"x","\u0061":"y"}`,
		"name twice, nested":           `{"list":[{"name":"x","name":"y"}]}`,
		"name twice in raw":            `{"raw":{"q":1,"q":2}}`,
		"name twice in any":            `{"any":{"q":{"r":1,"r":2}}}`,
		"name twice in map":            `{"map":{"q":{},"q":{}}}`,
		"unknown name":                 `{"b":1}`,
		"unknown name, nested":         `{"list":[{"nam":"x"}]}`,
		"unknown name in map value":    `{"map":{"q":{"zip":1}}}`,
		"another case":                 `{"A":"x"}`,
		"another case, nested":         `{"ptr":{"NAME":"x"}}`,
		"Kelvin sign for k":            "{\"s\u212aip\":1}",
		"field that is not encoded":    `{"Skip":"x"}`,
		"null for a string":            `{"a":null}`,
		"null for a number":            `{"n":null}`,
		"null for a number in string":  `{"big":null}`,
		"null for a text of a type":    `{"word":null}`,
		"null in a quoted number":      `{"big":"null"}`,
		"zeros before a quoted number": `{"big":"007"}`,
		"minus zero in a string":       `{"small":"-0"}`,
		"plus in a string":             `{"small":"+1"}`,
		"null for an array":            `{"pair":null}`,
		"null in a list of structs":    `{"list":[null]}`,
		"array too short":              `{"pair":[1]}`,
		"array too long":               `{"pair":[1,2,3]}`,
		"integer beyond 2^53":          `{"n":9007199254740992}`,
		"integer beyond 2^53 in any":   `{"any":[9007199254740993]}`,
		"huge integer":                 `{"any":123456789012345678901234567890}`,
		"number out of range":          `{"any":1e400}`,
		"float for an integer":         `{"n":1.5}`,
		"string for a number":          `{"n":"1"}`,
		"number for a quoted number":   `{"big":1}`,
		"negative for unsigned":        `{"big":"-1"}`,
		"lone high surrogate":          `{"a":"\ud800"}`,
		"lone low surrogate":           `{"a":"\udc00"}`,
		"high surrogate and character": `{"a":"\ud800x"}`,
		"two high surrogates":          `{"a":"\ud800\ud800"}`,
		"lone surrogate in a name":     `{"raw":{"\udfff":1}}`,
		"noncharacter":                 `{"a":"\ufffe"}`,
		"noncharacter, plane 1":        "{\"a\":\"\U0001ffff\"}",
		"noncharacter in the block":    `{"a":"\ufdd0"}`,
		"invalid UTF-8":                "{\"a\":\"\xff\"}",
		"control character":            "{\"a\":\"\x01\"}",
		"nested too deep":              `{"raw":` + deep + `}`,
		"base64 damaged":               `{"bin":"*"}`,
		"too long":                     `{"a":"` + strings.Repeat("x", 1000) + `"}`,
	} {
		var o outer
		if err := DecodeStrict([]byte(doc), 1000, &o); !errors.Is(err, ErrJSON) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	for _, v := range []any{nil, outer{}, (*outer)(nil)} {
		if err := DecodeStrict([]byte(`{}`), 10, v); !errors.Is(err, ErrJSON) {
			t.Errorf("target %T: %v", v, err)
		}
	}
}

// Errors must not repeat values: what is refused may be personal data.
func TestDecodeStrictKeepsValuesOut(t *testing.T) {
	for _, doc := range []string{`{"n":"secret42"}`, `{"a":4242424242}`, `{"n":42424242.5}`, `{"big":4242424242}`,
		`{"list":"secret42"}`, `{"ptr":{"name":4242424242}}`, `{"any":424242424242424242424242}`} {
		var o outer
		err := DecodeStrict([]byte(doc), 1000, &o)
		if err == nil || strings.Contains(err.Error(), "4242") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func FuzzDecodeStrict(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"x","n":1}`, `{"any":[1,{"b":null}]}`, `{"a":"\ud83d\ude00"}`, `{"map":{"k":{"name":""}}}`,
		`{"a":"\`, `{"pair":[1,2]}`, `[[[[`, "\"\\ud800\\"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		agree[outer](t, data)
		agree[any](t, data)
		var o outer
		if DecodeStrict(data, 4096, &o) != nil {
			return
		}
		var again outer
		o.Any = nil // 1e20 is accepted there, and encoding/json writes it as an integer
		enc, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("accepted %q, cannot encode: %v", data, err)
		}
		if len(o.Raw) == 0 { // a nil RawMessage encodes as null
			enc = []byte(strings.Replace(string(enc), `"raw":null,`, "", 1))
		}
		if err := DecodeStrict(enc, 1<<20, &again); err != nil {
			t.Fatalf("accepted %q, refused its encoding %q: %v", data, enc, err)
		}
	})
}
