package schema

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/grille-gateway/grille/ledger/network"
)

func TestParse(t *testing.T) {
	decimal := Column{Name: "d", Type: Decimal, Scale: 2}
	enum := Column{Name: "e", Type: Enum, Codes: []string{"poor", "average", "1"}}
	for _, c := range []struct {
		column Column
		shift  int
		text   string
		want   int64
	}{
		{Column{Type: Int}, 0, "0", 0},
		{Column{Type: Int}, 0, "-0", 0},
		{Column{Type: Int}, 0, "007", 7},
		{Column{Type: Int}, 0, "12.000", 12},
		{Column{Type: Int}, 0, "9223372036854775807", math.MaxInt64},
		{Column{Type: Int}, 0, "-9223372036854775807", -math.MaxInt64},
		{Column{Type: Int}, 1, "6.9", 69},
		{Column{Type: Int}, 1, "6.90", 69},
		{Column{Type: Int}, 6, "2.881", 2881000},
		{Column{Type: Int}, 6, "-1.0125", -1012500},
		{Column{Type: Int}, 18, "9.223372036854775807", math.MaxInt64},
		{decimal, 0, "2.5", 250},
		{decimal, 0, "2", 200},
		{decimal, 0, "-0.01", -1},
		{decimal, 4, "2.881", 2881000},
		{Column{Type: Date}, 0, "1970-01-01", 0},
		{Column{Type: Date}, 0, "1969-12-31", -1},
		{Column{Type: Date}, 0, "2000-02-29", 11016},
		{Column{Type: Date}, 0, "0001-01-01", -719162},
		{Column{Type: Date}, 0, "9999-12-31", 2932896},
		{Column{Type: Bool}, 0, "false", 0},
		{Column{Type: Bool}, 0, "true", 1},
		{enum, 0, "poor", 0},
		{enum, 0, "1", 2},
		{Column{Type: Code}, 0, "A", 0x41},
		{Column{Type: Code}, 0, "A~ 4567", 0x417e2034353637},
	} {
		v, err := c.column.parse(c.text, c.shift)
		if err != nil || !v.Present || v.Number != c.want || v.Text != "" {
			t.Errorf("%s %q * 10^%d: %+v, %v; want %d", c.column.Type, c.text, c.shift, v, err, c.want)
		}
	}
	for _, typ := range []Type{Int, Decimal, Date, Bool, Enum, Code, Text} {
		if v, err := (&Column{Type: typ}).Parse(""); err != nil || v != (Value{}) {
			t.Errorf("an empty %s: %+v, %v", typ, v, err)
		}
	}
	v, err := (&Column{Type: Text}).Parse("Cafe\u0301")
	if err != nil || v.Text != "Caf\u00e9" {
		t.Errorf("NFC: %q, %v", v.Text, err)
	}
}

// The cells are such that a part of any of them in an error would be noticed.
func TestParseRefusesWithoutQuoting(t *testing.T) {
	long := strings.Repeat("8", 65)
	for _, c := range []struct {
		column Column
		shift  int
		cells  []string
	}{
		{Column{Type: Int}, 0, []string{"9223372036854775808", "-9223372036854775808", "77777777777777777777", "77.7", "7e7", "+77", "77 ", " 77",
			"0x77", "7_7", "7,700", "-", ".", ".7", "77.", "--77", "-77-", "٧٧", "77\x00", "NaN", "Inf", long}},
		{Column{Type: Int}, 1, []string{"6.95", "922337203685477580.8"}},
		{Column{Type: Decimal, Scale: 2}, 0, []string{"77.777", "92233720368547758.08", "77,77", "7e7"}},
		{Column{Type: Date}, 0, []string{"1977-02-29", "1977-13-01", "77-01-01", "1977-1-7", "07/07/1977", "0000-07-07", "1977-07-07T00:00:00Z",
			"1977-07-07 ", "19770707"}},
		{Column{Type: Bool}, 0, []string{"yes", "True", "TRUE", "7", "0", "true\t"}},
		{Column{Type: Enum, Codes: []string{"poor"}}, 0, []string{"POOR77", "poor ", "0"}},
		{Column{Type: Code}, 0, []string{"77777777", "café", "7\n7", " 7", "7 ", "\x7f", "\xff"}},
		{Column{Type: Text}, 0, []string{"\xff77", "7\n7", "7\x007", " 77", "77\u00a0", strings.Repeat("7", MaxText+1), strings.Repeat("\u0344", 500)}},
	} {
		c.column.Name = "q"
		for _, cell := range c.cells {
			v, err := c.column.parse(cell, c.shift)
			var ce *CellError
			if !errors.As(err, &ce) || ce.Column != "q" || ce.Want == "" {
				t.Errorf("%s %q gives %+v, %v", c.column.Type, cell, v, err)
				continue
			}
			if strings.Contains(err.Error(), cell) && len(cell) > 1 || strings.Contains(err.Error(), "77") {
				t.Errorf("%s %q stands in the error: %v", c.column.Type, cell, err)
			}
		}
	}
}

func FuzzParseFormat(f *testing.F) {
	for _, cell := range []string{"", "7", "-12.5", "1970-01-01", "true", "west", "AB", "Cafe\u0301", "\xff", "1e9", "9223372036854775808"} {
		for typ := range uint8(7) {
			f.Add(typ, uint8(2), cell)
		}
	}
	types := []Type{Int, Decimal, Date, Bool, Enum, Code, Text}
	f.Fuzz(func(t *testing.T, typ, scale uint8, cell string) {
		c := Column{Name: "c", Type: types[int(typ)%len(types)]}
		switch c.Type {
		case Decimal:
			c.Scale = int(scale) % (MaxScale + 1)
		case Enum:
			c.Codes = []string{"west", "other"}
		}
		v, err := c.Parse(cell)
		if err != nil {
			return
		}
		text, err := c.Format(v)
		if err != nil || !utf8.ValidString(text) {
			t.Fatalf("parsed but does not format: %v", err)
		}
		again, err := c.Parse(text)
		if err != nil || again != v {
			t.Fatalf("%+v became %+v, %v", v, again, err)
		}
	})
}

// Exact decimals against rational arithmetic.
func TestDecimalAgainstBig(t *testing.T) {
	number := rapid.StringMatching(`-?[0-9]{1,20}(\.[0-9]{1,20})?`)
	rapid.Check(t, func(t *rapid.T) {
		text := number.Draw(t, "text")
		scale, shift := rapid.IntRange(0, MaxScale).Draw(t, "scale"), rapid.IntRange(0, maxShift).Draw(t, "shift")
		exact, _ := new(big.Rat).SetString(text)
		power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale+shift)), nil)
		exact.Mul(exact, new(big.Rat).SetInt(power))
		fits := exact.IsInt() && exact.Num().IsInt64() && exact.Num().Int64() != math.MinInt64
		v, err := (&Column{Type: Decimal, Scale: scale}).parse(text, shift)
		if fits != (err == nil) {
			t.Fatalf("%s: error %v, representable: %v", text, err, fits)
		}
		if fits && v.Number != exact.Num().Int64() {
			t.Fatalf("%s: %d, want %s", text, v.Number, exact.Num())
		}
	})
}

func TestNormaliseID(t *testing.T) {
	person := network.Scheme{Name: "person", Pattern: `[A-Z]{2}-[0-9]{6}`, Normalise: "upper", Example: "AB-123456"}
	plain := network.Scheme{Name: "plain", Pattern: `a|bc|Caf\x{e9}`, Normalise: "none", Example: "a"}
	for _, c := range []struct {
		scheme   network.Scheme
		id, want string
	}{{person, "AB-777777", "AB-777777"}, {person, "ab-777777", "AB-777777"}, {plain, "bc", "bc"}, {plain, "Cafe\u0301", "Caf\u00e9"}} {
		if got, err := NormaliseID(c.scheme, c.id); err != nil || got != c.want {
			t.Errorf("%q: %q, %v", c.id, got, err)
		}
	}
	for _, id := range []string{"", "AB-77777", "AB-7777777", " AB-777777", "AB-777777\n", "xAB-777777", "AB-77777\xff", "AB-77777\x00",
		strings.Repeat("7", 10_000)} {
		_, err := NormaliseID(person, id)
		if !errors.Is(err, ErrIdentifier) || strings.Contains(err.Error(), "777") {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"ab", "abc", "A", "b"} {
		if _, err := NormaliseID(plain, id); !errors.Is(err, ErrIdentifier) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for name, s := range map[string]network.Scheme{
		"pattern":          {Name: "x", Pattern: "(", Normalise: "none"},
		"escaping pattern": {Name: "x", Pattern: "a)|(?:b", Normalise: "none"},
		"long pattern":     {Name: "x", Pattern: strings.Repeat("a", 300), Normalise: "none"},
		"normalisation":    {Name: "x", Pattern: "a", Normalise: "lower"},
	} {
		if _, err := NewIdentifier(s); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
