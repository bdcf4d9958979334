package evidence

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/note"
)

func TestParseRefuses(t *testing.T) {
	e := fork(t)
	good := string(e.Encode())
	root := e.Root.String() + "\n"
	for name, doc := range map[string]string{
		"empty":               "",
		"other version":       strings.Replace(good, "/v1", "/v2", 1),
		"header only":         header,
		"no root":             strings.Replace(good, root, "", 1)[:len(header)] + "\n" + string(e.First) + "\n" + string(e.Second),
		"root cut":            strings.Replace(good, root, root[:40]+"\n", 1),
		"root not canonical":  strings.Replace(good, root, strings.Repeat("A", 42)+"B=\n", 1),
		"root with space":     strings.Replace(good, root, " "+root, 1),
		"carriage returns":    strings.ReplaceAll(good, "\n", "\r\n"),
		"too many hashes":     strings.Replace(good, root, strings.Repeat(root, MaxProof+2), 1),
		"one note":            strings.TrimSuffix(good, "\n"+string(e.Second)),
		"three notes":         good + "\n" + string(e.Second),
		"first missing":       strings.Replace(good, "\n"+string(e.First), "", 1),
		"note without sigs":   strings.TrimSuffix(good, string(e.Second)) + note.Text(testOrigin, tlog.Tree{N: 9}),
		"empty line more":     strings.Replace(good, "\n\n", "\n\n\n", 1),
		"empty line at end":   good + "\n",
		"no line feed at end": strings.TrimSuffix(good, "\n"),
		"text behind":         good + "x",
		"text before":         "x" + good,
		"swapped":             string(Evidence{e.Second, e.First, e.Root, e.Proof}.Encode()),
		"other origin":        strings.Replace(good, testOrigin+"\n5", "other\n5", 1),
		"invalid UTF-8":       strings.Replace(good, "— test", "\xff test", 1),
		"too long":            good + strings.Repeat("x", MaxSize),
		"bare carriage":       strings.Replace(good, root, strings.TrimSuffix(root, "\n")+"\r\n", 1),
	} {
		if doc == good {
			t.Errorf("%s: nothing was changed", name)
		}
		if e, err := Parse([]byte(doc)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: read as %+v, %v", name, e, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	left, right := grow(t, 5, 3, "left"), grow(t, 7, 3, "right")
	a, b := sign(t, left.tree(t, 5)), sign(t, right.tree(t, 7))
	otherLog, err := note.Sign("other", right.tree(t, 7), testKey("log"))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		first, second []byte
		hashes        tlog.HashReader
		want          error
	}{
		"no note":            {nil, b, right, ErrMalformed},
		"no second":          {a, nil, right, ErrMalformed},
		"two logs":           {a, otherLog, right, ErrMalformed},
		"no hashes":          {a, b, nil, ErrUnproven},
		"hashes of the left": {a, b, left, nil},
		"another's hashes":   {a, b, grow(t, 7, 2, "third"), ErrUnproven},
	} {
		if _, err := New(tc.first, tc.second, tc.hashes); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	e := fork(f)
	f.Add(e.Encode())
	f.Add(Evidence{First: e.First, Second: e.First, Root: e.Root}.Encode())
	f.Add([]byte(header + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n\na\n0\n\n\n\n"))
	whole, err := e.Verify(forkKeys)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(e.Encode(), data) {
			t.Fatalf("%q is written again otherwise", data)
		}
		if f, err := e.Verify(forkKeys); err == nil && (f.First != whole.First || f.Second != whole.Second || !whole.Covers(f)) {
			t.Fatalf("a forgery accuses %+v", f)
		}
	})
}
