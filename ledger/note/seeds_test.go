package note

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/internal/corpus"
)

func TestSeeds(t *testing.T) {
	tree, hashes := buildTree(t, 9)
	owner, lines := testHead(t, tree)
	head := join(owner, lines...)
	text, _, _ := strings.Cut(string(owner), "\n\n")
	many := string(owner)
	for i := range 200 {
		many += Signature{Name: fmt.Sprintf("m%d", i), Body: make([]byte, 72)}.Line()
	}
	corpus.Check(t, "FuzzParse", map[string][]any{
		"checkpoint":        {owner},
		"head":              {head},
		"200-signatures":    {[]byte(many)},
		"no-signature":      {[]byte(text + "\n\n")},
		"extension-line":    {[]byte(strings.Replace(string(owner), "\n\n", "\nextra\n\n", 1))},
		"carriage-return":   {bytes.ReplaceAll(owner, []byte("\n"), []byte("\r\n"))},
		"size-zero-padded":  {[]byte(strings.Replace(string(owner), "\n9\n", "\n09\n", 1))},
		"size-beyond":       {[]byte(strings.Replace(string(owner), "\n9\n", "\n1125899906842625\n", 1))},
		"root-unpadded":     {[]byte(strings.Replace(string(owner), "=\n\n", "\n\n", 1))},
		"hyphen-for-dash":   {[]byte(strings.Replace(string(owner), "— ", "- ", 1))},
		"short-signature":   {[]byte(text + "\n\n— " + testOrigin + " AAAA\n")},
		"same-line-twice":   {join(owner, lines[0], lines[0])},
		"invalid-utf8":      {append([]byte("\xff"), owner...)},
		"empty":             {[]byte{}},
		"signature-in-text": {[]byte(strings.Replace(string(owner), testOrigin, "— x AAAAAAA=", 1))},
	})
	path, err := tlog.ProveRecord(9, 4, hashes)
	if err != nil {
		t.Fatal(err)
	}
	proof := string(EncodeProof(4, path, head))
	corpus.Check(t, "FuzzParseProof", map[string][]any{
		"proof":         {[]byte(proof)},
		"index-beyond":  {[]byte(strings.Replace(proof, "index 4", "index 18446744073709551615", 1))},
		"index-padded":  {[]byte(strings.Replace(proof, "index 4", "index 04", 1))},
		"no-path":       {EncodeProof(0, nil, owner)},
		"hash-cut":      {[]byte(strings.Replace(proof, "=\n", "\n", 1))},
		"64-hashes":     {EncodeProof(4, make(tlog.RecordProof, 64), owner)},
		"extra-line":    {[]byte(strings.Replace(proof, "index 4\n", "extra AAAA\nindex 4\n", 1))},
		"other-version": {[]byte(strings.Replace(proof, "@v1", "@v2", 1))},
		"head-missing":  {[]byte(proof[:strings.Index(proof, "\n\n")+2])},
	})
	corpus.Check(t, "FuzzCosignature", map[string][]any{
		"mirror":       {lines[0]},
		"other-mirror": {lines[1]},
		"owner":        {strings.Split(string(owner), "\n\n")[1]},
		"short":        {Signature{Name: "x", Body: []byte{1}}.Line()},
		"no-line-feed": {strings.TrimSuffix(lines[0], "\n")},
		"two":          {lines[0] + lines[0]},
		"empty":        {""},
	})
}

// FuzzCosignature: a line that verifies is the mirror's own, letter by letter.
func FuzzCosignature(f *testing.F) {
	cfg := testConfig(f)
	tree, _ := buildTree(f, 9)
	owner, lines := testHead(f, tree)
	c, err := Parse(owner)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, line string) {
		for i, m := range cfg.Mirrors() {
			got, err := VerifyCosignature(m, c.Text, line)
			if err == nil && (got.Line != line || line != lines[i]) {
				t.Fatalf("%q verifies as %s's", line, m.Name)
			}
		}
	})
}
