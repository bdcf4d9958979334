package entry

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"reflect"
	"regexp"
	"testing"
	"unicode/utf8"
)

// reference decides what DecodeStrict accepts with nothing but encoding/json's tokens: slow, and short enough to be
// believed.
func reference(data []byte, max int, v any) bool {
	if len(data) > max || !utf8.Valid(data) || !json.Valid(data) || checkSurrogates(data) != nil {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if !referenceValue(dec, reflect.TypeOf(v).Elem(), 1) {
		return false
	}
	if _, err := dec.Token(); err != io.EOF {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return d.Decode(v) == nil
}

func referenceValue(dec *json.Decoder, t reflect.Type, depth int) bool {
	tok, err := dec.Token()
	if err != nil || depth > MaxDepth {
		return false
	}
	declared := t
	t = known(t)
	switch tok := tok.(type) {
	case string:
		return checkString(tok) == nil && (t != quotedInteger || referenceInteger.MatchString(tok))
	case json.Number:
		return checkNumber([]byte(tok)) == nil
	case nil:
		return declared == nil || nillable(declared)
	case bool:
		return true
	case json.Delim:
		if tok == '[' {
			return referenceArray(dec, element(t), depth)
		}
	}
	fields, elem := members(element(t))
	seen := make(map[string]bool)
	for dec.More() {
		tok, err := dec.Token()
		name, ok := tok.(string)
		if err != nil || !ok || seen[name] || checkString(name) != nil {
			return false
		}
		seen[name] = true
		next := elem
		if fields != nil {
			if next, ok = fields[name]; !ok {
				return false
			}
		}
		if !referenceValue(dec, next, depth+1) {
			return false
		}
	}
	_, err = dec.Token()
	return err == nil
}

var referenceInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

func referenceArray(dec *json.Decoder, t reflect.Type, depth int) bool {
	var elem reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
	}
	n := 0
	for ; dec.More(); n++ {
		if !referenceValue(dec, elem, depth+1) {
			return false
		}
	}
	_, err := dec.Token()
	return err == nil && (t == nil || t.Kind() != reflect.Array || n == t.Len())
}

// agree checks that DecodeStrict accepts what the reference accepts, with the same result.
func agree[T any](t *testing.T, data []byte) {
	t.Helper()
	var got, want T
	err := DecodeStrict(data, 4096, &got)
	if ok := reference(data, 4096, &want); ok != (err == nil) {
		t.Fatalf("%q: the reference accepts: %v; error %v", data, ok, err)
	}
	if err == nil && !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %+v, the reference has %+v", data, got, want)
	}
}

// TestDecodeStrictReference compares the two on documents with a few bytes changed.
func TestDecodeStrictReference(t *testing.T) {
	docs := []string{
		`{"a":"\ud83d\ude00 x","n":-5,"big":"18446744073709551615","list":[{"name":"x"}],"pair":[1,2],"map":{"k":{"name":"y"}},"word":"x"}`,
		`{"big":"0","small":"-10","word":null}`,
		`{"ptr":null,"raw":{"a":[1.5e3,null,true,false,{"b":{},"c":[]}]},"any":{"x":{}},"bin":"AAE=","extra":7}`,
		`{"any":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1,"r":1,"s":1}}`,
		`{"map":{"\u006b":{"name":"\u00e9é"},"\\":{},"\"":{}},"list":[ { } , {"name" : "" } ] }`,
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	alphabet := []byte(`{}[]",:\0159eE+-.ntfu abcdkKnmps` + "\xff\xc3\xa9\n\t")
	for range 60_000 {
		data := []byte(docs[rnd.IntN(len(docs))])
		for range 1 + rnd.IntN(3) {
			k := rnd.IntN(len(data))
			switch rnd.IntN(4) {
			case 0:
				data[k] = alphabet[rnd.IntN(len(alphabet))]
			case 1:
				data = append(data[:k], data[min(len(data), k+1+rnd.IntN(4)):]...)
			case 2:
				data = append(data[:k:k], append([]byte{alphabet[rnd.IntN(len(alphabet))]}, data[k:]...)...)
			case 3:
				from := rnd.IntN(len(data))
				data = append(data[:k:k], append(bytes.Clone(data[from:min(len(data), from+rnd.IntN(12))]), data[k:]...)...)
			}
			if len(data) == 0 {
				data = []byte("{")
			}
		}
		agree[outer](t, data)
		agree[any](t, data)
		agree[json.RawMessage](t, data)
	}
}
