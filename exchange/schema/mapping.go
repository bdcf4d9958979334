package schema

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrHeader means that a file's header line does not have the columns that a mapping reads. The error names the missing ones,
// never what the line holds: where a header is missing, that is somebody's record.
var ErrHeader = errors.New("the header line does not fit")

// A Mapping says how the rows of a source file become rows of a schema. It stays with the holder; the ledger has the schema
// only. The zero Mapping with an ID reads each column from the source column of the same name.
type Mapping struct {
	ID IDSource
	// Where keeps the rows whose source columns hold exactly these texts; the others are counted and left out.
	Where map[string]string
	// Columns holds what differs from the default, by name in the schema.
	Columns map[string]Source
}

// An IDSource says where a subject's identifier comes from: exactly one of the two is set.
type IDSource struct {
	// Column is a source column.
	Column string
	// Sequence makes an identifier of a row's number, counting all rows after the header from 1, filtered ones included. It is a
	// text with one %d or %0Nd (N from 1 to 18), such as NMES-%06d. Such identifiers mean something in one file only.
	Sequence string
}

// A Source says how one column is read.
type Source struct {
	Header string // source column; empty for the name in the schema
	// Values replaces a source text by the text that Parse reads. A text that is not in it is a problem, unless it is empty.
	// Nil reads texts as they are.
	Values map[string]string
	// Shift multiplies numbers by 10^Shift, 0 to 18; only for int and decimal, and not with Values.
	Shift int
}

// maxShift keeps 10^Shift within an int64.
const maxShift = 18

var sequenceForm = regexp.MustCompile(`\A([^%]*)%(?:0([1-9]|1[0-8]))?d([^%]*)\z`)

// Check reports the first thing that is wrong with the mapping for a checked schema as an error that wraps ErrSchema, or nil.
func (m *Mapping) Check(s *Schema) error {
	if (m.ID.Column == "") == (m.ID.Sequence == "") {
		return faultf("$.id", "must have either column or sequence")
	}
	if m.ID.Sequence != "" && !sequenceForm.MatchString(m.ID.Sequence) {
		return faultf("$.id.sequence", "must hold one %%d or %%0Nd, N from 1 to 18, like NMES-%%06d")
	}
	if len(m.ID.Sequence) > MaxIdentifier || len(m.ID.Column) > maxHeader {
		return faultf("$.id", "is too long")
	}
	for header, text := range m.Where {
		if header == "" || len(header) > maxHeader || len(text) > MaxText || !utf8.ValidString(header+text) {
			return faultf("$.where", "must map source columns to texts")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Columns)) {
		c, i, ok := s.Column(name)
		if !ok {
			return faultf("$.columns", "the mapping reads column %q, which the schema does not have", name)
		}
		if err := m.Columns[name].check(c, fmt.Sprintf("$.columns[%d]", i)); err != nil {
			return err
		}
	}
	return nil
}

// maxHeader bounds a source column's name in bytes.
const maxHeader = 256

func (src Source) check(c *Column, path string) error {
	if len(src.Header) > maxHeader || !utf8.ValidString(src.Header) {
		return faultf(path+".source", "must be UTF-8 of at most %d bytes", maxHeader)
	}
	if src.Shift < 0 || src.Shift > maxShift {
		return faultf(path+".multiply", "must be a power of ten from 1 to 10^%d", maxShift)
	}
	if src.Shift > 0 && c.Type != Int && c.Type != Decimal {
		return faultf(path+".multiply", "is for int and decimal only")
	}
	if src.Shift > 0 && src.Values != nil {
		return faultf(path, "has both map and multiply; write the multiplied numbers into map")
	}
	if src.Values != nil && len(src.Values) == 0 {
		return faultf(path+".map", "is empty")
	}
	for _, from := range slices.Sorted(maps.Keys(src.Values)) {
		if _, err := c.Parse(src.Values[from]); err != nil {
			return faultf(path+".map", "%q leads to a value the column cannot hold: %v", from, err)
		}
	}
	return nil
}

// A Reader turns the rows of one source file, whose header it knows, into rows of a schema. It is not safe for concurrent use.
type Reader struct {
	schema   *Schema
	sources  []Source // as in the mapping, one for each column
	indexes  []int    // source column of each column
	id       int      // source column of the identifier, or -1
	sequence IDSource
	where    map[int]string
	// Ignored are the source columns that nothing reads.
	Ignored []string
}

// A header finds a file's columns by name and remembers which were asked for.
type header struct {
	at    map[string]int // index of each name; -1 for a name that stands twice
	asked map[string]bool
}

func newHeader(names []string) *header {
	h := &header{at: make(map[string]int, len(names)), asked: make(map[string]bool)}
	for i, name := range names {
		if _, ok := h.at[name]; ok {
			i = -1
		}
		h.at[name] = i
	}
	return h
}

func (h *header) find(name, what string) (int, error) {
	h.asked[name] = true
	switch i, ok := h.at[name]; {
	case !ok:
		return 0, fmt.Errorf("%w: no column %q, which %s is read from; the first line must name the columns, exactly as written in the mapping",
			ErrHeader, name, what)
	case i < 0:
		return 0, fmt.Errorf("%w: column %q, which %s is read from, stands there twice", ErrHeader, name, what)
	default:
		return i, nil
	}
}

// Bind matches a checked mapping with a file's header. A header that lacks a column, or has one twice that is read, is refused
// with ErrHeader.
func (m *Mapping) Bind(s *Schema, names []string) (*Reader, error) {
	r := &Reader{schema: s, sequence: m.ID, id: -1, where: make(map[int]string)}
	h := newHeader(names)
	var err error
	if m.ID.Column != "" {
		if r.id, err = h.find(m.ID.Column, "the identifier"); err != nil {
			return nil, err
		}
	}
	for i := range s.Columns {
		c := &s.Columns[i]
		src := m.Columns[c.Name]
		if src.Header == "" {
			src.Header = c.Name
		}
		k, err := h.find(src.Header, "column "+c.Name)
		if err != nil {
			return nil, err
		}
		r.sources, r.indexes = append(r.sources, src), append(r.indexes, k)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Where)) {
		k, err := h.find(name, "the row filter")
		if err != nil {
			return nil, err
		}
		r.where[k] = m.Where[name]
	}
	for _, name := range names {
		if !h.asked[name] {
			r.Ignored = append(r.Ignored, name)
		}
	}
	return r, nil
}

// Keeps reports whether the row filter keeps a row, given as one text for each column of the header.
func (r *Reader) Keeps(cells []string) bool {
	for i, want := range r.where {
		if cells[i] != want {
			return false
		}
	}
	return true
}

// ID returns the identifier, not normalised, of row number, which counts rows from 1.
func (r *Reader) ID(cells []string, number int) string {
	if r.id >= 0 {
		return cells[r.id]
	}
	m := sequenceForm.FindStringSubmatch(r.sequence.Sequence)
	digits := strconv.Itoa(number)
	if width, _ := strconv.Atoi(m[2]); len(digits) < width {
		digits = strings.Repeat("0", width-len(digits)) + digits
	}
	return m[1] + digits + m[3]
}

// Row encodes a row into dst, which has one Value for each column of the schema, and calls problem for each bad cell. It
// reports whether there was none.
func (r *Reader) Row(cells []string, dst Row, problem func(*CellError)) bool {
	good := true
	for i := range r.schema.Columns {
		c, src := &r.schema.Columns[i], &r.sources[i]
		v, err := src.read(c, cells[r.indexes[i]])
		if err != nil {
			good = false
			var ce *CellError
			if !errors.As(err, &ce) {
				ce = &CellError{Column: c.Name, Want: "a readable value"}
			}
			problem(ce)
		}
		dst[i] = v
	}
	return good
}

func (src *Source) read(c *Column, cell string) (Value, error) {
	if src.Values == nil {
		return c.parse(cell, src.Shift)
	}
	text, ok := src.Values[cell]
	if !ok {
		if cell == "" {
			return Value{}, nil
		}
		return Value{}, c.want("one of the %d mapped texts", len(src.Values))
	}
	return c.Parse(text)
}
