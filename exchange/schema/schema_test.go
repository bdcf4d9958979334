package schema

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/ledger/entry"
)

// care has every type, with text columns between numeric ones.
func care() *Schema {
	return &Schema{Dataset: "care", Title: "Care visits", Scheme: "person", Columns: []Column{
		{Name: "visits", Type: Int, Title: "Visits", Unit: "count"},
		{Name: "street", Type: Text},
		{Name: "income", Type: Decimal, Scale: 2, Unit: "dollars"},
		{Name: "born", Type: Date},
		{Name: "town", Type: Text},
		{Name: "married", Type: Bool},
		{Name: "region", Type: Enum, Codes: []string{"west", "midwest", "other"}},
		{Name: "grade", Type: Code},
	}}
}

func columns(n int, typ Type) (c []Column) {
	for i := range n {
		c = append(c, Column{Name: fmt.Sprintf("%s_%d", typ, i), Type: typ})
	}
	return c
}

func TestPositions(t *testing.T) {
	s := care()
	if got, want := s.Positions(), []int{0, 12, 1, 2, 13, 3, 4, 5}; !slices.Equal(got, want) {
		t.Fatalf("positions %v, want %v", got, want)
	}
	for i := range s.Columns {
		p, ok := s.Position(s.Columns[i].Name)
		c, found := s.At(p)
		if !ok || !found || c != &s.Columns[i] {
			t.Fatalf("column %d: position %d leads back to %v", i, p, c)
		}
	}
	if _, ok := s.At(14); ok {
		t.Fatal("a column at 14")
	}
	if _, ok := s.Position("age"); ok {
		t.Fatal("a position for a column that is not there")
	}
}

func TestRefusesSchemas(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Schema)
		at     string
	}{
		"dataset with a slash":  {func(s *Schema) { s.Dataset = "../care" }, "$.dataset"},
		"dataset empty":         {func(s *Schema) { s.Dataset = "" }, "$.dataset"},
		"no title":              {func(s *Schema) { s.Title = "" }, "$.title"},
		"title with a newline":  {func(s *Schema) { s.Title = "a\nb" }, "$.title"},
		"title not UTF-8":       {func(s *Schema) { s.Title = "\xff" }, "$.title"},
		"title too long":        {func(s *Schema) { s.Title = strings.Repeat("x", 257) }, "$.title"},
		"scheme":                {func(s *Schema) { s.Scheme = "Person" }, "$.scheme"},
		"no columns":            {func(s *Schema) { s.Columns = nil }, "$.columns"},
		"column name":           {func(s *Schema) { s.Columns[1].Name = "Street" }, "$.columns[1].name"},
		"column name digit":     {func(s *Schema) { s.Columns[1].Name = "1st" }, "$.columns[1].name"},
		"column name long":      {func(s *Schema) { s.Columns[1].Name = strings.Repeat("x", 65) }, "$.columns[1].name"},
		"reserved name":         {func(s *Schema) { s.Columns[0].Name = "in" }, "$.columns[0].name"},
		"name twice":            {func(s *Schema) { s.Columns[2].Name = "visits" }, "$.columns[2].name"},
		"type":                  {func(s *Schema) { s.Columns[0].Type = "float" }, "$.columns[0].type"},
		"scale on an int":       {func(s *Schema) { s.Columns[0].Scale = 1 }, "$.columns[0].scale"},
		"scale too large":       {func(s *Schema) { s.Columns[2].Scale = 10 }, "$.columns[2].scale"},
		"negative scale":        {func(s *Schema) { s.Columns[2].Scale = -1 }, "$.columns[2].scale"},
		"enum without codes":    {func(s *Schema) { s.Columns[6].Codes = nil }, "$.columns[6].codes"},
		"codes on a bool":       {func(s *Schema) { s.Columns[5].Codes = []string{"a"} }, "$.columns[5].codes"},
		"code twice":            {func(s *Schema) { s.Columns[6].Codes[2] = "west" }, "$.columns[6].codes[2]"},
		"empty code":            {func(s *Schema) { s.Columns[6].Codes[1] = "" }, "$.columns[6].codes[1]"},
		"too many codes":        {func(s *Schema) { s.Columns[6].Codes = make([]string, 257) }, "$.columns[6].codes"},
		"thirteen numeric":      {func(s *Schema) { s.Columns = columns(13, Int) }, "$.columns[12]"},
		"five text":             {func(s *Schema) { s.Columns = columns(5, Text) }, "$.columns[4]"},
		"unit too long":         {func(s *Schema) { s.Columns[0].Unit = strings.Repeat("x", 65) }, "$.columns[0].unit"},
		"column title too long": {func(s *Schema) { s.Columns[0].Title = strings.Repeat("x", 257) }, "$.columns[0].title"},
	} {
		s := care()
		c.change(s)
		err := s.Check()
		var f *fault
		if !errors.Is(err, ErrSchema) || !errors.As(err, &f) || f.path != c.at {
			t.Errorf("%s: %v, want a fault at %s", name, err, c.at)
		}
	}
	s := care()
	s.Columns = append(columns(12, Int), columns(4, Text)...)
	if err := s.Check(); err != nil {
		t.Errorf("a full record: %v", err)
	}
}

func TestDeclareAndBack(t *testing.T) {
	s := care()
	d := s.Declare(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	data, err := entry.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := entry.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	back, err := FromDeclare(decoded.(entry.DatasetDeclare))
	if err != nil || !back.Equal(s) || !reflect.DeepEqual(back, s) {
		t.Fatalf("%+v, %v", back, err)
	}
	back.Columns[6].Codes[0] = "north"
	if back.Equal(s) {
		t.Fatal("schemas with other codes are equal")
	}
	d.Columns = nil
	for _, c := range columns(13, Int) {
		d.Columns = append(d.Columns, entry.Column{Name: c.Name, Type: "int"})
	}
	if _, err := FromDeclare(d); !errors.Is(err, ErrSchema) {
		t.Fatalf("thirteen numeric columns from the ledger: %v", err)
	}
}

func TestEncodeAndReveal(t *testing.T) {
	s := care()
	for _, cells := range [][]string{
		{"5", "Café street", "-12.50", "1921-12-31", "Ulm", "true", "other", "AB-7"},
		{"", "", "", "", "", "", "", ""},
		{"0", "0", "0.00", "1970-01-01", "x", "false", "west", "0"},
	} {
		row, err := s.Parse(cells)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Encode(row)
		if err != nil {
			t.Fatal(err)
		}
		decoded := s.Decode(&r)
		for i, p := range s.Positions() {
			c := &s.Columns[i]
			v, err := s.Reveal(c.Name, r.Column(p), cells[i])
			if err != nil || v != row[i] {
				t.Fatalf("column %s: %+v, %v", c.Name, v, err)
			}
			if text, err := c.Format(v); err != nil || text != cells[i] {
				t.Fatalf("column %s: %q, %v", c.Name, text, err)
			}
			if decoded[i].Present != row[i].Present || decoded[i].Number != row[i].Number {
				t.Fatalf("column %s decodes to %+v", c.Name, decoded[i])
			}
		}
		for p := range circuits.Columns {
			if e := r.Column(p); p > 5 && p < 12 && !e.IsZero() || p > 13 && !e.IsZero() {
				t.Fatalf("position %d is not missing", p)
			}
		}
	}
	r, err := s.Encode(Row{{Present: true, Number: 7}, {}, {}, {}, {}, {}, {}, {}})
	if err != nil || r.Numeric[0] != 7+1<<63 {
		t.Fatalf("7 is encoded as %x, %v", r.Numeric[0], err)
	}
	if _, err := s.Encode(Row{}); err == nil {
		t.Fatal("a short row was encoded")
	}
	if _, err := s.Encode(Row{{Present: true, Number: -1 << 63}, {}, {}, {}, {}, {}, {}, {}}); err == nil {
		t.Fatal("-2^63 was encoded")
	}
}

func TestRevealRefuses(t *testing.T) {
	s := care()
	element := func(n int64) circuits.Record {
		u, _ := circuits.EncodeInt(n)
		return circuits.Record{Numeric: [12]uint64{u, u, u, u, u, u}}
	}
	wide := circuits.TextElement("beyond 64 bits")
	for name, c := range map[string]struct {
		column string
		number int64
	}{"enum number": {"region", 3}, "negative enum": {"region", -1}, "bool": {"married", 2}, "code": {"grade", 0x4100}, "empty code": {"grade", 0},
		"day": {"born", 1 << 40}} {
		r := element(c.number)
		p, _ := s.Position(c.column)
		var ce *CellError
		if _, err := s.Reveal(c.column, r.Column(p), ""); !errors.As(err, &ce) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Reveal("visits", wide, ""); err == nil {
		t.Error("a number beyond 64 bits")
	}
	town := circuits.TextElement("Ulm")
	for _, text := range []string{"", "Bonn", "Ulm ", "ulm"} {
		if _, err := s.Reveal("town", town, text); err == nil {
			t.Errorf("text %q was taken for Ulm", text)
		}
	}
	if _, err := s.Reveal("age", town, "Ulm"); err == nil {
		t.Error("an unknown column")
	}
}
