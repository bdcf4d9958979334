package exchange_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// charUnits say what the characters are taken for, by planes of 65,536 code points.
type charUnits struct {
	Unicode string   `json:"unicode"`
	Planes  []string `json:"planes"` // SHA-256
}

// characters digests the upper case, normal form and printability of each code point, and its normal form between others with which it
// composes or changes places, and in a run of marks.
func (u *units) characters(t *testing.T) {
	u.Chars.Unicode = unicode.Version
	if unicode.Version != "15.0.0" || norm.Version != unicode.Version {
		t.Errorf("this Go has Unicode %s and normal forms of %s: verifiers are held to 15.0.0 (docs/vectors.md section 3)", unicode.Version, norm.Version)
	}
	before, behind := strings.Repeat("\u0334", 28), strings.Repeat("\u0334", 30)
	for plane := range rune(17) {
		digest := sha256.New()
		for r := plane << 16; r < (plane+1)<<16; r++ {
			if r >= 0xd800 && r <= 0xdfff {
				continue
			}
			c := string(r)
			fmt.Fprintf(digest, "%s %s %s %s %t\n", strings.ToUpper(c), norm.NFC.String(c), norm.NFC.String("\U000105d2"+c+"\u0345"+c+"\u0307"),
				norm.NFC.String("a"+before+c+behind), unicode.IsPrint(r))
		}
		u.Chars.Planes = append(u.Chars.Planes, hex.EncodeToString(digest.Sum(nil)))
	}
}
