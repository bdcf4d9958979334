package entry

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// ErrJSON says that a document is not the strict JSON we read. The caller should refuse the document, not repair it.
var ErrJSON = errors.New("not strict JSON")

// DecodeStrict decodes one JSON document of at most max bytes into v, a non-nil pointer.
//
// It accepts I-JSON (RFC 7493) and, where v's type names fields, only exactly these names. Refused, with an error that
// wraps ErrJSON: more than max bytes, invalid UTF-8, lone surrogates, noncharacters, nesting beyond MaxDepth, a name twice
// in one object at any depth, a name that v's type does not have (encoding/json would also match another case), an array
// of another length than a Go array, null for a value that cannot be nil, an integer beyond 2^53-1 that is not in a
// string, an integer in a string (the tag's option "string") that has another spelling, like "007" or "null", a number outside
// float64, trailing data. Errors name fields, never values. With an error, v holds nothing of use.
func DecodeStrict(data []byte, max int, v any) error {
	if len(data) > max {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrJSON, len(data), max)
	}
	target := reflect.TypeOf(v)
	if target == nil || target.Kind() != reflect.Pointer || reflect.ValueOf(v).IsNil() {
		return fmt.Errorf("%w: target is not a pointer", ErrJSON)
	}
	if !utf8.Valid(data) {
		return fmt.Errorf("%w: invalid UTF-8", ErrJSON)
	}
	err := json.Unmarshal(data, v) // looks at the syntax of all of it first
	if se := (*json.SyntaxError)(nil); errors.As(err, &se) {
		return fmt.Errorf("%w: syntax error or trailing data", ErrJSON)
	}
	if err := checkSurrogates(data); err != nil {
		return err
	}
	if err := (&walker{rest: data}).value(target.Elem(), 1); err != nil {
		return err
	}
	if err != nil {
		return decodeError(err)
	}
	return nil
}

// decodeError drops the rejected value from encoding/json's message: it may be personal data.
func decodeError(err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		return fmt.Errorf("%w: field %q wants %s", ErrJSON, te.Field, te.Type)
	}
	if strings.HasPrefix(err.Error(), "json: invalid use of ,string") {
		return fmt.Errorf("%w: a number that should stand in a string does not", ErrJSON)
	}
	return fmt.Errorf("%w: %w", ErrJSON, err)
}

// checkSurrogates refuses escaped surrogates that form no pair, which encoding/json would silently replace.
// data is valid JSON, so a backslash stands only in strings and is followed by a complete escape.
func checkSurrogates(data []byte) error {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++
		if data[i] != 'u' {
			continue
		}
		hi := hexUnit(data[i+1 : i+5])
		i += 4
		if hi < 0xD800 || hi > 0xDFFF {
			continue
		}
		if hi > 0xDBFF || len(data) < i+7 || data[i+1] != '\\' || data[i+2] != 'u' {
			return fmt.Errorf("%w: lone surrogate", ErrJSON)
		}
		if lo := hexUnit(data[i+3 : i+7]); lo < 0xDC00 || lo > 0xDFFF {
			return fmt.Errorf("%w: lone surrogate", ErrJSON)
		}
		i += 6
	}
	return nil
}

func hexUnit(b []byte) uint64 {
	u, _ := strconv.ParseUint(string(b), 16, 16) // json.Valid saw four hexadecimal digits
	return u
}

// A walker reads a document beside the Go type that it is decoded into. The document is valid JSON: the walker looks only
// where a token begins and ends.
type walker struct {
	rest []byte
}

// next skips white space and separators and returns the first byte of the next token.
func (w *walker) next() byte {
	for i, c := range w.rest {
		switch c {
		case ' ', '\t', '\n', '\r', ',', ':':
		default:
			w.rest = w.rest[i:]
			return c
		}
	}
	return 0 // only after the last value
}

func (w *walker) value(t reflect.Type, depth int) error {
	if depth > MaxDepth {
		return fmt.Errorf("%w: nested deeper than %d", ErrJSON, MaxDepth)
	}
	declared := t
	t = known(t)
	switch w.next() {
	case '{':
		return w.object(t, depth)
	case '[':
		return w.array(t, depth)
	case '"':
		s, err := w.text()
		if err == nil && t == quotedInteger && !integerForm(s) {
			return fmt.Errorf("%w: an integer in a string in another spelling", ErrJSON)
		}
		return err
	case 't':
		w.rest = w.rest[len("true"):]
	case 'f':
		w.rest = w.rest[len("false"):]
	case 'n':
		w.rest = w.rest[len("null"):]
		if declared != nil && !nillable(declared) { // also what reads its text itself, and would be left as it is
			return fmt.Errorf("%w: null where a %s is wanted", ErrJSON, declared.Kind())
		}
	default:
		n := 0
		for n < len(w.rest) && strings.IndexByte("+-.0123456789Ee", w.rest[n]) >= 0 {
			n++
		}
		number := w.rest[:n]
		w.rest = w.rest[n:]
		return checkNumber(number)
	}
	return nil
}

// text reads a string and returns its content, checked.
func (w *walker) text() ([]byte, error) {
	n, plain := 1, true
	for ; w.rest[n] != '"'; n++ {
		if c := w.rest[n]; c == '\\' {
			n++
			plain = false
		} else if c >= utf8.RuneSelf {
			plain = false
		}
	}
	literal := w.rest[:n+1]
	w.rest = w.rest[n+1:]
	if plain {
		return literal[1:n], nil
	}
	var s string
	if err := json.Unmarshal(literal, &s); err != nil {
		return nil, fmt.Errorf("%w: string", ErrJSON)
	}
	return []byte(s), checkString(s)
}

// manyNames is from how many names on an object's are looked up in a map.
const manyNames = 16

// object reads a JSON object; t is nil where any names may stand.
func (w *walker) object(t reflect.Type, depth int) error {
	fields, elem := members(element(t))
	var few [manyNames][]byte
	seen, more := few[:0], map[string]bool(nil)
	for w.rest = w.rest[1:]; w.next() != '}'; {
		name, err := w.text()
		if err != nil {
			return err
		}
		if more[string(name)] || slices.ContainsFunc(seen, func(s []byte) bool { return bytes.Equal(s, name) }) {
			return fmt.Errorf("%w: name %s twice", ErrJSON, quoted(string(name)))
		}
		switch {
		case len(seen) < manyNames:
			seen = append(seen, name)
		case more == nil:
			more = map[string]bool{string(name): true}
		default:
			more[string(name)] = true
		}
		next := elem
		if fields != nil {
			f, ok := fields[string(name)]
			if !ok {
				return fmt.Errorf("%w: unknown name %s", ErrJSON, quoted(string(name)))
			}
			next = f
		}
		if err := w.value(next, depth+1); err != nil {
			return err
		}
	}
	w.rest = w.rest[1:]
	return nil
}

// members returns the names that an object of type t may have with their types, or nil and the type of any name's value.
func members(t reflect.Type) (fields map[string]reflect.Type, elem reflect.Type) {
	switch {
	case t == nil:
	case t.Kind() == reflect.Struct:
		return fieldsOf(t), nil
	case t.Kind() == reflect.Map:
		return nil, t.Elem()
	}
	return nil, nil
}

func (w *walker) array(t reflect.Type, depth int) error {
	t = element(t)
	var elem reflect.Type
	want := -1
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
		if t.Kind() == reflect.Array {
			want = t.Len()
		}
	}
	n := 0
	for w.rest = w.rest[1:]; w.next() != ']'; n++ {
		if err := w.value(elem, depth+1); err != nil {
			return err
		}
	}
	w.rest = w.rest[1:]
	if want >= 0 && n != want {
		return fmt.Errorf("%w: array of %d where %d are wanted", ErrJSON, n, want)
	}
	return nil
}

func checkString(s string) error {
	for _, r := range s {
		if r&0xFFFE == 0xFFFE || r >= 0xFDD0 && r <= 0xFDEF {
			return fmt.Errorf("%w: noncharacter in a string", ErrJSON)
		}
	}
	return nil
}

func checkNumber(n []byte) error {
	if !bytes.ContainsAny(n, ".eE") {
		i, err := strconv.ParseInt(string(n), 10, 64)
		if err != nil || i > maxInteger || i < -maxInteger {
			return fmt.Errorf("%w: integer beyond 2^53-1 outside a string", ErrJSON)
		}
		return nil
	}
	if _, err := strconv.ParseFloat(string(n), 64); err != nil {
		return fmt.Errorf("%w: number out of range", ErrJSON)
	}
	return nil
}

// quotedInteger stands for the type of a field whose integer is written in a string.
var quotedInteger = reflect.TypeFor[struct{ _ quotedMark }]()

type quotedMark struct{}

// integerForm reports whether s is an integer in its one spelling. encoding/json takes "007" and "null", too.
func integerForm(s []byte) bool {
	digits := bytes.TrimPrefix(s, []byte("-"))
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(digits) > 0 && (digits[0] != '0' || len(s) == 1)
}

func quoted(name string) string {
	if len(name) > 40 {
		name = name[:40] + "..."
	}
	return strconv.QuoteToASCII(name)
}

var (
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// known returns t, or nil if t reads its JSON itself or takes any value.
func known(t reflect.Type) reflect.Type {
	if t == nil || t.Kind() == reflect.Interface {
		return nil
	}
	for u := t; ; u = u.Elem() {
		if p := reflect.PointerTo(u); p.Implements(jsonUnmarshaler) || p.Implements(textUnmarshaler) {
			return nil
		}
		if u.Kind() != reflect.Pointer {
			return t
		}
	}
}

func element(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func nillable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return true
	}
	return false
}

var fieldCache sync.Map // reflect.Type -> map[string]reflect.Type

// fieldsOf lists the JSON names of a struct with their types, as encoding/json would write them.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if m, ok := fieldCache.Load(t); ok {
		return m.(map[string]reflect.Type)
	}
	m := make(map[string]reflect.Type)
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		if e := element(f.Type); f.Anonymous && name == "" && e.Kind() == reflect.Struct {
			for n, ft := range fieldsOf(e) {
				if _, outer := m[n]; !outer {
					m[n] = ft
				}
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		m[name] = f.Type
		if f.Type.Kind() >= reflect.Int && f.Type.Kind() <= reflect.Uint64 && slices.Contains(strings.Split(options, ","), "string") {
			m[name] = quotedInteger
		}
	}
	fieldCache.Store(t, m)
	return m
}
