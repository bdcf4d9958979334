package schema

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A Value is one encoded cell. The zero Value is a missing one.
type Value struct {
	Present bool
	Number  int64  // of a numeric column, never math.MinInt64
	Text    string // of a text column, in NFC, never empty when present
}

// A CellError says that a cell does not hold what its column wants. It does not contain the cell.
type CellError struct {
	Column string // name in the schema
	Want   string // what would be right
}

func (e *CellError) Error() string { return "column " + e.Column + ": want " + e.Want }

func (c *Column) want(format string, args ...any) error {
	return &CellError{Column: c.Name, Want: fmt.Sprintf(format, args...)}
}

// Parse encodes the text of a cell. An empty text is a missing value. Any error is a *CellError.
func (c *Column) Parse(text string) (Value, error) { return c.parse(text, 0) }

// parse is Parse for a cell whose number is first multiplied by 10^shift.
func (c *Column) parse(text string, shift int) (Value, error) {
	if text == "" {
		return Value{}, nil
	}
	if c.Type == Text {
		return c.parseText(text)
	}
	n, err := c.parseNumber(text, shift)
	if err != nil {
		return Value{}, err
	}
	return Value{Present: true, Number: n}, nil
}

func (c *Column) parseNumber(text string, shift int) (int64, error) {
	switch c.Type {
	case Int:
		return c.parseDecimal(text, 0, shift)
	case Decimal:
		return c.parseDecimal(text, c.Scale, shift)
	case Date:
		t, err := time.Parse(time.DateOnly, text)
		if err != nil || t.Year() < 1 {
			return 0, c.want("a date like 1957-03-31")
		}
		return t.Unix() / secondsPerDay, nil // midnight UTC: divides exactly, before 1970 too
	case Bool:
		switch text {
		case "false":
			return 0, nil
		case "true":
			return 1, nil
		}
		return 0, c.want("true or false")
	case Enum:
		if i := slices.Index(c.Codes, text); i >= 0 {
			return int64(i), nil
		}
		return 0, c.want("one of the %d declared codes", len(c.Codes))
	case Code:
		return c.packCode(text)
	}
	return 0, c.want("a column of a known type")
}

const secondsPerDay = 24 * 60 * 60

// parseDecimal reads -?digits(.digits)? times 10^shift as a whole number of 10^-scale, exactly: it moves the point in the
// text and refuses what is left behind it.
func (c *Column) parseDecimal(text string, scale, shift int) (int64, error) {
	kind := "a whole number"
	if scale > 0 || shift > 0 {
		kind = "a number like 12.5"
	}
	const longest = 64 // far beyond 2^63, with padding on both sides
	if len(text) > longest {
		return 0, c.want("%s of at most %d characters", kind, longest)
	}
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, point := strings.Cut(digits, ".")
	if !allDigits(whole) || point && !allDigits(fraction) {
		return 0, c.want("%s: digits, with a leading - and a decimal point where needed", kind)
	}
	move := scale + shift
	for len(fraction) < move {
		fraction += "0"
	}
	if strings.Trim(fraction[move:], "0") != "" {
		return 0, c.want("at most %d decimals", move)
	}
	u, err := strconv.ParseUint(whole+fraction[:move], 10, 64)
	if err != nil || u > math.MaxInt64 {
		return 0, c.want("a number within 64 bits")
	}
	if negative {
		return -int64(u), nil
	}
	return int64(u), nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// packCode reads a code's bytes as one big-endian number. No byte is zero, so the number gives the code back.
func (c *Column) packCode(text string) (int64, error) {
	if len(text) > MaxCode {
		return 0, c.want("a code of at most %d bytes", MaxCode)
	}
	if text[0] == ' ' || text[len(text)-1] == ' ' {
		return 0, c.want("a code without spaces around it")
	}
	var n int64
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return 0, c.want("a code of printable ASCII")
		}
		n = n<<8 | int64(text[i])
	}
	return n, nil
}

func (c *Column) parseText(text string) (Value, error) {
	if !utf8.ValidString(text) {
		return Value{}, c.want("text in UTF-8")
	}
	if len(text) > MaxText { // before normalisation, which can triple it
		return Value{}, c.want("text of at most %d bytes", MaxText)
	}
	text = norm.NFC.String(text)
	if len(text) > MaxText {
		return Value{}, c.want("text of at most %d bytes", MaxText)
	}
	if strings.TrimSpace(text) != text {
		return Value{}, c.want("text without white space around it")
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return Value{}, c.want("text without control characters")
	}
	return Value{Present: true, Text: text}, nil
}

// Format returns the text that Parse reads as v; a missing value is the empty text. A number that the column cannot hold gives a
// *CellError.
func (c *Column) Format(v Value) (string, error) {
	if !v.Present {
		return "", nil
	}
	if v.Number == math.MinInt64 {
		return "", c.want("a number above -2^63")
	}
	switch c.Type {
	case Text:
		return v.Text, nil
	case Int:
		return strconv.FormatInt(v.Number, 10), nil
	case Decimal:
		return formatDecimal(v.Number, c.Scale), nil
	case Date:
		const first, last = -719162, 2932896 // 0001-01-01 and 9999-12-31
		if v.Number < first || v.Number > last {
			return "", c.want("a day of the years 0001 to 9999")
		}
		return time.Unix(v.Number*secondsPerDay, 0).UTC().Format(time.DateOnly), nil
	case Bool:
		if v.Number != 0 && v.Number != 1 {
			return "", c.want("0 or 1")
		}
		return strconv.FormatBool(v.Number == 1), nil
	case Enum:
		if v.Number < 0 || v.Number >= int64(len(c.Codes)) {
			return "", c.want("the number of one of the %d declared codes", len(c.Codes))
		}
		return c.Codes[v.Number], nil
	case Code:
		return c.unpackCode(v.Number)
	}
	return "", c.want("a column of a known type")
}

func formatDecimal(n int64, scale int) string {
	s := strconv.FormatInt(n, 10)
	if scale == 0 {
		return s
	}
	s, negative := strings.CutPrefix(s, "-")
	for len(s) <= scale {
		s = "0" + s
	}
	s = s[:len(s)-scale] + "." + s[len(s)-scale:]
	if negative {
		return "-" + s
	}
	return s
}

func (c *Column) unpackCode(n int64) (string, error) {
	var b []byte
	for u := uint64(n); u > 0; u >>= 8 {
		b = append(b, byte(u))
	}
	slices.Reverse(b)
	if len(b) > 0 {
		if back, err := c.packCode(string(b)); err == nil && back == n {
			return string(b), nil
		}
	}
	return "", c.want("a packed code")
}
